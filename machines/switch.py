"""An Ethernet switch for machines, without root: ``python -m machines.switch FOLDER NAME...``

A port NAME is the pair of datagram sockets FOLDER/NAME.hub (ours) and FOLDER/NAME.vm (qemu's). A frame goes to the port
where its destination was heard last, else to every other one: a socket holds ten frames, and one that everybody's bulk
data fill loses the advertisements. (qemu's own multicast network gives a guest its own frames back, and CARP takes
those for a rival's.)

Datagrams to FOLDER/control: ``cut A B`` separates two ports, ``join A B`` joins them again, ``send FRAME`` (hex) is a
frame of a stranger. Every CARP advertisement is a line on standard output: time, port, vhid and advskew.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import time
from pathlib import Path

CARP = 112
"""Its number as an IP protocol."""


def advertisement(frame: bytes) -> tuple[int, int] | None:
    """vhid and advskew of a CARP advertisement (ip_carp.h, struct carp_header); None for any other frame."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != CARP:
        return None
    start = 14 + (frame[14] & 15) * 4
    return (frame[start + 1], frame[start + 2]) if len(frame) > start + 2 else None


def _port(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    port.setblocking(False)
    port.bind(path)
    return port


def serve(names: list[str]) -> None:
    """Forwards frames between ports in the current folder, for ever."""
    selector = selectors.DefaultSelector()
    ports = {name: _port(f"{name}.hub") for name in names}
    for name, port in [*ports.items(), ("", _port("control"))]:
        selector.register(port, selectors.EVENT_READ, name)
    cuts: set[frozenset[str]] = set()
    heard: dict[bytes, dict[str, None]] = {}  # address -> ports, the latest last: while two are parted both may have it
    while True:
        # orders before frames: a cut holds for what is sent after it
        for key, _ in sorted(selector.select(), key=lambda event: str(event[0].data)):
            sender, source = key.data, key.fileobj
            assert isinstance(source, socket.socket)
            frame = source.recv(65536)
            if not sender:
                verb, *words = frame.decode().split()
                if verb != "send":
                    (cuts.add if verb == "cut" else cuts.discard)(frozenset(words))
                    continue
                sender, frame = "stranger", bytes.fromhex(words[0])
            if claim := advertisement(frame):
                print(f"{time.time():.2f} {sender} vhid {claim[0]} advskew {claim[1]}", flush=True)
            others = [name for name in ports if name != sender and frozenset((sender, name)) not in cuts]
            if sender in ports:
                seen = heard.setdefault(frame[6:12], {})
                seen.pop(sender, None)
                seen[sender] = None
            to = [name for name in heard.get(frame[:6], ()) if name in others][-1:] or others
            for name in to:
                # a machine that is off, or whose queue is full: the frame is lost, as on a cable
                with contextlib.suppress(OSError):
                    ports[name].sendto(frame, f"{name}.vm")


def control(folder: Path, verb: str, *words: str) -> None:
    """``cut`` or ``join`` two ports of the switch in a folder, or ``send`` a frame.

    :raises OSError: no switch is there
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        connect(link, folder / "control")
        link.send(" ".join((verb, *words)).encode())


def connect(link: socket.socket, path: Path) -> None:
    """Connects to a Unix socket, however long its path: an address has 107 bytes at most.

    :raises OSError: nobody listens there
    """
    folder = os.open(path.parent, os.O_PATH)
    try:
        link.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    serve(sys.argv[2:])
