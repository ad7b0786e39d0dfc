"""The commands that several steps share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from f3s.bhyve.model import Facts, Wanted
from f3s.bhyve.tree import Refusal
from f3s.bhyve.vms import VmHost
from f3s.quoting import Shell, command, option_words, script, words

_START_TIMEOUT = 60  # seconds until a started virtual machine has its process


def guard(facts: Facts, place: str) -> tuple[Shell, ...]:
    """The bare directory below a mount point takes no writes: empty and `schg`; ZFS mounts over it (observed).

    Without this a host that boots without keys writes plain text there. Raises Refusal where that has happened, and
    where something else is mounted.
    """
    if mount := facts.mounts.at(place):
        raise Refusal(f"{mount.device} is mounted at {place}: unmount it")
    directory = facts.mounts.directories[place]
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


def start_commands(vm: VmHost, wanted: Wanted, folder: str, names: Sequence[str]) -> tuple[Shell, ...]:
    """vm-bhyve made ready, then these virtual machines started and waited for; nothing where vm cannot work at all."""
    if not (vm.installed and vm.able):
        return ()
    if not names:
        return (command("/usr/local/sbin/vm init"),)
    wait = script(wanted.programs.wait, "bhyve-wait", "running", _START_TIMEOUT, folder, words(names))
    return command("/usr/local/sbin/vm init"), command("/usr/local/sbin/vm start {}", words(names)), wait
