"""Builds and judges keys, certificates and revocation lists. No files, no clock: the time is a parameter.

All keys are on the curve P-256, which every OpenSSL that the hosts have (1.1.1 on FreeBSD 13.2, 3.x) prefers or
knows. Extensions follow RFC 5280 as ``openssl verify -x509_strict`` checks it.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from f3s.pki.plan import SERVER, PkiError, PkiPlan

BACKDATED = timedelta(days=1)
"""Certificates and lists are valid from a day ago, so that a host accepts them whose clock is behind this one.

A real-time clock in local time is wrong by half a day at most, on either side. A list that is not valid yet locks out
everybody at the revocation of one client.
"""


@dataclass(frozen=True, repr=False)
class Identity:
    """A private key and its certificate. Without a repr, because a key belongs in no log."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def pem(self) -> bytes:
        """Key and certificate in one text, so that no crash can leave one without the other."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Profile:
    """What a certificate is for.

    :param name: its name in the store: ``server`` or a client's name
    :param alt_names: the subject's alternative names; the first DNS name is the common name, too
    :param usage: extended key usage, serverAuth or clientAuth
    :param days: lifetime in days
    """

    name: str
    common_name: str
    alt_names: tuple[x509.GeneralName, ...]
    usage: ObjectIdentifier
    days: int


@dataclass(frozen=True)
class Issued:
    """A certificate that was made, when it was revoked, and the number of the CA that made it."""

    serial: int
    name: str
    not_after: datetime
    revoked: datetime | None = None
    ca: int = 1


def parse_issued(content: bytes | None) -> list[Issued]:
    """Read what `issued_text` made; nothing was issued where there is no file.

    :raises PkiError: the text is something else
    """
    try:
        return [
            Issued(
                serial=int(entry["serial"], 16),
                name=entry["name"],
                not_after=datetime.fromisoformat(entry["not_after"]),
                revoked=datetime.fromisoformat(entry["revoked"]) if entry["revoked"] else None,
                ca=entry.get("ca", 1),
            )
            for entry in json.loads(content or b"[]")
        ]
    except (ValueError, TypeError, KeyError):
        raise PkiError("issued.json is damaged: restore it from a backup") from None


def issued_text(issued: Iterable[Issued]) -> bytes:
    """The list as JSON."""
    entries = [
        {
            "serial": f"{entry.serial:x}",
            "name": entry.name,
            "not_after": entry.not_after.isoformat(),
            "revoked": entry.revoked.isoformat() if entry.revoked else None,
            "ca": entry.ca,
        }
        for entry in issued
    ]
    return (json.dumps(entries, indent=1) + "\n").encode()


class State(enum.Enum):
    """The state of an item. All but GOOD need attention."""

    GOOD = "good"
    NEAR_END = "near its end"
    EXPIRED = "expired"
    MISSING = "missing"
    WRONG = "wrong"
    REVOKED = "revoked"
    LEFT_OVER = "left over"
    ON_ITS_WAY = "on its way"
    DUE = "due"


NEXT_STEP = {"new ca": "use-new-ca", "old ca": "drop-old-ca"}
"""The finding of the CA that is trusted and does not sign -> what comes next, once it is due."""


@dataclass(frozen=True)
class Finding:
    """One line of the status table; the dates are None for an item without an end, or a missing one."""

    name: str
    state: State
    detail: str
    not_after: datetime | None = None
    not_before: datetime | None = None


def days_until(end: datetime, now: datetime) -> int:
    """Whole days, negative after it."""
    return (end - now) // timedelta(days=1)


def profiles(plan: PkiPlan) -> dict[str, Profile]:
    """The certificates of the plan by name, the server's first."""
    server = Profile(
        name=SERVER,
        common_name=plan.names[0],
        alt_names=(*map(x509.DNSName, plan.names), *map(x509.IPAddress, plan.ip_addresses())),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        days=plan.server_days,
    )
    clients = (
        Profile(
            name=name,
            common_name=name,
            alt_names=(x509.DNSName(name),),
            usage=ExtendedKeyUsageOID.CLIENT_AUTH,
            days=plan.client_days,
        )
        for name in plan.clients
    )
    return {profile.name: profile for profile in (server, *clients)}


def parse_identity(pem: bytes, what: str) -> Identity:
    """Read what `Identity.pem` made; of several of them the first.

    :raises PkiError: the text is something else; it is not quoted
    """
    try:
        key = load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
    except (ValueError, TypeError):
        raise PkiError(f"{what} does not hold a key and a certificate: restore it or move it away") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{what} holds a key of another kind than those made here: move it away")
    return Identity(key, certificate)


_CA_NAME = "f3s storage CA"


def make_ca(days: int, now: datetime, key: ec.EllipticCurvePrivateKey | None = None, number: int = 1) -> Identity:
    """A self-signed CA; with key and number of an earlier one it is that CA with a new lifetime.

    Name and key identifiers then stay the same. So everything that the CA has signed is good under the new certificate,
    and hosts may get that at different times.

    :param number: part of its name, which so tells it from the one before; a revocation list is found by that name
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    common_name = _CA_NAME if number == 1 else f"{_CA_NAME} {number}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key, now, days)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(key, certificate)


def ca_number(certificate: x509.Certificate) -> int:
    """The number in a CA's name; 1 for one without."""
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return int(str(name.value).removeprefix(_CA_NAME) or 1)


_BEGIN = "-----BEGIN "
_OURS = re.compile(rf"CN={_CA_NAME}( \d+)?")


def of_others(pem: str) -> str:
    """Which certificates and revocation lists of a file are of no CA that was made here; empty: all are of one.

    The name tells it: a CA that is made anew has that name as well, so a file of an earlier one is ours, too.

    :param pem: what is public in the file
    """
    try:
        told = [_signed(_BEGIN + each) for each in pem.split(_BEGIN)[1:]]
    except ValueError:
        told = []
    if not told:
        return "nothing that can be read as a certificate"
    return ", ".join(words for issuer, words in told if not _OURS.fullmatch(issuer))


def _signed(pem: str) -> tuple[str, str]:
    """Who has signed it, and what it is."""
    if pem.startswith(f"{_BEGIN}X509 CRL"):
        crl = x509.load_pem_x509_crl(pem.encode())
        issuer, what, digest = crl.issuer.rfc4514_string(), "a revocation list", crl.fingerprint(hashes.SHA256())
    else:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        issuer, digest = certificate.issuer.rfc4514_string(), certificate.fingerprint(hashes.SHA256())
        what = f"the certificate of {certificate.subject.rfc4514_string()}"
    return issuer, f"{what} from {issuer} with the SHA-256 {digest.hex()}"


def issue(ca: Identity, profile: Profile, serial: int, now: datetime) -> Identity:
    """A new key and a certificate for it.

    Its number is part of the subject, too: that is all that stunnel's log tells of a certificate (f3s/connections.py).

    :param serial: recorded by the caller first, so that every certificate can be revoked
    """
    key = ec.generate_private_key(ec.SECP256R1())
    names = {NameOID.COMMON_NAME: profile.common_name, NameOID.SERIAL_NUMBER: f"{serial:x}"}
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])
    certificate = (
        _builder(subject, ca.certificate.subject, key, now, profile.days)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([profile.usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(profile.alt_names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority(ca), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    return Identity(key, certificate)


def make_crl(ca: Identity, issued: Iterable[Issued], now: datetime) -> x509.CertificateRevocationList:
    """The list of the revoked certificates, good for as long as the CA.

    OpenSSL refuses every certificate once the list is past its nextUpdate, so a short life would turn a forgotten
    deploy into an outage. It would protect from nothing, because hosts get the list by a deploy and do not poll.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(max(ca.certificate.not_valid_after_utc, now))
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        .add_extension(_authority(ca), critical=False)
    )
    for entry in issued:
        if entry.revoked is not None:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.revoked).build()
            )
    return builder.sign(ca.key, hashes.SHA256())


_EARLY = "not valid yet: was the clock wrong when it was made?"


def judge_ca(ca: Identity | None, plan: PkiPlan, now: datetime) -> Finding:
    """A CA is near its end when a certificate made now would outlive it."""
    if ca is None:
        return Finding("ca", State.MISSING, "there is no CA")
    if _public(ca.certificate.public_key()) != _public(ca.key.public_key()):
        raise PkiError("ca.pem: its certificate is not for its key: restore it from a backup")
    reserve = max(plan.server_days, plan.client_days) + plan.renew_before_days
    return _by_time("ca", ca.certificate, now, timedelta(days=reserve)) or _good("ca", ca.certificate)


def judge_leaf(
    found: Identity | None,
    profile: Profile,
    ca: Identity,
    issued: Collection[Issued],
    plan: PkiPlan,
    now: datetime,
) -> Finding:
    """Whether a certificate is what its profile says, from this CA, and not near its end."""
    name = profile.name
    if found is None:
        return Finding(name, State.MISSING, "there is no certificate")
    certificate = found.certificate
    known = next((entry for entry in issued if entry.serial == certificate.serial_number), None)
    if known is not None and known.revoked is not None:  # before all else that would let it have a new one
        detail = f"revoked on {known.revoked:%Y-%m-%d}; 'renew {name}' makes a new one"
        return Finding(name, State.REVOKED, detail, certificate.not_valid_after_utc)
    wrong = _mismatch(found, profile, ca)
    if not wrong and known is None:
        wrong = "it is not in issued.json, so it could not be revoked"
    if wrong:
        return Finding(name, State.WRONG, wrong, certificate.not_valid_after_utc)
    before = timedelta(days=plan.renew_before_days)
    return _by_time(name, certificate, now, before) or _good(name, certificate)


def judge_crl(
    crl: x509.CertificateRevocationList | None,
    ca: Identity,
    issued: Iterable[Issued],
    plan: PkiPlan,
    now: datetime,
) -> Finding:
    """Whether the list is this CA's, names exactly the revoked certificates, and is not near its nextUpdate."""
    if crl is None:
        return Finding("crl", State.MISSING, "there is no revocation list")
    start, end = crl.last_update_utc, crl.next_update_utc
    if end is None or not crl.is_signature_valid(ca.key.public_key()):
        return Finding("crl", State.WRONG, "it is not signed by this CA")
    if {entry.serial_number for entry in crl} != {e.serial for e in issued if e.revoked is not None}:
        return Finding("crl", State.WRONG, "it does not name the certificates that were revoked", end, start)
    if start > now:
        return Finding("crl", State.WRONG, f"stunnel refuses every connection: it is {_EARLY}", end, start)
    if end <= now:
        return Finding("crl", State.EXPIRED, "stunnel refuses every connection", end, start)
    if end - now < timedelta(days=plan.renew_before_days):
        return Finding("crl", State.NEAR_END, "stunnel refuses every connection from that day on", end, start)
    revoked = len(list(crl))
    return Finding("crl", State.GOOD, f"{revoked} revoked", end, start)


def judge_crls(
    crls: Collection[x509.CertificateRevocationList],
    authorities: Collection[Identity],
    issued: Collection[Issued],
    plan: PkiPlan,
    now: datetime,
) -> Finding:
    """Whether there is a good list of each CA, that of the one which signs first.

    Without a list of its CA, a certificate is refused (OpenSSL: unable to get certificate CRL). The end of another CA
    is no matter: what it has signed is on its way out, or it does not sign yet.
    """
    if len(crls) > len(authorities):
        return Finding("crl", State.WRONG, "it has a list of another CA")
    of_each = ((ca, next((crl for crl in crls if crl.issuer == ca.certificate.subject), None)) for ca in authorities)
    first, *others = (judge_crl(crl, ca, issued, plan, now) for ca, crl in of_each)
    return next((finding for finding in others if finding.state in (State.MISSING, State.WRONG)), first)


def names_of(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    """The subject's alternative names in their order, empty where there are none."""
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _mismatch(found: Identity, profile: Profile, ca: Identity) -> str:
    certificate = found.certificate
    if _public(certificate.public_key()) != _public(found.key.public_key()):
        return "its key belongs to another certificate"
    try:
        certificate.verify_directly_issued_by(ca.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "it is not from this CA"
    if set(names_of(certificate)) != set(profile.alt_names):
        return "its names are not those of the settings"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if list(usage) != [profile.usage]:
        return "it is for another use"
    return ""


def _by_time(name: str, certificate: x509.Certificate, now: datetime, before: timedelta) -> Finding | None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if start > now:
        return Finding(name, State.WRONG, f"it is {_EARLY}", end, start)
    if end <= now:
        return Finding(name, State.EXPIRED, "", end, start)
    if end - now < before:
        return Finding(name, State.NEAR_END, "", end, start)
    return None


def _good(name: str, certificate: x509.Certificate) -> Finding:
    values = [str(alt_name.value) for alt_name in names_of(certificate)]
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Finding(name, State.GOOD, ", ".join(values), end, start)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(ca: Identity) -> x509.AuthorityKeyIdentifier:
    identifier = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _public(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
