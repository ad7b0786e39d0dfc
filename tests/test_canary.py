"""Secrets are searched for in all that the project prints, runs and leaves, on the hosts and on the controller."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tests.lab.cluster import F0, F2, Cluster

pytestmark = pytest.mark.lab
PASSPHRASE = "correct horse battery"
DISK = 50_000_000
"""Bytes of a played disk; the sticks are such ones."""
KEPT = re.compile(
    r"state/(secrets/[^/]+|trees/\d+/[^/]+\.key|cluster"
    r"|hosts/[^/]+/root/(etc/rc\.conf\.d/netif|usr/local/etc/stunnel/server\.pem|etc/stunnel/client\.pem))"
)
"""Where secrets belong: with the controller, on the sticks, in the kernel, for rc.d/netif, in the tunnel's files."""


def forms(secret: bytes) -> set[bytes]:
    """How a key may be written."""
    return {secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)}


def planted(site: Cluster) -> dict[str, set[bytes]]:
    """All secrets of a site, by what they are."""
    found = {"the passphrase": {PASSPHRASE.encode()}}
    for name in site.sh(F0, "ls /keys").split():
        content = base64.b64decode(site.sh(F0, f"openssl base64 -A -in /keys/{name}"))
        found[name] = forms(content)
    folder = site.state / "secrets"
    found["the CARP password"] = {(folder / "carp-password").read_bytes().strip()}
    for file in folder.glob("*.pem"):
        if keys := re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n([^-]*)", file.read_bytes()):
            found[file.name] = {line for key in keys for line in key.split() if len(line) > 40}
    return found


def seen(content: bytes, secrets: dict[str, set[bytes]]) -> list[str]:
    return [what for what, ways in secrets.items() if any(way in content for way in ways)]


def test_no_secret_is_printed_run_or_left_where_it_does_not_belong(site: Cluster, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    outputs = []

    def run(*words: str, ends: int = 0) -> None:
        done = site.pyinfra(*words, "-y", "-vvv", "--debug", F3S_PASSPHRASE=PASSPHRASE, TMPDIR=str(temporary))
        assert done.rc == ends, done.output
        outputs.append(done.output)

    first = planted(site)
    certificates = site.state / "secrets"
    (certificates / "server.pem").unlink()
    (certificates / "carp-password").write_text("another2Password\n")
    site.make_secrets()
    for words in (("unplug", F2), ("plug", F2), ("swap", F2, "da0")):
        site.lab(*words)
    for task in ("usb_keys", "carp", "stunnel"):
        run(f"tasks/{task}.py", "--limit", "freebsd")
    run("tasks/rotate_keys.py", "--data", f"rotate_key={F0}:zdata")
    run("tasks/escrow.py")
    run("tasks/escrow.py", "--data", f"escrow_paper={F0}:zdata")
    run("tasks/verify.py", "--limit", "freebsd", "--data", f"verify_html={tmp_path}/f3s.html", ends=1)
    secrets = {**{f"the former {what}": ways for what, ways in first.items()}, **planted(site)}
    assert len(secrets) > 12
    assert [what for output in outputs for what in seen(output.encode(), secrets)] == []
    left = [
        (str(file.relative_to(tmp_path)), what)
        for file in tmp_path.rglob("*")
        if file.is_file() and not file.is_symlink() and file.stat().st_size < DISK
        if (what := seen(file.read_bytes(), secrets))
    ]
    assert len(left) > 10, "what is searched for is found where it belongs"
    assert [(place, what) for place, what in left if not KEPT.fullmatch(place)] == []
