#!/bin/sh
# Puts standard input in the place of /etc/fstab, in one step, if the file is still the one that was read.
#
# usage: replace-fstab.sh PATH SHA256-OF-THE-OLD SHA256-OF-THE-NEW < new content
#
# A broken /etc/fstab can stop the next boot: a copy that was cut off, or a file that somebody changed meanwhile, changes
# nothing and exits 1. Mode, owner and SELinux label are those of the old file.
set -eu
path=$1 old=$2 new=$3

digest() {
    sum=$(sha256sum <"$1")
    echo "${sum%% *}"
}
if [ -L "$path" ] || [ ! -f "$path" ]; then
    echo "replace-fstab: $path is not a plain file, left alone" >&2
    exit 1
fi
temp=$(mktemp "$path.XXXXXXXXXX")
trap 'rm -f "$temp"' EXIT
trap 'exit 1' HUP INT TERM
cp --preserve=all -- "$path" "$temp"
cat >"$temp"
if [ "$(digest "$temp")" != "$new" ]; then
    echo "replace-fstab: what arrived for $path is not what was sent, left alone" >&2
    exit 1
fi
if [ "$(digest "$path")" != "$old" ]; then
    echo "replace-fstab: $path was changed by somebody else meanwhile, left alone; run again" >&2
    exit 1
fi
mv -f -- "$temp" "$path"
trap - EXIT
