#!/bin/sh
# Makes a running stunnel read its files anew, and waits until it says that it has.
#
# usage: reload-stunnel.sh PID_FILE STAMP
#
# It says so before it accepts the next connection, by what it has read (stunnel's src/stunnel.c, reload_config). Without
# that nobody could tell whether a client that comes back at once meets the new revocation list or the one before.
set -eu
pid_file=$1
stamp=$2
log=/var/log/messages
pid=$(cat "$pid_file")
good="\[$pid\]: LOG5\[main\]: Configuration successful"
failed="\[$pid\]: LOG3\[main\]: Failed to reload the configuration file"

said() { grep -ac -e "$good" -e "$failed" "$log" || [ $? -eq 1 ]; }

before=$(said)
# the stamp is made first: a file that changes during the reload is then newer than it
touch "$stamp.new"
pkill -HUP -F "$pid_file" -x stunnel
left=100
while [ "$(said)" -le "$before" ]; do
	left=$((left - 1))
	if [ "$left" -le 0 ]; then
		echo "reload-stunnel: $log does not say within 10 s that stunnel has read its files. If its notices go somewhere" \
			"else, \`service stunnel onerestart\` makes it read them; clients pause for some seconds" >&2
		exit 1
	fi
	sleep 0.1
done
if ! grep -a -e "$good" -e "$failed" "$log" | tail -n 1 | grep -q -e "$good"; then
	echo "reload-stunnel: stunnel keeps what it read before:" >&2
	grep -aF "[$pid]: LOG3[main]: " "$log" | tail -n 5 >&2
	exit 1
fi
mv -f "$stamp.new" "$stamp"
