"""What nfsd answers to the question of files/freebsd/answers.sh (RFC 5531, RFC 7530), and to no other."""

from __future__ import annotations

import struct

from lab.core import Host, NotSimulatedError, Store, part
from lab.linux import nfs

FSID = 1 << 8
"""FATTR4_FSID in the first word of a bitmap."""
PUTROOTFH, SAVEFH, LOOKUP, GETATTR = 24, 32, 15, 9
OK, NOENT, STALE, NOFILEHANDLE = 0, 2, 70, 10020


def _words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _question(transaction: bytes, name: bytes) -> bytes:
    """A COMPOUND of NFS 4.0, of root by AUTH_SYS, with its record mark."""
    head = _words(0, 2, 100003, 4, 1, 1, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, PUTROOTFH, SAVEFH, LOOKUP, len(name))
    call = transaction + head + name + bytes(-len(name) % 4) + _words(GETATTR, 1, FSID)
    return _words(1 << 31 | len(call)) + call


def answer(store: Store, host: Host, call: bytes) -> bytes:
    """nfsd's reply to a call, both with their record marks."""
    transaction = call[4:8]
    name = call[92 : 92 + int.from_bytes(call[88:92], "big")]
    if call != _question(transaction, name) or not name or b"/" in name:
        raise NotSimulatedError("nc with another question than that of files/freebsd/answers.sh")
    sysctl = part(host, "sysctl", dict[str, str])
    if sysctl.get("vfs.nfsd.nfs_privport", "0") != "0":  # nc has an ordinary port (svcerr_weakauth)
        reply = _words(1, 1, 1, 5)
    elif sysctl.get("vfs.nfsd.server_max_nfsvers") != "4":
        reply = _words(1, 0, 0, 0, 2, 2, 3)
    else:
        reply = _words(1, 0, 0, 0, 0) + _results(store, host, name.decode())
    return _words(1 << 31 | len(transaction + reply)) + transaction + reply


def _results(store: Store, host: Host, name: str) -> bytes:
    done = []
    for operation in (PUTROOTFH, SAVEFH, LOOKUP, GETATTR):
        if operation in (PUTROOTFH, LOOKUP):
            status, place = _walk(store, host, name if operation == LOOKUP else "")
        elif operation == SAVEFH:  # not where nothing is exported, unlike a lookup (nfs_nfsdsocket.c)
            status = OK if place and nfs.EXPORTED in place.entry.options else NOFILEHANDLE
        done.append(_words(operation, status))
        if status != OK:
            return _words(status, 0, len(done)) + b"".join(done)
    assert place is not None
    # the two words of f_fsid, each as 64 bits (nfs_commonsubs.c)
    fsid = struct.pack(">QQ", *struct.unpack("<II", bytes.fromhex(place.entry.fsid)))
    return _words(OK, 0, len(done)) + b"".join(done) + _words(1, FSID, len(fsid)) + fsid


def _walk(store: Store, host: Host, name: str) -> tuple[int, nfs.Place | None]:
    if host.parts.get("v4 root") is None:
        return NOFILEHANDLE, None
    try:
        return OK, nfs.walk(store, host, name)
    except nfs.Refused as error:
        return (STALE if str(error) == nfs.STALE_HANDLE else NOENT), None
