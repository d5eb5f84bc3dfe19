"""A gateway in memory, for the tests of programs that use Hivewire. Its WebSocket is a real one.

```python
with FakeGateway({"limits.api": '{"max":5}'}) as gateway:
    async with Hivewire(gateway.url, token=gateway.token(), backoff=Backoff(0.01)) as hw:
        await hw.ready()
        gateway.change("limits.api", '{"max":6}')
        gateway.drop()
```

It has no rights, limits or tenants, and forgets everything at its end. It runs in a thread of its own, so programs
with and without asyncio can use it, and its methods return when what they do is done.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from hivewire_client import values
from hivewire_client.testing.devices import Devices
from hivewire_client.testing.fleet import Rollouts
from hivewire_client.testing.session import Session
from hivewire_client.testing.store import Members, Messages, Refusal, Store, due, moment
from hivewire_client.thread import LoopThread

_quiet = logging.getLogger("hivewire_client.testing")
_quiet.setLevel(logging.WARNING)  # what clients say is enough


class FakeGateway:
    """A gateway at `url`, a context manager, with these configurations: text, or what is written as JSON.

    `passwords` are those that logins must have; others may have any.
    """

    def __init__(
        self, configurations: Mapping[str, Any] | None = None, *, passwords: Mapping[str, str] | None = None
    ) -> None:
        self.passwords = dict(passwords or {})
        self.store = Store()
        self.messages = Messages()
        self.devices = Devices()
        self.rollouts = Rollouts(self.devices)
        self.refused: set[str] = set()
        self.requests: list[str] = []
        """The actions of all requests so far."""
        self.url = ""
        self._given = dict(configurations or {})
        self._sessions: dict[Session, ServerConnection] = {}
        self._left = asyncio.Event()
        self._closing: list[asyncio.Task[None]] = []
        self._tokens, self._schedules = count(1), count(1)
        self._refusals: dict[str, list[Refusal]] = {}
        self._cuts: list[str] = []
        self._thread = LoopThread()
        self._server: Server | None = None

    # What happens at the gateway.

    def change(
        self, name: str | Mapping[str, Any], value: Any = None, *, by: str = "admin", layer: str | None = None
    ) -> int:
        """Write a configuration, or delete it with the value None; or several together, as a mapping. The revision.

        `layer` is `device/ID`: what this device should have.
        """
        given = {name: value} if isinstance(name, str) else name
        return self._thread.run(self._change(given, by, layer))

    def insert(self, kind: str, device: str, name: str, parameters: Any = None) -> int:
        """Insert a `command` for a device or a `notification` of it; its id."""

        async def insert() -> int:
            found = self.messages.insert(kind, {"deviceId": device, kind: {kind: name, "parameters": parameters}})
            self.push()
            return int(found["id"])

        return self._thread.run(insert())

    def decide(self, rollout: int, state: str, reason: str | None = None) -> None:
        """Give a rollout another state, such as `held`, `failed`, or `completed`, which writes it into its layer."""

        async def decide() -> None:
            self.rollouts.decide(rollout, state, reason)
            self.push()

        self._thread.run(decide())

    def drop(self) -> None:
        """Cut all connections, without a word."""
        self._thread.run(self._drop())

    def drain(self, alternatives: Iterable[str] = (), retry: int = 0) -> None:
        """Close all connections as a gateway that stops; clients go to `alternatives`, or come back in `retry` ms."""
        self._thread.run(self._drain(list(alternatives), retry))

    def expire(self) -> None:
        """Accept none of the tokens any more that connections have; what they follow pauses."""
        self._thread.run(self._expire())

    def lose_history(self) -> None:
        """Forget how the present came about, as after a backup was restored: no position can be resumed."""

        async def lose() -> None:
            for log in (self.store, self.messages, self.devices):
                log.lose_history()
            await self._drop()

        self._thread.run(lose())

    def refuse(self, action: str, code: int, text: str = "refused by the test", **members: Any) -> None:
        """Refuse the next request of this action. `members` are further ones of the reply, such as `retryAfter`."""
        self._refusals.setdefault(action, []).append(Refusal(code, text, **members))

    def cut(self, action: str) -> None:
        """Carry out the next request of this action, and cut the connection in place of an answer."""
        self._cuts.append(action)

    def stop(self) -> None:
        """Cut all connections and listen no more; `start` listens again."""
        self._thread.run(self._stop())

    def start(self) -> None:
        """Listen, at the same address as before."""
        self._thread.run(self._start())

    # What it knows.

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._sessions)

    def value(self, name: str) -> str | None:
        """The value of a configuration; None when there is none."""
        found = self.store.resources.get(name)
        return None if found is None else found["value"]

    def reported(self, device: str) -> dict[str, Members]:
        """What a device said last, by name: the `tag` of what it has applied or, with an `error`, refused; or a `value`
        of its own."""
        return self.devices.reported(device)

    def token(self, seconds: float = 1_800, user: int = 1) -> str:
        """A token of a user that lives for so long, as far as clients can see; nothing but `expire` ends it."""
        payload = {"payload": {"u": user, "e": int((time.time() + seconds) * 1_000), "j": next(self._tokens)}}
        encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
        return f"fake.{encoded}.{payload['payload']['j']}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._thread.run(self._start())
        if self._given:
            self.change(self._given)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.run(self._stop())
        self._thread.stop()

    # In its thread.

    async def _start(self) -> None:
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self._server = await serve(
            self._serve, "127.0.0.1", port, compression=None, ping_interval=None, max_size=None, logger=_quiet
        )
        self.url = f"http://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close(close_connections=False)
            while self._sessions:
                await self._drop()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, socket: ServerConnection) -> None:
        session = Session(self)
        self._sessions[session] = socket
        writing = asyncio.create_task(self._write(session, socket))
        try:
            async for text in socket:
                if not session.receive(text):
                    socket.transport.abort()
        except ConnectionClosed:
            pass  # the client has gone
        finally:
            writing.cancel()
            del self._sessions[session]
            self.push()
            self._left.set()

    async def _write(self, session: Session, socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send(json.dumps(await session.outbox.get()))
                session.outbox.task_done()

    async def _change(self, given: Mapping[str, Any], by: str, layer: str | None) -> int:
        writes: list[Members] = []
        for name, value in given.items():
            if value is None:
                writes.append({"operation": "delete", "name": name, "modifiedBy": by})
            else:
                text, content_type = values.encode(value, None)
                write = {"operation": "put", "name": name, "value": text, "contentType": content_type}
                writes.append({**write, "modifiedBy": by})
        if layer is None:
            self.write(writes)
        else:
            self.devices.change(layer, writes)
        self.push()
        return self.store.revision

    async def _drop(self) -> None:
        dropped = dict(self._sessions)
        for socket in dropped.values():
            socket.transport.abort()
        while dropped.keys() & self._sessions.keys():  # a client may come back before another one has left
            self._left.clear()
            await self._left.wait()

    async def _drain(self, alternatives: list[str], retry: int) -> None:
        for session, socket in list(self._sessions.items()):
            for number in session.followed:
                frame = {"action": "server/draining", "subscriptionId": number, "retry": retry}
                session.send(frame | {"alternatives": alternatives})
            await session.outbox.join()
            # The client answers, perhaps in the very thread that waits for us.
            self._closing.append(asyncio.create_task(socket.close(1001, f"server going away; retry={retry}")))

    async def _expire(self) -> None:
        for session in self._sessions:
            if session.token is not None:
                self.refused.add(session.token)
                session.token, session.paused = None, True
                for number in session.followed:
                    frame = {"action": "subscription/paused", "subscriptionId": number, "reason": "Token expired"}
                    session.send(frame)

    # For sessions.

    def write(self, writes: list[Members]) -> list[Members]:
        """Write into the store, and delete in their time what expires. Raises Refusal."""
        times = [due(write) for write in writes]
        changes = self.store.write(writes)
        for time_, change in zip(times, changes, strict=True):
            if time_ is not None:
                self._at(time_, partial(self._expire_change, change))
        return changes

    def write_later(self, at: str, writes: list[Members]) -> int:
        """Judge writes now, and write them at a time, unless they are refused then; the number for this."""
        self.store.check(writes)
        self._at(moment("at", at), partial(self._write_now, writes))
        return next(self._schedules)

    def _at(self, time_: float, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(time_ - time.time(), work)

    def _expire_change(self, change: Members) -> None:
        name = change["configuration"]["name"]
        if self.store.last(name) is change:
            self._write_now([{"operation": "delete", "name": name, "description": "expired", "modifiedBy": None}])

    def _write_now(self, writes: list[Members]) -> None:
        with contextlib.suppress(Refusal):
            self.write(writes)
            self.push()

    def push(self) -> None:
        """Push to all connections what is new."""
        for session in self._sessions:
            session.push()

    def online(self) -> set[str]:
        """The devices that follow what they should have."""
        return {each.device for session in self._sessions for each in session.followed.values() if each.device}

    def check(self, action: str) -> None:
        """Note a request. Raises Refusal when a test wants it refused."""
        self.requests.append(action)
        if self._refusals.get(action):
            raise self._refusals[action].pop(0)

    def is_cut(self, action: str) -> bool:
        """Whether the connection is to be cut in place of the answer."""
        if action in self._cuts:
            self._cuts.remove(action)
            return True
        return False
