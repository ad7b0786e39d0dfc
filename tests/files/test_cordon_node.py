"""files/rocky/cordon-node.sh under the real bash, with a kubectl that keeps the node's state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.files.stubs import FILES, Result, StubHost

KUBECTL = r"""
[ "$(cat "$STATE/api")" = up ] || { echo "Unable to connect to the server" >&2; exit 1; }
case "$2" in
get) cat "$STATE/node" ;;
cordon) printf true >"$STATE/node" ;;
uncordon) : >"$STATE/node" ;;
esac
"""
BASH = "/bin/bash"
DATA, BACKUP = "/data/nfs/k3svolumes", "/data/nfs/backup"


class Node:
    def __init__(self, base: Path) -> None:
        self.host = StubHost(base)
        self.host.command("kubectl", KUBECTL)
        self.host.command("sync", 'exec /usr/bin/sync "$@"')
        self.host.state("api", "up")
        self.host.state("node", "")
        self.program = self.host.install(FILES / "rocky" / "cordon-node.sh", "/usr/local/bin/cordon-node.sh")

    def hook(self, event: str, mountpoint: str = DATA) -> Result:
        return self.host.run(self.program, event, mountpoint, "hung", "6", shell=BASH)

    @property
    def cordoned(self) -> bool:
        return self.host.state("node") == "true"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_cordoned_while_a_mount_is_unusable(node: Node) -> None:
    assert node.hook("failed").rc == 0
    assert node.cordoned
    assert node.hook("failed").rc == 0, "again after a run that was cut off"
    assert node.hook("recovered").rc == 0
    assert not node.cordoned
    calls = [call[2] if call[0] == "kubectl" else call[0] for call in node.host.calls()]
    assert calls == ["get", "sync", "cordon", "sync", "cordon", "uncordon"], "the mark is on the disk first"


def test_two_mounts_must_both_recover(node: Node) -> None:
    node.hook("failed")
    node.hook("failed", BACKUP)
    node.hook("recovered")
    assert node.cordoned
    node.hook("recovered", BACKUP)
    assert not node.cordoned


def test_a_node_that_somebody_else_cordoned_is_left_to_them(node: Node) -> None:
    node.host.state("node", "true")
    assert node.hook("failed").rc == 0
    assert node.hook("recovered").rc == 0
    assert node.cordoned
    assert [call[1] for call in node.host.calls("kubectl")] == ["get"]


def test_an_api_that_is_away_is_an_error_and_the_next_call_mends_it(node: Node) -> None:
    node.host.state("api", "down")
    assert node.hook("failed").rc == 1
    node.host.state("api", "up")
    assert node.hook("failed").rc == 0
    node.host.state("api", "down")
    assert node.hook("recovered").rc == 1
    assert node.cordoned
    node.host.state("api", "up")
    assert node.hook("recovered").rc == 0
    assert not node.cordoned


@pytest.mark.parametrize("arguments", [(), ("failed",), ("broken", DATA), ("failed", "relative")])
def test_usage(node: Node, arguments: tuple[str, ...]) -> None:
    assert node.host.run(node.program, *arguments, shell=BASH).rc == 64
    assert node.host.calls("kubectl") == []
