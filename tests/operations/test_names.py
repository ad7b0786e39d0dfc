from __future__ import annotations

import pytest
from pyinfra.api.exceptions import OperationError

from facts.clients import HostName
from operations import names
from tests.operations.harness import run

OTHERS = ["r1.lan.buetow.org", "r2.lan.buetow.org"]


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the other hosts are called; nobody asks a host that is not in the run."""
    found = {OTHERS[0]: "r1.lan.buetow.org"}
    monkeypatch.setattr(names, "known_of", lambda name, fact: found[name])
    return found


def test_a_name_of_its_own() -> None:
    result = run(names.own, {HostName: "rocky-a"}, OTHERS, active=OTHERS[:1])
    assert (result.commands, result.noops) == ([], ["rocky-a is the name of no other client"])


@pytest.mark.parametrize("executing", [True, False])
def test_the_name_of_another_client_is_refused(called: dict[str, str], executing: bool) -> None:
    called[OTHERS[0]] = "rocky"
    with pytest.raises(
        OperationError, match=r"is called rocky, as r1\.lan\.buetow\.org is\. NFS clients with one name"
    ):
        run(names.own, {HostName: "rocky"}, OTHERS, active=OTHERS[:1], executing=executing)


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain"])
def test_the_name_of_every_host_is_refused(name: str) -> None:
    with pytest.raises(OperationError, match=r"no name of its own.*hostnamectl set-hostname"):
        run(names.own, {HostName: name}, OTHERS)
    assert run(names.own, {HostName: "r0.lan.buetow.org"}, OTHERS).noops
