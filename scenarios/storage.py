"""Sticks that are missing, lost or cannot be read, keys that change, and a replica that was written to."""

from __future__ import annotations

import re

from f3s.controller import NO_CLAIM
from scenarios.deploy import all_right
from scenarios.pair import GRACE_SECONDS, Pair
from scenarios.play import scenario
from scenarios.story import Story

BOUND = {"timers": 120.0, "work": 60.0}
"""The time that a run may take if something does not answer."""


@scenario("missing-stick", pause=5)
def missing_stick(story: Story) -> None:
    """The primary comes back without its key stick"""
    with Pair(story).opening().watched() as pair:
        story.stage.stick(pair.primary, "out")
        story.say(f"the stick of {pair.primary} is pulled out")
        pair.fails_over()
        pair.boots(pair.primary)
        story.prove(not pair.serves(pair.primary), f"{pair.primary} serves nothing")
        _bare_mount_point_is_shut(pair, pair.primary)
        pair.stays(f"the key of {story.cast.dataset} is not loaded")
        pair.loads_its_keys(pair.primary)
        pair.failback_by_cron()


@scenario("missing-stick-standby", pause=1)
def missing_stick_standby(story: Story) -> None:
    """The standby comes back without its key stick, and no client notices"""
    with Pair(story).opening().watched() as pair:
        story.stage.stick(pair.standby, "out")
        story.say(f"the stick of {pair.standby} is pulled out")
        pair.loses_power(pair.standby)
        pair.boots(pair.standby)
        story.within(
            f"{pair.standby} holds back", lambda: pair.status(pair.standby).claim == NO_CLAIM, timers=75, work=60
        )
        _bare_mount_point_is_shut(pair, pair.standby)
        story.prove(pair.serves(pair.primary), f"{pair.primary} still serves")
        pair.loads_its_keys(pair.standby)
        story.types(pair.standby, f"zfs mount {story.cast.replica}")
        story.within(f"{pair.standby} stands by", lambda: pair.stands_by(pair.standby), timers=75, work=30)
        pair.writes("after", "written after")


def _bare_mount_point_is_shut(pair: Pair, host: str) -> None:
    said = pair.story.attempt(host, f"touch {pair.story.cast.share.rpartition('/')[0]}/plain")
    pair.story.prove(
        said.rc != 0 and "not permitted" in said.output,
        f"its bare mount point takes no plain text: {said.output.strip()!r}",
    )


@scenario("unreadable-stick", pause=1)
def unreadable_stick(story: Story) -> None:
    """A stick that cannot be read stops a run, which names it, and nobody else is harmed"""
    with Pair(story).opening().watched() as pair:
        story.stage.stick(pair.standby, "unreadable")
        story.say(f"the stick of {pair.standby} cannot be read")
        limit = BOUND["timers"] + BOUND["work"] * story.stage.slow
        for task in ("tasks/usb_keys.py", "tasks/verify.py"):
            begin = story.stage.now()
            story.refused(task, "-y", because=rf"\b{pair.standby}\b.*(stick|/dev/|did not answer)")
            took = story.stage.now() - begin
            story.prove(took <= limit, f"that took {took:.0f} s, at most {limit:.0f} s")
        story.prove(pair.serves(pair.primary), f"{pair.primary} still serves")
        story.stage.stick(pair.standby, "in")
        story.say(f"{pair.standby} has a good stick again")
        story.deploys("tasks/usb_keys.py", "-y")
        story.prove(pair.verdict("stick", pair.standby)[0] == "right", "verify finds the stick right")
        pair.writes("after", "written after")


@scenario("lost-sticks", pause=1)
def lost_sticks(story: Story) -> None:
    """Every stick is lost, a sealed copy of the keys brings them back, and a boot opens the data with them"""
    pair, sealed_with = Pair(story), {"F3S_PASSPHRASE": "correct horse battery staple"}
    story.stage.environment = {**story.stage.environment, **sealed_with}
    pair.opening()
    with pair.watched():
        sealed = re.search(r"(\S+) has [0-9]+ keys", story.deploys("tasks/escrow.py", "-y"))
        assert sealed is not None
        keys = story.on(pair.primary, "sha256 -q /keys/*.key")
        for host in story.cast.site.freebsd_hosts:
            story.stage.stick(host.short_name, "blank")
        story.say("the sticks are gone, blank ones take their places")
        story.refused("tasks/usb_keys.py", "-y", because="no stick that could be read has|cannot be read")
        story.deploys("tasks/usb_keys.py", "-y", "--data", f"escrow_from={sealed[1]}")
        for name in (pair.primary, pair.standby):
            story.prove(keys == story.on(name, "sha256 -q /keys/*.key"), f"{name} has the same keys again")
        pair.loses_power(pair.standby)
        pair.boots(pair.standby)
        story.within(f"{pair.standby} stands by", lambda: pair.stands_by(pair.standby), timers=75, work=60)
        pair.writes("after", "written after")


@scenario("rotation", pause=5)
def rotation(story: Story) -> None:
    """Two keys are rotated while a client writes, and the primary loses power in the middle of it"""
    pair, primary = Pair(story), story.cast.site.primary
    key, of_machines = primary.key_of(story.cast.dataset), primary.key_name(primary.bhyve.key)
    file = primary.key_file(key)
    words = ("tasks/rotate_keys.py", "-y", "--data")
    pair.opening()
    before = story.on(pair.primary, f"sha256 -q {file}")
    with pair.watched():
        begun = f"zfs get -Ho value keylocation {story.cast.dataset} | grep -q old"
        story.while_running(
            lambda: story.stage.pyinfra(*words, f"rotate_key={key}"),
            until=lambda: story.attempt(pair.primary, begun).rc == 0,
            then=lambda: pair.loses_power(pair.primary),
        )
        pair.standby_serves()
        pair.comes_back()
        story.deploys(*words, f"rotate_key={key}")
        story.deploys(*words, f"rotate_retire={key}")
        after = {story.on(each.short_name, f"sha256 -q {file}") for each in story.cast.site.freebsd_hosts}
        story.prove(len(after) == 1 and before not in after, "every stick has the new key")
        story.deploys(*words, f"rotate_key={of_machines}")
        pair.loses_power(pair.standby)
        pair.boots(pair.standby)
        story.within(f"{pair.standby} stands by", lambda: pair.stands_by(pair.standby), timers=75, work=60)
        story.stage.wait(GRACE_SECONDS)
        pair.loses_power(pair.primary)
        pair.comes_back()
    all_right(story)


@scenario("diverged", pause=5)
def diverged(story: Story) -> None:
    """A replica that was written to is found, moves nothing, and the printed way out works"""
    cast = story.cast
    with Pair(story).opening().watched() as pair:
        story.on(
            pair.standby,
            f"zfs set readonly=off {cast.replica}; echo x >{cast.share}/diverged; "
            f"zfs set readonly=on {cast.replica} && zpool sync {cast.replica.partition('/')[0]}",
        )
        story.say(f"somebody writes to the replica on {pair.standby}")
        row = f"replica of {cast.job} untouched"
        state, reason, step = pair.verdict(row, pair.standby)
        story.prove(state == "wrong" and "has diverged" in reason, f"verify says: {reason}")
        story.refused("tasks/failover.py", "-y", because="has diverged")
        story.prove(pair.state(pair.standby) == "BACKUP", f"{pair.standby} is still BACKUP")
        pair.fails_over()
        pair.boots(pair.primary)
        pair.stays("no replication has succeeded|the standby may have diverged")
        pair.takes_the_way_out(step)
        pair.failback_by_cron()
    story.prove(pair.verdict(row, pair.standby)[0] == "right", "verify finds the replica right")
