#!/bin/sh
# Waits until a key opens replicas, which get it by their next replication, and names it as theirs.
#
# usage: await-key.sh SECONDS KEYLOCATION DATASET...
set -eu
left=$1 location=$2
shift 2
pause=2

for dataset; do
    until said=$(zfs load-key -n -L "$location" "$dataset" 2>&1); do
        case $said in
        *"Incorrect key provided"*) ;;
        *)
            echo "await-key: $said" >&2
            exit 1
            ;;
        esac
        if [ "$left" -le 0 ]; then
            echo "await-key: $dataset has not got the new key. \`zrepl status\` on the source tells why; then run this again" >&2
            exit 1
        fi
        sleep "$pause"
        left=$((left - pause))
    done
    zfs set keylocation="$location" "$dataset"
    echo "the new key opens $dataset"
done
