"""files/once/guard-below.sh under a real sh: the null mount is played by a link to what lies below."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost


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


def guard(host: StubHost, directory: str = "nfs") -> Result:
    program = host.install(FILES / "once" / "guard-below.sh", "/root/guard-below.sh")
    result = host.run(program, "/data", directory)
    assert list(host.path("/var/run").iterdir()) == []
    return result


def test_the_bare_directory_gets_the_flag(host: StubHost) -> None:
    assert guard(host) == Result(0, "", "")
    ((flag, directory),) = host.calls("chflags")
    assert flag == "schg"
    assert directory.startswith(f"{host.path('/var/run')}/guard-below.")
    assert directory.endswith("/nfs")


def test_plain_text_below_is_reported(host: StubHost) -> None:
    (host.path("/below") / "nfs" / ".secret").write_text("x")
    result = guard(host)
    assert result.rc == 1
    assert "below what is mounted on /data/nfs are files that were written UNENCRYPTED: .secret - look" in result.err
    assert host.calls("chflags") == []


def test_a_link_in_its_place_is_reported(host: StubHost) -> None:
    (host.path("/below") / "link").symlink_to("/etc")
    assert (guard(host, "link").rc, host.calls("chflags")) == (1, [])


def test_a_directory_in_another_file_system_is_left_alone(host: StubHost) -> None:
    result = guard(host, "enc/nfs")
    assert (result.rc, host.calls("chflags")) == (0, [])
    assert "/data/enc/nfs is in no directory of the file system on /data" in result.out


def test_a_view_that_cannot_be_had_is_an_error(host: StubHost) -> None:
    host.command("mount_nullfs", "echo mount_nullfs: /data: Operation not supported >&2; exit 1")
    assert guard(host).rc == 1
    assert host.calls("umount") == []


def test_a_flag_that_cannot_be_set_is_an_error(host: StubHost) -> None:
    host.command("chflags", "exit 1")
    assert guard(host).rc == 1
    assert len(host.calls("umount")) == 1
