#!/bin/sh
# Waits until a replica has its first snapshot, which it gets when the first replication is complete.
#
# usage: await-replica.sh DATASET SECONDS
#
# Exit status 0 in any case but an error of its own: a first replication may take longer than anybody waits for.
set -eu
dataset=$1 left=$2
pause=5

while [ "$left" -gt 0 ]; do
    # before the replication has begun there is no such dataset, and zfs fails
    snapshots=$(zfs list -H -d 1 -t snapshot -o name "$dataset" 2>/dev/null) || snapshots=
    if [ -n "$snapshots" ]; then
        echo "$dataset has arrived"
        exit 0
    fi
    sleep "$pause"
    left=$((left - pause))
done
echo "$dataset has not arrived in $2 seconds"
