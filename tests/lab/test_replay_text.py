"""What the replay's comparison must not let pass."""

from __future__ import annotations

import pytest

from lab.replay_text import Key, Normaliser

ANY: Key = ("nfs", 0)


@pytest.mark.parametrize(
    ("recorded", "other"),
    [
        ("-rw-r--r-- 1 1000 1000 0 Nov 22 08:55 a\n", "-rw-r--r-- 1 65534 65534 0 Jan  1 00:10 a\n"),
        ("-rw-r--r-- 1     0 4294967294 8 Nov 22 08:29 a\n", "-rw-r--r-- 1 0 0 8 Nov 22 08:29 a\n"),
        ("nfsd is running as pid 712 714.\n", "nfsd is not running.\n"),
        ("zdata on /data (zfs, NFS exported, local)\n", "zdata on /data (zfs, local)\n"),
        ("carp: MASTER vhid 1 advbase 1 advskew 0\n", "carp: BACKUP vhid 1 advbase 1 advskew 0\n"),
        ("rc=1\n", "rc=0\n"),
        ("[!] Configuration failed\n", ""),
        ("Stopping nfsd.\n", ""),
        ("nfsd not running?\n", ""),
        ("stunnel stunnel 1 9 tcp4 192.168.1.138:2323 *:*\n", "stunnel stunnel 1 9 tcp4 127.0.0.1:2323 *:*\n"),
    ],
)
def test_a_difference_that_matters_stays_one(recorded: str, other: str) -> None:
    assert Normaliser()(recorded, ANY) != Normaliser()(other, ANY)


@pytest.mark.parametrize(
    ("recorded", "other"),
    [
        ("Stopping nfsd.\nWaiting for PIDS: 3328.\n", "Stopping nfsd.\n"),
        ("Nov 22 08:47:17 f0 mountd[3323]: x\n", "Jan  1 00:01:02 f0 mountd[612]: x\n"),
        ("-rw-r--r--  1 1000  1000  0 Nov 22 08:55 a\n", "-rw-r--r-- 1 1000 1000 0 Nov 22  2026 a\n"),
    ],
)
def test_what_differs_by_nature_does_not_count(recorded: str, other: str) -> None:
    assert Normaliser()(recorded, ANY).split() == Normaliser()(other, ANY).split()


def test_what_was_the_same_has_to_stay_the_same() -> None:
    one, two = "1234567890123456", "6543210987654321"
    assert Normaliser()(f"{one} {two}\n", ANY) == Normaliser()(f"{two} {one}\n", ANY)
    assert Normaliser()(f"{one} {one}\n", ANY) != Normaliser()(f"{one} {two}\n", ANY)


def test_what_one_command_leaves_out_counts_in_the_others() -> None:
    line = "[    1.000000] nfs\n"
    assert Normaliser()(line, ("failover", 7)) == ""
    assert Normaliser()(line, ANY) == line
