#!/bin/sh
# Writes standard input to PATH without anybody else ever being able to read it, not even half of it or for a
# moment: a new file in the same folder (mktemp makes it 0600), checked against its SHA-256, given away, renamed.
#
# usage: put-secret.sh PATH SHA256 OWNER GROUP MODE < content
#
# A copy that was cut off, or a PATH that is anything but a plain file, changes nothing and exits 1.
set -eu
umask 077
path=$1 sha256=$2 owner=$3 group=$4 mode=$5

if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then
    echo "put-secret: $path is not a plain file, left alone" >&2
    exit 1
fi
temp=$(mktemp "$path.XXXXXXXXXX")
trap 'rm -f "$temp"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$temp"
case $(uname -s) in
# UFS and XFS may have the new name on the disk before the text
FreeBSD) fsync "$temp" && got=$(sha256 -q "$temp") ;;
Linux) sync "$temp" && got=$(sha256sum "$temp") && got=${got%% *} ;;
*)
    echo "put-secret: neither FreeBSD nor Linux" >&2
    exit 1
    ;;
esac
if [ "$got" != "$sha256" ]; then
    echo "put-secret: what arrived for $path is not what was sent, left alone" >&2
    exit 1
fi
chown "$owner:$group" "$temp"
chmod "$mode" "$temp"
mv -f "$temp" "$path"
trap - EXIT
