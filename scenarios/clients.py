"""What befalls clients, and what they do at the time."""

from __future__ import annotations

import json

from scenarios.pair import FAILBACK, HEALED, Pair
from scenarios.play import scenario
from scenarios.story import Story


@scenario("busy", pause=5)
def busy(story: Story) -> None:
    """The primary loses power while a client writes in bulk, a pod has its own view of the mount, and one is idle"""
    pair, mountpoint = Pair(story), story.cast.mountpoint
    idle = pair.other("none that is idle")
    pair.opening()
    pair.has_the_share(idle)
    bulk = f"dd if=/dev/zero of={mountpoint}/bulk bs=1M count=4 conv=fsync; sleep 1"
    pod = f"cat {mountpoint}/before >/tmp/f3s-pod 2>&1; sleep 1"
    for words in (
        f"sh -c 'while :; do {bulk}; done'",
        f"unshare -m --propagation private sh -c 'while :; do {pod}; done'",
    ):
        story.on(pair.client, f"nohup {words} >/dev/null 2>&1 </dev/null &")

    def pod_reads() -> bool:
        story.seen = story.attempt(pair.client, "cat /tmp/f3s-pod").output
        return story.seen == "written before\n"

    def all_read() -> None:
        story.on(pair.client, "rm /tmp/f3s-pod")
        story.within("the pod reads", pod_reads, timers=5, work=5)
        story.within(
            f"{idle}, which asked for nothing, reads", lambda: pair.reads(idle, "before", "written before"), timers=5
        )

    with pair.watched():
        story.within("bulk is written", lambda: pair.asks(pair.client, f"test -s {mountpoint}/bulk").rc == 0, **HEALED)
        pair.fails_over()
        story.stage.wait(60)
        all_read()
        pair.boots(pair.primary)
        pair.primary_serves(**FAILBACK)
        all_read()
        story.on(pair.client, f"pkill -f {mountpoint}/[b]")


@scenario("pods", text="what pods write when they are told to end is there")
def pods(story: Story) -> None:
    """A client with k3s and a pod shuts down"""
    pair, mountpoint = Pair(story).opening(), story.cast.mountpoint
    unit = f"""[Service]
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c "sleep 2; echo last >{mountpoint}/k3s; sync {mountpoint}/k3s"
"""
    story.on(pair.client, f"cat >/etc/systemd/system/k3s.service <<'END'\n{unit}END\nsystemctl daemon-reload")
    story.types(pair.client, "systemctl start k3s")
    last = f"trap 'sleep 2; echo last >{mountpoint}/pod; sync {mountpoint}/pod; exit' TERM; while :; do sleep 1; done"
    story.on(pair.client, f'systemd-run --slice=kubepods.slice --unit=pod sh -c "{last}"')
    story.say(f"{pair.client} runs k3s and a pod")
    story.stage.shutdown(pair.client)
    story.say(f"{pair.client} has shut down in order")
    for name in ("k3s", "pod"):
        there = pair.has(pair.primary, f"{story.cast.share}/{name}", "last")
        story.prove(there, f"what {name} wrote last is on {pair.primary}")
    story.stage.boot(pair.client)
    pair.has_the_share(pair.client)


@scenario("expired", text="verify names the cause")
def expired(story: Story) -> None:
    """A client whose clock is three years ahead does not trust the server's certificate any more"""
    pair = Pair(story).opening()
    story.on(pair.client, "date -s '+3 years' >/dev/null && systemctl restart stunnel")
    story.say(f"the clock of {pair.client} is three years ahead")
    state, reason, step = pair.verdict("TLS", pair.client)
    story.prove(state == "wrong" and "expired" in reason, f"verify says: {reason}: {step}")
    story.on(pair.client, "date -s '-3 years' >/dev/null && systemctl restart stunnel")
    story.within(
        f"{pair.client} writes again",
        lambda: pair.asks(pair.client, f"echo x >{story.cast.mountpoint}/again").rc == 0,
        timers=60,
        work=30,
    )


@scenario("clock-back", text="the monitor goes on")
def clock_back(story: Story) -> None:
    """A client's clock steps back while its monitor looks"""
    pair = Pair(story).opening()
    story.on(pair.client, "for i in 1 2 3 4 5 6 7 8; do date -s '-10 minutes' >/dev/null; sleep 1; done")
    story.say(f"the clock of {pair.client} steps back, ten minutes a second, eight times")

    def age() -> float:
        said: dict[str, dict[str, float]] = json.loads(story.on(pair.client, "check-nfs-mount.sh --status"))
        return min(each["age"] for each in said.values())

    for _ in range(2):
        story.stage.wait(age() + 5)
        story.within("the monitor has looked since", lambda: age() <= 5, **HEALED)
    story.on(pair.client, "date -s '+80 minutes' >/dev/null")
