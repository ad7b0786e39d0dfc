# A client as the how-to leaves it: its stunnel has no certificate, its line in fstab another path than the export's.
dnf install -y stunnel nfs-utils
mkdir -p /data/nfs/k3svolumes
cat >/etc/stunnel/stunnel.conf <<END
cert = /etc/stunnel/client-key.pem
CAfile = /etc/stunnel/ca-cert.pem
client = yes
verify = 2

[nfs-ha]
accept = 127.0.0.1:2323
connect = $VIP:2323
END
echo '127.0.0.1:/data/nfs/k3svolumes /data/nfs/k3svolumes nfs4 port=2323,_netdev,soft,timeo=150 0 0' >>/etc/fstab
cat >/usr/local/bin/check-nfs-mount.sh <<'END'
#!/bin/bash
[ -f /run/nfs-mount-check.lock ] && exit 0
touch /run/nfs-mount-check.lock /run/nfs-mount.state
END
chmod 755 /usr/local/bin/check-nfs-mount.sh
touch /run/nfs-mount-check.lock /run/nfs-mount.state
cat >/etc/systemd/system/nfs-mount-monitor.service <<'END'
[Unit]
Description=NFS mount monitor

[Service]
Type=oneshot
ExecStart=/usr/local/bin/check-nfs-mount.sh
END
cat >/etc/systemd/system/nfs-mount-monitor.timer <<'END'
[Unit]
Description=NFS mount monitor

[Timer]
OnBootSec=30s
OnUnitActiveSec=10s

[Install]
WantedBy=timers.target
END
systemctl daemon-reload
