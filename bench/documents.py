"""The load of a tenant's configuration document: saving it, reading it, and reading other things meanwhile.

Like `bench.generator` it speaks raw bytes from a process of its own, checks every answer, and prints one JSON object.
The document is the one that the tests use: `tests/documents.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import time
from collections import deque
from typing import Any

import msgspec
import uvloop
from tests.documents import realistic

from bench.generator import Connection, connect
from bench.servers import GENERATOR_CORES, pin
from bench.turns import fail, finish

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)

PROBES, EVERY = 10, 0.02
"""Sockets that ask for a configuration, and seconds between two questions of one, answered or not."""


class Http(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self, token: str) -> None:
        self._head = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
        self._answer: asyncio.Future[int]
        self._parts: list[bytes] = []
        self._missing = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def request(self, method: str, path: str, body: bytes = b"") -> asyncio.Future[int]:
        """The number of bytes in the body of the answer, which must be 200 or 201."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parts, self._missing = [], -1
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            data = b"".join([*self._parts, data])
            end, length = data.find(b"\r\n\r\n"), LENGTH.search(data)
            if end < 0:
                self._parts = [data]
                return
            if not data.startswith(b"HTTP/1.1 20") or length is None:
                fail(data)
                return
            self._size = self._missing = int(length[1])
            data = data[end + 4 :]
        self._missing -= len(data)
        if not self._missing:
            self._answer.set_result(self._size)


class Probe(Connection):
    """A socket that asks again and again, and notes how long each answer took."""

    def __init__(self, path: str, token: str | None, requests: list[bytes], proof: bytes | None) -> None:
        super().__init__(path, token, requests, proof)
        self._asked: deque[float] = deque()
        self.seconds: list[float] = []

    def ask(self) -> None:
        self._asked.append(time.perf_counter())
        self._transport.write(self._requests[0])

    def _count(self, data: bytes) -> None:
        for _ in range(self._answers(data)):
            self.seconds.append(time.perf_counter() - self._asked.popleft())


async def _connected(options: argparse.Namespace) -> Http:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(lambda: Http(options.token), "127.0.0.1", options.port))[1]


async def save(options: argparse.Namespace) -> None:
    """Milliseconds of a PUT, and of decoding and encoding the same bytes with msgspec; medians."""
    body = _body(options)
    client = await _connected(options)
    await client.request("PUT", options.document, body)
    puts, codec = [], []
    for _ in range(options.puts):
        puts.append(await _seconds(client.request("PUT", options.document, body)))
        started = time.perf_counter()
        msgspec.json.encode(msgspec.json.decode(body))
        codec.append(time.perf_counter() - started)
    _print(put=1_000 * statistics.median(puts), codec=1_000 * statistics.median(codec), size=len(body))


async def get(options: argparse.Namespace) -> None:
    """GETs a second over `seconds`, after half a second to warm up, and the size of the answer."""
    clients = [await _connected(options) for _ in range(options.connections)]
    count = size = 0

    async def read(client: Http) -> None:
        nonlocal count, size
        while True:
            size = await client.request("GET", options.document)
            count += 1

    tasks = [asyncio.create_task(read(client)) for client in clients]
    await asyncio.sleep(0.5)
    before, started = count, time.perf_counter()
    await asyncio.sleep(options.seconds)
    rate = (count - before) / (time.perf_counter() - started)
    for task in tasks:
        task.cancel()
    _print(rate=rate, size=size)


async def beside(options: argparse.Namespace) -> None:
    """How long other sockets' gets take (milliseconds): p99 while nothing happens; p99 and longest during the PUTs."""
    body = _body(options)
    client = await _connected(options)
    await client.request("PUT", options.document, body)
    probes = await connect(options, PROBES, Probe)
    idle = await _probed(probes, asyncio.sleep(options.seconds))

    async def puts() -> None:
        for _ in range(options.puts):
            await client.request("PUT", options.document, body)

    during = await _probed(probes, puts())
    finish(probes)
    p99 = {name: sorted(times)[int(0.99 * len(times))] for name, times in (("idle", idle), ("during", during))}
    _print(idle=1_000 * p99["idle"], during=1_000 * p99["during"], longest=1_000 * max(during), size=len(body))


async def _probed(probes: list[Any], meanwhile: Any) -> list[float]:
    """Seconds that each get took while something else ran."""
    for probe in probes:
        probe.seconds = []
    task = asyncio.ensure_future(meanwhile)
    turn = 0
    while not task.done():
        probes[turn % len(probes)].ask()
        turn += 1
        await asyncio.sleep(EVERY / len(probes))
    await task
    return [seconds for probe in probes for seconds in probe.seconds]


def _body(options: argparse.Namespace) -> bytes:
    return msgspec.json.encode(realistic(entity_types=options.entity_types))


async def _seconds(answer: asyncio.Future[int]) -> float:
    started = time.perf_counter()
    await answer
    return time.perf_counter() - started


def _print(**found: float) -> None:
    print(json.dumps(found), flush=True)


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["save", "get", "beside"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--document", default="/", help="the document's path")
    parser.add_argument("--path", default="/", help="the socket's path")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--entity-types", type=int, default=20)
    parser.add_argument("--puts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2)
    parser.set_defaults(kind="get")
    options = parser.parse_args()
    pin(GENERATOR_CORES)
    uvloop.run({"save": save, "get": get, "beside": beside}[options.work](options))


if __name__ == "__main__":
    main()
