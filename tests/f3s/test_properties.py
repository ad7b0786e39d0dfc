"""What must hold for every state, on states that are drawn. DRAWS=1000 draws that many, others each time."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from f3s import exports, stunnel
from f3s.keys import Keys, Roots, plan
from f3s.textfile import NoPlace
from tests.f3s.test_keys import HOSTS, key, used

DRAWS = int(os.environ.get("DRAWS", "50"))
settings.register_profile("drawn", max_examples=DRAWS, deadline=None, database=None, derandomize=DRAWS == 50)
settings.load_profile("drawn")

NAMES = ("f0:zdata", "f1:zdata")
RIGHT, OTHER, MADE = "a", "b", "c"
"""What a key file has: that which opens the data, another key, one that was made just now."""

files = st.sampled_from([RIGHT, OTHER, "unreadable", "short"])
contents = st.dictionaries(st.sampled_from(NAMES), files)
sticks = st.fixed_dictionaries({host: st.none() | contents for host in HOSTS})
roots = st.fixed_dictionaries(
    {
        host: st.sampled_from([(), "unread", *(used(f"file:///keys/{name}.key")["f1"] for name in NAMES)])
        for host in HOSTS
    }
)


def seen(stick: Mapping[str, str] | None) -> Keys | None:
    if stick is None:
        return None
    return {
        name: key(name, digit=what[0], size=7 if what == "short" else 32, readable=what != "unreadable")
        for name, what in stick.items()
    }


@given(sticks, roots)
def test_keys_are_never_lost_and_the_next_run_has_nothing_to_do(
    found: dict[str, dict[str, str] | None], needed: dict[str, Roots]
) -> None:
    """As operations.usb does it: nobody does anything where somebody has a conflict, nor makes keys in doubt."""
    before = {host: seen(stick) for host, stick in found.items()}
    plans = {host: plan(host, NAMES, before, needed) for host in HOSTS}
    assert len({each.conflicts for each in plans.values()}) == 1 or any(stick is None for stick in found.values())
    if any(each.conflicts or (each.makes and each.doubts) for each in plans.values()):
        return
    after = {host: dict(stick or {}) for host, stick in found.items()}
    for host, todo in plans.items():
        for copy in todo.copies:
            after[host][copy.name] = (found[copy.source] or {})[copy.name]
        after[host].update(dict.fromkeys(todo.makes, MADE))
    for name in NAMES:
        whats = {stick.get(name) for host, stick in after.items() if found[host] is not None}
        assert len(whats) <= 1, "sticks that differ"
        assert whats <= {RIGHT, OTHER, MADE}, "a file that is no key"
        had = {stick[name] for stick in found.values() if stick and name in stick}
        assert had <= whats, "a key was replaced"
        if MADE in whats:
            assert "unread" not in needed.values(), "who knows whether it is in use?"
            assert all(needed[host] != used(f"file:///keys/{name}.key")["f1"] for host in HOSTS), "it would never open"
    again = {host: seen(stick) if found[host] is not None else None for host, stick in after.items()}
    for host in (each for each in HOSTS if found[each] is not None):
        todo = plan(host, NAMES, again, needed)
        assert (todo.copies, todo.makes, todo.conflicts) == ((), (), ())


lines = st.lists(
    st.sampled_from(
        [
            "/home -ro -mapall=nobody host1",
            "# a remark",
            "",
            "/usr/ports  -maproot=0 192.168.1.0/24",
            "/a \\\n\t-ro host2",
            "/data/other -network 10.0.0.0/8",
        ]
    )
).map(lambda each: "".join(f"{line}\n" for line in each))


@given(lines)
def test_exports_of_others_stay_to_the_byte(theirs: str) -> None:
    once = exports.merged(theirs, "/export/nfs", "/data/nfs")
    assert theirs in once
    assert exports.merged(once, "/export/nfs", "/data/nfs") == once


services = st.lists(
    st.sampled_from(
        [
            "[mail]\naccept = 993\nconnect = 143\ncert = /etc/mail.pem\n",
            "; a remark\n",
            "[web]\naccept = 127.0.0.1:8443\nconnect = 80\n\n",
            "foreground = no\n",
        ]
    ),
    unique=True,
).map("".join)
OURS = "; f3s\npid = /var/run/stunnel.pid\n[nfs]\naccept = 192.168.1.138:2323\nconnect = 127.0.0.1:2049\n"


@given(services)
def test_services_of_others_stay_to_the_byte(theirs: str) -> None:
    try:
        once = stunnel.merged(theirs, OURS)
    except NoPlace:
        return
    for name, options in stunnel.services(theirs).items():
        assert stunnel.services(once)[name] == options
    assert stunnel.merged(once, OURS) == once
