"""A stage on which nothing happens: time passes at once, commands answer what a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scenarios.stage import CannotError, Ran, Report, Stage, Stick, cast
from tests.f3s.settings_data import build, good

CAST = cast(build(good()))


@dataclass
class FakeStage(Stage):
    """
    :param answer: host and script -> how it ended
    :param reports: what the probe of a client says; an exception is raised
    :ivar done: what was done to the hardware, in order
    """

    answer: Callable[[str, str], Ran] = lambda host, script: Ran(0, "")
    reports: dict[str, Report | Exception] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    time: float = 0.0
    name = "fake"
    cast = CAST

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def run(self, host: str, script: str, *, timeout: float = 60) -> Ran:
        return self.answer(host, script)

    def pyinfra(self, *words: str) -> Ran:
        return self.answer("controller", " ".join(words))

    def pki(self, *words: str) -> Ran:
        return self.answer("controller", " ".join(["pki", *words]))

    def settle(self) -> None:
        self.done.append("settle")

    def is_up(self, host: str) -> bool:
        return True

    def power_cut(self, host: str) -> None:
        self.done.append(f"power cut {host}")

    def boot(self, host: str) -> None:
        self.done.append(f"boot {host}")

    def shutdown(self, host: str) -> None:
        self.done.append(f"shutdown {host}")

    def cable(self, host: str, *, plugged: bool) -> None:
        self.done.append(f"cable {host} {'in' if plugged else 'out'}")

    def part(self, one: str, other: str) -> None:
        raise CannotError("the fake has one wire")

    def join(self, one: str, other: str) -> None:
        raise CannotError("the fake has one wire")

    def stick(self, host: str, state: Stick) -> None:
        self.done.append(f"stick {host} {state}")

    def start_probe(self, client: str) -> None:
        self.done.append(f"probe {client}")

    def stop_probe(self, client: str) -> Report:
        self.done.append(f"report {client}")
        found = self.reports.get(client, Report())
        if isinstance(found, Exception):
            raise found
        return found
