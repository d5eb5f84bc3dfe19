"""The measurements and their bounds."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench import servers
from bench.generator import NAMES, name_of
from bench.servers import Server, Turn, generate


class Row(NamedTuple):
    """One line of the report: a value with its unit, and the bound that it should keep, if any."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None without one."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.value <= self.at_most if self.at_most is not None else None


AT_LEAST = {
    "get / echo, 50 x 1": 1.6,
    "get / echo, 50 x 16": 4.0,
    "put / echo, 50 x 1": 0.7,
    "put / echo, 50 x 16": 1.3,
    "put 1 x 64 / put 1 x 1": 8,
    "get / floor, 50 x 16": 0.22,
    "REST GET / bare Starlette route": 0.5,
    "REST PUT / bare Starlette route": 0.5,
    "PUT of a site property / bare Starlette route": 0.25,
    "GET of it / the same bytes served statically": 0.5,
    "resume / live": 0.5,
}
AT_MOST = {
    "longest get during 20 saves of it": 50,
    "(that - put without) / raw fan-out, p50": 1.3,
    "(that - put without) / raw fan-out, p99": 1.3,
    "put beside 1,000 that do not match / without": 1.5,
    "p99 of 1,000 others beside one that does not read / without": 1.5,
    "p99 of the writer beside one that does not read / without": 1.5,
}
"""The bounds that do not depend on the run."""


def bounded(row: Row) -> Row:
    """A row with the bound that its name has."""
    return row._replace(at_least=AT_LEAST.get(row.name, row.at_least), at_most=AT_MOST.get(row.name, row.at_most))


class Load(NamedTuple):
    """One kind of load."""

    name: str
    server: str
    kind: str
    connections: int
    in_flight: int


MOST_CHANGES = 1_000
"""Changes in one transaction."""

LOADS = (
    Load("floor, 50 x 1", "floor", "floor", 50, 1),
    Load("floor, 50 x 16", "floor", "floor", 50, 16),
    Load("echo, 50 x 1", "echo", "echo", 50, 1),
    Load("get, 50 x 1", "gateway", "get", 50, 1),
    Load("put, 50 x 1", "gateway", "put", 50, 1),
    Load("echo, 50 x 16", "echo", "echo", 50, 16),
    Load("get, 50 x 16", "gateway", "get", 50, 16),
    Load("put, 50 x 16", "gateway", "put", 50, 16),
    Load("put, 1 x 1", "gateway", "put", 1, 1),
    Load("put, 1 x 64", "gateway", "put", 1, 64),
)


TURN_SECONDS = 0.25
"""Length of a turn. The speed of a shared machine changes within seconds, so all loads of a round have to meet the
same one."""


class Rates:
    """The rates of several loads that take turns, round after round."""

    def __init__(self, turns: dict[str, Turn], seconds: float, say: Callable[[str], None]) -> None:
        """Measure each for so many seconds in all; the order changes from round to round."""
        self._found: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
        rounds = max(1, round(seconds / TURN_SECONDS))
        for number in range(-1, rounds):
            if number >= 0 and number % 10 == 0:
                say(f"round {number + 1} of {rounds}: {len(turns)} loads take turns")
            for name in turns if number % 2 else reversed(turns):
                result = turns[name]()
                if number >= 0:  # the round before the first one warms up
                    self._found[name].append(result)

    def of(self, name: str, what: str = "rate") -> list[float]:
        """One value for each round."""
        return [result[what] for result in self._found[name]]

    def rows(self, *names: str) -> list[Row]:
        """The medians."""
        return [Row(name, statistics.median(self.of(name)), "requests/s") for name in names or self._found]

    def ratio(self, name: str, other: str, label: str = "") -> Row:
        """The median of the ratios of each round."""
        ratios = [mine / theirs for mine, theirs in zip(self.of(name), self.of(other), strict=True)]
        return Row(label or f"{name} / {other}", statistics.median(ratios), "x")


def rates(folder: Path, seconds: float, say: Callable[[str], None]) -> list[Row]:
    """Requests per second over WebSockets, and the ratios that matter."""
    with ExitStack() as stack:
        running = {
            "floor": stack.enter_context(servers.plain("floor")),
            "echo": stack.enter_context(servers.plain("echo")),
            "gateway": stack.enter_context(servers.gateway(folder / "rates.db")),
        }
        token = log_in(running["gateway"])
        fill_names(running["gateway"], token)
        turns = {load.name: stack.enter_context(_turns(running[load.server], token, load)) for load in LOADS}
        found = Rates(turns, seconds, say)
    busiest = max(max(found.of(load.name, "busy")) for load in LOADS if load.server == "gateway")
    return [
        *found.rows(),
        found.ratio("get, 50 x 1", "echo, 50 x 1", "get / echo, 50 x 1"),
        found.ratio("get, 50 x 16", "echo, 50 x 16", "get / echo, 50 x 16"),
        found.ratio("get, 50 x 16", "echo, 50 x 1"),
        found.ratio("put, 50 x 1", "echo, 50 x 1", "put / echo, 50 x 1"),
        found.ratio("put, 50 x 16", "echo, 50 x 16", "put / echo, 50 x 16"),
        found.ratio("put, 1 x 64", "put, 1 x 1", "put 1 x 64 / put 1 x 1"),
        found.ratio("get, 50 x 16", "floor, 50 x 16", "get / floor, 50 x 16"),
        Row("generator's core, busiest with the gateway", 100 * busiest, "%"),
    ]


def live(folder: Path, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """The cost of subscribers: time to the last push, puts with unrelated subscriptions, resuming, and a slow
    reader."""
    found: dict[str, list[list[float]]] = {}

    def measure(name: str, server: Server, kind: str, **options: object) -> None:
        for what, values in _watch(server, token if server is gateway else "", kind, **options).items():
            found.setdefault(f"{name} {what}", []).append(values)

    with servers.gateway(folder / "live.db") as gateway, servers.plain("fanout") as raw:
        token = log_in(gateway)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: 1,000 subscribers")
            measure("raw", raw, "fan")
            measure("alone", gateway, "fan", watchers=0)
            measure("fan", gateway, "fan")
            measure("others", gateway, "others")
            measure("reading", gateway, "fan", fill=8)
            measure("stalled", gateway, "fan", fill=8, stalled=True)
        resumed = [_watch(gateway, token, "resume", watchers=0, puts=10_000) for _ in range(rounds)]

    def at(name: str, share: float) -> float:
        """Milliseconds, the median over the rounds of each round's quantile."""
        return 1_000 * statistics.median(sorted(values)[int(share * len(values))] for values in found[name])

    rows = []
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        raw_fan, commit, fan = at("raw pushed", share), at("alone answered", share), at("fan pushed", share)
        rows += [
            Row(f"raw fan-out to 1,000, {label}", raw_fan, "ms"),
            Row(f"put without subscribers, {label}", commit, "ms"),
            Row(f"put until 1,000 subscribers have it, {label}", fan, "ms"),
            Row(f"(that - put without) / raw fan-out, {label}", (fan - commit) / raw_fan, "x"),
        ]
    live_rate = statistics.median(run["live"] for run in resumed)
    resume_rate = statistics.median(run["resume"] for run in resumed)
    others, alone = at("others answered", 0.5), at("alone answered", 0.5)
    pushed = at("stalled pushed", 0.99) / at("reading pushed", 0.99)
    answered = at("stalled answered", 0.99) / at("reading answered", 0.99)
    return [
        *rows,
        Row("put beside 1,000 that do not match / without", others / alone, "x"),
        Row("changes pushed live", live_rate, "changes/s"),
        Row("changes pushed after a resume", resume_rate, "changes/s"),
        Row("resume / live", resume_rate / live_rate, "x"),
        Row("p99 of 1,000 others beside one that does not read / without", pushed, "x"),
        Row("p99 of the writer beside one that does not read / without", answered, "x"),
    ]


def _watch(server: Server, token: str, kind: str, **options: object) -> dict[str, Any]:
    found: dict[str, Any] = generate("bench.watchers", kind, port=server.port, path=server.path, token=token, **options)
    return found


def subscription_memory(folder: Path, say: Callable[[str], None]) -> list[Row]:
    """KiB of resident memory for each subscription: the first of each connection, then nine more."""
    rows = []
    with servers.gateway(folder / "held.db") as server:
        command = servers.command("bench.watchers", "hold", port=server.port, path=server.path, token=log_in(server))
        with servers.prompted(command, greets=True) as ask:
            for more, what in ((1, "the first subscription of a connection"), (9, "each further subscription")):
                say(f"memory for {what}")
                time.sleep(1)  # let buffers of the handshakes go
                before = server.rss()
                ask(more)
                time.sleep(1)
                rows.append(Row(f"memory for {what}", (server.rss() - before) / (1_000 * more), "KiB", at_most=1))
    return rows


def returning(folder: Path, say: Callable[[str], None], watchers: int = 10_000) -> list[Row]:
    """The cost of this many watchers that reconnect at once after a restart, each with its position; over TLS too."""
    rows = []
    for over, flags in (("", ()), (" over TLS", certified(folder))):
        what = f"{watchers:,} watchers come back{over}"
        say(what)
        data = folder / f"returning{len(flags)}.db"
        with servers.gateway(data) as server:
            token = log_in(server)
            since = generate("bench.returning", "position", port=server.port, path=server.path, token=token)["position"]
        # On a machine with other work, TLS for all takes over a minute, and sockets would be closed for a late pong.
        with servers.gateway(data, flags=(*flags, "--ping-seconds", "300")) as server:
            options: dict[str, Any] = {"port": server.port, "path": server.path, "token": token}
            if flags:
                options["tls"] = True
            writer = subprocess.Popen(
                servers.command("bench.returning", "writer", **options), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert writer.stdout is not None
            writer.stdout.readline()
            before = servers.cpu_seconds(server.pid)
            assert writer.stdin is not None
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            back = generate("bench.returning", "watchers", since=since, watchers=watchers, **options)
            worked = servers.cpu_seconds(server.pid) - before
            taken = json.loads(writer.communicate()[0])["taken"]
        rows += [
            Row(f"{what}: all are live after", back["seconds"], "s"),
            Row(f"{what}: processor time of the gateway", worked, "s"),
            Row(f"{what}: a writer's put meanwhile, p50", statistics.median(taken) * 1_000, "ms"),
            Row(f"{what}: a writer's put meanwhile, p99", statistics.quantiles(taken, n=100)[98] * 1_000, "ms"),
            Row(f"{what}: generator's core", 100 * back["busy"], "%"),
        ]
    return rows


def certified(folder: Path) -> tuple[str, ...]:
    """The flags of a gateway with a certificate that signs itself. Needs `openssl`."""
    chain, key = folder / "cert.pem", folder / "key.pem"
    made = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    )
    subprocess.run([*made, "-subj", "/CN=localhost", "-keyout", key, "-out", chain], check=True, capture_output=True)
    return ("--tls-certificate", str(chain), "--tls-key", str(key))


def _turns(server: Server, token: str, load: Load) -> AbstractContextManager[Turn]:
    return servers.turns(
        "bench.generator",
        load.kind,
        port=server.port,
        path=server.path,
        connections=load.connections,
        in_flight=load.in_flight,
        seconds=TURN_SECONDS,
        token=token if load.server == "gateway" else "",
    )


def http_requests(folder: Path, seconds: float, say: Callable[[str], None]) -> list[Row]:
    """Requests a second over 50 keep-alive connections: REST beside a bare Starlette route that answers the same bytes,
    and conditional PUTs of a site property beside those of a configuration."""
    get, put, if_match, properties = (
        "REST GET, bearer, 50 x 1",
        "REST PUT, bearer, 50 x 1",
        "PUT of a configuration, bearer, If-Match, 50 x 1",
        "PUT of a site property, Basic, ETag, 50 x 1",
    )
    with ExitStack() as stack:
        server = stack.enter_context(servers.gateway(folder / "http.db"))
        bare = stack.enter_context(servers.plain("rest"))
        token = log_in(server)
        fill_names(server, token)
        loads = {
            get: (server, "get", token),
            put: (server, "put", token),
            if_match: (server, "rest", token),
            properties: (server, "properties", servers.PASSWORD),
            "bare get": (bare, "get", token),
            "bare put": (bare, "put", token),
        }
        options = {"seconds": TURN_SECONDS}
        turns = {
            name: stack.enter_context(
                servers.turns("bench.http_requests", kind, port=target.port, secret=secret, **options)
            )
            for name, (target, kind, secret) in loads.items()
        }
        found = Rates(turns, seconds, say)
    return [
        *found.rows(get, put),
        found.ratio(get, "bare get", "REST GET / bare Starlette route"),
        found.ratio(put, "bare put", "REST PUT / bare Starlette route"),
        *found.rows(if_match, properties),
        found.ratio(properties, if_match, "site property / configuration"),
        found.ratio(properties, "bare put", "PUT of a site property / bare Starlette route"),
    ]


def documents(folder: Path, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Row]:
    """A tenant's configuration document like real ones: saving, reading, and what others notice of it."""
    found: dict[str, list[dict[str, float]]] = {}
    with servers.gateway(folder / "documents.db") as server:
        token = log_in(server)
        send(server, "POST", "/api/rest/tenant", {"tenantId": "bench"}, token)
        fill_names(server, token)

        def measure(name: str, work: str, target: Server = server, **options: object) -> dict[str, float]:
            if target is server:
                document = "/reltio/api/bench/configuration"
                options |= {"token": token, "path": server.path, "document": document}
            result: dict[str, float] = generate("bench.documents", work, port=target.port, **options)
            found.setdefault(name, []).append(result)
            return result

        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: a tenant's document")
            measure("save", "save", puts=5)
            size = measure("get", "get", seconds=seconds)["size"]
            with servers.plain("static", int(size)) as static:
                measure("static", "get", static, seconds=seconds)
            measure("beside", "beside", seconds=seconds)
            measure("beside a large one", "beside", puts=2, entity_types=190, seconds=seconds)

    def median(name: str, what: str) -> float:
        return statistics.median(run[what] for run in found[name])

    size, large = median("save", "size") / 1e6, median("beside a large one", "size") / 1e6
    codec, idle = median("save", "codec"), median("beside", "idle")
    return [
        Row(f"decode and encode {size:.1f} MB with msgspec", codec, "ms"),
        Row(f"save a document of {size:.1f} MB", median("save", "put"), "ms", at_most=3 * codec + 150),
        Row("GET of it", median("get", "rate"), "requests/s"),
        Row("GET of it / the same bytes served statically", median("get", "rate") / median("static", "rate"), "x"),
        Row("get over sockets, p99", idle, "ms"),
        Row("get over sockets during 20 saves of it, p99", median("beside", "during"), "ms", at_most=max(20, 3 * idle)),
        Row("longest get during 20 saves of it", median("beside", "longest"), "ms"),
        Row(f"longest get during saves of {large:.1f} MB", median("beside a large one", "longest"), "ms", at_most=250),
    ]


def send(server: Server, method: str, path: str, body: dict[str, Any], token: str = "") -> Any:
    """The decoded answer; None without one."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = f"http://127.0.0.1:{server.port}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def log_in(server: Server) -> str:
    """An access token of the gateway's administrator."""
    credentials = {"login": "admin", "password": servers.PASSWORD}
    return str(send(server, "POST", "/api/rest/token", credentials)["accessToken"])


def fill_names(server: Server, token: str) -> None:
    """Make the configurations that are read and written at random."""
    _put_all(server, token, list(map(name_of, range(NAMES))))


def fill_records(server: Server, token: str, count: int) -> None:
    """Put so many configurations through a gateway, with the names and values of `fill`."""
    _put_all(server, token, list(map(record_of, range(count))))


def _put_all(server: Server, token: str, names: Sequence[str]) -> None:
    for start in range(0, len(names), MOST_CHANGES):
        changes = [
            {"operation": "put", "name": each, "value": "v" * 20} for each in names[start : start + MOST_CHANGES]
        ]
        send(server, "POST", "/api/rest/configuration/transact", {"changes": changes}, token)


def record_of(number: int) -> str:
    """The name of one of many records, of 20 bytes."""
    return f"bench.{number:014d}"


def idle_memory(folder: Path, say: Callable[[str], None]) -> list[Row]:
    """KiB of resident memory for each idle authenticated connection."""
    rows = []
    with servers.gateway(folder / "idle.db") as server:
        command = servers.command("bench.generator", "hold", port=server.port, path=server.path, token=log_in(server))
        with servers.prompted(command) as ask:
            before, held = server.rss(), 0
            for target in (1_000, 5_000):
                say(f"{target} idle connections")
                held = int(ask(target - held))
                time.sleep(1)  # let buffers of the handshakes go
                after = server.rss()
                if held != target:
                    raise RuntimeError(f"the generator did not hold {target:,} connections")
                each = (after - before) / held
                rows.append(Row(f"memory for each of {held:,} idle connections", each, "KiB", at_most=10))
    return rows


def growth(folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Seconds to start with 100,000 configurations, and MiB of resident memory with 1,000,000."""
    rows = []
    for count in (100_000, 1_000_000):
        say(f"{count:,} configurations")
        path = folder / f"entries-{count}.db"
        asyncio.run(fill(path, count))
        started = time.perf_counter()
        with servers.gateway(path) as server:
            seconds = time.perf_counter() - started
            memory = server.rss() / 1_024
        small = count == 100_000
        rows.append(Row(f"start with {count:,} configurations", seconds, "s", at_most=2 if small else None))
        rows.append(Row(f"memory with {count:,} configurations", memory, "MiB", at_most=None if small else 1_024))
    return rows


async def fill(path: Path, count: int) -> None:
    """A new ledger file with so many configurations, names and values of 20 bytes each."""
    from hivewire.clocks import now
    from hivewire.ledger.engines.sqlite.journal import SqliteJournal
    from hivewire.ledger.ledger import Ledger
    from hivewire.ledger.records import Transaction, Write
    from hivewire_protocol.nouns.configuration import MAX_TRANSACTION, TEXT

    ledger = Ledger(SqliteJournal(path), now)
    await ledger.open()
    for start in range(0, count, MAX_TRANSACTION):
        numbers = range(start, min(start + MAX_TRANSACTION, count))
        writes = [Write("configuration", record_of(number), b"v" * 20, TEXT) for number in numbers]
        await ledger.commit(Transaction(writes, "admin"))
    await ledger.close()


def disk(folder: Path) -> list[Row]:
    """Milliseconds of one small durable write: what no commit can be faster than."""
    descriptor = os.open(folder / "disk", os.O_CREAT | os.O_WRONLY)
    times = []
    for number in range(200):
        os.pwrite(descriptor, bytes(4_096), number * 4_096)
        started = time.perf_counter()
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - started)
    os.close(descriptor)
    return [Row("one fdatasync of 4 KiB", statistics.median(times) * 1_000, "ms")]
