from __future__ import annotations

from dataclasses import replace

import pytest

from f3s.pki.plan import PkiError
from tests.f3s.pki.site import PLAN


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": ()}, "at least one name"),
        ({"names": ("a" * 65,)}, "1 to 64"),
        ({"names": ("Storage",)}, "'Storage'"),
        ({"names": ("a", "a")}, "'a' is there twice"),
        ({"addresses": ("192.0.2.300",)}, "192.0.2.300"),
        ({"clients": ("../ca",)}, r"'\.\./ca'"),
        ({"clients": ("-x",)}, "'-x'"),
        ({"clients": ("ca",)}, "'ca': ca, crl, server are names of"),
        ({"clients": ("server",)}, "'server'"),
        ({"clients": ("storage-ha",)}, "is a name of the server"),
        ({"clients": ("r0", "r1", "r0")}, "'r0' is there twice"),
        ({"server_days": 60}, "longer than that"),
        ({"client_days": 30}, "longer than that"),
        ({"renew_before_days": 0}, "at least 1"),
        ({"ca_days": 885}, "more than 885"),
    ],
)
def test_refuses_and_says_why(change: dict[str, object], says: str) -> None:
    with pytest.raises(PkiError, match=says):
        replace(PLAN, **change)  # type: ignore[arg-type]
