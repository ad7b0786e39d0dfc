"""The command line, with the inventory of the repository and a folder of the test's own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = REPOSITORY / "certificates.py"
HEAD = ["NAME", "STATE", "UNTIL", "DAYS"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The repository's inventory, its secrets folder moved to tmp_path/secrets."""
    shutil.copy(REPOSITORY / "inventory.py", tmp_path)
    shutil.copytree(REPOSITORY / "group_data", tmp_path / "group_data")
    shared = tmp_path / "group_data" / "all.py"
    text, count = re.subn(
        r"(?m)^pki_directory = .*$", f"pki_directory = {str(tmp_path / 'secrets')!r}", shared.read_text()
    )
    assert count == 1
    shared.write_text(text)
    return tmp_path


def run(site: Path, *arguments: str) -> tuple[int, list[list[str]], str]:
    """Exit status, the words of each line of the output, what went to standard error."""
    done = subprocess.run(
        [sys.executable, REPOSITORY / "certificates.py", *arguments],
        cwd=site,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, [line.split() for line in done.stdout.splitlines()], done.stderr


def test_init_status_revoke_renew(site: Path) -> None:
    rc, _, error = run(site, "status")
    assert rc == 1
    assert "python certificates.py init" in error

    rc, lines, _ = run(site, "init")
    assert rc == 0
    table = lines[lines.index(HEAD) + 1 :]
    assert [row[0] for row in table][:3] == ["ca", "crl", "server"]
    assert {row[1] for row in table} == {"good"}
    assert {row[3] for row in table} == {"3650", "825", "-"}

    rc, lines, _ = run(site, "init")
    assert (rc, lines[0]) == (0, ["nothing", "to", "do"])

    assert run(site, "revoke", "earth")[0] == 0
    rc, lines, _ = run(site, "status")
    assert rc == 1
    assert [row[:2] for row in lines if row[0] == "earth"] == [["earth", "revoked"]]

    assert run(site, "renew", "earth")[0] == 0
    assert run(site, "status")[0] == 0
    rc, _, error = run(site, "renew", "nobody")
    assert (rc, "'nobody'" in error) == (1, True)


def test_no_command_prints_a_secret(site: Path) -> None:
    output = ""
    for arguments in (["init"], ["renew", "server"], ["revoke", "earth"], ["status"]):
        _, lines, error = run(site, *arguments)
        output += "".join(map(" ".join, lines)) + error
    password = (site / "secrets" / "carp-password").read_text().strip()
    keys = [path.read_text().splitlines()[1] for path in (site / "secrets").glob("*.pem")]
    assert not [secret for secret in (password, *keys) if secret in output]


def test_usage_and_a_missing_inventory(site: Path) -> None:
    assert run(site)[0] == 2
    rc, _, error = run(site, "--inventory", "nowhere.py", "init")
    assert (rc, "nowhere.py" in error) == (1, True)
