"""What certificates.py makes, judged by the real openssl, and what it judges, for each reason."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from f3s.pki.certificates import (
    Identity,
    Issued,
    State,
    ca_number,
    issue,
    judge_ca,
    judge_crl,
    judge_crls,
    judge_leaf,
    make_ca,
    make_crl,
    parse_identity,
    profiles,
)
from f3s.pki.plan import PkiError
from tests.f3s.pki.site import NOW, PLAN

SERVER, CLIENT, _ = profiles(PLAN).values()
CA = make_ca(PLAN.ca_days, NOW)


def entry(identity: Identity, revoked: datetime | None = None) -> Issued:
    return Issued(identity.certificate.serial_number, "x", identity.certificate.not_valid_after_utc, revoked)


def openssl(*arguments: str | Path) -> tuple[int, str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def verify(folder: Path, leaf: Identity, ca: Identity, revoked: tuple[Issued, ...], *options: str) -> tuple[int, str]:
    """``openssl verify`` as strict as it gets, with the revocation list."""
    (folder / "ca.crt").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    (folder / "crl.pem").write_bytes(make_crl(ca, revoked, NOW).public_bytes(Encoding.PEM))
    (folder / "leaf.crt").write_bytes(leaf.certificate.public_bytes(Encoding.PEM))
    return openssl(
        *("verify", "-x509_strict", "-check_ss_sig", "-crl_check", "-no-CApath", "-no-CAstore", *options),
        *("-CAfile", folder / "ca.crt", "-CRLfile", folder / "crl.pem", folder / "leaf.crt"),
    )


def test_openssl_takes_the_server_for_each_of_its_names(tmp_path: Path) -> None:
    server = issue(CA, SERVER, 7, NOW)
    for option, value in [("-verify_hostname", name) for name in PLAN.names] + [
        ("-verify_ip", address) for address in PLAN.addresses
    ]:
        rc, output = verify(tmp_path, server, CA, (), "-purpose", "sslserver", option, value)
        assert (rc, output.strip().endswith("OK")) == (0, True), output
    assert verify(tmp_path, server, CA, (), "-verify_hostname", "storage-hb")[0] == 2
    assert "purpose" in verify(tmp_path, server, CA, (), "-purpose", "sslclient")[1]


def test_openssl_takes_a_client_as_a_client_only(tmp_path: Path) -> None:
    client = issue(CA, CLIENT, 8, NOW)
    assert verify(tmp_path, client, CA, (), "-purpose", "sslclient")[0] == 0
    rc, output = verify(tmp_path, client, CA, (), "-purpose", "sslserver")
    assert rc == 2
    assert "purpose" in output


def test_openssl_refuses_what_is_revoked_and_nothing_else(tmp_path: Path) -> None:
    good, bad = issue(CA, CLIENT, 8, NOW), issue(CA, CLIENT, 9, NOW)
    rc, output = verify(tmp_path, bad, CA, (entry(good), entry(bad, NOW)), "-purpose", "sslclient")
    assert rc == 2
    assert "certificate revoked" in output
    assert verify(tmp_path, good, CA, (entry(good), entry(bad, NOW)), "-purpose", "sslclient")[0] == 0


def test_a_renewed_ca_keeps_all_that_was_signed_good_both_ways(tmp_path: Path) -> None:
    renewed = make_ca(PLAN.ca_days, NOW + timedelta(days=3000), CA.key)
    before, after = issue(CA, SERVER, 7, NOW), issue(renewed, SERVER, 8, NOW)
    for ca in (CA, renewed):
        for leaf in (before, after):
            rc, output = verify(tmp_path, leaf, ca, (), "-attime", str(int((NOW + timedelta(days=3001)).timestamp())))
            assert ("expired" in output) == (rc != 0), output
    at_once = str(int(NOW.timestamp()))
    assert verify(tmp_path, after, CA, (), "-attime", at_once)[0] == 0


def test_keys_certificates_and_lifetimes(tmp_path: Path) -> None:
    server = issue(CA, SERVER, 7, NOW)
    (tmp_path / "server.pem").write_bytes(server.pem())
    rc, text = openssl("x509", "-in", tmp_path / "server.pem", "-noout", "-text")
    assert rc == 0
    for line in ("prime256v1", "CA:FALSE", "Digital Signature", "TLS Web Server Authentication"):
        assert line in text
    assert "Client Authentication" not in text
    assert server.certificate.not_valid_after_utc == NOW + timedelta(days=825)
    assert server.certificate.not_valid_before_utc == NOW - timedelta(days=1)
    assert CA.certificate.not_valid_after_utc == NOW + timedelta(days=3650)


def test_an_identity_survives_the_file_and_shows_nothing() -> None:
    server = issue(CA, SERVER, 7, NOW)
    again = parse_identity(server.pem(), "server.pem")
    assert again.certificate == server.certificate
    assert again.key.private_numbers() == server.key.private_numbers()
    assert str(server.key.private_numbers().private_value) not in repr(server)


@pytest.mark.parametrize("cut", [0, 100, 400])
def test_half_a_file_is_refused_without_being_quoted(cut: int) -> None:
    pem = issue(CA, SERVER, 7, NOW).pem()[:cut]
    with pytest.raises(PkiError, match=r"server\.pem") as caught:
        parse_identity(pem, "server.pem")
    assert "PRIVATE" not in str(caught.value)


def judged(leaf: Identity | None, days: int = 0, revoked: datetime | None = None) -> State:
    issued = [] if leaf is None else [entry(leaf, revoked)]
    return judge_leaf(leaf, SERVER, CA, issued, PLAN, NOW + timedelta(days=days)).state


def test_judges_a_certificate_by_its_days() -> None:
    server = issue(CA, SERVER, 7, NOW)
    assert [judged(server, days) for days in (0, 765, 766, 824, 825, -2)] == [
        State.GOOD,
        State.GOOD,
        State.NEAR_END,
        State.NEAR_END,
        State.EXPIRED,
        State.WRONG,
    ]
    assert judged(None) is State.MISSING
    assert judged(server, revoked=NOW) is State.REVOKED


@pytest.mark.parametrize(
    ("leaf", "says"),
    [
        (issue(make_ca(3650, NOW), SERVER, 7, NOW), "not from this CA"),
        (issue(CA, replace(SERVER, alt_names=SERVER.alt_names[:-1]), 7, NOW), "names"),
        (issue(CA, replace(SERVER, usage=CLIENT.usage), 7, NOW), "another use"),
        (Identity(CA.key, issue(CA, SERVER, 7, NOW).certificate), "key belongs to another certificate"),
    ],
)
def test_judges_a_certificate_wrong_and_says_why(leaf: Identity, says: str) -> None:
    finding = judge_leaf(leaf, SERVER, CA, [entry(leaf)], PLAN, NOW)
    assert finding.state is State.WRONG
    assert says in finding.detail


def test_a_certificate_that_nobody_recorded_is_wrong() -> None:
    finding = judge_leaf(issue(CA, SERVER, 7, NOW), SERVER, CA, [], PLAN, NOW)
    assert (finding.state, "issued.json" in finding.detail) == (State.WRONG, True)


def test_the_order_of_names_does_not_matter() -> None:
    leaf = issue(CA, replace(SERVER, alt_names=SERVER.alt_names[::-1]), 7, NOW)
    assert judged(leaf) is State.GOOD


def test_a_ca_is_renewed_before_it_would_cut_a_certificate_short() -> None:
    def state(days: int) -> State:
        return judge_ca(CA, PLAN, NOW + timedelta(days=days)).state

    last = 3650 - 825 - 60
    assert [state(d) for d in (0, last, last + 1, 3650)] == [State.GOOD, State.GOOD, State.NEAR_END, State.EXPIRED]
    with pytest.raises(PkiError, match="restore"):
        judge_ca(Identity(issue(CA, SERVER, 7, NOW).key, CA.certificate), PLAN, NOW)


def test_judges_the_revocation_list() -> None:
    leaf = issue(CA, CLIENT, 8, NOW)
    revoked = [entry(leaf, NOW)]
    crl = make_crl(CA, revoked, NOW)

    def state(days: int = 0) -> State:
        return judge_crl(crl, CA, revoked, PLAN, NOW + timedelta(days=days)).state

    assert [state(d) for d in (0, 3590, 3591, 3650)] == [State.GOOD, State.GOOD, State.NEAR_END, State.EXPIRED]
    assert judge_crl(None, CA, revoked, PLAN, NOW).state is State.MISSING
    later = judge_crl(make_crl(CA, revoked, NOW + timedelta(days=2)), CA, revoked, PLAN, NOW)
    assert (later.state, "not valid yet" in later.detail) == (State.WRONG, True)
    assert later.not_before is not None
    assert later.not_before > NOW
    assert judge_crl(crl, make_ca(3650, NOW), revoked, PLAN, NOW).state is State.WRONG
    assert judge_crl(crl, CA, [entry(leaf)], PLAN, NOW).state is State.WRONG
    assert judge_crl(make_crl(CA, [], NOW), CA, revoked, PLAN, NOW).state is State.WRONG


def test_there_is_a_revocation_list_of_each_ca_and_of_no_other() -> None:
    new, later = make_ca(PLAN.ca_days, NOW, number=2), NOW + timedelta(days=3640)
    old_list, new_list = make_crl(CA, [], NOW), make_crl(new, [], NOW)

    def state(*crls: x509.CertificateRevocationList, now: datetime = NOW) -> State:
        return judge_crls(crls, [new, CA], [], PLAN, now).state

    assert state(old_list, new_list) is state(new_list, old_list) is State.GOOD
    assert state(new_list) is state(old_list) is state() is State.MISSING
    assert state(old_list, new_list, new_list) is State.WRONG
    assert judge_crls([old_list, new_list], [CA], [], PLAN, NOW).state is State.WRONG
    # only the one that signs has to live on
    signs = make_crl(make_ca(PLAN.ca_days, later, new.key, 2), [], later)
    assert state(old_list, signs, now=later) is State.GOOD
    assert judge_crls([signs, old_list], [CA, new], [], PLAN, later).state is State.NEAR_END


def test_a_ca_is_known_by_its_number() -> None:
    assert [ca_number(make_ca(PLAN.ca_days, NOW, number=number).certificate) for number in (1, 2, 30)] == [1, 2, 30]
    assert ca_number(CA.certificate) == 1
