from __future__ import annotations

import pytest

from f3s.fstab import Entry, FstabConflict, mount_table, mount_unit, mounted_at, unescape, with_entry
from f3s.mount_options import mount_options, not_in_force
from f3s.parsing import UnknownOutput

OPTIONS = ("rw", "hard", "port=2323", "_netdev", "nofail")
WANTED = Entry("127.0.0.1:/k3svolumes", "/data/nfs/k3svolumes", "nfs4", OPTIONS)
LINE = "127.0.0.1:/k3svolumes /data/nfs/k3svolumes nfs4 rw,hard,port=2323,_netdev,nofail 0 0"
# As the installer of Rocky Linux 9 writes it, with what people add: comments, tabs, spaces at the end, other NFS mounts
FOREIGN = (
    "\n#\n# /etc/fstab\n# Created by anaconda\n#\n"
    "UUID=1f9d2f6c-0001\t/boot                   xfs     defaults        0 0\n"
    "/dev/mapper/rl-root   /   xfs defaults 0 0   \n"
    "UUID=7B77-95E7 /boot/efi vfat umask=0077,shortname=winnt 0 2\r\n"
    "#127.0.0.1:/k3svolumes /data/nfs/k3svolumes nfs4 defaults 0 0\n"
    "nas:/music /srv/my\\040music nfs4 ro 0 0\n"
    "garbage\n"
    "tmpfs /tmp tmpfs size=1g\x0c 0 0\n"
)
# Seen on a Linux 6.1 client (observations.md), in the kernel's form
TABLE = (
    "sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\n"
    "127.0.0.1:/k3svolumes /data/nfs/k3svolumes nfs4 rw,relatime,vers=4.2,rsize=131072,wsize=131072,namlen=255,hard,"
    "proto=tcp,port=2323,timeo=600,retrans=2,sec=sys,clientaddr=127.0.0.1,local_lock=none,addr=127.0.0.1 0 0\n"
)


@pytest.mark.parametrize("before", ["", FOREIGN, FOREIGN.removesuffix("\n")])
def test_our_line_is_appended_and_the_rest_stays(before: str) -> None:
    after = with_entry(before, WANTED)
    newline = "" if before.endswith("\n") or not before else "\n"
    assert after == f"{before}{newline}{LINE}\n"
    assert with_entry(after, WANTED) == after


@pytest.mark.parametrize(
    "old",
    [
        "127.0.0.1:/data/nfs/k3svolumes /data/nfs/k3svolumes nfs4 port=2323,_netdev 0 0",
        "127.0.0.1:/k3svolumes\t/data/nfs/k3svolumes\tnfs\trw,soft\t0\t0",
        LINE.replace("hard", "soft"),
        LINE.replace("rw,hard", "hard,rw"),
        LINE.replace("k3svolumes nfs4", "k3svolumes/ nfs4"),
        "127.0.0.1:/k3svolumes /data/nfs/k3svolumes nfs4",
    ],
)
def test_our_line_is_changed_in_its_place(old: str) -> None:
    before = f"{FOREIGN}{old}\n# after\n"
    assert with_entry(before, WANTED) == f"{FOREIGN}{LINE}\n# after\n"


@pytest.mark.parametrize("same", [LINE, LINE.replace(" ", "\t"), LINE.removesuffix(" 0 0"), f"  {LINE}  "])
def test_a_line_that_says_the_same_is_not_touched(same: str) -> None:
    before = f"{FOREIGN}{same}\n"
    assert with_entry(before, WANTED) is before


@pytest.mark.parametrize(
    "claim",
    [
        "/dev/sdb1 /data/nfs/k3svolumes ext4 defaults 0 2",
        "nas:/k3svolumes /data/nfs/k3svolumes nfs4 defaults 0 0",
        f"{LINE}\n{LINE}",
        # other spellings of the same place, and a line without options, are mounted all the same
        "/dev/sdb1 /data/nfs/k3svolumes/ ext4 defaults 0 2",
        "/dev/sdb1 //data/nfs//k3svolumes ext4 defaults 0 2",
        "/dev/sdb1 /data/./nfs/k3svolumes ext4 defaults 0 2",
        "nas:/x /data/nfs/k3svolumes nfs4",
        f"{LINE}\n{LINE.replace('k3svolumes nfs4', 'k3svolumes/ nfs4')}",
    ],
)
def test_a_mount_point_that_others_claim_is_refused(claim: str) -> None:
    with pytest.raises(FstabConflict, match=r"^lines? 1[34] "):
        with_entry(f"{FOREIGN}{claim}\n", WANTED)


def test_spaces_and_odd_characters_survive() -> None:
    odd = Entry("127.0.0.1:/my #1 volumes", "/srv/a b\\c\td", "nfs4", ("rw",))
    after = with_entry(FOREIGN, odd)
    assert "127.0.0.1:/my\\040\\0431\\040volumes /srv/a\\040b\\134c\\011d nfs4 rw 0 0\n" in after
    assert with_entry(after, odd) == after
    assert unescape("a\\040b\\9c\\400") == "a b\\9c\\400", "only what is an octal byte"
    with pytest.raises(ValueError, match="empty"):
        with_entry(FOREIGN, Entry("", "/srv", "nfs4", ("rw",)))


def test_the_kernels_table() -> None:
    table = mount_table(TABLE)
    mount = mounted_at(table, "/data/nfs/k3svolumes")
    assert mount is not None
    assert (mount.source, mount.fstype) == ("127.0.0.1:/k3svolumes", "nfs4")
    assert "hard" in mount.options
    assert mounted_at(table, "/data/nfs") is None
    top = mounted_at(mount_table(TABLE + "nas:/x /data/nfs/k3svolumes nfs4 rw 0 0\n"), "/data/nfs/k3svolumes")
    assert top is not None
    assert top.source == "nas:/x"


@pytest.mark.parametrize("line", ["cut off", "a b c", "a b c d 0", "# a b c d 0"])
def test_a_table_that_is_none(line: str) -> None:
    with pytest.raises(UnknownOutput, match="table of mounts"):
        mount_table(f"{TABLE}{line}\n")


# from `systemd-escape --path --suffix=mount` of systemd 252
@pytest.mark.parametrize(
    ("mountpoint", "unit"),
    [
        ("/data/nfs/k3svolumes", "data-nfs-k3svolumes.mount"),
        ("/srv/my-data", "srv-my\\x2ddata.mount"),
        ("/srv/a b/é", "srv-a\\x20b-\\xc3\\xa9.mount"),
        ("/.hidden/.x", "\\x2ehidden-.x.mount"),
    ],
)
def test_mount_units(mountpoint: str, unit: str) -> None:
    assert mount_unit(mountpoint) == unit


def test_mount_options() -> None:
    options = mount_options(("rw", "hard"), 2323)
    assert options[:2] == ("rw", "hard")
    assert {"port=2323", "_netdev", "nofail", "sec=sys", "x-systemd.after=stunnel.service"} < set(options)
    assert not [option for option in options if option.startswith("x-systemd.requires")]
    assert {f"x-systemd.before={unit}" for unit in ("k3s.service", "k3s-agent.service", "kubepods.slice")} < set(
        options
    )


SHOWN = mount_table(TABLE)[1].options


@pytest.mark.parametrize(
    ("preset", "differs"),
    [
        ("rw,hard", []),
        ("rw,hard,rsize=1048576,vers=4", []),
        ("nfsvers=4.2,timeo=600,retrans=2", []),
        ("rw,soft,retrans=3", ["hard instead of soft", "retrans=2 instead of retrans=3"]),
        ("timeo=50", ["timeo=600 instead of timeo=50"]),
        ("softerr,vers=4.1", ["hard instead of softerr", "vers=4.2 instead of vers=4.1"]),
        ("nfsvers=3", ["vers=4.2 instead of vers=3"]),
    ],
)
def test_options_in_force(preset: str, differs: list[str]) -> None:
    assert not_in_force(mount_options(preset.split(","), 2323), SHOWN) == tuple(differs)


def test_a_port_that_is_not_in_force() -> None:
    assert not_in_force(["port=2324"], SHOWN) == ("port=2323 instead of port=2324",)
    # the kernel does not show the default
    without = [option for option in SHOWN if not option.startswith("port=")]
    assert not_in_force(["port=2323"], without) == ("port=2049 instead of port=2323",)
    assert not_in_force(["port=2049"], without) == ()
