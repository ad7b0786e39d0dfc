# A CA, a certificate of the server and one of a client, in the folder of stunnel.
cd /usr/local/etc/stunnel
mkdir -p ca
printf '[req]\ndistinguished_name = none\n[none]\n' >ca/openssl.cnf
export OPENSSL_CONF=/usr/local/etc/stunnel/ca/openssl.cnf
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=by-hand -addext basicConstraints=critical,CA:TRUE \
    -keyout ca/ca-key.pem -out ca/ca-cert.pem 2>&1
for name in server $CLIENT; do
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$name-key.pem" -out "$name.csr" 2>&1
    openssl x509 -req -in "$name.csr" -CA ca/ca-cert.pem -CAkey ca/ca-key.pem -CAcreateserial -days 365 \
        -out "$name-cert.pem" 2>&1
done
