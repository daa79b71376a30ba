# shellcheck shell=bash
# shellcheck disable=SC2154 # of tutorial.sh
# What pages take for granted that speak of https://nixery.example.org: nginx in front of
# the server, as the page about proxies configures it, with a certificate of an authority
# that clients on this machine know; and of https://git.example.org, which has what is in
# ~/git for those who know the password. Sourced by the pages' shell.

mkdir -p /etc/ssl/private /etc/docker/certs.d/nixery.example.org
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=An authority' \
  -keyout "$HOME/ca.key" -out "$HOME/ca.crt" &&
  openssl req -newkey rsa:2048 -nodes -subj /CN=nixery.example.org \
    -keyout /etc/ssl/private/nixery.key -out "$HOME/nixery.csr" &&
  openssl x509 -req -in "$HOME/nixery.csr" -CA "$HOME/ca.crt" -CAkey "$HOME/ca.key" -CAcreateserial -days 2 \
    -extfile <(echo subjectAltName=DNS:nixery.example.org,DNS:git.example.org) -out /etc/ssl/nixery.pem || return
cat "$HOME/ca.crt" >>/etc/ssl/certs/ca-certificates.crt
cp "$HOME/ca.crt" /etc/docker/certs.d/nixery.example.org/ca.crt

{
  echo "user root; daemon off; pid $HOME/nginx.pid; error_log stderr; events { }"
  echo 'http { access_log off;'
  # Instead of directories that nginx has where it is installed.
  for use in client_body proxy fastcgi scgi uwsgi; do echo "${use}_temp_path $HOME/nginx-$use;"; done
  awk '/^```nginx$/ { inside = 1; next } /^```$/ && inside { exit } inside' \
    "$repository/book/src/how-to/reverse-proxies.md"
  cat <<END
    server {
      listen 443 ssl;
      server_name git.example.org;
      ssl_certificate /etc/ssl/nixery.pem;
      ssl_certificate_key /etc/ssl/private/nixery.key;
      auth_basic "Git";
      auth_basic_user_file $HOME/htpasswd;
      root $HOME/git;
    }
  }
END
} >"$HOME/nginx.conf"
echo "nixery:$(openssl passwd -apr1 SECRET)" >"$HOME/htpasswd"
nginx -c "$HOME/nginx.conf" &
timeout 10 bash -c 'until curl -fsS https://nixery.example.org/healthz || [[ $? = 22 ]]; do sleep 0.2; done'
