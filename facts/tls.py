"""How a TLS server answers this host, with its certificate and without one."""

from __future__ import annotations

from typing_extensions import override

from f3s.verify.tls import TlsAnswer, parse_answer
from facts.base import HostFact, marked, script


class Tls(HostFact[TlsAnswer]):
    """Two handshakes; no connection stays.

    + address, port: of the server
    + server_name: what has to be in its certificate
    + cert_file: PEM file on the host with its certificate and key
    + ca_file: PEM file with the CA that has signed the server's certificate
    """

    @override
    def command(self, address: str, port: int, server_name: str, cert_file: str, ca_file: str) -> str:
        arguments = (address, port, server_name, cert_file, ca_file)
        return marked(script("tls-answer", *arguments))

    read = staticmethod(parse_answer)
