"""Questions that are asked in one command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra.api.exceptions import FactProcessError
from typing_extensions import override

from f3s.parsing import UnknownOutput
from f3s.quoting import Shell, command
from facts.base import HostFact, marked

ANSWERED = "=== answered"
Asked = tuple[type[HostFact[Any]], Mapping[str, object]]
"""A fact and its arguments."""


class Together(HostFact[tuple[Any, ...]]):
    """The answer to each question, None where it has to be asked alone: then pyinfra says what is wrong.

    + questions: in the order of the answers
    """

    @override
    def command(self, questions: Sequence[Asked]) -> str:
        # a fact may keep its arguments for the answer
        self._facts = [fact() for fact, _ in questions]
        parts = (
            command("( {} ); printf '\\n%s\\n' {}$?", Shell(one.command(**arguments)), f"{ANSWERED} ")
            for one, (_, arguments) in zip(self._facts, questions, strict=True)
        )
        return marked(Shell("; ".join(parts)))

    @override
    def read(self, lines: list[str]) -> tuple[Any, ...]:
        ends = [number for number, line in enumerate(lines) if line.startswith(f"{ANSWERED} ")]
        if len(ends) != len(self._facts):
            raise UnknownOutput(f"{len(self._facts)} questions have {len(ends)} answers")
        begins = [0, *(end + 1 for end in ends)]
        return tuple(
            _answer(one, lines[begin : end - 1]) if lines[end] == f"{ANSWERED} 0" else None
            for one, begin, end in zip(self._facts, begins, ends, strict=False)
        )


def _answer(fact: HostFact[Any], lines: list[str]) -> Any:
    try:
        return fact.process(lines)
    except FactProcessError:
        return None
