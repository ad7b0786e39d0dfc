from __future__ import annotations

import pytest

from f3s.bhyve.vms import Vm, parse_vm_host, parse_vm_list
from f3s.parsing import UnknownOutput

# derived from vm-bhyve 1.7 (lib/vm-core, core::list, aligned by column(1)) and 1.0 (printf with fixed widths)
LIST_1_7 = """\
NAME    DATASTORE  LOADER     CPU  MEMORY  VNC           AUTO     STATE
fedora  default    uefi       2    4G      -             Yes [2]  Running (2112)
rocky   default    uefi       4    14G     0.0.0.0:5900  Yes [1]  Locked (f0.lan.buetow.org)
test-1  default    bhyveload  1    256M    -             No       Stopped
old     ssd        grub       1    1G      -             No       Suspended
boot    default    grub       1    1G      -             No       Bootloader (99)
"""
LIST_1_0 = """\
NAME            GUEST      LOADER      CPU    MEMORY    AUTOSTART    STATE
a-15-chars-name linux      grub        1      512M      Yes [1]      Running (77)
rocky           linux      default     1      512M      No           Stopped
"""
# heading and first row recorded on 15.1 (vm-bhyve 1.8-devel); the others derived from lib/vm-core: tags are joined by
# commas, and column(1) leaves out the empty cell of a machine without `cpu`
LIST_1_8 = """\
NAME    DATASTORE  LOADER  CPU     MEMORY  VNC           AUTO     STATE                      TAGS
rocky   default    uefi    1       256M    -             No       Stopped                    -
fedora  default    uefi    2       4G      0.0.0.0:5900  Yes [2]  Running (2112)             web,Stopped
k3s     default    uefi    4       14G     -             Yes [1]  Locked (f0.lan.buetow.org)  -
draft   default    none    1G      -       No            Stopped  -
"""


LATER = "NAME  HOST  AUTO  NODE  STATE  TAGS  UPTIME\nrocky  f0  Yes [3]  n1  Running (7)  -  3d 04:00"


@pytest.mark.parametrize(
    ("text", "vms"),
    [
        (
            LIST_1_8,
            [
                Vm("rocky", "Stopped", None, None),
                Vm("fedora", "Running", "2112", 2),
                Vm("k3s", "Locked", "f0.lan.buetow.org", 1),
                Vm("draft", "Stopped", None, None),
            ],
        ),
        (LATER, [Vm("rocky", "Running", "7", 3)]),  # columns that are not known are passed over
        (LIST_1_0, [Vm("a-15-chars-name", "Running", "77", 1), Vm("rocky", "Stopped", None, None)]),
        (
            LIST_1_7,
            [
                Vm("fedora", "Running", "2112", 2),
                Vm("rocky", "Locked", "f0.lan.buetow.org", 1),
                Vm("test-1", "Stopped", None, None),
                Vm("old", "Suspended", None, None),
                Vm("boot", "Bootloader", "99", None),
            ],
        ),
    ],
    ids=["1.8", "a later one", "1.0", "1.7"],
)
def test_the_list(text: str, vms: list[Vm]) -> None:
    assert parse_vm_list(text.splitlines()) == tuple(vms)


def test_who_is_stopped_and_who_runs() -> None:
    vms = parse_vm_list(LIST_1_7.splitlines())
    assert [vm.name for vm in vms if vm.stopped] == ["test-1", "old"]
    assert [vm.name for vm in vms if vm.running] == ["fedora", "boot"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rocky default uefi 1 1G - No Stopped",
        "NAME  AUTO  STATE\nrocky  No  Paused",
        "NAME  AUTO  STATE\nrocky  Maybe  Stopped",
        "NAME  AUTO  STATE\nmkdir: /zroot/bhyve/.img: Read-only file system",
        "NAME  STATE\nrocky  Stopped",
        "NAME  AUTO\nrocky  No",
        "NAME  AUTO  TAGS\nrocky  No  Stopped",
    ],
)
def test_unknown_lists_are_refused(text: str) -> None:
    with pytest.raises(UnknownOutput):
        parse_vm_list(text.splitlines())


def host(installed: str = "yes", listed: str = LIST_1_0, problem: str = "", rc: str = "0") -> list[str]:
    text = f"=== installed\n{installed}\n=== devices\nrocky\n=== list\n{listed}=== problem\n{problem}\n=== rc\n{rc}\n"
    return text.splitlines()


def test_a_failed_list_is_unknown_and_says_why() -> None:
    text = "/usr/local/sbin/vm: ERROR: unable to load vmm.ko!"
    found = parse_vm_host(host(listed="", problem=text, rc="1"))
    assert (found.vms, found.problem, found.able) == (None, text, True)


@pytest.mark.parametrize(
    "text",
    [
        "/usr/local/sbin/vm: ERROR: virtualization is not supported or is disabled",  # recorded
        "/usr/local/sbin/vm: ERROR: kernel vmm not initialised (no VT-x / AMD SVM cpu support?)",
    ],
)
def test_a_machine_without_virtualization_runs_nothing(text: str) -> None:
    lines = host(listed="", problem=text, rc="1")
    lines.remove("rocky")
    found = parse_vm_host(lines)
    assert (found.vms, found.problem, found.able) == ((), text, False)
    # the kernel has a machine nevertheless: nothing is known
    assert parse_vm_host(host(listed="", problem=text, rc="1")).vms is None


@pytest.mark.parametrize("lines", [host(installed="perhaps"), host(rc="x"), host()[2:], []])
def test_unknown_output_is_refused(lines: list[str]) -> None:
    with pytest.raises(UnknownOutput):
        parse_vm_host(lines)
