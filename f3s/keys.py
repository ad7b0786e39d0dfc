"""Which key goes onto which stick. The whole cluster's view decides, and what is not known counts as in use.

A key that is made although data is encrypted with a lost one of the same name would be taken for that key: the
data would stay locked, and the sticks would look healthy. So a key is made only where it is certain that it never
was there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from f3s.mounts import Mount, parse_mounts
from f3s.parsing import UnknownOutput, number, sections
from f3s.quoting import Shell, command
from f3s.zfs import Dataset, key_file

KEY_BYTES = 32
SUFFIX = ".key"
UNFINISHED = ".new"
NAME = r"[\w:][\w.:-]*"
"""Of a key that is copied."""
SILENT_STICK = (
    "`dmesg` there shows its errors. Pull it out and plug it in again, then: doas service f3skeys onerestart; a stick "
    "that stays silent is dead: docs/runbook.md, stick dead"
)


@dataclass(frozen=True)
class KeyFile:
    """A key file on a stick: name without `.key`, size in bytes, octal mode, `user:group`, SHA-256 or None
    where it could not be read."""

    name: str
    size: int
    mode: str
    owner: str
    sha256: str | None

    @property
    def proper(self) -> bool:
        """It can be read, and has the size of a key."""
        return self.sha256 is not None and self.size == KEY_BYTES

    @property
    def protected(self) -> bool:
        return (self.mode, self.owner) == ("400", "root:wheel")


@dataclass(frozen=True)
class Stick:
    """The key stick as a host sees it.

    + disk: the disk with the label, or the label itself where only that is known; None where there is none
    + mount: what is mounted on the mount point
    + elsewhere: where the labelled stick is mounted if not there
    + keys: the key files by name; None where the stick is not mounted, so that its content is unknown. Without a disk
      that has the label they are on a UFS file system without one that is mounted on the mount point
    + unfinished: files that a killed run left behind
    """

    disk: str | None
    mount: Mount | None
    elsewhere: Mount | None
    keys: Mapping[str, KeyFile] | None
    unfinished: tuple[str, ...]

    def pulled(self, label: str) -> bool:
        """Gone while it was mounted: the mount stays until a read of it fails, or it is taken away (geom_vfs.c)."""
        return self.disk is None and self.mount is not None and self.mount.device == f"ufs/{label}"

    @property
    def unlabelled(self) -> str | None:
        """The device of a key stick that lacks only its label: it is where the stick belongs, and a key is on it."""
        if self.disk is None and self.mount is not None and any(key.proper for key in (self.keys or {}).values()):
            return self.mount.device
        return None


@dataclass(frozen=True)
class Copy:
    """Copy a key from the stick of another host."""

    name: str
    source: str
    sha256: str


@dataclass(frozen=True)
class Root:
    """A dataset with a key of its own, on some host."""

    host: str
    dataset: str
    keylocation: str | None
    keyformat: str | None


@dataclass(frozen=True)
class Plan:
    """What one stick lacks. conflicts: nobody may go on; unfit: the keys of which some stick has a file that is not the
    right one; doubts: why no key may be made."""

    copies: tuple[Copy, ...] = ()
    makes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()


Keys = Mapping[str, KeyFile]
Roots = tuple[Root, ...] | str
"""The encryption roots of a host, or a sentence why some may be out of sight."""


def labelled_disk(glabel: Iterable[str], label: str) -> str | None:
    """The disk with a UFS label, in the output of `glabel status`. Raises UnknownOutput where it has no such column."""
    for row in glabel:
        match row.split():
            case [name, _, disk] if name == f"ufs/{label}":
                return disk
            case [name, *_] if name == f"ufs/{label}":
                raise UnknownOutput(f"unexpected line of glabel: {row!r}")
    return None


def parse_stick(lines: Iterable[str], label: str, mountpoint: str) -> Stick:
    """Read the sections of facts.usb.KeyStick. Raises UnknownOutput on other output."""
    parts = sections(lines, "device", "glabel", "mounts", "folder", "files", "sha256")
    mounts = parse_mounts(parts["mounts"])
    ours = next((mount for mount in mounts if mount.device == f"ufs/{label}"), None)
    here = next((mount for mount in reversed(mounts) if mount.directory == mountpoint), None)
    # an open label keeps its device node even where glabel does not list it any more
    disk = labelled_disk(parts["glabel"], label) or (f"ufs/{label}" if parts["device"] else None)
    keys: dict[str, KeyFile] = {}
    unfinished = []
    unlabelled = disk is None and here is not None and here.fstype == "ufs" and not here.device.startswith("ufs/")
    if here is None or (here != ours and not unlabelled):
        return Stick(disk, here, ours, None, ())
    if disk is None and not unlabelled:
        # pulled out while it was mounted: what can still be read comes from the cache
        return Stick(None, here, None, None, ())
    if parts["folder"] != [mountpoint]:
        raise UnknownOutput(f"{here.device} is mounted on {mountpoint}, which cannot be entered")
    # a file that cannot be read has no line here
    digests = {name.removeprefix("./"): sha for sha, _, name in (row.partition(" ") for row in parts["sha256"])}
    for line in parts["files"]:
        fields = line.split("|", 4)
        if len(fields) != 5:
            raise UnknownOutput(f"unexpected line for a key file: {line!r}")
        kind, mode, owner, size, path = fields
        name = path.removeprefix("./")
        if name.endswith(UNFINISHED):
            unfinished.append(name)
            continue
        digest = digests.get(name, "")
        readable = kind == "Regular File" and len(digest) == 64
        key = name.removesuffix(SUFFIX)
        keys[key] = KeyFile(key, number(size, f"size of {name}"), mode, owner, digest if readable else None)
    return Stick(disk, here, None, keys, tuple(unfinished))


def encryption_roots(host: str, datasets: Iterable[Dataset]) -> tuple[Root, ...]:
    return tuple(
        Root(host, dataset.name, dataset.get("keylocation"), dataset.get("keyformat"))
        for dataset in datasets
        if dataset.encrypted and dataset.is_encryption_root
    )


def roots_in_sight(host: str, datasets: Mapping[str, Dataset], importable: Sequence[str], boot: Sequence[str]) -> Roots:
    """The encryption roots of a host, where nothing tells of datasets that are not in sight.

    + importable: pools on its disks that are not imported
    + boot: datasets that its zfskeys is told to open
    """
    reasons = []
    if importable:
        reasons.append(
            f"{host} has disks of pools that are not imported, and nothing tells which keys they need: "
            f"{', '.join(importable)}. Import them (zpool import -N NAME), or take the disks out"
        )
    if missing := [name for name in boot if name not in datasets]:
        reasons.append(
            f"zfskeys_datasets of {host} names what is not there: {', '.join(missing)}. Import the pool, or, if it is "
            "gone for good, take it out of the list: "
            + " ".join(["sysrc", *(f"zfskeys_datasets-={name}" for name in missing)])
        )
    return "; ".join(reasons) or encryption_roots(host, datasets.values())


def plan(
    host: str,
    wanted: Sequence[str],
    sticks: Mapping[str, Keys | None],
    roots: Mapping[str, Roots],
) -> Plan:
    """Decide what the stick of `host` gets.

    + host: whose stick it is
    + wanted: names of all keys, without `.key`
    + sticks: the keys on each key holder's stick; None: its content is unknown
    + roots: of each host that may hold any
    """
    own = sticks.get(host)
    copies: list[Copy] = []
    makes: list[str] = []
    conflicts: list[str] = []
    doubts: list[str] = []
    unfit: list[str] = []
    for name in wanted:
        found = {holder: keys[name] for holder, keys in sorted(sticks.items()) if keys and name in keys}
        if bad := _conflicts(name, found, encrypted_with(name, roots)[0]):
            conflicts += bad
            unfit.append(name)
        if conflicts or (own is not None and name in own):
            continue
        if found:
            source, key = next(iter(found.items()))
            assert key.sha256 is not None  # an unreadable key is a conflict
            copies.append(Copy(name, source, key.sha256))
            continue
        makes.append(name)
        users, unsure = encrypted_with(name, roots)
        if users:
            # with a stick unread the key may well be there; without, it is lost
            unread = [holder for holder, keys in sticks.items() if keys is None]
            data = ", ".join(f"{user.dataset} on {user.host}" for user in users)
            text = f"no stick that could be read has {name}{SUFFIX}, but it encrypts {data}"
            (doubts if unread else conflicts).append(
                f"{text}. A new key could never open that data: bring back a stick that has the key, or a copy of it: "
                "tasks/usb_keys.py --data escrow_from=FILE. Without any: docs/runbook.md, All sticks lost"
            )
        doubts += unsure
    if makes:
        doubts += [f"the stick of {holder} cannot be read" for holder, keys in sticks.items() if keys is None]
    return Plan(tuple(copies), tuple(makes), tuple(conflicts), tuple(dict.fromkeys(doubts)), tuple(unfit))


def set_aside(name: str, label: str, mountpoint: str) -> Shell:
    """What somebody types to move a key file aside on a stick, which is mounted read-only; for sh and csh.

    Mounted anew instead of `mount -u`, see files/once/write-keys.sh. Unlike mv, ln fails where the name is taken.
    """
    file = f"{mountpoint}/{name}{SUFFIX}"
    return command(
        "doas umount {} && doas mount {} {} && doas ln {} {} && doas rm {}; doas service f3skeys onerestart",
        *(mountpoint, f"/dev/ufs/{label}", mountpoint, file, f"{file}.aside", file),
    )


def second_name(old: str, new: str, device: str) -> Shell:
    """What somebody types to have a key file on a stick under another name, too; for sh and csh."""
    mountpoint = posixpath.dirname(new)
    mount = (f"/dev/{device}", mountpoint)
    return command(
        "doas umount {} && doas mount {} {} && doas cp -p {} {}; doas umount {} && doas mount -r {} {}",
        *(mountpoint, *mount, old, new, mountpoint, *mount),
    )


def others(wanted: Sequence[str], sticks: Iterable[Keys | None]) -> list[str]:
    """The names of keys of the user's own that belong on every stick: where two differ, each host has its own."""
    digests: dict[str, set[str | None]] = {}
    for keys in sticks:
        for name, key in (keys or {}).items():
            digests.setdefault(name, set()).add(key.sha256 if key.proper else None)
    return sorted(
        name
        for name, found in digests.items()
        if name not in wanted and len(found) == 1 and None not in found and re.fullmatch(NAME, name)
    )


def _conflicts(name: str, found: Mapping[str, KeyFile], users: Sequence[Root]) -> list[str]:
    bad = [
        f"{name}{SUFFIX} on the stick of {holder} "
        + ("cannot be read" if key.sha256 is None else f"has {key.size} bytes, a key has {KEY_BYTES}")
        for holder, key in found.items()
        if key.sha256 is None or key.size != KEY_BYTES
    ]
    if bad:
        return bad
    if len({key.sha256 for key in found.values()}) > 1:
        which = ", ".join(f"{holder} (SHA-256 {(key.sha256 or '')[:12]}...)" for holder, key in found.items())
        tries = "; ".join(f"on {user.host} doas zfs load-key -n {user.dataset}" for user in users if user.host in found)
        return [
            f"the sticks disagree about {name}{SUFFIX}: {which}. If it is being rotated, tasks/rotate_keys.py goes on. "
            "Find out which one opens the data: on a host that has them, zfs load-key -n tries the file of its own "
            f"stick ({tries or 'no dataset in sight names this key'})"
        ]
    return []


def encrypted_with(name: str, roots: Mapping[str, Roots]) -> tuple[list[Root], list[str]]:
    """Datasets that are encrypted with a key of that name, and reasons why there may be more."""
    users: list[Root] = []
    unsure: list[str] = []
    for known in roots.values():
        if isinstance(known, str):
            unsure.append(known)
            continue
        for root in known:
            path = key_file(root.keylocation)
            if path is not None:
                if path.rpartition("/")[2] == f"{name}{SUFFIX}":
                    users.append(root)
            elif root.keyformat not in ("passphrase", "hex"):
                unsure.append(
                    f"{root.dataset} on {root.host} has keylocation {root.keylocation}: nothing tells which key "
                    f"encrypts it. Say so there: zfs set keylocation=file://PATH_OF_ITS_KEY {root.dataset}"
                )
    return users, unsure
