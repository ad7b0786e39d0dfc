"""The secrets folder over its life: made, left alone, renewed, revoked from, killed, shared, damaged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509

from f3s.pki import credentials
from f3s.pki.certificates import State, parse_identity
from f3s.pki.credentials import Credentials
from f3s.pki.manage import CARP_PASSWORD_FORM
from f3s.pki.plan import PkiError
from tests.f3s.pki.site import contents, pki_at

REPOSITORY = Path(__file__).parents[3]
EVERY_FILE = {
    *("ca.pem", "ca-cert.pem", "crl.pem", "server.pem", "client-r0.example.org.pem", "client-earth.pem"),
    *("issued.json", "carp-password", "lock"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which all is made."""
    pki_at(tmp_path / "secrets").init()
    return tmp_path / "secrets"


def states(folder: Path, days: int = 0, **changes: object) -> dict[str, State]:
    return {finding.name: finding.state for finding in pki_at(folder, days, **changes).status()}


def serial(folder: Path, file: str) -> int:
    return parse_identity((folder / file).read_bytes(), file).certificate.serial_number


def revoked_serials(folder: Path) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())}


def test_makes_everything_once(folder: Path) -> None:
    assert set(contents(folder)) == EVERY_FILE
    assert set(states(folder).values()) == {State.GOOD}
    before = contents(folder)
    assert pki_at(folder, days=700).init() == []
    assert contents(folder) == before
    assert CARP_PASSWORD_FORM.fullmatch(before["carp-password"])


def test_makes_no_carp_password_where_the_settings_give_one(tmp_path: Path) -> None:
    pki_at(tmp_path / "secrets", make_carp_password=False).init()
    assert set(contents(tmp_path / "secrets")) == EVERY_FILE - {"carp-password"}


def test_renews_what_is_near_its_end_and_nothing_else(folder: Path) -> None:
    before = contents(folder)
    assert states(folder, 770)["server"] is State.NEAR_END
    done = pki_at(folder, days=770).init()
    assert [line.split(":")[0] for line in done] == ["made server", "made r0.example.org", "made earth"]
    after = contents(folder)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"server.pem", "client-r0.example.org.pem", "client-earth.pem", "issued.json"}


def test_renews_the_ca_with_its_key_and_leaves_the_certificates(folder: Path) -> None:
    pki_at(folder, days=2700).init()
    key = parse_identity((folder / "ca.pem").read_bytes(), "").key.private_numbers()
    leaf = serial(folder, "server.pem")
    done = pki_at(folder, days=2800).init()
    assert [line.split(":")[0] for line in done] == ["made ca", "wrote the CA's certificate for the hosts"]
    assert parse_identity((folder / "ca.pem").read_bytes(), "").key.private_numbers() == key
    assert serial(folder, "server.pem") == leaf
    assert set(states(folder, 2800).values()) == {State.GOOD}


def test_another_name_of_the_server_makes_a_new_certificate(folder: Path) -> None:
    client = serial(folder, "client-earth.pem")
    assert states(folder, names=("other",))["server"] is State.WRONG
    assert pki_at(folder, names=("other",)).init() == ["made server: wrong (its names are not those of the settings)"]
    assert serial(folder, "client-earth.pem") == client


def test_a_lifetime_of_certificates_over_many_years_always_ends_good(tmp_path: Path) -> None:
    for day in range(0, 365 * 25, 45):
        pki_at(tmp_path / "secrets", day).init()
        assert set(states(tmp_path / "secrets", day).values()) == {State.GOOD}, day


def test_renew_makes_a_new_key_and_keeps_the_old_certificate_valid(folder: Path) -> None:
    old = serial(folder, "client-earth.pem")
    pki_at(folder, days=1).renew("earth")
    assert serial(folder, "client-earth.pem") != old
    assert revoked_serials(folder) == set()


def test_revoke_takes_every_certificate_of_a_name(folder: Path) -> None:
    first = serial(folder, "client-earth.pem")
    pki_at(folder).renew("earth")
    second = serial(folder, "client-earth.pem")
    assert pki_at(folder).revoke("earth").startswith("revoked 2 of earth")
    assert revoked_serials(folder) == {first, second}
    assert states(folder) == dict.fromkeys(states(folder), State.GOOD) | {"earth": State.REVOKED}
    assert pki_at(folder).init() == [], "a revoked name gets nothing new without being asked for"
    assert pki_at(folder).revoke("earth").startswith("revoked 0 of earth")
    with pytest.raises(PkiError, match=r"clients have no revocation list: .* move .* away, run init, and deploy"):
        pki_at(folder).revoke("server")
    pki_at(folder).renew("earth")
    assert set(states(folder).values()) == {State.GOOD}
    assert revoked_serials(folder) == {first, second}


def test_a_client_that_left_is_reported_until_it_is_revoked(folder: Path) -> None:
    clients = ("r0.example.org",)
    assert states(folder, clients=clients)["earth"] is State.LEFT_OVER
    pki_at(folder, clients=clients).revoke("earth")
    assert set(states(folder, clients=clients).values()) == {State.GOOD}
    assert "earth" not in states(folder, days=826, clients=clients)


@pytest.mark.parametrize("command", ["renew", "revoke"])
def test_a_name_that_does_not_exist_is_refused(folder: Path, command: str) -> None:
    before = contents(folder)
    with pytest.raises(PkiError, match=r"'earht'.*earth"):
        getattr(pki_at(folder), command)("earht")
    assert contents(folder) == before


def test_a_lost_revocation_list_forgets_nobody(folder: Path) -> None:
    pki_at(folder).revoke("earth")
    before = revoked_serials(folder)
    (folder / "crl.pem").unlink()
    pki_at(folder).init()
    assert revoked_serials(folder) == before != set()


@pytest.mark.parametrize(
    ("lost", "says"), [("ca.pem", r"ca\.pem is missing"), ("issued.json", "revoked ones in again")]
)
def test_a_lost_file_that_nothing_can_replace_stops_everything(folder: Path, lost: str, says: str) -> None:
    (folder / lost).unlink()
    before = contents(folder)
    pki = pki_at(folder)
    for action in (pki.init, pki.status, lambda: pki.renew("earth"), lambda: pki.revoke("earth")):
        with pytest.raises(PkiError, match=says):
            action()
    assert contents(folder) == before


@pytest.mark.parametrize("file", ["ca.pem", "server.pem", "issued.json", "crl.pem", "carp-password"])
def test_a_damaged_file_is_named_and_left(folder: Path, file: str) -> None:
    (folder / file).write_bytes((folder / file).read_bytes()[:15] + b"#")
    before = contents(folder)
    with pytest.raises(PkiError, match=re.escape(file)):
        pki_at(folder).init()
    assert contents(folder) == before


STEPS = 21
"""Ten files are written in a first run, and a run may die before or after each rename."""

KILLED = """
import os, sys
from pathlib import Path
from tests.f3s.pki.site import pki_at
replace, last, count = os.replace, int(sys.argv[2]), 0
def deadly(source, target):
    global count
    for action in (lambda: os.truncate(source, 10), lambda: replace(source, target)):
        count += 1
        if count > last:
            action()
            os._exit(9)
    replace(source, target)
os.replace = deadly
pki_at(Path(sys.argv[1])).init()
"""


@pytest.mark.parametrize("step", range(STEPS))
def test_a_run_killed_at_any_point_reaches_the_same_end(tmp_path: Path, step: int) -> None:
    """Killed without any cleaning up, with half a file written or right after the rename."""
    folder = tmp_path / "secrets"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, folder, str(step)], cwd=REPOSITORY, capture_output=True, timeout=60
    )
    assert (killed.returncode, killed.stderr) == (9 if step < STEPS - 1 else 0, b"")
    survived = {n: c for n, c in contents(folder).items() if not n.endswith(".new")}
    pki_at(folder).init()
    assert set(states(folder).values()) == {State.GOOD}
    assert set(contents(folder)) == EVERY_FILE
    for name in set(survived) - {"issued.json"}:
        assert contents(folder)[name] == survived[name], f"{name} was good and was made again"


RACE = """
import sys
from pathlib import Path
from tests.f3s.pki.site import pki_at
sys.stdin.readline()
pki_at(Path(sys.argv[1])).init()
"""


def test_two_runs_at_once_exclude_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, folder], stdin=subprocess.PIPE, cwd=REPOSITORY, text=True)
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=60)
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    made = Counter(entry["name"] for entry in json.loads((folder / "issued.json").read_bytes()))
    assert made == {"server": 1, "r0.example.org": 1, "earth": 1}
    assert set(states(folder).values()) == {State.GOOD}


def test_credentials_are_what_the_hosts_need(folder: Path) -> None:
    given = Credentials(folder)
    assert given.ca_certificate().encode() == (folder / "ca-cert.pem").read_bytes()
    assert given.crl().startswith("-----BEGIN X509 CRL-----\n")
    assert given.server().encode() == (folder / "server.pem").read_bytes()
    assert given.client("earth").encode() == (folder / "client-earth.pem").read_bytes()
    assert re.fullmatch(r"[A-Za-z0-9]{19}", given.carp_password())
    with pytest.raises(PkiError, match=r"client-r9\.pem is missing: run 'python certificates\.py init'"):
        given.client("r9")


def test_credentials_never_open_the_key_of_the_ca(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = os.open

    def spy(path: Path, *arguments: int, **options: object) -> int:
        opened.append(Path(path).name)
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", spy)
    given = Credentials(folder)
    texts = [given.ca_certificate(), given.crl(), given.server(), given.client("earth"), given.carp_password()]
    assert sorted(opened) == ["ca-cert.pem", "carp-password", "client-earth.pem", "crl.pem", "server.pem"]
    key = (folder / "ca.pem").read_text().splitlines()[1]
    assert not any(key in text for text in texts)
    assert not hasattr(credentials, "CA")


def test_nothing_but_the_pki_package_reads_the_key_of_the_ca() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    readers = {
        name
        for name in tracked.stdout.split("\0")
        if name.endswith((".py", ".sh", ".j2")) or name.startswith(("files/", "templates/"))
        if re.search(r"(?<![\w-])ca\.pem\b|pki\.manage import.*\bCA\b", (REPOSITORY / name).read_text())
    }
    assert {name for name in readers if not name.startswith("tests/")} == {
        "f3s/pki/certificates.py",
        "f3s/pki/manage.py",
    }
