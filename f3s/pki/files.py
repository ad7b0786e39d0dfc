"""The files of the secrets folder that are made here, as what they say. The only reader of the CA's key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.pki.certificates import Identity, Issued, issued_text, parse_identity, parse_issued
from f3s.pki.credentials import CA_CERTIFICATE, CARP_PASSWORD, CRL, ISSUED, identity_file
from f3s.pki.plan import SERVER, PkiError
from f3s.pki.store import Store

CA = "ca.pem"
SEEN = "seen.json"
BEGIN_KEY, BEGIN_CRL = b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN X509 CRL-----"

# ifconfig(8) copies the password with strlcpy into CARP_KEY_LEN (20) bytes, so the 20th character and all after it
# are silently dropped (sbin/ifconfig/ifcarp.c, sys/netinet/ip_carp.h). Letters and digits need no quoting.
CARP_PASSWORD_LENGTH = 19
CARP_PASSWORD_FORM = re.compile(rb"[A-Za-z0-9]{8,19}\n")


class Files:
    """Reads and writes them. A damaged one raises PkiError, which names it.

    :param store: the folder
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def authorities(self) -> list[Identity]:
        """The CA that signs, and during the steps to a new one the other that is trusted; none before init."""
        content = self.store.read(CA)
        if content is None:
            return []
        first, *others = content.split(BEGIN_KEY)[1:] or [b""]
        return [parse_identity(BEGIN_KEY + each, CA) for each in (first, *others)]

    def needed_authorities(self) -> list[Identity]:
        """The same, where nothing can be done without.

        :raises PkiError: there is none
        """
        authorities = self.authorities()
        if not authorities:
            raise PkiError("there is no CA yet: run init")
        return authorities

    def write_authorities(self, *authorities: Identity) -> None:
        """In one file, so that each step to a new CA is taken at once."""
        self.store.write(CA, b"".join(ca.pem() for ca in authorities))

    def ca_certificate(self) -> bytes:
        """What hosts trust, as it follows from the CAs."""
        return b"".join(ca.certificate.public_bytes(Encoding.PEM) for ca in self.needed_authorities())

    def crls(self) -> list[x509.CertificateRevocationList]:
        """The revocation lists."""
        nothing, *lists = (self.store.read(CRL) or b"").split(BEGIN_CRL)
        try:
            if nothing:
                raise ValueError
            return [x509.load_pem_x509_crl(BEGIN_CRL + each) for each in lists]
        except ValueError:
            raise PkiError(f"{self.store.folder / CRL} is not a revocation list: remove it, init makes it") from None

    def carp_password(self) -> bytes | None:
        """The CARP password, None if there is none."""
        content = self.store.read(CARP_PASSWORD)
        if content is not None and not CARP_PASSWORD_FORM.fullmatch(content):
            raise PkiError(f"{self.store.folder / CARP_PASSWORD}: 8 to 19 letters and digits on a line, no more")
        return content

    def issued(self) -> list[Issued]:
        """Every certificate that was made."""
        return parse_issued(self.store.read(ISSUED))

    def write_issued(self, issued: Sequence[Issued]) -> None:
        """The same with other entries."""
        self.store.write(ISSUED, issued_text(issued))

    def seen(self) -> dict[str, str]:
        """Hosts that were seen with all their files on the way to a new CA, and SHA-256 of what they trusted then."""
        try:
            return dict(json.loads(self.store.read(SEEN) or b"{}"))
        except (ValueError, TypeError):
            raise PkiError(f"{self.store.folder / SEEN} is damaged: remove it") from None

    def write_seen(self, seen: Mapping[str, str]) -> None:
        """The same with other entries."""
        self.store.write(SEEN, (json.dumps(seen, indent=1) + "\n").encode())

    def refuse_loss(self) -> None:
        """
        :raises PkiError: a file that nothing else replaces is missing although others show that it was there
        """
        names = set(self.store.names())
        made = {ISSUED, CRL, CA_CERTIFICATE, identity_file(SERVER)} & names
        if CA not in names and made:
            raise PkiError(
                f"{self.store.folder / CA} is missing although it has signed certificates: restore it from a backup; "
                f"or, to start with a new CA and new certificates for every host, move {self.store.folder} away"
            )
        leaves = [n for n in names if n == identity_file(SERVER) or n.startswith("client-")]
        if ISSUED not in names and leaves:
            raise PkiError(
                f"{self.store.folder / ISSUED} is missing although there are certificates: without it the next "
                "revocation list would let revoked ones in again. Restore it from a backup"
            )
