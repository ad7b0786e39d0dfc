#!/bin/sh
# Installed as /usr/local/libexec/f3s/zrepl-watch, run every minute by cron: starts a zrepl that has died, and resets a
# replication that stands still. rc(8) supervises nothing, and a failed assertion ends zrepl now and then
# (github.com/zrepl/zrepl/issues/607 and 629).
#
# Exit status: 0 done, 1 zrepl does not start, 64 usage, 75 it runs already, 77 not root, 78 not configured.

# shellcheck disable=SC2153	# the values of storage.conf
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

F3S_TAG=f3s_zrepl
F3S_HUNG=$F3S_RUN/zrepl.hung
SOCKET=/var/run/zrepl/control	# a zrepl that is stopped takes it along, one that dies leaves it (seen on 15.1)
OWED=$F3S_RUN/zrepl.owed	# it was stopped here and has not been started
SAID=/var/run/f3s-said-by-zrepl	# of files/once/run-service.sh; the daemon keeps it open

start() {
	if ! bounded "$F3S_SERVICE_LIMIT" service zrepl start >>"$SAID" 2>&1; then
		tell "zrepl does not start: $(tail -n 1 "$SAID")"
		return 1
	fi
	rm -f "$OWED"
}

# zrepl waits for its jobs to end before it does, so one that stands still would never.
restart() {
	touch "$OWED"
	bounded "$F3S_SERVICE_LIMIT" service zrepl stop >>"$SAID" 2>&1
	if pkill -KILL -x zrepl; then sleep 2; fi
	start
}

# progress JOB: what zrepl tells of a job's replications and prunings. A run that sends counts bytes, and one that fails
# begins anew.
progress() {
	printf '%s\n' "$said" | awk -v job="$1" '
		{ text = text $0 }
		END {
			begin = index(text, "\"" job "\":{\"push\":{")
			text = substr(text, begin)
			if (begin) print substr(text, 1, index(text, "\"Snapshotting\":"))
		}'
}

# still JOB SECONDS: resets a job that has made no progress for so long, restarts zrepl where that was done not long ago,
# and leaves it at that for a while: the report tells of a late replica.
still() {
	record=$F3S_RUN/zrepl.$1.progress
	seen=$(progress "$1")
	[ -n "$seen" ] || [ -z "$said" ] || return 0	# zrepl has not taken up this job yet
	sum=$(printf '%s' "$seen" | cksum)
	was='' since=$now step=none when=0
	[ ! -e "$record" ] || { read -r was && read -r since step when; } <"$record"
	[ $((now - when)) -le $((5 * $2)) ] || step=none
	# it cannot reach the other host, and tries again by itself
	case $seen in *'"WaitReconnectError":{'*) was='' ;; esac
	if [ "$sum" != "$was" ] || [ "$now" -lt "$since" ]; then
		since=$now
	elif [ $((now - since)) -ge "$2" ]; then
		case $step in
		none)
			tell "$1: no progress for $((now - since)) s, zrepl signal reset"
			reset_said=$(bounded "$F3S_LIMIT" zrepl signal reset "$1" 2>&1) || tell "$1: ${reset_said:-zrepl does not answer}"
			step='reset'
			;;
		reset)
			tell "$1: no progress for $((now - since)) s, zrepl is restarted"
			restart
			step=restart
			;;
		*) return ;;
		esac
		since=$now when=$now
	fi
	printf '%s\n' "$sum" "$since $step $when" >"$record"
}

watch() {
	[ -e "$SOCKET" ] || [ -e "$OWED" ] || return 0
	bounded "$F3S_SERVICE_LIMIT" service zrepl onestatus >/dev/null 2>&1
	case $? in
	0) rm -f "$OWED" ;;	# whoever has started it
	124) return 0 ;;
	*)
		died=$(grep -e '^panic: ' -e '^fatal error: ' "$SAID" 2>/dev/null | tail -n 1)
		tell "zrepl has died${died:+ ($died)} and is started"
		start
		return
		;;
	esac
	[ -n "${F3S_JOBS-}" ] || return 0
	said=$(bounded "$F3S_LIMIT" zrepl status --mode raw 2>/dev/null)
	now=$(date +%s)
	# shellcheck disable=SC2086	# of each job: name, dataset, allowed age
	set -- $F3S_JOBS
	while [ $# -ge 3 ]; do
		still "$1" "$3"
		shift 3
	done
}

case $#:${1-} in
0:) need_root; exec lockf -k -s -t 0 "$F3S_RUN/zrepl.lock" "$0" locked ;;
1:locked) watch ;;
*) echo "usage: ${0##*/}" >&2; exit 64 ;;
esac
