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
    return f"1-{zlib.crc32(data):x}-{len(data):x}-{zlib.compress(data).hex()}"


def read(text: str) -> dict[str, object]:
    """What a token says."""
    try:
        facts: dict[str, object] = json.loads(zlib.decompress(bytes.fromhex(text.split("-")[3])))
    except (ValueError, IndexError, zlib.error):
        raise CommandError("cannot resume send: resume token is corrupt (nvlist authentication failed)", 255) from None
    return facts
