#!/bin/sh
# Put a value, read it, and meet a conflict: Hivewire over HTTP, with nothing but curl.
#
#     HIVEWIRE_PASSWORD=... ./put_and_read.sh
#
# HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
# HIVEWIRE_TOKEN   an access token; or else
# HIVEWIRE_LOGIN   whom to log in as (admin; neither it nor the password may have " or \ in it here), with
# HIVEWIRE_PASSWORD
set -eu

api=${HIVEWIRE_URL:-http://127.0.0.1:8080}/api/rest
name=example.greeting

# Log in. The password goes through standard input, where no other user of this machine can see it.
token=${HIVEWIRE_TOKEN:-}
if [ -z "$token" ]; then
    [ -n "${HIVEWIRE_PASSWORD:-}" ] || { echo "set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN" >&2; exit 1; }
    reply=$(printf '{"login":"%s","password":"%s"}' "${HIVEWIRE_LOGIN:-admin}" "$HIVEWIRE_PASSWORD" |
        curl -s --fail-with-body -H 'Content-Type: application/json' --data-binary @- "$api/token") ||
        { echo "login failed: ${reply:-cannot reach $api}" >&2; exit 1; }
    token=$(echo "$reply" | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')
fi

# call METHOD [curl options]: one request for the configuration, with the token read from standard input as well.
call() {
    method=$1
    shift
    printf 'header = "Authorization: Bearer %s"\n' "$token" |
        curl -sS --config - -X "$method" -H 'Content-Type: application/json' "$@" "$api/configuration/$name" || exit 1
    echo
}

echo "put:"
call PUT --fail-with-body -d '{"value":"good morning"}'

echo "read:"
call GET --fail-with-body

# The ETag is the version. A put with If-Match is made only if that is still the current one.
version=$(call GET --fail-with-body | sed 's/.*"entityVersion":\([0-9]*\).*/\1/')

echo "put, if version $version is still there:"
call PUT --fail-with-body -H "If-Match: \"$version\"" -d '{"value":"good day"}'

echo "the same once more, which is too late (412, with the change that was in the way):"
call PUT -w '%{http_code}' -H "If-Match: \"$version\"" -d '{"value":"good evening"}'
