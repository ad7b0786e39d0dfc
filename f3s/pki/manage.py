"""Makes the secrets folder match the plan, and tells what is in it."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.pki.certificates import (
    NEXT_STEP,
    Finding,
    Issued,
    Profile,
    State,
    ca_number,
    issue,
    judge_ca,
    judge_crls,
    judge_leaf,
    make_ca,
    make_crl,
    parse_identity,
    profiles,
)
from f3s.pki.credentials import CA_CERTIFICATE, CARP_PASSWORD, CRL, identity_file
from f3s.pki.files import CARP_PASSWORD_LENGTH, Files
from f3s.pki.plan import SERVER, PkiError, PkiPlan
from f3s.pki.store import Store

BRING = "Bring that to all hosts: tasks/stunnel.py and tasks/clients.py, then tasks/verify.py, which sees who has it"


class Pki:
    """One secrets folder and the plan for it.

    :param now: aware, UTC
    """

    def __init__(self, store: Store, plan: PkiPlan, now: datetime) -> None:
        self.store = store
        self.files = Files(store)
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
            self.files.refuse_loss()
            finding = judge_ca(next(iter(self.files.authorities()), None), self.plan, self.now)
            if finding.state is not State.GOOD:
                done.append(self._make_ca(finding))
            done += self._bring()
            done += self._bring_carp_password()
            return done

    def renew(self, name: str) -> str:
        """Make a new certificate for a name of the plan, or begin with a new CA, now.

        The certificate that it replaces stays valid until its end, so that hosts may change over one by one.

        :raises PkiError: no such name
        """
        with self.store.locked():
            self.files.refuse_loss()
            ca, *others = self.files.needed_authorities()
            if name == "ca":
                if not others:
                    new = make_ca(self.plan.ca_days, self.now, number=ca_number(ca.certificate) + 1)
                    self.files.write_authorities(ca, new)
                elif ca_number(others[0].certificate) < ca_number(ca.certificate):
                    raise PkiError("the CA before is still trusted: 'drop-old-ca' comes first")
                self._bring()
                return f"a new CA is trusted beside the one that signs. {BRING}"
            if name not in self.profiles:
                raise PkiError(f"there is no certificate {name!r} in the settings: ca, {', '.join(self.profiles)}")
            self._issue(self.profiles[name])
            return f"made a new certificate for {name}; the one before is valid until it ends or is revoked"

    # A new CA comes in three steps. Hosts of two steps that follow each other understand each other, so a step is taken
    # only once every host was seen with the files of the last one.
    #
    #   0  the old CA is trusted and signs
    #   1  `renew ca`: both are trusted, the old one signs
    #   2  `use-new-ca`: both are trusted, the new one signs, and every certificate is made anew
    #   3  `drop-old-ca`: the new CA is trusted and signs

    def use_new_ca(self) -> str:
        """Let the new CA sign, and make every certificate anew. Safe to repeat.

        :raises PkiError: there is no new CA, or a host was not seen with it yet
        """
        with self.store.locked():
            self.files.refuse_loss()
            signs, *others = self.files.needed_authorities()
            if not others:
                raise PkiError("there is no CA that does not sign: 'renew ca' makes a new one")
            if ca_number(others[0].certificate) > ca_number(signs.certificate):
                self._refuse_unseen()
                self.files.write_authorities(others[0], signs)
            self._bring()
            return f"the new CA signs, and every certificate is from it. {BRING}"

    def drop_old_ca(self) -> str:
        """Let the old CA be trusted no more. Safe to repeat.

        :raises PkiError: the new one does not sign yet, or a host was not seen with its certificate yet
        """
        with self.store.locked():
            self.files.refuse_loss()
            signs, *others = self.files.needed_authorities()
            if others:
                if ca_number(others[0].certificate) > ca_number(signs.certificate):
                    raise PkiError("the new CA does not sign yet: 'use-new-ca' comes first")
                self._refuse_unseen()
                self.files.write_authorities(signs)
            self._bring()
            return f"only the CA that signs is trusted. {BRING}"

    def seen(self, hosts: Mapping[str, bool], files: Mapping[str, str]) -> None:
        """During the steps to a new CA: remember which hosts were seen with their files.

        :param hosts: by name, whether each file of the host is the one that was here
        :param files: SHA-256 of each of those that were here, by name, hex
        """
        self.store.check()
        if len(self.files.authorities()) < 2:
            return
        with self.store.locked():
            known = self.files.seen()
            left = {name: digest for name, digest in known.items() if name not in hosts}
            after = left | {name: files[CA_CERTIFICATE] for name, same in hosts.items() if same}
            if after != known:
                self.files.write_seen(after)

    def _refuse_unseen(self) -> None:
        if unseen := self._unseen():
            raise PkiError(
                f"not yet: {', '.join(unseen)} could be locked out. {BRING}. A host that is gone for good is taken out "
                "of inventory.py"
            )

    def _unseen(self) -> list[str]:
        known, wanted = self.files.seen(), sha256(self.files.ca_certificate()).hexdigest()
        return [name for name in self.plan.hosts if known.get(name) != wanted]

    def _renewal_step(self) -> Finding:
        """Where the way to a new CA is; there are two CAs."""
        signs, other = self.files.authorities()
        is_new = ca_number(other.certificate) > ca_number(signs.certificate)
        name = "new ca" if is_new else "old ca"
        detail = f"'{NEXT_STEP[name]}' is next"
        if by_hand := [client for client in self.plan.clients if client not in self.plan.hosts]:
            needs = CA_CERTIFICATE if is_new else "a new certificate"
            detail += f", once {', '.join(by_hand)} has {needs}, which no task brings"
        unseen = self._unseen()
        if unseen:
            detail = f"tasks/verify.py has not seen it on {', '.join(unseen)}; then {detail}"
        state = State.ON_ITS_WAY if unseen else State.DUE
        return Finding(name, state, detail, other.certificate.not_valid_after_utc)

    def revoke(self, name: str) -> str:
        """Revoke every certificate that a name ever got and that has not ended. A deploy brings it to the hosts.

        Only the servers read the list. On clients, each revocation would restart every client's stunnel.

        :raises PkiError: the name never got one, or is the server's
        """
        if name == SERVER:
            raise PkiError(
                "clients have no revocation list: whoever has the server's key can pose as the server until its "
                "certificate ends, or until no client trusts its CA any more: renew ca, use-new-ca, drop-old-ca"
            )
        with self.store.locked():
            self.files.refuse_loss()
            issued = self.files.issued()
            if name not in {entry.name for entry in issued}:
                known = ", ".join(sorted({entry.name for entry in issued}))
                raise PkiError(f"no certificate was ever made for {name!r}; there are {known or 'none'}")

            def applies(entry: Issued) -> bool:
                return entry.name == name and entry.revoked is None and entry.not_after > self.now

            count = sum(map(applies, issued))
            self.files.write_issued([replace(e, revoked=self.now) if applies(e) else e for e in issued])
            self._bring_crl()
            return (
                f"revoked {count} of {name}; tasks/stunnel.py brings that to the storage hosts, and ends the "
                "connections that it has open"
            )

    def status(self) -> list[Finding]:
        """What there is and what is wrong with it; all GOOD means that init would do nothing."""
        self.store.check()
        self.files.refuse_loss()
        authorities, issued = self.files.authorities(), self.files.issued()
        findings = [judge_ca(next(iter(authorities), None), self.plan, self.now)]
        if not authorities:
            return findings
        if len(authorities) > 1:
            findings.append(self._renewal_step())
        if self.store.read(CA_CERTIFICATE) != self.files.ca_certificate():
            findings.append(Finding(CA_CERTIFICATE, State.WRONG, "not the CA's certificate: run init"))
        findings.append(judge_crls(self.files.crls(), authorities, issued, self.plan, self.now))
        findings += map(self._judge, self.profiles.values())
        trusted = {ca_number(ca.certificate) for ca in authorities}
        good = [e for e in issued if e.revoked is None and e.not_after > self.now and e.ca in trusted]
        for name in sorted({e.name for e in issued} - set(self.profiles)):
            ends = [e.not_after for e in good if e.name == name]
            if ends:
                detail = f"not in the settings any more, but still let in: 'revoke {name}'"
                findings.append(Finding(name, State.LEFT_OVER, detail, max(ends)))
        if self.plan.make_carp_password:
            missing = self.files.carp_password() is None
            state = State.MISSING if missing else State.GOOD
            findings.append(Finding(CARP_PASSWORD, state, "" if missing else "letters and digits"))
        return findings

    def _make_ca(self, finding: Finding) -> str:
        """A CA, or a new lifetime for the one that signs: its key stays, and so does all that it has signed."""
        before = self.files.authorities()
        key, number = (before[0].key, ca_number(before[0].certificate)) if before else (None, 1)
        self.files.write_authorities(make_ca(self.plan.ca_days, self.now, key, number), *before[1:])
        return f"made ca: {_reason(finding)}"

    def _bring(self) -> list[str]:
        """What follows from the CAs: the revocation lists, what is signed, and last their certificates for the hosts.

        So who was seen with the last ones can have all of it.
        """
        done = self._bring_crl()
        for profile in self.profiles.values():
            finding = self._judge(profile)
            if finding.state not in (State.GOOD, State.REVOKED):
                self._issue(profile)
                done.append(f"made {profile.name}: {_reason(finding)}")
        if self.store.read(CA_CERTIFICATE) != self.files.ca_certificate():
            self.store.write(CA_CERTIFICATE, self.files.ca_certificate())
            done.append("wrote the CA's certificate for the hosts")
        return done

    def _bring_crl(self) -> list[str]:
        authorities, issued = self.files.needed_authorities(), self.files.issued()
        finding = judge_crls(self.files.crls(), authorities, issued, self.plan, self.now)
        if finding.state is State.GOOD:
            return []
        lists = [make_crl(ca, issued, self.now).public_bytes(Encoding.PEM) for ca in authorities]
        self.store.write(CRL, b"".join(lists))
        return [f"made crl: {_reason(finding)}"]

    def _bring_carp_password(self) -> list[str]:
        if not self.plan.make_carp_password or self.files.carp_password() is not None:
            return []
        letters = string.ascii_letters + string.digits
        password = "".join(secrets.choice(letters) for _ in range(CARP_PASSWORD_LENGTH))
        self.store.write(CARP_PASSWORD, f"{password}\n".encode())
        return ["made the CARP password"]

    def _issue(self, profile: Profile) -> None:
        serial, ca = x509.random_serial_number(), self.files.needed_authorities()[0]
        identity = issue(ca, profile, serial, self.now)
        entry = Issued(serial, profile.name, identity.certificate.not_valid_after_utc, ca=ca_number(ca.certificate))
        self.files.write_issued([*self.files.issued(), entry])
        self.store.write(identity_file(profile.name), identity.pem())

    def _judge(self, profile: Profile) -> Finding:
        file = identity_file(profile.name)
        content = self.store.read(file)
        found = None if content is None else parse_identity(content, file)
        return judge_leaf(found, profile, self.files.needed_authorities()[0], self.files.issued(), self.plan, self.now)


def utc_now() -> datetime:
    """The time in the form that certificates have it."""
    return datetime.now(UTC).replace(microsecond=0)


def _reason(finding: Finding) -> str:
    return f"{finding.state.value} ({finding.detail})" if finding.detail else finding.state.value
