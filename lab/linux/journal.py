"""The journal, as lines of JSON in /.lab/journal of a host, with virtual times; logger and journalctl."""

from __future__ import annotations

import json
import time

from lab.commands.options import gnu
from lab.core import Context, Store

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def priority(name: str) -> int:
    """A level's number (syslog(3)), from its name or number; a facility before it does not count.

    :raises ValueError: there is no such level
    """
    last = name.rpartition(".")[2]
    return int(last) if last.isdigit() else PRIORITIES.index(last)


def write(store: Store, host: str, tag: str, level: int, text: str, unit: str = "") -> None:
    """Adds lines to a host's journal.

    :param host: full name
    :param level: 0-7, see `PRIORITIES`
    :param unit: the service that the lines come from
    """
    now = store.read().now
    with open(store.root(host) / ".lab/journal", "a") as file:
        for line in text.splitlines():
            file.write(json.dumps({"time": now, "tag": tag, "level": level, "unit": unit, "text": line}) + "\n")


def logger(ctx: Context) -> int:
    """logger(1) of util-linux with -t TAG and -p PRIORITY."""
    options, words = gnu(ctx, "t:p:")
    text = " ".join(words) if words else ctx.stdin.read().decode()
    write(ctx.store, ctx.host_name, options.get("-t", "root"), priority(options.get("-p", "notice")), text)
    return 0


def journalctl(ctx: Context) -> int:
    """journalctl(1) with -u UNIT, -t TAG, -o short|cat, -q, --no-pager: all there is."""
    options, words = gnu(ctx, "u:t:o:q", ["no-pager"])
    form = options.get("-o", "short")
    if words or form not in ("short", "cat"):
        raise ctx.not_simulated()
    file = ctx.store.root(ctx.host_name) / ".lab/journal"
    entries = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    unit = options.get("-u", "")
    unit = unit if not unit or "." in unit else f"{unit}.service"
    tag = options.get("-t", "")
    shown = [each for each in entries if unit in ("", each["unit"]) and tag in ("", each["tag"])]
    short = ctx.host_name.partition(".")[0]
    for entry in shown:
        when = time.strftime("%b %d %H:%M:%S", time.gmtime(entry["time"]))
        ctx.out(("" if form == "cat" else f"{when} {short} {entry['tag']}: ") + entry["text"] + "\n")
    if not shown and form != "cat":
        ctx.out("-- No entries --\n")
    return 0
