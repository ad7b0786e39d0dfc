#!/bin/sh
# Formats a stick with a label, and finishes once it has begun.
#
# usage: format-stick.sh LABEL DEVICE
#
# newfs writes a superblock with FS_BAD_MAGIC first, the right one last, and prints in between (sbin/newfs/mkfs.c). A signal
# then, or ssh's pipe without a reader, would leave a stick that is neither blank nor labelled, which no run may format.
# So newfs inherits that these signals are ignored, and prints into a file.
set -eu
trap '' HUP INT PIPE TERM
umask 077
said=$(mktemp /tmp/f3s-newfs.XXXXXXXXXX)
trap 'rm -f "$said"' EXIT
status=0
newfs -L "$1" "$2" </dev/null >"$said" 2>&1 || status=$?
# whether anybody still reads it does not matter to the stick
cat "$said" || :
exit "$status"
