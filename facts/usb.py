"""The USB stick with the keys. Of a key only its name, size, mode, owner and SHA-256 are read."""

from __future__ import annotations

from typing_extensions import override

from f3s.keys import SILENT_STICK, SUFFIX, UNFINISHED, Stick, labelled_disk, parse_stick
from f3s.parsing import UnknownOutput
from f3s.quoting import command
from facts.base import DeviceFact

# A folder that cannot be read is not an empty one, and a file that stat(1) cannot read is not a missing one. A mount
# whose stick is gone is left alone: each read may fail. A stick without the label may have the keys as well.
_SCRIPT = f"""\
device={{}}
mountpoint={{}}
there=$(mount -p | while read -r from on _; do if [ "$on" = "$mountpoint" ]; then echo "$from"; fi; done | tail -n 1)
cd "$mountpoint" 2>/dev/null || cd /var/empty
set --
echo "=== device" && if [ -e "$device" ]; then echo present; fi &&
echo "=== glabel" && glabel status &&
echo "=== mounts" && mount -p &&
if [ -e "$device" ] || {{{{ [ -n "$there" ] && [ -e "$there" ]; }}}}; then
    ls -A . >/dev/null &&
    echo "=== folder" && pwd &&
    echo "=== files" &&
    for file in *{SUFFIX} .*{SUFFIX}{UNFINISHED}; do
        case $file in '*{SUFFIX}' | '.*{SUFFIX}{UNFINISHED}') continue ;; esac
        set -- "$@" "./$file"
    done &&
    if [ $# -gt 0 ]; then stat -f '%HT|%Lp|%Su:%Sg|%z|%N' "$@"; fi
else
    echo "=== folder" && echo "=== files"
fi &&
echo "=== sha256" && {{{{
if [ $# -gt 0 ]; then sha256 -r "$@" 2>/dev/null; fi
true
}}}}"""


class KeyStick(DeviceFact[Stick]):
    """The stick with this label: where it is mounted and which keys are on it.

    + label: its UFS label
    + mountpoint: where it belongs
    """

    @override
    def command(self, label: str, mountpoint: str) -> str:
        self.label = label
        self.mountpoint = mountpoint
        return self.asked(command(_SCRIPT, f"/dev/ufs/{label}", mountpoint))

    @override
    def read(self, lines: list[str]) -> Stick:
        return parse_stick(lines, self.label, self.mountpoint)

    @override
    def silence(self, lines: list[str]) -> tuple[str, str]:
        try:
            disk = labelled_disk(lines, self.label)
        except UnknownOutput:  # it ended in the middle of that line
            disk = None
        return f"the stick {self.label}{f' ({disk})' if disk else ''}", SILENT_STICK
