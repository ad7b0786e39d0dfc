"""What was recorded on real FreeBSD and its NFS client, replayed in order in the lab (see transcripts/README.md).

All of it is one story on three machines: same status, same words. What comes out differently is listed with its reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.core import Store
from lab.replay import Outcome, recorded, replay
from machines.compare import rows
from tests.lab.replay_story import BEFORE, machines

TRANSCRIPT = Path(__file__).with_name("transcripts") / "freebsd-13.2.jsonl"
RECORDED = recorded(TRANSCRIPT)

NO_LONGER_PLAYED = {
    "pool": (0, 13, 16),
    "usb": (0, 1, 8, 9, 11, 15, 17),
    "zfs": (11,),
    "carp": (9,),
    "client": (1, 4),
    "nfs": (6, 25, 26),
    "guard": (1,),
    "failover": (2,),
    "idmap": (1, 2, 5, 6, 7),
    "migrate": (10, 16, 17, 20, 23),
    "return": (1, 7),
}
"""Section and positions of the commands that hold what neither the deploy nor a scenario sends: the lab refuses it, or
says less. replay_story.py does what others need of them."""

LEFT_OUT = {
    ("usb", 13): "usbconfig is not played",
    ("usb", 18): "file(1) is not played",
    ("zfs", 2): "newfs makes no .snap folder for UFS snapshots, which the lab does not have",
    ("carp", 7): "nc(1) is not played",
    ("carp", 8): "the machines had a second interface, which nothing else uses",
    ("carp", 17): "between two commands of the machines f0 had advertised; in the lab no time passes there",
    (
        "migrate",
        18,
    ): "the machines could not run virtual machines: vm said so; in the lab vm-bhyve is not installed here",
    ("migrate", 30): "sysctl kern.version is not played",
    ("mountschg", 0): "ls -o shows uarch, which ZFS sets on all that is written; the lab keeps no such flag",
}
"""(section, position) of the commands that come out differently, with the reason."""

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    store = Store(Path(tmp_path_factory.mktemp("replay")) / "lab")
    machines(store)
    unplayed = {(section, number) for section, numbers in NO_LONGER_PLAYED.items() for number in numbers}
    return replay(store, RECORDED, BEFORE, unplayed)


@pytest.mark.parametrize("section", dict.fromkeys(command.section for command in RECORDED))
def test_the_lab_answers_as_the_machines_did(outcomes: list[Outcome], section: str) -> None:
    mine = [outcome for outcome in outcomes if outcome.command.section == section]
    different = {(section, o.command.number): [o.command.cmd, *rows(o)] for o in mine if not o.same}
    unexpected = ["\n".join([f"{key}:", *lines]) for key, lines in different.items() if key not in LEFT_OUT]
    assert not unexpected, "\n\n".join(unexpected)
    stale = [key for key in LEFT_OUT if key[0] == section and key not in different]
    assert not stale, f"these match now: take them out of LEFT_OUT: {stale}"
