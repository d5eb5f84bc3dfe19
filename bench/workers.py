"""`python -m bench.workers`: processor time of a request with `hivewire serve --workers N`, and in one process.

Both gateways get the same load in turns, each turn a second, because the speed of a shared machine drifts. A figure is
the processor time of all processes of a gateway, its parent among them, for each request that it answered; the ratio is
the median of the rounds' ratios. Rates depend on the cores that are free, so they are printed and not bounded.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import servers
from bench.measures import fill_names, log_in
from bench.servers import Server, Turn

HERE = Path(__file__).parent

LOADS: dict[str, tuple[str, int, float | None]] = {
    "get, 50 x 16": ("get", 16, 1.05),
    "durable put, 50 x 16": ("put", 16, 1.6),
    "durable put, 50 x 1": ("put", 1, None),
}
"""The kind of request, how many each connection has in flight, and the bound of the ratio."""

ANSWERED = re.compile(r'^hivewire_requests_total\{.*action="configuration/(?:get|put)".*\} (\S+)$', re.MULTILINE)


class Side(NamedTuple):
    """A gateway, or several under one parent."""

    server: Server
    token: str

    def seconds(self) -> float:
        """Processor time of the process and of those that it started."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        return sum(map(servers.cpu_seconds, [self.server.pid, *map(int, children)]))

    def answered(self) -> float:
        """Requests so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}/metrics") as page:
            return sum(map(float, ANSWERED.findall(page.read().decode())))


class Found(NamedTuple):
    """One turn: microseconds of processor time for each request, and requests a second."""

    microseconds: float
    rate: float


@contextmanager
def started(folder: Path, workers: int) -> Iterator[Side]:
    """Over a new file with names to read and write."""
    with servers.gateway(folder / f"{workers}.db", flags=("--workers", str(workers))) as server:
        token = log_in(server)
        fill_names(server, token)
        yield Side(server, token)


def measured(side: Side, turn: Turn) -> Found:
    """Take a turn. What it costs to ask for the metrics is not counted."""
    answered = side.answered()
    seconds = side.seconds()
    rate = turn()["rate"]
    seconds = side.seconds() - seconds
    return Found(seconds / (side.answered() - answered) * 1e6, rate)


def compare(folder: Path, workers: int, rounds: int) -> dict[str, list[tuple[Found, Found]]]:
    """For each load the turns of one process and of several, round by round."""
    found: dict[str, list[tuple[Found, Found]]] = {}
    with ExitStack() as gateways:
        sides = [gateways.enter_context(started(folder, count)) for count in (1, workers)]
        for name, (kind, in_flight, _) in LOADS.items():
            print(f"  {name}", file=sys.stderr, flush=True)
            options = {"path": "/api/websocket", "in_flight": in_flight, "seconds": 1}
            with ExitStack() as stack:
                turns = [
                    stack.enter_context(
                        servers.turns("bench.generator", kind, port=side.server.port, token=side.token, **options)
                    )
                    for side in sides
                ]
                for turn in turns:
                    turn()  # warms up
                found[name] = []
                for number in range(rounds):
                    order = (0, 1) if number % 2 else (1, 0)
                    pair = {which: measured(sides[which], turns[which]) for which in order}
                    found[name].append((pair[0], pair[1]))
    return found


def show(found: dict[str, list[tuple[Found, Found]]], workers: int) -> bool:
    """Print the table, and whether all bounds are kept."""
    table = Table("load", "one process", f"{workers} workers", "unit", "ratio", "bound", box=None, pad_edge=False)
    kept = True
    for name, turns in found.items():
        one, several = ([turn[which].microseconds for turn in turns] for which in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(one, several, strict=True))
        bound = LOADS[name][2]
        kept = kept and (bound is None or ratio <= bound)
        cost = (f"{statistics.median(each):.1f}" for each in (one, several))
        table.add_row(name, *cost, "µs of processor time", f"{ratio:.2f}", "" if bound is None else f"{bound:g}")
        rates = (f"{statistics.median(turn[which].rate for turn in turns):,.0f}" for which in (0, 1))
        table.add_row("", *rates, "/s")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return kept


def main() -> None:
    """Measure, print a table, and exit with 1 when a bound is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="processes beside one (default 2)")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds of each load (default 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".data-") as folder:
        found = compare(Path(folder), options.workers, options.rounds)
    if not show(found, options.workers):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
