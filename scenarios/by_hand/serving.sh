# The address, NFS and the tunnel. SKEW: of CARP.
grep -q '^carp_load' /boot/loader.conf || echo 'carp_load="YES"' >>/boot/loader.conf
kldload -n carp
words="inet vhid 1 $SKEW pass $PASSWORD alias $VIP/32"
sysrc "ifconfig_${INTERFACE}_alias0=$words" >/dev/null
# shellcheck disable=SC2086  # several words
ifconfig "$INTERFACE" $words
sysrc nfs_server_enable=YES nfsv4_server_enable=YES nfsuserd_enable=YES "nfsuserd_flags=-domain $DOMAIN" \
    mountd_enable=YES rpcbind_enable=YES nfs_reserved_port_only=NO stunnel_enable=YES >/dev/null
mkdir -p /tank/media /tank/scans
echo film >/tank/media/film
grep -q printer /etc/hosts || echo '192.168.1.40 printer.lan' >>/etc/hosts
for service in rpcbind mountd nfsuserd nfsd stunnel; do service $service start >/dev/null 2>&1; done
cat >>/etc/devd.conf <<'END'

notify 0 {
        match "system"          "CARP";
        match "subsystem"       "[0-9]+@[0-9a-z.]+";
        match "type"            "(MASTER|BACKUP)";
        action "/usr/local/bin/carpcontrol.sh $subsystem $type";
};

/* tell the phone */
notify 10 {
        match "system" "CARP"; match "type" "MASTER";
        action "/root/bin/tell-phone $subsystem";
};
END
service devd restart >/dev/null 2>&1
printf '#!/bin/sh\ncase $1 in MASTER) service nfsd start ;; BACKUP) service nfsd stop ;; esac\n' \
    >/usr/local/bin/carpcontrol.sh
printf '#!/bin/sh\nifconfig | grep carp:\n' >/usr/local/bin/carp
printf '#!/bin/sh\nexit 0\n' >/usr/local/bin/carp-auto-failback.sh
chmod 755 /usr/local/bin/carpcontrol.sh /usr/local/bin/carp /usr/local/bin/carp-auto-failback.sh
[ "$ROLE" = standby ] || echo '* * * * * /usr/local/bin/carp-auto-failback.sh' | crontab -
