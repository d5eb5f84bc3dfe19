"""A device agent: keep a local file equal to one configuration value, through restarts and broken connections.

    HIVEWIRE_TOKEN=... python device_agent.py door.1.settings /etc/door/settings

Give a device a token that can read its own values and nothing else:

    hivewire token --action GetConfiguration --name 'door.1.*' --expires 365d

HIVEWIRE_URL     where the gateway is (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   whom to log in as (admin), with
HIVEWIRE_PASSWORD
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")
LONGEST_WAIT = 60.0  # seconds between two attempts to connect


class Refused(Exception):
    """The gateway refused the request."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(f"{reply['code']} {reply['error']}")
        self.code: int = reply["code"]


async def ask(connection: ClientConnection, action: str, **members: Any) -> dict[str, Any]:
    """One request and its answer. A gateway that does not answer for 30 s counts as gone."""
    async with asyncio.timeout(30):
        await connection.send(json.dumps({"action": action, "requestId": 1, **members}))
        reply: dict[str, Any] = json.loads(await connection.recv())
    if reply["status"] != "success":
        raise Refused(reply)
    return reply


async def authenticate(connection: ClientConnection) -> None:
    token = os.environ.get("HIVEWIRE_TOKEN")
    if not token:
        login, password = os.environ.get("HIVEWIRE_LOGIN", "admin"), os.environ.get("HIVEWIRE_PASSWORD")
        if not password:
            raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
        token = (await ask(connection, "token", login=login, password=password))["accessToken"]
    await ask(connection, "authenticate", token=token)


def apply(value: str, file: Path) -> None:
    """Replace the file atomically: readers see the old value or the new one, also after a power cut."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as handle:
            handle.write(value)
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


class Agent:
    """Follows one configuration and remembers which of its changes is applied."""

    def __init__(self, name: str, file: Path, every: float, once: bool) -> None:
        self.name, self.file, self.every, self.once = name, file, every, once
        self.applied: int | None = None  # revision: unlike a version it never comes again, not even after a delete
        self.failures = 0

    async def check(self, connection: ClientConnection) -> None:
        """Read the value, and apply it if it is not the one that we have."""
        try:
            reply = await ask(connection, "configuration/get", name=self.name)
        except Refused as refused:
            if refused.code != 404 or self.once:
                raise
            return  # not set (any more): stay with what we have
        if reply["revision"] == self.applied:
            return
        configuration = reply["configuration"]
        if configuration["value"] is None:
            raise SystemExit(f"{self.name} is no text")
        apply(configuration["value"], self.file)
        self.applied = reply["revision"]
        print(f"applied {self.name} version {configuration['entityVersion']}", flush=True)

    async def stay_connected(self) -> None:
        """One connection: authenticate, then read the value at intervals. A read without a change writes nothing."""
        async with connect(URL.replace("http", "ws", 1) + "/api/websocket") as connection:
            await authenticate(connection)
            while True:
                await self.check(connection)
                self.failures = 0
                if self.once:
                    return
                try:
                    # Nothing is pushed to us here, so this ends when the time is up or when the connection does.
                    await asyncio.wait_for(connection.recv(), self.every)
                except TimeoutError:
                    pass

    async def run(self) -> None:
        """Reconnect until it works."""
        while True:
            try:
                await self.stay_connected()
                return
            except ConnectionClosed as closed:
                reason, wait = str(closed), self.wait_after(closed)
            except Refused as refused:
                # A new connection logs in again, which is what an expired token needs.
                if refused.code not in (401, 429, 503) or self.once or os.environ.get("HIVEWIRE_TOKEN"):
                    raise SystemExit(f"refused: {refused}") from None
                reason, wait = str(refused), self.backoff()
            except (InvalidURI, ValueError) as error:
                raise SystemExit(f"cannot reach {URL}: {error}") from None
            except (OSError, TimeoutError, InvalidHandshake) as error:
                reason, wait = str(error) or "no answer", self.backoff()
            if self.once:
                raise SystemExit(f"cannot reach {URL}: {reason}")
            print(f"{reason}; next attempt in {wait:.1f} s", file=sys.stderr, flush=True)
            await asyncio.sleep(wait)

    def wait_after(self, closed: ConnectionClosed) -> float:
        """A gateway that stops tells each client when to come back, so that not all of them come at once."""
        if closed.rcvd is not None and closed.rcvd.code == 1001:
            told = re.search(r"retry=(\d+)", closed.rcvd.reason)
            if told:
                return int(told[1]) / 1_000
        return self.backoff()

    def backoff(self) -> float:
        """Exponential back-off with jitter."""
        self.failures += 1
        return min(LONGEST_WAIT, 0.5 * 2 ** min(self.failures, 10)) * random.uniform(0.5, 1)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Keep a local file equal to one configuration value.")
    parser.add_argument("name", help="the configuration")
    parser.add_argument("file", type=Path, help="the file that its value is written to")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="how often to look (5)")
    parser.add_argument("--once", action="store_true", help="apply the current value, then exit; 1 if that fails")
    options = parser.parse_args()
    if options.file.is_dir() or not os.access(options.file.absolute().parent, os.W_OK):
        parser.error(f"cannot write {options.file}: its directory is missing or closed to us, or it is one itself")

    running = asyncio.create_task(Agent(options.name, options.file, options.every, options.once).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        pass  # asked to stop


if __name__ == "__main__":
    asyncio.run(main())
