#!/bin/sh
# Receives what send-snapshot.sh sends, as soon as that listens. What has come of a stream that is cut is kept.
#
# usage: receive-snapshot.sh ADDRESS PORT new | volume | old DATASET
#
# A dataset that is made by it (new; volume) is read-only before its first mount, and not mounted. One that is there is changed only from
# its newest snapshot on (no -F).
set -eu
address=$1 port=$2 kind=$3 dataset=$4
newest=/var/run/f3s/receiver
mkdir -p "${newest%/*}" # hosts beside the storage pair have none
my_name=$(od -An -N8 -tx1 /dev/urandom)

# One that a killed run has left behind would take the stream from this one. It gives up when its name is not there any
# more, and a run takes that away before it lets anybody send.
stream() {
    deadline=$(($(date +%s) + 120))
    while [ "$(cat "$newest" 2>/dev/null)" = "$my_name" ] && [ "$(date +%s)" -lt "$deadline" ]; do
        if nc -d -w 600 "$address" "$port"; then
            return
        fi
        sleep 1
    done
    echo "receive-snapshot: nobody sends on $address:$port, or another run receives now" >&2
    exit 1
}
echo "$my_name" >"$newest"
case $kind in
new) stream | zfs recv -s -u -o readonly=on -o canmount=noauto "$dataset" ;;
volume) stream | zfs recv -s -u -o readonly=on "$dataset" ;;
*) stream | zfs recv -s "$dataset" ;;
esac
