"""``ANSIBLE=PATH python -m bench``: a client's part by pyinfra and by an Ansible playbook, on the same machines.

Both find nothing to do: the machines are deployed (``python -m machines``). They take turns, so that neither gets the
better minutes of a computer that does other work, too.

ANSIBLE: ``ansible-playbook`` of the package ansible, which this project does not need otherwise.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bridge.settings import load_inventory, rendered
from f3s.fstab import mount_unit
from f3s.monitor import MONITOR_UNITS, OUTDATED, PROGRAM, SETTINGS, UNITS, longest_check, monitor_settings
from f3s.mount_options import mount_options
from f3s.pki.credentials import Credentials
from f3s.settings import HostSettings
from f3s.stunnel import CLIENT_CONFIG, PORT_UNIT, client_variables, merged, port_rules
from machines import site as machines
from scenarios.pyinfra_output import changes
from scenarios.stage import REPOSITORY, pyinfra_words

TURNS = 3
SSH = "-o ControlMaster=auto -o ControlPersist=60s -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"


def variables(host: HostSettings, secrets: Path, place: Path) -> dict[str, object]:
    """What client.yml needs of a host; the files that it copies are in a folder."""
    client, made, tunnel = host.client, Credentials(secrets), client_variables(host)
    values = {
        "start_timeout": longest_check(client),
        "interval": client.monitor_interval,
        "mounts": [mount_unit(mountpoint) for _, mountpoint in client.sources],
        "rules": port_rules(host),
    }

    def file(path: str, text: str, mode: str = "0644") -> dict[str, str]:
        source = place / f"{host.name}{path.replace('/', '_')}"
        source.touch(mode=0o600)
        source.write_text(text)
        return {"path": path, "source": str(source), "mode": mode}

    return {
        "vip_address": host.vip.address,
        "vip_names": list(host.vip.names),
        "tunnel_files": [
            file(tunnel["cert_file"], made.client(host.name), "0600"),
            file(tunnel["ca_file"], made.ca_certificate()),
            file(CLIENT_CONFIG, merged("", rendered("stunnel-client.conf.j2", tunnel).read())),
        ],
        "monitor_files": [
            file(PROGRAM, (REPOSITORY / "files/rocky/check_nfs_mount.py").read_text(), "0755"),
            file(SETTINGS, monitor_settings(host, made.client_end(host.name))),
            *(file(f"{UNITS}/{unit}", rendered(f"{unit}.j2", values).read()) for unit in (PORT_UNIT, *MONITOR_UNITS)),
        ],
        "metrics_file": client.metrics_file,
        "mounts": [{"source": source, "mountpoint": mountpoint} for source, mountpoint in client.sources],
        "mount_options": ",".join(mount_options(client.mount_options, host.stunnel.port)),
        "outdated": list(OUTDATED),
    }


def timed(words: list[str], environment: Mapping[str, str]) -> float:
    """Seconds of a run that finds nothing to do; anything else ends the program."""
    begin = time.monotonic()
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    said = done.stdout + done.stderr
    if done.returncode or changes(said) or re.search(r"changed=[1-9]", said):
        sys.exit(f"bench: {words[0]} ended with {done.returncode}, or changed something:\n{said[-3000:]}")
    return seconds


def main() -> None:
    ansible = os.environ.get("ANSIBLE") or sys.exit("bench: ANSIBLE=PATH of ansible-playbook (pip install ansible)")
    site, reach = machines.site(), {each.name: each.data for each in load_inventory(machines.INVENTORY)}
    names = [host.name for host in site.clients]
    with tempfile.TemporaryDirectory() as place:
        inventory = Path(place) / "inventory.json"
        hosts = {
            name: {
                "ansible_host": reach[name].ssh_hostname,
                "ansible_port": reach[name].ssh_port,
                "ansible_user": reach[name].ssh_user,
                "ansible_ssh_private_key_file": reach[name].ssh_key,
                "ansible_python_interpreter": "/usr/bin/python3",
                **variables(site.host(name), Path(site.primary.pki.directory), Path(place)),
            }
            for name in names
        }
        inventory.write_text(json.dumps({"clients": {"hosts": hosts}}))
        environment = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_SSH_ARGS": SSH, "ANSIBLE_NOCOLOR": "1"}
        theirs = [ansible, "-i", str(inventory), "bench/client.yml"]
        ours = pyinfra_words(machines.INVENTORY, "tasks/clients.py", "-y", "--limit", "clients")
        took: dict[str, list[float]] = {"pyinfra": [], "Ansible": []}
        for _ in range(TURNS):
            took["pyinfra"].append(timed(ours, environment))
            took["Ansible"].append(timed(theirs, environment))
    for name, seconds in took.items():
        each = ", ".join(f"{one:.1f}" for one in seconds)
        print(f"{name}: median {statistics.median(seconds):.1f} s of {each}; {len(names)} hosts")
    print(f"{statistics.median(took['Ansible']) / statistics.median(took['pyinfra']):.1f} times as long")


if __name__ == "__main__":
    main()
