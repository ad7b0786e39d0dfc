"""``zfs list`` and ``zfs get``: what is listed, in which order, and how the tables look (cmd/zfs/zfs_main.c)."""

from __future__ import annotations

from dataclasses import dataclass

from lab.core import CommandError
from lab.zfs import space, values
from lab.zfs.model import Bookmark, Dataset, Node, Snapshot, only
from lab.zfs.properties import PROPERTIES, find, user

Item = Dataset | Snapshot | Bookmark
TYPES = {
    "filesystem": "filesystem",
    "fs": "filesystem",
    "volume": "volume",
    "vol": "volume",
    "snapshot": "snapshot",
    "snap": "snapshot",
    "bookmark": "bookmark",
}
EVERYTHING = frozenset(TYPES.values())


@dataclass(frozen=True)
class Entry:
    """Something with properties: a dataset, or a snapshot or bookmark with the dataset that it belongs to."""

    name: str
    item: Item
    owner: Dataset

    @property
    def kind(self) -> str:
        if isinstance(self.item, Dataset):
            return self.item.kind
        return "snapshot" if isinstance(self.item, Snapshot) else "bookmark"


@dataclass
class Selection:
    """Which datasets a command works on.

    :param depth: levels below each operand; None for all, 0 for none
    """

    types: frozenset[str]
    depth: int | None = 0


def parse_types(text: str) -> frozenset[str] | None:
    """The value of -t; None if it is wrong."""
    found: set[str] = set()
    for word in text.split(","):
        if word == "all":
            found |= EVERYTHING
        elif word in TYPES:
            found.add(TYPES[word])
        else:
            return None
    return frozenset(found)


def open_entry(node: Node, name: str) -> Entry:
    """What an operand names; a path stands for the file system that it is on.

    :raises CommandError: there is no such thing
    """
    if name.startswith(("/", "./")):
        found = [m for m in node.host.mounts if name == m.target or name.startswith(m.target.rstrip("/") + "/")]
        best = max(found, key=lambda m: len(m.target), default=None)
        if best is None or best.fstype != "zfs":
            raise CommandError(f"cannot open '{name}': not a ZFS filesystem")
        name = best.device
    if "@" in name:
        owner, snap = node.snapshot(name)
        return Entry(name, snap, owner)
    if "#" in name:
        found_owner = node.find(name.split("#")[0])
        marks = found_owner.bookmarks if found_owner else []
        mark = next((b for b in marks if b.name == name.partition("#")[2]), None)
        if found_owner is None or mark is None:
            raise CommandError(f"cannot open '{name}': dataset does not exist")
        return Entry(name, mark, found_owner)
    dataset = node.dataset(name)
    return Entry(name, dataset, dataset)


def select(node: Node, operands: list[str], selection: Selection) -> tuple[list[Entry], list[str]]:
    """The datasets that operands and options choose, in ZFS's order, and messages about those that are not there."""
    problems: list[str] = []
    found: dict[str, Entry] = {}
    tops: list[Entry] = []
    for name in operands:
        try:
            entry = open_entry(node, name)
        except CommandError as error:
            problems.append(error.message)
            continue
        if selection.depth == 0 and entry.kind not in selection.types:
            problems.append(f"cannot open '{name}': operation not applicable to datasets of this type")
            continue
        tops.append(entry)
    if not operands:
        tops = [Entry(p.name, p.datasets[p.name], p.datasets[p.name]) for p in node.imported()]
    depth = None if not operands and selection.depth == 0 else selection.depth
    for top in tops:
        for entry in _descend(node, top, depth):
            if entry.kind in selection.types:
                found[entry.name] = entry
    return sorted(found.values(), key=_order), problems


def _descend(node: Node, top: Entry, depth: int | None) -> list[Entry]:
    if not isinstance(top.item, Dataset):
        return [top]
    entries = []
    for dataset in node.below(top.item):
        level = dataset.name[len(top.name) :].count("/")
        if depth is not None and level > depth:
            continue
        entries.append(Entry(dataset.name, dataset, dataset))
        if depth is None or level < depth:
            entries += [Entry(f"{dataset.name}@{s.name}", s, dataset) for s in dataset.snapshots]
            entries += [Entry(f"{dataset.name}#{b.name}", b, dataset) for b in dataset.bookmarks]
    return entries


def _order(entry: Entry) -> tuple[str, int, int, str]:
    rank = {"snapshot": 1, "bookmark": 2}.get(entry.kind, 0)
    txg = 0 if isinstance(entry.item, Dataset) else entry.item.createtxg
    return entry.owner.name, rank, txg, entry.name


def column(name: str) -> tuple[str, int, bool]:
    """Heading, least width and whether numbers stand on the right."""
    prop = PROPERTIES.get(name)
    if prop is None and name.startswith("written@"):
        return name.upper(), len(name), True
    if prop is None:
        return name.upper(), len(name), False
    return prop.column, prop.width, prop.right


def known(names: list[str]) -> list[str] | str:
    """Full names of properties, or the first one that there is not."""
    result = []
    for name in names:
        prop = find(name)
        if prop is None and not user(name) and not name.startswith("written@"):
            only("@" not in name, f"zfs property {name}")
            return name
        result.append(prop.name if prop else name)
    return result


def table(node: Node, entries: list[Entry], names: list[str], *, scripted: bool, exact: bool) -> str:
    """The output of ``zfs list``."""
    sizes = space.Space(node)
    rows = [[values.text(n, values.get(sizes, e.item, e.owner, n), exact) for n in names] for e in entries]
    if scripted:
        return "".join("\t".join(row) + "\n" for row in rows)
    heads = [column(n) for n in names]
    widths = [max([w, *(len(r[i]) for r in rows)]) for i, (_, w, _) in enumerate(heads)]
    lines = []
    for row in [[h for h, _, _ in heads], *rows]:
        cells = []
        for i, (cell, width, (_, _, right)) in enumerate(zip(row, widths, heads, strict=True)):
            last = i == len(row) - 1
            cells.append(cell.rjust(width) if right else cell if last else cell.ljust(width))
        lines.append("  ".join(cells) + "\n")
    return "".join(lines)


def sort(node: Node, entries: list[Entry], keys: list[tuple[str, bool]]) -> list[Entry]:
    """``-s`` and ``-S`` of zfs list: numbers by size, others as text; the first key counts most."""
    sizes = space.Space(node)
    for name, reverse in reversed(keys):
        numeric = name in PROPERTIES and (PROPERTIES[name].right or name == "creation")

        def key(entry: Entry, name: str = name, numeric: bool = numeric) -> tuple[bool, float, str]:
            value = values.get(sizes, entry.item, entry.owner, name)
            if value is None:
                return True, 0.0, ""
            if numeric and value[0].isdigit():
                return False, float(value[0]), ""
            return False, 0.0, value[0]

        entries = sorted(entries, key=key, reverse=reverse)
    return entries


@dataclass(frozen=True)
class GetStyle:
    """How ``zfs get`` prints.

    :param sources: first words of the sources that -s lets through; empty for all
    """

    scripted: bool = False
    exact: bool = False
    fields: tuple[str, ...] = ("name", "property", "value", "source")
    sources: tuple[str, ...] = ()


def lines(node: Node, entries: list[Entry], names: list[str] | None, style: GetStyle) -> str:
    """The output of ``zfs get``.

    :param names: None for ``all``
    """
    sizes = space.Space(node)
    rows: list[dict[str, str]] = []
    for entry in entries:
        for name in names or _all(node, entry):
            value = values.get(sizes, entry.item, entry.owner, name)
            if value is None and names is None:
                continue
            source = value[1] if value else "-"
            if style.sources and {"-": "none"}.get(source, source.split()[0]) not in style.sources:
                continue
            received = entry.owner.received.get(name, "-") if entry.item is entry.owner else "-"
            text = values.text(name, value, style.exact)
            rows.append({"name": entry.name, "property": name, "value": text, "received": received, "source": source})
    if style.scripted:
        return "".join("\t".join(r[f] for f in style.fields) + "\n" for r in rows)
    if not rows:
        return ""
    heads = {f: f.upper() for f in style.fields}
    widths = {f: max(len(heads[f]), *(len(r[f]) for r in rows)) for f in style.fields}
    if "value" in widths:
        widths["value"] = max(widths["value"], *(column(r["property"])[1] for r in rows))
    out = []
    for row in [heads, *rows]:
        cells = [row[f].ljust(widths[f]) for f in style.fields[:-1]] + [row[style.fields[-1]]]
        out.append("  ".join(cells) + "\n")
    return "".join(out)


def _all(node: Node, entry: Entry) -> list[str]:
    """Every property that ``zfs get all`` shows: the native ones, then the user properties."""
    users: set[str] = set()
    dataset: Dataset | None = entry.owner
    while dataset is not None:
        users |= {n for n in (dataset.props | dataset.received) if user(n)}
        dataset = node.find(dataset.parent) if dataset.parent else None
    if not isinstance(entry.item, Dataset):
        users |= set(getattr(entry.item, "props", {}))
    return [n for n in PROPERTIES if n != "name"] + sorted(users)
