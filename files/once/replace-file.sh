#!/bin/sh
# Puts standard input in the place of a file of root's, in one step, if the file is still the one that was read.
#
# usage: replace-file.sh PATH OLD NEW MODE COPY [MARK CHECK] < new content
#
# OLD and NEW are SHA-256; OLD is "absent" where there was no file. With COPY "yes" the old file stays beside the new one,
# with the date behind its name and not executable. CHECK, words with blanks between them, is run with the path of the new
# file behind it, before anything is replaced: what it refuses, and what did not arrive whole, changes nothing, exit status
# 1. MARK is a file that is made before the replacement: whoever makes a daemon read the new file takes it away, so that a
# run which is killed in between is made up for.
set -eu
mkdir -p "$(dirname "$1")"
umask 077
path=$1 old=$2 new=$3 mode=$4 copy=$5 mark=${6-} check=${7-}
if [ "$(uname -s)" = FreeBSD ]; then group=wheel; else group=root; fi

digest() {
    if [ ! -e "$1" ]; then
        echo absent
    elif [ "$group" = wheel ]; then
        sha256 -q "$1"
    else
        sum=$(sha256sum <"$1")
        echo "${sum%% *}"
    fi
}
if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then
    echo "replace-file: $path is not a plain file, left alone" >&2
    exit 1
fi
temp=$path.f3s-new	# not a name that an operator gives a draft
trap 'rm -f "$temp"' EXIT
trap 'exit 1' HUP INT TERM
rm -f "$temp"
cat >"$temp"
if [ "$(digest "$temp")" != "$new" ]; then
    echo "replace-file: what arrived for $path is not what was sent, left alone" >&2
    exit 1
fi
if [ "$(digest "$path")" != "$old" ]; then
    echo "replace-file: $path was changed by somebody else meanwhile, left alone; run again" >&2
    exit 1
fi
# shellcheck disable=SC2086	# its words
if [ -n "$check" ] && ! $check "$temp"; then
    echo "replace-file: $check refuses the new file, $path was left as it is" >&2
    exit 1
fi
chown "root:$group" "$temp"
chmod "$mode" "$temp"
if [ "$copy" = yes ]; then
    kept=$path.$(date +%Y-%m-%d_%H%M%S)
    cp -p "$path" "$kept"
    chmod a-x "$kept"
    echo "replace-file: the old $path is $kept now"
fi
if [ -n "$mark" ]; then : >"$mark"; fi
# UFS and XFS may have the new name on the disk before the text
if [ "$group" = root ]; then sync "$temp"; else fsync "$temp"; fi
mv -f "$temp" "$path"
trap - EXIT
