"""tasks/nfs.py on the simulated hosts: the services take the flags that it gives them."""

from __future__ import annotations

import pytest

from tests.lab.cluster import F1, Cluster

pytestmark = pytest.mark.lab


def test_the_services_start_with_these_flags(lab: Cluster) -> None:
    run = lab.pyinfra("tasks/nfs.py", "--limit", F1, "-y")
    assert run.rc == 0, run.output
    lab.sh(F1, "mkdir -p /data/nfs; service nfsd onestart")
    for service in ("rpcbind", "mountd", "nfsd"):
        assert " is running as pid " in lab.sh(F1, f"service {service} onestatus")
