"""What certificates a site has, checked before any is made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from f3s.settings import Site

SERVER = "server"
RESERVED = ("ca", "crl", SERVER)

# RFC 5280 appendix A.1, ub-common-name
MAX_COMMON_NAME = 64
# The dots and dashes of a host name, nothing with a meaning in a path.
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class PkiError(ValueError):
    """Something in the settings or in the secrets folder that the operator has to decide."""


@dataclass(frozen=True)
class PkiPlan:
    """The certificates that there should be.

    :param names: DNS names of the service address, for the server certificate; the first is its common name
    :param addresses: IP addresses of the service, for the server certificate
    :param clients: a client certificate each; the name is the certificate's common name and DNS name
    :param hosts: which get the CA's certificate by a deploy; a client that is none of them gets its files by hand
    :param ca_days: lifetime of the CA and its CRL in days
    :param server_days: lifetime of the server certificate in days
    :param client_days: lifetime of the client certificates in days
    :param renew_before_days: a certificate with fewer days left is made anew
    :param make_carp_password: whether the folder holds the CARP password, False where the settings give one
    :raises PkiError: a value out of bounds; the text names it and what is allowed
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    clients: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    ca_days: int = 3650
    server_days: int = 825
    client_days: int = 825
    renew_before_days: int = 60
    make_carp_password: bool = True

    def __post_init__(self) -> None:
        if not self.names:
            raise PkiError("the server certificate needs at least one name: the clients check it")
        for kind, given in (("server name", self.names), ("client", self.clients)):
            for name in given:
                if not NAME.fullmatch(name) or len(name) > MAX_COMMON_NAME:
                    raise PkiError(
                        f"{kind} {name!r}: 1 to {MAX_COMMON_NAME} lower case letters, digits, dots and dashes"
                    )
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise PkiError(f"{kind} {twice[0]!r} is there twice")
        for name in self.clients:
            if name in RESERVED:
                raise PkiError(f"client {name!r}: {', '.join(RESERVED)} are names of the CA's own files")
            if name in self.names:
                raise PkiError(f"client {name!r} is a name of the server, which no client may have")
        self.ip_addresses()
        leaf = max(self.server_days, self.client_days)
        if min(self.server_days, self.client_days) <= self.renew_before_days or self.renew_before_days < 1:
            raise PkiError(
                f"lifetimes of {self.server_days} and {self.client_days} days with renewal "
                f"{self.renew_before_days} days before the end: each lifetime has to be longer than that, and that "
                "at least 1"
            )
        if self.ca_days <= leaf + self.renew_before_days:
            raise PkiError(
                f"a CA of {self.ca_days} days has to outlive certificates of {leaf} days, which are renewed "
                f"{self.renew_before_days} days before their end: more than {leaf + self.renew_before_days}"
            )

    def ip_addresses(self) -> list[IPv4Address | IPv6Address]:
        """The addresses, parsed."""
        try:
            return [ip_address(address) for address in self.addresses]
        except ValueError as error:
            raise PkiError(f"server address: {error}") from None


def plan_for(site: Site) -> PkiPlan:
    """The plan that follows from the settings of a site.

    :raises PkiError: the settings are such that no certificates can be made from them
    """
    one = site.primary  # the values below are those of the whole site
    return PkiPlan(
        names=one.vip.names,
        addresses=(one.vip.address,),
        clients=(*(client.name for client in site.clients), *one.pki.extra_clients),
        hosts=tuple(host.name for host in (*site.storage_hosts, *site.clients)),
        ca_days=one.pki.ca_days,
        server_days=one.pki.server_days,
        client_days=one.pki.client_days,
        renew_before_days=one.pki.renew_before_days,
        make_carp_password=one.carp.password is None,
    )
