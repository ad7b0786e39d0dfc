"""The way back of a virtual machine that ran on its replica, planned from the facts of both hosts.

Its start there is by hand (docs/runbook.md, Virtual machine of a dead host). D is the machine's dataset on its host, R
its replica, where it ran; below each are its other datasets and volumes. P is the snapshot f3s_promoted of R, after
which the sink takes nothing more; C is the newest one that both hosts have.

| step | what it leaves |
|---|---|
| keep | D is closed and read-only with a snapshot f3s_after_C; D_return, a promoted clone of C |
| send | R is read-only, and D_return has its newest snapshot |
| place | D is called D_set_aside, and D_return is called D, and mounted |

Nothing is destroyed, rolled back or received with -F. R is the replica again then, and has what D has. What was made on
R, or has no C, comes whole and gets the key of what it is below. D_return has D's own settings, but no reservation.
"""

from __future__ import annotations

from collections.abc import Iterator

from f3s.bhyve.commands import options
from f3s.bhyve.tree import settings_of, tree
from f3s.bhyve.vms import VmHost
from f3s.keycheck import KeyCheck
from f3s.quoting import Shell, command, words
from f3s.replication import PROMOTED, newest_common
from f3s.returning import KEPT, Course, Data, Programs, Step, free_name, loaded, mounted, pipe, step
from f3s.settings import HostSettings, Job, Site
from f3s.zfs import Dataset
from f3s.zrepl import snapshot_prefix

PAGE = "docs/runbook.md, Virtual machine of a dead host"
NOWHERE = ("none", "legacy")
NOT_TAKEN = frozenset(("canmount", "readonly", "refreservation", "reservation"))
"""Settings of D that D_return does not get."""


def job_of(site: Site, machine: str) -> Job | None:
    """The job that replicates a machine of this name."""
    return next(
        (each for each in site.jobs if each.dataset == f"{site.host(each.source).bhyve.dataset}/{machine}"), None
    )


class MachineWay:
    """Where the way back stands. home: the host of the machine; away: that of its replica."""

    def __init__(
        self, site: Site, job: Job, home: tuple[Data, VmHost], away: tuple[Data, VmHost], programs: Programs
    ) -> None:
        self.site, self.job, self.programs = site, job, programs
        (self.home, self.home_vms), (self.away, self.away_vms) = home, away
        self.receiver, self.sender = site.host(job.source), site.host(job.target)
        self.served, self.replica = job.dataset, site.replica(job)
        self.machine = self.served.rpartition("/")[2]
        self.incoming = f"{self.served}_return"
        self.replicas = tree(self.away.datasets, self.replica)
        below = [each.name.removeprefix(self.replica) for each in self.replicas]
        self.courses = [
            Course(self.home, self.away, self.served + name, self.replica + name, self.incoming + name)
            for name in below
        ]
        closed = all(each.get("readonly") == "on" for each in self.replicas)
        self.returned = closed and all(map(self._is_home, self.courses))
        for course in self.courses:
            course.aim(course.served if self.returned else course.incoming)
        self.still = closed and all(each.theirs and self.away.written.get(each.replica) == 0 for each in self.courses)
        self.sent = self.still and all(each.last is each.theirs[-1] for each in self.courses)
        self.aside = free_name(f"{self.served}_set_aside", self.home.datasets)

    def promoted(self, course: Course) -> int | None:
        """When the sink took the last snapshot, as createtxg."""
        return max((each.createtxg for each in course.theirs if each.short_name.startswith(PROMOTED)), default=None)

    def _is_home(self, course: Course) -> bool:
        common = newest_common(self.home.of(course.served), course.theirs)
        return common is not None and common.createtxg >= (self.promoted(course) or 0)

    @property
    def target(self) -> str:
        """What the next stream goes to."""
        return next((each.target for each in self.courses if each.stream(each.theirs)), self.incoming)

    def transfer(self) -> tuple[Shell, Shell] | None:
        """What sends the next snapshot, and what receives it; None: nothing is left."""
        for course, replica in zip(self.courses, self.replicas, strict=True):
            if what := course.stream(course.theirs):
                kind = "old" if course.target in self.home.datasets else "volume" if replica.is_volume else "new"
                return pipe(self.programs, self.sender, what, kind, course.target)
        return None

    def locks(self) -> Iterator[tuple[HostSettings, dict[str, str]]]:
        """The encryption roots of both hosts that one key has to open, with its location there.

        A raw increment replaces the wrapped key of what inherits its key, too, and leaves that below its own root
        (dsl_crypt.c, dsl_crypto_recv_raw_key_sync). If another key had wrapped it, nobody could open that after a
        reboot, nor its clones, which share it (openzfs, issue 12614). What is a root itself follows its stream.
        """
        found = [(self.home.datasets.get(each.served), each) for each in self.courses]
        inherit = [(own, each) for own, each in found if own is None or not own.is_encryption_root]
        here = {own.encryption_root for own, _ in inherit if own}
        there = {self.away.datasets[each.replica].encryption_root for _, each in inherit}
        location = self.receiver.key_location(self.receiver.key_of(self.served))
        yield self.receiver, dict.fromkeys(sorted(filter(None, here)), location)
        yield self.sender, dict.fromkeys(sorted(filter(None, there)), self.site.replica_key_location(self.job))

    def steps(self) -> Iterator[Step]:
        """What is left, in order."""
        here, there = self.receiver.short_name, self.sender.short_name
        if not self.returned:
            if first := self._keep():
                yield step("keep", f"what {here} has of {self.machine} is kept, and closed", self.receiver, first)
            if not self.sent:
                title = (
                    f"{here} gets what {self.machine} wrote on {there}, where it is read-only from here on. If this "
                    f"run ends before the last step, run it again; or `doas zfs inherit -r readonly {self.replica}` on "
                    f"{there}: the machine can be started there again"
                )
                yield Step("send", title, tuple((self.sender.name, each) for each in self._stop_writing()), last=True)
        if last := [*self._renames(), *self._opened()]:
            title = f"{self.served} on {here} is what {self.machine} wrote on {there}; what {here} had is {self.aside}"
            yield step("place", title, self.receiver, last)

    def _keep(self) -> list[Shell]:
        old = tree(self.home.datasets, self.served)
        commands = [command("zfs unmount {}", each.name) for each in reversed(old) if each.mounted]
        for each in old:
            wanted = {"readonly": "on"} if each.is_volume else {"readonly": "on", "canmount": "noauto"}
            if changes := [f"{name}={value}" for name, value in wanted.items() if each.get(name) != value]:
                commands.append(command("zfs set {} {}", words(changes), each.name))
        for course in self.courses:
            if (origin := course.origin()) is None:
                commands += [promote] if (promote := course.promotion()) else []
                continue
            kept = f"{self.served}@{KEPT}{origin.short_name}"
            if course.served == self.served and kept not in [each.name for each in self.home.snapshots]:
                commands.append(command("zfs snapshot -r {}", kept))
            commands += _clone(self.home.datasets[course.served], origin.name, course.incoming)
        return commands

    def _stop_writing(self) -> list[Shell]:
        closed = [command("zfs set readonly=on {}", each.name) for each in self.replicas]
        taken = "now=$(date -u +%Y%m%d_%H%M%S) && zfs snapshot -r {}${{now}}_000"  # as zrepl names and prunes its own
        name = f"{self.replica}@{snapshot_prefix(self.job, self.site)}"
        return closed if self.still else [*closed, command(taken, name)]

    def _renames(self) -> list[Shell]:
        if self.returned:
            return []
        old = [command("zfs rename {} {}", self.served, self.aside)] if self.served in self.home.datasets else []
        return [*old, command("zfs rename {} {}", self.incoming, self.served)]

    def _opened(self) -> list[Shell]:
        location = self.receiver.key_location(self.receiver.key_of(self.served))
        commands = []
        for course, replica in zip(self.courses, self.replicas, strict=True):
            found, name = self.home.datasets.get(course.target), course.served
            whole = course.origin() is None
            if found is not None:
                whole = found.is_encryption_root and found.get("keylocation") in ("prompt", location)
            if whole:
                commands += [command("zfs set keylocation={} {}", location, name), loaded(name)]
                commands.append(command("zfs change-key -i {}", name))
            if whole if found is None else found.get("readonly") == "on":
                commands.append(command("zfs inherit readonly {}", name))
            done = found and ((found.mounted and found.get("canmount") == "on") or found.get("mountpoint") in NOWHERE)
            commands += () if replica.is_volume or done else mounted(name)
        return commands


def _clone(old: Dataset, snapshot: str, new: str) -> list[Shell]:
    settings = {name: value for name, value in settings_of(old).items() if name not in NOT_TAKEN}
    if not old.is_volume:
        settings["canmount"] = "noauto"
    return [command("zfs clone {} {} {}", options(settings), snapshot, new), command("zfs promote {}", new)]


def refusals(way: MachineWay) -> list[str]:
    """Why the way back must not begin, or go on."""
    here, there = way.receiver.short_name, way.sender.short_name
    if not way.courses:
        return [f"{there} has no dataset {way.replica}"]
    if way.returned:
        return []
    if way.promoted(way.courses[0]) is None:
        return [f"{way.machine} was not promoted on {there}: {way.replica} has no snapshot {PROMOTED}. {PAGE}"]
    found = [*_running(way.machine, here, way.home_vms), *_running(way.machine, there, way.away_vms)]
    if any(each.name == way.machine and each.state == "Locked" for each in way.away_vms.vms or ()):
        found.append(
            f"{way.machine} ended on {there} a moment ago, or with its host: run this again in a minute. If `doas vm "
            f"list` there says Locked still, `doas vm start {way.machine}`, then `doas vm stop {way.machine}`"
        )
    parent = way.home.datasets.get(way.served.rpartition("/")[0])
    if parent is None or not parent.encrypted or not parent.key_loaded or not parent.mounted:
        found.append(f"{here} has no encrypted {way.served.rpartition('/')[0]} that is open: tasks/bhyve_migrate.py")
    else:
        found += way.courses[0].room(here)
    found += [
        f"{each.incoming} on {here} has something that {there} does not: look at it, then `doas zfs rename` it away"
        for each in way.courses
        if each.foreign()
    ]
    return found


def other_key(way: MachineWay, host: HostSettings, root: str, location: str, check: KeyCheck | None) -> str:
    """Why nothing is sent while a key does not open one of the roots of `MachineWay.locks`."""
    mend = "docs/runbook.md, Key not loaded, or tasks/rotate_keys.py where a rotation was interrupted"
    if host is way.sender and check is KeyCheck.WRONG:
        change = command("doas zfs change-key -o keylocation={} -o keyformat=raw {}", location, root)
        at_home = way.receiver.short_name
        mend = f"the key of {way.machine} was changed on {at_home} meanwhile. On {host.short_name}: `{change}`"
    why = check.value if check else "it could not be tested"
    return f"{location} does not open {root} on {host.short_name} ({why}): {mend}"


def _running(machine: str, host: str, found: VmHost) -> list[str]:
    if found.vms is None:
        return [f"it is not known what runs on {host}: {found.problem}"]
    vm = next((each for each in found.vms if each.name == machine), None)
    if machine in found.devices or (vm and vm.running):
        return [f"{machine} runs on {host}: `doas vm stop {machine}` there, and wait until `doas vm list` says Stopped"]
    return []
