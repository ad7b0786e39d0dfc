#!/usr/bin/python3 -I
"""check-nfs-mount.sh: keeps the NFS mounts of this host usable. Started every 10 s by nfs-mount-monitor.timer.

Rules it keeps:
- RULES below says what is done about what is seen; the rest of the program looks and acts.
- Whatever may wait for a dead server runs in a child, which is ended at its limit. One that cannot be killed
  (uninterruptible sleep) is left behind and remembered, so that no run adds one more.
- A healthy mount is never unmounted, nor is a foreign one, nor one for which no server is there to replace it: a hard
  mount waits without losing a write. A tunnel is restarted before a mount is taken away.
- The directory below a mount is immutable, so that nothing lands on this host's own disk while nothing is mounted.
- Bounds and ages follow clocks that nobody sets. The lock ends with its owner, however that dies.
- The journal gets a line for each change of state and each repair, not for each run.

Settings: /etc/f3s/nfs-mount.json, written by the deploy. Mount options are in /etc/fstab only. Python 3.9 is enough.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CONF = "/etc/f3s/nfs-mount.json"
RUN_DIR = "/run/f3s-nfs-mount"
ESCALATED_DIR = "/var/lib/f3s/escalated"  # kept over a reboot, as is what the escalation command has done to the world
MOUNTINFO, MOUNTSTATS = "/proc/self/mountinfo", "/proc/self/mountstats"
PROGRAM = os.path.realpath(__file__)

# Seconds of the steps that have no setting (f3s/monitor.py has the same numbers)
WRITE_SECONDS, AGAIN_SECONDS, CALL_SECONDS, SERVICE_SECONDS, ESCALATE_SECONDS, LOG_SECONDS = 5, 6, 3, 15, 60, 2
RETRY_SECONDS = 60
# How long the server has to answer before a silent mount is unmounted by force. One that has just booted answers, but
# lets nobody open a file for 135 s (nfsd's grace period, sys/fs/nfs/nfs.h; seen). The kernel may wait for 75 s before
# it connects again (net/sunrpc/xprt.c, xprt_reconnect_backoff; fs/nfs/nfs4renewd.c).
ANSWERING_SECONDS = 150

USAGE = """\
usage: check-nfs-mount.sh --once | --status | --help

  --once    check every mount of /etc/f3s/nfs-mount.json, repair what can be repaired, record and report changes
  --status  show as JSON what the last check found (age: seconds ago, null: none yet); touches no mount

exit status: 0 every mount is usable, 1 at least one is not or has not been checked, 2 wrong usage or settings,
             75 (--once) another instance is running
"""

# ---- what is seen -> state and action ----

NOTHING, ASK, RESTART, MOUNT, REMOUNT = "", "ask the server", "restart the tunnel", "mount", "unmount and mount"
USABLE = ("healthy", "readonly", "slow")
Facts = Mapping[str, object]
RULES: tuple[tuple[str, Facts, str, str, str], ...] = (
    # The first row counts whose facts are so.
    # seen          facts                    state          action   why nothing is done
    ("fine",        {},                      "healthy",     NOTHING, ""),
    ("readonly",    {},                      "readonly",    NOTHING, ""),
    ("foreign",     {},                      "foreign",     NOTHING, "left alone"),
    ("unclear",     {},                      "unclear",     NOTHING, ""),
    # a full disk or a missing permission is no better after a new mount
    ("unwritable",  {},                      "unwritable",  NOTHING, ""),
    # an answer of the server itself: nothing of this mount can be saved
    ("stale",       {},                      "stale",       REMOUNT, ""),
    ("none",        {"server": None},        "not-mounted", ASK,     ""),
    ("none",        {"server": True},        "not-mounted", MOUNT,   ""),
    # the other mounts' pause in a move would only get longer
    ("none",        {"moved": False},        "not-mounted", NOTHING, "the server does not answer"),
    ("none",        {"restartable": True},   "not-mounted", RESTART, ""),
    ("none",        {},                      "not-mounted", NOTHING, "the server does not answer"),
    # soft mounts and late exports recover by themselves
    ("unreadable",  {"moved": False},        "unreadable",  NOTHING, ""),
    ("unreadable",  {"remountable": False},  "unreadable",  NOTHING, ""),
    ("unreadable",  {"server": None},        "unreadable",  ASK,     ""),
    ("unreadable",  {"server": True},        "unreadable",  REMOUNT, ""),
    ("unreadable",  {"restartable": True},   "unreadable",  RESTART, ""),
    ("unreadable",  {},                      "unreadable",  NOTHING, "the server does not answer"),
    # a slow line that is full of data
    ("silent",      {"data": True},          "slow",        NOTHING, "data goes on"),
    ("silent",      {"moved": False},        "hung",        NOTHING, "left alone for as long as a move may take"),
    # a connection that is dead without knowing it: with a new one the kernel sends again what waits
    ("silent",      {"restartable": True},   "hung",        RESTART, ""),
    ("silent",      {"server": None},        "hung",        ASK,     ""),
    ("silent",      {"server": False},       "hung",        NOTHING, "the server does not answer"),
    ("silent",      {"awaited": False},      "hung",        NOTHING, "the server may let nobody open a file yet"),
    ("silent",      {},                      "hung",        REMOUNT, ""),
)  # fmt: skip


def decide(seen: str, facts: Facts) -> tuple[str, str, str]:
    """State, action, and why it is none.

    facts: server: it answers through the tunnel (None: not asked); moved: in trouble for longer than a move;
    restartable, remountable: the last time is long enough ago; data: it flows, though nothing else is answered;
    awaited: the server has answered for long enough
    """
    for of, wanted, *rest in RULES:
        if of == seen and all(facts[name] is value for name, value in wanted.items()):
            state, action, why = rest
            return state, action, why
    raise AssertionError(seen)


@dataclass
class Record:
    """What is remembered of a mount. Times are seconds since the boot, but for `since`; -1: there is none."""

    state: str = "unknown"
    since: float = 0  # epoch, for people
    checked: float = -1
    trouble: float = -1  # since when it does not answer, or is away
    answering: float = -1  # since when the server answers, while the mount does not
    remounted: float = -1
    data: int = -1  # what the server had got and given when the last check had no answer
    stuck: str = ""  # PID:START:MOUNT of a check that cannot be killed
    failures: int = 0
    heals: int = 0
    detail: str = ""
    immutable: bool = False  # the directory below
    below: list[str] = field(default_factory=list)  # files in it, or why it could not be looked at
    escalated: str = "no"  # or yes, failed, owed
    called: float = -1

    def remember(self, trouble: bool, server: bool | None, now: float) -> None:
        """Since when. A full disk, or a check that could not be made, is none: else a move would seem old at once."""
        self.trouble = -1 if not trouble else self.trouble if self.trouble >= 0 else now
        if not trouble or server is False:
            self.answering = -1
        elif server and self.answering < 0:  # whichever mount asked
            self.answering = now

    def facts(self, now: float, move: float, restarted: float, server: bool | None, data: bool) -> Facts:
        """The facts of `decide`."""
        return {
            "server": server,
            "data": data,
            "moved": self.trouble >= 0 and now - self.trouble >= move,
            "restartable": restarted < 0 or now - restarted >= RETRY_SECONDS,
            "remountable": self.remounted < 0 or now - self.remounted >= RETRY_SECONDS,
            "awaited": self.answering >= 0 and now - self.answering >= ANSWERING_SECONDS,
        }


# ---- questions that may hang: each is a process of its own, which prints its answer as JSON ----

libc = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: Any) -> None:
    """A function of the C library; raises OSError."""
    if getattr(libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def ask_look(point: str) -> object:
    """A stat that asks the server (statx(2), AT_STATX_FORCE_SYNC), and the beginning of a listing.

    Seen: with AT_STATX_DONT_SYNC or a cache that is only not used (`stat --cached=never`) a dead server is not noticed;
    a file system that mountd did not export can be looked up in, but not listed.
    """
    at_fdcwd, force_sync, basic_stats = -100, 0x2000, 0x7FF
    call("statx", at_fdcwd, os.fsencode(point), force_sync, basic_stats, ctypes.create_string_buffer(256))
    with os.scandir(point) as entries:  # not to its end: each write of this program makes the kernel read it anew
        next(entries, None)
    return {}


def ask_write(point: str, device: str) -> object:
    """A file that the server has stored. The working directory pins the mount, should it go away meanwhile."""
    name = f".f3s-probe-{re.sub(r'[^A-Za-z0-9._-]', '_', socket.gethostname())}"
    os.chdir(point)
    there = os.stat(".").st_dev
    if f"{os.major(there)}:{os.minor(there)}" != device:
        raise OSError(errno.ESTALE, "another file system is there by now")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    # not through a symbolic link that a user put there
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, b"check-nfs-mount.sh\n")
    os.fsync(descriptor)
    os.close(descriptor)
    os.unlink(name)
    return {}


def ask_below(point: str, folder: str) -> object:
    """Makes the directory below a mount immutable; which files are in it?

    A bind mount of its parent shows it, whatever is mounted there. It is in a mount namespace of this process alone.

    folder: any directory, which the parent covers here
    """
    parent, _, name = point.rpartition("/")
    if os.path.realpath(parent or "/") != (parent or "/"):
        raise OSError(errno.ELOOP, f"the way leads through a symbolic link, to {os.path.realpath(parent)}")
    newns, bind, private_all = 0x20000, 0x1000, 0x44000
    call("unshare", newns)
    call("mount", b"none", b"/", None, ctypes.c_ulong(private_all), None)
    call("mount", os.fsencode(parent or "/"), os.fsencode(folder), None, ctypes.c_ulong(bind), None)
    descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_DIRECTORY)
    get_flags, set_flags, immutable = 0x80086601, 0x40086602, 0x10  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL
    [flags] = struct.unpack("l", fcntl.ioctl(descriptor, get_flags, bytes(8)))
    if not flags & immutable:
        fcntl.ioctl(descriptor, set_flags, struct.pack("l", flags | immutable))
    return {"files": sorted(os.listdir(descriptor))[:5]}


QUESTIONS: dict[str, Callable[..., object]] = {"look": ask_look, "write": ask_write, "below": ask_below}


def answer(question: str, arguments: list[str]) -> int:
    """What a child does that `bounded` started. The first line says that it has begun."""
    print(flush=True)
    try:
        said = QUESTIONS[question](*arguments)
    except OSError as error:
        said = {"error": errno.errorcode.get(error.errno or 0, "?"), "text": error.strerror or str(error)}
    print(json.dumps(said))
    return 0


# ---- what is there ----


def boot_time() -> float:
    """Seconds since the boot; also while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def first_line(text: str) -> str:
    return printable(text.strip().partition("\n")[0])


def mounted_at(point: str) -> tuple[str, str, str]:
    """Source, ID and device of the mount on top, from the kernel's table (proc(5)): asking the file system can hang.

    The source is empty where nothing is mounted.
    """
    found = ("", "", "")
    with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            number, _, device, _, target, *_ = left.split(" ")
            # blanks and backslashes are in octal there
            target, source = (
                re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
                for word in (target, right.split(" ")[1])
            )
            if target == point:
                found = (source, number, device)
    return found


def data_from(source: str, port: int) -> int:
    """The bytes that a server has got and given, over all mounts of it, as they share its connection.

    port: of the tunnel; another server may be behind another one

    Not its replies: those to this program's own questions would count. Form: nfs_show_stats in fs/nfs/super.c.
    """
    server, total, ours = source.partition(":")[0], 0, False
    with open(MOUNTSTATS, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if line.startswith("device "):
                ours = line.startswith(f"device {server}:")
            elif line.startswith("\topts:"):
                ours = ours and f",port={port}," in line
            elif ours and line.startswith("\tbytes:"):
                total += sum(map(int, line.split()[5:7]))
    return total


def server_answers(port: int, host: str = "127.0.0.1") -> str:
    """Asks the NFS server behind the tunnel to do nothing (RFC 5531: program 100003, version 4, procedure NULL).

    stunnel accepts a connection whether or not its far end is there, so only a reply proves the whole path: both
    stunnels, both certificates, nfsd. Empty if it came, else why not.
    """
    xid = 0x66337301
    try:
        with socket.create_connection((host, port), CALL_SECONDS) as link:
            link.sendall(struct.pack(">11I", 0x80000028, xid, 0, 2, 100003, 4, 0, 0, 0, 0, 0))
            reply = b""
            while len(reply) < 12:
                more = link.recv(12 - len(reply))
                if not more:
                    break
                reply += more
    except ConnectionRefusedError:
        return f"nothing accepts connections on port {port}"
    except OSError:
        reply = b""
    return "" if reply[4:] == struct.pack(">2I", xid, 1) else f"no NFS server answers through port {port}"


@dataclass
class Done:
    """How a child ended: `status` None if not in time; `stuck`: PID:START of one that cannot be killed."""

    status: int | None
    output: str = ""
    stuck: str = ""
    limit: float = 0

    @property
    def why(self) -> str:
        return f"no answer within {self.limit:g} s" if self.status is None else first_line(self.output)


def process_start(pid: int) -> str:
    """Its start in ticks since the boot (proc(5), field 22), which with the PID names it; empty if it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(") ")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]


def bounded(seconds: float, *words: str) -> Done:
    """Runs a command with a limit; what cannot be killed within two more seconds is left behind."""
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        return Done(127, f"{words[0]}: {error.strerror}")
    late = False
    for limit, number in ((seconds, signal.SIGTERM), (1, signal.SIGKILL), (1, signal.SIGKILL)):
        try:
            output, _ = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            late = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
        else:
            return Done(None if late else child.returncode, output, "", seconds)
    start = process_start(child.pid)
    return Done(None, "", f"{child.pid}:{start}" if start else "", seconds)


# ---- reporting ----


def say(priority: int, message: str) -> None:
    """Under systemd the prefix sets the priority of a line (sd-daemon(3)); without one the unit keeps it out."""
    print(f"<{priority}>{message}" if os.environ.get("JOURNAL_STREAM") else message, flush=True)


def tell(priority: int, message: str) -> None:
    """For what is said once only: of a run by hand logger(1) brings it to the journal."""
    message = printable(message)
    say(priority, message)
    if not os.environ.get("JOURNAL_STREAM"):
        bounded(LOG_SECONDS, "logger", "-t", "check-nfs-mount", "-p", f"daemon.{priority}", "--", message)


class CannotWorkError(Exception):
    """The text says why."""


def write_file(path: str, text: str) -> None:
    """Whole or not at all."""
    with open(f"{path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def load(path: str) -> Any:
    """What is in a file of JSON; None where it is missing or damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def mark_of(point: str) -> str:
    """File that is there while "recovered" is owed for a mount."""
    return os.path.join(ESCALATED_DIR, point[1:].replace("%", "%25").replace("/", "%2F"))


def read_mark(mark: str) -> str:
    try:
        with open(mark, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class Monitor:
    """What the last runs have left, and what a run does."""

    def __init__(self) -> None:
        self.settings = load(CONF)
        if self.settings is None:
            raise CannotWorkError(f"{CONF} is missing or damaged: run tasks/clients.py")
        saved = load(f"{RUN_DIR}/state.json") or {}
        self.restarted: float = saved.get("restarted", -1)
        self.metrics: str = saved.get("metrics", "")
        self.server: bool | None = None
        self.records: dict[str, Record] = {}
        for _, point in self.settings["mounts"]:
            try:
                self.records[point] = Record(**saved["mounts"][point])
            except (KeyError, TypeError):  # a new mount, or the record of another version
                self.records[point] = Record()

    def save(self) -> None:
        mounts = {point: asdict(record) for point, record in self.records.items()}
        saved = {"restarted": self.restarted, "metrics": self.metrics, "mounts": mounts}
        write_file(f"{RUN_DIR}/state.json", json.dumps(saved))

    def once(self) -> int:
        try:
            self.save()
        except OSError as error:
            # without a memory each run would begin anew
            raise CannotWorkError(f"cannot write in {RUN_DIR} ({error.strerror}), so no mount was looked at") from None
        for source, point in self.settings["mounts"]:
            self.check(source, point)
            self.save()
        self.write_metrics()
        self.save()
        return int(any(record.failures for record in self.records.values()))

    # -- looking --

    def ask(self, record: Record, mount: str, seconds: float, *words: str) -> dict[str, Any]:
        """What the process of a question says: `error` is silent where it did not end, unclear where it did not begin.

        mount: ID of the mount in which it would hang
        """
        done = bounded(seconds, PROGRAM, "--ask", *words)
        if done.status is None and (done.output or done.stuck):
            record.stuck = f"{done.stuck}:{mount}" if done.stuck else ""
            return {"error": "silent", "text": done.why}
        try:
            said: dict[str, Any] = json.loads(done.output)
        except ValueError:
            said = {"error": "unclear", "text": f"a check failed with status {done.status}: {done.why}"}
        return said

    def look(self, source: str, point: str, patience: float) -> tuple[str, bool, str]:
        """What is seen of a mount, whether data goes on, and in words."""
        record = self.records[point]
        there, mount, device = mounted_at(point)
        if there != source:
            return "foreign" if there else "none", False, f"{there or 'nothing'} is mounted there"
        before = data_from(source, self.settings["port"]) if record.data < 0 else record.data
        seen, detail = self.question(record, mount, point, device, patience)
        record.data = data_from(source, self.settings["port"]) if seen == "silent" else -1
        return seen, record.data > before, detail

    def question(self, record: Record, mount: str, point: str, device: str, patience: float) -> tuple[str, str]:
        """How a mount of ours answers."""
        if record.stuck:
            # The kernel gives the ID of a mount to no other while a process is in it (cleanup_mnt in fs/namespace.c)
            pid, start, where = record.stuck.split(":")
            if where == mount and process_start(int(pid)) == start:
                return "silent", f"process {pid} of an earlier check still hangs in it"
            record.stuck = ""
        said, otherwise = self.ask(record, mount, patience, "look", point), "unreadable"
        if not said:
            said, otherwise = self.ask(record, mount, WRITE_SECONDS, "write", point, device), "unwritable"
        if not said:
            return "fine", ""
        words = {"silent": "silent", "unclear": "unclear", "ENOMEM": "unclear", "EROFS": "readonly"}
        if otherwise == "unreadable":  # of a write it is that file, which a host that took over never had (seen)
            words["ESTALE"] = "stale"
        return words.get(said["error"], otherwise), f"{said['text']} ({said['error']})"

    # -- acting --

    def check(self, source: str, point: str) -> None:
        """Looks at a mount, does what is to be done, remembers and reports it."""
        record, did = self.records[point], []  # type: tuple[Record, list[str]]
        if not record.immutable:
            self.guard(record, point)
        patience, problem, first, action = self.settings["stat"], "", ("", ""), ""
        while True:
            if action != ASK:
                seen, data, detail = self.look(source, point, patience)
                patience = AGAIN_SECONDS
            now = boot_time()
            record.remember(seen in ("none", "unreadable", "silent") and not data, self.server, now)
            last = action
            facts = record.facts(now, self.settings["move"], self.restarted, self.server, data)
            state, action, why = decide(seen, facts)
            first = first if last else (state, detail)
            if not action or last in (MOUNT, REMOUNT):
                break
            problem = self.act(action, record, source, point, did)
        record.detail = "; ".join(part for part in (detail, problem or why) if part)
        self.report(record, point, state, first, did)
        self.escalate(record, point)

    def act(self, action: str, record: Record, source: str, point: str, did: list[str]) -> str:
        """In words why it did not succeed."""
        if action == ASK:
            problem = server_answers(self.settings["port"])
            self.server = not problem
            return problem
        if action == RESTART:
            # written first: a run that is killed has done it all the same
            self.restarted, self.server = boot_time(), None
            self.save()
            done = bounded(SERVICE_SECONDS, "systemctl", "restart", self.settings["service"])
            did.append(f"restarted {self.settings['service']}")
            return "" if done.status == 0 else f"restart of {self.settings['service']} failed: {done.why}"
        record.remounted = boot_time()
        for how in ("-f", "-l", "-f", "-l") if action == REMOUNT else ():  # ours, whatever is stacked
            # -c: do not resolve the path, that asks the dead file system
            done = bounded(self.settings["unmount"], "umount", "-c", how, "--", point)
            did.append(f"umount {how}")
            if mounted_at(point)[0] != source:
                break
        if mounted_at(point)[0]:
            return f"cannot be unmounted: {done.why}"
        problem = self.guard(record, point)
        if not problem:
            done = bounded(self.settings["mount"], "mount", "--", point)
            did.append("mount")
            problem = "" if done.status == 0 else f"mount failed: {done.why}"
        return problem

    def guard(self, record: Record, point: str) -> str:
        """The directory below becomes immutable; in words why nothing may be mounted there, else empty."""
        said = self.ask(record, "", self.settings["stat"], "below", point, RUN_DIR)
        record.immutable = "error" not in said
        record.below = said["files"] if record.immutable else [said["text"]]
        refused = said.get("error") in ("ELOOP", "ENOENT", "silent", "unclear")
        return f"the mount point: {said['text']}" if refused else ""

    def report(self, record: Record, point: str, state: str, first: tuple[str, str], did: list[str]) -> None:
        """The state is remembered, a change of it is told."""
        before, usable = record.state, state in USABLE
        record.state, record.checked = state, boot_time()
        record.failures = 0 if usable else record.failures + 1
        record.heals += usable and bool(did)
        if state != before:
            record.since = time.time()
        elif not usable or first[0] == state:
            return
        parts = [f"{point}: {before} -> {state}" if state != before else f"{point}: {state} again"]
        parts += [f"was {first[0]} ({first[1]})"] * (first[0] != state) + [record.detail] * bool(record.detail)
        tell(5 if usable else 4, "; ".join([*parts, *([f"did: {', '.join(did)}"] if did else [])]))

    def escalate(self, record: Record, point: str) -> None:
        """Runs the site's command when a mount has failed for too long, and when that is over.

        A mark says that "recovered" is owed: it is on the disk before "failed" is told, and until "recovered" has been,
        over a reboot and over new settings, so it names the command that was told. What did not succeed is said once,
        and tried again once in RETRY_SECONDS.
        """
        mark, after, command = mark_of(point), self.settings["escalate_after"], self.settings["escalate_command"]
        if after and record.failures >= after and record.escalated != "yes":
            event, succeeded, failed = "failed", "yes", "failed"
        elif not record.failures and os.path.exists(mark):
            event, succeeded, failed = "recovered", "no", "owed"
            told = read_mark(mark)  # one that a power cut left without its end names nobody
            command = told.strip() if told.endswith("\n") and told.strip() else command
        else:
            record.escalated = record.escalated if record.failures else "no"
            return
        now = boot_time()
        if record.escalated == failed and now - record.called < RETRY_SECONDS:
            return
        record.called = now
        try:
            if event == "failed":
                os.makedirs(ESCALATED_DIR, exist_ok=True)
                with open(mark, "w") as file:
                    file.write(f"{command}\n")
                    file.flush()
                    os.fsync(file.fileno())
            done = bounded(ESCALATE_SECONDS, command, event, point, record.state, str(record.failures))
            problem = "" if done.status == 0 else done.why or f"status {done.status}"
            if event == "recovered" and not problem:
                os.unlink(mark)
        except OSError as error:
            problem = str(error)
        if not problem:
            tell(4, f"{point}: {event}, ran {command}")
        elif record.escalated != failed:
            tell(3, f"{point}: {command} {event} did not succeed: {problem}")
        record.escalated = failed if problem else succeeded

    # -- for others --

    def write_metrics(self) -> None:
        """node_exporter reads *.prom only, and never sees the temporary name; an earlier file has the same metrics."""
        path, before, wall = self.settings["metrics_file"] or "", self.metrics, time.time() - boot_time()
        self.metrics, lines = path, []
        for name, kind, text, value in METRICS:
            lines += [f"# HELP f3s_nfs_mount_{name} {text}", f"# TYPE f3s_nfs_mount_{name} {kind}"]
            for point, record in self.records.items():
                lines.append(f'f3s_nfs_mount_{name}{{mountpoint="{point}"}} {value(record, wall):.0f}')
        # as a storage host has it (files/freebsd/report.sh), for the same alert
        file, *values = self.settings.get("certificate", [""])  # none of an earlier version
        for name, value in zip(("not_after_timestamp", "renew_before"), values):
            lines.append(f'f3s_certificate_{name}_seconds{{file="{file}"}} {value:.0f}')
        try:
            if before.rstrip("?") not in ("", path):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(before.rstrip("?"))
            if path:
                write_file(path, "\n".join([*lines, ""]))
        except OSError as error:
            self.metrics = f"{path}?"
            if before != self.metrics:
                tell(4, f"cannot write {path}: {error.strerror}")

    def status(self) -> dict[str, dict[str, Any]]:
        """Of each mount what the last check found."""
        shown = ("state", "failures", "heals", "detail", "immutable", "below")
        return {
            point: {
                **{name: getattr(record, name) for name in shown},
                "since": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.since)),
                "age": round(boot_time() - record.checked) if record.checked >= 0 else None,
                "escalated": printable(read_mark(mark_of(point)).strip()),
            }
            for point, record in self.records.items()
        }


METRICS: tuple[tuple[str, str, str, Callable[[Record, float], float]], ...] = (
    ("healthy", "gauge", "Whether the mount can be used; on a slow line, too, or read-only.",
     lambda record, wall: not record.failures),
    ("readonly", "gauge", "Whether the server is read-only.", lambda record, wall: record.state == "readonly"),
    ("slow", "gauge", "Whether data flows, but nothing else is answered.", lambda record, wall: record.state == "slow"),
    ("immutable", "gauge", "Whether the directory below takes no files.", lambda record, wall: record.immutable),
    ("files_below", "gauge", "Files of this host in the directory below, 5 at most.",
     lambda record, wall: len(record.below) if record.immutable else 0),
    ("consecutive_failures", "gauge", "Checks in a row that found the mount unusable.",
     lambda record, wall: record.failures),
    ("last_change_timestamp_seconds", "gauge", "When the state last changed.", lambda record, wall: record.since),
    ("last_check_timestamp_seconds", "gauge", "When it was last checked.", lambda record, wall: wall + record.checked),
    ("heals_total", "counter", "Repairs that made the mount usable again.", lambda record, wall: record.heals),
)  # fmt: skip


def lock() -> bool:
    """Whether this is the only instance; held until the process ends."""
    try:
        os.makedirs(RUN_DIR, exist_ok=True)
        fcntl.flock(os.open(f"{RUN_DIR}/lock", os.O_WRONLY | os.O_CREAT, 0o600), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise CannotWorkError(f"{RUN_DIR}: {error.strerror}") from None
    return True


def main(words: list[str]) -> int:
    if len(words) > 2 and words[0] == "--ask" and words[1] in QUESTIONS:
        return answer(words[1], words[2:])
    try:
        if words == ["--once"]:
            os.umask(0o022)
            if lock():
                return Monitor().once()
            say(6, "check-nfs-mount.sh: another instance is running")
            return 75
        if words == ["--status"]:
            found = Monitor().status()
            print(json.dumps(found, indent=1))
            return int(any(each["state"] not in USABLE for each in found.values()))
    except CannotWorkError as error:
        say(3, f"check-nfs-mount.sh: {error}")
        return 2
    print(USAGE, end="", file=sys.stdout if words == ["--help"] else sys.stderr)
    return 0 if words == ["--help"] else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
