"""Faults that real machines showed: verify finds each and names it correctly, and the way out works."""

from __future__ import annotations

import json
import re

from f3s.replication import allowed_age
from scenarios.deploy import all_right
from scenarios.pair import FOUND, REPLICATED, Pair
from scenarios.play import scenario
from scenarios.story import Story


def _clock_off(story: Story, host: str, seconds: int) -> None:
    """Sets a host's clock ahead or back."""
    story.on(host, f"date -f %s $(($(date +%s) + {seconds})) >/dev/null")


@scenario("clock-behind", text="found, and no move of the address until it is right")
def clock_behind(story: Story) -> None:
    """The primary's clock is two hours behind: its snapshots are no proof of anything"""
    pair = Pair(story).opening()
    _clock_off(story, pair.primary, -7200)
    story.say(f"the clock of {pair.primary} is set back by two hours")
    state, reason, step = pair.verdict("clock", pair.primary)
    story.prove(state == "wrong" and "off" in reason, f"verify says: {reason}: {step}")
    state, reason, _ = pair.verdict(f"replica of {story.cast.job}", pair.standby)
    story.prove(state == "wrong", f"verify does not call a snapshot from the future fresh: {reason}")
    ran = story.stage.pyinfra("tasks/failover.py", "-y")
    story.prove(ran.rc != 0 and "clock" in ran.output, "a planned failover is refused: the clock")
    story.prove(pair.state(pair.standby) == "BACKUP", f"{pair.standby} is still BACKUP")
    _clock_off(story, pair.primary, 7200)
    story.say(f"the clock of {pair.primary} is right again")
    pair.writes("after", "written after")
    all_right(story)


@scenario("changed-key", text="a closed replica that no key opens is found, until it has the next snapshot")
def changed_key(story: Story) -> None:
    """The key of the virtual machines is changed by hand, and their closed replica still has the old one"""
    pair = Pair(story).opening()
    site = story.cast.site
    job = next(job for job in site.jobs_from(site.primary) if job.replica_mountpoint is None)
    replica, parent = site.replica(job), site.primary.bhyve.dataset
    location = story.on(pair.primary, f"zfs get -Ho value keylocation {parent}").strip()
    story.within(
        f"{pair.standby} has the replica {replica}",
        lambda: story.attempt(pair.standby, f"zfs list {replica}").rc == 0,
        **REPLICATED,
    )
    key = location.removeprefix("file://")
    new = story.on(pair.primary, "dd if=/dev/random bs=32 count=1 2>/dev/null | b64encode -r -").strip()
    for host in pair.hosts:
        keys = site.primary.usb.mountpoint
        story.on(
            host,
            f"set -e; mount -u -w {keys}; echo '{new}' | b64decode -r >{key}.new; chmod 400 {key}.new; "
            f"mv {key}.new {key}; mount -u -r {keys}",
        )
    story.on(pair.primary, f"zfs change-key -o keyformat=raw -o keylocation={location} {parent}")
    story.say(f"{parent} has a new key, which is on both sticks")
    state, reason, step = pair.verdict("replica keys", pair.standby)
    story.prove(state == "wrong" and replica in reason, f"verify says: {reason}: {step}")
    story.on(pair.primary, f"zfs snapshot {job.dataset}@zrepl_by_hand && zrepl signal wakeup {job.name}")
    story.within(
        f"with the next snapshot {replica} is opened by the new key",
        lambda: story.attempt(pair.standby, f"zfs load-key -n -L {location} {replica}").rc == 0,
        **REPLICATED,
    )
    story.prove(pair.verdict("replica keys", pair.standby)[0] == "right", "verify finds the replica's key right")


@scenario("renamed-job", pause=5, text="the primary still comes back by itself")
def renamed_job(story: Story) -> None:
    """The job that replicates the data gets another name, and only its task is run"""
    pair, job = Pair(story).opening(), story.cast.job
    jobs = [each.model_dump() for each in story.cast.site.primary.zrepl.jobs]
    renamed = json.dumps([{**each, "name": f"{each['name']}_new"} if each["name"] == job else each for each in jobs])
    data = ("--data", f"zrepl_jobs={renamed}")
    story.deploys("tasks/zrepl.py", "-y", *data)
    ran = story.stage.pyinfra("tasks/verify.py", "-y", *data)
    said = re.search(rf"^.*\b{job}\b(?!_new).*$", ran.output, re.MULTILINE)
    story.prove(said is not None, "verify names what the old job has left")
    assert said is not None
    story.say(f"it says: {said[0].strip()[:200]}")
    with story.watched():
        pair.fails_over()
        pair.comes_back()


@scenario("own-snapshot", text="found; the printed way out works")
def own_snapshot(story: Story) -> None:
    """Somebody takes a snapshot of the replica, and with it stops the replication"""
    pair, cast = Pair(story).opening(), story.cast
    story.types(pair.standby, f"zfs snapshot {cast.replica}@mine")
    story.within(
        f"{pair.standby} takes no more snapshots",
        lambda: (
            "mine" in story.on(pair.standby, f"zfs list -Ho name -s createtxg -t snapshot {cast.replica} | tail -1")
        ),
        timers=70,
    )
    row = f"replica of {cast.job} untouched"
    state, reason, step = pair.verdict(row, pair.standby)
    story.prove(state == "wrong" and "mine" in reason, f"verify says: {reason}: {step}")
    pair.takes_the_way_out(step)
    pair.writes("after", "written after")
    story.prove(pair.verdict(row, pair.standby)[0] == "right", "verify finds the replica right")


@scenario("dead-zrepl", text="started again within a minute, and restarted where it stands still")
def dead_zrepl(story: Story) -> None:
    """zrepl dies on both hosts; then that of the primary runs and does nothing"""
    pair = Pair(story).opening()

    def is_told(host: str, what: str, **limit: float) -> None:
        story.within(
            f"{host} logs that {what}",
            lambda: story.attempt(host, f"grep 'f3s_zrepl.*{what}' /var/log/messages").rc == 0,
            **limit,
        )

    def answers(host: str) -> None:
        answered = lambda: story.attempt(host, "zrepl status --mode raw").rc == 0  # noqa: E731
        story.within(f"{host}: zrepl answers", answered, **FOUND)

    for host in pair.hosts:
        story.types(host, "pkill -KILL -x zrepl")
    for host in pair.hosts:
        is_told(host, "zrepl has died", **FOUND)
        answers(host)
    pair.writes("after", "written after")
    story.types(pair.primary, "pkill -STOP -x zrepl")
    allowed = allowed_age(story.cast.site.served_job.interval_seconds)
    for what in ("zrepl signal reset", "zrepl is restarted"):
        is_told(pair.primary, what, timers=allowed + 130, work=30)
    answers(pair.primary)
    pair.writes("later", "written later")
    all_right(story)
