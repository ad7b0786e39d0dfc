"""Cables, and hosts that do not hear each other. Afterwards there is one MASTER, and nothing is lost."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from f3s.carp import MULTICAST, UNICAST_SINCE
from f3s.controller import CLAIMS, RUN
from scenarios.pair import FAILBACK, HEALED, READY, SERVING, TAKEOVER, Pair
from scenarios.play import scenario
from scenarios.stage import CannotError
from scenarios.story import Story

ONE_MASTER = "exactly one MASTER, which serves"
UNPLUGGED_SECONDS = 20
"""Longer than a takeover takes, and two runs of the client's monitor."""
BLINK_SECONDS = 8
"""A switch that restarts."""
OTHER_ADDRESS = "192.0.2.7"
"""Of RFC 5737: nobody's."""
STRANGER = bytes.fromhex("020000005a5a")
"""Its Ethernet address."""


def _settles(pair: Pair) -> None:
    """One MASTER serves and the client reads; then the primary serves, if it did not already, and the client writes."""
    limit = {name: TAKEOVER[name] + SERVING[name] for name in TAKEOVER}
    pair.story.within(ONE_MASTER, lambda: pair.one_master() is not None, **limit)
    pair.client_reads()
    pair.primary_serves(**FAILBACK)


def _moves(pair: Pair) -> str:
    """When the address came to the primary or left it."""
    return pair.story.attempt(pair.primary, f"cat {RUN}/moves").output


def _stays(pair: Pair, moves: str) -> None:
    """The primary serves, and the address has never left it."""
    pair.story.within(
        f"{pair.primary} serves, {pair.standby} stands by", lambda: pair.one_master() == pair.primary, **SERVING
    )
    pair.story.prove(_moves(pair) == moves, "the address has not moved")


def _cables(story: Story, first: str, second: str) -> None:
    with Pair(story).opening().watched() as pair:
        for plugged in (False, True):
            for host in (first, second):
                story.stage.cable(host, plugged=plugged)
                story.say(f"the cable of {host} is {'in again' if plugged else 'out'}")
                story.stage.wait(UNPLUGGED_SECONDS)
        _settles(pair)


@scenario("cables-primary-first", text=ONE_MASTER)
def cables_primary_first(story: Story) -> None:
    """Both cables out and in again, the primary's first"""
    _cables(story, story.cast.primary, story.cast.standby)


@scenario("cables-standby-first", text=ONE_MASTER)
def cables_standby_first(story: Story) -> None:
    """Both cables out and in again, the standby's first"""
    _cables(story, story.cast.standby, story.cast.primary)


def _parted(story: Story, opens: Callable[[Pair], None], ends: Callable[[Pair], None]) -> None:
    """The two do not hear each other, with clients on both sides; then they do, and one of them has the address."""
    pair = Pair(story)
    other = pair.other("none for the other side")
    pair.opening()
    pair.has_the_share(other)
    with pair.watched(pair.client, other):
        opens(pair)
        before = pair.one_master()
        story.stage.part(pair.primary, pair.standby)
        story.say(f"{pair.primary} and {pair.standby} are parted")
        story.within(
            "both are MASTER",
            lambda: [pair.state(host) for host in pair.hosts] == ["MASTER", "MASTER"],
            **TAKEOVER,
        )
        story.stage.wait(60)
        story.stage.join(pair.primary, pair.standby)
        story.say("they hear each other again")
        story.within(f"{before} has the address, as before", lambda: pair.one_master() == before, **TAKEOVER)
        ends(pair)
        _settles(pair)
        story.within(
            f"{other} writes as well",
            lambda: pair.asks(other, f"echo healed >{story.cast.mountpoint}/{other}").rc == 0,
            **HEALED,
        )


@scenario("split", text="two MASTERs until it is healed, then exactly one")
def split(story: Story) -> None:
    """The two storage hosts do not hear each other, and each has clients on its side"""
    _parted(story, lambda pair: None, lambda pair: None)


@scenario("split-standby", text="two MASTERs until it is healed, then the standby, as before")
def split_standby(story: Story) -> None:
    """The two do not hear each other while the standby serves, and each has clients on its side"""

    def gives(pair: Pair) -> None:
        story.types(pair.primary, "carp backup")
        pair.standby_serves(at_once=True)

    _parted(story, gives, lambda pair: story.types(pair.primary, "carp master"))


@scenario("blip", text="the address comes back by the gates alone")
def blip(story: Story) -> None:
    """The primary's cable is out for a moment: its link brings no address back"""
    with Pair(story).opening().watched() as pair:
        story.stage.cable(pair.primary, plugged=False)
        story.say(f"the cable of {pair.primary} is out")
        pair.standby_serves()
        story.stage.cable(pair.primary, plugged=True)
        story.say(f"the cable of {pair.primary} is in again")
        story.stage.wait(BLINK_SECONDS)
        story.prove(pair.state(pair.standby) == "MASTER", f"{pair.standby} is still MASTER")
        pair.failback_by_cron()


@scenario("blink", text="the address is where it was, and no gate was asked")
def blink(story: Story) -> None:
    """The switch restarts while the standby serves and automatic failback is off"""
    pair = Pair(story).opening()
    story.types(pair.primary, "carp auto-failback disable")
    pair.writes("disabled", "failback is off")
    with pair.watched():
        story.stage.cable(pair.primary, plugged=False)
        pair.standby_serves()
        story.stage.cable(pair.primary, plugged=True)
        claim, _ = CLAIMS["standby"]
        story.within(f"{pair.standby} claims the address", lambda: pair.status(pair.standby).claim == claim, **READY)
        for host in pair.hosts:
            story.stage.cable(host, plugged=False)
        story.say("both cables are out")
        story.stage.wait(BLINK_SECONDS)
        story.stage.cable(pair.primary, plugged=True)
        story.stage.wait(5)
        story.stage.cable(pair.standby, plugged=True)
        story.say(f"both are in again, the one of {pair.primary} first")
        story.within(
            f"{pair.standby} has the address as before",
            lambda: (pair.state(pair.standby), pair.state(pair.primary)) == ("MASTER", "BACKUP"),
            **TAKEOVER,
        )
        pair.stays("is there: carp auto-failback enable removes it")
        story.types(pair.primary, "carp auto-failback enable")
        pair.failback_by_cron()


@scenario("flaps", text="after the last loss that is allowed the address stays")
def flaps(story: Story) -> None:
    """The primary's cable is out again and again"""
    losses = story.cast.site.primary.carp.failback_losses
    with Pair(story).opening().watched() as pair:
        for loss in range(1, losses + 1):
            story.stage.cable(pair.primary, plugged=False)
            story.say(f"the cable of {pair.primary} is out")
            pair.standby_serves()
            story.stage.cable(pair.primary, plugged=True)
            story.say(f"the cable of {pair.primary} is in again")
            if loss < losses:
                pair.failback_by_cron()
        pair.stays(f"this host lost the address {losses} times")
        story.types(pair.primary, "carp master")
        pair.primary_serves()


@scenario("demoted", text="the address stays, and verify names it")
def demoted(story: Story) -> None:
    """The kernels of both hosts have the same demotion, which takes all difference from their claims"""
    with Pair(story).opening().watched() as pair:
        for host in (pair.standby, pair.primary):  # the other way round the address goes over at once
            story.types(host, "sysctl net.inet.carp.demotion=240 >/dev/null")
        story.stage.wait(60)
        story.prove(pair.one_master() == pair.primary, f"{pair.primary} is MASTER and serves, {pair.standby} stands by")
        state, reason, _ = pair.verdict("CARP", pair.primary)
        story.prove(state == "wrong" and "demotion is 240" in reason, f"verify says: {reason}")
        for host in pair.hosts:
            story.types(host, "sysctl net.inet.carp.demotion=-240 >/dev/null")
        pair.primary_serves()


@scenario("strangers", text="the address stays, and verify names both")
def strangers(story: Story) -> None:
    """One advertises the vhid with another password, and one says that the virtual IP is his"""
    host = story.cast.site.primary
    with Pair(story).opening().watched() as pair:
        for _ in range(5):
            story.stage.stranger(_advertisement(host.carp.vhid))
            story.stage.stranger(_arp_reply(host.carp.vhid, host.vip.address))
            story.stage.wait(1)
        story.say("strangers have sent five advertisements and five ARP replies")
        story.prove(pair.serves(pair.primary), f"{pair.primary} is MASTER and serves")
        _, reason, _ = pair.verdict("CARP", pair.primary)
        named = ("advertisements with another password", STRANGER.hex(":"))
        story.prove(all(each in reason for each in named), f"verify says: {reason}")
        pair.primary_serves()


@scenario("other-vhid", pause=1, text="the address stays, and the deploy stops until it is allowed")
def other_vhid(story: Story) -> None:
    """The hosts get another address of their own with CARP, which moves to and fro"""
    pair, carp = Pair(story), story.cast.site.primary.carp
    other = f"ifconfig {carp.interface} vhid {carp.vhid % 254 + 1}"
    pair.opening()
    moves = _moves(pair)
    with pair.watched():
        for host, skew in ((pair.primary, 100), (pair.standby, 0)):
            story.types(host, f"{other} advskew {skew} pass other alias {OTHER_ADDRESS}/32")
        for skew in (254, 0, 254):
            story.types(pair.standby, f"{other} advskew {skew}")
            story.stage.wait(10)
            _stays(pair, moves)
        story.refused("tasks/carp.py", "-y", because="carp_other_vhids")
        pair.primary_serves()


@scenario("new-password", pause=1, text="the address stays")
def new_password(story: Story) -> None:
    """The hosts are told to advertise less often, then get another password, then all is as it was"""
    pair = Pair(story).opening()
    task, moves = ("tasks/carp.py", "-y", "--limit", "storage"), _moves(pair)
    with pair.watched():
        for words in (("--data", "carp_advbase=3"), ("--data", "carp_password=an0therOne"), ()):
            story.deploys(*task, *words)
            story.stage.wait(15)
            _stays(pair, moves)
        pair.primary_serves()


@scenario("unicast", pause=5)
def unicast(story: Story) -> None:
    """The hosts advertise to each other alone, and the primary loses power"""
    pair = Pair(story).opening()
    if int(story.on(pair.primary, "sysctl -n kern.osreldate")) < UNICAST_SINCE:
        raise CannotError("carp_unicast needs FreeBSD 14")
    story.deploys("tasks/carp.py", "-y", "--limit", "storage", "--data", "carp_unicast=True")
    shown = story.on(pair.primary, f"ifconfig {story.cast.site.primary.carp.interface}")
    story.prove(f"peer {story.cast.site.standby.lan.address}" in shown, f"{pair.primary} advertises to {pair.standby}")
    with pair.watched():
        story.prove(pair.one_master() == pair.primary, f"{pair.primary} is MASTER and serves")
        pair.fails_over()
        pair.comes_back()


def _advertisement(vhid: int) -> bytes:
    """Claims most (advskew 0), with a wrong HMAC (struct carp_header of sys/netinet/ip_carp.h)."""
    carp = _summed(struct.pack(">6BH8x20x", 0x21, vhid, 0, 7, 0, 1, 0), 6)
    to = socket.inet_aton(MULTICAST)
    ip = _summed(struct.pack(">BBHHHBBH4s4s", 0x45, 0x10, 20 + len(carp), 0, 0, 255, 112, 0, bytes(4), to), 10)
    return bytes.fromhex("01005e000012") + STRANGER + b"\x08\x00" + ip + carp


def _summed(header: bytes, place: int) -> bytes:
    """With the Internet checksum (RFC 1071) at that place, where there are zeros."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:place] + struct.pack(">H", ~total & 0xFFFF) + header[place + 2 :]


def _arp_reply(vhid: int, address: str) -> bytes:
    """To the MASTER alone, so that clients go on."""
    master, ip = bytes.fromhex(f"00005e0001{vhid:02x}"), socket.inet_aton(address)
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2)
    return master + STRANGER + b"\x08\x06" + head + STRANGER + ip + master + ip
