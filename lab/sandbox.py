"""Runs programs in a simulated host's root directory: ``sandbox.py STATE HOST [--plain-user] [--deploy=DATA] -- ARGV``.

The process gets user, mount, UTS and process namespaces of its own, so no rights beyond those of an ordinary user are
needed where the kernel allows user namespaces, and no signal reaches a process of the machine: the process ids of the
simulated daemons are made up, and what a program leaves running ends with it. ``--plain-user`` shows the tree as an
unprivileged login would be able to change it: only /tmp and /home can be written. ``--deploy`` is for `lab.guards`.

``sandbox.py SOCKET`` waits there for such calls (`lab.zygote`), which is how all but interactive shells are started.
"""

from __future__ import annotations

import os
import sys
from io import FileIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab import clock, entry, guards, zygote
from lab.core import INSIDE, Cluster, Host, LabError, Store
from lab.linux import tunnel, view
from lab.mounts import (
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    bind,
    die_with_parent,
    mount,
    set_host_name,
    sync,
    unshare,
)

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x04000000, 0x10000000, 0x20000000
CLONE_NEWNET = 0x40000000
"""Linux hosts only: a client's stunnel listens for real (lab.linux.tunnel)."""

PATHS = {
    # login.conf(5) of FreeBSD, class default
    "freebsd": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
    "rocky": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
PACKAGES = [
    module.__path__
    for name, module in sys.modules.items()
    if name.partition(".")[0] == "lab" and hasattr(module, "__path__")
]
"""Where the lab's packages are. Found once: a child gets a copy of all that it looks at."""
NO_NAMESPACES = (
    "lab: this kernel does not let an ordinary user make user namespaces, which the simulated hosts run in "
    "(see user_namespaces(7); Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0): allow it, or run as root"
)


NO_NAMESPACES_FOR_ROOT = (
    "lab: even root may not make namespaces here, which the simulated hosts run in (unshare(2)). In a container: give "
    "it the capability SYS_ADMIN and let unshare and mount through (docker run --privileged)"
)


def enter(store: Store, cluster: Cluster, machine: Host, zygote_socket: str, *, plain_user: bool) -> None:
    """Moves this process, which has namespaces of its own, into the host's root directory.

    :param zygote_socket: where programs of other hosts are started from within this one
    """
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    root = str(store.root(machine.name))
    bind(root, root)
    # read-only: what a program wrote there would be written on the machine. The state is bound apart, below
    bind("/", f"{root}/.lab/real", recursive=True, read_only=True)
    for folder in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        if os.path.isdir(folder) and os.path.isdir(root + folder):
            # the machine's, for its programs: read-only, or what is written there would be written on the machine
            bind(os.path.realpath(folder), root + folder, read_only=True)
    for device in ("null", "zero", "full", "random", "urandom", "tty"):
        bind(f"/dev/{device}", f"{root}/dev/{device}")
    bind("/proc", f"{root}/.lab/proc", recursive=True)
    bind(str(store.folder), f"{root}/.lab/state")
    mount("lab", f"{root}/.lab/ns", "tmpfs")
    set_host_name(machine.name)
    os.chroot(root)
    # for what is imported later: the standard library and the lab are not below this root
    for place in (sys.path, *PACKAGES):
        place[:] = [f"{clock.REAL}{folder}" for folder in place]
    os.chdir("/root" if not plain_user else "/home/operator")
    (INSIDE / "ns" / "machine").write_text(f"{store.folder}\n{zygote_socket}\n{os.environ.get(clock.PROGRAM, '0')}\n")
    if machine.platform == "rocky":
        view.loopback_up()
        view.follow(Store(), cluster, machine)
    else:
        sync(machine)
    if plain_user:
        for folder in ("/tmp", "/home"):
            bind(folder, folder)
        mount(None, "/", None, MS_BIND | MS_REMOUNT | MS_RDONLY)
    keep = {k: v for k, v in os.environ.items() if k in ("TERM",)}
    os.environ.clear()
    os.environ.update(keep)
    os.environ["PATH"] = PATHS[machine.platform]
    os.environ["HOME"] = os.getcwd()
    os.environ["USER"] = os.environ["LOGNAME"] = "operator" if plain_user else "root"
    os.environ["SHELL"] = "/bin/sh"
    os.environ["LANG"] = "C.UTF-8"
    if plain_user:
        os.environ["LAB_PLAIN_USER"] = "1"


def _namespaces(extra: int) -> None:
    """Gives this process namespaces of its own; its first child is process 1, and no other can be born after that one.

    :raises LabError: the kernel does not allow it
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWUSER | extra)
    except OSError:
        if uid != 0:
            raise LabError(NO_NAMESPACES) from None
        try:
            unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | extra)  # root, where user namespaces are switched off
        except OSError:
            raise LabError(NO_NAMESPACES_FOR_ROOT) from None
        return
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def run(words: list[str], zygote_socket: str) -> int:
    """STATE HOST [OPTION...] -- ARGV: the program's exit status. ``STATE event NUMBER``: an event is handled."""
    state, host, *rest = words
    if host == clock.EVENT:
        return clock.handle_apart(state, *rest)
    split = rest.index("--")
    options, argv = rest[:split], rest[split + 1 :]
    try:
        store = Store(Path(state))
        cluster = store.read()
        machine = cluster.hosts[host]
        _namespaces(CLONE_NEWNET if machine.platform == "rocky" else 0)
        outer = os.getpid()
        init = os.fork()
        if init:
            return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1]) % 256
        die_with_parent(outer)
        enter(store, cluster, machine, zygote_socket, plain_user="--plain-user" in options)
        for option in options:
            if option.startswith(guards.OPTION):
                guards.DEPLOY.write_text(option.removeprefix(guards.OPTION))
    except LabError as error:
        print(error, file=sys.stderr)
        return 125
    os._exit(_as_init(machine, argv))


def _as_init(machine: Host, command: list[str]) -> int:
    """Runs the program below a process 1 of the new process namespace, which plays programs, reaps and ends with it."""
    place = INSIDE / "ns" / "play"
    os.mkfifo(place)
    # also for writing: it has no end while nobody asks
    listener = FileIO(os.open(place, os.O_RDWR | os.O_NONBLOCK), "rb")
    if machine.platform == "rocky":
        tunnel.listen(machine)
    try:
        main_child = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    return zygote.Zygote(listener, entry.main, main_child).serve()


def main(path: str) -> int:
    """The machine's zygote: starts sandboxes until nobody has asked for one for a while."""
    try:
        listener = zygote.listen(path)
    except OSError:
        return 0  # another one was quicker
    try:
        return zygote.Zygote(listener, lambda words: run(words, path)).serve(zygote.IDLE_SECONDS)
    finally:
        os.unlink(path)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        raise SystemExit(main(sys.argv[1]))
    raise SystemExit(run(sys.argv[1:], str(clock.zygote_place())))
