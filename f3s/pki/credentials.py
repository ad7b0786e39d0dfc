"""What a host may have, read from the secrets folder; never the CA's key."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509

from f3s.pki.certificates import Issued, ca_number, parse_issued
from f3s.pki.plan import SERVER, PkiError
from f3s.pki.store import Store

CA_CERTIFICATE = "ca-cert.pem"
CRL = "crl.pem"
CARP_PASSWORD = "carp-password"
ISSUED = "issued.json"


def identity_file(name: str) -> str:
    """The file with key and certificate of the server or a client."""
    return f"{SERVER}.pem" if name == SERVER else f"client-{name}.pem"


class Credentials:
    """Texts to be deployed; the keys among them (`server`, `client`, `carp_password`) belong in a HiddenValue.

    :param folder: the secrets folder
    :param refusal: raised in each method, when it is not there: ``python certificates.py init`` comes first
    """

    def __init__(self, folder: Path, refusal: type[Exception] = PkiError) -> None:
        self._store, self._refusal = Store(folder), refusal

    def ca_certificate(self) -> str:
        """The CA's certificate, PEM; public."""
        return self._text(CA_CERTIFICATE)

    def crl(self) -> str:
        """The revocation list, PEM; public."""
        return self._text(CRL)

    def issued(self) -> list[Issued]:
        """Every certificate that was made."""
        return parse_issued(self._text(ISSUED).encode())

    def trusted(self) -> set[int]:
        """The numbers of the CAs that hosts trust."""
        return set(map(ca_number, x509.load_pem_x509_certificates(self.ca_certificate().encode())))

    def server(self) -> str:
        """Key and certificate of the service address, PEM; secret."""
        return self._text(identity_file(SERVER))

    def client(self, name: str) -> str:
        """Key and certificate of a client, PEM; secret."""
        return self._text(identity_file(name))

    def client_end(self, name: str) -> datetime:
        """When a client's certificate ends."""
        return x509.load_pem_x509_certificate(self.client(name).encode()).not_valid_after_utc

    def carp_password(self) -> str:
        """The CARP password without a newline; secret."""
        return self._text(CARP_PASSWORD).strip()

    def _text(self, name: str) -> str:
        self._store.check()
        content = self._store.read(name)
        if content is None:
            raise self._refusal(f"{self._store.folder / name} is missing: run 'python certificates.py init'")
        return content.decode()
