#!/bin/sh
# Waits until the receiver of a push job has confirmed a snapshot that was made after this program started.
#
# usage: catch-up-replica.sh JOB DATASET SECONDS
#
# A wake-up makes no snapshot (zrepl's documentation of snapshotting), so this waits for the job's next one and wakes the
# job where that does not get through at once. zrepl moves the bookmark #zrepl_CURSOR_G_<guid>_J_<job> to a snapshot when
# the receiver has confirmed it, and a bookmark keeps its snapshot's createtxg. Transaction numbers only grow, whatever
# the clock does.
#
# Exit status: 0 confirmed, 1 not within SECONDS, or zfs(8) failed.
set -eu
job=$1 dataset=$2 left=$3
pause=2

newest_snapshot() { # without any: 0
    listed=$(zfs list -Hp -d 1 -t snapshot -o createtxg "$dataset") || return
    printf '%s\n' "${listed:-0}" | sort -n | tail -n 1
}

confirmed() {
    listed=$(zfs list -Hp -d 1 -t bookmark -o createtxg,name "$dataset") || return
    printf '%s\n' "$listed" | awk -F '\t' -v job="$job" '
        { end = "_J_" job; name = $2; sub(/^.*#/, "", name) }
        index(name, "zrepl_CURSOR_G_") == 1 && substr(name, length(name) - length(end) + 1) == end && $1 > txg { txg = $1 }
        END { print txg + 0 }'
}

# in assignments of their own, so that a zfs that fails ends this program (sh -e)
before=$(newest_snapshot)
while :; do
    arrived=$(confirmed)
    if [ "$arrived" -gt "$before" ]; then
        exit 0
    fi
    if [ "$left" -le 0 ]; then
        break
    fi
    newest=$(newest_snapshot)
    if [ "$newest" -gt "$before" ]; then
        # it is there and not confirmed yet: replicating, or the attempt has failed. Already awake is no error.
        said=$(zrepl signal wakeup "$job" 2>&1) || :
    fi
    sleep "$pause"
    left=$((left - pause))
done
if [ "${newest:-0}" -gt "$before" ]; then
    echo "the receiver has not confirmed the newest snapshot of $dataset within $3 s: ${said:-see zrepl status}" >&2
else
    echo "$job has made no snapshot of $dataset within $3 s" >&2
fi
exit 1
