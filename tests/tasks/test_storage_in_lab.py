"""tasks/usb_keys.py and tasks/zfs_encrypt.py against the simulated cluster: what sections 2 and 3 promise."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from lab.connector import csh_says
from tests.lab.cluster import F0, F1, F2, Cluster

pytestmark = pytest.mark.lab

TASKS = ("usb_keys", "zfs_encrypt")
KEYS = sorted(f"{host}:{purpose}.key" for host in (F0, F1, F2) for purpose in ("bhyve", "zdata"))
KEY = f"/keys/{F0}:zdata.key"
OTHER_KEY = "dd if=/dev/random of={} bs=32 count=1 2>/dev/null"
ENC, NFSDATA = "zdata/enc", "zdata/enc/nfsdata"


@pytest.fixture(scope="module")
def untouched(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Hosts as they come from the installer, with blank sticks and data disks; only to be copied.

    f0 has no zfs_enable, which the installer leaves out where the root is on UFS (as the observed machines have it).
    """
    cluster = installed.copy(tmp_path_factory.mktemp("lab") / "untouched")
    cluster.sh(F0, "sed -i '' -e '/^zfs_enable=/d' /etc/rc.conf")
    return cluster


@pytest.fixture(scope="module")
def deployed(untouched: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """After both tasks; only to be copied."""
    cluster = untouched.copy(tmp_path_factory.mktemp("lab") / "deployed")
    cluster.deploy(*TASKS)
    return cluster


@pytest.fixture
def blank(untouched: Cluster, tmp_path: Path) -> Cluster:
    return untouched.copy(tmp_path / "blank")


def state(cluster: Cluster) -> str:
    """All that the tasks could change: files of the hosts and sticks, both ends of the disks, pools and datasets."""
    digests = []
    for folder in (*cluster.state.glob("hosts/f*/root/etc"), cluster.state / "trees"):
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                digests.append(f"{file.relative_to(cluster.state)} {hashlib.sha256(file.read_bytes()).hexdigest()}")
    for image in sorted((cluster.state / "disks").glob("*-*a[01].img")):
        with image.open("rb") as disk:
            digests.append(f"{image.name} {hashlib.sha256(disk.read(8 << 20)).hexdigest()}")
    datasets = "zpool get -Hp autotrim,failmode; zfs get -Hp keylocation,encryptionroot,keystatus,mounted,mountpoint"
    return "\n".join([*digests, cluster.sh(F0, datasets)])


def properties(cluster: Cluster, host: str, dataset: str, *names: str) -> list[str]:
    return cluster.sh(host, f"zfs get -Hp -o value {','.join(names)} {dataset}").splitlines()


def rewrite(cluster: Cluster, host: str, script: str) -> None:
    """Change something on a mounted stick by hand."""
    cluster.sh(host, f"mount -u -o rw /keys; {script}; mount -u -o ro /keys")


def refused(cluster: Cluster, task: str, *says: str) -> str:
    """The run stops with these words; what it prints. Only usb_keys is run on all hosts."""
    run = cluster.pyinfra(f"tasks/{task}.py", "-y", *(() if task == "usb_keys" else ("--limit", F0)))
    assert (run.rc != 0, [text for text in says if text not in run.output]) == (True, []), run.output
    return run.output


# -- the plan, the run, the second run --


def test_all_sticks_hold_the_same_six_keys(deployed: Cluster) -> None:
    script = "cd /keys; for f in *.key; do stat -f '%Lp %Su:%Sg %z' $f; sha256 -q $f; echo $f; done; mount -p"
    sticks = [deployed.sh(host, script).splitlines() for host in (F0, F1, F2)]
    for lines in sticks:
        assert lines[2:18:3] == KEYS
        assert set(lines[0:18:3]) == {"400 root:wheel 32"}
        assert ["/dev/ufs/F3S_KEYS", "/keys", "ufs", "ro"] in [line.split()[:4] for line in lines[18:]]
    assert sticks[0][:18] == sticks[1][:18] == sticks[2][:18]
    assert len({*sticks[0][1:18:3]}) == 6


def made_by_hand(cluster: Cluster) -> None:
    """f0 as a how-to leaves it: the datasets are mounted, the directories below them are as `zfs create` made them."""
    cluster.sh(F0, f"zfs unmount {NFSDATA}; zfs unmount {ENC}; chflags noschg /data/nfs /data/enc")
    cluster.sh(F0, f"zfs inherit f3s:guarded zdata; zfs mount {ENC}; zfs mount {NFSDATA}")


def test_directories_below_datasets_that_were_mounted_before_take_no_writes(site: Cluster) -> None:
    made_by_hand(site)
    assert len(site.deploy("zfs_encrypt").changed) == 2
    assert "nullfs" not in site.sh(F0, "mount -p; ls /var/run")
    assert site.deploy("zfs_encrypt").changed == []
    script = f"zfs unmount {NFSDATA}; zfs unmount {ENC}; touch /data/nfs/x 2>&1 || touch /data/enc/x 2>&1 || echo no"
    assert site.sh(F0, script).splitlines()[-1] == "no"


BY_HAND = """\
mkdir /tmp/k; cp -p /keys/*.key /tmp/k; umount /keys; newfs /dev/da0; mount /dev/da0 /keys
cp -p /tmp/k/* /keys; rm -r /tmp/k
echo '/dev/da0 /keys ufs rw 0 2' >>/etc/fstab
"""
OWN = "dd if=/dev/random of=/keys/backup.key bs=32 count=1; chmod 0400 /keys/backup.key"


def test_sticks_and_a_dataset_that_were_made_by_hand_are_taken_over(site: Cluster) -> None:
    """Sticks without a label in fstab, a key of the user's own on one of them, and a dataset that inherits its key."""
    for host in (F0, F1, F2):
        site.sh(host, BY_HAND)
    site.sh(F1, OWN)
    site.sh(F0, f"zfs change-key -i {NFSDATA}; zfs snapshot {NFSDATA}@zrepl_1")
    digests = "sha256 -q /keys/*:*.key"
    before = site.sh(F0, digests)
    run = site.deploy(*TASKS)
    assert f"{F0}: USB keys: a stick with the label (a blank one is formatted)" in run.changed
    for host in (F0, F1, F2):
        assert site.sh(host, "mount -p | grep /keys").split()[:4] == ["/dev/ufs/F3S_KEYS", "/keys", "ufs", "ro"]
        assert site.sh(host, digests) == before
        assert "/keys" not in site.sh(host, "cat /etc/fstab")
    assert len({site.sh(host, "sha256 -q /keys/backup.key") for host in (F0, F1, F2)}) == 1
    assert properties(site, F0, NFSDATA, "encryptionroot", "keylocation", "mounted") == [
        NFSDATA, f"file://{KEY}", "yes",
    ]  # fmt: skip
    assert site.deploy(*TASKS).changed == []


# -- sticks --


@pytest.mark.parametrize(
    ("wrong", "make", "says"),
    [
        (F1, OTHER_KEY, f"the sticks disagree about {F0}:zdata.key: {F0} (SHA-256"),
        (F0, OTHER_KEY, f"the sticks disagree about {F0}:zdata.key: {F0} (SHA-256"),
        (F1, "printf short > {}", f"{F0}:zdata.key on the stick of {F1} has 5 bytes, a key has 32"),
    ],
)
def test_a_stick_with_another_key_stops_the_deploy_until_the_file_is_set_aside_as_told(
    site: Cluster, wrong: str, make: str, says: str
) -> None:
    right = site.sh(F0, f"sha256 -q {KEY}")
    rewrite(site, wrong, f"rm {KEY}; {make.format(KEY)}; chmod 400 {KEY}")
    before = state(site)
    told = refused(site, "usb_keys", says, wrong)
    assert state(site) == before
    if "disagree" in says:
        tells = f"on {F0} doas zfs load-key -n {ENC}"
        assert tells in told
        fits = site.attempt(F0, tells.removeprefix(f"on {F0} ")).rc == 0
        assert fits == (wrong != F0)
    [advice] = set(re.findall(r"set that aside: `([^`]+)`", told))
    assert csh_says(advice) == ""
    assert site.attempt(wrong, advice).rc == 0
    assert re.search(r"\sro\s", site.sh(wrong, f"ls {KEY}.aside; mount -p | grep /keys"))
    assert site.deploy("usb_keys").changed == [f"{wrong}: USB keys: every key on every stick"]
    assert site.sh(wrong, f"sha256 -q {KEY}") == right
    again = site.attempt(wrong, advice)
    assert "File exists" in again.out + again.err, "what was set aside is not written over"
    assert site.sh(wrong, f"sha256 -q {KEY}") == right


def test_verify_tells_how_each_closed_dataset_is_opened(site: Cluster, tmp_path: Path) -> None:
    site.sh(F0, f"zfs unmount {NFSDATA}; zfs unmount {ENC}; zfs unload-key -a; zfs set keylocation=file:///mnt/x {ENC}")
    file = tmp_path / "verify.json"
    site.pyinfra("tasks/verify.py", "-y", "--limit", F0, "--data", f"verify_json={file}")
    [row] = [row for row in json.loads(file.read_text())["rows"] if (row["check"], row["host"]) == ("keys", F0)]
    assert row["state"] == "wrong"
    assert csh_says(row["next_step"]) == ""
    site.sh(F0, row["next_step"])
    assert site.sh(F0, f"zfs get -H -o value keystatus,mounted {ENC} {NFSDATA}").split() == ["available", "yes"] * 2


def test_a_sealed_copy_brings_the_keys_back_when_no_stick_has_them(site: Cluster) -> None:
    """A stick without a key is named first; a wrong passphrase changes nothing."""
    site.make_secrets()
    words, right = ("tasks/escrow.py", "-y"), {"F3S_PASSPHRASE": "correct horse battery"}
    rewrite(site, F0, f"mv {KEY} /root/key")
    assert f"its stick lacks {F0}:zdata" in site.pyinfra(*words, **right).output
    rewrite(site, F0, f"mv /root/key {KEY}")
    nowhere = site.pyinfra(*words, "--data", "escrow_certificate=/nowhere.pem").output
    assert "no copy was made: [Errno 2] No such file or directory: '/nowhere.pem'" in nowhere
    assert "Traceback" not in nowhere
    keys = site.sh(F0, "sha256 -q /keys/*.key")
    made = site.pyinfra(*words, **right)
    assert made.changed == [f"{F0}: escrow: all keys in the sealed file"], made.output
    assert site.done(*words).changed == []
    sealed = site.state / "secrets" / "keys.sealed"
    assert str(sealed) in made.output
    paper = site.pyinfra(*words, "--data", f"escrow_paper={F0}:zdata")
    assert (site.state / "secrets" / f"{F0}:zdata.paper").exists(), paper.output
    for host in (F0, F1, F2):
        for words_of_lab in (("unplug", host), ("plug", host), ("swap", host, "da0")):
            site.lab(*words_of_lab)
    lost = site.pyinfra("tasks/usb_keys.py", "-y")
    assert "tasks/usb_keys.py --data escrow_from=FILE" in lost.output
    restore = ("tasks/usb_keys.py", "-y", "--data", f"escrow_from={sealed}")
    wrong = site.pyinfra(*restore, F3S_PASSPHRASE="wrong horse battery")
    assert (wrong.rc != 0, wrong.changed) == (True, [])
    assert f"escrow_from: {sealed}: the passphrase does not open it" in wrong.output
    site.done(*restore, **right)
    for host in (F0, F1, F2):
        assert site.sh(host, "sha256 -q /keys/*.key") == keys
    assert site.done(*restore, **right).changed == []


def test_old_lines_in_fstab_are_taken_out_and_foreign_ones_stay(blank: Cluster) -> None:
    old = ("/dev/ufs/F3S_KEYS\t/keys\tufs\trw\t0\t2", "  /dev/da0 /keys/ ufs ro,noauto 0 0")
    foreign = (
        "#/dev/da0 /keys ufs rw 0 0",
        "/dev/ada0p9 /backup ufs rw,noauto 0 0 # copy of /keys is here",
        "/dev/ada0p9 /keys/a ufs rw,noauto 0 0",
    )
    for line in (*old, *foreign):
        blank.sh(F0, f"echo '{line}' >>/etc/fstab")
    blank.deploy("usb_keys")
    assert blank.sh(F0, "grep -v Device /etc/fstab").splitlines() == list(foreign)


# -- disks and pools --


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("newfs /dev/ada1 >/dev/null", "it holds a file system (ufs)"),
        ("zpool create old /dev/ada1; zpool export old", "it holds a label of the pool old"),
        ("zpool create old /dev/ada1", "it belongs to the imported pool old"),
    ],
)
def test_a_disk_that_is_not_blank_is_not_touched(blank: Cluster, spoil: str, reason: str) -> None:
    blank.sh(F0, spoil)
    before = state(blank)
    refused(blank, "zfs_encrypt", f"{F0}: the pool zdata was not made, disk ada1 is not blank", reason)
    assert state(blank) == before


def test_a_stick_that_is_not_blank_is_not_formatted(blank: Cluster) -> None:
    blank.sh(F0, "printf x | dd of=/dev/da0 bs=1 seek=4000000 conv=notrunc 2>/dev/null")
    refused = blank.pyinfra("tasks/usb_keys.py", "--dry")
    assert refused.rc != 0
    assert "usb_format_allow = ['da0'] allows it to be overwritten" in refused.output
    blank.done("tasks/usb_keys.py", "--dry", "--data", 'usb_format_allow=["da0"]')


def test_a_pool_that_was_imported_without_mounting_it(site: Cluster) -> None:
    """`zpool import -N`, as f3s/keys.py advises."""
    site.sh(F0, f"zfs unmount {NFSDATA}; zfs unmount {ENC}; zpool export zdata; zpool import -N zdata")
    assert properties(site, F0, "zdata", "mounted") == ["no"]
    site.deploy("zfs_encrypt")
    assert [properties(site, F0, name, "mounted") for name in ("zdata", ENC, NFSDATA)] == [["yes"]] * 3
    assert site.deploy("zfs_encrypt").changed == []


# -- keys and the boot --


def test_a_reboot_without_the_stick_goes_on_and_writes_no_plain_text(site: Cluster) -> None:
    site.lab("unplug", F0)
    site.lab("reboot", F0)
    assert properties(site, F0, NFSDATA, "keystatus", "mounted") == ["unavailable", "no"]
    assert site.sh(F0, "touch /data/nfs/x 2>&1 || touch /data/enc/x 2>&1 || echo no").splitlines()[-1] == "no"
    # the bare directory of the standby is waiting for its replica
    assert "Operation not permitted" in site.sh(F1, "touch /data/nfs/x 2>&1 || true")
    site.lab("plug", F0)
    site.deploy(*TASKS)
    assert properties(site, F0, NFSDATA, "keystatus", "mounted") == ["available", "yes"]


def test_a_reboot_opens_what_an_empty_list_opened_before(blank: Cluster) -> None:
    """zfskeys_datasets of f0 gets entries: those of the deploy, and the dataset that its owner had there before."""
    make = "dd if=/dev/random of=/root/k bs=32 count=1 2>/dev/null; zfs create -o encryption=on -o keyformat=raw"
    blank.sh(F0, f"{make} -o keylocation=file:///root/k zroot/secret; sysrc zfskeys_enable=YES")
    blank.deploy(*TASKS)
    blank.lab("reboot", F0)
    assert properties(blank, F0, "zroot/secret", "keystatus", "mounted") == ["available", "yes"]
    assert properties(blank, F0, NFSDATA, "keystatus", "mounted") == ["available", "yes"]
    assert blank.deploy("zfs_encrypt").changed == []


# -- killed runs, secrets --


@pytest.mark.parametrize(("task", "command"), [("usb_keys", 60), ("zfs_encrypt", 26)])
def test_a_run_that_is_killed_can_be_run_again(blank: Cluster, task: str, command: int) -> None:
    """Killed instead of running its 60th or 26th command; the second run after it has nothing left to do."""
    if task == "zfs_encrypt":
        blank.deploy("usb_keys")
    assert blank.pyinfra(f"tasks/{task}.py", "-y", LAB_KILL_AT=str(command)).rc == 137
    assert blank.deploy(task).changed != []
    assert blank.deploy(task).changed == []


def test_no_key_appears_in_any_output(blank: Cluster) -> None:
    run = blank.done("tasks/usb_keys.py", "-y", "-vvv", "--debug")
    for line in blank.sh(F0, "for f in /keys/*.key; do openssl base64 -A -in $f; echo; done").splitlines():
        assert len(line) == 44
        assert line not in run.output
        assert line.rstrip("=") not in run.output
