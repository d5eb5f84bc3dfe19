"""`python -m bench.soak`: kill a gateway repeatedly under full load, let its disk hang now and then, and check that
every guarantee holds.

Writers record the answers that they got, watchers every frame. At the end, each answered write, each transaction, and
the frames and state of each watcher are compared with the ledger's history. Further clients have names of their own and
record each call and each answer: an order of the calls must explain all answers. If anything was lost, duplicated, out
of order, incomplete or different, the first evidence is printed and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uvloop
from tests.faults.disk import Desk, Fault, reachable
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench import histories, linearizability, servers
from bench.measures import log_in
from bench.watching import (
    KINDS,
    Checker,
    Disconnected,
    History,
    ObservedChange,
    Update,
    Violation,
    Watch,
    brief,
    change_of,
)

FLAGS = (
    *("--bookmark-seconds", "0.2", "--outbox-bytes", "65536", "--conflate-after", "200", "--conflate-seconds", "0.2"),
    *("--drain-seconds", "1", "--drain-spread", "0.1", "--stall-seconds", "0.3"),
)
"""Small bounds, so that slow readers stall and are conflated within seconds, and writes are refused when the disk
hangs for longer."""

FORGETTING = ("--history", "--log")
"""Prefixes of flags with which the ledger does not keep everything."""

NAMES = [f"{group}.{number:02}" for group in "abcd" for number in range(40)]
WRITERS, IN_FLIGHT, LARGE = 4, 32, 8_000
RECORDED = (histories.Socket, histories.Socket, histories.Socket, histories.Rest, histories.Rest)
"""Clients of whom each call is noted."""

PAGE = 100
"""Changes of a history in one answer, so that it is under 1 MiB even if all of them are large."""

GONE = (OSError, WebSocketException, asyncio.TimeoutError)
"""Errors of a connection when the gateway is killed or not running."""


class Write(NamedTuple):
    """A requested write: changes as name and value, where None deletes."""

    writer: int
    number: int
    changes: list[tuple[str, str | None]]

    @property
    def id(self) -> str:
        return f"{self.writer}.{self.number}"

    def request(self, expected: int | None) -> dict[str, Any]:
        """The request; the description of each change identifies the write and the change."""
        changes = []
        for index, (name, value) in enumerate(self.changes):
            operation = {"operation": "delete"} if value is None else {"operation": "put", "value": value}
            changes.append({**operation, "name": name, "description": f"{self.id}/{index}"})
        if len(changes) > 1:
            return {"action": "configuration/transact", "requestId": self.number, "changes": changes}
        version = {"entityVersion": expected} if expected is not None else {}
        action = f"configuration/{changes[0].pop('operation')}"
        return {"action": action, "requestId": self.number, **changes[0], **version}

    def kept(self) -> Write:
        """The same with long values replaced, to save memory."""
        return Write(self.writer, self.number, [(name, brief(value)) for name, value in self.changes])


class Answer(NamedTuple):
    """The answer to a write: its revision, and the resulting changes if the answer has them."""

    revision: int
    changes: tuple[ObservedChange, ...]


class HistoryRow(NamedTuple):
    """A change in the ledger's history, with the id of its write and its index in that write."""

    change: ObservedChange
    write: str
    place: int


class Gateway:
    """The process under load."""

    def __init__(self, data: Path, flags: Sequence[str]) -> None:
        self.port = servers.free_port()
        self.url = f"ws://127.0.0.1:{self.port}/api/websocket"
        self.log = data.with_suffix(".log")
        self.desk = Desk(data.with_name("orders"))
        program = "tests.faults.gateway" if reachable() else "hivewire"  # without our disk nothing hangs
        self._command = [sys.executable, "-m", program, "serve", "--port", str(self.port), "--data", str(data)]
        self._command += ["--log-format", "json", *FLAGS, *flags]
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
        self._environment |= {"HIVEWIRE_ADMIN_PASSWORD": servers.PASSWORD, "HIVEWIRE_JWT_SECRET": servers.SECRET}
        self._environment |= {"HIVEWIRE_ANONYMOUS_RATE": "0"}
        self._environment |= {"FAULTS": str(data.with_name("orders")), "FAULTS_OF": "disk"}
        self._process: subprocess.Popen[bytes] | None = None
        self.up = asyncio.Event()

    async def start(self) -> None:
        """Start it; return when it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=log
            )
        await asyncio.to_thread(servers.wait_until_ready, self._process, self.port, 30)
        self.up.set()

    async def end(self, number: int) -> None:
        """Send it a signal and wait until it has ended."""
        assert self._process is not None
        self.up.clear()
        self._process.send_signal(number)
        await asyncio.to_thread(self._process.wait, 30)

    def abandon(self) -> None:
        """Kill it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def unexpected_lines(self) -> list[str]:
        """Unexpected errors, and anything but JSON, in its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "unexpected error" in line or not line.startswith("{")]


class Soak:
    """The load, and a record of everything that was observed."""

    def __init__(self, gateway: Gateway, seconds: float, seed: int) -> None:
        self.gateway = gateway
        self.random = random.Random(seed)
        self.ends = time.monotonic() + seconds
        self.token = ""
        self.writes: dict[str, Write] = {}
        self.answers: dict[str, Answer] = {}
        self.refused: set[str] = set()
        self.versions: dict[str, int] = {}
        self.watches = [Watch(f"watcher {number}", *names) for number, names in enumerate(_wanted())]
        self.history = histories.History(self.random)
        self.floor = 0
        self.final: int | None = None
        self.restarts: Counter[str] = Counter()
        self.hangs = 0
        self.violations: list[Violation] = []
        self._shared: dict[Any, Any] = {}

    @property
    def running(self) -> bool:
        """Whether the load goes on: until its time is over and the gateway was restarted at least once."""
        return time.monotonic() < self.ends or not self.restarts

    def connect(self, slow: bool = False) -> connect:
        """A connection; a slow one has a small receive buffer."""
        headers = {"Authorization": f"Bearer {self.token}"}
        options: dict[str, Any] = {"max_queue": 1 if slow else 64}
        if slow:
            options["sock"] = _small(self.gateway.port)
        return connect(
            self.gateway.url,
            additional_headers=headers,
            compression=None,
            ping_interval=None,
            max_size=None,
            open_timeout=20,
            **options,
        )

    # Writing.

    async def write(self, writer: int) -> None:
        """Keep requests in flight, and reconnect whenever the gateway is killed."""
        number = 0
        while self.running:
            await self.gateway.up.wait()
            under_way: deque[Write] = deque()
            try:
                async with self.connect() as connection:
                    while self.running or under_way:
                        while self.running and len(under_way) < IN_FLIGHT:
                            number += 1
                            under_way.append(self.invent(writer, number))
                            await connection.send(self.encode(under_way[-1]), text=True)
                        reply = msgspec.json.decode(await asyncio.wait_for(connection.recv(), 20))
                        self.note(under_way.popleft(), reply)
            except GONE:
                await asyncio.sleep(0.01)  # requests in flight may have been committed or not

    def invent(self, writer: int, number: int) -> Write:
        """A random write, mostly one put."""
        chance = self.random.random()
        count = self.random.randint(2, 6) if chance < 0.2 else 1
        changes: list[tuple[str, str | None]] = []
        for index, name in enumerate(self.random.sample(NAMES, count)):
            size = LARGE if self.random.random() < 0.1 else self.random.randint(0, 100)
            value = f"{writer}.{number}/{index} ".ljust(size, "v")
            deletes = chance > 0.9 if count == 1 else self.random.random() < 0.1
            changes.append((name, None if deletes else value))
        return Write(writer, number, changes)

    def encode(self, write: Write) -> bytes:
        """Record a write and encode it. Every third expects a version, which may be outdated."""
        known = self.versions.get(write.changes[0][0]) if write.number % 3 == 0 else None
        self.writes[write.id] = write.kept()
        return msgspec.json.encode(write.request(known))

    def note(self, write: Write, reply: dict[str, Any]) -> None:
        """Record the answer to a write. Raises Violation."""
        if reply["requestId"] != write.number:
            raise Violation("inconsistent", f"an answer to another request than {write}: {reply}")
        if reply["status"] != "success":
            if reply["code"] == 503 and histories.UNDECIDED in reply["error"]:
                return  # the disk took too long: it may be there, as if the answer had been lost
            if reply["code"] not in (404, 409, 503):
                raise Violation("inconsistent", f"{write.changes} was answered {reply}")
            self.refused.add(write.id)
            return
        revision = reply["revision"]
        resources = [reply["configuration"]] if "configuration" in reply else reply.get("configurations", ())
        changes = [
            ObservedChange(revision, each["name"], each["entityVersion"], brief(each["value"])) for each in resources
        ]
        self.answers[write.id] = Answer(revision, tuple(changes))
        self.floor = max(self.floor, revision)
        self.versions |= {change.name: change.version for change in changes}

    async def record(self, over: type[histories.Socket] | type[histories.Rest]) -> None:
        """Call and note, over as many connections as it takes."""
        while self.running:
            await self.gateway.up.wait()
            try:
                async with histories.connected(self.gateway.port, self.token, over) as client:
                    await self.history.work(client, lambda: self.running)
            except histories.GONE:
                await asyncio.sleep(0.01)

    # Watching.

    async def watch(self, watch: Watch, slow: bool) -> None:
        """Follow until the final revision; resume from the last position whenever the connection ends."""
        watch.share(self._shared)
        while self.late(watch):
            await self.gateway.up.wait()
            try:
                async with self.connect(slow) as connection:
                    floor = self.floor
                    await connection.send(msgspec.json.encode(_subscription(watch)), text=True)
                    watch.begin(msgspec.json.decode(await asyncio.wait_for(connection.recv(), 20)), floor)
                    await self.follow(watch, slow, connection)
            except GONE:
                await asyncio.sleep(0.01)
            finally:
                if self.late(watch) and watch.events and not isinstance(watch.events[-1], Disconnected):
                    watch.cut()

    def late(self, watch: Watch) -> bool:
        """Whether the watcher has not reached the final revision yet."""
        return self.final is None or watch.reached < self.final

    async def follow(self, watch: Watch, slow: bool, connection: ClientConnection) -> None:
        """Record pushes. Disconnect at times; if slow, also stop reading or stay disconnected for a while."""
        while self.late(watch):
            data = await asyncio.wait_for(connection.recv(decode=False), 20)
            members = msgspec.json.decode(data)
            watch.take(members["action"].partition("/")[2], members, len(data))
            if len(self._shared) > 50_000:
                self._shared.clear()
            chance = self.random.random()
            if chance < 0.00005 and self.running:
                connection.transport.abort()
            elif slow and chance > 0.9998 and self.running:
                if self.random.random() < 0.3:
                    connection.transport.abort()
                await asyncio.sleep(self.random.uniform(1, 4))

    # Killing.

    async def kill(self, most: float) -> None:
        """Stop the gateway at random moments, mostly with SIGKILL, and start it again."""
        while True:
            # Mostly in quick succession; sometimes it runs long enough to sweep its log.
            pause = self.random.choice((0.1, 0.2, 1)) * self.random.uniform(most / 2, most)
            if self.restarts and time.monotonic() + pause > self.ends - 0.5:
                return
            await asyncio.sleep(pause)
            hangs = (not self.hangs or self.random.random() < 0.5) and await self.hang()
            number = signal.SIGTERM if not hangs and self.random.random() < 0.2 else signal.SIGKILL
            await self.gateway.end(number)
            self.history.crashed()
            self.gateway.desk.give()
            await self.gateway.start()
            self.restarts[number.name] += 1

    async def hang(self) -> bool:
        """Let the disk hang in a commit. Returns whether it still does; otherwise it has gone on for a moment."""
        self.gateway.desk.give(Fault("hang", call=self.random.choice(("write", "sync")), during="append"))
        await asyncio.sleep(self.random.uniform(0.1, 1))
        self.hangs += bool(self.gateway.desk.met())
        if self.random.random() < 0.5:
            return True
        self.gateway.desk.give()
        await asyncio.sleep(self.random.uniform(0.1, 0.5))
        return False

    async def progress(self) -> None:
        """Print a line every few seconds."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(5)
            print(
                f"  {time.monotonic() - began:4.0f} s: {len(self.answers):,} writes answered, {self.pushed():,} changes"
                f" pushed, {self.restarts.total()} restarts",
                file=sys.stderr,
                flush=True,
            )

    def pushed(self) -> int:
        """Changes received by all watchers so far."""
        return sum(watch.seen[what] for watch in self.watches for what in ("updates", "conflated", "pushed between"))

    # The whole run.

    async def run(self, most: float) -> None:
        """Run the load; then let all watchers catch up, read the history and check everything."""
        await self.gateway.start()
        self.token = await asyncio.to_thread(log_in, servers.Server(0, self.gateway.port, ""))
        watching = [
            asyncio.create_task(self.guard(self.watch(watch, number % 3 == 2)))
            for number, watch in enumerate(self.watches)
        ]
        progress = asyncio.create_task(self.progress())
        writing = [self.guard(self.write(writer)) for writer in range(WRITERS)]
        await asyncio.gather(*writing, *(self.record(over) for over in RECORDED), self.kill(most))
        async with self.connect() as connection:
            self.final = await self.conclude(connection)
            done, late = await asyncio.wait(watching, timeout=60)
            for task in late:
                task.cancel()
            await asyncio.gather(*done, *late, return_exceptions=True)
            progress.cancel()
            print("  asking the ledger for its history ...", file=sys.stderr, flush=True)
            ledger = [each async for each in _histories(connection)]
            listed = await _listed(connection)
        self.check(ledger, listed)
        print("  looking for an order of what was recorded ...", file=sys.stderr, flush=True)
        try:
            linearizability.check(self.history.events)
        except linearizability.NotLinearizable as error:
            self.violations.append(Violation("not linearizable", str(error)))

    async def guard(self, work: Any) -> None:
        """Run a client; a Violation ends it and is recorded."""
        try:
            await work
        except Violation as violation:
            self.violations.append(violation)

    async def conclude(self, connection: ClientConnection) -> int:
        """Make the last write; its revision is the final one."""
        write = Write(WRITERS, 1, [(NAMES[0], f"{WRITERS}.1/0 the end")])
        await connection.send(self.encode(write), text=True)
        self.note(write, msgspec.json.decode(await connection.recv()))
        return self.floor

    def check(self, ledger: list[HistoryRow], listed: dict[str, tuple[int, str | None]]) -> None:
        """Compare everything that was observed with the ledger."""
        assert self.final is not None
        check = HistoryCheck(self, ledger)
        self.violations += check.violations
        history = History(check.changes())
        for watch in self.watches:
            checker = Checker(watch, history, compare_every=1_000)
            try:
                state = checker.check()
                checker.finish(self.final)
                found = {name: (change.version, change.value) for name, change in state.items()}
                wanted = {name: each for name, each in listed.items() if watch.serves(name)}
                if found != wanted:
                    odd = sorted(found.items() ^ wanted.items())[:4]
                    raise Violation("inconsistent", f"{watch.label} has another state than configuration/list: {odd}")
            except Violation as violation:
                self.violations.append(violation)
        self.violations += [
            Violation("inconsistent", f"the gateway's log says {line}") for line in self.gateway.unexpected_lines()
        ]


class HistoryCheck:
    """Compares the ledger's history with the requests and answers of the writers.

    With a short history or log, older changes are taken from answers and pushes.
    """

    def __init__(self, soak: Soak, ledger: list[HistoryRow]) -> None:
        self.violations: list[Violation] = []
        self._soak = soak
        self._forgets = any(flag.startswith(FORGETTING) for flag in soak.gateway._command)
        self._changes: dict[tuple[int, str], ObservedChange] = {}
        self._first: dict[str, int] = {}
        self._writes: dict[str, dict[int, ObservedChange]] = {}
        self._origin: dict[int, str] = {}
        for row in sorted(ledger, key=lambda row: (row.change.revision, row.place)):
            self._take(row)
        for write in soak.writes.values():
            self._check(write, self._writes.get(write.id, {}))
        self._check_order()

    def changes(self) -> list[ObservedChange]:
        """All known changes, in the ledger's order."""
        if self._forgets:
            pushed = (
                event.change for watch in self._soak.watches for event in watch.events if isinstance(event, Update)
            )
            for change in pushed:
                self._changes.setdefault((change.revision, change.name), change)
                if change.value is not None:
                    self._origin[change.revision] = change.value.partition("/")[0]
        return sorted(self._changes.values(), key=self._order)

    def _order(self, change: ObservedChange) -> tuple[int, int]:
        """By revision, and in a transaction as in its request. The order of deletes of unknown writes is arbitrary."""
        write = self._soak.writes.get(self._origin.get(change.revision, ""))
        names = [name for name, _ in write.changes] if write is not None else []
        return change.revision, names.index(change.name) if change.name in names else 0

    def _fail(self, kind: str, evidence: str) -> None:
        self.violations.append(Violation(kind, evidence))

    def _take(self, row: HistoryRow) -> None:
        change, id, index = row
        self._changes[change.revision, change.name] = change
        self._origin[change.revision] = id
        self._first[change.name] = min(change.revision, self._first.get(change.name, change.revision))
        write = self._soak.writes.get(id)
        if write is None or write.id in self._soak.refused:
            self._fail("inconsistent", f"the history has {row}, whose write is unknown or was refused")
            return
        if write.changes[index] != (change.name, change.value):
            self._fail("inconsistent", f"the history has {row}, requested was {write.changes[index]}")
        if index in self._writes.setdefault(id, {}):
            self._fail("duplicated", f"the history has {row}, and the same as {self._writes[id]}")
        self._writes[id][index] = change

    def _check(self, write: Write, found: dict[int, ObservedChange]) -> None:
        """Check a write: committed whole and as answered, or not committed and never answered with success."""
        reply = self._soak.answers.get(write.id)
        revisions = {change.revision for change in found.values()}
        if reply is not None:
            revisions.add(reply.revision)
            self._origin[reply.revision] = write.id
        if not revisions:
            return
        if len(revisions) > 1:
            self._fail("inconsistent", f"{write.id} was answered with {reply}, the history has {found}")
        revision = max(revisions)
        missing = [name for index, (name, _) in enumerate(write.changes) if index not in found]
        if self._forgets:
            missing = [name for name in missing if revision >= self._first.get(name, 0)]
        if missing:
            kind = "torn transactions" if found else "lost"
            self._fail(kind, f"{missing} of write {write.id} are not in the history, answered was {reply}")
        if reply is not None:
            self._compare(found, reply)

    def _compare(self, found: dict[int, ObservedChange], answer: Answer) -> None:
        for index, answered in enumerate(answer.changes):
            if found.get(index, answered) != answered:
                self._fail("inconsistent", f"answered was {answered}, the history has {found[index]}")
            self._changes.setdefault((answered.revision, answered.name), answered)

    def _check_order(self) -> None:
        """Check that the writes of each writer were committed in the order of its requests."""
        last = dict.fromkeys(range(WRITERS + 1), 0)
        for id in self._soak.writes:
            revision = max((change.revision for change in self._writes.get(id, {}).values()), default=None)
            writer = self._soak.writes[id].writer
            if revision is not None and revision <= last[writer]:
                self._fail("out of order", f"write {id} has revision {revision}, one before it has {last[writer]}")
            last[writer] = revision or last[writer]


def _wanted() -> Iterator[tuple[Sequence[str]]]:
    """The names of each watcher; every third one reads slowly."""
    all_ = [f"{group}*" for group in "abcd"]  # of NAMES, not of those that are recorded
    yield from ((all_,), (["a*", "b.1*"],), (all_,), (all_,), (NAMES[::7],), (["c*", "d*"],), (["b*"],), (["d.0*"],))


def _subscription(watch: Watch) -> dict[str, Any]:
    since = {"since": watch.position} if watch.position is not None else {}
    return {"action": "configuration/subscribe", "requestId": 1, "names": list(watch.names), **since}


def _small(port: int) -> socket.socket:
    """A connection with a small receive buffer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    try:
        sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


async def _ask(connection: ClientConnection, action: str, **members: Any) -> dict[str, Any]:
    await connection.send(msgspec.json.encode({"action": action, "requestId": 1, **members}), text=True)
    reply: dict[str, Any] = msgspec.json.decode(await connection.recv())
    return reply


async def _histories(connection: ClientConnection) -> AsyncIterator[HistoryRow]:
    """Every change in the history of every name."""
    for name in NAMES:
        before: dict[str, int] = {}
        while True:
            found = await _ask(connection, "configuration/history", name=name, take=PAGE, **before)
            changes = found.get("changes", [])  # 404 for a name that never existed
            for members in changes:
                id, _, index = (members["description"] or "?/0").partition("/")
                yield HistoryRow(change_of(members), id, int(index))
            if len(changes) < PAGE:
                break
            before = {"before": changes[-1]["revision"]}


async def _listed(connection: ClientConnection) -> dict[str, tuple[int, str | None]]:
    """The current state by name: version and value."""
    found: dict[str, tuple[int, str | None]] = {}
    after: dict[str, str] = {}
    while page := (await _ask(connection, "configuration/list", take=PAGE, **after))["configurations"]:
        found |= {each["name"]: (each["entityVersion"], brief(each["value"])) for each in page}
        after = {"after": page[-1]["name"]}
    return found


def report(soak: Soak) -> bool:
    """Print the figures and the first evidence, if any. True when all guarantees held."""
    seen: Counter[str] = Counter()
    for watch in soak.watches:
        seen += watch.seen
    figures = {
        "writes answered": len(soak.answers),
        "writes refused, as asked for": len(soak.refused),
        "writes whose answer was lost": len(soak.writes) - len(soak.answers) - len(soak.refused),
        "calls recorded": sum(isinstance(event, linearizability.Call) for event in soak.history.events),
        "changes pushed": soak.pushed(),
        "restarts survived": soak.restarts.total(),
        "of these after kill -9": soak.restarts["SIGKILL"],
        "times that the disk hung": soak.hangs,
        "resumed by position": seen["resumed"],
        "cut inside a group": seen["cut inside a group"],
        "conflated runs": seen["conflated runs"],
        "resets": seen["reset"] + seen["resets on the way"],
        **{kind: sum(violation.kind == kind for violation in soak.violations) for kind in KINDS},
    }
    for name, figure in figures.items():
        print(f"{name:<30}{figure:>12,}")
    if soak.violations:
        print(f"\nThe first evidence: {str(soak.violations[0])[:3_000]}")
    return not soak.violations


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the load lasts (default 60)")
    parser.add_argument("--gateway", default="", help='more flags for the gateway, such as "--bookmark-seconds 1"')
    parser.add_argument("--seed", type=int, default=None, help="seed of the random choices; timing stays random")
    options = parser.parse_args()
    gc.disable()  # the records only grow, and collecting them again and again would be most of the work
    # Not in /tmp, which may be in memory.
    folder = Path(tempfile.mkdtemp(dir=Path(__file__).parent, prefix=".data-"))

    async def soak() -> Soak:
        gateway = Gateway(folder / "soak.db", shlex.split(options.gateway))
        try:
            work = Soak(gateway, options.seconds, options.seed if options.seed is not None else random.getrandbits(32))
            await work.run(min(12, options.seconds / 3))
        finally:
            gateway.abandon()
        return work

    with suppress(KeyboardInterrupt):
        try:
            sys.exit(not report(uvloop.run(soak())))
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
