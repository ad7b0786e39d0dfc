#!/bin/sh
# Installed as /usr/local/libexec/f3s/catch-up-replica: makes a snapshot, and waits until the receiver of a push job has
# confirmed it.
#
# usage: catch-up-replica JOB DATASET PREFIX SECONDS
#
# The snapshot is named as zrepl names its own, so zrepl sends and prunes it. zrepl moves the bookmark
# #zrepl_CURSOR_G_<guid>_J_<job> to a snapshot when the receiver has confirmed it, and a bookmark keeps its snapshot's
# createtxg. Transaction numbers only grow, whatever the clock does.
#
# Exit status: 0 confirmed, 1 not within SECONDS, or zfs(8) failed.
set -eu
PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin
export PATH
job=$1 dataset=$2 left=$4
snapshot=$dataset@$3$(date -u '+%Y%m%d_%H%M%S')_000
pause=2

confirmed() {
	listed=$(zfs list -Hp -d 1 -t bookmark -o createtxg,name "$dataset") || return
	printf '%s\n' "$listed" | awk -F '\t' -v job="$job" '
		{ end = "_J_" job; name = $2; sub(/^.*#/, "", name) }
		index(name, "zrepl_CURSOR_G_") == 1 && substr(name, length(name) - length(end) + 1) == end && $1 > txg { txg = $1 }
		END { print txg + 0 }'
}

zfs snapshot "$snapshot"
# in assignments of their own, so that a zfs that fails ends this program (sh -e)
wanted=$(zfs get -Hp -o value createtxg "$snapshot")
while :; do
	# replicating, or the attempt has failed; already awake is no error
	said=$(zrepl signal wakeup "$job" 2>&1) || :
	arrived=$(confirmed)
	if [ "$arrived" -ge "$wanted" ]; then
		exit 0
	fi
	if [ "$left" -le 0 ]; then
		break
	fi
	sleep "$pause"
	left=$((left - pause))
done
echo "the receiver has not confirmed $snapshot within $4 s: ${said:-see zrepl status}" >&2
exit 1
