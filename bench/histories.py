"""Clients whose calls and answers are noted in the order in which they happen, for `bench.linearizability`.

Each client does one thing after the other, over a socket or over REST. All write to the same few names, so that their
calls meet, and every value is written once only, so that what is read tells who wrote it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.linearizability import (
    Answer,
    Call,
    Crash,
    Event,
    NotDone,
    Read,
    Refused,
    Request,
    Return,
    Versioned,
    Write,
    Written,
)

GONE = (OSError, WebSocketException, httpx.TransportError, asyncio.TimeoutError)
"""How a connection ends when the gateway is killed, or does not exist."""

UNDECIDED = "not known"
"""In the error of a write that may have succeeded nevertheless."""

PATIENCE = 20
"""Seconds to wait for an answer."""

NAMES = tuple(f"recorded.{number}" for number in range(6))
"""Only these clients may write to these names."""

LARGE = 8_000


class Client(Protocol):
    """A connection that answers one request at a time: with an HTTP status, and the members of an action's reply."""

    async def ask(self, request: Request) -> tuple[int, dict[str, Any]]: ...


class History:
    """Everything that clients called and were answered, in one order, and what they call."""

    def __init__(self, choice: random.Random, shared: bool = False) -> None:
        """`shared`: the calls go to several gateways on one log, and all reads ask for `fresh` ones."""
        self.events: list[Event] = []
        self._shared = shared
        self.unknown: set[int] = set()
        self._random = choice
        self._ids = count()
        self._seen: dict[str, int] = {}

    def crashed(self) -> None:
        """The only gateway's process has ended."""
        self.events.append(Crash())

    async def work(self, client: Client, going: Callable[[], bool]) -> None:
        """Call one thing after the other. Raises what is in GONE when the connection ends, also if this takes long.

        The first call reads all names. So the first answer after a crash tells what became of all that was under way.
        """
        await self.call(client, Request(reads=NAMES))
        while going():
            await self.call(client, self._invent())

    async def call(self, client: Client, request: Request) -> None:
        """One call. It stays without an answer when the connection ends, or its outcome is unknown."""
        id = next(self._ids)
        self.events.append(Call(id, request))
        unknown = frozenset(self.unknown)
        try:
            status, members = await asyncio.wait_for(client.ask(request), PATIENCE)
        except (TimeoutError, httpx.TimeoutException):
            raise  # the gateway may carry it out later
        except GONE:
            self.unknown.add(id)
            raise
        answer = answer_of(request, status, members)
        if answer is None:
            self.unknown.add(id)
            return
        self.events.append(Return(id, answer))
        if self._shared and unknown and isinstance(answer, Read | Written):
            # It committed an entry, so none that somebody wanted to commit in that place before can appear any more.
            self.events.append(Crash(unknown))
            self.unknown -= unknown
        if isinstance(answer, Read):
            found = zip(request.reads, answer.entries, strict=True)
            self._seen |= {name: entry.version if entry is not None else 0 for name, entry in found}

    def _invent(self) -> Request:
        """Reads as often as writes; a third of the writes are transactions, and a third expect what was seen last."""
        chance = self._random.random()
        if chance < 0.5:
            return Request(reads=NAMES if chance < 0.1 else (self._random.choice(NAMES),))
        several = self._random.randint(2, len(NAMES)) if chance < 0.65 else 1
        return Request(writes=tuple(self._write(name) for name in self._random.sample(NAMES, several)))

    def _write(self, name: str) -> Write:
        expected = self._seen.get(name) if self._random.random() < 0.33 else None
        if self._random.random() < 0.2:
            return Write(name, None, expected)
        size = LARGE if self._random.random() < 0.05 else 0
        return Write(name, f"{next(self._ids)} ".ljust(size, "v"), expected)


def answer_of(request: Request, status: int, members: Mapping[str, Any]) -> Answer | None:
    """The meaning of an answer; None if it leaves the outcome open. Raises ValueError for an impossible one."""
    if status == 503:
        return NotDone() if UNDECIDED not in str(members) else None
    if status in (404, 409):
        if request.reads:
            return Read((None,))
        change = members.get("change")
        return Refused(members.get("index", 0), entry_of(change["configuration"]) if change else None)
    if status not in (200, 201, 204):
        raise ValueError(f"{request} was answered {status} {members}")
    told = [members["configuration"]] if "configuration" in members else members.get("configurations", ())
    entries = {each["name"]: entry_of(each) for each in told}
    if request.reads:
        return Read(tuple(entries.get(name) for name in request.reads))
    return Written(tuple(entry.version if (entry := entries.get(write.name)) else None for write in request.writes))


def entry_of(resource: Mapping[str, Any]) -> Versioned | None:
    """A configuration as it stands in an answer; None for one that was deleted."""
    value = resource["value"]
    return Versioned(value, resource["entityVersion"]) if value is not None else None


def change_of(write: Write) -> dict[str, Any]:
    """A write as it stands in `changes` of a transaction."""
    change: dict[str, Any] = {"operation": "delete" if write.value is None else "put", "name": write.name}
    if write.value is not None:
        change["value"] = write.value
    if write.expected is not None:
        change["entityVersion"] = write.expected
    return change


class Socket:
    """A client over a WebSocket; `fresh`: its reads show all that any gateway answered before."""

    def __init__(self, connection: ClientConnection, fresh: bool) -> None:
        self._connection = connection
        self._fresh = {"fresh": True} if fresh else {}

    async def ask(self, request: Request) -> tuple[int, dict[str, Any]]:
        """One call of the action that it needs."""
        fresh = self._fresh if request.reads else {}
        await self._connection.send(msgspec.json.encode({**_action(request), **fresh, "requestId": 1}), text=True)
        reply = msgspec.json.decode(await self._connection.recv())
        return reply.get("code", 200), reply


def _action(request: Request) -> dict[str, Any]:
    if len(request.reads) == 1:
        return {"action": "configuration/get", "name": request.reads[0]}
    if request.reads:
        return {"action": "configuration/list", "names": ["recorded.*"]}
    changes = [change_of(write) for write in request.writes]
    if len(changes) > 1:
        return {"action": "configuration/transact", "changes": changes}
    return {"action": f"configuration/{changes[0].pop('operation')}", **changes[0]}


class Rest:
    """A client over REST, on one connection that is kept; `fresh` as for `Socket`."""

    def __init__(self, client: httpx.AsyncClient, fresh: bool) -> None:
        self._client = client
        self._fresh = {"fresh": "true"} if fresh else {}

    async def ask(self, request: Request) -> tuple[int, dict[str, Any]]:
        """One call of the path that it needs."""
        asked = _http(request)
        if request.reads:
            asked["params"] = {**asked.get("params", {}), **self._fresh}
        answer = await self._client.request(**asked)
        members = msgspec.json.decode(answer.content) if answer.content else {}
        return answer.status_code, {"configuration": members} if "entityVersion" in members else members


def _http(request: Request) -> dict[str, Any]:
    if len(request.reads) == 1:
        return {"method": "GET", "url": f"/configuration/{quote(request.reads[0])}"}
    if request.reads:
        return {"method": "GET", "url": "/configuration", "params": {"names": "recorded.*"}}
    changes = [change_of(write) for write in request.writes]
    if len(changes) > 1:
        return {"method": "POST", "url": "/configuration/transact", "json": {"changes": changes}}
    method = {"put": "PUT", "delete": "DELETE"}[changes[0].pop("operation")]
    return {"method": method, "url": f"/configuration/{quote(changes[0].pop('name'))}", "json": changes[0]}


@asynccontextmanager
async def connected(
    port: int, token: str, over: type[Socket] | type[Rest], fresh: bool = False
) -> AsyncIterator[Client]:
    """A client of the gateway on this port."""
    headers = {"Authorization": f"Bearer {token}"}
    if over is Rest:
        url = f"http://127.0.0.1:{port}/api/rest"
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None) as client:
            yield Rest(client, fresh)
    else:
        url = f"ws://127.0.0.1:{port}/api/websocket"
        async with connect(url, additional_headers=headers, compression=None, ping_interval=None) as connection:
            yield Socket(connection, fresh)
