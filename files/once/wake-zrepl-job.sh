#!/bin/sh
# Makes a push job replicate now instead of at its next snapshot.
#
# usage: wake-zrepl-job.sh JOB
#
# A daemon that has just been started has no control socket yet, so this tries for ten seconds.
set -eu
job=$1
attempts=10

while :; do
    answer=$(zrepl signal wakeup "$job" 2>&1) && exit 0
    case $answer in
    *"already woken up"*) # it is replicating
        exit 0
        ;;
    esac
    attempts=$((attempts - 1))
    if [ "$attempts" -eq 0 ]; then
        echo "wake-zrepl-job: $answer" >&2
        exit 1
    fi
    sleep 1
done
