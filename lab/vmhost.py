"""The virtual machines that a FreeBSD host of the lab has from the installation on, in unencrypted datasets.

The first FreeBSD host has ``rocky`` on a volume, which starts at boot, and ``fedora`` on a file. Neither plays one of
the lab's Rocky hosts: these go on while the virtual machine is off. The other hosts have none.
"""

from __future__ import annotations

from lab.commands import vm
from lab.commands.system import put_package
from lab.core import Cluster, Host, Store
from lab.zfs import datasets
from lab.zfs.model import Node

DATASET = "zroot/bhyve"
MIB = 1 << 20


def install(store: Store, cluster: Cluster, host: Host) -> None:
    """vm-bhyve with its datasets, its configuration in rc.conf and its machines, which run."""
    first = next(each for each in cluster.hosts.values() if each.platform == "freebsd")
    if host is not first or host.parts["ufs root"]:
        return
    root = store.root(host.name)
    put_package(store, host, "vm-bhyve")
    node = Node(store, cluster, host)
    datasets.create(node, DATASET, "filesystem", {"mountpoint": "/zroot/bhyve"}, None)
    for name in (".config", ".templates", ".img", ".iso"):
        node.file(f"/zroot/bhyve/{name}").mkdir()
    node.file("/zroot/bhyve/.config/system.conf").write_text('switch_list="public"\n')
    node.file("/zroot/bhyve/.templates/rocky.conf").write_text('loader="uefi"\ncpu=4\nmemory=14G\n')
    for name in ("rocky", "fedora"):
        datasets.create(node, f"{DATASET}/{name}", "filesystem", {}, None)
        kind, disk = ("zvol", "disk0") if name == "rocky" else ("file", "disk0.img")
        config = f'loader="uefi"\ncpu=4\nmemory=14G\ndisk0_type="virtio-blk"\ndisk0_name="{disk}"\ndisk0_dev="{kind}"\n'
        node.file(f"/zroot/bhyve/{name}/{name}.conf").write_text(config)
        if kind == "zvol":
            volume = f"{DATASET}/{name}/{disk}"
            datasets.create(node, volume, "volume", {"volsize": str(64 * MIB), "volmode": "dev"}, None)
            image = node.path(node.dataset(volume).tree) / "data"
        else:
            image = node.file(f"/zroot/bhyve/{name}/{disk}")
        with image.open("wb") as file:
            file.write(f"the disk of {name} on {host.short}\n".encode())
            file.truncate(64 * MIB)
        vm.runs(node, "/zroot/bhyve", DATASET, name, disk if kind == "zvol" else "")
    with (root / "etc/rc.conf").open("a") as rc_conf:
        rc_conf.write(f'vm_enable="YES"\nvm_dir="zfs:{DATASET}"\nvm_list="rocky"\nvm_delay="5"\n')
