"""Watchers and writers over real sockets: whatever they do, each watcher gets what the ledger's history has for it.

A random script of steps runs against a gateway with small bounds, so that slow readers stall and are conflated. The
writers' replies are the history; at the end of each script the frames of each watcher are checked against it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from bench.watching import Checker, Disconnected, History, ObservedChange, Violation, Watch, brief, change_of
from hypothesis import Phase, event, example, given, settings
from hypothesis import strategies as st

from tests.gate.wire import CLOSE, PING, PONG, TEXT, Wire, frame, upgrade
from tests.running import RunningGateway

FORGETFUL = ("--history", "2", "--log-changes", "30", "--compact-seconds", "0.1")
"""A log so short that a watcher that is away for a moment is reset."""

FLAGS = ("--bookmark-seconds", "0.1", "--outbox-bytes", "8192", "--conflate-after", "10", "--conflate-seconds", "0.1")
NAMES = ("a", "a.1", "a.2", "ab", "b", "b.1", "c")
BULK = tuple(f"z.{number:02}" for number in range(60))
WANTED = (("*",), ("*",), ("a*",), ("a.*", "b", "z*"), ("a", "b.1", "c"), ("b*", "nobody"))
TOKENS = (("*",), ("*",), ("a*",), ("a.1", "b*"))
LARGE, ENOUGH = 60_000, 96
"""Characters of a large value, and how many such are more than the kernel takes."""
SLOW = 0.2
"""Seconds without reading after which the gateway takes a reader for slow."""


class Watched:
    """A gateway, its tokens, and all that is known of its history."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.changes: list[ObservedChange] = []
        self.revision = 0
        self.values = 0
        self.seen: Counter[str] = Counter()
        admin = gateway.token()
        self.tokens: dict[tuple[str, ...], str] = {("*",): admin}
        with gateway.socket(admin) as talk:
            for names in set(TOKENS[2:]):
                rights = {"userId": 1, "actions": ["ManageConfiguration"], "configurations": list(names)}
                self.tokens[names] = talk("token/create", payload=rights)["accessToken"]
        self.writers: list[Line] = []

    def value(self, large: bool) -> str:
        """A value that no other change has."""
        self.values += 1
        return f"{self.values} ".ljust(LARGE if large else 0, "v")

    def unread(self) -> int:
        """Bytes that the gateway holds for clients that do not read."""
        for line in httpx.get(self.gateway.url + "/metrics").text.splitlines():
            if line.startswith("hivewire_outbox_bytes "):
                return int(float(line.split()[1]))
        raise AssertionError("no such number")

    def ask(self, action: str, **members: Any) -> Any:
        """A request beside everything else."""
        with self.gateway.socket(self.tokens["*",]) as talk:
            return talk(action, **members)

    def look_up(self, names: Iterable[str]) -> None:
        """Note what became of writes whose answer was lost with their connection."""
        request = {"action": "configuration/put", "name": "~", "value": "behind whatever was under way"}
        self.written(request, self.ask(**request))
        known = set(self.changes)
        for name in names:
            for members in self.ask("configuration/history", name=name, take=5).get("changes", ()):
                if (change := change_of(members)) not in known:
                    self.changes.append(change)

    def clear(self) -> None:
        """Delete everything, so that one script is like any other."""
        while names := [each["name"] for each in self.ask("configuration/list", take=10)["configurations"]]:
            changes = [{"operation": "delete", "name": name} for name in names]
            request: dict[str, Any] = {"action": "configuration/transact", "changes": changes}
            self.written(request, self.ask(**request))

    def written(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """Record the answer to a writer."""
        if reply["status"] != "success":
            assert reply["code"] in (404, 409), reply
            return
        revision = reply["revision"]
        self.revision = max(self.revision, revision)
        if request["action"] == "configuration/put":
            found = [reply["configuration"]]
        elif request["action"] == "configuration/transact":
            found = reply["configurations"]
        else:
            lives = [change for change in self.changes if change.name == request["name"] and change.revision < revision]
            version = max(lives).version + 1  # of the change before: all that come before it are answered by now
            found = [{"name": request["name"], "entityVersion": version, "value": None}]
        self.changes += [
            ObservedChange(revision, each["name"], each["entityVersion"], brief(each["value"])) for each in found
        ]


class Line:
    """A connection by hand: nothing is read from it but when a step says so."""

    def __init__(self, world: Watched, allowed: tuple[str, ...], small: bool = False) -> None:
        self.world = world
        self.allowed = allowed
        self.watches: dict[int, tuple[Watch, bool]] = {}
        self.open = True
        self._leaving = False
        self._number = 0
        self._data = b""
        self._wire = Wire(world.gateway, 4_096 if small else None)
        self._wire.send(upgrade(token=world.tokens[allowed]))
        status, _ = self._wire.head()
        assert status == 101

    def send(self, members: dict[str, Any], rpc: bool = False) -> int:
        """A request without waiting for its answer; its number."""
        self._number += 1
        request = {**members, "requestId": self._number}
        if rpc:
            action = request.pop("action")
            request = {"jsonrpc": "2.0", "id": request.pop("requestId"), "method": action, "params": request}
        text = json.dumps(request).encode()
        self._wire.send(frame(announced=len(text))[:-4], b"\0\0\0\0" + text)  # a mask that costs no time
        return self._number

    def reply(self, number: int) -> dict[str, Any] | None:
        """The answer to a request; what is pushed before it goes to the watches. None when the gateway hangs up."""
        while (message := self.read()) is not None:
            if message.get("requestId", message.get("id")) == number:
                return {"status": "success", **message["result"]} if "result" in message else message
        return None

    def read(self) -> dict[str, Any] | None:
        """The next message, taken by its watch if it is a push. None when the gateway hangs up."""
        opcode, payload = self._frame()
        if opcode == CLOSE:
            self._hung_up(int.from_bytes(payload[:2]))
            return None
        assert opcode == TEXT
        message: dict[str, Any] = json.loads(payload)
        rpc = "jsonrpc" in message
        what = message.get("method" if rpc else "action", "")
        if "requestId" not in message and "id" not in message:
            self._pushed(what, message["params"] if rpc else message, rpc, len(payload))
        return message

    def _pushed(self, what: str, members: dict[str, Any], rpc: bool, size: int) -> None:
        number = members["subscriptionId"]
        if number not in self.watches or self.watches[number][1] != rpc:
            raise Violation(
                "inconsistent", f"subscriptions {self.watches}, but pushed was {members} in JSON-RPC: {rpc}"
            )
        noun, _, kind = what.partition("/")
        assert noun == "configuration"
        self.watches[number][0].take(kind, members, size)

    def _hung_up(self, code: int) -> None:
        """Only a slow reader that must not be conflated is sent away."""
        if code == 4008:
            assert any(not watch.conflate for watch, _ in self.watches.values())
            self.world.seen["closed with 4008"] += 1
        else:
            assert self._leaving and code == 1000, code
        self._ended()

    def _frame(self) -> tuple[int, bytes]:
        while not (size := self._whole()):
            self._fetch()
        data, self._data = self._data[:size], self._data[size:]
        return data[0] & 0x0F, data[_head(data) :]

    def _whole(self) -> int:
        """The size of the next frame with its head if it is here, or 0. Pings are answered on the way."""
        while len(self._data) >= 2 and len(self._data) >= (start := _head(self._data)):
            size = start + int.from_bytes(self._data[2:start]) if start > 2 else start + self._data[1]
            if len(self._data) < size:
                break
            if self._data[0] & 0x0F != PING:
                return size
            self._wire.send(frame(self._data[start:size], PONG))
            self._data = self._data[size:]
        return 0

    def _fetch(self) -> None:
        data = self._wire.socket.recv(1 << 18)
        assert data, "the connection ended without a close frame"
        self._data += data

    def ready(self) -> bool:
        """Whether a message can be read without waiting."""
        while not self._whole():
            if not select.select([self._wire.socket], [], [], 0)[0]:
                return False
            self._fetch()
        return True

    def hang_up(self, abrupt: bool) -> None:
        """End the connection: with a reset, or with a close frame behind which everything is still read."""
        if abrupt:
            self._wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._ended()
        else:
            self._leaving = True
            self._wire.send(frame((1000).to_bytes(2), CLOSE))
            while self.read() is not None:
                pass

    def _ended(self) -> None:
        for watch, _ in self.watches.values():
            watch.cut()
        self.watches = {}
        self.open = False
        self._wire.close()


def a_step(what: str, /, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """A call of one of the script's methods."""
    return st.tuples(st.just(what), st.fixed_dictionaries(arguments))


ONE_NAME, WHICH = st.sampled_from(NAMES), st.integers(0, 11)
OPTIONS = st.sampled_from([{}, {}, {"snapshot": False}, {"conflate": False}])
WRITE = st.one_of(
    st.tuples(st.just("put"), ONE_NAME, st.sampled_from([False] * 7 + [True])),
    st.tuples(st.just("delete"), ONE_NAME),
    st.tuples(st.just("expecting"), ONE_NAME, st.integers(0, 3)),
    st.tuples(
        st.just("transact"),
        st.lists(
            st.tuples(ONE_NAME, st.sampled_from(["put", "put", "put", "large", "delete"])),
            min_size=2,
            max_size=6,
            unique_by=lambda change: change[0],
        ),
    ),
)
CONNECT = a_step("connect", allowed=st.sampled_from(TOKENS), small=st.booleans())
SUBSCRIBE = a_step("subscribe", which=WHICH, names=st.sampled_from(WANTED), options=OPTIONS, rpc=st.booleans())
STEPS = st.one_of(
    CONNECT,
    SUBSCRIBE,
    SUBSCRIBE,
    a_step("unsubscribe", which=WHICH),
    a_step("resume", which=WHICH, where=WHICH, rpc=st.booleans()),
    a_step("resume", which=WHICH, where=WHICH, rpc=st.booleans()),
    a_step("hang_up", which=WHICH, abrupt=st.booleans()),
    a_step("write", writes=st.lists(WRITE, min_size=1, max_size=8), together=st.booleans()),
    a_step("write", writes=st.lists(WRITE, min_size=1, max_size=8), together=st.booleans()),
    a_step("write_beside_watching", which=WHICH, name=ONE_NAME),
    a_step("read", which=WHICH, most=st.sampled_from([1, 2, 5, 20, 1_000])),
)
FLOOD = a_step("flood", which=WHICH, together=st.booleans(), newcomer=st.booleans(), slow=st.booleans())
SCRIPTS = st.tuples(
    st.lists(CONNECT, min_size=1, max_size=3),
    st.lists(SUBSCRIBE, min_size=1, max_size=5),
    st.lists(STEPS, min_size=4, max_size=20),
    st.lists(FLOOD, max_size=1),
    st.lists(STEPS, min_size=4, max_size=20),
)


def _head(data: bytes) -> int:
    """The size of the head of a server's frame."""
    return {126: 4, 127: 10}.get(data[1], 2)


class Script:
    """The steps, in any order; one that makes no sense where it stands does nothing."""

    def __init__(self, world: Watched) -> None:
        self.world = world
        self.lines: list[Line] = []
        self.watches: list[Watch] = []
        world.writers = [Line(world, ("*",)), Line(world, ("*",))]

    # Who is there.

    def connect(self, allowed: tuple[str, ...], small: bool) -> None:
        """A client that may watch and write."""
        if len(self.lines) < 6:
            self.lines.append(Line(self.world, allowed, small))

    def subscribe(self, which: int, names: tuple[str, ...], options: dict[str, bool], rpc: bool) -> None:
        """A new watcher."""
        line = self.line(which)
        if line is not None and len(self.watches) < 12:
            label = f"watch {len(self.watches)} {options or ''}{' of JSON-RPC' if rpc else ''}"
            watch = Watch(label, names, line.allowed, options.get("conflate", True))
            self.watches.append(watch)
            self.begin(line, watch, options, rpc)

    def unsubscribe(self, which: int) -> None:
        """A watcher has enough; it may come back."""
        held = [(line, number) for line in self.lines for number in line.watches]
        if not held:
            return
        line, number = held[which % len(held)]
        rpc = line.watches[number][1]
        request = line.send({"action": "configuration/unsubscribe", "subscriptionId": number}, rpc)
        reply = line.reply(request)
        if reply is not None:
            assert reply["status"] == "success", reply
            line.watches.pop(number)[0].cut()

    def resume(self, which: int, where: int, rpc: bool) -> None:
        """A watcher goes on from its last position, over a line with the same token."""
        if resting := self.resting():
            self.bring_back(resting[which % len(resting)], where, rpc)

    def hang_up(self, which: int, abrupt: bool) -> None:
        """A client goes, with all its watchers."""
        line = self.line(which)
        if line is not None:
            line.hang_up(abrupt)

    # What is written and read.

    def write(self, writes: list[tuple[Any, ...]], together: bool) -> None:
        """Several requests in a row, by one writer or alternately by two."""
        requests = [self.request(*each) for each in writes]
        self.send([(self.world.writers[number % 2 if together else 0], each) for number, each in enumerate(requests)])

    def write_beside_watching(self, which: int, name: str) -> None:
        """A client with watchers writes itself: they get it like everybody's."""
        line = self.line(which)
        if line is not None and Watch("", ["*"], line.allowed).serves(name):
            self.send([(line, self.request("put", name, False))])

    def read(self, which: int, most: int) -> None:
        """A client reads what has arrived, or only the beginning of it."""
        line = self.line(which)
        while line is not None and line.open and most and line.ready():
            line.read()
            most -= 1

    def flood(self, which: int, together: bool, newcomer: bool, slow: bool) -> None:
        """More than the kernel holds, perhaps for longer than it takes to be slow, while no watcher reads anything.

        The newcomer reads nothing of its snapshot, which is larger too, while names that it has got are written.
        """
        held = [watch for line in self.lines for watch, _ in line.watches.values()]
        names = [name for name in NAMES + BULK if newcomer or (held and held[which % len(held)].serves(name))]
        if not names:
            return
        world = self.world
        for turn in range(0, ENOUGH, 8):
            some = [self.request("put", names[(turn + number) % len(names)], True) for number in range(8)]
            if together and len(names) > 1:
                some.append(self.request("transact", [(name, "large") for name in names[:3]]))
            self.send([(world.writers[0], each) for each in some])
        if newcomer:
            self.lines.append(Line(world, ("*",), small=True))
            self.subscribe(len(self.lines) - 1, ("*",), {}, False)
        full = monotonic()
        self.write([("delete", name) for name in names[1::3]] + [("put", name, False) for name in names[:3]], False)
        while slow and monotonic() < full + SLOW:
            self.write([("put", names[0], False)], False)
        world.seen["stalls"] += world.unread() > 8_192

    # How the steps are done.

    def line(self, which: int) -> Line | None:
        """One of the open ones."""
        self.lines = [line for line in self.lines if line.open]
        return self.lines[which % len(self.lines)] if self.lines else None

    def resting(self) -> list[Watch]:
        """The watchers without a subscription."""
        return [watch for watch in self.watches if watch.events and isinstance(watch.events[-1], Disconnected)]

    def request(self, what: str, *rest: Any) -> dict[str, Any]:
        """A write as it is sent."""
        if what == "put":
            return {"action": "configuration/put", "name": rest[0], "value": self.world.value(rest[1])}
        if what == "delete":
            return {"action": "configuration/delete", "name": rest[0]}
        if what == "expecting":
            value = self.world.value(False)
            return {"action": "configuration/put", "name": rest[0], "value": value, "entityVersion": rest[1]}
        changes: list[dict[str, Any]] = []
        for name, how in rest[0]:
            if how == "delete":
                changes.append({"operation": "delete", "name": name})
            else:
                changes.append({"operation": "put", "name": name, "value": self.world.value(how == "large")})
        return {"action": "configuration/transact", "changes": changes}

    def send(self, requests: Sequence[tuple[Line, dict[str, Any]]]) -> None:
        """Send all before the first answer is read; then note the answers in the order of the ledger."""
        sent = [(line, line.send(request), request) for line, request in requests]
        answers = [(request, line.reply(number)) for line, number, request in sent]
        answered = [(request, reply) for request, reply in answers if reply is not None]
        for request, reply in sorted(answered, key=lambda pair: pair[1].get("revision", 0)):
            self.world.written(request, reply)
        if len(answered) < len(answers):
            self.world.look_up({request["name"] for request, reply in answers if reply is None})

    def begin(self, line: Line, watch: Watch, options: dict[str, Any], rpc: bool) -> None:
        """Subscribe; the pushes may come from the reply on."""
        floor = self.world.revision
        since = {"since": watch.position} if watch.position is not None else {}
        conflate = {} if watch.conflate else {"conflate": False}
        action = {"action": "configuration/subscribe", "names": list(watch.names)}
        reply = line.reply(line.send({**action, **options, **since, **conflate}, rpc))
        if reply is None:
            watch.events.append(Disconnected())
            return
        assert reply["status"] == "success", reply
        assert reply["subscriptionId"] not in line.watches
        line.watches[reply["subscriptionId"]] = (watch, rpc)
        watch.begin(reply, floor)

    def bring_back(self, watch: Watch, where: int = 0, rpc: bool = False) -> None:
        """Subscribe again over an open line with the same token, or a new one."""
        lines = [line for line in self.lines if line.open and line.allowed == watch.allowed]
        if not lines:
            lines = [Line(self.world, tuple(watch.allowed))]
            self.lines += lines
        self.begin(lines[where % len(lines)], watch, {}, rpc)

    # The end.

    def run(self, steps: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Do the steps, let all watchers reach the end of the history, then check."""
        try:
            for name, arguments in steps:
                getattr(self, name)(**arguments)
            self.settle()
        finally:
            for line in [*self.lines, *self.world.writers]:
                if line.open:
                    line.hang_up(abrupt=True)
            self.world.clear()

    def settle(self) -> None:
        """All watchers go on until they have reached the present."""
        self.send([(self.world.writers[0], self.request("put", "c", False))])
        while (resting := self.resting()) or self.behind():
            for watch in resting:
                self.bring_back(watch)
            for line in self.behind():
                line.read()
        history = History(self.world.changes)
        for watch in self.watches:
            checker = Checker(watch, history)
            checker.check()
            checker.finish(self.world.revision)
            self.note(watch)

    def behind(self) -> list[Line]:
        """The lines with a watcher that is not in the present."""
        late = self.world.revision
        return [line for line in self.lines if any(watch.reached < late for watch, _ in line.watches.values())]

    def note(self, watch: Watch) -> None:
        """Count what happened, and tell hypothesis of the rare."""
        self.world.seen += watch.seen
        for what in ("conflated", "cut inside a group", "resets on the way"):
            if watch.seen[what]:
                event(what)


@contextmanager
def small(data: Path, *flags: str) -> Iterator[Watched]:
    """A gateway with small bounds."""
    with RunningGateway(data, *FLAGS, *flags) as gateway:
        yield Watched(gateway)
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")


def steps(*calls: tuple[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Two clients who see everything, one that reads slowly, and what they do."""
    clients = [("connect", {"allowed": ("*",), "small": small}) for small in (True, False)]
    return [*clients, *calls]


def follow(which: int, **options: bool) -> tuple[str, dict[str, Any]]:
    """A watcher of everything."""
    return ("subscribe", {"which": which, "names": ("*",), "options": options, "rpc": bool(which)})


def flood(newcomer: bool, slow: bool) -> tuple[str, dict[str, Any]]:
    """Puts and transactions."""
    return ("flood", {"which": 0, "together": True, "newcomer": newcomer, "slow": slow})


def read(which: int, most: int) -> tuple[str, dict[str, Any]]:
    """This many frames."""
    return ("read", {"which": which, "most": most})


CONFLATED = steps(follow(0), follow(1, conflate=False), flood(False, True), read(0, 20))
BETWEEN = steps(follow(0), flood(True, False), read(2, 20))
HALF = steps(
    follow(0),
    ("write", {"writes": [("transact", [("a", "put"), ("b", "put"), ("c", "put")])], "together": False}),
    read(0, 2),
    ("hang_up", {"which": 0, "abrupt": True}),
    ("resume", {"which": 0, "where": 0, "rpc": True}),
)


KEPT = ("stalls", "conflated", "of several", "pushed between", "resumed", "bookmarks", "cut inside a group")


@pytest.mark.timeout(900)  # for the long form
@pytest.mark.parametrize(
    ("flags", "share", "seen"), [((), 3, KEPT), (FORGETFUL, 6, ("reset", "resumed"))], ids=["kept", "forgetful"]
)
def test_whatever_clients_do_each_watcher_gets_what_the_history_has_for_it(
    data: Path, flags: tuple[str, ...], share: int, seen: tuple[str, ...]
) -> None:
    """Nothing is lost, duplicated, out of order or incomplete; after conflation or a reset the state is right."""
    with small(data, *flags) as world:
        play(world, settings().max_examples // share)
        assert flags or not world.seen["reset"]
        for what in seen:
            assert world.seen[what], (what, world.seen)


def play(world: Watched, examples: int) -> None:
    """Run this many scripts, and those that are always worth running."""

    # Not shrunk: what happens depends on how fast kernel and gateway are, so a smaller script may fare differently.
    @settings(max_examples=examples, deadline=None, phases=[Phase.explicit, Phase.generate])
    @given(script=SCRIPTS)
    @example(script=(CONFLATED,))
    @example(script=(BETWEEN,))
    @example(script=(HALF,))
    def run(script: tuple[list[tuple[str, dict[str, Any]]], ...]) -> None:
        Script(world).run(list(chain.from_iterable(script)))

    run()
