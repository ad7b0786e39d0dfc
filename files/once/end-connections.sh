#!/bin/sh
# Ends open connections, each with its reason; one that has ended by itself meanwhile is right, too.
#
# usage: end-connections.sh STAMP LOCAL_ADDRESS LOCAL_PORT [ADDRESS:PORT WHY]...
#
# STAMP remembers that it was done.
set -eu
export LC_ALL=C
stamp=$1
address=$2
port=$3
shift 3
touch "$stamp.new"
while [ $# -gt 0 ]; do
	# tcpdrop.c (usr.sbin/tcpdrop): the kernel knows no such connection any more
	if ! said=$(tcpdrop "$address" "$port" "${1%:*}" "${1##*:}" 2>&1) && [ "${said%: No such process}" = "$said" ]; then
		echo "$said" >&2
		exit 1
	fi
	echo "ended the connection from $1 ($2)"
	shift 2
done
mv -f "$stamp.new" "$stamp"
