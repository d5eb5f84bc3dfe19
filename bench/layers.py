"""The measurements of fleets, and their bounds (fleet.md, section 11)."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import messages, servers
from bench.generator import device_of
from bench.listeners import FEW, NAMES
from bench.measures import Row, log_in, send
from bench.servers import Server

REGISTERED, ONLINE = 100_000, 10_000
EDITS = 10
"""Edits for all in each round, and raw fan-outs."""
GETS = 4_000
"""Gets before a step of a rollout: about as many as during it."""
FLAGS = ("--ping-seconds", "300")
"""A busy machine is late with pongs."""

Ask = Callable[[str], Any]


@contextmanager
def listening(server: Server, token: str | None, devices: int, **options: object) -> Iterator[Ask]:
    """Devices that are connected; calling carries out a work of `bench.listeners`."""
    named = {"port": server.port, "path": server.path, "devices": devices, **options}
    if token is not None:
        named["token"] = token
    with servers.prompted(servers.command("bench.listeners", **named), greets=True) as ask:
        yield lambda work: json.loads(ask(work))


def prepare(server: Server, token: str) -> None:
    """A layer of ten devices, twenty values for all, and as many plain ones."""
    target = {"deviceIds": [device_of(number) for number in range(FEW)]}
    send(server, "PUT", "/api/rest/layer/few", {"rank": 5, "target": target}, token)
    for layer in ({}, {"layer": "global"}):
        changes = [{"operation": "put", "name": f"n.{n:02}", "value": "v", **layer} for n in range(NAMES)]
        send(server, "POST", "/api/rest/configuration/transact", {"changes": changes}, token)
    send(server, "PUT", "/api/rest/layer/few/configuration/n.01", {"value": "few"}, token)


def beside(get: Ask, work: Callable[[], Any]) -> dict[str, list[float]]:
    """Milliseconds of gets one after the other, before a work and during it: from its `began` to its `ended`."""
    before, found = get(f"gets {GETS}")["taken"], list[tuple[float, float]]()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        while not working.done():
            portion = get("gets 200")
            found += zip(portion["began"], portion["taken"], strict=True)
    step = working.result()
    during = [taken for began, taken in found if step["began"] <= began + taken / 1_000 and began <= step["ended"]]
    return {"before": before, "during": during}


class Figures(defaultdict[str, list[float]]):
    """What was measured, by name."""

    def of(self, *names: str) -> float:
        """The median, or with two names that of the ratios of their rounds."""
        one, *others = (self[name] for name in names)
        ratios = [mine / theirs for mine, theirs in zip(one, *others, strict=True)] if others else one
        return float(statistics.median(ratios))


def fleets(
    folder: Path,
    rounds: int,
    say: Callable[[str], None],
    online: int = ONLINE,
    registered: int = REGISTERED,
    seconds: float = 1.0,
) -> list[Row]:
    """All of it, each kind of request for so many seconds in a round. Ratios are medians of those of each pair."""
    path, found = folder / "fleet.db", Figures(list)
    asyncio.run(messages.register(path, registered))
    rows = [Row("memory for each device beyond its records", views(path), "B", at_most=512)]
    with servers.gateway(path, flags=FLAGS) as server:
        token = log_in(server)
        prepare(server, token)
        say(f"{online:,} devices come online")
        with (
            servers.plain("fanout") as raw,
            listening(server, token, online) as ask,
            listening(raw, None, online) as ask_raw,
        ):
            before = messages.settled(server)
            ask("follow 0")
            grown = 1_024 * (messages.settled(server) - before) / online
            rows.append(Row("memory for each device that listens, beyond its socket", grown, "B", at_most=2_048))
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: edits for {online:,} devices")
                _edit(ask, ask_raw, seconds, found)
            say(f"{online:,} devices come back")
            ask("edit 1")
            found["resume"].append(ask("resume 0")["seconds"])
            say(f"a rollout takes {registered // 2:,} devices")
            # In a process of their own: that of the listeners is busy with thousands of frames.
            with listening(server, token, 0, first=True) as get:
                _roll_out(ask, get, rounds, found)
    _compare(folder / "alone.db", rounds, say, online, found)
    return [
        *rows,
        Row(f"raw fan-out to {online:,}, p50", 1_000 * found.of("raw"), "ms"),
        Row(f"edit until {online:,} devices have it, p50", 1_000 * found.of("edit"), "ms"),
        Row("that / raw fan-out", found.of("edit", "raw"), "x", at_most=1.3),
        Row(f"edit for {FEW} of {online:,} online and {registered:,} devices, p50", 1_000 * found.of("few"), "ms"),
        Row(f"that / the same with {FEW} devices in all", found.of("few", "alone"), "x", at_most=1.5),
        Row(f"effective values of {NAMES} names", found.of("effective"), "requests/s"),
        Row(f"that / a list of {NAMES}", found.of("effective", "list"), "x", at_least=0.5),
        Row("reports", found.of("report"), "requests/s"),
        Row("that / puts", found.of("report", "put"), "x", at_least=0.4),
        Row(f"{online:,} devices resume", found.of("resume"), "s"),
        Row("plain resumes / that", found.of("plain resume", "resume"), "x", at_least=0.7),
        Row(f"longest get while a rollout takes {registered // 2:,} devices", max(found["longest"]), "ms", at_most=20),
        Row("p99 of gets meanwhile / before", found.of("during", "before"), "x", at_most=1.5),
    ]


def _edit(ask: Ask, ask_raw: Ask, seconds: float, found: Figures) -> None:
    """A round of edits and of other requests."""
    found["few"].append(statistics.median(ask("few 50")["pushed"]))
    for _ in range(EDITS):  # in turns: the speed of a shared machine changes from second to second
        found["raw"] += ask_raw("edit 1")["pushed"]
        found["edit"] += ask("edit 1")["pushed"]
    for kind, rate in ask(f"rates {1_000 * seconds:.0f}").items():
        found[kind].append(rate)


def _roll_out(ask: Ask, get: Ask, rounds: int, found: Figures) -> None:
    """Rollouts to half of the devices, and gets beside them."""
    for number in range(2 * rounds - 1):  # each is short, and a percentile says more of the machine than a median
        if number:
            ask(f"rollback {number}")
        gets = beside(get, lambda: ask("rollout 50"))
        found["longest"].append(max(gets["during"]))
        for when, times in gets.items():
            found[when].append(statistics.quantiles(times, n=100)[98])


def _compare(path: Path, rounds: int, say: Callable[[str], None], online: int, found: Figures) -> None:
    """The same of a gateway with few devices, and of followers of plain configurations."""
    with servers.gateway(path, flags=FLAGS) as server:
        token = log_in(server)
        for number in range(FEW):
            send(server, "PUT", f"/api/rest/device/{device_of(number)}", {"name": "d"}, token)
        prepare(server, token)
        with listening(server, token, FEW) as ask:
            ask("follow 0")
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: edits for {FEW} devices")
                found["alone"].append(statistics.median(ask("few 50")["pushed"]))
        say(f"{online:,} followers of plain configurations come back")
        with listening(server, token, online, plain=True) as ask:
            ask("follow 0")
            ask("edit 1")
            found["plain resume"].append(ask("resume 0")["seconds"])


def views(path: Path) -> float:
    """Bytes of memory that a device takes in the fleet beside its record and the index of devices."""
    run = subprocess.run([sys.executable, "-m", "bench.layers", str(path)], capture_output=True, check=True, text=True)
    return float(run.stdout)


async def _views(path: Path) -> float:
    from hivewire.access.keys import Key
    from hivewire.access.tenants import Tenants
    from hivewire.access.tokens import Tokens
    from hivewire.access.users import Users
    from hivewire.clocks import now
    from hivewire.devices.registry import Registry
    from hivewire.fleet.fleet import Fleet
    from hivewire.hub.hub import Hub
    from hivewire.ledger.engines.sqlite.journal import SqliteJournal
    from hivewire.ledger.ledger import Ledger

    ledger = Ledger(SqliteJournal(path), now)
    await ledger.open()
    users = Users(ledger)
    await users.load()
    registry = Registry(ledger, users)
    registry.load()
    tokens = Tokens(Key("x" * 32, "utf8"), users, Tenants(ledger), 1, 1)
    fleet = Fleet(ledger, registry, Hub(ledger, tokens, 1, lambda where, error: None))
    this = Server(os.getpid(), 0, "")
    before = this.rss()
    fleet.start()
    grown = 1_024 * (this.rss() - before) / max(1, len(fleet.members.by_id))
    await ledger.close()
    return grown


if __name__ == "__main__":
    print(asyncio.run(_views(Path(sys.argv[1]))))
