"""Contents of datasets as folders: copied, made equal, compared and measured. Only what a file system keeps counts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lab.core import NotSimulatedError

BLOCK = 512


def walk(top: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below a folder, folders before what is in them, by name: (path in it, lstat). The folder is ``.``."""
    yield ".", os.lstat(top)
    yield from _walk(str(top), "")


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda e: e.name)
    for entry in found:
        info = entry.stat(follow_symlinks=False)
        if not (entry.is_file(follow_symlinks=False) or entry.is_dir() or entry.is_symlink()):
            raise NotSimulatedError(f"{prefix}{entry.name} in a dataset: neither file, folder nor link")
        yield prefix + entry.name, info
        if stat.S_ISDIR(info.st_mode):
            yield from _walk(entry.path, f"{prefix}{entry.name}/")


def attributes(path: Path) -> dict[str, bytes]:
    """Extended attributes in which the lab keeps owners and the like."""
    names = [n for n in os.listxattr(path, follow_symlinks=False) if n.startswith("user.")]
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names}


def size(top: Path) -> int:
    """Bytes that the files take, in blocks; holes are free."""
    total = 0
    for _, info in walk(top):
        if stat.S_ISREG(info.st_mode) and info.st_size:
            total += max(BLOCK, min(info.st_blocks * 512, -(-info.st_size // BLOCK) * BLOCK))
    return total


def _same(a: Path, b: Path, one: os.stat_result, other: os.stat_result) -> bool:
    if (one.st_mode, one.st_mtime_ns) != (other.st_mode, other.st_mtime_ns):
        return False
    if stat.S_ISREG(one.st_mode) and one.st_size != other.st_size:
        return False
    if stat.S_ISLNK(one.st_mode):
        return os.readlink(a) == os.readlink(b)
    return attributes(a) == attributes(b)


def difference(old: Path, new: Path) -> list[tuple[str, str]]:
    """What happened between two states of a file system: (``+``, ``-`` or ``M``, path)."""
    before, after = dict(walk(old)), dict(walk(new))
    changes = [("-", p) for p in before if p not in after]
    for path, info in after.items():
        if path not in before:
            changes.append(("+", path))
        elif not _same(old / path, new / path, before[path], info):
            changes.append(("M", path))
    return sorted(changes, key=lambda c: c[1])


def copy(source: Path, target: Path) -> None:
    """A copy with modes, times, attributes and holes; the target is made or its contents are replaced."""
    target.mkdir(exist_ok=True)
    mirror(source, target)


def mirror(source: Path, target: Path) -> None:
    """Makes a folder equal to another one in place: what is equal already stays, with its inode."""
    before, after = dict(walk(target)), dict(walk(source))
    for path in sorted(before, reverse=True):
        kept = path in after and stat.S_IFMT(before[path].st_mode) == stat.S_IFMT(after[path].st_mode)
        if not kept:
            place = target / path
            place.rmdir() if stat.S_ISDIR(before[path].st_mode) else place.unlink()
            del before[path]
    for path, info in after.items():
        place = target / path
        if stat.S_ISDIR(info.st_mode):
            place.mkdir(exist_ok=True)
        elif path not in before or not _same(source / path, place, info, before[path]):
            place.unlink(missing_ok=True)
            if stat.S_ISLNK(info.st_mode):
                place.symlink_to(os.readlink(source / path))
            else:
                place.write_bytes(b"")
                copy_data(source / path, place)
    for path in sorted(after, reverse=True):
        dress(source / path, target / path, after[path])


def dress(source: Path, target: Path, info: os.stat_result) -> None:
    """Gives a copied entry the mode, attributes and times of its source."""
    if not stat.S_ISLNK(info.st_mode):
        wanted = attributes(source)
        for name in attributes(target).keys() - wanted.keys():
            os.removexattr(target, name)
        for name, value in wanted.items():
            os.setxattr(target, name, value)
        os.chmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def extents(file: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of an open file that hold data: (start, length)."""
    at = 0
    while at < end:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield start, at - start


def copy_data(source: Path, target: Path) -> None:
    """Copies a file's data and leaves its holes."""
    with open(source, "rb") as read, open(target, "r+b") as write:
        end = os.fstat(read.fileno()).st_size
        write.truncate(0)
        write.truncate(end)
        for start, length in extents(read.fileno(), end):
            read.seek(start)
            write.seek(start)
            while length > 0:
                block = read.read(min(length, 1 << 20))
                write.write(block)
                length -= len(block)
