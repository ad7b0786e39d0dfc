"""Files that the operator owns, too (scenarios/by_hand): his lines stay to the byte, ours come and go."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from f3s import devd, exports, stunnel, zrepl, zrepl_file
from f3s.textfile import NoPlace
from scenarios.by_hand import FOLDER
from tests.f3s.replication_sites import F0, F1, SHIPPED
from tests.f3s.settings_data import build, good
from tests.files.stubs import render


def by_hand(name: str) -> str:
    return (FOLDER / name).read_text()


def gone(before: str, after: str) -> list[str]:
    """The lines that are no longer there; every other one is, in its order."""
    return [line[2:].strip() for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] == "-"]


def gained(before: str, after: str) -> list[str]:
    return gone(after, before)


# -- zrepl.yml --


def ours(host: str = F0) -> dict[str, Any]:
    found = zrepl.host_config(SHIPPED.host(host), SHIPPED)
    assert found is not None
    return found


def part(text: str, first: str, last: str) -> str:
    return text[text.index(first) : text.index(last)]


def test_jobs_of_the_operator_stay_in_their_place_with_their_comments() -> None:
    before = by_hand("f0.zrepl.yml")
    after = zrepl_file.merged(before, ours())
    assert part(after, "  # the system itself", "# that is all") == part(
        before, "  # the system itself", "# that is all"
    )
    assert after.startswith(before[: before.index("jobs:") - 1])
    assert after.endswith("# that is all\n")
    names = ["f0_to_f1_nfsdata", "f0_to_f1_fedora", "system", "backup", "drawer"]
    assert [job["name"] for job in yaml.safe_load(after)["jobs"]] == names
    assert yaml.safe_load(after)["jobs"][:2] == ours()["jobs"]
    assert yaml.safe_load(after)["global"] == {
        "logging": yaml.safe_load(before)["global"]["logging"],
        "monitoring": ours()["global"]["monitoring"],
    }
    assert zrepl_file.merged(after, ours()) == after
    f1 = by_hand("f1.zrepl.yml")
    assert part(zrepl_file.merged(f1, ours(F1)) + "END", "# my laptop", "END") == part(f1 + "END", "# my laptop", "END")


def test_a_job_that_is_no_longer_in_the_data_goes_and_nothing_else() -> None:
    full = zrepl_file.merged(by_hand("f0.zrepl.yml"), ours())
    fewer = ours()
    dropped = fewer["jobs"].pop(0)
    after = zrepl_file.merged(full, fewer)
    assert [job["name"] for job in yaml.safe_load(after)["jobs"]] == ["f0_to_f1_fedora", "system", "backup", "drawer"]
    assert gained(full, after) == []
    assert yaml.safe_load("\n".join(gone(full, after)[1:2])) == [{"name": dropped["name"]}]
    # and comes back behind the others
    assert [job["name"] for job in yaml.safe_load(zrepl_file.merged(after, ours()))["jobs"]][-1] == dropped["name"]


def test_what_says_the_same_is_only_marked_and_our_own_parts_follow_the_data() -> None:
    by_an_earlier_version = yaml.safe_dump(ours(), sort_keys=False)
    after = zrepl_file.merged(
        f"# Written by the f3s deploy; changes made here are lost.\n{by_an_earlier_version}", ours()
    )
    assert gone(by_an_earlier_version, after) == []
    assert set(gained(by_an_earlier_version, after)) == {zrepl_file.MARK}
    other = ours()
    other["global"]["monitoring"][0]["listen"] = "127.0.0.1:9000"
    assert gained(after, zrepl_file.merged(after, other)) == ["listen: 127.0.0.1:9000"]


def swap(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """An edit of the text."""

    def change(text: str) -> str:
        for before, after in pairs:
            assert before in text
            text = text.replace(before, after)
        return text

    return change


ALL = ('"zdata/enc/nfsdata": true', '"zdata/enc<": true')
ELSEWHERE = ("192.168.2.131:8888", "192.168.2.199:8888")
OTHER_NAME = ("name: f0_to_f1_nfsdata", "name: mine")


def anew(text: str) -> str:
    """Written out as one indented block a job."""
    return yaml.safe_dump(yaml.safe_load(text) | {"global": {"logging": [{"type": "syslog"}]}})


@pytest.mark.parametrize(
    ("change", "why", "way"),
    [
        (swap(OTHER_NAME), "job mine does what f0_to_f1_nfsdata of .* Give f0_to_f1_nfsdata the name mine", "mine"),
        (swap(ALL), "has zdata/enc, which the deploy's .* another name there and take zdata/enc/nfsdata out of it",
         swap(OTHER_NAME, (ALL[1], f'{ALL[1]}\n      "zdata/enc/nfsdata<": false'))),
        (swap(ELSEWHERE), "has address 192.168.2.199:8888, .* give it another name there, or",
         swap(OTHER_NAME, ("name: f0_to_f1_fedora", "name: other"))),
        (lambda text: "include:\n- more.yml\n" + text, "`include` takes jobs from other files: put them into this one",
         swap(("include:\n- more.yml\n", ""))),
        (lambda text: "jobs: [{name: a, type: snap}]\n", "`jobs` is not written as one indented block a job", anew),
        (lambda text: "global: {}\n" + text[text.index("jobs:") :], "`global` is empty, or not written as one indented",
         anew),
        (lambda text: "{jobs: [{name: a, type: snap}]}\n", "it is not written as indented lines", anew),
        (swap(("- name: system\n    type", "- type")), "jobs.[0-9]+.name is not what zrepl takes: Field required",
         swap(("- type: snap", "- name: system\n    type: snap"))),
        (swap(("- name: f0_to_f1_nfsdata", "-\n    name: f0_to_f1_nfsdata")),
         "the dash of a job is not on the line on which the job begins: name: f0_to_f1_nfsdata",
         swap(("-\n    name: f0_to_f1_nfsdata", "- name: f0_to_f1_nfsdata"))),
        (swap(("- name: system", "- connect: 5\n    name: system")), "jobs.[0-9]+.connect is not what zrepl takes",
         swap(("- connect: 5\n    name", "- name"))),
        (lambda text: "- a\n", "is not the configuration of zrepl", lambda text: ""),
        (lambda text: "jobs: [", "is not the configuration of zrepl", lambda text: ""),
    ],
)  # fmt: skip
def test_where_there_is_no_place_for_ours_and_the_way_on(
    change: Callable[[str], str], why: str, way: Callable[[str], str] | str
) -> None:
    text = change(by_hand("f0.zrepl.yml"))
    with pytest.raises(NoPlace, match=why):
        zrepl_file.merged(text, ours())
    wanted = ours()
    if isinstance(way, str):
        wanted["jobs"][0]["name"] = way
    else:
        text = way(text)
    after = zrepl_file.merged(text, wanted)
    assert zrepl_file.merged(after, wanted) == after


PORT = ('"192.168.2.131:8888"', '"192.168.2.131:8890"')


@pytest.mark.parametrize(
    ("before", "after", "why", "way"),
    [
        ("name: sink", "name: from_f0", "job from_f0 does what sink of this deploy does. Call it sink there",
         swap(("name: from_f0", "name: sink"))),
        ("root_fs: zdata/sink", "root_fs: zdata/replicas",
         "job sink has root_fs zdata/replicas, .* another name there and another port",
         swap(("name: sink", "name: mine"), PORT)),
        ('"192.168.2.130": "f0"', '"192.168.2.130": "f0"\n      "192.168.2.9": "nas"', "has client 192.168.2.9",
         swap(("name: sink", "name: mine"), PORT)),
        ('type: sink\n  serve:\n    type: tcp\n    listen: "192.168.2',
         'type: source\n  serve:\n    type: tcp\n    listen: "192.168.2',
         "has type source, .* another name there and another port", swap(("name: sink", "name: mine"), PORT)),
    ],
)  # fmt: skip
def test_a_sink_that_does_more_or_bears_another_name(
    before: str, after: str, why: str, way: Callable[[str], str]
) -> None:
    text = swap((before, after))(by_hand("f1.zrepl.yml"))
    with pytest.raises(NoPlace, match=why):
        zrepl_file.merged(text, ours(F1))
    assert zrepl_file.merged(way(text), ours(F1))


def test_a_text_that_jobs_share_is_not_torn_apart() -> None:
    text = by_hand("f0.zrepl.yml")
    text = text.replace("    snapshotting:\n      type: periodic", "    snapshotting: &often\n      type: periodic", 1)
    text = text.replace("snapshotting: {type: manual}", "snapshotting: *often")
    with pytest.raises(NoPlace):
        zrepl_file.merged(text, ours())


# -- exports --


def test_exports_of_the_operator_stay_and_the_same_data_are_exported_once() -> None:
    before = by_hand("exports")
    after = exports.merged(before, "/export/nfs", "/data/nfs")
    assert gone(before, after) == [
        "V4: /data/nfs -sec=sys",
        "/data/nfs -alldirs -maproot=root -network 127.0.0.1 -mask 255.255.255.255",
    ]
    assert len(gained(before, after)) == 4
    assert exports.merged(after, "/export/nfs", "/data/nfs") == after
    assert exports.others(after) == (
        "/tank/media -ro \\ -network 192.168.1.0 -mask 255.255.255.0",
        "/tank/scans -mapall=nobody printer.lan",
    )
    # lines behind the block stay there, and another export takes the old one's place
    more = f"{after}/tank/more pc.lan\n"
    assert exports.merged(more, "/export/nfs", "/data/nfs") == more
    assert exports.merged(more, "/export/x", "/data/nfs") == more.replace("/export/nfs", "/export/x")


@pytest.mark.parametrize(
    "line",
    [
        "/data/nfs -network 192.168.1.0/24",
        "/data/nfs /tank/x 127.0.0.1",
        "/data/nfs -maproot=root",
        "/data/nfs localhost pc.lan",
    ],
)
def test_the_data_that_are_exported_to_others_are_the_operators_matter(line: str) -> None:
    assert gone(f"{line}\n", exports.merged(f"{line}\n", "/export/nfs", "/data/nfs")) == []


def test_there_is_one_root_of_nfsv4() -> None:
    with pytest.raises(NoPlace, match=r"its line `V4: /tank -sec=sys` makes /tank the root .* needs /export/nfs"):
        exports.merged("V4: /tank -sec=sys\n/tank pc.lan\n", "/export/nfs", "/data/nfs")
    assert exports.merged("/tank pc.lan\n", "/export/nfs", "/data/nfs"), "without the line"
    half = exports.merged("", "/e", "/d").rpartition("#")[0]
    with pytest.raises(NoPlace, match="has not its other half: remove the rest of that block"):
        exports.merged(half, "/e", "/d")
    assert exports.merged("".join(half.splitlines(keepends=True)[1:]), "/e", "/d")


# -- stunnel.conf --


def tunnel(end: str = "server") -> str:
    site = build(good())
    values = stunnel.client_variables(site.clients[0]) if end == "client" else stunnel.server_variables(site.primary)
    return render(f"stunnel-{end}.conf.j2", **values)


def test_services_of_the_operator_stay_and_the_tunnel_by_hand_goes() -> None:
    before = by_hand("stunnel.conf")
    after = stunnel.merged(before, tunnel())
    assert gone(before, after)[0] == "[nfs-ha]"
    assert len(gone(before, after)) == 6
    assert part(before + "END", "; the web", "END") in after
    assert stunnel.others(before, tunnel()) == stunnel.others(after, tunnel()) == ("ups",)
    assert stunnel.merged(after, tunnel()) == after
    assert stunnel.others("", tunnel()) == ()
    behind = f"{after}[more]\naccept = 5\nconnect = 6\n"
    assert stunnel.merged(behind, tunnel()) == behind


BY_HAND_CLIENT = """cert = /etc/stunnel/r0.pem
CAfile = /etc/stunnel/ca.pem
client = yes
verify = 2

[nfs-ha]
accept = 127.0.0.1:2323
connect = 192.168.1.138:2323
"""


def test_on_a_client_the_tunnel_by_hand_goes_with_the_options_that_were_for_it_alone() -> None:
    after = stunnel.merged(BY_HAND_CLIENT, tunnel("client"))
    assert after == stunnel.merged("", tunnel("client"))
    earlier = "; TLS to the NFS server on the virtual IP. Written by the deploy (tasks/clients.py).\npid =\n\n"
    assert stunnel.merged(earlier + tunnel("client").partition("\n\n")[2], tunnel("client")) == after
    mail = "; the mail relay\n[mail]\nclient = yes\naccept = 127.0.0.1:25\nconnect = mail:465\n"
    with pytest.raises(NoPlace, match="`verify = 2` above its services"):
        stunnel.merged(BY_HAND_CLIENT + mail, tunnel("client"))
    both = stunnel.merged(BY_HAND_CLIENT.replace("verify = 2\n", "") + mail, tunnel("client"))
    assert mail in both
    assert both.count("[nfs") == 1
    assert stunnel.others(both, tunnel("client")) == ("mail",)


WEB = "[web]\naccept = 1\nconnect = 80\n"


@pytest.mark.parametrize(
    ("text", "why", "followed"),
    [
        ("pid = /var/run/stunnel.pid\n",
         "`pid = /var/run/stunnel.pid` above its services has to be /var/run/stunnel/stunnel.pid for",
         "pid = /var/run/stunnel/stunnel.pid\n"),
        ("SetUid = nobody\n", "`setuid = nobody` above its services has to be stunnel", "SetUid = stunnel\n"),
        (f"chroot = /var/empty\n{WEB}",
         "`chroot = /var/empty` above its services would be for the service of this deploy",
         f"{WEB}chroot = /var/empty\n"),
        (f"verify = 2\n{WEB}", "`verify = 2` .* move it into the services that need it", f"{WEB}verify = 2\n"),
        ("include = /usr/local/etc/stunnel/conf.d\n", "`include = ", WEB),
        ("[web]\naccept = 2323\nconnect = 80\n", r"service \[web\] accepts on 2323, .* another port", WEB),
        ("[web]\naccept = 127.0.0.1:2323\nconnect = 80\n", r"service \[web\] accepts on 127.0.0.1:2323", WEB),
        ("[alive]\naccept = 1\nconnect = 80\n", r"service \[alive\] has the name of one .* call it otherwise", WEB),
    ],
)  # fmt: skip
def test_a_line_that_excludes_ours_is_named_and_the_way_on(text: str, why: str, followed: str) -> None:
    with pytest.raises(NoPlace, match=why):
        stunnel.merged(text, tunnel())
    assert stunnel.merged(followed, tunnel())


# -- devd.conf --


def test_the_hook_leaves_devd_conf_and_other_rules_for_carp_are_found() -> None:
    before = by_hand("devd.conf")
    after = devd.without(before, devd.HOOK, "1@re0", all_of_it=False)
    assert len(gone(before, after)) == 6
    assert gained(before, after) == []
    assert [rule.action for rule in devd.rivals(after, devd.HOOK, "1@re0")] == ["/root/bin/tell-phone $subsystem"]
    assert devd.without(after, devd.HOOK, "1@re0", all_of_it=False) == after
    assert len(gone(before, devd.without(before, devd.HOOK, "1@re0", all_of_it=True))) == 10


@pytest.mark.parametrize(
    ("subsystem", "takes"),
    [("1@re0", True), ("5@re0", False), ("!1@.*", False), ("!5@.*", True), (".@re0", True), ("[", True)],
)
def test_a_rule_for_another_vhid_is_no_rival(subsystem: str, takes: bool) -> None:
    rule = f'notify 90 {{ match "system" "CARP"; match "subsystem" "{subsystem}"; action "/root/x"; }};\n'
    assert bool(devd.rivals(rule, devd.HOOK, "1@re0")) is takes
    assert devd.without(rule, devd.HOOK, "1@re0", all_of_it=True) == ("" if takes else rule)
