"""devd.conf(5): the rules for CARP in a file that others own, too."""

from __future__ import annotations

import re
from dataclasses import dataclass

CONFIG = "/etc/devd.conf"
_TOKEN = re.compile(r'#[^\n]*|//[^\n]*|/\*.*?\*/|"(?:[^"\\]|\\.)*"|[{}]|[^\s{}"#/]+|/', re.DOTALL)
"""Comments, strings, braces and words (sbin/devd/token.l)."""


@dataclass(frozen=True)
class Rule:
    """A `notify` rule for CARP: where in the text it is, and the program that it calls."""

    start: int
    end: int
    action: str


def carp_rules(text: str) -> list[Rule]:
    """The rules of a devd.conf for events of CARP."""
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
            system = re.search(r'match "system" "([^"]*)"', " ".join(words))
            action = re.search(r'action "((?:[^"\\]|\\.)*)"', " ".join(words))
            if system and system[1] == "CARP":
                found.append(Rule(start, end.end() if end else match.end(), action[1] if action else ""))
            words = [""]
    return found


def without_hook(text: str, hook: str) -> str:
    """The text without rules for CARP that call the hook, which has a rule in another file; the rest to the byte."""
    for rule in reversed(carp_rules(text)):
        if rule.action.split()[:1] == [hook]:
            text = text[: rule.start] + text[rule.end :]
    return text
