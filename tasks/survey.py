"""What is there already? Looks at the hosts, changes nothing, and says it as inventory.py and group_data/.

    pyinfra hosts.py tasks/survey.py -y
    pyinfra hosts.py tasks/survey.py -y --data survey_to=mysite

hosts.py needs the names of the hosts in two groups, `freebsd` and `clients`, and what ssh needs to reach them; that
stays in the new inventory. Of the rest everything may be missing. As tasks/verify.py it looks while pyinfra would make
its plan. The files are those of a new folder: what is there is never overwritten.
"""

from pathlib import Path

import click
from pyinfra.api.exceptions import DeployError
from pyinfra.context import ctx_state, host

from bridge.survey import surveyed

if ctx_state.get().get_op_order():
    raise DeployError("survey looks before anything of this run is done: run it by itself")
to = host.data.get("survey_to")
folder = Path(to) if to else None
if folder is not None and (folder / "inventory.py").exists():
    raise DeployError(f"{folder}/inventory.py is there already: name a new folder in survey_to")

# every host is asked at the same time; the one that answers last speaks for all
found = surveyed()

if found is not None:
    click.echo(f"\n{found.report}")
    for name, text in found.files.items():
        if folder is None:
            click.echo(f"--- {name}\n{text}")
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    if folder is not None:
        (folder / "found.txt").write_text(found.report, encoding="utf-8")
        click.echo(f"Written to {folder}. Read it, then: pyinfra {folder}/inventory.py deploy.py --dry --diff\n")
    raise SystemExit(0)
