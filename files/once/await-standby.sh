#!/bin/sh
# Starts f3s_storage, and waits until this host could take the address without a pause: ready, and its nfsd lets new
# clients in.
#
# usage: await-standby.sh SECONDS
set -eu
seconds=$1 left=$1
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

pause() {
    if [ "$left" -le 0 ]; then
        echo "await-standby: not ready within $seconds s:" >&2
        "$F3S_CONTROL" status >&2
        exit 1
    fi
    left=$((left - 5))
    sleep 5
}

# whatever it finds is no failure, but a look that is under way may have the lock for a minute
until service f3s_storage start; do pause; done
until "$F3S_CONTROL" status | grep -x ready=yes >/dev/null && ! grace; do pause; done
