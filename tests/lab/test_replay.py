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
    ("pool", 0): "camcontrol devlist",
    ("pool", 13): "zpool get all",
    ("pool", 16): "zpool labelclear",
    ("usb", 0): "what newfs says of the layout",
    ("usb", 1): "what newfs says of the layout",
    ("usb", 8): "df",
    ("usb", 9): "dumpfs",
    ("usb", 11): "camcontrol devlist",
    ("usb", 15): "fstyp -l",
    ("usb", 17): "fstyp without -u",
    ("zfs", 11): "df",
    ("carp", 9): "ifconfig -f",
    ("client", 4): "df",
    ("nfs", 6): "sysrc -c",
    ("nfs", 25): "nfsstat",
    ("nfs", 26): "what nfsd keeps on the disk",
    ("guard", 1): "mountd by hand",
    ("failover", 2): "stat -f without a format",
    ("idmap", 1): "ps ax",
    ("idmap", 2): "owners on an NFS mount",
    ("idmap", 5): "owners on an NFS mount",
    ("idmap", 6): "ps ax",
    ("idmap", 7): "owners on an NFS mount",
    ("migrate", 10): "zfs send -R; replay_story sends each dataset for what follows",
    ("migrate", 16): "zfs destroy -n",
    ("migrate", 17): "zfs send -R",
    ("migrate", 20): "zfs send -R; as above",
    ("migrate", 23): "zfs diff",
    ("return", 1): "the property written@SNAPSHOT",
    ("return", 7): "zfs receive -n",
}
"""(section, position) of the commands that hold what neither the deploy nor a scenario sends: the lab refuses it."""

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
    return replay(store, RECORDED, BEFORE, NO_LONGER_PLAYED)


@pytest.mark.parametrize("section", dict.fromkeys(command.section for command in RECORDED))
def test_the_lab_answers_as_the_machines_did(outcomes: list[Outcome], section: str) -> None:
    mine = [outcome for outcome in outcomes if outcome.command.section == section]
    different = {(section, o.command.number): [o.command.cmd, *rows(o)] for o in mine if not o.same}
    unexpected = ["\n".join([f"{key}:", *lines]) for key, lines in different.items() if key not in LEFT_OUT]
    assert not unexpected, "\n\n".join(unexpected)
    stale = [key for key in LEFT_OUT if key[0] == section and key not in different]
    assert not stale, f"these match now: take them out of LEFT_OUT: {stale}"
