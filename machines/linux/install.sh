#!/bin/sh
# Runs once, as root, inside the new system: makes of Debian what the deploy takes for Rocky Linux 9.
set -eu
umask 022

# Rocky: the group of nobody is called nobody
groupmod -n nobody nogroup

# -- stunnel's unit comes with its package, as on Rocky; Debian's own has other names --
rm /etc/init.d/stunnel4 /lib/systemd/system/stunnel@.service /lib/systemd/system/stunnel.target
rm /etc/systemd/system/multi-user.target.wants/stunnel.target
find /etc/rc?.d -name '*stunnel4' -delete

# -- packages: their programs are there already, so that dnf needs no network --
rpms=/usr/local/share/rpms
work=$(mktemp -d)
for package in stunnel-5.71 nfs-utils-2.5.4 openssl-3.2.2 nftables-1.0.9; do
    name=${package%-*}
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1.el9\nBuildArch: noarch\n' "$name" "${package##*-}"
        printf 'Summary: stand-in\nLicense: none\nAutoReqProv: no\n%%description\nstand-in\n%%files\n'
        if [ "$name" = stunnel ]; then
            echo /usr/lib/systemd/system/stunnel.service
            printf '%%install\ninstall -D -m 0644 /build/stunnel.service %%{buildroot}/usr/lib/systemd/system/stunnel.service\n'
        fi
    } >"$work/$name.spec"
    rpmbuild --quiet -bb --define "_topdir $work" --define "_rpmdir $rpms" "$work/$name.spec"
done
rm -r "$work"
createrepo_c --quiet "$rpms"
# so that the first dnf of a machine finds the index read
dnf --quiet makecache

# -- a short boot --
systemctl --quiet enable first-boot.service systemd-networkd.service
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer rpcbind.service rpcbind.socket rpc-statd-notify.service nfs-blkmap.service \
    getty.target getty-static.service systemd-pstore.service systemd-binfmt.service systemd-sysusers.service \
    systemd-journal-flush.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@fuse.service modprobe@loop.service \
    dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
rm -f /etc/update-motd.d/*
rm -rf /var/log/journal
printf '%s\n' virtio_pci virtio_blk >>/etc/initramfs-tools/modules
update-initramfs -u

# -- no identity; that of the machine that builds neither --
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
: >/etc/machine-id
: >/etc/resolv.conf
echo localhost >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
rm -rf /var/lib/apt/lists /var/cache/apt /etc/apt/sources.list
mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial
