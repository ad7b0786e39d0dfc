"""Values of the whole site."""

# -- network --
lan_network = "192.168.1.0/24"  # every lan_address and vip_address is in it

# -- virtual IP, held by the CARP MASTER --
vip_address = "192.168.1.138"  # set as a /32
vip_names = [  # in /etc/hosts of every host, and in the server certificate
    "f3s-storage-ha",
    "f3s-storage-ha.lan",
    "f3s-storage-ha.lan.buetow.org",
]

# -- stunnel: the TLS tunnel around NFS --
stunnel_port = 2323  # TCP, on the virtual IP for the servers, on 127.0.0.1 for the clients

# -- certificates, made on the controller by `python certificates.py` --
pki_directory = "secrets"  # folder for keys, certificates and the CARP password; git ignores it
pki_extra_clients = ["earth"]  # client certificates for machines that are not in the inventory
pki_ca_days = 3650  # lifetime of the CA, days
pki_server_days = 825  # lifetime of the server certificate, days
pki_client_days = 825  # lifetime of the client certificates, days
pki_renew_before_days = 60  # a certificate with fewer days left is made anew

# -- files of yours at a place that this deploy needs --
replace_files = []  # paths that it may replace; the old file stays beside the new one, with the date behind its name
