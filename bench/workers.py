"""`python -m bench.workers`: processor time of a request with `hivewire serve --workers N`, and in one process.

Both gateways get the same load in turns of half a second, because the speed of a shared machine drifts. They are
started several times, because equal processes differ by up to 5 % as long as they live. A figure is the processor time
of all processes of a gateway, its parent among them, for each request that it answered; the ratio is the median of the
rounds' ratios. Rates depend on the cores that are free, so they are printed and not bounded.

All processes share one core here, which in use they do not. Two that are busy on one core evict each other's caches,
also when they have nothing to do with each other. So for what a get costs in a worker, the workers take turns too, each
with as many connections as the single process has.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import servers
from bench.measures import fill_names, log_in
from bench.servers import Server, Turn

HERE = Path(__file__).parent
TURN_SECONDS = 0.5


class Load(NamedTuple):
    """The kind of request, how many each of 50 connections has in flight, and the bound of the ratio.

    `each`: every worker has 50 connections, and only those of one are busy in a turn. Else 50 are spread over them.
    """

    kind: str
    in_flight: int
    bound: float | None = None
    each: bool = False


LOADS = {
    "get, 50 x 16 at each worker": Load("get", 16, 1.05, each=True),
    "get, 50 x 16": Load("get", 16),
    "durable put, 50 x 16": Load("put", 16, 1.6),
    "durable put, 50 x 1": Load("put", 1),
}

ANSWERED = re.compile(r'^hivewire_requests_total\{.*action="configuration/(?:get|put)".*\} (\S+)$', re.MULTILINE)


class Side(NamedTuple):
    """A gateway, or several under one parent."""

    server: Server
    token: str

    def workers(self) -> list[int]:
        """The processes that the parent has started; none of a gateway that is alone."""
        return [*map(int, Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split())]

    def seconds(self) -> float:
        """Processor time of the process and of those that it started."""
        return sum(map(servers.cpu_seconds, [self.server.pid, *self.workers()]))

    @contextmanager
    def loaded(self, load: Load) -> Iterator[list[Turn]]:
        """The turns of a load, warm: one, or one for each worker."""
        options = {"path": "/api/websocket", "in_flight": load.in_flight, "seconds": TURN_SECONDS}
        options |= {"port": self.server.port, "token": self.token}
        only = [{"process": pid} for pid in self.workers()] if load.each else []
        with ExitStack() as stack:
            turns = [
                stack.enter_context(servers.turns("bench.generator", load.kind, **options, **one))
                for one in only or [{}]
            ]
            for turn in turns:
                turn()
            yield turns

    def answered(self) -> float:
        """Requests so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}/metrics") as page:
            return sum(map(float, ANSWERED.findall(page.read().decode())))


class Found(NamedTuple):
    """Microseconds of processor time for each request, and requests a second."""

    microseconds: float
    rate: float


@contextmanager
def started(folder: Path, workers: int) -> Iterator[Side]:
    """Over a new file with names to read and write."""
    with servers.gateway(folder / f"{workers}.db", flags=("--workers", str(workers))) as server:
        token = log_in(server)
        fill_names(server, token)
        yield Side(server, token)


def measured(side: Side, turns: Sequence[Turn]) -> Found:
    """Take these turns, one after the other. What it costs to ask for the metrics is not counted."""
    answered = side.answered()
    seconds = side.seconds()
    rate = statistics.mean(turn()["rate"] for turn in turns)
    seconds = side.seconds() - seconds
    return Found(seconds / (side.answered() - answered) * 1e6, rate)


def compare(folder: Path, workers: int, rounds: int) -> Iterator[tuple[str, Found, Found]]:
    """What one process and several took, both just started: for each load, round by round."""
    with ExitStack() as gateways:
        sides = [gateways.enter_context(started(folder, count)) for count in (1, workers)]
        for name, load in LOADS.items():
            print(f"  {name}", file=sys.stderr, flush=True)
            with ExitStack() as stack:
                turns = [stack.enter_context(side.loaded(load)) for side in sides]
                for number in range(rounds):
                    order = (0, 1) if number % 2 else (1, 0)
                    pair = {which: measured(sides[which], turns[which]) for which in order}
                    yield name, pair[0], pair[1]


def show(found: dict[str, list[tuple[Found, Found]]], workers: int) -> bool:
    """Print the table, and whether all bounds are kept."""
    table = Table("load", "one process", f"{workers} workers", "unit", "ratio", "bound", box=None, pad_edge=False)
    kept = True
    for name, turns in found.items():
        one, several = ([turn[which].microseconds for turn in turns] for which in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(one, several, strict=True))
        bound = LOADS[name].bound
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
    parser.add_argument("--starts", type=int, default=3, help="how often both are started (default 3)")
    parser.add_argument("--rounds", type=int, default=4, help="interleaved rounds of each load then (default 4)")
    options = parser.parse_args()
    found: dict[str, list[tuple[Found, Found]]] = {name: [] for name in LOADS}
    for _ in range(options.starts):
        with tempfile.TemporaryDirectory(dir=HERE, prefix=".data-") as folder:
            for name, one, several in compare(Path(folder), options.workers, options.rounds):
                found[name].append((one, several))
    if not show(found, options.workers):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
