"""vm-bhyve and the datasets of its virtual machines."""

from __future__ import annotations

from typing_extensions import override

from f3s.bhyve.tree import parse_all_properties, parse_feature
from f3s.bhyve.vms import VmHost, parse_vm_host
from f3s.quoting import Shell, command
from f3s.zfs import Dataset
from facts.base import HostFact, marked

# vm writes its messages to stderr and may warn there although it succeeds
_VMS = """\
echo '=== installed'
if [ -x /usr/local/sbin/vm ]; then echo yes; else echo no; fi
echo '=== devices'
if [ -d /dev/vmm ]; then ls /dev/vmm; fi
echo '=== list'
rc=0
problem=
if [ -x /usr/local/sbin/vm ]; then { problem=$(/usr/local/sbin/vm list 2>&1 >&3) || rc=$?; } 3>&1; fi
echo '=== problem'
printf '%s\\n' "$problem"
echo '=== rc'
echo "$rc\""""


class AllProperties(HostFact[dict[str, Dataset]]):
    """All file systems and volumes with every property that they have, those of users included, by name."""

    @override
    def command(self) -> str:
        return marked(Shell("zfs get -Hp -o name,property,value,source -t filesystem,volume all"))

    read = staticmethod(parse_all_properties)


class EncryptionFeature(HostFact[str]):
    """feature@encryption of a pool; `-` where the pool is older than features (zpool-features(7))."""

    @override
    def command(self, pool: str) -> str:
        return marked(command("zpool get -H -o value feature@encryption {}", pool))

    read = staticmethod(parse_feature)


class Vms(HostFact[VmHost]):
    """Whether vm-bhyve is installed, its virtual machines with their states, and those that the kernel has."""

    @override
    def command(self) -> str:
        return marked(Shell(_VMS))

    read = staticmethod(parse_vm_host)
