#!/bin/sh
# Asks a TLS server twice who it is: once with a client certificate, once without one. Changes nothing.
#
# usage: tls-answer.sh ADDRESS PORT NAME CERT_FILE CA_FILE
#
# NAME has to be in the server's certificate, which a CA of CA_FILE has signed; CERT_FILE has the client's
# certificate and key. Prints the client's own certificate, and a section for each question: the exit status of openssl,
# the served certificate, and why a handshake failed. Nothing else of what s_client prints: there are keys of the session
# in it.
#
# TLS 1.2, because there a server answers to the client's certificate within the handshake; in 1.3 (RFC 8446, 4.4.2.4)
# the client is done before the server has looked at it, and its refusal comes later, if anybody waits for it.
set -eu
LC_ALL=C
export LC_ALL
if [ $# -ne 5 ]; then
    echo "usage: tls-answer.sh ADDRESS PORT NAME CERT_FILE CA_FILE" >&2
    exit 64
fi
address=$1 port=$2 name=$3 cert=$4 ca=$5
if ! command -v openssl >/dev/null; then
    echo "tls-answer: openssl is missing" >&2
    exit 1
fi
for file in "$cert" "$ca"; do
    if [ ! -r "$file" ]; then
        echo "tls-answer: $file is missing or cannot be read" >&2
        exit 1
    fi
done

ask() {
    status=0
    said=$(timeout -k 1 10 openssl s_client -connect "$address:$port" -tls1_2 -CAfile "$ca" -verify_hostname "$name" \
        -verify_return_error "$@" 2>&1 </dev/null) || status=$?
    echo "rc $status"
    printf '%s\n' "$said" | sed -n \
        -e '/^-----BEGIN CERTIFICATE-----$/,/^-----END CERTIFICATE-----$/p' \
        -e '/^verify error:/p' -e '/errno=/p' -e '/^connect:/p' -e '/ alert /p' -e '/^not[AB]/p' -e '/unexpected eof/p'
}

echo "=== own"
openssl x509 -in "$cert"
echo "=== known"
ask -cert "$cert" -key "$cert"
echo "=== stranger"
ask
