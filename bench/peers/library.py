"""The same load through a library, `nats-py`: whether the client made here for NATS is the better one.

A process of its own like `bench.peers.load`, which prints the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

import nats
import uvloop

from bench.peers.load import WARM_SECONDS
from bench.peers.peer import NAMES, VALUE
from bench.servers import GENERATOR_CORES, cpu_seconds, pin


async def work(options: argparse.Namespace) -> dict[str, Any]:
    """Puts or gets a second on so many connections, one in flight on each."""
    done = 0

    async def ask(number: int, bucket: Any) -> None:
        nonlocal done
        turn = 0
        while True:
            name = f"bench.{number}.{turn % NAMES}"
            if options.work == "put":
                await bucket.put(name, VALUE)
            elif (await bucket.get(name)).value != VALUE:
                raise RuntimeError("another value")
            turn, done = turn + 1, done + 1

    connections = [await nats.connect(f"nats://127.0.0.1:{options.port}") for _ in range(options.connections)]
    buckets = [await connection.jetstream().key_value("bench") for connection in connections]
    tasks = [asyncio.ensure_future(ask(number, bucket)) for number, bucket in enumerate(buckets)]
    await asyncio.sleep(min(WARM_SECONDS, options.seconds))
    before, answers = (time.perf_counter(), time.process_time(), cpu_seconds(options.pid)), done
    await asyncio.sleep(options.seconds)
    after, answers = (time.perf_counter(), time.process_time(), cpu_seconds(options.pid)), done - answers
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    elapsed, own, server = (late - early for late, early in zip(after, before, strict=True))
    return {"value": answers / elapsed, "generator": own / elapsed, "server": server / elapsed}


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["put", "get"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    pin(GENERATOR_CORES)
    print(json.dumps(uvloop.run(work(options))), flush=True)


if __name__ == "__main__":
    main()
