"""The Linux client's image: its recipe, what is said where it cannot be made, and the volume that names a machine."""

from __future__ import annotations

import ast
import shlex
import subprocess
from pathlib import Path

import pytest

from f3s.mount_options import TUNNEL_UNIT
from machines import linux
from machines.programs import MachinesError

REPOSITORY = Path(__file__).parent.parent.parent
KEY = "ssh-ed25519 AAAAC3Nza it's $HOME"
DEB822 = """Types: deb
# of a day
URIs: http://other.example/debian
Suites: bookworm-updates
Components: main

Types: deb deb-src
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all programs that make the image, each of which does nothing; PATH is this folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in linux.PROGRAMS:
        put(folder / name, "exit 0")
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setattr(linux, "KEYRING", folder)
    return folder


def put(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


# -- the recipe --


def test_the_disk_has_every_package_that_the_deploy_installs_there() -> None:
    tree = ast.parse((REPOSITORY / "tasks" / "clients.py").read_text())
    [wanted] = [
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "packages"
    ]
    [line] = [
        line for line in (linux.DATA / "install.sh").read_text().splitlines() if line.startswith("for package in ")
    ]
    there = [word.rpartition("-")[0] for word in line.removeprefix("for package in ").removesuffix("; do").split()]
    assert there == wanted


def test_the_unit_of_the_tunnel_is_the_one_that_the_deploy_starts() -> None:
    assert (linux.DATA / TUNNEL_UNIT).is_file()


def test_a_changed_recipe_is_another_image() -> None:
    tree = linux._tree()
    mode, content = tree["build/install.sh"]
    assert linux._recipe(tree) == linux._recipe(dict(tree))
    assert linux._recipe({**tree, "build/install.sh": (mode, content + b"\n")}) != linux._recipe(tree)


# -- the mirror --


@pytest.mark.parametrize(
    ("file", "text", "mirror"),
    [
        ("sources.list.d/debian.sources", DEB822, "https://mirror.example/debian"),
        ("sources.list", "deb http://a.example/debian bookworm main\n", "http://a.example/debian"),
        ("sources.list", "deb [arch=amd64 signed-by=/k] http://a.example/debian bookworm main\n", "http://a.example/debian"),
        ("sources.list.d/x.list", "# deb http://no.example/ bookworm main\n", None),
        ("sources.list", "deb http://a.example/ubuntu noble main\n", None),
        # a list of mirrors on this machine, which the new system does not have
        ("sources.list", "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\n", None),
    ],
)  # fmt: skip
def test_the_mirror_is_apts(tmp_path: Path, file: str, text: str, mirror: str | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert linux.mirror(tmp_path) == mirror


def test_only_a_known_mirror_is_named() -> None:
    assert (
        linux._command("http://a.example/debian", Path("/f"), root=True)[-1]
        == "deb http://a.example/debian bookworm main"
    )
    assert linux._command(None, Path("/f"), root=True)[-2:] == ["bookworm", "-"]


# -- making it --


def test_what_is_missing_is_named_with_the_command_that_gets_it(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linux.check_programs(root=False)
    (programs / "mmdebstrap").unlink()
    (programs / "newuidmap").unlink()
    monkeypatch.setattr(linux.shutil, "which", lambda name, path: (programs / name).exists() or None)
    with pytest.raises(
        MachinesError, match=r"needs mmdebstrap, newuidmap: run `sudo apt-get install mmdebstrap uidmap`"
    ):
        linux.check_programs(root=False)
    with pytest.raises(MachinesError, match=r"needs mmdebstrap: run `sudo apt-get install mmdebstrap`$"):
        linux.check_programs(root=True)
    monkeypatch.setattr(linux, "KEYRING", programs / "no")
    with pytest.raises(MachinesError, match=r"debian-archive-keyring`$"):
        linux.check_programs(root=True)


def test_an_image_is_made_once(programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(
        programs / "mmdebstrap",
        f'echo made >>{tmp_path}/calls; for a in "$@"; do case $a in\n'
        '*sync-out*) eval "set -- $a"; f=$3; tar -xf "$f/tree.tar" -C "$f" build/install.sh && '
        'rm -r "$f/build" || exit 1\n'
        'for x in disk.qcow2 vmlinuz initrd.img; do echo $x >"$f/$x"; done;; esac; done',
    )
    cache = tmp_path / "a b" / "cache"
    first, second = linux.image(cache), linux.image(cache)
    assert first == second
    assert (tmp_path / "calls").read_text() == "made\n"
    assert first.kernel is not None
    assert (first.disk.read_text(), first.kernel.read_text()) == ("disk.qcow2\n", "vmlinuz\n")
    assert first.disk.stat().st_mode & 0o777 == 0o444
    assert sorted(path.name for path in first.disk.parent.iterdir()) == ["disk.qcow2", "initrd.img", "vmlinuz"]
    assert capsys.readouterr().out.count("\n") == 1


def test_an_image_that_failed_is_not_there(programs: Path, tmp_path: Path) -> None:
    put(programs / "mmdebstrap", "echo 'I: about to'; echo 'E: cannot find subuid' >&2; exit 1")
    for _ in range(2):
        with pytest.raises(MachinesError, match=r"linux-\w+\.log\): E: cannot find subuid"):
            linux.image(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("linux-*/disk.qcow2"))
    put(programs / "mmdebstrap", "exit 0")
    with pytest.raises(FileNotFoundError):
        linux.image(tmp_path / "cache")


def test_rockys_own_image_has_a_boot_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "Rocky-9.qcow2"
    monkeypatch.setenv(linux.ROCKY_IMAGE, str(own))
    with pytest.raises(MachinesError, match="no such file"):
        linux.image(tmp_path)
    own.touch()
    assert linux.image(tmp_path) == linux.Linux(own, None, None, None)


# -- the volume --


def test_user_data_is_clean() -> None:
    script = linux.seed("r0.lan.example", {"eth0": "192.0.2.1/24"}, "ssh-ed25519 AAAA me@here")["user-data"]
    subprocess.run(["shellcheck", "-"], input=script, text=True, check=True)


def test_user_data_gives_name_address_and_key(tmp_path: Path) -> None:
    script = linux.seed("r0.lan.example", {"eth0": "192.0.2.1/24", "eth2": "198.51.100.1/24"}, f"{KEY}\n")["user-data"]
    for folder in ("etc", "root", "proc/sys/kernel"):
        (tmp_path / folder).mkdir(parents=True)
        script = script.replace(f"/{folder}/", f"{shlex.quote(str(tmp_path))}/{folder}/")
    subprocess.run(["sh", "-s"], input=script, text=True, check=True)
    read = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    network = "[Match]\nName={}\n[Network]\nAddress={}\nLinkLocalAddressing=no\n"
    assert read == {
        "etc/hostname": "r0.lan.example\n",
        "proc/sys/kernel/hostname": "r0.lan.example\n",
        "etc/hosts": "192.0.2.1 r0.lan.example r0\n",
        "etc/systemd/network/10-eth0.network": network.format("eth0", "192.0.2.1/24"),
        "etc/systemd/network/10-eth2.network": network.format("eth2", "198.51.100.1/24"),
        "root/.ssh/authorized_keys": f"{KEY}\n",
    }
    assert (tmp_path / "root/.ssh").stat().st_mode & 0o777 == 0o700


def test_cloud_init_gets_the_same_name_and_address() -> None:
    files = linux.seed("r0.lan.example", {"eth0": "192.0.2.1/24"}, KEY)
    assert files["meta-data"] == "instance-id: r0.lan.example\nlocal-hostname: r0.lan.example\n"
    assert "  eth0:\n    addresses: [192.0.2.1/24]\n" in files["network-config"]
