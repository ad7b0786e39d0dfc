"""``zfs list`` and ``zfs get``: what is listed, in which order, and how the tables look (cmd/zfs/zfs_main.c)."""

from __future__ import annotations

from lab.core import CommandError
from lab.zfs import space, units, values
from lab.zfs.model import Bookmark, Dataset, Node, only
from lab.zfs.properties import PROPERTIES, find, user

Item = Dataset | Bookmark
EVERYTHING = frozenset({"filesystem", "volume", "snapshot", "bookmark"})


def parse_types(text: str) -> frozenset[str]:
    """The value of -t."""
    words = text.split(",")
    only(set(words) <= {"all", *EVERYTHING}, f"the type {text} of a dataset")
    return EVERYTHING if "all" in words else frozenset(words)


def open_item(node: Node, name: str) -> Item:
    """What an operand names."""
    only(not name.startswith(("/", "./")) and "#" not in name, f"zfs list or get of {name}")
    return node.snapshot(name)[1] if "@" in name else node.dataset(name)


def select(
    node: Node, operands: list[str], types: frozenset[str], depth: int | None
) -> tuple[list[Item], list[CommandError]]:
    """The datasets that operands and options choose, in ZFS's order, and errors about those that are not there.

    :param depth: levels below each operand; None for all, 0 for none
    """
    problems: list[CommandError] = []
    tops: list[Item] = []
    for name in operands:
        try:
            entry = open_item(node, name)
        except CommandError as error:
            problems.append(error)
            continue
        only(depth != 0 or entry.kind in types, f"zfs list or get of {name}, which is a {entry.kind}")
        tops.append(entry)
    if not operands:
        tops = [p.datasets[p.name] for p in node.imported()]
        depth = depth or None
    found = {entry.full: entry for top in tops for entry in _descend(node, top, depth) if entry.kind in types}
    return sorted(found.values(), key=_order), problems


def _descend(node: Node, top: Item, depth: int | None) -> list[Item]:
    if not isinstance(top, Dataset):
        return [top]
    found: list[Item] = []
    for dataset in node.below(top):
        level = dataset.name[len(top.name) :].count("/")
        if depth is None or level <= depth:
            found.append(dataset)
        if depth is None or level < depth:
            found += [*dataset.snapshots, *dataset.bookmarks]
    return found


def _order(item: Item) -> tuple[str, int, int, str]:
    rank = {"snapshot": 1, "bookmark": 2}.get(item.kind, 0)
    return item.of.name, rank, 0 if isinstance(item, Dataset) else item.createtxg, item.full


def known(names: list[str]) -> list[str]:
    """Full names of properties."""
    result = []
    for name in names:
        prop = find(name)
        only("@" not in name and (prop is not None or user(name)), f"the property {name}")
        result.append(prop.name if prop else name)
    return result


def table(node: Node, entries: list[Item], names: list[str], *, scripted: bool, exact: bool) -> str:
    """The output of ``zfs list``."""
    sizes = space.Space(node)
    rows = [[values.text(n, values.get(sizes, e, n), exact) for n in names] for e in entries]
    columns = [PROPERTIES.get(name) for name in names]
    heads = [c.column if c else name.upper() for c, name in zip(columns, names, strict=True)]
    least = [c.width if c else len(name) for c, name in zip(columns, names, strict=True)]
    return units.table([heads, *rows], least, [bool(c and c.right) for c in columns], scripted=scripted)


def sort(node: Node, entries: list[Item], name: str) -> list[Item]:
    """``-s`` of zfs list: numbers by size, others as text; what has no value comes last."""
    sizes = space.Space(node)

    def key(entry: Item) -> tuple[bool, float, str]:
        value = values.get(sizes, entry, name)
        text = value[0] if value else ""
        return value is None, float(text) if text.isdigit() else 0.0, text

    return sorted(entries, key=key)


def lines(
    node: Node,
    entries: list[Item],
    names: list[str] | None,
    fields: list[str],
    sources: set[str],
    *,
    scripted: bool,
    exact: bool,
) -> str:
    """The output of ``zfs get``.

    :param names: None for ``all``
    :param sources: first words of the sources that -s lets through; empty for all
    """
    sizes = space.Space(node)
    rows: list[dict[str, str]] = []
    for entry in entries:
        for name in names or _all(node, entry):
            value = values.get(sizes, entry, name)
            if value is None and names is None:
                continue
            source = value[1] if value else "-"
            if sources and source.split()[0] not in sources:
                continue
            text = values.text(name, value, exact)
            rows.append({"name": entry.full, "property": name, "value": text, "source": source})
    if not rows:
        return ""
    # libzfs keeps room for any value of the properties
    room = max((PROPERTIES[row["property"]].width for row in rows if row["property"] in PROPERTIES), default=0)
    heads = [field.upper() for field in fields]
    least = [room if field == "value" else 0 for field in fields]
    cells = [[row[field] for field in fields] for row in rows]
    return units.table([heads, *cells], least, [False] * len(fields), scripted=scripted)


def _all(node: Node, entry: Item) -> list[str]:
    """Every property that ``zfs get all`` shows: the native ones, then the user properties."""
    users: set[str] = set()
    dataset: Dataset | None = entry.of
    while dataset is not None:
        users |= {n for n in dataset.props if user(n)}
        dataset = node.find(dataset.parent) if dataset.parent else None
    return [n for n in PROPERTIES if n != "name"] + sorted(users)
