"""The load of several gateways on one log, or of an etcd cluster: raw frames, in a process of its own.

Each line of input is a turn, each line of output says what was measured in it: the rate, how long one request took, how
busy this process was, and how much processor time the servers took for a request.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import random
import statistics
import time
from typing import Any

import msgspec
import uvloop
from websockets.asyncio.client import connect

from bench import turns
from bench.generator import Connection, frames, proof
from bench.peers.etcd import Etcd, EtcdClient
from bench.peers.peer import opened
from bench.servers import cpu_seconds

PATH = "/api/websocket"


class Timed(Connection):
    """A client with one request in flight, which notes how long each took."""

    def __init__(self, token: str, number: int, kind: str) -> None:
        super().__init__(PATH, token, frames(kind, number), proof(kind))
        self.times: list[float] = []
        self._at = 0.0

    def send(self, count: int) -> None:
        now = time.perf_counter()
        if self._sent:
            self.times.append(now - self._at)
        self._at = now
        super().send(count)


class TimedEtcd(EtcdClient):
    """The same for etcd."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        peer = Etcd()
        super().__init__(options, number, peer.requests("put", peer.names(number)), None)
        self.times: list[float] = []
        self.going = False
        self._at = 0.0

    @property
    def waiting(self) -> bool:
        return self.answers < self._sent

    def start(self) -> None:
        super().send(1)
        self._at = time.perf_counter()

    def send(self, count: int) -> None:
        now = time.perf_counter()
        self.times.append(now - self._at)
        self._at = now
        if self.going:
            super().send(count)


async def clients(options: argparse.Namespace) -> list[Any]:
    """All connections, on the ports in turn, ready."""
    loop = asyncio.get_running_loop()
    found: list[Any] = []
    for number in range(options.connections * len(options.ports)):
        port = options.ports[number % len(options.ports)]
        if options.store == "etcd":
            here = argparse.Namespace(port=port, work="put")
            found.append(await opened(here, TimedEtcd(here, number)))
            continue
        client = Timed(options.token, number, options.kind)
        await loop.create_connection(functools.partial(lambda same: same, client), "127.0.0.1", port)
        await client.ready
        found.append(client)
    return found


async def load(options: argparse.Namespace) -> None:
    """Measure a turn for each line of input."""
    connections = await clients(options)
    reader = await turns.lines()
    print(flush=True)
    while await reader.readline():
        for client in connections:
            client.times.clear()
        cpu, answers = sum(map(cpu_seconds, options.pids)), sum(client.answers for client in connections)
        found = await turns.turn(connections, options.seconds, turns.SHORT_WARM_UP)
        done = sum(client.answers for client in connections) - answers
        found["cpu"] = (sum(map(cpu_seconds, options.pids)) - cpu) / done * 1e6
        times = sorted(each for client in connections for each in client.times)
        found["p50"], found["p99"] = (1_000 * times[int(part * len(times))] for part in (0.5, 0.99))
        print(json.dumps(found), flush=True)
    turns.finish(connections)


async def elsewhere(options: argparse.Namespace) -> None:
    """Put at the first port, then get at the second one with `atLeast`, again and again: milliseconds of both and of
    the get alone."""
    headers = {"Authorization": f"Bearer {options.token}"}
    urls = [f"ws://127.0.0.1:{port}{PATH}" for port in options.ports[:2]]
    both, read = [], []
    async with (
        connect(urls[0], additional_headers=headers, compression=None) as writer,
        connect(urls[1], additional_headers=headers, compression=None) as reader,
    ):
        for number in range(options.count):
            value, began = f"value {number}", time.perf_counter()
            request = {"action": "configuration/put", "name": "elsewhere", "value": value, "requestId": 1}
            await writer.send(msgspec.json.encode(request), text=True)
            revision = msgspec.json.decode(await writer.recv())["revision"]
            written = time.perf_counter()
            request = {"action": "configuration/get", "name": "elsewhere", "atLeast": revision, "requestId": 1}
            await reader.send(msgspec.json.encode(request), text=True)
            reply = msgspec.json.decode(await reader.recv())
            if reply["configuration"]["value"] != value:
                turns.fail(str(reply).encode())
            both.append(time.perf_counter() - began)
            read.append(time.perf_counter() - written)
    print(json.dumps({"both": 1_000 * statistics.median(both), "read": 1_000 * statistics.median(read)}))


class Steady:
    """Asks once every few milliseconds, and notes the longest time until an answer."""

    def __init__(self, port: int, token: str, kind: str) -> None:
        self._port, self._token, self._kind = port, token, kind
        self.longest = 0.0
        self.answered = self.refused = 0

    async def run(self, ends: float) -> None:
        """Ask until then."""
        headers = {"Authorization": f"Bearer {self._token}"}
        url = f"ws://127.0.0.1:{self._port}{PATH}"
        members = {"value": "v"} if self._kind == "put" else {}
        request = {"action": f"configuration/{self._kind}", "name": "steady", "requestId": 1, **members}
        succeeded = time.perf_counter()
        async with connect(url, additional_headers=headers, compression=None) as connection:
            while (now := time.perf_counter()) < ends:
                await connection.send(msgspec.json.encode(request), text=True)
                reply = msgspec.json.decode(await connection.recv())
                now = time.perf_counter()
                if reply["status"] == "success":
                    self.longest = max(self.longest, now - succeeded)
                    succeeded, self.answered = now, self.answered + 1
                else:
                    self.refused += 1
                await asyncio.sleep(random.uniform(0, 0.02))


async def steady(options: argparse.Namespace) -> None:
    """Puts and gets on all ports for so many seconds: the longest stand of each."""
    ends = time.perf_counter() + options.seconds
    found = {kind: [Steady(port, options.token, kind) for port in options.ports] for kind in ("put", "get")}
    await asyncio.gather(*(each.run(ends) for those in found.values() for each in those))
    print(json.dumps({kind: max(each.longest for each in those) for kind, those in found.items()}))


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["load", "elsewhere", "steady"])
    parser.add_argument("--store", choices=["hivewire", "etcd"], default="hivewire")
    parser.add_argument("--kind", choices=["put", "get"], default="put")
    parser.add_argument("--ports", type=int, nargs="+", required=True)
    parser.add_argument("--pids", type=int, nargs="*", default=[])
    parser.add_argument("--token", default="")
    parser.add_argument("--connections", type=int, default=50, help="on each port")
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    uvloop.run({"load": load, "elsewhere": elsewhere, "steady": steady}[options.work](options))


if __name__ == "__main__":
    main()
