"""TLS in front of NFS on the storage pair: certificates, configuration, and a reload if the tunnel runs.

Only f3s_storage starts and stops it. A reload keeps every connection and enforces a new revocation list for the next
ones (tests/templates/test_stunnel.py); those that a refused certificate has open are ended one by one. A restart would
cut all clients off.
"""

from __future__ import annotations

from io import StringIO

from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.context import host
from pyinfra.operations import files

from bridge.settings import credentials, rendered, this_host
from f3s import stunnel as tunnel
from f3s.nfs import LOOPBACK
from facts.textfile import TextFileOf
from operations import packages, rcconf, reasons, secrets, stunnel
from operations.base import known
from tasks.shared import controller_takes_up

settings = this_host()

if settings.is_storage:
    made = credentials()
    values = tunnel.server_variables(settings)

    # before anything is changed: the rc script does not see a stunnel without a pid file (seen)
    stunnel.port_is_ours(
        name="stunnel: its port is free or its own",
        addresses=[settings.vip.address, settings.lan.address, LOOPBACK],
        port=settings.stunnel.port,
        pid_file=tunnel.PID_FILE,
    )
    packages.installed(name="stunnel: package", names=["stunnel"])
    # the controller uses the one* verbs; one with services of others starts at boot for them. Without stunnel_pidfile
    # the rc script finds no daemon to stop (seen)
    ours = rendered("stunnel-server.conf.j2", values).read()
    shared = tunnel.others(known(TextFileOf, path=tunnel.SERVER_CONFIG).text, ours)
    at_boot = {} if shared else {"stunnel_enable": "NO"}
    rcconf.variables(name="stunnel: rc variables", values={**at_boot, "stunnel_pidfile": tunnel.PID_FILE})
    files.directory(
        name="stunnel: configuration folder", path=tunnel.SERVER_FOLDER, user="root", group="wheel", mode="755"
    )
    # the daemon writes its pid file after it has given up root's rights
    files.directory(
        name="stunnel: folder of the pid file",
        path=tunnel.RUN_FOLDER,
        user=tunnel.SERVER_USER,
        group=tunnel.SERVER_USER,
        mode="755",
    )

    secrets.certificates(
        name="stunnel: no certificates of somebody else are in their place",
        paths=list(tunnel.SERVER_FILES.values()),
        replace=settings.replace.files,
    )
    # -- before the configuration that names them; the key belongs to the user stunnel, who reads it at a reload
    secrets.file(
        name="stunnel: key and certificate of the virtual IP",
        path=values["cert_file"],
        content=HiddenValue(made.server()),
        user=tunnel.SERVER_USER,
        group=tunnel.SERVER_USER,
        mode="0400",
    )
    public = (
        ("certificate of the CA", values["ca_file"], made.ca_certificate()),
        ("revocation list", values["crl_file"], made.crl()),
    )
    for what, path, text in host.loop(public):
        files.put(name=f"stunnel: {what}", src=StringIO(text), dest=path, user="root", group="wheel", mode="644")
    configuration = stunnel.configuration(
        name="stunnel: configuration",
        path=tunnel.SERVER_CONFIG,
        ours=ours,
        replace=tunnel.SERVER_CONFIG in settings.replace.files,
    )
    stunnel.reloaded(
        name="stunnel: has read its files",
        pid_file=tunnel.PID_FILE,
        stamp=tunnel.RELOAD_STAMP,
        files=[tunnel.SERVER_CONFIG, values["cert_file"], values["ca_file"], values["crl_file"]],
    )
    stunnel.refused_ended(
        name="stunnel: no connection of a refused certificate",
        pid_file=tunnel.PID_FILE,
        stamp=tunnel.ENDED_STAMP,
        crl=values["crl_file"],
        listens=values["accept"],
        service=tunnel.SERVICE,
        issued=made.issued(),
        trusted=made.trusted(),
    )
    controller_takes_up("stunnel", configuration)

reasons.none_left()
