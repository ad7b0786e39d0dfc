"""The virtual machines that a FreeBSD host of the lab has from the installation on, in unencrypted datasets.

The first FreeBSD host has ``rocky`` on a volume, which starts at boot, and ``fedora`` on a file. Neither plays one of
the lab's Rocky hosts: these go on while the virtual machine is off. The other hosts have none.
"""

from __future__ import annotations

from lab import rootfs
from lab.commands import vm
from lab.core import Cluster, Host, Store
from lab.rc import table
from lab.rc.scripts import new_pids
from lab.zfs import datasets, mounting
from lab.zfs.model import Node, kernel

PACKAGE = "vm-bhyve"
DATASET = "zroot/bhyve"
MIB = 1 << 20


def install(store: Store, cluster: Cluster, host: Host) -> None:
    """vm-bhyve with its datasets, its configuration in rc.conf and its machines, which run."""
    first = next(each for each in cluster.hosts.values() if each.platform == "freebsd")
    if host is not first or host.parts["ufs root"]:
        return
    root = store.root(host.name)
    host.packages.add(PACKAGE)
    rootfs.install_played(root, rootfs.PACKAGES["freebsd", PACKAGE])
    for service in table.PACKAGED[PACKAGE]:
        rootfs.write(root, service.path, f"#!/.lab/bin/play\n{service.header}", 0o755)
    node = Node(store, cluster, host)
    _dataset(node, DATASET, {"mountpoint": "/zroot/bhyve"})
    for name in (".config", ".templates", ".img", ".iso"):
        node.file(f"/zroot/bhyve/{name}").mkdir()
    node.file("/zroot/bhyve/.config/system.conf").write_text('switch_list="public"\n')
    node.file("/zroot/bhyve/.templates/rocky.conf").write_text('loader="uefi"\ncpu=4\nmemory=14G\n')
    for name in ("rocky", "fedora"):
        _dataset(node, f"{DATASET}/{name}", {})
        kind, disk = ("zvol", "disk0") if name == "rocky" else ("file", "disk0.img")
        config = f'loader="uefi"\ncpu=4\nmemory=14G\ndisk0_type="virtio-blk"\ndisk0_name="{disk}"\ndisk0_dev="{kind}"\n'
        node.file(f"/zroot/bhyve/{name}/{name}.conf").write_text(config)
        if kind == "zvol":
            given = {"volsize": str(64 * MIB), "volmode": "dev"}
            volume = datasets.attach(
                node, node.pool_of(node.dataset(DATASET)), f"{DATASET}/{name}/{disk}", "volume", given, None
            )
            (node.path(volume.tree) / "data").open("r+b").write(f"the disk of {name} on {host.short}\n".encode())
        else:
            with node.file(f"/zroot/bhyve/{name}/{disk}").open("wb") as image:
                image.write(f"the disk of {name} on {host.short}\n".encode())
                image.truncate(64 * MIB)
        _run(node, name, kind, disk)
    mounting.link_volumes(node)
    with (root / "etc/rc.conf").open("a") as rc_conf:
        rc_conf.write(f'vm_enable="YES"\nvm_dir="zfs:{DATASET}"\nvm_list="rocky"\nvm_delay="5"\n')


def _dataset(node: Node, name: str, props: dict[str, str]) -> None:
    """An unencrypted file system, mounted."""
    pool = node.pool(name)
    assert pool is not None
    mounting.mount(node, datasets.attach(node, pool, name, "filesystem", props, None))


def _run(node: Node, name: str, kind: str, disk: str) -> None:
    """The machine runs, as after `vm start`."""
    vm.running(node.host)[name] = new_pids(node.host, 1)[0]
    for device in (f"{DATASET}/{name}", *([f"{DATASET}/{name}/{disk}"] if kind == "zvol" else [])):
        kernel(node.host).busy[device] = f"vm {name}"
    rootfs.write(node.store.root(node.host.name), f"dev/vmm/{name}", "")
    node.file(f"/zroot/bhyve/{name}/run.lock").write_text(f"{node.host.name}\n")
