"""A Rocky client of stubs for check-nfs-mount.sh: the kernel's mount table and the commands that change it.

The script runs unchanged under the real bash, with real timeout, flock and dd; `stat`, `mount`, `umount`,
`systemctl` and the call of the server answer from files in $STATE. Error texts are those of
freebsd/observations.md (coreutils 9.1 and nfs-utils on Linux 6.1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.files.stubs import FILES, Result, StubHost

SCRIPT = FILES / "rocky" / "check-nfs-mount.sh"
SOURCE = "127.0.0.1:/k3svolumes"

STAT = r"""
case "$1" in -f) cat "$STATE/fstype"; exit ;; esac
case "$(cat "$STATE/stat")" in
ok) echo 5 ;;
stale) echo "stat: cannot statx '$5': Stale file handle" >&2; exit 1 ;;
io) echo "stat: cannot statx '$5': Input/output error" >&2; exit 1 ;;
hang) exec sleep 30 ;;
slow) echo ok >"$STATE/stat"; exec sleep 30 ;;
esac
"""
DD = r"""
case "$(cat "$STATE/dd")" in
ok) exec {dd} "$@" ;;
readonly) echo "dd: failed to open './.f3s-probe': Read-only file system" >&2; exit 1 ;;
full) echo "dd: error writing './.f3s-probe': No space left on device" >&2; exit 1 ;;
hang) exec sleep 30 ;;
esac
"""
# What the kernel does: the mount appears on top, with an ID of its own; after a remount the new server answers.
MOUNT = r"""
answer=$(cat "$STATE/mount")
case "$answer" in
ok)
    id=$(($(cat "$STATE/id") + 1))
    echo "$id" >"$STATE/id"
    sed "s/^[0-9]*/$id/" "$STATE/line" >>"$STATE/mounts"
    echo ok >"$STATE/stat"
    ;;
hang) exec sleep 30 ;;
silent) ;;
*) echo "$answer" >&2; exit 32 ;;
esac
"""
UMOUNT = r"""
case " $(cat "$STATE/umount") " in
*" $2 "*) sed -i '$d' "$STATE/mounts" ;;
*" hang "*) exec sleep 30 ;;
*) echo "umount: $4: target is busy." >&2; exit 32 ;;
esac
"""
CALL = r"""
answer=$(cat "$STATE/call")
[ "$answer" = 0 ] || echo "$1 port $2: the server is away"
exit "$answer"
"""
LOGGER = r"""
case "$(cat "$STATE/logger")" in
hang) exec sleep 30 ;;
esac
"""
SYSTEMCTL = r"""
[ "$(cat "$STATE/restart")" = ok ] || { echo "Job for stunnel.service failed" >&2; exit 1; }
cat "$STATE/call-after-restart" >"$STATE/call"
"""


class Client:
    """One client with one mount, healthy at first."""

    def __init__(self, base: Path) -> None:
        self.host = StubHost(base / "host")
        self.point = base / "data" / "k3svolumes"
        self.point.mkdir(parents=True)
        self.run_dir = base / "run"
        self.escalated = base / "lib" / "escalated"
        self.conf = base / "nfs-mount.conf"
        self.textfile = base / "textfile" / "f3s.prom"
        self.textfile.parent.mkdir()
        self.settings: dict[str, str | int] = {
            "MOVE_SECONDS": 0,
            "STAT_SECONDS": 1,
            "PATIENCE_SECONDS": 1,
            "WRITE_SECONDS": 1,
        }
        self.mounts = [(SOURCE, str(self.point))]
        for tool in ("bash", "timeout", "flock", "readlink", "tr", "sync", "disown"):
            if found := shutil.which(tool):
                self.host.command(tool, f'exec {found} "$@"', record=False)
        for name, body in {
            "stat": STAT,
            "dd": DD.format(dd=shutil.which("dd")),
            "mount": MOUNT,
            "umount": UMOUNT,
            "nfs-null-call.sh": CALL,
            "logger": LOGGER,
            "systemctl": SYSTEMCTL,
        }.items():
            self.host.command(name, body)
        self.set(stat="ok", dd="ok", mount="ok", umount="-f -l", call="0", restart="ok", fstype="nfs", logger="ok")
        self.host.state("call-after-restart", "0\n")
        self.host.state("line", self.line() + "\n")
        self.host.state("id", "100")
        self.table(self.line())

    def set(self, **answers: str) -> None:
        """How the stubs answer from now on."""
        for name, answer in answers.items():
            self.host.state(name, answer)

    def line(self, source: str = SOURCE, point: str | None = None) -> str:
        escaped = (point or str(self.point)).replace(" ", "\\040")
        return f"100 27 0:51 / {escaped} rw,relatime shared:205 - nfs4 {source} rw,vers=4.2,hard,port=2323"

    def table(self, *lines: str) -> None:
        """The kernel's mount table."""
        self.host.state(
            "mounts", "".join(f"{line}\n" for line in ("27 1 253:4 / / rw shared:1 - xfs /dev/vda4 rw", *lines))
        )

    def environment(self, *, journal: bool) -> dict[str, str]:
        environment = {
            "PATH": self.host.path_variable,
            "HOSTNAME": "r0.lan",
            "F3S_NFS_MOUNT_CONF": str(self.conf),
            "F3S_MOUNT_TABLE": str(self.host._state / "mounts"),
            "F3S_ESCALATED_DIR": str(self.escalated),
            "RUNTIME_DIRECTORY": str(self.run_dir),
        }
        return environment | ({"JOURNAL_STREAM": "8:1"} if journal else {})

    def configure(self) -> None:
        """Write the settings of the monitor."""
        sources = " ".join(f"'{source}'" for source, _ in self.mounts)
        points = " ".join(f"'{point}'" for _, point in self.mounts)
        settings = "".join(f"{name}='{value}'\n" for name, value in self.settings.items())
        self.conf.write_text(
            f"MOUNT_SOURCES=({sources})\nMOUNT_POINTS=({points})\nTEXTFILE='{self.textfile}'\n{settings}"
        )

    def start(self, *args: str, journal: bool = False) -> subprocess.Popen[str]:
        self.configure()
        return subprocess.Popen(
            ["/bin/bash", str(SCRIPT), *args],
            env=self.environment(journal=journal),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, journal: bool = False) -> Result:
        process = self.start(*(args or ("--once",)), journal=journal)
        out, err = process.communicate(timeout=60)
        return Result(process.returncode, out, err)

    def actions(self) -> list[str]:
        """What was done to the host, in order: mount, umount -f, umount -l, systemctl."""
        seen = []
        for name, *arguments in self.host.calls():
            if name == "umount":
                seen.append(f"umount {arguments[1]}")
            elif name in ("mount", "systemctl"):
                seen.append(name)
        self.host.forget()
        return seen

    def journal(self) -> list[str]:
        """What logger(1) was given, as `PRIORITY MESSAGE`; other arguments than these fail the test."""
        lines = []
        for tag, name, priority, level, end, message in self.host.calls("logger"):
            assert (tag, name, priority, end) == ("-t", "check-nfs-mount", "-p", "--")
            lines.append(f"{level} {message}")
        return lines

    def record(self) -> dict[str, str]:
        """The record of the first mount."""
        name = str(self.point)[1:].replace("%", "%25").replace("/", "%2F")
        lines = (self.run_dir / f"{name}.state").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def metrics(self) -> dict[str, float]:
        """The values of the text file for the first mount."""
        lines = self.textfile.read_text().splitlines()
        assert all(line.startswith(("# HELP ", "# TYPE ")) or "{mountpoint=" in line for line in lines)
        label = f'{{mountpoint="{self.point}"}}'
        return {
            line.split("{")[0].removeprefix("f3s_nfs_mount_"): float(line.rsplit(" ", 1)[1])
            for line in lines
            if label in line
        }

    def time(self, seconds: int) -> None:
        """What the clock says from now on, in seconds since some moment."""
        self.host.command("date", 'cat "$STATE/now"', record=False)
        self.host.state("now", f"{2_000_000_000 + seconds}\n")

    def probes(self) -> list[str]:
        return [name for name in os.listdir(self.point) if name.startswith(".f3s-probe")]
