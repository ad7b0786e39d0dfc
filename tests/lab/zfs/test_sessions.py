"""What zfs and zpool say and do where no recording shows it: sessions.txt, on two hosts with a pool ``zdata`` each.

``f0$ COMMAND`` is followed by what the command says, errors behind ``[STATUS]``; ``f0|f1$`` is a pipe from one host to
the other. Besides the played programs there are, outside of the sandbox, `BUILTINS`.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import build, zfs
from lab.core import START, Cluster, CommandError, Context, Disk, Host, Mount, NotSimulatedError, Store
from lab.zfs import pools, snapshots, zfs_cmd, zpool_cmd
from lab.zfs.model import Node
from lab.zfs.pool_status import status

SESSIONS = dict(
    re.findall(r"^== (.*)\n((?:(?!== ).*\n)*)", Path(__file__).with_name("sessions.txt").read_text(), re.MULTILINE)
)
IDENTITY = r"\b\d{15,20}\b|1-[0-9a-f]+-[0-9a-f]+-[0-9a-f]{20,}"


def touch(node: Node, path: str) -> str:
    """A new file, at a time that differs from all others."""
    node.file(path).write_text(path)
    number = node.cluster.next_id()
    os.utime(node.file(path), ns=(number * 10**9, number * 10**9))
    return ""


def schg(node: Node, *paths: str) -> str:
    """Directories with the flag, in the root file system."""
    for path in paths:
        node.file(path).mkdir()
        node.host.immutable.append(("root", path[1:]))
    return ""


def mounts(node: Node) -> str:
    """Where datasets are mounted."""
    shown = (f"{m.device} {m.target}{' read-only' * m.read_only}\n" for m in node.host.mounts if m.fstype == "zfs")
    return "".join(shown)


def move(node: Node, slot: str, to: str) -> str:
    """A disk goes into another host, as its slot ada3; this one has no power."""
    zfs.power_off(node.cluster, node.host)
    node.cluster.host(to).slots["ada3"] = node.host.slots.pop(slot)
    return ""


def wipe(node: Node, slot: str) -> str:
    """The first and the last MiB of a disk are overwritten."""
    with open(node.store.disk_file(node.host.slots[slot]), "r+b") as image:
        for start, whence in ((0, 0), (-(1 << 20), 2)):
            image.seek(start, whence)
            assert image.read(1 << 20).strip(b"\0"), "there is a label"
            image.seek(start, whence)
            image.write(bytes(1 << 20))
    return ""


def scribble(node: Node, slot: str) -> str:
    """Something that is no pool is on a disk."""
    with open(node.store.disk_file(node.host.slots[slot]), "r+b") as image:
        image.seek(65536)
        image.write(b"a file system")
    return ""


def blink(node: Node, slot: str) -> str:
    """A disk is pulled out and put back, then its host loses its power and boots."""
    disk = node.host.slots[slot]
    zfs.disk(node.cluster, node.host, disk, there=False)
    (pool,) = (pool for pool in node.imported() if pool.vdevs[0].disk == disk)
    said = status(node, pool, paths=False)
    zfs.disk(node.cluster, node.host, disk, there=True)
    said += f"{pool.health}\n"
    zfs.power_off(node.cluster, node.host)
    pools.attach(node, pool)
    return f"{said}{pool.health}\n"


BUILTINS: dict[str, Callable[..., str]] = {
    "touch": touch,
    "mkdir": lambda node, path: node.file(path).mkdir() or "",
    "ls": lambda node, path: "".join(f"{name}\n" for name in sorted(os.listdir(node.file(path)))),
    "schg": schg,
    "mounts": mounts,
    "move": move,
    "wipe": wipe,
    "scribble": scribble,
    "blink": blink,
    "bookmark": lambda node, source, new: snapshots.bookmark(node, source, new) or "",
    "hold": lambda node, tag, name: snapshots.hold(node, tag, name) or "",
    "busy": lambda node, dataset: node.state.busy.update({dataset: "vm"}) or "",
}


class Played(Context):
    """A played program whose streams are in memory; both are what it says, unless there is a pipe."""

    def __init__(self, argv: list[str], store: Store, host: str, data: bytes) -> None:
        super().__init__(argv, store, host)
        self.stdin, self.stdout = io.BytesIO(data), io.BytesIO()
        self.errors = ""

    def err(self, text: str) -> None:
        self.errors += text


def run(store: Store, host: str, words: list[str], data: bytes = b"") -> tuple[bytes, str]:
    """Standard output, and standard error behind the status."""
    name = store.read().host(host).name
    if words[0] in BUILTINS:
        with store.edit() as cluster:
            return BUILTINS[words[0]](Node(store, cluster, cluster.hosts[name]), *words[1:]).encode(), ""
    context = Played(words, store, name, data)
    try:
        rc = {"zfs": zfs_cmd.main, "zpool": zpool_cmd.main}[words[0]](context)
    except CommandError as error:
        context.err(f"{error.message}\n")
        rc = error.rc
    except NotSimulatedError as error:
        context.err(f"lab: not simulated: {error}\n")
        rc = 99
    return context.stdout.getvalue(), (f"[{rc}] " if rc else "") + context.errors


def answered(store: Store, session: str) -> str:
    """The session with what the lab says now; ID stands for a pool's number or a token, TOKEN for the last of these."""
    said = token = ""
    for hosts, line in re.findall(r"^(\S+)\$ (.*)", session, re.MULTILINE):
        said += f"{hosts}$ {line}\n"
        sender, _, receiver = hosts.partition("|")
        for command in line.split("; "):
            left, _, right = command.replace("TOKEN", token).partition(" | ")
            out, errors = run(store, sender, shlex.split(left))
            if right.startswith("cut "):  # the stream breaks off
                right, out = right.partition(" | ")[2], out[: int(right.split()[1])]
            if right:
                out, more = run(store, receiver or sender, shlex.split(right), out)
                errors += more
            said += out.decode() + errors
        token = (re.findall(IDENTITY, said) or [token])[-1]
        said = re.sub(IDENTITY, "ID", said)
    return said


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two hosts without the sandbox: disks ada1 and ada2, a pool zdata, the key files good and wrong."""
    store = Store(tmp_path)
    for name in ("disks", "trees", "hosts"):
        (tmp_path / name).mkdir()
    cluster = Cluster(now=START)
    for name in ("f0", "f1"):
        host = cluster.hosts[f"{name}.lan"] = Host(f"{name}.lan", "freebsd")
        host.mounts.append(Mount("/dev/ada0p2", "/", "ufs", "root"))
        for slot in ("ada1", "ada2"):
            build.add_disk(store, cluster, host, slot, Disk(f"{name}-{slot}", 1 << 30, "disk", name))
        (store.root(host.name) / "dev/zvol").mkdir(parents=True)
        for key in ("good", "wrong"):
            (store.root(host.name) / key).write_bytes(key[:1].encode() * 32)
        pools.create(Node(store, cluster, host), "zdata", "ada1", {}, {}, mountpoint="/data")
    store.save(cluster)
    return store


@pytest.mark.parametrize("title", SESSIONS)
def test_the_lab_says(store: Store, title: str) -> None:
    assert answered(store, SESSIONS[title]) == SESSIONS[title]
