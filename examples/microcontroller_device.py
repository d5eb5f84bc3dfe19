"""A device of a fleet with what a microcontroller has: it applies what it should have, and reports that.

micropython microcontroller_device.py http://HOST:PORT TOKEN DEVICE FILE

FILE keeps what it has applied and the position, so that after a restart only what is different comes.
"""

import json
import os
import sys

from microcontroller import WebSocket, again_and_again


def apply(name, value):  # returns why not; a value of None means that the name is gone
    print(name, "=", value)
    return None if value != "impossible" else "not on this device"


def load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {"have": {}}


def save(path, store):
    with open(path + ".new", "w") as file:
        json.dump(store, file)
    os.rename(path + ".new", path)


def follow(address, token, device, path):
    store, stale, news = load(path), set(), False
    have = store["have"]
    gateway = WebSocket(address, token)
    try:
        gateway.send("configuration/subscribe", deviceId=device, since=store.get("position"), frameBytes=4096)
        while True:
            message = gateway.receive()
            if message.get("code", 429) != 429:
                raise ValueError(message["error"])
            if "mode" in message:  # the answer: names that the coming state has not are gone
                stale, news = set() if message["mode"] == "resumed" else set(have), True
            changed = message.get("configurations", []) + [message[key] for key in message if key == "configuration"]
            if message.get("last"):
                there = [each["name"] for each in changed]
                changed += [{"name": name, "value": None, "tag": None} for name in stale if name not in there]
            for each in changed:
                name, tag = each["name"], each["tag"]
                row = have.pop(name, {})
                stale.discard(name)
                if row.get("tag") != tag:
                    row, news = {"name": name, "tag": tag, "error": apply(name, each["value"])}, True
                if tag:
                    have[name] = row
            if "position" in message:
                store["position"] = message["position"]
                if news:
                    save(path, store)
                    gateway.send("device/report", deviceId=device, report=list(have.values()), complete=True)
                    news = False
    finally:
        gateway.socket.close()


if __name__ == "__main__":
    again_and_again(lambda: follow(*sys.argv[1:]))
