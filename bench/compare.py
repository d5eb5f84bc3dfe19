"""`python -m bench.compare OTHER`: this checkout beside another one, by the same load in interleaved rounds.

The other checkout needs an environment of its own (`make .venv/.test` in it); nothing is imported from it, its gateway
is only started. A figure is the median of its rounds, a ratio the median of the rounds' ratios: the speed of a shared
machine drifts, and both halves of a round drift alike. So a round is short, and there are many.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench import servers
from bench.measures import MOST_CHANGES, fill_names, log_in, send
from bench.servers import Server, Turn, generate

HERE = Path(__file__).parent
ENTRIES = 100_000
IDLE, WATCHERS, EACH = 2_000, 1_000, 30
"""Idle sockets, and connections with so many subscriptions, whose memory is measured."""


class Side(NamedTuple):
    """One of the two gateways that are compared."""

    server: Server
    token: str


Load = Callable[[Side, float], "AbstractContextManager[Turn]"]
"""Starts what sends the load, which is stopped at the end; seconds of one turn."""


def sockets(kind: str, in_flight: int) -> Load:
    """Requests a second over 50 WebSockets."""

    def load(side: Side, seconds: float) -> AbstractContextManager[Turn]:
        options = {"path": side.server.path, "in_flight": in_flight, "seconds": seconds, "token": side.token}
        return servers.turns("bench.generator", kind, port=side.server.port, **options)

    return load


def rest(kind: str) -> Load:
    """Requests a second over 50 keep-alive connections."""

    def load(side: Side, seconds: float) -> AbstractContextManager[Turn]:
        return servers.turns("bench.http_requests", kind, port=side.server.port, secret=side.token, seconds=seconds)

    return load


def fan_out(side: Side, seconds: float) -> AbstractContextManager[Turn]:
    """Sequential puts a second; 1,000 subscribers receive each before the next one is sent."""
    options = {"path": side.server.path, "token": side.token, "puts": 100}

    def turn() -> dict[str, float]:
        pushed = generate("bench.watchers", "fan", port=side.server.port, **options)["pushed"]
        return {"rate": 1 / float(statistics.median(pushed))}

    return nullcontext(turn)


LOADS: dict[str, tuple[Load, int]] = {
    "get, 50 x 1": (sockets("get", 1), 1),
    "get, 50 x 16": (sockets("get", 16), 1),
    "durable put, 50 x 1": (sockets("put", 1), 1),
    "durable put, 50 x 16": (sockets("put", 16), 1),
    "REST GET, 50 x 1": (rest("get"), 1),
    "REST PUT, 50 x 1": (rest("put"), 1),
    "put to 1,000 subscribers": (fan_out, 4),
}
"""Each with a divisor for its number of rounds, because a turn of the last takes longer."""


@contextmanager
def holder(side: Side, module: str, **options: object) -> Iterator[Callable[[int], None]]:
    """A process that holds connections; calling gives it a number to hold more of, and waits until it does."""
    command = servers.command(module, "hold", port=side.server.port, path=side.server.path, token=side.token, **options)
    with servers.prompted(command, greets=module == "bench.watchers") as ask:

        def more(count: int) -> None:
            ask(count)
            time.sleep(1)  # let the buffers of the handshakes go

        yield more


def configurations(side: Side) -> float:
    """Bytes for one more configuration."""
    before = side.server.rss()
    for start in range(0, ENTRIES, MOST_CHANGES):
        names = (f"entry.{number:08d}" for number in range(start, start + MOST_CHANGES))
        changes = [{"operation": "put", "name": name, "value": "v" * 20} for name in names]
        send(side.server, "POST", "/api/rest/configuration/transact", {"changes": changes}, side.token)
    return 1_024 * (side.server.rss() - before) / ENTRIES


def idle_sockets(side: Side) -> float:
    """Bytes for one more socket that has logged in."""
    before = side.server.rss()
    with holder(side, "bench.generator") as more:
        more(IDLE)
        return 1_024 * (side.server.rss() - before) / IDLE


def subscriptions(side: Side) -> float:
    """Bytes for one more subscription of a socket that has some."""
    with holder(side, "bench.watchers", watchers=WATCHERS) as more:
        more(1)
        before = side.server.rss()
        more(EACH)
        return 1_024 * (side.server.rss() - before) / (WATCHERS * EACH)


MEMORY = {
    "memory of a configuration": configurations,
    "memory of an idle socket": idle_sockets,
    "memory of a subscription": subscriptions,
}
"""Resident memory, each of a gateway of its own: memory that another measurement has freed would be used again."""


@contextmanager
def started(folder: Path, name: str, python: str) -> Iterator[Side]:
    """A gateway over a new file, with the names that are read and written at random."""
    with servers.gateway(folder / f"{name}.db", python) as server:
        token = log_in(server)
        fill_names(server, token)
        yield Side(server, token)


def compare(other: Path, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Rates by load and side, one for each round, and the memory of each side."""
    pythons = {"this": sys.executable, "other": str(other / ".venv/bin/python")}
    loads, sizes = (
        [name for name in names if not options.only or any(part in name for part in options.only)]
        for names in (LOADS, MEMORY)
    )
    return {
        "rates": rates_of(pythons, loads, options.rounds, options.seconds, folder),
        "memory": {name: memory_of(pythons, name, folder) for name in sizes},
    }


def rates_of(
    pythons: Mapping[str, str], names: Sequence[str], rounds: int, seconds: float, folder: Path
) -> dict[str, dict[str, list[float]]]:
    """The rates of both sides under each load, in each round."""
    found = {}
    with ExitStack() as gateways:
        sides = {side: gateways.enter_context(started(folder, side, python)) for side, python in pythons.items()}
        for name in names:
            print(f"  {name}", file=sys.stderr, flush=True)
            load, divided = LOADS[name]
            with ExitStack() as stack:
                turns = {side: stack.enter_context(load(each, seconds)) for side, each in sides.items()}
                found[name] = in_turns(turns, max(1, rounds // divided))
    return found


def in_turns(turns: Mapping[str, Turn], rounds: int) -> dict[str, list[float]]:
    """The rates of both sides, which take turns. One round before the first warms up."""
    found: dict[str, list[float]] = {side: [] for side in turns}
    for number in range(-1, rounds):
        for side in turns if number % 2 else reversed([*turns]):
            rate = turns[side]()["rate"]
            if number >= 0:
                found[side].append(rate)
    return found


def memory_of(pythons: Mapping[str, str], name: str, folder: Path) -> dict[str, float]:
    """The bytes of both sides."""
    print(f"  {name}", file=sys.stderr, flush=True)
    found = {}
    for side, python in pythons.items():
        with started(folder, f"{side}-{name.replace(' ', '-')}", python) as measured:
            found[side] = MEMORY[name](measured)
    return found


def show(found: dict[str, Any]) -> None:
    """The table for people."""
    table = Table("load", "other", "this", "unit", "this / other", "lowest", "highest", box=None, pad_edge=False)
    for name, rates in found["rates"].items():
        ratios = [this / other for this, other in zip(rates["this"], rates["other"], strict=True)]
        medians = [statistics.median(rates[side]) for side in ("other", "this")]
        spread = [statistics.median(ratios), min(ratios), max(ratios)]
        table.add_row(name, *(f"{value:,.0f}" for value in medians), "/s", *(f"{value:.2f}" for value in spread))
    for name, sizes in found["memory"].items():
        this, other = sizes["this"], sizes["other"]
        table.add_row(name, f"{other:,.0f}", f"{this:,.0f}", "bytes", f"{this / other:.2f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> None:
    """Compare, print a table, and with `--json` keep every round."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("other", type=Path, help="the folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=40, help="interleaved rounds (default 40)")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of one measurement (default 0.25)")
    parser.add_argument("--only", action="append", help="what has this in its name; may be given again")
    parser.add_argument("--json", type=Path, help="a file for the figures of every round")
    options = parser.parse_args()
    if not (options.other / ".venv/bin/python").exists():
        parser.error(f"{options.other} has no .venv; run `make .venv/.test` there first")
    # Beside the program, not in /tmp: that may be in memory, and durability must cost what it costs.
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".data-") as folder:
        found = compare(options.other, options, Path(folder))
    show(found)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
