"""Keep a file in sync with a set of configurations: a watcher that misses nothing across restarts on both sides.

    HIVEWIRE_TOKEN=... python watch_to_file.py limits.json 'limits.*'

The file is JSON: `configurations` by name, and the `position` at which they are true. Both are written together, so
that after a restart of this program or of the gateway it requests exactly the changes after the position.

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
ASK = 30.0  # seconds without a push after which we check whether our token is still valid
LONGEST_WAIT = 30.0  # seconds between two attempts to connect
RESET: dict[str, Any] = {"action": "reset"}  # held before a state that replaces ours
IN_VAIN = (1002, 1003, 1007, 1009)  # close codes after which a new attempt would fail in the same way


class Refused(Exception):
    """The gateway refused the request."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(f"{reply['code']} {reply['error']}")
        self.code: int = reply["code"]


class State:
    """The content of the file. A position does not depend on names, so it is valid for the same names only."""

    def __init__(self, file: Path, names: list[str]) -> None:
        self.file, self.names = file, names
        self.position: str | None = None
        self.configurations: dict[str, dict[str, Any]] = {}
        if file.exists():
            try:
                kept = json.loads(file.read_text("utf-8"))
                if kept["names"] == names:
                    self.position, self.configurations = kept["position"], kept["configurations"]
            except (OSError, ValueError, LookupError, TypeError):
                raise SystemExit(f"{file} was not written by this program: remove it, or name another file") from None

    def apply(self, frames: list[dict[str, Any]], position: str) -> None:
        """Apply a complete group: a state that replaces ours, or changes, or both."""
        for frame in frames:
            if frame is RESET:
                self.configurations = {}
            elif frame["action"] == "configuration/snapshot":
                self.configurations |= {each["name"]: each for each in frame["configurations"]}
            elif frame["action"] == "configuration/update":
                configuration = frame["configuration"]
                if frame["operation"] == "delete":
                    self.configurations.pop(configuration["name"], None)
                else:
                    self.configurations[configuration["name"]] = configuration
        self.position = position
        self.save()

    def save(self) -> None:
        """Replace the file atomically: after a crash it is the old one or the new one, each with its own position."""
        whole = {"position": self.position, "names": self.names, "configurations": self.configurations}
        descriptor, temporary = tempfile.mkstemp(dir=self.file.parent, prefix=f".{self.file.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as handle:
                json.dump(whole, handle, ensure_ascii=False, indent=1)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, self.file)
        except BaseException:
            os.unlink(temporary)
            raise


async def receive(connection: ClientConnection, seconds: float) -> dict[str, Any]:
    """The next frame. Raises TimeoutError."""
    async with asyncio.timeout(seconds):  # `wait_for` may swallow a SIGTERM that comes together with a frame
        frame: dict[str, Any] = json.loads(await connection.recv())
    return frame


class Watcher:
    """One subscription over any number of connections."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.failures = 0
        self.held: list[dict[str, Any]] = []

    async def ask(self, connection: ClientConnection, action: str, **members: Any) -> dict[str, Any]:
        """One request and its answer; pushes that arrive before the answer are handled as well."""
        await connection.send(json.dumps({"action": action, "requestId": 1, **members}))
        while True:
            frame = await receive(connection, 30)
            if "requestId" not in frame:
                self.take(frame)
            elif frame["status"] != "success":
                raise Refused(frame)
            else:
                return frame

    def take(self, frame: dict[str, Any]) -> None:
        """Collect frames without a position: they are part of a group, and are sent again if it is interrupted."""
        if frame.get("reset"):
            self.held = [RESET]
        self.held.append(frame)
        if "position" in frame:
            held, self.held = self.held, []
            self.state.apply(held, frame["position"])
            print(f"at {self.state.position}: {len(self.state.configurations)} configurations", flush=True)

    async def follow(self) -> None:
        """One connection: log in, subscribe, handle pushes."""
        async with connect(URL.replace("http", "ws", 1) + "/api/websocket", max_size=None) as connection:
            token = os.environ.get("HIVEWIRE_TOKEN")
            if not token:
                login, password = os.environ.get("HIVEWIRE_LOGIN", "admin"), os.environ.get("HIVEWIRE_PASSWORD")
                if not password:
                    raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
                token = (await self.ask(connection, "token", login=login, password=password))["accessToken"]
            await self.ask(connection, "authenticate", token=token)
            since = {"since": self.state.position} if self.state.position is not None else {}
            self.held = []
            reply = await self.ask(connection, "configuration/subscribe", names=self.state.names, **since)
            if reply["mode"] in ("snapshot", "reset"):
                self.held = [RESET]
            print(f"following: {reply['mode']}", flush=True)
            while True:
                try:
                    frame = await receive(connection, ASK)
                    paused = frame["action"] == "subscription/paused"
                    self.take(frame)
                    self.failures = 0
                except TimeoutError:
                    paused = True
                if paused and not await self.known(connection):
                    return

    async def known(self, connection: ClientConnection) -> bool:
        """Whether our token is still valid: when it has expired, the gateway pushes nothing more."""
        try:
            await self.ask(connection, "subscription/list")
        except Refused as refused:
            if refused.code != 401 or os.environ.get("HIVEWIRE_TOKEN"):
                raise
            return False  # the next connection logs in again
        return True

    async def run(self) -> None:
        """Reconnect until it works."""
        while True:
            try:
                await self.follow()
                continue
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code in IN_VAIN:
                    raise SystemExit(f"the gateway hung up: {closed}") from None
                reason, wait = str(closed), self.wait_after(closed)
            except Refused as refused:
                if refused.code not in (429, 503):
                    raise SystemExit(f"refused: {refused}") from None
                reason, wait = str(refused), self.backoff()
            except (InvalidURI, ValueError) as error:
                raise SystemExit(f"cannot reach {URL}: {error}") from None
            except (OSError, TimeoutError, InvalidHandshake) as error:
                reason, wait = str(error) or "no answer", self.backoff()
            print(f"{reason}; next attempt in {wait:.1f} s", file=sys.stderr, flush=True)
            await asyncio.sleep(wait)

    def wait_after(self, closed: ConnectionClosed) -> float:
        """A gateway that stops tells each client when to reconnect, so that not all of them do so at once."""
        told = re.search(r"retry=(\d+)", closed.rcvd.reason) if closed.rcvd is not None else None
        return int(told[1]) / 1_000 if told else self.backoff()

    def backoff(self) -> float:
        """Exponential back-off with jitter."""
        self.failures += 1
        return min(LONGEST_WAIT, 0.1 * 2 ** min(self.failures, 10)) * random.uniform(0.5, 1)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Keep a JSON file equal to a set of configurations.")
    parser.add_argument("file", type=Path, help="the file; made when it is not there")
    parser.add_argument("names", nargs="*", default=["*"], help="names, or prefixes that end in * (everything)")
    options = parser.parse_args()
    if options.file.is_dir() or not os.access(options.file.absolute().parent, os.W_OK):
        parser.error(f"cannot write {options.file}: its directory is missing or closed to us, or it is one itself")

    running = asyncio.create_task(Watcher(State(options.file, options.names)).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        pass  # asked to stop


if __name__ == "__main__":
    asyncio.run(main())
