from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.keycheck import KeyCheck
from facts.base import END
from facts.zfs import Datasets, Guarded, KeyChecks, Snapshots
from tests.facts.recorded import ENC, zfs_get


def test_the_options_of_zfs_get_come_before_the_properties() -> None:
    built = Datasets().command()
    assert " zfs get -Hp -o name,property,value,source -t filesystem,volume type,encryption," in built
    assert built.endswith(f"&& echo '{END}'")


def test_a_host_without_pools_has_no_datasets_and_an_unknown_one_is_none() -> None:
    assert Datasets().process([END]) == {}
    assert Datasets.default() is None
    assert Snapshots().process([END]) == ()


def test_output_without_its_end_is_refused() -> None:
    with pytest.raises(FactProcessError, match="end marker"):
        Datasets().process(zfs_get("zdata/enc", ENC))


def test_unknown_output_is_refused() -> None:
    with pytest.raises(FactProcessError, match="unexpected line from zfs get"):
        Datasets().process(["Assertion failed", END])


def test_guarded_directories_by_dataset() -> None:
    assert Guarded().process(["zdata\t/data/enc /data/nfs", END]) == {"zdata": ("/data/enc", "/data/nfs")}
    assert Guarded().process([END]) == {}
    with pytest.raises(FactProcessError, match="unexpected line from zfs get"):
        Guarded().process(["no datasets", END])


def test_key_checks_under_sh(tmp_path: Path) -> None:
    """The command under a real shell, with a zfs that knows one dataset and refuses its key."""
    (tmp_path / "zfs").write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '"list -H -o name zdata/enc") echo zdata/enc ;;\n'
        '"load-key -n -L file:///keys/a b.key zdata/enc")\n'
        "  echo \"Key load error: Incorrect key provided for 'zdata/enc'.\" >&2; exit 255 ;;\n"
        '*) echo "cannot open: $*" >&2; exit 1 ;;\n'
        "esac\n"
    )
    (tmp_path / "zfs").chmod(0o755)
    built = KeyChecks().command(keys=[("zdata/enc", "file:///keys/a b.key"), ("zdata/none", "file:///keys/c.key")])
    out = subprocess.run(
        ["/bin/sh", "-c", built],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    assert KeyChecks().process(out.stdout.splitlines()) == {"zdata/enc": KeyCheck.WRONG}
