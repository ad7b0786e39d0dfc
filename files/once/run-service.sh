#!/bin/sh
# Runs a verb of an rc.d service with the service's output in a file, and prints that when the verb is done.
#
# usage: run-service.sh SERVICE VERB
#
# daemon(8) without -f leaves its own output where it was started (usr.sbin/daemon/daemon.c: noclose), as long as the
# daemon lives; the package of zrepl starts it so. On a pipe from sshd that would never end: ssh waits for whoever
# holds it. The file stays until the next start: what a daemon says as it dies is nowhere else.
set -eu
umask 077
said=/var/run/f3s-said-by-$1
status=0
service "$1" "$2" </dev/null >"$said" 2>&1 || status=$?
cat "$said"
exit "$status"
