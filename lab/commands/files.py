"""ls, stat, touch, chown, chflags, install: FreeBSD's options and output on the host's real files."""

from __future__ import annotations

import os
import re
import shutil
import stat as modes
import time

from lab import owners
from lab.commands.options import parse
from lab.core import CommandError, Context
from lab.disks import is_device_link
from lab.mounts import locate


def ls(ctx: Context) -> int:
    """ls(1) with -1 -A -a -d -l -n -o; sorted by name, as in the C locale. Files with -tr: the newest last."""
    options, names = parse(ctx, "1Aadlnort")
    if options.keys() & {"r", "t"}:
        if options.keys() != {"r", "t"} or not all(map(os.path.isfile, names)):
            raise ctx.not_simulated()
        ctx.out("".join(f"{name}\n" for name in sorted(names, key=lambda name: os.stat(name).st_mtime_ns)))
        return 0
    rc = 0
    files: list[str] = []
    folders: list[str] = []
    for name in sorted(names) or ["."]:
        try:
            status = os.lstat(name)
        except OSError as error:
            ctx.err(f"ls: {name}: {error.strerror}\n")
            rc = 1
            continue
        is_folder = modes.S_ISDIR(status.st_mode) or (os.path.isdir(name) and "l" not in options)
        (folders if is_folder and "d" not in options else files).append(name)
    _list(ctx, sorted(files), "", options)
    for index, folder in enumerate(folders):
        if len(folders) + len(files) > 1:
            ctx.out(f"{chr(10) if index or files else ''}{folder}:\n")
        entries = os.listdir(folder)
        if "a" in options:
            entries += [".", ".."]
        elif "A" not in options:
            entries = [entry for entry in entries if not entry.startswith(".")]
        paths = [os.path.join(folder, entry) for entry in entries]
        if set("lno") & options.keys():
            ctx.out(f"total {sum(os.lstat(path).st_blocks for path in paths) // 2}\n")
        _list(ctx, sorted(entries), folder, options)
    return rc


def _list(ctx: Context, names: list[str], folder: str, options: dict[str, str]) -> None:
    long = bool(set("lno") & options.keys())
    rows = [_row(ctx, os.path.join(folder, name), name, options) if long else [name] for name in names]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for name, row in zip(names, rows, strict=True):
        if not long:
            ctx.out(f"{name}\n")
            continue
        mode, links, user, group, *flags, size, day, shown = row
        cells = [mode, links.rjust(widths[1]), user.ljust(widths[2]) + " ", group.ljust(widths[3]) + " "]
        cells += [flag.ljust(widths[4]) for flag in flags]
        ctx.out(" ".join([*cells, size.rjust(widths[-3]), day, shown]) + "\n")


def _row(ctx: Context, path: str, name: str, options: dict[str, str]) -> list[str]:
    status = os.lstat(path)
    if is_device_link(path):
        return ["crw-r----- ", "1", "root", "operator", "0x5c", time.strftime("%b %e %H:%M", time.gmtime()), name]
    user, group = owners.owner(path)
    if "n" in options:
        user, group = str(_number(user, "passwd")), str(_number(group, "group"))
    flags = [_flags(ctx, path)] if "o" in options else []
    shown = f"{name} -> {os.readlink(path)}" if os.path.islink(path) else name
    day = time.strftime("%b %e %H:%M", time.gmtime(status.st_mtime))
    mode = modes.filemode(status.st_mode) + " "
    return [mode, str(status.st_nlink), user, group, *flags, str(status.st_size), day, shown]


def _flags(ctx: Context, path: str) -> str:
    """The chflags(1) name of the one flag that is kept, on directories. What ZFS marks as uarch is not."""
    host = ctx.host(ctx.store.read())
    return "schg" if locate(host, os.path.abspath(path)) in host.immutable else "-"


def _number(name: str, kind: str) -> int:
    return int(name) if name.isdigit() else owners.ids(kind)[name]


def stat(ctx: Context) -> int:
    """stat(1) with -f FORMAT and -L.

    ``stat -c``, which pyinfra tries first everywhere, fails as on FreeBSD: an illegal option.
    """
    if "-c" in ctx.args:
        raise CommandError(
            "stat: illegal option -- c\nusage: stat [-FLnq] [-f format | -l | -r | -s | -x] [-t timefmt]"
        )
    options, names = parse(ctx, "f:L")
    if "f" not in options or not names:
        raise ctx.not_simulated()
    rc = 0
    for name in names:
        try:
            ctx.out(_format(ctx, options["f"], name, follow="L" in options) + "\n")
        except OSError as error:
            rc = 1
            ctx.err(f"stat: {name}: stat: {error.strerror}\n")
    return rc


def _format(ctx: Context, text: str, name: str, *, follow: bool) -> str:
    status = os.stat(name) if follow else os.lstat(name)
    target = os.path.realpath(name) if follow else name
    user, group = owners.owner(target)
    kinds = {modes.S_IFDIR: "Directory", modes.S_IFREG: "Regular File", modes.S_IFLNK: "Symbolic Link"}
    link = f" -> {os.readlink(name)}" if os.path.islink(name) and not follow else ""
    values = {
        "Su": user,
        "Sg": group,
        "Sp": modes.filemode(status.st_mode),
        "Sf": _flags(ctx, target) if "%Sf" in text else "",
        "Lp": f"{status.st_mode & 0o777:o}",
        "a": str(int(status.st_atime)),
        "m": str(int(status.st_mtime)),
        "c": str(int(status.st_ctime)),
        "z": str(status.st_size),
        "N": name,
        "SY": link,
        "HT": kinds.get(modes.S_IFMT(status.st_mode), "Character Device"),
    }

    def value(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise ctx.not_simulated(f"-f {text}")
        return values[match.group(1)]

    return re.sub(r"%([SLHMO]?[a-zA-Z])", value, text)


def touch(ctx: Context) -> int:
    """touch(1) without options; a directory with the schg flag takes no new names."""
    _, names = parse(ctx, "")
    if not names:
        raise ctx.not_simulated()
    rc = 0
    for name in names:
        try:
            if not os.path.exists(name):
                if _flags(ctx, os.path.dirname(os.path.abspath(name))) == "schg":
                    raise PermissionError(1, "Operation not permitted")
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o666))
            os.utime(name)
        except OSError as error:
            ctx.err(f"touch: {name}: {error.strerror}\n")
            rc = 1
    return rc


def chown(ctx: Context) -> int:
    """chown(8) with -h -f -v: OWNER, OWNER:GROUP, :GROUP by name or number."""
    _, names = parse(ctx, "fhv")
    if len(names) < 2:
        raise ctx.not_simulated()
    wanted, *paths = names
    user, _, group = wanted.partition(":")
    for name, kind, what in ((user, "passwd", "user"), (group, "group", "group")):
        if name and not name.isdigit() and name not in owners.ids(kind):
            raise CommandError(f"chown: {name}: illegal {what} name")
    rc = 0
    for path in paths:
        if not os.path.lexists(path):
            ctx.err(f"chown: {path}: No such file or directory\n")
            rc = 1
        elif not os.path.islink(path):
            owners.set_owner(path, user or None, group or None)
    return rc


def chflags(ctx: Context) -> int:
    """chflags(1) of schg and noschg on directories."""
    _, names = parse(ctx, "")
    if len(names) < 2 or names[0] not in ("schg", "noschg"):
        raise ctx.not_simulated()
    for path in names[1:]:
        if not os.path.lexists(path):
            raise CommandError(f"chflags: {path}: No such file or directory")
        if not os.path.isdir(path):
            raise ctx.not_simulated(f"{names[0]} on {path}, which is not a directory")
        with ctx.cluster() as cluster:
            host = ctx.host(cluster)
            place = locate(host, os.path.abspath(path))
            host.immutable = [entry for entry in host.immutable if entry != place]
            if names[0] == "schg":
                host.immutable.append(place)
    return 0


def install(ctx: Context) -> int:
    """install(1) -d [-m MODE] [-o USER] [-g GROUP] DIR..., and -S [-m MODE] FILE TARGET."""
    options, names = parse(ctx, "dSm:o:g:")
    if "S" in options and set(options) <= {"S", "m"} and len(names) == 2 and not os.path.isdir(names[1]):
        shutil.copyfile(names[0], f"{names[1]}.new")
        os.chmod(f"{names[1]}.new", int(options.get("m", "755"), 8))
        os.replace(f"{names[1]}.new", names[1])
        return 0
    if not names or "d" not in options:
        raise ctx.not_simulated()
    for name in names:
        os.makedirs(name, exist_ok=True)
        os.chmod(name, int(options.get("m", "755"), 8))
        if {"o", "g"} & options.keys():
            owners.set_owner(name, options.get("o"), options.get("g"))
    return 0
