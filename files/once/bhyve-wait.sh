#!/bin/sh
# Waits until every named virtual machine of vm-bhyve is stopped, or running.
#
# usage: bhyve-wait.sh stopped|running SECONDS FOLDER NAME...      (FOLDER: where vm-bhyve has its machines)
#
# A lock of this host outlives its machine after a power cut. vm-bhyve writes it before bhyve starts and removes it
# when all is cleaned up (lib/vm-run: vm::lock, vm::unlock), and passes over its own when it starts a machine. Here
# it is removed once there was no machine in the kernel for a while: a guest that reboots has none for a moment.
#
# Exit status: 0 all of them are; 1 some are not when the time is over, or are locked by another host (named on
# stderr); 2 vm list failed or is another; other: a lock could not be removed.
set -u
wanted=$1
left=$2
folder=$3
shift 3
settle=15
quiet=0
# Prints the first word of the state: Stopped, Suspended, Running (PID), Bootloader (PID), Locked (HOST). The column is
# found by its heading and counted from the right: column(1) leaves an empty cell out (a machine without `cpu`).
# shellcheck disable=SC2016
state_of='
    { sub(/ +$/, "") }
    NR == 1 { for (i = 1; i <= NF; i++) if ($i == "STATE") after = NF - i }
    NR == 1 && after == "" { print "bhyve-wait: vm list has no column STATE: " $0 >"/dev/stderr"; exit 1 }
    { split($0, words, " ") }
    NR > 1 && words[1] == name { split($(NF - after), words, " "); print words[1] }'

while :; do
    list=$(/usr/local/sbin/vm list) || exit 2
    waiting=
    ready=
    stale=
    foreign=
    for name in "$@"; do
        state=$(printf '%s\n' "$list" | awk -F '   *' -v name="$name" "$state_of") || exit 2
        lock=$folder/$name/run.lock
        case $wanted:$state in
        running:Running | running:Bootloader)
            ready="$ready $name"
            continue
            ;;
        stopped:Stopped | stopped:Suspended)
            if [ ! -e "/dev/vmm/$name" ]; then
                ready="$ready $name"
                continue
            fi
            # both bhyve and vm were killed, or vm is about to remove it
            state="$state, but the kernel has it: where it has no process, bhyvectl --destroy --vm=$name"
            ;;
        stopped:Locked)
            if [ ! -e "/dev/vmm/$name" ] && holder=$(cat "$lock" 2>/dev/null); then
                if [ "$holder" = "$(hostname)" ]; then
                    stale="$stale $name"
                    continue
                fi
                foreign="$foreign $name ($holder)"
            fi
            ;;
        esac
        waiting="$waiting $name (${state:-unknown to vm list})"
    done
    if [ -n "$foreign" ]; then
        echo "bhyve-wait: locked by another host:$foreign; where it runs nowhere, remove $folder/NAME/run.lock" >&2
        exit 1
    fi
    if [ -n "$waiting" ]; then
        quiet=0
    elif [ -z "$stale" ]; then
        exit 0
    elif [ "$quiet" -ge "$settle" ]; then
        for name in $stale; do
            echo "bhyve-wait: $name does not run, its run.lock is of an earlier boot or of a crash: removed"
            rm "$folder/$name/run.lock" || exit
        done
        exit 0
    else
        quiet=$((quiet + 5))
    fi
    if [ -n "$waiting" ] && [ "$left" -le 0 ]; then
        echo "bhyve-wait: not $wanted in time:$waiting" >&2
        [ -z "$ready" ] || echo "bhyve-wait: $wanted by now:$ready" >&2
        exit 1
    fi
    sleep 5
    left=$((left - 5))
done
