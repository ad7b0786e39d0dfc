from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.facts.files import File, FindInFile

from f3s.carp import Aliases, CarpState, CarpView, VirtualHost, password_digest, rc_file
from f3s.services import ServiceState
from facts.carp import BootAliases, BootPassword, Carp
from facts.newer import Newer
from facts.services import Services
from facts.sysctl import Sysctls
from facts.system import RootCrontab
from operations import carp, sysctl
from tests.operations.harness import Result, run
from tests.shell import lines_of

TOP = Path(__file__).parents[2]
FILES, TEMPLATES = TOP / "files", TOP / "templates"
VIP = "192.168.1.138"
PEER = "f1.lan.buetow.org"


def view(*plain: str, loaded: bool = True, **vhids: VirtualHost) -> dict[type, CarpView]:
    hosts = {int(name.removeprefix("v")): host for name, host in vhids.items()}
    return {Carp: CarpView(hosts, plain, 0 if loaded else None, 0 if loaded else None)}


EXPORT = "/export/nfs"
MASTER = VirtualHost(CarpState.MASTER, 1, 254, (VIP,))


def test_module() -> None:
    assert run(carp.module_loaded, view(loaded=False), "re0").commands == ["kldload -n carp"]
    assert run(carp.module_loaded, view(), "re0").noops == ["net.inet.carp is there"]


def test_preemption_is_not_switched_on_for_a_stranger() -> None:
    other, left_over = VirtualHost(CarpState.BACKUP, 1, 0, ("192.168.1.77",)), VirtualHost(CarpState.INIT, 1, 0)
    facts = view(v1=MASTER, v2=left_over, v7=other)
    with pytest.raises(OperationError, match=r"has vhid 7 on re0 \(192.168.1.77\), too: .* carp_other_vhids"):
        run(carp.preempts_alone, facts, "re0", 1, (2,))
    elsewhere = {Carp: replace(facts[Carp], elsewhere={"em1": {1: other, 3: left_over, 7: other}, "lo0": {}})}
    with pytest.raises(OperationError, match=r"has vhid 1 on em1 \(192.168.1.77\), too"):
        run(carp.preempts_alone, elsewhere, "re0", 1, (2, 7))
    with pytest.raises(OperationError, match=r"vhid 7 on re0 \(MASTER\)"):  # one with addresses of IPv6 alone
        run(carp.preempts_alone, view(v7=VirtualHost(CarpState.MASTER, 1, 0)), "re0", 1, ())
    assert len(run(carp.preempts_alone, facts, "re0", 1, (7,)).noops) == 1


def test_an_address_that_the_kernel_would_refuse_is_refused_first() -> None:
    member = replace(view(v1=MASTER)[Carp], bridge="vm-public")
    assert "although it is a member of vm-public" in run(carp.takes_address, {Carp: member}, "re0").noops[0]
    with pytest.raises(
        OperationError, match=r"member of vm-public.*\(ifconfig_vm_public in rc.conf\), and set carp_int"
    ):
        run(carp.takes_address, {Carp: replace(member, takes_addresses=False)}, "re0")
    assert len(run(carp.takes_address, {Carp: replace(member, takes_addresses=False, bridge=None)}, "re0").noops) == 1


def test_unicast() -> None:
    def at(release: int, peer: str | None) -> dict[type, CarpView]:
        return {Carp: replace(view(v1=replace(MASTER, peer=peer))[Carp], release=release)}

    to, multicast = ("peer", "192.168.1.131"), "224.0.0.18"
    with pytest.raises(OperationError, match=r"carp_unicast needs FreeBSD 14, and kern\.osreldate is 1302001"):
        run(carp.advertises, at(1302001, None), "re0", 1, to)
    ifconfig = "ifconfig re0 vhid 1 "
    assert run(carp.advertises, at(1400097, multicast), "re0", 1, to).commands == [f"{ifconfig}peer 192.168.1.131"]
    assert run(carp.advertises, at(1400097, to[1]), "re0", 1, ()).commands == [f"{ifconfig}mcast"]
    for release, peer, words in ((1302001, None, ()), (1501000, multicast, ()), (1501000, to[1], to)):
        assert len(run(carp.advertises, at(release, peer), "re0", 1, words).noops) == 1
    # ifconfig of FreeBSD 14 goes back to multicast where it is not told
    slower = run(carp.advbase, view(v1=MASTER), "re0", 1, 2, False, to)
    assert slower.commands == [f"{ifconfig}advbase 2 {' '.join(to)}"]
    [command] = run(carp.password, {Newer: True}, "re0", 1, 0, PEER, to, active=[PEER]).commands
    assert f'{ifconfig}pass "$2" {" ".join(to)} && ' in command


def address(*plain: str, interface: str = "re0", alias: int = 0, **vhids: VirtualHost) -> Result:
    return run(carp.address, view(*plain, **vhids), interface, 1, VIP, alias)


def test_the_address_is_set_from_the_file_that_the_boot_reads() -> None:
    [command] = address("192.168.1.130", interface="igb0.10", alias=2).commands
    setting, mark = command.split(" && mkdir ")
    assert setting == '. /etc/rc.conf.d/netif && set -- $ifconfig_igb0_10_alias2 && ifconfig igb0.10 "$@"'
    assert mark == "-p /var/run/f3s && touch /var/run/f3s/netif.applied"
    assert len(address(v1=VirtualHost(CarpState.INIT, 1, 0)).commands) == 1, "a vhid without it"
    # whoever is MASTER, and whatever the controller made of advskew
    assert address("192.168.1.130", v1=MASTER) == Result([], [f"re0 has {VIP} with vhid 1, MASTER"])
    with pytest.raises(OperationError, match=VIP):
        address(VIP)


def test_the_address_of_another_vhid() -> None:
    with pytest.raises(OperationError, match="set carp_vhid to 7, or take the address away"):
        address(v7=MASTER)
    assert run(carp.address, view(v7=MASTER), "re0", 7, VIP, 0).noops
    assert len(address(v7=VirtualHost(CarpState.MASTER, 1, 0)).commands) == 1


@pytest.mark.parametrize("state", [CarpState.MASTER, CarpState.BACKUP])
@pytest.mark.parametrize(("now", "wanted"), [(1, 2), (2, 1)])
def test_a_new_advbase_moves_no_address(state: CarpState, now: int, wanted: int) -> None:
    """The MASTER is never the one that advertises less often, whoever it is: seen, the primary was changed first."""
    facts = view(v1=VirtualHost(state, now, 0, (VIP,)))
    steps = [len(run(carp.advbase, facts, "re0", 1, wanted, first).commands) for first in (True, False)]
    slower, master = wanted > now, state is CarpState.MASTER
    assert steps == ([1, 0] if slower is not master else [0, 1])
    assert run(carp.advbase, facts, "re0", 1, now, True).noops == [f"an advertisement each {now} s"]


def test_the_password_comes_from_the_file(tmp_path: Path) -> None:
    assert run(carp.password, {Newer: False}, "re0", 1, 0, PEER).commands == []
    [command] = run(carp.password, {Newer: True}, "re0", 1, 0, PEER, active=[PEER]).commands
    command = command.replace("/var/run/f3s", str(tmp_path / "run"))
    words = "inet vhid 1 advbase 1 advskew 0 pass s3cret.x alias 192.168.1.138/32"
    (tmp_path / "netif").write_text(rc_file("re0", 0, words))
    script = f'ifconfig() {{ echo "$*"; }}; {command}'.replace("/etc/rc.conf.d/netif", shlex.quote(f"{tmp_path}/netif"))
    assert lines_of(script) == ["re0 vhid 1 pass s3cret.x"]
    assert "s3cret" not in command
    assert (tmp_path / "run" / "netif.applied").exists()


def test_a_password_is_not_applied_once_the_peer_has_dropped_out() -> None:
    told = f"has changed and {PEER} does not take part in this run: the running vhid keeps the"
    result = run(carp.password, {Newer: True}, "re0", 1, 0, PEER)
    assert (result.commands, result.noops, told in result.logs[0]) == ([], [], True)


OLD = password_digest("the old one")


@pytest.mark.parametrize("executing", [True, False])
@pytest.mark.parametrize(
    ("found", "vhids", "stops"),
    [
        (OLD, {"v1": MASTER}, True),
        (OLD, {}, True),
        # made by hand: what the kernel has is not known
        ("", {"v1": MASTER}, True),
        ("", {"v7": MASTER}, False),
        (password_digest("n3w"), {"v1": MASTER}, False),
    ],
)
def test_a_new_password_needs_both_hosts(
    found: str, vhids: dict[str, VirtualHost], stops: bool, executing: bool
) -> None:
    facts = {BootPassword: found, **view(**vhids)}
    arguments = ("re0", 1, HiddenValue("n3w"), PEER)
    if stops:
        with pytest.raises(OperationError, match="with the old one there both would serve"):
            run(carp.password_for_both, facts, *arguments, executing=executing)
    else:
        assert run(carp.password_for_both, facts, *arguments, executing=executing).commands == []
    assert run(carp.password_for_both, facts, *arguments, active=[PEER]).commands == []


def test_devd_starts_again_for_a_rule_that_it_has_not_read() -> None:
    rules = ["/usr/local/etc/devd/f3s-carp.conf", "/etc/devd.conf"]
    for changed in rules:
        newer = {Newer: lambda path, marks, changed=changed: path == changed}
        assert run(carp.devd_knows, newer, rules).commands == ["service devd restart"]
    said = "devd has started since /usr/local/etc/devd/f3s-carp.conf and /etc/devd.conf changed"
    assert run(carp.devd_knows, {Newer: False}, rules).noops == [said]


def test_the_address_leaves_rc_conf_and_foreign_aliases_stay() -> None:
    result = run(carp.only_boot_alias, {BootAliases: Aliases((1,), (0,), False)}, "igb0.10", VIP)
    assert result.commands == ["sysrc -x ifconfig_igb0_10_alias1"]
    result = run(carp.only_boot_alias, {BootAliases: Aliases((), (0,), False)}, "re0", VIP)
    assert (result.commands, len(result.noops)) == ([], 1)
    with pytest.raises(OperationError, match="not from this deploy"):
        run(carp.only_boot_alias, {BootAliases: Aliases((1,), (), True)}, "re0", VIP)


TUNNEL = "/usr/local/etc/stunnel/stunnel.conf"
OURS = {
    "/usr/local/etc/rc.d/f3s_storage": (FILES / "freebsd" / "f3s_storage").read_text(),
    "/usr/local/etc/f3s/storage.conf": (TEMPLATES / "storage.conf.j2").read_text(),
    "/etc/exports": f"V4: {EXPORT} -sec=sys",
    TUNNEL: (TEMPLATES / "stunnel-server.conf.j2").read_text(),
}


def files(texts: Mapping[str, str]) -> dict[type, object]:
    """As pyinfra's facts answer: None where there is no file."""

    def lines(path: str, pattern: str) -> list[str] | None:
        return [each for each in texts[path].splitlines() if re.search(pattern, each)] if path in texts else None

    return {File: lambda path: {"mode": 644} if path in texts else None, FindInFile: lines}


BY_HAND = {"/etc/exports": "V4: /data/nfs", TUNNEL: "[nfs-tls]\naccept = 192.168.1.138:2323"}


@pytest.mark.parametrize("by_hand", [{}, BY_HAND])
def test_the_controller_starts_when_its_services_can(by_hand: dict[str, str]) -> None:
    """A stunnel without a pid file, of a configuration that was made by hand, could not be stopped again."""
    assert run(carp.controller_started, files({"/var/run/f3s/started": ""}), EXPORT).noops == ["f3s_storage is started"]
    others = {name: text for name, text in OURS.items() if name not in BY_HAND}
    waiting = run(carp.controller_started, files(others | by_hand), EXPORT)
    later = f"f3s_storage is started later: /etc/exports, {TUNNEL} is not there yet, or not as this deploy has it"
    assert waiting == Result([], [later])
    assert run(carp.controller_started, files(OURS), EXPORT).commands == ["service f3s_storage start"]


def test_a_change_is_taken_up_once_all_files_are_of_this_deploy() -> None:
    """And it restarts nothing. An update changes the programs first: with earlier exports they could only stop."""
    assert run(carp.controller_reconciles, files(OURS), EXPORT).commands == ["service f3s_storage reconcile"]
    later = "it takes up the change later: /etc/exports is not as this deploy has it yet"
    others = files({**OURS, "/etc/exports": "V4: /data/nfs -sec=sys"})
    assert run(carp.controller_reconciles, others, EXPORT) == Result([], [later])


def test_sysctls() -> None:
    assert run(sysctl.values, {Sysctls: {"a.b": "0"}}, {"a.b": "1"}).commands == ["sysctl a.b=1"]
    assert run(sysctl.values, {Sysctls: {"a.b": "1"}}, {"a.b": "1"}).noops == ["a.b=1"]
    assert run(sysctl.values, {Sysctls: {"a.b": None}}, {"a.b": "1"}).commands == []
    assert run(sysctl.values, {Sysctls: {"a.b": None}}, {"a.b": "1"}, executing=False).commands == ["sysctl a.b=1"]


@pytest.mark.parametrize("executing", [False, True])
def test_a_sysctl_that_a_service_sets_when_it_starts_counts_only_while_that_runs(executing: bool) -> None:
    def now(state: ServiceState) -> Result:
        facts = {Services: {"nfsd": state}, Sysctls: {"a.b": "1"}}
        return run(sysctl.values, facts, {"a.b": "0"}, set_by="nfsd", executing=executing)

    assert now(ServiceState.RUNNING).commands == ["sysctl a.b=0"]
    for state in (ServiceState.STOPPED, ServiceState.MISSING):
        assert now(state) == Result([], ["nfsd does not run, and sets a.b when it starts"])


def test_a_line_made_by_hand_leaves_the_crontab_and_ours_stays() -> None:
    program = "/usr/local/bin/carp-auto-failback.sh"
    ours = ("# pyinfra-name=carp-auto-failback", f"* * * * * {program}")
    others = ("MAILTO=me", f"# was {program}", f"0 3 * * * {program}.old", "@daily /root/backup")
    by_hand = f"*/1 * * * * root {program} >/dev/null"
    report = ("# pyinfra-name=report", "* * * * * /report >/dev/null")

    def changed(*lines: str, without: Sequence[str] = ()) -> tuple[list[str] | None, list[str]]:
        commands = {"carp-auto-failback": program, "report": "/report >/dev/null"}
        result = run(carp.crontab, {RootCrontab: lines}, commands, without, program)
        if not result.commands:
            return None, result.noops
        (put,) = result.commands
        assert put.get_raw_value() == "crontab -"
        return put.connector_arguments["_stdin"].splitlines(), result.logs

    left, logs = changed(*others, by_hand, *ours, *report)
    assert left == [*others, *ours, *report]
    assert by_hand in logs[0]
    assert changed(*others, *ours, *report)[0] is None
    assert changed("# all of it is", "#0 3 * * * off")[0] == ["# all of it is", "#0 3 * * * off", *ours, *report]
    assert changed(*ours, *others, report[0], "*/5 * * * * /report", without=["carp-auto-failback"])[0] == [
        *others,
        *report,
    ]
    assert changed(report[0], "0 0 * * * mine", *ours)[0] == [*report, "0 0 * * * mine", *ours]
    assert changed(by_hand)[0] == [*ours, *report]
