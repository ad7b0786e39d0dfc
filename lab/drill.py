"""``make drill``: the failover in the simulated cluster, told step by step with virtual times.

Each story starts from the same freshly deployed cluster. A step is printed once it has been proven; the program ends
with 1 at the first that is not as told, and keeps that cluster's folder to look at.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import actions, build, clock
from lab.core import LabError, Store
from lab.rc import boot

REPO = Path(__file__).resolve().parent.parent
FAILBACK_LOG = "/var/log/carp-auto-failback.log"

TAKEOVER_SECONDS = 5
"""A standby hears nothing for 3 advertisements and its own skew: 3.4 s; seen were 2 to 4."""
SERVING_SECONDS = 15
"""From the new MASTER to the last service: devd, the controller, four services."""
HEALED_SECONDS = 15
"""The monitor's timer, every 10 s, and what a run of it may take."""
READS_AGAIN_SECONDS = 15
"""From a power cut until a client reads from the standby."""
FAILBACK_SECONDS = 300
"""A replication after the boot, which is due every minute, then the next minute of cron."""


class DrillError(Exception):
    """A step was not as told; the text is the whole message."""


@dataclass(frozen=True)
class Cast:
    """Who plays, and with what: from the site's settings.

    :param share: the shared directory on the storage hosts
    :param mountpoint: where the client has it
    """

    primary: str
    standby: str
    client: str
    others: tuple[str, ...]
    dataset: str
    share: str
    mountpoint: str


class Drill:
    """One story on a cluster of its own."""

    def __init__(self, store: Store, cast: Cast) -> None:
        self.store = store
        self.cast = cast
        self.began = store.read().now

    # -- telling --

    def say(self, text: str) -> None:
        """A step that has been proven."""
        print(f"  {self.store.read().now - self.began:7.1f} s  {text}", flush=True)

    def prove(self, proven: bool, what: str) -> None:
        """
        :raises DrillError: it is not so
        """
        if not proven:
            raise DrillError(f"{self.store.read().now - self.began:.1f} s: not so: {what}")
        self.say(what)

    def within(self, seconds: float, what: str, condition: Callable[[], bool]) -> None:
        """Lets virtual time pass until it is so, at most that long.

        :raises DrillError: it did not become so
        """
        end = self.store.read().now + seconds
        step = max(1.0, seconds / 15)
        while not condition():
            if self.store.read().now >= end:
                raise DrillError(f"{self.store.read().now - self.began:.1f} s: not within {seconds:.0f} s: {what}")
            clock.advance(self.store, step)
        self.say(what)

    # -- acting --

    def attempt(self, host: str, script: str) -> tuple[int, str]:
        """Exit status and output of a shell line, both streams."""
        full = self.store.read().host(host).name
        done = clock.run(
            self.store,
            full,
            ["/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout.decode()

    def on(self, host: str, script: str) -> str:
        """
        :raises DrillError: the shell line failed
        """
        rc, output = self.attempt(host, script)
        if rc != 0:
            raise DrillError(f"on {host}: {script}: exit status {rc}\n{output}")
        return output

    # -- looking --

    def up(self, host: str) -> bool:
        return self.store.read().host(host).up

    def state(self, host: str) -> str:
        """The CARP state of a host, ``down`` for one without power."""
        return self.on(host, "carp 2>/dev/null").split()[0] if self.up(host) else "down"

    def serves(self, host: str) -> bool:
        """MASTER, and all services run."""
        rc, output = self.attempt(host, "service f3s_storage status")
        return rc == 0 and "carp: MASTER" in output and "stunnel: running" in output

    def quiet(self, host: str) -> bool:
        """Not MASTER, and no service runs."""
        rc, output = self.attempt(host, "service f3s_storage status")
        return rc == 0 and "carp: BACKUP" in output and ": running" not in output

    def could_serve(self, host: str) -> bool:
        return re.search(r"advskew (\d+) \(configured \1\)", self.on(host, "carp")) is not None

    def has(self, host: str, path: str, content: str) -> bool:
        return self.attempt(host, f"cat {path}") == (0, f"{content}\n")

    def reads(self, name: str, content: str) -> bool:
        # a hard mount of a dead server would wait for it
        rc, output = self.attempt(self.cast.client, f"timeout 2 cat {self.cast.mountpoint}/{name}")
        return (rc, output) == (0, f"{content}\n")

    def monitor(self) -> str:
        """The last line of the client's monitor in the journal."""
        return self.on(self.cast.client, "journalctl -t check-nfs-mount -o cat -q").splitlines()[-1]

    # -- steps that several stories share --

    def opening(self) -> None:
        """All is well, and what the client wrote has reached the standby."""
        client, primary, standby = self.cast.client, self.cast.primary, self.cast.standby
        self.within(90, f"{primary} is MASTER and serves", lambda: self.serves(primary))
        self.within(90, f"{standby} is BACKUP and serves nothing", lambda: self.quiet(standby))
        self.within(
            60, f"{client} has the share mounted", lambda: self.attempt(client, "check-nfs-mount.sh --status")[0] == 0
        )
        self.writes("before", "written before")
        # its controller looks every minute; until it has found the dataset complete, it stands back with advskew 254
        self.within(75, f"{standby} could serve: its advskew is the configured one", lambda: self.could_serve(standby))

    def writes(self, name: str, content: str) -> None:
        """The client writes a file, which reaches the standby."""
        client, standby = self.cast.client, self.cast.standby
        self.within(
            HEALED_SECONDS,
            f"{client} writes '{content}'",
            lambda: self.attempt(client, f"timeout 5 sh -c 'echo {content} >{self.cast.mountpoint}/{name}'")[0] == 0,
        )
        path = f"{self.cast.share}/{name}"
        self.within(130, f"it is on {standby}: a replication a minute", lambda: self.has(standby, path, content))

    def standby_serves(self, takeover: float) -> None:
        """The standby has the address, serves, and the client reads from it; at most `takeover` seconds to MASTER."""
        client, standby = self.cast.client, self.cast.standby
        self.within(takeover, f"{standby} is MASTER", lambda: self.state(standby) == "MASTER")
        self.within(SERVING_SECONDS, f"{standby} serves", lambda: self.serves(standby))
        self.within(
            HEALED_SECONDS, f"{client} reads what was written before", lambda: self.reads("before", "written before")
        )
        said = self.monitor()
        self.prove("-> readonly" in said and "was stale" in said, f"its monitor has mended a stale handle: {said}")
        rc, said = self.attempt(client, f"touch {self.cast.mountpoint}/stray")
        self.prove(rc != 0 and "Read-only file system" in said, f"{client} cannot write: Read-only file system")

    def primary_serves(self, seconds: float) -> None:
        """The primary has the address again, at most that many seconds from now, and the client writes."""
        client, primary, standby = self.cast.client, self.cast.primary, self.cast.standby
        self.within(seconds, f"{primary} is MASTER again", lambda: self.state(primary) == "MASTER")
        self.within(SERVING_SECONDS, f"{primary} serves", lambda: self.serves(primary))
        self.within(SERVING_SECONDS, f"{standby} serves nothing any more", lambda: self.quiet(standby))
        self.within(
            HEALED_SECONDS, f"{client} reads what was written before", lambda: self.reads("before", "written before")
        )
        self.writes("after", "written after")

    def failback_by_cron(self) -> None:
        """The primary takes the address back by itself."""
        self.primary_serves(FAILBACK_SECONDS)
        self.say(f"the log says why: {self.failback_decisions('failback: MASTER again')[-1]}")

    def failback_decisions(self, text: str) -> list[str]:
        """The lines of the failback's log with that text, without their time.

        :raises DrillError: there is none
        """
        lines = [line[20:] for line in self.on(self.cast.primary, f"cat {FAILBACK_LOG}").splitlines()]
        found = [line for line in lines if text in line]
        if not found:
            raise DrillError(f"no '{text}' in {FAILBACK_LOG} of {self.cast.primary}: {lines[-3:]}")
        return found

    def stays(self, reason: str) -> None:
        """The primary does not take the address back for three minutes, and says why."""
        primary, standby = self.cast.primary, self.cast.standby
        clock.advance(self.store, 180)
        self.prove(self.state(primary) == "BACKUP", f"three minutes later {primary} still is BACKUP")
        self.prove(self.serves(standby), f"{standby} serves on")
        self.say(f"the log says why: {self.failback_decisions(reason)[-1]}")

    def types(self, host: str, command: str) -> None:
        """Somebody runs a command."""
        self.on(host, command)
        self.say(f"{host}: {command}")

    def power_cut(self) -> None:
        boot.crash(self.store, self.cast.primary)
        self.say(f"{self.cast.primary} loses power")

    def power_on(self) -> None:
        boot.boot(self.store, self.cast.primary)
        self.prove(self.up(self.cast.primary), f"{self.cast.primary} has booted")


def planned(drill: Drill) -> None:
    """A planned failover and the way back"""
    primary = drill.cast.primary
    drill.opening()
    drill.types(primary, "carp backup")
    drill.standby_serves(0)
    drill.within(SERVING_SECONDS, f"{primary} serves nothing any more", lambda: drill.quiet(primary))
    drill.stays("held by carp backup")
    drill.types(primary, "carp master")
    drill.primary_serves(0)


def power_cut(drill: Drill) -> None:
    """A power cut on the primary"""
    drill.opening()
    drill.power_cut()
    cut = drill.store.read().now
    drill.standby_serves(TAKEOVER_SECONDS)
    took = drill.store.read().now - cut
    drill.prove(took <= READS_AGAIN_SECONDS, f"all of that within {took:.0f} s of the power cut")
    clock.advance(drill.store, 60)
    drill.power_on()
    drill.failback_by_cron()


def reboot(drill: Drill) -> None:
    """A reboot of the primary"""
    drill.opening()
    boot.shutdown(drill.store, drill.cast.primary)
    drill.say(f"{drill.cast.primary} has shut down in order")
    drill.standby_serves(0)
    drill.power_on()
    drill.failback_by_cron()


def missing_stick(drill: Drill) -> None:
    """The primary comes back without its key stick"""
    primary = drill.cast.primary
    drill.opening()
    actions.unplug(drill.store, primary)
    drill.say(f"the stick of {primary} is pulled out")
    drill.power_cut()
    drill.standby_serves(TAKEOVER_SECONDS)
    drill.power_on()
    drill.prove(not drill.serves(primary), f"{primary} serves nothing")
    rc, said = drill.attempt(primary, f"touch {drill.cast.share.rpartition('/')[0]}/plain")
    drill.prove(
        rc != 0 and "not permitted" in said, "its bare mount point takes no plain text: Operation not permitted"
    )
    drill.stays(f"the key of {drill.cast.dataset} is not loaded")
    actions.plug(drill.store, primary)
    drill.say("the stick is plugged in again")
    drill.types(primary, "service f3skeys onestart && service zfskeys onestart")
    drill.failback_by_cron()


def failback_off(drill: Drill) -> None:
    """A power cut with failback switched off"""
    drill.opening()
    drill.types(drill.cast.primary, "carp auto-failback disable")
    drill.power_cut()
    drill.standby_serves(TAKEOVER_SECONDS)
    drill.power_on()
    drill.stays("is there: carp auto-failback enable removes it")
    drill.types(drill.cast.primary, "carp auto-failback enable")
    drill.failback_by_cron()


STORIES = {
    "planned": planned,
    "power-cut": power_cut,
    "reboot": reboot,
    "missing-stick": missing_stick,
    "failback-off": failback_off,
}


def cast() -> Cast:
    """The first client plays; the others would tell the same."""
    from lab import plans  # with pyinfra's command line, which takes a second and changes the interpreter

    site = plans.site()
    primary, client = site.primary, site.clients[0]
    mount = client.client.mounts[0]
    return Cast(
        primary.short_name,
        site.standby.short_name,
        client.short_name,
        tuple(other.short_name for other in site.clients[1:]),
        primary.nfs.dataset,
        f"{primary.nfs.mountpoint}/{mount.share}",
        mount.mountpoint,
    )


def deployed(folder: Path, who: Cast) -> None:
    """A cluster with everything on it.

    :raises DrillError: the deploy failed
    """
    from lab import plans

    store = Store(folder)
    build.up(store, plans.plans(plans.site()))
    env = {**os.environ, "LAB_STATE": str(folder), "PYINFRA_PROGRESS": "off", "NO_COLOR": "1"}
    programs = Path(sys.executable).parent
    for words in (
        [str(programs / "python"), "-m", "f3s.pki", "--inventory", "lab/inventory.py", "init"],
        [str(programs / "pyinfra"), "lab/inventory.py", "deploy.py", "-y"],
    ):
        done = subprocess.run(
            words, cwd=REPO, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            raise DrillError(f"{' '.join(words)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    for other in who.others:
        boot.crash(store, other)


def tell(name: str, base: Path, folder: Path, who: Cast) -> None:
    """One story on a copy of the deployed cluster.

    :raises DrillError: a step was not as told
    :raises LabError: the lab itself failed
    """
    subprocess.run(["cp", "-a", "--sparse=always", str(base), str(folder)], check=True)
    story = STORIES[name]
    print(f"\n== {story.__doc__} ({name})", flush=True)
    store = Store(folder)
    story(Drill(store, who))
    store.tell()


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.drill", description="The failover, step by step.")
    parser.add_argument("story", nargs="*", help=f"which ones: {', '.join(STORIES)}; all by default")
    names = parser.parse_args(argv).story or list(STORIES)
    if unknown := [name for name in names if name not in STORIES]:
        parser.error(f"there is no story {', '.join(unknown)}; there are {', '.join(STORIES)}")
    place = Path(tempfile.mkdtemp(prefix="lab-drill-"))
    at = place / "deployed"
    try:
        who = cast()
        print(f"A cluster is deployed. {', '.join(who.others)} are switched off: {who.client} plays.", flush=True)
        deployed(at, who)
        for name in names:
            at = place / name
            tell(name, place / "deployed", at, who)
    except (DrillError, LabError) as error:
        print(f"\n{error}\nThe cluster as it was then: LAB_STATE={at} python -m lab status", file=sys.stderr)
        return 1
    shutil.rmtree(place)
    print("\nEvery step was as told.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
