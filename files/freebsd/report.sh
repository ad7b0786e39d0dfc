#!/bin/sh
# Installed as /usr/local/libexec/f3s/report, run every minute by cron: says how this storage host is, as metrics for
# Prometheus, and by alert_command where something becomes wrong or right again (docs/monitoring.md). It changes nothing,
# takes no lock of the controller, and notes what hangs in a file of its own: the controller never waits for it.
#
# Exit status: 0 done, 1 wrong (summary) or not delivered (test), 64 usage, 75 it runs already, 77 not root, 78 not configured.

# shellcheck disable=SC2153	# the values of storage.conf and report.conf
# shellcheck source=files/freebsd/f3s-storage-lib.sh
. /usr/local/libexec/f3s/storage.sh
# shellcheck source=/dev/null
. /usr/local/etc/f3s/report.conf

F3S_TAG=f3s_report	# in the log: f3s_storage tells there what it decides
F3S_HUNG=$F3S_RUN/report.hung
METRICS=$F3S_RUN/report.prom
SAMPLES=$F3S_RUN/report.samples	# NAME{LABELS} VALUE, one a line
SLOW=$F3S_RUN/report.slow	# those of what is asked once an hour
ALERTS=$F3S_KEEP/alerts		# what is wrong: KEY SINCE SEEN TOLD SENTENCE, separated by tabs
HOUR=3600
STATUS_LIMIT=45			# seconds that the controller's status may take when all that it asks hangs
QUIET=300			# seconds after which what was wrong is over
TAB=$(printf '\t')

# ask COMMAND...: its output. What does not answer is a sample, on descriptor 3.
ask() {
	ask_status=124
	if ! still_hung; then
		bounded "$F3S_LIMIT" "$@" 2>/dev/null
		ask_status=$?
	fi
	[ "$ask_status" -ne 124 ] || echo "report_unanswered{command=\"$1 $2\"} 1" >&3
	return "$ask_status"
}

# epoch FORMAT TEXT: a date as seconds since 1970.
epoch() {
	date -j -f "$1" "$2" +%s 2>/dev/null
}

# -- what is asked every minute --

# The look of the last minute is enough; where there was none, it is taken now.
controller_status() {
	if [ -n "$(find "$F3S_STATUS" -mmin -3 2>/dev/null)" ]; then
		cat "$F3S_STATUS"
	else
		bounded "$STATUS_LIMIT" "$F3S_CONTROL" status 2>/dev/null
	fi
}

within_hour() {
	awk -v now="$now" -v hour="$HOUR" '$1 > now - hour { n++ } END { print n + 0 }' "$1"
}

controller() {
	ready=NaN master=0 readonly=0 aligned=NaN started='' claim='' record='' writer='' hold='' proven='' fsid='' why='no answer'
	while IFS='=' read -r key value; do
		case $key:$value in
		carp:MASTER) master=1 ;;
		ready:yes) ready=1 ;;
		ready:no) ready=0 ;;
		reason:*) why=$value ;;
		epoch:*) record=$value ;;
		fsid_number:*) [ "$fsid" = none ] || aligned=$((value == F3S_FSID)) ;;
		started:* | claim:* | writer:* | hold:* | proven:* | fsid:*) eval "$key=\$value" ;;
		esac
	done <<-EOF
	$(controller_status)
	EOF
	[ -n "$started" ] || why="$F3S_CONTROL status did not answer"
	[ "$writer:$hold:$proven" = "$F3S_NAME::yes" ] || readonly=$master
	cat <<-EOF
	storage_ready $ready
	storage_master $master
	storage_claim ${claim:-NaN}
	storage_epoch ${record:-NaN}
	storage_serves_readonly $readonly
	storage_fsid_aligned $aligned
	storage_address_changes $(within_hour "$F3S_MOVES")
	storage_restarts $(within_hour "$F3S_RESTARTS")
	report_timestamp_seconds $now
	EOF
}

pools() {
	ask zpool list -Hp -o name,size,free,health | awk -F '\t' '{
		of = "{pool=\"" $1 "\"}"
		print "pool_online{pool=\"" $1 "\",health=\"" $4 "\"}", ($4 == "ONLINE")
		if ($2 !~ /[1-9]/) next	# "-" of one that is gone; zero would end awk, and with it the other pools
		print "pool_used_ratio" of, 1 - $3 / $2
		print "pool_size_bytes" of, $2
		print "pool_free_bytes" of, $3
	}'
}

# zrepl's cursor is on what the other side has confirmed (cursor_read); a dataset without one is as old as itself. The
# label is not `job`, which Prometheus gives to what it scrapes.
replication() {
	# shellcheck disable=SC2086	# of each job: name, dataset, allowed age
	set -- $F3S_JOBS
	while [ $# -ge 3 ]; do
		job=$1 dataset=$2 allowed=$3
		shift 3
		listed=$(ask zfs list -Hp -r -t filesystem,volume,bookmark -o name,creation "$dataset")
		[ $? -ne 124 ] || continue
		printf '%s\n' "$listed" |
			awk -F '\t' -v job="$job" -v dataset="$dataset" -v allowed="$allowed" '
				BEGIN { end = "_J_" job; last[dataset] = 0 }	# one that is not there was never replicated
				NF < 2 { next }
				{ of = $1; sub(/#.*/, "", of) }
				of == $1 && !last[of] { last[of] = $2 }
				index($1, "#zrepl_CURSOR_G_") && substr($1, length($1) - length(end) + 1) == end && $2 > last[of] {
					last[of] = $2
				}
				END {
					for (of in last) {
						labels = "{zrepl_job=\"" job "\",dataset=\"" of "\"}"
						print "replication_last_timestamp_seconds" labels, last[of]
						print "replication_allowed_seconds" labels, allowed
					}
				}'
	done
}

# The peer's time of day by ICMP (ping(8), -M; its `tso` is the time since the boot, seen on 15.1): a clock that is off by
# whole days is not seen.
clock() {
	clock_own=$(date +%s)
	bounded 5 ping -M t -c 1 -t 3 "$F3S_PEER" 2>/dev/null | sed -n 's/.* tsr=\([0-9:]*\) .*/\1/p' |
		awk -F : -v own="$clock_own" -v peer="$F3S_PEER_NAME" '{
			off = own % 86400 - ($1 * 3600 + $2 * 60 + $3)
			print "clock_offset_seconds{peer=\"" peer "\"}", (off > 43200 ? off - 86400 : off < -43200 ? off + 86400 : off)
		}'
}

# Whoever is refused tries again at once, several times a second (seen): the end of the log is enough.
refusals() {
	tail -n 500 /var/log/messages | awk -v minute="$(date -r "$((now - 60))" '+%b %e %H:%M:')" '
		index($0, minute) == 1 && / stunnel\[[0-9]+\]: LOG3\[[0-9]+\]: SSL_accept: .*(certificate|alert)/ { n++ }
		END { print "tunnel_refusals", n + 0 }'
}

# -- what is asked once an hour --

stick() {
	readable=0
	# the device itself: of what is mounted there is a copy in memory
	! ask dd if="/dev/ufs/$F3S_ALERT_STICK" of=/dev/null bs=4096 count=1 || readable=1
	echo "stick_readable{label=\"$F3S_ALERT_STICK\"} $readable"
}

# Each key is tried as a boot would, without being loaded; of a replica that stays closed, too. Of keys on a stick that cannot
# be read there is nothing to say.
keys() {
	[ "$readable" -eq 1 ] || return 0
	ask zfs list -H -t filesystem,volume -o name,keylocation | while IFS=$TAB read -r dataset location; do
		case $location in file://*) ;; *) continue ;; esac
		ask zfs load-key -n "$dataset" >/dev/null
		case $? in 0) fits=1 ;; 124) continue ;; *) fits=0 ;; esac
		echo "key_fits{dataset=\"$dataset\"} $fits"
	done
}

scrubs() {
	ask zpool status | awk -v OFS='\t' '
		$1 == "pool:" { pool = $2; damaged = 0; failing = 0; when = "-" }
		$2 ~ /^[A-Z]+$/ && $3 ~ /^[0-9]/ && $3 $4 $5 ~ /[1-9]/ { failing = 1 }
		/ with [0-9]*[1-9][0-9]* errors / { damaged = 1 }
		$1 == "scan:" && / on / { when = $0; sub(/.* on /, "", when) }
		$1 == "scan:" && / since / { when = $0; sub(/.* since /, "", when) }
		$1 == "errors:" { print pool, damaged || !/No known data errors/, failing, when }' |
		while IFS=$TAB read -r pool damaged failing when; do
			of="{pool=\"$pool\"}"
			echo "pool_damaged$of $damaged"
			echo "pool_disk_errors$of $failing"
			echo "pool_snapshots_bytes$of $(ask zfs list -Hp -r -t filesystem,volume -o usedbysnapshots "$pool" |
				awk '{ n += $1 } END { printf "%.0f", n }')"
			[ "$F3S_ALERT_SCRUB" -gt 0 ] || continue
			# one that was never scrubbed is as old as itself
			scrubbed=$(epoch '%a %b %e %T %Y' "$when") || scrubbed=$(ask zfs get -Hp -o value creation "$pool") || continue
			echo "pool_last_scrub_timestamp_seconds$of $scrubbed"
			echo "pool_scrub_allowed_seconds$of $F3S_ALERT_SCRUB"
		done
}

certificates() {
	for file in $F3S_ALERT_CERTIFICATES; do
		case $file in
		*/crl.pem) ends=$(ask openssl crl -noout -nextupdate -in "$file") ;;
		*) ends=$(ask openssl x509 -noout -enddate -in "$file") ;;
		esac
		ends=$(epoch '%b %e %T %Y %Z' "${ends#*=}") || continue
		echo "certificate_not_after_timestamp_seconds{file=\"$file\"} $ends"
		echo "certificate_renew_before_seconds{file=\"$file\"} $F3S_ALERT_RENEW"
	done
}

# -- the metrics --

help() {
	cat <<-EOF
	storage_ready Whether this host could serve now; NaN: not known.
	storage_master Whether it has the address.
	storage_claim Its claim to the address, advskew: the lowest one has it.
	storage_epoch The epoch of its record of who writes.
	storage_serves_readonly Whether it has the address while clients cannot write.
	storage_fsid_aligned Whether it exports with the fsid of both hosts; NaN: it exports nothing.
	storage_address_changes How often the address came or went within the last hour, 20 at most.
	storage_restarts How often a service that did not answer as it should was restarted within the last hour, 20 at most.
	report_timestamp_seconds When this was written.
	report_unanswered A question that got no answer in time.
	pool_online Whether the pool is ONLINE.
	pool_used_ratio Used part of the pool.
	pool_size_bytes Size of the pool.
	pool_free_bytes Free space of the pool.
	pool_snapshots_bytes What only snapshots keep.
	pool_damaged Whether zpool status knows of damaged data.
	pool_disk_errors Whether a disk of the pool made errors, repaired or not, since zpool clear.
	pool_last_scrub_timestamp_seconds When the last scrub ended or began; without one, when the pool was made.
	pool_scrub_allowed_seconds How long ago that may be.
	replication_last_timestamp_seconds When the newest snapshot was made that the other side has confirmed.
	replication_allowed_seconds How long ago that may be.
	clock_offset_seconds This host's clock minus that of the other one.
	tunnel_refusals How often the tunnel refused somebody in the last minute; the last 500 lines of the log are counted.
	stick_readable Whether the key stick can be read.
	key_fits Whether the key file that the dataset names opens it.
	certificate_not_after_timestamp_seconds When it ends; of a revocation list, when it has to be renewed.
	certificate_renew_before_seconds How long before that it is to be renewed.
	EOF
}

# Of each metric in one piece, as the format asks for it.
metrics() {
	help | awk '
		FNR == NR { name[++n] = $1; sub(/^[^ ]* /, ""); text[n] = $0; next }
		!seen[$1]++ { of = $1; sub(/\{.*/, "", of); lines[of] = lines[of] "f3s_" $0 "\n" }
		END {
			for (i = 1; i <= n; i++) if (name[i] in lines)
				printf "# HELP f3s_%s %s\n# TYPE f3s_%s gauge\n%s", name[i], text[i], name[i], lines[name[i]]
		}' - "$@"
}

# -- the alerts --

# Prints what has been wrong for long enough, and what is over: STATE ALERT SENTENCE. The rest is for the next time.
judge() {
	printf '%s\n' "$F3S_ALERT_CONDITIONS" | WHY="$why" awk -F '\t' -v OFS='\t' -v now="$now" -v quiet="$QUIET" -v new="$ALERTS.new" '
		function put(word, value,  at) {
			if (at = index(text, "{" word "}"))
				text = substr(text, 1, at - 1) value substr(text, at + length(word) + 2)
		}
		function sentence(labels, compared,  pair) {
			put("value", sprintf("%.0f", compared)); put("duration", sprintf("%d d", compared / 86400)); put("reason", ENVIRON["WHY"])
			while (match(labels, /[a-z]+="[^"]*"/)) {
				pair = substr(labels, RSTART, RLENGTH)
				labels = substr(labels, RSTART + RLENGTH)
				put(substr(pair, 1, index(pair, "=") - 1), substr(pair, index(pair, "=") + 2, RLENGTH - index(pair, "=") - 2))
			}
			return text
		}
		function compared(kind, v) {
			return kind == "since" ? now - v : kind == "until" ? v - now : kind == "size" && v < 0 ? -v : v
		}
		function holds(x, op, most, kind) {
			return op == "<" ? x < most : op == ">" ? x > most || (kind == "since" && x < -most) : x != most
		}
		FNR == 1 { part++ }
		part == 1 { alert[++n] = $1; metric[n] = $2; kind[n] = $3; op[n] = $4; limit[n] = $5; minutes[n] = $6; says[n] = $7 }
		part == 2 && /^f3s_/ {
			match($0, / [^ ]*$/)
			series = substr($0, 1, RSTART - 1)
			value[series] = substr($0, RSTART + 1)
			of = series; sub(/\{.*/, "", of)
			of_metric[of] = of_metric[of] substr(series, length(of) + 1) "\t"
		}
		part == 3 { since[$1] = $2; seen[$1] = $3; told[$1] = $4; said[$1] = $5; known[$1] }
		END {
			for (i = 1; i <= n; i++) if (metric[i] in of_metric) {
				count = split(of_metric[metric[i]], all, "\t")
				for (j = 1; j < count; j++) {
					v = value[metric[i] all[j]]
					most = limit[i] ~ /^f3s/ ? value[limit[i] all[j]] : limit[i]
					x = compared(kind[i], v + 0)
					if (v == "NaN" ? op[i] != "!=" : !holds(x, op[i], most + 0, kind[i])) continue
					key = alert[i] all[j]
					if (!(key in since) || since[key] > now) since[key] = now
					seen[key] = now; known[key]; text = says[i]; said[key] = sentence(all[j], x)
					if (!told[key] && now - since[key] >= minutes[i] * 60) { told[key] = 1; print "wrong", alert[i], said[key] }
				}
			}
			printf "" >new
			for (key in known) {
				if (seen[key] == now || (told[key] && seen[key] < now && now - seen[key] < quiet)) {
					print key, since[key], seen[key], told[key] + 0, said[key] >new
				} else if (told[key]) {
					of = key; sub(/\{.*/, "", of)
					print "right", of, said[key]
				}
			}
		}' - "$METRICS" "$ALERTS"
}

# deliver STATE ALERT SENTENCE
deliver() {
	[ -z "$F3S_ALERT_COMMAND" ] || bounded 30 "$F3S_ALERT_COMMAND" "$1" "$F3S_NAME" "$2" "$3" >/dev/null 2>&1
}

ping_url() {
	[ -z "$F3S_ALERT_PING_URL" ] || bounded 15 fetch -q -T 10 -o /dev/null "$F3S_ALERT_PING_URL" >/dev/null 2>&1
}

report() {
	now=$(date +%s)
	touch "$SLOW" "$ALERTS" "$F3S_MOVES" "$F3S_RESTARTS"
	{ controller; pools; replication; clock; refusals; } >"$SAMPLES" 3>&1
	metrics "$SAMPLES" "$SLOW" >"$METRICS.new" && mv "$METRICS.new" "$METRICS" || exit 1
	# Of another user, who must not lead root elsewhere by a link: -S writes to a file that mkstemp(3) made, and renames that.
	[ ! -d "$F3S_ALERT_DIRECTORY" ] || install -S -m 644 "$METRICS" "$F3S_ALERT_DIRECTORY/f3s.prom"
	judge >"$SAMPLES" || exit 1
	delivered=yes
	while IFS=$TAB read -r state alert sentence; do
		tell "$state: $sentence"
		deliver "$state" "$alert" "$sentence" || { delivered=no && tell "$F3S_ALERT_COMMAND did not take that: again in a minute"; }
	done <"$SAMPLES"
	[ "$delivered" = no ] || mv "$ALERTS.new" "$ALERTS"
	ping_url
	slow_at=$(sed -n '1s/^at //p' "$SLOW")
	slow_age=$((now - ${slow_at:-0}))
	if [ "$slow_age" -ge "$HOUR" ] || [ "$slow_age" -lt 0 ]; then
		{ echo "at $now"; stick; keys; scrubs; certificates; } >"$SLOW.new" 3>&1
		mv "$SLOW.new" "$SLOW"
	fi
}

alert_test() {
	test_status=0
	[ -n "$F3S_ALERT_COMMAND$F3S_ALERT_PING_URL" ] || { echo "neither alert_command nor alert_ping_url is set"; return 1; }
	deliver test F3sTest "this is a test, nothing is wrong" || { echo "$F3S_ALERT_COMMAND failed"; test_status=1; }
	ping_url || { echo "$F3S_ALERT_PING_URL did not answer"; test_status=1; }
	[ "$test_status" -ne 0 ] || echo "delivered"
	return "$test_status"
}

summary() {
	[ -n "$(find "$METRICS" -mmin -5 2>/dev/null)" ] || { echo "no report for five minutes: is cron running?"; return 1; }
	awk -v now="$(date +%s)" '
		{ split($1, part, "\"") }
		/^f3s_pool_used_ratio/ { printf "%s is %.0f %% full\n", part[2], $2 * 100 }
		/^f3s_replication_last/ { printf "%s was replicated %d s ago\n", part[4], now - $2 }' "$METRICS"
	awk -F '\t' '$4 { print "WRONG: " $5; found = 1 } END { if (!found) print "nothing is wrong"; exit found }' "$ALERTS"
}

case $#:${1-} in
0:) need_root; exec lockf -k -s -t 0 "$F3S_RUN/report.lock" "$0" locked ;;
1:locked) report ;;
1:test) need_root; alert_test ;;
1:summary) summary ;;
*) echo "usage: ${0##*/} [test | summary]" >&2; exit 64 ;;
esac
