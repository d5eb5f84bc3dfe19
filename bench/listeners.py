"""The load of devices that listen to what they should have: edits, rollouts, coming back, reports, effective values.

Like `bench.watchers` it speaks raw frames from a process of its own and counts every one of them. It connects its
devices, prints a line, and answers each line of input, `WORK NUMBER`, with one JSON object: see WORKS.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import uvloop

from bench.generator import SUCCESS, Connection, device_of, masked
from bench.servers import GENERATOR_CORES, pin
from bench.turns import fail, finish, lines
from bench.watchers import Latch, masked_long

UPDATE, LAST, REFUSED = b'"action":"configuration/update"', b'"last":true', b'"status":"error"'
FEW, NAMES = 10, 20
"""Devices of the small layer, and names that are read at once."""
MISSED = 5
"""Edits that each device missed."""
MINT = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
MANY = 1 << 60
"""Frames that nobody waits for."""
QUIET = 0.5
"""Seconds without a frame after which a rollout's step has reached everybody."""
SAVED = 3.0
"""Seconds without a frame after which the gateway has nothing left to do for a step."""
GROUP, AT_ONCE = 250, 50
"""Devices of one token, which has to fit into a frame; devices that connect at the same time."""
IN_FLIGHT, SPAN, NAMES_READ = 16, 50, 1_000
"""Requests in flight of one connection; connections of a load of requests; devices or names in each."""


class Listener(Connection):
    """A connection that counts down a latch for each frame with one of its marks."""

    def __init__(self, options: argparse.Namespace, latch: Latch, token: str | None, marks: tuple[bytes, ...]) -> None:
        super().__init__(options.path, token, [], None)
        self.latch, self.marks = latch, marks
        self.seen = b""

    def _count(self, data: bytes) -> None:
        _, whole = self._texts(data)
        if REFUSED in whole:
            fail(whole)
        self.seen = whole or self.seen
        if found := sum(map(whole.count, self.marks)):
            self.latch.take(found, whole, self)  # type: ignore[arg-type]  # it keeps no data here

    def ask(self, **request: Any) -> None:
        """Send a request."""
        self._transport.write(masked_long(json.dumps({"requestId": 1, **request}).encode()))


class Site:
    """The devices, and an administrator, each with a connection."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.latch, self.answers = Latch(), Latch()
        self.devices: list[Listener] = []
        self.tokens: list[str | None] = []
        self.number = 0

    async def connect(self, latch: Latch, token: str | None, *marks: bytes) -> Listener:
        """One more connection."""
        listener = Listener(self.options, latch, token, marks)
        await self._open(listener)
        return listener

    async def _open(self, connection: Connection) -> None:
        await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", self.options.port)
        await connection.ready

    async def request(self, **request: Any) -> dict[str, Any]:
        """The answer that the administrator gets."""
        answered = self.answers.expect(1)
        self.admin.ask(**request)
        await answered
        text = self.admin.seen
        found: dict[str, Any] = json.loads(text[text.index(b"{") :])
        return found

    async def open(self) -> None:
        """Connect all: devices, with `plain` followers of plain configurations, without a token to a raw fan-out."""
        options = self.options
        self.admin = await self.connect(self.answers, options.token, SUCCESS)
        for first in range(0, options.devices, GROUP):
            ids = [device_of(number) for number in range(first, min(first + GROUP, options.devices))]
            if options.plain or options.token is None:
                self.tokens.append(options.token)
            else:
                made = await self.request(action="token/create", payload=MINT | {"deviceIds": ids})
                self.tokens.append(made["accessToken"])
        self.devices = await self._connected(UPDATE, LAST)

    async def _connected(self, *marks: bytes) -> list[Listener]:
        """A connection of each device, some at a time."""
        found: list[Listener] = []
        for first in range(0, self.options.devices, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, self.options.devices))
            made = (self.connect(self.latch, self.tokens[number // GROUP], *marks) for number in numbers)
            found += await asyncio.gather(*made)
        return found

    def subscribe(self, listener: Listener, number: int, since: str | None = None) -> None:
        """Follow what the device should have; what is plain with the same names."""
        what = {"names": ["n.*"]} if self.options.plain else {"deviceId": device_of(number)}
        listener.ask(action="configuration/subscribe", **what, **({"since": since} if since else {}))

    # Works.

    async def follow(self, _: int) -> dict[str, Any]:
        """All begin to follow."""
        there = self.latch.expect(len(self.devices))
        for number, device in enumerate(self.devices):
            self.subscribe(device, number)
        await there
        return {"devices": len(self.devices)}

    async def edit(self, times: int, layer: str = "global", name: str = "n.00") -> dict[str, Any]:
        """Seconds of edits of a layer until the last device has each."""
        found = []
        for _ in range(times):
            self.number += 1
            pushed = self.latch.expect(min(FEW, len(self.devices)) if layer == "few" else len(self.devices))
            answered = self.answers.expect(1)
            where = {} if self.options.plain else {"layer": layer}
            began = time.perf_counter()
            self.admin.ask(action="configuration/put", name=name, value=f"{self.number:020}", **where)
            await pushed
            found.append(time.perf_counter() - began)
            await answered
        return {"pushed": found}

    async def few(self, times: int) -> dict[str, Any]:
        """The same for a layer of ten devices."""
        return await self.edit(times, "few", "n.01")

    async def resume(self, _: int) -> dict[str, Any]:
        """Seconds until all have come back, each behind a few edits; their connections were there already."""
        found = re.findall(rb'"position":"([^"]+)"', self.devices[-1].seen)
        finish(self.devices)
        for device in self.devices:
            device._transport.abort()
        for _ in range(MISSED):
            self.number += 1
            where = {} if self.options.plain else {"layer": "global"}
            await self.request(action="configuration/put", name="n.00", value=f"{self.number:020}", **where)
            await self.request(action="configuration/put", name=f"n.1{self.number % 10}", value="x", **where)
        back = self.devices = await self._connected(b'"live":true')
        there = self.latch.expect(len(back))
        began = time.perf_counter()
        for number, device in enumerate(back):
            self.subscribe(device, number, found[-1].decode())
        await there
        seconds = time.perf_counter() - began
        for device in back:
            device.marks = (UPDATE,)
        return {"seconds": seconds}

    async def rollout(self, percent: int) -> dict[str, Any]:
        """The times from the start of a rollout's step for so many devices until the last frame of it has come."""
        steps = [{"percent": percent}, {"percent": 100}]
        change = {"operation": "put", "name": "n.02", "value": "rolled"}
        return await self._until_quiet(QUIET, action="rollout/start", layer="global", changes=[change], steps=steps)

    async def rollback(self, rollout: int) -> dict[str, Any]:
        """Undo a rollout, and wait until the gateway has saved what it knows of the devices."""
        return await self._until_quiet(SAVED, action="rollout/rollback", rollout=rollout)

    async def _until_quiet(self, seconds: float, **request: Any) -> dict[str, Any]:
        """When a request was sent, and when the last frame came before so many seconds without one."""
        self.latch.expect(MANY)
        before = left = MANY
        began = ended = time.perf_counter()
        await self.request(**request)
        while left < before or time.perf_counter() - ended < seconds:
            if left < before:
                ended = time.perf_counter()
            await asyncio.sleep(0.02)
            before, left = left, self.latch.left
        return {"began": began, "ended": ended}

    async def gets(self, count: int) -> dict[str, Any]:
        """When gets, one after the other, were sent, and the milliseconds of each."""
        began, taken = [], []
        for _ in range(count):
            began.append(time.perf_counter())
            await self.request(action="configuration/get", name="n.00")
            taken.append(1_000 * (time.perf_counter() - began[-1]))
        return {"began": began, "taken": taken}

    async def rates(self, milliseconds: int) -> dict[str, Any]:
        """Requests a second of four kinds, in turns: effective values beside a list, and reports beside puts."""
        values = [{"name": f"n.{number:02}", "value": f"{number}"} for number in range(NAMES)]
        kinds: dict[str, Callable[[int], dict[str, Any]]] = {
            "effective": lambda n: {"action": "device/effective", "deviceId": device_of(n), "names": ["n.*"]},
            "list": lambda n: {"action": "configuration/list", "names": ["n.*"]},
            "report": lambda n: {"action": "device/report", "deviceId": device_of(n), "report": values[n % NAMES :]},
            "put": lambda n: {"action": "configuration/put", "name": f"bench.{n}", "value": "v" * 20},
        }
        found: dict[str, Any] = {}
        for kind, made in kinds.items():
            found[kind] = await self._rate(kind == "report", made, milliseconds / 1_000)
        return found

    async def _rate(self, as_devices: bool, made: Callable[[int], dict[str, Any]], seconds: float) -> float:
        """Each device may report once a second and twenty times at once, so each request is about another one."""
        clients = []
        for number in range(SPAN):
            token = self.tokens[number % len(self.tokens)] if as_devices else self.options.token
            first = number % len(self.tokens) * GROUP if as_devices else 0
            span = min(GROUP if as_devices else NAMES_READ, len(self.devices) - first)
            asked = [
                masked(json.dumps({"requestId": 1, **made(first + (number * 7 + each) % span)}).encode())
                for each in range(span)
            ]
            client = Connection(self.options.path, token, asked, SUCCESS)
            await self._open(client)
            client.in_flight, client.going = IN_FLIGHT, True
            clients.append(client)
        began = time.perf_counter()
        for client in clients:
            client.start()
        await asyncio.sleep(seconds)
        for client in clients:
            client.going = False
        while any(client.waiting for client in clients):
            await asyncio.sleep(0.002)
        rate = sum(client.answers for client in clients) / (time.perf_counter() - began)
        finish(clients)
        for client in clients:
            client._transport.close()
        return rate


WORKS: dict[str, Callable[[Site, int], Awaitable[dict[str, Any]]]] = {
    "follow": Site.follow,
    "edit": Site.edit,
    "few": Site.few,
    "resume": Site.resume,
    "rollout": Site.rollout,
    "rollback": Site.rollback,
    "gets": Site.gets,
    "rates": Site.rates,
}


async def serve(options: argparse.Namespace) -> None:
    """Answer each line."""
    site = Site(options)
    await site.open()
    print(flush=True)
    reader = await lines()
    while line := (await reader.readline()).decode().split():
        print(json.dumps(await WORKS[line[0]](site, int(line[1]))), flush=True)
    finish([*site.devices, site.admin])


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--token", help="none for a server with nothing but a fan-out")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--plain", action="store_true", help="followers of plain configurations instead of devices")
    parser.add_argument("--first", action="store_true", help="run before other processes, where that is allowed")
    options = parser.parse_args()
    pin(GENERATOR_CORES)
    if options.first:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    uvloop.run(serve(options))


if __name__ == "__main__":
    main()
