#!/bin/sh
# Takes writes from a directory that another file system is mounted over: it becomes schg, where it is empty.
#
# usage: guard-below.sh MOUNTPOINT DIRECTORY
#
# MOUNTPOINT is where the file system with the directory is mounted, DIRECTORY a path below it. A null mount of that
# file system shows the directory bare: nullfs does not cross the mounts of the layer below (freebsd-fs, December 2021,
# "nullfs traversing mount points"), and hands flags down to it (sys/fs/nullfs/null_vnops.c: null_setattr).
set -eu
mountpoint=$1
directory=$2

view=$(mktemp -d /var/run/guard-below.XXXXXX)
trap 'rmdir "$view"' EXIT
trap 'exit 1' HUP INT TERM
# not mount(8): that sends SIGHUP to mountd, which may be serving (sbin/mount/mount.c, restart_mountd)
mount_nullfs "$mountpoint" "$view"
trap 'umount "$view" && rmdir "$view"' EXIT

bare=$view/$directory
if [ ! -e "$bare" ] && [ ! -L "$bare" ]; then
    echo "guard-below: $mountpoint/$directory is in no directory of the file system on $mountpoint"
    exit 0
fi
if [ ! -d "$bare" ] || [ -L "$bare" ]; then
    echo "guard-below: below what is mounted on $mountpoint/$directory is no directory" >&2
    exit 1
fi
entries=$(find "$bare" -mindepth 1 -maxdepth 1 | head -n 5 | sed 's,.*/,,' | tr '\n' ' ')
if [ -n "$entries" ]; then
    echo "guard-below: below what is mounted on $mountpoint/$directory are files that were written UNENCRYPTED:" \
        "$entries- look at them (mount -t nullfs $mountpoint /mnt; ls -l /mnt/$directory), move them away" >&2
    exit 1
fi
chflags schg "$bare"
