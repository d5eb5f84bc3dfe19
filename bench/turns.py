"""Turns: the same connections are busy for a while, then wait, so that two servers can be measured in alternation.

The speed of a shared machine changes from second to second. Two servers that take turns of a quarter of a second meet
the same machine; two runs of several seconds each do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Protocol

WARM_UP = 0.5
"""Seconds before a single measurement begins."""
SHORT_WARM_UP = 0.05
"""Seconds before a turn of many begins: what was warm stays so."""
FIRST_ANSWER = 30
"""Longest wait for the first answer of a connection, in seconds. Before it the server may have to hash a password."""


class Client(Protocol):
    """A connection that asks again whenever it is answered, while it is `going`."""

    answers: int
    going: bool
    finished: bool

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come."""

    def start(self) -> None:
        """Put the first requests of a turn in flight."""


def fail(data: bytes) -> None:
    """End the run with what was received."""
    print(f"unexpected answer: {data[:500]!r}", file=sys.stderr, flush=True)
    os._exit(1)


async def turn(clients: Sequence[Client], seconds: float, warm_up: float) -> dict[str, float]:
    """Requests per second and the share of a core that this process took, once every request is answered."""
    for client in clients:
        client.going = True
        client.start()
    end = time.perf_counter() + FIRST_ANSWER
    while not all(client.answers for client in clients) and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    await asyncio.sleep(warm_up)
    started, before, cpu = time.perf_counter(), sum(each.answers for each in clients), time.process_time()
    await asyncio.sleep(seconds)
    elapsed, busy = time.perf_counter() - started, time.process_time() - cpu
    done = sum(each.answers for each in clients) - before
    for client in clients:
        client.going = False
    while any(client.waiting for client in clients):
        await asyncio.sleep(0.002)
    if not done:
        fail(b"no answers at all")
    return {"rate": done / elapsed, "busy": busy / elapsed}


async def lines() -> asyncio.StreamReader:
    """The lines of standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def measure(clients: Sequence[Client], options: argparse.Namespace) -> None:
    """One turn of `seconds`; with `turns`, one for each line of input. A line of output for each."""
    if options.turns:
        reader = await lines()
        print(flush=True)
        while await reader.readline():
            print(json.dumps(await turn(clients, options.seconds, SHORT_WARM_UP)), flush=True)
    else:
        print(json.dumps(await turn(clients, options.seconds, WARM_UP)), flush=True)
    finish(clients)


def finish(clients: Sequence[Client]) -> None:
    """From here on connections may end."""
    for client in clients:
        client.finished = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every load generator."""
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--turns", action="store_true", help="measure once for each line of standard input")
