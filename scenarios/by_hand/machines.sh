# The virtual machines go below an encrypted parent: by a snapshot and a plain send of each dataset.
vm=/usr/local/sbin/vm
if [ -x $vm ]; then
    for name in rocky fedora; do $vm stop $name || true; done
    i=0
    while $vm list | grep -q Running && [ $i -lt 60 ]; do sleep 5; i=$((i + 1)); done
fi
zfs rename zroot/bhyve zroot/bhyve_old
zfs set mountpoint=/bhyve_old zroot/bhyve_old
zfs snapshot -r zroot/bhyve_old@hamburger
zfs create -o encryption=on -o keyformat=raw -o "keylocation=file:///keys/$HOST:bhyve.key" \
    -o mountpoint=/zroot/bhyve zroot/bhyve
zfs list -H -o name -t filesystem,volume -r zroot/bhyve_old | while read -r dataset; do
    below=${dataset#zroot/bhyve_old}
    [ -z "$below" ] || zfs send "$dataset@hamburger" | zfs receive "zroot/bhyve$below"
done
zfs mount -a
for folder in .config .img .templates .iso; do cp -Rp /bhyve_old/$folder /zroot/bhyve; done
zfs destroy -r zroot/bhyve_old
