from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactValueError

from facts.disks import Probe
from tests.facts.disk_output import BLANK


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
    programs = {"geom": "geom", "gpart": "gpart", "fstyp": "fstyp", "zdb": "zdb", "glabel": "glabel"}
    programs |= {"mount": "mounts", "swapctl": "swap", "zpool": "zpool", "diskinfo": "diskinfo"}
    for program, section in programs.items():
        status, text = BLANK[section]
        (tmp_path / f"{section}.txt").write_text(text + "\n")
        (tmp_path / program).write_text(f"#!/bin/sh\ncat '{tmp_path / section}.txt'\nexit {status}\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "sha256").write_text("#!/bin/sh\nsha256sum | cut -d' ' -f1\n")
    (tmp_path / "sha256").chmod(0o755)
    probe = Probe()
    built = probe.command("da0").replace('"/dev/$d"', str(media))
    out = subprocess.run(
        ["/bin/sh", "-c", built],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    disk = probe.process(out.stdout.splitlines())
    assert disk is not None
    assert disk.blank is blank, disk.why()
