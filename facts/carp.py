"""CARP on an interface as it is now, and what a boot would make of it."""

from __future__ import annotations

from typing_extensions import override

from f3s.carp import RC_HEADER, Aliases, CarpView, Rivals, parse_aliases, parse_carp, parse_rivals, rc_interface
from f3s.parsing import only_line
from f3s.quoting import command
from facts.base import HostFact, marked

RC_FILE = "/etc/rc.conf.d/netif"
_VIEW = """\
echo '=== interface' && echo {} && echo '=== ifconfig' && ifconfig && echo '=== release' && sysctl -n kern.osreldate &&
echo '=== bridge' && {{ sysctl -n net.link.bridge.member_ifaddrs 2>/dev/null || true; }} && echo '=== sysctl' &&
if sysctl -n net.inet.carp.preempt >/dev/null 2>&1; then
    sysctl -n net.inet.carp.demotion net.inet.carp.preempt
fi"""
# Says whose an alias is, never its words: they may include the password of another CARP group.
_ALIASES = """\
( interface={} address={} file={} header={}
{{ . /etc/defaults/rc.conf && source_rc_confs; }} >/dev/null 2>&1
set | sed -n "s/^ifconfig_${{interface}}_alias\\([0-9][0-9]*\\)=.*/\\1/p" | while read -r number; do
    eval "words=\\$ifconfig_${{interface}}_alias$number"
    [ -n "$words" ] || continue
    whose=other
    for word in $words; do
        case $word in "$address" | "$address"/*) whose=ours ;; esac
    done
    echo "$whose $number"
done
if [ ! -e "$file" ]; then
    echo file absent
elif read -r first <"$file"; [ "$first" = "$header" ]; then
    echo file ours
else
    echo file foreign
fi )"""


# The digest as `password_digest` makes it; of nothing where the file has no such words.
_PASSWORD = """\
( file={}
if [ ! -e "$file" ]; then
    echo absent
else
    sed -n "s/^ifconfig_[^=]*_alias[0-9]*='.* pass \\([^ ']*\\) .*'\\$/\\1/p" "$file" | sha256 -q
fi )"""


class Carp(HostFact[CarpView]):
    """The virtual hosts of an interface with their states, those of the others, and the sysctls of CARP."""

    @override
    def command(self, interface: str) -> str:
        return marked(command(_VIEW, interface))

    read = staticmethod(parse_carp)


_RIVALS = """\
( said=$(dmesg) && echo '=== netstat' && netstat -s -p carp &&
echo '=== ether' && ifconfig {} | awk '$1 == "ether" {{ print $2 }}' &&
echo '=== log' && printf '%s\\n' "$said" | grep 'arp: ' | grep -F {} | tail -n 100 &&
echo '=== firewall' && {{ if pfctl -s info 2>/dev/null | grep -q '^Status: Enabled'; then
    pfctl -s rules | awk '/^block/ {{ blocks = 1 }} / proto carp/ {{ named = 1 }}
        END {{ if (blocks > named) print "pf" }}'
fi
if [ "$(sysctl -n net.inet.ip.fw.enable 2>/dev/null)" = 1 ]; then
    ipfw list | awk '$2 == "deny" {{ blocks = 1 }} / carp |allow ip from any to any$/ {{ named = 1 }}
        END {{ if (blocks > named) print "ipfw" }}'
fi; }} )"""


class CarpRivals(HostFact[Rivals]):
    """Who else uses the vhid or the virtual IP, as far as the kernel has noticed.

    + address: the virtual IP
    """

    @override
    def command(self, interface: str, address: str) -> str:
        return marked(command(_RIVALS, interface, f" {address} "))

    read = staticmethod(parse_rivals)


class BootAliases(HostFact[Aliases]):
    """Which aliases of an interface rc.conf has, told by whether they name the virtual IP.

    + address: the virtual IP
    """

    @override
    def command(self, interface: str, address: str) -> str:
        return marked(command(_ALIASES, rc_interface(interface), address, RC_FILE, RC_HEADER))

    read = staticmethod(parse_aliases)


class BootPassword(HostFact[str]):
    """SHA-256 (hex) of the CARP password in /etc/rc.conf.d/netif, see `f3s.carp.password_digest`; "" without that file.

    The kernel does not tell the one it runs with.
    """

    @override
    def command(self) -> str:
        return marked(command(_PASSWORD, RC_FILE))

    @override
    def read(self, lines: list[str]) -> str:
        digest = only_line(lines, "the digest of a password", "absent|[0-9a-f]{64}")
        return "" if digest == "absent" else digest
