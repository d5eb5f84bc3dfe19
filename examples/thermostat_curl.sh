#!/bin/sh
# A thermostat, with nothing but curl: a device that reports its temperature and obeys the command `set`.
#
#     HIVEWIRE_PASSWORD=... ./thermostat_curl.sh thermostat-3 5
#
# The second argument is the time between two reports, 1 to 60 seconds: so long a request for commands waits. A command
# that is sent while the thermostat is off or without a connection waits at the gateway for a day. The file of the
# thermostat (thermostat-3.state) says how far it has come, so that it obeys every command, and in order, also after a
# restart. One that it was busy with when it was cut off is done again.
#
# HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
# HIVEWIRE_TOKEN   an access token; or else
# HIVEWIRE_LOGIN   whom to log in as (admin; neither it nor the password may have " or \ in it here), with
# HIVEWIRE_PASSWORD
set -eu
export LC_ALL=C  # decimal points

api=${HIVEWIRE_URL:-http://127.0.0.1:8080}/api/rest
device=${1:-thermostat-3}
every=${2:-5}
state=$device.state
temperature=20.0

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

report() {
    temperature=$(awk -v now="$temperature" -v target="$target" 'BEGIN {
        step = target - now
        if (step > 0.5) step = 0.5
        if (step < -0.5) step = -0.5
        printf "%.1f", now + step
    }')
    call POST "/device/$device/notification" \
        -d "{\"notification\":\"temperature\",\"parameters\":{\"temperature\":$temperature,\"target\":$target}}" >/dev/null
}

# Replace the file in one step: after a crash it is the old one or the new one.
save() {
    echo "$target $done" >"$state.new" && mv "$state.new" "$state"
}

# obey COMMAND: do it and say what came of it. Its members stand in the order of the documentation, so that the
# patterns begin at its start: what somebody else wrote into its parameters can look like nothing else.
obey() {
    id=$(echo "$1" | sed -n 's/^\[{"id":\([0-9]*\),.*/\1/p')
    sent=$(echo "$1" | sed -n 's/^\[{"id":[0-9]*,"command":"set","timestamp":"\([^"]*\)".*/\1/p')
    wanted=$(echo "$1" | sed -n 's/.*"parameters":{"target": *\([0-9][0-9.]*\)}.*/\1/p')
    if [ -n "$wanted" ] && awk -v wanted="$wanted" 'BEGIN { exit !(wanted >= 5 && wanted <= 30) }'; then
        target=$(awk -v wanted="$wanted" 'BEGIN { printf "%.1f", wanted }')
        outcome="{\"status\":\"done\",\"result\":{\"target\":$target}}"
    else
        outcome='{"status":"failed","result":{"reason":"the target must be a number from 5 to 30"}}'
    fi
    save || return # before the answer: what is said to be done is done
    case $1 in *'"status":null,"result":null}]') # otherwise it was done before
        call PUT "/device/$device/command/$id" -d "$outcome" || return
        echo "set ${wanted:-?}: $outcome"
        ;;
    esac
    done=$sent
    save
}

# Register, then report and obey until a request fails.
serve() {
    log_in || return
    # A PUT of a device that is there would replace its name and data.
    call GET "/device/$device" >/dev/null 2>&1 || call PUT "/device/$device" -d '{"name":"Thermostat"}' || return
    echo "$device is connected"
    wait=1
    while report; do
        # The oldest command after the last one that is done; if there is none, the request waits for one.
        command=$(call GET "/device/$device/command/poll?names=set&limit=1&timestamp=$done&waitTimeout=$every") || return
        [ "$command" = "[]" ] || obey "$command" || return
    done
}

target=20.0 done=2000-01-01T00:00:00.000 # no command is older
[ ! -e "$state" ] || read -r target done <"$state"
wait=1
while :; do
    serve || echo "next attempt in $wait s" >&2
    sleep "$wait"
    wait=$((wait < 32 ? wait * 2 : 60)) # until it is connected again
done
