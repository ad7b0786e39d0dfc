"""The commands that guard the place of the encrypted parent, and bring a copy below it up to its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from f3s.bhyve_tree import Facts, Refusal, settings_of, settings_to_change, value
from f3s.quoting import Shell, command, option_words, words
from f3s.zfs import Dataset, Snapshot

# These need the data, or would stand in its way.
_AFTER_THE_DATA = ("refreservation", "reservation", "quota", "refquota")
# `zfs send -v` reports every second: one line a minute is enough for a copy of hours; all else is shown.
_PROGRESS = "/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]/ && n++ % 60 { next } { print; fflush() }"


def copy_commands(
    source: Dataset,
    source_name: str,
    snapshots: Sequence[str],
    target: Dataset | None,
    target_name: str,
    received: int,
) -> tuple[Shell, ...]:
    """The streams that the target still lacks, then the settings that it lacks; nothing when it is complete.

    source_name: the source's name when the commands run; snapshots: short names, oldest first, up to the migration's;
    received: how many of them the target has. The copy stays canmount=noauto until it is verified.
    """
    settings = settings_of(source)
    settings.pop("canmount", None)
    commands: list[Shell] = []
    if target is None:
        first = {name: text for name, text in settings.items() if name not in _AFTER_THE_DATA}
        changes = {name: text for name, text in settings.items() if name in _AFTER_THE_DATA}
        if not source.is_volume:
            first["canmount"] = "noauto"
        send = command("zfs send -v {}", f"{source_name}@{snapshots[0]}")
        commands.append(_stream(send, command("zfs recv -s -u -x encryption {} {}", options(first), target_name)))
        received = 1
    else:
        changes = settings_to_change(settings, target)
        if value(target, "canmount") == "on":
            changes["canmount"] = "noauto"
        if token := value(target, "receive_resume_token"):
            send = command("zfs send -v -t {}", token)
            commands.append(_stream(send, command("zfs recv -s -u {}", target_name)))
            received += 1
    for before, after in zip(snapshots[received - 1 :], snapshots[received:], strict=False):
        send = command("zfs send -v -i {} {}", f"@{before}", f"{source_name}@{after}")
        commands.append(_stream(send, command("zfs recv -s -u {}", target_name)))
    if changes:
        commands.append(set_properties(changes, target_name))
    return tuple(commands)


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


def guard(facts: Facts, place: str) -> tuple[Shell, ...]:
    """The bare directory below a mount point takes no writes: empty and `schg`; ZFS mounts over it (observed).

    Without this a host that boots without keys writes plain text there. Raises Refusal where that has happened, and
    where something else is mounted.
    """
    table = facts.mounts(place)
    if mount := table.at(place):
        raise Refusal(f"{mount.device} is mounted at {place}: unmount it")
    directory = table.directories[place]
    if directory.kind not in (None, "Directory") or directory.entries:
        what = f"holds {', '.join(directory.entries)}" if directory.entries else f"is a {directory.kind}"
        raise Refusal(
            f"nothing is mounted at {place}, but it {what}: this is NOT ENCRYPTED. Look at it, move it away, run again"
        )
    # the parents stay writable, other datasets get their mount points there
    return () if directory.guarded else (command("mkdir -p {} && chflags schg {}", place, place),)


def set_properties(values: Mapping[str, str], dataset: str) -> Shell:
    """One `zfs set` for all values: it sets all of them or none."""
    return command("zfs set {} {}", words(f"{name}={text}" for name, text in values.items()), dataset)


def options(values: Mapping[str, str]) -> Shell:
    """`-o name=value` for each."""
    return option_words("-o", [f"{name}={text}" for name, text in values.items()])


def _stream(send: Shell, receive: Shell) -> Shell:
    """A pipe with the receiver's exit status, which tells of a stream that was cut short; progress on stderr."""
    return command("{{ {} 2>&1 >&3 3>&- | awk {} >&2 3>&-; }} 3>&1 | {}", send, _PROGRESS, receive)
