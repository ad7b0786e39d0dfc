"""What makes a FreeBSD image a host of the site at its first boot."""

from __future__ import annotations

from f3s.settings import HostSettings
from f3s.settings.model import Lan, WireGuard

LOGIN = "paul"
"""The login user, who may run everything with doas(1)."""


def prefixed(end: Lan | WireGuard) -> str:
    """An address with the length of its network: ``192.168.1.130/24``."""
    return f"{end.address}/{end.network.rpartition('/')[2]}"


def seed(host: HostSettings, key: str) -> dict[str, str]:
    """The files of the volume ``cidata``, whose ``user-data`` an image runs at its first boot.

    The images that this was tried with (13.2 and 15.1) run it before the network comes up. FreeBSD's BASIC-CLOUDINIT
    images run it at the end of the boot (rc.d/nuageinit_user_data_script). They have no doas, so it is fetched then.
    None of those was tried.

    :param key: public key that may log in
    """
    lan, wireguard = prefixed(host.lan), prefixed(host.wireguard)
    script = f"""#!/bin/sh
sysrc hostname="{host.name}" ifconfig_vtnet0="inet {lan}" ifconfig_vtnet1="inet {wireguard}" ifconfig_vtnet2="DHCP"
sysrc sshd_enable="YES" sshd_rsa_enable="NO" sshd_ecdsa_enable="NO"
# TCG translates code anew for each address that it is mapped at: with random ones FreeBSD spent most time on that
printf 'kern.elf64.aslr.enable=0\\nkern.elf64.aslr.pie_enable=0\\n' >>/etc/sysctl.conf
sysctl -f /etc/sysctl.conf
# without it a root on UFS may stop the boot after a power cut, and ask (seen)
sysrc fsck_y_enable="YES"
printf 'PermitRootLogin prohibit-password\\nUseDNS no\\n' >>/etc/ssh/sshd_config
id {LOGIN} >/dev/null 2>&1 || pw useradd {LOGIN} -m -G wheel -s /bin/sh
install -d -m 700 /root/.ssh
install -d -m 700 -o {LOGIN} /home/{LOGIN}/.ssh
echo '{key}' | tee /root/.ssh/authorized_keys >/home/{LOGIN}/.ssh/authorized_keys
if [ -f /var/run/sshd.pid ]; then
    pkg install -y doas && echo 'permit nopass :wheel' >/usr/local/etc/doas.conf && chmod 600 /usr/local/etc/doas.conf
    for service in hostname netif sshd; do service $service restart; done
fi
"""
    return {"user-data": script, "meta-data": f"instance-id: {host.short_name}\n"}


def virtual_machines(dataset: str) -> str:
    """A script that makes a typical tree of vm-bhyve, unencrypted, on the third disk.

    ``rocky`` has its disk on a sparse volume and a child file system, ``fedora`` a file. They cannot start: there is no
    virtualization inside the machines, so on 13.2 ``vm init`` refuses (seen): its folders are made here.

    :param dataset: of vm-bhyve, directly below a pool of its own
    """
    pool = dataset.partition("/")[0]
    return f"""set -e
zpool create -m /{pool} {pool} ada2
zfs create {dataset}
sysrc -q vm_enable=YES vm_dir=zfs:{dataset} >/dev/null
mkdir -p /{dataset}/.config /{dataset}/.templates /{dataset}/.img /{dataset}/.iso
for name in rocky fedora; do
    zfs create {dataset}/$name
    printf 'loader="uefi"\ncpu=1\nmemory=512M\ndisk0_type="virtio-blk"\n' >/{dataset}/$name/$name.conf
done
zfs create -s -V 1G {dataset}/rocky/disk0
printf 'disk0_name="disk0"\ndisk0_dev="sparse-zvol"\n' >>/{dataset}/rocky/rocky.conf
dd if=/dev/random of=/dev/zvol/{dataset}/rocky/disk0 bs=1m count=64 2>/dev/null
zfs create {dataset}/rocky/data
printf 'disk0_name="disk0.img"\ndisk0_dev="file"\n' >>/{dataset}/fedora/fedora.conf
dd if=/dev/random of=/{dataset}/fedora/disk0.img bs=1m count=32 2>/dev/null
"""
