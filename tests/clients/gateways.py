"""A real gateway in this process, with the methods of `FakeGateway`, so that one suite tries clients with both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, Self

import msgspec
from uvicorn import Config
from uvicorn.server import ServerState

from hivewire.access.tokens import ACCESS, Claims
from hivewire.clocks import now
from hivewire.devices import seeds
from hivewire.http.peer import caller_of
from hivewire.ledger.records import Transaction, Write
from hivewire.timers import Timers
from hivewire.transport.admission import Admission
from hivewire.transport.connection import HttpProtocol
from hivewire.transport.sockets import Sockets
from hivewire_client import values
from hivewire_client.thread import LoopThread
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.identity import TokenRevoke
from hivewire_protocol.permissions import Permission
from tests.world import ADMIN, Clock, World


class Gateway(Protocol):
    """What the contract suite asks of a gateway."""

    url: str

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def change(self, name: str | Mapping[str, Any], value: Any = None, *, by: str = "admin") -> int: ...
    def value(self, name: str) -> str | None: ...
    def drop(self) -> None: ...
    def drain(self, alternatives: Iterable[str] = (), retry: int = 0) -> None: ...
    def expire(self) -> None: ...
    def lose_history(self) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...
    def token(self, seconds: float = 1_800) -> str: ...
    def cut(self, action: str) -> None: ...
    @property
    def connections(self) -> int: ...


class TimeOfDay(Clock):
    """The clock of this machine."""

    def __call__(self) -> int:
        return now()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The HTTP application: there is none."""


class RealGateway:
    """The gateway of `World` behind a port, in a thread of its own."""

    def __init__(self, configurations: Mapping[str, Any] | None = None) -> None:
        self.url = ""
        self._given = dict(configurations or {})
        self._cuts: list[str] = []
        self._thread = LoopThread()

    def __enter__(self) -> Self:
        self._thread.start()
        self._thread.run(self._open(self._given))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.run(self._close())
        self._thread.stop()

    def change(self, name: str | Mapping[str, Any], value: Any = None, *, by: str = "admin") -> int:
        return self._thread.run(self._change({name: value} if isinstance(name, str) else name, by))

    def value(self, name: str) -> str | None:
        async def find() -> str | None:
            record = self._world.ledger.kind("configuration").live.get(name)
            return None if record is None or record.content is None else record.content.decode()

        return self._thread.run(find())

    def drop(self) -> None:
        self._thread.run(self._drop())

    def drain(self, alternatives: Iterable[str] = (), retry: int = 0) -> None:
        """The gateway chooses a time up to `retry`."""

        async def drain() -> None:
            shared = self._sockets.shared
            shared.settings = msgspec.structs.replace(shared.settings, alternatives=",".join(alternatives))
            shared.spread = retry / 1_000
            for socket in list(self._sockets.open_sockets.values()):
                socket.shutdown()

        self._thread.run(drain())

    def expire(self) -> None:
        """The tokens are revoked, which pauses subscriptions as their expiry does."""

        async def expire() -> None:
            await self._ask(TokenRevoke(userId=ADMIN))

        self._thread.run(expire())

    def lose_history(self) -> None:
        """The ledger is made anew with the same configurations, as from a dump; connections do not survive that."""

        async def lose() -> None:
            live = self._world.ledger.kind("configuration").live
            kept = {name: msgspec.json.decode(record.content or b"null") for name, record in live.items()}
            await self._close()
            await self._open(kept)

        was_running = self._server.is_serving()
        self.stop()
        self._thread.run(lose())
        if was_running:
            self.start()

    def stop(self) -> None:
        self._thread.run(self._stop())

    def start(self) -> None:
        self._thread.run(self._start())

    def token(self, seconds: float = 1_800) -> str:
        async def mint() -> str:
            user = self._world.users.by_id(ADMIN)
            assert user is not None
            end, generation = now() + round(seconds * 1_000), user.content.generation
            claims = Claims([0], end, ACCESS, ADMIN, n=["*"], dt=["*"], g=generation, i=now())
            return self._world.tokens.mint(claims)

        return self._thread.run(mint())

    def cut(self, action: str) -> None:
        """The connection is cut as soon as the request has been carried out, before its answer is written."""

        async def watch() -> None:
            def stored(_: object) -> None:
                if action in self._cuts:
                    self._cuts.remove(action)
                    for socket in list(self._sockets.open_sockets.values()):
                        socket.transport.abort()

            self._cuts.append(action)
            self._world.ledger.observe(stored, "configuration")

        self._thread.run(watch())

    @property
    def connections(self) -> int:
        return len(self._sockets.open_sockets)

    # In its thread.

    async def _open(self, configurations: Mapping[str, Any]) -> None:
        self._world = await World(clock=TimeOfDay(), anonymous_rate=0).open()
        await seeds.write(self._world.ledger, self._world.users)
        if configurations:
            await self._change(configurations, "admin")
        self._world.hub.start()
        self._timers = Timers(self._world.dispatcher)
        self._timers.start()
        admission = Admission(self._world.services.settings)
        self._sockets = Sockets(self._world.dispatcher, admission, partial(caller_of, self._world.services))
        config = Config(nothing, interface="asgi3", ws=self._sockets.open, lifespan="off", log_config=None)  # type: ignore[arg-type]
        config.load()
        self._connection: Callable[[], HttpProtocol] = partial(
            HttpProtocol, admission, lambda path: {}, frozenset[bytes](), config, ServerState(), {}
        )

    async def _close(self) -> None:
        await self._timers.close()
        await self._world.hub.close()
        await self._world.close()

    async def _start(self) -> None:
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self._server = await asyncio.get_running_loop().create_server(self._connection, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._server.close()
        await self._drop()
        await self._server.wait_closed()

    async def _drop(self) -> None:
        while self._sockets.open_sockets:
            for socket in list(self._sockets.open_sockets.values()):
                socket.transport.abort()
            await asyncio.sleep(0)

    async def _change(self, given: Mapping[str, Any], by: str) -> int:
        writes = []
        for name, value in given.items():
            if value is None:
                writes.append(Write("configuration", name, None))
            else:
                text, content_type = values.encode(value, None)
                writes.append(Write("configuration", name, text.encode(), content_type))
        await self._world.ledger.commit(Transaction(writes, by))
        return self._world.ledger.revision

    async def _ask(self, request: Request) -> Any:
        return await self._world.ask(request, self._world.caller())


class FleetGateway(RealGateway):
    """The same with a fleet: whatever an administrator asks, and tokens of devices."""

    def do(self, action: str, /, **members: Any) -> Any:
        """The reply to a request of an administrator."""

        async def ask() -> Any:
            request = build(REQUESTS[action], decode_members(msgspec.json.encode(members)))
            reply = await self._world.ask(request, self._world.caller())
            return msgspec.json.decode(b"{%b}" % reply.members())

        return self._thread.run(ask())

    def change(
        self, name: str | Mapping[str, Any], value: Any = None, *, by: str = "admin", layer: str | None = None
    ) -> int:
        """Write configurations, or values of a layer."""
        if layer is None:
            return super().change(name, value, by=by)
        self.put(layer, **({name: value} if isinstance(name, str) else name))
        return 0

    def put(self, layer: str, **values: str | None) -> None:
        """Put values into a layer in one transaction, or delete them."""
        puts = [{"operation": "put", "name": name, "value": value, "layer": layer} for name, value in values.items()]
        for change in puts:
            if change["value"] is None:
                change["operation"] = "delete"
                del change["value"]
        self.do("configuration/transact", changes=puts)

    def device_token(self, *devices: str) -> str:
        """A token of these devices, registered before."""

        async def mint() -> str:
            return self._world.token(ADMIN, [Permission.SYNC_CONFIGURATION], d=[*devices])

        return self._thread.run(mint())

    def states(self, device: str) -> dict[str, tuple[str, str]]:
        """Of each name of a device the value that counts and its state."""
        found = self.do("device/effective", deviceId=device)["configurations"]
        return {each["name"]: (each["value"], each["state"]) for each in found}

    async def _open(self, configurations: Mapping[str, Any]) -> None:
        await super()._open(configurations)
        self._parts = self._world.services.fleet, self._world.services.progress, self._world.services.fleet_watch
        for part in self._parts:
            part.start()

    async def _close(self) -> None:
        for part in reversed(self._parts):
            await part.close()
        await super()._close()
