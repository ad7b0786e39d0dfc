"""devd.conf(5): the rules for CARP in files that others own, too."""

from __future__ import annotations

import re
from dataclasses import dataclass

CONFIG = "/etc/devd.conf"
FOLDERS = ("/etc/devd", "/usr/local/etc/devd")
RULE, HOOK = "/usr/local/etc/devd/f3s-carp.conf", "/usr/local/bin/carpcontrol.sh"
"""Of the deploy."""
_TOKEN = re.compile(r'#[^\n]*|//[^\n]*|/\*.*?\*/|"(?:[^"\\]|\\.)*"|[{}]|[^\s{}"#/]+|/', re.DOTALL)
"""Comments, strings, braces and words (sbin/devd/token.l)."""


@dataclass(frozen=True)
class Rule:
    """A `notify` rule for CARP: where in the text it is, the program that it calls, and whose events it takes."""

    start: int
    end: int
    action: str
    subsystem: str | None

    def takes(self, subsystem: str) -> bool:
        """Whether it is for the events of a vhid (`VHID@INTERFACE`). match anchors its pattern, which `!` turns around
        (match::do_match in devd.cc); one that is no pattern here may be one there."""
        if self.subsystem is None:
            return True
        try:
            return bool(re.fullmatch(self.subsystem.removeprefix("!"), subsystem)) != self.subsystem.startswith("!")
        except re.error:
            return True


def carp_rules(text: str) -> list[Rule]:
    """The rules of a file for devd for events of CARP."""
    found = []
    depth, start, words = 0, 0, [""]
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token.startswith(("#", "//", "/*")):
            continue
        if depth == 0 and token == "notify":
            start, words = match.start(), []
        words.append(token)
        depth += (token == "{") - (token == "}")
        if token == "}" and depth == 0 and words[0] == "notify":
            end = re.compile(r"\s*;?[ \t]*\n?").match(text, match.end())
            matches = dict(re.findall(r'match "(\w+)" "([^"]*)"', " ".join(words)))
            action = re.search(r'action "((?:[^"\\]|\\.)*)"', " ".join(words))
            if matches.get("system") == "CARP":
                place = start, end.end() if end else match.end()
                found.append(Rule(*place, action[1] if action else "", matches.get("subsystem")))
            words = [""]
    return found


def rivals(text: str, hook: str, subsystem: str) -> list[Rule]:
    """The rules for the events of the deploy's vhid that call something else than its hook."""
    return [rule for rule in carp_rules(text) if rule.takes(subsystem) and rule.action.split()[:1] != [hook]]


def without(text: str, hook: str, subsystem: str, *, all_of_it: bool) -> str:
    """The text without rules that call the hook, which has a rule in another file; the rest to the byte.

    all_of_it: its rivals go, too
    """
    gone = rivals(text, hook, subsystem) if all_of_it else []
    for rule in reversed(carp_rules(text)):
        if rule in gone or rule.action.split()[:1] == [hook]:
            text = text[: rule.start] + text[rule.end :]
    return text
