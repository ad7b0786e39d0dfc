from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.quoting import UnsafeValue
from facts.base import END
from facts.packages import Packages
from operations import packages
from tests.operations.harness import run
from tests.shell import lines_of


def test_only_what_is_missing_is_installed() -> None:
    result = run(packages.installed, {Packages: {"zrepl": False, "stunnel": True}}, ["zrepl", "stunnel"])
    assert result.commands == ["env ASSUME_ALWAYS_YES=yes pkg install -y zrepl"]
    result = run(packages.installed, {Packages: {"zrepl": True}}, ["zrepl"])
    assert (result.commands, result.noops) == ([], ["zrepl: installed"])


def test_hostile_names_and_unknown_states() -> None:
    assert run(packages.installed, {Packages: {"a b;c": False}}, ["a b;c"]).commands[0].endswith(" 'a b;c'")
    with pytest.raises(UnsafeValue):
        run(packages.installed, {Packages: {"-f": False}}, ["-f"])
    with pytest.raises(FactProcessError, match="not one of installed, missing"):
        Packages().process(["=== zrepl", "zrepl-0.6.1_1", END])


@pytest.mark.parametrize("bootstrapped", [True, False])
def test_the_fact_under_sh(tmp_path: Path, bootstrapped: bool) -> None:
    """zrepl is a package where there is pkg, stunnel was put there by hand, and the third one is missing."""
    pkg = f'case "$*" in -N) exit {0 if bootstrapped else 1} ;; "info -e zrepl") ;; *) exit 1 ;; esac'
    (tmp_path / "stunnel").touch()
    (tmp_path / "stunnel").chmod(0o755)
    command = str(Packages().command(names=("zrepl", "stunnel", "nfs"))).replace("/usr/local/etc/rc.d", str(tmp_path))
    expected = {"zrepl": bootstrapped, "stunnel": True, "nfs": False}
    assert Packages().process(lines_of(command, tmp_path, pkg=pkg)) == expected
