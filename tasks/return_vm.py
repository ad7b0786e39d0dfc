"""A virtual machine that ran on its replica comes back, with what it wrote there.

    pyinfra inventory.py tasks/return_vm.py --data return_vm=fedora [--dry]

It is off meanwhile, on both hosts: stop it first, and start it afterwards (docs/runbook.md, Virtual machine of a dead
host). What its own host had by itself is kept beside, in datasets with _set_aside in their names. Every step, and how a
run that was interrupted goes on, is told in f3s/machines.py.
"""

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host, inventory

from bridge.settings import site, this_host
from f3s.machines import job_of
from operations import machines, reasons

name = host.data.get("return_vm")
job = job_of(site(), str(name))
if job is None:
    raise DeployError(f"no job replicates a virtual machine {name}: --data return_vm=NAME, as in zrepl_jobs")
if job.source not in {each.name for each in inventory.get_active_hosts()}:
    raise DeployError(f"{job.source} does not take part in this run, and {name} comes back to it")

if this_host().name == job.source:
    way = machines.way(site(), job)
    if problems := machines.problems(way):
        raise DeployError(f"{name} does not return now:\n" + "\n".join(f"- {reason}" for reason in problems))
    for step in host.loop(list(way.steps())):
        machines.step(name=f"return {name}: {step.title}", planned=step, site=site(), job=job)
    machines.finished(name=f"return {name}: all of it is here", site=site(), job=job)

reasons.none_left()
