#!/bin/sh
# Simulates 200 devices: some refuse a value, some fall silent after it. A rollout holds itself, and is rolled back.
# It needs a running gateway, a login (`hivewire login`) and Python with the package hivewire-client.
set -eu
here=$(dirname "$0")
layer=example-fleet
devices=${DEVICES:-200}

cleanup() {
    kill "$simulation" 2>/dev/null || true
    wait "$simulation" 2>/dev/null || true # it deletes its devices
    hivewire layer delete $layer --force >/dev/null 2>&1 || true
}

hivewire layer put $layer 4711 --label "fleet=$layer" >/dev/null
hivewire put baud 4800 --layer $layer >/dev/null
python3 "$here/fleet_devices.py" "$devices" "$layer" &
simulation=$!
trap cleanup EXIT

until [ "$(hivewire fleet count --label "fleet=$layer" --json | sed 's/.*"applied":\([0-9]*\).*/\1/')" = "$devices" ]; do
    kill -0 "$simulation" # ends here when the devices do
    sleep 0.5
done
echo "All $devices devices have applied 4800. The dashboard shows them: hivewire open"

# Devices refuse what is not a multiple of 4800 up to 38400, and 57600 silences some of them.
number=$(hivewire rollout start $layer baud=57600 --steps 50,100 --wait 1 --silent 2 --success 99 -o value)
echo "Rollout $number shows 57600 to half of them."
until [ "$(hivewire rollout status "$number" -o value)" = held ]; do
    kill -0 "$simulation" # ends here when the devices do
    sleep 0.5
done
hivewire rollout status "$number" --json | sed 's/.*"reason":"\(.*\)","counts.*/It holds itself: \1/; s/\\"/"/g'
hivewire rollout rollback "$number"
until [ "$(hivewire fleet count --label "fleet=$layer" --json | sed 's/.*"pending":\([0-9]*\).*/\1/')" -le "$((devices / 20))" ]; do
    kill -0 "$simulation" # ends here when the devices do
    sleep 0.5
done
echo "The devices have 4800 again; nothing was written into the layer but that."
