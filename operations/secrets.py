"""Files that only their owner may ever read: keys, certificates with keys, passwords.

pyinfra's files.put is not fit for them: over doas or sudo it uploads to a temporary file in /tmp with the login
user's umask and copies that (pyinfra 3.10, connectors/ssh.py put_file), and ``--diff`` prints the content.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.context import host

from f3s.pki.certificates import of_others
from f3s.quoting import command
from f3s.secretfile import ABSENT, SecretState
from f3s.textfile import digest
from facts.base import script
from facts.secrets import Certificates, SecretFile
from operations.base import Shown, known
from operations.reasons import operation

ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*")
MODE = re.compile(r"0?[0-7]00")


@operation()
def file(
    path: str, content: HiddenValue, user: str = "root", group: str = "wheel", mode: str = "0600"
) -> Generator[StringCommand]:
    """A file with a secret in it, readable by its owner alone from the first byte on.

    The content goes over standard input, so it is in no process list, log, diff or temporary file elsewhere. It is
    checked against its SHA-256 before it replaces the file in one step (files/once/put-secret.sh).

    + path: absolute path; its folder must be there when the operation runs
    + content: text that ends in a newline, hidden from pyinfra's output
    + group: group (wheel on FreeBSD, root on Rocky)
    + mode: octal; group and others get nothing

    :raises OperationError: an argument that is not as described

    **Example:** `secrets.file("/etc/stunnel/client.pem", HiddenValue(pem), group="root", mode="0600")`
    """
    text = content.unmask()
    if not path.startswith("/"):
        raise OperationError(f"secrets.file: path {path!r} is not absolute")
    if not MODE.fullmatch(mode):
        raise OperationError(f"secrets.file: {path}: mode {mode!r} lets others in; use 0600 or 0400")
    for account in (user, group):
        if not ACCOUNT.fullmatch(account):
            raise OperationError(f"secrets.file: {path}: {account!r} is not a name of a user or group")
    if not text.endswith("\n") or "\0" in text or "\r" in text:
        raise OperationError(f"secrets.file: {path}: the content must be text that ends in a newline")
    wanted = SecretState(mode=mode.lstrip("0"), user=user, group=group, sha256=digest(text))

    state = known(SecretFile, path=path)
    if state == wanted:
        host.noop(f"{path} has the wanted content, owner and mode")
    elif state == ABSENT or state.sha256 != wanted.sha256:
        put = script("put-secret", path, wanted.sha256, user, group, mode)
        yield StringCommand(put, _stdin=text)
    else:
        if state.mode != wanted.mode:
            yield StringCommand(command("chmod {} {}", mode, path))
        if (state.user, state.group) != (user, group):
            yield StringCommand(command("chown {} {}", f"{user}:{group}", path))


@operation()
def certificates(paths: Collection[str], replace: Collection[str]) -> Generator[StringCommand]:
    """What is at the places of the deploy's certificates is of a CA of the deploy, or may be replaced and is kept.

    It comes before the operations that replace it. Who has signed it is told, never what is in the file.

    + paths: absolute paths
    + replace: which of them may be replaced

    Raises OperationError with the others that are somebody else's.

    **Example:** `secrets.certificates(["/etc/stunnel/ca-cert.pem"], replace=[])`
    """
    public = known(Certificates, paths=tuple(paths))
    foreign = {path: told for path, pem in public.items() if (told := of_others(pem))}
    asked = [
        f"{path} is not of this deploy, which has a file of that name: it has {told}"
        for path, told in foreign.items()
        if path not in replace
    ]
    if asked:
        raise OperationError(
            f"{host.name}: {'; '.join(asked)}. A service of yours that reads such a file would read the deploy's: give "
            "it a copy with another name first. Then name each in replace_files: it stays beside the new one, with the "
            "date behind its name"
        )
    for path in foreign:
        host.log(f"{path} is replaced: it has {foreign[path]}")
        kept = 'umask 077; kept={}.$(date +%Y-%m-%d_%H%M%S) && cp -p {} "$kept" && echo "the old one is $kept now"'
        yield Shown(command(kept, path, path))
    if not foreign:
        host.noop(f"{', '.join(paths)}: of a CA of this deploy, or not there")
