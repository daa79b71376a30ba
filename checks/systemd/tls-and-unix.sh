# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of and for the script that uses this file
# TLS and UNIX sockets under systemd, a part of systemd.sh: who may read the key, certificates
# that are renewed, who may open a socket, and what is left of it after a kill.

need openssl

# give FILE MODE OWNER: standard input, as a file in the container; it replaces another one at
# once, as programs that renew certificates do.
give() {
  # shellcheck disable=SC2016 # expanded in the container
  timeout 60 docker exec --interactive "$machine" sh -c \
    'mkdir -p "${0%/*}" && cat >"$0.new" && chown "$2" "$0.new" && chmod "$1" "$0.new" && mv "$0.new" "$0"' "$@"
}

# as_nobody COMMAND…: in the container, as a user who has nothing to do with the service; with
# $group, in that group.
group=''
as_nobody() {
  local groups=(--clear-groups)
  if [[ -n $group ]]; then groups=("--groups=$group"); fi
  inside setpriv --reuid 65534 --regid 65534 "${groups[@]}" "$@"
}

# is_same_process PID
is_same_process() { [[ $(property MainPID) == "$1" && $(property ActiveState) == active ]]; }

# asks NAME CURL_ARGUMENT…: asks in the container, again and again until /tmp/NAME.stop is
# there; then prints what failed, and at the end how many were answered.
asks() {
  # shellcheck disable=SC2016 # expanded in the container
  inside sh -c 'stop=/tmp/$0.stop; n=0; rm -f "$stop"
    until [ -e "$stop" ]; do if curl -fsS --max-time 60 -o /dev/null "$@"; then n=$((n + 1)); else echo failed; fi; done
    echo "$n"' "$@" >"$work/$1.asked" 2>&1
}

# restarts_under NAME CURL_ARGUMENT…: restarts it three times meanwhile; nothing may fail.
# shellcheck disable=SC2317,SC2329 # called by check
restarts_under() {
  asks "$@" &
  local asking=$!
  for _ in 1 2 3; do
    sleep 1
    inside systemctl restart nixery.service || return
  done
  inside touch "/tmp/$1.stop"
  wait "$asking"
  cat "$work/$1.asked"
  (($(wc -l <"$work/$1.asked") == 1 && $(cat "$work/$1.asked") > 10))
}

# --- Certificates ---------------------------------------------------------------------------

mkdir "$work/tls"
ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${ec[@]}" -days 2 -subj /CN=authority -keyout "$work/tls/ca.key" -out "$work/tls/ca" 2>"$work/output" \
  || die "there is no authority: $(<"$work/output")"
# certificate NUMBER: for localhost, with this serial number, and its key.
certificate() {
  openssl req "${ec[@]}" -subj /CN=localhost -keyout "$work/tls/$1.key" -out "$work/tls/$1.csr" 2>/dev/null
  openssl x509 -req -in "$work/tls/$1.csr" -CA "$work/tls/ca" -CAkey "$work/tls/ca.key" -set_serial "$1" -days 2 \
    -extfile <(echo subjectAltName=DNS:localhost) -out "$work/tls/$1" 2>/dev/null || die "there is no certificate"
}
for number in 1 2 3 4; do certificate "$number"; done

by_tls=(-fsS --noproxy '*' --max-time 60 --cacert "$work/tls/ca")
fetch_by_tls() { curl "${by_tls[@]}" "https://localhost:$port$1"; }
# is_shown NUMBER: whether new connections get that certificate.
is_shown() {
  openssl s_client -connect "localhost:$port" -servername localhost -CAfile "$work/tls/ca" -verify_return_error </dev/null 2>&1 \
    | openssl x509 -noout -serial | grep -qx "serial=0$1"
}

# --- TLS, with files that only root may read --------------------------------------------------

install_units tls
port=$(free_port 8443)
override port "Environment=PORT=$port"
give /run/secrets/nixery.pem 600 root <"$work/tls/1"
give /run/secrets/nixery.key 600 root <"$work/tls/1.key"
check "TLS: the units are right" inside sh -c 'systemd-analyze verify /etc/systemd/system/nixery*.service'
check "it starts with a key that only root may read" inside systemctl start nixery.service
check "a client that knows the authority is served" fetch_by_tls /readyz
refused "one that doesn't refuses the server" "certificate" curl -fsS --noproxy '*' "https://localhost:$port/readyz"
prints "one without TLS is told to use it" "https://" curl -sS --noproxy '*' "http://localhost:$port/readyz"
check "what was kept is served by TLS" fetch_by_tls /v2/shell/jq/manifests/latest
check "docker pulls by TLS" docker pull "localhost:$port/shell/jq"
check "the server isn't root" is_confined
refused "nobody else can read what systemd has handed over" "denied" as_nobody cat /run/credentials/nixery.service/tls-key
before=$(property MainPID)
give /run/secrets/nixery.pem 600 root <"$work/tls/2"
give /run/secrets/nixery.key 600 root <"$work/tls/2.key"
check "systemctl reload" inside systemctl reload nixery.service
check "… keeps the server, and the copies that systemd made at its start" is_same_process "$before"
check "… which are still shown" is_shown 1
check "systemctl restart" inside systemctl restart nixery.service
check "… shows the renewed certificate" is_shown 2

# --- TLS, with files that change ----------------------------------------------------------------

install_units renewed
port=$(free_port 8444)
inside sed -i "s/=8443/=$port/" /etc/systemd/system/nixery.socket
inside groupadd --force nixery-tls
inside install -d -m 750 -g nixery-tls /var/lib/acme/localhost
override tls SupplementaryGroups=nixery-tls
# renew NUMBER: the key first, so that for a moment they don't belong to each other.
renew() {
  give /var/lib/acme/localhost/key.pem 640 root:nixery-tls <"$work/tls/$1.key"
  give /var/lib/acme/localhost/fullchain.pem 640 root:nixery-tls <"$work/tls/$1"
}
renew 1
inside systemctl daemon-reload
inside systemctl start nixery.socket
check "TLS at systemd's socket: the first connection starts it" fetch_by_tls /readyz
check "… with a key that only a group may read" is_shown 1
before=$(property MainPID)
renew 2
check "a renewed certificate is shown within some seconds" wait_until 20 "$dockerd" is_shown 2
renew 3
inside systemctl reload nixery.service
check "… and at once after systemctl reload" wait_until 2 "$dockerd" is_shown 3
echo nonsense | give /var/lib/acme/localhost/fullchain.pem 640 root:nixery-tls
check "with one that is none, systemctl reload" inside systemctl reload nixery.service
check "… keeps the one that there is" wait_until 2 "$dockerd" is_shown 3
check "… which the journal says" journal '.MESSAGE | tostring | test("keeping the certificate that there is")'
renew 4
check "the next one is shown again" wait_until 20 "$dockerd" is_shown 4
check "all in the same process" is_same_process "$before"
give /tmp/ca 644 root <"$work/tls/ca"
check "no client by TLS is refused while it is restarted" restarts_under tls --cacert /tmp/ca "https://localhost:$port/v2/"

# --- A UNIX socket of the server's ----------------------------------------------------------------

socket=/run/nixery/nixery.sock
ask_socket() { inside curl -fsS --max-time 60 --unix-socket "$socket" "http://nixery$1"; }
# socket_is MODE OWNER: of the socket, the owner in numbers.
# shellcheck disable=SC2317,SC2329 # called by check
socket_is() {
  inside stat -c '%F %a %u:%g' "$socket"
  [[ $(inside stat -c '%F %a %u:%g' "$socket") == "socket $1 $2" ]]
}
# ids: of the server's user and group, which are there only while it runs.
ids() { inside sed -n 's/^[UG]id:\t\([0-9]*\).*/\1/p' "/proc/$(property MainPID)/status" | xargs | tr ' ' :; }

install_units unix
check "UNIX socket: the units are right" inside sh -c 'systemd-analyze verify /etc/systemd/system/nixery*.service'
inside systemctl start nixery.service
check "it is the server's own, and its group's" socket_is 660 "$(ids)"
check "what was kept is served there" ask_socket /v2/shell/jq/manifests/latest
group=''
refused "nobody else may connect" "connect" as_nobody curl -fsS --unix-socket "$socket" http://nixery/readyz
group=$(inside stat -c %g "$socket")
check "who is in the group may" as_nobody curl -fsS --unix-socket "$socket" http://nixery/readyz
main=$(property MainPID)
inside systemctl kill --kill-who=main --signal=KILL nixery.service
wait_until 60 "$dockerd" is_another
check "after a kill it listens there again" ask_socket /readyz
check "… for the same" socket_is 660 "$(ids)"
inside systemctl stop nixery.service
refused "after systemctl stop the socket is gone" "No such file" inside ls "$socket"

# Where systemd doesn't remove the directory, what a killed server has left is in the way.
socket=/var/lib/nixery/nixery.sock
override elsewhere "Environment=NIXERY_SOCKET=$socket" Restart=no
inside systemctl start nixery.service
inside systemctl kill --kill-who=main --signal=KILL nixery.service
# shellcheck disable=SC2317,SC2329 # called by wait_until
is_down() { [[ $(property ActiveState) == failed ]]; }
wait_until 20 "$dockerd" is_down
check "a socket that a killed server has left" inside test -S "$socket"
check "… doesn't keep the next one from starting" inside systemctl start nixery.service
check "… which serves there" ask_socket /readyz

# --- A UNIX socket of systemd's ---------------------------------------------------------------------

install_units proxied
socket=/run/nixery.sock
inside groupadd --force proxy-clients
inside sh -c 'mkdir -p /etc/systemd/system/nixery.socket.d
  printf "[Socket]\nSocketGroup=proxy-clients\n" >/etc/systemd/system/nixery.socket.d/group.conf; systemctl daemon-reload'
check "UNIX socket of systemd's: the units are right" \
  inside sh -c 'systemd-analyze verify /etc/systemd/system/nixery*.*[a-ce-z]'
inside systemctl start nixery.socket
group=$(inside getent group proxy-clients | cut -d : -f 3)
check "it is root's, and the proxy's group's" socket_is 660 "0:$group"
result "$([[ $(property ActiveState) == inactive ]] && echo 1 || echo 0)" "… without a server"
check "the first connection of who is in the group starts it" as_nobody curl -fsS --unix-socket "$socket" http://nixery/readyz
group=''
refused "nobody else may connect to it" "connect" as_nobody curl -fsS --unix-socket "$socket" http://nixery/readyz
check "what was kept is served there, too" ask_socket /v2/shell/jq/manifests/latest
check "no client there is refused while it is restarted" restarts_under unix --unix-socket "$socket" http://nixery/v2/
main=$(property MainPID)
inside systemctl kill --kill-who=main --signal=KILL nixery.service
check "nor after a kill" ask_socket /readyz
check "… by another process" is_another
