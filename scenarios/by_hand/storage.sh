# A storage host as the how-to leaves it, up to its replication. ROLE: primary or standby.
chown root:wheel /keys/*.key
chmod 400 /keys/*.key
for package in zrepl stunnel; do
    [ -x "/usr/local/etc/rc.d/$package" ] || pkg install -y "$package"
done
zpool create -m /data zdata "/dev/$DISK"
zfs create -o encryption=on -o keyformat=raw -o "keylocation=file:///keys/$HOST:zdata.key" zdata/enc
if [ "$ROLE" = primary ]; then
    zfs create zdata/enc/nfsdata
    zfs set mountpoint=/data/nfs zdata/enc/nfsdata
    mkdir /data/nfs/k3svolumes
    touch /data/nfs/nfs.DO_NOT_REMOVE
    echo 'from before' >/data/nfs/k3svolumes/old
    boot="zdata/enc zdata/enc/nfsdata zroot/bhyve"
else
    zfs create -o mountpoint=none zdata/sink
    zfs create -o mountpoint=none zdata/laptop
    boot="zdata/enc zdata/sink/f0/zdata/enc/nfsdata"
fi
sysrc zfskeys_enable=YES "zfskeys_datasets=$boot" zrepl_enable=YES >/dev/null
service zrepl start >/dev/null 2>&1
