"""The stub host itself: what it hides, what it records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import StubHost


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    return StubHost(tmp_path)


def program(host: StubHost, text: str) -> Path:
    return host.write("/usr/local/bin/program", host.rewrite(text), 0o755)


def test_arguments_are_recorded_exactly(host: StubHost) -> None:
    host.command("zfs")
    host.run(program(host, "#!/bin/sh\nzfs get 'a b' '' '$x'\n"))
    assert host.calls() == [["zfs", "get", "a b", "", "$x"]]
    assert host.calls("zfs") == [["get", "a b", "", "$x"]]


def test_a_command_that_is_not_declared_is_not_found(host: StubHost) -> None:
    result = host.run(program(host, "#!/bin/sh\nPATH=/sbin:/bin:/usr/sbin\nifconfig re0\n"))
    assert result.rc == 127
    assert "ifconfig" in result.err


def test_absolute_paths_lead_into_the_host(host: StubHost) -> None:
    host.command("service")
    host.write("/var/run/f3s/x", "inside\n")
    text = '#!/bin/sh\n/usr/sbin/service nfsd onestart\nread -r a </var/run/f3s/x\necho "$a" >/dev/null; echo $a\n'
    result = host.run(program(host, text))
    assert (result.rc, result.out) == (0, "inside\n")
    assert host.calls("service") == [["nfsd", "onestart"]]
