#!/bin/sh
# Sends a snapshot, raw, to the first who connects, and ends when that one has it.
#
# usage: send-snapshot.sh ADDRESS PORT whole SNAPSHOT | from @SNAPSHOT SNAPSHOT | token TOKEN
#
# nc(1) waits for ever for a connection, and binds a port that another nc listens on, too (SO_REUSEPORT in
# contrib/netcat/netcat.c). So a sender that a killed run has left behind is ended first, and each ends after a day: the
# next run goes on where the stream was cut.
set -eu
address=$1 port=$2
shift 2
left_behind=/var/run/f3s/sender.pid
mkdir -p "${left_behind%/*}"

if [ -s "$left_behind" ]; then
    pid=$(cat "$left_behind")
    case $(ps -o command= -p "$pid") in
    "timeout 86400 nc "*) kill "$pid" ;;
    esac
fi
case $1 in
whole) zfs send -w "$2" ;;
from) zfs send -w -i "$2" "$3" ;;
token) zfs send -t "$2" ;;
*)
    echo "send-snapshot: $1 is neither whole, from nor token" >&2
    exit 64
    ;;
esac | sh -c 'echo $$ >"$1" && exec timeout 86400 nc -N -l -w 600 "$2" "$3"' sh "$left_behind" "$address" "$port"
rm -f "$left_behind"
