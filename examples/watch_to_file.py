"""Keep a file in sync with a set of configurations: a watcher that misses nothing across restarts on both sides.

    HIVEWIRE_TOKEN=... python watch_to_file.py limits.json 'limits.*'

The file is JSON: `configurations` by name, and the `position` at which they are true. Beside it is FILE.cache, from
which the program resumes after a restart, so that it asks the gateway only for what has changed.

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from hivewire_client import BadAddress, Changes, Hivewire, Password, Refused, Reset, StateChanged

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")


def token() -> str | Password:
    """The token of the environment, or a login."""
    given, password = os.environ.get("HIVEWIRE_TOKEN"), os.environ.get("HIVEWIRE_PASSWORD")
    if not given and not password:
        raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    return given or Password(os.environ.get("HIVEWIRE_LOGIN", "admin"), password or "")


def check(file: Path) -> None:
    """Leave a file alone that is not ours."""
    try:
        if file.exists() and "position" not in dict(json.loads(file.read_bytes())):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise SystemExit(f"{file} was not written by this program: remove it, or name another file") from None


def save(file: Path, position: str, values: dict[str, str | None]) -> None:
    """Replace the file atomically: after a crash it is the old one or the new one, each with its own position."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as handle:
            json.dump({"position": position, "configurations": values}, handle, ensure_ascii=False, indent=1)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
    print(f"at {position}: {len(values)} configurations", flush=True)


async def follow(file: Path, names: list[str]) -> None:
    """Write the state, and again after every change: by a whole transaction, or to a state that is complete."""
    async with Hivewire(URL, token=token(), names=names, cache=f"{file}.cache") as hw:
        values: dict[str, str | None] = {}
        async for event in hw.watch():
            if isinstance(event, Changes | Reset):
                for change in event.changes:
                    if change.operation == "put":
                        values[change.name] = change.entry.value
                    else:
                        values.pop(change.name, None)
                save(file, event.position, values)
            elif isinstance(event, StateChanged):
                print(f"following: {event.state}", flush=True)
                if event.state == "stale":
                    print(event.reason, file=sys.stderr, flush=True)
        await hw.ready(stale=False)  # it is closed: this raises why


async def main() -> None:
    parser = argparse.ArgumentParser(description="Keep a JSON file equal to a set of configurations.")
    parser.add_argument("file", type=Path, help="the file; made when it is not there")
    parser.add_argument("names", nargs="*", default=["*"], help="names, or prefixes that end in * (everything)")
    options = parser.parse_args()
    if options.file.is_dir() or not os.access(options.file.absolute().parent, os.W_OK):
        parser.error(f"cannot write {options.file}: its directory is missing or closed to us, or it is one itself")
    check(options.file)

    following = asyncio.create_task(follow(options.file, options.names))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, following.cancel)
    try:
        await following
    except asyncio.CancelledError:
        pass  # asked to stop
    except Refused as refused:
        raise SystemExit(f"refused: {refused.code} {refused}") from None
    except BadAddress as error:
        raise SystemExit(f"cannot reach {URL}: {error}") from None


if __name__ == "__main__":
    asyncio.run(main())
