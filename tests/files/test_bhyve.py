"""files/once/bhyve-wait.sh and files/once/bhyve-metadata.sh under a real sh."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost

FOLDER = "/zroot/bhyve"
HEADING = "NAME    DATASTORE  LOADER  CPU  MEMORY  VNC  AUTO     STATE  TAGS\n"  # recorded on 15.1 (vm-bhyve 1.8-devel)


def line(name: str, state: str, auto: str = "Yes [1]") -> str:
    return f"{name}  default    uefi    4    14G     -    {auto}  {state}  -\n"


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    stubs = StubHost(tmp_path)
    stubs.command("sleep")
    program = stubs.path("/usr/local/sbin/vm")
    program.parent.mkdir(parents=True)
    program.symlink_to(stubs.bin / "vm")
    return stubs


def wait(host: StubHost, lists: list[str], *args: str, heading: str = HEADING) -> Result:
    """vm has one list for each call, the last one for ever; it fails where it has none."""
    for number, text in enumerate(lists, 1):
        host.state(f"list{number}", heading + text)
    last = len(lists)
    host.counted("vm", f'[ "$*" = list ] || exit 64; [ $n -lt {last} ] || n={last}; cat "$STATE/list$n"')
    # the rewriting leaves /dev alone, and this machine's must not be asked
    program = host.install(FILES / "once" / "bhyve-wait.sh", "/tmp/bhyve-wait")
    program.write_text(program.read_text().replace("/dev/vmm", f"{host.root}/dev/vmm"))
    return host.run(program, *args)


def test_waits_until_all_are_stopped(host: StubHost) -> None:
    lists = [
        line("rocky", "Running (123)") + line("fedora", "Running (9)", "No"),
        line("rocky", "Locked (f0)") + line("fedora", "Suspended", "No"),
        line("rocky", "Stopped") + line("fedora", "Suspended", "No"),
    ]
    result = wait(host, lists, "stopped", "60", FOLDER, "rocky", "fedora")
    assert (result.rc, result.err) == (0, "")
    assert host.calls("sleep") == [["5"], ["5"]]


@pytest.mark.parametrize(
    ("heading", "row"),
    [
        ("NAME    DATASTORE  LOADER  CPU  MEMORY  VNC  AUTO     STATE\n", "rocky  default  uefi  4  14G  -  No  {}\n"),
        (
            "NAME            GUEST      LOADER      CPU    MEMORY    AUTOSTART    STATE \n",
            "rocky  linux  uefi  4  No  {}\n",
        ),
        (HEADING, "rocky  default  uefi  4  14G  -  No  {}  Stopped,Running\n"),
        (HEADING, "rocky  default  none  1G  -  No  {}  -\n"),
    ],
    ids=["1.7", "1.0", "tags", "a machine without cpu"],
)
def test_the_state_is_found_by_the_heading(host: StubHost, heading: str, row: str) -> None:
    for state, rc in (("Stopped", 0), ("Suspended", 0), ("Running (123)", 1), ("Locked (f9)", 1)):
        result = wait(host, [row.format(state)], "stopped", "0", FOLDER, "rocky", heading=heading)
        assert (state, result.rc) == (state, rc)
        assert state.split()[0] in result.err or rc == 0


def test_a_list_without_the_column_is_not_taken_for_stopped(host: StubHost) -> None:
    result = wait(host, ["rocky  Stopped\n"], "stopped", "60", FOLDER, "rocky", heading="NAME  STATUS\n")
    assert (result.rc, result.err) == (2, "bhyve-wait: vm list has no column STATE: NAME  STATUS\n")


def test_names_what_does_not_stop_in_time(host: StubHost) -> None:
    lists = [line("rocky", "Running (123)") + line("rocky2", "Stopped") + line("boot", "Bootloader (4)")]
    result = wait(host, lists, "stopped", "12", FOLDER, "rocky", "rocky2", "boot", "gone")
    assert result.rc == 1
    assert result.err == (
        "bhyve-wait: not stopped in time: rocky (Running) boot (Bootloader) gone (unknown to vm list)\n"
        "bhyve-wait: stopped by now: rocky2\n"
    )
    assert len(host.calls("sleep")) == 3


def test_waits_until_one_runs(host: StubHost) -> None:
    lists = [line("rocky", "Stopped"), line("rocky", "Bootloader (4)")]
    assert wait(host, lists, "running", "60", FOLDER, "rocky").rc == 0
    assert wait(host, lists[1:], "running", "0", FOLDER, "rocky").rc == 0
    assert wait(host, [line("rocky", "Stopped"), line("rocky", "Stopped")], "running", "5", FOLDER, "rocky").rc == 1


def test_a_vm_list_that_fails_is_not_taken_for_stopped(host: StubHost) -> None:
    assert wait(host, [], "stopped", "60", FOLDER, "rocky").rc == 2


def lock(host: StubHost, name: str, holder: str = "f0") -> Path:
    host.command("hostname", "echo f0", record=False)
    return host.write(f"{FOLDER}/{name}/run.lock", f"{holder}\n")


def test_a_lock_of_this_host_without_a_machine_is_removed_after_a_while(host: StubHost) -> None:
    """After a power cut; the machine that shuts down meanwhile has its own lock for a moment, which goes by itself."""
    stale, own = lock(host, "fedora"), lock(host, "rocky")
    lists = [
        line("rocky", state) + line("fedora", "Locked (f0)") for state in ("Running (9)", "Locked (f0)", "Stopped")
    ]
    result = wait(host, lists, "stopped", "5", str(host.path(FOLDER)), "rocky", "fedora")
    assert (result.rc, result.err) == (0, "")
    assert "fedora does not run" in result.out
    assert not stale.exists()
    assert own.exists()
    assert host.calls("sleep") == [["5"]] * 4


def test_a_lock_is_kept_while_there_is_a_machine_or_one_comes_back(host: StubHost) -> None:
    kept = lock(host, "rocky")
    host.write("/dev/vmm/rocky", "")
    result = wait(host, [line("rocky", "Locked (f0)")], "stopped", "60", str(host.path(FOLDER)), "rocky")
    assert (result.rc, result.err) == (1, "bhyve-wait: not stopped in time: rocky (Locked)\n")
    assert kept.exists()
    # a guest that reboots
    host.path("/dev/vmm/rocky").unlink()
    lists = [line("rocky", state) for state in [*["Locked (f0)"] * 3, "Running (9)", *["Locked (f0)"] * 3, "Stopped"]]
    assert wait(host, lists, "stopped", "60", str(host.path(FOLDER)), "rocky").rc == 0
    assert kept.exists()


def test_a_machine_that_only_the_kernel_still_has_is_not_stopped(host: StubHost) -> None:
    """Both bhyve and vm were killed: vm says Stopped, and its disks are in use."""
    host.write("/dev/vmm/rocky", "")
    result = wait(host, [line("rocky", "Stopped")], "stopped", "5", FOLDER, "rocky")
    assert result.rc == 1
    assert (
        "rocky (Stopped, but the kernel has it: where it has no process, bhyvectl --destroy --vm=rocky)" in result.err
    )
    host.path("/dev/vmm/rocky").unlink()
    assert wait(host, [line("rocky", "Stopped")], "stopped", "5", FOLDER, "rocky").rc == 0


def test_a_lock_of_another_host_is_named_at_once_and_kept(host: StubHost) -> None:
    kept = lock(host, "rocky", "f9")
    result = wait(host, [line("rocky", "Locked (f9)")], "stopped", "60", str(host.path(FOLDER)), "rocky")
    assert result.rc == 1
    assert "locked by another host: rocky (f9); where it runs nowhere, remove" in result.err
    assert kept.exists()
    assert host.calls("sleep") == []


ZFS = """\
[ "$1 $2 $3 $4" = "get -H -o value" ] || exit 64
case "$5 $6" in
"mounted "*) cat "$STATE/mounted-$6" ;;
"mountpoint old") echo "$STATE/../root/old" ;;
"mountpoint new") echo "$STATE/../root/new" ;;
*) exit 1 ;;
esac"""


@pytest.fixture
def trees(tmp_path: Path) -> StubHost:
    """Two datasets, old with files of every sort, new with nothing."""
    host = StubHost(tmp_path)
    host.command("zfs", ZFS)
    for name in ("cmp", "readlink", "find"):
        host.command(name, f'exec /usr/bin/{name} "$@"', record=False)
    host.state("mounted-old", "yes\n")
    host.state("mounted-new", "yes\n")
    old = host.path("/old")
    for folder in (".config", ".img", ".templates", "rocky", ".zfs/snapshot/x", "it's a dir"):
        (old / folder).mkdir(parents=True)
    (old / ".config/system.conf").write_text("switch_list=public\n")
    (old / ".templates/rocky.conf").write_text("cpu=4\n")
    (old / ".img/a b\nc.img").write_bytes(b"\0" * 5000)
    (old / "it's a dir/-rf").write_text("x")
    (old / "vm-bhyve.log").write_text("log\n")
    (old / "link").symlink_to(".config/system.conf")
    (old / ".config/system.conf").chmod(0o600)
    (old / ".img").chmod(0o700)
    (old / "sub/.zfs").mkdir(parents=True)
    os.utime(old / "vm-bhyve.log", (1, 1))
    host.path("/new").mkdir()
    return host


def metadata(host: StubHost, verb: str) -> Result:
    return host.run(FILES / "once" / "bhyve-metadata.sh", verb, "old", "new")


def test_copies_all_files_as_they_are(trees: StubHost) -> None:
    assert metadata(trees, "compare").rc == 1
    assert metadata(trees, "copy") == Result(0, "", "")
    assert metadata(trees, "compare") == Result(0, "", "")
    new = trees.path("/new")
    assert sorted(path.name for path in new.iterdir()) == sorted(
        [".config", ".img", ".templates", "rocky", "it's a dir", "vm-bhyve.log", "link", "sub"]
    )
    assert (new / ".config/system.conf").stat().st_mode & 0o777 == 0o600
    assert (new / ".img").stat().st_mode & 0o777 == 0o700
    assert (new / "vm-bhyve.log").stat().st_mtime == 1
    assert (new / "link").is_symlink()
    assert (new / "sub/.zfs").is_dir()


def test_copies_again_over_a_copy_that_was_cut_short(trees: StubHost) -> None:
    metadata(trees, "copy")
    (trees.path("/new") / "vm-bhyve.log").write_text("l")
    (trees.path("/new") / ".templates/rocky.conf").unlink()
    assert metadata(trees, "copy").rc == 0
    assert metadata(trees, "compare").rc == 0


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda new: (new / "vm-bhyve.log").write_text("LOG\n"), "./vm-bhyve.log"),
        (lambda new: (new / ".config/system.conf").chmod(0o644), "./.config/system.conf"),
        (lambda new: (new / "rocky").rmdir(), "./rocky"),
        (lambda new: ((new / "link").unlink(), (new / "link").symlink_to("x")), "./link"),
        (lambda new: (new / "it's a dir/-rf").unlink(), "./it's a dir/-rf"),
    ],
)
def test_tells_what_differs(trees: StubHost, spoil: object, named: str) -> None:
    metadata(trees, "copy")
    assert callable(spoil)
    spoil(trees.path("/new"))
    result = metadata(trees, "compare")
    assert result.rc == 1
    assert result.err.splitlines()[1:] == [named]


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize("verb", ["copy", "compare"])
def test_never_works_on_a_dataset_that_is_not_mounted(trees: StubHost, name: str, verb: str) -> None:
    trees.state(f"mounted-{name}", "no\n")
    result = metadata(trees, verb)
    assert (result.rc, result.err) == (1, f"bhyve-metadata: {name} is not mounted\n")
    assert list(trees.path("/new").iterdir()) == []


def test_a_copy_that_fails_is_told(trees: StubHost) -> None:
    trees.command("cp", "exit 1")
    assert metadata(trees, "copy").rc != 0


def test_usage(trees: StubHost) -> None:
    assert metadata(trees, "move").rc == 64
