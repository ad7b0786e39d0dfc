"""The USB stick with the keys: formatted once, mounted read-only, the same keys on every stick."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.host import Host
from pyinfra.context import host, inventory

from f3s.escrow import Copies, digest, line
from f3s.keys import (
    KEY_BYTES,
    SILENT_STICK,
    SUFFIX,
    Copy,
    KeyFile,
    Keys,
    Plan,
    Roots,
    others,
    plan,
    roots_in_sight,
    set_aside,
)
from f3s.quoting import Shell, command
from facts.base import DEVICE_SECONDS, bounded, script
from facts.disks import Probe
from facts.rcconf import Variables
from facts.usb import KeyStick
from facts.zfs import Datasets, ImportablePools
from operations.base import Commands, executing, known, known_of, run_on
from operations.reasons import operation

STICK_SECONDS = 300
"""Seconds for work on a stick: enough for a slow machine to format a large one."""

_made: dict[str, bytes] = {}
"""Keys made in this run, so that hosts that pyinfra works on at the same time get the same ones."""


@operation()
def formatted(device: str, label: str, mountpoint: str, allow: Sequence[str] = ()) -> Commands:
    """There is a stick with this label. If there is none, the device is formatted, if it is provably blank. One that is
    mounted where the stick belongs and has a key on it only gets the label.

    If the run is killed, formatting still finishes (files/once/format-stick.sh): half of a file system is not blank.

    + device: name of the stick's disk, without /dev/; a stick with the label is found under any name
    + label: UFS label
    + mountpoint: where the stick belongs
    + allow: devices that may be formatted although they hold bytes that no tool recognises

    **Example:** `usb.formatted("da0", "F3S_KEYS", "/keys")`
    """
    stick = known(KeyStick, label=label, mountpoint=mountpoint)
    if stick.disk is not None:
        host.noop(f"the stick {label} is on {stick.disk}")
        return
    if unlabelled := stick.unlabelled:
        yield _bounded(script("label-stick", label, f"/dev/{unlabelled}", mountpoint), f"the stick {unlabelled}")
        return
    if stick.mount is not None and not stick.pulled(label):
        _, labelled, other = stick.mount.device.partition("ufs/")
        named = "No keys are on it (a UFS file system with a key would get the label)"
        if labelled:
            named = f"If it is the key stick, set usb_label = '{other}'"
        raise OperationError(
            f"{host.name}: {stick.mount.device} is mounted on {mountpoint} and has no label {label}. {named}. Find out "
            f"what it is for: `ls {mountpoint}`. The stick belongs there: umount {mountpoint}, take its line out of "
            "/etc/fstab, then run this task again"
        )
    disk = known(Probe, device=device)
    if disk.size is None:
        raise OperationError(
            f"{host.name}: there is no stick with the label {label} and no disk {device}: plug the stick in, or set "
            "usb_device for this host (`geom disk list` there shows its disks)"
        )
    if not disk.blank and not (disk.only_unrecognised_content and device in allow):
        way_on = disk.way_on()
        if disk.only_unrecognised_content:
            way_on = f"usb_format_allow = ['{device}'] allows it to be overwritten, or {way_on}"
        elif disk.file_system == "ufs":
            way_on = (
                f"it may be the key stick without its label. Look at it: mount -r /dev/{device} /mnt && ls /mnt; "
                f"if it has the keys: umount /mnt && tunefs -L {label} /dev/{device}; "
                "if it has none, put another stick in"
            )
        elif disk.fat:
            way_on = (
                f"sticks are sold with a FAT. Look at it: mount -r -t msdosfs /dev/{disk.fat} /mnt && ls -A /mnt; "
                f"umount /mnt; if nothing on it is needed, {disk.clearing(disk.size)}"
            )
        raise OperationError(
            f"{host.name}: {device} was not formatted, it is not blank: {disk.why()}. Nothing was changed; {way_on}"
        )
    if stick.pulled(label):
        # the kernel may have done it since: it does so after a read that failed (ffs_subr.c, ffs_fsfail_unmount)
        umount = command("umount -f {} || ! mount -p | grep -F {}", mountpoint, f"/dev/ufs/{label}")
        yield _bounded(umount, f"the stick {label}")
    yield _bounded(script("format-stick", label, f"/dev/{device}"), f"the stick {device}")


@operation()
def mounted_read_only(label: str, mountpoint: str) -> Commands:
    """The stick is mounted read-only, by the rc.d script f3skeys, also if a killed run left it writable.

    **Example:** `usb.mounted_read_only("F3S_KEYS", "/keys")`
    """
    stick = known(KeyStick, label=label, mountpoint=mountpoint)
    if stick.elsewhere is not None:
        raise OperationError(
            f"{host.name}: the stick {label} is mounted on {stick.elsewhere.directory}, it belongs on "
            f"{mountpoint}: umount {stick.elsewhere.directory}"
        )
    if stick.mount is None or stick.pulled(label):
        yield command("service f3skeys onestart")
    elif stick.keys is None:
        # without a disk that has the label, `formatted` has refused
        if stick.disk is not None or executing():
            raise OperationError(
                f"{host.name}: {mountpoint} is taken by {stick.mount.device}: umount {mountpoint}, then run this again"
            )
    elif stick.mount.read_only:
        host.noop(f"the stick {label} is mounted read-only on {mountpoint}")
    else:
        # not `mount -u`, see files/once/write-keys.sh
        yield _bounded(command("umount {} && service f3skeys onestart", mountpoint), f"the stick {label}")


@operation()
def keys(
    names: Sequence[str], holders: Sequence[str], label: str, mountpoint: str, copies: Copies | None = None
) -> Generator[StringCommand]:
    """All keys are on this host's stick: copied from a stick that has them, made only if they can never have existed.

    A key of the user's own that other sticks have is copied as well. A copy that the operator has kept counts like one
    more stick.

    Keys pass through the controller's memory and standard input only. See f3s.keys for the decision and
    files/once/write-keys.sh for the writing.

    + names: names of all keys, without `.key`
    + holders: all hosts with a stick, whatever --limit selects
    + copies: keys that were kept elsewhere

    **Example:** `usb.keys(site.key_names, ["f0", "f1"], "F3S_KEYS", "/keys")`
    """
    stick = known(KeyStick, label=label, mountpoint=mountpoint)
    sticks: dict[str, Keys | None] = {
        holder: stick.keys if holder == host.name else _keys_of(holder, label, mountpoint) for holder in holders
    }
    if copies is not None:
        sticks[copies.where] = {
            name: KeyFile(name, len(key), "400", "root:wheel", digest(key)) for name, key in copies.keys.items()
        }
    wanted = [*names, *others(names, sticks.values())]
    todo = plan(host.name, wanted, sticks, dict.fromkeys(holders, ()))
    if todo.makes or todo.conflicts:
        todo = plan(host.name, wanted, sticks, {holder: roots_of(holder) for holder in holders})
    own = stick.keys or {}
    exposed = [name for name in names if name in own and not own[name].protected]
    aside = [set_aside(name, label, mountpoint) for name in todo.unfit]
    _refuse(todo, aside, certain=stick.keys is not None)
    if not (todo.copies or todo.makes or exposed or stick.unfinished):
        host.noop(f"the stick has all {len(wanted)} keys, and no stick disagrees")
        return
    # for the plan pyinfra stops at the first command, so no key is read or made
    lines = [f"protect {name}{SUFFIX}" for name in exposed]
    if executing():
        for copy in todo.copies:
            if copies is not None and copy.source == copies.where:
                key = copies.keys[copy.name]
            else:
                key = read(copy, mountpoint)
            lines.append(line(copy.name, key))
        for name in todo.makes:
            lines.append(line(name, _made.setdefault(name, secrets.token_bytes(KEY_BYTES))))
    yield StringCommand(written(label, mountpoint), _stdin=lines)


@operation()
def exported(
    names: Sequence[str],
    label: str,
    mountpoint: str,
    only: bool,
    has: Mapping[str, str],
    write: Callable[[Mapping[str, bytes]], None],
) -> Generator[FunctionCommand]:
    """The keys of this host's stick are in a copy on the controller.

    + names: names of keys, without `.key`, that must not be missing
    + only: those; otherwise the user's own come along
    + has: SHA-256 of the keys in the copy that there is, by name
    + write: makes the copy

    **Example:** `usb.exported(site.key_names, "F3S_KEYS", "/keys", False, into.has, into.write)`
    """
    stick = known(KeyStick, label=label, mountpoint=mountpoint)
    own = stick.keys or {}
    wanted = [*names, *(others(names, [own]) if not only else ())]
    found = {name: own[name].sha256 or "" for name in wanted if name in own and own[name].proper}
    if missing := [name for name in names if name not in found]:
        raise OperationError(
            f"{host.name}: no copy was made, its stick lacks {', '.join(missing)}: tasks/usb_keys.py brings them there"
        )
    if found == has:
        host.noop(f"the copy has all {len(found)} keys")
        return
    copied = [Copy(name, host.name, sha256) for name, sha256 in found.items()]
    yield FunctionCommand(lambda: write({each.name: read(each, mountpoint) for each in copied}), (), {})


def written(label: str, mountpoint: str) -> Shell:
    """What writes keys onto a stick; they are its standard input."""
    return _bounded(script("write-keys", mountpoint, f"/dev/ufs/{label}"), f"the stick {label}")


def _bounded(body: Shell, who: str) -> Shell:
    """A command that works on a stick and says so if the stick does not answer."""
    silent = f"{host.name}: {who} did not answer within {STICK_SECONDS} s. {SILENT_STICK}"
    return command("{} || {{ [ $? -ne 124 ] || echo {} >&2; false; }}", bounded(STICK_SECONDS, body), silent)


def _refuse(todo: Plan, aside: Sequence[str], certain: bool) -> None:
    """Raise if the keys must not be touched. A plan is made before sticks are formatted and mounted: doubts that come
    from that are settled when it is carried out."""
    problems = [*todo.conflicts, *(todo.doubts if executing() else ())]
    if todo.makes and todo.doubts and executing():
        problems.insert(0, f"no stick has {', '.join(name + SUFFIX for name in todo.makes)}")
        problems.append("plug all sticks in and run tasks/usb_keys.py without --limit, which sets up blank ones first")
    if not certain and executing():
        problems.append("the stick is not mounted")
    if problems:
        text = f"{host.name}: no key was written: {'; '.join(problems)}"
        if aside:
            lines = " and ".join(f"`{line}`" for line in aside)
            text += (
                f". Where a stick has a wrong file, set that aside: {lines}. Then run this task again: it copies the "
            )
            text += "right file there"
        raise OperationError(text)


def _keys_of(name: str, label: str, mountpoint: str) -> Keys | None:
    """The keys on another host's stick, None if they cannot be read: the host is off, or the stick is not in."""
    stick = known_of(name, KeyStick, label=label, mountpoint=mountpoint)
    return stick.keys if stick is not None else None


def roots_of(name: str) -> Roots:
    """All encryption roots of a host, or why some may be missing from the list."""
    unread = f"the datasets of {name} cannot be read"
    datasets = known_of(name, Datasets)
    if datasets is None:  # each further question to a host that is off would wait, too
        return unread
    importable = known_of(name, ImportablePools)
    boot = known_of(name, Variables, names=("zfskeys_datasets",))
    if importable is None or boot is None:
        return unread
    return roots_in_sight(name, datasets, importable, (boot["zfskeys_datasets"] or "").split())


def read(copy: Copy, mountpoint: str) -> bytes:
    """A key from another stick, checked; it is neither printed nor logged."""
    other: Host = inventory.get_host(copy.source)
    line = StringCommand(command("openssl base64 -A -in {}", f"{mountpoint}/{copy.name}{SUFFIX}"))
    try:
        # not `bounded`, which would put the key into a file
        success, output = run_on(other, line, shown=False, _timeout=DEVICE_SECONDS)
    except TimeoutError:
        raise OperationError(
            f"{host.name}: the stick of {copy.source} did not answer within {DEVICE_SECONDS} s when "
            f"{copy.name}{SUFFIX} was read. {SILENT_STICK}"
        ) from None
    try:
        key = base64.b64decode(output.stdout, validate=True) if success else b""
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or digest(key) != copy.sha256:
        raise OperationError(f"{host.name}: {copy.name}{SUFFIX} could not be read from {copy.source}")
    return key
