"""Moves of the address, by accident and on purpose. Takeover and release are both proven."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Callable

from f3s.controller import NO_CLAIM
from scenarios.pair import FAILBACK, FOUND, HEALED, OPENED, Pair
from scenarios.play import scenario
from scenarios.stage import CannotError
from scenarios.story import Story


@scenario("power-cut", pause=5)
def power_cut(story: Story) -> None:
    """A power cut on the primary, and automatic failback"""
    with Pair(story).opening().watched() as pair:
        pair.fails_over()
        story.stage.wait(60)
        pair.comes_back()


@scenario("planned", pause=2.5)
def planned(story: Story) -> None:
    """A planned failover and failback by their tasks"""
    with Pair(story).opening().watched() as pair:
        _gives(pair, lambda: story.deploys("tasks/failover.py", "-y"))
        pair.stays("held by carp backup")
        story.deploys("tasks/failback.py", "-y")
        pair.primary_serves()


@scenario("by-hand", pause=2.5)
def by_hand(story: Story) -> None:
    """carp backup and carp master, typed on the primary"""
    with Pair(story).opening().watched() as pair:
        _gives(pair, lambda: story.types(pair.primary, "carp backup"))
        pair.stays("held by carp backup")
        story.types(pair.primary, "carp master")
        pair.primary_serves()


def _gives(pair: Pair, act: Callable[[], object]) -> None:
    """The primary gives the address away, and stands by."""
    act()
    pair.standby_serves(at_once=True)
    pair.story.within(f"{pair.primary} stands by", lambda: pair.stands_by(pair.primary), timers=5, work=10)


@scenario("moves", pause=2.5, text="a median of at most 1.5 s", part=True)
def moves(story: Story) -> None:
    """Ten times carp backup and carp master"""
    with Pair(story).opening().watched() as pair:
        for _ in range(10):
            _gives(pair, lambda: story.types(pair.primary, "carp backup"))
            story.types(pair.primary, "carp master")
            pair.primary_serves()
    _median(story, of=20, limit=1.5)


@scenario("power-cuts", pause=5, text="a median of at most 4 s", part=True)
def power_cuts(story: Story) -> None:
    """Ten power cuts on the primary, each with automatic failback"""
    with Pair(story).opening().watched() as pair:
        for _ in range(10):
            pair.fails_over()
            pair.comes_back()
    _median(story, of=10, limit=4)


def _median(story: Story, of: int, limit: float) -> None:
    """The median of that many of the longest pauses; the shorter ones are of other moves, or of a slow client."""
    longest = heapq.nlargest(of, story.reports[-1].interruptions)
    found = statistics.median(longest or [0])
    story.prove(found <= limit, f"the median of the {of} longest pauses is at most {limit:g} s: {found:.1f} s")


@scenario("reboot", pause=3)
def reboot(story: Story) -> None:
    """A reboot of the primary"""
    with Pair(story).opening().watched() as pair:
        story.stage.shutdown(pair.primary)
        story.say(f"{pair.primary} has shut down in order")
        pair.standby_serves(at_once=True)
        pair.comes_back()


@scenario("reboot-standby", pause=1)
def reboot_standby(story: Story) -> None:
    """A reboot of the standby, which no client notices"""
    with Pair(story).opening().watched() as pair:
        story.stage.shutdown(pair.standby)
        story.say(f"{pair.standby} has shut down in order")
        story.stage.wait(30)
        story.prove(pair.serves(pair.primary), f"{pair.primary} still serves")
        pair.boots(pair.standby)
        story.within(f"{pair.standby} stands by", lambda: pair.stands_by(pair.standby), timers=75, work=60)
        pair.writes("after", "written after")


@scenario("together", text="a pause, without an error for a reading client, and no write is refused")
def together(story: Story) -> None:
    """Both hosts lose power, and come back at the same time"""
    with Pair(story).opening().watched() as pair:
        for host in pair.hosts:
            pair.loses_power(host)
        pair.boots(pair.primary, pair.standby)
        story.within(f"{pair.client} reads", lambda: pair.reads(pair.client, "before", "written before"), **OPENED)
        pair.primary_serves(**FAILBACK)
    report = story.reports[-1]
    story.prove(not report.read_errors, f"a reading client got no error: {report.read_errors}")
    refused = report.errors.get("write", {})
    story.prove("EROFS" not in refused, f"no writer was told of a read-only file system: {refused or 'no error'}")


LOCKER = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
os.write(fd, b"mine")
os.fsync(fd)
fcntl.lockf(fd, fcntl.LOCK_EX)
print("locked", flush=True)
while True:
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        print(os.pread(fd, 4, 0).decode(), flush=True)
    except OSError as error:
        print(os.strerror(error.errno), flush=True)
    time.sleep(1)
"""
"""Holds a lock and reads; what it got last is its last line."""


@scenario("locks", text="a lock is lost with the host that gave it, and its holder is told: Bad file descriptor")
def locks(story: Story) -> None:
    """A program holds a lock while the address moves to the standby and back"""
    pair = Pair(story).opening()
    if story.attempt(pair.client, "command -v python3").rc != 0:
        raise CannotError(f"{pair.client} has no Python")
    path, log = f"{story.cast.mountpoint}/locked", "/tmp/f3s-locker"

    def said() -> str:
        story.seen = story.attempt(pair.client, f"tail -n 3 {log}").output
        return story.seen.rstrip().rpartition("\n")[2]

    delegations = [story.attempt(host, "sysctl -n vfs.nfsd.issue_delegations").output for host in pair.hosts]
    story.prove(delegations == ["0\n", "0\n"], "no host gives a delegation, which it could not call back")
    story.on(pair.client, f"nohup python3 -c '{LOCKER}' {path} >{log} 2>&1 </dev/null &")
    story.within(f"a program on {pair.client} holds a lock, and reads", lambda: said() == "mine", **HEALED)
    second = story.attempt(pair.client, f"timeout 5 flock -n {path} true")
    story.prove(second.rc == 1, "another program does not get it")
    _gives(pair, lambda: story.types(pair.primary, "carp backup"))
    story.stage.wait(30)
    story.prove(said() == "Bad file descriptor", f"on {pair.standby} it gets: {story.seen!r}")
    story.types(pair.primary, "carp master")
    pair.primary_serves()
    story.stage.wait(30)
    story.prove(said() == "Bad file descriptor", f"on {pair.primary} again it gets: {story.seen!r}")
    story.on(pair.client, f"pkill -f {path[:-1]}[d]")
    other = story.on(pair.client, f"timeout 20 flock -w 15 {path} echo free").strip()
    story.prove(other == "free", "once it has ended, another program gets the lock")


@scenario("failback-off", pause=5)
def failback_off(story: Story) -> None:
    """A power cut with automatic failback switched off"""
    pair = Pair(story).opening()
    story.types(pair.primary, "carp auto-failback disable")
    # the switch is a file in the dataset; the standby gets it with the next replication
    pair.writes("disabled", "failback is off")
    with pair.watched():
        pair.fails_over()
        pair.boots(pair.primary)
        pair.stays("is there: carp auto-failback enable removes it")
        story.types(pair.primary, "carp auto-failback enable")
        pair.failback_by_cron()


@scenario("wedged", text="found and healed by a restart of just that service")
def wedged(story: Story) -> None:
    """nfsd and stunnel of either host stand still, and mountd has lost the export"""
    pair = Pair(story).opening()
    lost = "sed -i.before '/^V4:/!d' /etc/exports && service mountd onerestart && mv /etc/exports.before /etc/exports"
    for host in (pair.standby, pair.primary):
        _heals(pair, host, "nfsd", "pkill -STOP -x nfsd")
        _heals(pair, host, "stunnel", "pkill -STOP -x stunnel")
        _heals(pair, host, "mountd", lost)
    pair.writes("after", "written after")


def _heals(pair: Pair, host: str, service: str, breaks: str) -> None:
    story, state = pair.story, pair.state(host)

    def restarts() -> str:
        return story.attempt(host, f"grep -c 'restarting {service}' /var/log/messages").output.strip()

    before = restarts()
    story.types(host, breaks)
    story.within(f"{host} restarts {service}", lambda: restarts() != before, **FOUND)
    story.within(f"{host} is ready again", lambda: pair.status(host).right, **FOUND)
    story.prove(pair.state(host) == state, f"{host} is still {state}")


@scenario("unserving", text="neither host serves, the address stays, and a repair ends it")
def unserving(story: Story) -> None:
    """The exports are wrong on both hosts"""
    pair = Pair(story).opening()
    for host in pair.hosts:
        story.types(host, "sed -i.before s,/export/nfs,/export/other, /etc/exports && service mountd onerestart")
    story.within(
        "neither is ready", lambda: [pair.status(host).claim for host in pair.hosts] == [NO_CLAIM, NO_CLAIM], **FOUND
    )
    story.stage.wait(60)
    story.prove(pair.state(pair.primary) == "MASTER", f"{pair.primary} is still MASTER")
    state, reason, _ = pair.verdict("services", pair.primary)
    story.prove(state == "wrong" and "/etc/exports" in reason, f"verify says: {reason}")
    story.deploys("tasks/nfs.py", "-y")
    pair.primary_serves(**FOUND)
