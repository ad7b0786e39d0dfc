"""Copies of the keys on the controller: written to the secrets folder, read from wherever the operator kept them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from pyinfra.api.exceptions import DeployError

from bridge.settings import secrets_folder, site
from f3s.escrow import Copies, EscrowError, Export, digest, opened, paper, sealed, sealed_for
from f3s.keys import SUFFIX
from f3s.pki.plan import PkiError
from f3s.pki.store import Store

PASSPHRASE = "F3S_PASSPHRASE"
"""The variable of the environment that has the passphrase; without it, somebody is asked."""


@dataclass(frozen=True)
class Sealing:
    """The file with all keys, for whoever has the passphrase or the private key of a certificate.

    + certificate: in PEM; empty: a passphrase
    + there: the file that there is
    """

    certificate: bytes
    there: Export | None

    @property
    def has(self) -> Mapping[str, str]:
        """SHA-256 of the keys in the file, by name; none where it is sealed in another way."""
        return self.there.keys if self.there and self.there.way == self._way else {}

    def write(self, keys: Mapping[str, bytes]) -> None:
        """Raises DeployError where they cannot be sealed."""
        store = Store(secrets_folder(site()))
        try:
            content = sealed_for(keys, self.certificate) if self.certificate else sealed(keys, _passphrase(new=True))
            Export(self._way, {name: digest(key) for name, key in keys.items()}).write(store, content)
        except (EscrowError, PkiError, OSError) as error:
            raise DeployError(f"no copy was made: {error}") from None
        click.echo(f"    {store.folder / Export.FILE} has {len(keys)} keys: keep a copy of it away from the hosts")

    @property
    def _way(self) -> str:
        return f"for the certificate {digest(self.certificate)}" if self.certificate else "with a passphrase"


def sealing(certificate: str) -> Sealing:
    """How keys are sealed, and what is sealed so far. Raises DeployError where that cannot be read.

    + certificate: file of it; empty: a passphrase
    """
    try:
        content = Path(certificate).read_bytes() if certificate else b""
        return Sealing(content, Export.of(Store(secrets_folder(site()))))
    except (PkiError, OSError) as error:
        raise DeployError(f"no copy was made: {error}") from None


def write_on_paper(keys: Mapping[str, bytes]) -> None:
    """A file to be printed for each of the keys. Raises DeployError where it cannot be written."""
    store = Store(secrets_folder(site()))
    try:
        with store.locked():
            for name, key in keys.items():
                store.write(f"{name}.paper", paper(name, key).encode())
                click.echo(f"    {store.folder / name}.paper: print it, and delete it")
    except (PkiError, OSError) as error:
        raise DeployError(f"{name}{SUFFIX} was not written: {error}") from None


@functools.lru_cache(maxsize=1)  # hosts want the same ones, and standard input can be read only once
def copies(file: str) -> Copies:
    """The keys in a copy. Raises DeployError where they cannot be read."""
    try:
        return Copies(file, opened(Path(file).read_bytes(), lambda: _passphrase(new=False)))
    except (EscrowError, OSError) as error:
        raise DeployError(f"escrow_from: {file}: {error}") from None


def _passphrase(new: bool) -> str:
    said = os.environ.get(PASSPHRASE)
    return said or click.prompt("passphrase of the keys", hide_input=True, confirmation_prompt=new, err=True)
