"""The datasets of virtual machines as ZFS reports them: the tree, its marks and its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from f3s.parsing import UnknownOutput, number
from f3s.zfs import DATASET_PROPERTIES, Dataset, Property, Snapshot

# User properties (zfsprops(7)): set locally, inherited by children, so only a local value is a mark.
# MIGRATION, on O: started, done, destroying
# on D: started before the rename, then copying, verified; opening after a boot without the key (f3s.bhyve.afterwards)
SNAPSHOT = "f3s:migration_snapshot"  # name of the snapshot, chosen at the start; a later one after writes
VMS = "f3s:migration_vms"  # virtual machines that ran, comma-separated, `-` for none
MOUNTPOINT = "f3s:migration_mountpoint"  # `local:PATH` or `inherited:PATH`
CANMOUNT = "f3s:migration_canmount"  # `on` (local) or `default` before canmount=noauto
READONLY = "f3s:migration_readonly"  # `off` (local) or `default` before readonly=on
METADATA = "f3s:migration_metadata"  # on D: GUID of the snapshot of O whose files are proven to be in D

# Local settings that are not copied: how the data came to be, encryption, and what needs its own care.
_NOT_COPIED = frozenset(
    "encryption encryptionroot keyformat keylocation pbkdf2iters volsize volblocksize version type mounted".split()
)


class Refusal(Exception):
    """The migration must not go on; the text says why and what to do."""


def parse_all_properties(lines: Iterable[str]) -> dict[str, Dataset]:
    """Read `zfs get -Hp -o name,property,value,source -t filesystem,volume all`.

    `all` leaves out what does not apply, e.g. mounted for a volume; those of DATASET_PROPERTIES are `-` then.
    Raises UnknownOutput on a line with other fields and on a dataset without what every dataset has.
    """
    found: dict[str, dict[str, Property]] = {}
    for line in lines:
        fields = line.split("\t")
        if len(fields) != 4 or not fields[0] or not fields[1]:
            raise UnknownOutput(f"unexpected line from zfs get: {line!r}")
        found.setdefault(fields[0], {})[fields[1]] = Property(fields[2], fields[3])
    absent = Property("-", "-")
    datasets: dict[str, Dataset] = {}
    for name, properties in found.items():
        missing = [key for key in ("type", "encryption", "available", "written") if key not in properties]
        if missing:
            raise UnknownOutput(f"zfs get said nothing of {', '.join(missing)} for {name}")
        number(properties["available"].value, f"available of {name}")
        number(properties["written"].value, f"written of {name}")
        datasets[name] = Dataset(name, dict.fromkeys(DATASET_PROPERTIES, absent) | properties)
    return datasets


def parse_feature(lines: Sequence[str]) -> str:
    """Read `zpool get -H -o value feature@encryption`; `-` where the pool is older than features (zpool-features(7)).

    Raises UnknownOutput on another answer.
    """
    if len(lines) != 1 or lines[0] not in ("enabled", "active", "disabled", "-"):
        raise UnknownOutput(f"feature@encryption is {lines}")
    return lines[0]


def value(dataset: Dataset, name: str) -> str | None:
    """A property's value; None where it does not apply or this type of dataset does not have it."""
    found = dataset.properties.get(name)
    return None if found is None or found.value == "-" else found.value


def bytes_of(dataset: Dataset, name: str) -> int:
    """A number of bytes, 0 where it does not apply."""
    found = value(dataset, name)
    return int(found) if found and found.isdigit() else 0


def is_local(dataset: Dataset, name: str) -> bool:
    """Set on this dataset itself, by `zfs set` or with a stream, not inherited."""
    found = dataset.properties.get(name)
    return found is not None and found.source in ("local", "received")


def local(dataset: Dataset | None, name: str) -> str | None:
    """A property's own value; None where it is inherited or not set."""
    return dataset.properties[name].value if dataset and is_local(dataset, name) else None


def to_mount(dataset: Dataset) -> bool:
    """A file system that belongs somewhere and is not mounted."""
    place = value(dataset, "mountpoint") or ""
    return not dataset.mounted and value(dataset, "canmount") == "on" and place.startswith("/")


def tree(datasets: Mapping[str, Dataset], root: str) -> tuple[Dataset, ...]:
    """The dataset and all below it, parents first."""
    names = [name for name in datasets if name == root or name.startswith(f"{root}/")]
    return tuple(datasets[name] for name in sorted(names, key=lambda name: name.split("/")))


def history(snapshots: Iterable[Snapshot], dataset: str, last: str) -> tuple[Snapshot, ...]:
    """The snapshots of a dataset up to the one named last, oldest first; all of them where it is not there."""
    found: list[Snapshot] = []
    for snapshot in sorted((s for s in snapshots if s.dataset == dataset), key=lambda s: s.createtxg):
        found.append(snapshot)
        if snapshot.short_name == last:
            break
    return tuple(found)


def settings_of(source: Dataset) -> dict[str, str]:
    """The settings that are local to a source dataset, as they were before this migration retired it."""
    found = {
        name: prop.value
        for name, prop in source.properties.items()
        if is_local(source, name) and name not in _NOT_COPIED and not name.startswith("f3s:migration")
    }
    for name, mark, plain in (("canmount", CANMOUNT, "on"), ("readonly", READONLY, "off")):
        before = local(source, mark)
        if before == "default":
            found.pop(name, None)
        elif before is not None:
            found[name] = plain
    if source.is_volume and is_thick(source):
        # a number above volsize cannot be set, and the encrypted volume may need another one
        found["refreservation"] = "auto"
    return found


def is_thick(volume: Dataset) -> bool:
    """All of the volume's space is reserved.

    A partly received volume has no volsize (zfs_ioctl.c, zfs_ioc_objset_stats_impl), and is not.
    """
    return 0 < bytes_of(volume, "volsize") <= bytes_of(volume, "refreservation")


def settings_to_change(settings: Mapping[str, str], target: Dataset) -> dict[str, str]:
    """What to set on the target so that it has the settings."""
    return {
        name: wanted
        for name, wanted in settings.items()
        if not (name == "refreservation" and wanted == "auto" and is_thick(target)) and (local(target, name) != wanted)
    }


def check_encrypted(datasets: Mapping[str, Dataset], root: Dataset) -> str:
    """Raises Refusal where a dataset below an encryption root is plain; returns a remark on those with another root."""
    below = tree(datasets, root.name)[1:]
    if plain := [d.name for d in below if not d.encrypted]:
        raise Refusal(
            f"NOT ENCRYPTED, although below {root.name}: {', '.join(plain)}. With its virtual machine stopped, copy"
            " the topmost X to X_new, then what is below it, to below X_new: `zfs snapshot -r X@plain`, for each `zfs"
            " send X@plain | zfs recv -x encryption X_new`; where `zfs get -r encryption X_new` says off nowhere, `zfs"
            " destroy -r X` and rename X_new to it. A send with -R or -p would bring encryption=off along"
        )
    own = [d.name for d in below if d.encryption_root != root.encryption_root]
    return f"; under another key, which the boot does not load: {', '.join(own)} (zfs change-key -i)" if own else ""


def check_roots(datasets: Mapping[str, Dataset], name: str, root: str | None) -> None:
    """Raises Refusal where the dataset or one below it has another encryption root, or none."""
    wrong = [d for d in tree(datasets, name) if d.encryption_root != root]
    if wrong:
        listed = ", ".join(f"{d.name} ({d.encryption_root or 'not encrypted'})" for d in wrong)
        raise Refusal(f"not under the encryption root {root}: {listed}")
