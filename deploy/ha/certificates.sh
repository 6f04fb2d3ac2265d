#!/bin/sh
# Make a small CA for this cluster's own traffic, and a certificate for each of the three hosts:
# sh certificates.sh SITE.env FOLDER
# ca.key stays here (then: in a safe); a host gets ca.pem, and its own NAME.pem and NAME.key as host.pem and host.key.
set -eu
umask 077
site=$1 folder=$2
. "$site"
mkdir -p "$folder"
cd "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Chopmark database CA" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
  -keyout ca.key -out ca.pem 2>/dev/null
for pair in "db1 $DB1" "db2 $DB2" "db3 $DB3"; do
  set -- $pair
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$1.key" -out "$1.csr" 2>/dev/null
  printf 'subjectAltName=DNS:%s,IP:%s,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' "$1" "$2" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 1825 -extfile "$1.ext" \
    -out "$1.pem" 2>/dev/null
  rm "$1.csr" "$1.ext"
done
