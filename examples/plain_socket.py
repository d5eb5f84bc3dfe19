"""What the `*_websockets.py` examples share: a socket that is opened again when it is lost, the login, and the errors.

They need the library `websockets` and nothing else: each frame is JSON. A request has an action and a `requestId`,
which its answer repeats; a push has none.

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from itertools import count
from typing import Any

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed
except ImportError:
    raise SystemExit("this needs the library websockets: pip install websockets") from None

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080").replace("http", "ws", 1) + "/api/websocket"
PASSING = (401, 429, 503)  # errors after which a new login may succeed

Work = Callable[[ClientConnection], Coroutine[Any, Any, None]]
numbers = count(1)


class Refused(Exception):
    """The gateway refused a request, or what was granted ends."""

    def __init__(self, code: int, error: str) -> None:
        super().__init__(f"{code} {error}")
        self.code = code


async def send(socket: ClientConnection, action: str, **members: Any) -> int:
    """Send a request. Returns the requestId of its answer."""
    number = next(numbers)
    await socket.send(json.dumps({"action": action, "requestId": number, **members}))
    return number


async def receive(socket: ClientConnection) -> dict[str, Any]:
    """The next answer or push. Raises Refused."""
    frame: dict[str, Any] = json.loads(await socket.recv())
    if frame.get("status") == "error":
        raise Refused(frame["code"], frame["error"])
    if frame["action"] == "subscription/paused":  # nothing is pushed any more
        raise Refused(401, "the token has expired")
    return frame


async def ask(socket: ClientConnection, action: str, **members: Any) -> dict[str, Any]:
    """The answer to a request; pushes before it are left out. Raises Refused."""
    number = await send(socket, action, **members)
    while (frame := await receive(socket)).get("requestId") != number:
        pass
    return frame


async def log_in(socket: ClientConnection) -> None:
    """Give the socket an identity."""
    token, login = os.environ.get("HIVEWIRE_TOKEN"), os.environ.get("HIVEWIRE_LOGIN", "admin")
    if not token:
        token = (await ask(socket, "token", login=login, password=os.environ["HIVEWIRE_PASSWORD"]))["accessToken"]
    await ask(socket, "authenticate", token=token)


async def work_on(work: Work) -> None:
    """Do some work on a socket, and on a new one whenever that is lost, until the work is done."""
    async with aclosing(aiter(connect(URL))) as sockets:  # it waits longer and longer while there is no gateway
        async for socket in sockets:
            known = False
            try:
                await log_in(socket)
                known = True
                await work(socket)
                return
            except ConnectionClosed:
                continue
            except Refused as refused:
                if refused.code not in PASSING or (refused.code == 401 and not known):
                    raise SystemExit(f"refused: {refused}") from None
                await asyncio.sleep(1)


def run(work: Work) -> None:
    """Do the work until it is done, or until Ctrl-C."""
    if not os.environ.get("HIVEWIRE_TOKEN") and not os.environ.get("HIVEWIRE_PASSWORD"):
        raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
    try:
        asyncio.run(work_on(work))
    except KeyboardInterrupt:
        pass
