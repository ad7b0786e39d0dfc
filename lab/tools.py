"""Programs that FreeBSD and Linux have alike: run for real, but only with the options that FreeBSD 13.2 has.

The second word is a getopts(1) string taken from the program's manual page in FreeBSD 13.2, less what GNU's version
does differently. GNU programs are asked to behave as POSIX says (no options after operands).
"""

from __future__ import annotations

FREEBSD: dict[str, str | None] = {
    "/bin/[": None,
    "/bin/cat": "benstuv",
    "/bin/chmod": "fhvR",
    "/bin/cp": "HLPRafipnvlx",
    "/bin/echo": None,
    "/bin/expr": None,
    "/bin/hostname": "s",
    "/bin/ln": "sfhinv",
    "/bin/mkdir": "m:pv",
    "/bin/mv": "fhinv",
    "/bin/pwd": "LP",
    "/bin/rm": "dfiPRrvIx",
    "/bin/rmdir": "pv",
    "/bin/sync": "",
    "/bin/test": None,
    "/usr/bin/awk": "F:v:f:",
    "/usr/bin/basename": "as:",
    "/usr/bin/bzip2": "cdfkqstvz123456789",
    "/usr/bin/cmp": "lsxz",
    "/usr/bin/cut": "b:c:d:f:ns",
    "/usr/bin/diff": "abcdeiNpqrstuwU:L:",
    "/usr/bin/dirname": "",
    "/usr/bin/env": "iu:",
    "/usr/bin/false": None,
    "/usr/bin/grep": "A:B:C:EFHILRVacce:f:hilm:noqrsvwx",
    "/usr/bin/head": "0123456789c:n:",
    "/usr/bin/id": "Ggnpru",
    "/usr/bin/mkfifo": "m:",
    "/usr/bin/nohup": "",
    "/usr/bin/od": "A:N:abcdj:ost:vx",
    "/usr/bin/openssl": None,
    "/usr/bin/printf": None,
    "/usr/bin/readlink": "fn",
    "/usr/bin/seq": "f:s:w",
    "/usr/bin/sha1sum": "bc",
    "/usr/bin/sha256sum": "bc",
    "/usr/bin/sort": "bcdfgik:mno:rst:uVz",
    "/usr/bin/tail": "0123456789bc:fn:rFq",
    "/usr/bin/tee": "ai",
    "/usr/bin/timeout": None,
    "/usr/bin/tr": "Ccsdu",
    "/usr/bin/true": None,
    "/usr/bin/tty": "s",
    "/usr/bin/uniq": "cdf:is:u",
    "/usr/bin/which": "as",
    "/usr/bin/xargs": "0E:I:J:L:n:oP:prR:s:tx",
    "/usr/bin/yes": None,
}
"""Path on FreeBSD -> its options; None where GNU's and FreeBSD's option parsing need no guard."""

SCRIPTS: dict[str, str] = {
    "/bin/dd": "dd",
    "/sbin/md5": "hash",
    "/sbin/sha1": "hash",
    "/sbin/sha256": "hash",
    "/usr/bin/find": "find",
    "/usr/bin/fsync": "fsync",
    "/usr/bin/mktemp": "mktemp",
    "/usr/bin/sed": "sed",
    "/usr/bin/wc": "wc",
}
"""Path on FreeBSD -> the script of lab/wrappers that turns FreeBSD's way of calling it into GNU's."""

ROCKY: tuple[str, ...] = tuple(
    """
[ basename bash chgrp cmp comm cut diff dirname echo egrep env expr false fgrep flock fold getent hostname id kill
mkfifo nohup paste printenv printf pwd seq sh sha1sum sort stdbuf sync test tr true tty uniq which whoami
xargs yes
""".split()
)
"""Programs in /usr/bin of a Rocky host; GNU's own, so they run as they are."""

ROCKY_WRAPPED: tuple[str, ...] = tuple(
    """
awk cat chmod chown cp dd du find grep head install ln ls mkdir mktemp mv od readlink realpath rm rmdir sed
sha256sum stat tail tee touch wc
""".split()
)
"""The same, but an NFS mount may not answer them: see lab/wrappers/rocky."""

ROCKY_NOT_SIMULATED: tuple[str, ...] = tuple(
    """
blkid chcon crontab curl df dmesg findmnt firewall-cmd groupadd gzip hostnamectl lsblk lsof mkfs modprobe nc
nfsidmap nmcli ping pkill ps reboot restorecon rsync setsebool shutdown ss ssh systemd-cat tar timedatectl useradd
usermod wget yum
""".split()
)
"""Programs that Rocky has and nobody plays: they say so."""

FREEBSD_NOT_SIMULATED: tuple[str, ...] = tuple(
    """
/bin/chio /bin/csh /bin/df /bin/domainname /bin/ed /bin/freebsd-version /bin/getfacl /bin/kenv /bin/link /bin/pax
/bin/pwait /bin/rcp /bin/realpath /bin/setfacl /bin/stty /bin/tcsh /bin/unlink /sbin/adjkerntz /sbin/badsect
/sbin/bectl /sbin/camcontrol /sbin/ccdconfig /sbin/clri /sbin/conscontrol /sbin/ddb /sbin/devd /sbin/devfs
/sbin/devmatch /sbin/dhclient /sbin/disklabel /sbin/dump /sbin/dumpfs /sbin/dumpon /sbin/fastboot /sbin/fasthalt
/sbin/fdisk /sbin/ffsinfo /sbin/fsck /sbin/fsck_ffs /sbin/fsck_msdosfs /sbin/fsdb /sbin/gbde /sbin/geli /sbin/ggatec
/sbin/gmirror /sbin/graid /sbin/growfs /sbin/gvinum /sbin/halt /sbin/init /sbin/ipfw /sbin/kldconfig /sbin/kldstat
/sbin/kldunload /sbin/ldconfig /sbin/mdconfig /sbin/mdmfs /sbin/mknod /sbin/mount_msdosfs /sbin/mount_nfs
/sbin/newfs_msdos /sbin/nfsiod /sbin/nos-tun /sbin/nvmecontrol /sbin/quotacheck /sbin/reboot /sbin/recoverdisk
/sbin/restore /sbin/route /sbin/savecore /sbin/sha512 /sbin/shutdown /sbin/swapoff /sbin/swapon /sbin/zfsbootcfg
/usr/bin/at /usr/bin/batch /usr/bin/bc /usr/bin/bsdtar /usr/bin/chgrp /usr/bin/comm /usr/bin/cpio /usr/bin/dc
/usr/bin/du /usr/bin/egrep /usr/bin/fetch /usr/bin/fgrep /usr/bin/file /usr/bin/fold /usr/bin/fstat /usr/bin/fuser
/usr/bin/getent /usr/bin/gzip /usr/bin/hexdump /usr/bin/jot /usr/bin/killall /usr/bin/last /usr/bin/limits
/usr/bin/lsof /usr/bin/nfsstat /usr/bin/paste /usr/bin/printenv /usr/bin/procstat /usr/bin/rctl /usr/bin/realpath
/usr/bin/rsync /usr/bin/scp /usr/bin/ssh /usr/bin/su /usr/bin/systat /usr/bin/tar /usr/bin/time /usr/bin/top
/usr/bin/truncate /usr/bin/uptime /usr/bin/uuidgen /usr/bin/vmstat /usr/bin/w /usr/bin/whoami /usr/bin/xz /usr/bin/zstd
/usr/sbin/acpiconf /usr/sbin/bhyve /usr/sbin/bhyvectl /usr/sbin/chroot /usr/sbin/cron /usr/sbin/devctl
/usr/sbin/devinfo /usr/sbin/freebsd-update /usr/sbin/gstat /usr/sbin/jail /usr/sbin/jexec /usr/sbin/jls
/usr/sbin/mountd /usr/sbin/newsyslog /usr/sbin/nfsd /usr/sbin/nfsuserd /usr/sbin/periodic /usr/sbin/pw
/usr/sbin/pwd_mkdb /usr/sbin/rpcbind /usr/sbin/rpcinfo /usr/sbin/service /usr/sbin/sshd /usr/sbin/syslogd
/usr/sbin/tcpdump /usr/sbin/tzsetup /usr/sbin/usbconfig /usr/sbin/wg /usr/sbin/zfsd
""".split()
)
"""Programs of FreeBSD's base system that are there and say that nobody plays them."""
