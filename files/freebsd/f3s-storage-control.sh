#!/bin/sh
# Installed as /usr/local/libexec/f3s/storage-control: makes the services match the CARP state and the dataset.
# Called by the rc.d service f3s_storage, by devd through carpcontrol.sh and every minute by cron. It never
# believes an event: it takes the lock and looks. See docs/controller.md for the reasoning.
#
# Exit status: 0 done (status: as it should be), 1 not as it should be, 64 usage, 75 the lock was not free,
# 77 not root, 78 not configured.

# shellcheck disable=SC2153	# the values of storage.conf
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

LOCK_WAIT=60	# seconds: two service(8) calls at their limit

usage() {
	echo "usage: ${0##*/} start | stop | status | reconcile" >&2
	exit 64
}

# decide STATE READY TEXT: logs a decision once, when it changes, and keeps it for `status`.
# STATE is the CARP state that it is about, READY whether this host serves or could: yes or no.
decide() {
	decided=$(printf '%s\n' "$F3S_VERSION" "decided_as=$1" "decided_ready=$2" "decision=$(one_line "$3")")
	[ "$(sed '/^decided_since=/d' "$F3S_LAST" 2>/dev/null)" != "$decided" ] || return 0
	tell "$3"
	printf '%s\n' "$decided" "decided_since=$(date '+%Y-%m-%d %H:%M:%S')" >"$F3S_LAST.new"
	mv "$F3S_LAST.new" "$F3S_LAST"
}

one_line() {
	printf '%s' "$1" | tr '\n' ' '
}

running() {
	bounded "$F3S_SERVICE_LIMIT" service "$1" onestatus >/dev/null 2>&1
}

# within SECONDS COMMAND...: waits until the command is true.
within() {
	within_left=$1
	shift
	until "$@"; do
		[ "$within_left" -gt 0 ] || return 1
		within_left=$((within_left - 1))
		sleep 1
	done
}

exported() {
	mount_read && [ "$EXPORTED" = yes ]
}

# The one* verbs: the services' own rc variables are NO, so that nothing but this program starts them.
start_service() {
	running "$1" && return 0
	for start_attempt in 1 2; do
		start_said=$(bounded "$F3S_SERVICE_LIMIT" service "$1" onestart 2>&1)
		if within 3 running "$1"; then
			tell "started $1"
			return 0
		fi
		tell "$1 is not running after attempt $start_attempt: $(printf '%s' "$start_said" | tail -n 1)"
	done
	REASON="service $1 did not start"
	return 1
}

# In the order of F3S_SERVICES; mountd only ever runs over the mounted dataset. stunnel comes last: no client
# gets in before NFS is complete.
start_services() {
	for service in $F3S_SERVICES; do
		start_service "$service" || return 1
		if [ "$service" = mountd ] && ! exported; then
			# A dataset mounted after mountd started is not exported, and SIGHUP does not mend it (seen).
			tell "$F3S_MOUNTPOINT is not NFS exported: restarting mountd"
			bounded "$F3S_SERVICE_LIMIT" service mountd onerestart >/dev/null 2>&1
			if ! within 3 exported; then
				REASON="mountd does not export $F3S_MOUNTPOINT"
				return 1
			fi
		fi
	done
}

# stunnel first: clients are cut off before NFS goes away beneath them.
stop_services() {
	backwards=''
	for service in $F3S_SERVICES; do
		backwards="$service $backwards"
	done
	for service in $backwards; do
		running "$service" || continue
		bounded "$F3S_SERVICE_LIMIT" service "$service" onestop >/dev/null 2>&1
		if running "$service"; then
			tell "$service did not stop"
		else
			tell "stopped $service"
		fi
	done
}

# Mounts the dataset where nothing is mounted yet. The replica must be read-only before its first mount: one
# write, and the next incremental is refused (seen). One that was written to is past that: an operator promoted it, and
# clients go on writing.
mount_dataset() {
	if [ "$F3S_ROLE" = standby ] && [ "$(property readonly)" != on ] && [ "$(property written)" != 0 ]; then
		tell "$F3S_DATASET was written to and stays read-write, as promoted"
	elif [ "$F3S_ROLE" = standby ] && [ "$(property readonly)" != on ]; then
		if ! mount_said=$(bounded "$F3S_LIMIT" zfs set readonly=on "$F3S_DATASET" 2>&1); then
			REASON="$REASON; readonly=on failed: $mount_said"
			return 1
		fi
		tell "set readonly=on on $F3S_DATASET"
	fi
	if ! mount_said=$(bounded "$F3S_SERVICE_LIMIT" zfs mount "$F3S_DATASET" 2>&1); then
		REASON="$REASON; zfs mount failed: $mount_said"
		return 1
	fi
	tell "mounted $F3S_DATASET"
}

ready_or_mounted() {
	dataset_ready
	ready_status=$?
	if [ "$ready_status" -eq 2 ]; then
		mount_dataset || return 1
		dataset_ready
		ready_status=$?
	fi
	return "$ready_status"
}

# The advskew follows from what is known, so a lost event or a killed run leaves nothing to undo. With
# preempt=0 a lower advskew alone does not take the address back (seen); with preempt=1 it would, so then a
# BACKUP keeps what it has and only `carp master` lowers it.
# adjust_skew ready | no
adjust_skew() {
	wanted=$F3S_ADVSKEW
	if [ -e "$F3S_HOLD" ] || [ -e "$F3S_FAILED" ] || [ "$1" != ready ]; then
		wanted=$F3S_DEMOTED
	fi
	[ "$CARP_SKEW" != "$wanted" ] || return 0
	if [ "$CARP_STATE" = BACKUP ] && [ "$wanted" -lt "$CARP_SKEW" ] &&
		[ "$(sysctl -n net.inet.carp.preempt)" != 0 ]; then
		return 0
	fi
	skew_before=$CARP_SKEW
	if carp_set "$wanted"; then
		tell "advskew $skew_before -> $wanted"
	else
		tell "$REASON"
	fi
}

# A MASTER that cannot serve offers the address to a peer that answers. If the peer cannot serve either, it
# comes back: hence not more often than every F3S_RETRY seconds.
give_way() {
	why=$REASON
	stop_services
	# Even where it stays MASTER: when a split heals, the host that serves wins.
	adjust_skew no
	if [ "$(age "$F3S_GAVE_WAY")" -lt "$F3S_RETRY" ]; then
		decide MASTER no "MASTER but not serving: $why; the peer did not keep the address"
	elif ! peer_answers; then
		decide MASTER no "MASTER but not serving: $why; staying, since the peer $F3S_PEER does not answer"
	else
		if [ ! -e "$F3S_GAVE_WAY" ]; then	# not the trouble of the last offer: this host was well since
			[ "$(age "$F3S_LOST")" -ge "$F3S_CALM" ] || since_boot >"$F3S_FLAPS"
			since_boot >"$F3S_LOST"
		fi
		since_boot >"$F3S_GAVE_WAY"
		decide none no "giving the address to the peer: $why"
		carp_set "$F3S_DEMOTED" backup || tell "$REASON"
	fi
}

as_master() {
	rm -f "$F3S_FLOOR"
	ready_or_mounted
	case $? in
	0) ;;
	3)
		# A busy pool must not cost the clients their read-write server: give way only when the
		# silence lasts. Nothing is started meanwhile.
		[ -s "$F3S_DOUBT" ] || since_boot >"$F3S_DOUBT"
		if [ ! -s "$F3S_DOUBT" ]; then
			decide MASTER no "MASTER, services left as they are: $REASON; since when cannot be noted in $F3S_RUN"
			return 1
		fi
		if [ "$(age "$F3S_DOUBT")" -lt "$F3S_STRIKE" ]; then
			decide MASTER no "MASTER, services left as they are for now: $REASON"
			return 1
		fi
		give_way
		return 1
		;;
	*)
		rm -f "$F3S_DOUBT"
		give_way
		return 1
		;;
	esac
	rm -f "$F3S_DOUBT"
	if ! start_services; then
		printf '%s\n' "$REASON" >"$F3S_FAILED"
		give_way
		return 1
	fi
	rm -f "$F3S_FAILED" "$F3S_GAVE_WAY"
	adjust_skew ready
	decide MASTER yes "MASTER, serving $F3S_DATASET"
}

# Remembers the newest snapshot, or bookmark of one that is gone: a later one at the standby proves that a replication
# succeeded since.
record_floor() {
	[ ! -s "$F3S_FLOOR" ] || return 0
	floor=$(bounded "$F3S_LIMIT" zfs list -Hp -d 1 -t snapshot,bookmark -o createtxg "$F3S_DATASET" 2>/dev/null) || return 0
	floor=$(printf '%s\n' "$floor" | sort -n | tail -n 1)
	printf '%s\n' "${floor:-0}" >"$F3S_FLOOR.new"	# none yet: any later one proves it
	mv "$F3S_FLOOR.new" "$F3S_FLOOR"
}

as_backup() {
	stop_services
	rm -f "$F3S_DOUBT"
	if ready_or_mounted; then
		readiness=ready
		rm -f "$F3S_GAVE_WAY"
		record_floor
		could='could serve' able=yes
		[ ! -e "$F3S_FAILED" ] || able=no could="would not serve: $(cat "$F3S_FAILED")"
	else
		readiness=no able=no
		could="could not serve: $REASON"
	fi
	if [ "$CARP_STATE" = none ]; then
		decide none no "no CARP state of vhid $F3S_VHID on $F3S_INTERFACE, not serving; $could"
		return 1
	fi
	adjust_skew "$readiness"
	[ ! -e "$F3S_HOLD" ] || could="$could; held by carp backup"
	decide "$CARP_STATE" "$able" "$CARP_STATE, not serving; $could"
}

# Whoever waited for the lock behind a run that read the state after him has nothing left to do.
reconcile() {
	[ -e "$F3S_PENDING" ] || return 0
	reconcile_unmarked
}

# Before `start` (boot) and after `stop` (shutdown, maintenance) no service is touched.
reconcile_unmarked() {
	if [ -e "$F3S_STARTED" ]; then
		look
	elif [ -e "$F3S_STOPPED" ]; then
		stay_out
	fi
}

# Stopped, this host takes part in the election all the same: it is MASTER when the peer was away for a moment, and with
# preempt=0 the peer, when it is back, would stay BACKUP for ever while nobody serves.
stay_out() {
	rm -f "$F3S_PENDING"
	if [ -e "$F3S_STOP_OWED" ]; then	# `stop` did not get the lock
		leave
		stop_services
		rm -f "$F3S_STOP_OWED"
	fi
	carp_read
	[ "$CARP_STATE" = MASTER ] || return 0
	[ "$(age "$F3S_GAVE_WAY")" -ge "$F3S_RETRY" ] || return 0
	peer_answers || return 0
	since_boot >"$F3S_GAVE_WAY"
	decide none no "stopped, and MASTER: giving the address to the peer"
	carp_set "$F3S_DEMOTED" backup || tell "$REASON"
}

look() {
	rm -f "$F3S_PENDING"
	carp_read
	if [ "$CARP_STATE" = MASTER ]; then
		as_master
	else
		as_backup
	fi
}

start() {
	rm -f "$F3S_STOPPED" "$F3S_STOP_OWED" "$F3S_LAST" "$F3S_FLOOR" "$F3S_FAILED" "$F3S_GAVE_WAY" "$F3S_LOST" "$F3S_FLAPS" "$F3S_DOUBT"
	# stunnel writes its pid file there after it gave up root's rights, and nobody else makes the folder anew
	# where /var/run is in memory.
	[ -d "$F3S_TUNNEL_FOLDER" ] ||
		install -d -o "$F3S_TUNNEL_USER" -g "$F3S_TUNNEL_USER" -m 755 "$F3S_TUNNEL_FOLDER" ||
		tell "$F3S_TUNNEL_FOLDER could not be made: stunnel will not start"
	# A full file system must not keep this host from serving now.
	touch "$F3S_STARTED" || tell "$F3S_STARTED cannot be made: after this nothing is done until the next start"
	# rc.conf's advskew won the election before a planned failover from before the boot was known.
	carp_read
	if [ -e "$F3S_HOLD" ] && [ "$CARP_STATE" = MASTER ] && peer_answers; then
		tell "held by carp backup: giving the address to the peer"
		carp_set "$F3S_DEMOTED" backup || tell "$REASON"
	fi
	# Started it is, whatever it found: a MASTER that had to give the address away is no failed start.
	look || return 0
}

# At shutdown the address goes first, while NFS still runs; clients then find the peer and not a dead server. Not under
# the lock: its holder may wait for a service that hangs, and the shutdown of such a host must not wait for that. The
# advskew of one that is BACKUP goes up, too: after a split, the host that serves has to win.
leave() {
	rm -f "$F3S_STARTED"
	touch "$F3S_STOPPED" "$F3S_STOP_OWED" || tell "$F3S_STOPPED cannot be made: as MASTER this host will keep the address"
	carp_read || :	# the state is `none` then
	LEFT_AS=$CARP_STATE
	case $LEFT_AS in
	none) ;;
	MASTER) carp_set "$F3S_DEMOTED" backup || tell "$REASON" ;;
	*)
		# with preempt=1 `start` could not lower it again, see adjust_skew()
		[ "$CARP_SKEW" = "$F3S_DEMOTED" ] || [ "$(sysctl -n net.inet.carp.preempt)" != 0 ] ||
			carp_set "$F3S_DEMOTED" || tell "$REASON"
		;;
	esac
}

stop() {
	left_as=${LEFT_AS-}
	leave	# once more: who had the lock may have taken this host for a started one
	if [ "$left_as" = MASTER ] || [ "$LEFT_AS" = MASTER ]; then
		if [ "$CARP_STATE" = BACKUP ] && carp_settles BACKUP "$F3S_SETTLE"; then
			decide none no "stopped; another host advertises the address, its own log says whether it serves"
		else
			decide none no "stopped; no other host took the address: $REASON"
		fi
	else
		decide none no "stopped"
	fi
	stop_services
	rm -f "$F3S_STOP_OWED"
}

# kept KEY FILE: a record as the value of a key, if it is there.
kept() {
	kept_text=$(cat "$2" 2>/dev/null) || [ -e "$2" ] || return 0
	printf '%s=%s\n' "$1" "$(one_line "$kept_text")"
}

# For people and for parse_status() of f3s/controller.py: key=value, one a line.
status() {
	status_right=yes status_started=no status_wanted=stopped
	carp_read || status_right=no	# the state is `none` then
	[ ! -e "$F3S_STARTED" ] || status_started=yes	# if not, services are left alone
	dataset_ready
	case $? in
	0) status_dataset=ready ;;
	3) status_dataset=unknown ;;
	*) status_dataset=unready ;;
	esac
	case $CARP_STATE:$status_dataset in
	MASTER:ready) status_wanted=running ;;
	MASTER:*) status_right=no ;;
	esac
	cat <<-EOF
	$F3S_VERSION
	carp=$CARP_STATE
	vhid=$F3S_VHID@$F3S_INTERFACE
	advskew=$CARP_SKEW
	advskew_configured=$F3S_ADVSKEW
	started=$status_started
	dataset=$status_dataset
	dataset_reason=$REASON
	EOF
	for service in $F3S_SERVICES; do
		status_is=stopped
		! running "$service" || status_is=running
		echo "service.$service=$status_is"
		[ "$status_is" = "$status_wanted" ] || status_right=no
	done
	kept hold "$F3S_HOLD"
	kept failed "$F3S_FAILED"
	kept floor "$F3S_FLOOR"
	# not one of an earlier version: the next decision replaces it
	awk -v version="$F3S_VERSION" 'NR == 1 && $0 != version { exit } NR > 1' "$F3S_LAST" 2>/dev/null
	echo "right=$status_right"
	[ "$status_right" = yes ]
}

# lockf -k: the file stays, so waiters queue up; the lock is the kernel's and dies with its holder. The child
# does not inherit it, so neither does stunnel.
under_lock() {
	lockf -k -s -t "$LOCK_WAIT" "$F3S_LOCK" "$0" locked "$1"
	lock_status=$?
	if [ "$lock_status" -eq 73 ]; then	# EX_CANTCREAT: no room for the file; two runs at once do less harm than none
		"$0" locked "$1"
		lock_status=$?
	fi
	if [ "$lock_status" -eq 75 ]; then
		tell "$1: the lock was not free for $LOCK_WAIT s, another run is still at work"
		[ "$1" != stop ] || echo "the services are not stopped yet: the next reconcile does that" >&2
	fi
	exit "$lock_status"
}

case $#:${1-} in
1:status) status ;;
1:reconcile)
	need_root
	# Not `:` and a redirection: where that fails, as on a full file system, it ends the shell (sh(1), special built-ins).
	# Without room for the mark every run looks.
	if touch "$F3S_PENDING"; then
		under_lock reconcile
	else
		under_lock reconcile_unmarked
	fi
	;;
1:start)
	need_root
	under_lock start
	;;
1:stop)
	need_root
	leave
	export LEFT_AS
	under_lock stop
	;;
2:locked)
	case $2 in
	start | stop | reconcile | reconcile_unmarked) "$2" ;;
	*) usage ;;
	esac
	;;
*) usage ;;
esac
