"""A host gets another role (files/once/take-role.sh) while it serves: a new name, new values, and nothing stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from f3s.controller import HOLD, STORAGE_CONF, Values, wanted_values
from tests.f3s.test_swapping import AFTER
from tests.files.storage import DATASET, StorageHost, advskew, conf
from tests.files.stubs import Result

OLD, NEW = DATASET["standby"], DATASET["primary"]
OPENS, RENAMES = ["sysrc", f"zfskeys_datasets+={NEW}"], ["zfs", "rename", "-u", OLD, NEW]
FORGETS = ["sysrc", f"zfskeys_datasets-={OLD}"]


def text(values: Values, host: StorageHost) -> str:
    return host.rewrite(conf(values.model_copy(update={"patience": 0})))


def takes(host: StorageHost, values: Values, *names: str) -> Result:
    return host.once("take-role", text(values, host).rstrip("\n"), *names)


def done(host: StorageHost) -> list[list[str]]:
    return [call for call in host.calls() if call[0] == "sysrc" or StorageHost._changes(call)]


@pytest.fixture
def promoted(tmp_path: Path) -> StorageHost:
    """A standby that clients write to."""
    host = StorageHost(tmp_path, "standby")
    host.quick()
    host.write("/var/db/f3s/record", "1 f1 1000\n")
    host.properties(readonly="off")
    host.serving("MASTER", 0)
    host.command("sysrc")
    return host


def test_what_serves_goes_on_under_its_new_name(promoted: StorageHost) -> None:
    assert takes(promoted, wanted_values(AFTER.primary, AFTER), OLD, NEW).rc == 0
    assert promoted.path(STORAGE_CONF).read_text() == text(wanted_values(AFTER.primary, AFTER), promoted)
    # and only its claim is another one
    assert done(promoted) == [OPENS, RENAMES, FORGETS, advskew(10)]
    said = promoted.status()
    assert (said.right, said.writer, said.epoch, said.proven, said.reason) == (True, "f1", 1, True, f"serves {NEW}")


def test_after_a_power_cut_in_between_the_rest_is_done(promoted: StorageHost) -> None:
    promoted.mounted(NEW, 16)
    assert takes(promoted, wanted_values(AFTER.primary, AFTER), OLD, NEW).rc == 0
    assert done(promoted)[:2] == [OPENS, FORGETS]
    assert "F3S_ROLE='primary'" in promoted.path(STORAGE_CONF).read_text()


@pytest.mark.parametrize(
    ("breaks", "says", "did"),
    [
        (lambda host: host.flag("rename_fails"), f"cannot rename '{OLD}': dataset already exists\n", [OPENS, RENAMES]),
        (lambda host: host.command("sysrc", "exit 1"), "", [OPENS]),
    ],
    ids=["the name is taken", "the root file system is full"],
)
def test_without_the_rename_it_stays_what_it_was(promoted: StorageHost, breaks: Any, says: str, did: Any) -> None:
    before = promoted.path(STORAGE_CONF).read_text()
    breaks(promoted)
    failed = takes(promoted, wanted_values(AFTER.primary, AFTER), OLD, NEW)
    assert (failed.rc, failed.err) == (1, says)
    assert promoted.path(STORAGE_CONF).read_text() == before
    assert done(promoted) == did


def test_the_old_primary_stands_by_once_its_replica_is_there(tmp_path: Path) -> None:
    host = StorageHost(tmp_path)
    host.quick()
    host.write("/var/db/f3s/record", "1 f1 1000\n")
    host.carp("BACKUP", 254, peer=10)
    host.mounted(None)
    host.flag("mount_fails")
    host.properties(readonly="on")
    values = wanted_values(AFTER.standby, AFTER)
    assert takes(host, values).rc == 0
    assert host.carp_now() == ("BACKUP", 254)
    host.mounted(values.dataset)
    assert host.reconcile().rc == 0
    assert host.carp_now() == ("BACKUP", 100)
    assert not host.path(HOLD).exists()
    assert host.status().ready
