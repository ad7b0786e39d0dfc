#!/bin/sh
# Gives this host another role: the data get their new name, the boot knows it, and f3s_storage gets its values, all under
# the lock of f3s_storage, so that no look finds the one without the other. What is mounted stays mounted (-u), so nothing
# that serves notices. Run again after a power cut in between, it does the rest. The boot has both names meanwhile, and
# what a full file system makes fail comes before the rename: f3s_storage stops serving what has lost its name.
#
# usage: take-role.sh VALUES [OLD NEW]
set -eu
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

printf '%s\n' "$1" >"$F3S_CONFIG.new"
fsync "$F3S_CONFIG.new"
shift
# shellcheck disable=SC2016	# for the shell that has the lock
lockf -k -s -t 60 "$F3S_LOCK" sh -euc '
    trap "" HUP INT TERM
    config=$1
    shift
    if [ $# -eq 2 ]; then
        sysrc zfskeys_datasets+="$2"
        if zfs list -H -o name "$1" >/dev/null 2>&1; then
            zfs rename -u "$1" "$2"
        fi
    fi
    mv "$config.new" "$config"
    [ $# -ne 2 ] || sysrc zfskeys_datasets-="$1"
' take-role "$F3S_CONFIG" "$@"
"$F3S_CONTROL" reconcile
