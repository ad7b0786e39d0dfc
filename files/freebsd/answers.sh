#!/bin/sh
# Installed as /usr/local/libexec/f3s/answers: does what serves answer, end to end? Changes nothing.
#
# usage: answers nfs NAME    asks nfsd for an entry of the NFSv4 root; prints the fsid that clients see, as `mount -v` does
#        answers tls PORT    asks the tunnel for its certificate
#        answers record ADDRESS:PORT NAME    asks the other host's tunnel, which has a certificate for NAME, who may write
#
# Exit status: 0 it answers, 1 it answers something else, 3 no answer, 64 usage.
LC_ALL=C
export LC_ALL
WAIT=5	# seconds for an answer
THINK=2	# of them until nc says that nothing else is coming

usage() {
	echo "usage: ${0##*/} nfs NAME | tls PORT | record ADDRESS:PORT NAME" >&2
	exit 64
}

byte() {
	# shellcheck disable=SC2059	# an octal escape
	printf "\\$(printf '%03o' "$1")"
}

# An RPC call (RFC 5531) of root by AUTH_SYS with a COMPOUND of NFS 4.0 (RFC 7530): PUTROOTFH, SAVEFH, LOOKUP NAME, GETATTR
# of the fsid. The first word is the record mark: the last fragment, and its size. Below a root that is not exported nfsd
# allows lookups all the same, but not SAVEFH (sys/fs/nfsserver/nfs_nfsdsocket.c).
question() {
	padding=$(((4 - ${#1} % 4) % 4))
	size=$((100 + ${#1} + padding))
	printf '\200\0'
	byte $((size / 256))
	byte $((size % 256))
	printf 'f3s1\0\0\0\0\0\0\0\2\0\1\206\243\0\0\0\4\0\0\0\1'	# xid, CALL, RPC 2, program 100003, version 4, COMPOUND
	printf '\0\0\0\1\0\0\0\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'	# AUTH_SYS: no name, uid 0, gid 0, no groups
	printf '\0\0\0\0\0\0\0\0'	# no verifier
	printf '\0\0\0\0\0\0\0\0\0\0\0\4'	# no tag, minor version 0, four operations
	printf '\0\0\0\30\0\0\0\40\0\0\0\17\0\0\0'
	byte "${#1}"
	printf '%s' "$1"
	while [ "$padding" -gt 0 ]; do
		printf '\0'
		padding=$((padding - 1))
	done
	printf '\0\0\0\11\0\0\0\1\0\0\1\0'
}

nfs() {
	# -N: nfsd hangs up when nc does. Who hangs up at once may get no answer (seen), hence the pause
	reply=$({ question "$1"; sleep "$THINK"; } | nc -N -w "$WAIT" 127.0.0.1 2049 2>/dev/null | od -An -v -tx1 | tr -d ' \n')
	accepted=663373310000000100000000000000000000000000000000	# our xid, REPLY, accepted, no verifier, done
	all=000000000000000000000004	# NFS4_OK, no tag, four results
	fine=000000180000000000000020000000000000000f0000000000000009000000000000000100000100	# each of them good, then the attributes
	case ${reply#????????} in	# without the record mark
	'')
		echo "nfsd does not answer on 127.0.0.1:2049"
		return 3
		;;
	"$accepted$all$fine"00000010*)
		printf '%s\n' "${reply#????????"$accepted$all$fine"00000010}" |
			sed -E 's/^0{8}(..)(..)(..)(..)0{8}(..)(..)(..)(..)$/\4\3\2\1\8\7\6\5/'
		;;
	"$accepted"*)
		status=$(printf '%s\n' "${reply#????????"$accepted"}" | cut -c 1-8)
		echo "nfsd refuses $1 of its NFSv4 root, status $((0x$status))"
		return 1
		;;
	*)
		echo "nfsd refuses the call: $reply"
		return 1
		;;
	esac
}

tls() {
	said=$(timeout -k 1 "$WAIT" openssl s_client -connect "127.0.0.1:$1" </dev/null 2>&1)
	case $said in
	*'BEGIN CERTIFICATE'*) ;;
	*)
		echo "stunnel does not answer on 127.0.0.1:$1"
		return 3
		;;
	esac
}

# What storage-control says there (stunnel's service [record]). It comes from whoever has a certificate of the site's CA.
record() {
	said=$(timeout -k 1 "$WAIT" openssl s_client -quiet -connect "$1" -CAfile /usr/local/etc/stunnel/ca-cert.pem \
		-verify_return_error -verify_hostname "$2" </dev/null 2>/dev/null)
	if [ -z "$said" ]; then
		echo "no answer from $1"
		return 3
	fi
	printf '%s\n' "$said"
}

case $#:${1-} in
2:nfs | 2:tls | 3:record) "$@" ;;
*) usage ;;
esac
