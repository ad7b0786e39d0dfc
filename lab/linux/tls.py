"""What the ends of a stunnel connection think of each other's certificate; the machine's `openssl verify` decides."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from lab.core import INSIDE, START, Cluster, Host, LabError, Store, inside
from lab.rc.scripts import processes

BEGIN = "-----BEGIN CERTIFICATE-----"
_BLOCK = re.compile(rf"{BEGIN}.*?-----END CERTIFICATE-----\n?", re.DOTALL)

_CRL = re.compile(r"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n?", re.DOTALL)
_ERROR = re.compile(r"^(?:no: )?error (\d+) at \d+ depth lookup: ?(.*)$", re.MULTILINE)

_SHORT_NAMES = {NameOID.COMMON_NAME: "CN", NameOID.SERIAL_NUMBER: "serialNumber"}
"""As OpenSSL has them (crypto/objects)."""


@dataclass(frozen=True)
class Loaded:
    """What a running stunnel read when it started: options, own certificates (never the key), CA and CRL in PEM.

    :param service: name of the section that accepts connections
    """

    options: dict[str, str]
    certificate: str
    ca: str
    crl: str
    service: str = ""


def load(options: dict[str, str], service: str = "") -> Loaded:
    """Reads the files that a configuration names, on the host that this process runs on.

    :raises OSError: one is not there
    """

    def text(name: str) -> str:
        return Path(options[name]).read_text() if name in options else ""

    return Loaded(options, "".join(_BLOCK.findall(text("cert"))), text("CAfile"), text("CRLfile"), service)


def answering(host: Host, address: str, port: int) -> Loaded | None:
    """The service of a FreeBSD host's stunnel that accepts connections there."""
    ends: list[Loaded] = host.parts.get("tls", []) if processes(host).get("stunnel") else []
    return next((end for end in ends if end.options["accept"] in (f"{address}:{port}", f":{port}", str(port))), None)


def subject(end: Loaded) -> str:
    """Of its certificate, as stunnel tells it (src/verify.c, X509_NAME2text)."""
    name = x509.load_pem_x509_certificate(end.certificate.encode()).subject
    return ", ".join(f"{_SHORT_NAMES[each.oid]}={each.value!s}" for each in name)


def checks_peer(end: Loaded) -> bool:
    """Whether it asks for a certificate."""
    return end.options.get("verifyChain") == "yes" or end.options.get("verify", "0") in ("2", "3", "4")


def refusal(store: Store, cluster: Cluster, end: Loaded, peer: Loaded, *, purpose: str) -> tuple[int, str] | None:
    """Why one end does not accept the other's certificate: number and text of OpenSSL's verify error; None: it does.

    Certificates are made in the machine's time and the lab's clock starts somewhere else: they age by as much as the
    virtual clock went on.

    :param purpose: ``sslclient`` or ``sslserver``: what the peer's certificate must be good for
    """
    if not checks_peer(end):
        return None
    if not end.ca or not peer.certificate:
        return 20, "unable to get local issuer certificate"
    hours = (int(cluster.now // 3600), int(time.time() // 3600))
    host_name = end.options.get("checkHost", "")
    words = (end.ca, end.crl, peer.certificate, purpose, host_name, str(hours))
    name = hashlib.sha256("\0".join(words).encode()).hexdigest()
    known = store.folder / "tls" / name
    if not known.exists():
        known.parent.mkdir(exist_ok=True)
        verdict = _verify(known, cluster, end, peer, purpose, host_name)
        fresh = known.with_suffix(f".{time.monotonic_ns()}")
        fresh.write_text(verdict)
        fresh.rename(known)
    found = _ERROR.search(known.read_text())
    return (int(found[1]), found[2]) if found else None


def _verify(known: Path, cluster: Cluster, end: Loaded, peer: Loaded, purpose: str, host_name: str) -> str:
    # within a host /usr/bin/openssl may be a played one
    top = f"{INSIDE}/real" if inside() else ""
    openssl = shutil.which("openssl", path=f"{top}/usr/bin:{top}/bin")
    if openssl is None:
        raise LabError("this machine has no openssl, which checks the simulated hosts' certificates: install it")
    with tempfile.TemporaryDirectory(dir=known.parent) as folder:
        files = {name: Path(folder) / name for name in ("ca", "peer")}
        for name, text in (("ca", end.ca), ("peer", peer.certificate)):
            files[name].write_text(text)
        line = [openssl, "verify", "-CAfile", str(files["ca"]), "-no-CApath", "-no-CAstore", "-purpose", purpose]
        line += ["-attime", str(int(time.time() + cluster.now - START))]
        if "CRLfile" in end.options:
            line.append("-crl_check_all")
            for number, text in enumerate(_CRL.findall(end.crl)):  # stunnel reads all of a file, openssl verify one
                crl = Path(folder) / f"crl{number}"
                crl.write_text(text)
                line += ["-CRLfile", str(crl)]
        if host_name:
            line += ["-verify_hostname", host_name]
        done = subprocess.run([*line, str(files["peer"])], capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    if done.returncode and not _ERROR.search(said):
        raise LabError(f"openssl verify did not come to a verdict: {said}")
    return "yes" if done.returncode == 0 else f"no: {said}"
