"""Is the whole cluster as it should be? Looks, changes nothing, and exits with 1 if anything is wrong.

    pyinfra inventory.py tasks/verify.py -y
    pyinfra inventory.py tasks/verify.py -y --data verify_json=state.json --data verify_html=state.html

It all happens while pyinfra would make its plan. There is nothing to plan, so --dry shows the same table, and the run
ends with it. A host without a connection is a row; with -y pyinfra goes on without asking about such a host. verify is
not part of a deploy, where it would look before the first operation has run.
"""

from pathlib import Path

import click
from pyinfra.api.exceptions import DeployError
from pyinfra.context import ctx_state, host

from bridge.view import as_html, looked_at_all
from f3s.verify import report

if ctx_state.get().get_op_order():
    raise DeployError("verify looks before anything of this run is done: run it by itself, afterwards")

# every host is asked at the same time; the one that answers last speaks for all
cluster = looked_at_all()

if cluster is not None:
    rows = report.rows(cluster)
    click.echo(f"\n{report.table(rows)}\n")
    if path := host.data.get("verify_json"):
        Path(path).write_text(report.as_json(rows, cluster.now), encoding="utf-8")
    if path := host.data.get("verify_html"):
        Path(path).write_text(as_html(cluster, rows), encoding="utf-8")
    raise SystemExit(0 if report.all_right(rows) else 1)
