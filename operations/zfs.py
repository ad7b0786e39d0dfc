"""Pools and encrypted datasets. Nothing is forced: no `-f`, no destroy, and no key is made or replaced.

pyinfra's own zfs operations compare `encryption=on` with what ZFS reports and so fail on the second run
(observed); these compare in ZFS's own form.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from pyinfra import logger
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from f3s.keycheck import KeyCheck
from f3s.keys import second_name
from f3s.quoting import Shell, command, option_words
from f3s.rcconf import with_entries
from f3s.zfs import GUARDED, Dataset, as_reported, key_file, opened_at_boot, property_changes
from facts.base import script
from facts.disks import Probe
from facts.mounts import Mounts
from facts.rcconf import RC_CONF, Variables
from facts.zfs import Datasets, Guarded, ImportablePools, KeyChecks, Pools
from operations.base import Commands, executing, known
from operations.reasons import operation

Value = str | int | bool
# a pool in any other state cannot be worked with
_USABLE = ("ONLINE", "DEGRADED")


@operation()
def pool(
    pool: str,
    disk: str,
    mountpoint: str,
    properties: Mapping[str, Value],
    serial: str | None = None,
    model: str | None = None,
) -> Commands:
    """A pool on one whole disk, made only if the disk is provably blank. Its settings converge.

    + disk: name of the whole disk, without /dev/
    + mountpoint: mount point of the pool's root dataset
    + properties: `autotrim`, `failmode`
    + serial: serial number that the disk must have, or None
    + model: model that the disk must have, or None

    **Example:** `zfs.pool("zdata", "ada1", "/data", {"autotrim": True})`
    """
    wanted = {key: as_reported(key, value) for key, value in properties.items()}
    found = known(Pools).get(pool)
    if found is None:
        probe = known(Probe, device=disk)
        if probe.size is None:
            raise OperationError(
                f"{host.name}: {probe.why()}, and the pool {pool} was not made. Put the disk in, or set pool_disk "
                "for this host (`geom disk list` there shows its disks)"
            )
        for what, expected, actual in (("serial number", serial, probe.serial), ("model", model, probe.model)):
            if expected is not None and actual != expected:
                raise OperationError(
                    f"{host.name}: disk {disk} has the {what} {actual}, the settings want {expected}; "
                    f"the pool {pool} was not made"
                )
        if not probe.blank:
            ours = f"it is this pool, only not imported: run `zpool import {pool}` there, then this task again"
            if probe.pool_destroyed:
                ours = (
                    f"it is this pool, destroyed: `zpool import -D {pool}` there brings it back. If nothing on it is "
                    f"needed, `zpool labelclear -f /dev/{disk}` there, then this task again"
                )
            raise OperationError(
                f"{host.name}: the pool {pool} was not made, disk {disk} is not blank: {probe.why()}. "
                f"Nothing was changed; {ours if probe.pool == pool else probe.way_on()}"
            )
        # disks get other names; zpool create only asks the disk, and whether a pool of that name is imported
        if pool in known(ImportablePools):
            raise OperationError(
                f"{host.name}: the pool {pool} was not made, another disk has one of that name: `zpool import {pool}` "
                "there, then set pool_disk to that disk. If nothing on it is needed, take it out"
            )
        options = option_words("-o", ("ashift=12", *(f"{key}={value}" for key, value in wanted.items())))
        yield command("zpool create {} -m {} {} {}", options, mountpoint, pool, f"/dev/{disk}")
        return
    if found.health not in _USABLE:
        raise OperationError(f"{host.name}: pool {pool} is {found.health}; see `zpool status -v {pool}`")
    root = known(Datasets).get(pool)
    actual_mountpoint = root.get("mountpoint") if root else None
    if actual_mountpoint != mountpoint:
        raise OperationError(
            f"{host.name}: pool {pool} is there with mount point {actual_mountpoint}, the settings want "
            f"{mountpoint}. Moving it would unmount everything below: change the setting, or run "
            f"`zfs set mountpoint={mountpoint} {pool}` at a convenient time. Where `zpool get altroot {pool}` shows a "
            "directory, it was imported below that: export it and import it instead"
        )
    changes = {key: value for key, value in wanted.items() if found.properties[key] != value}
    for key, value in changes.items():
        yield command("zpool set {}={} {}", key, value, pool)
    if not changes:
        host.noop(f"pool {pool} is {found.health} on {', '.join(found.vdevs)} with the wanted settings")


@operation()
def pool_mounted(pool: str, mountpoint: str) -> Commands:
    """The root dataset of a pool is mounted: the mount points of all others are directories in it.

    It is not after `zpool import -N`, nor if a run was killed between the making of the pool and its mount
    (zpool_do_create in OpenZFS's zpool_main.c). It is mounted only if that hides nothing. Mounts below it are left as
    they are, and reported; another file system there and files in the bare directory are errors.

    + mountpoint: mount point of its root dataset, as `pool` has compared it

    **Example:** `zfs.pool_mounted("zdata", "/data")`
    """
    root = known(Datasets).get(pool)
    if root is None:
        if executing():
            raise OperationError(f"{host.name}: there is no pool {pool} whose root dataset could be mounted")
        host.noop(f"{pool} is about to be made and mounted")
        return
    if root.mounted:
        host.noop(f"{pool} is mounted on {mountpoint}")
        return
    table = known(Mounts, directories=(mountpoint,))
    enable = f"`zfs set canmount=on {pool}` there" if root.get("canmount") != "on" else None
    if below := table.below(mountpoint):
        host.log(
            f"{pool} is not mounted on {mountpoint}, and is not now: it would hide what is mounted below "
            f"({', '.join(mount.directory for mount in below)}). The next boot mounts it first"
            f"{f', after {enable}' if enable else ''}; to have it now, unmount those, then run this task again",
            logger.warning,
        )
        return
    not_mounted = f"{host.name}: {pool} was not mounted on {mountpoint}"
    if (mount := table.at(mountpoint)) is not None:
        raise OperationError(
            f"{not_mounted}, where {mount.device} is mounted. Nothing was changed; find out who uses that, "
            f"umount {mountpoint} there, then run this task again"
        )
    if enable:
        raise OperationError(f"{not_mounted}: its canmount is {root.get('canmount')}. {enable}, then this task again")
    if root.encrypted and not root.key_loaded:
        raise OperationError(
            f"{not_mounted}: it is encrypted itself, and its key is not loaded. `zfs load-key {root.encryption_root}` "
            "there, then this task again"
        )
    directory = table.directories[mountpoint]
    if directory.kind not in (None, "Directory"):
        raise OperationError(
            f"{not_mounted}, which is a {directory.kind} and not a directory: move it away, then run this again"
        )
    if directory.entries:
        raise OperationError(
            f"{not_mounted}, which holds {', '.join(directory.entries)}: nobody would see that any more. Nothing was "
            "changed; look at it, move it away, then run this task again"
        )
    yield command("zfs mount {}", pool)


@operation()
def dataset(dataset: str, properties: Mapping[str, Value]) -> Commands:
    """A file system with these properties. An existing one keeps everything else.

    + properties: any of f3s.zfs.DATASET_PROPERTIES that can be set

    **Example:** `zfs.dataset("zdata/sink", {"mountpoint": "none"})`
    """
    found = known(Datasets).get(dataset)
    if found is None:
        options = (f"{key}={as_reported(key, value)}" for key, value in properties.items())
        yield _create(dataset, options)
        return
    yield from _converge(found, properties)


@operation()
def encrypted_dataset(
    dataset: str, encryption: str, keylocation: str, properties: Mapping[str, Value] | None = None
) -> Commands:
    """A file system that is an encryption root of its own, with a raw key.

    It is made as one in a single step, also below another encryption root, so a kill cannot leave it half done. A file
    system that inherits the key of its parent gets the same key as its own (`zfs change-key`). It may be mounted and
    have a replica meanwhile: replication goes on (observed).

    + encryption: cipher, e.g. `aes-256-gcm`; cannot be changed later
    + keylocation: `file:///keys/...`
    + properties: other properties, which converge

    **Example:** `zfs.encrypted_dataset("zdata/enc", "aes-256-gcm", "file:///keys/f0:zdata.key")`
    """
    properties = properties or {}
    cipher = as_reported("encryption", encryption)
    key = (f"keylocation={keylocation}", "keyformat=raw")
    found = known(Datasets).get(dataset)
    if found is None:
        rest = (f"{other}={as_reported(other, value)}" for other, value in properties.items())
        yield _create(dataset, (f"encryption={cipher}", *key, *rest))
        return
    if not found.encrypted:
        raise OperationError(
            f"{host.name}: {dataset} is there and NOT encrypted, and cannot be encrypted in place. Move its data to "
            f"an encrypted dataset and rename it away: zfs rename {dataset} {dataset}_plain"
        )
    if found.get("encryption") != cipher or found.get("keyformat") != "raw":
        way_on = ""
        if found.get("encryption") == cipher:
            change = command("zfs change-key {} {}", option_words("-o", key), found.encryption_root or dataset)
            way_on = f". Its key can be changed while it is loaded: tasks/usb_keys.py first, then there `{change}`"
        raise OperationError(
            f"{host.name}: {dataset} is encrypted with {found.get('encryption')} and keyformat "
            f"{found.get('keyformat')}, the settings want {cipher} and raw; a dataset keeps its cipher for life{way_on}"
        )
    if not found.is_encryption_root:
        root = found.encryption_root
        assert root is not None
        check = known(KeyChecks, keys=((root, keylocation),)).get(root)
        if check is not KeyCheck.FITS and (executing() or check is not KeyCheck.NO_FILE):
            raise OperationError(
                f"{host.name}: {dataset} inherits the key of {root}, and {keylocation} is not that key "
                f"({check.value if check else 'it could not be tested'}): with another one a replica could not be "
                "opened until its next replication. tasks/usb_keys.py brings a file that this stick lacks, or says how "
                "a wrong one is set aside"
            )
        if not found.key_loaded:
            raise OperationError(
                f"{host.name}: {dataset} cannot get a key of its own while the key of {found.encryption_root} "
                "is not loaded"
            )
        yield command("zfs change-key {} {}", option_words("-o", key), dataset)
    yield from _converge(found, properties, quiet=not found.is_encryption_root)


@operation()
def key_loaded(dataset: str, keylocation: str) -> Commands:
    """The key of an encryption root is loaded, and will be after a reboot: the key file is tested even if the key is
    loaded already (`zfs load-key -n`), and keylocation names it.

    + dataset: name of an encryption root
    + keylocation: `file:///keys/...`

    **Example:** `zfs.key_loaded("zdata/enc", "file:///keys/f0:zdata.key")`
    """
    found = known(Datasets).get(dataset)
    if found is None or not found.is_encryption_root:
        if executing():
            state = "is not an encryption root" if found else "does not exist"
            raise OperationError(f"{host.name}: no key can be loaded, {dataset} {state}")
        host.noop(f"{dataset} is about to be made, with its key")
        return
    check = known(KeyChecks, keys=((dataset, keylocation),)).get(dataset)
    planned = check is KeyCheck.NO_FILE and not executing()
    now, wanted = key_file(found.get("keylocation")), key_file(keylocation)
    if check is KeyCheck.NO_FILE and now and wanted and now != wanted:
        folder = posixpath.dirname(wanted)
        if stick := known(Mounts, directories=(folder,)).at(folder):
            raise OperationError(
                f"{host.name}: the key of {dataset} is {now}, and this deploy looks for it in {wanted}. Copy it on "
                f"this stick: `{second_name(now, wanted, stick.device)}`. Then run this again: the others get it, too"
            )
    # one with a colon is of this deploy: of another host, or the old one of a rotation
    if check is KeyCheck.WRONG and now and now != wanted and ":" not in posixpath.basename(now):
        change = command("zfs change-key -l -o keylocation={} -o keyformat=raw {}", keylocation, dataset)
        raise OperationError(
            f"{host.name}: the key of {dataset} is {now}, and {wanted}, where this deploy looks for it, is another "
            f"one. Once tasks/usb_keys.py has nothing to do, so that every stick has that: `{change}` there, then run "
            "this again"
        )
    if check is not KeyCheck.FITS and not planned:
        state = (
            "Its key is loaded now, but after the next reboot the data could not be opened"
            if found.key_loaded
            else "Its data cannot be opened"
        )
        raise OperationError(
            f"{host.name}: {keylocation} does not open {dataset}: "
            f"{check.value if check else 'it could not be tested'}. {state}. "
            "tasks/usb_keys.py brings a file that this stick lacks, or says how a wrong one is set aside; where the "
            f"key is being rotated, tasks/rotate_keys.py goes on. Its keylocation is {found.get('keylocation')}"
        )
    current = found.get("keylocation")
    if current != keylocation:
        yield command("zfs set keylocation={} {}", keylocation, dataset)
    if not found.key_loaded:
        yield command("zfs load-key {}", dataset)
    elif current == keylocation:
        host.noop(f"the key of {dataset} is loaded and {keylocation} fits")


@operation()
def keys_loaded_at_boot(datasets: Sequence[str], sink: str) -> Commands:
    """rc.d/zfskeys loads the keys of these encryption roots and of all others of the host with a `file://` location.

    While `zfskeys_datasets` is empty, zfskeys opens every dataset that has a key location; with an entry in it,
    only those that it names (list_datasets in FreeBSD's libexec/rc/rc.d/zfskeys). So one entry needs all the others.

    + datasets: encryption roots that the deploy makes or serves
    + sink: dataset below which replicas arrive; those are opened only if `datasets` names them

    **Example:** `zfs.keys_loaded_at_boot(["zdata/enc"], "zdata/sink")`
    """
    found = known(Datasets)
    roots = opened_at_boot(found, datasets, sink)
    unfit = [name for name in roots if " " in name]
    if unfit:
        host.log(
            f"zfskeys_datasets is a list with spaces between its entries: {', '.join(unfit)} has to be opened by hand "
            "after each boot, or renamed",
            logger.warning,
        )
    current = known(Variables, names=("zfskeys_datasets",), file=RC_CONF)["zfskeys_datasets"]
    value = with_entries(current, [name for name in roots if name not in unfit])
    if value == (current or ""):
        host.noop(f'zfskeys_datasets="{value}" has every encryption root with a key file')
        return
    yield command("sysrc zfskeys_datasets={}", value)


@operation()
def mounted(dataset: str) -> Commands:
    """A dataset is mounted on its mount point.

    **Example:** `zfs.mounted("zdata/enc/nfsdata")`
    """
    found = known(Datasets).get(dataset)
    if found is None:
        if executing():
            raise OperationError(f"{host.name}: {dataset} does not exist and cannot be mounted")
        host.noop(f"{dataset} is about to be made and mounted")
        return
    mountpoint = found.get("mountpoint")
    if found.mounted:
        host.noop(f"{dataset} is mounted on {mountpoint}")
        return
    if mountpoint in (None, "none", "legacy") or found.get("canmount") == "off":
        raise OperationError(
            f"{host.name}: {dataset} cannot be mounted: mountpoint {mountpoint}, canmount {found.get('canmount')}"
        )
    if found.encrypted and not found.key_loaded and executing():
        raise OperationError(f"{host.name}: {dataset} cannot be mounted, its key is not loaded")
    yield command("zfs mount {}", dataset)


@operation()
def guarded_mountpoint(path: str, datasets: Sequence[str], parent: str, parent_mountpoint: str) -> Commands:
    """The bare directory below a mount point takes no writes: it is empty and `schg`, and ZFS still mounts over
    it (observed). Without this a host that boots without keys writes plain text into the pool's root.

    While the dataset is mounted the directory below is not visible. A property of the parent records that it was
    guarded; if it was not, as with datasets that were made by hand, files/once/guard-below.sh does it. A directory
    that is not empty holds data that should have been encrypted, which is an error. So is any other file system there:
    ZFS would mount over it, and hide what is in use.

    + path: the mount point
    + datasets: what may be mounted there
    + parent: dataset that holds the directory
    + parent_mountpoint: where that dataset is mounted

    **Example:** `zfs.guarded_mountpoint("/data/nfs", ["zdata/enc/nfsdata"], "zdata", "/data")`
    """
    table = known(Mounts, directories=(path,))
    mount = table.at(path)
    if mount is not None and mount.device not in datasets:
        raise OperationError(
            f"{host.name}: {mount.device} is mounted on {path}, where only {' or '.join(datasets)} belongs. Nothing "
            "was changed; give it another mount point, then run again, and copy what is to be served from there"
        )
    recorded = known(Guarded).get(parent, ())
    record = command("zfs set {}={} {}", GUARDED, " ".join(dict.fromkeys([*recorded, path])), parent)
    holder = table.at(parent_mountpoint)
    in_parent = holder is not None and holder.device == parent
    if mount is not None and (path in recorded or not in_parent):
        below = f"the directory below is {'schg' if in_parent else f'not in {parent}'}"
        host.noop(f"{mount.device} is mounted on {path}, {below}")
        return
    if mount is not None:
        below = path.removeprefix(f"{parent_mountpoint}/")
        yield command("{} && {}", script("guard-below", parent_mountpoint, below), record)
        return
    if not in_parent:
        if executing():
            raise OperationError(
                f"{host.name}: {path} was not made: {parent} is not mounted on {parent_mountpoint}, "
                f"but {holder.device if holder else 'nothing'}. tasks/zfs_encrypt.py mounts it, or says why it cannot"
            )
        yield command("mkdir -p {} && chflags schg {} && {}", path, path, record)
        return
    directory = table.directories[path]
    if directory.kind is None:
        # the parents stay writable: other datasets get their mount points there
        yield command("mkdir -p {} && chflags schg {} && {}", path, path, record)
        return
    if directory.kind != "Directory":
        raise OperationError(
            f"{host.name}: {path} is a {directory.kind}, not a directory: move it away, then run this again"
        )
    if directory.entries:
        raise OperationError(
            f"{host.name}: nothing is mounted on {path}, but it holds {', '.join(directory.entries)}: this was "
            f"written UNENCRYPTED into {parent}. Look at it, move it away, then run again"
        )
    if not directory.guarded:
        yield command("chflags schg {} && {}", path, record)
    elif path not in recorded:
        yield record
    else:
        host.noop(f"{path} is empty and schg")


def _create(name: str, options: Iterable[str]) -> Shell:
    return command("zfs create {} {}", option_words("-o", options), name)


def _converge(found: Dataset, properties: Mapping[str, Value], quiet: bool = False) -> Commands:
    changes = property_changes(found, properties)
    for key, value in changes.items():
        yield command("zfs set {}={} {}", key, value, found.name)
    if not changes and not quiet:
        host.noop(f"{found.name} is there with the wanted properties")
