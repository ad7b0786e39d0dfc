"""What is exported, and what clients mount of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from f3s import exports, stunnel
from f3s.nfs import LOOPBACK
from f3s.nfs import PORT as NFS_PORT
from f3s.settings.model import is_within
from f3s.settings.values import MountPresets
from f3s.survey.model import EXPORTS, FSTAB, ZFS_EXPORTS, Draft, Served
from f3s.textfile import NoPlace

_FIXED = re.compile("(port|sec)=|(_netdev|nofail|defaults)$|x-")
"""Options of a mount that the deploy sets itself, or that say nothing."""


def nfs(draft: Draft, what: Served | None, primary: str | None, standby: str | None) -> None:
    if what is None:
        draft.note("site", "unknown", f"what is served: no dataset is exported to {LOOPBACK} in {EXPORTS}")
    else:
        draft.found[what.host] |= {"nfs_dataset": what.dataset, "nfs_mountpoint": what.mountpoint}
        if what.root != what.mountpoint:
            draft.found[what.host]["nfs_export"] = what.root
    for name in filter(None, (primary, standby)):
        seen, found = draft.hosts[name], draft.found[name]
        rc = seen.rc or {}
        if (rc.get("nfsuserd_enable") or "NO").upper() == "YES":
            found["nfs_owners"] = "names"
            match = re.search(r"-domain\s+(\S+)", rc.get("nfsuserd_flags") or "")
            found["nfs_idmap_domain"] = match[1] if match else name.partition(".")[2] or name
        export = draft.value(name, "nfs_export")
        mountpoint = what.mountpoint if what else draft.default("nfs_mountpoint")
        text = seen.text(EXPORTS)
        try:
            text = exports.merged(text, export, mountpoint)
        except NoPlace:
            draft.note(name, "yours", f"{EXPORTS} has a root of NFSv4 of its own: the run says what to do")
        shared = exports.others(text) + exports.others(seen.text(ZFS_EXPORTS))
        for line in shared:
            draft.note(name, "yours", f"the export `{line}` stays as it is")
        if shared:
            found["nfs_for_others"] = True


def tunnels(draft: Draft) -> None:
    """The services of stunnel on every host: what leads to NFS, and what is the operator's."""
    for name, seen in draft.hosts.items():
        own = {option for entry in seen.tunnelled for option in entry.options if option.startswith("port=")}
        for service, options in stunnel.services(
            seen.text(stunnel.SERVER_CONFIG if seen.freebsd else stunnel.CLIENT_CONFIG)
        ).items():
            accept, connect = options.get("accept", ""), options.get("connect", "")
            ours = connect.endswith(f":{NFS_PORT}") if seen.freebsd else f"port={accept.rpartition(':')[2]}" in own
            told = f"[{service}] accepts on {accept or 'no port'}, connects to {connect or 'none'}"
            draft.note(name, "tunnel" if ours else "yours", told if ours else f"{told}: it stays as it is")


def mounts(draft: Draft, what: Served | None, modes: Mapping[str, str]) -> None:
    """What clients mount through their tunnel, and how."""
    shares: list[str] = []
    for name, seen in draft.clients.items():
        found = draft.found[name]
        mounts = []
        for entry, path in zip(seen.tunnelled, seen.shares, strict=True):
            below = what.mountpoint if what and is_within(path, what.mountpoint) else ""
            share = path.removeprefix(below).strip("/")
            if not share or "/" in share:
                draft.note(name, "yours", f"{entry.source} is no directory directly below the export")
                continue
            mounts.append({"share": share, "mountpoint": entry.mountpoint})
            _preset(draft, name, [each for each in entry.options if not _FIXED.match(each)])
            for option in entry.options:
                if option.startswith("port=") and what:
                    draft.found[what.host].setdefault("stunnel_port", int(option.removeprefix("port=")))
        if mounts:
            found["client_mounts"] = mounts
            shares += [each["share"] for each in mounts]
        else:
            draft.note(name, "unknown", f"what it mounts: nothing from {LOOPBACK} is in {FSTAB}")
    if what and shares:
        usual = {each["directory"]: each["mode"] for each in draft.default("nfs_shares")}
        draft.found[what.host]["nfs_shares"] = [
            {"directory": each, "mode": modes.get(each) or usual.get(each, "0755")} for each in dict.fromkeys(shares)
        ]


def _preset(draft: Draft, name: str, options: list[str]) -> None:
    """The options of a mount as a preset, where they are more than the usual ones have."""
    usual: dict[str, str] = draft.default("client_mount_presets")
    wanted = [*options]
    wanted += [] if any(each in ("rw", "ro") for each in wanted) else ["rw"]
    wanted += [] if any(each in ("hard", "soft", "softerr") for each in wanted) else ["hard"]
    for preset, text in usual.items():
        if set(text.split(",")) == set(wanted):
            draft.found[name]["client_mount_preset"] = preset
            return
    presets = {**usual, "site": ",".join(wanted)}
    try:
        TypeAdapter(MountPresets).validate_python(presets)
    except ValidationError as error:
        draft.note(name, "yours", f"the mount options {','.join(options)}: {error.errors()[0]['msg']}")
        return
    draft.found[name] |= {"client_mount_presets": presets, "client_mount_preset": "site"}
