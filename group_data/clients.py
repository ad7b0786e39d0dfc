"""Values of the Rocky Linux machines that mount the shares."""

_sudo = True  # works for root, and for a user who may use sudo without a password

# -- client: mounts (tasks/clients.py) --
client_mounts = [{"share": "k3svolumes", "mountpoint": "/data/nfs/k3svolumes"}]  # a directory of nfs_shares each
client_mount_preset = "lan"  # the preset for the hosts; one host may take another in inventory.py
client_mount_presets = {
    # hard: a program that writes waits until the server is back, however long; nothing is lost, but it hangs
    "lan": "rw,hard",
    # soft: a program gets an error after timeo/10 s * (retrans + 1); nothing hangs, but writes may be lost
    "laptop": "rw,soft,timeo=50,retrans=3",
}
client_tunnel_root_only = True  # the tunnel's local port takes connections of root only; False: of every local user

# -- client: the monitor that heals a mount --
client_monitor_interval = 10  # seconds between two checks, 60 at most
client_move_seconds = 15  # how long a mount may hang before anything is repaired: longer than a move of the server
client_stat_timeout = 2  # seconds that stat may take; if it takes longer twice in a row, the mount counts as hung
client_unmount_timeout = 10  # seconds for each attempt to unmount
client_mount_timeout = 15  # seconds for a mount
client_metrics_file = "/var/lib/node_exporter/textfile_collector/nfs_mount.prom"  # Prometheus text file, or None
client_escalate_after = 0  # failed checks in a row before client_escalate_command runs, 0: never
# An absolute path, or None. "/usr/local/bin/cordon-node.sh" is installed by the deploy: it cordons the Kubernetes node,
# and needs kubectl and /etc/f3s/kubeconfig (docs/runbook.md, Node cordoned). Any other program is yours to install.
client_escalate_command = None
