"""The networks of the simulated hosts: interfaces, CARP, and who can reach whom."""
