"""The whole deploy, in the order of the hosts' dependencies. Each task also runs alone.

A path with ./ is found from this file, so that the deploy works from any folder.
"""

from pyinfra import local

# nothing is encrypted before its key is on a stick
local.include("./tasks/usb_keys.py")
# everything that is served, replicated or moved lies in these datasets
local.include("./tasks/zfs_encrypt.py")
# the virtual machines' datasets go below a key of their own before one of them is replicated
local.include("./tasks/bhyve_migrate.py")
# the standby has its replica before an address can come to it
local.include("./tasks/zrepl.py")
# the virtual IP, and the controller, which serves nothing until all of its services are configured
local.include("./tasks/carp.py")
# exports and shares lie in the dataset that zfs_encrypt mounted
local.include("./tasks/nfs.py")
# clients come last: they mount what all of the above serves
local.include("./tasks/clients.py")
