"""Settings of pyinfra itself, which reads this file in the folder that it is started in."""

from functools import partial
from inspect import getframeinfo, stack

from pyinfra import config
from pyinfra.api import util

# Where uploads are put first. Said here, pyinfra need not ask each host: it does so with a command of several lines,
# which csh, the login shell of root up to FreeBSD 13, takes apart.
config.TEMP_DIR = "/tmp"

# For each operation pyinfra takes file and line of all its callers, and reads their sources for that, which it does not
# use (pyinfra/api/util.py, get_operation_order_from_stack): half of the time that a run takes on the controller.
util.stack = partial(stack, 0)
util.getframeinfo = partial(getframeinfo, context=0)
