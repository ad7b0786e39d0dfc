"""The hosts of the site: groups, addresses, and what differs from host to host.

Everything that several hosts share is in group_data/: all.py, freebsd.py, storage.py, clients.py.
If two groups of a host set the same variable, the group that is further down here wins.
"""

from bridge.settings import check_inventory

_domain = "lan.buetow.org"

# lan_address: on lan_network. wireguard_address: on wireguard_network, replication goes there.
_f0 = (
    f"f0.{_domain}",
    {"lan_address": "192.168.1.130", "wireguard_address": "192.168.2.130"},
)
_f1 = (
    f"f1.{_domain}",
    {"lan_address": "192.168.1.131", "wireguard_address": "192.168.2.131"},
)
_f2 = (
    f"f2.{_domain}",
    {"lan_address": "192.168.1.132", "wireguard_address": "192.168.2.132"},
)

# key sticks, encrypted pools and virtual machines
freebsd = [_f0, _f1, _f2]

# the pair that serves NFS: exactly one primary, which replicates to exactly one standby
storage_primary = [_f0]
storage_standby = [_f1]
storage = [*storage_primary, *storage_standby]

# Rocky Linux machines that mount the shares
clients = [
    (f"r0.{_domain}", {"lan_address": "192.168.1.120"}),
    (f"r1.{_domain}", {"lan_address": "192.168.1.121"}),
    (f"r2.{_domain}", {"lan_address": "192.168.1.122"}),
]

# refuses wrong data with all its reasons, before any host is contacted
check_inventory(__file__, globals())
