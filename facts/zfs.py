"""Pools, datasets and snapshots of a host, and whether key files fit their datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from typing_extensions import override

from f3s.keycheck import KeyCheck, parse_key_checks
from f3s.keys import SILENT_STICK
from f3s.parsing import NoAnswer
from f3s.quoting import Shell, command
from f3s.zfs import (
    DATASET_PROPERTIES,
    GUARDED,
    POOL_PROPERTIES,
    SNAPSHOT_PROPERTIES,
    Dataset,
    Marks,
    Pool,
    Snapshot,
    key_file,
    parse_datasets,
    parse_guarded,
    parse_importable,
    parse_marks,
    parse_pools,
    parse_snapshots,
    parse_written,
)
from facts.base import DeviceFact, HostFact, marked


class Datasets(HostFact[dict[str, Dataset]]):
    """All file systems and volumes with the properties in f3s.zfs.DATASET_PROPERTIES, by name.

    Options go before the property list (observed: after it they are taken for dataset names).
    """

    @override
    def command(self) -> str:
        return marked(
            command(
                "zfs get -Hp -o name,property,value,source -t filesystem,volume {}",
                ",".join(DATASET_PROPERTIES),
            )
        )

    read = staticmethod(parse_datasets)


class Guarded(HostFact[dict[str, tuple[str, ...]]]):
    """Mount point directories that operations.zfs.guarded_mountpoint made schg, by the dataset that they are in."""

    @override
    def command(self) -> str:
        return marked(command("zfs get -H -s local -o name,value -t filesystem {}", GUARDED))

    read = staticmethod(parse_guarded)


class Snapshots(HostFact[tuple[Snapshot, ...]]):
    """All snapshots with guid and age, oldest first within a dataset."""

    @override
    def command(self) -> str:
        return marked(command("zfs list -Hp -t snapshot -o {}", ",".join(SNAPSHOT_PROPERTIES)))

    read = staticmethod(parse_snapshots)


# One list shows which snapshots have holds; only those are asked about. A name may contain blanks.
_MARKS = """\
listed=$(zfs list -Hp -t snapshot,bookmark -o name,userrefs) &&
echo "=== bookmarks" && printf '%s\\n' "$listed" | awk -F '\\t' '$1 ~ /#/ {{ print $1 }}' &&
echo "=== holds" && held=$(printf '%s\\n' "$listed" | awk -F '\\t' '$2 > 0 {{ print $1 }}') &&
if [ -n "$held" ]; then printf '%s\\n' "$held" | tr '\\n' '\\0' | xargs -0 zfs holds -H; fi"""


class HistoryMarks(HostFact[Marks]):
    """All bookmarks, and the holds on snapshots."""

    @override
    def command(self) -> str:
        return marked(command(_MARKS))

    read = staticmethod(parse_marks)


class Referenced(HostFact[dict[str, int]]):
    """Bytes that each file system and volume has now, by name: what its first replication sends, in raw form."""

    @override
    def command(self) -> str:
        return marked(command("zfs get -Hp -t filesystem,volume -o name,value referenced"))

    read = staticmethod(parse_written)


class Pools(HostFact[dict[str, Pool]]):
    """All imported pools with health, settings and the providers below them, by name."""

    @override
    def command(self) -> str:
        return marked(
            command(
                "echo '=== list' && zpool list -Hp -o {} && echo '=== status' && zpool status -LP",
                ",".join(POOL_PROPERTIES),
            )
        )

    read = staticmethod(parse_pools)


class ImportablePools(DeviceFact[tuple[str, ...]]):
    """Pools on this host's disks that are not imported: what is in them is not known."""

    @override
    def command(self) -> str:
        # without any pool the exit status is 1
        return self.asked(Shell("zpool import 2>&1; true"))

    read = staticmethod(parse_importable)

    @override
    def silence(self, lines: list[str]) -> tuple[str, str]:
        return "a disk that `zpool import` looks at", "`dmesg` there names it: pull it out or replace it"


class KeyChecks(DeviceFact[dict[str, KeyCheck]]):
    """Whether a key file fits each dataset, by dataset; nothing is loaded (`zfs load-key -n`).

    + keys: pairs of dataset and key location

    A dataset that does not exist is left out: its key cannot be tested.
    """

    @override
    def command(self, keys: Sequence[tuple[str, str]]) -> str:
        self.files = [key_file(location) or location for _, location in keys]
        checks = [
            command(
                'if zfs list -H -o name {} >/dev/null 2>&1; then echo "=== "{};'
                ' out=$(zfs load-key -n -L {} {} 2>&1); echo "rc $?"; printf \'%s\\n\' "$out"; fi',
                dataset,
                dataset,
                location,
                dataset,
            )
            for dataset, location in keys
        ]
        return self.asked(Shell("\n".join([*checks, "true"])))

    @override
    def read(self, lines: list[str]) -> dict[str, KeyCheck]:
        if any("pool I/O is currently suspended" in line for line in lines):  # libzfs_util.c, of EAGAIN
            return cast(dict[str, KeyCheck], NoAnswer("a pool is suspended", "docs/runbook.md, Disk dead"))
        return parse_key_checks(lines)

    @override
    def silence(self, lines: list[str]) -> tuple[str, str]:
        return f"the stick with {', '.join(dict.fromkeys(self.files))}, or a pool", SILENT_STICK
