"""Owners on an NFS mount as they were recorded (section idmap of the transcript)."""

from __future__ import annotations

import pytest

from tests.lab.cluster import Cluster

pytestmark = pytest.mark.lab

SHARE = "/data/nfs/k3svolumes"
FRESH = f"rm -f {SHARE}/owned; touch {SHARE}/owned; chown 1000:1000 {SHARE}/owned; echo rc=$?; ls -ln {SHARE}"


def owned(lab: Cluster) -> tuple[str, list[tuple[str, str, str]]]:
    """What chown said, and (uid, gid, name) of each file as the client sees it."""
    ran = lab.attempt("r0", FRESH)
    rows = [line.split() for line in ran.out.splitlines()]
    return rows[0][0] + " " + ran.err, [(row[2], row[3], row[-1]) for row in rows if len(row) > 5]


def test_owners_are_numbers_or_names_as_the_server_is_set_up(site: Cluster) -> None:
    site.sh("f0", f"touch {SHARE}/test.txt")
    # as deployed: numbers pass through both ways
    assert owned(site) == ("rc=0 ", [("1000", "1000", "owned"), ("0", "0", "test.txt")])
    assert site.sh("f0", f"ls -ln {SHARE}/owned").split()[2:4] == ["1000", "1000"]
    site.sh("f0", "sysrc nfsuserd_flags='-domain lan.buetow.org'; service nfsuserd onestart")
    site.sh("f0", "sysctl vfs.nfsd.enable_stringtouid=0 vfs.nfs.enable_uidtostring=0")
    refused = f"rc=1 chown: changing ownership of '{SHARE}/owned': Invalid argument\n"
    assert owned(site) == (refused, [("0", "4294967294", "owned"), ("0", "4294967294", "test.txt")])
    site.sh("f0", "sysctl vfs.nfsd.enable_stringtouid=1")
    assert owned(site) == ("rc=0 ", [("65534", "65534", "owned"), ("0", "4294967294", "test.txt")])
    site.sh("r0", "sed -i 's/^#Domain.*/Domain = elsewhere/' /etc/idmapd.conf; nfsidmap -c")
    assert owned(site)[1] == [("65534", "65534", "owned"), ("65534", "65534", "test.txt")]
