"""The Python client: how fast it reads, writes and takes a state, what a name costs it, and how many come back at once.

`rows` measures all of it. As a process, `writes` puts in turns through the client and with raw frames over a socket of
the same process and event loop, 16 in flight each, and prints the rates of both; `returns` cuts many clients off at
once, and prints after how many seconds each is live again.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import statistics
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from bench import generator, servers, turns
from bench.generator import frames, name_of, proof
from bench.measures import Row, log_in
from bench.servers import generate, obey
from hivewire_client import Hivewire
from hivewire_client.connection import Connection, Frame
from hivewire_client.replica import Replica

IN_FLIGHT = 16
NAMES = 10_000
PER_FRAME = 2_000
GETS = 200_000
TURN = 0.25
CLIENTS, BATCH = 1_000, 50
VALUE = "v" * 20


class Limits(msgspec.Struct):
    """A typed value."""

    max: int


def rows(folder: Path, seconds: float) -> list[Row]:
    """All figures of the client."""
    with servers.gateway(folder / "client.db") as server:
        token = log_in(server)
        where = {"port": server.port, "path": server.path, "token": token}
        found = generate("bench.client", "writes", **where, seconds=seconds)
        back = generate("bench.client", "returns", **where, clients=CLIENTS)["seconds"]
    fullest = max(Counter(int(each * 10) for each in back).values())
    size, taken = state()
    ratios = [client / raw for client, raw in zip(found["client"], found["raw"], strict=True)]
    return [
        Row("client: get of a decoded value", reads(), "/s", at_least=2_000_000),
        Row("client: put, 1 x 16", statistics.median(found["client"]), "/s"),
        Row("raw socket: put, 1 x 16", statistics.median(found["raw"]), "/s"),
        Row("client: put / raw socket, 1 x 16", statistics.median(ratios), "x", at_least=0.5),
        Row("client: memory of a name beside its value", size, "B", at_most=400),
        Row(f"client: applying a state of {NAMES:,}", taken * 1_000, "ms", at_most=100),
        Row(
            f"client: {CLIENTS:,} are cut off at once: the most that are back in 100 ms",
            fullest,
            "",
            at_most=CLIENTS / 10,
        ),
    ]


def snapshot() -> list[Frame]:
    """The pushes of a state."""
    found = [{"name": name_of(number), "value": VALUE, "entityVersion": 7} for number in range(NAMES)]
    return [
        Frame("configuration/snapshot", data=json.dumps({"configurations": found[first : first + PER_FRAME]}).encode())
        for first in range(0, NAMES, PER_FRAME)
    ]


def state() -> tuple[float, float]:
    """The bytes of a name beside its value, and the seconds to apply a state."""
    pushes = snapshot()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    replica = Replica(lambda event: None)
    replica.apply(pushes, "e-1", replaces=True)
    size = (tracemalloc.get_traced_memory()[0] - before) / NAMES - len(VALUE)
    tracemalloc.stop()
    taken = []
    for _ in range(5):
        replica = Replica(lambda event: None)
        started = time.perf_counter()
        replica.apply(pushes, "e-1", replaces=True)
        taken.append(time.perf_counter() - started)
    return size, statistics.median(taken)


def reads() -> float:
    """How often a second a decoded value is read, with a default that is made once."""
    hw = Hivewire("http://127.0.0.1", token="none")
    frame = json.dumps({"configurations": [{"name": "limits", "value": '{"max":5}', "entityVersion": 1}]}).encode()
    hw._replica.apply([Frame("configuration/snapshot", data=frame)], "e-1", replaces=True)
    default, rates = Limits(1), []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(GETS):
            hw.get("limits", Limits, default)
        rates.append(GETS / (time.perf_counter() - started))
    return statistics.median(rates)


async def writes(options: argparse.Namespace) -> dict[str, list[float]]:
    """Puts per second of each turn, through the client and raw."""
    raw = generator.Connection(options.path, options.token, frames("put", 0), proof("put"))
    await asyncio.get_running_loop().create_connection(functools.partial(lambda: raw), "127.0.0.1", options.port)
    await raw.ready
    raw.in_flight = IN_FLIGHT
    found: dict[str, list[float]] = {"client": [], "raw": []}
    async with Hivewire(f"http://127.0.0.1:{options.port}", token=options.token, names=[]) as hw:
        await hw.ready(30)
        for _ in range(max(1, round(options.seconds / TURN / 2))):
            found["raw"].append((await turns.turn([raw], TURN, turns.SHORT_WARM_UP))["rate"])
            found["client"].append(await through(hw))
    turns.finish([raw])
    return found


async def through(hw: Hivewire) -> float:
    """Puts per second through the client in one turn."""
    done, end = 0, time.perf_counter() + TURN

    async def put(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await hw.put(name_of(number), VALUE)
            done += 1
            number += IN_FLIGHT

    started = time.perf_counter()
    await asyncio.gather(*(put(number) for number in range(IN_FLIGHT)))
    return done / (time.perf_counter() - started)


async def returns(options: argparse.Namespace) -> dict[str, list[float]]:
    """Cut all clients off in the same moment, and wait until all are live again; the seconds until each has come back.

    That is when it connects: how fast so many handshakes are done says more of this machine.
    """
    url = f"http://127.0.0.1:{options.port}"
    clients = [Hivewire(url, token=options.token, names=[name_of(0)], timeout=120) for _ in range(options.clients)]
    for first in range(0, len(clients), BATCH):
        batch = clients[first : first + BATCH]
        await asyncio.gather(*(each.__aenter__() for each in batch))
        await asyncio.gather(*(each.ready(60, stale=False) for each in batch))
    found: list[float] = []
    opened = Connection.open
    cut = time.perf_counter()

    async def noted(*given: Any) -> Connection:
        found.append(time.perf_counter() - cut)
        return await opened(*given)

    with patch.object(Connection, "open", noted):
        for each in clients:
            assert each._link.connection is not None
            each._link.connection.abort()
        while len(found) < len(clients) or any(each.state != "live" for each in clients):
            await asyncio.sleep(0.1)
    await asyncio.gather(*(each.close() for each in clients))
    return {"seconds": found}


if __name__ == "__main__":
    obey({"writes": writes, "returns": returns}, seconds=2.0, clients=CLIENTS)
