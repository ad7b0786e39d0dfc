from __future__ import annotations

import subprocess

import pytest

from f3s.quoting import Shell, UnsafeValue, argument, command, option_words, words

HOSTILE = 'a\'; rm -rf "$HOME" `id` $(id) \\ * ~\n\tend'


def test_values_reach_the_program_unchanged() -> None:
    built = command("printf %s {}", HOSTILE)
    assert subprocess.run(["/bin/sh", "-c", built], capture_output=True, text=True).stdout == HOSTILE


def test_a_value_inside_a_word_is_quoted() -> None:
    built = command("printf %s mountpoint={}", HOSTILE)
    out = subprocess.run(["/bin/sh", "-c", built], capture_output=True, text=True).stdout
    assert out == f"mountpoint={HOSTILE}"


def test_plain_values_stay_readable() -> None:
    assert command("zfs create -o mountpoint={} {}", "/data/nfs", "zdata/enc") == (
        "zfs create -o mountpoint=/data/nfs zdata/enc"
    )


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


@pytest.mark.parametrize("value", ["a\0b", "a\x1b[31m", "a\x7f", "a\rb"])
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
