"""The way back of the role from a promoted standby to the repaired primary, planned from the facts of both hosts.

What each step leaves, by which a later run finds the next one. D is the served dataset of the primary, R its replica on
the standby, which clients write to; C is the newest snapshot that both have, E the epoch of the standby's promotion.

| step | the primary has | clients |
|---|---|---|
| keep | D read-only with a snapshot f3s_after_C; D_return, a promoted clone of C, with the history up to C | write |
| catch up | D_return follows: its newest snapshot is one of R, and nothing was written to it | write |
| place | D is called D_set_aside_E, D_return is called D | write |
| open | D is mounted read-only and f3s_storage stands by with it, as the standby does otherwise | write |
| freeze | R is read-only, and D has its newest snapshot | read |
| hand over | the record says that the primary writes, in epoch E + 1 | pause, then write |

Nothing is destroyed, rolled back or received with -F. The renames were seen to work (tests/lab/transcripts, return2).
Without C, D_return comes whole, and D is set aside as it is; without D, there is nothing to set aside.

R always has one snapshot more than what was sent, until it is read-only: a zrepl of the primary that somebody starts
meanwhile is refused by the sink.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from f3s.carp import CarpState
from f3s.controller import RETURN, Status, served_dataset
from f3s.quoting import Shell, command, script
from f3s.replication import newest_common
from f3s.settings import HostSettings, Site
from f3s.settings.model import is_within
from f3s.zfs import Dataset, Snapshot

KEPT = "f3s_after_"
"""How the name of the snapshot begins that has what the old primary wrote by itself; then comes that of C."""
STANDBY_SECONDS = 600
"""Within which the primary stands by: its services start, and nfsd's grace period passes."""


@dataclass(frozen=True)
class Programs:
    """Text of send-snapshot, receive-snapshot, stop-service, run-service and await-standby of files/once/."""

    send: str
    receive: str
    stop: str
    start: str
    standby: str


@dataclass(frozen=True)
class Found:
    """What one of the hosts has."""

    controller: Status
    datasets: dict[str, Dataset]
    snapshots: tuple[Snapshot, ...]

    def of(self, dataset: str) -> list[Snapshot]:
        """The snapshots of a dataset, oldest first."""
        found = (each for each in self.snapshots if each.dataset == dataset)
        return sorted(found, key=lambda each: each.createtxg)


@dataclass(frozen=True)
class Side(Found):
    """What one of the hosts has while data are sent.

    + written: bytes that no snapshot has, by dataset, after `zpool sync`
    + replicates: zrepl runs
    """

    written: dict[str, int]
    replicates: bool


@dataclass(frozen=True)
class Step:
    """key finds it again in a later plan; title is what the operator reads; commands: (host, command) in order.

    catches_up: then what the replica has more is sent, again and again until that goes quickly; last: once
    """

    key: str
    title: str
    commands: tuple[tuple[str, Shell], ...]
    catches_up: bool = False
    last: bool = False


class Way:
    """Where the way back stands. home: the primary; away: the promoted standby."""

    def __init__(self, site: Site, home: Side, away: Side, programs: Programs) -> None:
        self.site, self.home, self.away, self.programs = site, home, away, programs
        self.primary, self.standby = site.primary, site.standby
        self.served, self.replica = self.primary.nfs.dataset, site.replica(site.served_job)
        self.incoming = f"{self.served}_return"
        self.theirs = away.of(self.replica)
        self.target = self.served if self._follows(self.served) else self.incoming
        self.last = newest_common(home.of(self.target), self.theirs)
        """What the target has of the replica, as the standby names it."""
        self.common = newest_common(away.of(self.replica), home.of(self.served))
        found = away.datasets.get(self.replica)
        self.frozen = away.controller.returning and found is not None and found.get("readonly") == "on"
        whole = self.frozen and away.written.get(self.replica) == 0
        self.complete = whole and self.last is not None and self.last is self.theirs[-1]
        self.aside = set_aside(self.served, away.controller.epoch, home.datasets)

    def _follows(self, dataset: str) -> bool:
        """Its newest snapshot is one of the replica, and nothing was written since: the difference can be received.

        A clone that nobody can write to shows bytes as written as well, where its source had an intent log (8192, seen
        on 15.1). `zfs receive` looks by itself, and does not count those (dsl_dataset_modified_since_snap).
        """
        own = self.home.of(dataset)
        guids = {each.guid for each in self.theirs}
        unchanged = dataset == self.incoming or self.home.written.get(dataset) == 0
        return bool(own) and own[-1].guid in guids and unchanged

    # -- what is sent --

    def snapshots(self) -> Shell:
        """On the standby: two snapshots, named as zrepl names its own, so that it prunes them. The last is not sent."""
        name = f"{self.replica}@{self.primary.zrepl.snapshot_prefix}"
        taken = command("now=$(date -u +%Y%m%d_%H%M%S) && zfs snapshot {}${{now}}_000", name)
        return taken if self.frozen else command("{} && zfs snapshot {}${{now}}_001", taken, name)

    def transfer(self) -> tuple[Shell, Shell] | None:
        """What sends the next snapshot on the standby, and what receives it on the primary; None: nothing is left."""
        found = self.home.datasets.get(self.target)
        token = found.get("receive_resume_token") if found else None
        newest = self.theirs if self.frozen else self.theirs[:-1]
        if token:
            what: tuple[str, ...] = ("token", token)
        elif not newest or (self.last is not None and self.last.createtxg >= newest[-1].createtxg):
            return None
        elif self.last is None:
            what = ("whole", newest[-1].name)
        else:
            what = ("from", f"@{self.last.short_name}", newest[-1].name)
        address, port = self.standby.wireguard.address, self.standby.zrepl.return_port
        return (
            script(self.programs.send, "send-snapshot", address, port, *what),
            script(self.programs.receive, "receive-snapshot", address, port, "old" if found else "new", self.target),
        )

    # -- the steps --

    def steps(self) -> Iterator[Step]:
        """What is left, in order."""
        home, away = self.primary.name, self.standby.name
        here, there = self.primary.short_name, self.standby.short_name
        epoch = self.away.controller.epoch
        if self.home.controller.writer == here:
            yield from self._afterwards()
            return
        if not self.complete:
            yield from self._keep()
            if not self.frozen:
                what = f"{here} gets what clients wrote on {there}, while they go on"
                yield Step("catch up", what, ((away, self.snapshots()),), catches_up=True)
            yield from self._place()
            yield from self._open()
            marked = command("echo {} >{} && service f3s_storage reconcile", epoch, RETURN)
            frozen = command("zfs set readonly=on {}", self.replica)
            title = (
                f"from here on clients only read, until the end: {here} gets the last difference. If this run ends "
                f"before that, run it again; or `doas rm {RETURN}` on {there}: in a minute clients write there again"
            )
            yield Step("freeze", title, ((away, marked), (away, frozen)), last=True)
        title = f"{here} writes from now on, in epoch {epoch + 1}"
        # once more, when nobody can write there any more
        unchanged = command(
            "zpool sync {} && zfs get -Hp -o value readonly,written {} | xargs | grep -x 'on 0'",
            *(self.standby.pool.name, self.replica),
        )
        stopped = (away, command("service f3s_storage stop && {}", unchanged))
        promoted = (home, command("/usr/local/bin/carp promote without {}", there))
        yield Step("hand over", title, (stopped, promoted))
        yield from self._afterwards(planned=True)

    def _keep(self) -> Iterator[Step]:
        """Of the old dataset. A clone without a snapshot of its own was not promoted yet."""
        there, served = self.home.datasets.get(self.served), self.served
        new = self.home.datasets.get(self.incoming)
        promote = command("zfs promote {}", self.incoming)
        commands = []
        if there is not None and self.home.controller.ready is not True:
            if there.get("readonly") != "on" or there.get("canmount") != "noauto":
                commands.append(command("zfs set readonly=on canmount=noauto {}", served))
            if there.mounted and self.target != served:
                commands.append(command("zfs unmount {}", served))
        title = f"{served} on {self.primary.short_name} is read-only"
        if self.target != served and new is None and there is not None and self.common is not None:
            kept = f"{served}@{KEPT}{self.common.short_name}"
            title = (
                f"what {self.primary.short_name} wrote after {self.common.short_name} is kept, and {self.incoming} "
                "begins with what both hosts have"
            )
            if kept not in [each.name for each in self.home.of(served)]:
                commands.append(command("zfs snapshot {}", kept))
            options = "-o canmount=noauto -o readonly=on"
            commands.append(command(f"zfs clone {options} {{}} {{}}", self.common.name, self.incoming))
            commands.append(promote)
        elif new is not None and not self.home.of(self.incoming) and not new.get("receive_resume_token"):
            title = f"{self.incoming} gets the history"
            commands.append(promote)
        if commands:
            yield Step("keep", title, tuple((self.primary.name, each) for each in commands))

    def _place(self) -> Iterator[Step]:
        commands = []
        pauses = f"zrepl of {self.primary.short_name} pauses"
        title = pauses
        if self.home.replicates:
            commands.append(script(self.programs.stop, "stop-service", "zrepl"))
        if self.target != self.served:
            title = f"{pauses}; {self.incoming} takes the place of {self.served}"
            if self.served in self.home.datasets:
                title = f"{title}, which is kept as {self.aside}"
                commands.append(command("zfs set mountpoint=none {}", self.served))
                commands.append(command("zfs rename {} {}", self.served, self.aside))
            commands.append(command("zfs rename {} {}", self.incoming, self.served))
        if commands:
            yield Step("place", title, tuple((self.primary.name, each) for each in commands))

    def _open(self) -> Iterator[Step]:
        if self.home.controller.ready:
            return
        location = self.primary.key_location(self.primary.key_of(self.served))
        served = self.served
        commands = (
            command("zfs set readonly=on {}", served),
            command("zfs set keylocation={} {}", location, served),
            loaded(served),
            *mounted(served, self.primary.nfs.mountpoint),
            command("echo {} >{}", self.away.controller.epoch, RETURN),
            script(self.programs.standby, "await-standby", STANDBY_SECONDS),
        )
        title = f"{self.primary.short_name} stands by with it, read-only"
        yield Step("open", title, tuple((self.primary.name, each) for each in commands))

    def _afterwards(self, planned: bool = False) -> Iterator[Step]:
        """The standby learns of the new epoch, and replication goes on."""
        commands = []
        if planned or not self.away.controller.started or self.away.controller.epoch != self.home.controller.epoch:
            commands.append((self.standby.name, command("service f3s_storage start")))
        if planned or not self.home.replicates:
            commands.append((self.primary.name, script(self.programs.start, "run-service", "zrepl", "onestart")))
        if commands:
            title = f"{self.standby.short_name} learns of it and is the standby again, replication goes on"
            yield Step("afterwards", title, tuple(commands))


def refusals(way: Way) -> list[str]:
    """Why the way back must not begin, or go on, in what the two hosts have themselves."""
    home, away = way.home, way.away
    here, there = way.primary.short_name, way.standby.short_name
    found = []
    if home.controller.writer == here and home.controller.epoch >= away.controller.epoch:
        return []
    if away.controller.writer != there:
        return [
            f"{there} was not promoted, so {here} writes and nothing has to return: tasks/failback.py moves the address"
        ]
    if (home.controller.writer, home.controller.epoch) != (there, away.controller.epoch):
        found.append(
            f"{here} has not learned yet that {there} writes: `doas service f3s_storage start` there, and wait a minute"
        )
    # slow is not dead: one that is not known to be ready serves if it did
    if not way.frozen and (away.controller.ready is False or away.controller.carp is not CarpState.MASTER):
        found.append(f"{there} does not serve: {away.controller.reason}. `doas service f3s_storage start` there")
    if not way.theirs:
        found.append(f"{way.replica} on {there} has no snapshot")
    for host, side, dataset in ((here, home, way.served), (there, away, way.replica)):
        if below := [name for name in side.datasets if is_within(name, dataset) and name != dataset]:
            found.append(
                f"{host} has datasets below {dataset}, and each would need a way back of its own: {', '.join(below)}. "
                "Bring them back by hand with zfs send, or move them elsewhere"
            )
    if home.controller.fsid_number is not None and not home.controller.ready:
        found.append(
            f"{here} has served since its boot, so its next mount of {way.primary.nfs.export} gets another fsid, and "
            f"clients would lose their mounts: reboot {here}, then run this again"
        )
    new, old = home.datasets.get(way.incoming), home.datasets.get(way.served)
    clones = way.target != way.served and new is None and way.common is not None
    if clones and old is not None and not old.key_loaded:
        found.append(f"the key of {old.name} on {here} is not loaded: docs/runbook.md, Key not loaded")
    if way.target == way.incoming and new is not None and home.of(way.incoming) and not way._follows(way.incoming):
        found.append(
            f"{way.incoming} on {here} has something that {there} does not: look at it, then `doas zfs rename` it away"
        )
    found += _room(way)
    return found


def _room(way: Way) -> list[str]:
    """What is certainly too little room on the primary. A stream that finds none ends, and goes on later."""
    replica, parent = way.away.datasets.get(way.replica), way.home.datasets.get(way.served.rpartition("/")[0])
    old = way.home.datasets.get(way.served) if way.common is not None else None
    old = old or way.home.datasets.get(way.incoming)
    if replica is None or parent is None:
        return [
            f"{way.primary.short_name} has no dataset {way.served.rpartition('/')[0]}: tasks/zfs_encrypt.py makes it"
        ]
    need = int(replica.get("used") or 0) - int((old.get("used") if old else None) or 0)
    free = int(parent.get("available") or 0)
    if need <= free:
        return []
    return [f"too little room on {way.primary.short_name}: {need} bytes more are needed, {parent.name} has {free}"]


_UNLESS = "case $(zfs get -H -o value {} {}) in {}) ;; *) {} ;; esac"


def loaded(dataset: str) -> Shell:
    """The key is loaded from where the dataset says it is."""
    return command(_UNLESS, "keystatus", dataset, "available", command("zfs load-key {}", dataset))


def mounted(dataset: str, mountpoint: str) -> tuple[Shell, Shell, Shell]:
    """It is mounted there, now and at boot. One that has just got its mount point may be mounted already."""
    return (
        command("zfs set mountpoint={} {}", mountpoint, dataset),
        command("zfs set canmount=on {}", dataset),
        command(_UNLESS, "mounted", dataset, "yes", command("zfs mount {}", dataset)),
    )


def set_aside(dataset: str, epoch: int, datasets: Iterable[str]) -> str:
    """A free name for what the old primary had in that epoch."""
    first = f"{dataset}_set_aside_{epoch}"
    names = itertools.chain([first], (f"{first}_{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in datasets)


def kept(host: HostSettings, datasets: Iterable[str], snapshots: Iterable[Snapshot], site: Site) -> str:
    """What returns and swaps have set aside on a host, and how to see what it has; empty where there is nothing."""
    shown = {each.dataset: each for each in snapshots if each.short_name.startswith(KEPT)}
    told = []
    for name in datasets:
        if not name.startswith(f"{host.nfs.dataset}_set_aside_"):
            continue
        look = command("doas zfs set mountpoint=/mnt {}; doas zfs mount {}", name, name)  # diff needs the mount
        if name in shown:
            since = f"{served_dataset(host, site)}@{shown[name].short_name.removeprefix(KEPT)}"
            look = command("{}; doas zfs diff {} {}", look, since, shown[name].name)
        told.append(f"; {name} has what {host.short_name} wrote by itself: `{look}`")
    return "".join(told)
