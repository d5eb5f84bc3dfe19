"""The measurements of devices and their messages, and their bounds."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench import servers
from bench.generator import NAMES, device_of
from bench.measures import TURN_SECONDS, Rates, Row, fill_names, log_in
from bench.servers import Server, generate

DEVICES, MESSAGES = 100_000, 1_000_000
"""Of a large installation."""
BODY = b'{"command":"set"}'.ljust(200)
"""What is stored of each: nothing reads it at a start."""
NOTIFICATION_BYTES = 262
"""Of the push of a notification as `bench.generator.insert_of` makes it."""
ONLINE, POLLS = 2_000, 10_000
STILL = 6
"""Looks at memory, a quarter of a second apart, that have to be the same."""
IN_MEMORY = ("--messages", "memory")


def rates(folder: Path, seconds: float, say: Callable[[str], None]) -> list[Row]:
    """Inserts a second of notifications, beside puts and gets of configurations: durable, and in memory."""
    with ExitStack() as stack:
        turns = {}
        for where, flags, kinds in (
            ("", (), {"notification/insert": "insert", "configuration/put": "put", "configuration/get": "get"}),
            (" in memory", IN_MEMORY, {"notification/insert": "insert"}),
        ):
            path = folder / f"messages{len(flags)}.db"
            asyncio.run(register(path, NAMES))
            server = stack.enter_context(servers.gateway(path, flags=flags))
            token = log_in(server)
            fill_names(server, token)
            options = {"port": server.port, "path": server.path, "token": token, "seconds": TURN_SECONDS}
            for name, kind in kinds.items():
                for in_flight in (1, 16):
                    turn = servers.turns("bench.generator", kind, in_flight=in_flight, **options)
                    turns[f"{name}{where}, 50 x {in_flight}"] = stack.enter_context(turn)
        found = Rates(turns, seconds, say)
    rows = found.rows(*(name for name in turns if name.startswith("notification")))
    for name, other, bound in (
        ("notification/insert", "configuration/put", 0.9),
        ("notification/insert in memory", "configuration/get", 0.5),
    ):
        for load in ("50 x 1", "50 x 16"):
            ratio = found.ratio(f"{name}, {load}", f"{other}, {load}", f"{name} / {other}, {load}")
            rows.append(ratio._replace(at_least=bound))
    return rows


def delivery(folder: Path, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """The time until those who follow a message have it. Ratios are of the medians of a round, and the median of all
    rounds."""
    path = folder / "delivery.db"
    asyncio.run(register(path, 2_000, networks=2))
    found: dict[str, list[float]] = {}
    with servers.gateway(path) as server, servers.plain("fanout", NOTIFICATION_BYTES) as raw:
        options = {"port": server.port, "path": server.path, "token": log_in(server)}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: messages and who follows them")
            for work in ("latency", "each", "fan"):
                run = generate("bench.devices", work, raw_port=raw.port, **options)
                for name, times in run.items():
                    found.setdefault(f"{work} {name}", []).append(1_000 * statistics.median(times))

    def of(name: str) -> float:
        return statistics.median(found[name])

    def ratio(name: str, other: str) -> float:
        return statistics.median(one / two for one, two in zip(found[name], found[other], strict=True))

    fans = zip(found["fan fan"], found["fan alone"], found["fan raw"], strict=True)
    spread = statistics.median((fan - alone) / raw_fan for fan, alone, raw_fan in fans)
    insert, put = "insert until a subscriber has it, p50", "put until a subscriber has it, p50"
    loop, two = "command until its update is pushed back, p50", "two inserts one after the other, p50"
    return [
        Row(insert, of("latency insert"), "ms"),
        Row(put, of("latency put"), "ms"),
        Row(f"{insert} / put", ratio("latency insert", "latency put"), "x", at_most=1.1),
        Row(loop, of("latency loop"), "ms"),
        Row(two, of("latency twice"), "ms"),
        Row("command loop / two inserts, p50", ratio("latency loop", "latency twice"), "x", at_most=1.3),
        Row("a command for each of 1,000 devices that follow", 1e6 / of("each followed"), "commands/s"),
        Row("that / the same without followers", ratio("each alone", "each followed"), "x", at_least=0.7),
        Row("raw fan-out to 1,000 of a notification, p50", of("fan raw"), "ms"),
        Row("notification until 1,000 of its network have it, p50", of("fan fan"), "ms"),
        Row("(that - insert without) / raw fan-out, p50", spread, "x", at_most=1.3),
    ]


def memory(folder: Path, say: Callable[[str], None]) -> list[Row]:
    """KiB of resident memory for a device that is online, and for a long poll that waits."""
    path = folder / "online.db"
    asyncio.run(register(path, POLLS + 100))

    def grown(server: Server, ask: Callable[..., str], line: object, count: int) -> float:
        before = settled(server)
        ask(line)
        return (settled(server) - before) / count

    with servers.gateway(path) as server:
        options = {"port": server.port, "path": server.path, "token": log_in(server)}
        say("memory for a device that is online")
        with servers.prompted(servers.command("bench.devices", "hold", devices=ONLINE, **options), greets=True) as ask:
            online = grown(server, ask, "", ONLINE)
    with servers.gateway(path) as server:
        options = {"port": server.port, "path": server.path, "token": log_in(server)}
        say(f"memory for {POLLS:,} long polls")
        with servers.prompted(servers.command("bench.devices", "polls", **options)) as ask:
            ask(100)  # what is set up once is not theirs
            poll = grown(server, ask, POLLS, POLLS)
    return [
        Row("memory for a device that follows its commands, beyond its socket", online, "KiB", at_most=1.5),
        Row(f"memory for each of {POLLS:,} long polls", poll, "KiB", at_most=12),
    ]


def settled(server: Server) -> int:
    """KiB of resident memory, once they have stayed the same for a while: requests are carried out, buffers let go."""
    found = [server.rss()]
    while len(found) < STILL or len(set(found[-STILL:])) > 1:
        time.sleep(0.25)
        found.append(server.rss())
    return found[-1]


def registered(folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Seconds to start over 100,000 devices, without messages and with a million, and KiB of resident memory for each
    device."""
    used, count = [], DEVICES

    def started(path: Path) -> float:
        begun = time.perf_counter()
        with servers.gateway(path) as server:
            seconds = time.perf_counter() - begun
            used.append(server.rss())
        return seconds

    for devices in (0, count):
        say(f"{devices:,} devices")
        path = folder / f"devices-{devices}.db"
        asyncio.run(register(path, devices))
        seconds = started(path)
    each = (used[1] - used[0]) / count
    say(f"{MESSAGES:,} messages")
    asyncio.run(store(path, count, MESSAGES))
    return [
        Row(f"start with {count:,} devices", seconds, "s", at_most=3),
        Row(f"memory for each of {count:,} devices", each, "KiB", at_most=1),
        Row(f"start with {count:,} devices and {MESSAGES:,} messages", started(path), "s", at_most=3),
    ]


async def register(path: Path, count: int, networks: int = 1, id_of: Callable[[int], str] = device_of) -> None:
    """A new ledger file with so many devices of 100 bytes of data each, in so many networks in turn."""
    from hivewire.clocks import now
    from hivewire.devices.index import KIND, DeviceContent
    from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
    from hivewire.ledger.engines.sqlite.journal import SqliteJournal
    from hivewire.ledger.ledger import Ledger
    from hivewire.ledger.records import Transaction, Write
    from hivewire_protocol.nouns.configuration import MAX_TRANSACTION

    data = msgspec.Raw(b'{"serial":"%b"}' % (b"0" * 87))
    ledger = Ledger(SqliteJournal(path), now)
    await ledger.open()
    await ledger.commit(Transaction(insert(DEVICE_TYPE, GroupingContent("bench"))))
    for number in range(networks):
        await ledger.commit(Transaction(insert(NETWORK, GroupingContent(f"bench {number}"))))
    for start in range(0, count, MAX_TRANSACTION):
        writes = []
        for number in range(start, min(start + MAX_TRANSACTION, count)):
            content = DeviceContent(name=f"Device {number}", data=data, network=number % networks + 1, type=1)
            writes.append(Write(KIND, id_of(number), msgspec.json.encode(content), "application/json"))
        await ledger.commit(Transaction(writes, "admin"))
    await ledger.close()


class Addressee(NamedTuple):
    """A device as `register` makes it."""

    record_id: int
    id: str
    network: int | None = 1
    type: int | None = 1


async def store(path: Path, devices: int, count: int) -> None:
    """Commands for the devices of a ledger file in turn, so many in all, beside it."""
    from hivewire.settings import Settings
    from hivewire.store import open_messages, open_store
    from hivewire.streams.message import ROOM, Draft

    def draft(number: int) -> Draft:
        device = Addressee(number % devices + 1, device_of(number % devices))
        return Draft(device, "set", 1, lambda *_: BODY, size=len(BODY))

    def refused(outcome: Any) -> None:
        if isinstance(outcome, Exception):
            raise outcome

    async with AsyncExitStack() as stack:
        settings = Settings(data=str(path))
        ledger = (await open_store(settings, stack, existing=True)).ledger
        messages, _ = await open_messages(settings, ledger, stack)
        log = messages.commands
        for start in range(0, count, ROOM):
            entry = range(start, min(start + ROOM, count))
            for number in entry[:-1]:
                log.submit(draft(number), refused)
            await log.insert(draft(entry[-1]))  # answered last
        if log.stored != count:
            raise RuntimeError(f"{log.stored:,} of {count:,} messages were stored")
