"""The load of one store, in a process of its own: `python -m bench.peers.load STORE fill|put|get|fan|hold`.

A closed loop like `bench.generator`'s: so many connections, one request in flight on each, every answer checked.
It prints one JSON object, with how busy its core was and how busy the server was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from typing import Any

import uvloop

from bench.peers import BROKERS, PEERS
from bench.peers.peer import NAMES, Peer
from bench.servers import GENERATOR_CORES, cpu_seconds, pin
from bench.turns import finish, lines
from bench.watchers import Latch

WARM_SECONDS = 0.5
WARM_PUTS = 10
DRAWN = 2_000
"""Names that each connection draws from those of a large store."""


def names(peer: Peer, options: argparse.Namespace, number: int) -> list[str]:
    """The names that a connection uses in turn: its own, or drawn from all of a filled store (`measures.fill`)."""
    if not options.entries:
        return peer.names(number)
    draw = random.Random(number)
    return [f"bench.{draw.randrange(options.entries):014d}" for _ in range(DRAWN)]


async def started(peer: Peer, options: argparse.Namespace, work: str) -> list[Any]:
    """Connections that are at work."""
    clients = []
    for number in range(options.connections):
        requests = peer.requests(work, names(peer, options, number))
        clients.append(await peer.connect(options, number, requests, None))
    for client in clients:
        client.send(1)
    return clients


async def fill(peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """Put every name once at least, so that there is something to get."""
    clients = await started(peer, options, "put")
    while min(client.answers for client in clients) < NAMES:
        await asyncio.sleep(0.01)
    finish(clients)
    return {}


async def rate(peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """Requests per second, after a moment to warm up."""
    clients = await started(peer, options, options.work)
    await asyncio.sleep(min(WARM_SECONDS, options.seconds))
    before, answers = _clocks(options), sum(client.answers for client in clients)
    done = 0
    while not done:  # the caller stops a server that answers nothing at all
        await asyncio.sleep(options.seconds)
        after, done = _clocks(options), sum(client.answers for client in clients) - answers
    finish(clients)
    elapsed, own, server = (late - early for late, early in zip(after, before, strict=True))
    return {"value": done / elapsed, "generator": own / elapsed, "server": server / elapsed}


def _clocks(options: argparse.Namespace) -> tuple[float, float, float]:
    return time.perf_counter(), time.process_time(), cpu_seconds(options.pid)


async def fan(peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds from sending a put until the last watcher has it: the median, and the 99th percentile."""
    latch, answers = Latch(), Latch()
    watchers = [await peer.watch(options, number, latch) for number in range(options.connections)]
    writer = await peer.connect(options, len(watchers), peer.requests("put", ["fan.1"]), answers)
    times = []
    before = (0.0, 0.0, 0.0)
    for number in range(options.puts + WARM_PUTS):
        if number == WARM_PUTS:
            before = _clocks(options)
        everything, answer = latch.expect(len(watchers)), answers.expect(1)
        started = time.perf_counter()
        writer.send(1)
        await everything
        last = time.perf_counter() - started
        await answer
        if number >= WARM_PUTS:
            times.append(last * 1_000)
    elapsed, own, server = (late - early for late, early in zip(_clocks(options), before, strict=True))
    finish([*watchers, writer])
    times.sort()
    return {
        "value": times[len(times) // 2],
        "p99": times[int(len(times) * 0.99)],
        "generator": own / elapsed,
        "server": server / elapsed,
    }


async def hold(peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """Hold idle watchers; each line of input says how many more, each line of output that they are."""
    latch = Latch()
    held: list[Any] = []
    reader = await lines()
    while line := await reader.readline():
        for _ in range(int(line)):
            held.append(await peer.watch(options, len(held), latch))
        print(len(held), flush=True)
    finish(held)
    return {}


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", choices=[*PEERS, *BROKERS])
    parser.add_argument("work", choices=["fill", "put", "get", "fan", "hold"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--token", default="")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--puts", type=int, default=100)
    parser.add_argument("--entries", type=int, default=0, help="draw names from a store filled with so many")
    options = parser.parse_args()
    pin(GENERATOR_CORES)
    work = {"fill": fill, "fan": fan, "hold": hold}.get(options.work, rate)
    print(json.dumps(uvloop.run(work((PEERS | BROKERS)[options.store](), options))), flush=True)


if __name__ == "__main__":
    main()
