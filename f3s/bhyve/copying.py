"""The children of O are copied to D: streams of one dataset and one snapshot each, and the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from f3s.bhyve.commands import options, set_properties
from f3s.bhyve.model import Migration, Move, Step
from f3s.bhyve.tree import Refusal, bytes_of, history, settings_of, settings_to_change, value
from f3s.quoting import Shell, command
from f3s.zfs import Dataset, Snapshot

# Room for what nobody can know before: encrypted blocks are not embedded, and metadata is encrypted, too.
_MARGIN_PARTS, _MARGIN = 10, 64 * 1024**2
# These need the data, or would stand in its way.
_AFTER_THE_DATA = ("refreservation", "reservation", "quota", "refquota")
# `zfs send -v` reports every second: one line a minute is enough for a copy of hours; all else is shown.
_PROGRESS = "/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]/ && n++ % 60 { next } { print; fflush() }"


def copy_children(migration: Migration) -> list[Step]:
    """A step for each child without a copy; until D is verified, also for one that lacks snapshots or settings."""
    steps = [step for move in migration.moves[1:] for step in _copy(migration, move)]
    if steps and migration.renamed:
        check_space(migration)
    return steps


def _copy(migration: Migration, move: Move) -> Iterator[Step]:
    snapshots, last, copy = migration.facts.snapshots, migration.snapshot, move.copy
    if migration.verified and copy is not None:
        return
    past = history(snapshots, move.source.name, last)
    names = [snapshot.short_name for snapshot in past]
    if last not in names:
        names.append(last)
    received = count_received(past, history(snapshots, move.new, last), copy) if copy else 0
    if commands := _commands(move, names, received):
        title = f"copy {move.old}@{last} to {move.new}, encrypted"
        if copy and value(copy, "receive_resume_token"):
            title += f" (the rest of it; where that cannot be had, zfs receive -A {move.new}, and run again)"
        elif copy and copy.written:
            there = f"{move.new}@{names[received - 1]}"
            title += f" (where that was modified since {there}, zfs rollback {there}, and run again)"
        yield Step(f"copy {move.new}", title, commands)


def _commands(move: Move, snapshots: Sequence[str], received: int) -> tuple[Shell, ...]:
    """The streams that the copy still lacks, then the settings that it lacks; nothing when it is complete.

    snapshots: short names, oldest first, up to the migration's; received: how many of them the copy has. The copy
    stays canmount=noauto until it is verified.
    """
    settings = settings_of(move.source)
    settings.pop("canmount", None)
    commands: list[Shell] = []
    if move.copy is None:
        first = {name: text for name, text in settings.items() if name not in _AFTER_THE_DATA}
        changes = {name: text for name, text in settings.items() if name in _AFTER_THE_DATA}
        if not move.source.is_volume:
            first["canmount"] = "noauto"
        send = command("zfs send -v {}", f"{move.old}@{snapshots[0]}")
        commands.append(_stream(send, command("zfs recv -s -u -x encryption {} {}", options(first), move.new)))
        received = 1
    else:
        changes = settings_to_change(settings, move.copy)
        if value(move.copy, "canmount") == "on":
            changes["canmount"] = "noauto"
        if token := value(move.copy, "receive_resume_token"):
            send = command("zfs send -v -t {}", token)
            commands.append(_stream(send, command("zfs recv -s -u {}", move.new)))
            received += 1
    for before, after in zip(snapshots[received - 1 :], snapshots[received:], strict=False):
        send = command("zfs send -v -i {} {}", f"@{before}", f"{move.old}@{after}")
        commands.append(_stream(send, command("zfs recv -s -u {}", move.new)))
    if changes:
        commands.append(set_properties(changes, move.new))
    return tuple(commands)


def _stream(send: Shell, receive: Shell) -> Shell:
    """A pipe with the receiver's exit status, which tells of a stream that was cut short; progress on stderr."""
    return command("{{ {} 2>&1 >&3 3>&- | awk {} >&2 3>&-; }} 3>&1 | {}", send, _PROGRESS, receive)


def count_received(source: Sequence[Snapshot], target: Sequence[Snapshot], dataset: Dataset) -> int:
    """How many of the source's snapshots the target dataset has, oldest first.

    Raises Refusal where it has another one, and where it is neither a copy nor a partly received one.
    """
    have, wanted = [snapshot.guid for snapshot in target], [snapshot.guid for snapshot in source]
    if have != wanted[: len(have)]:
        strange = [snapshot.name for snapshot in target if snapshot.guid not in wanted]
        what = f"its source lacks {', '.join(strange)}" if strange else "its source has more snapshots in between"
        raise Refusal(
            f"{dataset.name} cannot be brought up to its source: {what}. It is not its copy, or something makes or"
            " prunes snapshots here: switch that off until the migration is over. Then destroy a snapshot that was"
            f" made on the copy; where the source has lost or got one, `zfs destroy -r {dataset.name}`: the source"
            " has all data, and is copied anew"
        )
    if not have and not value(dataset, "receive_resume_token"):
        raise Refusal(f"{dataset.name} is neither a copy nor a partly received one: somebody else made it")
    return len(have)


def check_space(migration: Migration) -> None:
    """Raises Refusal where the pool has no room for the rest of the copy."""
    root, datasets = migration.root, migration.facts.datasets
    need = bytes_needed((move.source, move.copy) for move in migration.moves)
    parent = datasets[root.parent or ""]
    available = bytes_of(parent, "available")
    if need > available:
        raise Refusal(
            f"too little space: the encrypted copy of {root.name} needs {need} bytes more,"
            f" {parent.name} has {available}"
        )


def bytes_needed(pairs: Iterable[tuple[Dataset, Dataset | None]]) -> int:
    """Bytes that the rest of the copy takes from the pool: each source with its snapshots and reservations, less
    what its counterpart has. `reservation` counts for the dataset alone, although it holds what is below as well, so
    the figure may be too high. A thick volume takes again what the next snapshot will hold."""
    need = 0
    for source, target in pairs:
        data = bytes_of(source, "referenced" if value(source, "origin") else "usedbydataset")
        reserved = bytes_of(source, "refreservation")
        full = max(data + bytes_of(source, "usedbysnapshots") + reserved, bytes_of(source, "reservation"))
        got = 0
        if target:
            used = sum(bytes_of(target, f"usedby{what}") for what in ("dataset", "snapshots", "refreservation"))
            got = max(used, bytes_of(target, "reservation"))
        need += max(0, full - got)
        if reserved:
            need += bytes_of(source, "written")
    return need + need // _MARGIN_PARTS + _MARGIN if need else 0
