#!/bin/sh
# Installed as /usr/local/libexec/f3s/storage-control: makes the services run while this host is ready, and its claim to the
# virtual IP follow from that. Called by the rc.d service f3s_storage, by carp and carp-auto-failback.sh, by devd through
# carpcontrol.sh and every minute by cron. It never believes an event: it takes the lock and looks. See
# docs/controller.md for the reasoning.
#
# Exit status: 0 done (status: as it should be), 1 not as it should be or refused, 2 no CARP state, 3 no link or held, 64 usage,
# 75 the lock was not free, 77 not root, 78 not configured.

# shellcheck disable=SC2153	# the values of storage.conf
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh

LOCK_WAIT=60	# seconds: two service(8) calls at their limit, and less than rc.shutdown(8) gives
LOOK_WAIT=300	# seconds: a look starts every service, each within its limit, and looks again where one did not start
# shellcheck disable=SC2016	# for people
ANYWAY='. `service f3s_storage stop` gives the address away without any of that'
ANSWERS=/usr/local/libexec/f3s/answers
ANSWERED=no	# the peer, and it knows of no higher epoch

usage() {
	echo "usage: ${0##*/} start | stop | status | reconcile | claim [operator] | give | promote HOST | record" >&2
	exit 64
}

refuse() {
	echo "$1" >&2
	exit "${2:-1}"
}

# decide TEXT: logs a decision once, when it changes, and keeps it for `status`.
decide() {
	decided=$(printf '%s\n' "$F3S_VERSION" "decision=$(one_line "$1")")
	[ "$(sed '/^decided_since=/d' "$F3S_LAST" 2>/dev/null)" != "$decided" ] || return 0
	tell "$1"
	printf '%s\n' "$decided" "decided_since=$(date '+%Y-%m-%d %H:%M:%S')" >"$F3S_LAST.new"
	mv "$F3S_LAST.new" "$F3S_LAST"
}

one_line() {
	printf '%s' "$1" | tr '\n' ' '
}

# -- the services --

running() {
	bounded "$F3S_SERVICE_LIMIT" service "$1" onestatus >/dev/null 2>&1
}

# One that did not say so in time may run.
stopped() {
	running "$1"
	case $? in 0 | 124) return 1 ;; esac
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

# The one* verbs: the services' own rc variables are NO, so that nothing but this program starts them.
start_service() {
	running "$1" && return 0
	for _ in 1 2; do
		start_said=$(bounded "$F3S_SERVICE_LIMIT" service "$1" onestart 2>&1)
		if within 3 running "$1"; then
			[ "$1" != nfsd ] || since_boot >"$F3S_NFSD"
			tell "started $1"
			return 0
		fi
	done
	REASON="service $1 did not start: $(printf '%s' "$start_said" | tail -n 1)"
	return 1
}

# One from before the deploy may offer more than exports; what it says of itself are its arguments.
mountd_right() {
	[ "$F3S_NFS_FOR_OTHERS" = no ] || return 0
	pgrep -q -f "^/usr/sbin/mountd $F3S_MOUNTD_FLAGS " || { REASON="mountd runs without $F3S_MOUNTD_FLAGS"; return 1; }
}

# What hears no other signal, as after SIGSTOP, is killed; an nfsd with clients only by the second SIGKILL (seen).
stop_service() {
	! stopped "$1" || return 0
	bounded "$F3S_LIMIT" service "$1" onestop >/dev/null 2>&1
	if ! within 10 killed "$1"; then
		tell "$1 did not stop"
		return 1
	fi
	tell "stopped $1"
}

restart_service() {
	tell "$REASON: restarting $1"
	stop_service "$1" && start_service "$1"
}

killed() {
	! stopped "$1" || return 0
	pkill -KILL -x "$1"
	return 1
}

# In the order of F3S_SERVICES; stunnel comes last: no client gets in before NFS is complete.
start_services() {
	for service in $F3S_SERVICES; do
		start_service "$service" || return 1
	done
	mountd_right || restart_service mountd
}

# stunnel first: clients are cut off before NFS goes away beneath them.
stop_services() {
	backwards=''
	for service in $F3S_SERVICES; do
		backwards="$service $backwards"
	done
	for service in $backwards; do
		others_use "$service" || stop_service "$service"
	done
}

# What the operator uses for himself, too, keeps running: a stunnel with services of his own, and NFS where the data say so.
# Who comes through the tunnel then meets no nfsd, or an empty directory that takes no write (export_dataset).
others_use() {
	case $1 in
	stunnel) grep '^[[:space:]]*\[' /usr/local/etc/stunnel/stunnel.conf | grep -Eqv '\[(nfs|alive|record)\]' ;;
	*) [ "$F3S_NFS_FOR_OTHERS" = yes ] ;;
	esac
}

# -- ready --

# patiently CHECK...: one that is not known (3) is asked again for F3S_PATIENCE seconds: slow is not dead, and meanwhile
# the services and the claim are left as they are.
patiently() {
	patient_since=$(since_boot)
	while :; do
		"$@"
		patient_status=$?
		if [ "$patient_status" -ne 3 ] || [ $(($(since_boot) - patient_since)) -ge "$F3S_PATIENCE" ]; then
			return "$patient_status"
		fi
		sleep 1
	done
}

# Can this host serve? Mounts and starts what is missing, and asks end to end. 0 yes, 1 there is nothing to serve, 3 not
# known, 4 a service fails.
able() {
	may_serve && patiently dataset_there && configured || return
	writable	# before its export is mounted, which may stay read-only (fsid_wanted)
	patiently export_dataset || return
	serving && return 0
	start_services && answers nfs "${F3S_MARKER##*/}" mountd nfsd && answers tls "$F3S_TUNNEL_PORT" stunnel stunnel ||
		return 4
	REASON="serves $F3S_DATASET"
}

# A look that costs little, as it is taken every minute: what answers runs.
serving() {
	for service in $F3S_SERVICES; do
		pgrep -q -x "$service" || { REASON="$service does not run"; return 1; }
	done
	mountd_right && ask nfs "${F3S_MARKER##*/}" && ask tls "$F3S_TUNNEL_PORT" && REASON="serves $F3S_DATASET"
}

# Files of other tasks: while a deploy is under way they may be those of an earlier one.
configured() {
	grep -q "^V4: $F3S_EXPORT " /etc/exports ||
		{ REASON="/etc/exports does not have $F3S_EXPORT as the NFSv4 root: run tasks/nfs.py"; return 1; }
	grep -q '^\[alive\]' /usr/local/etc/stunnel/stunnel.conf ||
		{ REASON="stunnel.conf is not of this deploy: run tasks/stunnel.py"; return 1; }
}

dataset_there() {
	dataset_ready
	there_status=$?
	case $there_status in
	0) may_write || read_only || return 1 ;;
	2)
		may_write || read_only || return 1
		mount_dataset || return 1
		dataset_ready
		there_status=$?
		;;
	esac
	return "$there_status"
}

# Mounts the dataset where nothing is mounted yet.
mount_dataset() {
	if ! mount_said=$(bounded "$F3S_SERVICE_LIMIT" zfs mount "$F3S_DATASET" 2>&1); then
		REASON="$REASON; zfs mount failed: $mount_said"
		return 1
	fi
	tell "mounted $F3S_DATASET"
}

# A client's file handle has the fsid of what is exported, and ZFS gives the replica another one than the source. nullfs
# takes the next number since the boot (sys/kern/vfs_subr.c, vfs_getnewfsid), so both hosts mount until they have the
# same one. Whoever has passed it serves with what he has: his clients have to mount anew after a move.
export_dataset() {
	case $IDENTITY in
	'') ;;
	other) REASON="$F3S_EXPORT has something else mounted than $F3S_MOUNTPOINT"; return 1 ;;
	*)
		on_dataset "$F3S_EXPORT/${F3S_MARKER##*/}"
		case $? in
		0)
			if stays_read_only; then
				tell "$F3S_EXPORT has stayed read-only"
			elif [ "$CARP_STATE" = MASTER ] || [ "$(fsid_number "$IDENTITY")" -ge "$(fsid_wanted)" ]; then
				return 0
			fi
			;;
		1) ;;	# the dataset was unmounted by force and mounted again: this view of it is dead
		*) REASON="$F3S_EXPORT did not answer in $F3S_LIMIT s"; return 3 ;;
		esac
		unmount_export || return 1
		;;
	esac
	REASON=$(mkdir -p "$F3S_EXPORT" 2>&1) || return 1
	# mountd exports a bare directory, too (seen), and where it runs for others nothing stops it
	if [ "$F3S_NFS_FOR_OTHERS" = yes ]; then REASON=$(chflags schg "$F3S_EXPORT" 2>&1) || return 1; fi
	mount_export && mount_read || return 1
	steps=$(($(fsid_wanted) - $(fsid_number "$IDENTITY")))
	while [ "$steps" -gt 0 ]; do
		unmount_export && mount_export || return 1
		steps=$((steps - 1))
	done
	mount_read || return 1
	tell "mounted $F3S_EXPORT with the fsid $IDENTITY, number $(fsid_number "$IDENTITY") of this boot (wanted: $F3S_FSID)"
}

# Where nullfs takes read-only over from below (13.2, not 15.1: seen), mountd hands it back to the kernel with the export
# (nmount(2) with MNT_UPDATE and the flags of statfs(2)), which then stays read-only. So a primary that may not write yet
# leaves the number that both hosts want to the next mount. A promoted standby has used it up.
fsid_wanted() {
	if [ "$F3S_ROLE" = primary ] && ! takes_writes "$F3S_MOUNTPOINT" &&
		printf '%s\n' "$mount_table" | grep -q "^$F3S_MOUNTPOINT on $F3S_EXPORT (.*read-only"; then
		echo $((F3S_FSID - 1))
	else
		echo "$F3S_FSID"
	fi
}

stays_read_only() {
	may_write || return 1
	takes_writes "$F3S_EXPORT"
	[ $? -eq 1 ] && takes_writes "$F3S_MOUNTPOINT"
}

takes_writes() {
	bounded "$F3S_LIMIT" test -w "$1"
}

mount_export() {
	REASON=$(bounded "$F3S_LIMIT" mount -t nullfs "$F3S_MOUNTPOINT" "$F3S_EXPORT" 2>&1)
}

unmount_export() {
	REASON=$(bounded "$F3S_LIMIT" umount -f "$F3S_EXPORT" 2>&1)
}

# fsid_number FSID: which nullfs mount of this boot it was; its bytes are those of 0x29HHffLL, 0x29.
fsid_number() {
	case $1 in
	??ff??2929000000)
		fsid_high=${1#????}
		echo $((0x${fsid_high%??????????} * 256 + 0x${1%??????????????}))
		;;
	*) echo 0 ;;	# not of that counter
	esac
}

# answers KIND WHAT WRONG SILENT: an answer end to end. Without a right one the service to blame is restarted, once: WRONG
# after another answer, SILENT after none.
answers() {
	patiently ask "$1" "$2" && return 0
	answers_blame=$3
	[ "$patient_status" -ne 3 ] || answers_blame=$4
	note_time "$F3S_RESTARTS"
	restart_service "$answers_blame" && within 2 ask "$1" "$2" || return 1
}

# An answer, as patiently() wants it.
ask() {
	REASON=$(bounded "$F3S_LIMIT" "$ANSWERS" "$1" "$2" 2>&1)
	ask_status=$?
	[ "$ask_status" -ne 124 ] || ask_status=3
	if [ "$1:$ask_status" = nfs:0 ] && [ "$REASON" != "$IDENTITY" ]; then
		REASON="nfsd exports the fsid $REASON, not $IDENTITY of $F3S_EXPORT"
		ask_status=1
	fi
	[ "$ask_status" -eq 0 ] || REASON=${REASON:-"no answer from ${ANSWERS##*/} $1"}
	return "$ask_status"
}

# -- who writes --

# What is served can be written on one host: the one of the record, while no `carp backup` holds it and the role is not on
# its way back. The primary also has to know that it was not replaced while it was off: of a promotion it is told by the
# peer alone.
may_write() {
	[ "$WRITER" = "$F3S_NAME" ] && [ ! -e "$F3S_HOLD" ] && ! returning && proven
}

proven() {
	promoted || [ -e "$F3S_PROVEN" ] || [ "$ANSWERED" = yes ] || holds_claim
}

# It lost its claim to nobody.
holds_claim() {
	[ "$CARP_STATE" = MASTER ] && [ "$CARP_SKEW" -le "$F3S_CLAIM" ]
}

# For the time after the claim.
keep_proof() {
	holds_claim && [ "$WRITER" = "$F3S_NAME" ] && touch "$F3S_PROVEN"
}

# set_readonly on | off
set_readonly() {
	set_said=$(bounded "$F3S_LIMIT" zfs set "readonly=$1" "$F3S_DATASET" 2>&1) ||
		{ REASON="readonly=$1 failed: $set_said"; return 1; }
	SET_READONLY=$1
}

# readonly_is on | off: as this run has set it, or as dataset_ready() read it
readonly_is() {
	[ "${SET_READONLY:-$(property readonly)}" = "$1" ]
}

# The replica must be read-only before its first mount: one write, and the next incremental is refused (seen).
read_only() {
	! readonly_is on || return 0
	only_why=$REASON
	if ! set_readonly on; then
		REASON="$only_why; $REASON"
		return 1
	fi
	tell "set readonly=on on $F3S_DATASET"
}

# After dataset_ready(). A replica gets a snapshot of its own first: the old primary's zrepl does not have it, so its next
# stream is refused, and could not make this read-only again or take back what was written.
writable() {
	may_write && ! readonly_is off || return 0
	if promoted; then
		writable_mark=$F3S_DATASET@f3s_promoted_$EPOCH
		if ! bounded "$F3S_LIMIT" zfs list -H -o name "$writable_mark" >/dev/null 2>&1 &&
			! writable_said=$(bounded "$F3S_LIMIT" zfs snapshot "$writable_mark" 2>&1); then
			tell "not writable, no snapshot: $writable_said"
			return 1
		fi
	fi
	set_readonly off || { tell "$REASON"; return 1; }
	tell "set readonly=off on $F3S_DATASET"
}

# Asks the peer who writes. Where it knows a higher epoch, that is right: this host stops writing before it remembers it.
ask_peer() {
	ANSWERED=no
	peer_said=$(bounded "$F3S_LIMIT" "$ANSWERS" record "$F3S_PEER:$F3S_TUNNEL_PORT" "$F3S_TUNNEL_NAME" 2>/dev/null) ||
		peer_said=''
	peer_with=$(printf '%s\n' "$peer_said" | awk 'NF == 4 { print $4 }')
	peer_said=$(record_line "${peer_said% "$peer_with"}")
	# a standby that was replaced, and boots as it was, would serve old data when the primary dies
	case $F3S_ROLE:$peer_said:$peer_with in
	standby:?*:"$F3S_NAME") rm -f "$F3S_RETIRED" ;;
	standby:?*:?*) echo "$peer_with" >"$F3S_RETIRED" ;;
	esac
	[ -n "$peer_said" ] && [ -n "$WRITER" ] || return 0
	peer_writer=${peer_said#* }
	peer_writer=${peer_writer% *}
	if [ "${peer_said%% *}" -gt "$EPOCH" ]; then
		rm -f "$F3S_PROVEN" "$F3S_RETURN"
		set_readonly on || tell "$REASON"
		record_write "$peer_said" || tell "$REASON"
		tell "epoch ${peer_said%% *} of $F3S_PEER_NAME replaces $EPOCH: $peer_writer writes"
		record_read "$peer_said"	# not what the file has: on a full file system it is the old one
	elif [ "${peer_said%% *}" -eq "$EPOCH" ] && [ "$peer_writer" != "$WRITER" ]; then
		WRITER=''
	fi
	[ "$WRITER" != "$F3S_NAME" ] || { ANSWERED=yes && touch "$F3S_PROVEN"; }
}

# For the primary that has to know: the other one's link, or the host, may be up a little later than this one's.
ask_patiently() {
	asked_since=$(since_boot)
	while [ "$F3S_ROLE:$WRITER" = "primary:$F3S_NAME" ] && ! proven; do
		ask_peer
		[ $(($(since_boot) - asked_since)) -lt "$F3S_PATIENCE" ] || break
		[ "$ANSWERED" = yes ] || sleep 1
	done
}

# On the disk before anything follows from it.
record_write() {
	REASON="$F3S_RECORD cannot be written"
	printf '%s\n' "$1" >"$F3S_RECORD.new" && fsync "$F3S_RECORD.new" && mv "$F3S_RECORD.new" "$F3S_RECORD" &&
		fsync "$F3S_RECORD"
}

# -- the claim --

# The lowest advskew has the address, with net.inet.carp.preempt=1 at once. So a link, a boot or a switch decides
# nothing: who is not MASTER and ready claims nothing. On the primary only claim() goes as low as F3S_CLAIM. A standby
# that has lost its link keeps what it claimed: it had the address, and nobody has asked the gates of the primary.
# keep_claim ready | no
keep_claim() {
	claim_wanted=$F3S_ADVSKEW
	if [ "$1" != ready ]; then
		claim_wanted=$F3S_NO_CLAIM
	elif [ -e "$F3S_HOLD" ]; then
		claim_wanted=$F3S_HELD_CLAIM
	else
		case $F3S_ROLE:$CARP_STATE:$CARP_SKEW in
		standby:MASTER:* | standby:INIT:"$F3S_CLAIM") claim_wanted=$F3S_CLAIM ;;
		primary:*) ! holds_claim || claim_wanted=$F3S_CLAIM ;;
		# the address is at the one that was replaced, and it has been asked
		standby:BACKUP:*) ! promoted || [ "$ANSWERED" = no ] || claim_wanted=$F3S_CLAIM ;;
		esac
	fi
	[ "$CARP_SKEW" != "$claim_wanted" ] || return 0
	[ "$CARP_SKEW" != "$F3S_CLAIM" ] || note_loss
	claim_before=$CARP_SKEW
	if carp_set "$claim_wanted"; then
		tell "claim (advskew) $claim_before -> $claim_wanted"
	else
		tell "$REASON"
	fi
}

# Only the last ones count.
note_loss() {
	{ tail -n $((F3S_LOSSES_MAX - 1)) "$F3S_LOSSES" 2>/dev/null; since_boot; } >"$F3S_LOSSES.new"
	mv "$F3S_LOSSES.new" "$F3S_LOSSES"
}

# Remembers the newest snapshot, or bookmark of one that is gone, for as long as the primary has no claim: a later one at
# the standby proves that a replication succeeded since.
keep_floor() {
	[ "$F3S_ROLE" = primary ] || return 0
	if [ "$CARP_SKEW" = "$F3S_CLAIM" ]; then
		rm -f "$F3S_FLOOR"
		return 0
	fi
	[ ! -s "$F3S_FLOOR" ] || return 0
	floor=$(bounded "$F3S_LIMIT" zfs list -Hp -d 1 -t snapshot,bookmark -o createtxg "$F3S_DATASET" 2>/dev/null) || return 0
	floor=$(printf '%s\n' "$floor" | sort -n | tail -n 1)
	printf '%s\n' "${floor:-0}" >"$F3S_FLOOR.new"	# none yet: any later one proves it
	mv "$F3S_FLOOR.new" "$F3S_FLOOR"
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
	elif [ -e "$F3S_STOP_OWED" ]; then	# `stop` did not get the lock, and who had it may have claimed again
		stop
	fi
}

look() {
	rm -f "$F3S_PENDING"
	if ! carp_read; then
		decide "not ready: $REASON"
		echo "not ready: $REASON" >&2
		return 1
	fi
	# before anything that takes time: a link that comes back must not bring the address along
	if [ "$CARP_STATE" != MASTER ] && [ "$CARP_SKEW" = "$F3S_CLAIM" ]; then
		# but for the standby that had it: the next advertisement of the primary, which claims less, gives it back
		if [ "$F3S_ROLE:$CARP_STATE" = standby:BACKUP ]; then carp_becomes MASTER; fi
		keep_claim ready
	fi
	# the other one can be promoted while it has the address, or nobody hears this one
	case $CARP_STATE:$ANSWERED in MASTER:* | BACKUP:yes) ;; *) rm -f "$F3S_PROVEN" ;; esac
	[ "$CARP_STATE" != BACKUP ] || ask_patiently
	if [ "$WRITER:$ANSWERED" = "$F3S_NAME:no" ] && ! keep_proof; then ask_peer; fi
	able
	able_status=$? able_why=$REASON
	case $able_status in
	0)
		found="ready"
		[ "$F3S_ROLE:$WRITER" != "primary:$F3S_NAME" ] || proven ||
			found="ready, but read-only until $F3S_PEER_NAME says that it was not promoted"
		;;
	3) found="not known to be ready: $REASON" ;;
	*) found="not ready: $REASON" ;;
	esac
	carp_read	# again, and below: meanwhile the address may have moved; without a state it is `none`
	if [ "$able_status" -eq 0 ]; then keep_claim ready; else keep_claim no; fi
	# After the claim: the peer takes the address while a service that hangs is being stopped. Not where one service fails:
	# what the others serve is right, and the next look would only start them again. Nor where nothing is known (3): the
	# pool may only be slow, and services that wait for it could not be stopped.
	if [ "$able_status" -eq 1 ]; then
		stop_services
		carp_read
	fi
	keep_floor
	[ ! -e "$F3S_HOLD" ] || found="$found; held by carp backup"
	! returning || found="$found; read-only, as tasks/return_primary.py is under way"
	decide "$CARP_STATE, $found"
	# a full file system takes none of it: the report looks by itself then
	REASON=$able_why
	if found_status "$able_status" >"$F3S_STATUS.new" 2>/dev/null; then mv "$F3S_STATUS.new" "$F3S_STATUS"; fi
	# what the other one decided meanwhile; whoever writes has asked above
	[ "$CARP_STATE" = MASTER ] || [ "$WRITER" = "$F3S_NAME" ] || ask_peer
	# a standby may wait for its first replica: that fails no deploy
	[ "$able_status" -eq 0 ] || [ "$CARP_STATE" = BACKUP ] || { echo "$CARP_STATE, $found" >&2; return 1; }
}

# -- moves --

# claim [operator]: takes the address. An operator's also ends a hold and the wait after losses.
claim() {
	carp_read || refuse "$REASON" 2
	! carp_linkless || refuse "$REASON, nothing changed: nobody could be reached" 3
	[ -e "$F3S_STARTED" ] ||
		refuse "f3s_storage is not started here, or could not note it; nobody would serve, nothing changed: service f3s_storage start"
	# whoever had the lock was `carp backup`, and the gates had not seen its hold yet
	[ "${1-}" = operator ] || [ ! -e "$F3S_HOLD" ] || refuse "held by carp backup, nothing changed" 3
	ask_peer
	able || refuse "not ready, nothing changed: $REASON (service f3s_storage reconcile tries again)"
	if [ "$F3S_ROLE" = primary ]; then
		writes_here || refuse "$REASON: nothing changed, tasks/return_primary.py brings it here"
		# the gates of the automatic failback have proven it by a replication
		[ "${1-}" != operator ] || proven || refuse "$F3S_PEER_NAME does not answer, and it may have been promoted since \
this host was last asked: then what clients wrote is only there. Nothing changed. Start it, or, if you know that it is \
out and never was promoted, here: carp promote without $F3S_PEER_NAME"
		touch "$F3S_PROVEN"
	fi
	[ "${1-}" != operator ] || rm -f "$F3S_HOLD" "$F3S_LOSSES"
	if [ "${SET_READONLY-}" != off ]; then
		writable
		# its export may have to be mounted anew
		[ "${SET_READONLY-}" != off ] || able || refuse "not ready: $REASON (service f3s_storage reconcile tries again)"
	fi
	carp_set "$F3S_CLAIM" || refuse "$REASON"
	if ! carp_becomes MASTER; then
		claim_why=$REASON claim_status=1
		[ "$CARP_STATE" != INIT ] || claim_status=3
		keep_claim ready
		refuse "$claim_why: $F3S_PEER claims the address with a lower advskew; run 'carp backup' there" "$claim_status"
	fi
	keep_floor
	decide "MASTER, ready"
	echo "MASTER, and ready"
}

# Gives the address to the peer and holds that. The peer takes it only if it is ready: otherwise it claims nothing.
# What the primary's clients have written reaches the replica first; from then on they get "Read-only file system".
give() {
	carp_read || refuse "$REASON" 2
	! carp_linkless || refuse "$REASON, nothing changed: nobody could be reached" 3
	! promoted || refuse "$F3S_PEER_NAME does not have what was written here since epoch $EPOCH: tasks/return_primary.py brings \
it there; nothing changed$ANYWAY"
	keep_proof
	give_skew=$CARP_SKEW
	give_held=no give_with=''
	[ ! -e "$F3S_HOLD" ] || give_held=yes
	if [ "$F3S_ROLE" = primary ] && [ "$CARP_STATE" = MASTER ]; then
		# before writers have to wait for a replication that cannot come
		# shellcheck disable=SC2086	# address and port
		nc -z -w 3 $F3S_SINK 2>/dev/null || refuse "zrepl does not answer on $F3S_PEER (${F3S_SINK% *}:${F3S_SINK#* }), so it \
would not get the last writes; nothing changed$ANYWAY"
		if ! set_readonly on || ! catch_up; then
			give_back "$REASON"
		fi
		give_with=', with all that was written'	# WITH_ALL of f3s/controller.py
	fi
	if [ "$give_held" = no ]; then
		# without it cron would take the address back
		if ! echo "since $(date '+%Y-%m-%d %H:%M:%S')$give_with" >"$F3S_HOLD.new" || ! mv "$F3S_HOLD.new" "$F3S_HOLD"; then
			give_back "$F3S_HOLD cannot be written"
		fi
	fi
	carp_set "$F3S_HELD_CLAIM" || give_back "$REASON"
	carp_becomes BACKUP || give_back "the peer $F3S_PEER did not take the address ($REASON): it is not ready, or not heard"
	keep_floor
	decide "BACKUP; held by carp backup"
	echo "BACKUP, and held: $F3S_PEER serves; 'carp master' takes the address back"
}

# Takes back what give() did, but not what was there before.
give_back() {
	give_status=1
	[ "$CARP_STATE" != INIT ] || give_status=3
	[ "$give_held" = yes ] || rm -f "$F3S_HOLD"
	carp_set "$give_skew" || tell "$REASON"
	dataset_ready
	writable
	refuse "$1; nothing changed$ANYWAY" "$give_status"
}

# promote HOST: from now on this host writes, and HOST, which does not answer, is out. Only an operator can know that: one
# that is frozen, or behind a cut link, is as silent as one without power.
promote() {
	[ "$1" = "$F3S_PEER_NAME" ] || refuse "the other host is $F3S_PEER_NAME, not $1; nothing changed" 64
	carp_read || refuse "$REASON" 2
	! carp_linkless || refuse "$REASON, nothing changed: nobody could be reached" 3
	[ -e "$F3S_STARTED" ] || refuse "f3s_storage is not started here, nothing changed: service f3s_storage start"
	[ -n "$WRITER" ] || [ ! -e "$F3S_RECORD" ] || refuse "$F3S_RECORD is damaged, nothing changed: find out who wrote last"
	ask_peer
	# again, with nobody to ask: the other one may have taken this epoch, too
	if ! promoted || { [ -z "$peer_said" ] && ! holds_claim; }; then
		[ -z "$peer_said" ] ||
			refuse "$1 answers, so it is not out; nothing changed. Stop it first: service f3s_storage stop"
		promote_skew=$CARP_SKEW promote_moved=''
		[ "$CARP_STATE" != MASTER ] || promote_moved=$(last_move)
		if [ "$CARP_STATE" != MASTER ] && { ! carp_set "$F3S_HELD_CLAIM" || ! carp_becomes MASTER; }; then
			carp_set "$promote_skew" || tell "$REASON"
			refuse "$1 is not out, it has the address ($REASON); nothing changed"
		fi
		patiently dataset_ready || [ $? -eq 2 ] || refuse "not ready, nothing changed: $REASON"
		promote_newest=$(bounded "$F3S_LIMIT" zfs list -Hp -d 1 -t snapshot -o creation -s createtxg "$F3S_DATASET" 2>/dev/null |
			tail -n 1)
		[ -n "$promote_newest" ] || refuse "$F3S_DATASET has no snapshot, so no replication is complete; nothing changed"
		record_write "$((EPOCH + 1)) $F3S_NAME $(date +%s)" || refuse "$REASON, nothing changed"
		record_read
		rm -f "$F3S_RETURN"
		touch "$F3S_PROVEN"
		# since the move $1 has served nobody
		promote_age=$((${promote_moved:-$SINCE} - promote_newest))
		if [ "$promote_age" -ge 0 ]; then
			promote_age="The newest snapshot was $promote_age s old${promote_moved:+ when $F3S_NAME took the address}"
		else
			promote_age="The newest snapshot is ${promote_age#-} s younger than the move of the address, so the clocks differ, or $1 lived on"
		fi
		tell "promoted: epoch $EPOCH, $F3S_NAME writes; $promote_age"
		case $F3S_ROLE in
		standby) echo "epoch $EPOCH: $F3S_NAME writes. $promote_age: what $1 wrote after it is not here" ;;
		*) echo "epoch $EPOCH: $F3S_NAME writes. $promote_age: what $1 wrote as the promoted one is here only if you brought it" ;;
		esac
	fi
	rm -f "$F3S_HOLD" "$F3S_LOSSES"
	able || refuse "promoted, but not ready: $REASON (service f3s_storage reconcile tries again)"
	writable || refuse "promoted, but not writable: see /var/log/messages (service f3s_storage reconcile tries again)"
	if ! carp_set "$F3S_CLAIM" || ! carp_becomes MASTER; then
		refuse "promoted, but without the address: $REASON"
	fi
	decide "MASTER, ready"
	echo "MASTER, and ready"
}

# Makes a snapshot, named as zrepl names its own, so that it sends and prunes it, and waits until the standby has it. zrepl's
# end with 000, those of a key rotation with 001: one of the same second must not have the name already.
catch_up() {
	caught=$F3S_DATASET@$F3S_SNAPSHOT_PREFIX$(date -u '+%Y%m%d_%H%M%S')_002
	REASON=$(bounded "$F3S_LIMIT" zfs snapshot "$caught" 2>&1) || { REASON="no snapshot: $REASON"; return 1; }
	caught_txg=$(bounded "$F3S_LIMIT" zfs get -Hp -o value createtxg "$caught" 2>&1) ||
		{ REASON="$caught cannot be read: $caught_txg"; return 1; }
	caught_since=$(since_boot)
	while :; do
		# replicating, or the attempt has failed; already awake is no error
		caught_said=$(bounded "$F3S_LIMIT" zrepl signal wakeup "$F3S_REPLICATION_JOB" 2>&1)
		cursor_read || return 1
		[ "$CURSOR_TXG" -lt "$caught_txg" ] || return 0
		[ $(($(since_boot) - caught_since)) -lt "$F3S_CATCH_UP" ] || break
		sleep 2
	done
	REASON="the standby has not confirmed $caught within $F3S_CATCH_UP s: ${caught_said:-see zrepl status}"
	return 1
}

# -- start and stop --

start() {
	rm -f "$F3S_STOP_OWED" "$F3S_LAST" "$F3S_FLOOR" "$F3S_LOSSES"
	[ -e "$F3S_STARTED" ] || rm -f "$F3S_PROVEN"
	# stunnel writes its pid file there after it gave up root's rights, and nobody else makes the folder anew
	# where /var/run is in memory.
	[ -d "$F3S_TUNNEL_FOLDER" ] ||
		install -d -o "$F3S_TUNNEL_USER" -g "$F3S_TUNNEL_USER" -m 755 "$F3S_TUNNEL_FOLDER" ||
		tell "$F3S_TUNNEL_FOLDER could not be made: stunnel will not start"
	# A full file system must not keep this host from serving now.
	touch "$F3S_STARTED" || tell "$F3S_STARTED cannot be made: after this nothing is done until the next start"
	# Both may have lost power, and the peer be a little later: clients that wait get no error.
	carp_read
	ask_patiently
	# Started it is, whatever it found.
	look || return 0
}

# The address goes first, while NFS still runs. Not under the lock: its holder may wait for a service that hangs, and the
# shutdown of such a host must not wait for that. CARP runs in the kernel, so a stopped host takes part in the election.
leave() {
	rm -f "$F3S_STARTED" "$F3S_STATUS"
	touch "$F3S_STOP_OWED" || tell "$F3S_STOP_OWED cannot be made: without the lock now, the services keep running"
	if carp_read; then
		carp_set "$F3S_NO_CLAIM" || tell "$REASON"
	fi
}

stop() {
	leave	# once more: who had the lock may have taken this host for a started one
	if [ "$CARP_STATE" = MASTER ] && ! carp_becomes BACKUP; then
		decide "stopped; no other host took the address: $REASON"
	else
		decide "stopped"
	fi
	stop_services
	rm -f "$F3S_STOP_OWED"
}

# -- status --

# Is this host ready now? As able(), but it only looks.
looks_ready() {
	may_serve && dataset_ready && configured || return
	if [ -z "$IDENTITY" ] || [ "$IDENTITY" = other ]; then
		REASON="$F3S_MOUNTPOINT is not mounted on $F3S_EXPORT"
		return 1
	fi
	serving
}

# kept KEY FILE: a record as the value of a key, if it is there.
kept() {
	kept_text=$(cat "$2" 2>/dev/null) || [ -e "$2" ] || return 0
	printf '%s=%s\n' "$1" "$(one_line "$kept_text")"
}

status() {
	carp_read
	looks_ready
	found_status $?
	[ "$status_right" = yes ]
}

# found_status READY: for people and for parse_status() of f3s/controller.py: key=value, one a line.
found_status() {
	status_right=yes status_started=no status_proven=no
	[ "$CARP_STATE" != none ] || status_right=no
	[ -e "$F3S_STARTED" ] && status_started=yes || status_right=no	# without it services are left alone
	[ "$WRITER" != "$F3S_NAME" ] || ! proven || status_proven=yes
	case $1 in
	0) status_ready=yes ;;
	3) status_ready=unknown status_right=no ;;
	*) status_ready=no status_right=no ;;
	esac
	cat <<-EOF
	$F3S_VERSION
	carp=$CARP_STATE
	vhid=$F3S_VHID@$F3S_INTERFACE
	claim=$CARP_SKEW
	started=$status_started
	ready=$status_ready
	reason=$(one_line "$REASON")
	fsid=${IDENTITY:-none}
	fsid_number=$(fsid_number "$IDENTITY")
	epoch=$EPOCH
	writer=$WRITER
	since=$SINCE
	proven=$status_proven
	moved=$(last_move)
	EOF
	kept hold "$F3S_HOLD"
	! returning || echo returning=yes
	kept floor "$F3S_FLOOR"
	# not one of an earlier version: the next decision replaces it
	awk -v version="$F3S_VERSION" 'NR == 1 && $0 != version { exit } NR > 1' "$F3S_LAST" 2>/dev/null
	echo "right=$status_right"
}

# lockf -k: the file stays, so waiters queue up; the lock is the kernel's and dies with its holder. The child
# does not inherit it, so neither does stunnel.
under_lock() {
	case $1 in
	start | reconcile*) lock_wait=$LOOK_WAIT ;;
	*) lock_wait=$LOCK_WAIT ;;
	esac
	lockf -k -s -t "$lock_wait" "$F3S_LOCK" "$0" locked "$@"
	lock_status=$?
	if [ "$lock_status" -eq 73 ]; then	# EX_CANTCREAT: no room for the file; two runs at once do less harm than none
		"$0" locked "$@"
		lock_status=$?
	fi
	if [ "$lock_status" -eq 75 ]; then
		tell "$1: the lock was not free for $lock_wait s, another run is still at work"
		case $1 in
		stop) echo "the services are not stopped yet: the next reconcile does that" >&2 ;;
		reconcile*) echo "f3s_storage is at work for more than $lock_wait s, and looks again within a minute" >&2 ;;
		*) echo "f3s_storage is at work for more than $lock_wait s, nothing changed: try again" >&2 ;;
		esac
	fi
	exit "$lock_status"
}

case $#:${1-}:${2-} in
1:status:) status ;;
1:record:) [ -e "$F3S_STARTED" ] && [ -n "$WRITER" ] && echo "$EPOCH $WRITER $SINCE $F3S_PEER_NAME" ;;	# for ask_peer() of the peer
1:reconcile:)
	need_root
	# Not `:` and a redirection: where that fails, as on a full file system, it ends the shell (sh(1), special built-ins).
	# Without room for the mark every run looks.
	if touch "$F3S_PENDING"; then
		under_lock reconcile
	else
		under_lock reconcile_unmarked
	fi
	;;
1:start: | 1:give: | 1:claim: | 2:claim:operator | 2:promote:?*)
	need_root
	under_lock "$@"
	;;
1:stop:)
	need_root
	leave
	under_lock stop
	;;
2:locked:start | 2:locked:stop | 2:locked:reconcile | 2:locked:reconcile_unmarked | 2:locked:give | 2:locked:claim | 3:locked:claim | 3:locked:promote)
	shift
	"$@"
	;;
*) usage ;;
esac
