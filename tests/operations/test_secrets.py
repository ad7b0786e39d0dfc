"""The exact commands of operations/secrets.py for each state of the file, and that no output holds the secret."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationError
from pyinfra.api.hiddenvalue import HiddenValue

from f3s.secretfile import ABSENT, SecretState
from facts.secrets import SecretFile
from operations import secrets
from tests.operations import harness
from tests.operations.harness import Result
from tests.shell import words_of

SECRET = "-----BEGIN EC PRIVATE KEY-----\nMHc it's $(secret)\n"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
SCRIPT = (Path(__file__).parents[2] / "files" / "once" / "put-secret.sh").read_text()
PATH = "/etc/stunnel/it's me.pem"


def run(state: SecretState | None, **arguments: object) -> Result:
    given = {"path": PATH, "content": HiddenValue(SECRET), "mode": "0400", **arguments}
    return harness.run(secrets.file, {SecretFile: lambda path: {PATH: state}[path]}, **given)


def as_wanted(**changes: str) -> SecretState:
    return SecretState(**{"mode": "400", "user": "root", "group": "wheel", "sha256": DIGEST, **changes})


def test_no_change_says_what_it_found() -> None:
    assert run(as_wanted()) == Result([], [f"{PATH} has the wanted content, owner and mode"])


@pytest.mark.parametrize("state", [ABSENT, as_wanted(sha256="0" * 64), as_wanted(sha256="0" * 64, mode="644")])
def test_content_goes_over_standard_input_only(state: SecretState) -> None:
    done = run(state)
    assert done.noops == []
    [command] = done.commands
    words = words_of(command.get_raw_value())
    assert words == ["sh", "-c", SCRIPT.rstrip("\n"), "put-secret", PATH, DIGEST, "root", "wheel", "0400"]
    assert command.connector_arguments == {"_stdin": SECRET}
    assert "secret)" not in f"{command!s}{command!r}{command.get_raw_value()}"


def test_only_mode_and_owner_are_put_right_where_the_content_is() -> None:
    done = run(as_wanted(mode="644", user="stunnel"))
    assert [command.get_raw_value() for command in done.commands] == [
        "chmod 0400 '/etc/stunnel/it'\"'\"'s me.pem'",
        "chown root:wheel '/etc/stunnel/it'\"'\"'s me.pem'",
    ]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"path": "etc/x"}, "absolute"),
        ({"path": "-rf"}, "absolute"),
        ({"mode": "0640"}, "0640"),
        ({"mode": "0604"}, "0604"),
        ({"mode": "u=rw"}, "u=rw"),
        ({"user": "-R"}, "-R"),
        ({"group": "wheel:x"}, "wheel:x"),
        ({"content": HiddenValue("no newline")}, "newline"),
        ({"content": HiddenValue("")}, "newline"),
        ({"content": HiddenValue("a\0\n")}, "newline"),
    ],
)
def test_refuses(change: dict[str, object], names: str) -> None:
    with pytest.raises(OperationError, match=names) as caught:
        run(ABSENT, **change)
    assert "no newline" not in str(caught.value)


def test_unknown_state_stops_it() -> None:
    with pytest.raises(OperationError, match="could not be read; nothing was changed"):
        run(None)
