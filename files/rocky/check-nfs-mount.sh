#!/bin/bash
# check-nfs-mount.sh: keep the NFS mounts of this host usable. Started every 10 s by nfs-mount-monitor.timer.
#
# Rules it keeps:
# - Every step is bounded, also against processes that cannot be killed (uninterruptible sleep on a dead server).
# - One instance at a time, by a lock on an open file: it ends with its owner, however that dies.
# - A healthy mount is never unmounted, nor is a foreign one, nor one for which no server is there to replace it: a
#   hard mount waits without losing a write, and a bare mount point would take files onto the local disk. When the
#   server is back, the kernel gets the time that it may take to connect again by itself.
# - What cannot be looked at is not repaired: a full /run says nothing about a mount.
# - No bound follows the wall clock, which may be set back meanwhile. bash's SECONDS and `read -t` do (variables.c,
#   lib/sh/timers.c); the timers of timeout(1) and tail(1) do not.
# - The journal gets a line for each change of state and each repair, not for each run; of a run by hand, too, as the next
#   one by the timer finds no change any more.
#
# Settings: /etc/f3s/nfs-mount.conf (sourced; F3S_NFS_MOUNT_CONF names another). Mount options are in /etc/fstab only.
set -u -o pipefail
# Error texts are compared below ("Stale file handle", "Read-only file system").
export LC_ALL=C
# sudo's secure_path on Enterprise Linux has no /usr/local/bin, where nfs-null-call.sh is
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin

CONF=${F3S_NFS_MOUNT_CONF:-/etc/f3s/nfs-mount.conf}
RUN_DIR=${RUNTIME_DIRECTORY:-/run/f3s-nfs-mount}
# Kept over a reboot, as is what the escalation command has done to the world
ESCALATED_DIR=${F3S_ESCALATED_DIR:-/var/lib/f3s/escalated}
MOUNT_TABLE=${F3S_MOUNT_TABLE:-/proc/self/mountinfo}

MOUNT_SOURCES=() MOUNT_POINTS=()
TUNNEL_HOST=127.0.0.1 TUNNEL_PORT=2323 TUNNEL_SERVICE=stunnel.service
TEXTFILE='' ESCALATE_AFTER=0 ESCALATE_COMMAND=''
# Seconds. A loaded server may be slow: before a mount that hangs is taken away it gets PATIENCE_SECONDS more.
STAT_SECONDS=2 WRITE_SECONDS=5 PATIENCE_SECONDS=4 CALL_SECONDS=4 UMOUNT_SECONDS=5 SERVICE_SECONDS=15 MOUNT_SECONDS=15
ESCALATE_SECONDS=60 RETRY_SECONDS=60 LOG_SECONDS=2
# A move of the server is a pause, which a repair would only make longer: what is silent gets so long before anything is done.
MOVE_SECONDS=15
# The kernel waits longer after each attempt to connect that failed, 3 s at first, twice as long each time, half of the
# server's lease at most (net/sunrpc/xprt.c, xprt_reconnect_backoff; fs/nfs/nfs4renewd.c): no longer than the outage was,
# and no longer than this.
RECONNECT_SECONDS=75

usage() {
    cat <<'USAGE'
usage: check-nfs-mount.sh --once | --status | --help

  --once    check every mount of /etc/f3s/nfs-mount.conf, repair what can be repaired, record and report changes
  --status  show what the last runs found; touches no mount

exit status: 0 every mount is healthy (a read-only server counts as healthy)
             1 at least one is not
             2 wrong usage or settings
             3 (--status) not checked yet, or the last check is more than two minutes old
             75 (--once) another instance is running
USAGE
}

# Under systemd the prefix sets the priority of a line of output (sd-daemon(3)); without one it is info, which the unit
# keeps out of the journal.
say() { # PRIORITY MESSAGE
    local message=${2//[^[:print:]]/?}
    if [[ -n ${JOURNAL_STREAM:-} ]]; then echo "<$1>$message"; else echo "$message"; fi
}

die() {
    say 3 "${0##*/}: $1" >&2
    exit 2
}

load_settings() {
    local i name
    [[ -r $CONF ]] || die "no settings in $CONF"
    # shellcheck source=/dev/null
    source "$CONF" || die "$CONF cannot be read by bash"
    ((${#MOUNT_POINTS[@]} > 0)) || die "$CONF names no mount"
    ((${#MOUNT_POINTS[@]} == ${#MOUNT_SOURCES[@]})) || die "$CONF: MOUNT_SOURCES and MOUNT_POINTS differ in length"
    for i in "${!MOUNT_POINTS[@]}"; do
        # The kernel's table knows the canonical path only: with any other the mount would never be found there.
        [[ ${MOUNT_POINTS[i]} =~ ^(/[^/]+)+$ && ! ${MOUNT_POINTS[i]}/ =~ /\.\.?/ ]] ||
            die "$CONF: mount point '${MOUNT_POINTS[i]}' is not an absolute path without '.', '..', '//' or a trailing '/'"
        [[ -n ${MOUNT_SOURCES[i]} ]] || die "$CONF: no source for '${MOUNT_POINTS[i]}'"
    done
    for name in TUNNEL_PORT ESCALATE_AFTER STAT_SECONDS WRITE_SECONDS PATIENCE_SECONDS MOVE_SECONDS CALL_SECONDS UMOUNT_SECONDS \
        SERVICE_SECONDS MOUNT_SECONDS ESCALATE_SECONDS RETRY_SECONDS LOG_SECONDS RECONNECT_SECONDS; do
        [[ ${!name} =~ ^[0-9]{1,6}$ ]] || die "$CONF: $name='${!name}' is not a number"
    done
}

# ---- records: KEY=VALUE lines, read with a check of each value and never sourced; what is damaged starts anew ----

file_name() { # POINT: its name as the name of a file
    local name=${1#/}
    name=${name//%/%25}
    echo "${name//\//%2F}"
}

record_file() { # POINT
    echo "$RUN_DIR/$(file_name "$1").state"
}

load_record() { # FILE: sets STATE SINCE CHECKED FAILURES HEALS ESCALATED CALLED ANSWERED STUCK DETAIL
    local key value
    STATE=unknown SINCE=0 CHECKED=0 FAILURES=0 HEALS=0 ESCALATED=no CALLED=0 ANSWERED=0 STUCK='' DETAIL=''
    [[ -f $1 && -r $1 ]] || return 0
    while IFS='=' read -r key value; do
        case $key:$value in
        state:healthy | state:readonly | state:not-mounted | state:stale | state:hung) STATE=$value ;;
        state:unreadable | state:unwritable | state:unclear | state:foreign) STATE=$value ;;
        escalated:yes | escalated:failed | escalated:owed) ESCALATED=$value ;;
        detail:*) DETAIL=${value//[^[:print:]]/?} ;;
        stuck:*) [[ $value =~ ^[0-9]{1,9}:[0-9]{1,18}:[0-9]{1,10}$ ]] && STUCK=$value ;;
        *:*)
            [[ $value =~ ^[0-9]{1,12}$ ]] || continue
            # 10# because a damaged value with a leading zero would be read as octal
            case $key in
            since) SINCE=$((10#$value)) ;;
            checked) CHECKED=$((10#$value)) ;;
            failures) FAILURES=$((10#$value)) ;;
            heals) HEALS=$((10#$value)) ;;
            called) CALLED=$((10#$value)) ;;
            answered) ANSWERED=$((10#$value)) ;;
            esac
            ;;
        esac
    done < <(tr -d '\000' <"$1")
}

save_file() { # FILE, content on stdin: whole or not at all
    local temporary=$1.new
    cat >"$temporary" && mv -f -- "$temporary" "$1"
}

# ---- bounded execution ----

process_start() { # PID: its start time in clock ticks since the boot (proc(5), field 22); with the PID it names one process
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    line=${line##*) }
    # shellcheck disable=SC2086 # the fields are wanted as words
    set -- $line
    [[ $1 != Z ]] && echo "${20}" # one that waits to be reaped hangs no more
}

uptime_read() { # NAME: sets it to the seconds since the boot
    local up
    read -r up _ </proc/uptime
    printf -v "$1" %s "${up%.*}"
}

# bounded SECONDS COMMAND...: 124 when it did not end in time, with the limit in $EXCEEDED, else its own status; its output
# is in $OUT. timeout(1) waits for its child, and a child in uninterruptible sleep survives SIGKILL: after a grace the wait
# itself is given up, and GIVEN_UP names the child. No child gets the lock (fd 9), or a stuck one would hold it for ever;
# output goes to a file, as the end of a pipe would never come.
bounded() {
    local limit=$1 pid deadline now status child start
    shift
    GIVEN_UP='' EXCEEDED=''
    OUT=$WORK/$((++CALLS))
    timeout -k 1 "$limit" "$@" >"$OUT" 2>&1 </dev/null 9>&- &
    pid=$!
    uptime_read now
    deadline=$((now + limit + 2))
    while kill -0 "$pid" 2>/dev/null; do
        uptime_read now
        if ((now > deadline)); then
            child='' # the list ends without a newline, so the status of read says nothing
            { read -r child _ <"/proc/$pid/task/$pid/children"; } 2>/dev/null
            [[ -n $child ]] || child=$pid
            disown "$pid"
            kill -KILL "$pid" 2>/dev/null
            start=$(process_start "$child") && GIVEN_UP=$child:$start
            EXCEEDED=$limit
            return 124
        fi
        # returns as soon as that process has ended, or after a second
        timeout -k 1 1 tail --pid="$pid" -s 0.02 -f /dev/null 9>&- >/dev/null 2>&1
    done
    wait "$pid" 2>/dev/null
    status=$?
    # 137: only the SIGKILL of -k ended it
    ((status == 137)) && status=124
    ((status == 124)) && EXCEEDED=$limit
    return "$status"
}

# For what is said once only: where the output does not go to the journal, logger(1) brings it there. Without logger, or
# with a journald that takes nothing and so makes it wait, the terminal alone has it.
tell() { # PRIORITY MESSAGE
    local levels=(emerg alert crit err warning notice)
    say "$1" "$2"
    [[ -z ${JOURNAL_STREAM:-} ]] || return 0
    bounded "$LOG_SECONDS" logger -t check-nfs-mount -p "daemon.${levels[$1]}" -- "${2//[^[:print:]]/?}"
}

first_line() { # of $OUT
    local line=''
    IFS= read -r line <"$OUT"
    echo "${line//[^[:print:]]/?}"
}

why() { # the last step failed
    if [[ -n $EXCEEDED ]]; then echo "no answer within $EXCEEDED s"; else first_line; fi
}

# As bounded, for what looks into the mount: a process that hangs there is remembered, so that no run adds one more.
probe() {
    local status
    bounded "$@"
    status=$?
    [[ -z $GIVEN_UP ]] || STUCK=$GIVEN_UP:$MOUNT_ID
    return "$status"
}

# Only in the mount that is there now: what hangs in an earlier one, taken away since, says nothing about this one. The
# kernel gives the ID of a mount to no other as long as a process is in it (cleanup_mnt in fs/namespace.c).
still_stuck() {
    local pid=${STUCK%%:*} start=${STUCK#*:}
    [[ -n $STUCK && ${start#*:} == "$MOUNT_ID" && $(process_start "$pid") == "${start%:*}" ]]
}

# ---- what is there ----

# The kernel's own table (proc(5)), because asking the file system can hang. The last line of a mount point is the mount
# on top. Each: ID, parent, device, root, mount point, options, optional fields, "-", type, source, options.
mounted_at() { # POINT: sets MOUNTED, the source, empty when nothing is mounted, and MOUNT_ID
    local line id point rest table=()
    MOUNTED='' MOUNT_ID=''
    # Not through <<<: bash may need room in /tmp for that, and a table that was not read would say "nothing is mounted".
    mapfile -t table <"$MOUNT_TABLE"
    ((${#table[@]} > 0)) || die "cannot read $MOUNT_TABLE"
    for line in "${table[@]}"; do
        id=${line%% *} rest=${line#* * * * }
        # spaces and backslashes are written as \040 and \134 there
        point=${rest%% *}
        printf -v point '%b' "${point//\\/\\0}"
        [[ $point == "$1" ]] || continue
        rest=${rest#* - * }
        rest=${rest%% *}
        printf -v MOUNTED '%b' "${rest//\\/\\0}"
        MOUNT_ID=$id
    done
}

# The working directory pins the mount: if it goes away meanwhile, the file still does not land on the local disk. excl: a
# symbolic link that a user put there is not followed. fsync: the server has stored it.
# shellcheck disable=SC2016 # expanded by the shell that runs it
WRITE_PROBE='umask 077; cd -- "$1" || exit 1
[[ $(stat -f -c %T .) == nfs* ]] || { echo "no NFS mount any more"; exit 1; }
rm -f -- "./$2" && echo "$2" | dd of="./$2" conv=excl,fsync status=none && rm -f -- "./$2"'

classify() { # STATUS OTHERWISE: sets STATE and DETAIL from a failed step
    DETAIL=$(first_line)
    case $1:$DETAIL in
    124:*) STATE=hung DETAIL='no answer in time' ;;
    *'Stale file handle'*) STATE=stale ;;
    # It could not be run (timeout(1)), or not even say why it failed: no memory, no room for its output in /run
    125:* | 126:* | 127:* | "$1:") STATE=unclear DETAIL="a check failed with status $1: ${DETAIL:-it said nothing}" ;;
    *) STATE=$2 ;;
    esac
}

examine() { # SOURCE POINT: sets STATE and DETAIL
    local status
    DETAIL=''
    mounted_at "$2"
    if [[ -z $MOUNTED ]]; then
        STATE=not-mounted DETAIL="nothing is mounted"
        return
    fi
    if [[ $MOUNTED != "$1" ]]; then
        STATE=foreign DETAIL="$MOUNTED is mounted there instead of $1; left alone"
        return
    fi
    if still_stuck; then
        STATE=hung DETAIL="process ${STUCK%%:*} of an earlier check still hangs in it"
        return
    fi
    STUCK=''
    # cached=never: the client answers from its attribute cache for up to a minute after the server has died
    probe "$STAT_SECONDS" stat --cached=never -c %i -- "$2"
    status=$?
    if ((status == 0)); then
        # Seen: a file system that mountd did not export can be looked up in, but not listed
        probe "$STAT_SECONDS" find "$2" -mindepth 1 -maxdepth 1 -print -quit
        status=$?
    fi
    if ((status != 0)); then
        classify "$status" unreadable
        return
    fi
    probe "$WRITE_SECONDS" "$BASH" -c "$WRITE_PROBE" probe "$2" ".f3s-probe-${HOSTNAME//[^A-Za-z0-9._-]/_}"
    status=$?
    if ((status == 0)); then
        STATE=healthy
        return
    fi
    classify "$status" unwritable
    if [[ $DETAIL == *'Read-only file system'* ]]; then
        STATE=readonly DETAIL='the server is read-only'
    elif [[ $STATE == hung ]]; then
        # Reading works: a slow disk, not a dead mount
        STATE=unwritable DETAIL="a write did not end within $WRITE_SECONDS s"
    fi
}

# ---- repairs, in rising order of disruption ----

# Asked once a run; a dead tunnel is restarted, at most once in RETRY_SECONDS (the server may just be away).
tunnel_works() {
    local age status last=0
    [[ -z $TUNNEL ]] || return "$TUNNEL"
    TUNNEL=0
    bounded "$CALL_SECONDS" nfs-null-call.sh "$TUNNEL_HOST" "$TUNNEL_PORT"
    status=$?
    ((status != 0)) || return 0
    TUNNEL=1 TUNNEL_DETAIL=$(first_line)
    [[ -n $TUNNEL_DETAIL ]] || TUNNEL_DETAIL="the server did not answer through $TUNNEL_HOST port $TUNNEL_PORT"
    # Could not be run, or was called wrongly: that says nothing about the tunnel
    case $status in 1 | 2 | 124) ;; *) return 1 ;; esac
    { read -r last <"$RUN_DIR/tunnel-restarted"; } 2>/dev/null
    [[ $last =~ ^[0-9]{1,12}$ ]] || last=0
    age=$((NOW - 10#$last))
    # a negative age is a clock that was set back
    ((age < 0 || age >= RETRY_SECONDS)) || return 1
    echo "$NOW" | save_file "$RUN_DIR/tunnel-restarted"
    if ! bounded "$SERVICE_SECONDS" systemctl restart "$TUNNEL_SERVICE"; then
        TUNNEL_DETAIL+="; restart of $TUNNEL_SERVICE failed: $(why)"
        return 1
    fi
    DONE+=("restarted $TUNNEL_SERVICE")
    bounded "$CALL_SECONDS" nfs-null-call.sh "$TUNNEL_HOST" "$TUNNEL_PORT" && TUNNEL=0
    return "$TUNNEL"
}

take_away() { # SOURCE POINT: unmount ours, whatever is stacked
    local how
    for how in -f -l -f -l; do
        # -c: do not resolve the path, that asks the dead file system
        bounded "$UMOUNT_SECONDS" umount -c "$how" -- "$2"
        DONE+=("umount $how")
        mounted_at "$2"
        [[ $MOUNTED == "$1" ]] || break
    done
    if [[ -n $MOUNTED ]]; then
        DETAIL="$DETAIL; cannot be unmounted: $(why)"
        return 1
    fi
}

put_back() { # POINT
    local parent=${1%/*} real
    [[ -n $parent ]] || parent=/
    if ! bounded "$STAT_SECONDS" readlink -v -f -- "$parent"; then
        DETAIL="$DETAIL; the way to the mount point could not be looked at: $(why)"
        return 1
    fi
    real=$(first_line)
    if [[ $real != "$parent" ]]; then
        DETAIL="the mount point leads through a symbolic link, to $real: name the real path in the settings"
        return 1
    fi
    bounded "$STAT_SECONDS" find "$1" -mindepth 1 -maxdepth 1 -print -quit
    [[ ! -s $OUT ]] || NOTE="local files lie under the mount point: $(first_line)"
    if ! bounded "$MOUNT_SECONDS" mount -- "$1"; then
        DETAIL="mount failed: $(why)"
        return 1
    fi
    DONE+=(mount)
}

# The server answers, the mount does not: may the kernel still be on its way? ANSWERED is since when this is so.
reconnecting() { # HUNG_SINCE
    local wait age
    ((ANSWERED >= $1 && ANSWERED <= NOW)) || ANSWERED=$NOW
    wait=$((ANSWERED - $1)) age=$((NOW - ANSWERED))
    ((wait < RECONNECT_SECONDS)) || wait=$RECONNECT_SECONDS
    ((age < wait)) || return
    DETAIL="$DETAIL; the server answers again, and the mount has $((wait - age)) s more to do so, too"
}

repair() { # SOURCE POINT HUNG_SINCE: what it did is in DONE, why it could not is in DETAIL
    local status
    case $STATE in
    healthy | readonly | foreign | unclear) return ;;
    hung)
        if ((NOW - $3 < MOVE_SECONDS)); then
            DETAIL="$DETAIL; left alone for $MOVE_SECONDS s, as in a move"
            return
        fi
        ;;
    esac
    # "Stale" is an answer of the server itself
    if [[ $STATE != stale ]] && ! tunnel_works; then
        ANSWERED=0
        DETAIL="$DETAIL; $TUNNEL_DETAIL"
        return
    fi
    case $STATE in
    unwritable) return ;; # a full disk or a missing permission is no better after a new mount
    unreadable) ((FAILURES % 6 == 0)) || return ;; # soft mounts and late exports recover by themselves; try once a minute
    hung)
        # A dead connection or a busy server? Only what still hangs while the server answers is worth its open files.
        if ! still_stuck; then
            probe "$PATIENCE_SECONDS" stat --cached=never -c %i -- "$2"
            status=$?
            if ((status == 0)); then
                DONE+=(waited)
                return
            fi
            classify "$status" unreadable
            [[ $STATE != unclear ]] || return
        fi
        [[ $STATE != hung ]] || ! reconnecting "$3" || return
        ;;
    esac
    [[ $STATE == not-mounted ]] || take_away "$1" "$2" || return
    put_back "$2"
}

# ---- reporting ----

# What has to be on the disk before the command is called: FILE COMMAND
# shellcheck disable=SC2016 # expanded by the shell that runs it
MAKE_MARK='mkdir -p -- "${1%/*}" && echo "$2" >"$1" && sync -- "$1"'

# Run the site's command when a mount fails for too long, and when that is over. The mark says that "recovered" is owed:
# it is there before "failed" is told, and until "recovered" has been, over a reboot and over new settings, so it names
# the one that was told. What did not succeed is said once, and tried again once in RETRY_SECONDS.
escalate() { # POINT EVENT MARK
    local command=$ESCALATE_COMMAND succeeded=yes failed=failed age=$((NOW - CALLED))
    if [[ $2 == recovered ]]; then
        succeeded=no failed=owed
        # a mark that a power cut left empty, or without its end, names nobody
        read -r command <"$3" || command=''
        [[ -n $command ]] || command=$ESCALATE_COMMAND
    fi
    [[ $ESCALATED != "$failed" ]] || ((age < 0 || age >= RETRY_SECONDS)) || return
    if { [[ $2 == recovered ]] || bounded "$WRITE_SECONDS" "$BASH" -c "$MAKE_MARK" mark "$3" "$command"; } &&
        bounded "$ESCALATE_SECONDS" "$command" "$2" "$1" "$STATE" "$FAILURES" &&
        { [[ $2 == failed ]] || bounded "$WRITE_SECONDS" rm -f -- "$3"; }; then
        tell 4 "$1: $2, ran $command"
        ESCALATED=$succeeded
    else
        [[ $ESCALATED == "$failed" ]] || tell 3 "$1: $command $2 did not succeed: $(why)"
        ESCALATED=$failed
    fi
    CALLED=$(date +%s)
}

check_mount() { # SOURCE POINT: sets STATE and the rest of the record
    local file mark before since failures heals found reason did='' detail
    file=$(record_file "$2") mark=$ESCALATED_DIR/$(file_name "$2")
    load_record "$file"
    before=$STATE since=$SINCE heals=$HEALS failures=$FAILURES
    DONE=() NOTE=''
    examine "$1" "$2"
    found=$STATE reason=$DETAIL
    [[ $found == hung ]] || ANSWERED=0
    if [[ $before == hung ]] && ((since <= NOW)); then
        repair "$1" "$2" "$since"
    else
        repair "$1" "$2" "$NOW"
    fi
    if ((${#DONE[@]} > 0)); then
        detail=$DETAIL
        examine "$1" "$2"
        case $STATE in
        healthy | readonly) heals=$((heals + 1)) ;;
        # why the repair failed says more than what is seen now
        "$found" | not-mounted) DETAIL=$detail ;;
        esac
        printf -v did '%s, ' "${DONE[@]}"
        did=${did%, }
    fi
    SINCE=$since HEALS=$heals CHECKED=$NOW
    case $STATE in
    healthy | readonly) FAILURES=0 ;;
    *) FAILURES=$((failures + 1)) ;;
    esac
    if [[ $STATE != "$before" ]]; then
        SINCE=$NOW
        report "$2" "$before -> $STATE" "$found" "$reason" "$did"
    elif ((FAILURES == 0)) && [[ $found != "$STATE" ]]; then
        report "$2" "$STATE again" "$found" "$reason" "$did"
    fi
    if ((ESCALATE_AFTER > 0 && FAILURES >= ESCALATE_AFTER)) && [[ $ESCALATED != yes ]]; then
        escalate "$2" failed "$mark"
    elif ((FAILURES == 0)); then
        if [[ -e $mark ]]; then escalate "$2" recovered "$mark"; else ESCALATED=no; fi
    fi
    save_file "$file" <<RECORD
state=$STATE
since=$SINCE
checked=$CHECKED
failures=$FAILURES
heals=$HEALS
escalated=$ESCALATED
called=$CALLED
answered=$ANSWERED
stuck=$STUCK
detail=$DETAIL
RECORD
}

report() { # POINT HEADLINE FOUND REASON DID
    local level=4 message="$1: $2"
    ((FAILURES == 0)) && level=5
    [[ $3 == "$STATE" ]] || message+="; was $3 ($4)"
    [[ -z $DETAIL ]] || message+="; $DETAIL"
    [[ -z $5 ]] || message+="; did: $5"
    [[ -z $NOTE ]] || message+="; $NOTE"
    tell "$level" "$message"
}

metric() { # NAME TYPE HELP, then one value a mount
    local name=f3s_nfs_mount_$1 i label
    printf '# HELP %s %s\n# TYPE %s %s\n' "$name" "$3" "$name" "$2"
    shift 3
    for i in "${!MOUNT_POINTS[@]}"; do
        label=${MOUNT_POINTS[i]//\\/\\\\}
        label=${label//\"/\\\"}
        printf '%s{mountpoint="%s"} %s\n' "$name" "$label" "$1"
        shift
    done
}

# node_exporter reads *.prom only, and never sees the temporary name
write_metrics() {
    [[ -n $TEXTFILE ]] || return 0
    if {
        metric healthy gauge 'Whether the mount can be used; a read-only server counts as healthy.' "${M_HEALTHY[@]}" &&
            metric readonly gauge 'Whether the server is read-only.' "${M_READONLY[@]}" &&
            metric consecutive_failures gauge 'Checks in a row that found the mount unusable.' "${M_FAILURES[@]}" &&
            metric last_change_timestamp_seconds gauge 'When the state last changed.' "${M_SINCE[@]}" &&
            metric last_check_timestamp_seconds gauge 'When the mount was last checked.' "${M_CHECKED[@]}" &&
            metric heals_total counter 'Repairs that made the mount usable again.' "${M_HEALS[@]}"
    } 2>/dev/null | { umask 022; save_file "$TEXTFILE" 2>/dev/null; }; then
        rm -f -- "$RUN_DIR/no-metrics"
    elif [[ ! -e $RUN_DIR/no-metrics ]]; then
        tell 4 "cannot write $TEXTFILE"
        : >"$RUN_DIR/no-metrics"
    fi
}

once() {
    local i worst=0
    umask 022
    mkdir -p -- "$RUN_DIR" || die "cannot make $RUN_DIR"
    exec 9>>"$RUN_DIR/lock" || die "cannot open $RUN_DIR/lock"
    if ! flock -n 9; then
        [[ -n ${JOURNAL_STREAM:-} ]] || echo "${0##*/}: another instance is running" >&2
        exit 75
    fi
    # Alone from here on: what a killed run left behind can go
    rm -rf -- "$RUN_DIR"/run.*
    WORK=$(mktemp -d "$RUN_DIR/run.XXXXXX") || die "cannot write in $RUN_DIR"
    trap 'rm -rf -- "$WORK"' EXIT
    trap 'exit 143' TERM INT
    # A tmpfs without a free block still makes files, but they stay empty: no step could say what it found.
    { echo room >"$WORK/room" && [[ $(<"$WORK/room") == room ]]; } 2>/dev/null ||
        die "cannot write in $RUN_DIR (is it full?), so no mount was looked at"
    CALLS=0 TUNNEL='' TUNNEL_DETAIL=''
    M_HEALTHY=() M_READONLY=() M_FAILURES=() M_SINCE=() M_CHECKED=() M_HEALS=()
    for i in "${!MOUNT_POINTS[@]}"; do
        NOW=$(date +%s)
        check_mount "${MOUNT_SOURCES[i]}" "${MOUNT_POINTS[i]}"
        ((FAILURES == 0)) || worst=1
        M_HEALTHY+=($((FAILURES == 0)))
        [[ $STATE == readonly ]] && M_READONLY+=(1) || M_READONLY+=(0)
        M_FAILURES+=("$FAILURES") M_SINCE+=("$SINCE") M_CHECKED+=("$CHECKED") M_HEALS+=("$HEALS")
    done
    write_metrics
    return "$worst"
}

status() {
    local point mark told result=0 now
    now=$(date +%s)
    for point in "${MOUNT_POINTS[@]}"; do
        load_record "$(record_file "$point")"
        if [[ $STATE == unknown ]]; then
            echo "$point: not checked yet (is nfs-mount-monitor.timer running?)"
            result=3
            continue
        fi
        printf '%s: %s since %(%F %T)T, checked %d s ago, failed checks in a row: %d, repairs: %d\n' \
            "$point" "$STATE" "$SINCE" "$((now - CHECKED))" "$FAILURES" "$HEALS"
        [[ -z $DETAIL ]] || echo "    $DETAIL"
        mark=$ESCALATED_DIR/$(file_name "$point")
        if [[ -r $mark ]]; then
            read -r told <"$mark"
            echo "    escalated: ${told//[^[:print:]]/?} is told when this is over"
        fi
        # of a time to come: the clock was set back since
        if ((now - CHECKED > 120 || CHECKED - now > 60)); then
            echo "    the last check is too old to rely on (is nfs-mount-monitor.timer running?)"
            result=3
        fi
        case $STATE in
        healthy | readonly) ;;
        *) ((result == 3)) || result=1 ;;
        esac
    done
    return "$result"
}

main() {
    case $#:${1-} in
    1:--help) usage ;;
    1:--once) load_settings && once ;;
    1:--status) load_settings && status ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
}

# Read as a whole: bash goes on reading where it was in a file that a deploy replaces meanwhile.
main "$@"; exit
