"""A storage host of stubs: CARP, pool, dataset, mounts, services and their answers come from a small scripted state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from f3s.controller import CLAIMS, PROGRAMS, STARTED, STORAGE_CONF, Status, Values, parse_status, wanted_values
from tests.f3s.settings_data import build, good
from tests.files.stubs import FILES, Result, StubHost, render

SITE = build(good())
DATASET = {"primary": "zdata/enc/nfsdata", "standby": "zdata/sink/f0/zdata/enc/nfsdata"}
SERVICES = ("rpcbind", "mountd", "nfsd", "stunnel")
FSID = "10ff002929000000"
"""Of the sixteenth nullfs mount since boot."""
LOSSES, FLOOR = "/var/run/f3s/losses", "/var/run/f3s/floor.createtxg"

# With preemption the address goes to the lower claim: `peer` holds the other one's, if there is another one.
IFCONFIG = r"""
state=$(cat "$STATE/carp"); skew=$(cat "$STATE/skew")
if [ $# -eq 1 ]; then
	[ "$state" != absent ] || { echo "ifconfig: interface $1 does not exist" >&2; exit 1; }
	if [ -e "$STATE/flip" ]; then	# after N more looks the state is another one
		read -r left to <"$STATE/flip"
		if [ "$left" -le 0 ]; then echo "$to" >"$STATE/carp"; state=$to; rm "$STATE/flip"
		else echo "$((left - 1)) $to" >"$STATE/flip"; fi
	fi
	cat <<-EOF
	$1: flags=8963<UP,BROADCAST,RUNNING,PROMISC,SIMPLEX,MULTICAST> metric 0 mtu 1500
		inet 192.168.1.130 netmask 0xffffff00 broadcast 192.168.1.255
		inet 192.168.1.138 netmask 0xffffffff broadcast 192.168.1.138 vhid 1
	EOF
	[ "$state" = none ] || printf '\tcarp: %s vhid 1 advbase 1 advskew %s\n' "$state" "$skew"
	printf '\tcarp: INIT vhid 2 advbase 1 advskew 0\n\tcarp: MASTER vhid 11 advbase 1 advskew 0\n\tstatus: active\n'
	exit 0
fi
[ "$# $2 $3 $4" = "5 vhid 1 advskew" ] || [ "$2 $3 $4 $6 $7" = "vhid 1 advskew peer 192.168.1.131" ] ||
	{ echo "ifconfig: unexpected $*" >&2; exit 1; }
[ ! -e "$STATE/ifconfig_fails" ] || { echo "ifconfig: SIOCSVH: Device busy" >&2; exit 1; }
[ ! -e "$STATE/skew_sticks" ] || exit 0
echo "$5" >"$STATE/skew"
case $state in MASTER | BACKUP) [ -e "$STATE/peer" ] || exit 0 ;; *) exit 0 ;; esac
peer=$(cat "$STATE/peer")
[ "$5" -ge "$peer" ] || echo MASTER >"$STATE/carp"
[ "$5" -le "$peer" ] || echo BACKUP >"$STATE/carp"
"""

ZFS = r"""
case "$*" in
"get -Hp -o property,value keystatus,mountpoint,readonly,written "*)
	[ -e "$STATE/dataset" ] || { echo "cannot open '$6': dataset does not exist" >&2; exit 1; }
	cat "$STATE/dataset" ;;
"list -Hp -d 1 -t snapshot,bookmark -o createtxg "*) cat "$STATE/snapshots" ;;
"list -Hp -d 1 -t bookmark -o createtxg,creation,name "*) cat "$STATE/bookmarks" ;;
"list -H -o name "*@f3s_promoted_*) grep -qx "$4" "$STATE/marks" ;;
"list -H -o name "*) grep -q "^$5 on " "$STATE/mount" ;;
"rename -u "*)
	[ ! -e "$STATE/rename_fails" ] || { echo "cannot rename '$3': dataset already exists" >&2; exit 1; }
	sed "s|^$3 on |$4 on |" "$STATE/mount" >"$STATE/m"; mv "$STATE/m" "$STATE/mount" ;;
"list -Hp -d 1 -t snapshot -o creation "*) cat "$STATE/creations" ;;
"snapshot "*)
	echo "$2" >>"$STATE/marks"
	[ ! -e "$STATE/snapshot_fails" ] || { echo "cannot create snapshot: out of space" >&2; exit 1; } ;;
"get -Hp -o value createtxg "*@*) echo 300 ;;
"set readonly="*)
	[ ! -e "$STATE/readonly_fails" ] || { echo "cannot set property: pool I/O is currently suspended" >&2; exit 1; }
	sed "s/^readonly.*/readonly	${2#*=}/" "$STATE/dataset" >"$STATE/d"; mv "$STATE/d" "$STATE/dataset" ;;
"mount "*)
	[ ! -e "$STATE/mount_fails" ] || { echo "cannot mount '$2': Input/output error" >&2; exit 1; }
	echo "$2 on $ROOT/data/nfs (zfs, local, nfsv4acls, fsid 0a1b2c3dde000000)" >>"$STATE/mount"
	mkdir -p "$ROOT/data/nfs"; : >"$ROOT/data/nfs/nfs.DO_NOT_REMOVE" ;;
*) echo "zfs: unexpected $*" >&2; exit 2 ;;
esac
"""

# nullfs takes the next number since the boot, whatever was unmounted.
MOUNT = r"""
case $1 in
-v) cat "$STATE/mount" ;;
-t)
	[ "$#:$2" = 4:nullfs ] || exit 2
	[ ! -e "$STATE/nullfs_fails" ] || { echo "mount: $4: Resource deadlock avoided" >&2; exit 1; }
	number=$(($(cat "$STATE/counter") + 1))
	echo "$number" >"$STATE/counter"
	kept=''
	[ ! -e "$STATE/keeps" ] || ! grep -q '^readonly.on' "$STATE/dataset" || kept='read-only, '
	printf '%s on %s (nullfs, local, %snfsv4acls, fsid %02xff%02x2929000000, vnodes: count 1 )\n' \
		"$3" "$4" "$kept" $((number % 256)) $((number / 256)) >>"$STATE/mount"
	: >"$4/nfs.DO_NOT_REMOVE" ;;
*) exit 2 ;;
esac
"""
UMOUNT = r"""
for point; do :; done
[ ! -e "$STATE/busy" ] || { echo "umount: unmount of $point failed: Device busy" >&2; exit 1; }
grep -v " on $point (" "$STATE/mount" >"$STATE/m"; mv "$STATE/m" "$STATE/mount"
rm -f "$point/nfs.DO_NOT_REMOVE" "$STATE/kept"
"""

# wedged.SERVICE has the kind of question and the status of its answer, until the service is started anew;
# silent.SERVICE: the next look at it does not end in time.
SERVICE = r"""
running="$STATE/running.$1"
case $2 in
onestatus)
	! rm "$STATE/silent.$1" 2>/dev/null || exit 124
	[ -e "$running" ] || { echo "$1 is not running."; exit 1; }
	echo "$1 is running as pid 4711." ;;
onestart)
	[ ! -e "$STATE/refuse.$1" ] || { echo "/etc/rc.d/$1: WARNING: failed to start $1"; exit 1; }
	[ -e "$STATE/incurable" ] || rm -f "$STATE/wedged.$1"
	[ "$1" != mountd ] || ! grep -q 'export.*read-only' "$STATE/mount" || : >"$STATE/kept"
	echo "${0%/*}/$1 -r -S -R /etc/exports /etc/zfs/exports" >"$running" ;;
onestop) [ -e "$STATE/clings.$1" ] || rm -f "$running" ;;
*) exit 2 ;;
esac
"""
# the peer's record; none: it is silent
ANSWERS = r"""
if [ "$1" = record ]; then
	case "$2 $3" in 192.168.1.13[01]:2323\ f3s-storage-ha) ;; *) exit 64 ;; esac
	[ -e "$STATE/peer_record" ] && cat "$STATE/peer_record"
	exit
fi
for wedged in "$STATE"/wedged.*; do
	[ -e "$wedged" ] || continue
	read -r kind rc <"$wedged"
	[ "$kind" != "$1" ] || { echo "$1 says $rc"; exit "$rc"; }
done
[ "$1" != nfs ] || sed -n 's/.* (nullfs.*, fsid \([0-9a-f]*\).*/\1/p' "$STATE/mount"
"""


PGREP = r"""
case "$1 $2" in
"-q -x") [ -e "$STATE/running.$3" ] ;;
"-q -f") grep -q -- "$3" "$STATE/running.mountd" ;;
*) exit 2 ;;
esac
"""


def advskew(skew: int) -> list[str]:
    """The call of ifconfig that makes this claim."""
    return ["ifconfig", "re0", "vhid", "1", "advskew", str(skew)]


def conf_of(variables: dict[str, str]) -> str:
    """storage.conf or report.conf as the deploy renders it."""
    return render("storage.conf.j2", variables=variables)


def conf(values: Values) -> str:
    return conf_of(values.variables)


class StorageHost(StubHost):
    """A healthy BACKUP with its dataset mounted and exported, nothing running, `f3s_storage` started, no patience."""

    def __init__(self, base: Path, role: str = "primary") -> None:
        super().__init__(base)
        self.role = role
        self.claim, self.advskew = CLAIMS[role]
        self.dataset = DATASET[role]
        self.mountpoint = self.path("/data/nfs")
        self.export = self.path("/export/nfs")
        self.values = wanted_values(SITE.primary if role == "primary" else SITE.standby, SITE)
        self.configure(patience=0, catch_up=0)
        programs = {name: self.install(FILES / "freebsd" / name, path) for name, (path, _) in PROGRAMS.items()}
        # A test must not wait ten seconds for a command that never answers.
        library = programs["f3s-storage-lib.sh"]
        library.write_text(library.read_text().replace("F3S_LIMIT=10", "F3S_LIMIT=1"))
        self.bounded = programs["bounded.sh"]
        self.control = programs["f3s-storage-control.sh"]
        self.carp_program = programs["carp"]
        self.hook = programs["carpcontrol.sh"]
        self.failback = programs["carp-auto-failback.sh"]
        for folder in "var/run/f3s var/db/f3s var/log tmp data/nfs export/nfs var/run/stunnel".split():
            self.path(folder).mkdir(parents=True, exist_ok=True)
        self.command("ifconfig", IFCONFIG)
        self.command("zfs", ZFS)
        self.command("zpool", '[ -e "$STATE/health" ] && cat "$STATE/health"')
        self.command("zrepl", '[ "$1 $2" = "signal wakeup" ]')
        self.command("nc", '[ "$*" = "-z -w 3 192.168.2.131 8888" ] && [ ! -e "$STATE/no_sink" ]')
        self.command("service", SERVICE)
        self.command("mount", MOUNT)
        self.command("umount", UMOUNT)
        self.command("answers", ANSWERS)
        self.command("fsync", '[ $# -eq 1 ] && [ -e "$1" ]')
        programs["answers.sh"].unlink()
        programs["answers.sh"].symlink_to(self.bin / "answers")
        self.command("pgrep", PGREP)
        kill = 'if [ -e "$STATE/survives.$3" ]; then rm "$STATE/survives.$3"; else rm "$STATE/running.$3"; fi'
        self.command("pkill", f'[ "$1 $2" = "-KILL -x" ] && {kill}')
        self.command("logger")
        self.command("daemon")
        self.command("chflags")
        self.command("install", 'for last; do :; done; mkdir -p "$last"')
        self.command("sysctl", '[ "$2" = kern.boottime ] && cat "$STATE/boottime"')
        self.command("id", 'cat "$STATE/uid"', record=False)
        # lockf(1) of FreeBSD in terms of flock(1): -k -s -t SECONDS FILE COMMAND...
        lockf = '[ "$1 $2 $3" = "-k -s -t" ] || exit 64; wait=$4; file=$5; shift 5\n'
        self.command("lockf", lockf + 'exec /usr/bin/flock -o -w "$wait" -E 75 "$file" "$@"')
        # without --foreground FreeBSD's would wait for the daemons that a service leaves behind, and kill them
        self.command("timeout", '[ "$1" = --foreground ] || exit 99\nexec /usr/bin/timeout "$@"', record=False)
        self.command("sleep", "exec /bin/sleep 0.01", record=False)
        self.write("/etc/exports", self.rewrite(f"V4: {self.values.export} -sec=sys\n"))
        self.write("/usr/local/etc/stunnel/stunnel.conf", "[nfs]\n[alive]\n")
        self.state("uid", "0\n")
        self.booted(0)
        self.state("health", "ONLINE\n")
        self.state("snapshots", "100\n250\n200\n")
        self.state("bookmarks", "")
        self.state("marks", "")
        self.state("peer_record", f"0 f0 0 {self.values.name}\n")
        self.carp("BACKUP", self.advskew)
        self.properties()
        self.mounted(self.dataset, 16)
        self.marker()
        self.write(STARTED, "")

    def configure(self, **values: int | str) -> None:
        """Write storage.conf, with other values than the deploy's."""
        self.write(STORAGE_CONF, self.rewrite(conf(self.values.model_copy(update=values))))

    def quick(self, endless: str = "(no command)") -> None:
        """Commands have no limit in time, for tests with many runs; one with `endless` in it has met its limit."""
        met = f'case "$*" in *"{endless}"*) return 124 ;; esac'
        self.bounded.write_text(f'exec 8</dev/null\nbounded() {{\n\tshift\n\t{met}\n\t"$@" <&8\n}}\n')

    def keeps_read_only(self) -> None:
        """nullfs and mountd as on 13.2: an export that was made while the file system was read-only stays so."""
        self.flag("keeps")
        off = f"grep -q '^readonly.off' {self._state}/dataset"
        kept = f"[ ! -e {self._state}/kept ]"
        cases = f'"-w {self.mountpoint}") {off} ;; "-w {self.export}") {off} && {kept} ;; *) command test "$@" ;;'
        with self.bounded.open("a") as program:
            program.write(f'test() {{ case "$1 $2" in {cases} esac; }}\n')

    def booted(self, when: int) -> None:
        """The time of the boot, as the clock says now."""
        self.state("boottime", f"{{ sec = {when}, usec = 302515 }} Sat Nov 22 08:56:51 2026\n")

    def carp(self, state: str, skew: int | None = None, peer: int | None = None) -> None:
        self.state("carp", f"{state}\n")
        if skew is not None:
            self.state("skew", f"{skew}\n")
        if peer is not None:
            self.state("peer", f"{peer}\n")

    def carp_now(self) -> tuple[str, int]:
        return self.state("carp").strip(), int(self.state("skew"))

    def properties(self, keystatus: str = "available", readonly: str | None = None, written: int = 0) -> None:
        readonly = readonly or ("off" if self.role == "primary" else "on")
        values = {"keystatus": keystatus, "mountpoint": self.mountpoint, "readonly": readonly, "written": written}
        self.state("dataset", "".join(f"{name}\t{value}\n" for name, value in values.items()))

    def readonly(self) -> str:
        return self.state("dataset").split("readonly\t")[1].split()[0]

    def replicated(self, txg: int = 300, creation: int = 0) -> None:
        """The standby has confirmed a snapshot."""
        name = f"{self.dataset}#zrepl_CURSOR_G_54fe0d84ea1b4e1c_J_{self.values.replication_job}"
        self.state("bookmarks", f"{txg}\t{creation}\t{name}\n")

    def mounted(self, dataset: str | None, export: int | None = None) -> None:
        """What is mounted, and which nullfs mount of this boot is exported."""
        lines = "zroot/ROOT/default on / (zfs, local, nfsv4acls, fsid 86c0b5a7de000000)\n"
        if dataset:
            lines += f"{dataset} on {self.mountpoint} (zfs, NFS exported, local, nfsv4acls, fsid 0a1b2c3dde000000)\n"
        if export:
            self.write("/export/nfs/nfs.DO_NOT_REMOVE", "")
            fsid = f"{export % 256:02x}ff{export // 256:02x}2929000000"
            lines += f"{self.mountpoint} on {self.export} (nullfs, local, nfsv4acls, fsid {fsid}, vnodes: count 1 )\n"
        self.state("mount", lines)
        self.state("counter", f"{export or 0}\n")

    def marker(self) -> None:
        self.write("/data/nfs/nfs.DO_NOT_REMOVE", "")

    def serving(self, state: str = "MASTER", skew: int | None = None) -> None:
        """It serves already, and a MASTER has its claim."""
        self.carp(state, (self.claim if state == "MASTER" else self.advskew) if skew is None else skew)
        for service in SERVICES:
            self.state(f"running.{service}", f"{self.bin}/{service} {self.values.mountd_flags} /etc/exports\n")

    def flag(self, name: str, text: str = "") -> None:
        self.state(name, text)

    def unflag(self, name: str) -> None:
        (self._state / name).unlink()

    def running(self) -> tuple[str, ...]:
        return tuple(s for s in SERVICES if (self._state / f"running.{s}").exists())

    def reconcile(self) -> Result:
        return self.run(self.control, "reconcile")

    def status(self) -> Status:
        return parse_status(self.run(self.control, "status").out.splitlines())

    def log(self) -> list[str]:
        """What went to syslog."""
        return [call[-1] for call in self.calls("logger")]

    def changes(self) -> list[list[str]]:
        """Everything that was done, without the looking."""
        return [call for call in self.calls() if self._changes(call)]

    @staticmethod
    def _changes(call: list[str]) -> bool:
        match call:
            case ["ifconfig", _] | ["service", _, "onestatus"] | ["zfs", "get" | "list", *_] | ["mount", "-v"]:
                return False
            case ["ifconfig" | "service" | "zfs" | "mount" | "umount" | "pkill" | "chflags", *_]:
                return True
        return False


Breaks = Callable[[StorageHost], object]
"""Makes one thing of a host not as it should be."""
