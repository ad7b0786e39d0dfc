from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from f3s.quoting import Shell, UnsafeValue, argument, command, one_line, option_words, script, words
from tests.shell import shell, words_of

FILES = Path(__file__).parents[2] / "files"

HOSTILE = 'a\'; rm -rf "$HOME" `id` $(id) \\ \\n * ~ !! !x\tend '


@pytest.mark.parametrize("before", ["", "mountpoint="])
def test_values_reach_the_program_unchanged(before: str) -> None:
    assert shell(command(f"printf %s {before}{{}}", HOSTILE)).stdout == f"{before}{HOSTILE}"


@pytest.mark.parametrize("template", ["rm {}", "x; {}", "a | {}", "{}", "(cd / && {})"])
def test_an_operand_like_an_option_is_refused(template: str) -> None:
    with pytest.raises(UnsafeValue, match="must not look like an option: '-rf'"):
        command(template, "-rf")


def test_a_dash_after_an_equals_sign_is_harmless() -> None:
    assert command("x a={}", "-rf") == "x a=-rf"


def test_shell_text_is_inserted_as_it_is() -> None:
    assert command("{} | {}", command("echo {}", "a b"), Shell("wc -l")) == "echo 'a b' | wc -l"


@pytest.mark.parametrize("value", [None, True, 1.5, b"x"])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(UnsafeValue, match="takes text and whole numbers"):
        argument(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "a\x1b[31m", "a\x7f", "a\rb"])
def test_control_characters_are_refused(value: str) -> None:
    with pytest.raises(UnsafeValue, match="control character"):
        argument(value)


@pytest.mark.parametrize(
    ("template", "values", "why"),
    [
        ("a {} {}", ("x",), "too few"),
        ("a {}", ("x", "y"), "too many"),
        ("a '{}'", ("x",), "in quotes"),
        ('a "{}"', ("x",), "in quotes"),
        ("echo 'a b {} c'", ("x",), "in quotes"),
        ("a {0}", ("x",), "plain"),
        ("a {!r}", ("x",), "plain"),
    ],
)
def test_templates_that_do_not_fit_are_refused(template: str, values: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        command(template, *values)


def test_braces_of_the_shell() -> None:
    assert command("f() {{ echo {}; }}; f", "x") == "f() { echo x; }; f"


def test_words_and_options() -> None:
    assert words(["a b", 3]) == "'a b' 3"
    assert option_words("-o", ["a=b c", "d=-e"]) == "-o 'a=b c' -o d=-e"
    with pytest.raises(UnsafeValue):
        words(["ok", "-rf"])


PROGRAM = """\
# a program's "text": `kept` as it is, \\n and \\\\ too
for word in "$@"; do
\t[ ! -e "$word" ] && case $word in [!a]*) printf '%s|' "$0" "$word" ;; esac
done; exit 7
"""


def shells() -> list[list[str]]:
    """A POSIX shell that a login shell runs, as pyinfra has it run."""
    return [["/bin/sh", "-c"], ["tcsh", "-f", "-c"]]


@pytest.mark.parametrize("login", shells(), ids=lambda words: words[0])
def test_whole_programs_pass_any_login_shell(login: list[str]) -> None:
    if not shutil.which(login[0]):
        pytest.skip(f"{login[0]} is not installed")
    built = script(PROGRAM, "name", "b c", HOSTILE)
    ran = subprocess.run([*login, f"sh -c {shlex.quote(built)}"], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("name|b c|", 7), ran.stderr
    folded = one_line(Shell(f"set -- 'b c' /; {PROGRAM}"))
    ran = subprocess.run([*login, f"sh -c {shlex.quote(folded)}"], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("sh|b c|", 7), ran.stderr


def test_a_program_of_one_line_stays_as_it_is() -> None:
    assert one_line(Shell("[ ! -e /x ] && echo y")) == "[ ! -e /x ] && echo y"


@pytest.mark.parametrize("file", sorted(FILES.rglob("*.sh")), ids=lambda file: file.name)
def test_the_programs_of_files_are_what_sh_gets(file: Path) -> None:
    built = script(file.read_text(), "name")
    assert "\n" not in built
    assert words_of(built) == ["sh", "-c", file.read_text().rstrip("\n"), "name"]
