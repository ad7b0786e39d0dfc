from __future__ import annotations

import hashlib
from pathlib import Path

from facts.usb import KeyStick
from facts.zfs import ImportablePools
from tests.facts.recorded import GLABEL_STATUS
from tests.shell import lines_of, shell


def with_device(built: str, there: Path) -> str:
    """The command, with something else that is there in place of the stick's device."""
    device = "device=/dev/ufs/F3S_KEYS"
    assert built.count(device) == 1
    return built.replace(device, f"device={there}")


def test_the_command_under_sh_reads_digests_only(tmp_path: Path) -> None:
    keys = tmp_path / "it's keys"
    keys.mkdir()
    secret = bytes(range(32))
    (keys / "f0:zdata.key").write_bytes(secret)
    (keys / ".f0:zdata.key.new").write_bytes(secret)
    (keys / "notes.txt").write_text("not a key")
    stubs = {
        "glabel": f"cat <<'E'\n{GLABEL_STATUS}\nE",
        "mount": f"cat <<'E'\n/dev/ufs/F3S_KEYS\t{keys}\tufs\tro\t0 0\nE",
        "sha256": '[ "$1" = -r ] || exit 64; shift; sha256sum "$@" | sed "s/  / /"',
        "stat": 'shift 2; for f in "$@"; do echo "Regular File|400|root:wheel|32|$f"; done',
    }
    said = lines_of(
        with_device(KeyStick().command(label="F3S_KEYS", mountpoint=str(keys)), tmp_path), tmp_path, **stubs
    )
    digest = hashlib.sha256(secret).hexdigest()
    files = {"Regular File|400|root:wheel|32|./f0:zdata.key", "Regular File|400|root:wheel|32|./.f0:zdata.key.new"}
    assert {*files, f"{digest} ./f0:zdata.key"} <= set(said)
    assert "notes.txt" not in "".join(said)


def test_a_folder_or_a_file_that_cannot_be_read_is_not_a_missing_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "f0:zdata.key").touch()
    built = with_device(KeyStick().command(label="F3S_KEYS", mountpoint=str(keys)), tmp_path)
    programs = dict.fromkeys(("glabel", "mount", "stat", "ls"), "[ ! -e $0.fails ]")
    assert shell(built, tmp_path, **programs).returncode == 0
    for name in ("stat", "ls"):
        (tmp_path / f"{name}.fails").touch()
        assert shell(built, tmp_path).returncode == 1, f"{name}: Input/output error"
        (tmp_path / f"{name}.fails").unlink()


def test_what_is_mounted_from_a_stick_that_is_gone_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "f0:zdata.key").touch()
    fact = KeyStick()
    built = with_device(fact.command(label="F3S_KEYS", mountpoint=str(tmp_path)), tmp_path / "gone")
    mount = f"echo /dev/ufs/F3S_KEYS {tmp_path} ufs ro 0 0"
    stick = fact.process(lines_of(built, tmp_path, glabel=":", mount=mount, ls="exit 1"))
    assert stick is not None
    assert stick.pulled("F3S_KEYS")


def test_a_host_without_a_mount_point_has_no_stick(tmp_path: Path) -> None:
    fact = KeyStick()
    built = fact.command(label="F3S_KEYS", mountpoint="/no/such/place").replace("/var/empty", "/proc")
    mount = "printf '/dev/ada0p2\\t/\\tufs\\trw\\t1 1\\n'"
    stick = fact.process(lines_of(built, tmp_path, glabel="echo 'Name  Status  Components'", mount=mount))
    assert stick is not None
    assert (stick.disk, stick.mount, stick.keys) == (None, None, None)


def test_pools_that_are_not_imported() -> None:
    fact = ImportablePools()
    assert fact.process(["no pools available to import", "=== end"]) == ()
    assert fact.process(["   pool: zdata", "     id: 1", "  state: ONLINE", "=== end"]) == ("zdata",)
