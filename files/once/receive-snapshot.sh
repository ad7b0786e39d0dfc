#!/bin/sh
# Receives what send-snapshot.sh sends, as soon as that listens. What has come of a stream that is cut is kept.
#
# usage: receive-snapshot.sh ADDRESS PORT new | old DATASET
#
# A dataset that is made by it is read-only before its first mount, and not mounted. One that is there is changed only from
# its newest snapshot on (no -F).
set -eu
address=$1 port=$2 kind=$3 dataset=$4
newest=/var/run/f3s/receiver
my_name=$(od -An -N8 -tx1 /dev/urandom)

# One that a killed run has left behind would take the stream from this one: it gives up when it finds another name there.
stream() {
    deadline=$(($(date +%s) + 120))
    until nc -d -w 600 "$address" "$port"; do
        if [ "$(cat "$newest")" != "$my_name" ] || [ "$(date +%s)" -ge "$deadline" ]; then
            echo "receive-snapshot: nobody sends on $address:$port, or another run receives now" >&2
            exit 1
        fi
        sleep 1
    done
}
echo "$my_name" >"$newest"
if [ "$kind" = new ]; then
    stream | zfs recv -s -u -o readonly=on -o canmount=noauto "$dataset"
else
    stream | zfs recv -s "$dataset"
fi
