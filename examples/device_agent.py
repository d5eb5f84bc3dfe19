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
    """One request and its answer. After 30 s without an answer the gateway counts as gone."""
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
    """Follows one configuration and remembers the applied version."""

    def __init__(self, name: str, file: Path, once: bool) -> None:
        self.name, self.file, self.once = name, file, once
        self.applied: tuple[int, str] | None = None
        self.failures = 0

    def take(self, configuration: dict[str, Any]) -> None:
        """Apply the value, unless it is already applied."""
        version, value = configuration["entityVersion"], configuration["value"]
        if value is None:
            raise SystemExit(f"{self.name} is not text, or is longer than 65,536 characters")
        if (version, value) != self.applied:
            apply(value, self.file)
            self.applied = version, value
            print(f"applied {self.name} version {version}", flush=True)

    async def stay_connected(self) -> None:
        """One connection: get the value, then every change. Returns when the login has to be renewed."""
        async with connect(URL.replace("http", "ws", 1) + "/api/websocket") as connection:
            await authenticate(connection)
            try:
                self.take((await ask(connection, "configuration/get", name=self.name))["configuration"])
            except Refused as refused:
                if refused.code != 404 or self.once:
                    raise  # 403: the token does not reach this name, so there would never be a push
            if self.once:
                return
            # The state is sent first, so nothing is missed between the read and this, or while we were disconnected.
            await ask(connection, "configuration/subscribe", names=[self.name])
            self.failures = 0
            while True:
                push = json.loads(await connection.recv())
                if push["action"] == "configuration/snapshot":
                    for configuration in push["configurations"]:
                        self.take(configuration)
                elif push["action"] == "configuration/update" and push["operation"] == "put":
                    self.take(push["configuration"])  # after a delete we keep the last value
                elif push["action"] == "subscription/paused":
                    print("the token has expired", file=sys.stderr, flush=True)
                    return

    async def run(self) -> None:
        """Reconnect until it works."""
        while True:
            try:
                await self.stay_connected()
                if self.once:
                    return
                continue
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
        """A gateway that stops tells each client when to reconnect, so that not all of them do so at once."""
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
    parser.add_argument("--once", action="store_true", help="apply the current value, then exit; 1 if that fails")
    options = parser.parse_args()
    if options.file.is_dir() or not os.access(options.file.absolute().parent, os.W_OK):
        parser.error(f"cannot write {options.file}: its directory is missing or closed to us, or it is one itself")

    running = asyncio.create_task(Agent(options.name, options.file, options.once).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        pass  # asked to stop


if __name__ == "__main__":
    asyncio.run(main())
