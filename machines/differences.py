"""Where the simulated cluster answers differently from the machines, line by line, with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.replay import Command


@dataclass(frozen=True)
class Accepted:
    """Lines that may differ.

    :param row: regular expression for a whole line of `machines.compare.rows`
    :param command: regular expression that is found in the command; any command if empty
    """

    row: str
    reason: str
    command: str = ""

    def covers(self, command: Command, row: str) -> bool:
        """Whether it is such a line of that command."""
        return re.fullmatch(self.row, row) is not None and re.search(self.command, command.cmd) is not None


NEW_PROPERTIES = (
    "snapshots_changed|prefetch|direct|longname|(fs|def|root)context|special_small_blocks|volthreading|"
    "default(user|group|project)(obj)?quota"
)
ACCEPTED: tuple[Accepted, ...] = (
    # what 15.1 says differently from 13.2, whose wording the lab has
    Accepted(r"std(out|err) [-+].*(15\.1|13\.2)-RELEASE.*", "the release", "uname"),
    Accepted(r"stdout [-+]\S+\t(compression|relatime)\t(on|off)\tdefault", "the default since OpenZFS 2.2"),
    Accepted(r"stdout [-+]\S+\txattr\t(on|sa)\tdefault", "the default since OpenZFS 2.4"),
    Accepted(rf"stdout -\S+\t({NEW_PROPERTIES})\t.*", "properties since OpenZFS 2.1.9"),
    Accepted(r"stdout [-+]USER +COMMAND .*", "the width of columns since 15", "sockstat"),
    Accepted(r"stdout -\w+: flags=.*LOWER_UP> .*", "a flag since 14", "ifconfig"),
    Accepted(r"stdout \+\w+: flags=.*MULTICAST> .*", "a flag since 14", "ifconfig"),
    Accepted(r"stdout [-+]\|(YES|NO)", "nfs_reserved_port_only is YES in 15.1's defaults", "nfs_reserved_port_only"),
    Accepted(r"stdout [-+](YES|NO)\|-u -t\|.*", "nfs_reserved_port_only, zfskeys_timeout, sendmail_enable", "defaults"),
    Accepted(r"stderr [-+]stat: (stat: )?.*: No such file or directory", "wording of stat since 14", r"stat -f"),
    Accepted(r"stderr \+sha256: .*: No such file or directory", "sha256 quotes a pattern since 14", "sha256"),
    Accepted(r"stderr -sha256: .*: No such file or directory", "sha256 quotes a pattern since 14", "sha256"),
    Accepted(r"stdout [-+]NAME +USED .*", "the width of columns since OpenZFS 2.2", "zfs list"),
    Accepted(r"stdout [-+][-d][rwx-]{9} .*", "the width of columns of ls since 14", r"^ls "),
    Accepted(r"std(out|err) [-+].*net\.link\.bridge\.member_ifaddrs.*", "since 15", "member_ifaddrs"),
    Accepted(r"status [-+]\d", "since 15", "member_ifaddrs"),
    Accepted(
        r"stdout -nfsd is not running\.|stdout [-+]rc=\d", "status needs no rcvar since 14", "service nfsd status"
    ),
    Accepted(r"stdout \+Cannot 'status' nfsd\. .*", "status needs no rcvar since 14", "service nfsd status"),
    # where the machines differ from the hosts of a site
    Accepted(r"stdout [-+].* (diskid|gptid|iso9660|ufsid)/.*", "labels of the machines' disks are off", ""),
    Accepted(r"stdout -gptid/.*", "the machines' boot disk", ""),
    Accepted(r"stdout [-+]\toptions=.*", "the machines' network card", "ifconfig"),
    Accepted(r"stdout \+\tnd6 options=.*", "the machines have no IPv6", "ifconfig"),
    Accepted(r"stdout [-+]( +ident: |\t.*# (Disk ident\.|Attachment)).*", "the machines' disks", "geom|diskinfo"),
    Accepted(r"stdout [-+]Regular File\|644\|root:wheel\|\d+\|/etc/rc\.conf", "its size: other lines", r"^stat"),
    Accepted(r"stderr [-+].*(certificate|error:).*", "which OpenSSL", "openssl x509"),
    Accepted(r"stdout \+\w+ \w+ <pid> (tcp|udp)6 .*", "the machines have no IPv6", "sockstat"),
    # what the lab does not know
    Accepted(r"stdout [-+].*refcompressratio.*", "the lab compresses nothing", "zfs get"),
    Accepted(r"stderr [-+].*sh: (1: )?/usr/local/bin/carp: not found", "which shell says it", "bin/carp$"),
)
