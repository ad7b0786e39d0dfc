from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError, OperationError

from f3s.quoting import UnsafeValue
from facts.base import END
from facts.packages import Packages
from operations import packages
from tests.files.stubs import StubHost
from tests.operations.harness import run


def test_only_what_is_missing_is_installed() -> None:
    result = run(packages.installed, {Packages: {"zrepl": False, "stunnel": True}}, ["zrepl", "stunnel"])
    assert result.commands == ["env ASSUME_ALWAYS_YES=yes pkg install -y zrepl"]


def test_no_change_says_what_it_found() -> None:
    result = run(packages.installed, {Packages: {"zrepl": True}}, ["zrepl"])
    assert (result.commands, result.noops) == ([], ["zrepl: installed"])


def test_hostile_names_and_unknown_states() -> None:
    assert run(packages.installed, {Packages: {"a b;c": False}}, ["a b;c"]).commands[0].endswith(" 'a b;c'")
    with pytest.raises(UnsafeValue):
        run(packages.installed, {Packages: {"-f": False}}, ["-f"])
    with pytest.raises(OperationError, match="Packages could not be read"):
        run(packages.installed, {Packages: None}, ["zrepl"])
    with pytest.raises(FactProcessError, match="not one of installed, missing"):
        Packages().process(["=== zrepl", "zrepl-0.6.1_1", END])


@pytest.mark.parametrize("bootstrapped", [True, False])
def test_what_was_put_there_by_hand(tmp_path: Path, bootstrapped: bool) -> None:
    host = StubHost(tmp_path)
    host.command(
        "pkg", f'case "$*" in -N) exit {0 if bootstrapped else 1} ;; "info -e "*) exit 1 ;; *) exit 64 ;; esac'
    )
    host.write("/usr/local/etc/rc.d/stunnel", "#!/bin/sh\n", 0o755)
    command = host.rewrite(str(Packages().command(names=("zrepl", "stunnel"))))
    env = {"PATH": host.path_variable}
    out = subprocess.run(["/bin/sh", "-c", command], env=env, capture_output=True, text=True, check=True).stdout
    assert Packages().process(out.splitlines()) == {"zrepl": False, "stunnel": True}


@pytest.mark.parametrize(
    ("bootstrapped", "expected"),
    [(True, {"zrepl": True, "stunnel": False}), (False, {"zrepl": False, "stunnel": False})],
)
def test_the_fact_under_sh(bootstrapped: bool, expected: dict[str, bool]) -> None:
    pkg = (
        f'pkg() {{ case "$*" in -N) return {0 if bootstrapped else 1} ;; "info -e zrepl") ;; *) return 1 ;; esac; }}\n'
    )
    command = pkg + str(Packages().command(names=("zrepl", "stunnel")))
    out = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert Packages().process(out.splitlines()) == expected
