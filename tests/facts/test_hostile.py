"""Answers of real hosts (tests/facts/record.py), spoiled: whatever comes is read as an answer or refused as none.

Where a fact raises anything else, pyinfra ends with a traceback. Where it takes half of an answer for the whole,
something is changed that must not be.
"""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError

from facts.base import END, SILENT, DeviceFact, HostFact

RECORDED = [json.loads(line) for line in (Path(__file__).parent / "answers-15.1.jsonl").read_text().splitlines()]
IDS = [f"{one['fact'].rpartition('.')[2]}-{number}" for number, one in enumerate(RECORDED)]
HOSTILE = ("", "-", "0", "-1", "9" * 40, "none", "x" * 5000, "\0", "é\x1b[31m", "../../etc", "'; rm -rf /", "a\tb", END)


def fact_of(one: dict[str, Any]) -> type[HostFact[Any]]:
    module, _, name = one["fact"].rpartition(".")
    found: type[HostFact[Any]] = getattr(importlib.import_module(module), name)
    return found


def answer(one: dict[str, Any], lines: list[str]) -> Any:
    fact = fact_of(one)()
    vars(fact).update(one["arguments"])
    return fact.process(lines)


def spoiled(lines: list[str], chance: random.Random) -> list[str]:
    """Some lines of an answer are lost, doubled, in another order, cut, foreign or hostile."""
    made = list(lines)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(made))
        words = made[at].split(" ")
        words[chance.randrange(len(words))] = chance.choice(HOSTILE)
        fields = made[at].split("\t")
        fields[chance.randrange(len(fields))] = chance.choice(HOSTILE)
        other = chance.choice(chance.choice(RECORDED)["lines"])
        made[at : at + 1] = chance.choice(
            [
                [],
                [made[at]] * 2,
                [made[at][: chance.randint(0, len(made[at]))]],
                [made[at], chance.choice(HOSTILE)],
                [" ".join(words)],
                ["\t".join(fields)],
                [other],
                [made[at], other],
            ]
        )
        if chance.random() < 0.2:
            chance.shuffle(made)
        if not made:
            return [END]
    return made


@pytest.mark.parametrize("one", RECORDED, ids=IDS)
def test_an_answer_as_it_came_is_read(one: dict[str, Any]) -> None:
    assert answer(one, one["lines"]) is not None


@pytest.mark.parametrize("one", RECORDED, ids=IDS)
def test_an_answer_that_was_cut_off_is_none(one: dict[str, Any]) -> None:
    for length in range(1, len(one["lines"])):
        with pytest.raises(FactProcessError):
            answer(one, one["lines"][:length])


@pytest.mark.parametrize("one", RECORDED, ids=IDS)
def test_a_spoiled_answer_is_read_or_refused(one: dict[str, Any]) -> None:
    chance, silent = random.Random(one["fact"]), issubclass(fact_of(one), DeviceFact)
    for number in range(300):
        lines = [line for line in spoiled(one["lines"][:-1] or [""], chance) if line != SILENT]
        try:
            answer(one, [*lines, SILENT if silent and number % 5 == 0 else END])
        except FactProcessError:
            continue
        except Exception as error:
            error.add_note(f"answer {number}: {lines}")
            raise
