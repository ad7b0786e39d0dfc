from __future__ import annotations

import os
from pathlib import Path

import pytest

from f3s.pki.plan import PkiError
from f3s.pki.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "secrets")


def test_is_closed_to_others_whatever_the_umask(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    replace = os.replace

    def spy(source: Path, target: Path) -> None:
        seen.append(source.stat().st_mode & 0o777)
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    before = os.umask(0)
    try:
        with store.locked():
            store.write("x", b"secret")
    finally:
        os.umask(before)
    assert seen == [0o600]
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {p.name: p.stat().st_mode & 0o777 for p in store.folder.iterdir()} == {"lock": 0o600, "x": 0o600}
    assert store.read("x") == b"secret"
    assert store.read("y") is None


def test_what_a_killed_run_left_is_neither_read_nor_in_the_way(store: Store) -> None:
    with store.locked():
        (store.folder / "x.new").write_bytes(b"half")
        assert store.names() == ["lock"]
        store.write("x", b"whole")
        assert store.names() == ["lock", "x"]


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_refuses_an_open_folder(store: Store, mode: int) -> None:
    store.folder.mkdir()
    store.folder.chmod(mode)
    with pytest.raises(PkiError, match="open to others"), store.locked():
        pass


def test_refuses_an_open_file(store: Store) -> None:
    with store.locked():
        store.write("x", b"secret")
    (store.folder / "x").chmod(0o644)
    with pytest.raises(PkiError, match="chmod 600"):
        store.read("x")


def test_refuses_a_link_for_a_folder(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    store.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PkiError, match="not a link"), store.locked():
        pass


def test_follows_no_link_to_a_file(store: Store, tmp_path: Path) -> None:
    with store.locked():
        (store.folder / "x").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="symbolic"):
            store.read("x")
        store.write("x", b"secret")
    assert not (tmp_path / "elsewhere").exists()


def test_writes_under_its_lock_only(store: Store) -> None:
    with store.locked():
        pass
    with pytest.raises(AssertionError):
        store.write("x", b"")
