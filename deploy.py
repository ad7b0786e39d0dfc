"""The whole deploy, in the order of the hosts' dependencies. Each task also runs alone."""

# Each line gets the reason for its place when its task lands.
