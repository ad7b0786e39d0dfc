"""files/once/write-keys.sh under a real sh: openssl is real, mounting is played."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path

import pytest

from tests.files.stubs import Result, StubHost

KEY = bytes(range(32))
SHA = hashlib.sha256(KEY).hexdigest()
NAME = "f0.lan.buetow.org:zdata.key"
WRITE = f"write {NAME} {SHA} {base64.b64encode(KEY).decode()}"
DEVICE = "/dev/ufs/F3S_KEYS"


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    stubs = StubHost(tmp_path)
    stubs.command(
        "mount",
        'case "$*" in\n'
        '-p) cat "$STATE/mounts" ;;\n'
        '"-o rw /dev/ufs/F3S_KEYS "*) [ ! -e "$STATE/refuse" ] || { echo "R/W mount denied" >&2; exit 1; } ;;\n'
        '"-u -o ro "*) : >"$STATE/put-back" ;;\n'
        '"-r /dev/ufs/F3S_KEYS "*) ls -A "$3" >"$STATE/at-the-end" ;;\n'
        "*) exit 64 ;;\n"
        "esac",
    )
    stubs.command("umount", '[ ! -e "$STATE/busy" ] || { echo "umount: $1: Device busy" >&2; exit 1; }')
    stubs.command("sha256", f'[ "$1" = -q ] || exit 64; {shutil.which("sha256sum")} "$2" | cut -d" " -f1')
    stubs.command("chown", f'[ -e "$2" ]; {shutil.which("stat")} -c %a "$2" >>"$STATE/modes"')
    stubs.command("fsync")
    stubs.command("openssl", f'exec {shutil.which("openssl")} "$@"')
    keys = stubs.path("/keys")
    keys.mkdir()
    stubs.state("mounts", f"/dev/ada0p2 / ufs rw 1 1\n{DEVICE}\t\t{keys}\t\tufs\tro\t0 0\n")
    return stubs


def write(host: StubHost, *lines: str, end: str = "\n") -> Result:
    return host.once("write-keys", host.path("/keys"), DEVICE, sent="".join(f"{line}{end}" for line in lines))


def mounts(host: StubHost) -> list[str]:
    """Each umount, and how the stick was mounted."""
    names = {("-o", "rw"): "rw", ("-r", DEVICE): "ro", ("-u", "-o"): "update"}
    calls = [call for call in host.calls() if call[0] in ("mount", "umount") and call[1] != "-p"]
    return [call[0] if call[0] == "umount" else names[call[1], call[2]] for call in calls]


def test_a_key_is_written_and_the_stick_is_read_only_again(host: StubHost) -> None:
    done = write(host, WRITE)
    assert done == Result(0, "", "")
    target = host.path(f"/keys/{NAME}")
    assert target.read_bytes() == KEY
    assert target.stat().st_mode & 0o777 == 0o400
    assert host.state("modes") == "600\n"  # nobody else could read it before chmod either
    assert mounts(host) == ["umount", "rw", "umount", "ro"]
    assert host.state("at-the-end") == f"{NAME}\n"
    assert ["root:wheel", str(host.path(f"/keys/.{NAME}.new"))] in host.calls("chown")
    arguments = " ".join(" ".join(call) for call in host.calls())
    assert [text for text in (base64.b64encode(KEY).decode(), KEY.hex()) if text in arguments] == []


def test_a_line_that_was_cut_off_is_not_carried_out(host: StubHost) -> None:
    assert write(host, WRITE, end="").rc == 0
    assert host.state("at-the-end") == ""


def test_what_a_killed_run_left_is_removed(host: StubHost) -> None:
    host.write(f"/keys/.{NAME}.new", "half")
    assert write(host).rc == 0
    assert host.state("at-the-end") == ""


def test_a_key_that_others_can_read_is_protected(host: StubHost) -> None:
    host.write(f"/keys/{NAME}", "key", 0o644)
    assert write(host, f"protect {NAME}").rc == 0
    assert host.path(f"/keys/{NAME}").stat().st_mode & 0o777 == 0o400
    assert host.path(f"/keys/{NAME}").read_text() == "key"


def test_without_the_stick_nothing_is_written(host: StubHost) -> None:
    keys = host.path("/keys")
    for table in (
        "/dev/ada0p2 / ufs rw 1 1\n",
        f"/dev/da1 {keys} ufs rw 0 0\n",
        f"{DEVICE} {keys} ufs ro 0 0\n/dev/da1 {keys} ufs rw 0 0\n",
    ):
        host.state("mounts", table)
        done = write(host, WRITE)
        assert done.rc == 1
        assert f"{DEVICE} is not mounted on {keys}" in done.err
    assert mounts(host) == []
    assert list(keys.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "said", "done"),
    [
        ("refuse", "R/W mount denied", ["umount", "rw", "ro"]),
        ("busy", "is in use, or cannot be unmounted", ["umount"]),
    ],
)
def test_a_stick_that_cannot_be_written_is_left_as_it_is(host: StubHost, flag: str, said: str, done: list[str]) -> None:
    host.state(flag, "")
    result = write(host, WRITE)
    assert (result.rc, said in result.err) == (1, True)
    assert mounts(host) == done
    assert on_the_stick(host) == {}


def test_a_stick_that_somebody_uses_at_the_end_is_read_only_all_the_same(host: StubHost) -> None:
    host.command(
        "umount", '[ ! -e "$STATE/once" ] || { echo "umount: $1: Device busy" >&2; exit 1; }; : >"$STATE/once"'
    )
    done = write(host, WRITE)
    assert done.rc == 0
    assert host.path(f"/keys/{NAME}").read_bytes() == KEY
    assert mounts(host) == ["umount", "rw", "umount", "update"]


NEW_KEY = KEY[::-1]
OLD_NAME = NAME.replace(".key", ".old.key")
REPLACE = f"replace {NAME} {hashlib.sha256(NEW_KEY).hexdigest()} {base64.b64encode(NEW_KEY).decode()}"


def on_the_stick(host: StubHost) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in host.path("/keys").iterdir()}


def test_a_key_is_replaced_once_it_is_there_under_the_other_name_too(host: StubHost) -> None:
    for name in (NAME, OLD_NAME):
        host.path(f"/keys/{name}").write_bytes(KEY)
    for _ in range(2):
        done = write(host, REPLACE)
        assert (done.rc, done.err) == (0, "")
        assert on_the_stick(host) == {NAME: NEW_KEY, OLD_NAME: KEY}
    assert host.path(f"/keys/{NAME}").stat().st_mode & 0o777 == 0o400


OTHERS = ("write ../x.key a b", "write .x.key a b", "write x a b", "erase x.key", "write")


@pytest.mark.parametrize(
    ("there", "line", "said"),
    [
        ({NAME: b"old"}, WRITE, f"{NAME} is there already and stays as it is"),
        ({}, WRITE[:-8], "did not arrive whole"),
        *(({}, line, "write-keys: ") for line in OTHERS),
        ({NAME: KEY}, REPLACE, f"is not replaced, there is no {OLD_NAME}"),
        ({NAME: b"another", OLD_NAME: KEY}, REPLACE, f"is not replaced, {OLD_NAME} is another key"),
        ({NAME: KEY, OLD_NAME: KEY}, REPLACE[:-8], "did not arrive whole"),
        ({OLD_NAME: KEY}, f"retire {NAME}", f"{OLD_NAME} stays, there is no {NAME}"),
    ],
)
def test_no_key_is_lost_by_a_line_that_is_refused(
    host: StubHost, there: dict[str, bytes], line: str, said: str
) -> None:
    for name, content in there.items():
        host.path(f"/keys/{name}").write_bytes(content)
    done = write(host, line)
    assert done.rc == 1
    assert said in done.err
    assert on_the_stick(host) == there
    assert mounts(host) == ["umount", "rw", "umount", "ro"]


def test_the_old_key_goes_when_it_was_replaced(host: StubHost) -> None:
    host.path(f"/keys/{NAME}").write_bytes(NEW_KEY)
    host.path(f"/keys/{OLD_NAME}").write_bytes(KEY)
    for _ in range(2):
        assert write(host, f"retire {NAME}").rc == 0
        assert on_the_stick(host) == {NAME: NEW_KEY}
