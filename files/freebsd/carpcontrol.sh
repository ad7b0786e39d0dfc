#!/bin/sh
# Installed as /usr/local/bin/carpcontrol.sh, run by devd: carpcontrol.sh VHID@INTERFACE STATE
# It only wakes the controller, which looks at the actual state: events come late, twice, or not at all. It
# returns at once, because devd runs one action at a time and waits for it (seen: 6 s of sleep delayed the
# next event by 7 s).

# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

if [ $# -ne 2 ]; then
	echo "usage: ${0##*/} VHID@INTERFACE STATE" >&2
	exit 64
fi
[ "$1" = "$F3S_VHID@$F3S_INTERFACE" ] || exit 0
tell "event: $1 $2"
# daemon(8), so that devd does not wait
daemon -cf /usr/sbin/service f3s_storage quietreconcile
note_time "$F3S_MOVES"
