"""files/rocky/check_nfs_mount.py as a module, and a client of it whose questions and commands are played."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.files.stubs import FILES

SCRIPT = FILES / "rocky" / "check_nfs_mount.py"
_spec = importlib.util.spec_from_file_location("check_nfs_mount", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
monitor: Any = importlib.util.module_from_spec(_spec)
sys.modules["check_nfs_mount"] = monitor
_spec.loader.exec_module(monitor)

SOURCE, POINT = "127.0.0.1:/k3svolumes", "/data/nfs/k3svolumes"
ROOT = "27 1 253:4 / / rw shared:1 - xfs /dev/vda4 rw\n"


class Client:
    """A client with one mount, healthy at first. `answers` says how each question and command ends; "hang" is none."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch) -> None:
        self.base, self.now, self.server, self.told, self.done = base, 1000.0, "", [], []  # type: ignore[var-annotated]
        self.mounted = [SOURCE]
        self.data = self.data_elsewhere = 0
        self.answers: dict[str, Any] = {"below": {"files": []}, "look": {}, "write": {}}
        self.after_restart: dict[str, Any] = {}
        self.settings: dict[str, Any] = {
            "mounts": [[SOURCE, POINT]], "port": 2323, "service": "stunnel.service", "move": 15, "stat": 2,
            "unmount": 10, "mount": 15, "metrics_file": str(base / "f3s.prom"), "escalate_after": 0,
            "escalate_command": None, "certificate": ["/etc/stunnel/client.pem", 1893456000.0, 5184000.0],
        }  # fmt: skip
        for name, path in (
            ("CONF", "conf"),
            ("RUN_DIR", "run"),
            ("ESCALATED_DIR", "escalated"),
            ("MOUNTINFO", "mountinfo"),
            ("MOUNTSTATS", "mountstats"),
        ):
            patch.setattr(monitor, name, str(base / path))
        patch.setattr(monitor, "bounded", self._bounded)
        patch.setattr(monitor, "server_answers", lambda port: self.server)
        patch.setattr(monitor, "boot_time", lambda: self.now)
        patch.setattr(monitor, "tell", lambda priority, message: self.told.append(message))
        (base / "run").mkdir()

    def _bounded(self, seconds: float, *words: str) -> Any:
        if words[1:2] == ("--ask",):
            kind = words[2]
            if kind == "below":
                self.done.append("immutable")
        else:
            kind = "umount" if words[0] == "umount" else words[0].rpartition("/")[2]
            self.done.append(f"umount {words[2]}" if kind == "umount" else kind)
        said = self.answers.get(kind, 0)
        if said == "hang":
            return monitor.Done(None, "\n", "", seconds)
        if said == "slow start":
            return monitor.Done(None, "", "", seconds)
        if said == "crash":
            return monitor.Done(1, "no memory", "", seconds)
        if kind == "systemctl":
            self.answers |= self.after_restart
        if kind == "umount" and words[2] in ("-f", "-l") and said == 0 and self.mounted:
            self.mounted.pop()
        if kind == "mount" and said == 0:
            self.mounted.append(SOURCE)
            self.answers["look"] = {}
        self._write()
        return monitor.Done(0, json.dumps(said)) if isinstance(said, dict) else monitor.Done(said, "it did not work")

    def _write(self) -> None:
        lines = [f"{100 + n} 27 0:51 / {POINT} rw - nfs4 {source} rw\n" for n, source in enumerate(self.mounted)]
        (self.base / "mountinfo").write_text(ROOT + "".join(lines))
        # a part of what Linux 6.1 shows
        stats = (
            f"device {SOURCE} mounted on {point} with fstype nfs4 statvers=1.1\n"
            f"\topts:\trw,vers=4.2,hard,proto=tcp,port={port},timeo=600,local_lock=none\n"
            f"\tbytes:\t9 9 9 9 {data} 0 1 1 \n"
            for point, port, data in ((POINT, 2323, self.data), ("/srv/other", 2324, self.data_elsewhere))
        )
        (self.base / "mountstats").write_text("".join(["device /dev/vda4 mounted on / with fstype xfs\n", *stats]))

    def check(self, after: float = 0) -> str:
        """One run, so many seconds later; the state. What was done is in `done` until the next one."""
        self.now += after
        self.done.clear()
        (self.base / "conf").write_text(json.dumps(self.settings))
        self._write()
        monitor.Monitor().once()
        return str(self.status()["state"])

    def acts(self) -> list[str]:
        return [each for each in self.done if each != "immutable"]

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = monitor.Monitor().status()[POINT]
        return found

    def metrics(self) -> dict[str, float]:
        lines = (self.base / "f3s.prom").read_text().splitlines()
        found = [line.removeprefix("f3s_nfs_mount_").split(" ") for line in lines if not line.startswith("#")]
        return {name.partition("{")[0]: float(value) for name, value in found}
