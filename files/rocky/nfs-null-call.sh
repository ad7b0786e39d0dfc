#!/bin/bash
# nfs-null-call.sh HOST PORT
#
# Ask the NFS server behind HOST:PORT to do nothing (RPC program 100003, version 4, procedure NULL; RFC 5531) and wait
# for its reply. stunnel accepts a connection whether or not its far end is there, so only an answer from the server
# proves the whole path: local stunnel, TLS with both certificates, remote stunnel, nfsd. No mount is touched.
#
# Exit status: 0 the server answered; 1 connected, but no answer; 2 nobody accepts connections; 64 usage.
# It waits at most 3 s for the reply. For a remote HOST bound the connect as well, with timeout(1).
set -u
export LC_ALL=C

if [[ $# -ne 2 || ! $2 =~ ^[0-9]+$ ]]; then
    echo "usage: ${0##*/} HOST PORT" >&2
    exit 64
fi

if ! { exec 3<>"/dev/tcp/$1/$2"; } 2>/dev/null; then
    echo "nothing accepts connections on $1 port $2"
    exit 2
fi

# Record mark (last fragment, 40 bytes), then xid, CALL, RPC version 2, program, version, procedure, and two empty
# AUTH_NONE structures for credentials and verifier. SIGPIPE when the tunnel has hung up already is "no answer", too.
trap '' PIPE
printf '%b' '\x80\x00\x00\x28' '\x66\x33\x73\x01' '\x00\x00\x00\x00' '\x00\x00\x00\x02' \
    '\x00\x01\x86\xa3' '\x00\x00\x00\x04' '\x00\x00\x00\x00' \
    '\x00\x00\x00\x00\x00\x00\x00\x00' '\x00\x00\x00\x00\x00\x00\x00\x00' 2>/dev/null >&3

# Of the reply only the beginning matters: record mark, our xid, REPLY (1).
reply=$(timeout -k 1 3 head -c 12 <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \n')
if [[ ${reply:8} == 6633730100000001 ]]; then
    exit 0
fi
echo "$1 port $2 accepts connections, but no NFS server answers through it"
exit 1
