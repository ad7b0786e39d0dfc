"""A site that somebody made by hand, with things of his own in it, comes under the deploy."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from scenarios import by_hand
from scenarios.deploy import FINGERPRINT, all_right, changed_nothing
from scenarios.play import scenario
from scenarios.real import RealStage
from scenarios.story import Story

KEY = "sha256 -q /keys/backup.key"


@scenario("adopt", text="survey, its advice, deploy, second run, verify; the operator's own is the same", blank=True)
def adopt(story: Story) -> None:
    """A site that was made by hand is surveyed and taken over, and what is the operator's own stays, to the byte"""
    cast = story.cast
    pair, clients = (cast.primary, cast.standby), [host.short_name for host in cast.site.clients]

    def run(host: str, script: str) -> str:
        return story.on(host, script, timeout=300)

    by_hand.build(cast.site, run, lambda what, so: story.within(what, so, timers=180, work=120))
    for client in clients:
        by_hand.client(cast.site, client, run)
    story.say("a site is there, made by hand")
    mine = _looked_at(story)
    key = story.on(cast.primary, KEY)
    before = [story.on(host, FINGERPRINT) for host in pair]

    with tempfile.TemporaryDirectory() as place:
        hosts, site = Path(place) / "hosts.py", Path(place) / "site"
        hosts.write_text(by_hand.minimal_inventory(story.stage.inventory))
        story.stage.inventory = str(hosts)
        story.deploys("tasks/survey.py", "-y", "--data", f"survey_to={site}")
        story.stage.inventory = str(site / "inventory.py")
        story.prove(story.stage.pki("init").rc == 0, "certificates are made")
        _follows(story, site, pair)
        story.deploys("deploy.py", "--dry", "--diff")
        story.prove(before == [story.on(host, FINGERPRINT) for host in pair], "nothing has been changed so far")
        story.deploys("deploy.py", "-y")
        changed_nothing(story, ("deploy.py",))
        all_right(story)

    for what, said in _looked_at(story).items():
        story.prove(said == mine[what], f"the operator's own: {' on '.join(what)} is the same")
    for host in cast.site.storage_hosts:
        tries = by_hand.alive(cast.site, host)
        if isinstance(story.stage, RealStage):
            tries["export, mounted"] = by_hand.mounted(cast.site, host)
        for name, (where, script) in tries.items():
            story.on(where, script)
            story.say(f"the operator's own: {name} of {host.short_name} works")
    story.prove({story.on(host, KEY) for host in pair} == {key}, "his own key is on both sticks")


def _looked_at(story: Story) -> dict[tuple[str, str], str]:
    pair = (story.cast.primary, story.cast.standby)
    return {(what, host): story.on(host, script) for host in pair for what, script in by_hand.MINE.items()}


def _follows(story: Story, site: Path, pair: tuple[str, str]) -> None:
    """The one list of reasons, and each advice in it, to the letter.

    :raises NotSoError: there is another reason
    """
    ran = story.stage.pyinfra("deploy.py", "--dry", "--diff")
    reasons = re.findall(r"^- \[\w+\] (\S+?): (.+)$", ran.output, re.MULTILINE)
    story.prove(ran.rc != 0 and bool(reasons), f"{len(reasons)} reasons to stop, in one list")
    for host, reason in reasons:
        short = host.partition(".")[0]
        if end := re.search(r"Run `(kill \d+)` there", reason):
            story.types(short, f"/bin/{end[1]}")
        else:
            story.prove(" in replace_files" in reason, f"{short}: {reason.partition(' ')[0]} is foreign")
    words = site / "group_data/all.py"
    words.write_text(by_hand.uncommented(words.read_text()))
    story.say("replace_files, as the survey has it, is no comment any more")
