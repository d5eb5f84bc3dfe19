"""Subscriptions: who gets what, in which order, and what becomes of those that do not keep up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

import tests.world
from hivewire import actions
from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.access.keys import Key
from hivewire.access.tokens import ACCESS, Claims
from hivewire.access.users import UserContent
from hivewire.actions.topics import configurations
from hivewire.caller import Caller
from hivewire.documents import HeadLine
from hivewire.hub import catchup, hub, tail
from hivewire.hub.feed import Copy, Feed
from hivewire.hub.frames import Frame, Shape
from hivewire.hub.index import Index
from hivewire.hub.ledger_source import LedgerSource, Records, event_of, key_of
from hivewire.hub.source import Event, NotCovered, Topic
from hivewire.hub.tail import Tail
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Transaction, Write
from hivewire.session import Session
from hivewire_protocol import times
from hivewire_protocol.close import Code
from hivewire_protocol.codec import push
from hivewire_protocol.nouns.configuration import TEXT
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe, parse_position, render_position
from hivewire_protocol.nouns.user import Role, Status
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission
from tests.contract import hold_push
from tests.world import ALL, HOUR, Clock

READER = 1 << Permission.GET_CONFIGURATION

LATER = 3_900_000_000_000
"""Far ahead of the real time, which the dispatcher asks about tokens."""


class SlowJournal(MemoryJournal):
    """A journal that takes its time: things happen while it reads, and between the disk and the announcement."""

    reading = False
    reads = 0

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        self._store(changes)
        for _ in range(3):
            await asyncio.sleep(0)
        self._announce(changes)
        return True

    async def since(self, revision: int, *, take: int) -> list[Change]:
        self.reading = True
        self.reads += 1
        await asyncio.sleep(0)
        found = await super().since(revision, take=take)
        await asyncio.sleep(0)
        return found


class Peer:
    """A connection: what it got, in order. `room` is how many more frames it takes before it stops reading."""

    outlives_token = True

    def __init__(self, world: World, identity: Identity) -> None:
        self.frames: list[Any] = []
        self.closed: Code | None = None
        self.suspended = 0
        self.room: int | None = None
        self.caller = Caller("10.0.0.1", "h", identity=identity, listener=self)
        self.session = Session(world.dispatcher, self.caller, self._take, lambda: None)

    @staticmethod
    def framing(topic: str, number: int, rpc: bool, what: str) -> Frame:
        form = push(topic, what, rpc, number)
        return lambda members, position: form % members + b"\n"

    def push(self, data: bytes) -> None:
        for line in data.splitlines():
            hold_push(line)
            self._take(line)

    def _take(self, line: bytes) -> None:
        self.frames.append(json.loads(line))
        if self.room is not None and len(self.frames) >= self.room:
            self.session.pause()

    def close(self, code: Code) -> None:
        self.closed = code

    def authenticated(self) -> None: ...

    def suspend(self) -> None:
        self.suspended += 1

    def read(self, room: int | None = None, idle: bool = False) -> None:
        """Read on, for so many frames more."""
        self.room = len(self.frames) + room if room is not None else None
        self.session.resume(idle)

    def ask(self, action: str, **members: Any) -> None:
        self.session.receive(json.dumps({"action": action, "requestId": 1, **members}).encode())

    def subscribe(self, **members: Any) -> Any:
        """Subscribe; the reply."""
        self.ask("configuration/subscribe", **members)
        return next(frame for frame in reversed(self.frames) if "status" in frame)

    def taken(self) -> list[Any]:
        """The frames since the last call."""
        found, self.frames = self.frames, []
        return found


class World(tests.world.World):
    """One with slow storage, where two administrators and their connections are."""

    staff: ClassVar = {login: UserContent("x", Role.ADMIN) for login in ("admin", "other")}
    journal: SlowJournal

    def __init__(self, **changed: Any) -> None:
        super().__init__(SlowJournal(), Clock(LATER), **changed)

    def peer(self, *names: str, user: int = 1, rights: int = ALL, life: int = HOUR) -> Peer:
        login = "admin" if user == 1 else "other"
        patterns = Patterns(names) if names else EVERYTHING
        return Peer(self, Identity(user, login, self.clock() + life, rights, None, None, patterns))

    def identity(self, *names: str, user: int = 1, rights: int = ALL) -> Identity:
        return self.peer(*names, user=user, rights=rights).caller.identity or pytest.fail()

    put, delete = tests.world.World.store, tests.world.World.remove

    async def user(self, status: Status) -> None:
        await self.ledger.commit(self.users.write("admin", UserContent("x", Role.ADMIN, status), None))

    async def quiet(self) -> None:
        """Until nobody who reads is behind."""
        while self.serving():
            await asyncio.sleep(0)

    def serving(self) -> bool:
        """Whether anybody who is behind is being served, or about to be."""
        return self.hub.catch_up._runner is not None or any(feed.serving for feed in self.hub.feeds)

    def position(self, revision: int) -> str:
        return render_position(self.ledger.epoch, revision)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    yield world
    await world.close()


def shown(frames: list[Any]) -> list[Any]:
    """Pushes in short: name, version and revision of updates, names of snapshots, the rest by its kind. `present` is
    the bookmark that says that it is reached."""
    found: list[Any] = []
    for frame in frames:
        what = frame.get("action", frame.get("method", "")).rpartition("/")[2]
        frame = frame.get("params", frame)
        if "status" in frame:
            found.append(frame.get("mode", frame["status"]))
        elif what == "update":
            resource = frame["configuration"]
            found.append((resource["name"], resource["entityVersion"], frame["revision"]))
        elif what == "snapshot":
            found.append([resource["name"] for resource in frame["configurations"]])
        else:
            found.append("present" if frame.get("live") else what)
    return found


async def test_state_and_changes_come_in_one_step(world: World) -> None:
    """The reply, then the state, then every change, with a position wherever resuming is safe."""
    await world.put("a.1")
    await world.put("b.1")
    peer = world.peer()
    assert peer.subscribe(names=["a.*"])["mode"] == "snapshot"
    await world.quiet()
    revision = await world.put("a.2")
    await world.put("b.2")
    assert shown(peer.frames) == ["snapshot", ["a.1"], ("a.2", 1, revision)]
    snapshot, update = peer.frames[1:]
    assert snapshot["last"] is True
    assert parse_position(snapshot["position"]) == (world.ledger.epoch, revision - 1)
    assert update == {
        "action": "configuration/update",
        "subscriptionId": 1,
        "position": world.position(revision),
        "revision": revision,
        "operation": "put",
        "modified": "2093-08-01T21:20:00.000",
        "modifiedBy": "admin",
        "description": None,
        "configuration": {"name": "a.2", "value": "v", "entityVersion": 1},
    }


async def test_a_change_between_request_and_snapshot_is_not_lost(world: World) -> None:
    """A name that changes before its snapshot frame is out is in it at its new version, and not pushed as well."""
    await world.put("a")
    peer = world.peer()
    peer.room = 1
    peer.subscribe()
    revision = await world.put("a", value="new")
    peer.read()
    await world.quiet()
    assert shown(peer.frames) == ["snapshot", ["a"]]
    assert peer.frames[1]["configurations"][0]["entityVersion"] == 2
    assert peer.frames[1]["position"] == world.position(revision)


async def test_who_gets_no_frames_is_looked_at_once_for_all_puts_of_a_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look at thousands for each of them would take 2 ms each. They catch up, and who follows other names stays
    live."""
    monkeypatch.setattr(hub, "FRAMES", 3)
    finds, find = 0, Tail.find

    def counted(self: Tail[Any], event: Event) -> Any:
        nonlocal finds
        finds += 1
        return find(self, event)

    peers, other = [world.peer() for _ in range(5)], world.peer()
    for peer in peers:
        peer.subscribe(names=["a.*", "b.9"], snapshot=False)
    other.subscribe(names=["c.*"], snapshot=False)
    monkeypatch.setattr(Tail, "find", counted)
    await asyncio.gather(*[world.put(f"a.{number}") for number in range(9)], world.put("b.9"))
    assert finds <= 2
    assert other.caller.feed is not None
    assert other.caller.feed.subscriptions[0].live
    await world.quiet()
    for peer in peers:
        names = [each[0] for each in shown(peer.frames[1:]) if isinstance(each, tuple)]
        assert names == [*(f"a.{number}" for number in range(9)), "b.9"]
        assert peer.caller.feed is not None
        assert peer.caller.feed.subscriptions[0].live
    revision = await world.put("c.1")
    assert shown(other.frames[1:]) == [("c.1", 1, revision)]


async def test_without_a_snapshot_only_changes_come(world: World) -> None:
    """`snapshot: false` is live from the position in the reply on."""
    revision = await world.put("a")
    peer = world.peer()
    assert peer.subscribe(snapshot=False) == {
        "action": "configuration/subscribe",
        "requestId": 1,
        "status": "success",
        "subscriptionId": 1,
        "mode": "live",
        "position": world.position(revision),
    }
    assert shown(peer.frames) == ["live"]
    assert await world.delete("a") == revision + 1
    assert shown(peer.frames)[1:] == [("a", 2, revision + 1)]
    assert peer.frames[1]["operation"] == "delete"
    assert peer.frames[1]["configuration"]["value"] is None


@given(st.lists(st.lists(st.integers(0, 4), unique=True).map(sorted), min_size=1, max_size=6))
@example([[0, 1, 3], [0, 2, 3]])
def test_the_events_of_a_transaction_for_each_subscription(matching: list[list[int]]) -> None:
    """Together for those that match the same ones, in their order; each subscription once."""
    transaction: Any = [f"event {number}" for number in range(len(matching))]
    found: dict[int, list[Any]] = {}
    for subs, events in catchup.alike(transaction, matching):  # type: ignore[arg-type]
        assert not found.keys() & {*subs}
        found |= dict.fromkeys(subs, events)  # type: ignore[arg-type]
    expected = {
        sub: [event for event, subs in zip(transaction, matching, strict=True) if sub in subs]
        for sub in {*chain.from_iterable(matching)}
    }
    assert found == expected


async def test_subscriptions_to_a_transaction_are_gathered_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and however many events they match alike; nor is each compared with all others."""
    peers = [world.peer() for _ in range(3)]
    for peer in peers:
        peer.subscribe(names=["a*", "b1"], snapshot=False)
    gathered: list[Any] = []
    alike = catchup.alike
    monkeypatch.setattr(hub, "alike", lambda events, found: gathered.extend(found) or alike(events, found))
    revision = await world.put(*(f"a{number}" for number in range(20)), "b1", "b2", "c")
    assert len({id(each) for each in gathered if each}) == 2
    assert [len(each) for each in gathered] == [3] * 21 + [0, 0]
    for peer in peers:
        assert len(shown(peer.frames)[1:]) == 21
        assert peer.frames[-1]["position"] == world.position(revision)


async def test_the_changes_of_a_transaction_are_one_group(world: World) -> None:
    """All but the last matching one say `more` and have no position: nobody can resume in the middle."""
    peer, single = world.peer(), world.peer()
    peer.subscribe(names=["a.*"], snapshot=False)
    single.subscribe(names=["a.1"], snapshot=False)
    revision = await world.put("a.1", "b.1", "a.2", "b.2")
    assert shown(peer.frames)[1:] == [("a.1", 1, revision), ("a.2", 1, revision)]
    assert [(frame.get("more"), frame.get("position")) for frame in peer.frames[1:]] == [
        (True, None),
        (None, world.position(revision)),
    ]
    assert single.frames[1]["position"] == world.position(revision), "it is the last that concerns this subscription"


async def test_a_resume_brings_just_what_was_missed(world: World) -> None:
    """Every matching change after the position, in order, then a word that this is the present, then what is new."""
    start = await world.put("a.1")
    for name in ("a.1", "b.1", "a.2"):
        await world.put(name)
    await world.delete("a.1")
    peer = world.peer()
    reply = peer.subscribe(names=["a.*"], since=world.position(start))
    assert (reply["mode"], reply["position"]) == ("resumed", world.position(start))
    await world.quiet()
    await world.put("a.3")
    missed = [("a.1", 2, start + 1), ("a.2", 1, start + 3), ("a.1", 3, start + 4)]
    assert shown(peer.frames) == ["resumed", *missed, "present", ("a.3", 1, start + 5)]
    assert peer.frames[4]["position"] == world.position(start + 4)


@pytest.mark.parametrize("since", ["0123456789abcdef-1", "ahead", "too old"])
async def test_a_position_that_cannot_be_resumed_is_reset(world: World, since: str) -> None:
    """Another epoch, ahead of the ledger, or older than the log: the whole state, and the reply says so."""
    await world.put("a")
    await world.put("a")
    if since == "too old":
        since, world.ledger.oldest = world.position(1), 3
    elif since == "ahead":
        since = world.position(world.ledger.revision + 1)
    peer = world.peer()
    reply = peer.subscribe(since=since, snapshot=False)
    assert (reply["mode"], reply["oldest"]) == ("reset", world.ledger.oldest)
    await world.quiet()
    assert shown(peer.frames) == ["reset", ["a"]]


async def test_the_oldest_position_is_covered(world: World) -> None:
    """The position just before the first revision of the log resumes."""
    revision = await world.put("a")
    world.ledger.oldest = revision
    peer = world.peer()
    assert peer.subscribe(since=world.position(revision - 1))["mode"] == "resumed"
    await world.quiet()
    assert shown(peer.frames) == ["resumed", ("a", 1, revision), "present"]


@pytest.mark.parametrize(
    "members",
    [
        {"since": "nonsense"},
        {"since": ""},
        {"since": "a-b"},
        {"since": 5},
        {"since": {}},
        {"names": ["a*b"]},
        {"names": [""]},
        {"names": ["n"] * 1_001},
        {"names": "a"},
        {"inline": -1},
        {"inline": 65_537},
    ],
)
async def test_bad_parameters_are_refused_and_named(world: World, members: dict[str, Any]) -> None:
    """A subscribe with bad parameters gets 400 that names them, and makes no subscription."""
    peer = world.peer()
    reply = peer.subscribe(**members)
    assert reply["code"] == 400
    assert "Malformed" in reply["error"] or next(iter(members)) in reply["error"] or "name patterns" in reply["error"]
    assert world.hub.count() == 0


async def test_the_bounds_of_a_connection() -> None:
    """No more subscriptions than the setting says, nor more than 10,000 patterns in all of them."""
    world = await World(subscriptions=12).open()
    peer = world.peer()
    for number in range(10):
        assert peer.subscribe(names=[f"{number}.{n}" for n in range(1_000)], snapshot=False)["mode"] == "live"
    assert "10000 name patterns" in peer.subscribe(names=["one more"])["error"]
    peer.ask("configuration/unsubscribe", subscriptionId=3)
    for _ in range(3):
        assert peer.subscribe(names=["x"], snapshot=False)["mode"] == "live"
    assert "12 subscriptions" in peer.subscribe(names=["x"])["error"]
    peer.session.close()
    assert world.hub.count() == 0
    await world.close()


async def test_unsubscribe_ends_it_and_an_unknown_one_is_404(world: World) -> None:
    """Nothing is pushed after the reply; the other subscription continues."""
    peer = world.peer()
    peer.subscribe(snapshot=False)
    peer.subscribe(snapshot=False, names=["a"])
    peer.ask("subscription/list")
    assert peer.frames[-1]["subscriptions"] == [
        {"subscriptionId": 1, "type": "configuration", "names": ["*"]},
        {"subscriptionId": 2, "type": "configuration", "names": ["a"]},
    ]
    peer.ask("configuration/unsubscribe", subscriptionId=1)
    assert peer.taken()[-1]["status"] == "success"
    await world.put("a")
    assert [frame["subscriptionId"] for frame in peer.taken()] == [2]
    peer.ask("configuration/unsubscribe", subscriptionId=1)
    peer.ask("configuration/unsubscribe")
    peer.ask("subscription/list", type="command")
    codes = [frame.get("code", frame.get("subscriptions")) for frame in peer.frames]
    assert codes == [404, 400, []]
    assert "Subscription with id 1 was not found" in peer.frames[0]["error"]


async def test_an_unsubscribe_in_the_middle_of_catching_up(world: World) -> None:
    """Nothing more is pushed, also when the log is being read at that moment."""
    start = await world.put("a")
    for _ in range(5):
        await world.put("a")
    world.hub.tail().clear()
    peer = world.peer()
    peer.subscribe(since=world.position(start))
    while not world.journal.reading:
        await asyncio.sleep(0)
    peer.ask("configuration/unsubscribe", subscriptionId=1)
    await world.quiet()
    await world.put("a")
    assert shown(peer.frames) == ["resumed", "success"]


@pytest.mark.parametrize("idle", [False, True])
async def test_an_unsubscribe_before_the_log_is_read(world: World, idle: bool) -> None:
    """Nothing is pushed for it, and its connection is not closed for changes that it would have missed."""
    world.hub.catch_up.conflate_after = 2
    peer = world.peer()
    peer.subscribe(snapshot=False, conflate=False)
    peer.session.pause()
    for _ in range(5):
        await world.put("a")
    world.hub.tail().clear()
    peer.read(idle=idle)
    while not world.hub.catch_up._readers:
        await asyncio.sleep(0)
    peer.ask("configuration/unsubscribe", subscriptionId=1)
    await world.quiet()
    assert peer.closed is None
    assert shown(peer.frames) == ["live", "success"]


async def test_in_a_batch_the_reply_comes_before_the_first_push(world: World) -> None:
    """A JSON-RPC batch is answered as a whole: what was subscribed in it starts behind the answer, as notifications."""
    peer = world.peer()
    calls = [("configuration/subscribe", {"snapshot": False}), ("configuration/put", {"name": "a", "value": "v"})]
    batch = [{"jsonrpc": "2.0", "id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)]
    peer.session.receive(json.dumps(batch).encode())
    while peer.session.pending:
        await asyncio.sleep(0)
    await world.quiet()
    answers, update = peer.frames
    assert [answer["id"] for answer in answers] == [0, 1]
    assert update["jsonrpc"] == "2.0"
    assert update["method"] == "configuration/update"
    assert update["params"]["subscriptionId"] == 1
    assert update["params"]["position"] == world.position(world.ledger.revision)


async def test_a_subscription_made_in_a_full_batch_is_known(world: World) -> None:
    """Its answer fits, however large the others are; and a request that is not a mere read is carried out even as a
    notification."""
    await world.put("big", value="x" * 60_000)
    peer = world.peer()
    peer.subscribe(names=["never"])
    await world.quiet()
    calls: list[tuple[str, dict[str, Any]]] = [("configuration/get", {"name": "big"})] * 30
    calls.append(("configuration/subscribe", {"names": ["never"]}))
    batch: list[dict[str, Any]] = [
        {"jsonrpc": "2.0", "id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)
    ]
    batch.append({"jsonrpc": "2.0", "method": "configuration/unsubscribe", "params": {"subscriptionId": 1}})
    await world.quiet()
    peer.taken()
    peer.session.receive(json.dumps(batch).encode())
    while not peer.frames:
        await asyncio.sleep(0)
    answers = peer.frames[0]
    assert answers[29]["error"]["code"] == 413
    assert answers[30]["result"]["subscriptionId"] == 2
    assert [sub.id for feed in world.hub.feeds for sub in feed.subscriptions] == [2]


async def test_only_names_that_the_token_reaches(world: World) -> None:
    """Other names are left out silently: of the snapshot, of changes, of groups."""
    await world.put("a.1", "b.1")
    peer = world.peer("a.*", "c")
    peer.subscribe(names=["b.*", "a.1", "c*"])
    await world.quiet()
    revision = await world.put("a.1", "a.2", "b.1", "c", "cc")
    assert shown(peer.frames) == ["snapshot", ["a.1"], ("a.1", 2, revision), ("c", 1, revision)]


async def test_a_snapshot_is_cut_into_frames(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames stay under the bound, a single large record aside; only the last one has a position."""
    monkeypatch.setattr(catchup, "SNAPSHOT_BYTES", 400)
    names = [f"n{number:02}" for number in range(20)]
    await world.put(*names)
    await world.put("n05", value="x" * 1_000)
    peer = world.peer()
    peer.subscribe()
    await world.quiet()
    frames = peer.frames[1:]
    assert [name for group in shown(frames) for name in group] == names
    assert len(frames) > 3
    assert all(len(json.dumps(frame["configurations"])) < 500 or len(frame["configurations"]) == 1 for frame in frames)
    assert [frame["last"] for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert ["position" in frame for frame in frames] == [frame["last"] for frame in frames]


async def test_changes_while_a_snapshot_is_on_its_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of names that were sent are pushed between the frames, without a position; the others come in theirs."""
    monkeypatch.setattr(catchup, "SNAPSHOT_BYTES", 1)
    await world.put("a", "c", "e")
    peer = world.peer()
    peer.room = 3  # the reply, and the frames of a and c
    peer.subscribe()
    await world.quiet()
    assert shown(peer.taken()) == ["snapshot", ["a"], ["c"]]
    first = await world.put("a", "d", "e")
    second = await world.delete("c")
    peer.read()
    await world.quiet()
    assert shown(peer.frames) == [("a", 2, first), ("c", 2, second), ["d"], ["e"]]
    assert [frame.get("more", False) for frame in peer.frames] == [True, True, False, False]
    assert peer.frames[-1]["configurations"][0]["entityVersion"] == 2
    assert peer.frames[-1]["position"] == world.position(second)


async def test_a_bookmark_says_that_the_ledger_moved_on(world: World) -> None:
    """A bookmark gives a newer position only when no matching change has given it."""
    peer = world.peer()
    peer.subscribe(names=["a"], snapshot=False)
    await world.hub.bookmarks()
    await world.put("a")
    await world.hub.bookmarks()
    revision = await world.put("b")
    await world.hub.bookmarks()
    await world.hub.bookmarks()
    assert shown(peer.frames)[2:] == ["bookmark"]
    assert peer.frames[-1] == {
        "action": "configuration/bookmark",
        "subscriptionId": 1,
        "position": world.position(revision),
    }


@pytest.mark.parametrize("detail", [None, True])
@pytest.mark.parametrize(("inline", "long"), [(None, "long"), (4, "long"), (3, None), (0, None)])
async def test_a_subscriber_may_leave_out_values_and_ask_for_changes(
    world: World, detail: bool | None, inline: int | None, long: str | None
) -> None:
    """Snapshots, updates and what is read from the log leave out longer values. A snapshot of changes has authors."""
    await world.put("a", value="long")
    other, peer = world.peer(), world.peer()
    other.subscribe()
    assert peer.subscribe(inline=inline, detail=detail)["mode"] == "snapshot"
    await world.quiet()
    (row,) = peer.frames[1]["changes" if detail else "configurations"]
    assert ("configurations" in peer.frames[1]) is not bool(detail)
    assert row.get("modifiedBy") == ("admin" if detail else None)
    shown = row["configuration"] if detail else row
    assert (shown["value"], shown.get("size", 4)) == (long, 4)
    revision = await world.put("a", value="long")
    assert peer.frames[-1]["configuration"]["value"] == long
    late = world.peer()
    late.subscribe(inline=inline, detail=detail, since=world.position(revision - 1))
    await world.quiet()
    assert late.frames[-2]["configuration"]["value"] == long
    assert other.frames[-1]["configuration"]["value"] == "long"


async def test_forms_that_nobody_follows_are_forgotten(world: World) -> None:
    """However many clients ask for, and also those of a caller who reaches no names."""
    peer, blind = world.peer(), world.peer("nothing.at.all")
    for inline in range(20):
        peer.subscribe(inline=inline)
    blind.subscribe(inline=7, names=["a"])
    assert len(world.hub.tail("ledger").channels["configuration"]) == 20
    for number in range(1, 21):
        peer.ask("configuration/unsubscribe", subscriptionId=number)
    assert len(world.hub.tail("ledger").channels["configuration"]) == 1
    blind.session.close()
    assert not world.hub.tail("ledger").channels["configuration"]


async def test_a_client_that_does_not_read_costs_only_a_position(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is queued for it; when it reads again it gets everything, from its place within a transaction on."""
    monkeypatch.setattr(catchup, "WRITE", 1)
    peer, other = world.peer(), world.peer()
    peer.subscribe(snapshot=False)
    other.subscribe(snapshot=False)
    peer.room = 2
    revisions = [await world.put("a", "b", "c") for _ in range(3)]
    got = len(peer.frames)
    assert got < 10, "it stopped reading in the middle"
    assert len(other.frames) == 10
    peer.read(2)
    await world.quiet()
    peer.read()
    await world.quiet()
    await world.put("d")
    expected = [(name, n + 1, revision) for n, revision in enumerate(revisions) for name in "abc"]
    assert shown(peer.frames)[1:-2] == expected
    assert shown(peer.frames)[-2] == "present"
    assert [frame.get("more", False) for frame in peer.frames[1:-2]] == [True, True, False] * 3


@pytest.mark.parametrize("conflate", [True, False])
async def test_a_slow_reader_gets_only_the_latest_of_each_name(world: World, conflate: bool) -> None:
    """When it read nothing for a while and too much waits; with `conflate: false` it is closed with 4008 instead."""
    world.hub.catch_up.conflate_after = 5
    await world.put("a", "b", "gone")
    peer = world.peer()
    peer.subscribe(names=["a", "b", "c", "gone", "never"], conflate=conflate)
    await world.quiet()
    peer.taken()
    peer.session.pause()
    for _ in range(3):
        await world.put("a", "elsewhere")
    await world.put("c")
    await world.delete("gone")
    last = await world.put("a")
    peer.read(idle=True)
    await world.quiet()
    if not conflate:
        assert peer.closed is Code.SLOW_CONSUMER
        assert world.hub.count() == 0
        return
    assert sorted(shown(peer.frames)) == sorted([("gone", 2, last - 1), ("a", 5, last), ("c", 1, last - 2)])
    assert all(frame["conflated"] for frame in peer.frames)
    assert [frame.get("position") for frame in peer.frames] == [None, None, world.position(last)]
    assert [frame.get("more") for frame in peer.frames] == [True, True, None]
    await world.put("b")
    assert shown(peer.frames)[3:] == [("b", 2, last + 1)]


async def test_a_commit_that_is_not_announced_yet_is_no_reason_to_conflate(world: World) -> None:
    """A few changes, the last of them on the disk but not announced: every one of them comes, and nobody is closed."""
    peers = [world.peer() for _ in range(2)]
    for peer, conflate in zip(peers, (True, False), strict=True):
        peer.subscribe(snapshot=False, conflate=conflate)
        peer.session.pause()
    for _ in range(5):
        await world.put("a")
    put = asyncio.ensure_future(world.put("a"))
    while len(await MemoryJournal.since(world.journal, 0, take=100)) < 8:
        await asyncio.sleep(0)
    for peer in peers:
        peer.read(idle=True)
    await put
    await world.quiet()
    for peer in peers:
        assert peer.closed is None
        *updates, present = shown(peer.frames)[1:]
        assert ([version for _, version, _ in updates], present) == ([1, 2, 3, 4, 5, 6], "present")


async def test_a_delete_during_a_conflated_run_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a name that the run has not reached: the client may still have it."""
    monkeypatch.setattr(catchup, "LOOK", 1)
    world.hub.catch_up.conflate_after = 1
    await world.put("a", "b", "c")
    peer = world.peer()
    peer.subscribe()
    await world.quiet()
    peer.taken()
    peer.session.pause()
    await world.put("a", "b", "c")
    peer.read(1, idle=True)
    await world.quiet()
    revision = await world.delete("c")
    peer.read()
    await world.quiet()
    assert shown(peer.frames) == [("a", 2, revision - 1), ("c", 3, revision), ("b", 2, revision - 1)]
    assert peer.frames[-1]["position"] == world.position(revision)


async def test_a_conflated_run_repeats_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes of a transaction that were sent before the peer stopped reading are not sent again in the run."""
    monkeypatch.setattr(catchup, "WRITE", 1)
    world.hub.catch_up.conflate_after = 1
    peer = world.peer()
    peer.subscribe(snapshot=False)
    peer.room = 3
    first = await world.put("a", "b", "c")
    for _ in range(5):
        await world.put("d")
    last = await world.put("b")
    peer.read(idle=True)
    await world.quiet()
    expected = [(name, 1, first) for name in "abc"] + [("b", 2, last), ("d", 5, last - 1)]
    assert shown(peer.frames)[1:] == expected
    assert ["conflated" in frame for frame in peer.frames[1:]] == [False] * 3 + [True] * 2
    peer.session.pause()
    again = await world.put("a")
    peer.read()
    await world.quiet()
    assert shown(peer.frames)[6:] == [("a", 2, again), "present"]


async def test_a_snapshot_frame_is_within_its_bound(world: World) -> None:
    """256 KiB with everything around the records."""
    for number in range(5):
        await world.put(f"s.{number}", value="x" * 52_380)
    peer = world.peer()
    peer.subscribe()
    await world.quiet()
    frames = [json.dumps(frame, separators=(",", ":")) for frame in peer.frames[1:]]
    assert len(frames) == 2
    assert all(len(frame) <= 256 << 10 for frame in frames)


async def test_a_name_that_comes_and_goes_during_a_conflated_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its old delete is not sent after its new one, nor together with the new record."""
    monkeypatch.setattr(catchup, "WRITE", 1)
    world.hub.catch_up.conflate_after = 1
    await world.put("a", "b", "c")
    peer = world.peer()
    peer.subscribe()
    await world.quiet()
    peer.taken()
    peer.session.pause()
    await world.delete("c")
    await world.delete("b")
    await world.delete("a")
    peer.read(1, idle=True)
    await world.quiet()
    assert shown(peer.taken())[0][0] == "a", "the others are still to come"
    again = await world.put("b", "c")
    gone = await world.delete("c")
    peer.read()
    await world.quiet()
    assert shown(peer.frames) == [("c", 2, gone), ("b", 1, again)]


async def test_a_token_that_reaches_less_in_the_middle_of_a_group(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of sent changes would be counted differently now, so the whole state is sent."""
    monkeypatch.setattr(catchup, "WRITE", 1)
    peer = world.peer()
    peer.subscribe(snapshot=False)
    peer.room = 3
    await world.put("a", "b", "c")
    feed = peer.caller.feed
    assert feed is not None
    feed.renew(world.identity("b", "c"))
    peer.read()
    await world.quiet()
    assert shown(peer.frames)[-1] == ["b", "c"]
    assert peer.frames[-1]["reset"] is True


@pytest.mark.parametrize(("idle", "changes"), [(False, 20), (True, 5)])
async def test_no_conflation_without_need(world: World, idle: bool, changes: int) -> None:
    """Neither for a client that was reading all the time, nor for a few changes: then each of them is sent."""
    world.hub.catch_up.conflate_after = 5
    peer = world.peer()
    peer.subscribe(snapshot=False, names=["a"])
    peer.session.pause()
    for _ in range(changes):
        await world.put("a", "elsewhere")
    peer.read(idle=idle)
    await world.quiet()
    assert shown(peer.frames)[1 + changes :] == ["present"]
    assert not any("conflated" in frame for frame in peer.frames)


async def test_a_slow_reader_that_the_log_does_not_cover_gets_the_whole_state(world: World) -> None:
    """Deletes may be forgotten by then, so the state replaces the client's."""
    peer, strict = world.peer(), world.peer()
    for each, conflate in ((peer, True), (strict, False)):
        each.subscribe(conflate=conflate)
        await world.quiet()
        each.taken()
        each.session.pause()
    await world.put("a")
    world.hub.tail().clear()
    world.ledger.oldest = world.ledger.revision + 1
    for each in (peer, strict):
        each.read()
    await world.quiet()
    assert shown(peer.frames) == [["a"]]
    assert peer.frames[0]["reset"] is True
    assert strict.closed is Code.SLOW_CONSUMER


async def test_an_expired_token_pauses_and_a_new_one_resumes(world: World) -> None:
    """Nothing is pushed after the expiry; another token of the same user resumes at the same place."""
    peer = world.peer()
    peer.subscribe(snapshot=False)
    first = await world.put("a")
    world.clock.time += 2 * HOUR
    second = await world.put("b")
    await world.hub.bookmarks()
    assert shown(peer.frames)[1:] == [("a", 1, first), "paused"]
    assert peer.suspended
    feed = peer.caller.feed
    assert feed is not None
    feed.renew(world.identity())
    await world.quiet()
    assert shown(peer.frames)[3:] == [("b", 1, second), "present"]


async def test_each_subscription_is_told_that_its_token_expires_and_that_it_has(world: World) -> None:
    """A minute before and when it has expired, once each, in its own framing; a new token starts again."""
    peer = world.peer(life=HOUR)
    peer.subscribe(snapshot=False)
    asked = {"jsonrpc": "2.0", "id": 2, "method": "configuration/subscribe", "params": {"snapshot": False}}
    peer.session.receive(json.dumps(asked).encode())
    feed = peer.caller.feed
    assert feed is not None
    peer.taken()

    def look(milliseconds: int) -> list[Any]:
        world.clock.time += milliseconds
        world.hub.check_token(feed)
        return peer.taken()

    assert look(HOUR - 60_001) == []
    expires = {"expires": times.render(LATER + HOUR)}
    assert look(1) == [
        {"action": "token/expiring", "subscriptionId": 1, **expires},
        {"jsonrpc": "2.0", "method": "token/expiring", "params": {"subscriptionId": 2, **expires}},
    ]
    peer.subscribe(snapshot=False)
    assert peer.taken()[1:] == [{"action": "token/expiring", "subscriptionId": 3, **expires}], "who comes late too"
    peer.ask("configuration/unsubscribe", subscriptionId=3)
    peer.taken()
    assert look(60_000) == [], "it is valid in its last millisecond"
    reason = {"reason": "Token expired"}
    assert look(1) == [
        {"action": "subscription/paused", "subscriptionId": 1, **reason},
        {"jsonrpc": "2.0", "method": "subscription/paused", "params": {"subscriptionId": 2, **reason}},
    ]
    await world.put("a")
    await world.hub.bookmarks()
    await world.quiet()
    assert look(0) == []
    feed.renew(world.identity())
    await world.quiet()
    assert shown(peer.taken()) == [("a", 1, world.ledger.revision)] * 2 + ["present"] * 2
    assert [frame.get("action") for frame in look(HOUR - 1_000)] == ["token/expiring", None]


async def test_a_timer_is_set_only_for_tokens_that_expire_soon(world: World) -> None:
    """Each round of bookmarks sets those that are due before the round after next."""
    peer = world.peer(life=HOUR)
    peer.subscribe(snapshot=False)
    feed = peer.caller.feed
    assert feed is not None
    for milliseconds, armed in ((0, False), (HOUR - 80_001, False), (1, True)):
        world.clock.time += milliseconds
        await world.hub.bookmarks()
        assert (feed.timer is not None) is armed
    feed.renew(world.identity())
    assert feed.timer is None


async def test_a_revoked_token_stops_pushes_at_once(world: World) -> None:
    """By its id or with all of its user; callers with other tokens get pushes, and a new token resumes."""
    mine, other = world.peer(), world.peer()
    for peer, token_id in ((mine, "one"), (other, "two")):
        peer.caller.identity = structs.replace(peer.caller.identity, token=token_id)
        peer.subscribe(snapshot=False)
        peer.taken()
    told = {"action": "subscription/paused", "subscriptionId": 1, "reason": "Token revoked"}
    await world.ledger.commit(world.tokens.revocations.revoke("one", "admin"))
    assert (mine.taken(), other.taken()) == ([told], [])
    revision = await world.put("a")
    assert (mine.taken(), shown(other.taken())) == ([], [("a", 1, revision)])
    await world.ledger.commit(world.users.write("admin", UserContent("x", Role.ADMIN, generation=1), None))
    assert (mine.taken(), other.taken()) == ([], [told])
    feed = mine.caller.feed
    assert feed is not None
    feed.renew(structs.replace(mine.caller.identity, token="three", generation=1))
    await world.quiet()
    assert shown(mine.taken()) == [("a", 1, revision), "present"]


async def test_a_token_that_ends_before_the_reply_gets_no_pushes(world: World) -> None:
    """A batch is answered when all of its requests are; the signing secret may change before that."""
    peer = world.peer()
    caller = peer.caller
    caller.identity = structs.replace(caller.identity, key=world.tokens._key.mark)
    actions.READS[ConfigurationSubscribe](world.services, caller, ConfigurationSubscribe(snapshot=False))
    world.tokens.use(Key("y" * 32, "utf8"), None)
    world.hub.recheck()
    assert caller.feed is not None
    caller.feed.begin(rpc=False)
    await world.put("a")
    await world.quiet()
    assert [frame["reason"] for frame in peer.taken()] == ["Token revoked"]


async def test_a_clock_that_is_set_back_pauses_tokens_of_its_future(world: World) -> None:
    """They were issued by a clock that was wrong; older ones go on."""
    ahead, before = world.peer(life=500 * 24 * HOUR), world.peer(life=500 * 24 * HOUR)
    for peer in (ahead, before):
        peer.subscribe(snapshot=False)
        peer.taken()
    assert ahead.caller.feed is not None
    ahead.caller.feed.identity = structs.replace(ahead.caller.identity, issued=LATER)
    world.clock.time -= 400 * 24 * HOUR
    world.hub.recheck()
    assert [frame["reason"] for frame in ahead.taken()] == ["Unauthorized"]
    assert before.taken() == []


async def test_a_client_that_does_not_read_is_told_of_the_expiry_when_it_reads(world: World) -> None:
    """Nothing is written to a peer that does not read; the push about the expiry comes before anything else."""
    peer = world.peer(life=1_000)
    peer.subscribe(snapshot=False)
    feed = peer.caller.feed
    assert feed is not None
    peer.session.pause()
    world.clock.time += 2_000
    world.hub.check_token(feed)
    await world.put("a")
    assert len(peer.taken()) == 1
    peer.read()
    await world.quiet()
    assert shown(peer.taken()) == ["paused"]


async def test_a_topic_may_keep_the_expiry_to_itself(world: World) -> None:
    """Clients that do not know such a push get none, and pushes stop all the same."""
    peer = world.peer(life=1_000)
    feed = peer.caller.feed = world.hub.feed(peer, peer.caller.identity)
    feed.subscribe(configurations(world.services)._replace(name="plain", kind="plain", tells_expiry=False), EVERYTHING)
    feed.begin(rpc=False)
    world.hub.check_token(feed)
    world.clock.time += 2_000
    world.hub.check_token(feed)
    assert (peer.frames, peer.suspended) == ([], 1)


async def test_a_token_reaches_over_the_socket(world: World) -> None:
    """`authenticate` on the open socket: same user, the subscription goes on; another user, it ends and is named."""
    peer = world.peer()
    peer.subscribe(snapshot=False)
    for user in (1, 2):
        token = world.tokens.mint(Claims([0], 4_000_000_000_000, ACCESS, user))
        peer.ask("authenticate", token=token)
    assert "ended" not in peer.frames[1]
    assert peer.frames[2]["ended"] == [1]
    await world.put("a")
    assert len(peer.frames) == 3
    peer.ask("authenticate", token="nonsense")
    assert peer.subscribe(snapshot=False)["subscriptionId"] == 2


@pytest.mark.parametrize(
    ("before", "after", "mode"),
    [
        (("a*",), ("a*",), "on"),
        (("a*", "b"), ("a1",), "narrower"),
        (("a1",), ("a*",), "wider"),
        ((), ("a1",), "narrower"),
        (("b",), ("a1",), "wider"),
    ],
)
async def test_another_token_of_the_same_user(
    world: World, before: tuple[str, ...], after: tuple[str, ...], mode: str
) -> None:
    """With the same names the subscription continues; with fewer, the others drop out silently; with more, the whole
    state is sent, marked `reset`."""
    await world.put("a1", "b")
    peer = world.peer(*before)
    peer.subscribe(snapshot=False)
    feed = peer.caller.feed
    assert feed is not None
    peer.taken()
    feed.renew(world.identity(*after))
    await world.quiet()
    frames = peer.taken()
    assert shown(frames) == ([["a1"]] if mode == "wider" else [])
    assert all(frame["reset"] for frame in frames)
    revision = await world.put("b", "a1")
    assert shown(peer.frames) == [("a1", 2, revision)]


async def test_a_token_without_the_right_stops_everything(world: World) -> None:
    """A new token that may not read configurations gets no more pushes; one that may gets the whole state."""
    peer = world.peer(rights=READER)
    peer.subscribe(snapshot=False)
    feed = peer.caller.feed
    assert feed is not None
    feed.renew(world.identity(rights=1 << Permission.GET_DEVICE))
    await world.put("a")
    await world.quiet()
    assert len(peer.frames) == 1, "nor is it told that this is the present"
    feed.renew(world.identity(rights=READER))
    await world.quiet()
    assert shown(peer.frames)[1:] == [["a"]]
    assert peer.frames[1]["reset"] is True


async def test_who_has_missed_nothing_is_told_nothing(world: World) -> None:
    """A peer that stops reading while nothing comes is up to date when it reads again."""
    peer, other = world.peer(), world.peer()
    for each in (peer, other):
        each.subscribe(snapshot=False, names=["a"])
        each.taken()
    peer.session.pause()
    await world.put("elsewhere")
    peer.read()
    await world.quiet()
    assert peer.taken() == []


async def test_a_resume_that_missed_nothing_is_told_that_too(world: World) -> None:
    """Else a client that shows what it kept could not know that this is the present."""
    revision = await world.put("a")
    peer = world.peer()
    peer.subscribe(since=world.position(revision))
    await world.quiet()
    assert peer.frames[1:] == [
        {
            "action": "configuration/bookmark",
            "subscriptionId": 1,
            "position": world.position(revision),
            "live": True,
        }
    ]
    await world.hub.bookmarks()
    assert len(peer.frames) == 2


async def test_a_locked_user_gets_nothing_more(world: World) -> None:
    """From the change on that locked it, and it is told so; when it is active again, what was missed comes."""
    peer = world.peer()
    peer.subscribe(snapshot=False)
    peer.taken()
    told = {"action": "subscription/paused", "subscriptionId": 1, "reason": "User is locked or disabled"}
    for status in (Status.LOCKED_OUT, Status.DISABLED):
        await world.user(status)
        revision = await world.put("a")
        assert peer.taken() == [told]
        assert peer.suspended
        await world.user(Status.ACTIVE)
        await world.quiet()
        assert shown(peer.taken()) == [("a", 1 + (status is Status.DISABLED), revision), "present"]


async def test_many_connections_of_a_user_are_looked_at_in_slices(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of devices may share a user. Nothing is pushed to a connection until it was looked at."""
    monkeypatch.setattr(hub, "AT_ONCE", hub.EACH + 2)
    waiting: list[Callable[[], None]] = []
    monkeypatch.setattr(
        world.hub.catch_up, "each", lambda feeds, do: waiting.extend(partial(do, feed) for feed in feeds)
    )
    peers = [world.peer() for _ in range(3)]
    for peer in peers:
        peer.subscribe(snapshot=False)
        peer.taken()

    async def got() -> list[list[Any]]:
        for peer in peers:
            peer.session.pause()
            peer.session.resume()
        await world.quiet()
        assert (len(waiting), [peer.frames for peer in peers].count([])) == (2, 2)
        while waiting:
            waiting.pop()()
        await world.quiet()
        return [shown(peer.taken()) for peer in peers]

    await world.user(Status.LOCKED_OUT)
    revision = await world.put("a")
    assert await got() == [["paused"]] * 3
    await world.user(Status.ACTIVE)
    assert await got() == [[("a", 1, revision), "present"]] * 3
    await world.user(Status.DISABLED)
    for peer in peers:
        peer.session.close()
    while waiting:
        waiting.pop()()
    assert [shown(peer.taken()) for peer in peers].count([]) == 2, "they were closed while they waited"


async def test_a_change_that_locks_a_user_is_not_pushed_to_it(world: World) -> None:
    """What was committed together with the lock comes only when the user is active again."""
    peer = world.peer()
    peer.subscribe(snapshot=False)
    peer.taken()
    [lock] = world.users.write("admin", UserContent("x", Role.ADMIN, Status.DISABLED), None).writes
    await world.ledger.commit(Transaction([Write("configuration", "a", b"v", TEXT), lock]))
    revision = world.ledger.revision
    assert shown(peer.taken()) == ["paused"]
    await world.user(Status.ACTIVE)
    await world.quiet()
    assert shown(peer.taken()) == [("a", 1, revision), "present"]


def document_of(tenant: str) -> Transaction:
    """Write the document of a tenant."""
    nothing = b'{"added":[],"removed":[],"modifiedUris":[],"truncated":false}'
    header = msgspec.json.encode(HeadLine(0, 0, 0, None, None, tenant=1, differences=len(nothing)))
    return Transaction([Write("tenantConfiguration", tenant, b"\n".join((header, nothing, b"{}")), TEXT)])


async def reader_of(world: World, *names: str) -> Peer:
    """A client that may read these tenants, which are new."""
    tenants = world.tenants
    for name in names:
        await world.ledger.commit(tenants.insert_tenant(name, "admin"))
    privileges = {name: ["READ"] for name in names}
    await world.ledger.commit(tenants.insert_client("reader", privileges, "s" * 32, "admin"))
    client = tenants.client("reader") or pytest.fail()
    token, _ = world.tokens.of_client(client, world.clock())
    return Peer(world, structs.replace(world.tokens.verify(token, world.clock()), issued=0))


async def test_a_client_that_loses_a_privilege_gets_no_more_of_that_tenant(world: World) -> None:
    """From the tenants that it may still read it gets everything."""
    peer = await reader_of(world, "t", "u")
    for name in "tu":
        assert peer.subscribe(tenant=name, snapshot=False)["mode"] == "live"
        await world.ledger.commit(document_of(name))
    assert [frame["tenant"] for frame in peer.taken() if "tenant" in frame] == ["t", "u"]
    await world.ledger.commit(world.tenants.update_client("reader", {"u": ["READ"]}, None, "admin"))
    for name in "tu":
        await world.ledger.commit(document_of(name))
    await world.quiet()
    assert [frame["tenant"] for frame in peer.taken()] == ["u"]


async def test_an_administrator_that_is_restricted_gets_no_more_of_tenants(world: World) -> None:
    """Its token names some device types, which were all while its user had all of them."""
    peer = world.peer()
    identity = peer.caller.identity
    user = world.users.by_id(identity.user_id) or pytest.fail()
    peer.caller.identity = structs.replace(identity, device_types=frozenset((1,)), tenants=None)
    await world.ledger.commit(world.tenants.insert_tenant("t", "admin"))
    peer.subscribe(tenant="t", snapshot=False)
    peer.taken()
    await world.ledger.commit(document_of("t"))
    assert [frame["tenant"] for frame in peer.taken()] == ["t"]
    narrower = structs.replace(user.content, all_device_types_available=False)
    await world.ledger.commit(world.users.replace(user, narrower, None))
    await world.ledger.commit(document_of("t"))
    await world.quiet()
    assert peer.taken() == []


async def test_the_end_of_a_tenant_is_pushed_and_then_its_privileges_are_gone(world: World) -> None:
    """A later tenant of the same id is another one."""
    tenants, document = world.tenants, document_of("t")
    peer = await reader_of(world, "t")
    assert peer.subscribe(tenant="t", snapshot=False)["mode"] == "live"
    await world.ledger.commit(document)
    assert peer.taken()[-1]["updatedTime"] == 0
    await world.ledger.commit(tenants.delete_tenant("t", "admin"))
    [end] = peer.taken()
    assert (end["action"], end["updatedTime"]) == ("tenant/update", None)
    await world.ledger.commit(tenants.insert_tenant("t", "admin"))
    await world.ledger.commit(document)
    await world.quiet()
    assert peer.taken() == []


async def test_a_user_who_missed_nothing_is_told_that_it_goes_on(world: World) -> None:
    """After an unlock without missed changes the next bookmark, once, says that pushes go on."""
    peer = world.peer()
    peer.subscribe(snapshot=False)
    peer.taken()
    await world.user(Status.LOCKED_OUT)
    await world.hub.bookmarks()
    assert [frame["action"] for frame in peer.taken()] == ["subscription/paused"]
    await world.user(Status.ACTIVE)
    await world.quiet()
    for expected in (["configuration/bookmark"], []):
        await world.hub.bookmarks()
        assert [frame["action"] for frame in peer.taken()] == expected


async def test_anonymous_and_unentitled_callers_cannot_subscribe(world: World) -> None:
    """401 without a token, 403 with one that lacks the right."""
    peer = world.peer(rights=1 << Permission.GET_DEVICE)
    assert peer.subscribe()["code"] == 403
    peer.caller.identity = ANONYMOUS
    assert peer.subscribe()["code"] == 401


async def test_a_huge_transaction_does_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of frames at once, the other subscribers catch up one after the other and get the same."""
    monkeypatch.setattr(hub, "FRAMES", 7)
    peers = [world.peer() for _ in range(5)]
    for peer in peers:
        peer.subscribe(snapshot=False)
    at_once: list[int] = []
    world.ledger.observe(lambda changes: at_once.append(sum(len(peer.frames) - 1 for peer in peers)))
    revision = await world.put("a", "b", "c", "d")
    assert at_once == [8]
    await world.quiet()
    for peer in peers:
        assert shown(peer.frames)[1:] == [(name, 1, revision) for name in "abcd"]


def noted_updates(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is encoded from now on."""
    encoded: list[Any] = []
    update = Shape.update

    def noted(*given: Any) -> bytes:
        encoded.append(given)
        return update(*given)

    monkeypatch.setattr(Shape, "update", noted)
    return encoded


@pytest.mark.parametrize("names", ["a", "abc"])
async def test_what_is_for_very_many_is_pushed_to_the_others_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    """Beyond a number of frames at once, the other subscribers get the same frames soon, without reading the log. Each
    change is encoded once."""
    monkeypatch.setattr(hub, "FRAMES", 2)
    monkeypatch.setattr(catchup, "PUSHES", 2)
    peers = [world.peer() for _ in range(7)]
    for peer in peers:
        peer.subscribe(snapshot=False)
        peer.taken()
    at_once: list[int] = []
    read: list[Any] = []
    monkeypatch.setattr(world.hub.catch_up, "_deliver_or_skip", lambda *given: read.append(given))
    encoded = noted_updates(monkeypatch)
    world.ledger.observe(lambda changes: at_once.append(sum(len(peer.frames) for peer in peers)))
    for version in (1, 2):
        revision = await world.put(*names)
        await world.quiet()
        for peer in peers:
            frames = peer.taken()
            assert shown(frames) == [(name, version, revision) for name in names]
            assert ["position" in frame for frame in frames] == [name == names[-1] for name in names]
    assert (at_once, read, len(encoded)) == ([max(2, len(names))] * 2, [], 2 * len(names))


async def test_who_gets_the_same_part_of_a_transaction_gets_the_same_frames(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded once for each part, however many get it, and without reading the log."""
    monkeypatch.setattr(hub, "FRAMES", 2)
    wanted = {"abc": ["*"], "ac": ["a", "c"], "b": ["b"]}
    peers = [(names, world.peer()) for names in wanted for _ in range(5)]
    for names, peer in peers:
        peer.subscribe(snapshot=False, names=wanted[names])
        peer.taken()
    read: list[Any] = []
    deliver = world.hub.catch_up._deliver_or_skip

    def noted(*given: Any) -> Any:
        read.append(given)
        return deliver(*given)

    monkeypatch.setattr(world.hub.catch_up, "_deliver_or_skip", noted)
    encoded = noted_updates(monkeypatch)
    revision = await world.put(*"abcd")
    await world.quiet()
    for names, peer in peers:
        frames = peer.taken()
        expected = names + "d" * (names == "abc")
        assert shown(frames) == [(name, 1, revision) for name in expected]
        assert ["position" in frame for frame in frames] == [name == expected[-1] for name in expected]
    assert (len(encoded), read) == (4 + 2 + 1, [])


async def test_a_change_for_very_many_waits_for_who_does_not_read_and_ends_with_a_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with those who would get it a moment later: who reads again is told when it is up to date."""
    monkeypatch.setattr(hub, "FRAMES", 1)
    first, unread, expired = peers = [world.peer() for _ in range(3)]
    for peer in peers:
        peer.subscribe(snapshot=False)
        peer.taken()
    unread.session.pause()
    assert expired.caller.feed is not None
    expired.caller.feed.expires = 1
    revision = await world.put("a")
    await world.quiet()
    assert [len(peer.frames) for peer in peers] == [1, 0, 0]
    assert expired.suspended == 1
    unread.read()
    await world.quiet()
    assert shown(unread.frames)[0] == shown(first.frames)[0] == ("a", 1, revision)
    assert unread.frames[-1]["live"] is True


async def test_a_connection_that_stops_reading_gets_no_second_frame_of_a_change(world: World) -> None:
    """Each of its subscriptions is looked at when the frame of the one before was pushed."""
    peer = world.peer()
    for _ in range(3):
        peer.subscribe(snapshot=False)
    peer.taken()
    peer.room = 2
    await world.put("a")
    assert [frame["subscriptionId"] for frame in peer.frames] == [1, 2]
    peer.read()
    await world.quiet()
    assert [frame["subscriptionId"] for frame in peer.frames if "configuration" in frame] == [1, 2, 3]


@pytest.mark.parametrize("together", [False, True])
async def test_what_happens_before_a_change_for_very_many_is_pushed(
    world: World, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """An unsubscribe, a peer that does not read, other names, a pause, and perhaps another change: each subscriber gets
    what it should, in order."""
    monkeypatch.setattr(hub, "FRAMES", 1)
    first, ended, unread, narrowed, paused, further = peers = [world.peer() for _ in range(6)]
    for peer in peers:
        peer.subscribe(snapshot=False)
        peer.taken()

    def meanwhile(_: object) -> None:
        if ended.frames:
            return
        assert [len(peer.frames) for peer in peers] == [1, 0, 0, 0, 0, 0]
        ended.ask("configuration/unsubscribe", subscriptionId=1)
        unread.session.pause()
        assert narrowed.caller.feed is not None
        assert paused.caller.feed is not None
        narrowed.caller.feed.renew(structs.replace(narrowed.caller.identity, names=Patterns(("b",))))
        paused.caller.feed.suspend()
        further.ask("configuration/subscribe", snapshot=False, names=["c"])

    world.ledger.observe(meanwhile)
    if together:
        await asyncio.gather(world.put("a"), world.put("b"))
    else:
        await world.put("a")
        await world.put("b")
    await world.quiet()
    unread.read()
    await world.quiet()
    changes = [("a", 1, world.ledger.revision - 1), ("b", 1, world.ledger.revision)]
    for peer in (first, unread, paused, further):
        assert [each for each in shown(peer.frames) if isinstance(each, tuple)] == changes
    assert shown(ended.frames) == ["success"]
    assert shown(narrowed.frames) == changes[1:]


@pytest.mark.parametrize(("portion", "reads"), [(catchup.PORTION, 1), (3, 11)])
async def test_those_who_come_back_together_read_the_log_once(
    world: World, monkeypatch: pytest.MonkeyPatch, portion: int, reads: int
) -> None:
    """Whoever missed the same gets it from memory once somebody has read it, in however many portions; nobody looks at
    other people's changes behind that. Each gets what it missed, and what comes then."""
    monkeypatch.setattr(catchup, "PORTION", portion)
    start = await world.put("a")
    missed = [await world.put("a"), await world.put("a")]
    for _ in range(30):
        await world.put("b")
    world.hub.tail().clear()
    looked_at: list[Event] = []
    wants = catchup._wants
    monkeypatch.setattr(catchup, "_wants", lambda sub, event: looked_at.append(event) or wants(sub, event))
    peers = [world.peer() for _ in range(10)]
    for peer in peers:
        peer.subscribe(names=["a"], since=world.position(start))
    await world.quiet()
    assert world.journal.reads == reads
    assert len(looked_at) < 10 * 10
    last = await world.put("a")
    for peer in peers:
        *before, new = [("a", version, revision) for version, revision in enumerate([*missed, last], 2)]
        assert shown(peer.frames) == ["resumed", *before, "present", new]


@given(
    st.lists(
        st.one_of(st.sampled_from(["a", "a.1", "b"]), st.sampled_from(["clear", "back", "ask"]), st.integers(1, 6)),
        max_size=60,
    )
)
def test_memory_knows_the_last_event_of_each_name(steps: list[str | int]) -> None:
    """However the kept end of the log grows, is shortened, is forgotten, or is extended by what was read from it."""
    log: list[Change] = []
    ledger = SimpleNamespace(epoch="e", tip=0, as_event=event_of)
    recent = Tail[int](ledger)
    channel = recent.channel(configurations(World().services))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "RECENT_EVENTS", 12)
        for step in [*steps, "ask"]:
            if step == "clear":
                recent.clear()
            elif isinstance(step, int):
                offset = max(0, recent.since - step)
                recent.extend_back(offset, [event_of(change) for change in log if change.revision > offset])
            elif step in ("a", "a.1", "b"):
                ledger.tip += 1
                log.append(Change(ledger.tip, "configuration", step, 1, 1, b"", "", 0))
                recent.add(log[-1:])
            kept = [change for change in log if change.revision > recent.since]
            found = recent.after(recent.since, 1_000)
            assert found is not None
            assert [event.item for event in found] == kept
            assert len(kept) <= 12
            for names in (["a"], ["a*"], ["b"], ["c"]):
                mine = [change.revision for change in kept if change.key in Patterns(names)]
                assert channel.last_within(Patterns(names)) == max(mine, default=0)


def test_the_end_of_the_log_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole revisions are forgotten, and it knows from where on it has everything."""
    monkeypatch.setattr(tail, "RECENT_EVENTS", 10)
    recent = Tail[int](LedgerSource(Ledger(MemoryJournal(), Clock())))
    for revision in range(1, 30):
        recent.add([Change(revision, "k", "n", 1, 1, b"", "", 0)] * 3)
        found = recent.after(recent.since, 1_000)
        assert found is not None
        assert [event.offset for event in found] == [n for n in range(recent.since + 1, revision + 1) for _ in "abc"]
        assert len(found) <= 10
        assert recent.after(recent.since - 1, 10) is None
    assert recent.after(29, 10) == []
    some = recent.after(27, 1)
    assert some is not None
    assert [event.offset for event in some] == [28] * 3, "whole transactions"


NAMES = ["a", "a.1", "a.1.x", "a.2", "b", "b.1", "ab"]
PATTERNS = [*NAMES, "*", "a*", "a.*", "a.1*", "b.*", "zzz*"]


@given(
    sets=st.lists(st.sets(st.sampled_from(PATTERNS), max_size=4), max_size=6),
    removed=st.sets(st.integers(0, 5)),
)
def test_the_index_finds_what_a_scan_finds(sets: list[set[str]], removed: set[int]) -> None:
    """A subscriber that matches is found once; a removed one is not found."""
    index: Index[int] = Index()
    patterns = [Patterns(given) for given in sets]
    for number, each in enumerate(patterns):
        index.add(each, number)
    for number in removed & set(range(len(patterns))):
        index.remove(patterns[number], number)
    for name in [*NAMES, "", "zzzz"]:
        expected = [n for n, each in enumerate(patterns) if name in each and n not in removed]
        assert sorted(index.find(name)) == expected
        assert [*chain.from_iterable(index.parts(name))] == index.find(name)
    for several in (NAMES, NAMES[:2], ["zzzz"]):
        expected = [n for n, each in enumerate(patterns) if n not in removed and any(name in each for name in several)]
        assert sorted(index.find_any(several)) == expected


def test_the_index_puts_no_lengths_in_order_again_that_stay_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that closes ends a thousand subscriptions at once, and prefixes may have a thousand lengths."""
    index: Index[int] = Index()
    index.add(Patterns([f"{'a' * length}b*" for length in range(50)]), 0)
    changed: list[int] = []
    monkeypatch.setattr("hivewire.hub.index.insort", lambda lengths, length: changed.append(length))
    for number in range(1, 20):
        index.add(Patterns(["ab*"]), number)
    for number in range(1, 20):
        index.remove(Patterns(["ab*"]), number)
    assert (changed, sorted(index.find("aab"))) == ([], [0])


some_names = st.sets(st.sampled_from(NAMES), min_size=1, max_size=5)
who = st.integers(0, 3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), some_names),
        st.tuples(st.just("put"), some_names),
        st.tuples(st.just("delete"), st.sampled_from(NAMES)),
        st.tuples(st.just("stall"), who, st.integers(1, 4)),
        st.tuples(st.just("read"), who, st.one_of(st.none(), st.integers(1, 4)), st.booleans()),
        st.tuples(st.just("turns"), st.integers(1, 9)),
        st.tuples(st.just("resume"), who),
        st.tuples(st.just("forget")),
    ),
    min_size=8,
    max_size=60,
)


class Watched:
    """A peer's own view: the state that it has built from what it got, and the changes since the last snapshot."""

    def __init__(self, peer: Peer, pattern: str) -> None:
        self.peer = peer
        self.pattern = Patterns([pattern])
        self.state: dict[str, int] = {}
        self.position: str | None = None
        self.group: list[Any] = []
        self.read = 0
        self.revision = 0
        self.conflating = False

    def look(self, world: World, log: dict[int, list[tuple[str, int, bool]]]) -> None:
        """Take in the new frames, and check each against the log of what really happened."""
        frames, self.read = self.peer.frames[self.read :], len(self.peer.frames)
        for frame in frames:
            if frame.get("mode") in ("reset", "snapshot") or frame.get("reset"):
                self.state, self.group = {}, []
            if "status" in frame:
                self.position = frame.get("position", self.position)
                continue
            if frame["action"].endswith("snapshot"):
                self.group += [("put", item["name"], item["entityVersion"]) for item in frame["configurations"]]
                self.conflating = True
            elif frame["action"].endswith("update"):
                resource = frame["configuration"]
                self.group.append((frame["operation"], resource["name"], resource["entityVersion"]))
                self.conflating = self.conflating or "conflated" in frame
            assert ("position" in frame) != bool(frame.get("more") or frame.get("last") is False)
            if "position" in frame:
                assert not (frame.get("live") and self.group), "the present is reached with a whole group"
                self._close_group(log, parse_position(frame["position"])[1])
                self.position = frame["position"]

    def _close_group(self, log: dict[int, list[tuple[str, int, bool]]], revision: int) -> None:
        if not self.conflating:
            due = [
                ("put" if alive else "delete", name, version)
                for number in range(self.revision + 1, revision + 1)
                for name, version, alive in log.get(number, ())
                if name in self.pattern
            ]
            assert self.group == due, "exactly the changes since the last position, in order"
        for operation, name, version in self.group:
            if operation == "put":
                self.state[name] = version
            else:
                self.state.pop(name, None)
        self.group, self.conflating, self.revision = [], False, revision
        assert self.state == state_at(log, revision, self.pattern)


def state_at(log: dict[int, list[tuple[str, int, bool]]], revision: int, pattern: Patterns) -> dict[str, int]:
    state: dict[str, int] = {}
    for number in sorted(log):
        for name, version, alive in log[number] if number <= revision else ():
            if alive and name in pattern:
                state[name] = version
            else:
                state.pop(name, None)
    return state


async def play(patterns: list[str], script: list[Any]) -> None:
    world = await World().open()
    world.hub.catch_up.conflate_after = 3
    log: dict[int, list[tuple[str, int, bool]]] = {}
    watched: list[Watched] = []
    for pattern in patterns:
        watched.append(Watched(world.peer(), pattern))
        watched[-1].revision = world.ledger.revision
        watched[-1].peer.subscribe(names=[pattern])
    for step, *what in script:
        if step in ("put", "delete"):
            names = sorted(what[0]) if step == "put" else [what[0]]
            if step == "delete" and world.ledger.get("configuration", names[0]) is None:
                continue
            content = b"v" if step == "put" else None
            changes = await world.ledger.commit(Transaction([Write("configuration", n, content, TEXT) for n in names]))
            log[changes[0].revision] = [(c.key, c.version, c.content is not None) for c in changes]
        elif step == "turns":
            for _ in range(what[0]):
                await asyncio.sleep(0)
        elif step == "forget":
            world.hub.tail().clear()
        else:
            await act(world, watched[what[0] % len(watched)], step, what)
        for each in watched:
            each.look(world, log)
    for each in watched:
        each.peer.read()
    await world.quiet()
    await world.hub.bookmarks()
    for each in watched:
        each.look(world, log)
        assert each.revision == world.ledger.revision
    await world.close()


async def act(world: World, each: Watched, step: str, what: list[Any]) -> None:
    if step == "stall":
        each.peer.room = len(each.peer.frames) + what[1]
    elif step == "read":
        each.peer.read(what[1], idle=what[2])
    elif step == "resume" and each.position is not None:
        each.peer.session.close()
        each.peer = world.peer()
        each.read, each.group = 0, []
        each.conflating = False
        each.peer.subscribe(names=list(each.pattern.patterns), since=each.position)


@given(patterns=st.lists(st.sampled_from(["*", "a*", "a.*", "b"]), min_size=1, max_size=4), script=steps)
def test_every_watcher_has_the_ledgers_changes_and_state(patterns: list[str], script: list[Any]) -> None:
    """Whatever happens in whatever order: groups are whole, in order, none twice, none missing, states are true."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catchup, "WRITE", 1)
        patch.setattr(catchup, "SNAPSHOT_BYTES", 60)
        patch.setattr(catchup, "PORTION", 3)
        patch.setattr(catchup, "LOOK", 2)
        patch.setattr(catchup, "SLICE_SECONDS", 0)
        patch.setattr(hub, "FRAMES", 5)
        asyncio.run(play(patterns, script))


def test_a_change_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is encoded once for all its subscribers, live or catching up."""
    calls = []

    def update(change: Change) -> bytes:
        calls.append(change)
        return b'"a":1'

    topic = Topic("t", "k", update, key_of, lambda identity, wanted: wanted)
    event = event_of(Change(1, "k", "n", 1, 1, b"", "", 0))
    assert [event.members(topic) for _ in range(3)] == [b'"a":1'] * 3
    assert len(calls) == 1


# Slices: what one turn of the event loop does for those who are behind.


class Counted:
    """The ledger as a source that counts the rows of its states that were looked at."""

    def __init__(self, ledger: Ledger) -> None:
        self._source = LedgerSource(ledger)
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def compacted(self, kind: str) -> Any:
        log = self._source.compacted(kind)
        counted = SimpleNamespace(event=log.event)
        counted.tombstones = lambda after, before: self._count(log.tombstones(after, before), len)
        counted.records = lambda *which: self._count(log.records(*which), lambda row: 1)
        return counted

    def _count(self, rows: Iterator[Any], weight: Callable[[Any], int]) -> Iterator[Any]:
        for row in rows:
            self.rows += weight(row)
            yield row


async def test_conflated_runs_work_in_bounded_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are behind, a slice looks at a few rows; each subscription holds two cursors and no list."""
    monkeypatch.setattr(catchup, "LOOK", 10)
    monkeypatch.setattr(catchup, "SLICE_SECONDS", 0)
    world.hub.catch_up.conflate_after = 5
    source = Counted(world.ledger)
    world.hub.tail().source = source
    for number in range(50):
        await world.put(f"gone.{number}", f"kept.{number}")
    peers = [world.peer() for _ in range(4)]
    for peer in peers:
        peer.subscribe(snapshot=False)
        peer.session.pause()
    for number in range(50):
        await world.put(f"kept.{number}")
        await world.delete(f"gone.{number}")
    for peer in peers:
        peer.read(idle=True)
    before, most, copies = 0, 0, 0
    while world.serving():
        await asyncio.sleep(0)
        most, before = max(most, source.rows - before), source.rows
        for peer in peers:
            for sub in peer.caller.feed.subscriptions if peer.caller.feed is not None else ():
                held = [getattr(sub.copy, name) for name in Copy.__slots__] if sub.copy is not None else []
                copies += bool(held)
                assert all(type(value) in (int, str) for value in held)
    assert 0 < most <= 11, "the row that ends a step is looked at again by the next"
    assert copies > 40
    assert source.rows >= 4 * 100
    for peer in peers:
        assert len(peer.frames) == 1 + 100
        assert parse_position(peer.frames[-1]["position"])[1] == world.ledger.revision


async def test_a_run_whose_tombstones_left_the_log_starts_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletes may be missing then, so the state replaces what the client has."""
    monkeypatch.setattr(catchup, "WRITE", 1)
    world.hub.catch_up.conflate_after = 1
    await world.put("a", "b", "c")
    peer = world.peer()
    peer.subscribe()
    await world.quiet()
    peer.taken()
    peer.session.pause()
    await world.delete("a")
    await world.delete("b")
    peer.read(1, idle=True)
    await world.quiet()
    assert [name for name, *_ in shown(peer.taken())] == ["b"]
    world.ledger.oldest = world.ledger.revision + 1
    peer.read()
    await world.quiet()
    assert shown(peer.frames) == [["c"]]
    assert peer.frames[0]["reset"] is True


async def test_one_portion_of_the_log_is_read_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the number of subscribers that are behind; all of them get everything."""
    start = await world.put("a")
    for _ in range(20):
        await world.put("a")
    world.hub.tail().clear()
    reading = most = 0
    since = Ledger.since

    async def counted(ledger: Ledger, revision: int, *, take: int) -> list[Change]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        found = await since(ledger, revision, take=take)
        reading -= 1
        return found

    monkeypatch.setattr(Ledger, "since", counted)
    monkeypatch.setattr(catchup, "PORTION", 3)
    peers = [world.peer() for _ in range(5)]
    for peer in peers:
        peer.subscribe(since=world.position(start))
    await world.quiet()
    assert most == 1
    for peer in peers:
        *updates, present = shown(peer.frames)[1:]
        assert ([version for _, version, _ in updates], present) == (list(range(2, 22)), "present")


# Another source: messages of devices have no state, expire, and are followed by device, network or type.


class Message(NamedTuple):
    device: str
    network: int
    text: str


class Messages:
    """A log of messages in memory, as a source."""

    epoch = "messages"
    shared = False

    def __init__(self) -> None:
        self.tip, self.oldest = 0, 1
        self.log: list[Event] = []
        self.observer: Callable[[Sequence[Any]], None] = lambda events: None

    def covers(self, offset: int) -> bool:
        return self.oldest - 1 <= offset <= self.tip

    async def since(self, offset: int, *, take: int) -> list[Event]:
        if not self.covers(offset):
            raise NotCovered
        return [event for event in self.log if event.offset > offset][:take]

    def follow(self, observer: Callable[[Sequence[Any]], None]) -> None:
        self.observer = observer

    def on_gap(self, call: Callable[[], None]) -> None: ...

    def as_event(self, item: Any) -> Event:
        event: Event = item
        return event

    def is_over(self, item: Any) -> bool:
        return False

    def skip(self, offset: int, served: Patterns) -> int:
        return offset

    def safe(self, offset: int) -> int:
        return offset

    async def confirm(self) -> None: ...

    def compacted(self, kind: str) -> None:
        return None

    def insert(self, device: str, network: int, text: str, kind: str = "message") -> None:
        self.tip += 1
        self.log.append(Event(self.tip, kind, Message(device, network, text), 100))
        self.observer(self.log[-1:])

    def expire(self) -> None:
        """Everything so far, also from the memory of the hub."""
        self.log.clear()
        self.oldest = self.tip + 1


def message_keys(message: Message) -> tuple[str, ...]:
    return (f"device/{message.device}", f"network/{message.network}", "all")


MESSAGES = Topic(
    name="message",
    kind="message",
    update=lambda message: b'"text":"%b"' % message.text.encode(),
    keys=message_keys,
    served=lambda identity, wanted: wanted & identity.names,
    source="messages",
    tells_expiry=False,
)


ALARMS = Topic(
    name="alarm",
    kind="message",
    update=lambda message: b'"device":"%b","length":%d' % (message.device.encode(), len(message.text)),
    keys=lambda message: (f"text/{message.text}", f"network/{message.network}", f"device/{message.device}"),
    served=lambda identity, wanted: wanted,
    source="messages",
)
"""The same messages by other keys and in another form."""


@pytest.fixture
def messages(world: World) -> Messages:
    source = Messages()
    world.hub.add("messages", source)
    return source


def follow(
    world: World,
    *scopes: str,
    reach: str = "*",
    since: tuple[str, int] | None = None,
    topic: Topic = MESSAGES,
) -> tuple[Peer, Feed]:
    """A peer that follows messages in these scopes, as a handler would subscribe it; its first frame is the mode."""
    peer = world.peer(reach)
    feed = peer.caller.feed = world.hub.feed(peer, peer.caller.identity or pytest.fail())
    sub = feed.subscribe(topic, Patterns(scopes))
    peer.frames.append(sub.start(since, snapshot=True))
    feed.begin(rpc=False)
    return peer, feed


def texts(peer: Peer) -> list[Any]:
    return ["present" if frame.get("live") else frame["text"] for frame in peer.frames[1:]]


async def test_messages_are_followed_by_scope(world: World, messages: Messages) -> None:
    """By device, by network, by both (each message once), by everything; only within the identity's scope."""
    scopes = [("device/a",), ("network/1",), ("device/a", "network/1"), ("all",), ("device/*",)]
    peers = [follow(world, *each)[0] for each in scopes]
    within, _ = follow(world, "all", "network/1", reach="network/*")
    assert peers[0].frames == ["live"], "there is no state that a snapshot could show"
    for text, device, network in (("one", "a", 1), ("two", "a", 2), ("three", "b", 1), ("four", "c", 3)):
        messages.insert(device, network, text)
    expected = [["one", "two"], ["one", "three"], ["one", "two", "three"], ["one", "two", "three", "four"]]
    assert [texts(peer) for peer in peers] == [*expected, expected[-1]]
    assert texts(within) == ["one", "three"]
    assert peers[0].frames[1] == {
        "action": "message/update",
        "subscriptionId": 1,
        "position": "messages-1",
        "text": "one",
    }


async def test_two_topics_show_the_same_messages_in_their_own_form(world: World, messages: Messages) -> None:
    """Each has its own keys, rights and form, live as well as for those who catch up."""
    plain, feed = follow(world, "device/a", reach="device/*")
    alarms, other = follow(world, "text/fire*", "network/2", topic=ALARMS)
    late, _ = follow(world, "text/fire*", topic=ALARMS)
    for each in (feed, other):
        each.pause()
        messages.insert("a", 2, "fire")
        each.resume()
        await world.quiet()
    messages.insert("a", 1, "fire!")
    messages.insert("b", 2, "smoke")
    assert texts(plain) == ["fire", "present", "fire", "fire!"]
    forms = [(frame["action"], frame["device"], frame["length"]) for frame in alarms.frames[1:] if "live" not in frame]
    assert forms == [
        ("alarm/update", "a", 4),
        ("alarm/update", "a", 4),
        ("alarm/update", "a", 5),
        ("alarm/update", "b", 5),
    ]
    assert [frame["position"] for frame in late.frames[1:]] == ["messages-1", "messages-2", "messages-3"]


def test_each_form_of_an_event_is_made_once() -> None:
    """However often the subscribers of two topics are served in turn."""
    made: list[str] = []

    def counted(topic: Topic) -> Topic:
        return topic._replace(update=lambda message: made.append(topic.name) or topic.update(message))

    topics = [counted(MESSAGES), counted(ALARMS)]
    event = Event(1, "message", Message("a", 1, "fire"), 100)
    members = [event.members(topic) for _ in range(3) for topic in topics]
    assert members == [b'"text":"fire"', b'"device":"a","length":4'] * 3
    assert made == ["message", "alarm"]


async def test_messages_are_resumed_and_reset(world: World, messages: Messages) -> None:
    """From a position everything after it; from one that is not kept everything that is, with a reset in the first
    frame. Then a bookmark says that the present is reached."""
    for number in range(1, 4):
        messages.insert("a", 1, str(number))
    resumed, _ = follow(world, "all", since=("messages", 1))
    other, _ = follow(world, "all", since=("another", 1))
    await world.quiet()
    assert resumed.frames[0] == "resumed"
    present = {"action": "message/bookmark", "subscriptionId": 1, "position": "messages-3", "live": True}
    assert resumed.frames.pop() == other.frames.pop() == present
    assert texts(resumed) == ["2", "3"]
    assert other.frames[0] == "reset"
    assert texts(other) == ["1", "2", "3"]
    assert [frame.get("reset") for frame in other.frames[1:]] == [True, None, None]
    current, _ = follow(world, "all", since=("messages", 3))
    await world.quiet()
    assert current.frames == ["resumed", present], "also when nothing was missed"
    messages.expire()
    world.hub.tail("messages").clear()
    late, _ = follow(world, "all", since=("messages", 1))
    await world.quiet()
    messages.insert("a", 1, "4")
    assert late.frames[0] == "reset"
    assert late.frames[1] == present | {"reset": True}
    assert late.frames[2]["text"] == "4"
    assert "reset" not in late.frames[2]


@pytest.mark.parametrize("kind", ["user", "client", "revocation", "tenant"])
async def test_kinds_of_another_source_are_not_those_of_the_ledger(world: World, messages: Messages, kind: str) -> None:
    """A source may call its events as it likes: only records of the ledger decide about rights."""
    peer, _ = follow(world, "device/a", topic=MESSAGES._replace(kind=kind))
    messages.insert("a", 1, "one", kind)
    assert (texts(peer), peer.suspended) == (["one"], 0)


async def test_what_depends_on_the_user_is_asked_for_anew_when_that_changes(world: World, messages: Messages) -> None:
    """Less ends silently; more is a reset, because what came meanwhile is missing."""
    reach = ["device/a", "network/1"]
    topic = MESSAGES._replace(served=lambda identity, wanted: wanted & Patterns(reach), scoped=True)
    peer, _ = follow(world, "device/a", "network/1", topic=topic)
    for number, reached in enumerate((["device/a"], ["device/a", "network/1"], ["device/a", "network/1"])):
        reach[:] = reached
        await world.user(Status.ACTIVE)
        await world.quiet()  # else what comes now may be caught up too, before the mark of the present
        messages.insert("a", 3, f"a{number}")
        messages.insert("b", 1, f"b{number}")
        await world.quiet()
    told = [(frame.get("text"), frame.get("reset", False)) for frame in peer.frames[1:]]
    after = [(text, False) for text in ("b0", None, "a1", "b1", "a2", "b2")]
    assert told == [("a0", False), ("a0", True), *after]


async def test_a_slow_reader_of_messages_gets_all_that_is_kept(world: World, messages: Messages) -> None:
    """Nothing is conflated, because a message is not the latest of anything; expired ones lead to a reset."""
    world.hub.catch_up.conflate_after = 2
    peer, feed = follow(world, "device/a")
    feed.pause()
    for number in range(10):
        messages.insert("ab"[number % 2], 1, str(number))
    feed.resume(idle=True)
    await world.quiet()
    assert texts(peer) == ["0", "2", "4", "6", "8", "present"]
    feed.pause()
    messages.insert("a", 1, "lost")
    messages.expire()
    world.hub.tail("messages").clear()
    messages.insert("a", 1, "kept")
    feed.resume()
    await world.quiet()
    bookmark = peer.frames.pop()
    assert texts(peer)[6:] == ["kept"]
    assert peer.frames[-1]["reset"] is True
    assert bookmark == {"action": "message/bookmark", "subscriptionId": 1, "position": "messages-12", "live": True}


async def test_each_source_has_its_own_positions(world: World, messages: Messages) -> None:
    """A bookmark says how far the source of its subscription has come, and an expired token pauses each where it is."""
    peer, feed = follow(world, "device/a")
    feed.begin(rpc=False)
    peer.ask("configuration/subscribe", snapshot=False)
    peer.frames.clear()
    messages.insert("b", 1, "elsewhere")
    revision = await world.put("a")
    await world.hub.bookmarks()
    assert [frame["position"] for frame in peer.frames] == [world.position(revision), "messages-1"]
    world.clock.time += 2 * HOUR
    await world.hub.bookmarks()
    messages.insert("a", 1, "later")
    await world.put("a")
    assert peer.frames[2:] == [{"action": "subscription/paused", "subscriptionId": 2, "reason": "Token expired"}]
    feed.renew(world.identity())
    await world.quiet()
    there, here = "messages-2", world.position(revision + 1)
    assert [(frame["position"], "live" in frame) for frame in peer.frames[3:]] == [
        (there, False),
        (here, False),
        (there, True),
        (here, True),
    ]


@given(st.lists(st.tuples(st.booleans(), some_names), max_size=12), st.integers(0, 14), st.integers(0, 14))
def test_tombstones_of_the_ledger_are_what_a_scan_finds(
    script: list[tuple[bool, set[str]]], after: int, before: int
) -> None:
    """Newest first, those of one revision together, without names that were written again or are forgotten."""
    kind = Ledger(MemoryJournal(), Clock()).kind("configuration")
    for revision, (write, names) in enumerate(script, 1):
        for number, name in enumerate(NAMES):
            if name in names and (write or name in kind.live):
                kind.apply(Change(revision, "configuration", name, number, 1, b"" if write else None, "", 0))
            elif name in names and len(names) > 3:
                kind.forget(name)
    deletes = [change for change in kind.tombstones.values() if after < change.revision < before]
    groups = list(Records(kind).tombstones(after, before))
    assert [group[0][1] for group in groups] == sorted({change.revision for change in deletes}, reverse=True)
    assert sorted(row[0] for group in groups for row in group) == sorted(change.key for change in deletes)
    assert all(row[1] == group[0][1] == row[2].revision for group in groups for row in group)
