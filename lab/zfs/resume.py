"""Tokens with which an interrupted receive goes on: ``1-CHECKSUM-LENGTH-HEX``, as opaque as ZFS's own."""

from __future__ import annotations

import json
import zlib

from lab.core import CommandError
from lab.zfs.model import Partial


def token(partial: Partial) -> str:
    """The value of ``receive_resume_token``."""
    facts = {k: partial.header[k] for k in ("object", "toguid", "toname", "fromguid", "raw")}
    data = json.dumps(facts | {"bytes": len(partial.payload)}).encode()
    packed = zlib.compress(data)
    return f"1-{zlib.crc32(data):x}-{len(data):x}-{packed.hex()}"


def read(text: str) -> dict[str, object]:
    """What a token says.

    :raises CommandError: it is none
    """
    try:
        version, checksum, length, packed = text.split("-")
        data = zlib.decompress(bytes.fromhex(packed))
        if version != "1" or f"{zlib.crc32(data):x}" != checksum or f"{len(data):x}" != length:
            raise ValueError(text)
        facts: dict[str, object] = json.loads(data)
    except (ValueError, zlib.error):
        raise CommandError("cannot resume send: resume token is corrupt (nvlist authentication failed)", 255) from None
    return facts
