"""What was recorded on real FreeBSD, replayed in order in the lab: same status, same words (see transcripts/README.md).

The sections pool, usb, zfs, sink and migrate are what the lab is measured by; the others (a rotated key, the way back
after a failover, immutable mount points) go on from there, as they did on the machines.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.core import Store
from tests.lab.replay import Outcome, machines, recorded, replay

MEASURED = ("pool", "usb", "zfs", "sink", "migrate")
OTHERS = ("nfs", "failover", "guard", "mountschg", "rotate", "return", "return2")

LEFT_OUT = {
    ("usb", 8): "df counts no blocks of an empty UFS file system's own (8 of 63004); nobody reads that number",
    ("usb", 11): "camcontrol devlist -v shows the buses, which the lab does not have",
    ("usb", 13): "usbconfig is not played",
    ("usb", 18): "file(1) is not played",
    ("zfs", 2): "newfs makes no .snap folder for UFS snapshots, which the lab does not have",
    ("zfs", 11): "df -h has the columns of df without -h",
    ("migrate", 17): "a dry run of -R looks for the children under their old names, a fault of OpenZFS 2.1.9; the "
    "lab looks under the new ones and refuses, too",
    (
        "migrate",
        18,
    ): "the machines could not run virtual machines: vm said so; in the lab vm-bhyve is not installed here",
    ("migrate", 30): "sysctl kern.version is not played",
    ("guard", 1): "mountd and its manual page",
    ("guard", 2): "needs the mountd that the section nfs started",
    ("mountschg", 0): "ls -o shows uarch, which ZFS sets on all that is written; the lab keeps no such flag",
}
"""(section, position) of the commands that come out differently, with the reason."""

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    store = Store(Path(tmp_path_factory.mktemp("replay")) / "lab")
    machines(store)
    return replay(store, recorded())


def difference(outcome: Outcome) -> str:
    command = outcome.command
    return (
        f"{command.section} {command.number} on {command.host}: {command.cmd}\n"
        f"recorded: {command.rc}\n{command.stdout}{command.stderr}\nlab: {outcome.rc}\n{outcome.stdout}{outcome.stderr}"
    )


@pytest.mark.parametrize("section", MEASURED + OTHERS)
def test_the_lab_answers_as_freebsd_did(outcomes: list[Outcome], section: str) -> None:
    mine = [o for o in outcomes if o.command.section == section]
    assert mine
    different = {(section, o.command.number): difference(o) for o in mine if not o.same}
    unexpected = [text for key, text in different.items() if key not in LEFT_OUT]
    assert not unexpected, "\n\n".join(unexpected)
    stale = [key for key in LEFT_OUT if key[0] == section and key not in different]
    assert not stale, f"these match now: take them out of LEFT_OUT: {stale}"


def test_nine_in_ten_commands_match(outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    counts = {}
    for section in MEASURED:
        same = [o.same for o in outcomes if o.command.section == section]
        counts[section] = (sum(same), len(same))
    with capsys.disabled():
        print("\nreplay:", ", ".join(f"{name} {same}/{count}" for name, (same, count) in counts.items()))
    assert sum(same for same, _ in counts.values()) >= 0.9 * sum(count for _, count in counts.values())
