from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactValueError

from facts.disks import Probe
from tests.facts.disk_output import BLANK
from tests.shell import lines_of


@pytest.mark.parametrize("device", ["/dev/da0", "da0p1", "-rf", "da0; reboot", "ufs/F3S_KEYS"])
def test_only_whole_disks(device: str) -> None:
    with pytest.raises(FactValueError, match="not the name of a whole disk"):
        Probe().command(device)


@pytest.mark.parametrize(("spoil", "blank"), [(None, True), (0, False), (60 * 2**20 + 1, False)])
def test_the_command_under_sh(tmp_path: Path, spoil: int | None, blank: bool) -> None:
    """The whole command under a real shell and dd, reading a file in the place of /dev/da0."""
    media = tmp_path / "media"
    content = bytearray(64 * 2**20)
    if spoil is not None:
        content[spoil] = 1
    media.write_bytes(content)
    names = {name: name for name in "geom gpart fstyp zdb glabel zpool diskinfo".split()}
    names |= {"mount": "mounts", "swapctl": "swap"}
    programs = {name: f"cat <<'E'\n{BLANK[part][1]}\nE\nexit {BLANK[part][0]}" for name, part in names.items()}
    probe = Probe()
    built = probe.command("da0").replace('"/dev/$d"', str(media))
    disk = probe.process(lines_of(built, tmp_path, sha256="sha256sum | cut -d' ' -f1", **programs))
    assert disk is not None
    assert disk.blank is blank, disk.why()
