"""The journal, as lines of JSON in /.lab/journal of a host, with virtual times; logger, systemd-cat and journalctl."""

from __future__ import annotations

import getopt
import json
import subprocess
import sys
import time

from lab.core import CommandError, Context, Store

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def priority(name: str) -> int:
    """A level's number (syslog(3)), from its name or number; a facility before it does not count.

    :raises CommandError: there is no such level
    """
    name = {"error": "err", "warn": "warning", "panic": "emerg"}.get(last := name.rpartition(".")[2], last)
    if name.isdigit() and int(name) < len(PRIORITIES):
        return int(name)
    if name not in PRIORITIES:
        raise CommandError(f"unknown priority name: {name}")
    return PRIORITIES.index(name)


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
    """logger(1) of util-linux with -t TAG, -p PRIORITY, -i, -s."""
    try:
        pairs, words = getopt.gnu_getopt(ctx.args, "t:p:is", ["tag=", "priority="])
    except getopt.GetoptError as error:
        raise ctx.not_simulated(f"{' '.join(ctx.args)} ({error})") from None
    options = dict(pairs)
    tag = options.get("-t", options.get("--tag", "root"))
    level = priority(options.get("-p", options.get("--priority", "notice")))
    text = " ".join(words) if words else ctx.stdin.read().decode()
    write(ctx.store, ctx.host_name, tag, level, text)
    if "-s" in options:
        ctx.err(f"{tag}: {text}\n")
    return 0


def systemd_cat(ctx: Context) -> int:
    """systemd-cat(1) with -t and -p, of a command or of standard input."""
    try:
        pairs, words = getopt.getopt(ctx.args, "t:p:", ["identifier=", "priority="])
    except getopt.GetoptError as error:
        raise ctx.not_simulated(f"{' '.join(ctx.args)} ({error})") from None
    options = dict(pairs)
    tag = options.get("-t", options.get("--identifier", words[0].rpartition("/")[2] if words else "cat"))
    level = priority(options.get("-p", options.get("--priority", "info")))
    if not words:
        write(ctx.store, ctx.host_name, tag, level, ctx.stdin.read().decode())
        return 0
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    write(ctx.store, ctx.host_name, tag, level, done.stdout.decode(errors="replace"))
    return done.returncode


def journalctl(ctx: Context) -> int:
    """journalctl(1) with -u, -t, -p, -n, -o short|short-iso|cat, -b, -q, --no-pager; -b shows all there is."""
    try:
        pairs, words = getopt.gnu_getopt(ctx.args, "u:t:p:n:o:bq", ["unit=", "identifier=", "no-pager", "lines="])
    except getopt.GetoptError as error:
        raise ctx.not_simulated(f"{' '.join(ctx.args)} ({error})") from None
    long = {"--unit": "-u", "--identifier": "-t", "--lines": "-n"}
    options = {long.get(name, name): value for name, value in pairs}
    form = options.get("-o", "short")
    if words or form not in ("short", "short-iso", "cat"):
        raise ctx.not_simulated(" ".join(ctx.args))
    file = ctx.store.root(ctx.host_name) / ".lab/journal"
    entries = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    unit = options.get("-u", "")
    unit = unit if not unit or "." in unit else f"{unit}.service"
    shown = [
        entry
        for entry in entries
        if ("-u" not in options or entry["unit"] == unit)
        and ("-t" not in options or entry["tag"] == options["-t"])
        and ("-p" not in options or entry["level"] <= priority(options["-p"]))
    ]
    shown = shown[-int(options["-n"]) :] if "-n" in options else shown
    short = ctx.host_name.partition(".")[0]
    for entry in shown:
        fmt = "%Y-%m-%dT%H:%M:%S+0000" if form == "short-iso" else "%b %d %H:%M:%S"
        head = "" if form == "cat" else f"{time.strftime(fmt, time.gmtime(entry['time']))} {short} {entry['tag']}: "
        ctx.out(f"{head}{entry['text']}\n")
    if not shown and form != "cat":
        sys.stdout.flush()
        ctx.out("-- No entries --\n")
    return 0
