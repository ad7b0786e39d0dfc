"""Rocky Linux 9 hosts: systemd, packages, SELinux, and NFS mounts whose state follows from servers and tunnel."""
