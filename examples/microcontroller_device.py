"""A device of a fleet with what a microcontroller has: it applies what it should have, and reports that.

micropython microcontroller_device.py http://HOST:PORT TOKEN DEVICE FILE

FILE keeps what it has applied and the position, so that after a restart only what is different comes.
"""

import json
import os
import sys

from microcontroller import again_and_again, events, request


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
    store, there, news = load(path), set(), True  # a report may have been lost with the last connection
    have = store["have"]
    for message in events(address, token, f"device/{device}/configuration?frameBytes=4096", store.get("position")):
        changed = message.get("configurations", []) + [message[key] for key in message if key == "configuration"]
        there.update([each["name"] for each in changed])
        if message.get("last"):  # the state is complete: other names are gone
            changed += [{"name": name, "value": None, "tag": None} for name in have if name not in there]
        for each in changed:
            row = have.pop(each["name"], {})
            if row.get("tag") != each["tag"]:
                error, news = apply(each["name"], each["value"]), True
                row = {"name": each["name"], "tag": each["tag"], "error": error}
            if each["tag"]:
                have[each["name"]] = row
        if "position" in message:
            store["position"] = message["position"]
            if news:
                save(path, store)
                report = json.dumps({"report": list(have.values()), "complete": True}).encode()
                request(address, token, f"device/{device}/report", body=report)[0].close()
                news = False


if __name__ == "__main__":
    again_and_again(lambda: follow(*sys.argv[1:]))
