"""The secrets folder over its life: made, left alone, renewed, revoked from, killed, shared, damaged."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509

from f3s.pki import credentials
from f3s.pki.certificates import NEXT_STEP, State, parse_identity
from f3s.pki.credentials import Credentials
from f3s.pki.files import CARP_PASSWORD_FORM
from f3s.pki.plan import PkiError
from tests.f3s.pki.site import PLAN, contents, pki_at

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


def see(folder: Path, *hosts: str, same: bool = True) -> None:
    """What tasks/verify.py does when it has looked at these hosts, at all without names."""
    files = {"ca-cert.pem": hashlib.sha256((folder / "ca-cert.pem").read_bytes()).hexdigest()}
    pki_at(folder).seen(dict.fromkeys(hosts or PLAN.hosts, same), files)


def authorities(folder: Path) -> list[str]:
    """The names of the CAs that hosts trust, the one that signs first; there is a revocation list of each."""
    certificates = x509.load_pem_x509_certificates((folder / "ca-cert.pem").read_bytes())
    assert (folder / "crl.pem").read_text().count("BEGIN X509 CRL") == len(certificates)
    return [each.subject.rfc4514_string().removeprefix("CN=") for each in certificates]


def signer(folder: Path, file: str) -> str:
    issuer = parse_identity((folder / file).read_bytes(), file).certificate.issuer
    return issuer.rfc4514_string().removeprefix("CN=")


LEAVES = ("server.pem", "client-r0.example.org.pem", "client-earth.pem")
OLD, NEW = "f3s storage CA", "f3s storage CA 2"


def test_a_new_ca_comes_in_three_steps_each_of_which_may_be_repeated(folder: Path) -> None:
    leaves = {file: serial(folder, file) for file in LEAVES}
    for _ in range(2):
        assert "tasks/stunnel.py and tasks/clients.py, then tasks/verify.py" in pki_at(folder).renew("ca")
        assert authorities(folder) == [OLD, NEW]
        assert {file: serial(folder, file) for file in LEAVES} == leaves
        assert states(folder)["new ca"] is State.ON_ITS_WAY
        assert pki_at(folder).init() == []
    see(folder)
    assert states(folder)["new ca"] is State.DUE
    for _ in range(2):
        pki_at(folder).use_new_ca()
        assert authorities(folder) == [NEW, OLD]
        assert {signer(folder, file) for file in LEAVES} == {NEW}
        assert states(folder)["old ca"] is State.ON_ITS_WAY
        assert pki_at(folder).init() == []
    see(folder)
    assert states(folder)["old ca"] is State.DUE
    leaves = {file: serial(folder, file) for file in LEAVES}
    for _ in range(2):
        pki_at(folder).drop_old_ca()
        assert authorities(folder) == [NEW]
        assert {file: serial(folder, file) for file in LEAVES} == leaves
        assert set(states(folder).values()) == {State.GOOD}
    assert Credentials(folder).trusted() == {2}
    assert [entry.ca for entry in Credentials(folder).issued()] == [1, 1, 1, 2, 2, 2]
    pki_at(folder).renew("ca")
    assert authorities(folder) == [NEW, "f3s storage CA 3"]
    assert Credentials(folder).trusted() == {2, 3}


def test_no_step_before_every_host_was_seen_with_the_last_one(folder: Path) -> None:
    def refused(step: str, says: str) -> None:
        before = contents(folder)
        with pytest.raises(PkiError, match=says):
            getattr(pki_at(folder), step)()
        assert contents(folder) == before

    refused("use_new_ca", "'renew ca' makes a new one")
    pki_at(folder).renew("ca")
    refused("drop_old_ca", "'use-new-ca' comes first")
    refused("use_new_ca", r"f0, f1, r0\.example\.org could be locked out")
    see(folder, "f0", "r0.example.org")
    refused("use_new_ca", "not yet: f1 could be locked out")
    see(folder)
    see(folder, "f0", same=False)
    refused("use_new_ca", "not yet: f0 could be locked out")
    [detail] = [each.detail for each in pki_at(folder).status() if each.name == "new ca"]
    assert detail.startswith("tasks/verify.py has not seen it on f0; then 'use-new-ca' is next, ")
    assert detail.endswith("once earth has ca-cert.pem, which no task brings")
    see(folder, "f0")
    pki_at(folder).use_new_ca()
    refused("drop_old_ca", "not yet: f0, f1")
    with pytest.raises(PkiError, match="'drop-old-ca' comes first"):
        pki_at(folder).renew("ca")
    pki_at(folder, hosts=()).drop_old_ca()


def test_who_is_seen_matters_only_on_the_way_to_a_new_ca(folder: Path) -> None:
    before = contents(folder)
    see(folder)
    assert contents(folder) == before


def test_a_new_ca_lets_nobody_in_who_was_revoked(folder: Path) -> None:
    pki_at(folder).revoke("earth")
    first = serial(folder, "client-earth.pem")
    pki_at(folder).renew("ca")
    see(folder)
    pki_at(folder).use_new_ca()
    assert serial(folder, "client-earth.pem") == first
    assert states(folder)["earth"] is State.REVOKED
    lists = (folder / "crl.pem").read_bytes().split(b"-----BEGIN")[1:]
    revoked = [{each.serial_number for each in x509.load_pem_x509_crl(b"-----BEGIN" + one)} for one in lists]
    assert revoked == [{first}, {first}]


def test_a_client_that_left_before_is_let_in_no_more_once_its_ca_is_gone(folder: Path) -> None:
    pki_at(folder).renew("ca")
    see(folder)
    pki_at(folder, clients=("r0.example.org",)).use_new_ca()
    assert states(folder, clients=("r0.example.org",))["earth"] is State.LEFT_OVER
    see(folder)
    pki_at(folder, clients=("r0.example.org",)).drop_old_ca()
    assert "earth" not in states(folder, clients=("r0.example.org",))


def test_the_ca_that_signs_is_kept_alive_on_the_way_to_a_new_one(folder: Path) -> None:
    pki_at(folder).renew("ca")
    pki_at(folder, days=2800).init()
    assert authorities(folder) == [OLD, NEW]
    found = {finding.name: finding for finding in pki_at(folder, days=2800).status()}
    assert found["ca"].state is State.GOOD
    assert found["crl"].state is State.GOOD
    # years later than anybody should wait
    assert pki_at(folder, days=4000).init() != []
    assert states(folder, 4000)["crl"] is State.GOOD


def test_another_name_of_the_server_makes_a_new_certificate(folder: Path) -> None:
    client = serial(folder, "client-earth.pem")
    assert states(folder, names=("other",))["server"] is State.WRONG
    assert pki_at(folder, names=("other",)).init() == ["made server: wrong (its names are not those of the settings)"]
    assert serial(folder, "client-earth.pem") == client


def test_a_lifetime_of_certificates_over_many_years_always_ends_good(tmp_path: Path) -> None:
    for day in range(0, 365 * 25, 45):
        pki_at(tmp_path / "secrets", day).init()
        assert set(states(tmp_path / "secrets", day).values()) == {State.GOOD}, day


def test_revoke_takes_every_certificate_of_a_name(folder: Path) -> None:
    first = serial(folder, "client-earth.pem")
    pki_at(folder).renew("earth")
    second = serial(folder, "client-earth.pem")
    assert revoked_serials(folder) == set(), "the one before stays valid"
    assert pki_at(folder).revoke("earth").startswith("revoked 2 of earth")
    assert revoked_serials(folder) == {first, second}
    assert states(folder) == dict.fromkeys(states(folder), State.GOOD) | {"earth": State.REVOKED}
    assert pki_at(folder).init() == [], "a revoked name gets nothing new without being asked for"
    assert pki_at(folder).revoke("earth").startswith("revoked 0 of earth")
    with pytest.raises(PkiError, match=r"clients have no revocation list: .*: renew ca, use-new-ca, drop-old-ca"):
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
step = sys.argv[3]
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
pki = pki_at(Path(sys.argv[1]))
pki.renew("ca") if step == "renew" else getattr(pki, step)()
"""


def killed_at(folder: Path, step: int, what: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, folder, str(step), what], cwd=REPOSITORY, capture_output=True, timeout=60
    )
    assert done.stderr == b""
    return done.returncode


@pytest.mark.parametrize("step", range(STEPS))
def test_a_run_killed_at_any_point_reaches_the_same_end(tmp_path: Path, step: int) -> None:
    """Killed without any cleaning up, with half a file written or right after the rename."""
    folder = tmp_path / "secrets"
    assert killed_at(folder, step, "init") == (9 if step < STEPS - 1 else 0)
    survived = {n: c for n, c in contents(folder).items() if not n.endswith(".new")}
    pki_at(folder).init()
    assert set(states(folder).values()) == {State.GOOD}
    assert set(contents(folder)) == EVERY_FILE
    for name in set(survived) - {"issued.json"}:
        assert contents(folder)[name] == survived[name], f"{name} was good and was made again"


@pytest.mark.parametrize("what", ["renew", "use_new_ca", "drop_old_ca"])
def test_a_step_to_a_new_ca_killed_at_any_point_is_taken_by_the_next_run(folder: Path, what: str) -> None:
    """Hosts that got the files of the killed step, and were seen with them, do not open the way to the next one."""
    for before in ("renew", "use_new_ca", "drop_old_ca"):
        if before == what:
            break
        pki_at(folder).renew("ca") if before == "renew" else getattr(pki_at(folder), before)()
        see(folder)
    after = {"renew": [OLD, NEW], "use_new_ca": [NEW, OLD], "drop_old_ca": [NEW]}[what]
    for step in range(20):
        tried = folder.with_name(f"killed-{step}")
        shutil.copytree(folder, tried)
        rc = killed_at(tried, step, what)
        if rc == 9 and step:
            see(tried)
            if what == "use_new_ca" and signer(tried, LEAVES[-1]) == OLD:
                with pytest.raises(PkiError, match=r"could be locked out|'use-new-ca' comes first"):
                    pki_at(tried).drop_old_ca()
        assert killed_at(tried, 99, what) == 0
        assert authorities(tried) == after
        assert {signer(tried, file) for file in LEAVES} == {OLD if what == "renew" else NEW}
        assert {state for name, state in states(tried).items() if name not in NEXT_STEP} == {State.GOOD}
        if rc == 0:
            return
    raise AssertionError("it never came to its end")


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
        if re.search(r"(?<![\w-])ca\.pem\b|pki\.files import.*\bCA\b", (REPOSITORY / name).read_text())
    }
    assert {name for name in readers if not name.startswith("tests/")} == {
        "f3s/pki/certificates.py",
        "f3s/pki/files.py",
    }
