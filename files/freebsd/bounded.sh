# shellcheck shell=sh
# A command with a limit in time. Installed as /usr/local/libexec/f3s/bounded.sh and sourced by storage.sh; facts and
# operations send it along with what they ask disks (facts/base.py).

# Standard input of what runs: nothing, until who sources this opens it on another file.
exec 8</dev/null
# Whom timeout(1) ends: with --foreground the command alone, empty: all of its descendants.
BOUNDED_ENDS=--foreground

# bounded SECONDS COMMAND...: runs a command for at most so long, with its output and status. 124: it did not end, which
# says nothing about what was asked; its output is what there was by then. timeout(1) alone is
# not enough: it waits for its child, and a process that waits for a disk or a suspended pool does not die by a signal.
# Without room in /tmp it has to be: a full file system must not keep this host from serving or from stopping to serve.
# --foreground: without it FreeBSD's timeout(1) is the reaper of all descendants, waits for the daemons that a
# `service X onestart` leaves behind, and kills them at the limit (usr.bin/timeout/timeout.c).
# The status comes through a pipe with a name: descriptor 9 is open for reading and writing, so neither end ever
# waits for the other to open it, and the command itself does not get it.
# A command that outlived its limit is noted in F3S_HUNG, where that is set and can be written.
bounded() {
	bounded_limit=$1
	shift
	if ! bounded_room 2>/dev/null; then
		[ -z "$bounded_dir" ] || rm -rf "$bounded_dir"
		# shellcheck disable=SC2086	# one word or none
		timeout $BOUNDED_ENDS -k 1 "$bounded_limit" "$@" <&8
		bounded_status=$?
		[ "$bounded_status" != 137 ] || bounded_status=124
		return "$bounded_status"
	fi
	exec 9<>"$bounded_dir/status"
	# A program of its own and not a subshell, which would keep the caller's output open as long as it hangs.
	# shellcheck disable=SC2016	# expanded by that program
	sh -c 'dir=$1 limit=$2 ends=$3; shift 3
		timeout $ends -k 1 "$limit" "$@" <&8 >"$dir/out" 2>"$dir/err" 8<&- 9>&-
		echo $? >&9' \
		bounded "$bounded_dir" "$bounded_limit" "$BOUNDED_ENDS" "$@" >/dev/null 2>&1 &
	bounded_pid=$!
	bounded_status=$(timeout --foreground $((bounded_limit + 2)) head -n 1 <&9)
	exec 9>&-
	if [ -z "$bounded_status" ]; then
		[ ! -w "${F3S_HUNG%/*}" ] || printf '%s\n%s\n' "$bounded_pid" "$(process_start "$bounded_pid")" >"$F3S_HUNG"
		bounded_status=124
	fi
	cat "$bounded_dir/out"
	cat "$bounded_dir/err" >&2
	rm -rf "$bounded_dir"
	# 137: timeout(1) had to kill it.
	[ "$bounded_status" != 137 ] || bounded_status=124
	return "$bounded_status"
}

# The folder of bounded(). Room is tried out: an answer that was cut short would read as "not mounted".
bounded_room() {
	bounded_dir=$(mktemp -d /tmp/f3s.XXXXXXXX) && mkfifo "$bounded_dir/status" &&
		printf '%4096s' '' >"$bounded_dir/out"
}
