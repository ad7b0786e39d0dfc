"""The page of verify: what hosts say is text, never markup."""

from __future__ import annotations

from bridge.view import as_html
from f3s.controller import Status
from f3s.verify.model import Row, State
from f3s.verify.report import rows
from tests.f3s.verify.world import F0, F1, changed, pool, right_cluster

HOSTILE = "<script>alert('x')</script>\"&<b>"


def test_a_hostile_text_of_a_host_is_escaped_wherever_it_is_shown() -> None:
    cluster = changed(right_cluster(), F0, pools={"zdata": pool("zdata", errors=HOSTILE), HOSTILE: pool(HOSTILE)})
    cluster = changed(cluster, F1, controller=Status(ready=False, reason=HOSTILE), decisions=(HOSTILE * 2,))
    found = [*rows(cluster), Row(HOSTILE, HOSTILE, State.WRONG, HOSTILE, HOSTILE)]
    page = as_html(cluster, found)
    assert "<script" not in page
    assert "<b>" not in page
    # the reason of f0 and f1, the picture of f0, and each column of the last row
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&amp;&lt;b&gt;") >= 7


def test_one_glance_tells_what_to_do_first() -> None:
    well = right_cluster()
    broken = changed(changed(well, F1, pools={"zdata": pool("zdata", "DEGRADED")}), F0, clock=None)
    assert "All is well." in as_html(well, rows(well))
    page = as_html(broken, rows(broken))
    assert f"First: pools, {F1}.</strong> zdata is DEGRADED" in page, "what is wrong comes before what is not known"
    assert "All is well." not in page
