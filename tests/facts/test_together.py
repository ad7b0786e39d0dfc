"""Questions in one command, answered by a real shell."""

from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError

from f3s.parsing import NoAnswer, UnknownOutput
from f3s.quoting import command
from facts.base import SILENT, DeviceFact, HostFact, marked
from facts.together import Together
from tests.shell import lines_of


class Said(HostFact[str]):
    """What is said, which is not `hm`."""

    def command(self, text: str, status: int = 0) -> str:
        self.text = text
        return marked(command("printf '%s\\n' {}; (exit {})", text, status))

    def read(self, lines: list[str]) -> str:
        if lines == ["hm"]:
            raise UnknownOutput("hm")
        assert lines == self.text.splitlines()
        return " ".join(lines)


class Silent(DeviceFact[str]):
    """A disk that does not answer."""

    def command(self) -> str:
        return f"echo '{SILENT}'"

    def silence(self, lines: list[str]) -> tuple[str, str]:
        return "the disk", "pull it"


def answers(*questions: tuple[type[HostFact[Any]], dict[str, object]]) -> tuple[Any, ...] | None:
    fact = Together()
    line = fact.command(questions)
    assert "\n" not in line
    return fact.process(lines_of(line))


def test_each_question_has_its_own_answer_and_a_failed_one_spoils_no_other() -> None:
    said = answers(
        (Said, {"text": "one !x"}),
        (Said, {"text": "broken", "status": 1}),
        (Said, {"text": "hm"}),
        (Silent, {}),
        (Said, {"text": "=== end"}),
        (Said, {"text": " two "}),
    )
    assert said is not None
    assert said[:3] == ("one !x", None, None)
    assert isinstance(said[3], NoAnswer)
    assert said[4:] == ("=== end", " two ")


def test_what_looks_like_the_end_of_an_answer_makes_all_of_them_unknown() -> None:
    with pytest.raises(FactProcessError, match="2 questions have 3 answers"):
        answers((Said, {"text": "=== answered 0"}), (Said, {"text": "one"}))
