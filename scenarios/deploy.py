"""From blank disks to a cluster that has nothing left to do."""

from __future__ import annotations

import random
import re

from scenarios.pair import Pair
from scenarios.play import scenario
from scenarios.pyinfra_output import changes
from scenarios.story import Story

TASKS = ("usb_keys", "zfs_encrypt", "bhyve_migrate", "zrepl", "carp", "nfs", "stunnel", "clients")
FINGERPRINT = (
    "cat /etc/rc.conf /etc/sysctl.conf /etc/exports /boot/loader.conf /etc/crontab 2>/dev/null | sha256; "
    "zpool list -Ho name; zfs list -Ho name; mount; ls /keys /usr/local/bin 2>&1; true"
)
"""What a dry run must not change on a FreeBSD host."""


def changed_nothing(story: Story, words: tuple[str, ...]) -> None:
    """A run that finds nothing to do.

    :raises NotSoError: it failed, or changed something
    """
    output = story.deploys(*words, "-y")
    found = changes(output)
    story.prove(not found, f"it changed nothing{': ' + '; '.join(found) if found else ''}")


def all_right(story: Story, *words: str) -> None:
    """verify finds nothing wrong with the cluster, within a replication or two.

    :raises NotSoError: it has
    """
    last = ""

    def right() -> bool:
        nonlocal last
        ran = story.stage.pyinfra("tasks/verify.py", "-y", *words)
        last = "\n".join(line for line in ran.output.splitlines() if re.search(r"WRONG|UNKNOWN", line))
        return ran.rc == 0

    try:
        story.within("tasks/verify.py: nothing is wrong", right, timers=180, work=60)
    except Exception as error:
        raise type(error)(f"{error}: {last}") from None


def _deployed(story: Story, *limit: str) -> None:
    hosts = (story.cast.primary, story.cast.standby)
    before = [story.on(host, FINGERPRINT) for host in hosts]
    story.deploys("deploy.py", "--dry", "--diff", *limit)
    story.prove(before == [story.on(host, FINGERPRINT) for host in hosts], "the dry run has changed nothing")
    story.deploys("deploy.py", "-y", *limit)
    changed_nothing(story, ("deploy.py", *limit))


@scenario("smoke", text="keys, pools, replication, address; a second run changes nothing", blank=True, part=True)
def smoke(story: Story) -> None:
    """The storage pair alone: from blank disks to an address that serves"""
    primary, standby = story.cast.primary, story.cast.standby
    served = {primary: story.cast.dataset, standby: story.cast.replica}
    story.prove(story.stage.pki("init").rc == 0, "certificates are made")
    _deployed(story, "--limit", "freebsd")
    sums = {story.on(host, "cd /keys; sha256 -q *.key") for host in (primary, standby)}
    story.prove(len(sums) == 1, "both sticks hold the same keys")
    for host, name in served.items():
        said = story.on(host, f"zfs get -Ho value encryption,keystatus,mounted {name}").split()
        story.prove(said == ["aes-256-gcm", "available", "yes"], f"{host}: {name} is encrypted, open and mounted")

    def snapshots(host: str) -> set[str]:
        return set(story.on(host, f"zfs list -Ho guid -t snapshot {served[host]}").split())

    story.within(
        f"{standby} has a snapshot of {primary}",
        lambda: bool(snapshots(primary) & snapshots(standby)),
        timers=90,
        work=10,
    )
    pair = Pair(story)
    story.within(f"{primary} is MASTER and serves", lambda: pair.serves(primary), timers=90, work=30)
    story.within(f"{standby} stands by", lambda: pair.stands_by(standby), timers=90, work=30)


@scenario("deploy", text="dry run, deploy, second run, verify, each task alone", blank=True)
def deploy(story: Story) -> None:
    """Blank disks, the whole deploy, a second run, verify, each task alone"""
    story.prove(story.stage.pki("init").rc == 0, "certificates are made")
    _deployed(story)
    all_right(story)
    for task in TASKS:
        changed_nothing(story, (f"tasks/{task}.py",))
    story.stage.settle()


@scenario("killed", text="the next run ends like an undisturbed one", blank=True)
def killed(story: Story) -> None:
    """Ten runs of the deploy are killed at any moment from its first change on"""
    story.prove(story.stage.pki("init").rc == 0, "certificates are made")
    began = story.stage.now()
    story.deploys("deploy.py", "--dry")
    looks = story.stage.now() - began
    for _ in range(10):
        moment = looks + random.uniform(0, looks)
        ended = story.stage.pyinfra("deploy.py", "-y", killed_after=moment)
        story.prove(ended.rc in (0, 124), f"a run of the deploy, killed after {moment:.1f} s: {ended.rc}")
    story.deploys("deploy.py", "-y")
    changed_nothing(story, ("deploy.py",))
    all_right(story)


@scenario("migrate", text="a power cut in the middle of the copy; every byte arrives", blank=True)
def migrate(story: Story) -> None:
    """A tree of virtual machines is moved, and the host loses power in the middle of it"""
    primary, name = story.cast.primary, story.cast.site.primary.name
    contents = "cat /dev/zvol/zroot/bhyve/rocky/disk0 | sha256 -q; sha256 -q /zroot/bhyve/fedora/disk0.img"
    before = story.on(primary, contents)
    story.prove(story.stage.pki("init").rc == 0, "certificates are made")
    for task in ("usb_keys", "zfs_encrypt"):
        story.deploys(f"tasks/{task}.py", "-y", "--limit", "freebsd")
    halfway = "zfs list -Ho name -r zroot/bhyve | grep -q rocky && zpool sync"
    story.while_running(
        lambda: story.stage.pyinfra("tasks/bhyve_migrate.py", "-y", "--limit", name),
        until=lambda: story.attempt(primary, halfway).rc == 0,
        then=lambda: story.stage.power_cut(primary),
    )
    story.say(f"{primary} loses power")
    story.stage.boot(primary)
    story.say(f"{primary} has booted")
    story.deploys("tasks/bhyve_migrate.py", "-y", "--limit", name)
    changed_nothing(story, ("tasks/bhyve_migrate.py", "--limit", name))
    plain = story.on(primary, "zfs get -rHo name,value encryption zroot/bhyve | grep -v '@' | grep -w off || echo none")
    story.prove(plain == "none\n", "all of the new tree is encrypted")
    story.prove(story.on(primary, contents) == before, "the disks of the machines are the same, byte for byte")
