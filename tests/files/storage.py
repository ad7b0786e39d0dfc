"""A storage host of stubs: CARP, pool, dataset, mounts and services answer from a small scripted state."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from f3s.controller import PROGRAMS, STARTED, STORAGE_CONF, Values, wanted_values
from tests.f3s.settings_data import build, good
from tests.files.stubs import FILES, REPOSITORY, Result, StubHost

SITE = build(good())
DATASET = {"primary": "zdata/enc/nfsdata", "standby": "zdata/sink/f0/zdata/enc/nfsdata"}
SERVICES = ("rpcbind", "mountd", "nfsd", "stunnel")

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
[ "$2 $3" = "vhid 1" ] || exit 0
[ ! -e "$STATE/ifconfig_fails" ] || { echo "ifconfig: SIOCSVH: Device busy" >&2; exit 1; }
shift 3
while [ $# -gt 0 ]; do
	case $1 in
	advskew) [ -e "$STATE/skew_sticks" ] || echo "$2" >"$STATE/skew" ;;
	state)
		case $2 in
		backup)
			echo BACKUP >"$STATE/carp"
			[ ! -e "$STATE/peer_fails" ] || echo "$(cat "$STATE/peer_fails") MASTER" >"$STATE/flip" ;;
		master)
			[ -e "$STATE/peer_wins" ] || echo MASTER >"$STATE/carp"
			[ ! -e "$STATE/blip" ] || echo "$(cat "$STATE/blip") INIT" >"$STATE/flip" ;;
		*) echo "ifconfig: unknown state" >&2; exit 1 ;;
		esac ;;
	*) exit 1 ;;
	esac
	shift 2
done
"""

ZFS = r"""
case "$*" in
"get -Hp -o property,value keystatus,mountpoint,readonly,written "*)
	[ -e "$STATE/dataset" ] || { echo "cannot open '$6': dataset does not exist" >&2; exit 1; }
	cat "$STATE/dataset" ;;
"list -Hp -d 1 -t snapshot,bookmark -o createtxg "*) cat "$STATE/snapshots" ;;
"list -Hp -d 1 -t bookmark -o createtxg,creation,name "*) cat "$STATE/bookmarks" ;;
"set readonly=on "*)
	[ ! -e "$STATE/readonly_fails" ] || { echo "cannot set property: pool I/O is currently suspended" >&2; exit 1; }
	sed 's/^readonly.*/readonly	on/' "$STATE/dataset" >"$STATE/d"; mv "$STATE/d" "$STATE/dataset" ;;
"mount "*)
	[ ! -e "$STATE/mount_fails" ] || { echo "cannot mount '$2': Input/output error" >&2; exit 1; }
	echo "$2 on $ROOT/data/nfs (zfs, local, nfsv4acls)" >>"$STATE/mount"
	mkdir -p "$ROOT/data/nfs"; : >"$ROOT/data/nfs/nfs.DO_NOT_REMOVE" ;;
*) echo "zfs: unexpected $*" >&2; exit 2 ;;
esac
"""

SERVICE = r"""
running="$STATE/running.$1"
export_it() { sed 's/(zfs, local/(zfs, NFS exported, local/' "$STATE/mount" >"$STATE/m"; mv "$STATE/m" "$STATE/mount"; }
case $2 in
onestatus)
	[ -e "$running" ] || { echo "$1 is not running."; exit 1; }
	echo "$1 is running as pid 4711." ;;
onestart)
	[ ! -e "$STATE/refuse.$1" ] || { echo "/etc/rc.d/$1: WARNING: failed to start $1"; exit 1; }
	: >"$running"
	[ "$1" != mountd ] || [ -e "$STATE/export_fails" ] || export_it ;;
onestop) [ -e "$STATE/clings.$1" ] || rm -f "$running" ;;
onerestart) [ -e "$STATE/export_fails" ] || export_it ;;
*) exit 2 ;;
esac
"""


def conf(values: Values) -> str:
    """storage.conf as the deploy renders it."""
    template = (REPOSITORY / "templates" / "storage.conf.j2").read_text()
    return Environment(undefined=StrictUndefined).from_string(template).render(variables=values.variables)


class StorageHost(StubHost):
    """A healthy BACKUP with its dataset mounted, nothing running, `f3s_storage` started."""

    def __init__(self, base: Path, role: str = "primary") -> None:
        super().__init__(base)
        self.role = role
        self.dataset = DATASET[role]
        self.mountpoint = self.path("/data/nfs")
        self.write(
            STORAGE_CONF, self.rewrite(conf(wanted_values(SITE.primary if role == "primary" else SITE.standby, SITE)))
        )
        programs = {name: self.install(FILES / "freebsd" / name, path) for name, (path, _) in PROGRAMS.items()}
        # A test must not wait ten seconds for a command that never answers.
        library = programs["f3s-storage-lib.sh"]
        library.write_text(library.read_text().replace("F3S_LIMIT=10", "F3S_LIMIT=1"))
        self.control = programs["f3s-storage-control.sh"]
        self.carp_program = programs["carp"]
        self.hook = programs["carpcontrol.sh"]
        self.failback = programs["carp-auto-failback.sh"]
        for folder in ("/var/run/f3s", "/var/db/f3s", "/var/log", "/tmp", "/data/nfs", "/var/run/stunnel"):
            self.path(folder).mkdir(parents=True, exist_ok=True)
        self.command("ifconfig", IFCONFIG)
        self.command("zfs", ZFS)
        self.command("zpool", '[ -e "$STATE/health" ] && cat "$STATE/health"')
        self.command("service", SERVICE)
        self.command("mount", 'cat "$STATE/mount"')
        self.command("ping", '[ ! -e "$STATE/peer_dead" ]')
        self.command("logger")
        self.command("daemon")
        self.command("install", 'for last; do :; done; mkdir -p "$last"')
        self.command("sysctl", 'case "$2" in kern.boottime) cat "$STATE/boottime" ;; *) cat "$STATE/preempt" ;; esac')
        self.command("id", 'cat "$STATE/uid"', record=False)
        # lockf(1) of FreeBSD in terms of flock(1): -k -s -t SECONDS FILE COMMAND...
        lockf = '[ "$1 $2 $3" = "-k -s -t" ] || exit 64; shift 3\nexec /usr/bin/flock -o -w "$1" -E 75 "$2" '
        self.command("lockf", lockf + '"${3}" "$4" "$5"')
        # without --foreground FreeBSD's would wait for the daemons that a service leaves behind, and kill them
        self.command("timeout", '[ "$1" = --foreground ] || exit 99\nexec /usr/bin/timeout "$@"', record=False)
        self.command("sleep", "exec /bin/sleep 0.01", record=False)
        self.state("uid", "0\n")
        self.state("preempt", "0\n")
        self.booted(0)
        self.state("health", "ONLINE\n")
        self.state("snapshots", "100\n250\n200\n")
        self.state("bookmarks", "")
        self.carp("BACKUP", 0 if role == "primary" else 100)
        self.properties()
        self.mounted(self.dataset)
        self.marker()
        self.write(STARTED, "")

    def booted(self, when: int) -> None:
        """The time of the boot, as the clock says now."""
        self.state("boottime", f"{{ sec = {when}, usec = 302515 }} Sat Nov 22 08:56:51 2026\n")

    def carp(self, state: str, skew: int | None = None) -> None:
        self.state("carp", f"{state}\n")
        if skew is not None:
            self.state("skew", f"{skew}\n")

    def carp_now(self) -> tuple[str, int]:
        return self.state("carp").strip(), int(self.state("skew"))

    def properties(self, keystatus: str = "available", readonly: str | None = None, written: int = 0) -> None:
        readonly = readonly or ("off" if self.role == "primary" else "on")
        values = {"keystatus": keystatus, "mountpoint": self.mountpoint, "readonly": readonly, "written": written}
        self.state("dataset", "".join(f"{name}\t{value}\n" for name, value in values.items()))

    def mounted(self, dataset: str | None, exported: bool = False) -> None:
        lines = "zroot/ROOT/default on / (zfs, local, nfsv4acls)\nzdata on /data (zfs, NFS exported, local)\n"
        if dataset:
            flags = "zfs, NFS exported, local" if exported else "zfs, local"
            lines += f"{dataset} on {self.mountpoint} ({flags}, nfsv4acls)\n"
        self.state("mount", lines)

    def marker(self) -> None:
        self.write("/data/nfs/nfs.DO_NOT_REMOVE", "")

    def serving(self) -> None:
        """A MASTER that serves already."""
        self.carp("MASTER")
        self.mounted(self.dataset, exported=True)
        for service in SERVICES:
            self.flag(f"running.{service}")

    def flag(self, name: str, text: str = "") -> None:
        self.state(name, text)

    def running(self) -> tuple[str, ...]:
        return tuple(s for s in SERVICES if (self._state / f"running.{s}").exists())

    def reconcile(self) -> Result:
        return self.run(self.control, "reconcile")

    def log(self) -> list[str]:
        """What went to syslog."""
        return [call[-1] for call in self.calls("logger")]

    def changes(self) -> list[list[str]]:
        """Everything that was done, without the looking."""
        return [call for call in self.calls() if self._changes(call)]

    @staticmethod
    def _changes(call: list[str]) -> bool:
        match call:
            case ["ifconfig", _] | ["service", _, "onestatus"] | ["zfs", "get" | "list", *_]:
                return False
            case ["ifconfig" | "service" | "zfs", *_]:
                return True
        return False
