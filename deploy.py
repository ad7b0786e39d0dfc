"""The whole deploy, in the order of the hosts' dependencies. Each task also runs alone."""

from pyinfra import local

from operations import order, reasons


def then(task: str) -> None:
    """Run a task once all hosts are done with the ones above (./ is relative to this file, not to the caller)."""
    order.barrier(name=f"-- {task}")
    with reasons.noted():
        local.include(f"./tasks/{task}.py")


# nothing is encrypted before its key is on a stick
then("usb_keys")
# everything that is served, replicated or moved lies in these datasets
then("zfs_encrypt")
# the virtual machines' datasets go below a key of their own before one of them is replicated
then("bhyve_migrate")
# the standby has its replica before an address can come to it
then("zrepl")
# the virtual IP, and the controller, which serves nothing until all of its services are configured
then("carp")
# exports and shares lie in the dataset that zfs_encrypt mounted
then("nfs")
# the last service of the serving side: with it the controller has everything and starts to serve
then("stunnel")
# clients come last: they mount what all of the above serves
then("clients")

# before anything is changed anywhere
reasons.none_left()
