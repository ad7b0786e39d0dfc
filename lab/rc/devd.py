"""devd(8): reads its rules when it starts, then runs one action at a time and waits for it (seen)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab import clock
from lab.core import Context, Event, Host, Store, part
from lab.rc.scripts import processes

FOLDERS = ("etc/devd", "usr/local/etc/devd")


@dataclass
class Rule:
    """A ``notify`` statement: what must match (name, regular expression), and the action."""

    priority: int
    matches: list[tuple[str, str]]
    action: str


def rules(host: Host) -> list[Rule]:
    """What the running devd read when it started."""
    return part(host, "devd rules", list[Rule])


def read_rules(root: Path) -> list[Rule]:
    """The notify statements of its configuration and of the folders (devd.conf(5)), the highest priority first."""
    found = []
    for file in (
        root / "etc/devd.conf",
        *(file for folder in FOLDERS for file in sorted((root / folder).glob("*.conf"))),
    ):
        text = re.sub(r"#.*", "", file.read_text()) if file.exists() else ""
        for priority, body in re.findall(r"notify\s+(\d+)\s*\{(.*?)\};", text, re.DOTALL):
            matches = re.findall(r'match\s+"([^"]*)"\s+"([^"]*)"\s*;', body)
            action = re.search(r'action\s+"((?:[^"\\]|\\.)*)"\s*;', body)
            if action:
                found.append(Rule(int(priority), matches, action.group(1).replace('\\"', '"')))
    return sorted(found, key=lambda rule: -rule.priority)


def start(ctx: Context) -> bool:
    """devd starts and reads its configuration."""
    fresh = read_rules(Path("/"))
    with ctx.cluster() as cluster:
        ctx.host(cluster).parts["devd rules"] = fresh
    return True


def notify(store: Store, event: Event) -> None:
    """An event of the kernel: the first matching rule's action runs, as devd's child."""
    host = store.read().hosts[event.host]
    if not host.up or not processes(host).get("devd"):
        return
    variables = {"system": "CARP", **event.payload}
    for rule in rules(host):
        if all(re.fullmatch(pattern, str(variables.get(name, ""))) for name, pattern in rule.matches):
            action = re.sub(r"\$(\w+)", lambda m: str(variables.get(m.group(1), "")), rule.action)
            environment = "export PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/; cd /; "
            clock.run(store, host.name, ["/bin/sh", "-c", environment + action])
            return
