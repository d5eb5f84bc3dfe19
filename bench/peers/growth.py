"""Does Hivewire stay as fast when there is more of everything, and is its memory in proportion?"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import measures, servers
from bench.measures import Row
from bench.peers.compare import HIVEWIRE, QUICK, Effort, Load, in_turn
from bench.servers import Server

ACTIVE = 100
"""Connections that send, where connections are what there is more of."""
HOLDERS = 100
"""Connections that share the subscriptions."""


SIZES = {
    "entries": [1_000, 10_000, 100_000, 1_000_000],
    "connections": [100, 1_000, 5_000, 15_000],
    "subscriptions": [100, 1_000, 10_000, 100_000],
}
"""From the smallest to the largest."""
QUICK_SIZES = {"entries": [500], "connections": [120], "subscriptions": [200]}


def measure(folder: Path, effort: Effort, say: Callable[[str], None]) -> dict[str, list[dict[str, Any]]]:
    """For each size: `count`, rates of `put` and `get`, and `memory` in MiB.

    Gateways of all sizes of one kind run beside each other, so that each round measures them all in the same minute.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for what, counts in (QUICK_SIZES if effort == QUICK else SIZES).items():
        with ExitStack() as stack:
            gateways = []
            for count in counts:
                say(f"growth: {count:,} {what}")
                gateways.append(stack.enter_context(_grown(folder, what, count)))
            found[what] = _rates(what, counts, gateways, effort, say)
    return found


def _rates(
    what: str, counts: list[int], gateways: list[tuple[Load, float]], effort: Effort, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    values: dict[tuple[str, int], list[float]] = {}
    busy: dict[tuple[str, int], list[float]] = {}
    for number in range(effort.rounds):
        for work in ("put", "get"):
            say(f"growth: round {number + 1} of {effort.rounds}, {work}, {what}")
            for count, (load, _) in in_turn(list(zip(counts, gateways, strict=True)), number):
                os.sync()
                result = load.run(work, **_options(what, count), seconds=effort.seconds)
                values.setdefault((work, count), []).append(result["value"])
                busy.setdefault((work, count), []).append(result["server"])
    return [
        {
            "count": count,
            "put": statistics.median(values["put", count]),
            "get": statistics.median(values["get", count]),
            "values": {work: values[work, count] for work in ("put", "get")},
            "server": {work: statistics.median(busy[work, count]) for work in ("put", "get")},
            "memory": memory,
        }
        for count, (_, memory) in zip(counts, gateways, strict=True)
    ]


def _options(what: str, count: int) -> dict[str, object]:
    if what == "entries":
        return {"entries": count}
    return {"connections": ACTIVE} if what == "connections" else {}


@contextmanager
def _grown(folder: Path, what: str, count: int) -> Iterator[tuple[Load, float]]:
    """A gateway with so many of it, and its memory in MiB before any load."""
    path = folder / f"{what}-{count}.db"
    if what == "entries":
        asyncio.run(measures.fill(path, count))
    with ExitStack() as stack:
        server = stack.enter_context(servers.gateway(path))
        token = measures.log_in(server)
        if what == "connections":
            _hold(stack, "bench.generator", server, token, count - ACTIVE)
        elif what == "subscriptions":
            _hold(stack, "bench.watchers", server, token, count // HOLDERS, watchers=HOLDERS)
        load, memory = Load(HIVEWIRE, server, token), server.rss() / 1_024
        if what != "entries":
            load.run("fill", **_options(what, count))
        yield load, memory


def _hold(stack: ExitStack, module: str, server: Server, token: str, count: int, **options: object) -> None:
    command = servers.command(module, "hold", port=server.port, path=server.path, token=token, **options)
    greets = module == "bench.watchers"  # it says when its connections stand
    more = stack.enter_context(servers.prompted(command, greets))
    if count:
        more(count)


def ratios(points: list[dict[str, Any]], work: str) -> list[float]:
    """The rate of the largest against that of the smallest, in each round."""
    pairs = zip(points[-1]["values"][work], points[0]["values"][work], strict=True)
    return [late / early for late, early in pairs]


def rows(growth: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """The largest against the smallest, and the memory of one more at the end against one more before."""
    found = []
    for what, points in growth.items():
        first, last = points[0], points[-1]
        span = f"{first['count']:,} to {last['count']:,} {what}"
        for work in ("put", "get"):
            found.append(Row(f"{work}, from {span}", statistics.median(ratios(points, work)), "x", at_least=0.8))
        each = [
            1_024 * (late["memory"] - early["memory"]) / (late["count"] - early["count"])
            for early, late in pairwise(points)
        ]
        if each:
            found.append(Row(f"KiB for each of {span}, at the end", each[-1], "KiB"))
        if len(each) > 1:
            found.append(Row(f"that / KiB for each, {what}, a step before", each[-1] / each[-2], "x", at_most=1.2))
    return found
