"""The lines of inventory.py and group_data/, and the report."""

from __future__ import annotations

import pprint
from collections.abc import Iterable, Iterator, Mapping

from f3s.devd import HOOK, rivals
from f3s.pki.certificates import of_others
from f3s.survey.model import TEXTS, Draft, Seen
from f3s.textfile import is_ours


def files(draft: Draft, primary: str | None, standby: str | None) -> dict[str, str]:
    groups = {name: _members(draft, name, primary, standby) for name in draft.defaults}
    shared: dict[str, dict[str, object]] = {name: {} for name in draft.defaults}
    beside: dict[str, dict[str, object]] = {
        name: {key: value for key, value in seen.own.items() if key not in draft.found[name]}
        for name, seen in draft.hosts.items()
    }
    for variable in dict.fromkeys(key for found in draft.found.values() for key in found):
        home = next((group for group, data in draft.defaults.items() if variable in data), None)
        usual = draft.default(variable)
        values = {name: found[variable] for name, found in draft.found.items() if variable in found}
        inside = [values[name] for name in groups.get(home or "", ()) if name in values]
        if home and inside and all(value == inside[0] for value in inside):
            if inside[0] != usual:
                shared[home][variable] = inside[0]
            values = {name: value for name, value in values.items() if name not in groups[home]}
        for name, value in values.items():
            if home is None or value != usual:
                beside[name][variable] = value
    files = {f"group_data/{group}.py": _group_file(group, data) for group, data in shared.items() if data}
    foreign = sorted({path for name, seen in draft.hosts.items() for path in _foreign(draft, name, seen)})
    if foreign:
        text = files.get("group_data/all.py") or _group_file("all", {})
        files["group_data/all.py"] = (
            f"{text}\n# Yours, at places that this deploy needs. Look at them first (--dry --diff shows both), then "
            f"take away the #:\n# replace_files = {foreign}\n"
        )
    return {"inventory.py": _inventory(draft, beside, primary, standby), **files}


def _members(draft: Draft, group: str, primary: str | None, standby: str | None) -> list[str]:
    match group:
        case "all":
            return list(draft.hosts)
        case "freebsd":
            return list(draft.freebsd)
        case "storage":
            return [name for name in (primary, standby) if name]
        case _:
            return list(draft.clients)


def _foreign(draft: Draft, name: str, seen: Seen) -> Iterator[str]:
    texts = {path: found.text for path, found in seen.texts.items() if found and path not in TEXTS[seen.freebsd]}
    foreign = [path for path, text in texts.items() if text and not is_ours(text, path)]
    foreign += [path for path, pem in (seen.certificates or {}).items() if of_others(pem)]
    subsystem = f"{draft.value(name, 'carp_vhid')}@{draft.value(name, 'carp_interface')}"
    foreign += [path for path, file in (seen.devd or {}).items() if rivals(file.text, HOOK, subsystem)]
    for path in foreign:
        draft.note(name, "yours", f"{path} is where a file of this deploy belongs: see replace_files")
        yield path


def _group_file(group: str, data: Mapping[str, object]) -> str:
    lines = [f'"""Where this site differs from group_data/{group}.py at the top of the repository: see there."""']
    return "\n".join([*lines, "", *(f"{name} = {_value(value)}" for name, value in data.items()), ""])


def _value(value: object) -> str:
    return pprint.pformat(value, width=110, sort_dicts=False)


def _inventory(
    draft: Draft, beside: Mapping[str, Mapping[str, object]], primary: str | None, standby: str | None
) -> str:
    def group(name: str, members: Iterable[str]) -> str:
        lines = [f"    ({draft.hosts[each].word!r}, {_value(dict(beside[each]))})," for each in members]
        return "\n".join([f"{name} = [", *lines, "]"])

    def role(name: str, member: str | None) -> str:
        return f"{name} = [{draft.hosts[member].word!r}]" if member else f"{name} = []  # unknown: put the host here"

    return "\n".join(
        [
            '"""The hosts of this site, as tasks/survey.py found them; group_data/ beside it has what they share."""',
            "",
            "from bridge.settings import check_inventory",
            "",
            group("freebsd", draft.freebsd),
            role("storage_primary", primary),
            role("storage_standby", standby),
            "storage = [*storage_primary, *storage_standby]",
            group("clients", draft.clients),
            "",
            "# refuses wrong data with all its reasons, before any host is contacted",
            "check_inventory(__file__, globals())",
            "",
        ]
    )


def report(draft: Draft) -> str:
    short = {name: name.partition(".")[0] for name in draft.hosts}
    rows = [(short.get(host, host), what, text) for host, what, text in dict.fromkeys(draft.notes)]
    order = [*short.values(), "site"]
    rows.sort(key=lambda row: order.index(row[0]))
    width = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return "".join(f"{host:<{width[0]}}  {what:<{width[1]}}  {text}\n" for host, what, text in rows)
