"""Files that others own, too, and files of others that are replaced whole."""

from __future__ import annotations

from collections.abc import Callable, Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host, state
from pyinfra.operations.util.files import generate_color_diff

from f3s.quoting import command
from f3s.secretfile import ABSENT, SecretState
from f3s.textfile import NoPlace, TextFile, digest, is_ours
from facts.base import script
from facts.textfile import TextFileOf
from operations.base import Shown, known
from operations.reasons import operation


@operation()
def put(path: str, text: str, mode: str, replace: bool, group: str = "wheel") -> Generator[StringCommand]:
    """A file has this text, owned by root. One of somebody else at that place is replaced only if the data say so.

    + path: absolute path
    + text: says that it is installed at that path, by which a later run knows the file for ours
    + mode: octal
    + replace: whether one of somebody else may be replaced; it stays beside the new one, with the date in its name
    + group: root's own (wheel on FreeBSD, root on Rocky)

    Raises OperationError if it is somebody else's and may not.

    **Example:** `textfile.put("/usr/local/bin/carp", text, "0755", replace=False)`
    """
    found = known(TextFileOf, path=path)
    if found.text and found.text != text and not is_ours(found.text, path) and not replace:
        show_diff(path, found.text, text)
        raise OperationError(
            f"{host.name}: {path} is not of this deploy, which has a program of that name (--diff shows both). If "
            "nothing else needs yours, name it in replace_files: it stays beside the new one, with the date behind it"
        )
    yield from written(path, found, text, mode, group=group)


def two_owners(path: str, merge: Callable[[str], str], replace: bool) -> tuple[TextFile, str, bool]:
    """A file as it is, its text with the operator's lines and ours, and whether that replaces all that is there.

    merge: makes it from the text that is there
    replace: whether a file in which ours have no place may be replaced whole

    Raises OperationError where ours have no place and the file may not be replaced.
    """
    found = known(TextFileOf, path=path)
    try:
        return found, merge(found.text), False
    except NoPlace as error:
        if replace:
            return found, merge(""), True
        raise OperationError(
            f"{host.name}: {path} was left as it is: {error}. Or name {path} in replace_files: this deploy's then "
            "takes its place, and yours stays beside it, with the date behind its name"
        ) from None


def written(
    path: str,
    found: TextFile,
    text: str,
    mode: str,
    *,
    group: str = "wheel",
    whole: bool = False,
    mark: str = "",
    check: str = "",
) -> Generator[StringCommand]:
    """Puts a text in the place of what was found (files/once/replace-file.sh), where it differs. `--diff` shows it.

    The old file stays beside it if the deploy has not written to it before.

    whole: it stays in any case; group: as in `put`; mark, check: as the program takes them
    """
    wanted = SecretState(mode.lstrip("0"), "root", group, digest(text))
    if found.state == wanted:
        host.noop(f"{path} has the wanted content, owner and mode")
    elif found.state.sha256 == wanted.sha256:
        yield StringCommand(command("chown {} {} && chmod {} {}", f"root:{group}", path, mode, path))
    else:
        show_diff(path, found.text, text)
        old = "absent" if found.state == ABSENT else found.state.sha256
        copy = bool(found.text) and (whole or not is_ours(found.text, path))
        put_it = script("replace-file", path, old, wanted.sha256, mode, "yes" if copy else "no", mark, check)
        yield (Shown if copy else StringCommand)(put_it, _stdin=text)


def show_diff(path: str, before: str, after: str) -> None:
    """As `--diff` asks for it."""
    if state.config.DIFF:
        host.log(f"  {path}:")
        for line in generate_color_diff(before.splitlines(keepends=True), after.splitlines(keepends=True)):
            host.log(f"  {line}")
