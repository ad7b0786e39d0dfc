"""files/once/guard-below.sh under a real sh: the null mount is played by a link to what lies below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.files.stubs import Result, StubHost


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    stubs = StubHost(tmp_path)
    stubs.path("/var/run").mkdir(parents=True)
    below = stubs.path("/below")
    (below / "nfs").mkdir(parents=True)
    # $2 is empty until then, and is empty again for rmdir
    stubs.command("mount_nullfs", f'[ "$1" = /data ] && rmdir "$2" && ln -s {below} "$2"')
    stubs.command("umount", 'rm "$1" && mkdir "$1"')
    stubs.command("chflags", '[ "$1" = schg ] && [ -d "$2" ]')
    return stubs


def guard(host: StubHost) -> Result:
    result = host.once("guard-below", "/data", "nfs")
    assert list(host.path("/var/run").iterdir()) == []
    return result


def test_the_bare_directory_gets_the_flag(host: StubHost) -> None:
    assert guard(host) == Result(0, "", "")
    ((flag, directory),) = host.calls("chflags")
    assert flag == "schg"
    assert directory.startswith(f"{host.path('/var/run')}/guard-below.")
    assert directory.endswith("/nfs")


@pytest.mark.parametrize(
    ("breaks", "rc", "says", "unmounts"),
    [
        (
            lambda host: (host.path("/below") / "nfs" / ".secret").write_text("x"),
            1,
            "below what is mounted on /data/nfs are files that were written UNENCRYPTED: .secret - look",
            1,
        ),
        (lambda host: (host.path("/below/nfs").rmdir(), host.path("/below/nfs").symlink_to("/etc")), 1, "", 1),
        # another file system is in its place
        (
            lambda host: host.path("/below/nfs").rmdir(),
            0,
            "/data/nfs is in no directory of the file system on /data",
            1,
        ),
        (lambda host: host.command("mount_nullfs", "echo mount_nullfs: not supported >&2; exit 1"), 1, "", 0),
    ],
    ids=["plain text below", "a link in its place", "no directory", "no view"],
)
def test_nothing_is_guarded(
    host: StubHost, breaks: Callable[[StubHost], object], rc: int, says: str, unmounts: int
) -> None:
    breaks(host)
    result = guard(host)
    assert (result.rc, says in result.out + result.err) == (rc, True), result
    assert host.calls("chflags") == []
    assert len(host.calls("umount")) == unmounts


def test_a_flag_that_cannot_be_set_is_an_error(host: StubHost) -> None:
    host.command("chflags", "exit 1")
    assert guard(host).rc == 1
    assert len(host.calls("umount")) == 1
