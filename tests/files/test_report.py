"""report: what a storage host says of itself, and that whoever is to hear of a fault does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from f3s.controller import REPORT_CONF, report_variables
from tests.files.storage import SITE, StorageHost, conf_of
from tests.files.stubs import Result

NOW = 1_795_363_200
HOURS = 3600
STATUS = """\
status=3
carp=MASTER
claim=10
started=yes
ready=yes
reason=serves zdata/enc/nfsdata
fsid=10ff002929000000
fsid_number=16
epoch=0
writer=f0
since=0
proven=yes
right=yes
"""
# as zpool-status(8) of OpenZFS 2.1 and openssl(1) of FreeBSD 13.2 print them
ZPOOL_STATUS = """\
  pool: zdata
 state: ONLINE
  scan: scrub repaired 0B in 00:00:01 with 0 errors on Mon Nov 16 08:56:51 2026
config:

	NAME        STATE     READ WRITE CKSUM
	zdata       ONLINE       0     0     0

errors: No known data errors

  pool: zroot
 state: ONLINE
config:

errors: No known data errors
"""
ZFS = r"""
case "$*" in
"list -Hp -r -t filesystem,volume,bookmark -o name,creation "*)
	sed "s/@/$(($(cat "$STATE/now") - 30))/" "$STATE/list.${8##*/}" ;;
"list -Hp -r -t filesystem,volume -o usedbysnapshots "*) printf '1000\n-\n500\n' ;;
"get -Hp -o value creation zroot") echo 1792771200 ;;
"list -H -t filesystem,volume -o name,keylocation")
	printf 'zdata\tnone\nzdata/enc\tfile:///keys/a.key\nzdata/sink/x\tfile:///keys/b.key\nzdata/sink/y\tprompt\n' ;;
"load-key -n zdata/"*) [ ! -e "$STATE/wrong.${3##*/}" ] || exit 255 ;;
*) echo "zfs: unexpected $*" >&2; exit 2 ;;
esac
"""
# FreeBSD's -j -f FORMAT TEXT in terms of GNU's -d
DATE = """
case $1 in
+%s) cat "$STATE/now" ;;
-r) exec /bin/date -u -d "@$2" "$3" ;;
-j) case "$2:$5:$4" in -f:+%s:[A-Z]*) exec /bin/date -u -d "$4" +%s 2>/dev/null ;; *) exit 1 ;; esac ;;
*) exec /bin/date "$@" ;;
esac
"""

# as 15.1 says it
PING = """
at=$(/bin/date -u -d "@$(($(cat "$STATE/now") + $(cat "$STATE/peer_ahead")))" +%T)
echo "76 bytes from 192.168.1.131: icmp_seq=0 ttl=64 time=11.538 ms tso=00:21:40 tsr=$at tst=$at"
"""


class Reporter(StorageHost):
    """A primary that serves, with everything right."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.quick()
        self.program = self.path("/usr/local/libexec/f3s/report")
        self.command("storage-control", 'cat "$STATE/status"')
        self.control.unlink()
        self.control.symlink_to(self.bin / "storage-control")
        self.state("status", STATUS)
        self.command("zpool", '[ "$1" = list ] && cat "$STATE/pools" || cat "$STATE/zpool"')
        self.state("pools", "zdata\t1000\t450\tONLINE\nzroot\t1000\t900\tONLINE\n")
        self.state("zpool", ZPOOL_STATUS)
        self.command("zfs", ZFS)
        cursor = "#zrepl_CURSOR_G_54fe0d84ea1b4e1c_J_f0_to_f1_"  # @: half a minute ago
        self.state("list.nfsdata", f"zdata/enc/nfsdata\t1700000000\nzdata/enc/nfsdata{cursor}nfsdata\t@\n")
        disk = "zroot/bhyve/fedora/disk0\t@\n"  # just made, without a cursor
        other = f"zroot/bhyve/fedora{cursor}other\t{NOW}\n"  # of another job
        self.state("list.fedora", f"zroot/bhyve/fedora\t1\n{other}zroot/bhyve/fedora{cursor}fedora\t@\n{disk}")
        self.command("ping", PING)
        self.state("peer_ahead", "1\n")
        self.command(
            "dd", '[ "$*" = "if=/dev/ufs/F3S_KEYS of=/dev/null bs=4096 count=1" ] && [ ! -e "$STATE/no_stick" ]'
        )
        self.command(
            "openssl", 'case $1 in crl) printf nextUpdate= ;; x509) printf notAfter= ;; esac; cat "$STATE/ends"'
        )
        self.state("ends", "Apr 10 08:40:00 2028 GMT\n")
        self.write("/var/log/messages", "")
        self.command("date", DATE, record=False)
        self.command("install", '[ "$1 $2 $3" = "-S -m 644" ] && cp "$4" "$5"')
        self.command("alert", '[ ! -e "$STATE/deaf" ]')
        self.command("fetch")
        self.state("now", f"{NOW}\n")
        self.report_conf()

    def report_conf(self, **values: str) -> None:
        variables = report_variables(SITE.primary) | {f"F3S_ALERT_{name}": value for name, value in values.items()}
        self.write(REPORT_CONF, self.rewrite(conf_of(variables)))

    def minutes(self, count: int) -> None:
        self.state("now", f"{int(self.state('now')) + 60 * count}\n")

    def report(self) -> Result:
        """One run of cron's, then the next minute."""
        result = self.run(self.program)
        assert (result.rc, result.out, result.err) == (0, "", "")
        self.minutes(1)
        return result

    def metrics(self) -> dict[str, float]:
        lines = self.path("/var/run/f3s/report.prom").read_text().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        assert len(dict(pairs)) == len(pairs), "node_exporter refuses a file with a series twice"
        return {name: float(value) for name, value in pairs}

    def told(self) -> list[tuple[str, ...]]:
        """State, alert and sentence of each call of alert_command; numbers of more than seconds are N."""
        calls = self.calls("alert")
        return [
            (state, alert, re.sub(r"-?\d+ (d|s (?=old|between))", r"N \1", says)) for state, _, alert, says in calls
        ]


@pytest.fixture
def host(tmp_path: Path) -> Reporter:
    return Reporter(tmp_path)


def test_what_a_host_says_that_is_well(host: Reporter) -> None:
    host.path("/var/tmp/node_exporter").mkdir(parents=True)
    host.report_conf(COMMAND=ALERT, PING_URL="https://hc.example.org/x")
    host.write("/var/run/f3s/moves", f"{NOW - HOURS}\n{NOW - 10}\n")
    host.report()
    host.report()
    found = host.metrics()
    job = '{zrepl_job="f0_to_f1_nfsdata",dataset="zdata/enc/nfsdata"}'
    never = '{zrepl_job="f0_to_f1_fedora",dataset="zroot/bhyve/fedora/disk0"}'
    assert (
        found
        | {
            "f3s_storage_ready": 1,
            "f3s_storage_master": 1,
            "f3s_storage_claim": 10,
            "f3s_storage_epoch": 0,
            "f3s_storage_serves_readonly": 0,
            "f3s_storage_fsid_aligned": 1,
            "f3s_storage_address_changes": 1,
            "f3s_storage_restarts": 0,
            "f3s_report_timestamp_seconds": NOW + 60,
            'f3s_pool_online{pool="zdata",health="ONLINE"}': 1,
            'f3s_pool_used_ratio{pool="zdata"}': 0.55,
            'f3s_pool_free_bytes{pool="zroot"}': 900,
            'f3s_pool_snapshots_bytes{pool="zdata"}': 1500,
            'f3s_pool_damaged{pool="zdata"}': 0,
            'f3s_pool_disk_errors{pool="zdata"}': 0,
            'f3s_pool_last_scrub_timestamp_seconds{pool="zdata"}': 1794819411,
            'f3s_pool_last_scrub_timestamp_seconds{pool="zroot"}': 1792771200,
            'f3s_pool_scrub_allowed_seconds{pool="zdata"}': 37 * 24 * HOURS,
            f"f3s_replication_last_timestamp_seconds{job}": NOW + 30,
            f"f3s_replication_last_timestamp_seconds{never}": NOW + 30,
            f"f3s_replication_allowed_seconds{job}": 180,
            'f3s_clock_offset_seconds{peer="f1"}': -1,
            "f3s_tunnel_refusals": 0,
            'f3s_stick_readable{label="F3S_KEYS"}': 1,
            'f3s_key_fits{dataset="zdata/enc"}': 1,
            'f3s_key_fits{dataset="zdata/sink/x"}': 1,
        }
        == found
    )
    [ends] = [v for n, v in found.items() if n.startswith("f3s_certificate_not_after") and n.endswith('crl.pem"}')]
    assert ends == 1838968800
    text = host.path("/var/tmp/node_exporter/f3s.prom").read_text()
    assert text == host.path("/var/run/f3s/report.prom").read_text()
    assert text.index("# TYPE f3s_pool_online gauge\nf3s_pool_online") > text.index("# HELP f3s_pool_online ")
    if shutil.which("promtool"):
        words = ["promtool", "check", "metrics"]
        checked = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
    assert host.told() == []
    assert host.calls("fetch") == [["-q", "-T", "10", "-o", "/dev/null", "https://hc.example.org/x"]] * 2
    assert [call[0] for call in host.calls("dd")] == ["if=/dev/ufs/F3S_KEYS"], "the stick is asked once an hour"
    summary = host.run(host.program, "summary")
    assert (summary.rc, summary.err) == (0, "")
    assert summary.out.startswith("zdata is 55 % full\nzroot is 10 % full\n")
    assert summary.out.endswith("\nnothing is wrong\n")


REFUSED = (  # as 15.1 and 13.2 log it
    "LOG3[7]: SSL_accept: tls_process_client_certificate@ssl/statem/statem_srvr.c:3765: error:0A000086:SSL routines::"
    "certificate verify failed",
    "LOG3[8]: SSL_accept: error:1417C086:SSL routines:tls_process_client_certificate:certificate verify failed",
    "LOG3[9]: SSL_accept: tls_process_client_certificate@ssl/statem/statem_srvr.c:3752: error:0A0000C7:SSL routines::"
    "peer did not return a certificate",
)


def test_a_key_that_does_not_open_is_wrong_and_of_one_that_cannot_be_read_nothing_is_said(host: Reporter) -> None:
    key = 'f3s_key_fits{dataset="zdata/sink/x"}'
    host.report_conf(COMMAND="/usr/bin/alert")
    host.state("wrong.x", "")
    for _ in range(2):
        host.report()
    assert host.metrics()[key] == 0
    assert host.told() == [("wrong", "F3sKeyWrong", "the key on the stick does not open zdata/sink/x")]
    host.state("no_stick", "")
    host.minutes(60)
    for _ in range(2):
        host.report()
    assert key not in host.metrics()


def test_who_is_refused_in_the_last_minute_is_counted(host: Reporter) -> None:
    last, before = (time.strftime("%b %e %H:%M:07", time.gmtime(NOW - seconds)) for seconds in (60, 120))
    lines = [f"{last} f0 stunnel[4]: {text}" for text in (*REFUSED, "LOG5[7]: Service [nfs] accepted connection")]
    lines += [
        f"{before} f0 stunnel[4]: {REFUSED[0]}",
        f"{last} f0 stunnel[4]: LOG3[1]: SSL_accept: Peer suddenly disconnected",
    ]
    host.write("/var/log/messages", "\n".join(lines) + "\n")
    host.report()
    assert host.metrics()["f3s_tunnel_refusals"] == len(REFUSED)


ALERT = "/usr/bin/alert"
BROKEN = {
    "status": STATUS.replace("ready=yes", "ready=unknown").replace("serves", "no answer of").replace("r=16", "r=17"),
    "pools": "gone\t-\t-\tUNAVAIL\nzdata\t1000\t190\tDEGRADED\nzroot\t1000\t90\tONLINE\n",
    "peer_ahead": "40\n",
    "list.nfsdata": f"zdata/enc/nfsdata\t{NOW - 9000}\nzdata/enc/nfsdata/ahead\t{NOW + 9000}\n",
    "list.fedora": "",
    "no_stick": "",
    "zpool": ZPOOL_STATUS.replace("0     0     0", "0     0  1.2K")
    .replace("with 0", "with 2")
    .replace("Nov 16", "Oct 16"),
    "ends": "Nov 28 08:56:51 2026 GMT\n",
}
NEW = ("no_stick",)
TOLD = [  # minutes until it is told, counted from the first look at it
    (0, "F3sReplicaLate", "the newest common snapshot of zdata/enc/nfsdata is N s old", 2),
    (0, "F3sReplicaLate", "the newest common snapshot of zdata/enc/nfsdata/ahead is N s old", 2),
    (0, "F3sReplicaLate", "the newest common snapshot of zroot/bhyve/fedora is N s old", 2),
    (0, "F3sPoolBroken", "gone is UNAVAIL", 2),
    (0, "F3sPoolBroken", "zdata is DEGRADED", 2),
    (0, "F3sNotReady", "not ready: no answer of zdata/enc/nfsdata", 3),
    (0, "F3sClockOff", "more than 30 s off: N s between this clock and that of f1", 3),
    (0, "F3sPoolFull", "zroot is more than 90 % full", 5),
    (0, "F3sPoolFills", "zdata is more than 80 % full", 15),
    (0, "F3sPoolFills", "zroot is more than 80 % full", 15),
    (0, "F3sFsidPassed", "clients have to mount anew after a move: the fsid differs", 15),
    (1, "F3sStickSilent", "no stick that can be read with the label F3S_KEYS", 0),
    (1, "F3sDataDamaged", "zdata has damaged data: zpool status -v", 0),
    (1, "F3sDiskErrs", "a disk of zdata made errors: zpool status", 0),
    (1, "F3sCertificateEnds", "server.pem ends in N d", 0),
    (1, "F3sCertificateEnds", "ca-cert.pem ends in N d", 0),
    (1, "F3sCertificateEnds", "crl.pem ends in N d", 0),
]


def test_each_fault_is_told_once_after_its_time_and_so_is_its_end(host: Reporter) -> None:
    """What is asked once an hour is seen in the minute after."""
    right = {name: host.state(name) for name in BROKEN if name not in NEW}
    host.report_conf(COMMAND=ALERT)
    host.report()
    for name, text in BROKEN.items():
        host.state(name, text)
    host.minutes(59)
    when = []
    for minute in range(18):
        host.forget()
        host.report()
        when += [(minute, *said) for said in host.told()]
    assert {
        (minute, "wrong", alert, says) for minute, alert, says, minutes in TOLD for minute in [minute + minutes]
    } == {
        (minute, state, alert, says.rpartition("/")[2] if "Certificate" in alert else says)
        for minute, state, alert, says in when
    }
    assert len(when) == len(TOLD), "once"
    assert [name for name in host.metrics() if "gone" in name] == ['f3s_pool_online{pool="gone",health="UNAVAIL"}']
    host.minutes(60)
    host.forget()
    host.report()
    assert host.told() == [("wrong", "F3sScrubOverdue", "the last scrub of zdata was N d ago")]
    summary = host.run(host.program, "summary")
    assert (summary.rc, summary.out.count("WRONG: ")) == (1, len(TOLD) + 1)
    mail = host.run(host.path("/usr/local/etc/periodic/daily/490.f3s"))
    assert (mail.rc, mail.out) == (3, f"\nShared storage (f3s_storage):\n{summary.out}")
    for name, text in right.items():
        host.state(name, text)
    for name in NEW:
        host.unflag(name)
    host.forget()
    host.minutes(60)
    for _ in range(8):
        host.report()
    ended = sorted(alert for state, alert, _ in host.told() if state == "right")
    assert ended == sorted(["F3sScrubOverdue", *(alert for _, alert, _, _ in TOLD)])
    assert len(host.told()) == len(ended)
    assert host.path("/var/db/f3s/alerts").read_text() == ""


def test_what_comes_and_goes_is_damped(host: Reporter) -> None:
    host.report_conf(COMMAND=ALERT)
    for ready in "yes no no yes no no yes no no no no no yes no yes yes no".split():
        host.state("status", STATUS.replace("ready=yes", f"ready={ready}"))
        host.report()
    assert [state for state, _, _ in host.told()] == ["wrong"]


def test_who_did_not_take_it_is_told_again(host: Reporter) -> None:
    host.report_conf(COMMAND=ALERT)
    host.report()
    host.flag("deaf")
    for _ in range(70):
        host.state("pools", "zdata\t1000\t450\tDEGRADED\n")
        host.report()
        if len(host.told()) == 2:
            host.unflag("deaf")
        if len(host.told()) == 3:
            break
    host.report()
    assert [(state, alert) for state, alert, _ in host.told()] == [("wrong", "F3sPoolBroken")] * 3


def test_what_hangs_delays_neither_the_rest_nor_the_controller(tmp_path: Path) -> None:
    host = Reporter(tmp_path)
    host.quick("zpool status")
    host.report()
    host.report()
    found = host.metrics()
    assert found['f3s_report_unanswered{command="zpool status"}'] == 1
    assert found['f3s_pool_used_ratio{pool="zdata"}'] == 0.55
    assert not [name for name in found if name.startswith("f3s_pool_damaged")]
    assert "F3S_HUNG=$F3S_RUN/report.hung" in host.rewrite(host.program.read_text())


def test_the_test_says_whether_it_was_delivered(host: Reporter) -> None:
    nobody = host.run(host.program, "test")
    assert (nobody.rc, nobody.out) == (1, "neither alert_command nor alert_ping_url is set\n")
    host.report_conf(COMMAND=ALERT)
    assert (host.run(host.program, "test").rc, host.told()) == (
        0,
        [("test", "F3sTest", "this is a test, nothing is wrong")],
    )
    host.flag("deaf")
    assert host.run(host.program, "test").rc == 1


def test_the_peers_clock_is_compared_over_midnight(host: Reporter) -> None:
    host.state("now", f"{NOW - NOW % 86400 + 86390}\n")
    host.state("peer_ahead", "40\n")
    host.report()
    assert host.metrics()['f3s_clock_offset_seconds{peer="f1"}'] == -40


def test_what_the_look_of_the_last_minutes_found_is_enough(host: Reporter) -> None:
    look = host.path("/var/run/f3s/status")
    look.write_text(STATUS.replace("ready=yes", "ready=no"))
    host.report()
    assert (host.metrics()["f3s_storage_ready"], host.calls("storage-control")) == (0, [])
    os.utime(look, (time.time() - 240,) * 2)
    host.report()
    assert (host.metrics()["f3s_storage_ready"], host.calls("storage-control")) == (1, [["status"]])
