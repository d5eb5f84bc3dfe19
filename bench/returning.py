"""The load of watchers that come back: all at once, each with the position that it had before the gateway restarted.

`position` prints a position and puts what the watchers will have missed; `watchers` brings them back and prints the
seconds until the last one is live; `writer` puts, one request at a time, until its input ends, and prints how long each
put took. Each is a process of its own, so that nobody's work delays what another one measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from contextlib import suppress
from typing import Any

from bench.servers import TRUSTING, obey
from bench.turns import finish, lines
from bench.watchers import PUT, Latch, Watcher, masked_long

MISSED = 5
"""Puts that each watcher missed."""


async def connected(options: argparse.Namespace, latch: Latch) -> Watcher:
    """A client that has logged in, over TLS if that is asked for."""
    tls = TRUSTING if options.tls else None
    loop = asyncio.get_running_loop()
    _, watcher = await loop.create_connection(lambda: Watcher(options, latch), "127.0.0.1", options.port, ssl=tls)
    await watcher.ready
    return watcher


async def position(options: argparse.Namespace) -> dict[str, Any]:
    """The position of the ledger, behind which the missed puts stand."""
    latch = Latch()
    latch.keep = True
    client = await connected(options, latch)
    subscribed = latch.expect(1)
    client.ask(action="configuration/subscribe", requestId=1, names=["none"], snapshot=False)
    await subscribed
    found = re.search(rb'"position":"([^"]+)"', latch.data[client])
    assert found is not None
    for _ in range(MISSED):
        written = latch.expect(1)
        client.ask(**PUT)
        await written
    finish([client])
    return {"position": found[1].decode()}


async def watchers(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the first connection until each watcher has everything that it missed, and this process's share."""
    latch = Latch()
    everybody = latch.expect(options.watchers * (1 + MISSED))

    async def come_back() -> Watcher:
        watcher = await connected(options, latch)
        watcher.ask(action="configuration/subscribe", requestId=1, names=["fan.*"], since=options.since)
        return watcher

    started, worked = time.perf_counter(), time.process_time()
    back = await asyncio.gather(*(come_back() for _ in range(options.watchers)))
    await everybody
    seconds = time.perf_counter() - started
    finish(back)
    return {"seconds": seconds, "busy": (time.process_time() - worked) / seconds}


async def writer(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each put of a name that nobody watches, from the end of the first line of the input to its end."""
    with suppress(PermissionError):
        os.nice(-10)  # it shares its core with the watchers, and must not wait for them
    answers = Latch()
    client = await connected(options, answers)
    print("{}", flush=True)
    reader = await lines()
    await reader.readline()
    frame = masked_long(json.dumps({**PUT, "name": "quiet"}).encode())
    taken: list[float] = []
    while not reader.at_eof() or len(taken) < 10:
        answered = answers.expect(1)
        started = time.perf_counter()
        client._transport.write(frame)
        await answered
        taken.append(time.perf_counter() - started)
        await asyncio.sleep(0.001)  # its own load is not what is measured
    finish([client])
    return {"taken": taken}


if __name__ == "__main__":
    obey({"position": position, "watchers": watchers, "writer": writer}, tls=False, since="", watchers=10_000)
