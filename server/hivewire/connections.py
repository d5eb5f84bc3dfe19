"""The open connections of all gateways of a ledger, which administrators can list and close.

A gateway knows its own. It asks the others for each request, and uses the answers that arrive in time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from heapq import merge
from itertools import count, islice
from operator import attrgetter
from typing import Protocol, TypeAlias

from msgspec import Struct, msgpack

from hivewire.access.revocations import revoked_devices
from hivewire.broadcast import Broadcast, Facts
from hivewire.caller import Caller
from hivewire.devices.neighbours import Neighbours
from hivewire.ledger.records import Change
from hivewire.slices import in_slices
from hivewire.telemetry import Gauges
from hivewire_protocol import times
from hivewire_protocol.close import Code
from hivewire_protocol.nouns.connection import MOST, ConnectionListed
from hivewire_protocol.tenant.steps import Steps

ANSWER_SECONDS = 1.0
"""How long the other gateways have to answer."""


class Connection(Protocol):
    """A WebSocket or an event stream. `since` is when it was opened, in milliseconds since 1970."""

    kind: str
    number: int
    since: int

    @property
    def caller(self) -> Caller:
        """The caller who opened it."""

    @property
    def ended(self) -> bool:
        """Whether it is closing already."""

    @property
    def unread(self) -> int:
        """Bytes that the peer has not read yet."""

    def close(self, code: Code, /) -> None:
        """Close it with this code, after what was sent so far."""


class Wanted(Struct, array_like=True):
    """Which connections are asked for: `take` of those with an id after `after`, those of one login or all."""

    login: str | None = None
    after: str = ""
    take: int = MOST


class List(Struct, array_like=True, tag=True):
    """Asks for connections. `question` numbers the questions of the sender."""

    question: int
    wanted: Wanted


class Close(Struct, array_like=True, tag=True):
    """Asks to close the connection with this id."""

    question: int
    id: str


class Answer(Struct, array_like=True, tag=True):
    """To a question of the gateway with this name: what was found, or was closed."""

    name: str
    question: int
    found: list[ConnectionListed]


Fact: TypeAlias = List | Close | Answer

_decode = msgpack.Decoder(Fact).decode


class Question:
    """A question to other gateways: which have not answered yet, and what was found so far. `enough`: the first answer
    with a result is sufficient."""

    def __init__(self, names: list[str], enough: bool) -> None:
        self.found: list[list[ConnectionListed]] = []
        self.done = asyncio.Event()
        self._missing = {*names}
        self._enough = enough

    def take(self, name: str, found: list[ConnectionListed]) -> None:
        """The answer of a gateway."""
        self.found.append(found)
        self._missing.discard(name)
        if not self._missing or (self._enough and found):
            self.done.set()


class Connections:
    """Lists and closes connections. `gateway` is the name of this gateway in the log, None for one that is alone.

    The transport adds its tables of open connections to `tables`, by their numbers, which come from `numbers`.
    """

    def __init__(self, broadcast: Broadcast, neighbours: Neighbours, gateway: str | None) -> None:
        self.tables: list[Mapping[int, Connection]] = []
        self.numbers = count(1)
        self._name = broadcast.name
        self._facts = Facts(broadcast, "connections", _decode, self._hear)
        self._neighbours = neighbours
        self._gateway = gateway
        self._prefix = secrets.token_hex(4) + "-"  # another one after a restart
        self._questions: dict[int, Question] = {}
        self._question_numbers = count(1)
        self._answering: set[asyncio.Task[None]] = set()

    async def find(self, wanted: Wanted) -> list[ConnectionListed]:
        """The connections of all gateways that answer, by id: those of one gateway follow one another by age."""
        mine, others = await asyncio.gather(
            in_slices(self._steps(wanted)), self._ask(lambda question: List(question, wanted))
        )
        return [*islice(merge(mine, *others, key=attrgetter("connectionId")), wanted.take)]

    def close_here(self, id: str) -> ConnectionListed | None:
        """Close a connection of this gateway in the next iteration of the event loop, so that one who closes its own
        is answered before. Returns what it was; None when it is not here."""
        if not id.startswith(self._prefix):
            return None
        try:
            number = int(id.removeprefix(self._prefix), 16)
        except ValueError:
            return None
        found = self._open(number)
        if found is None or self._id(number) != id:
            return None
        asyncio.get_running_loop().call_soon(found.close, Code.CLOSED_BY_ADMINISTRATOR)
        return self._listed(found)

    async def close_elsewhere(self, id: str) -> ConnectionListed | None:
        """Let the gateway that has it close a connection. Returns what it was; None when no gateway answers that it
        has it."""
        answers = await self._ask(lambda question: Close(question, id), enough=True)
        return next((found for answer in answers for found in answer), None)

    def end_revoked(self, changes: Iterable[Change]) -> None:
        """Close the connections of devices whose tokens were revoked, in the next iteration of the event loop too."""
        if devices := revoked_devices(changes):
            soon = asyncio.get_running_loop().call_soon
            for connection in (each for table in self.tables for each in table.values()):
                if not devices.isdisjoint(connection.caller.identity.devices) and not connection.ended:
                    soon(connection.close, Code.CLOSED_BY_ADMINISTRATOR)

    # Those of this gateway.

    def _id(self, number: int) -> str:
        return f"{self._prefix}{number:010x}"

    def _open(self, number: int) -> Connection | None:
        found = next((table[number] for table in self.tables if number in table), None)
        return None if found is None or found.ended else found

    def _steps(self, wanted: Wanted) -> Steps[list[ConnectionListed]]:
        """Those that are wanted, the oldest first. Connections come and go between the steps."""
        listed: list[ConnectionListed] = []
        for number in sorted(number for table in self.tables for number in table):
            if len(listed) >= wanted.take:
                break
            found = self._open(number) if self._id(number) > wanted.after else None
            if found is not None and wanted.login in (None, found.caller.identity.login):
                listed.append(self._listed(found))
            yield
        return listed

    def _listed(self, connection: Connection) -> ConnectionListed:
        caller = connection.caller
        subscriptions = [sub for feed in caller.feeds for sub in feed.subscriptions]
        return ConnectionListed(
            self._id(connection.number),
            connection.kind,
            caller.identity.login or None,
            caller.address,
            times.render(connection.since),
            len(subscriptions),
            max((sub.lag for sub in subscriptions), default=0),
            connection.unread,
            self._gateway,
        )

    # Those of others.

    async def _ask(self, fact: Callable[[int], List | Close], enough: bool = False) -> list[list[ConnectionListed]]:
        """The answers of other gateways that arrive in time; at once when there are none."""
        if not (names := self._neighbours.names):
            return []
        number = next(self._question_numbers)
        question = self._questions[number] = Question(names, enough)
        try:
            self._facts.tell(fact(number))
            async with asyncio.timeout(ANSWER_SECONDS):
                await question.done.wait()
        except TimeoutError:
            pass
        finally:
            del self._questions[number]
        return question.found

    def _hear(self, name: str, fact: Fact) -> None:
        match fact:
            case List(number, wanted):
                task = asyncio.create_task(self._answer_list(name, number, wanted))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case Close(number, id):
                closed = self.close_here(id)
                self._answer(name, number, [closed] if closed is not None else [])
            case Answer(asker, number, found):
                if asker == self._name and (question := self._questions.get(number)) is not None:
                    question.take(name, found)

    async def _answer_list(self, name: str, number: int, wanted: Wanted) -> None:
        self._answer(name, number, await in_slices(self._steps(wanted)))

    def _answer(self, name: str, number: int, found: list[ConnectionListed]) -> None:
        self._facts.tell(Answer(name, number, found))

    # The life of the component.

    def start(self) -> None:
        """Does nothing: it works when it is asked."""

    async def close(self) -> None:
        """Answer no more."""
        for task in self._answering:
            task.cancel()

    def gauges(self) -> Gauges:
        """No metrics: the transport counts its connections."""
        return {}
