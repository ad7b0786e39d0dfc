# shellcheck shell=sh
# Installed as /usr/local/libexec/f3s/storage.sh and sourced by the controller (storage-control), carp,
# carpcontrol.sh and carp-auto-failback.sh: the one place for paths, checks and changes of the CARP state.
# Every function leaves the reason for what it found in REASON.
# shellcheck disable=SC2034,SC2119,SC2120	# a library: its variables and arguments are for the programs

# devd starts its actions without /usr/local in the path (seen), cron and rc(8) have paths of their own.
PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin
LC_ALL=C
export PATH LC_ALL
umask 022

F3S_CONFIG=/usr/local/etc/f3s/storage.conf
F3S_CONTROL=/usr/local/libexec/f3s/storage-control
F3S_RUN=/var/run/f3s
F3S_KEEP=/var/db/f3s	# what outlives a reboot
F3S_HOLD=$F3S_KEEP/carp.hold		# a planned failover: by `carp backup`, until `carp master`
F3S_RECORD=$F3S_KEEP/record	# who writes: EPOCH HOST SECONDS-SINCE-1970; without it the primary does, since epoch 0
F3S_RETURN=$F3S_KEEP/return	# the epoch of the record that is about to end: the role goes back (tasks/return_primary.py)
F3S_RETIRED=$F3S_KEEP/retired	# the host that is the standby in the place of this one, as the primary said last

# Files of this boot, all below F3S_RUN.
F3S_LOCK=$F3S_RUN/lock			# held by lockf(1); its mere existence means nothing
F3S_PENDING=$F3S_RUN/pending		# a reconcile was asked for and has not read the state yet
F3S_STARTED=$F3S_RUN/started		# `start` ran and `stop` did not: without it no service is started
F3S_STOP_OWED=$F3S_RUN/stop.owed	# `stop` gave the address away and has not stopped the services yet
F3S_LAST=$F3S_RUN/last			# the last decision, lines of the status
F3S_STATUS=$F3S_RUN/status		# what the last look found, for the report
F3S_FLOOR=$F3S_RUN/floor.createtxg	# newest snapshot's createtxg when the primary was first seen without its claim
F3S_PROVEN=$F3S_RUN/proven		# it is known that the peer was not promoted, and this host was MASTER ever since
F3S_LOSSES=$F3S_RUN/losses		# when the primary lost the address that it had claimed, one a line
F3S_MOVES=$F3S_RUN/moves		# when the address came or went, seconds since 1970, one a line
F3S_RESTARTS=$F3S_RUN/restarts	# when a service was restarted that did not answer as it should, likewise
F3S_NFSD=$F3S_RUN/nfsd			# when nfsd was started, in seconds since the boot
F3S_HUNG=$F3S_RUN/hung			# process that outlived its time limit: no further checks pile up behind it

F3S_LIMIT=10		# seconds that a check of the pool may take
F3S_GRACE=135		# seconds of NFSv4's grace period: nfsd's lease and NFSRV_LEASEDELTA (sys/fs/nfs/nfs.h)
F3S_SERVICE_LIMIT=20	# seconds that service(8) may take; rc.shutdown ends everything after 90 by default
F3S_VERSION=status=3	# first line of the status and of F3S_LAST: f3s/controller.py knows what follows
F3S_NO_CLAIM=254	# advskew of a host that cannot serve, which loses against every other
F3S_HELD_CLAIM=200	# while `carp backup` holds: it could serve if nobody else can
F3S_PROMOTED_CLAIM=0	# below the primary's: one that was frozen meanwhile yields at the first advertisement

if [ ! -r "$F3S_CONFIG" ]; then
	echo "$F3S_CONFIG is missing: run the deploy (tasks/carp.py)" >&2
	exit 78
fi
# shellcheck source=/dev/null
. "$F3S_CONFIG"
for name in ROLE NAME INTERFACE VHID VIP ADVBASE UNICAST CLAIM ADVSKEW PEER PEER_NAME SINK POOL DATASET MOUNTPOINT MARKER EXPORT \
	FSID FAILBACK_BLOCK SERVICES MOUNTD_FLAGS NFS_FOR_OTHERS PATIENCE REPLICATION_JOB SNAPSHOT_PREFIX CATCH_UP \
	FAILBACK_MAX_AGE LOSSES_MAX QUIET TUNNEL_PORT TUNNEL_NAME TUNNEL_FOLDER TUNNEL_USER; do
	eval "value=\${F3S_$name-}"
	if [ -z "$value" ]; then
		echo "$F3S_CONFIG: F3S_$name is not set" >&2
		exit 78
	fi
done
# Seconds within which a raised claim has moved the address, or never will: the MASTER's next advertisement tells it, and a
# peer that is not heard takes over after 3 * advbase + advskew/256.
F3S_SETTLE=$((3 * F3S_ADVBASE + 3))
if [ "$(id -u)" -eq 0 ]; then
	mkdir -p "$F3S_RUN" "$F3S_KEEP"
fi

F3S_USUAL_CLAIM=$F3S_CLAIM

# shellcheck source=files/freebsd/bounded.sh
. /usr/local/libexec/f3s/bounded.sh

need_root() {
	if [ "$(id -u)" -ne 0 ]; then
		echo "${0##*/}: root is needed for this: run it with doas or sudo" >&2
		exit 77
	fi
}

tell() {
	logger -t "${F3S_TAG-f3s_storage}" -p daemon.notice -- "$1"
}

# note_time FILE: for the report, which counts those of an hour; only the last ones are kept.
note_time() {
	{ tail -n 19 "$1" 2>/dev/null; date +%s; } >"$1.new" && mv "$1.new" "$1"
}

# A line of a record if it is one, else nothing.
record_line() {
	printf '%s\n' "$1" | awk -v this="$F3S_NAME" -v other="$F3S_PEER_NAME" '
		NR == 1 && NF == 3 && $1 ~ /^[0-9]+$/ && ($2 == this || $2 == other) && $3 ~ /^[0-9]+$/ { line = $0 }
		END { if (NR == 1) print line }'
}

# record_read [LINE]: EPOCH, WRITER and SINCE (seconds since 1970): which of the two hosts may write, by the file or by what
# the peer said. The higher epoch is right. WRITER is empty where the record is damaged. One that is not the primary was
# promoted.
record_read() {
	EPOCH=0 WRITER=$F3S_NAME SINCE=0 F3S_CLAIM=$F3S_USUAL_CLAIM
	# shellcheck disable=SC2153	# of storage.conf
	[ "$F3S_ROLE" = primary ] || WRITER=$F3S_PEER_NAME
	if [ $# -gt 0 ] || [ -e "$F3S_RECORD" ]; then
		record=$(record_line "${1-$(cat "$F3S_RECORD")}")
		EPOCH=${record%% *} SINCE=${record##* }
		WRITER=${record#* }
		WRITER=${WRITER% *}
	fi
	! promoted || F3S_CLAIM=$F3S_PROMOTED_CLAIM
}

promoted() {
	[ "$F3S_ROLE:$WRITER" = "standby:$F3S_NAME" ]
}

# Is this the host of the record?
writes_here() {
	case $WRITER in
	'') REASON="it is not known who may write: $F3S_RECORD is damaged, or both hosts took the same epoch" ;;
	"$F3S_NAME") return 0 ;;
	*) REASON="$WRITER was promoted $(($(date +%s) - SINCE)) s ago (epoch $EPOCH), and has what clients wrote since" ;;
	esac
	return 1
}

# The role is on its way back. Who writes has stopped; who was replaced has a replica by now, and serves it like a standby.
returning() {
	[ "$EPOCH" -gt 0 ] && [ "$(cat "$F3S_RETURN" 2>/dev/null)" = "$EPOCH" ]
}

# May this host serve at all? The standby always may: what it serves is read-only unless it was promoted.
may_serve() {
	writes_here && return 0
	[ ! -e "$F3S_RETIRED" ] || {
		REASON="$(cat "$F3S_RETIRED") is the standby of $F3S_PEER_NAME now: docs/runbook.md, Another standby, retires this host"
		return 1
	}
	[ -n "$WRITER" ] && { [ "$F3S_ROLE" = standby ] || returning; }
}

# When a process started: with its number, its identity.
process_start() {
	ps -o lstart= -p "$1" 2>/dev/null | awk '{ $1 = $1; print }'
}

# True while a command that outlived its limit still hangs in the kernel.
still_hung() {
	[ -e "$F3S_HUNG" ] || return 1
	{ read -r hung_pid && read -r hung_start; } <"$F3S_HUNG"
	if kill -0 "$hung_pid" 2>/dev/null && [ "$(process_start "$hung_pid")" = "$hung_start" ]; then
		REASON="an earlier command still hangs (process $hung_pid)"
		return 0
	fi
	rm -f "$F3S_HUNG"
	return 1
}

# CARP_STATE and CARP_SKEW of our vhid. Only its own line counts: `state master` for a vhid that does not exist
# leaves a line `carp: INIT vhid 2 ...` behind (seen). Not bounded, here and in carp_set: ifconfig asks no disk, a driver
# that keeps its lock would let nobody give the address away, and bounded() costs eight programs at each look of a move.
carp_read() {
	CARP_STATE='' CARP_SKEW=''
	carp_line=$(ifconfig "$F3S_INTERFACE" 2>/dev/null | awk -v vhid="$F3S_VHID" '
		$1 == "carp:" && $3 == "vhid" && $4 == vhid {
			for (i = 5; i < NF; i++) if ($i == "advskew") { print $2, $(i + 1); exit }
		}')
	if [ -z "$carp_line" ]; then
		CARP_STATE=none
		REASON="no CARP state of vhid $F3S_VHID on $F3S_INTERFACE"
		return 1
	fi
	CARP_STATE=${carp_line%% *}
	CARP_SKEW=${carp_line##* }
}

# carp_set SKEW: asks the kernel, then reads back what it did (ifconfig says nothing and returns 0 even for a vhid that
# does not exist). With preemption the address goes to the lowest claim.
carp_set() {
	carp_to=''
	# shellcheck disable=SC2153	# of storage.conf
	# ifconfig(8) of FreeBSD 14 and 15 goes back to multicast where it is not told (carp_ctor in sbin/ifconfig/ifcarp.c)
	[ "$F3S_UNICAST" = no ] || carp_to="peer $F3S_PEER"
	# shellcheck disable=SC2086	# two words or none
	if ! carp_said=$(ifconfig "$F3S_INTERFACE" vhid "$F3S_VHID" advskew "$1" $carp_to 2>&1); then
		REASON="ifconfig $F3S_INTERFACE vhid $F3S_VHID advskew $1 failed: $carp_said"
		return 1
	fi
	carp_read || return 1
	if [ "$CARP_SKEW" != "$1" ]; then
		REASON="advskew is $CARP_SKEW, not $1, after ifconfig"
		return 1
	fi
}

# INIT: the interface has no link or is down (carp(4)). Then nothing is known of the peer, and nothing was decided.
carp_linkless() {
	[ "$CARP_STATE" = INIT ] || return 1
	REASON="$F3S_INTERFACE has no link (state is INIT)"
}

# carp_becomes STATE: waits until it is so, as long as a move can take.
carp_becomes() {
	becomes_left=$F3S_SETTLE
	while carp_read; do
		[ "$CARP_STATE" != "$1" ] || return 0
		! carp_linkless || return 1
		if [ "$becomes_left" -le 0 ]; then
			REASON="still $CARP_STATE after $F3S_SETTLE s"
			return 1
		fi
		becomes_left=$((becomes_left - 1))
		sleep 1
	done
	return 1
}

# When the address came or went last, in seconds since 1970; nothing where that is not known.
last_move() {
	tail -n 1 "$F3S_MOVES" 2>/dev/null
}

# A client that comes now waits for the end of nfsd's grace period (seen: 73 s), while a host whose nfsd runs answers at once.
grace() {
	awk -v now="$(since_boot)" -v grace="$F3S_GRACE" '{ soon = now - $1 < grace } END { exit !soon }' "$F3S_NFSD" 2>/dev/null
}

# Seconds since the boot. A step of the clock moves the time of the boot with it (FreeBSD's kern_tc.c, tc_setclock), so the
# difference goes on evenly, and no wait gets longer or shorter.
since_boot() {
	boot=$(sysctl -n kern.boottime)	# { sec = 1763805411, usec = 302515 } Sat Nov 22 ...
	boot=${boot#*sec = }
	boot=${boot%%,*}
	case $boot in
	'' | *[!0-9]*) boot=0 ;;
	esac
	echo $(($(date +%s) - boot))
}

# What is mounted on the mount point (the topmost, if several are), and the fsid of the nullfs mount of it that is exported.
mount_read() {
	MOUNTED='' IDENTITY=''
	mount_table=$(bounded "$F3S_LIMIT" mount -v) || { REASON="mount did not answer"; return 1; }
	MOUNTED=$(printf '%s\n' "$mount_table" | awk -v point="$F3S_MOUNTPOINT" '
		$2 == "on" && $3 == point { fs = $1 }
		END { print fs }')
	IDENTITY=$(printf '%s\n' "$mount_table" | awk -v from="$F3S_MOUNTPOINT" -v point="$F3S_EXPORT" '
		$2 == "on" && $3 == point {
			fsid = "other"
			if ($1 == from && $4 == "(nullfs,") for (i = 5; i < NF; i++) if ($i == "fsid") fsid = $(i + 1)
			sub(/[,)].*/, "", fsid)
		}
		END { print fsid }')
}

# property NAME: from the lines that dataset_ready() read.
property() {
	printf '%s\n' "$dataset_properties" | awk -F '\t' -v name="$1" '$1 == name { print $2 }'
}

# Is what is to be served there? 0 yes, 1 no, 2 not mounted but it could be, 3 not known: a check did not end in time.
dataset_ready() {
	still_hung && return 3
	pool_health=$(bounded "$F3S_LIMIT" zpool list -H -o health "$F3S_POOL" 2>/dev/null)
	case $? in
	0) ;;
	124) REASON="zpool list $F3S_POOL did not end in $F3S_LIMIT s"; return 3 ;;
	*) REASON="pool $F3S_POOL is not imported"; return 1 ;;
	esac
	case $pool_health in
	ONLINE | DEGRADED) ;;
	*) REASON="pool $F3S_POOL is $pool_health"; return 1 ;;
	esac
	dataset_properties=$(bounded "$F3S_LIMIT" zfs get -Hp -o property,value \
		keystatus,mountpoint,readonly,written "$F3S_DATASET" 2>/dev/null)
	case $? in
	0) ;;
	124) REASON="zfs get $F3S_DATASET did not end in $F3S_LIMIT s"; return 3 ;;
	*) REASON="dataset $F3S_DATASET does not exist"; return 1 ;;
	esac
	case $(property keystatus) in
	available) ;;
	unavailable) REASON="the key of $F3S_DATASET is not loaded"; return 1 ;;
	*) REASON="$F3S_DATASET is not encrypted"; return 1 ;;
	esac
	mount_read || return 3
	if [ "$MOUNTED" != "$F3S_DATASET" ]; then
		if [ -n "$MOUNTED" ]; then
			REASON="$MOUNTED is mounted on $F3S_MOUNTPOINT instead of $F3S_DATASET"
			return 1
		fi
		REASON="$F3S_DATASET is not mounted on $F3S_MOUNTPOINT"
		[ "$(property mountpoint)" = "$F3S_MOUNTPOINT" ] && return 2
		REASON="$REASON, its mountpoint is $(property mountpoint)"
		return 1
	fi
	bounded "$F3S_LIMIT" test -e "$F3S_MARKER"
	case $? in
	0) ;;
	124) REASON="$F3S_MOUNTPOINT did not answer in $F3S_LIMIT s"; return 3 ;;
	*) REASON="marker $F3S_MARKER is missing"; return 1 ;;
	esac
	REASON="$F3S_DATASET is mounted and complete"
}

# Is a file on the served dataset there? 0 yes, 1 no, 2 not known.
on_dataset() {
	bounded "$F3S_LIMIT" test -e "$1"
	case $? in
	0) return 0 ;;
	1) return 1 ;;
	*) return 2 ;;
	esac
}

# What the standby has confirmed: CURSOR_TXG and CURSOR_TIME of the snapshot, 0 without any. zrepl moves the bookmark
# #zrepl_CURSOR_G_<guid>_J_<job> to a snapshot only when the receiver confirmed it (internal/endpoint/endpoint_guarantees.go,
# SenderPostRecvConfirmed); a bookmark keeps its snapshot's createtxg and creation. createtxg, not the time, says what came
# after what: the clock may have been stepped.
cursor_read() {
	cursor_list=$(bounded "$F3S_LIMIT" zfs list -Hp -d 1 -t bookmark -o createtxg,creation,name "$F3S_DATASET" 2>/dev/null) || {
		REASON="the bookmarks of $F3S_DATASET cannot be read"
		return 1
	}
	cursor=$(printf '%s\n' "$cursor_list" | awk -F '\t' -v job="$F3S_REPLICATION_JOB" '
		{ end = "_J_" job; name = $3; sub(/^.*#/, "", name) }
		index(name, "zrepl_CURSOR_G_") == 1 && substr(name, length(name) - length(end) + 1) == end && $1 > txg {
			txg = $1; creation = $2
		}
		END { print txg + 0, creation + 0 }')
	CURSOR_TXG=${cursor% *} CURSOR_TIME=${cursor#* }
}

record_read
