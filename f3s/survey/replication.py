"""The jobs in zrepl.yml: what of them is data, and what stays the operator's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from f3s import zrepl
from f3s.settings import Job
from f3s.settings.model import is_within
from f3s.survey.model import Draft, Served
from f3s.textfile import NoPlace
from f3s.zrepl_file import job_list


@dataclass(frozen=True)
class Push:
    """A job that sends; target: the host at the other end, None where it is none of the inventory's."""

    host: str
    name: str
    dataset: str
    target: str | None
    address: str
    port: int
    job: Mapping[str, Any]


def pushes(draft: Draft) -> Iterator[Push]:
    """The jobs over TCP that send one tree."""
    holders = {
        str(address.ip): name
        for name, seen in draft.freebsd.items()
        for interface in (seen.system.interfaces.values() if seen.system else ())
        for address in interface.addresses
    }
    for name, seen in draft.freebsd.items():
        for job in seen.jobs():
            connect, chosen = job.get("connect"), job.get("filesystems")
            if job.get("type") != "push" or not isinstance(connect, Mapping) or not isinstance(chosen, Mapping):
                continue
            address, _, port = str(connect.get("address", "")).rpartition(":")
            trees = [pattern.rstrip("<") for pattern, wanted in chosen.items() if wanted]
            one = len(chosen) == len(trees) == 1
            if connect.get("type") == "tcp" and port.isdigit() and _is_address(address) and one:
                yield Push(name, job["name"], trees[0], holders.get(address), address, int(port), job)


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def jobs(draft: Draft, what: Served | None, primary: str | None, standby: str | None) -> None:
    """The replications between the hosts; all other jobs stay the operator's."""
    for name, seen in draft.freebsd.items():
        try:
            job_list(seen.text(zrepl.CONFIG))
        except NoPlace as error:
            draft.note(name, "unknown", f"the jobs in {zrepl.CONFIG}: {error}")
    sent = list(pushes(draft))
    main = next((each for each in sent if what and (each.host, each.dataset) == (what.host, what.dataset)), None)
    prefix = _snapshotting(main).get("prefix") if main else None
    jobs: list[dict[str, object]] = []
    taken: set[tuple[str, str]] = set()
    for push in sent:
        job, why = _as_data(draft, push, what, prefix)
        if job is None:
            draft.note(push.host, "yours", f"the job {push.name} stays as it is: {why}")
        else:
            jobs.append(job)
            draft.note(push.host, "job", f"{push.name}: {push.dataset} to {push.target} every {job['interval']}")
        taken.add((push.host, push.name))
    for name, seen in draft.freebsd.items():
        for theirs in seen.jobs():
            ours = theirs.get("type") == "sink" and any(
                push.target == name and _listens(theirs, push) for push in sent if (push.host, push.name) in taken
            )
            if ours:
                draft.found[name]["zrepl_sink_root"] = theirs.get("root_fs")
                draft.note(name, "job", f"{theirs['name']}: the sink, into {theirs.get('root_fs')}")
            elif (name, theirs["name"]) not in taken:
                draft.note(name, "yours", f"the job {theirs['name']} ({theirs.get('type')}) stays as it is")
    if primary is None:
        return
    found = draft.found[primary]
    if main is None and what and standby:
        short = [name.partition(".")[0] for name in (primary, standby)]
        usual = draft.default("zrepl_jobs")[0]
        own_name = f"{short[0]}_to_{short[1]}_{what.dataset.rpartition('/')[2]}"
        places = {"source": primary, "target": standby, "dataset": what.dataset, "replica_mountpoint": what.mountpoint}
        jobs.insert(0, {**usual, "name": own_name, **places})
        draft.note("site", "missing", f"no job sends {what.dataset} to {standby}: {own_name} will")
    if jobs:
        found["zrepl_jobs"] = jobs
    if main:
        found |= {"zrepl_port": main.port, "zrepl_snapshot_prefix": prefix}
        rules = main.job.get("pruning", {}).get("keep_sender", ())
        for kind, key, variable in (("last_n", "count", "zrepl_keep_last"), ("grid", "grid", "zrepl_keep_grid")):
            for rule in rules:
                if rule.get("type") == kind and key in rule:
                    found[variable] = rule[key]


def _snapshotting(push: Push) -> Mapping[str, Any]:
    said = push.job.get("snapshotting")
    return said if isinstance(said, Mapping) else {}


def _listens(sink: Mapping[str, Any], push: Push) -> bool:
    listen = str((sink.get("serve") or {}).get("listen", ""))
    return listen in (f"{push.address}:{push.port}", f":{push.port}", f"0.0.0.0:{push.port}")


def _as_data(draft: Draft, push: Push, what: Served | None, prefix: str | None) -> tuple[dict[str, object] | None, str]:
    """An item of zrepl_jobs, or why it cannot be one."""
    seen = draft.hosts[push.host]
    timing = _snapshotting(push)
    trees = [draft.value(push.host, f"{part}_dataset") for part in ("enc", "bhyve")]
    if push.target is None:
        return None, f"{push.address} is no host of the inventory"
    if push.dataset not in seen.datasets:
        return None, f"{push.dataset} is not there. Take it out of {zrepl.CONFIG}, where it does nothing"
    if not any(is_within(push.dataset, tree) for tree in trees):
        return None, f"{push.dataset} is not below {' or '.join(trees)}"
    if timing.get("type") != "periodic" or timing.get("prefix") != prefix:
        return None, f"its snapshots are not periodic, or do not begin with {prefix}"
    short = push.host.partition(".")[0]
    target = draft.hosts[push.target]
    roots = [job.get("root_fs") for job in target.jobs() if job.get("type") == "sink" and _listens(job, push)]
    replica = target.datasets.get(f"{roots[0]}/{short}/{push.dataset}") if roots else None
    place = replica.get("mountpoint") if replica and replica.mounted else None
    if what and push.dataset == what.dataset:
        place = what.mountpoint
    data = {
        "name": push.name,
        "source": push.host,
        "target": push.target,
        "dataset": push.dataset,
        "interval": timing.get("interval"),
        "replica_mountpoint": place,
    }
    try:
        Job.model_validate(data)
    except ValidationError as error:
        return None, "; ".join(f"{each['loc'][-1]} {each['msg']}" for each in error.errors())
    return data, ""
