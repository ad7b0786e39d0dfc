"""The shell programs around zrepl under a real sh, with the real zrepl for its configuration."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from f3s.textfile import digest
from tests.files.stubs import Result, StubHost

GOOD = "jobs: []\n"
BROKEN = "jobs: [{type: shove, name: x}]\n"
PATH = "/usr/local/etc/zrepl/zrepl.yml"
UNREAD = "/var/run/unread"


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    host = StubHost(tmp_path)
    host.command("chown")
    host.command("fsync")
    host.command("uname", "echo FreeBSD")
    host.command("sha256", 'sha256sum "$2" | cut -d" " -f1')
    (host.bin / "sha256sum").symlink_to(shutil.which("sha256sum") or "")
    host.write(PATH, "jobs: []  # the old one\n", 0o600)
    host.path(UNREAD).parent.mkdir(parents=True)
    return host


@pytest.fixture
def real_zrepl(host: StubHost) -> None:
    program = shutil.which("zrepl")
    if program is None:
        pytest.skip("no zrepl on this machine: go install github.com/zrepl/zrepl@v0.7.0")
    (host.bin / "zrepl").symlink_to(program)


def put(host: StubHost, text: str, sha256: str | None = None, old: str | None = None, copy: str = "no") -> Result:
    new = sha256 or digest(text)
    old = old or (digest(host.path(PATH).read_text()) if host.path(PATH).exists() else "absent")
    check = "zrepl configcheck --config"
    return host.once("replace-file", host.path(PATH), old, new, "0600", copy, host.path(UNREAD), check, sent=text)


def left_over(host: StubHost) -> list[str]:
    return sorted(file.name for file in host.path(PATH).parent.iterdir())


@pytest.mark.usefixtures("real_zrepl")
def test_a_good_configuration_takes_the_old_ones_place(host: StubHost) -> None:
    host.path(PATH).chmod(0o644)
    host.write(f"{PATH}.new", "a draft of the operator's")
    result = put(host, GOOD)
    assert (result.rc, result.err) == (0, "")
    assert host.path(PATH).read_text() == GOOD
    assert host.path(PATH).stat().st_mode & 0o777 == 0o600
    assert left_over(host) == ["zrepl.yml", "zrepl.yml.new"]
    assert host.path(UNREAD).exists()
    assert host.calls("chown") == [["root:wheel", f"{host.path(PATH)}.f3s-new"]]
    assert host.calls("fsync") == [[f"{host.path(PATH)}.f3s-new"]]


@pytest.mark.usefixtures("real_zrepl")
def test_one_that_zrepl_refuses_changes_nothing(host: StubHost) -> None:
    result = put(host, BROKEN)
    assert result.rc == 1
    assert 'invalid type name "shove"' in result.err
    assert "zrepl configcheck --config refuses the new file" in result.err
    assert host.path(PATH).read_text() == "jobs: []  # the old one\n"
    assert left_over(host) == ["zrepl.yml"]
    assert not host.path(UNREAD).exists()


@pytest.mark.usefixtures("real_zrepl")
def test_a_new_one_is_only_put_in_place_once_it_is_on_record_as_unread(host: StubHost) -> None:
    host.path(UNREAD).mkdir()
    assert put(host, GOOD).rc != 0
    assert host.path(PATH).read_text() == "jobs: []  # the old one\n"


@pytest.mark.usefixtures("real_zrepl")
def test_the_first_one_needs_no_old_one(host: StubHost) -> None:
    host.path(PATH).unlink()
    assert put(host, GOOD).rc == 0
    assert host.path(PATH).read_text() == GOOD


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sha256": "0" * 64}, "is not what was sent"),
        ({"old": digest("jobs: []  # as it was read\n")}, "was changed by somebody else meanwhile"),
    ],
    ids=["cut off", "changed meanwhile"],
)
def test_what_is_not_as_it_was_read_or_sent_is_not_even_checked(host: StubHost, given: Any, says: str) -> None:
    host.command("zrepl")
    result = put(host, GOOD, **given)
    assert (result.rc, says in result.err) == (1, True)
    assert host.calls("zrepl") == []
    assert left_over(host) == ["zrepl.yml"]


def test_the_old_one_stays_beside_the_new_one_where_that_is_wanted(host: StubHost) -> None:
    host.command("zrepl")
    host.path(PATH).chmod(0o750)
    result = put(host, GOOD, copy="yes")
    assert result.rc == 0
    kept, new = sorted(host.path(PATH).parent.iterdir(), key=lambda file: -len(file.name))
    assert re.fullmatch(r"zrepl\.yml\.\d{4}-\d\d-\d\d_\d{6}", kept.name)
    assert str(kept) in result.out
    assert (kept.read_text(), new.read_text()) == ("jobs: []  # the old one\n", GOOD)
    assert kept.stat().st_mode & 0o777 == 0o640, "nothing runs it"


# -- await-replica --


BOTH = ("zdata/sink/x", "zdata/sink/x/disk0")


@pytest.mark.parametrize(
    ("seconds", "after", "datasets", "looks", "says"),
    [
        ("300", 3, BOTH[:1], 3, "has arrived"),
        ("20", 99, BOTH[:1], 5, "has not arrived in 20 seconds"),
        ("300", 3, BOTH, 4, "has arrived"),
        # each is looked at, for the last time when the time is over
        ("20", 99, BOTH, 6, "has not arrived in 20 seconds"),
    ],
)
def test_waiting_ends_with_the_first_snapshot_of_all_or_with_its_time(
    host: StubHost, seconds: str, after: int, datasets: tuple[str, ...], looks: int, says: str
) -> None:
    host.command("sleep")
    host.counted(
        "zfs", f'[ $n -lt {after} ] || {{ echo "$8@zrepl_1"; exit; }}\necho "cannot open: does not exist" >&2; exit 1'
    )
    said = "".join(f"{name} {says}\n" for name in datasets)
    assert host.once("await-replica", seconds, *datasets) == Result(0, said, "")
    assert len(host.calls("zfs")) == looks
    assert host.calls("zfs")[0] == ["list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", "zdata/sink/x"]
    assert set(map(tuple, host.calls("sleep"))) == {("5",)}


# -- await-key --


@pytest.mark.parametrize(
    ("fits_after", "answer", "rc", "said", "named"),
    [
        (3, "Incorrect key provided", 0, "the new key opens zdata/sink/x", True),
        (9, "Incorrect key provided", 1, "zdata/sink/x has not got the new key", False),
        (9, "Failed to open key material file", 1, "Failed to open key material file", False),
    ],
)
def test_a_replica_names_the_new_key_as_soon_as_it_opens_it(
    host: StubHost, fits_after: int, answer: str, rc: int, said: str, named: bool
) -> None:
    host.command("sleep")
    refuses = f'echo "Key load error: {answer}." >&2; exit 1'
    host.counted("load", f"[ $n -ge {fits_after} ] || {{ {refuses}; }}")
    host.command("zfs", '[ "$1" != load-key ] || exec load')
    result = host.once("await-key", "4", "file:///k", "zdata/sink/x")
    assert (result.rc, said in result.out + result.err) == (rc, True)
    assert (["set", "keylocation=file:///k", "zdata/sink/x"] in host.calls("zfs")) is named


# -- wake-zrepl-job --


@pytest.mark.parametrize(
    ("answers", "rc"),
    [
        ([(0, "")], 0),
        ([(1, "dial unix /var/run/zrepl/control: connect: no such file or directory"), (0, "")], 0),
        ([(1, "already woken up")], 0),
        ([(1, "Job f0_to_f1_nfsdata does not exist")] * 10, 1),
    ],
)
def test_a_job_is_woken(host: StubHost, answers: list[tuple[int, str]], rc: int) -> None:
    host.command("sleep")
    cases = "\n".join(f"{n}) echo '{text}' >&2; exit {code} ;;" for n, (code, text) in enumerate(answers, 1))
    host.counted("zrepl", f'case $n in\n{cases}\n*) echo "called too often" >&2; exit 2 ;;\nesac')
    result = host.once("wake-zrepl-job", "f0_to_f1_nfsdata")
    assert result.rc == rc
    assert host.calls("zrepl") == [["signal", "wakeup", "f0_to_f1_nfsdata"]] * len(answers)
    assert result.err == ("wake-zrepl-job: Job f0_to_f1_nfsdata does not exist\n" if rc else "")
