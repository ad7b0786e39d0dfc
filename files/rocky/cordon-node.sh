#!/bin/bash
# cordon-node.sh failed|recovered MOUNTPOINT STATE FAILURES
#
# For client_escalate_command, which has tasks/clients.py install it; called by check-nfs-mount.sh. A Kubernetes node whose
# NFS mount has been unusable for too long takes no new pods, until all of its mounts are usable again. What runs on it is
# left alone: pods that wait in a hard mount go on when the server is back, while evicting them could lose what they have
# written.
#
# A node that somebody cordoned by hand before stays cordoned. Needs kubectl in PATH and, in $KUBECONFIG or the file
# below, an account that may get and patch this node; a k3s agent has none of its own.
set -u -o pipefail
# kubectl may be in /usr/local/bin, which sudo's secure_path on Enterprise Linux does not have
PATH=$PATH:/usr/local/bin

STATE_DIR=/var/lib/f3s/cordoned # kept over a reboot, like the node's own state in the cluster
NODE=${NODE_NAME:-$HOSTNAME}
export KUBECONFIG=${KUBECONFIG:-/etc/f3s/kubeconfig}

if [[ $# -lt 2 || ! $1 =~ ^(failed|recovered)$ || $2 != /* ]]; then
    echo "usage: ${0##*/} failed|recovered MOUNTPOINT [STATE FAILURES]" >&2
    exit 64
fi
mark=${2#/}
mark=$STATE_DIR/${mark//\//%}
kube() { kubectl --request-timeout=20s "$@"; }

mkdir -p -- "$STATE_DIR" || exit 1
if [[ $1 == failed ]]; then
    if [[ -z $(ls -A -- "$STATE_DIR") ]]; then
        cordoned=$(kube get node "$NODE" -o 'jsonpath={.spec.unschedulable}') || exit 1
        if [[ $cordoned == true ]]; then
            echo "$NODE is cordoned already, by somebody else: left to them"
            exit 0
        fi
    fi
    # The mark comes first, and on the disk: if this is cut off, the node is still uncordoned in the end
    : >"$mark" && sync -- "$mark" || exit 1
    kube cordon "$NODE"
else
    [[ -e $mark ]] || exit 0
    if [[ $(ls -A -- "$STATE_DIR") == "${mark##*/}" ]]; then
        kube uncordon "$NODE" || exit 1
    fi
    rm -f -- "$mark"
fi
