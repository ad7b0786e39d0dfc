"""tasks/bhyve_migrate.py on the simulated cluster: plan, run, second run, killed, refused, old tree destroyed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.cluster import F0, Cluster, Run

pytestmark = pytest.mark.lab

WORDS = ("tasks/bhyve_migrate.py", "-y", "--limit", F0)
STATE = "zfs list -Hp -t all -o name,guid,encryptionroot,mountpoint,mounted,canmount,readonly -r zroot"
CONTENT = """
cd /zroot/bhyve
find . -type f ! -name '*.lock' | sort | xargs sha256 -r
readlink -f .config
sha256 -q /dev/zvol/zroot/bhyve/rocky/disk0
"""


@pytest.fixture(scope="module")
def with_keys(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster whose key is on the stick, with virtual machines that are not encrypted yet."""
    cluster = installed.copy(tmp_path_factory.mktemp("keys") / "state")
    # as usb_keys leaves it, in a second
    cluster.sh(
        F0,
        "newfs -L F3S_KEYS /dev/da0 >/dev/null; mkdir /keys; mount /dev/ufs/F3S_KEYS /keys;"
        f" umask 377; dd if=/dev/random of=/keys/{F0}:bhyve.key bs=32 count=1 2>/dev/null; umount /keys;"
        " echo '/dev/ufs/F3S_KEYS /keys ufs ro,failok 0 0' >> /etc/fstab; mount /keys",
    )
    return cluster


@pytest.fixture
def cluster(with_keys: Cluster, tmp_path: Path) -> Cluster:
    copy = with_keys.copy(tmp_path / "state")
    copy.sh(F0, "zfs snapshot -r zroot/bhyve/rocky@before; echo more >> /zroot/bhyve/rocky/notes")
    return copy


@pytest.fixture(scope="module")
def migrated(with_keys: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    copy = with_keys.copy(tmp_path_factory.mktemp("migrated") / "state")
    migrate(copy)
    return copy


def migrate(cluster: Cluster, *arguments: str, fails: bool = False) -> Run:
    run = cluster.pyinfra(*WORDS, *arguments)
    assert (run.rc != 0) == fails, run.output
    return run


def datasets(cluster: Cluster) -> dict[str, list[str]]:
    rows = [line.split("\t") for line in cluster.sh(F0, STATE).splitlines()]
    return {row[0]: row[1:] for row in rows}


def assert_encrypted(cluster: Cluster, content: str) -> None:
    """All below zroot/bhyve is encrypted and the same as before, the old tree is out of the way, all machines run."""
    found = datasets(cluster)
    ours = {name: row for name, row in found.items() if f"{name}/".replace("@", "/").startswith("zroot/bhyve/")}
    assert {row[1] for row in ours.values()} == {"zroot/bhyve"}
    old = {name: row for name, row in found.items() if f"{name}/".replace("@", "/").startswith("zroot/bhyve_old/")}
    of_root = {name for name in old if name.startswith("zroot/bhyve_old@")}
    assert "zroot/bhyve_old@f3s_migrate" in of_root
    assert {name.replace("bhyve_old", "bhyve", 1) for name in old.keys() - of_root} <= ours.keys()
    for name, row in old.items():
        if "@" in name and name not in of_root:
            assert row[0] == ours[name.replace("bhyve_old", "bhyve", 1)][0]
        assert row[3] in ("no", "-")
        assert row[5] in ("on", "-")
    assert cluster.sh(F0, CONTENT) == content
    listed = cluster.sh(F0, "vm list")
    assert re.search(r"rocky .*Yes \[1\]  Running", listed)
    assert re.search(r"fedora .*No +Running", listed)


def test_a_tree_with_a_volume_is_migrated_and_a_second_run_changes_nothing(cluster: Cluster) -> None:
    content = cluster.sh(F0, CONTENT)
    run = migrate(cluster)
    assert "full send of zroot/bhyve_old/rocky/disk0@before" in run.output
    assert_encrypted(cluster, content)
    assert "zroot/bhyve" in cluster.sh(F0, "sysrc -n zfskeys_datasets").split()
    assert migrate(cluster).changed == []


def cut_next_copy_short(cluster: Cluster) -> bool:
    """Receive a part of the first copy that is missing, as a run does whose stream breaks; False where none is."""
    found = datasets(cluster)
    if "zroot/bhyve_old@f3s_migrate" not in found or "zroot/bhyve" not in found:
        return False
    for name, snapshot, options in (
        ("fedora", "f3s_migrate", "-o canmount=noauto"),
        ("rocky", "before", "-o canmount=noauto"),
        ("rocky/disk0", "before", ""),
    ):
        if f"zroot/bhyve/{name}" not in found:
            send = f"zfs send zroot/bhyve_old/{name}@{snapshot} | head -c 5000"
            cluster.sh(F0, f"{send} | zfs recv -s -u -x encryption {options} zroot/bhyve/{name} || true")
            token = cluster.sh(F0, f"zfs get -H -o value receive_resume_token zroot/bhyve/{name}")
            assert token.startswith("1-")
            return True
    return False


def test_killed_cut_short_and_without_power(cluster: Cluster) -> None:
    """Each run is killed some commands after its plan, a stream is cut by a power cut: the same end."""
    content = cluster.sh(F0, CONTENT)
    killed, partial = 0, False
    for _ in range(60):
        run = cluster.pyinfra(*WORDS, LAB_KILL_AT=str(5 + killed // 2))
        if run.rc == 0:
            break
        assert run.rc == 137, run.output
        killed += 1
        if not partial and (partial := cut_next_copy_short(cluster)):
            cluster.lab("crash", "f0")
            cluster.lab("boot", "f0")
            written = "zfs get -Hp -o value written zroot/bhyve_old/rocky/disk0"
            assert cluster.sh(F0, written) == "1024\n"
    assert run.rc == 0, run.output
    assert (killed > 5, partial) == (True, True)
    assert_encrypted(cluster, content)
    assert "zroot/bhyve/rocky/disk0@f3s_migrate_2" in datasets(cluster)
    assert "zroot/bhyve/rocky/disk0@f3s_migrate_3" not in datasets(cluster)


def test_a_machine_with_a_saved_state(cluster: Cluster) -> None:
    """`vm stop` of several machines ends after the one with the saved state."""
    content = cluster.sh(F0, CONTENT)
    cluster.sh(F0, "touch /zroot/bhyve/fedora/fedora.save")
    migrate(cluster)
    assert_encrypted(cluster, content)


def test_a_power_cut_while_the_machines_shut_down(cluster: Cluster) -> None:
    """Machines that ran leave their locks behind; the one that does not start at boot keeps its own."""
    content = cluster.sh(F0, CONTENT)
    cluster.sh(F0, "echo acpi_ignored=yes >> /zroot/bhyve/fedora/fedora.conf")
    run = migrate(cluster, fails=True)
    assert "not stopped in time: fedora (Running)" in run.output
    assert "zroot/bhyve_old" not in datasets(cluster)
    cluster.lab("crash", "f0")
    cluster.lab("boot", "f0")
    cluster.sh(F0, "sed -i '' -e '/acpi_ignored/d' /zroot/bhyve/fedora/fedora.conf")
    assert re.search(rf"fedora .*Locked \({F0}\)", cluster.sh(F0, "vm list"))
    migrate(cluster)
    assert_encrypted(cluster, content)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (
            "mkdir /mnt/pool; mount -t nullfs /zroot /mnt/pool; touch /mnt/pool/bhyve/plain; umount /mnt/pool",
            "below what is mounted on /zroot/bhyve are files that were written UNENCRYPTED: plain",
        ),
        (
            "free=$(zfs get -Hp -o value available zroot);"
            " zfs create -o refreservation=$((free / 1048576 * 1048576 - 1048576)) zroot/big",
            "too little space",
        ),
    ],
)
def test_refused_before_anything_is_changed(cluster: Cluster, spoil: str, text: str) -> None:
    cluster.sh(F0, spoil)
    before = datasets(cluster)
    run = migrate(cluster, fails=True)
    assert text in run.output
    assert datasets(cluster) == before
    assert "Running" in cluster.sh(F0, "vm list")


def test_the_machines_are_there_after_a_reboot(migrated: Cluster, tmp_path: Path) -> None:
    cluster = migrated.copy(tmp_path / "state")
    cluster.lab("reboot", "f0")
    assert re.search(r"rocky .*Running", cluster.sh(F0, "vm list"))
    assert datasets(cluster)["zroot/bhyve"][3] == "yes"


def test_a_boot_without_the_stick_is_made_up_for(migrated: Cluster, tmp_path: Path) -> None:
    """Meanwhile nothing can be written where the virtual machines belong: it would be plain text."""
    cluster = migrated.copy(tmp_path / "state")
    cluster.sh(F0, "umount /keys")
    cluster.lab("unplug", "f0")
    cluster.lab("reboot", "f0")
    assert datasets(cluster)["zroot/bhyve"][3] == "no"
    assert "Operation not permitted" in cluster.attempt(F0, "touch /zroot/bhyve/plain").err
    run = migrate(cluster, fails=True)
    assert "does not open zroot/bhyve: there is no such key file; the virtual machines cannot be opened" in run.output
    cluster.lab("plug", "f0")
    cluster.sh(F0, "mount /keys")
    migrate(cluster)
    found = datasets(cluster)
    assert {found[name][3] for name in ("zroot/bhyve", "zroot/bhyve/rocky", "zroot/bhyve/fedora")} == {"yes"}
    assert re.search(r"rocky .*Yes \[1\]  Running", cluster.sh(F0, "vm list"))
    assert not re.search(r"fedora .*Running", cluster.sh(F0, "vm list"))
    assert migrate(cluster).changed == []


def test_the_old_tree_is_kept_while_no_key_on_the_stick_opens_the_new_one(migrated: Cluster, tmp_path: Path) -> None:
    """The key is still in the kernel and the machines run: only the next boot would tell."""
    cluster = migrated.copy(tmp_path / "state")
    key = f"/keys/{F0}:bhyve.key"
    for spoil, text in (
        (f"cp -p {key} /root/key; umount /keys", "the stick ufs/F3S_KEYS is not mounted on /keys"),
        (f"cp -p /root/key {key}", "the stick ufs/F3S_KEYS is not mounted on /keys"),
        (
            f"rm {key}; mount /keys; mount -u -o rw /keys; chmod 600 {key}; dd if=/dev/random of={key} bs=32 count=1",
            "the key is not the one the dataset is encrypted with",
        ),
    ):
        cluster.sh(F0, spoil)
        run = migrate(cluster, "--data", f'bhyve_destroy_old=["{F0}"]', fails=True)
        assert "zroot/bhyve_old is not destroyed" in run.output
        assert text in run.output
        assert "zroot/bhyve_old/fedora" in datasets(cluster)


def test_the_old_tree_is_destroyed_on_the_switch_with_all_proofs(migrated: Cluster, tmp_path: Path) -> None:
    cluster = migrated.copy(tmp_path / "state")
    switch = ("--data", f'bhyve_destroy_old=["{F0}"]')
    cluster.sh(F0, "vm stop fedora; sleep 20")
    run = migrate(cluster, *switch, fails=True)
    assert "zroot/bhyve_old is not destroyed: not running from zroot/bhyve: fedora" in run.output
    assert "zroot/bhyve_old/fedora" in datasets(cluster)
    cluster.sh(F0, "vm start fedora")
    migrate(cluster, *switch)
    assert not [name for name in datasets(cluster) if name.startswith("zroot/bhyve_old")]
    assert migrate(cluster, *switch).changed == []


def test_what_came_in_plain_text_is_copied_as_the_refusal_says(migrated: Cluster, tmp_path: Path) -> None:
    cluster, x = migrated.copy(tmp_path / "state"), "zroot/bhyve/x"
    cluster.sh(F0, f"zfs create -o encryption=off {x}; zfs create {x}/y; echo plain >/{x}/y/note")
    said = " ".join(migrate(cluster, fails=True).output.split())
    snapshot, send, look, destroy = re.findall("`(zfs [^`]*)`", said.partition("NOT ENCRYPTED")[2])[:4]
    cluster.sh(F0, snapshot.replace("X", x))
    for below in ("", "/y"):
        cluster.sh(F0, send.replace("X_new", f"{x}_new{below}").replace("X@", f"{x}{below}@"))
    assert " off " not in cluster.sh(F0, look.replace("X", x))
    cluster.sh(F0, f"{destroy.replace('X', x)}; zfs rename {x}_new {x}")
    assert migrate(cluster).changed == []
    assert cluster.sh(F0, f"cat /{x}/y/note; zfs get -H -o value encryptionroot {x}/y") == "plain\nzroot/bhyve\n"
