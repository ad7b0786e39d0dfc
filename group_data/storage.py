"""Values of the pair that serves NFS."""

# -- pool --
pool_disk = "ada1"  # the second disk; the pool is made on it when it is provably blank

# -- carp: who holds the virtual IP (tasks/carp.py) --
carp_interface = "re0"  # the LAN interface
carp_vhid = 1  # number of the virtual host, 1-254, not used by other CARP or VRRP groups of the LAN
carp_other_vhids = []  # other vhids that may be on these hosts: preemption moves their addresses, too
carp_advbase = 1  # seconds between two advertisements
carp_unicast = False  # advertise to the other host alone, for a switch that filters multicast; needs FreeBSD 14
carp_failback_losses = 3  # a primary that lost the address so often within carp_failback_quiet does not take it back
carp_failback_quiet = 3600  # seconds
carp_password = None  # 8 to 19 characters that no one else knows; None: certificates.py makes one in pki_directory

# -- alert: what these hosts say of themselves every minute (docs/monitoring.md) --
alert_textfile_directory = "/var/tmp/node_exporter"  # f3s.prom goes there, too, if node_exporter has made it
alert_command = None  # an absolute path, or None: called with wrong or right, the host, the alert and a sentence
alert_ping_url = None  # fetched every minute, or None; each host has one of its own, beside it in inventory.py
