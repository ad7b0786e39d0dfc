"""dnf and rpm: which packages are there, and what comes with them."""

from __future__ import annotations

from lab import rootfs
from lab.commands.options import gnu
from lab.core import Context

BASE = {
    "bash": "5.1.8-9.el9",
    "coreutils": "8.32-36.el9",
    "policycoreutils": "3.6-2.1.el9",
    "systemd": "252-46.el9",
    "openssl": "3.2.2-6.el9",
}
AVAILABLE = {
    "nfs-utils": "2.5.4-27.el9",
    "nftables": "1.0.9-3.el9",
    "policycoreutils-python-utils": "3.6-2.1.el9",
    "stunnel": "5.71-2.el9",
}
STUNNEL_UNIT = """\
[Unit]
Description=TLS tunnel for network daemons
After=syslog.target network.target

[Service]
ExecStart=/usr/bin/stunnel
ExecReload=/bin/kill -HUP $MAINPID
Type=forking
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""
FILES = {
    "stunnel": {"usr/lib/systemd/system/stunnel.service": STUNNEL_UNIT},
    "nfs-utils": {
        "etc/idmapd.conf": "[General]\n#Verbosity = 0\n# The following should be set to the local NFSv4 domain name\n"
        "# The default is the host's DNS domain name.\n#Domain = local.domain.edu\n\n[Mapping]\n"
        "Nobody-User = nobody\nNobody-Group = nobody\n"
    },
}


def _query(name: str, version: str, form: str) -> str:
    number, _, release = version.partition("-")
    text = form.replace("%{NAME}", name).replace("%{VERSION}", number).replace("%{RELEASE}", release)
    return text.replace("\\n", "\n")


def rpm(ctx: Context) -> int:
    """rpm(8) with -q NAME... or -qa, and --queryformat."""
    options, words = gnu(ctx, "qa", ["queryformat=", "qf=", "quiet"])
    form = options.get("--queryformat", options.get("--qf", "%{NAME}-%{VERSION}-%{RELEASE}.x86_64\\n"))
    if "-q" not in options or bool(words) == ("-a" in options):
        raise ctx.not_simulated()
    host = ctx.host(ctx.store.read())
    installed = {**BASE, **{name: AVAILABLE[name] for name in host.packages}}
    rc = 0
    for name in words or sorted(installed):
        if name in installed:
            ctx.out(_query(name, installed[name], form))
        else:
            ctx.out(f"package {name} is not installed\n")
            rc += 1
    return rc


def dnf(ctx: Context) -> int:
    """dnf(8): ``install -y NAME...`` and ``repoquery --quiet --queryformat F --whatprovides NAME``."""
    options, words = gnu(ctx, "yq", ["quiet", "queryformat=", "whatprovides="])
    known = {**BASE, **AVAILABLE}
    if words[:1] == ["repoquery"] and "--whatprovides" in options:
        name = options["--whatprovides"]
        if name in known:
            ctx.out(_query(name, known[name], options["--queryformat"]))
        return 0
    if words[:1] != ["install"] or "-y" not in options or len(words) < 2 or {*words[1:]} - known.keys():
        raise ctx.not_simulated()
    for name in words[1:]:
        _install(ctx, name)
    return 0


def _install(ctx: Context, name: str) -> None:
    if name in BASE:
        return
    with ctx.cluster() as cluster:
        host = ctx.host(cluster)
        if name in host.packages:
            return
        host.packages.add(name)
    root = ctx.store.root(ctx.host_name)  # not "/": there /usr/lib is the machine's
    rootfs.install_played(root, rootfs.PACKAGES.get(("rocky", name), {}))
    for path, text in FILES.get(name, {}).items():
        rootfs.write(root, path, text)
    if name == "stunnel":
        (root / "etc/stunnel").mkdir(exist_ok=True)
