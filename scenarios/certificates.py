"""Certificates live: whoever is shut out is out at once, alone, and a new CA locks nobody out."""

from __future__ import annotations

import re

from f3s.pki.plan import SERVER
from f3s.verify.model import CONTROLLER
from scenarios.deploy import all_right, changed_nothing
from scenarios.pair import HEALED, Pair
from scenarios.play import scenario
from scenarios.story import Story


@scenario("revoked", pause=5, text="its connection ends, the others go on")
def revoked(story: Story) -> None:
    """The server gets a new certificate and a client is shut out, while another one reads and writes"""
    pair = Pair(story)
    other = pair.other("nobody who could be shut out beside it")
    name = story.cast.site.clients[1].name
    pair.opening()
    pair.has_the_share(other)
    with pair.watched():
        story.prove(story.stage.pki("renew", SERVER).rc == 0, "the server gets a new certificate")
        story.prove("ended the connection" not in story.deploys("tasks/stunnel.py", "-y"), "which ends no connection")
        story.prove(story.stage.pki("revoke", name).rc == 0, f"{other} is revoked")
        ended = re.findall(r"ended the connection from \S+ \((.*)\)", story.deploys("tasks/stunnel.py", "-y"))
        story.prove(set(ended) == {f"{name}: its certificate is revoked"}, f"connections were ended: {ended}")
        story.within(
            f"{other} reads nothing any more",
            lambda: pair.asks(other, f"cat {story.cast.mountpoint}/before").rc != 0,
            timers=10,
        )
        pair.client_reads()
        changed_nothing(story, ("tasks/stunnel.py",))
    story.prove(story.stage.pki("renew", name).rc == 0, f"{other} gets a new certificate")
    story.deploys("tasks/clients.py", "-y", "--limit", name)
    story.within(f"{other} reads again", lambda: pair.reads(other, "before", "written before"), **HEALED)
    all_right(story)


@scenario("new-ca", pause=15, text="three steps, each refused before its time")
def new_ca(story: Story) -> None:
    """The CA gets a new key while a client reads and writes"""
    with Pair(story).opening().watched() as pair:
        for command, row, early in (
            (("renew", "ca"), "certificate new ca", "use-new-ca"),
            (("use-new-ca",), "certificate old ca", "drop-old-ca"),
            (("drop-old-ca",), "", ""),
        ):
            story.prove(story.stage.pki(*command).rc == 0, f"certificates.py {' '.join(command)}")
            if early:
                said = story.stage.pki(early)
                story.prove(said.rc != 0 and "could be locked out" in said.output, f"{early} is refused as yet")
            for task in ("stunnel", "clients"):
                story.deploys(f"tasks/{task}.py", "-y")
            if row:
                _, reason, step = pair.verdict(row, CONTROLLER)
                story.prove(step.endswith(f"certificates.py {early}"), f"verify says: {reason}: {step}")
        pair.client_reads()
    all_right(story)
