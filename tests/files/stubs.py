"""A host of stubs: shell programs of files/ run under a real /bin/sh, the commands they call are scripted.

A program is copied below a root of its own with its absolute paths rewritten, so that it runs as it is on
the host but sees nothing of this machine: only the stubs and the harmless tools listed in TOOLS are in its
PATH. A command that nobody declared is "not found" and fails the test that did not expect it.

    host = StubHost(tmp_path)
    host.command("ifconfig", 'cat "$STATE/ifconfig"')
    host.state("ifconfig", "\tcarp: MASTER vhid 1 advbase 1 advskew 0\n")
    carp = host.install(FILES / "freebsd" / "carp", "/usr/local/bin/carp")
    result = host.run(carp, "master")
    assert host.calls("ifconfig") == [["re0"]]
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api.util import get_template

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = REPOSITORY / "files"

# Tools that read and write nothing but what they are given.
TOOLS = tuple(
    """
    awk basename cat chmod cksum cp cut date dirname env expr false find grep head id kill ln ls mkdir mkfifo mktemp mv
    nice od printf ps rm rmdir sed sh sleep sort stat tail test touch tr true uniq wc
    """.split()
)

_DIRECTORIES = r"(?:usr/local|var|etc|data|export|keys|run|root|tmp|proc|sys)"
_DIRECTORY = re.compile(rf"(?<![\w./$}}-])/(?={_DIRECTORIES}(?![\w.-]))")
_COMMAND = re.compile(r"(?<![\w./$}!-])/(?:usr/)?s?bin/(?=[\w.-])")
_PATH = re.compile(r"^(\s*(?:export\s+)?PATH=).*$", re.MULTILINE)


# What the rc.d scripts use of FreeBSD's rc.subr.
RC_SUBR = """\
warn() { echo "$0: WARNING: $*" >&2; }
load_rc_config() { [ ! -e /etc/rc.conf ] || . /etc/rc.conf; }
run_rc_command() {
	verb=${1#one}
	case " start stop $extra_commands " in *" $verb "*) ;; *) return 1 ;; esac
	eval "enabled=\\$$rcvar"
	[ "$enabled" = YES ] || [ "$1" != "$verb" ] || { echo "set $rcvar"; return 0; }
	[ -r "${required_files:-/dev/null}" ] || return 1
	eval "eval \\"\\${${verb}_cmd}\\""
}
"""


def render(template: str, **variables: object) -> str:
    """A template of the tree, by what pyinfra's files.template renders it with."""
    return get_template(str(REPOSITORY / "templates" / template)).render(variables)


@dataclass(frozen=True)
class Result:
    rc: int
    out: str
    err: str


class StubHost:
    """One host below `base`: `root` holds its files, `bin` the stubs, `state` what the stubs answer from."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.bin = base / "bin"
        self._tools = base / "tools"
        self._state = base / "state"
        self._log = base / "calls"
        for folder in (self.root, self.bin, self._tools, self._state):
            folder.mkdir(parents=True)
        for name in TOOLS:
            if found := shutil.which(name):
                (self._tools / name).symlink_to(found)
        self.path_variable = f"{self.bin}:{self._tools}"

    def path(self, absolute: str) -> Path:
        """Where the host's file `absolute` is on this machine."""
        return self.root / absolute.lstrip("/")

    def write(self, absolute: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the host."""
        target = self.path(absolute)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def rewrite(self, text: str) -> str:
        """The text with the host's paths in place of this machine's."""
        text = _PATH.sub(rf"\g<1>{self.path_variable}", text)
        lines = []
        for number, line in enumerate(text.splitlines(keepends=True)):
            if number == 0 and line.startswith("#!"):
                lines.append(line)
                continue
            line = line if _PATH.match(line) else _DIRECTORY.sub(f"{self.root}/", line)
            lines.append(line if _PATH.match(line) else _COMMAND.sub(f"{self.bin}/", line))
        return "".join(lines)

    def install(self, source: Path, absolute: str) -> Path:
        """Copy a program or configuration file to `absolute` on the host, with its paths rewritten."""
        return self.write(absolute, self.rewrite(source.read_text()), 0o755)

    def rc_script(self, name: str) -> Path:
        """Install an rc.d script of files/freebsd."""
        self.write("/etc/rc.subr", self.rewrite(RC_SUBR))
        return self.install(FILES / "freebsd" / name, f"/usr/local/etc/rc.d/{name}")

    def command(self, name: str, body: str = ":", *, record: bool = True) -> None:
        """Declare the command `name`: it records its arguments and runs `body` (sh; may use $STATE)."""
        quoted = r"""call=$(printf '%s\037' "${0##*/}" "$@"; printf x)"""
        recorder = f'{quoted}\nprintf "%s\\036" "${{call%x}}" >>"{self._log}"\n' if record else ""
        script = f'#!/bin/sh\nSTATE="{self._state}"; ROOT="{self.root}"\n{recorder}{body}\n'
        target = self.bin / name
        target.write_text(script)
        target.chmod(0o755)

    def state(self, name: str, text: str | None = None) -> str:
        """Set (or only read) what the stubs find in $STATE/name."""
        if text is not None:
            (self._state / name).write_text(text)
        return (self._state / name).read_text()

    def calls(self, name: str | None = None) -> list[list[str]]:
        """Arguments of every call of `name` so far, oldest first; without a name the commands' names lead."""
        recorded = self._log.read_text() if self._log.exists() else ""
        every = [call.split("\x1f")[:-1] for call in recorded.split("\x1e")[:-1]]
        return every if name is None else [call[1:] for call in every if call[0] == name]

    def forget(self) -> None:
        """Forget the calls recorded so far."""
        self._log.unlink(missing_ok=True)

    def counted(self, name: str, body: str) -> None:
        """Declare the command `name`, whose body finds in $n which one of its calls this is."""
        self.state(f"n.{name}", "0")
        self.command(name, f'n=$(($(cat "$STATE/n.{name}") + 1)); echo "$n" >"$STATE/n.{name}"\n{body}')

    def start(self, program: Path, *args: str | Path, shell: str = "/bin/sh", **options: Any) -> subprocess.Popen[str]:
        """Start a program of the host under `shell` and do not wait."""
        return subprocess.Popen(
            [shell, program, *args],
            env={"PATH": self.path_variable, "HOME": "/", "LC_ALL": "C"},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def run(
        self, program: Path, *args: str | Path, shell: str = "/bin/sh", sent: str = "", timeout: float = 60
    ) -> Result:
        """Run a program of the host under `shell` to its end, with `sent` on its standard input."""
        process = self.start(program, *args, shell=shell, stdin=subprocess.PIPE)
        out, err = process.communicate(sent, timeout)
        return Result(process.returncode, out, err)

    def once(self, name: str, *args: str | Path, sent: str = "", timeout: float = 60) -> Result:
        """Run a program of files/once."""
        program = self.install(FILES / "once" / f"{name}.sh", f"/{name}.sh")
        return self.run(program, *args, sent=sent, timeout=timeout)
