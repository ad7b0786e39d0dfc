"""zrepl.yml with two owners: the deploy's jobs among those of the operator, which stay byte for byte, comments too.

What the deploy wrote has a line with MARK above it. So it knows a job of its own that is no longer in the data from one
of the operator's. PyYAML's nodes say on which lines a job is; nothing is written anew that is not replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from f3s.pruning import Rules, selects
from f3s.settings.model import is_within
from f3s.textfile import NoPlace, ended
from f3s.zfs import Snapshot

MARK = "# f3s: written by the deploy, what is changed in this part is lost"
_EARLIER = "# Written by the f3s deploy; changes made here are lost.\n"
"""First line of the file when all of it was the deploy's."""


@dataclass(frozen=True)
class _Part:
    """A job, or a key of `global`: its name, lines `first` to `last` (without the mark) and value."""

    name: str
    first: int
    last: int
    marked: bool
    value: Any


@dataclass(frozen=True)
class _Edit:
    """Lines `first` to `last` become `text`; `last` is `first` - 1 where it is put before `first`."""

    first: int
    last: int
    text: str


class _Form(BaseModel):
    """What of a job is read here or by the survey, in the form in which zrepl takes it."""

    name: str
    type: str
    root_fs: str = ""
    connect: dict[str, Any] = {}
    serve: dict[str, Any] = {}
    snapshotting: dict[str, Any] = {}
    pruning: dict[str, list[dict[str, Any]]] = {}


_JOBS = TypeAdapter(list[_Form])


def job_list(text: str) -> list[dict[str, Any]]:
    """The jobs in a zrepl.yml; none in an empty one.

    Raises NoPlace where that cannot be told, also of a file that takes jobs from others.
    """
    try:
        config = yaml.safe_load(text) or {}
        if included := [key for key in config if str(key).startswith("include")]:
            raise NoPlace(f"`{included[0]}` takes jobs from other files: put them into this one")
        jobs = config.get("jobs") or []
        _JOBS.validate_python(jobs)
        return list(jobs)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("jobs", *first["loc"])))
        raise NoPlace(f"{place} is not what zrepl takes: {first['msg']}") from error
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise NoPlace(f"it is not the configuration of zrepl: {' '.join(str(error).split())}") from error


def merged(before: str, ours: Mapping[str, Any]) -> str:
    """The text of zrepl.yml with the deploy's jobs: in their place, or behind the others.

    Jobs that the deploy wrote and that are no longer in the data go. Of `global` the operator's keys stay, those that
    are missing are added. Where all of that is so, the text is the same.

    ours: the deploy's own `global` and `jobs`

    Raises NoPlace where a job of the operator's does what one of ours does, and where the file is written in a way
    that leaves no place for lines between others.
    """
    text = ended(before.removeprefix(_EARLIER))
    theirs = job_list(text)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and (not _is_block(root) or root.start_mark.column):
        raise NoPlace("it is not written as indented lines")
    keys = {key.value: (key, value) for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    lines = text.splitlines(keepends=True)
    edits: list[_Edit] = []
    if "jobs" in keys:
        edits += _jobs(lines, keys["jobs"][1], ours["jobs"])
    if "global" in keys:
        edits += _globals(lines, keys["global"][1], ours["global"])
    for edit in sorted(edits, key=lambda edit: edit.first, reverse=True):
        lines[edit.first : edit.last + 1] = [edit.text]
    for key in ("global", "jobs"):
        if key not in keys:
            lines.append(f"{key}:\n{_parts(ours[key])}")
    after = "".join(lines)
    _prove(after, theirs, ours["jobs"])
    return after


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _jobs(lines: list[str], node: yaml.Node, ours: list[dict[str, Any]]) -> Iterator[_Edit]:
    if not isinstance(node, yaml.SequenceNode) or not _is_block(node):
        raise NoPlace("`jobs` is not written as one indented block a job")
    values = zip(node.value, _value(node), strict=True)
    parts = [_part(lines, value["name"], item, item, value) for item, value in values]
    wanted = {job["name"]: job for job in ours}
    for part in parts:
        if part.marked:
            continue
        if part.name in wanted:
            _refuse_other(part.value, wanted[part.name])
        else:
            _refuse_twin(part.value, ours)
    yield from _replaced(lines, parts, wanted, own=True)
    missing = [job for job in ours if job["name"] not in {part.name for part in parts}]
    if missing:
        indent = " " * _dash(lines[parts[-1].first])
        yield _Edit(parts[-1].last + 1, parts[-1].last, _indented(_parts(missing), indent))


def _globals(lines: list[str], node: yaml.Node, ours: dict[str, Any]) -> Iterator[_Edit]:
    if not isinstance(node, yaml.MappingNode) or not _is_block(node):
        raise NoPlace("`global` is empty, or not written as one indented block a key")
    parts = [_part(lines, key.value, key, value, _value(value)) for key, value in node.value]
    yield from _replaced(lines, parts, {key: {key: value} for key, value in ours.items()}, own=False)
    missing = {key: value for key, value in ours.items() if key not in {part.name for part in parts}}
    if missing:
        column = node.start_mark.column
        yield _Edit(parts[-1].last + 1, parts[-1].last, _indented(_parts(missing), " " * (column - 2)))


def _replaced(lines: list[str], parts: Iterable[_Part], wanted: Mapping[str, Any], *, own: bool) -> Iterator[_Edit]:
    """The edits of what is there.

    own: what has our name is ours; otherwise only what has the mark or is the same
    """
    for part in parts:
        mark = part.first - 1 if part.marked else part.first
        if part.name not in wanted:
            if part.marked:
                yield _Edit(mark, part.last, "")
            continue
        value = wanted[part.name]
        same = part.value == (value if own else value[part.name])
        if same and not part.marked:
            indent = re.match(" *", lines[part.first])
            yield _Edit(part.first, part.first - 1, f"{indent[0] if indent else ''}{MARK}\n")
        elif not same and (own or part.marked):
            column = _dash(lines[part.first]) if own else len(lines[part.first]) - len(lines[part.first].lstrip()) - 2
            yield _Edit(mark, part.last, _indented(_parts([value] if own else value), " " * column))


def _part(lines: list[str], name: str, start: yaml.Node, end: yaml.Node, value: Any) -> _Part:
    first = start.start_mark.line
    marked = first > 0 and lines[first - 1].strip() == MARK
    return _Part(name, first, _last_line(lines, end), marked, value)


def _dash(line: str) -> int:
    """The column of the dash that begins a job."""
    match = re.match(r"( *)- *\S", line)
    if match is None:
        raise NoPlace(f"the dash of a job is not on the line on which the job begins: {line.strip()}")
    return len(match[1])


def _last_line(lines: list[str], node: yaml.Node) -> int:
    """A block's own end mark is behind the comments that follow; that of its last scalar is not."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    last = int(node.end_mark.line) - (node.end_mark.column == 0)
    while not lines[last].strip():  # behind a text of several lines
        last -= 1
    return last


def _value(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_document(node)


def _parts(parts: list[dict[str, Any]] | dict[str, Any]) -> str:
    """Jobs, or keys of `global`, each below a mark."""
    if isinstance(parts, list):
        return "".join(f"{MARK}\n{_dump([job])}" for job in parts)
    return "".join(_indented(f"{MARK}\n{_dump({key: value})}", "  ") for key, value in parts.items())


def _dump(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=110)


def _indented(text: str, indent: str) -> str:
    return "".join(f"{indent}{line}" for line in text.splitlines(keepends=True))


def _refuse_other(theirs: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Raise NoPlace if a job of the operator's has the name of one of ours, and does more or something else."""
    also = " and another port" if job["type"] == "sink" else ""
    if theirs.get("type") != job["type"]:
        more = [f"type {theirs.get('type')}"]
    elif job["type"] == "push":
        roots = [pattern.rstrip("<") for pattern in job["filesystems"]]
        chosen = [name.rstrip("<") for name, value in _of(theirs, "filesystems").items() if value]
        more = [name for name in chosen if not any(is_within(name, root) for root in roots)]
        to = _of(theirs, "connect").get("address")
        if to == job["connect"]["address"]:
            also = f" and take {', '.join(roots)} out of it ({', '.join(f'`{root}<: false`' for root in roots)})"
        else:
            more.append(f"address {to}")
    else:
        root = theirs.get("root_fs")
        more = [] if root == job["root_fs"] else [f"root_fs {root}"]
        more += [f"client {one}" for one in _of(_of(theirs, "serve"), "clients") if one not in job["serve"]["clients"]]
    if more:
        raise NoPlace(
            f"its job {job['name']} has {', '.join(more)}, which the deploy's job of that name has not: give it "
            f"another name there{also}, or change the data so that it says the same"
        )


def _refuse_twin(theirs: Mapping[str, Any], ours: Iterable[Mapping[str, Any]]) -> None:
    """Raise NoPlace if a job of the operator's and one of ours do the same."""
    for job in ours:
        if job["type"] == "push":
            same = theirs.get("type") == "push" and _of(theirs, "connect").get("address") == job["connect"]["address"]
            same = same and any(_shares(_of(theirs, "filesystems"), name.rstrip("<")) for name in job["filesystems"])
            way = f"Give {job['name']} the name {theirs['name']} in zrepl_jobs, and its replication goes on"
        else:
            same = _of(theirs, "serve").get("listen") == job["serve"]["listen"]
            way = f"Call it {job['name']} there"
        if same:
            raise NoPlace(
                f"its job {theirs['name']} does what {job['name']} of this deploy does. {way}; or take it out there"
            )


def _of(job: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = job.get(key)
    return value if isinstance(value, Mapping) else {}


def _shares(filesystems: Mapping[str, bool], dataset: str) -> bool:
    return selects(filesystems, dataset) or any(
        is_within(pattern.rstrip("<"), dataset) for pattern, chosen in filesystems.items() if chosen
    )


def _prove(after: str, theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> None:
    """Raise NoPlace unless the text means what it should: an anchor in a job of ours may have served another one."""
    names = {job["name"] for job in ours}
    jobs = job_list(after)
    kept = [job for job in jobs if job["name"] not in names]
    if {job["name"]: job for job in jobs if job["name"] in names} != {job["name"]: job for job in ours} or any(
        job not in theirs for job in kept
    ):
        raise NoPlace("its jobs share text (`&` and `*`), so none of them can be replaced alone: write that text out")


def pruned_by(jobs: Iterable[Mapping[str, Any]], dataset: str, side: str) -> list[Rules]:
    """The keep rules of each job that prunes a dataset of its host, or its replica.

    side: keep_sender or keep_receiver
    """
    found = []
    for job in jobs:
        pruning = _of(job, "pruning")
        rules = pruning.get(side) or (pruning.get("keep") if side == "keep_sender" else None)
        if rules and selects(_of(job, "filesystems"), dataset):
            found.append(rules)
    return found


def loss(job: str, lost: Mapping[str, Iterable[Snapshot]]) -> str:
    """What to say of snapshots that a job's keep rules would delete; lost: by where they are."""
    told = []
    for where, snapshots in lost.items():
        names = [each.short_name for each in snapshots]
        told.append(f"{len(names)} of {where}: {', '.join(names)}")
    return (
        f"the keep rules of {job} would delete snapshots that are kept today. {'; '.join(told)}. Keep more "
        f"(zrepl_keep_grid, zrepl_keep_last), or let them go with zrepl_prune_history = [{job!r}]"
    )
