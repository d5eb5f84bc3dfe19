"""Commands and notifications against a model: whatever happens, each subscriber gets exactly the messages within its
reach, in order, once.

Sockets subscribe, stop reading, read on and disconnect; devices move, are deleted and registered anew; memberships end;
messages are inserted and updated beside all that, in the same moments; polls go on from their last message, resumable
subscriptions from their last position; clocks are set; the gateway is killed in its commits and started again. The
model is the sequence of all events of each log as it was announced, and section 6 of the contract of devices in the
simplest words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import settings
from msgspec import structs

from hivewire.access.users import UserContent
from hivewire.devices.index import Device
from hivewire.streams.memory import MemoryEngine, MemoryLog
from hivewire.streams.message import Message, unpack
from hivewire_protocol import times
from hivewire_protocol.catalogue import HTTP_ONLY
from hivewire_protocol.coercion import build, decode_members
from hivewire_protocol.errors import WireError
from hivewire_protocol.nouns.user import Status
from tests.rooms.test_device_messages import Messages
from tests.rooms.test_devices import ADMIN, ANN
from tests.rooms.test_hub import Peer, SlowJournal
from tests.world import HOUR, Clock

KINDS = ("command", "notification")

FIXED = "pump"
"""A device that neither moves nor is deleted: who follows it, and goes on from its last message, misses none."""

MOVING = ("lamp", "door")


class SlowLog(MemoryLog):
    """A log that takes its time, so that a kill may come before an entry is durable, and before it is answered."""

    async def append(self, number: int, entry: bytes) -> bool:
        await asyncio.sleep(0)
        stands = await super().append(number, entry)
        await asyncio.sleep(0)
        return stands


class SlowEngine(MemoryEngine):
    """Two of them."""

    def __init__(self) -> None:
        super().__init__()
        self._logs = {"commands": SlowLog(), "notifications": SlowLog()}

    def stored(self, kind: str) -> list[Message]:
        """All events that are durable."""
        log = self._logs["commands" if kind == "command" else "notifications"]
        return [message for entry in log._entries.values() for message in unpack(entry)]


class World(Messages):
    """A gateway over what others left."""

    def __init__(self, journal: SlowJournal, engine: SlowEngine, clock: Clock) -> None:
        super().__init__(journal, clock, messages=engine, device_messages_rate=0)

    async def reopen(self) -> None:
        """Load it."""
        await self.ledger.open()
        await self.messages.open(self.ledger.epoch)
        await self.users.load()
        self.services.registry.load()
        self.admin = self.caller()


class Wants(NamedTuple):
    """What a subscription gets (section 6.2). None stands for all."""

    networks: frozenset[int] | None
    types: frozenset[int] | None
    names: frozenset[str] | None
    device: int | None = None

    def __call__(self, message: Message) -> bool:
        return (
            (self.networks is None or message.network in self.networks)
            and (self.types is None or message.type in self.types)
            and (self.names is None or message.name in self.names)
            and (self.device is None or message.device == self.device)
        )


class Request(NamedTuple):
    """What a subscription asks for. `since`: after how many events, 0 for all, None for nothing stored."""

    kind: str
    device: str | None
    networks: tuple[int, ...]
    types: tuple[int, ...]
    names: tuple[str, ...]
    updated: bool
    since: int | None


class Way(NamedTuple):
    """One way in which a subscription may go on: what it wants of the events stored before a place in the log, and of
    those behind it up to another place, and what from there on. So many devices were deleted before it was read."""

    wants: Wants
    stored: bool
    first: int
    change: int
    then: Wants
    gone: int = 0


class Sub:
    """A subscription: what it asks for, and how many events, states of its device and deleted devices there were then.

    `got` are its pushes that were checked, `ways` are how it may go on.
    """

    def __init__(self, asked: Request, since: int | None, events: int, state: int, gone: int) -> None:
        self.asked, self.since = asked, since
        self.events, self.state, self.gone = events, state, gone
        self.number: int | None = None
        self.got: list[Any] = []
        self.ways: list[Way] = []


class Socket(Peer):
    """A connection of a user, `networks` those of its token."""

    def __init__(self, model: Model, user: int, networks: tuple[int, ...]) -> None:
        n = [str(network) for network in networks] or ["*"]
        super().__init__(model.world, model.world.caller(user, n=n).identity)  # type: ignore[arg-type]
        self.user, self.networks = user, frozenset(networks) or None
        self.model = model
        self.reads = True
        self.subs: dict[int, Sub] = {}

    def _take(self, line: bytes) -> None:
        if b'"status"' in line and (reply := json.loads(line)).get("requestId") in self.subs:
            self.model.answered(self, self.subs[reply["requestId"]], reply)
        super()._take(line)

    def send(self, request: int, action: str, **members: Any) -> None:
        """A request with a number."""
        self.session.receive(json.dumps({"action": action, "requestId": request, **members}).encode())

    def pushes(self, sub: Sub) -> list[Any]:
        """What came for a subscription."""
        return [frame for frame in self.frames if frame.get("subscriptionId") == sub.number and "status" not in frame]

    def stop(self) -> None:
        """Read no more."""
        self.reads = False
        self.session.pause()

    def go_on(self) -> None:
        """Read on."""
        self.reads = True
        self.room = None
        self.session.resume()


class Follower:
    """A client that follows FIXED for ever, from its last message on."""

    def __init__(self, kind: str, now: str) -> None:
        self.kind, self.last = kind, now
        self.ids: list[int] = []
        self.socket: Socket | None = None

    def take(self, messages: Iterable[Any]) -> None:
        """They came."""
        for message in messages:
            self.ids.append(message["id"])
            self.last = message["timestamp"]

    def read(self) -> None:
        """Take what came over the socket."""
        if self.socket is not None:
            self.take(frame[self.kind] for frame in self.socket.taken() if "status" not in frame)


class Resumer:
    """A client that follows all messages of a kind, or all updates, for ever, from its last position on."""

    def __init__(self, kind: str, updated: bool) -> None:
        self.kind, self.updated = kind, updated
        self.position: str | None = None
        self.got: list[Any] = []
        self.socket: Socket | None = None

    def connect(self, model: Model) -> None:
        """Begin, or go on."""
        self.socket = Socket(model, ADMIN, ())
        since = {} if self.position is None else {"since": self.position}
        updated = {"returnUpdatedCommands": True} if self.updated else {}
        self.socket.send(1, f"{self.kind}/subscribe", resumable=True, **since, **updated)

    def read(self) -> None:
        """Take what came over the socket."""
        for frame in self.socket.taken() if self.socket is not None else ():
            assert frame.get("mode") in (None, "live" if self.position is None else "resumed")
            assert "reset" not in frame
            self.position = frame["position"]
            self.got += [frame[self.kind]] if self.kind in frame else []


class Model:
    """The gateway, everybody who is connected, and what must be true of what they get."""

    def __init__(self) -> None:
        self.journal, self.engine, self.clock = SlowJournal(), SlowEngine(), Clock()
        self.events: dict[str, list[Message]] = {kind: [] for kind in KINDS}
        self.states: dict[str, list[Device | None]] = {device: [None] for device in (*MOVING, FIXED)}
        self.gone: list[int] = []
        self.inserted: list[tuple[str, int]] = []
        self.updated: list[tuple[int, str]] = []
        self.members = frozenset((1, 3))
        self.sockets: list[Socket] = []
        self.numbers = count(1)
        self.work: set[asyncio.Task[Any]] = set()
        self.polls: list[asyncio.Task[Any]] = []

    async def open(self) -> None:
        """Start, with all devices there."""
        self.world = World(self.journal, self.engine, self.clock)
        await (await self.world.open()).fill()
        self.watch()
        for device in self.states:
            await self.world.put(device, networkId=1, deviceTypeId=3)
        now = times.render(self.world.messages.now())
        self.begun = {kind: len(self.events[kind]) for kind in KINDS}
        self.by_socket = [Follower(kind, now) for kind in KINDS]
        self.by_poll = [Follower(kind, now) for kind in KINDS]
        self.by_position = [Resumer("command", False), Resumer("command", True), Resumer("notification", False)]
        self.connect()

    def watch(self) -> None:
        """Note what the logs announce, and what becomes of devices."""
        messages = self.world.messages
        messages.commands.observe(self.events["command"].extend)
        messages.notifications.observe(self.events["notification"].extend)
        self.world.services.registry.on_device.append(self.note)

    def note(self, before: Device | None, after: Device | None) -> None:
        """A device has changed."""
        self.states[(before or after).id].append(after)  # type: ignore[union-attr]
        if before is not None and (after is None or after.record_id != before.record_id):
            self.gone.append(before.record_id)

    def connect(self) -> None:
        """Let the followers go on."""
        for follower in self.by_socket:
            follower.socket = Socket(self, ADMIN, ())
            asked = {"deviceId": FIXED, "timestamp": follower.last, "limit": 0}
            follower.socket.send(1, f"{follower.kind}/subscribe", **asked)
        self.polls = [asyncio.create_task(self.poll(follower)) for follower in self.by_poll]
        for resumer in self.by_position:
            resumer.connect(self)

    async def poll(self, follower: Follower) -> None:
        """Ask again and again for what is later than the last message."""
        while True:
            caller = self.world.caller()
            caller.http = True
            asked = {"deviceId": FIXED, "timestamp": follower.last, "limit": 0}
            request = build(HTTP_ONLY[f"{follower.kind}/poll"], decode_members(msgspec.json.encode(asked)))
            reply = await self.world.dispatcher.carry_out(caller, request)
            follower.take(msgspec.json.decode(b"{%b}" % reply.members())[f"{follower.kind}s"])

    # What happens.

    def begin(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do it beside everything else. It may be refused."""

        async def done() -> None:
            with suppress(WireError):
                await work()

        self.work.add(asyncio.create_task(done()))

    def insert(self, kind: str, device: str, name: str, time: int | None) -> None:
        """A message, perhaps with a time of its own. FIXED has the clock's, because its followers go by that."""

        async def work() -> None:
            given: dict[str, Any] = {} if time is None or device == FIXED else {"timestamp": self.clock.time + time}
            sent = await (self.world.order if kind == "command" else self.world.tell)(name, device, **given)
            self.inserted.append((kind, sent["id"]))

        self.begin(work)

    def update(self, which: int) -> None:
        """One of the last commands."""

        async def work() -> None:
            status = str(next(self.numbers))
            command = {"status": status}
            await self.world.do("command/update", deviceId=event.device_id, commandId=event.id, command=command)
            self.updated.append((event.id, status))

        if events := self.events["command"][-4:]:
            event = events[which % len(events)]
            self.begin(work)

    def save(self, device: str, network: int, type_: int) -> None:
        """Move a device, or register it anew."""
        saved = {"name": "d", "networkId": network, "deviceTypeId": type_}
        self.begin(lambda: self.world.do("device/save", deviceId=device, device=saved))

    def delete(self, device: str) -> None:
        """Delete a device."""
        self.begin(lambda: self.world.do("device/delete", deviceId=device))

    def dial(self, user: int, networks: tuple[int, ...], room: int | None) -> None:
        """Another socket, which perhaps stops reading soon."""
        socket = Socket(self, user, networks if user == ADMIN else ())
        if room is not None:
            socket.room, socket.reads = room, False
        self.sockets.append(socket)

    def subscribe(self, which: int, asked: Request) -> None:
        """A subscription of one of the sockets."""
        if not self.sockets:
            return
        socket, events = self.sockets[which % len(self.sockets)], self.events[asked.kind]
        since = None
        if asked.since is not None:
            since = events[asked.since % len(events)].timestamp if asked.since and events else 0
        number = next(self.numbers)
        state = len(self.states[asked.device]) - 1 if asked.device is not None else 0
        socket.subs[number] = Sub(asked, since, len(events), state, len(self.gone))
        given = {
            "deviceId": asked.device,
            "networkIds": asked.networks,
            "deviceTypeIds": asked.types,
            "names": asked.names or None,
            "timestamp": since,
        }
        if asked.kind == "command":
            given |= {"limit": 0, "returnUpdatedCommands": asked.updated}
        socket.send(number, f"{asked.kind}/subscribe", **given)

    def answered(self, socket: Socket, sub: Sub, reply: Any) -> None:
        """A subscription is there, or refused. From which event on it gets messages is known within bounds."""
        asked = sub.asked
        states: list[Device | None] = [None]
        if asked.device is not None:
            states = self.states[asked.device][sub.state :]
        possible = [self.resolve(socket, asked, state) for state in states]
        if reply["status"] != "success":
            assert None in possible, reply
            return
        sub.number = reply["subscriptionId"]
        stored = sub.since is not None
        bounds = range(sub.events, len(self.events[asked.kind]) + 1)
        gone = range(sub.gone, len(self.gone) + 1)
        wanted = [wants for wants in possible if wants is not None]
        sub.ways = [Way(wants, stored, at, at, wants, many) for wants in wanted for at in bounds for many in gone]
        assert sub.ways

    def resolve(self, socket: Socket, asked: Request, device: Device | None) -> Wants | None:
        """Section 6.2, with the networks of a client for its `*`; None: refused."""
        members = self.members if socket.user == ANN else None
        for network in asked.networks:
            if (members is not None and network not in members) or network not in (socket.networks or (network,)):
                return None
        types = frozenset(asked.types) or None
        names = frozenset(asked.names) or None
        if asked.device is not None:
            if device is None or device.network not in (socket.networks or (device.network,)):
                return None
            if members is not None and device.network not in members:
                return None
            return Wants(frozenset((device.network,)), frozenset((device.type,)), names, device.record_id)
        networks = frozenset(asked.networks) or socket.networks
        if members is not None:
            networks = members if networks is None else networks & members
        return Wants(networks, types, names)

    def unsubscribe(self, which: int) -> None:
        """End all subscriptions of a socket to commands."""
        if self.sockets:
            socket = self.sockets[which % len(self.sockets)]
            if socket.reads and all(sub.number is not None for sub in socket.subs.values()):
                self.hold(socket, whole=False)
                socket.send(0, "command/unsubscribe")
                socket.subs = {n: sub for n, sub in socket.subs.items() if sub.asked.kind != "command"}

    def stop(self, which: int) -> None:
        """A socket stops reading."""
        if self.sockets:
            self.sockets[which % len(self.sockets)].stop()

    def go_on(self, which: int) -> None:
        """A socket reads on."""
        if self.sockets:
            self.sockets[which % len(self.sockets)].go_on()

    def hang_up(self, which: int) -> None:
        """A socket is closed."""
        if self.sockets:
            socket = self.sockets.pop(which % len(self.sockets))
            self.hold(socket, whole=False)
            socket.session.close()

    def break_off(self, which: int, reads: bool) -> None:
        """The connection of one who goes on from a position breaks; it comes back, and perhaps does not read."""
        resumer = self.by_position[which]
        resumer.read()
        assert resumer.socket is not None
        resumer.socket.session.close()
        resumer.connect(self)
        if not reads:
            resumer.socket.stop()

    def set_clock(self, milliseconds: int) -> None:
        """The wall clock is set, back or ahead."""
        self.clock.time += milliseconds

    async def members_of(self, networks: tuple[int, ...], spin: int, locked: bool) -> None:
        """Ann belongs to other networks, or is locked for a moment, beside messages."""
        for socket in self.sockets:
            socket.go_on()
        await self.quiet()
        before = {kind: len(self.events[kind]) for kind in KINDS}
        for kind in KINDS:
            for device in self.states:
                self.insert(kind, device, "on", None)
        await self.spin(spin)
        contents = [UserContent("", networks=[*networks])]
        if locked:
            contents.insert(0, structs.replace(contents[0], status=Status.LOCKED_OUT))
        for content in contents:
            await self.world.ledger.commit(self.world.users.write("ann", content, None))
        self.members = frozenset(networks)
        for socket in self.sockets:
            if socket.user == ANN:
                for sub in socket.subs.values():
                    first, last = before[sub.asked.kind], len(self.events[sub.asked.kind])
                    sub.ways = [
                        way._replace(change=at, then=self.narrowed(way.then, locked))
                        for way in sub.ways
                        for at in range(first, last + 1)
                    ]
        await self.quiet()

    def narrowed(self, wants: Wants, locked: bool) -> Wants:
        """What is left to Ann of what a subscription wants."""
        assert wants.networks is not None
        return wants._replace(networks=frozenset() if locked else wants.networks & self.members)

    async def spin(self, iterations: int) -> None:
        """Let the event loop run."""
        for _ in range(iterations):
            await asyncio.sleep(0)

    async def kill(self) -> None:
        """The gateway dies in the middle of everything, and another one starts over what is durable."""
        for socket in self.sockets:
            self.hold(socket, whole=False)
        for follower in self.by_socket:
            follower.read()
            follower.socket = None
        for resumer in self.by_position:
            resumer.read()
        self.sockets.clear()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self.work.clear()
        assert not self.world.unexpected
        for kind, events in self.events.items():
            stored = self.engine.stored(kind)
            assert stored[: len(events)] == events, "what was announced is there"
            events[:] = stored
        self.world = World(self.journal, self.engine, self.clock)
        await self.world.reopen()
        for device, states in self.states.items():
            found = self.world.services.registry.device(device)
            if found is not None or states[-1] is not None:
                self.note(states[-1], found)
        self.watch()
        self.connect()

    # What holds.

    async def quiet(self) -> None:
        """Let everything end that has begun, and look at what everybody got."""
        for resumer in self.by_position:
            assert resumer.socket is not None
            resumer.socket.go_on()
        await asyncio.gather(*self.work)
        self.work.clear()
        while any(socket.reads and socket.session.pending for socket in self.sockets):
            await self.spin(1)
        await self.spin(20)
        while any(feed.serving for feed in self.world.hub.feeds):
            await self.spin(5)
        for socket in self.sockets:
            self.hold(socket, whole=socket.reads)
        for follower in (*self.by_socket, *self.by_poll):
            follower.read()
            expected = [e.id for e in self.events[follower.kind][self.begun[follower.kind] :] if self.is_fixed(e)]
            for _ in range(500):
                if len(follower.ids) >= len(expected):
                    break
                await self.spin(1)
                follower.read()
            assert follower.ids == expected
        for resumer in self.by_position:
            resumer.read()
            events = self.events[resumer.kind][self.begun[resumer.kind] :]
            assert resumer.got == [json.loads(e.body) for e in events if e.updated == resumer.updated]

    def is_fixed(self, event: Message) -> bool:
        """Whether it is what the followers of FIXED get."""
        return event.device_id == FIXED and not event.updated and event.network is not None

    def hold(self, socket: Socket, whole: bool) -> None:
        """The subscriptions of a socket got what one of the possible ways says, or the beginning of it."""
        assert socket.closed is None
        for sub in socket.subs.values():
            if sub.number is None:
                continue
            pushes = socket.pushes(sub)
            rest = [(frame["action"], frame[sub.asked.kind]) for frame in pushes[len(sub.got) :]]
            ways = [way for way in sub.ways if self.fits(sub, way, rest, whole)]
            assert ways, (sub.asked, sub.since, rest, [self.expected(sub, way) for way in sub.ways])
            sub.ways = ways
            if whole:
                sub.got = pushes
                at = len(self.events[sub.asked.kind])
                sub.ways = [*{Way(way.then, False, at, at, way.then) for way in ways}]
        self.in_order(socket)

    def in_order(self, socket: Socket) -> None:
        """The answer to a subscribe comes before all of its pushes."""
        known = set()
        for frame in socket.frames:
            if "status" in frame:
                known.add(frame.get("subscriptionId"))
            else:
                assert frame["subscriptionId"] in known

    def fits(self, sub: Sub, way: Way, rest: list[Any], whole: bool) -> bool:
        """Whether these pushes are what a way says."""
        expected = self.expected(sub, way)
        return rest == (expected if whole else expected[: len(rest)])

    def expected(self, sub: Sub, way: Way) -> list[Any]:
        """The pushes of a way: first each stored message as it is then, oldest first, then every event."""
        kind, events = sub.asked.kind, self.events[sub.asked.kind]
        found: list[Any] = []
        if way.stored and way.wants[:2] + way.wants[3:] != (None, None, None):
            assert sub.since is not None
            last = {(event.device, event.id): event for event in events[: way.first]}
            replayed = [
                event
                for event in last.values()
                if way.wants(event)
                and event.device not in self.gone[: way.gone]
                and (event.updated or not sub.asked.updated)
                and (event.changed if sub.asked.updated else event.timestamp) > sub.since
            ]
            replayed.sort(key=lambda event: (event.timestamp, event.id >> 11, event.place))
            what = "update" if sub.asked.updated else "insert"
            found += [(f"{kind}/{what}", json.loads(event.body)) for event in replayed]
        for index in range(way.first, len(events)):
            event = events[index]
            if event.updated == sub.asked.updated and (way.wants if index < way.change else way.then)(event):
                found.append((f"{kind}/{'update' if event.updated else 'insert'}", json.loads(event.body)))
        return found

    async def close(self) -> None:
        """At the end: everything that was answered is there, once, in the order of its device, and never goes back."""
        for socket in self.sockets:
            socket.go_on()
        await self.quiet()
        for kind, events in self.events.items():
            assert events == self.engine.stored(kind)
            inserts = [(event.device, event.id) for event in events if not event.updated]
            assert len(inserts) == len({*inserts})
            assert {number for of, number in self.inserted if of == kind} <= {number for _, number in inserts}
            clocks: dict[int, int] = {}
            changed: dict[tuple[int, int], int] = {}
            for event in events:
                assert event.clock > clocks.get(event.device, 0)
                assert event.changed > changed.get((event.device, event.id), -1)
                clocks[event.device], changed[event.device, event.id] = event.clock, event.changed
        updates = [(event.id, event.status) for event in self.events["command"] if event.updated]
        assert len(updates) == len({*updates})
        assert {*self.updated} <= {*updates}
        for task in self.polls:
            task.cancel()
        await asyncio.gather(*self.polls, return_exceptions=True)
        followers: list[Follower | Resumer] = [*self.by_socket, *self.by_position]
        for connected in (*self.sockets, *(each.socket for each in followers)):
            assert connected is not None
            connected.session.close()
        await self.world.close()
        assert self.world.hub.feeds == set()


class Chance(Random):
    """What happens next."""

    def some(self, *most: int) -> tuple[int, ...]:
        """Up to two of three networks, or types."""
        return tuple(self.sample(range(1, 4), self.choice(most or (0, 0, 1, 2))))

    def request(self) -> Request:
        """A subscription."""
        kind = self.choice(KINDS)
        return Request(
            kind,
            self.choice((None, None, FIXED, *MOVING)),
            self.some(),
            self.some(),
            self.choice(((), (), ("on",), ("on", "off"))),
            kind == "command" and self.random() < 0.4,
            self.choice((None, 0, self.randrange(50))),
        )


OPERATIONS: dict[str, tuple[int, Callable[[Chance], tuple[Any, ...]]]] = {
    "insert": (
        30,
        lambda chance: (
            chance.choice(KINDS),
            chance.choice((FIXED, *MOVING)),
            chance.choice(("on", "off")),
            chance.choice((None, None, -2, 0, 2)),
        ),
    ),
    "update": (10, lambda chance: (chance.randrange(4),)),
    "save": (6, lambda chance: (chance.choice(MOVING), chance.randint(1, 3), chance.randint(1, 3))),
    "delete": (2, lambda chance: (chance.choice(MOVING),)),
    "dial": (6, lambda chance: (chance.choice((ADMIN, ANN)), chance.some(0, 0, 1), chance.choice((None, None, 1, 4)))),
    "subscribe": (14, lambda chance: (chance.randrange(8), chance.request())),
    "unsubscribe": (1, lambda chance: (chance.randrange(8),)),
    "stop": (3, lambda chance: (chance.randrange(8),)),
    "go_on": (5, lambda chance: (chance.randrange(8),)),
    "hang_up": (1, lambda chance: (chance.randrange(8),)),
    "break_off": (3, lambda chance: (chance.randrange(3), chance.random() < 0.6)),
    "set_clock": (2, lambda chance: (chance.choice((-HOUR, -1, 1, HOUR)),)),
    "members_of": (2, lambda chance: (chance.some(1, 2), chance.randrange(9), chance.random() < 0.3)),
    "spin": (20, lambda chance: (chance.randrange(6),)),
    "quiet": (4, lambda chance: ()),
    "kill": (1, lambda chance: ()),
}
"""What happens how often, and its arguments."""

LONG = settings().max_examples > 60


@pytest.mark.parametrize("seed", range(1_000 if LONG else 20))
async def test_each_subscriber_gets_exactly_its_messages_in_order_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens; and who goes on from its last message misses nothing over kills and disconnections."""
    monkeypatch.setattr("hivewire.actions.following.NOTIFICATIONS", 100_000)
    chance, model = Chance(seed), Model()
    await model.open()
    weights = [often for often, _ in OPERATIONS.values()]
    for name in chance.choices([*OPERATIONS], weights, k=150):
        if (doing := getattr(model, name)(*OPERATIONS[name][1](chance))) is not None:
            await doing
    await model.close()
