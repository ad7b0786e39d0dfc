#!/bin/sh
# Makes the disk of a new system from its folder, without what is mounted in it, and puts it into /image there, with
# kernel and initrd.
set -eu
system=$1
work=$(mktemp -d)
trap 'umount "$work/root" 2>/dev/null; rm -f "$work"/disk.*; rmdir "$work/root" "$work"' EXIT
rm -r "$system/build"
mkdir "$work/root"
mount --bind "$system" "$work/root"
mkfs.ext4 -q -F -E nodiscard -d "$work/root" "$work/disk.raw" 2G
qemu-img convert -q -c -O qcow2 -o compression_type=zstd "$work/disk.raw" "$work/disk.qcow2"
mkdir "$system/image"
mv "$work/disk.qcow2" "$system/image"
cp "$system"/boot/vmlinuz-* "$system/image/vmlinuz"
cp "$system"/boot/initrd.img-* "$system/image/initrd.img"
