#!/bin/sh
# Waits until each of some replicas has its first snapshot, which it gets when its first replication is complete.
#
# usage: await-replica.sh SECONDS DATASET...
#
# Exit status 0 in any case but an error of its own: a first replication may take longer than anybody waits for.
set -eu
seconds=$1 left=$1
shift
pause=5

for dataset; do
    # before the replication has begun there is no such dataset, and zfs fails
    until snapshots=$(zfs list -H -d 1 -t snapshot -o name "$dataset" 2>/dev/null) && [ -n "$snapshots" ]; do
        if [ "$left" -le 0 ]; then
            echo "$dataset has not arrived in $seconds seconds"
            continue 2
        fi
        sleep "$pause"
        left=$((left - pause))
    done
    echo "$dataset has arrived"
done
