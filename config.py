"""Settings of pyinfra itself, which reads this file in the folder that it is started in."""

from pyinfra import config

# Where uploads are put first. Said here, pyinfra need not ask each host: it does so with a command of several lines,
# which csh, the login shell of root up to FreeBSD 13, takes apart.
config.TEMP_DIR = "/tmp"
