from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.keycheck import KeyCheck
from facts.base import END
from facts.zfs import Datasets, Guarded, KeyChecks, Snapshots
from tests.shell import lines_of


def test_the_options_of_zfs_get_come_before_the_properties() -> None:
    built = Datasets().command()
    assert " zfs get -Hp -o name,property,value,source -t filesystem,volume type,encryption," in built
    assert built.endswith(f"&& echo '{END}'")


def test_a_host_without_pools_has_no_datasets_and_an_unknown_one_is_none() -> None:
    assert Datasets().process([END]) == {}
    assert Datasets.default() is None
    assert Snapshots().process([END]) == ()


def test_guarded_directories_by_dataset() -> None:
    assert Guarded().process(["zdata\t/data/enc /data/nfs", END]) == {"zdata": ("/data/enc", "/data/nfs")}
    assert Guarded().process([END]) == {}
    with pytest.raises(FactProcessError, match="unexpected line from zfs get"):
        Guarded().process(["no datasets", END])


def test_key_checks_under_sh(tmp_path: Path) -> None:
    """The command under a real shell, with a zfs that knows one dataset and refuses its key."""
    zfs = """case "$*" in
"list -H -o name zdata/enc") echo zdata/enc ;;
"load-key -n -L file:///keys/a b.key zdata/enc")
    echo "Key load error: Incorrect key provided for 'zdata/enc'." >&2; exit 255 ;;
*) echo "cannot open: $*" >&2; exit 1 ;;
esac"""
    built = KeyChecks().command(keys=[("zdata/enc", "file:///keys/a b.key"), ("zdata/none", "file:///keys/c.key")])
    assert KeyChecks().process(lines_of(built, tmp_path, zfs=zfs)) == {"zdata/enc": KeyCheck.WRONG}
