"""The deployed storage pair in the lab, and what an operator would look at."""

from __future__ import annotations

from pathlib import Path

from lab import actions, clock
from lab.net import model
from lab.rc.scripts import processes
from tests.lab.cluster import F0, F1, Cluster

SERVICES = {"rpcbind", "mountd", "nfsd", "stunnel"}
REPLICA = "zdata/sink/f0/zdata/enc/nfsdata"
SOURCE = "zdata/enc/nfsdata"


class Pair(Cluster):
    """A cluster whose FreeBSD hosts were deployed; f0 is MASTER and has replicated to f1."""

    def copy(self, state: Path) -> Pair:
        pair = Pair(super().copy(state).state)
        pair._forget()
        return pair

    def carp(self, host: str) -> str:
        """MASTER or BACKUP; `down` for a host without power."""
        machine = self.hosts.host(host)
        return model.interfaces(machine)["re0"].carps[1].state if machine.up else "down"

    @property
    def states(self) -> tuple[str, str]:
        return self.carp(F0), self.carp(F1)

    @property
    def claims(self) -> tuple[int, ...]:
        """advskew of both; with preemption the lowest one has the address."""
        return tuple(model.interfaces(self.hosts.host(host))["re0"].carps[1].advskew for host in (F0, F1))

    def running(self, host: str) -> set[str]:
        """Which of the serving services run."""
        return {name for name in SERVICES if processes(self.hosts.host(host)).get(name)}

    def process_ids(self, host: str) -> dict[str, list[int]]:
        """The serving services with their process ids."""
        return {name: processes(self.hosts.host(host))[name] for name in self.running(host)}

    def serves(self, host: str) -> bool:
        """It has the address, and all of its services run."""
        return self.carp(host) == "MASTER" and self.running(host) == SERVICES

    def told(self, host: str) -> list[str]:
        """What f3s_storage decided and did since the test began; that an event woke it is left out."""
        return [word for word in self._said(host, "f3s_storage") if not word.startswith("event: ")]

    def reported(self, host: str) -> list[str]:
        """What the report of a host told since the test began."""
        return self._said(host, "f3s_report")

    def _said(self, host: str, program: str) -> list[str]:
        return [word for line in self._new(host) if (word := line.partition(f" {program}: ")[2])]

    def _forget(self) -> None:
        """What was logged so far is none of the test's business."""
        self._seen = {host: len(self.log(host, "messages").splitlines()) for host in (F0, F1)}

    def _new(self, host: str) -> list[str]:
        return self.log(host, "messages").splitlines()[getattr(self, "_seen", {}).get(host, 0) :]

    def metrics(self, host: str) -> dict[str, float]:
        """What its report says for Prometheus."""
        lines = self.sh(host, "cat /var/run/f3s/report.prom").splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def failback_says(self) -> list[str]:
        """The decisions of the automatic failback, without their times."""
        return [line.split(" ", 2)[2] for line in self.log(F0, "carp-auto-failback.log").splitlines()]

    @property
    def now(self) -> float:
        return self.hosts.now

    def until(self, seconds: float, host: str) -> float:
        """Lets time pass until the host serves, at most so many seconds; returns how many it took."""
        began = self.now
        while not self.serves(host):
            assert self.now - began < seconds, f"{host} does not serve: {self.told(F0)}\n{self.told(F1)}"
            clock.tick(self.store, 1)
        return self.now - began

    def fail_over(self) -> None:
        """f1 serves, without a hold and without anything being wrong with f0, whose cable was out for a moment."""
        actions.cut_off(self.store, F0, away=True)
        self.until(15, F1)
        self.tick(5)
        actions.cut_off(self.store, F0, away=False)
        self.tick(5)
