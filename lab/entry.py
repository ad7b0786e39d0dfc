"""What a sandbox's zygote does with a request: run the function that `lab.catalog` names for a program's path."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback

from lab import catalog, guards
from lab.core import (
    INSIDE,
    NOT_SIMULATED_RC,
    CommandError,
    Context,
    LabError,
    NotSimulatedError,
    Store,
)


def refuse(what: str) -> int:
    """Says that something is not simulated, and notes it where the connector looks, even if the text is thrown away."""
    print(f"lab: not simulated: {what}", file=sys.stderr)
    with open(INSIDE / "not-simulated.log", "a") as log:
        log.write(what.replace("\n", " ") + "\n")
    return NOT_SIMULATED_RC


def defect(argv: list[str]) -> int:
    """Reports an error of the lab's own, not only to the caller: a script takes it for a failure of the program."""
    text = traceback.format_exc()
    Store().report(f"{(INSIDE / 'host').read_text().strip()}: {' '.join(argv)}\n{text}")
    return refuse(f"{' '.join(argv)}: {text.splitlines()[-1]}")


def main(argv: list[str]) -> int:
    """Plays the program ``argv[0]``; returns its exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    path = argv[0]
    program = catalog.played(path, (INSIDE / "platform").read_text().strip())
    if program is None:
        return refuse(" ".join([os.path.basename(path), *argv[1:]]))
    context = Context(argv, Store(), (INSIDE / "host").read_text().strip())
    context.store.note(context.host_name, shlex.join(argv))
    try:
        if said := guards.objection(context):
            context.store.report(said)
            return refuse(said)
        rc = program(context)
    except CommandError as error:
        context.err(error.message + "\n" if error.message else "")
        rc = error.rc
    except NotSimulatedError as error:
        context.stdout.flush()
        return refuse(str(error))
    except LabError as error:
        context.err(f"lab: {error}\n")
        rc = NOT_SIMULATED_RC
    except BrokenPipeError:
        raise
    except Exception:
        return defect(argv)
    context.stdout.flush()
    return rc
