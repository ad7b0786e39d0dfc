from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from facts.base import END
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from tests.files.stubs import StubHost


def test_the_datasets_and_the_feature_are_parsed() -> None:
    assert "{ zpool get -H -o value feature@encryption zroot; }" in EncryptionFeature().command(pool="zroot")
    assert EncryptionFeature().process(["active", END]) == "active"
    assert AllProperties().process([END]) == {}
    for fact, line in ((EncryptionFeature(), "on"), (AllProperties(), "internal error")):
        with pytest.raises(FactProcessError):
            fact.process([line, END])


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
