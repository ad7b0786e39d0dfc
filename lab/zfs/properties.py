"""The properties of datasets: which there are, in which order ``all`` shows them, and what they may be set to.

Names, order, defaults and columns are those of OpenZFS 2.1 (module/zcommon/zfs_prop.c, zfs_prop_init) on FreeBSD
13.2, where the transcripts show them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.zfs import units

F, V, S, B = "filesystem", "volume", "snapshot", "bookmark"
ON_OFF = ("on", "off")
CHECKSUMS = ("on", "off", "fletcher2", "fletcher4", "sha256", "noparity", "sha512", "skein")
COMPRESSIONS = (
    *("on", "off", "lzjb", "gzip", *(f"gzip-{n}" for n in range(1, 10)), "zle", "lz4", "zstd"),
    *(f"zstd-{n}" for n in range(1, 20)),
    *("zstd-fast", *(f"zstd-fast-{n}" for n in (*range(1, 11), *range(20, 101, 10), 500, 1000))),
)
ENCRYPTIONS = ("on", "off", "aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm")
CACHES = ("all", "none", "metadata")


@dataclass(frozen=True)
class Property:
    """One property.

    :param kind: ``index`` (one of values), ``size`` (bytes), ``number``, ``string``
    :param default: what it is where nothing is set; None for those that every dataset has a value of its own of
    :param settable: by ``zfs set``; those of `CREATE_ONLY` only by ``zfs create``
    """

    name: str
    column: str
    types: tuple[str, ...]
    kind: str
    default: str | None = None
    settable: bool = False
    inheritable: bool = True
    values: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Columns that `zfs list` and `zfs get` keep for it (zprop_width() of zprop_common.c)."""
        if self.name == "referenced":
            return 8  # its number is that of the pool property "health", which libzfs mistakes it for
        least = 5 if self.kind in ("size", "number") else max((len(v) for v in self.values), default=0)
        return max(len(self.column), least)

    @property
    def right(self) -> bool:
        return self.kind in ("size", "number")


def _index(name: str, column: str, types: tuple[str, ...], default: str, values: tuple[str, ...]) -> Property:
    return Property(name, column, types, "index", default, True, True, values)


def _read(name: str, column: str, types: tuple[str, ...], kind: str, values: tuple[str, ...] = ()) -> Property:
    return Property(name, column, types, kind, values=values)


def _limit(name: str, column: str, types: tuple[str, ...], kind: str = "size") -> Property:
    return Property(name, column, types, kind, "none", True, inheritable=False)


ALL = (F, V, S)
FV = (F, V)
YES_NO = ("yes", "no")

PROPERTIES: dict[str, Property] = {
    p.name: p
    for p in (
        _read("type", "TYPE", (F, V, S, B), "index", (F, V, S, B)),
        _read("creation", "CREATION", (F, V, S, B), "string"),
        _read("used", "USED", ALL, "size"),
        _read("available", "AVAIL", FV, "size"),
        _read("referenced", "REFER", (F, V, S, B), "size"),
        _read("compressratio", "RATIO", ALL, "string"),
        _read("mounted", "MOUNTED", (F,), "index", YES_NO),
        _read("origin", "ORIGIN", FV, "string"),
        _limit("quota", "QUOTA", (F,)),
        _limit("reservation", "RESERV", FV),
        Property("volsize", "VOLSIZE", (V, S), "size", None, True, inheritable=False),
        Property("volblocksize", "VOLBLOCK", (V,), "size", "8192", inheritable=False),
        Property("recordsize", "RECSIZE", (F,), "size", "131072", True),
        Property("mountpoint", "MOUNTPOINT", (F,), "string", None, True),
        Property("sharenfs", "SHARENFS", (F,), "string", "off", True),
        _index("checksum", "CHECKSUM", FV, "on", CHECKSUMS),
        _index("compression", "COMPRESS", FV, "off", COMPRESSIONS),
        _index("atime", "ATIME", (F,), "on", ON_OFF),
        _index("devices", "DEVICES", (F, S), "on", ON_OFF),
        _index("exec", "EXEC", (F, S), "on", ON_OFF),
        _index("setuid", "SETUID", (F, S), "on", ON_OFF),
        _index("readonly", "RDONLY", FV, "off", ON_OFF),
        _index("jailed", "JAILED", (F,), "off", ON_OFF),
        _index("snapdir", "SNAPDIR", (F,), "hidden", ("hidden", "visible")),
        _index("aclmode", "ACLMODE", (F,), "discard", ("discard", "groupmask", "passthrough", "restricted")),
        _index(
            *("aclinherit", "ACLINHERIT", (F,), "restricted"),
            ("discard", "noallow", "restricted", "passthrough", "passthrough-x"),
        ),
        _read("createtxg", "CREATETXG", (F, V, S, B), "number"),
        _read("name", "NAME", (F, V, S, B), "string"),
        Property("canmount", "CANMOUNT", (F,), "index", "on", True, False, ("off", "on", "noauto")),
        _index("xattr", "XATTR", (F, S), "on", ("on", "off", "sa", "dir")),
        _index("copies", "COPIES", FV, "1", ("1", "2", "3")),
        _read("version", "VERSION", (F, S), "number"),
        Property("utf8only", "UTF8ONLY", (F, S), "index", None, values=ON_OFF),
        Property("normalization", "NORMALIZATION", (F, S), "index", None, values=("none",)),
        Property("casesensitivity", "CASE", (F, S), "index", None, values=("sensitive", "insensitive", "mixed")),
        _index("vscan", "VSCAN", (F,), "off", ON_OFF),
        _index("nbmand", "NBMAND", (F, S), "off", ON_OFF),
        Property("sharesmb", "SHARESMB", (F,), "string", "off", True),
        _limit("refquota", "REFQUOTA", (F,)),
        _limit("refreservation", "REFRESERV", FV),
        _read("guid", "GUID", (F, V, S, B), "number"),
        _index("primarycache", "PRIMARYCACHE", ALL, "all", CACHES),
        _index("secondarycache", "SECONDARYCACHE", ALL, "all", CACHES),
        _read("usedbysnapshots", "USEDSNAP", FV, "size"),
        _read("usedbydataset", "USEDDS", FV, "size"),
        _read("usedbychildren", "USEDCHILD", FV, "size"),
        _read("usedbyrefreservation", "USEDREFRESERV", FV, "size"),
        _read("defer_destroy", "DEFER_DESTROY", (S,), "index", ON_OFF),
        _read("userrefs", "USERREFS", (S,), "number"),
        _index("logbias", "LOGBIAS", FV, "latency", ("latency", "throughput")),
        _read("objsetid", "OBJSETID", ALL, "number"),
        _index("dedup", "DEDUP", FV, "off", ("on", "off", "verify", "sha256", "sha256,verify")),
        Property("mlslabel", "MLSLABEL", ALL, "string", "none"),
        _index("sync", "SYNC", FV, "standard", ("standard", "always", "disabled")),
        _index("dnodesize", "DNSIZE", (F,), "legacy", ("legacy", "auto", "1k", "2k", "4k", "8k", "16k")),
        _read("refcompressratio", "REFRATIO", ALL, "string"),
        _read("written", "WRITTEN", ALL, "size"),
        _read("clones", "CLONES", (S,), "string"),
        _read("logicalused", "LUSED", FV, "size"),
        _read("logicalreferenced", "LREFER", ALL, "size"),
        _index("volmode", "VOLMODE", FV, "default", ("default", "full", "geom", "dev", "none")),
        _limit("filesystem_limit", "FSLIMIT", (F,), kind="number"),
        _limit("snapshot_limit", "SSLIMIT", FV, kind="number"),
        Property("filesystem_count", "FSCOUNT", (F,), "number", "none", inheritable=False),
        Property("snapshot_count", "SSCOUNT", FV, "number", "none", inheritable=False),
        _index("snapdev", "SNAPDEV", FV, "hidden", ("hidden", "visible")),
        _index("acltype", "ACLTYPE", (F, S), "nfsv4", ("off", "nfsv4", "posix")),
        Property("context", "CONTEXT", ALL, "string", "none"),
        Property("fscontext", "FSCONTEXT", (F, S), "string", "none"),
        Property("defcontext", "DEFCONTEXT", (F, S), "string", "none"),
        Property("rootcontext", "ROOTCONTEXT", (F, S), "string", "none"),
        _index("relatime", "RELATIME", (F,), "off", ON_OFF),
        _index("redundant_metadata", "REDUND_MD", FV, "all", ("all", "most")),
        _index("overlay", "OVERLAY", (F,), "on", ON_OFF),
        _read("receive_resume_token", "RESUMETOK", FV, "string"),
        Property("encryption", "ENCRYPTION", ALL, "index", "off", False, True, ENCRYPTIONS),
        Property("keylocation", "KEYLOC", FV, "string", "none", True, False),
        Property("keyformat", "KEYFORMAT", FV, "index", "none", False, False, ("none", "raw", "hex", "passphrase")),
        Property("pbkdf2iters", "PBKDF2ITERS", FV, "number", "0", False, False),
        _read("encryptionroot", "ENCROOT", ALL, "string"),
        _read("keystatus", "KEYSTATUS", ALL, "index", ("none", "unavailable", "available")),
        Property("special_small_blocks", "SPECIAL_SMALL_BLOCKS", (F,), "size", "0", True),
    )
}
ALIASES = {
    p.column.lower(): p.name
    for p in PROPERTIES.values()
    if p.column.lower() != p.name and p.name not in ("guid", "snapshot_limit")
} | {"refer": "referenced", "avail": "available", "compress": "compression", "rdonly": "readonly"}
PLAIN_ZERO = ("written", "logicalused", "logicalreferenced", "special_small_blocks")
"""Sizes of which none is ``0``, not ``0B``: they go through zfs_nicenum()."""
CREATE_ONLY = ("encryption", "keyformat", "pbkdf2iters", "volblocksize", "utf8only", "normalization", "casesensitivity")
UNSIMULATED_SETTINGS = {
    "copies": ("1",),
    "jailed": ("off",),
    "sharenfs": ("off",),
    "sharesmb": ("off",),
    "quota": ("none", "0"),
    "refquota": ("none", "0"),
    "reservation": ("none", "0"),
    "filesystem_limit": ("none",),
    "snapshot_limit": ("none",),
    "snapdir": ("hidden",),
    "snapdev": ("hidden",),
    "dedup": ("off",),
}
"""Properties whose other values would change something that the model does not have: only these are taken."""


def user(name: str) -> bool:
    """Whether it is a user property: it has a colon."""
    return ":" in name


def find(name: str) -> Property | None:
    """The property of that name or alias."""
    return PROPERTIES.get(ALIASES.get(name, name))


def canonical(prop: Property, value: str) -> str | None:
    """A value in the form in which it is kept (``-p``), or None where ZFS does not take it."""
    if prop.kind == "index":
        if prop.name == "encryption" and value == "on":
            return "aes-256-gcm"
        return value if value in prop.values else None
    if prop.kind in ("size", "number"):
        if value == "none" and prop.default == "none":
            return value
        number = units.parse(value)
        return None if number is None else ("none" if number == 0 and prop.default == "none" else str(number))
    if prop.name == "mountpoint":
        return value if value in ("none", "legacy") or value.startswith("/") else None
    return value


def shown(prop: Property, value: str, exact: bool) -> str:
    """A kept value as it is printed.

    :param exact: with ``-p``
    """
    if exact:
        return "0" if value == "none" and prop.default == "none" and prop.kind == "size" else value
    if prop.kind == "size" and value.isdigit():
        return "0" if value == "0" and prop.name in PLAIN_ZERO else units.nice(int(value))
    if prop.name == "creation":
        return units.ctime(float(value))
    if prop.name in ("compressratio", "refcompressratio"):
        return f"{value}x"
    return value
