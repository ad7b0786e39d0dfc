#!/bin/sh
# Writes keys onto the mounted stick: write-keys.sh MOUNTPOINT DEVICE, with lines on standard input:
#   write NAME SHA256 BASE64     a key that is not there yet
#   replace NAME SHA256 BASE64   another one; the one before is there as well, as NAME with .old before .key
#   retire NAME                  that goes, where NAME is there
#   protect NAME                 root:wheel 0400 for a key that is there
# The stick is writable only while this runs. No key is lost by it, and none is in the arguments of a program: printf is
# a builtin of sh.
set -eu
umask 077
keys=$1
device=$2

die()
{
	echo "write-keys: $*" >&2
	exit 1
}

# without the stick, this would write keys onto the system disk
mount -p | while read -r from directory _; do
	if [ "$directory" = "$keys" ]; then
		echo "$from"
	fi
done | tail -n 1 | grep -qxF "$device" || die "$device is not mounted on $keys"

finish()
{
	status=$?
	trap '' HUP INT TERM PIPE
	if [ -n "$writable" ]; then
		rm -f "$keys"/.*.key.new || status=1
	fi
	if [ -n "$writable" ] && ! umount "$keys"; then
		# somebody uses it since; this mount was made a moment ago, so it has its device
		mount -u -o ro "$keys" || status=1
	else
		mount -r "$device" "$keys" || status=1
	fi
	exit "$status"
}

# Mounted anew instead of `mount -u`: a stick that was pulled and put back is still in the table with a mount that has no
# device any more (geom_vfs.c, g_vfs_orphan), and an update of that asks a provider that is not there (ffs_mount,
# g_access): the kernel may panic.
umount "$keys" || die "$keys is in use, or cannot be unmounted"
writable=
trap finish EXIT
trap 'exit 1' HUP INT TERM PIPE
mount -o rw "$device" "$keys"
writable=yes
rm -f "$keys"/.*.key.new

sum_of()
{
	sha256 -q "$keys/$1"
}

# the key of this line, in a file of another name
bring()
{
	new=$keys/.$name.new
	printf '%s\n' "$data" | openssl base64 -d -A >"$new"
	[ "$(sha256 -q "$new")" = "$sum" ] || die "$name did not arrive whole"
	chown root:wheel "$new"
	chmod 0400 "$new"
	fsync "$new"
}

while read -r verb name sum data; do
	case $name in
	*/* | .* | -* | '') die "not a name of a key: $name" ;;
	*.key) old=${name%.key}.old.key ;;
	*) die "not a name of a key: $name" ;;
	esac
	case $verb in
	write)
		bring
		# unlike mv, ln fails where the name is taken
		ln "$new" "$keys/$name" || die "$name is there already and stays as it is"
		rm "$new"
		;;
	replace)
		[ -f "$keys/$old" ] || die "$name is not replaced, there is no $old"
		if [ -e "$keys/$name" ] && [ "$(sum_of "$name")" != "$(sum_of "$old")" ]; then
			[ "$(sum_of "$name")" = "$sum" ] || die "$name is not replaced, $old is another key"
			continue
		fi
		bring
		mv "$new" "$keys/$name"
		;;
	retire)
		[ -f "$keys/$name" ] || die "$old stays, there is no $name"
		rm -f "$keys/$old"
		;;
	protect)
		chown root:wheel "$keys/$name"
		chmod 0400 "$keys/$name"
		;;
	*) die "unknown: $verb" ;;
	esac
done
