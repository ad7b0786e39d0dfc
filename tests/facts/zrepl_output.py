"""What zrepl 0.7.0 printed: its daemon ran on Linux with a stub for zfs, the environment was cut out of the status."""

from __future__ import annotations

import json
from typing import Any


def status(**replication: Any) -> str:
    """`zrepl status --mode raw` with the report of a push job and a sink beside it."""
    report = {
        "StartAt": "2026-11-22T16:13:15.503450601Z",
        "FinishAt": "0001-01-01T00:00:00Z",
        "WaitReconnectSince": "0001-01-01T00:00:00Z",
        "WaitReconnectUntil": "0001-01-01T00:00:00Z",
        "WaitReconnectError": None,
        **replication,
    }
    return raw({"Replication": report if replication else None, **SNAPSHOTS_TAKEN})


def raw(push: dict[str, Any]) -> str:
    return json.dumps(
        {
            "Jobs": {
                "_control": {"internal": None, "type": "internal"},
                "_prometheus": {"internal": None, "type": "internal"},
                "f0_to_f1_nfsdata": {"push": push, "type": "push"},
                "sink": {"sink": {"Snapper": None}, "type": "sink"},
            },
            "Global": {"ZFSCmds": {"Active": None}, "Envconst": {"Entries": []}, "OsEnviron": []},
        }
    )


SNAPSHOTS_TAKEN: dict[str, Any] = {
    "PruningSender": None,
    "PruningReceiver": None,
    "Snapshotting": {
        "Type": "periodic",
        "Periodic": {"State": 16, "SleepUntil": "2026-11-22T16:13:23.491069832Z", "Error": "", "Progress": []},
        "Cron": None,
        "Manual": None,
    },
}
SNAPSHOTS_FAILED = json.loads(json.dumps(SNAPSHOTS_TAKEN))
SNAPSHOTS_FAILED["Snapshotting"]["Periodic"] |= {
    "State": 32,
    "Error": "one or more snapshots could not be created, check logs for details",
}

DONE = {
    "State": "done",
    "StartAt": "2026-11-22T16:13:15.503534596Z",
    "FinishAt": "2026-11-22T16:13:15.542539026Z",
    "PlanError": None,
    "Filesystems": [
        {
            "Info": {"Name": "zdata/enc/nfsdata"},
            "State": "done",
            "BlockedOn": "nothing",
            "PlanError": None,
            "StepError": None,
            "CurrentStep": 0,
            "Steps": [],
        }
    ],
}
PLANNING_FAILED = {
    "State": "planning-error",
    "StartAt": "2026-11-22T15:59:40.916103838Z",
    "FinishAt": "2026-11-22T15:59:40.918661073Z",
    "PlanError": {
        "Err": "zfs exited with error: exit status 1\nstderr:\nstub: list -H -p -o name -r -t filesystem,volume\n",
        "Time": "2026-11-22T15:59:40.91866066Z",
    },
    "Filesystems": [],
}
