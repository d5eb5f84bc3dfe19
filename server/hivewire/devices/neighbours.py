"""The devices that are online at other gateways, for `Presence` and `Online`: each tells the others of its changes.

Facts may be lost, so they are numbered, and every heartbeat has the number of the last one. A gateway that misses one
asks for all. A gateway that sends no heartbeat for long has gone, and with it all of its devices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from msgspec import Struct, msgpack

from hivewire.broadcast import FACT_BYTES, Alone, Broadcast, Facts
from hivewire.telemetry import Gauges, log
from hivewire.unexpected import safely

BEAT_SECONDS = 2.0
"""Interval of heartbeats."""

SILENT_SECONDS = 10.0
"""A gateway that sends nothing for this time has gone."""

AT_ONCE = 1_000
"""Devices that come or go in one iteration of the event loop."""

PART = FACT_BYTES // 16
"""Devices in one fact; an id takes nine bytes at most."""

ASK_SECONDS = 1.0
"""Shortest interval of asking a gateway for all of its devices."""

BEATS = 5
"""Heartbeats by which clocks are compared."""

PRESENCE = "presence"
"""The subject of what waits for commands, that of the neighbours that every gateway has."""

APART = 500
"""Milliseconds that the clocks of two gateways may differ by."""


class Beat(Struct, array_like=True, tag=True):
    """A heartbeat. `number` is that of the sender's last `Moved`, `now` the time of day in milliseconds."""

    number: int
    now: int


class Moved(Struct, array_like=True, tag=True):
    """The ids of devices that came to the sender, and the negative ones of those that left, in order."""

    number: int
    ids: list[int]


class Ask(Struct, array_like=True, tag=True):
    """Asks for all devices of the gateway with this name, of which the sender has missed something."""

    name: str


class All(Struct, array_like=True, tag=True):
    """A part of the devices that the sender had after the `Moved` of this number, `count` in all."""

    number: int
    count: int
    ids: list[int]


class Gone(Struct, array_like=True, tag=True):
    """The sender stops."""


Fact: TypeAlias = Beat | Moved | Ask | All | Gone

_decode = msgpack.Decoder(Fact).decode


class Present(Protocol):
    """The devices that are online, by the ids of their records. `on_local` is called with the id when one comes to this
    gateway, with the negative id when it leaves."""

    on_local: Callable[[int], None]

    def local(self) -> list[int]:
        """Those at this gateway."""

    def moved_elsewhere(self, move: int, /) -> None:
        """A device has come to another gateway or, with the negative id, has left it."""


class Neighbour:
    """Another gateway: the number of its last `Moved`, its devices, and when it was heard last."""

    __slots__ = ("asked", "collected", "collecting", "heard", "ids", "lags", "number")

    def __init__(self) -> None:
        self.number = 0
        self.ids: set[int] = set()
        self.collecting = -1  # the number of the `All` of which some parts were collected
        self.collected: set[int] = set()
        self.heard = 0.0
        self.asked: float | None = None  # when all was asked for, until it has come
        self.lags: deque[int] = deque(maxlen=BEATS)  # how old its last heartbeats were when they came, by our clock

    @property
    def is_apart(self) -> bool:
        """Whether its clock and ours differ by too much. A heartbeat takes time, so the quickest one counts."""
        return bool(self.lags) and abs(min(self.lags)) > APART


class Neighbours:
    """Sends the devices of this gateway to the others, and gives those of the others to `presence`.

    The subject is a word for what makes a device present. `now` gives milliseconds since 1970.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        presence: Present,
        now: Callable[[], int],
        subject: str = PRESENCE,
    ) -> None:
        self._name = broadcast.name
        self._tells_losses = subject == PRESENCE  # one line for a lost gateway, whatever it tells
        self._facts = Facts(broadcast, subject, _decode, self._hear)
        self._presence = presence
        self._now = now
        self._seconds: Callable[[], float] = lambda: asyncio.get_running_loop().time()
        self._number = 0
        self._moved: list[int] = []  # not told yet
        self._neighbours: dict[str, Neighbour] = {}
        self._moves: deque[int] = deque()  # of other gateways, for `Presence`
        self._task: asyncio.Task[None] | None = None
        if not isinstance(broadcast, Alone):
            presence.on_local = self._note

    @property
    def names(self) -> list[str]:
        """The other gateways that run."""
        return [*self._neighbours]

    @property
    def problem(self) -> str | None:
        """Why nothing should be written here: the clock differs from that of most others; None while it does not."""
        apart = [neighbour for neighbour in self._neighbours.values() if neighbour.is_apart]
        if 2 * len(apart) <= len(self._neighbours):
            return None
        lag = min(apart[0].lags)
        word = "ahead of" if lag > 0 else "behind"
        return f"the clock is {abs(lag):,} ms {word} that of another gateway; set both by NTP"

    # Sending.

    def _note(self, move: int) -> None:
        if not self._moved:
            asyncio.get_running_loop().call_soon(self._tell_moved)
        self._moved.append(move)

    def _tell_moved(self) -> None:
        moved, self._moved = self._moved, []
        for start in range(0, len(moved), PART):
            self._number += 1
            self._facts.tell(Moved(self._number, moved[start : start + PART]))

    def _tell_all(self) -> None:
        self._tell_moved()  # they are in what follows
        ids = self._presence.local()
        for start in range(0, max(len(ids), 1), PART):
            self._facts.tell(All(self._number, len(ids), ids[start : start + PART]))

    # Receiving.

    def _hear(self, name: str, fact: Fact) -> None:
        neighbour = self._neighbours.get(name)
        if neighbour is None:
            neighbour = self._neighbours[name] = Neighbour()
        neighbour.heard = self._seconds()
        match fact:
            case Beat(number, now):
                neighbour.lags.append(self._now() - now)
                if number != neighbour.number:
                    self._ask(name, neighbour)
            case Moved(number, ids):
                if number == neighbour.number + 1:
                    neighbour.number = number
                    self._move(neighbour, ids)
                elif number > neighbour.number:
                    self._ask(name, neighbour)
            case Ask(asked):
                if asked == self._name:
                    self._tell_all()
            case All(number, count, ids):
                self._collect(neighbour, number, count, ids)
            case Gone():
                self._lose(name)

    def _ask(self, name: str, neighbour: Neighbour) -> None:
        if neighbour.asked is None or neighbour.heard - neighbour.asked >= ASK_SECONDS:
            neighbour.asked, neighbour.collecting = neighbour.heard, -1
            self._facts.tell(Ask(name))

    def _collect(self, neighbour: Neighbour, number: int, count: int, ids: list[int]) -> None:
        """A part of all devices of a neighbour, perhaps because another gateway has asked."""
        if neighbour.asked is None or number < neighbour.number:
            return
        if neighbour.collecting != number:
            neighbour.collecting, neighbour.collected = number, set()
        neighbour.collected.update(ids)
        if len(neighbour.collected) == count:
            present, neighbour.collected, neighbour.asked = neighbour.collected, set(), None
            neighbour.number = number
            self._move(neighbour, [*(present - neighbour.ids), *(-id for id in neighbour.ids - present)])

    def _move(self, neighbour: Neighbour, ids: list[int]) -> None:
        for id in ids:
            if (id > 0) != (abs(id) in neighbour.ids):
                (neighbour.ids.add if id > 0 else neighbour.ids.discard)(abs(id))
                self._moves.append(id)
                if len(self._moves) == 1:
                    asyncio.get_running_loop().call_soon(self._move_some)

    def _move_some(self) -> None:
        for _ in range(min(AT_ONCE, len(self._moves))):
            self._presence.moved_elsewhere(self._moves.popleft())
        if self._moves:
            asyncio.get_running_loop().call_soon(self._move_some)

    def _lose(self, name: str) -> None:
        neighbour = self._neighbours.pop(name)
        self._move(neighbour, [-id for id in neighbour.ids])

    # The life of the component.

    def beat(self) -> None:
        """Send a heartbeat, and forget gateways that have sent none for long. Called by a timer."""
        self._facts.tell(Beat(self._number, self._now()))
        until = self._seconds() - SILENT_SECONDS
        for name in [name for name, neighbour in self._neighbours.items() if neighbour.heard < until]:
            if self._tells_losses:
                log.warning("another gateway has gone", other=name)
            self._lose(name)

    def start(self) -> None:
        """Begin to send heartbeats."""
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            safely("no heartbeat was sent", self.beat)
            await asyncio.sleep(BEAT_SECONDS)

    async def close(self) -> None:
        """Tell the others that this gateway stops."""
        if self._task is not None:
            self._task.cancel()
        self._facts.tell(Gone())

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {"gateways": ("Other gateways of the ledger that run.", lambda: len(self._neighbours))}
