"""Each trouble of docs/runbook.md, brought about in the lab and mended with its own commands."""

from __future__ import annotations

import re

import pytest

from tasks.shared import RETIRE
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


def test_from_the_death_of_a_host_to_two_hosts_again() -> None:
    page = (REPOSITORY / "docs/runbook.md").read_text().partition("\n## Host dead\n")[2].partition("\n## ")[0]
    assert "five commands and three decisions" in " ".join(page.split())
    assert len(re.findall(r"^\*\*\d\. [^*]+\?\*\*", page, re.MULTILINE)) == 3
    for trouble in ("Host dead", "Disk dead"):
        todo = [block for block in RUNBOOK if block.heading == trouble and block.where == ("controller",)]
        typed = [line for block in todo for line in block.lines]
        first = next(number for number, line in enumerate(typed) if "promote.py" in line)
        assert len(typed[first:]) <= 5, typed[first:]


def test_a_host_is_retired_by_the_commands_that_the_deploy_names() -> None:
    [typed] = [block.lines for block in RUNBOOK if any("f3s_storage_enable=NO" in line for line in block.lines)]
    assert "; ".join(typed) == RETIRE


@pytest.mark.parametrize("trouble", TROUBLES)
def test_its_commands_mend_it(trouble: str, site: Cluster) -> None:
    Runner(site, "docs/runbook.md").follow(block for block in RUNBOOK if block.heading == trouble)
