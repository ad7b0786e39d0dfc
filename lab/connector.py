"""The pyinfra connector ``@lab/HOST``: the deploy's commands run in a simulated host instead of over ssh.

``LAB_KILL_AT=N`` ends this whole process, as a pulled plug would, instead of running its N-th command after its plan,
and ``LAB_KILL_AT=TEXT`` instead of the first one with that text; tests use it to interrupt a deploy at every point.
``LAB_COUNT=FILE`` appends a line for every round trip, with the host and the task; `lab.bench` reads it.
``LAB_PLANS=FILE`` appends what the run has changed, for `tests.golden`. Every command is held against `lab.guards`.
"""

from __future__ import annotations

import json
import os
import posix
import re
from collections.abc import Iterator
from io import IOBase
from pathlib import Path
from typing import Any

from gevent.fileobject import FileObject
from pyinfra import logger
from pyinfra.api.command import FileUploadCommand, QuoteString, StringCommand
from pyinfra.api.exceptions import ConnectError, InventoryError
from pyinfra.api.output import echo
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import (
    CommandOutput,
    OutputLine,
    extract_control_arguments,
    make_unix_command_for_host,
    read_output_buffers,
    write_stdin,
)
from pyinfra.context import ctx_host

import facts.clock
from lab import clock, guards
from lab.core import LabError, Store

_commands_run = 0


def _count_and_maybe_die(command: str) -> None:
    global _commands_run
    _commands_run += 1
    when = os.environ.get("LAB_KILL_AT")
    if when and (when == str(_commands_run) if when.isdigit() else when in command):
        os._exit(137)


def csh_says(line: str) -> str:
    """What csh, the login shell of root up to FreeBSD 13, has against a line for sh; seen with tcsh 6.24.

    It reads a line at a time, and puts its history in for ``!`` before anything but a blank, ``=`` and ``(``, also in
    quotes (csh(1), History substitution).
    """
    if "\n" in line:
        return "Unmatched '''."
    event = re.search(r"!([^\s=(]\S*)", line)
    return f"{event[1]}: Event not found." if event else ""


class LabConnector(BaseConnector):
    """Executes on a simulated host; see `lab`."""

    handles_execution = True

    @staticmethod
    def make_names_data(name: str | None = None) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        if not name:
            raise InventoryError("@lab needs a host: @lab/f0.lan.buetow.org")
        yield name, {}, ["@lab"]

    def connect(self) -> None:
        self.store = Store()
        try:
            machine = self.store.read().hosts.get(self.host.name)
        except LabError as error:
            raise ConnectError(str(error)) from error
        if machine is None:
            raise ConnectError(f"the lab in {self.store.folder} has no host {self.host.name}")
        if not machine.up:
            raise ConnectError(f"{self.host.name} is down (lab): no route to host")
        # whoever deploys to a lab lives in its time
        facts.clock.controller_time = lambda: self.store.read().now

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        control = extract_control_arguments(arguments)  # type: ignore[arg-type]
        root = bool(arguments.get("_doas") or arguments.get("_sudo"))
        unix_command = make_unix_command_for_host(self.state, self.host, command, **arguments)
        if print_input:
            echo(f"{self.host.print_prefix}>>> {unix_command}", err=True)
        logger.debug("--> Running command in the lab on %s: %s", self.host.name, unix_command)
        data = {name: self.host.data.get(name) for name in guards.DATA}
        options = [f"{guards.OPTION}{json.dumps(data)}", *([] if root else ["--plain-user"])]
        self._round_trip(unix_command.get_raw_value())
        if not control.get("_stdin"):  # which may be a secret
            self.store.note(self.host.name, unix_command.get_raw_value())
        cluster = self.store.read()
        simulated = cluster.hosts[self.host.name]
        keys = guards.keys(self.store, cluster)
        if not simulated.up:
            raise OSError(f"{self.host.name} is down (lab): connection lost")
        if simulated.platform == "freebsd" and (problem := csh_says(unix_command.get_raw_value())):
            if print_output:
                echo(f"{self.host.print_prefix}{problem}", err=True)
            return False, CommandOutput([OutputLine("stderr", problem)])
        log = self.store.root(self.host.name) / ".lab" / "not-simulated.log"
        known = log.stat().st_size if log.exists() else 0
        (given, to), (out, said), (err, told) = os.pipe(), os.pipe(), os.pipe()
        pipes = {os.fstat(end).st_ino for end in (out, err)}
        words = ["/bin/sh", "-c", unix_command.get_raw_value()]
        with clock.start(self.store, self.host.name, words, (given, said, told), *options) as link:
            for theirs in (given, said, told):
                posix.close(theirs)  # as in clock.run
            with FileObject(to, "wb") as stdin, FileObject(out, "rb") as stdout, FileObject(err, "rb") as stderr:
                if control.get("_stdin"):
                    write_stdin(control["_stdin"], stdin)
                stdin.close()
                output = read_output_buffers(
                    stdout,
                    stderr,
                    timeout=control.get("_timeout"),
                    print_output=print_output,
                    print_prefix=self.host.print_prefix,
                )
            rc = clock.status(link)
        gone = {keys[key] for key in keys.keys() - guards.keys(self.store, cluster).keys()}
        if lost := gone - {f"{self.host.data.get('rotate_retire')}.old.key"}:
            self.store.report(f"{self.host.name}: gone from a stick: {', '.join(lost)}: {unix_command}")
        good = control.get("_success_exit_codes") or [0]
        status = rc in good
        if log.exists() and log.stat().st_size > known:
            refused = log.read_bytes()[known:].decode().splitlines()
            for what in refused:
                text = f"lab: not simulated: {what}"
                if text not in output.stderr_lines:
                    output.combined_lines.append(OutputLine("stderr", text))
                    if print_output:
                        echo(f"{self.host.print_prefix}{text}", err=True)
            status = False
        if pipes & self._kept_output():
            raise TimeoutError("a daemon was left with the output of its start (lab): ssh would wait for its end")
        return status, output

    def _kept_output(self) -> set[int]:
        """Inodes of the streams that daemons were left with; told once."""
        file = self._inside("/.lab/kept-output")
        kept = {int(line) for line in file.read_text().split()} if file.exists() else set()
        file.unlink(missing_ok=True)
        return kept

    def _round_trip(self, command: str) -> None:
        """What every command and every upload costs."""
        if self.state.is_executing:
            _count_and_maybe_die(command)
        if file := os.environ.get("LAB_COUNT"):
            # one short write in append mode: lines of hosts that work at the same time stay whole
            with open(file, "a") as count:
                count.write(f"{self.host.name}\t{self._task()}\n")

    def _task(self) -> str:
        """The file of tasks/ that the current command belongs to; ``-`` where none is included."""
        # a command for this host may come from the work on another one: keys are copied from stick to stick
        at_work = ctx_host.get() if ctx_host.isset() else self.host
        if operation := at_work.executing_op_hash:
            names = self.state.get_op_meta(operation).names
            task, included, _ = min(names).partition(" | ")
            return task if included else "-"
        return at_work.current_deploy_name or "-"

    def put_file(
        self,
        filename_or_io: str | IOBase,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """As over ssh with doas or sudo: uploaded to a temporary file by the login user, then copied by root."""
        with get_file_io(filename_or_io) as file_io:  # type: ignore[arg-type]
            data = file_io.read()
        content = data.encode() if isinstance(data, str) else data
        temporary = remote_temp_filename or self.host.get_temp_filename(remote_filename)
        self._round_trip(f"upload to {remote_filename}")
        self._inside(temporary).write_bytes(content)
        copied, output = self.run_shell_command(
            StringCommand("cp", QuoteString(temporary), QuoteString(remote_filename)),
            print_output,
            print_input,
            **arguments,
        )
        if not copied:
            logger.error("File upload error: %s", output.stderr)
            return False
        self._inside(temporary).unlink()
        return True

    def disconnect(self) -> None:
        """Host, operation and commands are told, for each operation that has changed something; secrets are masked."""
        if file := os.environ.get("LAB_PLANS"):
            done = {each: data.operation_meta._commands for each, data in self.state.ops[self.host].items()}
            with open(file, "a") as plans:
                for operation in self.state.get_op_order():
                    if commands := done.get(operation):
                        name = min(self.state.get_op_meta(operation).names)
                        texts = [f"put {c.dest}" if isinstance(c, FileUploadCommand) else str(c) for c in commands]
                        plans.write(json.dumps([self.host.name, name, texts]) + "\n")

    def get_file(self, *_arguments: Any, **_options: Any) -> bool:
        raise NotImplementedError("lab: not simulated: a download from a host")

    def _inside(self, path: str) -> Path:
        return self.store.root(self.host.name) / path.lstrip("/")
