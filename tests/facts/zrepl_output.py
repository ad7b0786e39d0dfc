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

FIGURES = """\
# HELP zrepl_daemon_log_entries number of log entries per job task and level
# TYPE zrepl_daemon_log_entries counter
zrepl_daemon_log_entries{level="info",zrepl_job="f0_to_f1_nfsdata"} 17
# HELP zrepl_replication_bytes_replicated number of bytes replicated from sender to receiver per filesystem
# TYPE zrepl_replication_bytes_replicated counter
zrepl_replication_bytes_replicated{filesystem="zdata/enc/nfsdata",zrepl_job="f0_to_f1_nfsdata"} 0
# HELP zrepl_replication_filesystem_errors number of filesystems that failed replication in the latest replication \
attempt, or -1 if the job failed before enumerating the filesystems
# TYPE zrepl_replication_filesystem_errors gauge
zrepl_replication_filesystem_errors{zrepl_job="f0_to_f1_fedora"} -1
zrepl_replication_filesystem_errors{zrepl_job="f0_to_f1_nfsdata"} 0
# HELP zrepl_replication_last_successful timestamp of last successful replication
# TYPE zrepl_replication_last_successful gauge
zrepl_replication_last_successful{zrepl_job="f0_to_f1_fedora"} 0
zrepl_replication_last_successful{zrepl_job="f0_to_f1_nfsdata"} 1.7953639955426142e+09
"""
