"""The standby becomes the host that writes, and the primary again."""

from __future__ import annotations

import re
from collections.abc import Callable

from f3s.controller import NO_CLAIM
from scenarios.deploy import all_right
from scenarios.pair import HEALED, OPENED, READY, REPLICATED, Pair
from scenarios.play import scenario
from scenarios.roles import PRIMARY
from scenarios.story import Story


def _promoted(pair: Pair) -> None:
    """The primary is out, by the operator's word; the standby is promoted, and the client writes there."""
    story, path = pair.story, f"{pair.story.cast.mountpoint}/promoted"
    pair.standby_serves()
    out = ("--data", f"promote={pair.standby}", "--data", f"promote_powered_off={pair.primary}")
    task = ("tasks/promote.py", "-y", "--limit", "storage_standby", *out)
    question = story.refused(*task, because="--data promote_from=")
    story.deploys(*task, "--data", question.split("--data ")[1].strip())
    story.prove(pair.status(pair.standby).writer == pair.standby, f"{pair.standby} is promoted")
    story.within(
        f"{pair.client} writes",
        lambda: pair.asks(pair.client, f"echo promoted >{path} && sync {path}").rc == 0,
        **HEALED,
    )


def _replaced(pair: Pair) -> None:
    """As all is well the primary dies, with a file that nobody else has, and the standby is promoted."""
    pair.opening()
    own = f"{pair.story.cast.share}/only-here"
    pair.story.on(pair.primary, f"echo own >{own}; fsync {own}")
    pair.loses_power(pair.primary)
    _promoted(pair)


def _stays_out(pair: Pair) -> None:
    pair.story.within(
        f"{pair.primary} has learned that {pair.standby} writes",
        lambda: (pair.status(pair.primary).writer, pair.status(pair.primary).claim) == (pair.standby, NO_CLAIM),
        **READY,
    )


def _way_back(pair: Pair) -> tuple[str, ...]:
    return ("tasks/return_primary.py", "-y", "--data", f"return_to={pair.primary}")


def _returns(pair: Pair) -> None:
    """The primary serves again, with what the client wrote meanwhile, and the client writes there."""
    story, path = pair.story, f"{pair.story.cast.mountpoint}/returned"
    story.deploys(*_way_back(pair))
    story.prove(pair.serves(pair.primary), f"{pair.primary} serves")
    story.within(
        f"{pair.client} writes again",
        lambda: pair.asks(pair.client, f"echo returned >{path} && sync {path}").rc == 0,
        **HEALED,
    )
    story.prove(pair.reads(pair.client, "promoted", "promoted"), f"{pair.client} reads what it wrote meanwhile")


def _alone_with_old_data(story: Story, goes: Callable[[Pair], None], comes: Callable[[Pair], None]) -> None:
    """The standby is promoted while the primary is away, and is down when that one comes back."""
    pair, cast = Pair(story).opening(), story.cast
    goes(pair)
    _promoted(pair)
    path = f"{cast.mountpoint}/promoted"
    pair.loses_power(pair.standby)
    comes(pair)
    story.within(
        f"{pair.primary} is alone, serves, and knows that it does not know",
        lambda: pair.serves(pair.primary) and not pair.status(pair.primary).proven,
        timers=75,
        work=60,
    )
    stray = story.attempt(pair.primary, f"touch {cast.share}/stray")
    said = stray.output.strip()
    story.prove("Read-only file system" in said, f"nobody writes to the old data on {pair.primary}: {said!r}")
    refused = story.attempt(pair.primary, "carp master")
    story.prove(refused.rc != 0, f"carp master there is refused: {refused.output.strip()}")
    pair.boots(pair.standby)
    story.within(f"{pair.standby} serves again", lambda: pair.serves(pair.standby), timers=75, work=60)
    _stays_out(pair)
    story.within(
        f"{pair.client} reads what it wrote, and writes",
        lambda: pair.reads(pair.client, "promoted", "promoted") and pair.asks(pair.client, f"touch {path}").rc == 0,
        **OPENED,
    )
    state, reason, _ = pair.verdict("writer", "cluster")
    story.prove(state == "wrong" and "was promoted" in reason, f"verify says: {reason}")


@scenario("promotion", text="the standby writes, over reboots; the old primary stays out, told of it or not")
def promotion(story: Story) -> None:
    """The primary dies, the standby is promoted, and the primary comes back while that one is down"""
    _alone_with_old_data(story, lambda pair: pair.loses_power(pair.primary), lambda pair: pair.boots(pair.primary))


@scenario("unplugged", text="the primary, which never stopped, writes nothing to its old data")
def unplugged(story: Story) -> None:
    """The primary's cable is out, the standby is promoted, and the cable is in again while that one is down"""
    _alone_with_old_data(
        story,
        lambda pair: story.stage.cable(pair.primary, plugged=False),
        lambda pair: story.stage.cable(pair.primary, plugged=True),
    )


@scenario("frozen", text="it yields at once, writes nothing, and learns that it was replaced")
def frozen(story: Story) -> None:
    """The primary stands still, the standby is promoted, and the primary goes on as if nothing had been"""
    pair, cast = Pair(story).opening(), story.cast
    story.stage.suspend(pair.primary)
    story.say(f"{pair.primary} stands still")
    _promoted(pair)
    with story.watched():
        story.stage.resume(pair.primary)
        story.say(f"{pair.primary} goes on")
        _stays_out(pair)
        late = story.attempt(pair.primary, f"touch {cast.share}/late")
        said = late.output.strip()
        story.prove("Read-only file system" in said, f"nobody writes to the old data on {pair.primary}: {said!r}")
        story.prove(pair.serves(pair.standby), f"{pair.standby} still serves")
        story.prove(pair.reads(pair.client, "promoted", "promoted"), f"{pair.client} reads what it wrote meanwhile")


@scenario("return", text="no line lost or astray; what the primary had by itself is kept and listed")
def return_(story: Story) -> None:
    """The repaired primary gets what a client goes on writing on the promoted standby, and takes over again"""
    pair = Pair(story)
    _replaced(pair)
    with story.watched():
        pair.boots(pair.primary)
        _stays_out(pair)
        _returns(pair)
    state, reason, _ = pair.verdict("writer", "cluster")
    shown = re.search(r"`(.*zfs diff [^`]*)`", reason)
    story.prove(state == "right" and shown is not None, f"verify says: {reason}")
    assert shown is not None
    listed = story.on(pair.primary, shown[1].replace("doas ", ""))
    story.prove("only-here" in listed and "promoted" not in listed, f"what {pair.primary} had by itself is kept")
    all_right(story)


@scenario("swap", text="no line lost or astray; without the task no host is changed")
def swap(story: Story) -> None:
    """The promoted standby becomes the primary for good, and the old primary its standby, while a client writes"""
    pair, cast = Pair(story), story.cast
    _replaced(pair)
    path = f"{cast.mountpoint}/swapped"
    with story.watched():
        pair.boots(pair.primary)
        _stays_out(pair)
        story.stage.environment = {**story.stage.environment, PRIMARY: pair.standby}
        story.say(f"in the inventory {pair.standby} is the primary, and {pair.primary} the standby")
        story.refused("deploy.py", "-y", because="run tasks/swap_roles.py")
        story.deploys("tasks/swap_roles.py", "-y")
        story.prove(pair.serves(pair.standby), f"{pair.standby} serves on")
        story.deploys("deploy.py", "-y")
        story.within(f"{pair.primary} stands by", lambda: pair.stands_by(pair.primary), **READY)
        story.within(f"{pair.client} writes", lambda: pair.asks(pair.client, f"echo swapped >{path}").rc == 0, **HEALED)
        story.within(
            f"it is on {pair.primary}: a replication a minute",
            lambda: pair.has(pair.primary, f"{cast.share}/swapped", "swapped"),
            **REPLICATED,
        )
    state, reason, _ = pair.verdict("writer", "cluster")
    kept = f"{cast.dataset}_set_aside_1 has what {pair.primary} wrote by itself"
    story.prove(state == "right" and kept in reason, f"verify says: {reason}")
    story.types(pair.primary, f"zrepl zfs-abstraction release-all --job {cast.job}")
    all_right(story)


@scenario("new-disk", text="no empty dataset is made or served; all that clients wrote comes back")
def new_disk(story: Story) -> None:
    """The primary comes back with a blank disk, and gets all data from the promoted standby while a client writes"""
    pair = Pair(story).opening()
    pair.loses_power(pair.primary)
    _promoted(pair)
    story.stage.new_disk(pair.primary)
    story.say(f"{pair.primary} gets a new disk")
    with story.watched():
        pair.boots(pair.primary)
        _stays_out(pair)
        story.refused(*_way_back(pair), because="there is no pool")
        for task in ("zfs_encrypt", "zrepl", "nfs"):
            story.deploys(f"tasks/{task}.py", "-y", "--limit", "storage")
        made = story.attempt(pair.primary, f"zfs list {story.cast.dataset}")
        story.prove("does not exist" in made.output, f"{story.cast.dataset} is not made anew")
        _returns(pair)
    all_right(story)
