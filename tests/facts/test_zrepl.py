from __future__ import annotations

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.quoting import UnsafeValue
from facts.base import END
from facts.zrepl import Written


def test_the_pool_is_synced_before_written_is_read() -> None:
    built = Written().command(tree="zdata/sink")
    assert "zpool sync zdata && zfs get -Hp -r -t filesystem,volume -o name,value written zdata/sink" in built
    with pytest.raises(UnsafeValue):
        Written().command(tree="-a")


def test_written_by_dataset() -> None:
    lines = ["zdata/sink\t98304", "zdata/sink/f0\t0", END]
    assert Written().process(lines) == {"zdata/sink": 98304, "zdata/sink/f0": 0}
    for line in ("zdata/sink 98304", "zdata/sink\t-", "zdata/sink\t96K"):
        with pytest.raises(FactProcessError):
            Written().process([line, END])
