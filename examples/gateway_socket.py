"""One socket to the gateway for a program that stays connected: what the other `*_websockets.py` examples share.

It needs the `websockets` library and nothing else.

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import asyncio
import json
import os
import random
import re
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
except ImportError:
    raise SystemExit("this needs the library websockets: pip install websockets") from None

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")
ANSWER = 30.0  # seconds after which a gateway that has not answered counts as gone
LONGEST_WAIT = 60.0  # seconds between two attempts to connect
PASSING = (401, 429, 503)  # errors after which a new connection with a new login may succeed


class Refused(Exception):
    """The gateway refused the request."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(f"{reply['code']} {reply['error']}")
        self.code: int = reply["code"]


class Gateway:
    """Requests and pushes over one socket. A push that comes before an answer is kept until it is asked for."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._pushes: deque[dict[str, Any]] = deque()
        self._numbers = count(1)

    async def ask(self, action: str, **members: Any) -> dict[str, Any]:
        """One request and its answer. Members that are None are left out."""
        given = {name: value for name, value in members.items() if value is not None}
        request = {"action": action, "requestId": next(self._numbers), **given}
        async with asyncio.timeout(ANSWER):
            await self._connection.send(json.dumps(request))
            while "requestId" not in (frame := json.loads(await self._connection.recv())):
                self._pushes.append(frame)
        if frame["status"] != "success":
            raise Refused(frame)
        return dict(frame)

    async def push(self, seconds: float | None = None) -> dict[str, Any] | None:
        """The next push, or None when none comes within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                push = self._pushes.popleft() if self._pushes else json.loads(await self._connection.recv())
        except TimeoutError:
            return None
        if push["action"] == "subscription/paused":  # nothing is pushed any more
            raise Refused({"code": 401, "error": "the token has expired"})
        return dict(push)

    async def log_in(self) -> None:
        """Give the socket an identity."""
        token = os.environ.get("HIVEWIRE_TOKEN")
        if not token:
            login, password = os.environ.get("HIVEWIRE_LOGIN", "admin"), os.environ.get("HIVEWIRE_PASSWORD")
            if not password:
                raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
            token = (await self.ask("token", login=login, password=password))["accessToken"]
        await self.ask("authenticate", token=token)


async def stay_connected(work: Callable[[Gateway], Awaitable[None]]) -> None:
    """Do some work over a socket, and again over a new one whenever it is lost, until the work is done."""
    failures = 0
    while True:
        failures += 1
        wait = min(LONGEST_WAIT, 0.25 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)
        try:
            async with connect(URL.replace("http", "ws", 1) + "/api/websocket") as connection:
                gateway = Gateway(connection)
                await gateway.log_in()
                failures = 0
                return await work(gateway)
        except ConnectionClosed as closed:
            # A gateway that stops tells each client when to come back, so that not all of them do so at once.
            told = re.search(r"retry=(\d+)", closed.rcvd.reason) if closed.rcvd is not None else None
            why, wait = str(closed), int(told[1]) / 1_000 if told else wait
        except Refused as refused:
            # The next connection logs in again, which is what an expired token needs; a given one stays expired.
            if refused.code not in PASSING or (refused.code == 401 and os.environ.get("HIVEWIRE_TOKEN")):
                raise SystemExit(f"refused: {refused}") from None
            why = str(refused)
        except (InvalidURI, ValueError) as error:
            raise SystemExit(f"cannot reach {URL}: {error}") from None
        except (OSError, TimeoutError, WebSocketException) as error:
            why = str(error) or "no answer"
        print(f"{why}; next attempt in {wait:.1f} s", file=sys.stderr, flush=True)
        await asyncio.sleep(wait)


async def until_told_to_stop(work: Awaitable[None]) -> None:
    """Do the work until it ends, or until SIGINT or SIGTERM."""
    running = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        pass  # asked to stop
