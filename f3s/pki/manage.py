"""Makes the secrets folder match the plan, and tells what is in it."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.pki.certificates import (
    Finding,
    Identity,
    Issued,
    Profile,
    State,
    issue,
    issued_text,
    judge_ca,
    judge_crl,
    judge_leaf,
    make_ca,
    make_crl,
    parse_identity,
    parse_issued,
    profiles,
)
from f3s.pki.credentials import CA_CERTIFICATE, CARP_PASSWORD, CRL, ISSUED, identity_file
from f3s.pki.plan import SERVER, PkiError, PkiPlan
from f3s.pki.store import Store

CA = "ca.pem"

# ifconfig(8) copies the password with strlcpy into CARP_KEY_LEN (20) bytes, so the 20th character and all after it
# are silently dropped (sbin/ifconfig/ifcarp.c, sys/netinet/ip_carp.h). Letters and digits need no quoting.
CARP_PASSWORD_LENGTH = 19
CARP_PASSWORD_FORM = re.compile(rb"[A-Za-z0-9]{8,19}\n")


class Pki:
    """One secrets folder and the plan for it.

    :param now: aware, UTC
    """

    def __init__(self, store: Store, plan: PkiPlan, now: datetime) -> None:
        self.store = store
        self.plan = plan
        self.now = now.replace(microsecond=0)
        self.profiles = profiles(plan)

    # Each step reads the folder anew: the folder is the state, so the run after a killed one goes on from there.

    def init(self) -> list[str]:
        """Make what is missing, renew what is near its end, leave the rest; tells what was done.

        A revoked certificate is left revoked: whether its owner gets a new one is the operator's decision.

        :raises PkiError: files are missing that cannot be made again without losing something
        """
        with self.store.locked():
            done: list[str] = []
            self._refuse_loss()
            finding = judge_ca(self._ca(), self.plan, self.now)
            if finding.state is not State.GOOD:
                done.append(self._make_ca(finding))
            if self.store.read(CA_CERTIFICATE) != self._ca_certificate():
                self.store.write(CA_CERTIFICATE, self._ca_certificate())
                done.append("wrote the CA's certificate for the hosts")
            done += self._bring_crl()
            for profile in self.profiles.values():
                finding = self._judge(profile)
                if finding.state not in (State.GOOD, State.REVOKED):
                    self._issue(profile)
                    done.append(f"made {profile.name}: {_reason(finding)}")
            done += self._bring_carp_password()
            return done

    def renew(self, name: str) -> str:
        """Make a new certificate for a name of the plan, or a new lifetime for the CA, now.

        The certificate that it replaces stays valid until its end, so that hosts may change over one by one.

        :raises PkiError: no such name
        """
        with self.store.locked():
            self._refuse_loss()
            ca = self._ca()
            if ca is None:
                raise PkiError("there is no CA yet: run init")
            if name == "ca":
                renewed = make_ca(self.plan.ca_days, self.now, ca.key)
                self.store.write(CA, renewed.pem())
                self.store.write(CA_CERTIFICATE, self._ca_certificate())
                return "renewed ca: same key, so what it has signed stays good"
            if name not in self.profiles:
                raise PkiError(f"there is no certificate {name!r} in the settings: ca, {', '.join(self.profiles)}")
            self._issue(self.profiles[name])
            return f"made a new certificate for {name}; the one before is valid until it ends or is revoked"

    def revoke(self, name: str) -> str:
        """Revoke every certificate that a name ever got and that has not ended. A deploy brings it to the hosts.

        Only the servers read the list. On clients, each revocation would restart every client's stunnel.

        :raises PkiError: the name never got one, or is the server's
        """
        if name == SERVER:
            raise PkiError(
                "clients have no revocation list: whoever has the server's key can pose as the server until its "
                f"certificate ends. Make a new CA: move {self.store.folder} away, run init, and deploy to all hosts"
            )
        with self.store.locked():
            self._refuse_loss()
            issued = self._issued()
            if name not in {entry.name for entry in issued}:
                known = ", ".join(sorted({entry.name for entry in issued}))
                raise PkiError(f"no certificate was ever made for {name!r}; there are {known or 'none'}")

            def applies(entry: Issued) -> bool:
                return entry.name == name and entry.revoked is None and entry.not_after > self.now

            count = sum(map(applies, issued))
            self._write_issued([replace(e, revoked=self.now) if applies(e) else e for e in issued])
            self._bring_crl()
            return (
                f"revoked {count} of {name}; tasks/stunnel.py brings that to the storage hosts, and ends the "
                "connections that it has open"
            )

    def status(self) -> list[Finding]:
        """What there is and what is wrong with it; all GOOD means that init would do nothing."""
        self.store.check()
        self._refuse_loss()
        ca, issued = self._ca(), self._issued()
        findings = [judge_ca(ca, self.plan, self.now)]
        if ca is None:
            return findings
        if self.store.read(CA_CERTIFICATE) != self._ca_certificate():
            findings.append(Finding(CA_CERTIFICATE, State.WRONG, "not the CA's certificate: run init"))
        findings.append(judge_crl(self._crl(), ca, issued, self.plan, self.now))
        findings += map(self._judge, self.profiles.values())
        for name in sorted({e.name for e in issued} - set(self.profiles)):
            ends = [e.not_after for e in issued if e.name == name and e.revoked is None and e.not_after > self.now]
            if ends:
                detail = f"not in the settings any more, but still let in: 'revoke {name}'"
                findings.append(Finding(name, State.LEFT_OVER, detail, max(ends)))
        if self.plan.make_carp_password:
            missing = self._carp_password() is None
            state = State.MISSING if missing else State.GOOD
            findings.append(Finding(CARP_PASSWORD, state, "" if missing else "letters and digits"))
        return findings

    def _refuse_loss(self) -> None:
        """Files that nothing else replaces, missing although other files show that they were there."""
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

    def _make_ca(self, finding: Finding) -> str:
        before = self._ca()
        ca = make_ca(self.plan.ca_days, self.now, before.key if before else None)
        self.store.write(CA, ca.pem())
        return f"made ca: {_reason(finding)}"

    def _bring_crl(self) -> list[str]:
        ca, issued = self._needed_ca(), self._issued()
        finding = judge_crl(self._crl(), ca, issued, self.plan, self.now)
        if finding.state is State.GOOD:
            return []
        self.store.write(CRL, make_crl(ca, issued, self.now).public_bytes(Encoding.PEM))
        return [f"made crl: {_reason(finding)}"]

    def _bring_carp_password(self) -> list[str]:
        if not self.plan.make_carp_password or self._carp_password() is not None:
            return []
        letters = string.ascii_letters + string.digits
        password = "".join(secrets.choice(letters) for _ in range(CARP_PASSWORD_LENGTH))
        self.store.write(CARP_PASSWORD, f"{password}\n".encode())
        return ["made the CARP password"]

    def _issue(self, profile: Profile) -> None:
        serial = x509.random_serial_number()
        identity = issue(self._needed_ca(), profile, serial, self.now)
        entry = Issued(serial, profile.name, identity.certificate.not_valid_after_utc)
        self._write_issued([*self._issued(), entry])
        self.store.write(identity_file(profile.name), identity.pem())

    def _judge(self, profile: Profile) -> Finding:
        file = identity_file(profile.name)
        content = self.store.read(file)
        found = None if content is None else parse_identity(content, file)
        return judge_leaf(found, profile, self._needed_ca(), self._issued(), self.plan, self.now)

    def _ca(self) -> Identity | None:
        content = self.store.read(CA)
        return None if content is None else parse_identity(content, CA)

    def _needed_ca(self) -> Identity:
        ca = self._ca()
        if ca is None:
            raise PkiError("there is no CA yet: run init")
        return ca

    def _ca_certificate(self) -> bytes:
        return self._needed_ca().certificate.public_bytes(Encoding.PEM)

    def _crl(self) -> x509.CertificateRevocationList | None:
        content = self.store.read(CRL)
        try:
            return None if content is None else x509.load_pem_x509_crl(content)
        except ValueError:
            raise PkiError(f"{self.store.folder / CRL} is not a revocation list: remove it, init makes it") from None

    def _carp_password(self) -> bytes | None:
        content = self.store.read(CARP_PASSWORD)
        if content is not None and not CARP_PASSWORD_FORM.fullmatch(content):
            raise PkiError(f"{self.store.folder / CARP_PASSWORD}: 8 to 19 letters and digits on a line, no more")
        return content

    def _issued(self) -> list[Issued]:
        return parse_issued(self.store.read(ISSUED))

    def _write_issued(self, issued: Sequence[Issued]) -> None:
        self.store.write(ISSUED, issued_text(issued))


def days_left(finding: Finding, now: datetime) -> int | None:
    """Whole days until the end, negative after it; None for what does not end."""
    return None if finding.not_after is None else (finding.not_after - now).days


def utc_now() -> datetime:
    """The time in the form that certificates have it."""
    return datetime.now(UTC).replace(microsecond=0)


def _reason(finding: Finding) -> str:
    return f"{finding.state.value} ({finding.detail})" if finding.detail else finding.state.value
