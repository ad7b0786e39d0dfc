from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.bhyve.tree import history, local, tree
from f3s.zfs import MIGRATION, Snapshot
from facts.base import END
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from tests.files.stubs import StubHost

# shape and sources as recorded on FreeBSD 13.2, `zfs get -H -o name,property,value,source`
TREE = """\
zroot	type	filesystem	-
zroot	written	251904	-
zroot	available	872415232	-
zroot	encryption	off	default
zroot/bhyve_old	type	filesystem	-
zroot/bhyve_old	written	86016	-
zroot/bhyve_old	available	872415232	-
zroot/bhyve_old	encryption	off	default
zroot/bhyve_old	mountpoint	/zroot/bhyve	local
zroot/bhyve_old	f3s:migration	started	local
zroot/bhyve_old/rocky-b	type	filesystem	-
zroot/bhyve_old/rocky-b	written	36864	-
zroot/bhyve_old/rocky-b	available	872415232	-
zroot/bhyve_old/rocky-b	encryption	off	default
zroot/bhyve_old/rocky	type	filesystem	-
zroot/bhyve_old/rocky	written	36864	-
zroot/bhyve_old/rocky	available	872415232	-
zroot/bhyve_old/rocky	encryption	off	default
zroot/bhyve_old/rocky	mountpoint	/zroot/bhyve/rocky	inherited from zroot/bhyve_old
zroot/bhyve_old/rocky	f3s:migration	started	inherited from zroot/bhyve_old
zroot/bhyve_old/rocky/disk0	type	volume	-
zroot/bhyve_old/rocky/disk0	written	12288	-
zroot/bhyve_old/rocky/disk0	available	872415232	-
zroot/bhyve_old/rocky/disk0	encryption	off	default
zroot/bhyve_old/rocky/disk0	volsize	67108864	local
"""


def test_only_a_local_property_is_a_mark() -> None:
    found = AllProperties().process([*TREE.splitlines(), END]) or {}
    assert local(found["zroot/bhyve_old"], MIGRATION) == "started"
    assert local(found["zroot/bhyve_old/rocky"], MIGRATION) is None
    assert local(None, MIGRATION) is None


def test_whether_a_pool_can_hold_encrypted_datasets() -> None:
    assert "{ zpool get -H -o value feature@encryption zroot; }" in EncryptionFeature().command(pool="zroot")
    for state in ("enabled", "active", "disabled", "-"):
        assert EncryptionFeature().process([state, END]) == state
    for lines in ([], ["on"], ["enabled", "active"]):
        with pytest.raises(FactProcessError, match="feature@encryption is"):
            EncryptionFeature().process([*lines, END])


def test_what_does_not_apply_is_left_out_by_zfs_get_all() -> None:
    volume = (AllProperties().process([*TREE.splitlines(), END]) or {})["zroot/bhyve_old/rocky/disk0"]
    assert not volume.mounted
    assert volume.encryption_root is None
    assert volume.get("receive_resume_token") is None


def test_a_tree_has_parents_first_and_no_neighbours() -> None:
    found = AllProperties().process([*TREE.splitlines(), END]) or {}
    names = [dataset.name.removeprefix("zroot/bhyve_old/") for dataset in tree(found, "zroot/bhyve_old")]
    assert names == ["zroot/bhyve_old", "rocky", "rocky/disk0", "rocky-b"]
    assert [dataset.name for dataset in tree(found, "zroot/bhyve")] == []


def test_history_ends_with_the_snapshot_of_the_migration() -> None:
    snapshots = [Snapshot(f"a@{name}", name, txg, 0) for name, txg in (("s", 3), ("x", 1), ("later", 4), ("y", 2))]
    assert [s.short_name for s in history([*snapshots, Snapshot("b@s", "9", 0, 0)], "a", "s")] == ["x", "y", "s"]
    assert len(history(snapshots, "a", "none")) == 4


@pytest.mark.parametrize(
    "line", ["zroot\ttype\tfilesystem", "\ttype\tx\t-", "internal error", "zroot\ttype\tfilesystem\t-"]
)
def test_unknown_properties_are_refused(line: str) -> None:
    with pytest.raises(FactProcessError):
        AllProperties().process([line, END])


def run(host: StubHost, text: str) -> list[str]:
    done = subprocess.run(
        # the rewriting leaves /dev alone, and this machine's must not be asked
        ["/bin/sh", "-c", host.rewrite(text).replace("/dev/vmm", f"{host.root}/dev/vmm")],
        env={"PATH": host.path_variable},
        capture_output=True,
        text=True,
        check=True,
        cwd=host.root,
    )
    return done.stdout.splitlines()


LIST = """\
NAME   DATASTORE  LOADER  CPU  MEMORY  VNC  AUTO     STATE
rocky  default    uefi    4    14G     -    Yes [1]  Running (9)
"""


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    """A host whose vm stands where the stub's PATH has no say."""
    return StubHost(tmp_path)


def install_vm(host: StubHost, body: str) -> None:
    host.write("/usr/local/sbin/vm", f"#!/bin/sh\n{body}\n", 0o755)


def test_the_command_under_sh(host: StubHost) -> None:
    command = Vms().command()
    assert Vms().process(run(host, command)) == Vms().process(
        ["=== installed", "no", "=== devices", "=== list", "=== problem", "", "=== rc", "0", END]
    )
    host.write("/dev/vmm/rocky", "")
    host.state("list", LIST)
    install_vm(host, f'[ "$*" = list ] || exit 64; echo warning >&2; cat {os.fspath(host.path("/../state/list"))}')
    found = Vms().process(run(host, command))
    assert found is not None
    assert found.vms is not None
    assert [vm.name for vm in found.vms if vm.running] == ["rocky"]
    assert found.devices == {"rocky"}
    install_vm(host, "echo 'vm: ERROR: unable to locate mountpoint' >&2; exit 1")
    found = Vms().process(run(host, command))
    assert found is not None
    assert (found.vms, found.problem) == (None, "vm: ERROR: unable to locate mountpoint")
