"""A device agent: keep a local file in sync with one configuration value, across restarts and broken connections.

    HIVEWIRE_TOKEN=... python device_agent.py door.1.settings /etc/door/settings

Give a device a token that can read its own values and nothing else:

    hivewire token --action GetConfiguration --name 'door.1.*' --expires 365d

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

from hivewire_client import BadAddress, Entry, Hivewire, NotFound, NotReady, Password, Refused, StateChanged

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")
PATIENCE = 3.0  # seconds that `--once` waits for a gateway


def token() -> str | Password:
    """The token of the environment, or a login."""
    given, password = os.environ.get("HIVEWIRE_TOKEN"), os.environ.get("HIVEWIRE_PASSWORD")
    if not given and not password:
        raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    return given or Password(os.environ.get("HIVEWIRE_LOGIN", "admin"), password or "")


def apply(entry: Entry[str], file: Path) -> None:
    """Replace the file atomically: readers see the old value or the new one, also after a power cut."""
    if entry.value is None:
        raise SystemExit(f"{entry.name} is not text, or is longer than 65,536 characters")
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as handle:
            handle.write(entry.value)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name is on the disk as well
    finally:
        os.close(directory)
    print(f"applied {entry.name} version {entry.version}", flush=True)


async def follow(name: str, file: Path, once: bool) -> None:
    """Apply the value, and every later one. After a delete the last value stays."""
    async with Hivewire(URL, token=token(), names=[name]) as hw:
        await hw.ready(PATIENCE if once else None)
        try:
            found = await hw.fetch(name)  # 403: the token does not reach this name, so it would never change
        except NotFound:
            if once:
                raise
        else:
            apply(found, file)
        if once:
            return
        applied = hw.entry(name)
        async for event in hw.watch():
            if isinstance(event, StateChanged) and event.state == "stale":
                print(event.reason, file=sys.stderr, flush=True)
            entry = hw.entry(name)
            if entry is not None and entry != applied:
                apply(entry, file)
                applied = entry
        await hw.ready(stale=False)  # it is closed: this raises why


async def main() -> None:
    parser = argparse.ArgumentParser(description="Keep a local file equal to one configuration value.")
    parser.add_argument("name", help="the configuration")
    parser.add_argument("file", type=Path, help="the file that its value is written to")
    parser.add_argument("--once", action="store_true", help="apply the current value, then exit; 1 if that fails")
    options = parser.parse_args()
    if options.file.is_dir() or not os.access(options.file.absolute().parent, os.W_OK):
        parser.error(f"cannot write {options.file}: its directory is missing or closed to us, or it is one itself")

    following = asyncio.create_task(follow(options.name, options.file, options.once))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, following.cancel)
    try:
        await following
    except asyncio.CancelledError:
        pass  # asked to stop
    except Refused as refused:
        raise SystemExit(f"refused: {refused.code} {refused}") from None
    except (BadAddress, NotReady) as error:
        raise SystemExit(f"cannot reach {URL}: {error}") from None


if __name__ == "__main__":
    asyncio.run(main())
