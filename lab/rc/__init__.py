"""rc(8) of the simulated FreeBSD hosts: services, the order of the boot, reboots and power cuts."""
