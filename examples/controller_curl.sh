#!/bin/sh
# A controller, with nothing but curl: sets a thermostat, and shows its temperature until it is reached.
#
#     HIVEWIRE_PASSWORD=... ./controller_curl.sh thermostat-3 21.5
#
# A thermostat that is off gets the command as soon as it is back. The controller may lose its connection meanwhile: it
# repeats what was not answered, and asks for the temperatures after the last one that it has seen.
#
# HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
# HIVEWIRE_TOKEN   an access token; or else
# HIVEWIRE_LOGIN   whom to log in as (admin; neither it nor the password may have " or \ in it here), with
# HIVEWIRE_PASSWORD
set -eu

[ $# -eq 2 ] || { echo "usage: $0 DEVICE TARGET" >&2; exit 2; }
api=${HIVEWIRE_URL:-http://127.0.0.1:8080}/api/rest
device=$1
target=$2

# Log in. The password goes through standard input, where no other user of this machine can see it.
log_in() {
    token=${HIVEWIRE_TOKEN:-}
    [ -z "$token" ] || return 0
    [ -n "${HIVEWIRE_PASSWORD:-}" ] || { echo "set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN" >&2; exit 1; }
    reply=$(printf '{"login":"%s","password":"%s"}' "${HIVEWIRE_LOGIN:-admin}" "$HIVEWIRE_PASSWORD" |
        curl -s --fail-with-body -m 30 -H 'Content-Type: application/json' --data-binary @- "$api/token") ||
        { echo "login failed: ${reply:-cannot reach $api}" >&2; return 1; }
    token=$(echo "$reply" | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')
}

# call METHOD PATH [curl options]: one request, with the token read from standard input as well.
call() {
    method=$1 path=$2
    shift 2
    printf 'header = "Authorization: Bearer %s"\n' "$token" |
        curl -sS --fail-with-body -m 90 --config - -X "$method" -H 'Content-Type: application/json' "$@" "$api$path"
}

# again COMMAND...: run it until it succeeds, with a new login each time; its output is in `reply`. What is refused with
# 400, 403 or 404 would be refused again.
again() {
    until reply=$("$@"); do
        case $reply in *'"error":4'0[034]*) echo "refused: $reply" >&2; exit 1 ;; esac
        echo "$reply; next attempt in 2 s" >&2
        sleep 2
        log_in || :
    done
}

# Under one key a command is inserted once, however often it is sent.
log_in || exit
key=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
again call POST "/device/$device/command" \
    -d "{\"command\":\"set\",\"parameters\":{\"target\":$target},\"idempotencyKey\":\"$key\"}"
sent=$reply
echo "sent: set $target"
id=$(echo "$sent" | sed 's/^{"id":\([0-9]*\),.*/\1/')
seen=$(echo "$sent" | sed 's/.*"timestamp":"\([^"]*\)".*/\1/')

# The answer comes when the command is updated, or after 60 seconds: then it is empty, and we ask again.
reply=
while [ -z "$reply" ]; do
    again call GET "/device/$device/command/$id/poll?waitTimeout=60"
done
echo "$reply" | sed 's/.*"status":"\([^"]*\)","result":\(.*\)}$/\1: \2/'
case $reply in *'"status":"done"'*) ;; *) exit 1 ;; esac

# The temperatures since the command: those that are stored, and otherwise the next one. `parameters` stand last.
while :; do
    again call GET "/device/$device/notification/poll?names=temperature&timestamp=$seen&waitTimeout=60"
    [ "$reply" != "[]" ] || continue
    last=$(echo "$reply" | sed 's/.*"timestamp":\("[^"]*","parameters":{.*}\)}\]$/\1/')
    seen=$(echo "$last" | sed 's/^"\([^"]*\)".*/\1/')
    now=$(echo "$last" | sed 's/.*"temperature": *\([0-9.]*\).*/\1/')
    echo "$device: $now"
    awk -v now="$now" -v target="$target" 'BEGIN { exit now != target }' && exit 0
done
