# A key stick as the how-to leaves it: no label, in fstab, writable. HOSTS: whose keys are made; none: they are copied.
newfs "/dev/$STICK" >/dev/null
mkdir -p /keys
mount "/dev/$STICK" /keys
echo "/dev/$STICK /keys ufs rw 0 2" >>/etc/fstab
for host in $HOSTS; do
    for purpose in bhyve zdata; do dd if=/dev/random "of=/keys/$host:$purpose.key" bs=32 count=1 2>/dev/null; done
    # of the pool in the drawer, which no how-to knows
    dd if=/dev/random of=/keys/backup.key bs=32 count=1 2>/dev/null
done
