"""The stage on a real site: how commands get there, and that nothing is done without an operator."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import site
from scenarios.stage import CannotError, Ran, StageError, ran
from tests.f3s.settings_data import build, good
from tests.lab.cluster import REPOSITORY

OPTIONS = argparse.Namespace(inventory=str(REPOSITORY / "inventory.py"))


class Terminal(io.StringIO):
    """Somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> site.SiteStage:
    """That of settings, not of the inventory: pyinfra's command line patches the interpreter."""
    hosts = {
        "f0.lan.buetow.org": {"_doas": True},
        "f1.lan.buetow.org": {"_doas": True},
        "r0.lan.buetow.org": {"_sudo": True},
    }
    stage = site.SiteStage(OPTIONS.inventory, build(good()), hosts)
    monkeypatch.setattr(site, "loaded", {OPTIONS.inventory: stage}.get)
    return stage


def test_logins_are_those_of_the_inventory() -> None:
    login = site.Login.of("f0.lan", {"ssh_user": "paul", "ssh_port": 2222, "ssh_key": "~/.ssh/k", "_doas": True})
    words = login.words("echo 'a b' | wc")
    assert words[0] == "ssh"
    assert words[words.index("-p") + 1] == "2222"
    assert words[words.index("-i") + 1] == "~/.ssh/k"
    assert words[-2:] == ["paul@f0.lan", """doas sh -c 'echo '"'"'a b'"'"' | wc'"""]


def test_a_host_name_of_its_own_and_root_himself() -> None:
    login = site.Login.of("f0.lan", {"ssh_user": "root", "ssh_hostname": "192.168.1.130", "_doas": False})
    assert login.words("id")[-2:] == ["root@192.168.1.130", "sh -c id"]
    assert site.Login.of("r0", {"ssh_user": "x", "_sudo": True}).words("id")[-1] == "sudo sh -c id"


@pytest.mark.usefixtures("stage")
def test_without_a_terminal_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("f0\n"))
    with pytest.raises(CannotError, match="nobody is at a terminal"), site.opened(OPTIONS):
        pass


@pytest.mark.usefixtures("stage")
def test_another_name_than_the_primarys_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    with pytest.raises(StageError, match="nothing was done"), site.opened(OPTIONS):
        pass
    assert "on its real hosts: f0, f1, r0" in capsys.readouterr().out


def test_the_primarys_name_begins_it(stage: site.SiteStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("f0\n"))
    with site.opened(OPTIONS) as story, story("power-cut") as given:
        assert given is stage


def test_the_inventory_says_who_plays_and_how_to_get_there() -> None:
    script = """
from scenarios import site
stage = site.loaded("inventory.py")
print(stage.cast.primary, stage.cast.standby, stage.cast.client, *stage.logins["f1"].become, *stage.logins["r0"].become)
"""
    # in a process of its own: reading the inventory patches the interpreter for gevent
    run = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout == "f0 f1 r0 doas sudo\n"


def test_the_operator_pulls_the_plug_and_the_host_is_off(
    stage: site.SiteStage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("\n\n\n"))
    monkeypatch.setattr(stage, "run", lambda host, script, *, timeout=60.0: Ran(0, ""))
    stage.power_cut("f0")
    assert not stage.is_up("f0")
    stage.boot("f0")
    assert stage.is_up("f0")
    stage.stick("f1", "out")
    said = capsys.readouterr().out
    assert "Cut the power of f0 now" in said
    assert "Pull the key stick out of f1." in said


def test_what_went_wrong_is_told_with_the_logs_of_both_storage_hosts(
    stage: site.SiteStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "run", lambda host, script: Ran(0, f"{host} logged\n"))
    monkeypatch.setattr(stage, "is_up", lambda host: host != "f0")
    assert stage.keep() == "\nf1:\nf1 logged\n"


def test_what_no_operator_can_do_is_said(stage: site.SiteStage) -> None:
    with pytest.raises(CannotError, match="separates only f0 and f1"):
        stage.part("f0", "f1")
    with pytest.raises(CannotError, match="unreadable"):
        stage.stick("f1", "unreadable")


def test_a_command_without_an_answer_is_given_up(tmp_path: Path) -> None:
    assert ran(["sh", "-c", "echo begun; exec sleep 60"], timeout=0.5) == Ran(124, "begun\n")
    assert ran(["sh", "-c", "echo out; echo err >&2; exit 3"]) == Ran(3, "out\nerr\n")
