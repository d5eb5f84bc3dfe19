"""Put a value, read it, and get a conflict.

    HIVEWIRE_PASSWORD=... python put_and_read.py

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import os

from hivewire_client import BadAddress, Conflict, Entry, NotReady, Password, Refused
from hivewire_client.sync import Hivewire

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")
PATIENCE = 3.0  # seconds to wait for a gateway


def token() -> str | Password:
    """The token of the environment, or a login."""
    given, password = os.environ.get("HIVEWIRE_TOKEN"), os.environ.get("HIVEWIRE_PASSWORD")
    if not given and not password:
        raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    return given or Password(os.environ.get("HIVEWIRE_LOGIN", "admin"), password or "")


def add_one(hw: Hivewire, seen: Entry[str]) -> Entry[str]:
    """Increment the value that we have seen. If another writer was faster, increment its value."""
    while True:
        try:
            return hw.put(seen.name, str(int(seen.value or "0") + 1), expect=seen.version)
        except Conflict as conflict:
            print(f"conflict: {conflict.code} {conflict}")
            if conflict.current is None:
                raise
            seen = conflict.current


def main() -> None:
    # It holds no configurations in memory, because it reads one only once.
    with Hivewire(URL, token=token(), names=[]) as hw:
        hw.ready(PATIENCE)
        ours = hw.put("example.counter", "41")
        print(f"put: {ours.name} = {ours.value}, version {ours.version}")

        read = hw.fetch("example.counter")
        print(f"read: {read.name} = {read.value}, version {read.version}")

        hw.put("example.counter", "99")  # another client writes, and we do not know it

        ours = add_one(hw, read)
        print(f"put: {ours.name} = {ours.value}, version {ours.version}")


if __name__ == "__main__":
    try:
        main()
    except Refused as refused:
        raise SystemExit(f"refused: {refused.code} {refused}") from None
    except (BadAddress, NotReady) as error:
        raise SystemExit(f"cannot reach {URL}: {error}") from None
