#!/bin/sh
# Starts f3s_storage, and waits until this host could take the address without a pause: ready, and its nfsd lets new
# clients in.
#
# usage: await-standby.sh SECONDS
set -eu
left=$1
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

# start ends with 0, whatever it found
service f3s_storage start
until "$F3S_CONTROL" status | grep -x ready=yes >/dev/null && ! grace; do
    if [ "$left" -le 0 ]; then
        echo "await-standby: not ready within $1 s:" >&2
        "$F3S_CONTROL" status >&2
        exit 1
    fi
    left=$((left - 5))
    sleep 5
done
