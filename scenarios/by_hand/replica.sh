# The replica is mounted, and only then made read-only. By then it has diverged, and is rolled back.
replica=zdata/sink/f0/zdata/enc/nfsdata
zfs load-key -L "file:///keys/$PRIMARY:zdata.key" $replica
zfs set mountpoint=/data/nfs $replica
zfs mount $replica 2>/dev/null || zfs list -H -o mounted $replica | grep -q yes
zfs set readonly=on $replica
zfs set "keylocation=file:///keys/$PRIMARY:zdata.key" $replica
# a newer snapshot may arrive meanwhile
for _ in 1 2 3 4 5; do
    if zfs rollback "$(zfs list -H -o name -t snapshot $replica | tail -n 1)"; then break; fi
    sleep 5
done
