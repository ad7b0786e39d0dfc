"""What the machines need from this computer: programs, images, and KVM if it has it. Nothing is fetched."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "genisoimage": "genisoimage",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
"""Program -> the package of Debian and Ubuntu that has it."""


class MachinesError(Exception):
    """A problem for the person who starts the machines; the text is the whole message."""


def need(packages: Mapping[str, str] = PACKAGES) -> None:
    """
    :param packages: program -> the package that has it
    :raises MachinesError: a program is missing; says how to get it
    """
    missing = [program for program in packages if shutil.which(program) is None]
    if missing:
        names = " ".join(dict.fromkeys(packages[program] for program in missing))
        raise MachinesError(f"missing: {', '.join(missing)}. Debian and Ubuntu have them: apt-get install {names}")


def freebsd_image(variable: str = "FREEBSD_IMAGE", *, default: Path | None = None) -> Path:
    """The qcow2 image that an environment variable names.

    :raises MachinesError: it names none
    """
    named = os.environ.get(variable)
    if not named:
        if default is not None:
            return default
        raise MachinesError(
            f"{variable} is not set: it is the path of a FreeBSD image (qcow2) that runs the user-data of a volume "
            "labelled cidata, for example FreeBSD's own BASIC-CLOUDINIT image"
        )
    image = Path(named).resolve()
    if not image.is_file():
        raise MachinesError(f"{variable}: there is no file {image}")
    return image


def accelerator(cpuinfo: Path = Path("/proc/cpuinfo"), device: Path = Path("/dev/kvm")) -> list[str]:
    """qemu's options for the processor. A /dev/kvm proves nothing without the processor's own support (seen)."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    supported = flags is not None and bool({"vmx", "svm"} & set(flags[1].split()))
    if supported and os.access(device, os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]
