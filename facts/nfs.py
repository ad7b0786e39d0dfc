"""What lies in the served dataset, if it is mounted."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from f3s.nfs import parse_entries
from f3s.quoting import command, words
from facts.base import HostFact, marked

# The mount is looked at before and after: what is seen in between belongs to the dataset.
_SCRIPT = """\
( mountpoint={} dataset={}
is_mounted() {{
    mount | awk -v fs="$dataset" -v on="$mountpoint" '$2 == "on" && $3 == on {{ top = $1 }} END {{ exit top != fs }}'
}}
if ! is_mounted; then echo '=== not mounted'; exit 0; fi
echo '=== entries'
for name in {}; do
    entry="$mountpoint/$name"
    if [ -L "$entry" ]; then echo "other $name"
    elif [ -d "$entry" ]; then echo "$(stat -f '%Lp' "$entry") $name"
    elif [ -f "$entry" ]; then echo "file $name"
    elif [ -e "$entry" ]; then echo "other $name"
    else echo "absent $name"
    fi
done
is_mounted )"""


class ShareEntries(HostFact[dict[str, str] | bool]):
    """For each name below the mount point: `file`, `absent`, `other`, or a directory's mode in octal.

    False if the dataset is not what is mounted there: then nothing is known about its entries.

    + dataset: the dataset that should be mounted
    + mountpoint: where
    + names: entries of its top directory
    """

    @override
    def command(self, dataset: str, mountpoint: str, names: Sequence[str]) -> str:
        return marked(command(_SCRIPT, mountpoint, dataset, words(names)))

    read = staticmethod(parse_entries)
