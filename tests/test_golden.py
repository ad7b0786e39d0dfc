"""The plans in tests/golden are what the deploy does; that of an adopted site is compared in tests/tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from f3s.quoting import command
from facts.base import bounded, script
from tests import golden
from tests.lab.cluster import Cluster


def test_programs_are_shown_by_their_names_and_arguments() -> None:
    formats = script("format-stick", "F3S_KEYS", "/dev/da0")
    assert golden.readable(f"{formats} && {command('sh -c {}', 'id -u')}") == "format-stick F3S_KEYS /dev/da0 && id -u"
    assert golden.readable(bounded(300, formats)) == "bounded 300 format-stick F3S_KEYS /dev/da0"
    put = script("put-secret", "/etc/it's.pem", "a" * 64)
    assert golden.readable(bounded(9, bounded(3, put))) == """bounded 9 bounded 3 put-secret '/etc/it'"'"'s.pem' HASH"""


@pytest.mark.lab
def test_an_untouched_cluster_is_changed_as_planned(everything: Cluster) -> None:
    golden.compare(everything.state.parent / "plans", "untouched")


@pytest.mark.lab
def test_a_converged_cluster_is_not_changed(everything: Cluster, tmp_path: Path) -> None:
    run = everything.copy(tmp_path / "state").pyinfra("deploy.py", "-y")
    assert (run.rc, run.changed) == (0, []), run.output
