"""The Linux client: a bootable image that is made once, and the volume that gives a machine its identity.

The image stands in for Rocky Linux 9. It is Debian 12, which has the same systemd (252), with a real NFS client,
stunnel and nftables; machines/linux/ makes it look like Rocky to the deploy. Its dnf installs packages without content
(stunnel's has the unit) from the disk, so that a machine needs no network beyond its LAN.

mmdebstrap makes it, without root where the user has subordinate ids (/etc/subuid), which useradd gives.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from machines.programs import MachinesError

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ROCKY_IMAGE = "ROCKY_IMAGE"
"""Variable: path of a cloud image of Rocky Linux 9 (GenericCloud, qcow2) to use instead."""
DATA = Path(__file__).with_suffix("")
APT = Path("/etc/apt")
APPEND = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet loglevel=4 mitigations=off norandmaps"
PACKAGES = (
    "systemd systemd-sysv udev openssh-server sudo iproute2 iputils-ping kmod procps openssl python3 "
    "nfs-common stunnel4 nftables dnf createrepo-c rpm linux-image-cloud-amd64 initramfs-tools lz4"
).split()
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "mkfs.ext4": "e2fsprogs",
    "newuidmap": "uidmap",
}
"""What makes the image: program -> Debian's and Ubuntu's package of it."""


@dataclass(frozen=True)
class Linux:
    """A system to start machines from.

    disk: qcow2, read-only, the backing file of each machine's own. It must be the first virtio disk.
    kernel, initrd, append: for qemu's options of these names; None where the disk has a boot loader of its own.
    """

    disk: Path
    kernel: Path | None
    initrd: Path | None
    append: str | None


def image(cache: Path) -> Linux:
    """The system, from the cache or made now (about a minute and a half, 0.3 GB).

    If the variable ROCKY_IMAGE is set, it is that file. Nobody has tried that: cloud-init reads the same volume
    (`seed`), and Rocky's dnf needs a network with its packages.

    cache: folder of images; made if it is not there.

    :raises MachinesError: a program is missing, or making it failed
    """
    if rocky := os.environ.get(ROCKY_IMAGE):
        if not Path(rocky).is_file():
            raise MachinesError(f"{ROCKY_IMAGE} is {rocky}, and there is no such file")
        return Linux(Path(rocky), None, None, None)
    tree = _tree()
    folder = cache / f"linux-{_recipe(tree)}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "linux.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(folder, tree)
    return Linux(folder / "disk.qcow2", folder / "vmlinuz", folder / "initrd.img", APPEND)


def seed(name: str, addresses: Mapping[str, str], public_key: str) -> dict[str, str]:
    """Files of the volume labelled cidata that makes a machine of the image: name -> content.

    user-data is a script for sh that runs at the first boot. network-config is for cloud-init (Rocky's own image),
    which brings the network up before that.

    name: full host name
    addresses: interface -> address with its prefix length, such as {"eth0": "192.168.1.150/24"}. eth1 asks qemu's
        user-mode network for its address and is not among them.
    public_key: a line for root's authorized_keys
    """
    short = name.partition(".")[0]
    first = next(iter(addresses.values())).partition("/")[0]
    script = ["#!/bin/sh", "set -eu"]
    script += [
        f"echo {shlex.quote(name)} >/etc/hostname",
        "cat /etc/hostname >/proc/sys/kernel/hostname",
        f"echo {shlex.quote(f'{first} {name} {short}')} >>/etc/hosts",
        "mkdir -p /etc/systemd/network",
    ]
    for interface, address in addresses.items():
        lines = ["[Match]", f"Name={interface}", "[Network]", f"Address={address}", "LinkLocalAddressing=no"]
        script.append(f"printf '%s\\n' {shlex.join(lines)} >/etc/systemd/network/10-{interface}.network")
    script += [
        "install -d -m 700 /root/.ssh",
        f"echo {shlex.quote(public_key.strip())} >/root/.ssh/authorized_keys",
        "if command -v restorecon >/dev/null; then restorecon -R /root/.ssh; fi",
    ]
    network = ["version: 2", "ethernets:", "  eth1:", "    dhcp4: true"]
    for interface, address in addresses.items():
        network += [f"  {interface}:", f"    addresses: [{address}]"]
    return {
        "user-data": _text(script),
        "meta-data": _text([f"instance-id: {name}", f"local-hostname: {name}"]),
        "network-config": _text(network),
    }


def mirror(apt: Path = APT) -> str | None:
    """The http source of Debian's SUITE in this machine's apt. None: there is none; mmdebstrap then picks a mirror.

    apt: folder of sources.list and sources.list.d, in either of its formats
    """
    found = []
    for file in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        for line in file.read_text().splitlines() if file.is_file() else ():
            words = re.sub(r"\[.*?\]", "", line).split()
            if words[:1] == ["deb"] and words[2:3] == [SUITE]:
                found.append(words[1])
    for file in sorted((apt / "sources.list.d").glob("*.sources")):
        for paragraph in file.read_text().split("\n\n"):
            fields = dict(line.split(":", 1) for line in paragraph.splitlines() if re.match(r"[A-Za-z-]+:", line))
            if SUITE in fields.get("Suites", "").split() and "deb" in fields.get("Types", "").split():
                found += fields.get("URIs", "").split()
    return next((each for each in found if each.startswith(("http://", "https://"))), None)


def check_programs(root: bool) -> None:
    """Every program that makes the image is there.

    root: the user is root, and needs no subordinate ids

    :raises MachinesError: with the command that installs what is missing
    """
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path) and not (root and name == "newuidmap")]
    packages = [PROGRAMS[name] for name in missing]
    if not KEYRING.exists():
        missing.append(str(KEYRING))
        packages.append("debian-archive-keyring")
    if missing:
        raise MachinesError(
            f"the image of the Linux client needs {', '.join(missing)}: run `sudo apt-get install {' '.join(packages)}`"
        )


def _tree() -> dict[str, tuple[int, bytes]]:
    """What goes into the new system: path there -> mode and content. /build has the scripts for the rest."""
    files = sorted(path for path in DATA.rglob("*") if path.is_file())
    return {
        str(path.relative_to(DATA / "root") if (DATA / "root") in path.parents else Path("build") / path.name): (
            0o755 if os.access(path, os.X_OK) else 0o644,
            path.read_bytes(),
        )
        for path in files
    }


def _recipe(tree: Mapping[str, tuple[int, bytes]]) -> str:
    """A name for what the image is made of."""
    recipe = [*_command("MIRROR", Path("FOLDER"), root=True), *map(repr, tree.items())]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]


def _command(source: str | None, folder: Path, root: bool) -> list[str]:
    target = shlex.quote(str(folder))
    hooks = [
        f"tar-in {target}/tree.tar /",
        'chroot "$1" sh /build/install.sh',
        'sh "$1"/build/make-image.sh "$1"',
        # root in the namespace of an ordinary user cannot write there; mmdebstrap can
        f"sync-out /image {target}",
    ]
    return [
        "mmdebstrap",
        "--quiet",
        f"--mode={'root' if root else 'unshare'}",
        "--variant=minbase",
        "--format=null",
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale")),
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE,
        "-",
        *([f"deb {source} {SUITE} main"] if source else []),
    ]


def _build(folder: Path, tree: Mapping[str, tuple[int, bytes]]) -> None:
    """Make the folder of the image, completely or not at all."""
    root = os.geteuid() == 0
    check_programs(root)
    print(f"Making the Linux client's image, once, in {folder}: about a minute and a half ...", end=" ", flush=True)
    start = time.monotonic()
    new = folder.with_suffix(".new")
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()
    _pack(tree, new / "tree.tar")
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        done = subprocess.run(
            _command(mirror(), new.absolute(), root),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    if done.returncode:
        print("failed", flush=True)
        lines = log.read_text(errors="replace").splitlines()
        why = "; ".join([line for line in lines if line.startswith("E:")] or lines[-1:])
        advice = "" if root else ". If ordinary users may not make user namespaces, run this once with `sudo -E`"
        raise MachinesError(f"mmdebstrap could not make the Linux client's image ({log}): {why}{advice}")
    (new / "tree.tar").unlink()
    (new / "disk.qcow2").chmod(0o444)
    new.rename(folder)
    print(f"{time.monotonic() - start:.0f} s", flush=True)


def _pack(tree: Mapping[str, tuple[int, bytes]], archive: Path) -> None:
    """A tar archive in which root owns everything, whoever owns the files here."""
    with tarfile.open(archive, "w") as tar:
        for path, (mode, content) in tree.items():
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = mode, len(content)
            tar.addfile(entry, io.BytesIO(content))


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
