from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError, FactValueError

from f3s.services import ServiceState
from facts.base import END
from facts.rcconf import PERIODIC_CONF, Variables
from facts.services import Services
from tests.shell import lines_of, shell


def test_values_are_read_as_sh_sees_them(tmp_path: Path) -> None:
    (tmp_path / "defaults").write_text(f"a=default\nb=default\nsource_rc_confs() {{ . '{tmp_path}/rc.conf'; }}\n")
    (tmp_path / "rc.conf").write_text("b='it'\"'\"'s $HOME \"x\"'\nempty=\nlines='one\n\nunset'\necho noise\n")
    built = Variables().command(names=("a", "b", "empty", "lines", "none"))
    built = built.replace("/etc/defaults/rc.conf", str(tmp_path / "defaults"))
    assert Variables().process(lines_of(built)) == {
        "a": "default",
        "b": 'it\'s $HOME "x"',
        "empty": "",
        "lines": "one\n\nunset",
        "none": None,
    }


def test_a_file_that_sh_cannot_read_is_unknown(tmp_path: Path) -> None:
    conf = tmp_path / "loader.conf"
    built = Variables().command(names=("carp_load",), file=str(conf))
    assert Variables().process(lines_of(built)) == {"carp_load": None}
    conf.write_text('hw.acpi.x="1"\ncarp_load="YES"\n')
    assert Variables().process(lines_of(built)) == {"carp_load": "YES"}
    conf.write_text('carp_load="YES\n')
    assert shell(built).returncode != 0


def test_which_files_are_read() -> None:
    assert "{ . /etc/defaults/rc.conf; source_rc_confs; }" in Variables().command(names=("a",))
    assert "source_periodic_confs" in Variables().command(names=("a",), file=PERIODIC_CONF)
    with pytest.raises(FactValueError):
        Variables().command(names=("a; reboot",))


def test_services() -> None:
    lines = ["=== zrepl", "status 0", "=== nfsd", "status 1", "=== nope", "missing", END]
    assert Services().process(lines) == {
        "zrepl": ServiceState.RUNNING,
        "nfsd": ServiceState.STOPPED,
        "nope": ServiceState.MISSING,
    }
    with pytest.raises(FactProcessError, match="zrepl: 'status 70', not one of missing, status 0"):
        Services().process(["=== zrepl", "status 70", END])
    with pytest.raises(FactValueError):
        Services().command(names=("../../tmp/x",))


def test_a_service_without_a_script_is_missing() -> None:
    built = Services().command(names=("surely-not-there",))
    assert Services().process(lines_of(built)) == {"surely-not-there": ServiceState.MISSING}
