"""Is a disk blank, beyond doubt? The decision behind every `newfs` and `zpool create`.

Blank means: there is such a disk, nothing has it open, nothing known refers to it, no partition table, label or
file system was found, and its first and last 4 MiB are zeros. Each thing that speaks against it is a reason;
whatever is not understood is a reason, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from f3s.parsing import UnknownOutput, number, sections
from f3s.zfs import parse_pool_status

MIB = 1024 * 1024
EDGE_MIB = 4
SMALLEST = 16 * MIB
_FATS = {"fat16", "fat32", "fat32lba", "ms-basic-data"}  # gpart(8)
SECTIONS = ("diskinfo", "geom", "gpart", "fstyp", "zdb", "glabel", "mounts", "swap", "zpool", "head", "tail")


@dataclass(frozen=True)
class Output:
    """What a command printed (stdout and stderr together) and its exit status."""

    status: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return " / ".join(line.strip() for line in self.lines if line.strip())


@dataclass(frozen=True)
class Reason:
    """Why a disk is not blank. `content`: nothing but bytes that no tool recognises."""

    text: str
    content: bool = False


@dataclass(frozen=True)
class Disk:
    """What a host knows about one disk.

    + size: in bytes, None where there is no such disk
    + reasons: why it is not blank
    + file_system: as fstyp calls it (`ufs`, `zfs` ...), None where it recognises none
    + pool: name in the pool label that is on it, None where there is none
    + fat: the disk or its partition with the FAT that is all there is on it, as sticks are sold; None if it is in use
    + pool_destroyed: `zpool destroy` left that label, with which `zpool import` does not find the pool (zpool_main.c)
    """

    device: str
    size: int | None
    model: str | None
    serial: str | None
    reasons: tuple[Reason, ...]
    file_system: str | None = None
    pool: str | None = None
    pool_destroyed: bool = False
    fat: str | None = None

    @property
    def blank(self) -> bool:
        return not self.reasons

    @property
    def only_unrecognised_content(self) -> bool:
        """True where an operator's explicit permission may let the disk be overwritten."""
        return bool(self.reasons) and all(reason.content for reason in self.reasons)

    def why(self) -> str:
        return "; ".join(reason.text for reason in self.reasons)

    def way_on(self) -> str:
        """What the operator can do. The commands that make the disk blank are told only where no tool recognises
        anything on it: what is recognised may be the very data that is missed."""
        if not self.only_unrecognised_content or self.size is None:
            return "find out what it is and who needs it, and check the device in the settings"
        return f"if nothing on it is needed, and it is not in use, {self.clearing(self.size)}"

    def clearing(self, size: int) -> str:
        """The commands that make the disk blank, of `size` bytes."""
        return (
            "clear both ends by hand on that host: "
            f"dd if=/dev/zero of=/dev/{self.device} bs=1m count={EDGE_MIB} && "
            f"dd if=/dev/zero of=/dev/{self.device} bs=1m seek={tail_start(size)}"
            " (the second ends with 'end of device')"
        )


def whole_disk(device: str) -> bool:
    """True for the name of a whole disk (`ada1`, `da0`, `nda0`), not a partition, label or path."""
    return re.fullmatch(r"[a-z]+[0-9]+", device) is not None


def tail_start(size: int) -> int:
    """Where the last piece to read starts, in MiB: at least EDGE_MIB before the end of the media."""
    return size // MIB - EDGE_MIB


def zeros_sha256(length: int) -> str:
    digest = hashlib.sha256()
    block = bytes(MIB)
    for _ in range(length // MIB):
        digest.update(block)
    digest.update(bytes(length % MIB))
    return digest.hexdigest()


def on_disk(provider: str, disk: str, labels: Mapping[str, str]) -> bool:
    """Does a provider (`ada0p2`, `gpt/zdata`, `gptid/...`) lie on a disk, by its name or through its label?

    labels: label name to the provider it stands for, as `glabel status` shows it; a label may carry a partition
    suffix of its own (`diskid/DISK-1p2`).
    """
    seen: set[str] = set()
    while provider not in seen:
        seen.add(provider)
        if re.fullmatch(re.escape(disk) + r"(\D.*)?", provider):
            return True
        provider = labels.get(provider) or labels.get(re.sub(r"[ps]\d+[a-h]?$", "", provider), provider)
    return False


def parse_disk(lines: Iterable[str], device: str) -> Disk:
    """Judge the output of facts.disks.Probe. Raises UnknownOutput where a section is missing."""
    parts = {name: _output(text, name) for name, text in sections(lines).items()}
    info = parts.get("diskinfo")
    if info is not None and info.status != 0:
        return Disk(device, None, None, None, (Reason(f"there is no disk {device} ({info.text})"),))
    missing = [name for name in SECTIONS if name not in parts]
    if info is None or missing:
        raise UnknownOutput(f"no output of {', '.join(missing)}")
    values = _diskinfo(info.lines)
    size = number(values.get("mediasize in bytes", ""), "media size")
    reasons = [*_users(parts, device), *_signatures(parts), *_content(parts, size)]
    model, serial = values.get("Disk descr."), values.get("Disk ident.")
    zdb = parts["zdb"]
    return Disk(
        device,
        size,
        model,
        serial,
        tuple(reasons),
        _file_system(parts["fstyp"]),
        _pool(zdb),
        _pool_destroyed(zdb),
        _fat(parts, device),
    )


def _output(lines: list[str], name: str) -> Output:
    match = re.fullmatch(r"rc (\d+)", lines[-1]) if lines else None
    if match is None:
        raise UnknownOutput(f"no exit status of {name}")
    return Output(int(match.group(1)), tuple(lines[:-1]))


def _diskinfo(lines: Iterable[str]) -> dict[str, str]:
    """`diskinfo -v`: value, then what it is; `(64M)` behind the size is dropped."""
    values: dict[str, str] = {}
    for line in lines:
        value, mark, label = line.partition("# ")
        if mark:
            values[re.sub(r" \(.*\)$", "", label.strip())] = value.strip()
    return values


def _users(parts: Mapping[str, Output], device: str) -> list[Reason]:
    """Whoever holds the disk: GEOM's open counts, mounts, swap, pools."""
    reasons = []
    mode = [line.split(": ")[1] for line in parts["geom"].lines if line.strip().startswith("Mode: ")]
    if parts["geom"].status != 0 or len(mode) != 1:
        # hw.nvme.use_nvd decides which of them a disk is, and the other may be a link to it (nda(4))
        text = parts["geom"].text[:200]
        if device.startswith(("nda", "nvd")):
            text += "; an NVMe disk is called nda or nvd, and `geom disk list` shows which"
        reasons.append(Reason(f"GEOM does not say whether it is in use ({text})"))
    elif mode[0] != "r0w0e0":
        reasons.append(Reason(f"it is in use (GEOM open mode {mode[0]})"))
    for name in ("glabel", "mounts", "swap", "zpool"):
        if parts[name].status != 0:
            reasons.append(Reason(f"{name} could not be read ({parts[name].text})"))
    labels = _labels(parts["glabel"])
    reasons += [
        Reason(f"it carries the label {name}")
        for name, provider in labels.items()
        if on_disk(provider, device, {}) and not name.startswith("diskid/")
    ]
    for line in parts["mounts"].lines:
        provider, *rest = line.split()
        if rest and on_disk(provider.removeprefix("/dev/"), device, labels):
            reasons.append(Reason(f"{provider} is mounted on {rest[0]}"))
    for line in parts["swap"].lines:
        if line.startswith("/dev/") and on_disk(line.split()[0].removeprefix("/dev/"), device, labels):
            reasons.append(Reason(f"{line.split()[0]} is swap space"))
    try:
        found = parse_pool_status(parts["zpool"].lines)
    except UnknownOutput as error:
        reasons.append(Reason(str(error)))
    else:
        for pool, status in found.items():
            if any(on_disk(provider, device, labels) for provider in status.vdevs):
                reasons.append(Reason(f"it belongs to the imported pool {pool}"))
    return reasons


def _labels(glabel: Output) -> dict[str, str]:
    rows = [line.split() for line in glabel.lines]
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[0] != "Name"}


def _signatures(parts: Mapping[str, Output]) -> list[Reason]:
    """What a tool recognises on the disk; a tool that fails in an unknown way recognises something."""
    reasons = []
    gpart, fstyp, zdb = parts["gpart"], parts["fstyp"], parts["zdb"]
    if gpart.status == 0:
        reasons.append(Reason(f"it has a partition table ({gpart.text[:200]})"))
    elif "No such geom" not in gpart.text:
        reasons.append(Reason(f"gpart cannot tell whether it is partitioned ({gpart.text})"))
    if fstyp.status == 0:
        reasons.append(Reason(f"it holds a file system ({fstyp.text})"))
    elif "filesystem not recognized" not in fstyp.text:
        reasons.append(Reason(f"fstyp cannot tell what it holds ({fstyp.text})"))
    if zdb.status == 0:
        kind, option = ("destroyed pool", " -D") if _pool_destroyed(zdb) else ("pool", "")
        pool = f"{kind} {_pool(zdb) or '(unnamed)'}"
        reasons.append(
            Reason(f"it holds a label of the {pool} (`zpool import{option}` shows one that can be imported)")
        )
    elif not _no_pool_label(zdb.lines):
        reasons.append(Reason(f"zdb cannot tell whether it holds a pool label ({zdb.text})"))
    return reasons


def _file_system(fstyp: Output) -> str | None:
    words = fstyp.text.split()
    return words[0] if fstyp.status == 0 and words else None


def _fat(parts: Mapping[str, Output], device: str) -> str | None:
    """`gpart show` has a line for each partition: start, size, index, type."""
    if not any(line.strip() == "Mode: r0w0e0" for line in parts["geom"].lines):
        return None
    table = parts["gpart"]
    if table.status != 0:
        return device if _file_system(parts["fstyp"]) == "msdosfs" else None
    rows = [row.groups() for line in table.lines if (row := re.match(r"\s*\d+\s+\d+\s+(\d+)\s+(\S+)", line))]
    if len(rows) != 1 or rows[0][1] not in _FATS:
        return None
    return f"{device}{'s' if ' MBR ' in table.lines[0] else 'p'}{rows[0][0]}"


def _pool(zdb: Output) -> str | None:
    name = re.search(r"\bname: '([^']*)'", zdb.text) if zdb.status == 0 else None
    return name.group(1) if name else None


def _pool_destroyed(zdb: Output) -> bool:
    """POOL_STATE_DESTROYED (sys/fs/zfs.h)."""
    return zdb.status == 0 and any(line.strip() == "state: 2" for line in zdb.lines)


def _no_pool_label(lines: Iterable[str]) -> bool:
    """`zdb -l` has read all four places of a label and found none; older versions put a heading above each place."""
    said = [line for line in lines if not re.fullmatch(r"-+|LABEL \d ?", line)]
    return sorted(said) == [f"failed to unpack label {number}" for number in range(4)]


def _content(parts: Mapping[str, Output], size: int) -> list[Reason]:
    if size < SMALLEST:
        return [Reason(f"it has {size} bytes, less than {SMALLEST}: too small to judge")]
    expected = {"head": EDGE_MIB * MIB, "tail": size - tail_start(size) * MIB}
    words = {"head": "first", "tail": "last"}
    reasons = []
    for name, length in expected.items():
        output = parts[name]
        if output.status != 0 or len(output.lines) != 1:
            reasons.append(Reason(f"its {words[name]} {EDGE_MIB} MiB could not be read ({output.text})"))
        elif output.lines[0].strip() != zeros_sha256(length):
            reasons.append(Reason(f"its {words[name]} {EDGE_MIB} MiB are not zeros", content=True))
    return reasons
