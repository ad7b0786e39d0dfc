#!/bin/sh
# Installed as /usr/local/etc/periodic/daily/490.f3s: how the shared storage is, in the daily mail of periodic(8).
# daily_f3s_enable="NO" in /etc/periodic.conf switches it off.

if [ -r /etc/defaults/periodic.conf ]; then
	# shellcheck source=/dev/null
	. /etc/defaults/periodic.conf
	source_periodic_confs
fi
case ${daily_f3s_enable:-YES} in
[Yy][Ee][Ss]) ;;
*) exit 0 ;;
esac
printf '\nShared storage (f3s_storage):\n'
# periodic(8): 1 tells something, 3 is not left out of the mail
/usr/local/libexec/f3s/report summary && exit 1
exit 3
