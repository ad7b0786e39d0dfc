"""What the machines need: missing programs, images and KVM are told in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from machines import programs
from machines.programs import MachinesError


def test_a_missing_program_is_named_with_the_package_that_has_it() -> None:
    with pytest.raises(MachinesError, match=r"^missing: no-such-qemu\. Debian .*: apt-get install qemu-system-x86$"):
        programs.need({"no-such-qemu": "qemu-system-x86", "sh": "dash"})


def test_without_an_image_the_variable_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FREEBSD_IMAGE", raising=False)
    with pytest.raises(MachinesError, match="FREEBSD_IMAGE is not set: it is the path of a FreeBSD image"):
        programs.freebsd_image()
    assert programs.freebsd_image("FREEBSD_IMAGE_STANDBY", default=tmp_path) == tmp_path


def test_an_image_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FREEBSD_IMAGE", str(tmp_path / "absent.qcow2"))
    with pytest.raises(MachinesError, match=r"FREEBSD_IMAGE: there is no file .*absent\.qcow2"):
        programs.freebsd_image()


@pytest.mark.parametrize(
    ("flags", "device", "wanted"), [("vmx", True, "kvm"), ("sse", True, "tcg"), ("svm", False, "tcg")]
)
def test_kvm_wants_the_processor_and_the_device(tmp_path: Path, flags: str, device: bool, wanted: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: fpu {flags} de\n")
    kvm = tmp_path / "kvm"
    if device:
        kvm.touch()
    assert programs.accelerator(cpuinfo, kvm)[1].startswith(wanted)
