"""files/once/stop-service.sh under a real sh: what counts is whether the service is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import FILES, StubHost


@pytest.mark.parametrize(("stop", "looks", "rc", "sleeps"), [(0, 0, 0, 0), (1, 0, 0, 0), (1, 3, 0, 3), (0, 99, 1, 10)])
def test_it_waits_until_the_service_is_gone(tmp_path: Path, stop: int, looks: int, rc: int, sleeps: int) -> None:
    host = StubHost(tmp_path)
    host.state("left", str(looks))
    count = 'left=$(cat "$STATE/left"); [ "$left" -gt 0 ] && echo $((left - 1)) >"$STATE/left"'
    host.command("service", f"case $2 in onestop) exit {stop} ;; esac\n{count}")
    host.command("sleep")
    result = host.run(host.install(FILES / "once" / "stop-service.sh", "/stop-service.sh"), "nfsuserd")
    assert result.rc == rc
    assert host.calls("service")[0] == ["nfsuserd", "onestop"]
    assert set(map(tuple, host.calls("service")[1:])) == {("nfsuserd", "onestatus")}
    assert len(host.calls("sleep")) == sleeps
    assert ("does not end" in result.err) is (rc == 1)
