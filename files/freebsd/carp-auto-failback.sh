#!/bin/sh
# Installed as /usr/local/bin/carp-auto-failback.sh, every minute from cron on the primary: claims the address once it is
# proven that nothing can be lost by it, whether the standby has it or nobody claims it. Whatever is not known means: stay.
# Each run writes its decision and the reason to /var/log/carp-auto-failback.log (newsyslog rotates it).
#
# Exit status: 0 stayed or failed back, 1 the failback failed, 64 usage, 77 not root, 78 not configured.

# shellcheck disable=SC2153	# the values of storage.conf
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

LOG=/var/log/carp-auto-failback.log

if [ $# -ne 0 ]; then
	echo "usage: ${0##*/}" >&2
	exit 64
fi
need_root

write() {
	echo "$(date '+%Y-%m-%d %H:%M:%S') $1" >>"$LOG"
}

stay() {
	write "stay: $1"
	exit 0
}

# A replication to the standby was confirmed for a snapshot that was made after this host lost its claim or booted, and
# not long ago. A standby that was written to refuses the next raw incremental (seen), so zrepl's cursor then stands still:
# it is fresh only while the standby is undiverged.
undiverged() {
	if [ ! -s "$F3S_FLOOR" ]; then
		REASON="the controller has not recorded yet where the snapshots stood when this host lost its claim"
		return 1
	fi
	read -r floor <"$F3S_FLOOR"
	case $floor in
	'' | *[!0-9]*)
		REASON="$F3S_FLOOR is damaged: service f3s_storage restart makes it anew"
		return 1
		;;
	esac
	cursor_read || return 1
	if [ "$CURSOR_TXG" -eq 0 ]; then
		REASON="no replication by $F3S_REPLICATION_JOB has ever been confirmed"
		return 1
	fi
	if [ "$CURSOR_TXG" -le "$floor" ]; then
		REASON="no replication has succeeded since this host lost its claim or booted"
		return 1
	fi
	replicated=$(($(date +%s) - CURSOR_TIME))
	if [ "$replicated" -lt 0 ]; then
		REASON="the last replicated snapshot is from the future: check the clock"
		return 1
	fi
	if [ "$replicated" -gt "$F3S_FAILBACK_MAX_AGE" ]; then
		REASON="the last replicated snapshot is $replicated s old (at most $F3S_FAILBACK_MAX_AGE): the standby may have diverged"
		return 1
	fi
	REASON="the standby has a snapshot that is $replicated s old"
}

# The address left this host too often for one more move by itself, and the last time is not long ago.
flapping() {
	awk -v now="$(since_boot)" -v max="$F3S_LOSSES_MAX" -v quiet="$F3S_QUIET" '
		NR == 1 { first = $1 }
		{ last = $1 }
		END { exit !(NR >= max && last - first < quiet && now - last < quiet) }' "$F3S_LOSSES" 2>/dev/null
}

# One command for sh, read as a whole: sh goes on reading where it was in a file that a deploy replaces meanwhile, and
# would so jump over a check.
main() {
	[ "$F3S_ROLE" = primary ] || stay "this host is not the primary"
	writes_here || stay "$REASON"
	carp_read || stay "$REASON"
	case $CARP_STATE in
	BACKUP) ;;
	MASTER) [ "$CARP_SKEW" != "$F3S_CLAIM" ] || stay "MASTER, and claims the address" ;;
	*) carp_linkless; stay "$REASON" ;;
	esac
	[ -e "$F3S_STARTED" ] || stay "f3s_storage is not started"
	[ ! -e "$F3S_HOLD" ] || stay "held by carp backup ($(cat "$F3S_HOLD")): carp master ends that"
	! flapping || stay "this host lost the address $F3S_LOSSES_MAX times within $F3S_QUIET s: no automatic failback until \
it was quiet for so long; carp master ends that"
	dataset_ready || stay "$REASON"
	on_dataset "$F3S_FAILBACK_BLOCK"
	case $? in
	0) stay "$F3S_FAILBACK_BLOCK is there: carp auto-failback enable removes it" ;;
	1) ;;
	*) stay "not known whether $F3S_FAILBACK_BLOCK is there" ;;
	esac
	[ "$CARP_SKEW" != "$F3S_NO_CLAIM" ] || stay "the controller found this host not ready: see service f3s_storage status"
	undiverged || stay "$REASON"
	[ "$CARP_STATE" = MASTER ] || ! grace || stay "nfsd was started less than $F3S_GRACE s ago, and keeps new clients waiting"

	proof=$REASON
	said=$("$F3S_CONTROL" claim 2>&1)
	case $? in
	0)
		[ "$CARP_STATE" = MASTER ] || tell "failback: MASTER again; $proof"
		write "failback: MASTER, and claims the address; $proof"
		;;
	3 | 75) stay "$said" ;;	# no link, held meanwhile, or the controller is at work: the next run looks again
	*)
		write "failback failed: $said"
		tell "failback failed: $said"
		exit 1
		;;
	esac
}

main; exit
