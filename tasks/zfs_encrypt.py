"""The data pool, and in it the encrypted datasets with keys from the stick.

Every mount point directory is made and guarded before the dataset that is mounted on it, because the bare directory
belongs to the unencrypted root of the pool.
"""

import re

from bridge.settings import site, this_host
from f3s.controller import served_dataset
from facts.rcconf import PERIODIC_CONF
from operations import rcconf, reasons, returning, zfs
from tasks.shared import keep_role

me = this_host()

keep_role()
if me.has_pool:
    assert me.pool.disk is not None
    enc_mountpoint = me.pool.mountpoint + me.enc.dataset.removeprefix(me.pool.name)
    enc_key = me.key_location(me.enc.key)
    roots = [me.enc.dataset]

    zfs.pool(
        name="ZFS: data pool, made on a blank disk only",
        pool=me.pool.name,
        disk=me.pool.disk,
        mountpoint=me.pool.mountpoint,
        properties={"autotrim": me.pool.autotrim, "failmode": me.pool.failmode},
        serial=me.pool.disk_serial,
        model=me.pool.disk_model,
    )
    # before anything is made below it
    zfs.pool_mounted(
        name="ZFS: root dataset of the pool mounted, which holds the mount points",
        pool=me.pool.name,
        mountpoint=me.pool.mountpoint,
    )

    zfs.guarded_mountpoint(
        name="ZFS: no plain text below the mount point of the encrypted datasets",
        path=enc_mountpoint,
        datasets=[me.enc.dataset],
        parent=me.pool.name,
        parent_mountpoint=me.pool.mountpoint,
    )
    zfs.encrypted_dataset(
        name="ZFS: encryption root of the pool",
        dataset=me.enc.dataset,
        encryption=me.enc.encryption,
        keylocation=enc_key,
    )
    zfs.key_loaded(name="ZFS: key of the encryption root loaded", dataset=me.enc.dataset, keylocation=enc_key)
    zfs.mounted(name="ZFS: encryption root mounted", dataset=me.enc.dataset)

    # on the standby, too: the replica is mounted there
    if me.is_storage:
        zfs.guarded_mountpoint(
            name="ZFS: no plain text below the mount point of the NFS data",
            path=me.nfs.mountpoint,
            datasets=[served_dataset(me, site())],
            parent=me.pool.name,
            parent_mountpoint=me.pool.mountpoint,
        )

    # An encryption root of its own, with the same key, like the replica, which always is one.
    if me.is_primary:
        nfs_key = me.key_location(me.key_of(me.nfs.dataset))
        roots.append(me.nfs.dataset)
        if returning.owed(site()):
            returning.left_to_return(
                name="ZFS: dataset of the NFS data, which is on the standby",
                dataset=me.nfs.dataset,
                standby=site().standby.short_name,
            )
        else:
            zfs.encrypted_dataset(
                name="ZFS: dataset of the NFS data, an encryption root of its own",
                dataset=me.nfs.dataset,
                encryption=me.enc.encryption,
                keylocation=nfs_key,
                properties={"mountpoint": me.nfs.mountpoint},
            )
            zfs.key_loaded(name="ZFS: key of the NFS data loaded", dataset=me.nfs.dataset, keylocation=nfs_key)
            zfs.mounted(name="ZFS: NFS data mounted", dataset=me.nfs.dataset)

    # The boot: zfskeys loads the keys, once f3skeys has mounted the stick.
    zfs.keys_loaded_at_boot(name="ZFS: keys that the boot loads", datasets=roots, sink=me.zrepl.sink_root)
    # The installer sets zfs_enable only if the root is on ZFS; without it rc.d/zpool imports no pool.
    rcconf.variables(
        name="ZFS: pools are imported and keys loaded at boot",
        values={"zfs_enable": "YES", "zfskeys_enable": "YES"},
    )

    # how periodic writes the pool's name in the name of its threshold (800.scrub-zfs)
    pool_variable = re.sub(r"[.:-]", "_", me.pool.name)
    rcconf.variables(
        name="ZFS: scrub from periodic(8)",
        values={
            "daily_scrub_zfs_enable": "YES" if me.pool.scrub else "NO",
            f"daily_scrub_zfs_{pool_variable}_threshold": str(me.pool.scrub_threshold_days),
        },
        file=PERIODIC_CONF,
    )

reasons.none_left()
