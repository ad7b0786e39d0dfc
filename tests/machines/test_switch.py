"""The switch: a frame goes to all but its sender, two ports can be parted, advertisements are read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from machines.switch import advertisement, connect, control

CARP_ADDRESS = bytes.fromhex("00005e000101")
NAMES = ("f0", "f1", "r0")
# Ethernet, IPv4 with protocol 112, then CARP: version and type, vhid, advskew
ADVERTISEMENT = bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x70" + bytes(10) + b"\x21\x01\x64" + bytes(33)


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[dict[str, socket.socket]]:
    """The machines' ends of the cables."""
    switch = subprocess.Popen(
        [sys.executable, "-m", "machines.switch", str(tmp_path), *NAMES], stdout=(tmp_path / "log").open("wb")
    )
    ends = {}
    try:
        for _ in range(200):
            if (tmp_path / "control").exists():
                break
            time.sleep(0.02)
        for name in NAMES:
            ends[name] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            ends[name].bind(str(tmp_path / f"{name}.vm"))
            ends[name].settimeout(2)
            connect(ends[name], tmp_path / f"{name}.hub")
        yield ends
    finally:
        switch.kill()
        switch.wait()
        for end in ends.values():
            end.close()


def hears(end: socket.socket) -> bytes | None:
    end.settimeout(0.3)
    try:
        return end.recv(65536)
    except TimeoutError:
        return None


def test_a_frame_goes_where_its_destination_was_heard_last(wires: dict[str, socket.socket], tmp_path: Path) -> None:
    """The address of CARP has two places while the pair is parted, and each side has its own."""
    to_carp = CARP_ADDRESS + b"client"

    def arrives() -> list[bytes | None]:
        wires["r0"].send(to_carp)
        return [hears(wires[name]) for name in NAMES]

    for name in ("f0", "f1"):
        assert arrives() == ([to_carp, to_carp, None] if name == "f0" else [to_carp, None, None])
        wires[name].send(b"client" + CARP_ADDRESS)
        assert hears(wires["r0"]) == b"client" + CARP_ADDRESS
    assert arrives() == [None, to_carp, None]
    control(tmp_path, "cut", "r0", "f1")
    assert arrives() == [to_carp, None, None]


def test_a_frame_goes_to_every_other_port(wires: dict[str, socket.socket]) -> None:
    wires["f0"].send(b"a frame")
    assert [hears(wires[name]) for name in NAMES] == [None, b"a frame", b"a frame"]


def test_two_that_are_parted_hear_the_rest(wires: dict[str, socket.socket], tmp_path: Path) -> None:
    control(tmp_path, "cut", "f0", "f1")
    wires["f0"].send(b"one")
    assert [hears(wires[name]) for name in NAMES] == [None, None, b"one"]
    wires["f1"].send(b"two")
    assert [hears(wires[name]) for name in NAMES] == [None, None, b"two"]
    control(tmp_path, "join", "f1", "f0")
    wires["f1"].send(b"three")
    assert [hears(wires[name]) for name in NAMES] == [b"three", None, b"three"]


def test_a_stranger_is_heard_by_all(wires: dict[str, socket.socket], tmp_path: Path) -> None:
    control(tmp_path, "send", ADVERTISEMENT.hex())
    assert [hears(wires[name]) for name in NAMES] == [ADVERTISEMENT] * 3
    assert (tmp_path / "log").read_text().split()[1] == "stranger"


def test_advertisements_are_told(wires: dict[str, socket.socket], tmp_path: Path) -> None:
    wires["f1"].send(ADVERTISEMENT)
    assert hears(wires["f0"]) == ADVERTISEMENT
    assert (tmp_path / "log").read_text().split()[1:] == ["f1", "vhid", "1", "advskew", "100"]


def test_other_frames_are_no_advertisements() -> None:
    assert advertisement(ADVERTISEMENT) == (1, 100)
    assert advertisement(ADVERTISEMENT.replace(b"\x70", b"\x06")) is None
    assert advertisement(b"short") is None


def test_a_long_path_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    here = os.getcwd()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as near,
    ):
        os.chdir(deep)
        try:
            end.bind("socket")
        finally:
            os.chdir(here)
        connect(near, deep / "socket")
        near.send(b"hello")
        assert end.recv(10) == b"hello"
