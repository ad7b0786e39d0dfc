"""What nfsd answers: an NFSv4.0 COMPOUND goes in, its reply comes out (RFC 5531, RFC 7530)."""

from __future__ import annotations

import struct

from lab.core import Host, Store, part
from lab.linux import nfs

PROGRAM, VERSION, COMPOUND = 100003, 4, 1
GETATTR, LOOKUP, PUTROOTFH, SAVEFH = 9, 15, 24, 32
OK, NOENT, STALE, NOFILEHANDLE = 0, 2, 70, 10020
FSID = 1 << 8
"""FATTR4_FSID in the first word of a bitmap."""


class Unknown(Exception):
    """A call that the lab cannot answer; the text says what of it."""


class _Call:
    """Reads XDR."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        if len(taken) != count:
            raise Unknown("a call that is too short")
        return taken

    def number(self) -> int:
        return int(struct.unpack(">I", self.take(4))[0])

    def opaque(self) -> bytes:
        size = self.number()
        return self.take(size + -size % 4)[:size]

    def expect(self, what: str, *wanted: int) -> None:
        for number in wanted:
            if (found := self.number()) != number:
                raise Unknown(f"{what} {found}")


def _xdr(*items: int | bytes) -> bytes:
    def one(item: int | bytes) -> bytes:
        if isinstance(item, int):
            return struct.pack(">I", item)
        return struct.pack(">I", len(item)) + item + bytes(-len(item) % 4)

    return b"".join(map(one, items))


def answer(store: Store, host: Host, data: bytes) -> bytes:
    """nfsd's reply to a call, both with their record marks.

    :raises Unknown: not a call that is modelled
    """
    call = _Call(data)
    call.expect("a record mark", 1 << 31 | len(data) - 4)
    transaction = call.number()
    call.expect("an RPC message", 0, 2, PROGRAM, VERSION, COMPOUND)
    call.expect("credentials of the flavour", 1)
    credentials = _Call(call.opaque())
    credentials.number()
    credentials.opaque()
    credentials.expect("a user id", 0)
    call.expect("a verifier", 0, 0)
    sysctl = part(host, "sysctl", dict[str, str])
    if sysctl.get("vfs.nfsd.nfs_privport", "0") != "0":  # nc has an ordinary port (svcerr_weakauth)
        return _record(_xdr(transaction, 1, 1, 1, 5))
    if sysctl.get("vfs.nfsd.server_max_nfsvers") != "4":
        return _record(_xdr(transaction, 1, 0, 0, 0, 2, 2, 3))
    return _record(_xdr(transaction, 1, 0, 0, 0, 0) + _compound(store, host, call))


def _record(message: bytes) -> bytes:
    return _xdr(1 << 31 | len(message)) + message


def _compound(store: Store, host: Host, call: _Call) -> bytes:
    tag = call.opaque()
    call.expect("a minor version", 0)
    count = call.number()
    place: nfs.Place | None = None
    status = OK
    results: list[bytes] = []
    for _ in range(count):
        operation = call.number()
        data = b""
        if operation == PUTROOTFH and not results:
            status, place = _walk(store, host, "")
        elif operation == LOOKUP:
            name = call.opaque().decode()
            if not name or "/" in name or name in (".", "..") or (place and len(results) > 2):
                raise Unknown(f"LOOKUP of {name!r}")
            status, place = _walk(store, host, name) if place else (NOFILEHANDLE, None)
        elif operation == SAVEFH:  # not where nothing is exported, unlike a lookup (nfs_nfsdsocket.c)
            status = OK if place and nfs.EXPORTED in place.entry.options else NOFILEHANDLE
        elif operation == GETATTR:
            wanted = [call.number() for _ in range(call.number())]
            if not wanted or wanted[0] != FSID or any(wanted[1:]):
                raise Unknown(f"GETATTR of {wanted}")
            status = OK if place else NOFILEHANDLE
            data = _xdr(1, FSID, _fsid(place.entry.fsid)) if place else b""
        else:
            raise Unknown(f"operation {operation}")
        results.append(_xdr(operation, status) + data)
        if status != OK:
            break
    if call.data and status == OK:
        raise Unknown("more than a call")
    return _xdr(status, tag, len(results)) + b"".join(results)


def _walk(store: Store, host: Host, name: str) -> tuple[int, nfs.Place | None]:
    if host.parts.get("v4 root") is None:
        return NOFILEHANDLE, None
    try:
        return OK, nfs.walk(store, host, name)
    except nfs.Refused as error:
        return (STALE if str(error) == nfs.STALE_HANDLE else NOENT), None


def _fsid(shown: str) -> bytes:
    """FATTR4_FSID of a file system: the two words of its f_fsid, each as 64 bits (nfs_commonsubs.c)."""
    return struct.pack(">QQ", *struct.unpack("<II", bytes.fromhex(shown)))
