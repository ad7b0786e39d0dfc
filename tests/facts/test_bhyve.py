from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.bhyve.vms import Vm, VmHost
from facts.base import END
from facts.bhyve import AllProperties, EncryptionFeature, Vms
from tests.files.stubs import StubHost
from tests.shell import lines_of


def test_the_datasets_and_the_feature_are_parsed() -> None:
    assert "{ zpool get -H -o value feature@encryption zroot; }" in EncryptionFeature().command(pool="zroot")
    assert EncryptionFeature().process(["active", END]) == "active"
    assert AllProperties().process([END]) == {}
    for fact, line in ((EncryptionFeature(), "on"), (AllProperties(), "internal error")):
        with pytest.raises(FactProcessError):
            fact.process([line, END])


def found_on(host: StubHost) -> VmHost:
    """The rewriting leaves /dev alone, and this machine's must not be asked."""
    command = host.rewrite(Vms().command()).replace("/dev/vmm", f"{host.root}/dev/vmm")
    found = Vms().process(lines_of(command))
    assert found is not None
    return found


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
    assert found_on(host) == VmHost(False, (), "", frozenset())
    host.write("/dev/vmm/rocky", "")
    host.state("list", LIST)
    install_vm(host, f'[ "$*" = list ] || exit 64; echo warning >&2; cat {os.fspath(host.path("/../state/list"))}')
    found = found_on(host)
    assert found == VmHost(True, (Vm("rocky", "Running", "9", 1),), "", frozenset({"rocky"}))
    install_vm(host, "echo 'vm: ERROR: unable to locate mountpoint' >&2; exit 1")
    found = found_on(host)
    assert (found.vms, found.problem) == (None, "vm: ERROR: unable to locate mountpoint")
