"""The load of a soak: writers, watchers and clients of whom each call is noted, and what all of them observed.

`Soak` knows one gateway or several that share a log; its subclasses say what goes wrong meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench import histories
from bench.gateways import Gateway
from bench.measures import log_in
from bench.watching import Disconnected, ObservedChange, Violation, Watch, brief

FLAGS = (
    *("--bookmark-seconds", "0.2", "--outbox-bytes", "65536", "--conflate-after", "200", "--conflate-seconds", "0.2"),
    *("--drain-seconds", "1", "--drain-spread", "0.1"),
)
"""Small bounds, so that slow readers stall and are conflated within seconds."""

NAMES = [f"{group}.{number:02}" for group in "abcd" for number in range(40)]
WRITERS, IN_FLIGHT, LARGE = 4, 32, 8_000
RECORDED = (histories.Socket, histories.Socket, histories.Socket, histories.Rest, histories.Rest)
"""Clients of whom each call is noted."""

GONE = (OSError, WebSocketException, asyncio.TimeoutError)
"""Errors of a connection when its gateway is killed or not running."""

UNEXPECTED = ("unexpected error", "was never retrieved")
"""Words in the log that are never right."""

RETRY_SECONDS = 0.01
REFUSED_SECONDS = 0.05
"""How long a writer waits whose write was refused because nothing can be written at the moment."""


class Write(NamedTuple):
    """A requested write: changes as name and value, where None deletes."""

    writer: int
    number: int
    changes: list[tuple[str, str | None]]
    session: int = 0
    """Those of one session are committed in their order."""

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
        return self._replace(changes=[(name, brief(value)) for name, value in self.changes])


class Answer(NamedTuple):
    """The answer to a write: its revision, and the resulting changes if the answer has them."""

    revision: int
    changes: tuple[ObservedChange, ...]


class Target:
    """A gateway under load, and whether it should answer."""

    def __init__(self, process: Gateway) -> None:
        self.process = process
        self.up = asyncio.Event()

    async def start(self) -> None:
        """Start it; return when it is ready."""
        self.process.start()
        await asyncio.to_thread(self.process.wait_until_ready)
        self.up.set()

    async def end(self, number: int) -> None:
        """Send it a signal and wait until it has ended. Raises Violation when it does not."""
        self.up.clear()
        try:
            await asyncio.to_thread(self.process.end, number)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise Violation("inconsistent", f"{self.process.name} did not end: {late}") from None

    def unexpected_lines(self) -> list[str]:
        """Unexpected errors, and anything but JSON, in its log."""
        lines = self.process.log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(words in line for words in UNEXPECTED) or not line.startswith("{")]


class Soak(ABC):
    """The load, and a record of everything that was observed."""

    def __init__(self, targets: Sequence[Target], seconds: float, seed: int) -> None:
        self.targets = targets
        self.random = random.Random(seed)
        self.ends = time.monotonic() + seconds
        self.token = ""
        self.writes: dict[str, Write] = {}
        self.answers: dict[str, Answer] = {}
        self.refused: set[str] = set()
        self.versions: dict[str, int] = {}
        self.watches = [Watch(f"watcher {number}", *names) for number, names in enumerate(_wanted())]
        self.history = histories.History(self.random, shared=self.shared)
        self.floor = 0
        self.final: int | None = None
        self.violations: list[Violation] = []
        self.stand = 0.0
        """The longest time without an answered write since this was set to 0."""
        self.equal = 0
        """Gateways that had the same state in the end."""
        self._answered = time.monotonic()
        self._shared: dict[Any, Any] = {}

    @property
    def shared(self) -> bool:
        """Whether several gateways share the log: what is answered on one is a moment later on the others."""
        return len(self.targets) > 1

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether the load goes on."""

    @abstractmethod
    async def trouble(self) -> None:
        """What goes wrong, until all of the load has ended."""

    @abstractmethod
    def progress(self) -> str:
        """What went wrong so far, in a few words."""

    async def target(self, number: int | None = None) -> Target:
        """A gateway that should answer; that of this number, so that clients are spread, or another one."""
        while not (up := [target for target in self.targets if target.up.is_set()]):
            await asyncio.sleep(RETRY_SECONDS)
        own = self.targets[number % len(self.targets)] if number is not None else None
        return own if own in up else self.random.choice(up)

    def connect(self, target: Target, slow: bool = False) -> connect:
        """A connection; a slow one has a small receive buffer."""
        headers = {"Authorization": f"Bearer {self.token}"}
        options: dict[str, Any] = {"max_queue": 1 if slow else 64}
        if slow:
            options["sock"] = _small(target.process.port)
        return connect(
            f"ws://127.0.0.1:{target.process.port}/api/websocket",
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
        number = session = 0
        while self.running:
            target = await self.target(writer)
            session += self.shared  # a gateway that was left may carry out what another one has overtaken
            under_way: deque[Write] = deque()
            try:
                async with self.connect(target) as connection:
                    while self.running or under_way:
                        while self.running and len(under_way) < IN_FLIGHT:
                            number += 1
                            under_way.append(self.invent(writer, number)._replace(session=session))
                            await connection.send(self.encode(under_way[-1]), text=True)
                        reply = msgspec.json.decode(await asyncio.wait_for(connection.recv(), 20))
                        self.note(under_way.popleft(), reply)
                        if reply.get("code") == 503:
                            await asyncio.sleep(REFUSED_SECONDS)
            except GONE:
                await asyncio.sleep(RETRY_SECONDS)  # requests in flight may have been committed or not

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
                return  # it took too long: it may be there, as if the answer had been lost
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
        now = time.monotonic()
        self.stand, self._answered = max(self.stand, now - self._answered), now

    async def record(self, number: int, over: type[histories.Socket] | type[histories.Rest]) -> None:
        """Call and note, over as many connections as it takes."""
        while self.running:
            target = await self.target(number)
            try:
                async with histories.connected(target.process.port, self.token, over, self.shared) as client:
                    await self.history.work(client, lambda: self.running)
            except histories.GONE:
                await asyncio.sleep(RETRY_SECONDS)

    # Watching.

    async def watch(self, watch: Watch, slow: bool) -> None:
        """Follow until the final revision; resume from the last position whenever the connection ends."""
        watch.share(self._shared)
        while self.late(watch):
            target = await self.target()
            try:
                async with self.connect(target, slow) as connection:
                    await self.subscribe(watch, connection)
                    await self.follow(watch, slow, connection)
            except GONE:
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                if self.late(watch) and watch.events and not isinstance(watch.events[-1], Disconnected):
                    watch.cut()

    async def subscribe(self, watch: Watch, connection: ClientConnection) -> None:
        """Subscribe from the last position. Raises ConnectionError when the gateway is behind for too long."""
        floor = self.floor
        request = {"action": "configuration/subscribe", "requestId": 1, "names": list(watch.names)}
        request |= {"since": watch.position} if watch.position is not None else {}
        request |= {"atLeast": floor} if self.shared else {}
        await connection.send(msgspec.json.encode(request), text=True)
        reply = msgspec.json.decode(await asyncio.wait_for(connection.recv(), 20))
        if reply.get("code") == 503 and self.shared:
            raise ConnectionError(reply["error"])
        watch.begin(reply, floor)

    def late(self, watch: Watch) -> bool:
        """Whether the watcher has not reached the final revision yet."""
        return self.final is None or watch.reached < self.final

    async def follow(self, watch: Watch, slow: bool, connection: ClientConnection) -> None:
        """Record pushes. Disconnect at times; if slow, also stop reading or stay disconnected for a while."""
        while self.late(watch):
            data = await asyncio.wait_for(connection.recv(decode=False), 20)
            members = msgspec.json.decode(data)
            noun, _, what = members["action"].partition("/")
            if noun != "configuration":
                continue  # the gateway says that it is about to stop
            watch.take(what, members, len(data))
            if len(self._shared) > 50_000:
                self._shared.clear()
            chance = self.random.random()
            if chance < 0.00005 and self.running:
                connection.transport.abort()
            elif slow and chance > 0.9998 and self.running:
                if self.random.random() < 0.3:
                    connection.transport.abort()
                await asyncio.sleep(self.random.uniform(1, 4))

    # The whole run.

    async def run(self) -> None:
        """Run the load; then let all watchers catch up. `final` is then the last revision."""
        self.token = await asyncio.to_thread(log_in, self.targets[0].process.server())
        watching = [
            asyncio.create_task(self.guard(self.watch(watch, number % 3 == 2)))
            for number, watch in enumerate(self.watches)
        ]
        telling = asyncio.create_task(self._tell())
        await asyncio.gather(*map(self.guard, [*self.load(), self.trouble()]))
        async with self.connect(await self.target()) as connection:
            self.final = await self.conclude(connection)
        done, late = await asyncio.wait(watching, timeout=60)
        for task in late:
            task.cancel()
        await asyncio.gather(*done, *late, return_exceptions=True)
        telling.cancel()

    def load(self) -> list[Coroutine[Any, Any, None]]:
        """Everything that ends when the load does."""
        writing = [self.write(writer) for writer in range(WRITERS)]
        return [*writing, *(self.record(*each) for each in enumerate(RECORDED))]

    async def guard(self, work: Coroutine[Any, Any, None]) -> None:
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

    async def _tell(self) -> None:
        """Print a line every few seconds."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(5)
            say(
                f"{time.monotonic() - began:4.0f} s: {len(self.answers):,} writes answered, {self.pushed():,} changes"
                f" pushed, {self.progress()}"
            )

    def pushed(self) -> int:
        """Changes received by all watchers so far."""
        return sum(watch.seen[what] for watch in self.watches for what in ("updates", "conflated", "pushed between"))


def say(text: str) -> None:
    """Print a line about the way."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _wanted() -> Iterator[tuple[Sequence[str]]]:
    """The names of each watcher; every third one reads slowly."""
    all_ = [f"{group}*" for group in "abcd"]  # of NAMES, not of those that are recorded
    yield from ((all_,), (["a*", "b.1*"],), (all_,), (all_,), (NAMES[::7],), (["c*", "d*"],), (["b*"],), (["d.0*"],))


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
