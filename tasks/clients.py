"""The Rocky Linux clients: NFS mounts through stunnel, kept usable by a monitor.

The order: who may use the tunnel before the tunnel, the tunnel before the mount, the line in fstab before the monitor
that mounts, the monitor before its timer.
Nothing fails if the servers are away: everything is configured, and the timer mounts when they are back.
"""

from __future__ import annotations

from io import StringIO
from typing import Any

from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.context import host
from pyinfra.operations import dnf, files

from bridge.settings import credentials, rendered, site, this_host
from f3s.fstab import mount_unit
from f3s.monitor import MONITOR_UNITS, OUTDATED, PROGRAM, SETTINGS, UNITS, longest_check, monitor_settings
from f3s.mount_options import TUNNEL_UNIT, mount_options
from f3s.stunnel import CLIENT_CONFIG, CLIENT_FILES, PORT_UNIT, client_variables, port_rules
from facts.base import FILES
from facts.clients import SelinuxState
from operations import fstab, names, reasons, secrets, selinux, stunnel, sysctl, textfile, units
from tasks.shared import name_virtual_ip

CORDON_HOOK = "/usr/local/bin/cordon-node.sh"
RETRANSMISSIONS = {"net.ipv4.tcp_thin_linear_timeouts": "1"}

settings = this_host()


def put(what: str, path: str, text: str) -> None:
    """A file without secrets."""
    files.put(name=f"clients: {what}", src=StringIO(text), dest=path, user="root", group="root", mode="0644")


def put_unit(unit: str, **values: Any) -> None:
    """A unit from its template; a site that was set up by hand may have one of that name."""
    path = f"{UNITS}/{unit}"
    textfile.put(
        name=f"clients: {unit}",
        path=path,
        text=rendered(f"{unit}.j2", values).getvalue(),
        mode="0644",
        replace=path in settings.replace.files,
        group="root",
    )


if settings.is_client:
    client = settings.client
    nfs = site().primary.nfs
    port = settings.stunnel.port
    mounts = client.sources
    options = mount_options(client.mount_options, port)
    tunnel = client_variables(settings)

    names.own(
        name="clients: a host name of its own",
        others=[each.name for each in site().clients if each.name != settings.name],
    )

    # nfs-utils brings mount.nfs4, verify uses openssl; the SELinux tools are needed only if SELinux enforces
    packages = ["stunnel", "nfs-utils", "openssl", "nftables"]
    selinux_state = host.get_fact(SelinuxState)
    if selinux_state is not None and selinux_state.mode == "Enforcing":
        packages.append("policycoreutils-python-utils")
    dnf.packages(name="clients: packages", packages=packages)

    # for people and their tools; stunnel connects to the address
    name_virtual_ip()

    # -- the tunnel --
    secrets.certificates(
        name="clients: no certificates of somebody else are in their place",
        paths=list(CLIENT_FILES.values()),
        replace=settings.replace.files,
    )
    secrets.file(
        name="clients: key and certificate",
        path=tunnel["cert_file"],
        content=HiddenValue(credentials().client(settings.name)),
        group="root",
        mode="0600",
    )
    put("certificate of the CA", tunnel["ca_file"], credentials().ca_certificate())
    stunnel.configuration(
        name="clients: stunnel.conf",
        path=CLIENT_CONFIG,
        ours=rendered("stunnel-client.conf.j2", tunnel).read(),
        replace=CLIENT_CONFIG in settings.replace.files,
        group="root",
    )
    # a reader goes on within 5 s of a power cut: docs/design.md, How long a reader waits
    lines = "".join(f"{name} = {value}\n" for name, value in RETRANSMISSIONS.items())
    put("the kernel's retransmissions after a reboot", "/etc/sysctl.d/90-f3s.conf", lines)
    sysctl.values(name="clients: the kernel's retransmissions now", wanted=RETRANSMISSIONS)
    selinux.stunnel_port(name="clients: SELinux lets stunnel listen", port=port)
    selinux.containers_use_nfs(name="clients: SELinux lets containers of k3s use NFS")
    put_unit(PORT_UNIT, rules=port_rules(settings))
    units.reloaded(name=f"clients: systemd reads {PORT_UNIT}", names=[PORT_UNIT])
    units.running(
        name="clients: the tunnel's port is for root only" if client.tunnel_root_only else "clients: the tunnel's port",
        unit=PORT_UNIT,
        files=[f"{UNITS}/{PORT_UNIT}"],
    )
    # a restart interrupts the mounts for a moment, so only when one of its files is newer than the process
    units.running(
        name="clients: stunnel runs",
        unit=TUNNEL_UNIT,
        files=[CLIENT_CONFIG, tunnel["cert_file"], tunnel["ca_file"]],
    )

    # -- owners: numbers need nothing here --
    if nfs.owners == "names":
        files.line(
            name="clients: domain of the owners' names",
            path="/etc/idmapd.conf",
            line=r"^[#[:space:]]*Domain[[:space:]]*=.*$",
            replace=f"Domain = {nfs.idmap_domain}",
            ensure_newline=True,
        )

    # -- the mounts --
    for source, mountpoint in host.loop(mounts):
        # only while nothing is mounted: the owner and mode of a mounted share are the server's
        fstab.mount_point(name=f"clients: directory {mountpoint}", path=mountpoint)
        fstab.entry(
            name=f"clients: {mountpoint} in /etc/fstab",
            source=source,
            mountpoint=mountpoint,
            options=options,
        )

    # -- the monitor --
    mount_units = [mount_unit(mountpoint) for _, mountpoint in mounts]
    # our own hook, if the site names it; any other program is the site's own
    our_hook = client.escalate_command == CORDON_HOOK
    programs = {PROGRAM: "check_nfs_mount.py"} | ({CORDON_HOOK: "cordon-node.sh"} if our_hook else {})
    for program, source in host.loop(list(programs.items())):
        textfile.put(
            name=f"clients: {program.rsplit('/', 1)[1]}",
            path=program,
            text=(FILES / "rocky" / source).read_text(),
            mode="0755",
            # its units below ask for a word first; a program of an earlier version does not say whose it is
            replace=True,
            group="root",
        )
    if client.metrics_file is not None:
        files.directory(
            name="clients: directory of the metrics",
            path=client.metrics_file.rsplit("/", 1)[0],
        )
    put("settings of the monitor", SETTINGS, monitor_settings(settings, credentials().client_end(settings.name)))
    for unit in host.loop(MONITOR_UNITS):
        put_unit(unit, start_timeout=longest_check(client), interval=client.monitor_interval, mounts=mount_units)
    # the mount units are made from /etc/fstab
    units.reloaded(
        name="clients: systemd reads the units and /etc/fstab",
        names=[*MONITOR_UNITS, *mount_units],
    )
    for outdated in host.loop(OUTDATED):
        files.file(name=f"clients: {outdated} is not needed any more", path=outdated, present=False)
    fstab.mounted(name="clients: mounted, if the server answers", mounts=mounts, options=options, monitor=PROGRAM)
    units.running(
        name="clients: the monitor's timer runs",
        unit=MONITOR_UNITS[1],
        files=[f"{UNITS}/{MONITOR_UNITS[1]}"],
    )

reasons.none_left()
