#!/bin/sh
# Gives the mounted key stick its label, and mounts it again, read-only.
#
# usage: label-stick.sh LABEL DEVICE MOUNTPOINT
#
# tunefs(8) writes no file system that is mounted for writing, and the label shows once nobody has the device open any
# more. Whatever happens in between, the keys are mounted again: by the label, or as they were.
set -eu
label=$1
device=$2
mountpoint=$3

finish()
{
	status=$?
	trap '' HUP INT TERM PIPE
	tries=0
	while [ "$status" -eq 0 ] && [ ! -e "/dev/ufs/$label" ] && [ "$tries" -lt 10 ]; do
		sleep 1
		tries=$((tries + 1))
	done
	if [ -e "/dev/ufs/$label" ]; then
		device=/dev/ufs/$label
	elif [ "$status" -eq 0 ]; then
		echo "label-stick: /dev/ufs/$label does not show after tunefs -L on $device" >&2
		status=1
	fi
	mount -r "$device" "$mountpoint" || status=1
	exit "$status"
}

umount "$mountpoint"
trap finish EXIT
trap 'exit 1' HUP INT TERM PIPE
tunefs -L "$label" "$device"
