from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.facts.files import Directory

from f3s.fstab import Entry
from f3s.monitor import MountState
from f3s.selinux import PortLabel, Selinux
from f3s.textfile import digest
from facts.clients import MountStates, SelinuxState
from facts.fstab import LinuxMounts
from facts.textfile import TextFileOf
from operations import fstab, selinux
from tests.operations.harness import Result, run, text_file
from tests.shell import words_of

BEFORE = "/dev/vda4 / xfs defaults 0 0\n"
LINE = "127.0.0.1:/k3svolumes /data/nfs/k3svolumes nfs4 hard,port=2323 0 0\n"
WANTED = {"source": "127.0.0.1:/k3svolumes", "mountpoint": "/data/nfs/k3svolumes", "options": ["hard", "port=2323"]}
MOUNT = ("127.0.0.1:/k3svolumes", "/data/nfs/k3svolumes")
MONITOR = "/usr/local/bin/check-nfs-mount.sh"


def entry(text: str | None, **changes: Any) -> Result:
    found = None if text is None else text_file(text, "640", "root")
    return run(fstab.entry, {TextFileOf: found}, **{**WANTED, **changes})


def test_the_new_file_takes_the_place_of_the_one_that_was_read_which_stays_beside_it() -> None:
    [command] = entry(BEFORE).commands
    words = words_of(command.get_raw_value())[3:]
    assert words == ["replace-file", "/etc/fstab", digest(BEFORE), digest(BEFORE + LINE), "640", "yes", "", ""]
    assert command.connector_arguments == {"_stdin": BEFORE + LINE}


def test_no_change_says_what_it_found() -> None:
    assert entry(BEFORE + LINE) == Result([], ["/etc/fstab has the line for /data/nfs/k3svolumes with these options"])


def test_a_line_of_nfsv3_through_the_tunnel_becomes_ours() -> None:
    before = "127.0.0.1:/data/nfs/k3svolumes /data/nfs/k3svolumes nfs vers=3,port=2323 0 0\n"
    [command] = entry(BEFORE + before).commands
    assert command.connector_arguments == {"_stdin": BEFORE + LINE}


def test_a_line_of_somebody_else_is_moved_by_hand() -> None:
    disk = "/dev/sdb1 /data/nfs/k3svolumes ext4 defaults 0 2\n"
    for text, why in (
        (None, "TextFileOf of /etc/fstab could not be read"),
        ("", "missing or empty"),
        (BEFORE + disk, r"line 2 mounts /dev/sdb1 .* decide about it by hand"),
        (BEFORE + 2 * LINE, "lines 2 and 3 both mount something at"),
    ):
        with pytest.raises(OperationError, match=why):
            entry(text)
    assert len(entry(BEFORE + disk.replace("/data/nfs", "/mnt")).commands) == 1, "moved by hand"


@pytest.mark.parametrize(
    ("table", "directory", "commands"),
    [
        ((), None, ["mkdir -p -m 0755 -- /data/nfs/k3svolumes"]),
        ((), {"mode": 755}, []),
        ((Entry(*MOUNT, "nfs4", ("rw",)),), None, []),
    ],
)
def test_the_directory_below_a_mount_is_not_looked_at(table: Any, directory: Any, commands: list[str]) -> None:
    assert run(fstab.mount_point, {LinuxMounts: table, Directory: directory}, MOUNT[1]).commands == commands


IN_FORCE = Entry(*MOUNT, "nfs4", ("rw", "hard", "port=2323"))
HEALTHY = MountState(MOUNT[1], "healthy", 0)


def mounted(
    *table: Entry, after: tuple[Entry, ...] = (IN_FORCE,), state: MountState = HEALTHY, executing: bool = True
) -> Result:
    """With `table` before the monitor has run, and `after` and `state` from then on."""
    tables = iter([table, after])

    def states(monitor: str) -> tuple[MountState, ...]:
        assert monitor == MONITOR
        return (state,)

    facts = {LinuxMounts: lambda: next(tables), MountStates: states}
    return run(fstab.mounted, facts, [MOUNT], options=["hard", "port=2323"], monitor=MONITOR, executing=executing)


def test_mounted_already() -> None:
    assert mounted(IN_FORCE) == Result([], ["mounted: /data/nfs/k3svolumes"])


@pytest.mark.parametrize("table", [(), (IN_FORCE, Entry("nas:/x", MOUNT[1], "nfs", ("rw", "vers=3")))])
def test_mounting_is_left_to_the_monitor(table: tuple[Entry, ...]) -> None:
    ran = mounted(*table)
    assert ran.commands == [f"{MONITOR} --once; case $? in 0|1|75) ;; *) exit 1 ;; esac"]
    assert ran.logs == []


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (
            MountState(MOUNT[1], "not-mounted", 0, 1, "nothing is mounted; no answer"),
            "not-mounted, nothing is mounted;",
        ),
        (MountState(MOUNT[1], None), "not checked yet; it is configured, and the monitor goes on trying"),
        (
            MountState(MOUNT[1], "foreign", 0, 1, "127.0.0.1:/data/nfs/k3svolumes is mounted there"),
            "foreign, 127.0.0.1:/data/nfs/k3svolumes is mounted there; it is configured, and the monitor mounts it "
            f"after `umount {MOUNT[1]}`,",
        ),
    ],
)
def test_a_mount_that_did_not_come_is_told(state: MountState, says: str) -> None:
    [told] = mounted(after=(), state=state).logs
    assert told.startswith(f"{MOUNT[1]}: {says}")
    assert mounted(after=(), state=state, executing=False).logs == [], "nothing has been tried in the plan"


def test_options_that_are_not_in_force_are_told_and_left_alone() -> None:
    old = Entry(*MOUNT, "nfs4", ("rw", "soft", "port=2323"))
    ran = mounted(old, after=(old,))
    assert ran.commands == []
    assert ran.logs[0].startswith(f"{MOUNT[1]} has soft instead of hard: /etc/fstab is in force after the next")


def port(state: Selinux, **arguments: Any) -> Result:
    return run(selinux.stunnel_port, {SelinuxState: state}, 2323, **arguments)


ADD = "semanage port -a -t stunnel_port_t -p tcp 2323"
GENERIC = PortLabel("unreserved_port_t", 1024, 32767)


def test_selinux_label() -> None:
    assert port(Selinux("Enforcing", (GENERIC,))).commands == [ADD]
    assert port(Selinux("Enforcing", ())).commands == [ADD]
    assert port(Selinux("Enforcing", (GENERIC, PortLabel("stunnel_port_t", 2323, 2323)))) == Result(
        [], ["TCP port 2323 is stunnel_port_t"]
    )
    other = port(Selinux("Enforcing", (GENERIC, PortLabel("http_port_t", 2323, 2323))))
    assert other.commands == []
    assert "of another service" in other.noops[0]


@pytest.mark.parametrize("mode", ["Permissive", "Disabled", "absent"])
def test_no_label_where_selinux_does_not_enforce(mode: str) -> None:
    assert port(Selinux(mode, None)).commands == []


def test_containers_use_nfs_where_k3s_has_its_policy() -> None:
    def containers(state: Selinux) -> list[str]:
        return run(selinux.containers_use_nfs, {SelinuxState: state}).commands

    assert containers(Selinux("Enforcing", (), False)) == ["setsebool -P virt_use_nfs on"]
    for state in (Selinux("Enforcing", (), True), Selinux("Enforcing", ()), Selinux("Permissive", (), False)):
        assert containers(state) == []


def test_semanage_is_installed_by_an_earlier_operation() -> None:
    assert port(Selinux("Enforcing", None), executing=False).commands == [ADD]
    with pytest.raises(OperationError, match="policycoreutils-python-utils"):
        port(Selinux("Enforcing", None))
    assert port(Selinux("Enforcing", ())).commands == [ADD]
