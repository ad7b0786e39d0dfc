"""Every reason to stop, of all hosts and tasks of a run, in one list before anything is changed anywhere.

The reasons are those of the operations themselves. pyinfra calls each operation twice, to make its plan and to execute
it. In the plan an operation of this project that refuses is noted, and the others are asked, too; at the end of the
file the run ends if there is any note. What an earlier task of the same run will make is no reason: see
`operations.base.executing`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import chain
from pathlib import Path
from typing import Any, ParamSpec, cast
from weakref import WeakKeyDictionary

from pyinfra.api import operation as pyinfra_operation
from pyinfra.api.arguments import pop_global_arguments
from pyinfra.api.exceptions import DeployError, OperationError
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta, PyinfraOperation
from pyinfra.api.state import State
from pyinfra.context import ctx_host, host

from operations.base import Taken, answers, current_host, current_run, executing

P = ParamSpec("P")


@dataclass
class Found:
    """What a run was told so far, and the hosts that have been asked to the end.

    reasons: (host, reason) -> the place of the operation in the run, and its task
    """

    reasons: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    later: list[Callable[[], None]] = field(default_factory=list)
    """Operations that pyinfra makes no plan of, to be asked once all are known."""
    place: int = 0
    """Of the one that is asked now."""


_runs: WeakKeyDictionary[State, Found] = WeakKeyDictionary()


def found(run: State) -> list[str]:
    """The reasons to stop that a run was told so far."""
    return [reason for _, reason in _told(run).reasons]


def _told(run: State) -> Found:
    return _runs.setdefault(run, Found())


@contextmanager
def noted() -> Iterator[None]:
    """Notes that something refuses while pyinfra makes its plan; then what is left of the block is not done."""
    try:
        yield
    except (OperationError, DeployError) as error:
        if executing():
            raise
        run = current_run()
        file = host.current_deploy_name or run.current_deploy_filename or ""
        told = _told(run)
        told.reasons.setdefault((host.name, str(error)), (told.place or len(told.later), Path(file).stem))


def _hold(held: list[Callable[[], None]], report: Callable[..., None], *words: Any) -> None:
    held.append(partial(report, *words))


@contextmanager
def _silent() -> Iterator[list[Callable[[], None]]]:
    """What an operation reports, with its diff, is held back: it is reported once.

    For this host alone: pyinfra has all hosts ask at the same time, so nothing that they share may change.
    """
    held: list[Callable[[], None]] = []
    member: dict[str, Any] = vars(current_host())
    member |= {way: partial(_hold, held, getattr(host, way)) for way in ("log", "noop")}
    try:
        yield held
    finally:
        del member["log"], member["noop"]


def _asked(member: Host, task: str | None, place: int, commands: Callable[[], Generator[Any, None, None]]) -> None:
    """Asks an operation that pyinfra makes no plan of; it reports only if it refuses."""
    _told(current_run()).place = place
    asker, its_task = current_host(), member.current_deploy_name
    ctx_host.set(member)  # type: ignore[no-untyped-call]
    member.current_deploy_name = task
    try:
        before = _refused()
        with _silent() as held:
            next(commands(), None)
        for report in held if _refused() > before else ():
            report()
    finally:
        member.current_deploy_name = its_task
        ctx_host.set(asker)  # type: ignore[no-untyped-call]


def _decided(function: Callable[..., Generator[Any, None, None]], args: Any, kwargs: Any) -> Generator[Any, None, None]:
    """The commands of an operation that is executed.

    Answers to earlier operations are enough for one that finds nothing to do. Another asks all over again, also once
    a command of its own has run.
    """
    run = answers()
    taken = run.taken[current_host()] = Taken(run.number)
    commands: Iterator[Any] = function(*args, **kwargs)
    first, refusal = None, None
    with _silent() as held:
        try:
            first = next(commands, None)
        except (OperationError, DeployError) as error:
            refusal = error
    if taken.old and (first or refusal):
        taken.only_own = True
        commands = function(*args, **kwargs)
    else:
        for report in held:
            report()
        if refusal:
            raise refusal
        commands = chain(filter(None, [first]), commands)
    for command in commands:
        yield command
        run.taken[current_host()] = Taken(run.number, only_own=True)


def _refused() -> int:
    return sum(name == host.name for name, _ in _told(current_run()).reasons)


def operation(
    is_idempotent: bool = True,
) -> Callable[[Callable[P, Generator[Any, None, None]]], PyinfraOperation[P]]:
    """pyinfra's decorator, for an operation whose refusal is noted in the plan. All of this project are such."""

    def decorator(function: Callable[P, Generator[Any, None, None]]) -> PyinfraOperation[P]:
        @wraps(function)
        def asked(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
            with noted():
                yield from _decided(function, args, kwargs) if executing() else function(*args, **kwargs)

        registered = pyinfra_operation(is_idempotent=is_idempotent)(asked)

        @wraps(registered)
        def called(*args: Any, **kwargs: Any) -> OperationMeta:
            run = current_run()
            # with -y pyinfra skips its plan (pyinfra_cli/cli.py: State(check_for_changes=not yes))
            if not (executing() or run.check_for_changes):
                own = dict(kwargs)
                pop_global_arguments(run, current_host(), own)
                later = _told(run).later
                ask = partial(_asked, current_host(), host.current_deploy_name, len(later) + 1)
                later.append(partial(ask, partial(asked, *args, **own)))
            return registered(*args, **kwargs)

        return cast(PyinfraOperation[P], called)

    return decorator


def none_left() -> None:
    """Ends the run if there is a reason to stop. The last line of deploy.py, and of each task for when it runs alone.

    The host that comes here last speaks for all.

    Raises OperationError with all of them.
    """
    run = current_run()
    if executing() or host.current_deploy_name:  # the end of a task that deploy.py includes
        return
    told = _told(run)
    told.asked.add(host.name)
    if not {each.name for each in run.activated_hosts} <= told.asked:
        return
    told.asked.clear()  # another file may follow
    later, told.later = told.later, []
    answers().gathered(later)
    told.place = 0
    # pyinfra drops a host that did not answer a question, and would go on without it
    silent = {each.name for each in run.activated_hosts - run.active_hosts} - {name for name, _ in told.reasons}
    told.reasons |= {(name, f"{name}: a question failed, see the error above"): (0, "-") for name in silent}
    if not told.reasons:
        return
    place = {each.name: number for number, each in enumerate(run.inventory)}
    lines = [
        f"- [{task}] {'' if reason.startswith(name) else f'{name}: '}{reason}"
        for (name, reason), (_, task) in sorted(told.reasons.items(), key=lambda item: (place[item[0][0]], item[1][0]))
    ]
    raise OperationError(
        f"{len(lines)} reason{'s' if len(lines) > 1 else ''} to stop. No host was changed. Each says what to do; then "
        "run this again (with --limit only the hosts that it names are asked)\n" + "\n".join(lines)
    )
