"""What `zfs load-key -n` says about a key file and a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from f3s.parsing import UnknownOutput, sections


class KeyCheck(Enum):
    FITS = "the key fits"
    WRONG = "the key is not the one the dataset is encrypted with"
    NO_FILE = "there is no such key file"
    NOT_A_KEY = "the file is not a raw key of 32 bytes"


# wording of OpenZFS 2.1 (lib/libzfs/libzfs_crypto.c), observed except the too long key
_FAILURES = {
    "Incorrect key provided": KeyCheck.WRONG,
    "Failed to open key material file": KeyCheck.NO_FILE,
    "Raw key too short": KeyCheck.NOT_A_KEY,
    "Raw key too long": KeyCheck.NOT_A_KEY,
}


def parse_key_checks(lines: Iterable[str]) -> dict[str, KeyCheck]:
    """Read sections of `rc N` and the output of `zfs load-key -n -L LOCATION DATASET`, by dataset.

    Raises UnknownOutput on a failure that is not a statement about the key (the pool is suspended, say).
    """
    found: dict[str, KeyCheck] = {}
    for dataset, text in sections(lines).items():
        if not text or not text[0].startswith("rc "):
            raise UnknownOutput(f"no exit status of zfs load-key for {dataset}")
        output = "\n".join(text[1:])
        if text[0] == "rc 0":
            found[dataset] = KeyCheck.FITS
            continue
        for wording, result in _FAILURES.items():
            if wording in output:
                found[dataset] = result
                break
        else:
            raise UnknownOutput(f"zfs load-key -n for {dataset} failed with {text[0]}: {output}")
    return found
