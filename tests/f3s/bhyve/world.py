"""A small model of a host with vm-bhyve on ZFS, on which the commands of the migration are carried out.

It knows no more than the migration needs and is stricter than ZFS: what no command of ours may do is an error.
Rules are those of zfs(8) of OpenZFS 2.1 and of observations.md.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import shlex
from dataclasses import dataclass, field

from f3s.bhyve.model import Facts, Plan, Programs, Wanted
from f3s.bhyve.plan import plan
from f3s.bhyve.vms import Vm, VmHost
from f3s.keycheck import KeyCheck
from f3s.mounts import Directory, Mount, MountTable
from f3s.zfs import Dataset, Property, Snapshot

NEW, OLD, SNAP = "zroot/bhyve", "zroot/bhyve_old", "f3s_migrate"
PLACE = "/zroot/bhyve"
KEY = "/keys/f0.lan.buetow.org:bhyve.key"
STICK = "ufs/F3S_KEYS"
WANTED = Wanted(NEW, OLD, SNAP, KEY, "aes-256-gcm", STICK, 60, False, Programs("WAIT", "METADATA", "GUARD"))
DESTROY = dataclasses.replace(WANTED, destroy_old=True)
VM = "/usr/local/sbin/vm"
DEFAULTS = {"canmount": "on", "readonly": "off", "compression": "off", "refreservation": "0", "quota": "0"}
INHERITED = ("readonly", "compression", "mountpoint")
STREAM = re.compile(r"\{ (zfs send .*?) 2>&1 >&3 3>&- \| awk '.*' >&2 3>&-; \} 3>&1 \| (zfs recv .*)", re.DOTALL)


class Failed(Exception):
    """A command that exits with a status other than 0; it has changed nothing."""


class Killed(Exception):
    """The run ended in the middle of a command."""


@dataclass
class Node:
    """A file system or volume. data: what is in it; snapshots: name, guid, data at that time."""

    volume: bool = False
    data: str = ""
    local: dict[str, str] = field(default_factory=dict)
    snapshots: list[tuple[str, str, str]] = field(default_factory=list)
    root: str | None = None  # encryption root
    keylocation: str | None = None  # of an encryption root
    mounted: bool = False
    token: str | None = None
    origin: str = "-"
    log: int = 0  # bytes that `written` shows for the intent log; zfs recv passes them over (dsl_dataset.c)


class World:
    """zroot with a VM tree; `available` bytes are free."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {
            "zroot": Node(local={"mountpoint": "/zroot"}, mounted=True),
            NEW: Node(data="system.conf", local={"compression": "lz4", "mountpoint": "/zroot/bhyve"}, mounted=True),
            f"{NEW}/fedora": Node(data="fedora", mounted=True),
            f"{NEW}/rocky": Node(
                data="rocky.conf",
                local={"canmount": "on", "readonly": "off", "org.site:owner": "it's me", "quota": "4096"},
                mounted=True,
            ),
            f"{NEW}/rocky/disk0": Node(volume=True, data="disk0", local={"volsize": "100", "refreservation": "110"}),
            f"{NEW}/rocky/disk1": Node(volume=True, data="disk1", local={"volsize": "100"}),
            f"{NEW}/spare": Node(data="spare", local={"canmount": "noauto", "mountpoint": "/spare"}),
        }
        self.guids = 1000
        self.available = 10**9
        self.vms = {"rocky": True, "fedora": True, "spare": False}
        self.vm_list = ("rocky",)
        self.locked: set[str] = set()
        self.stubborn: frozenset[str] = frozenset()
        self.key_loaded: set[str] = set()
        self.installed = True
        self.able = True
        self.vm_dir: str | None = f"zfs:{NEW}"
        self.strange_devices: frozenset[str] = frozenset()
        self.feature = "enabled"
        self.stick: str | None = STICK
        self.place = Directory(PLACE, "Directory", frozenset(), ())  # what is there while nothing is mounted
        self.key_check: KeyCheck | None = KeyCheck.FITS
        for name in (f"{NEW}/rocky", f"{NEW}/rocky/disk0", f"{NEW}/fedora"):
            self._snapshot(name, "before")
        self.nodes[f"{NEW}/rocky/disk0"].data = "disk0 changed"
        self._snapshot(f"{NEW}/rocky/disk0", "later")

    # -- what is asked of a host

    def value(self, name: str, prop: str) -> tuple[str, str]:
        """A property's value and source."""
        node = self.nodes[name]
        if prop in node.local:
            return node.local[prop], "local"
        parent = name.rpartition("/")[0]
        if parent and (prop in INHERITED or ":" in prop):
            above, source = self.value(parent, prop)
            if prop == "mountpoint" and above.startswith("/"):
                above += "/" + name.rpartition("/")[2]
            if source == "local":
                return above, f"inherited from {parent}"
            return above, source
        return DEFAULTS.get(prop, "-"), "default" if prop in DEFAULTS else "-"

    def facts(self) -> Facts:
        """All facts of the moment."""
        users = {prop for node in self.nodes.values() for prop in node.local if ":" in prop}
        datasets: dict[str, Dataset] = {}
        snapshots: list[Snapshot] = []
        for name, node in self.nodes.items():
            last = node.snapshots[-1][2] if node.snapshots else ""
            plain = {
                "type": "volume" if node.volume else "filesystem",
                "encryption": "aes-256-gcm" if node.root else "off",
                "encryptionroot": node.root or "-",
                "keylocation": node.keylocation or ("none" if node.root else "-"),
                "keystatus": "-" if not node.root else "available" if node.root in self.key_loaded else "unavailable",
                "mounted": "-" if node.volume else "yes" if node.mounted else "no",
                "written": str((len(node.data) if node.data != last else 0) + node.log),
                "receive_resume_token": node.token or "-",
                "used": "100",
                "available": str(self.available),
                "referenced": str(len(node.data)),
                "usedbydataset": str(len(node.data)),
                "usedbysnapshots": str(len(node.snapshots)),
                "usedbyrefreservation": "0",
                "origin": node.origin,
            }
            props = {prop: Property(text, "-") for prop, text in plain.items()}
            names = {"readonly", "compression", "refreservation", *users, *node.local}
            names |= {"volsize"} if node.volume else {"canmount", "mountpoint", "quota"}
            if node.token and not node.snapshots:  # a partly received volume has none (zfs_ioctl.c)
                names -= {"volsize"}
            for prop in sorted(names):
                text, source = self.value(name, prop)
                if text != "-" or source != "-":
                    props[prop] = Property(text, source)
            datasets[name] = Dataset(name, props)
            for index, (short, guid, _) in enumerate(node.snapshots):
                snapshots.append(Snapshot(f"{name}@{short}", guid, index, 0))
        return Facts(
            datasets=datasets,
            key_check=self.key_check,
            key_present=True,
            snapshots=tuple(snapshots),
            vm=self._vm_host(),
            vm_dir=self.vm_dir,
            encryption_feature=self.feature,
            mounts=self._mounts(),
        )

    def _mounts(self) -> MountTable:
        mounts = [Mount(self.stick, "/keys", "ufs", frozenset({"ro"}))] if self.stick else []
        for name, node in self.nodes.items():
            if node.mounted:
                mounts.append(Mount(name, self.value(name, "mountpoint")[0], "zfs", frozenset()))
        return MountTable(tuple(mounts), {PLACE: self.place})

    def _vm_host(self) -> VmHost:
        devices = frozenset(name for name, on in self.vms.items() if on) | self.strange_devices
        if not self.installed:
            return VmHost(False, (), "", devices)
        if not self.able:
            return VmHost(True, (), "virtualization is not supported or is disabled", devices, able=False)
        if NEW not in self.nodes or not self.nodes[NEW].mounted:
            return VmHost(True, None, f"unable to locate mountpoint for ZFS dataset {NEW}", devices)
        found = []
        for name, on in self.vms.items():
            order = self.vm_list.index(name) + 1 if name in self.vm_list else None
            off = Vm(name, "Locked", "f0", order) if name in self.locked else Vm(name, "Stopped", None, order)
            found.append(Vm(name, "Running", "123", order) if on else off)
        return VmHost(True, tuple(found), "", devices)

    # -- what happens to a host

    def execute(self, text: str, killed: bool = False) -> None:
        """Carry out a command; killed: only a part of it, where there is such a thing, then Killed."""
        if stream := STREAM.fullmatch(text):
            self._stream(shlex.split(stream[1]), shlex.split(stream[2]), killed)
        else:
            words = shlex.split(text)
            if killed and words[:4] == ["sh", "-c", "METADATA", "bhyve-metadata"] and words[4] == "copy":
                self.nodes[words[6]].data = "half of "
            elif killed and words[:2] == ["zfs", "destroy"]:
                for name in [name for name in self.nodes if name.startswith(f"{words[3]}/")][1:]:
                    del self.nodes[name]
                for node in (n for name, n in self.nodes.items() if f"{name}/".startswith(f"{words[3]}/")):
                    node.snapshots.clear()
            elif killed and words[:2] == [VM, "stop"]:
                self.vms[words[2]] = False
            elif not killed:
                self._run(words)
        self.check()
        if killed:
            raise Killed

    def reboot(self, keys: bool, power_cut: bool = False) -> None:
        """Everything unmounted, then mounted as at boot; the virtual machines of vm_list start where they can.

        A power cut leaves the locks of those that ran, and marks the logs of datasets (observed; of what came with a
        stream it does not).
        """
        if power_cut:
            self.locked |= {name for name, on in self.vms.items() if on}
            for node in self.nodes.values():
                node.log = 1024
        self.vms = dict.fromkeys(self.vms, False)
        self.key_loaded = {node.root for node in self.nodes.values() if node.root} if keys else set()
        for name, node in self.nodes.items():
            place = self.value(name, "mountpoint")[0]
            wants = not node.volume and self.value(name, "canmount")[0] == "on" and place.startswith("/")
            node.mounted = wants and (not node.root or node.root in self.key_loaded)
        if NEW in self.nodes and self.nodes[NEW].mounted:
            for name in self.vm_list:
                self.vms[name] = f"{NEW}/{name}" in self.nodes and self.nodes[f"{NEW}/{name}"].mounted
                self.locked -= {name} if self.vms[name] else set()
        self.check()

    def check(self) -> None:
        """What must hold at every moment."""
        places = [self.value(name, "mountpoint")[0] for name, node in self.nodes.items() if node.mounted]
        assert len(places) == len(set(places)), f"two datasets at one place: {sorted(places)}"
        if OLD in self.nodes and NEW in self.nodes:
            for name, node in self.nodes.items():
                assert node.root in (NEW, name) or not f"{name}/".startswith(f"{NEW}/"), f"{name} is plain below {NEW}"
        if NEW in self.nodes and self.nodes[NEW].root:
            assert self.place.guarded, f"{PLACE} takes plain text while {NEW} is not mounted"
        for name, on in self.vms.items():
            assert not on or self.nodes[f"{NEW}/{name}"].mounted, f"{name} runs without its dataset"

    def _run(self, words: list[str]) -> None:
        match words:
            case ["mkdir", "-p", place, "&&", *rest] if place == PLACE:
                self.place = Directory(PLACE, "Directory", frozenset(), ())
                self._run(rest)
            case ["chflags", "schg", place] if place == PLACE:
                assert self.place.kind == "Directory"
                assert not any(mount.directory == PLACE for mount in self._mounts().mounts), "guards what is mounted"
                self.place = dataclasses.replace(self.place, flags=frozenset({"schg"}))
            case ["zfs", "set", value, name] if value.startswith("keylocation="):
                self._node(name).keylocation = value.partition("=")[2]
            case ["zfs", "set", *values, name]:
                self._node(name).local |= dict(value.split("=", 1) for value in values)
                if "refreservation=auto" in values:
                    self.nodes[name].local["refreservation"] = self.nodes[name].local["volsize"]
            case ["zfs", "unmount", name]:
                node = self._node(name)
                if not node.mounted or self._busy(name):
                    raise Failed(f"{name} is not mounted, or busy")
                node.mounted = False
            case ["zfs", "mount", name]:
                self._mount(name)
            case ["zfs", "load-key", name]:
                if name in self.key_loaded:
                    raise Failed("Key already loaded")
                self.key_loaded.add(name)
            case ["zfs", "rename", source, target]:
                if target in self.nodes or self._busy(source):
                    raise Failed("exists or busy")
                for name in [name for name in self.nodes if f"{name}/".startswith(f"{source}/")]:
                    self.nodes[target + name.removeprefix(source)] = self.nodes.pop(name)
            case ["zfs", "snapshot", "-r", full]:
                root, _, short = full.partition("@")
                for name in [name for name in self.nodes if f"{name}/".startswith(f"{root}/")]:
                    self._snapshot(name, short)
            case ["zfs", "create", *options, name]:
                self._create(name, dict(value.split("=", 1) for value in options[1::2]))
            case ["zfs", "destroy", "-r", root]:
                for name in [name for name in self.nodes if f"{name}/".startswith(f"{root}/")]:
                    del self.nodes[name]
            case ["zfs", "rollback", full]:
                node, short = self._node(full.partition("@")[0]), full.partition("@")[2]
                if node.snapshots[-1][0] != short:
                    raise Failed("more recent snapshots or bookmarks exist")
                node.data = node.snapshots[-1][2]  # its log stays marked (observed)
            case ["zfs", "receive", "-A", name]:
                node = self._node(name)
                assert node.token
                node.token = None
                if not node.snapshots:
                    del self.nodes[name]
            case ["sh", "-c", "GUARD", "guard-below", "/zroot", "bhyve"]:
                if self.place.entries:
                    raise Failed("files that were written UNENCRYPTED")
                self.place = dataclasses.replace(self.place, flags=frozenset({"schg"}))
            case ["sh", "-c", "METADATA", "bhyve-metadata", verb, source, target]:
                self._metadata(verb, self._node(source), self._node(target))
            case ["sh", "-c", "WAIT", "bhyve-wait", state, _, "/zroot/bhyve", *names]:
                wrong = [name for name in names if self.vms[name] != (state == "running")]
                if wrong:
                    raise Failed(f"not {state} in time: {', '.join(wrong)}")
                self.locked -= set(names)
            case [program, "stop", name, "</dev/null"] if program == VM:
                self.vms[name] = name in self.stubborn
            case [program, *_] if program == VM and not self.able:
                raise AssertionError(f"vm fails on a machine without virtualization: {words}")
            case [program, "init"] if program == VM:
                assert self.nodes[NEW].mounted
            case [program, "start", *names] if program == VM:
                assert self.nodes[NEW].mounted
                self.vms |= dict.fromkeys(names, True)
                self.locked -= set(names)
            case _:
                raise AssertionError(f"not a command of the migration: {words}")

    def _node(self, name: str) -> Node:
        if name not in self.nodes:
            raise Failed(f"cannot open '{name}': dataset does not exist")
        return self.nodes[name]

    def _busy(self, name: str) -> bool:
        return any(on and f"{NEW}/{vm}/".startswith(f"{name}/") for vm, on in self.vms.items())

    def _mount(self, name: str) -> None:
        node = self._node(name)
        if node.mounted or self.value(name, "canmount")[0] == "off":
            raise Failed("mounted already, or canmount=off")
        if node.root and node.root not in self.key_loaded:
            raise Failed("encryption key not loaded")
        node.mounted = True

    def _snapshot(self, name: str, short: str) -> None:
        node = self.nodes[name]
        if any(taken == short for taken, _, _ in node.snapshots):
            raise Failed(f"{name}@{short} exists")
        self.guids += 1
        node.snapshots.append((short, str(self.guids), node.data))
        node.log = 0

    def _create(self, name: str, values: dict[str, str]) -> None:
        if name in self.nodes:
            raise Failed("dataset already exists")
        assert values.pop("encryption") == "aes-256-gcm"
        assert values.pop("keyformat") == "raw"
        location = values.pop("keylocation")
        assert location == f"file://{KEY}"
        mounted = values.get("canmount", "on") == "on"
        self.nodes[name] = Node(local=values, root=name, keylocation=location, mounted=mounted)
        self.key_loaded.add(name)

    def _metadata(self, verb: str, source: Node, target: Node) -> None:
        assert source.mounted
        assert target.mounted
        mounted = [name for name, node in self.nodes.items() if name.startswith(f"{OLD}/") and node.mounted]
        assert not mounted, f"images would be copied into the parent: {mounted}"
        if verb == "copy":
            target.data = source.data
        elif source.data != target.data:
            raise Failed("files differ")

    def _stream(self, send: list[str], receive: list[str], killed: bool) -> None:
        target_name = receive[-1]
        target = self.nodes.get(target_name)
        match send:
            case ["zfs", "send", "-v", "-t", token]:
                if not target or target.token != token:
                    raise Failed("the token is not that of the target")
                full, before = token.split("|")[0], token.split("|")[1] or None
            case ["zfs", "send", "-v", "-i", base, full]:
                before = base.removeprefix("@")
            case ["zfs", "send", "-v", full]:
                before = None
            case _:
                raise AssertionError(f"not a send of the migration: {send}")
        source_name, _, short = full.partition("@")
        source = self._node(source_name)
        sent = next(snapshot for snapshot in source.snapshots if snapshot[0] == short)
        parent = self.nodes[target_name.rpartition("/")[0]]
        assert parent.root in self.key_loaded
        if target is None:
            assert before is None
            assert receive[:6] == ["zfs", "recv", "-s", "-u", "-x", "encryption"]
            values = dict(value.split("=", 1) for value in receive[7:-1:2])
            assert "quota" not in values, "a quota could stop its own copy"
            assert "refreservation" not in values, "auto is for datasets that exist"
            if source.volume:
                values["volsize"] = source.local["volsize"]
            target = self.nodes[target_name] = Node(source.volume, local=values, root=parent.root)
        else:
            assert receive[:4] == ["zfs", "recv", "-s", "-u"]
            assert "-x" not in receive
            if before is None and target.token is None:
                raise Failed("destination exists")
            if before is not None:
                base_guid = next(guid for name, guid, _ in source.snapshots if name == before)
                if target.snapshots[-1][1] != base_guid or target.data != target.snapshots[-1][2] or target.mounted:
                    raise Failed("destination has been modified since most recent snapshot")
        if killed:
            target.token = f"{full}|{before or ''}"
            return
        target.token, target.log = None, 0
        target.snapshots.append(sent)
        target.data = sent[2]


def clone(world: World) -> World:
    """A copy that changes on its own."""
    return copy.deepcopy(world)


def next_plan(world: World, wanted: Wanted = WANTED) -> Plan:
    return plan(world.facts(), wanted)


def migrate(world: World, wanted: Wanted = WANTED) -> list[str]:
    """Run to the end, one step after the other, each planned from the facts of its moment."""
    done: list[str] = []
    while steps := next_plan(world, wanted).steps:
        assert len(done) < 200, f"no end in sight: {done[-3:]}"
        for text in steps[0].commands:
            world.execute(text)
            done.append(text)
    return done


def done_world() -> World:
    world = World()
    migrate(world)
    return world
