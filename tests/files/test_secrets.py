"""put-secret.sh and stat-secret.sh under a real sh, as Linux has them and with FreeBSD's commands."""

from __future__ import annotations

import getpass
import grp
import hashlib
import os
from pathlib import Path

import pytest

from f3s.secretfile import ABSENT, SecretState
from facts.base import END
from facts.secrets import SecretFile
from tests.files.stubs import Result, StubHost

SECRET = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
USER = getpass.getuser()
GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture(params=["FreeBSD", "Linux"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> StubHost:
    """A host whose chown only notes the mode that the file has at that moment."""
    stubs = StubHost(tmp_path)
    stubs.command("uname", f"echo {request.param}")
    stubs.command("chown", f'{real("stat")} -c %a "$2" >>"$STATE/modes"')
    if request.param == "FreeBSD":
        stubs.command("stat", f'[ "$1 $2" = "-f %Lp %Su %Sg" ] || exit 64; {real("stat")} -c "%a %U %G" "$3"')
        stubs.command("sha256", f'[ "$1" = -q ] || exit 64; {real("sha256sum")} "$2" | cut -d" " -f1')
        stubs.command("fsync")
    else:
        stubs.command("sha256sum", f'exec {real("sha256sum")} "$@"')
        stubs.command("sync")
    return stubs


def real(name: str) -> str:
    return f"/usr/bin/{name}"


def put(host: StubHost, path: Path, content: str = SECRET) -> Result:
    return host.once("put-secret", path, DIGEST, USER, GROUP, "0400", sent=content)


def stat(host: StubHost, *paths: Path) -> list[str]:
    done = host.once("stat-secret", *paths)
    assert done.rc == 0
    return done.out.splitlines()


def state(host: StubHost, path: Path) -> SecretState | None:
    return SecretFile().process([*stat(host, path), END])


def test_writes_the_file_that_the_fact_then_sees(host: StubHost, tmp_path: Path) -> None:
    path = tmp_path / "it's a key.pem"
    assert state(host, path) is ABSENT
    done = put(host, path)
    assert done == Result(0, "", "")
    assert path.read_text() == SECRET
    assert host.state("modes") == "600\n", "closed to others before it was given away"
    assert [call[0] for call in host.calls("chown")] == [f"{USER}:{GROUP}"]
    assert len(host.calls("fsync") + host.calls("sync")) == 1, "on the disk before it has its name"
    assert state(host, path) == SecretState(mode="400", user=USER, group=GROUP, sha256=DIGEST)


def test_replaces_a_file_that_others_could_read(host: StubHost, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("old\n")
    path.chmod(0o644)
    before = path.stat().st_ino
    assert put(host, path).rc == 0
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o400


def test_what_was_cut_off_on_the_way_changes_nothing(host: StubHost, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("old\n")
    done = put(host, path, SECRET[:-5])
    assert done.rc == 1
    assert "not what was sent" in done.err
    assert "MC4" not in done.err + done.out
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.glob("key.pem*")] == ["key.pem"]


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link"])
def test_anything_but_a_plain_file_is_left_alone(host: StubHost, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key.pem"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
        if kind == "link":
            (tmp_path / "elsewhere").write_text("old\n")
    done = put(host, path)
    assert done.rc == 1
    assert "not a plain file" in done.err
    assert (path.is_dir(), path.is_symlink()) == (kind == "folder", kind != "folder")
    assert not (tmp_path / "elsewhere").exists() or (tmp_path / "elsewhere").read_text() == "old\n"


def test_a_missing_folder_is_an_error(host: StubHost, tmp_path: Path) -> None:
    assert put(host, tmp_path / "nowhere" / "key.pem").rc != 0


def test_nothing_is_left_behind_when_it_is_terminated(host: StubHost, tmp_path: Path) -> None:
    """A connection that dies while the content is on its way: sh gets SIGHUP, standard input ends."""
    path = tmp_path / "key.pem"
    host.command("cat", 'kill -HUP "$PPID"; exit 1')
    assert put(host, path).rc != 0
    assert list(tmp_path.glob("key.pem*")) == []


def test_several_files_are_told_in_their_order(host: StubHost, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    put(host, path)
    assert stat(host, tmp_path / "none", path, tmp_path) == ["absent", f"file 400 {USER} {GROUP} {DIGEST}", "other"]
