"""Put a value, read it, and get a conflict: Hivewire over its WebSocket, with only the `websockets` library.

    HIVEWIRE_PASSWORD=... python put_and_read.py

HIVEWIRE_URL     the gateway's address (http://127.0.0.1:8080)
HIVEWIRE_TOKEN   an access token; or else
HIVEWIRE_LOGIN   the login (admin), with
HIVEWIRE_PASSWORD
"""

import asyncio
import json
import os
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

URL = os.environ.get("HIVEWIRE_URL", "http://127.0.0.1:8080")


class Refused(Exception):
    """The gateway refused the request; `reply` is its answer."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(f"{reply['code']} {reply['error']}")
        self.code: int = reply["code"]
        self.reply = reply


class Gateway:
    """Requests over one socket. Each gets exactly one answer, in order, so the next message is the answer."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count(1)

    async def __call__(self, action: str, **members: Any) -> dict[str, Any]:
        await self._connection.send(json.dumps({"action": action, "requestId": next(self._numbers), **members}))
        reply: dict[str, Any] = json.loads(await self._connection.recv())
        if reply["status"] != "success":
            raise Refused(reply)
        return reply


async def authenticate(ask: Gateway) -> None:
    """Give the socket an identity: with a given token, or with one from a login."""
    token = os.environ.get("HIVEWIRE_TOKEN")
    if not token:
        login, password = os.environ.get("HIVEWIRE_LOGIN", "admin"), os.environ.get("HIVEWIRE_PASSWORD")
        if not password:
            raise SystemExit("set HIVEWIRE_PASSWORD, or HIVEWIRE_TOKEN")
        token = (await ask("token", login=login, password=password))["accessToken"]
    await ask("authenticate", token=token)


async def add_one(ask: Gateway, name: str, seen: dict[str, Any]) -> dict[str, Any]:
    """Increment the value that we have seen. If another writer was faster, increment its value."""
    while True:
        value = str(int(seen["value"] or "0") + 1)
        try:
            # `entityVersion` is the version that we expect; 0 would mean "must not exist".
            return (await ask("configuration/put", name=name, value=value, entityVersion=seen["entityVersion"]))[
                "configuration"
            ]
        except Refused as refused:
            if refused.code != 409 or refused.reply["change"] is None:
                raise
            print(f"conflict: {refused}")
            seen = refused.reply["change"]["configuration"]  # the conflict shows the current version


async def main() -> None:
    async with connect(URL.replace("http", "ws", 1) + "/api/websocket") as connection:
        ask = Gateway(connection)
        await authenticate(ask)

        ours = (await ask("configuration/put", name="example.counter", value="41"))["configuration"]
        print(f"put: {ours['name']} = {ours['value']}, version {ours['entityVersion']}")

        read = (await ask("configuration/get", name="example.counter"))["configuration"]
        print(f"read: {read['name']} = {read['value']}, version {read['entityVersion']}")

        # Another client writes, and we do not know it.
        await ask("configuration/put", name="example.counter", value="99")

        ours = await add_one(ask, "example.counter", seen=read)
        print(f"put: {ours['name']} = {ours['value']}, version {ours['entityVersion']}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Refused as refused:
        raise SystemExit(f"refused: {refused}") from None
    except (OSError, ValueError, WebSocketException) as error:
        raise SystemExit(f"cannot reach {URL}: {error or 'no answer'}") from None
