"""Values of all FreeBSD hosts: key sticks, pools, virtual machines, NFS, replication."""

_doas = True  # every command runs through doas(1); False if you log in as root

# -- wireguard --
wireguard_network = "192.168.2.0/24"  # every wireguard_address is in it

# -- usb: the sticks with the encryption keys (tasks/usb_keys.py) --
usb_device = "da0"  # the stick; one with the label below is found under any name
usb_label = "F3S_KEYS"  # UFS label, 31 characters at most
usb_mountpoint = "/keys"  # mounted read-only; directly below /, as the boot needs it before other file systems
usb_purposes = ["bhyve", "zdata"]  # every FreeBSD host has a key HOST:PURPOSE.key for each, on every stick
usb_format_allow = []  # devices that may be formatted although they are not blank: EVERYTHING ON THEM IS LOST

# -- pool: the data pool (tasks/zfs_encrypt.py); pool_disk is in storage.py --
pool_name = "zdata"  # name of the pool
pool_mountpoint = "/data"  # where it is mounted
pool_disk_serial = None  # serial number that the disk must have, or None: not checked
pool_disk_model = None  # model that the disk must have, or None: not checked
pool_autotrim = True  # tell an SSD about freed blocks
pool_failmode = "wait"  # when the disk is gone: wait (I/O hangs until it is back), continue (errors), panic (reboot)
pool_scrub = True  # scrub from periodic(8)
pool_scrub_threshold_days = 30  # days between two scrubs

# -- enc: the encrypted tree of the pool --
enc_dataset = f"{pool_name}/enc"  # encryption root directly below the pool, all data is below it
enc_encryption = "aes-256-gcm"  # cipher of all encrypted datasets, as ZFS reports it
enc_key = "zdata"  # purpose of the host's own key, or HOST:PURPOSE for one of another host

# -- bhyve: vm-bhyve's datasets move below an encrypted parent (tasks/bhyve_migrate.py) --
bhyve_dataset = "zroot/bhyve"  # vm-bhyve's dataset
bhyve_old_dataset = "zroot/bhyve_old"  # the unencrypted tree after the move, read-only and unmounted
bhyve_key = "bhyve"  # as enc_key
bhyve_snapshot = "f3s_migrate"  # name of the snapshot that is copied
bhyve_stop_timeout = 180  # seconds that virtual machines get to shut down
bhyve_destroy_old = []  # hosts whose bhyve_old_dataset is destroyed after the proofs: THERE IS NO WAY BACK

# -- nfs: what is served (tasks/nfs.py) --
nfs_dataset = f"{enc_dataset}/nfsdata"  # what is served and replicated, directly below enc_dataset
nfs_mountpoint = f"{pool_mountpoint}/nfs"  # where it is mounted
nfs_shares = [{"directory": "k3svolumes", "mode": "0755"}]  # directories below it that clients mount
nfs_marker = "nfs.DO_NOT_REMOVE"  # file in nfs_mountpoint that proves that the right dataset is mounted
nfs_failback_block = "nfs.NO_AUTO_FAILBACK"  # file in nfs_mountpoint that switches automatic failback off
nfs_export = "/export/nfs"  # the NFSv4 root: a nullfs mount of nfs_mountpoint, with one fsid on both hosts
nfs_fsid = 16  # its number among such mounts since boot: more than the system makes by itself (jails, tmpfs, procfs)
nfs_patience = 20  # seconds without an answer after which a service counts as dead; until then it is slow
# True: these hosts export something of yours, too. Then nfsd, mountd and rpcbind keep the flags that rc.conf has (nfsd
# has to listen on 127.0.0.1), and are not stopped while a host cannot serve the data.
nfs_for_others = False
nfs_owners = "numeric"  # numeric: uid and gid pass as they are; names: user@nfs_idmap_domain, by nfsuserd
nfs_idmap_domain = "lan.buetow.org"  # used with nfs_owners = "names" only

# -- zrepl: replication (tasks/zrepl.py) --
zrepl_jobs = [
    # name; source and target host; dataset on the source; time between two snapshots (s, m, h, d or w);
    # replica_mountpoint: where the target mounts the replica read-only, None: its key is never loaded there
    {
        "name": "f0_to_f1_nfsdata",
        "source": "f0.lan.buetow.org",
        "target": "f1.lan.buetow.org",
        "dataset": nfs_dataset,
        "interval": "1m",
        "replica_mountpoint": nfs_mountpoint,
    },
    {
        "name": "f0_to_f1_fedora",
        "source": "f0.lan.buetow.org",
        "target": "f1.lan.buetow.org",
        "dataset": f"{bhyve_dataset}/fedora",
        "interval": "10m",
        "replica_mountpoint": None,
    },
]
zrepl_sink_root = f"{pool_name}/sink"  # directly below a pool; replicas arrive below it, in SOURCE/DATASET
zrepl_port = 8888  # TCP, on wireguard_address
zrepl_return_port = 8889  # TCP, on wireguard_address of the standby, while tasks/return_primary.py sends
zrepl_metrics_port = 9811  # TCP, loopback: Prometheus metrics
zrepl_snapshot_prefix = "zrepl_"  # only snapshots with it are ever pruned
zrepl_keep_last = 10  # this many of the newest snapshots always stay
zrepl_keep_grid = "1x1h(keep=all) | 24x1h | 14x1d"  # history: all of the last hour, then hourly, then daily ones
zrepl_first_replication_timeout = 300  # seconds that a run waits for a new replica to appear
zrepl_rollback_replicas = []  # jobs whose diverged replica is rolled back: WHAT WAS WRITTEN THERE IS LOST
zrepl_prune_history = []  # jobs whose new keep rules may delete snapshots that are kept until now: THEY ARE LOST
