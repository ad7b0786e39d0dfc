#!/bin/sh
# Waits until every named virtual machine of vm-bhyve is stopped, or running.
#
# usage: bhyve-wait.sh stopped|running SECONDS NAME...
#
# Exit status: 0 all of them are; 1 some are not when the time is over (named on stderr); 2 vm list failed.
set -u
wanted=$1
left=$2
shift 2

while :; do
    list=$(/usr/local/sbin/vm list) || exit 2
    waiting=
    ready=
    for name in "$@"; do
        # the state is the last column: Stopped, Suspended, Running (PID), Bootloader (PID), Locked (HOST)
        state=$(printf '%s\n' "$list" | awk -v name="$name" '$1 == name { print $NF ~ /^\(/ ? $(NF - 1) : $NF }')
        case $wanted:$state in
        stopped:Stopped | stopped:Suspended | running:Running | running:Bootloader) ready="$ready $name" ;;
        *) waiting="$waiting $name (${state:-unknown to vm list})" ;;
        esac
    done
    [ -n "$waiting" ] || exit 0
    if [ "$left" -le 0 ]; then
        echo "bhyve-wait: not $wanted in time:$waiting" >&2
        [ -z "$ready" ] || echo "bhyve-wait: $wanted by now:$ready" >&2
        exit 1
    fi
    sleep 5
    left=$((left - 5))
done
