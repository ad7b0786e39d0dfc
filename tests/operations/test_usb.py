from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.exceptions import ConnectError, OperationError
from pyinfra.context import ctx_host, ctx_inventory

from f3s.disks import parse_disk
from f3s.escrow import Copies
from f3s.keys import SILENT_STICK, KeyFile, Stick
from f3s.mounts import Mount
from f3s.parsing import NoAnswer
from f3s.quoting import Shell, UnsafeValue
from f3s.zfs import parse_datasets
from facts.base import FILES, script
from facts.disks import Probe
from facts.rcconf import Variables
from facts.usb import KeyStick
from facts.zfs import Datasets, ImportablePools
from operations import base, usb
from tests.facts.disk_output import probe_output
from tests.facts.recorded import ENC, REPLICA, zfs_get
from tests.operations.harness import FakeHost, run
from tests.shell import words_of

RO = Mount("ufs/F3S_KEYS", "/keys", "ufs", frozenset({"ro"}))
RW = Mount("ufs/F3S_KEYS", "/keys", "ufs", frozenset({"rw"}))
NO_STICK = Stick(None, None, None, None, ())
STICK = ("F3S_KEYS", "/keys")
F0, F1, F2 = HOSTS = [f"f{number}.lan.buetow.org" for number in range(3)]
NAME, NFSDATA = f"{F0}:zdata", "zdata/sink/f0/zdata/enc/nfsdata"
KEY = bytes(range(32))
FORMAT = script("format-stick", "F3S_KEYS", "/dev/da0")
# folding loses the newline at the end (f3s/quoting.py)
BOUNDED = usb._bounded
PROGRAM = (FILES / "once" / "format-stick.sh").read_text().rstrip("\n")


@pytest.fixture(autouse=True)
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands without their limit in time, which has tests of its own."""
    monkeypatch.setattr(usb, "_bounded", lambda body, who: body)


def stick(*keys: KeyFile, mount: Mount | None = RO, unfinished: tuple[str, ...] = ()) -> Stick:
    return Stick("da0", mount, None, {key.name: key for key in keys}, unfinished)


def key(content: bytes = KEY, mode: str = "400", name: str = NAME) -> KeyFile:
    return KeyFile(name, len(content), mode, "root:wheel", hashlib.sha256(content).hexdigest())


# -- format --


def formatted(found: Stick, allow: tuple[str, ...] = (), executing: bool = True, **probe: tuple[int, str]) -> Any:
    facts = {KeyStick: found, Probe: parse_disk(probe_output(**probe), "da0")}
    return run(usb.formatted, facts, "da0", *STICK, allow=allow, executing=executing)


def test_a_blank_stick_is_formatted() -> None:
    assert formatted(NO_STICK).commands == [FORMAT]


def test_a_stick_with_the_label_is_left_alone() -> None:
    result = formatted(stick())
    assert (result.commands, result.noops) == ([], ["the stick F3S_KEYS is on da0"])


def test_a_missing_stick() -> None:
    with pytest.raises(OperationError, match="no stick with the label F3S_KEYS and no disk da0: plug the stick in"):
        formatted(NO_STICK, diskinfo=(1, "diskinfo: da0: No such file or directory"))


@pytest.mark.parametrize("executing", [True, False])
@pytest.mark.parametrize("allow", [(), ("da0",)])
@pytest.mark.parametrize(
    ("probe", "text"),
    [
        ({"fstyp": (0, "msdosfs")}, "it holds a file system"),
        ({"mounts": (0, "/dev/da0p2 / ufs rw 1 1")}, "mounted on /"),
        ({"geom": (0, "Mode: r1w1e1")}, "it is in use"),
    ],
)
def test_no_permission_lets_anything_recognised_be_formatted(
    probe: dict[str, tuple[int, str]], text: str, allow: tuple[str, ...], executing: bool
) -> None:
    with pytest.raises(OperationError) as refusal:
        formatted(NO_STICK, allow, executing, **probe)
    assert "da0 was not formatted, it is not blank" in str(refusal.value)
    assert text in str(refusal.value)
    assert "usb_format_allow" not in str(refusal.value)


def test_a_stick_as_it_is_sold_is_looked_at_and_cleared_by_hand() -> None:
    table = "=>  63  30463937  da0  {}  (15G)\n  63  1985  - free -  (993K)\n  2048  30461952  1  {}  [active]  (15G)"
    for probe, device in (
        ({"gpart": (0, table.format("MBR", "fat32lba"))}, "da0s1"),
        ({"gpart": (0, table.format("GPT", "ms-basic-data"))}, "da0p1"),
        ({"fstyp": (0, "msdosfs STICK")}, "da0"),
    ):
        with pytest.raises(OperationError, match=f"msdosfs /dev/{device} /mnt.* dd if=/dev/zero of=/dev/da0 bs=1m"):
            formatted(NO_STICK, **probe)
    # one that somebody uses, or with more on it, is not
    used = {"fstyp": (0, "msdosfs"), "geom": (0, "Mode: r1w1e1")}
    for probe in (used, {"gpart": (0, table.format("MBR", "fat32") + "\n  9  9  2  freebsd  (1G)")}):
        with pytest.raises(OperationError, match="find out what it is"):
            formatted(NO_STICK, **probe)


def test_a_stick_with_a_file_system_but_no_label_may_be_the_key_stick() -> None:
    with pytest.raises(OperationError) as refusal:
        formatted(NO_STICK, ("da0",), fstyp=(0, "ufs"), head=(0, "x"))
    text = str(refusal.value)
    assert "mount -r /dev/da0 /mnt && ls /mnt; if it has the keys: umount /mnt && tunefs -L F3S_KEYS /dev/da0" in text
    assert "dd " not in text
    assert "if it has none, put another stick in" in text


def test_unrecognised_content_needs_permission_for_that_device() -> None:
    for allow in ((), ("da1",)):
        with pytest.raises(OperationError, match=r"usb_format_allow = \['da0'\] allows it"):
            formatted(NO_STICK, allow, head=(0, "x"))
    assert formatted(NO_STICK, ("da0",), head=(0, "x")).commands == [FORMAT]


def test_a_key_stick_that_was_made_by_hand_gets_the_label() -> None:
    old = Mount("da0", "/keys", "ufs", frozenset({"rw"}))
    by_hand = Stick(None, old, None, {NAME: key()}, ())
    (line,) = formatted(by_hand).commands
    assert words_of(line)[-4:] == ["label-stick", "F3S_KEYS", "/dev/da0", "/keys"]
    for keys in (None, {}, {NAME: KeyFile(NAME, 12, "400", "root:wheel", "0" * 64)}):
        with pytest.raises(OperationError, match=r"da0 is mounted on /keys and has no label F3S_KEYS. No keys are on"):
            formatted(Stick(None, old, None, keys, ()))
    with pytest.raises(OperationError, match="set usb_label = 'KEYS'"):
        formatted(Stick(None, replace(old, device="ufs/KEYS"), None, None, ()))
    # while the plan is made, that refusal is the only one about it
    assert run(usb.mounted_read_only, {KeyStick: Stick(None, old, None, None, ())}, *STICK, executing=False).logs == []


def test_a_stick_that_was_pulled_while_mounted() -> None:
    pulled = Stick(None, RO, None, None, ())
    gone = "umount -f /keys || ! mount -p | grep -F /dev/ufs/F3S_KEYS"
    assert formatted(pulled).commands == [gone, FORMAT]
    with pytest.raises(OperationError, match="da0 was not formatted, it is not blank"):
        formatted(pulled, head=(0, "x"))


def test_unknown_sticks_and_disks_are_not_formatted() -> None:
    for facts in ({KeyStick: None}, {KeyStick: NO_STICK, Probe: None}):
        with pytest.raises(OperationError, match="could not be read; nothing was changed"):
            run(usb.formatted, facts, "da0", *STICK)


def test_a_hostile_label_is_quoted() -> None:
    facts = {KeyStick: NO_STICK, Probe: parse_disk(probe_output(), "da0")}
    result = run(usb.formatted, facts, "da0", "a; reboot", "/keys")
    (line,) = result.commands
    assert words_of(line) == ["sh", "-c", PROGRAM, "format-stick", "a; reboot", "/dev/da0"]
    with pytest.raises(UnsafeValue, match="must not look like an option"):
        run(usb.formatted, facts, "da0", "-n", "/keys")


# -- mount --


def test_mounting() -> None:
    for found, commands in (
        (Stick("da0", None, None, None, ()), ["service f3skeys onestart"]),
        (NO_STICK, ["service f3skeys onestart"]),
        (stick(mount=RW), ["umount /keys && service f3skeys onestart"]),
        (Stick(None, RW, None, None, ()), ["service f3skeys onestart"]),
        (stick(), []),
    ):
        assert run(usb.mounted_read_only, {KeyStick: found}, *STICK).commands == commands


def test_what_is_in_the_way_of_the_stick() -> None:
    other = Mount("da1", "/keys", "ufs", frozenset({"rw"}))
    with pytest.raises(OperationError, match="/keys is taken by da1"):
        run(usb.mounted_read_only, {KeyStick: Stick("da0", other, None, None, ())}, *STICK)
    there = Mount("ufs/F3S_KEYS", "/mnt", "ufs", frozenset({"rw"}))
    with pytest.raises(OperationError, match="mounted on /mnt, it belongs on /keys: umount /mnt"):
        run(usb.mounted_read_only, {KeyStick: Stick("da0", None, there, None, ())}, *STICK)


# -- keys --


class Cluster:
    """Three hosts with their sticks; f0 is the one that the operation runs for."""

    def __init__(self, sticks: list[Stick | NoAnswer | None], datasets: Mapping[str, list[str]] | None = None) -> None:
        self.hosts = {}
        for name, found in zip(HOSTS, sticks, strict=True):
            lines = (datasets or {}).get(name, [])
            self.hosts[name] = FakeHost(
                {
                    KeyStick: found,
                    Datasets: parse_datasets(lines),
                    ImportablePools: (),
                    Variables: {"zfskeys_datasets": None},
                },
                name=name,
            )

    def get_host(self, name: str) -> FakeHost:
        return self.hosts[name]

    def without(self, name: str) -> Cluster:
        def unreachable(**_: object) -> None:
            raise ConnectError("no route to host")

        self.hosts[name].facts = dict.fromkeys((KeyStick, Datasets), unreachable)
        return self

    def run(self, executing: bool = True, copies: Copies | None = None) -> Any:
        with ctx_inventory.use(self):  # type: ignore[arg-type]
            return run(usb.keys, self.hosts[F0].facts, [NAME], HOSTS, *STICK, copies=copies, executing=executing)

    def export(self, names: list[str], only: bool, has: Mapping[str, str], write: Any = None) -> Any:
        with ctx_inventory.use(self):  # type: ignore[arg-type]
            return run(usb.exported, self.hosts[F0].facts, names, *STICK, only, has, write)


@pytest.fixture(autouse=True)
def new_run() -> Iterator[None]:
    usb._made.clear()
    yield
    usb._made.clear()


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Lets a stick answer with KEY; returns what was read."""
    reads: list[tuple[str, str]] = []

    def run_shell_command(name: str) -> Any:
        def answer(command: object, **arguments: object) -> tuple[bool, Any]:
            assert arguments == {"print_output": False, "print_input": False, "_doas": True, "_timeout": 60}
            reads.append((name, str(command)))
            return True, SimpleNamespace(stdout=base64.b64encode(KEY).decode())

        return answer

    monkeypatch.setattr(
        FakeHost, "run_shell_command", property(lambda host: run_shell_command(host.name)), raising=False
    )
    monkeypatch.setattr(base, "pop_global_arguments", lambda *_: ({"_doas": True, "name": "x"}, []))
    return reads


def sent(result: Any) -> list[str]:
    """The lines on standard input of the only command."""
    (command,) = result.commands
    assert str(command).startswith("sh -c ")
    assert str(command).endswith(" write-keys /keys /dev/ufs/F3S_KEYS")
    lines: list[str] = command.connector_arguments["_stdin"]
    for line in lines:
        assert line.split()[-1] not in str(command)
    return lines


def test_all_keys_there() -> None:
    result = Cluster([stick(key()), stick(key()), stick(key())]).run()
    assert result.commands == []
    assert result.noops == ["the stick has all 1 keys, and no stick disagrees"]


def test_a_key_of_the_users_own_is_copied_and_one_that_differs_is_left_alone(reading: list[tuple[str, str]]) -> None:
    own, different = key(name="backup"), [key(bytes([number] * 32), name="mine") for number in range(2)]
    short = key(b"secret", name="short")
    sticks = [stick(key(), different[0]), stick(key(), own, different[1], short), stick(key(), own)]
    assert [line.split()[:2] for line in sent(Cluster(list(sticks)).run())] == [["write", "backup.key"]]
    assert [where for where, _ in reading] == [F1]


def test_a_key_lost_on_one_stick_is_copied(reading: list[tuple[str, str]]) -> None:
    lines = sent(Cluster([stick(), stick(key()), stick(key())]).run())
    assert lines == [f"write {NAME}.key {key().sha256} {base64.b64encode(KEY).decode()}"]
    assert reading == [(F1, f"openssl base64 -A -in /keys/{NAME}.key")]


def test_a_key_that_no_stick_has_comes_from_a_copy_that_somebody_has_kept() -> None:
    """No host is asked whether it needs the key, because none is made."""
    lines = sent(Cluster([stick(), stick(), None]).run(copies=Copies("keys.sealed", {NAME: KEY})))
    assert lines == [f"write {NAME}.key {key().sha256} {base64.b64encode(KEY).decode()}"]
    assert "base64" not in repr(Copies("keys.sealed", {NAME: KEY}))
    assert repr(KEY) not in repr(Copies("keys.sealed", {NAME: KEY}))


def test_a_copy_that_disagrees_with_a_stick_writes_nothing() -> None:
    with pytest.raises(OperationError, match=r"the sticks disagree about .*keys\.sealed \(SHA-256"):
        Cluster([stick(), stick(key()), stick()]).run(copies=Copies("keys.sealed", {NAME: b"x" * 32}))


def test_what_a_copy_gets(reading: list[tuple[str, str]]) -> None:
    own = key(name="backup")
    spaced = key(name="not copied anywhere")
    cluster = Cluster([stick(key(), own, spaced, key(b"short", name="short")), stick(), stick()])
    has = {each.name: each.sha256 for each in (key(), own)}
    assert cluster.export([NAME], False, has).noops == ["the copy has all 2 keys"]
    with pytest.raises(OperationError, match="its stick lacks missing: tasks"):
        cluster.export([NAME, "missing"], False, has)
    assert reading == [], "nothing is read where there is nothing to do"
    for only, old, wanted in ((False, {NAME: "old"}, {NAME: KEY, "backup": KEY}), (True, {}, {NAME: KEY})):
        written: list[Mapping[str, bytes]] = []
        (command,) = cluster.export([NAME], only, old, written.append).commands
        with ctx_inventory.use(cluster):  # type: ignore[arg-type]
            command.function()
        assert written == [wanted]


def test_a_copy_that_is_not_the_key_of_the_fact_is_not_written(reading: list[tuple[str, str]]) -> None:
    with pytest.raises(OperationError, match=f"{NAME}.key could not be read from {F1}"):
        Cluster([stick(), stick(key(b"x" * 32)), stick(key(b"x" * 32))]).run()


def test_the_plan_reads_and_makes_no_key() -> None:
    for other in (stick(key()), stick()):
        assert sent(Cluster([stick(), other, other]).run(executing=False)) == []
    assert usb._made == {}


def test_a_key_is_made_once_for_all_hosts() -> None:
    (first,) = sent(Cluster([stick(), stick(), stick()]).run())
    (second,) = sent(Cluster([stick(), stick(), stick()]).run())
    verb, name, digest, content = first.split()
    made = base64.b64decode(content)
    assert (verb, name, len(made)) == ("write", f"{NAME}.key", 32)
    assert hashlib.sha256(made).hexdigest() == digest
    assert first == second


@pytest.mark.parametrize("executing", [True, False])
def test_what_stops_the_plan_already(executing: bool) -> None:
    disagree = Cluster([stick(key()), stick(key(b"y" * 32)), stick()])
    lost = Cluster([stick(), stick(), stick()], {F0: zfs_get("zdata/enc", ENC)})
    for cluster, says in (
        (disagree, f"the sticks disagree about {NAME}.key: {F0} .*{F1}"),
        (lost, f"it encrypts zdata/enc on {F0}. A new key could never open"),
    ):
        with pytest.raises(OperationError, match=says):
            cluster.run(executing)


def test_an_unreachable_host_stops_the_making_of_keys() -> None:
    cluster = Cluster([stick(), stick(), stick()]).without(F2)
    with pytest.raises(OperationError) as refusal:
        cluster.run()
    assert f"no key was written: no stick has {NAME}.key; " in str(refusal.value)
    assert "without --limit" in str(refusal.value)
    assert f"the stick of {F2} cannot be read" in str(refusal.value)
    assert f"the datasets of {F2} cannot be read" in str(refusal.value)


def test_an_unreachable_host_does_not_stop_copying(reading: list[tuple[str, str]]) -> None:
    assert len(sent(Cluster([stick(), stick(key()), stick()]).without(F2).run())) == 1


@pytest.mark.parametrize(
    ("hidden", "reason"),
    [
        ({ImportablePools: ("zold",)}, "pools that are not imported, and nothing tells which keys they need: zold"),
        ({ImportablePools: None}, f"the datasets of {F1} cannot be read"),
        ({Variables: {"zfskeys_datasets": "zdata/enc"}}, "names what is not there: zdata/enc"),
        ({Variables: None}, f"the datasets of {F1} cannot be read"),
        ({Datasets: None}, f"the datasets of {F1} cannot be read"),
        ({Datasets: parse_datasets(zfs_get(NFSDATA, REPLICA))}, f"{NFSDATA} on {F1} has keylocation prompt: nothing t"),
    ],
)
def test_datasets_out_of_sight_stop_the_making_of_keys(hidden: dict[type, Any], reason: str) -> None:
    cluster = Cluster([stick(), stick(), stick()])
    cluster.hosts[F1].facts = {**cluster.hosts[F1].facts, **hidden}
    with pytest.raises(OperationError, match=f"no stick has {NAME}.key; .*{reason}"):
        cluster.run()


def test_sticks_that_are_not_mounted_are_settled_after_the_plan() -> None:
    unmounted = Stick("da0", None, None, None, ())
    cluster = Cluster([unmounted, unmounted, unmounted])
    assert sent(cluster.run(executing=False)) == []
    with pytest.raises(OperationError, match="the stick is not mounted"):
        cluster.run()


def test_exposed_keys_and_unfinished_files_are_mended() -> None:
    everywhere = [stick(key()), stick(key())]
    lines = sent(Cluster([stick(key(mode="644")), *everywhere]).run())
    assert lines == [f"protect {NAME}.key"]
    assert sent(Cluster([stick(key(), unfinished=(".x.key.new",)), *everywhere]).run()) == []


# -- sticks that do not answer --


@pytest.mark.parametrize("fact", [KeyStick, Probe])
def test_a_stick_that_does_not_answer_stops_its_host_with_a_word(fact: type) -> None:
    silent = NoAnswer("the stick F3S_KEYS (da0) did not answer within 60 s (asked last: sha256)", "Pull it out")
    facts = {KeyStick: NO_STICK, fact: silent}
    text = re.escape(f"f0.lan.buetow.org: {silent.reason}. Pull it out. Nothing was changed")
    with pytest.raises(OperationError, match=text):
        run(usb.formatted, facts, "da0", *STICK)


def test_another_hosts_silent_stick_is_told_and_unknown(reading: list[tuple[str, str]]) -> None:
    silent = NoAnswer("the stick F3S_KEYS did not answer within 60 s", "Pull it out")
    result = Cluster([stick(), stick(key()), silent]).run()
    assert sent(result)[0].startswith(f"write {NAME}.key ")
    assert result.logs == [f"{F2}: {silent.reason}. Pull it out"]
    with pytest.raises(OperationError, match=f"the stick of {F2} cannot be read"):
        Cluster([stick(), stick(), silent]).run()


def test_work_on_a_silent_stick_ends_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb, "STICK_SECONDS", 1)
    host = FakeHost({})
    with ctx_host.use(host):  # type: ignore[arg-type]
        hangs = BOUNDED(Shell("read line; echo $line; sleep 30"), "the stick da0")
        fails = BOUNDED(Shell("exit 3"), "the stick da0")
    began = time.monotonic()
    ran = subprocess.run(["/bin/sh", "-c", hangs], input="a key\n", capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 10
    assert (ran.returncode, ran.stdout) == (1, "a key\n")
    assert f"f0.lan.buetow.org: the stick da0 did not answer within 1 s. {SILENT_STICK}" in ran.stderr
    ran = subprocess.run(["/bin/sh", "-c", fails], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "")


@pytest.mark.parametrize("executing", [True, False])
def test_everything_that_works_on_a_stick_is_bounded(executing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb, "_bounded", BOUNDED)
    commands = formatted(NO_STICK, executing=executing).commands
    pulled = Stick(None, RO, None, None, ())
    commands += formatted(pulled, executing=executing).commands
    commands += run(usb.mounted_read_only, {KeyStick: stick(mount=RW)}, *STICK, executing=executing).commands
    commands += Cluster([stick(key(mode="644")), stick(key()), stick(key())]).run(executing=executing).commands
    assert len(commands) == 5
    for each in commands:
        assert f"did not answer within {usb.STICK_SECONDS} s" in str(each)
        assert " bounded 300 sh -c " in str(each)
