"""Hivewire and its peers at the same work, in turns."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from bench import servers
from bench.measures import Row
from bench.peers import BROKERS, PEERS
from bench.peers.peer import Peer
from bench.peers.redis import own_benchmark
from bench.servers import Server

FIRST_WATCHERS = 100
"""Held before memory is looked at for the first time: what a server sets up once is not a watcher's."""
FEW = 3
"""Rounds of what takes long."""
REQUESTS = 50_000
"""Of `redis-benchmark`, which counts requests, for each second."""
HIVEWIRE = "hivewire"
KNOWN = {**PEERS, **BROKERS}

AIMS: dict[str, dict[str, float]] = {
    "put": {"etcd": 4, "nats-server": 3, "pocketbase": 5, "redis-server": 0.3},
    "get": {"nats-server": 3, "pocketbase": 5, "redis-server": 0.5},
    "fan": {"nats-server": 1, "pocketbase": 1, "etcd": 1},
    "memory": {"nats-server": 1, "pocketbase": 1, "etcd": 1},
}
"""How many times better than each; being the fastest, or the least, of all is 1."""
SMALLER_IS_BETTER = ("fan", "memory")


class Effort(NamedTuple):
    """How long and how large everything is."""

    rounds: int
    seconds: float
    watchers: int
    puts: int
    settle: float
    """Seconds until buffers of the handshakes are let go, and until a store is done with watchers that have gone."""


FULL = Effort(rounds=5, seconds=2, watchers=1_000, puts=100, settle=2.5)
QUICK = Effort(rounds=1, seconds=0.1, watchers=50, puts=10, settle=0.1)

_T = TypeVar("_T")

Asked = dict[str, tuple[str, dict[str, Any]]]
"""By work: the kind of load that is generated, and its options."""

Figures = dict[str, dict[str, dict[str, Any]]]
"""By work and peer: `values` of the rounds, their median `value`, and the medians of what else was measured."""


def works(effort: Effort) -> dict[str, str]:
    """The titles of the measurements."""
    return {
        "put": "durable puts a second, 50 x 1",
        "get": "gets a second, 50 x 1",
        "fan": f"milliseconds from one put until {effort.watchers:,} watchers have it",
        "memory": "KiB for an idle connected watcher",
    }


def asked(effort: Effort) -> Asked:
    """The same without memory, as the load generator is asked for it."""
    return {
        "put": ("put", {"seconds": effort.seconds}),
        "get": ("get", {"seconds": effort.seconds}),
        "fan": ("fan", {"connections": effort.watchers, "puts": effort.puts}),
    }


def present(kinds: dict[str, type[Peer]]) -> dict[str, Peer]:
    """Those whose programs are here."""
    peers = {program: kind() for program, kind in kinds.items()}
    return {program: peer for program, peer in peers.items() if peer.find() is not None}


@contextmanager
def all_loaded(folder: Path, peers: dict[str, Peer]) -> Iterator[dict[str, Load]]:
    """A server of each with its generator, and something to get. Raises RuntimeError when one does not start."""
    with ExitStack() as stack:
        loads = {program: stack.enter_context(loaded(peer, folder / program)) for program, peer in peers.items()}
        for load in loads.values():
            load.run("fill")
        yield loads


def rates(loads: dict[str, Load], asked: Asked, effort: Effort, say: Callable[[str], None]) -> Figures:
    """Each work of all of them. Raises RuntimeError when a server answers anything unexpected."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {work: {} for work in asked}
    for number in range(effort.rounds):
        for work, by in found.items():
            kind, options = asked[work]
            for program in in_turn(list(loads), number):
                if kind == "fan" and KNOWN[program].watched is None:
                    continue
                say(f"round {number + 1} of {effort.rounds}: {work}, {KNOWN[program].name}")
                os.sync()
                by.setdefault(program, []).append(loads[program].run(kind, **options))
                if kind == "fan":
                    time.sleep(effort.settle)
    return {work: {program: _medians(by[program]) for program in loads if program in by} for work, by in found.items()}


def in_turn(what: list[_T], number: int) -> list[_T]:
    """Another one begins in each round, so that none has always the same before it."""
    first = number % len(what)
    return what[first:] + what[:first]


def memory(folder: Path, peers: dict[str, Peer], effort: Effort, say: Callable[[str], None]) -> Figures:
    """The memory of a watcher, of all stores with watchers, each time in a fresh server."""
    found: dict[str, list[dict[str, float]]] = {}
    for number in range(min(FEW, effort.rounds)):
        for program, peer in peers.items():
            if peer.watched is not None:
                say(f"round {number + 1}: memory of watchers, {peer.name}")
                with loaded(peer, folder / f"{program}-{number}") as load:
                    found.setdefault(program, []).append({"value": watcher_memory(load, effort)})
    return {"memory": {program: _medians(results) for program, results in found.items()}}


def _medians(results: list[dict[str, float]]) -> dict[str, Any]:
    medians = {key: statistics.median(result[key] for result in results) for key in results[0]}
    return {**medians, "values": [result["value"] for result in results]}


def through_others(loads: dict[str, Load], effort: Effort, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The same through clients that others made, where they are here: `store`, `client`, `work` and the figures.

    `raw` is the rate of the client from here, a moment before.
    """
    found = []
    for program, client, here, measured in (
        ("nats-server", "nats-py", find_spec("nats") is not None, _nats_py),
        ("redis-server", "redis-benchmark", shutil.which("redis-benchmark") is not None, _redis_benchmark),
    ):
        if not here or program not in loads:
            continue
        load, store = loads[program], PEERS[program].name
        for work in ("put", "get"):
            say(f"{work}, {store} through {client}")
            raw = load.run(work, seconds=effort.seconds)["value"]
            other = measured(load.server, work, effort)
            found.append({"store": store, "client": client, "work": work, "raw": raw, **other})
    return found


def _nats_py(server: Server, work: str, effort: Effort) -> dict[str, float]:
    found = servers.generate("bench.peers.library", work, port=server.port, pid=server.pid, seconds=effort.seconds)
    return cast(dict[str, float], found)


def _redis_benchmark(server: Server, work: str, effort: Effort) -> dict[str, float]:
    return own_benchmark(server, work, round(REQUESTS * effort.seconds))


def describe(kinds: dict[str, type[Peer]], peers: dict[str, Peer]) -> dict[str, dict[str, str | None]]:
    """Those that are measured and how, and those that are not and why."""
    found: dict[str, dict[str, str | None]] = {}
    for program, kind in kinds.items():
        about = {"name": kind.name, "source": kind.source, "client": kind.client, "durable": kind.durable}
        remedy = "; `make bench-peers` installs it" if kind.packaged else ""
        absent = None if program in peers else f"no `{program}` was found{remedy}"
        version = peers[program].version() if program in peers else None
        found[program] = {**about, "watched": kind.watched, "version": version, "absent": absent}
    return found


class Load:
    """The load generator of one server."""

    def __init__(self, program: str, server: Server, token: str) -> None:
        self.server = server
        self._program = program
        self._options = {"port": server.port, "pid": server.pid, "path": server.path, "token": token}

    def command(self, work: str, **options: object) -> list[str]:
        return servers.command("bench.peers.load", self._program, work, **self._options, **options)

    def run(self, work: str, **options: object) -> dict[str, float]:
        """The output of the generator. Raises RuntimeError with its error output."""
        found = servers.generate("bench.peers.load", self._program, work, **self._options, **options)
        return cast(dict[str, float], found)


@contextmanager
def loaded(peer: Peer, folder: Path) -> Iterator[Load]:
    """A server with its generator."""
    folder.mkdir()
    with peer.serve(folder) as server:
        yield Load(peer.program, server, peer.log_in(server))


def watcher_memory(load: Load, effort: Effort) -> float:
    """KiB of resident memory of the server for each of so many watchers, after the first ones."""
    with servers.prompted(load.command("hold")) as more:
        more(FIRST_WATCHERS)
        time.sleep(effort.settle)
        before = load.server.rss()
        more(effort.watchers)
        time.sleep(effort.settle)
        return (load.server.rss() - before) / effort.watchers


def ratios(figures: Figures, names: dict[str, str]) -> list[Row]:
    """How many times better Hivewire is, round by round, the median of that; against the aim."""
    rows = []
    for work, aims in AIMS.items():
        for program, aim in aims.items():
            if program not in figures[work]:
                continue
            smaller, other = work in SMALLER_IS_BETTER, names[program]
            name = f"{work}: {other} / Hivewire" if smaller else f"{work}: Hivewire / {other}"
            rows.append(Row(name, better(figures[work], HIVEWIRE, program, smaller=smaller), "x", at_least=aim))
    return rows


def better(by: dict[str, dict[str, Any]], own: str, other: str, *, smaller: bool) -> float:
    """How many times better one is than the other at a work: the median of the ratios of each round."""
    rounds: list[tuple[float, float]] = list(zip(by[own]["values"], by[other]["values"], strict=True))
    return statistics.median(theirs / ours if smaller else ours / theirs for ours, theirs in rounds)
