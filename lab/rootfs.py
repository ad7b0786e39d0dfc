"""Builds a host's root directory: the folders, the programs and the files that an installation leaves."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import tools
from lab.core import Host, LabError, Program, Store
from lab.zygote import ANSWER, STDIN, STDOUT

PROGRAMS: dict[str, Mapping[str, Program]] = {}
"""Platform -> the programs that are played there from the installation on; `lab.catalog` registers them."""
PACKAGES: dict[tuple[str, str], Mapping[str, Program]] = {}
"""(Platform, package) -> the played programs that come with it; also from `lab.catalog`."""
PACKAGE_FOLDERS: dict[str, tuple[str, ...]] = {
    "stunnel": ("/usr/local/etc/stunnel",),
    "zrepl": ("/usr/local/etc/zrepl",),
}
"""Folders that a package of FreeBSD makes."""

FREEBSD_FOLDERS = """
bin sbin etc/rc.d etc/rc.conf.d etc/defaults etc/cron.d etc/devd etc/newsyslog.conf.d etc/periodic boot dev/ufs dev/zvol
home/operator  lib lib64 media mnt root tmp usr/bin usr/sbin usr/lib usr/lib64 usr/libexec usr/local/bin
usr/local/sbin  usr/local/etc/rc.d usr/local/etc/devd usr/local/etc/newsyslog.conf.d usr/local/libexec
var/cron/tabs var/db var/empty var/log  var/run var/spool var/tmp
""".split()
ROCKY_FOLDERS = """
dev etc/systemd/system etc/cron.d home/operator lib lib64 media mnt proc root run tmp usr/bin
usr/sbin usr/lib  usr/lib/systemd/system usr/lib64 usr/local/bin usr/local/sbin var/lib var/log var/tmp
""".split()

PLAY = f"""#!/bin/sh
exec {STDIN}<&- {STDOUT}>&- {ANSWER}<<END
a pipe, which is opened again to be written, too
END
exec {ANSWER}<>/.lab/proc/self/fd/{ANSWER}
{{ command exec {STDIN}<&0; command exec {STDOUT}>&1; }} 2>/dev/null
echo $$ >/.lab/ns/play
read -r rc <&{ANSWER}
read -r rc <&{ANSWER}
exit "$rc"
"""
"""See `lab.zygote.Script`. Two streams are kept apart: the shell uses their numbers to tell its own, and to wait."""
REFUSE = """#!/bin/sh
echo "lab: not simulated: $*" >&2
echo "$*" >> /.lab/not-simulated.log
exit 99
"""
MEET = """\
if [ -e /.lab/unreadable ]; then /.lab/bin/meet "${0##*/}" "$@" || exit; fi
"""
"""In programs of the machine that may read a disk which cannot be read (lab.commands.unreadable)."""
PASS = f"""#!/bin/sh
{MEET}exec {{real}} "$@"
"""
OPENSSL = """#!/bin/sh
[ "${1-}" != s_client ] || exec /.lab/bin/openssl "$@"
"""
GUARD = """#!/bin/sh
# the machine's own {name}, with the options that FreeBSD's has
while getopts ":{options}" o; do
    case $o in
    '?' | :) exec /.lab/bin/refuse {name} "$@" ;;
    esac
done
meetPOSIXLY_CORRECT=1 exec {real} "$@"
""".replace("meet", MEET.replace("{", "{{").replace("}", "}}"))
DOAS = """#!/bin/sh
# doas(1): the lab's connector starts what comes through doas as root, so this only takes its options
while getopts "nu:" o; do
    case $o in
    n) ;;
    u) [ "$OPTARG" = root ] || exec /.lab/bin/refuse doas "$@" ;;
    *) exit 1 ;;
    esac
done
shift $((OPTIND - 1))
if [ -n "${LAB_PLAIN_USER:-}" ]; then
    echo "doas: Operation not permitted" >&2
    exit 1
fi
exec "$@"
"""
# sudoers of Enterprise Linux 9: secure_path has no /usr/local, whatever the caller's PATH is
SUDO = (
    DOAS.replace("doas", "sudo").replace('"nu:"', '"nHu:"').replace("n)", "n | H)").removesuffix('exec "$@"\n')
    + """\
PATH=/sbin:/bin:/usr/sbin:/usr/bin
export PATH
if ! command -v "$1" >/dev/null; then
    echo "sudo: $1: command not found" >&2
    exit 1
fi
exec "$@"
"""
)


def real(name: str) -> str:
    """Where a host sees the machine's own program of that name.

    :raises LabError: the machine does not have it
    """
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        raise LabError(f"this machine has no {name}, which the simulated hosts need: install it")
    return "/.lab/real" + os.path.realpath(found)


def write(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Writes a file of a host, with the folders above it."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink():
        file.unlink()
    file.write_text(text)
    file.chmod(mode)


def install_played(root: Path, programs: Iterable[str]) -> None:
    """Puts played programs in place.

    :param programs: their paths
    """
    for path in programs:
        write(root, path, "#!/.lab/bin/play\n", 0o755)


def build(store: Store, host: Host) -> Path:
    """Makes the root directory of a freshly installed host, without what its field's modules put in later."""
    root = store.root(host.name)
    freebsd = host.platform == "freebsd"
    for folder in FREEBSD_FOLDERS if freebsd else ROCKY_FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/tmp").chmod(0o1777)
    for folder in ("proc", "state", "ns", "real", "bin", "gnu"):
        (root / ".lab" / folder).mkdir(parents=True, exist_ok=True)
    write(root, ".lab/host", host.name + "\n")
    write(root, ".lab/platform", host.platform + "\n")
    write(root, ".lab/bin/play", PLAY, 0o755)
    write(root, ".lab/bin/refuse", REFUSE, 0o755)
    for device in ("null", "zero", "full", "random", "urandom", "tty"):
        write(root, f"dev/{device}", "")
    link(root, "dev/fd", "/.lab/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        link(root, f"dev/{name}", f"/.lab/proc/self/fd/{number}")
    if freebsd:
        _freebsd_programs(root)
    else:
        _rocky_programs(root)
    return root


def link(root: Path, path: str, target: str) -> None:
    link = root / path
    if not link.is_symlink():
        link.symlink_to(target)


def _freebsd_programs(root: Path) -> None:
    link(root, "bin/sh", real("sh"))
    for path in tools.FREEBSD_NOT_SIMULATED:
        write(root, path, f'#!/bin/sh\nexec /.lab/bin/refuse {os.path.basename(path)} "$@"\n', 0o755)
    for path, options in tools.FREEBSD.items():
        name = os.path.basename(path)
        if name == "openssl":
            write(root, path, OPENSSL + PASS.replace("{real}", real(name)).partition("\n")[2], 0o755)
        elif name == "timeout":
            text = (Path(__file__).with_name("wrappers") / name).read_text()
            write(root, path, text.replace("/usr/bin/bash", real("bash"), 1).replace("@real@", real(name)), 0o755)
        elif options is None:
            link(root, path.lstrip("/"), real(name))
        else:
            write(root, path, GUARD.format(name=name, options=options, real=real(name)), 0o755)
    for path, script in tools.SCRIPTS.items():
        text = (Path(__file__).with_name("wrappers") / script).read_text()
        head, _, rest = text.partition("\n")
        text = f"{head}\n{MEET if script in ('dd', 'hash') else ''}{rest}"
        write(root, path, re.sub(r"@(\w+)@", lambda match: real(match.group(1)), text), 0o755)
    install_played(root, PROGRAMS["freebsd"])
    write(root, "usr/local/bin/doas", DOAS, 0o755)


def _rocky_programs(root: Path) -> None:
    link(root, "bin", "usr/bin")
    link(root, "sbin", "usr/sbin")
    install_played(root, PROGRAMS["rocky"])  # some get a wrapper below
    for name in tools.ROCKY:
        link(root, f"usr/bin/{name}", real(name))
    wrappers = Path(__file__).with_name("wrappers")
    for name in (*tools.ROCKY_WRAPPED, "timeout"):
        special = wrappers / (f"rocky-{name}" if name != "timeout" else name)
        text = (special if special.exists() else wrappers / "rocky").read_text()
        link(root, f".lab/gnu/{name}", real(name))
        write(root, f"usr/bin/{name}", text.replace("@name@", name).replace("@real@", f"/.lab/gnu/{name}"), 0o755)
    for name in tools.ROCKY_NOT_SIMULATED:
        write(root, f"usr/bin/{name}", f'#!/bin/sh\nexec /.lab/bin/refuse {name} "$@"\n', 0o755)
    write(root, "usr/bin/sudo", SUDO, 0o755)
