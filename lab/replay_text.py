"""What of recorded output differs between machines, and how it is left out of the comparison.

Nothing here touches an exit status. `PATTERNS` is for all commands; `LINES` for single ones, each with its reason.
"""

from __future__ import annotations

import functools
import re

Key = tuple[str, int]
"""Section and position of a command."""

SIZE = r"(?<![\w.])\d+(?:\.\d+)?[KMGT]B?(?![\w])"
NUMBER = r"(?<![\w.:/-])[1-9]\d{3,14}(?![\w.:-])"
OWNERS = r"[-dlcbps][-rwxsStT]{9} +\S+ +\S+ +\S+ "
"""How a line of ls -l begins, with user and group, which are numbers to compare with -n."""
DATES = (
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [ \d]\d:\d\d(:\d\d)? \d{4}",
    r"[A-Z][a-z]{2} [ \d]\d (\d\d:\d\d| \d{4})",
)
IDENTITIES = {
    "token": r"1-[0-9a-f]+-[0-9a-f]+-[0-9a-f]{20,}",
    "hash": r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ufsid": r"(?<=ufsid/)[0-9a-f]{16}",
    "guid": r"(?<!\d)\d{15,20}(?!\d)",
}

PATTERNS = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "<date>"),
    (r"\b\d\d:\d\d:\d\d\b", "<time>"),
    (r"([A-Z][a-z]{2} )?[A-Z][a-z]{2} [ \d]\d <time>( (UTC )?\d{4})?", "<date>"),
    # process ids
    (r"(?<=running as pid )[\d ]+", "<pids>"),
    (r"^\d+ (?=stunnel$|mountd$)", "<pid> "),
    # how wide the columns of sockstat are is another thing in each version
    (r"^(\w+) +(\w+) +\d+ +\d+ +((?:tcp|udp)[46]) +(\S+) +(\S+) *$", r"\1 \2 <pid> \3 \4 \5"),
    (r"\b(stunnel|mountd|root)\[\d+\]: ", r"\1[<pid>]: "),
    # connections: the client's port, which of a daemon's connections it is, bytes
    (r"(?<=192\.168\.1\.120:)\d+|(?<=from 127\.0\.0\.1:)\d+", "<port>"),
    (r"LOG5\[\d+\]", "LOG5[<n>]"),
    (r"\b\d+ byte\(s\)", "<n> byte(s)"),
    # where in its source OpenSSL found an error
    (r"\.\./\w+/(\w+/)?\w+\.c:\d+: ", ""),
)

DROPPED = (
    # rc.subr sends a signal to each of a daemon's processes and then waits for them: whether some have ended before it
    # gets to them, or all before it looks, is a race
    r"kill: \d+: No such process",
    r"Waiting for PIDS: [\d ,]+\.",
    # what stunnel says when all is well, on the terminal or to syslog
    r"\[ \] .*",
    r"(\[\.\]|.* stunnel\[<pid>\]: LOG5\[ui\]:) .*",
    # mountd's, of a network without a length, which nobody reads
    r".* mountd\[<pid>\]: WARNING: No mask specified for .*",
)

LINES: dict[Key, tuple[str, str]] = {
    ("nfs", 15): (r".* kernel: .*", "tail(1) shows what was before stunnel's lines"),
    ("svc", 1): (r".* (stunnel|root)\[<pid>\]: .*", "tail(1) shows what was before mountd's warning"),
    ("crash", 4): (r".* stunnel\[<pid>\]: LOG5.*", "as above"),
    ("failover", 7): (r"\[ *\d+\.\d+\] .*|lab: not simulated: dmesg", "what the kernel of r0 said since it started"),
    ("crash", 0): (r"\[ *\d+\.\d+\] .*|lab: not simulated: dmesg", "what the kernel of r0 said since it started"),
    ("boot", 3): (
        r".* (kernel|stunnel\[<pid>\]|root\[<pid>\]): .*",
        "the console's dots, so that tail(1) shows another part of what came before",
    ),
    ("crash", 3): (
        r"(Server Info:|Server:|( +\w+)+|lab: not simulated: nfsstat .*)",
        "nfsstat's counters: the lab does not count calls",
    ),
}
"""What is left out on both sides: lines that match, with the reason."""

WORDS: dict[Key, tuple[tuple[str, str], ...]] = {
    # the shell itself opens the file: where a mount is stale, the lab has an empty file system that takes none
    ("failover", 7): (
        (r"(?<=^sh: 1: cannot create /data/nfs/k3svolumes/w: )(Stale file handle|No space left on device)", "<stale>"),
    ),
    # whose child devd's action is: ps of other processes is not played
    ("boot2", 0): ((r" ppid=devd$", ""),),
    # the number of scripts before a script: the lab has fewer
    ("boot", 0): ((r"^\d+:", ""),),
    # the file system below the mount is another one
    ("crash", 5): (
        (r"(?<=Size: 8)\s+Blocks: \d+ +IO Block: \d+ +", " <blocks> "),
        (r"Device: \d+,\d+\tInode: \d+ +", "<inode> "),
        (r"(?<=Birth: ).*$", "<birth>"),
    ),
}
"""What is replaced in one command's lines: patterns with their replacements."""

UNORDERED: dict[Key, str] = {("crash", 5): r"\.|\.\.|owned|test\.txt"}
"""Lines of one command that come in the order of a directory's entries (ls -f): they are sorted."""


class Normaliser:
    """Replaces what is another on each machine. What was equal stays equal: ``<guid 3>`` is one guid."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {kind: {} for kind in IDENTITIES}

    def __call__(self, text: str, key: Key) -> str:
        lines = [self._line(line, key) for line in text.splitlines(keepends=True)]
        left_out = "|".join([*DROPPED, *([LINES[key][0]] if key in LINES else [])])
        kept = [line for line in lines if not re.fullmatch(left_out, line.strip("\n"))]
        if key in UNORDERED:
            places = [place for place, line in enumerate(kept) if re.fullmatch(UNORDERED[key], line.strip("\n"))]
            for place, line in zip(places, sorted(kept[place] for place in places), strict=True):
                kept[place] = line
        return "".join(kept)

    def _line(self, line: str, key: Key) -> str:
        before = line
        for pattern, word in (*PATTERNS, *WORDS.get(key, ())):
            line = re.sub(pattern, word, line)
        for kind, pattern in IDENTITIES.items():
            line = re.sub(pattern, functools.partial(self._name, kind), line)
        for pattern in DATES:
            line = re.sub(pattern, "<date>", line)
        line = re.sub(SIZE, "<size>", line)
        line = re.sub(r"^(d[rwx-]{9} +)\d+( .*?)\d+( <date>)", r"\1<links>\2<size>\3", line)
        owners = match.end() if (match := re.match(OWNERS, line)) else 0
        line = line[:owners] + re.sub(NUMBER, "<number>", line[owners:])
        line = re.sub(r"\b(createtxg|objsetid)\t\d+", r"\1\t<number>", line)
        line = re.sub(r"^total \d+$", "total <number>", line, flags=re.MULTILINE)
        # columns are as wide as what is in them, so they are only compared where nothing was replaced
        return line if line == before else re.sub(r" {2,}", "  ", line)

    def _name(self, kind: str, match: re.Match[str]) -> str:
        known = self._names[kind]
        return known.setdefault(match.group(), f"<{kind} {len(known) + 1}>")
