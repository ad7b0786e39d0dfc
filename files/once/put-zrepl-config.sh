#!/bin/sh
# Puts standard input in place as zrepl's configuration, if zrepl accepts it.
#
# usage: put-zrepl-config.sh PATH SHA256 UNREAD < configuration
#
# The new file stands beside the old one while `zrepl configcheck` reads it, and then takes its place in one step.
# UNREAD is made before that: whoever restarts zrepl takes it away, so a run that is killed in between is made up for.
# One that zrepl refuses, or that did not arrive whole, changes nothing: zrepl's reason is printed, exit status 1.
set -eu
umask 077
path=$1 sha256=$2 unread=$3
new=$path.new

trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
rm -f "$new"
cat >"$new"
if [ "$(sha256 -q "$new")" != "$sha256" ]; then
    echo "put-zrepl-config: what arrived for $path is not what was sent, left alone" >&2
    exit 1
fi
if ! zrepl --config "$new" configcheck; then
    echo "put-zrepl-config: zrepl refuses the new configuration, $path was left as it is" >&2
    exit 1
fi
chown root:wheel "$new"
: >"$unread"
mv -f "$new" "$path"
trap - EXIT
