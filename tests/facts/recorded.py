"""Command output as recorded from FreeBSD 13.2 (OpenZFS 2.1.9), and helpers to turn it into fact output."""
# ruff: noqa: E101 - recorded output has tabs and spaces

from __future__ import annotations

from f3s.zfs import DATASET_PROPERTIES

STATUS_ZDATA = """\
  pool: zdata
 state: ONLINE
config:

	NAME         STATE     READ WRITE CKSUM
	zdata        ONLINE       0     0     0
	  /dev/ada1  ONLINE       0     0     0

errors: No known data errors"""

GLABEL_STATUS = """\
                                      Name  Status  Components
                      diskid/DISK-S0ZROOT0     N/A  ada2
gptid/9868c3d4-727c-40fe-82a0-df1d2f44973c     N/A  ada0p1
                    ufsid/6b02a621c4422e67     N/A  da0
                              ufs/F3S_KEYS     N/A  da0
              diskid/DISK-1-0000:00:02.0-1     N/A  da0"""

GLABEL_STATUS_BLANK_STICK = """\
                                      Name  Status  Components
                      diskid/DISK-S0ZROOT0     N/A  ada2
gptid/9868c3d4-727c-40fe-82a0-df1d2f44973c     N/A  ada0p1
              diskid/DISK-1-0000:00:02.0-1     N/A  da0"""

MOUNT_P = """\
/dev/ada0p2		/			ufs	rw		1 1
devfs			/dev			devfs	rw		0 0
zdata			/data			zfs	rw,nfsv4acls 	0 0
/dev/ufs/F3S_KEYS	/keys			ufs	rw		2 2"""

GEOM_DISK_DA0 = """\
Geom name: da0
Providers:
1. Name: da0
   Mediasize: 67108864 (64M)
   Sectorsize: 512
   Stripesize: 4096
   Stripeoffset: 0
   Mode: r1w1e2
   descr: QEMU QEMU HARDDISK
   ident: 1-0000:00:02.0-1
   rotationrate: unknown
   fwsectors: 32
   fwheads: 64
"""

# zdata/enc/nfsdata right after creation, before change-key; and after it
ENC = {
    "type": ("filesystem", "-"), "encryption": ("aes-256-gcm", "-"), "encryptionroot": ("zdata/enc", "-"),
    "keystatus": ("available", "-"), "keylocation": ("file:///keys/f0.lan.buetow.org:zdata.key", "local"),
    "keyformat": ("raw", "-"), "mountpoint": ("/data/enc", "inherited from zdata"), "mounted": ("yes", "-"),
}  # fmt: skip
PLAIN = {
    "type": ("filesystem", "-"), "encryption": ("off", "default"), "encryptionroot": ("-", "-"),
    "keystatus": ("-", "-"), "keylocation": ("none", "default"), "keyformat": ("none", "default"),
    "mountpoint": ("/data", "local"), "mounted": ("yes", "-"),
}  # fmt: skip
REPLICA = {
    **ENC, "encryptionroot": ("zdata/sink/f0/zdata/enc/nfsdata", "-"), "keystatus": ("unavailable", "-"),
    "keylocation": ("prompt", "local"), "mountpoint": ("/data/sink/f0/zdata/enc/nfsdata", "inherited from zdata"),
    "mounted": ("no", "-"), "written": ("0", "-"),
}  # fmt: skip
REST = {
    "canmount": ("on", "default"), "readonly": ("off", "default"), "guid": ("2344668673080756115", "-"),
    "written": ("100864", "-"), "receive_resume_token": ("-", "-"), "volsize": ("-", "-"), "used": ("100864", "-"),
    "available": ("872292352", "-"), "compression": ("off", "default"), "atime": ("on", "default"),
    "recordsize": ("131072", "default"), "snapdir": ("hidden", "default"), "f3s:migration": ("-", "-"),
}  # fmt: skip


def zfs_get(name: str, properties: dict[str, tuple[str, str]], **changes: str) -> list[str]:
    """The lines of `zfs get -Hp -o name,property,value,source` for a dataset; changes are local values."""
    values = {**REST, **properties} | {key: (value, "local") for key, value in changes.items()}
    return [f"{name}\t{key}\t{values[key][0]}\t{values[key][1]}" for key in DATASET_PROPERTIES]
