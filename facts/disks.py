"""What a host knows about one disk, read only."""

from __future__ import annotations

from pyinfra.api.exceptions import FactValueError
from typing_extensions import override

from f3s.disks import EDGE_MIB, MIB, Disk, parse_disk, whole_disk
from f3s.quoting import command
from facts.base import DeviceFact

# A read that fails or ends early gives another hash, so it never looks like zeros.
_SCRIPT = f"""\
d={{}}
run() {{{{ echo "=== $1"; shift; "$@" 2>&1; echo "rc $?"; }}}}
edge() {{{{ dd if="/dev/$d" bs={MIB} "$@" 2>/dev/null | sha256; }}}}
size=$(diskinfo -v "$d" 2>/dev/null | awk '/# mediasize in bytes/ {{{{ print $1 }}}}')
run diskinfo diskinfo -v "$d"
if [ -n "$size" ]; then
    run geom geom disk list "$d"
    run gpart gpart show "$d"
    run fstyp fstyp -u "/dev/$d"
    run zdb zdb -l "/dev/$d"
    run glabel glabel status
    run mounts mount -p
    run swap swapctl -l
    run zpool zpool status -LP
    run head edge count={EDGE_MIB}
    run tail edge skip=$(( size / {MIB} - {EDGE_MIB} ))
fi"""


class Probe(DeviceFact[Disk]):
    """One disk with every reason why it is not blank.

    + device: name of the disk without /dev/, e.g. `ada1`
    """

    @override
    def command(self, device: str) -> str:
        if not whole_disk(device):
            raise FactValueError(f"{device!r} is not the name of a whole disk, such as ada1")
        self.device = device
        return self.asked(command(_SCRIPT, device))

    @override
    def read(self, lines: list[str]) -> Disk:
        return parse_disk(lines, self.device)

    @override
    def silence(self, lines: list[str]) -> tuple[str, str]:
        return f"the disk {self.device}", (
            "`dmesg` there shows its errors. Pull it out and plug it in again, or boot the host; a disk that stays "
            "silent is dead: put another one in"
        )
