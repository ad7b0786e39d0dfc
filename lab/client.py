"""``client.py SOCKET WORDS...``: has a `lab.zygote` run something with this process's streams, and ends as it ends.

This is what starts for every simulated program, so it imports nothing but built-in modules: a whole Python would take
ten times as long.
"""

import _socket
import marshal
import posix
import sys

SCM_RIGHTS = 1


def descriptor(number: int) -> int:
    """The stream's file descriptor, or one of /dev/null where it is closed."""
    try:
        posix.fstat(number)
    except OSError:
        return posix.open("/dev/null", posix.O_RDWR)
    return number


def main() -> int:
    path, *words = sys.argv[1:]
    umask = posix.umask(0o22)
    request = marshal.dumps((words, posix.getcwd(), dict(posix.environ), umask))
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        link.connect(path)
    except OSError:
        return 126  # nobody listens: the caller starts a zygote and tries again
    streams = b"".join(descriptor(n).to_bytes(4, sys.byteorder) for n in range(3))
    head = len(request).to_bytes(4, "big")
    sent = link.sendmsg([head + request], [(_socket.SOL_SOCKET, SCM_RIGHTS, streams)])
    while sent < len(head) + len(request):
        sent += link.send((head + request)[sent:])
    answer = link.recv(4)
    if len(answer) != 4:
        sys.stderr.write("lab: the simulation of this command ended without an answer\n")
        return 99
    return int.from_bytes(answer, "big")


if __name__ == "__main__":
    posix._exit(main())
