"""``make drill``: the failover in the simulated cluster, told step by step with virtual times.

Each story starts from the same freshly deployed cluster. A step is printed once it has been proven; the program ends
with 1 at the first that is not as told, and keeps that cluster's folder to look at.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab import actions, build, clock
from lab.core import Store
from lab.rc import boot

REPO = Path(__file__).resolve().parent.parent
PRIMARY, STANDBY = "f0", "f1"
SHARE = "/data/nfs/k3svolumes"
FAILBACK_LOG = "/var/log/carp-auto-failback.log"

TAKEOVER_SECONDS = 5
"""A standby hears nothing for 3 advertisements and its own skew: 3.4 s; seen were 2 to 4."""
SERVING_SECONDS = 15
"""From the new MASTER to the last service: devd, the controller, four services."""
FAILBACK_SECONDS = 300
"""A replication after the boot, which is due every minute, then the next minute of cron."""


class DrillError(Exception):
    """A step was not as told; the text is the whole message."""


class Drill:
    """One story on a cluster of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
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

    def has(self, host: str, name: str, content: str) -> bool:
        return self.attempt(host, f"cat {SHARE}/{name}") == (0, f"{content}\n")

    # -- steps that several stories share --

    def opening(self) -> None:
        self.within(90, f"{PRIMARY} is MASTER and serves", lambda: self.serves(PRIMARY))
        self.within(90, f"{STANDBY} is BACKUP and serves nothing", lambda: self.quiet(STANDBY))
        self.write("before", "written before")
        self.within(
            75, f"{STANDBY} has it: a replication a minute", lambda: self.has(STANDBY, "before", "written before")
        )

        # its controller looks every minute; until it has found the dataset complete, it stands back with advskew 254
        self.within(75, f"{STANDBY} could serve: its advskew is the configured one", lambda: self.could_serve(STANDBY))

    def write(self, name: str, content: str) -> None:
        self.on(PRIMARY, f"echo '{content}' >{SHARE}/{name}; zpool sync")
        self.say(f"'{content}' is written to the share")

    def standby_serves(self, takeover: float) -> None:
        self.within(takeover, f"{STANDBY} is MASTER", lambda: self.state(STANDBY) == "MASTER")
        self.within(SERVING_SECONDS, f"{STANDBY} serves", lambda: self.serves(STANDBY))
        self.prove(self.has(STANDBY, "before", "written before"), "what was written before is there")
        rc, said = self.attempt(STANDBY, f"touch {SHARE}/stray")
        self.prove(rc != 0 and "Read-only file system" in said, "and nothing can be written: Read-only file system")

    def primary_serves(self, seconds: float) -> None:
        self.within(seconds, f"{PRIMARY} is MASTER again", lambda: self.state(PRIMARY) == "MASTER")
        self.within(SERVING_SECONDS, f"{PRIMARY} serves", lambda: self.serves(PRIMARY))
        self.within(SERVING_SECONDS, f"{STANDBY} serves nothing any more", lambda: self.quiet(STANDBY))
        self.prove(self.has(PRIMARY, "before", "written before"), "what was written before is there")
        self.write("after", "written after")
        self.within(75, f"{STANDBY} has that, too: undiverged", lambda: self.has(STANDBY, "after", "written after"))

    def failback_by_cron(self) -> None:
        self.primary_serves(FAILBACK_SECONDS)
        last = self.failback_decisions("failback: MASTER again")[-1]
        self.say(f"the log says why: {last}")

    def failback_decisions(self, text: str) -> list[str]:
        """The lines of the failback's log with that text, without their time.

        :raises DrillError: there is none
        """
        lines = [line[20:] for line in self.on(PRIMARY, f"cat {FAILBACK_LOG}").splitlines()]
        found = [line for line in lines if text in line]
        if not found:
            raise DrillError(f"no '{text}' in {FAILBACK_LOG} of {PRIMARY}: {lines[-3:]}")
        return found

    def stays(self, reason: str) -> None:
        """The primary does not take the address back for three minutes, and says why."""
        clock.advance(self.store, 180)
        self.prove(self.state(PRIMARY) == "BACKUP", f"three minutes later {PRIMARY} still is BACKUP")
        self.prove(self.serves(STANDBY), f"{STANDBY} serves on")
        self.say(f"the log says why: {self.failback_decisions(reason)[-1]}")


def planned(drill: Drill) -> None:
    """A planned failover and the way back"""
    drill.opening()
    drill.on(PRIMARY, "carp backup")
    drill.say(f"{PRIMARY}: carp backup")
    drill.standby_serves(0)
    drill.within(SERVING_SECONDS, f"{PRIMARY} serves nothing any more", lambda: drill.quiet(PRIMARY))
    drill.stays("held by carp backup")
    drill.on(PRIMARY, "carp master")
    drill.say(f"{PRIMARY}: carp master")
    drill.primary_serves(0)


def power_cut(drill: Drill) -> None:
    """A power cut on the primary"""
    drill.opening()
    boot.crash(drill.store, PRIMARY)
    drill.say(f"{PRIMARY} loses power")
    drill.standby_serves(TAKEOVER_SECONDS)
    clock.advance(drill.store, 60)
    boot.boot(drill.store, PRIMARY)
    drill.say(f"{PRIMARY} has booted")
    drill.failback_by_cron()


def reboot(drill: Drill) -> None:
    """A reboot of the primary"""
    drill.opening()
    boot.shutdown(drill.store, PRIMARY)
    drill.say(f"{PRIMARY} has shut down in order")
    drill.standby_serves(0)
    boot.boot(drill.store, PRIMARY)
    drill.say(f"{PRIMARY} has booted")
    drill.failback_by_cron()


def missing_stick(drill: Drill) -> None:
    """The primary comes back without its key stick"""
    drill.opening()
    actions.unplug(drill.store, PRIMARY)
    boot.crash(drill.store, PRIMARY)
    drill.say(f"{PRIMARY} loses its stick, then power")
    drill.standby_serves(TAKEOVER_SECONDS)
    boot.boot(drill.store, PRIMARY)
    drill.prove(drill.up(PRIMARY), f"{PRIMARY} boots without the stick")
    drill.prove(not drill.serves(PRIMARY), f"{PRIMARY} serves nothing")
    rc, said = drill.attempt(PRIMARY, "touch /data/nfs/plain")
    drill.prove(
        rc != 0 and "not permitted" in said, "its bare mount point takes no plain text: Operation not permitted"
    )
    drill.stays("the key of zdata/enc/nfsdata is not loaded")
    actions.plug(drill.store, PRIMARY)
    drill.on(PRIMARY, "service f3skeys onestart && service zfskeys onestart")
    drill.say("the stick is plugged in, the keys are loaded: service f3skeys onestart, service zfskeys onestart")
    drill.failback_by_cron()


def failback_off(drill: Drill) -> None:
    """A power cut with failback switched off"""
    drill.opening()
    drill.on(PRIMARY, "carp auto-failback disable")
    drill.say(f"{PRIMARY}: carp auto-failback disable")
    boot.crash(drill.store, PRIMARY)
    drill.say(f"{PRIMARY} loses power")
    drill.standby_serves(TAKEOVER_SECONDS)
    boot.boot(drill.store, PRIMARY)
    drill.say(f"{PRIMARY} has booted")
    drill.stays("nfs.NO_AUTO_FAILBACK is there")
    drill.on(PRIMARY, "carp auto-failback enable")
    drill.say(f"{PRIMARY}: carp auto-failback enable")
    drill.failback_by_cron()


STORIES = {
    "planned": planned,
    "power-cut": power_cut,
    "reboot": reboot,
    "missing-stick": missing_stick,
    "failback-off": failback_off,
}


def deployed(folder: Path) -> None:
    """A cluster with everything on it.

    :raises DrillError: the deploy failed
    """
    from lab import plans  # with pyinfra's command line, which takes a second and changes the interpreter

    build.up(Store(folder), plans.plans(plans.site()))
    env = {**os.environ, "LAB_STATE": str(folder), "PYINFRA_PROGRESS": "off", "NO_COLOR": "1"}
    programs = Path(sys.executable).parent
    for words in (
        [str(programs / "python"), "-m", "f3s.pki", "--inventory", "lab/inventory.py", "init"],
        [str(programs / "pyinfra"), "lab/inventory.py", "deploy.py", "-y", "--limit", "freebsd"],
    ):
        done = subprocess.run(
            words, cwd=REPO, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            raise DrillError(f"{' '.join(words)} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def tell(name: str, deployed_folder: Path, folder: Path) -> None:
    """One story on a copy of the deployed cluster.

    :raises DrillError: a step was not as told
    """
    subprocess.run(["cp", "-a", "--sparse=always", str(deployed_folder), str(folder)], check=True)
    story = STORIES[name]
    print(f"\n== {story.__doc__} ({name})", flush=True)
    story(Drill(Store(folder)))


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.drill", description="The failover, step by step.")
    parser.add_argument("story", nargs="*", help=f"which ones: {', '.join(STORIES)}; all by default")
    names = parser.parse_args(argv).story or list(STORIES)
    if unknown := [name for name in names if name not in STORIES]:
        parser.error(f"there is no story {', '.join(unknown)}; there are {', '.join(STORIES)}")
    place = tempfile.mkdtemp(prefix="lab-drill-")
    try:
        print("A cluster is deployed.", flush=True)
        deployed(Path(place) / "deployed")
        for name in names:
            tell(name, Path(place) / "deployed", Path(place) / name)
    except DrillError as error:
        print(
            f"\n{error}\nThe cluster is as it was then: LAB_STATE={place}/{name} python -m lab status", file=sys.stderr
        )
        return 1
    subprocess.run(["rm", "-rf", place], check=True)
    print("\nEvery step was as told.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
