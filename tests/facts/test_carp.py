from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.carp import RC_HEADER, Aliases, Rivals, alias_words, password_digest, rc_file
from facts.base import END
from facts.carp import RC_FILE, BootAliases, BootPassword, Carp, CarpRivals
from facts.newer import Newer
from facts.nfs import ShareEntries
from facts.sysctl import Sysctls
from tests.f3s.test_carp import F0
from tests.files.stubs import StubHost
from tests.shell import lines_of, shell


def run(host: StubHost, fact: object, **arguments: object) -> list[str]:
    """The output of a fact's own command on a host of stubs."""
    script = host.write("/tmp/fact", host.rewrite(fact.command(**arguments)))  # type: ignore[attr-defined]
    return host.run(script).out.splitlines()


@pytest.fixture
def host(tmp_path: Path) -> StubHost:
    host = StubHost(tmp_path)
    host.command("ifconfig", f"cat <<'EOF'\n{F0}\nEOF")
    host.command("sysctl", 'shift; for name in "$@"; do echo 0; done')
    return host


def test_the_view_of_a_master(host: StubHost) -> None:
    view = Carp().process(run(host, Carp(), interface="vtnet0"))
    assert view is not None
    assert view.loaded
    assert view.virtual_hosts[1].addresses == ("192.168.1.138",)
    assert (view.demotion, view.preempt) == (0, 0)
    assert (view.bridge, view.takes_addresses, view.release) == (None, False, 0)  # the stub's sysctls are all 0
    host.command("sysctl", '[ "$2" = kern.osreldate ] && echo 1302001')
    without = Carp().process(run(host, Carp(), interface="vtnet0"))
    assert without is not None
    assert not without.loaded
    with pytest.raises(FactProcessError):
        Carp().process(run(host, Carp(), interface="nope0"))


# carp_stats in usr.bin/netstat/inet.c; in_arpinput and arp_check_update_lle in sys/netinet/if_ether.c
NETSTAT = """carp:
	412 packets received (IPv4)
		0 discarded for bad checksum
		7 discarded for bad authentication
		2 discarded for bad vhid"""
DMESG = """carp: 1@vtnet0: BACKUP -> MASTER (master timed out)
arp: 192.168.1.138 moved from 00:00:5e:00:01:01 to 52:54:00:00:01:31 on vtnet0
[12] arp: 52:54:00:00:00:99 is using my IP address 192.168.1.138 on vtnet0!
arp: 192.168.1.13 moved from 52:54:00:00:00:01 to 52:54:00:00:00:02 on vtnet0
arp: 192.168.1.138 is on vtnet0 but got reply from 52:54:00:00:00:03 on vtnet1"""


def test_what_the_kernel_noticed_of_rivals(host: StubHost) -> None:
    arguments = {"interface": "vtnet0", "address": "192.168.1.138"}
    host.command("netstat", f'[ "$*" = "-s -p carp" ] && cat <<EOF\n{NETSTAT}\nEOF')
    for said, seen in ((DMESG, {"00:00:5e:00:01:01", "52:54:00:00:01:31", "52:54:00:00:00:99"}), ("", set())):
        host.command("dmesg", f"cat <<'EOF'\n{said}\nEOF")
        found = CarpRivals().process(run(host, CarpRivals(), **arguments))
        assert found == Rivals(7, "52:54:00:00:01:30", frozenset(seen))
    # pfctl -s rules, ipfw list: they name protocols as /etc/protocols does
    host.command(
        "pfctl", 'case $2 in info) echo "Status: Enabled for 0 days 00:00:09" ;; rules) cat "$STATE/pf" ;; esac'
    )
    host.command("ipfw", 'cat "$STATE/ipfw"')
    host.command("sysctl", "echo 1")
    block, allow, deny = "block drop all\n", "65000 allow ip from any to any\n", "65535 deny ip from any to any\n"
    for pf, ipfw, walls in (
        (block, deny, ("pf", "ipfw")),
        (f"{block}pass quick on re0 proto carp all keep state\n", f"00100 allow carp from any to any\n{deny}", ()),
        ("pass all flags S/SA keep state\n", allow + deny, ()),
        ("pass all\n", "00100 allow ip from any to any via lo0\n" + deny, ("ipfw",)),
    ):
        host.state("pf", pf)
        host.state("ipfw", ipfw)
        found = CarpRivals().process(run(host, CarpRivals(), **arguments))
        assert found is not None
        assert found.firewalls == walls
    for program in ("netstat", "dmesg", "ifconfig"):  # nothing is counted without the module
        host.command(program, "exit 0" if program == "netstat" else "exit 1")
        with pytest.raises(FactProcessError):
            CarpRivals().process(run(host, CarpRivals(), **arguments))


def test_aliases_are_told_apart_without_showing_them(host: StubHost) -> None:
    host.write("/etc/defaults/rc.conf", f"source_rc_confs() {{ . {host.path('/etc/rc.conf')}; }}\n")
    host.write(
        "/etc/rc.conf",
        "ifconfig_re0='inet 192.168.1.138'\n"
        "ifconfig_re0_alias0='inet vhid 9 pass f0reign alias 192.168.1.77/32'\n"
        "ifconfig_re0_alias1='inet vhid 1 pass h4ndmade alias 192.168.1.138/32'\n"
        "ifconfig_re0_alias2='inet 192.168.1.13 netmask 255.255.255.255'\n"
        "ifconfig_re01_alias0='inet 192.168.1.138/32'\n"
        "ifconfig_re0_alias3=''\n",
    )
    arguments = {"interface": "re0", "address": "192.168.1.138"}
    output = run(host, BootAliases(), **arguments)
    assert "pass" not in " ".join(output)
    assert BootAliases().process(output) == Aliases((1,), (0, 2), foreign_file=False)
    host.write(RC_FILE, rc_file("re0", 1, "inet"))
    assert BootAliases().process(run(host, BootAliases(), **arguments)) == Aliases((1,), (0, 2), False)
    host.write(RC_FILE, "ifconfig_re0_alias5='inet 10.0.0.1'\n")
    assert BootAliases().process(run(host, BootAliases(), **arguments)) == Aliases((1,), (0, 2), True)
    assert RC_HEADER.startswith("# ")


def test_sysctls() -> None:
    said = lines_of(Sysctls().command(names=("kernel.ostype", "no.such.name")))
    assert Sysctls().process(said) == {"kernel.ostype": "Linux", "no.such.name": None}
    with pytest.raises(FactProcessError):
        Sysctls().process(["=== a", "1", "2", END])


def shares(host: StubHost) -> dict[str, str] | bool | None:
    mountpoint = str(host.path("/data/nfs"))
    names = ("k3svolumes", "link", "file", "nfs.DO_NOT_REMOVE")
    arguments = {"dataset": "zdata/enc/nfsdata", "mountpoint": mountpoint, "names": names}
    script = host.write("/tmp/fact", ShareEntries().command(**arguments))
    return ShareEntries().process(host.run(script).out.splitlines())


def test_share_entries_of_a_mounted_dataset(host: StubHost) -> None:
    host.command("mount", f'echo "zdata/enc/nfsdata on {host.path("/data/nfs")} (zfs, local)"')
    host.command("stat", "echo 750")
    host.path("/data/nfs/k3svolumes").mkdir(parents=True)
    host.path("/data/nfs/link").symlink_to("/")
    host.write("/data/nfs/file", "")
    assert shares(host) == {"k3svolumes": "750", "link": "other", "file": "file", "nfs.DO_NOT_REMOVE": "absent"}


def test_the_password_of_the_boot_is_told_by_its_digest(host: StubHost) -> None:
    host.command("sha256", 'sha256sum | cut -d" " -f1')
    (host.bin / "sha256sum").symlink_to(shutil.which("sha256sum") or "")
    assert BootPassword().process(run(host, BootPassword())) == ""
    host.write(RC_FILE, rc_file("igb0.10", 12, alias_words(1, 1, 100, "s3cret.x", "192.168.1.138")))
    assert BootPassword().process(run(host, BootPassword())) == password_digest("s3cret.x")
    host.write(RC_FILE, f"{RC_HEADER}\nifconfig_re0_alias0='inet 192.168.1.77/32'\n")
    assert BootPassword().process(run(host, BootPassword())) == hashlib.sha256().hexdigest()
    for lines in ([], ["no digest"], ["absent", "absent"]):
        with pytest.raises(FactProcessError):
            BootPassword().process([*lines, END])


@pytest.mark.parametrize("mounted", ["", "zdata/other", "zdata/enc/nfsdata on {0} (zfs)\nzdata/other"])
def test_the_bare_mount_point_has_no_entries(host: StubHost, mounted: str) -> None:
    mountpoint = host.path("/data/nfs")
    lines = f"{mounted.format(mountpoint)} on {mountpoint} (zfs, local)\n" if mounted else ""
    host.command("mount", f"cat <<'EOF'\nzdata on /data (zfs)\n{lines}EOF")
    assert shares(host) is False


def test_unknown_share_entries_are_refused() -> None:
    for lines in (["=== entries", "weird k3svolumes", END], ["=== x", END], ["=== entries", "file", END]):
        with pytest.raises(FactProcessError):
            ShareEntries().process(lines)


def test_newer(tmp_path: Path) -> None:
    def newer(*marks: str) -> bool | None:
        paths = [str(tmp_path / mark) for mark in marks]
        return Newer().process(lines_of(Newer().command(path=str(tmp_path / "file"), marks=paths)))

    assert newer("old") is False, "there is nothing to be read"
    for number, name in enumerate(("old", "file", "new")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    assert newer("old", "absent") is True
    assert newer("new") is False
    assert newer("old", "new") is False
    assert newer("absent") is True
    # made while the clock was ahead: it would hide every change until then
    os.utime(tmp_path / "new", (4_000_000_000, 4_000_000_000))
    assert newer("new") is True
    assert newer("old", "new") is True
    (tmp_path / "just now").touch()
    assert newer("new", "just now") is False
    with pytest.raises(FactProcessError):
        Newer().process(["perhaps", END])


def test_newer_is_unknown_where_the_time_of_a_mark_is(tmp_path: Path) -> None:
    out = shell(Newer().command(path=str(tmp_path), marks=[str(tmp_path / "find")]), tmp_path, find="exit 1")
    assert (out.stdout, out.returncode) == ("", 1)
