#!/bin/sh
# Stops an rc.d service and waits until it is gone.
#
# usage: stop-service.sh SERVICE
#
# The status of `stop` tells nothing: of several processes one may end with the first, as nfsuserd's do; kill(1) then
# fails ("No such process", observed), and rc.subr neither waits for the others nor calls it done (libexec/rc/rc.subr,
# _run_rc_doit). So `onerestart` may find the old ones.
set -eu
service=$1

service "$service" onestop || echo "$service: stop ended with $?, waiting"
left=10
while service "$service" onestatus >/dev/null 2>&1; do
    if [ "$left" -le 0 ]; then
        echo "stop-service: $service does not end" >&2
        exit 1
    fi
    left=$((left - 1))
    sleep 1
done
