"""Each trouble of docs/runbook.md, brought about in the lab and mended with its own commands."""

from __future__ import annotations

import pytest

from tests.documents import Runner, blocks
from tests.lab.cluster import REPOSITORY, Cluster

pytestmark = pytest.mark.lab

RUNBOOK = blocks((REPOSITORY / "docs/runbook.md").read_text())
TROUBLES = list(dict.fromkeys(block.heading for block in RUNBOOK))


def test_every_trouble_is_brought_about_and_shows_how_it_ends() -> None:
    for trouble in TROUBLES:
        of_it = [block for block in RUNBOOK if block.heading == trouble]
        assert any(block.where == ("lab",) for block in of_it), trouble
        assert any(block.is_output for block in of_it), trouble


@pytest.mark.parametrize("trouble", TROUBLES)
def test_its_commands_mend_it(trouble: str, site: Cluster) -> None:
    Runner(site, "docs/runbook.md").follow(block for block in RUNBOOK if block.heading == trouble)
