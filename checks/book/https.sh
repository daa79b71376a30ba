# shellcheck shell=bash
# shellcheck disable=SC2154 # of tutorial.sh
# What pages take for granted that speak of https://nixery.example.org: nginx in front of
# the server, as the page about proxies configures it, with a certificate of an authority
# that clients on this machine know. Sourced by the pages' shell.

mkdir -p /etc/ssl/private /etc/docker/certs.d/nixery.example.org
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=An authority' \
  -keyout "$HOME/ca.key" -out "$HOME/ca.crt" &&
  openssl req -newkey rsa:2048 -nodes -subj /CN=nixery.example.org \
    -keyout /etc/ssl/private/nixery.key -out "$HOME/nixery.csr" &&
  openssl x509 -req -in "$HOME/nixery.csr" -CA "$HOME/ca.crt" -CAkey "$HOME/ca.key" -CAcreateserial -days 2 \
    -extfile <(echo subjectAltName=DNS:nixery.example.org) -out /etc/ssl/nixery.pem || return
cat "$HOME/ca.crt" >>/etc/ssl/certs/ca-certificates.crt
cp "$HOME/ca.crt" /etc/docker/certs.d/nixery.example.org/ca.crt

{
  echo "daemon off; pid $HOME/nginx.pid; error_log stderr; events { }"
  echo 'http { access_log off;'
  awk '/^```nginx$/ { inside = 1; next } /^```$/ && inside { exit } inside' book/src/how-to/reverse-proxies.md
  echo '}'
} >"$HOME/nginx.conf"
nginx -c "$HOME/nginx.conf" &
timeout 10 bash -c 'until curl -fsS https://nixery.example.org/healthz; do sleep 0.2; done'
