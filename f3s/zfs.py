"""ZFS as its commands report it: datasets, snapshots and pools in machine units (`-Hp`)."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from f3s.parsing import UnknownOutput, number, sections

MIGRATION = "f3s:migration"
"""User property: how far the move of the virtual machines to encrypted datasets is (f3s.bhyve.tree)."""
DATASET_PROPERTIES = (
    "type",
    "encryption",
    "encryptionroot",
    "keystatus",
    "keylocation",
    "keyformat",
    "mountpoint",
    "mounted",
    "canmount",
    "readonly",
    "guid",
    "written",
    "receive_resume_token",
    "volsize",
    "used",
    "available",
    "compression",
    "atime",
    "recordsize",
    "snapdir",
    MIGRATION,
)
POOL_PROPERTIES = ("name", "health", "guid", "size", "free", "autotrim", "failmode")
SNAPSHOT_PROPERTIES = ("name", "guid", "createtxg", "creation")


GUARDED = "f3s:guarded"
"""User property: the directories of this file system that were made schg, as the mount points of others."""


@dataclass(frozen=True)
class Property:
    """A property's value as `zfs get -p` prints it, and where it comes from (local, default, inherited ...)."""

    value: str
    source: str


@dataclass(frozen=True)
class Dataset:
    """A file system or volume with the properties of DATASET_PROPERTIES."""

    name: str
    properties: Mapping[str, Property]

    def get(self, name: str) -> str | None:
        """A property's value; None where it does not apply (ZFS prints `-`)."""
        value = self.properties[name].value
        return None if value == "-" else value

    @property
    def pool(self) -> str:
        return self.name.partition("/")[0]

    @property
    def parent(self) -> str | None:
        return self.name.rpartition("/")[0] or None

    @property
    def is_volume(self) -> bool:
        return self.properties["type"].value == "volume"

    @property
    def encrypted(self) -> bool:
        return self.properties["encryption"].value != "off"

    @property
    def encryption_root(self) -> str | None:
        return self.get("encryptionroot")

    @property
    def is_encryption_root(self) -> bool:
        return self.encryption_root == self.name

    @property
    def key_loaded(self) -> bool:
        return self.properties["keystatus"].value == "available"

    @property
    def mounted(self) -> bool:
        return self.properties["mounted"].value == "yes"

    @property
    def written(self) -> int:
        """Bytes written since the last snapshot; lags until `zpool sync` (observed)."""
        return int(self.properties["written"].value)


@dataclass(frozen=True)
class Snapshot:
    """name: `dataset@snapshot`; guid: equal on both sides of a replication; creation: seconds since 1970."""

    name: str
    guid: str
    createtxg: int
    creation: int

    @property
    def dataset(self) -> str:
        return self.name.partition("@")[0]

    @property
    def short_name(self) -> str:
        return self.name.partition("@")[2]


@dataclass(frozen=True)
class Marks:
    """What keeps history: bookmarks (`dataset#name`), and the tags of the holds on each snapshot that has any."""

    bookmarks: tuple[str, ...]
    holds: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class PoolStatus:
    """One pool in `zpool status -LP`.

    + vdevs: the providers below it, e.g. `ada1` or `gpt/zdata`
    + status: what is remarkable about it; None where ZFS has nothing to say
    + scans: the last or present scrub and resilver; there may be one of each
    + errors: what is known of damaged data; None where ZFS does not say
    """

    vdevs: tuple[str, ...] = ()
    status: str | None = None
    scans: tuple[str, ...] = ()
    errors: str | None = None

    @property
    def scanned(self) -> int | None:
        """When the last scrub or resilver ended or began, seconds since 1970 as if it were UTC; None: never."""
        ends = [found[1] for scan in self.scans if (found := _SCANNED.search(scan))]
        return max((calendar.timegm(time.strptime(end, "%a %b %d %H:%M:%S %Y")) for end in ends), default=None)


_SCANNED = re.compile(r" (?:on|since) (\w{3} \w{3} +\d+ [\d:]{8} \d{4})")
"""The end of a line of `scan:` (print_scan_status in OpenZFS's zpool_main.c, ctime(3))."""


@dataclass(frozen=True)
class Pool:
    """An imported pool; size and free in bytes."""

    name: str
    health: str
    guid: str
    size: int
    free: int
    properties: Mapping[str, str]
    status: PoolStatus

    @property
    def vdevs(self) -> tuple[str, ...]:
        return self.status.vdevs


def parse_datasets(lines: Iterable[str]) -> dict[str, Dataset]:
    """Read `zfs get -Hp -o name,property,value,source -t filesystem,volume PROPERTIES`.

    Raises UnknownOutput on a line with other fields, an unknown property and a dataset that lacks one.
    """
    found: dict[str, dict[str, Property]] = {}
    for line in lines:
        fields = line.split("\t")
        if len(fields) != 4 or fields[1] not in DATASET_PROPERTIES or not fields[0]:
            raise UnknownOutput(f"unexpected line from zfs get: {line!r}")
        name, key, value, source = fields
        found.setdefault(name, {})[key] = Property(value, source)
    datasets: dict[str, Dataset] = {}
    for name, properties in found.items():
        missing = [key for key in DATASET_PROPERTIES if key not in properties]
        if missing:
            raise UnknownOutput(f"zfs get said nothing of {', '.join(missing)} for {name}")
        if properties["type"].value not in ("filesystem", "volume"):
            raise UnknownOutput(f"{name} has the unknown type {properties['type'].value!r}")
        number(properties["written"].value, f"written of {name}")
        datasets[name] = Dataset(name, properties)
    return datasets


def parse_guarded(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read `zfs get -H -s local -o name,value GUARDED`: paths by dataset. Raises UnknownOutput on another line."""
    return {name: tuple(paths.split()) for name, paths in _named_values(lines)}


def parse_written(lines: Iterable[str]) -> dict[str, int]:
    """Read `zfs get -Hp -o name,value written`: bytes by dataset; raises UnknownOutput on a line in another form."""
    return {name: number(value, f"written of {name}") for name, value in _named_values(lines)}


def _named_values(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, tab, value = line.partition("\t")
        if not tab:
            raise UnknownOutput(f"unexpected line from zfs get: {line!r}")
        yield name, value


def parse_marks(lines: Iterable[str]) -> Marks:
    """Read the sections of facts.zfs.HistoryMarks. Raises UnknownOutput on other output."""
    parts = sections(lines, "bookmarks", "holds")
    holds: dict[str, tuple[str, ...]] = {}
    for line in parts["holds"]:
        name, tag, *_ = [*line.split("\t"), ""]
        if "@" not in name or not tag:
            raise UnknownOutput(f"unexpected line from zfs holds: {line!r}")
        holds[name] = (*holds.get(name, ()), tag)
    return Marks(tuple(parts["bookmarks"]), holds)


def parse_snapshots(lines: Iterable[str]) -> tuple[Snapshot, ...]:
    """Read `zfs list -Hp -t snapshot -o SNAPSHOT_PROPERTIES`; oldest first within a dataset."""
    found: list[Snapshot] = []
    for line in lines:
        fields = line.split("\t")
        if len(fields) != len(SNAPSHOT_PROPERTIES) or "@" not in fields[0]:
            raise UnknownOutput(f"unexpected line from zfs list: {line!r}")
        name, guid, txg, creation = fields
        found.append(Snapshot(name, guid, number(txg, f"createtxg of {name}"), number(creation, f"creation of {name}")))
    return tuple(sorted(found, key=lambda snapshot: (snapshot.dataset, snapshot.createtxg)))


def parse_pools(lines: Iterable[str]) -> dict[str, Pool]:
    """Read the sections `list` (`zpool list -Hp -o POOL_PROPERTIES`) and `status` (`zpool status -LP`)."""
    parts = sections(lines, "list", "status")
    states = parse_pool_status(parts["status"])
    pools: dict[str, Pool] = {}
    for line in parts["list"]:
        fields = line.split("\t")
        if len(fields) != len(POOL_PROPERTIES):
            raise UnknownOutput(f"unexpected line from zpool list: {line!r}")
        values = dict(zip(POOL_PROPERTIES, fields, strict=True))
        name = values["name"]
        if name not in states:
            raise UnknownOutput(f"zpool status does not show the pool {name}")
        # a pool that is suspended or gone reports no sizes
        size, free = (number(values[key], key) if values[key] != "-" else 0 for key in ("size", "free"))
        settings = {key: values[key] for key in ("autotrim", "failmode")}
        pools[name] = Pool(name, values["health"], values["guid"], size, free, settings, states[name])
    if set(states) != set(pools):
        raise UnknownOutput("zpool list and zpool status show different pools")
    return pools


_HEADING = re.compile(r" {0,4}([a-z][a-z ]*):(?: (.*))?")


def parse_pool_status(lines: Iterable[str]) -> dict[str, PoolStatus]:
    """Read `zpool status -LP` (status_callback in OpenZFS's zpool_main.c): headings, whose text may take more lines.

    Vdevs that are no providers (mirror-0, logs) have no path; a device that is gone is shown by its guid with
    `was /dev/...`. Raises UnknownOutput on text before the first pool.
    """
    pools: dict[str, list[tuple[str, str]]] = {}
    parts: list[tuple[str, str]] | None = None
    for line in lines:
        match = _HEADING.fullmatch(line)
        text = " ".join((match[2] or "" if match else line).split())
        if match and match[1] == "pool":
            parts = pools[text] = [("pool", "")]
        elif parts is None and text and line != "no pools available":
            raise UnknownOutput(f"unexpected line from zpool status: {line!r}")
        elif parts is not None and match:
            parts.append((match[1], text))
        elif parts is not None and text:
            heading, before = parts.pop()
            parts.append((heading, f"{before} {text}".strip()))
    return {name: _pool_status(parts) for name, parts in pools.items()}


def _pool_status(parts: list[tuple[str, str]]) -> PoolStatus:
    # below any heading: a provider that is overlooked might be taken for a blank disk
    vdevs = [device for _, text in parts for device in re.findall(r"(?:^|\s)/dev/(\S+)", text)]
    texts = dict(parts)
    scans = tuple(text for heading, text in parts if heading == "scan")
    return PoolStatus(tuple(vdevs), texts.get("status"), scans, texts.get("errors"))


def parse_importable(lines: Iterable[str]) -> tuple[str, ...]:
    """Names of the pools that `zpool import` finds on disks but that are not imported.

    Raises UnknownOutput on output that neither names a pool nor says that there is none.
    """
    text = [line for line in lines if line.strip()]
    if not text or any("no pools available to import" in line for line in text):
        return ()
    names = tuple(match.group(1) for line in text if (match := re.fullmatch(r"\s*pool: (\S+)", line)))
    if not names:
        raise UnknownOutput(f"unexpected output of zpool import: {text[0]!r}")
    return names


def key_file(keylocation: str | None) -> str | None:
    """The path in a `file://` key location; None for prompt, https and none."""
    if keylocation is None or not keylocation.startswith("file://"):
        return None
    return keylocation.removeprefix("file://")


def opened_at_boot(datasets: Mapping[str, Dataset], named: Iterable[str], sink: str) -> list[str]:
    """The encryption roots whose key the boot has to load: those named, and all others with a `file://` location.

    Replicas below the sink are left out unless they are named: to store them nobody needs their key. A named one
    with another location is left out, too: zfskeys has no key for it.

    + named: may not be there yet
    + sink: dataset below which replicas arrive
    """

    def has_key_file(dataset: Dataset) -> bool:
        return dataset.is_encryption_root and key_file(dataset.get("keylocation")) is not None

    wanted = [
        name
        for name in named
        if name not in datasets or not datasets[name].is_encryption_root or has_key_file(datasets[name])
    ]
    others = (dataset.name for dataset in datasets.values() if has_key_file(dataset))
    return list(dict.fromkeys([*wanted, *(name for name in others if not f"{name}/".startswith(f"{sink}/"))]))


_SUFFIXES = {"K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SIZES = ("recordsize", "volsize")


def as_reported(name: str, value: str | int | bool) -> str:
    """A wanted value in the form in which `zfs get -p` prints it: `on` for True, bytes for `128K`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    match = re.fullmatch(r"(\d+)([KMGTP])i?B?", text, re.IGNORECASE)
    if name in _SIZES and match:
        return str(int(match.group(1)) * 1024 ** _SUFFIXES[match.group(2).upper()])
    if name == "encryption" and text == "on":
        # what `on` stands for in OpenZFS 2.x (observed)
        return "aes-256-gcm"
    return text


def property_changes(dataset: Dataset, wanted: Mapping[str, str | int | bool]) -> dict[str, str]:
    """The properties that differ, with the value to set.

    Raises KeyError for a property that is not in DATASET_PROPERTIES: what is not read cannot be compared.
    """
    reported = {name: as_reported(name, value) for name, value in wanted.items()}
    return {name: text for name, text in reported.items() if dataset.properties[name].value != text}
