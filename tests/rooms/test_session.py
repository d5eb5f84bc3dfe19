"""One conversation: order, holding back, failing storage, batches; with a list in the place of a socket."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.world
from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.access.tokens import Claims
from hivewire.access.users import UserContent
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.records import Transaction
from hivewire.session import CONCURRENT, Session
from hivewire.streams.message import ROOM, Message
from hivewire_protocol.catalogue import REQUESTS
from hivewire_protocol.errors import WireError
from hivewire_protocol.nouns.user import Role, Status
from hivewire_protocol.permissions import Permission
from tests.running import PATIENCE
from tests.world import HASHER, HOUR

PASSWORD = "correct horse"


class GatedJournal(MemoryJournal):
    """A journal that appends only while its gate is open, so that a write can be seen under way."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.appends = 0

    async def append(self, changes: Any, *, behind: int) -> bool:
        self.appends += 1
        await self.gate.wait()
        return await super().append(changes, behind=behind)


class World(tests.world.World):
    """One whose storage can be made to wait, with a conversation of the administrator under way."""

    staff: ClassVar = {"admin": UserContent(HASHER.hash(PASSWORD), Role.ADMIN)}
    journal: GatedJournal

    def __init__(self) -> None:
        super().__init__(GatedJournal())
        self.answered = 0
        self.session, self.outbox = self.connect()

    async def close(self) -> None:
        self.journal.gate.set()
        await super().close()

    def settled(self) -> None:
        self.answered += 1

    def ask(self, action: str, request_id: object = None, **members: object) -> None:  # type: ignore[override]
        self.session.receive(json.dumps({"action": action, "requestId": request_id, **members}).encode())

    def put(self, request_id: object, name: str = "n", value: str = "v", **members: object) -> None:
        self.ask("configuration/put", request_id, name=name, value=value, **members)

    def get(self, request_id: object, name: str = "n") -> None:
        self.ask("configuration/get", request_id, name=name)

    async def furnish(self) -> World:
        """Have a network and a device type, both with the id 1."""
        for kind in (NETWORK, DEVICE_TYPE):
            await self.ledger.commit(Transaction(insert(kind, GroupingContent("first"))))
        return self

    def save(self, request_id: object, device_id: str | None, **device: object) -> None:
        self.ask("device/save", request_id, deviceId=device_id, device={"networkId": 1, "deviceTypeId": 1} | device)

    async def quiet(self, session: Session | None = None) -> None:
        """Until everything that was asked is answered."""
        session = session or self.session
        while session.pending:
            await asyncio.sleep(0)

    def answers(self) -> list[Any]:
        """The messages since the last call, decoded."""
        found = [json.loads(line) for line in self.outbox]
        self.outbox.clear()
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    yield world
    await world.close()


def ids(answers: list[Any]) -> list[object]:
    return [answer["requestId"] for answer in answers]


def codes(answers: list[Any]) -> list[int]:
    return [answer.get("code", 200) for answer in answers]


# Order.


async def test_a_read_with_nothing_before_it_is_answered_at_once(world: World) -> None:
    """Its answer is there when `receive` returns, because nothing has to be awaited."""
    world.get(1)
    assert codes(world.answers()) == [404]
    assert (world.session.pending, world.session.pending_bytes) == (0, 0)


async def test_pipelined_requests_see_what_was_before_them_and_are_answered_in_order(world: World) -> None:
    """Put, get, put, get sent at once: each get shows the put before it, not the one after it."""
    world.put(1, value="a")
    world.get(2)
    world.put(3, value="b")
    world.get(4)
    assert world.outbox == []
    assert world.session.pending == 4
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1, 2, 3, 4]
    assert [answer["configuration"]["value"] for answer in answers] == ["a", "a", "b", "b"]
    assert [answer["configuration"]["entityVersion"] for answer in answers] == [1, 1, 2, 2]
    assert world.session.pending_bytes == 0


async def test_nothing_is_answered_before_it_is_durable(world: World) -> None:
    """While the storage writes, nobody can see the answer or the new value."""
    other, seen = world.connect()
    world.journal.gate.clear()
    world.put(1)
    world.get(2)
    while not world.journal.appends:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.outbox == []
    other.receive(b'{"action":"configuration/get","name":"n"}')
    assert json.loads(seen[0])["code"] == 404
    world.journal.gate.set()
    await world.quiet()
    assert codes(world.answers()) == [200, 200]


async def test_writes_in_a_row_share_a_commit(world: World) -> None:
    """Many puts sent at once become durable together, and each sees the one before it."""
    before = world.journal.appends
    for number in range(50):
        world.put(number, entityVersion=number)
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == list(range(50))
    assert codes(answers) == [200] * 50
    assert world.journal.appends == before + 1


async def test_saves_of_devices_in_a_row_share_a_commit(world: World) -> None:
    """They are answered in order, each of them when it is durable. What follows sees all of them."""
    await world.furnish()
    world.journal.gate.clear()
    for number in range(50):
        world.save(number, f"d{number}", name="lamp")
    world.ask("device/count", 50)
    before = world.journal.appends
    while world.journal.appends == before:
        await asyncio.sleep(0)
    assert world.outbox == []
    world.journal.gate.set()
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [*range(51)]
    assert codes(answers) == [200] * 51
    assert answers[-1]["count"] == 50
    assert world.journal.appends - before == 1
    told = await world.messages.notifications.replay(lambda _: True, most=100, after=0)
    assert [message.device_id for message in told] == [f"d{number}" for number in range(50)]


async def test_labels_of_devices_in_a_row_share_a_commit(world: World) -> None:
    """A program that labels a fleet sends them one after the other, and needs no connection for each."""
    await world.furnish()
    for number in range(10):
        world.save(number, f"d{number}", name="lamp")
    await world.quiet()
    world.answers()
    before = world.journal.appends
    for number in range(10):
        world.ask("device/label", number, deviceId=f"d{number}", labels={"site": "bonn"})
    world.ask("device/label", 10, deviceId="d3", labels={"site": "mainz"})
    world.ask("device/label", 11, deviceId="d3")
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [*range(12)]
    assert answers[-1]["labels"] == {"site": "mainz"}
    assert world.journal.appends - before == 2


async def test_saves_of_one_device_follow_one_another(world: World) -> None:
    """Each of them changes what the one before it has left, also while others are saved beside it."""
    await world.furnish()
    world.save(1, "a", name="first", data={"n": 1})
    world.save(2, "b", name="other")
    world.save(3, "a", isBlocked=True)
    world.save(4, "a", name="last", data={"n": 4})
    world.ask("device/get", 5, deviceId="a")
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1, 2, 3, 4, 5]
    device = answers[-1]["device"]
    assert (device["name"], device["data"], device["isBlocked"]) == ("last", {"n": 4}, True)


async def test_a_refused_save_keeps_its_place(world: World) -> None:
    """Whether it is refused by its handler, before it, or for a token that has ended meanwhile."""
    await world.furnish()
    world.journal.gate.clear()
    world.save(1, "a", name="first")
    world.save(2, "b")
    world.save(3, "c", name="last")
    before = world.journal.appends
    while world.journal.appends == before:
        await asyncio.sleep(0)
    world.session.caller.identity = ANONYMOUS
    world.save(4, "d", name="nobody's")
    world.ask("device/save", 5, deviceId=[])
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.outbox == []
    world.journal.gate.set()
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1, 2, 3, 4, 5]
    assert codes(answers) == [200, 400, 200, 401, 400]


async def test_updates_of_commands_of_several_devices_share_a_commit(world: World) -> None:
    """Those of one device follow one another, in the order of the requests."""
    await world.furnish()
    for name in "abc":
        world.save(name, name, name=name)
        world.ask("command/insert", name, deviceId=name, command={"command": "on"})
    await world.quiet()
    inserted = {answer["requestId"]: answer["command"]["id"] for answer in world.answers() if "command" in answer}
    events: list[Message] = []
    world.messages.commands.observe(events.extend)
    for name, status in ("a1", "b1", "c1", "a2", "b2"):
        update = {"status": status}
        world.ask("command/update", name + status, deviceId=name, commandId=inserted[name], command=update)
    await world.quiet()
    assert ids(world.answers()) == ["a1", "b1", "c1", "a2", "b2"]
    assert [f"{event.device_id}{event.status}" for event in events] == ["a1", "b1", "c1", "a2", "b2"]
    assert len({event.place // ROOM for event in events[:3]}) == 1


async def test_saves_in_progress_are_given_up_with_their_connection(world: World) -> None:
    """What was on its way is saved; what had not begun is not, and nothing is answered."""
    await world.furnish()
    world.journal.gate.clear()
    for number in range(100):
        world.save(number, f"d{number}", name="lamp")
    before = world.journal.appends
    while world.journal.appends == before:
        await asyncio.sleep(0)
    world.session.close()
    world.journal.gate.set()
    await world.store("n")  # behind them
    assert world.outbox == []
    saved = len(world.ledger.kind("device").live)
    assert saved == CONCURRENT


async def test_refused_writes_keep_their_place(world: World) -> None:
    """Refused before or in the storage, malformed or unknown: every answer is at the place of its request."""
    world.put(1)
    world.put(2, entityVersion=9)
    world.put(3, name="x" * 129)
    world.put(4, name="m")
    world.ask("configuration/delete", 5, name="nothing")
    world.ask("no/such", 6)
    world.session.receive(b"not json")
    world.put(8, value="")
    world.put(9, value="w")
    world.get(10)
    await world.quiet()
    answers = world.answers()
    assert [answer.get("requestId") for answer in answers] == [1, 2, 3, 4, 5, 6, None, 8, 9, 10]
    assert codes(answers) == [200, 409, 400, 200, 404, 400, 400, 400, 200, 200]
    assert answers[9]["configuration"] == {"name": "n", "value": "w", "entityVersion": 2}


async def test_a_login_holds_up_what_comes_after_it(world: World) -> None:
    """While a password is checked, later requests wait, so that answers stay in order."""
    world.ask("token", 1, login="admin", password=PASSWORD)
    world.get(2)
    world.put(3)
    world.get(4)
    assert world.outbox == []
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1, 2, 3, 4]
    assert codes(answers) == [200, 404, 200, 200]


async def test_a_request_after_authenticate_has_the_new_identity(world: World) -> None:
    """Requests pipelined behind a put and an authenticate are checked with the identity of their place in the order."""
    weak = world.services.tokens.mint(Claims([1], now() + HOUR, 1, 1, ["*"], ["*"]))
    world.put(1)
    world.ask("authenticate", 2, token=weak)
    world.put(3)
    world.get(4)
    await world.quiet()
    assert codes(world.answers()) == [200, 200, 403, 403]


WORK = ["put", "get", "delete", "list", "expect", "bad", "garbage", "save", "rename", "unnamed", "remove", "told"]
STEPS = st.lists(
    st.tuples(st.sampled_from(WORK), st.sampled_from("ab")),
    min_size=1,
    max_size=25,
)


@given(STEPS, st.lists(st.integers(0, 25), max_size=3))
def test_a_pipeline_answers_as_if_each_request_had_waited(steps: list[tuple[str, str]], pauses: list[int]) -> None:
    """Any mix of requests, sent as fast as can be, has the answers of the same requests sent one by one."""
    asyncio.run(pipeline_is_like_one_by_one(steps, set(pauses)))


def step(world: World, number: int, what: str, name: str) -> None:
    if what == "put":
        world.put(number, name, str(number))
    elif what == "expect":
        world.put(number, name, str(number), entityVersion=1)
    elif what == "get":
        world.get(number, name)
    elif what == "delete":
        world.ask("configuration/delete", number, name=name)
    elif what == "list":
        world.ask("configuration/list", number)
    elif what == "bad":
        world.put(number, "x" * 40)
    elif what == "save":
        world.save(number, name, name=str(number))
    elif what == "rename":
        world.save(number, name, data={"at": number})  # refused for a new device, which needs a name
    elif what == "unnamed":
        world.save(number, None)
    elif what == "remove":
        world.ask("device/delete", number, deviceId=name)
    elif what == "told":
        world.ask("notification/list", number, deviceId=name)
    else:
        world.session.receive(b"{")


def timeless(line: bytes) -> Any:
    found = json.loads(line)
    if found.get("change"):
        del found["change"]["modified"]
    for notification in found.get("notifications", ()):
        del notification["id"], notification["timestamp"]
    return found


async def pipeline_is_like_one_by_one(steps: list[tuple[str, str]], pauses: set[int]) -> None:
    fast, slow = [await (await World().open()).furnish() for _ in range(2)]
    try:
        for number, (what, name) in enumerate(steps):
            step(fast, number, what, name)
            step(slow, number, what, name)
            await slow.quiet()
            if number in pauses:
                await asyncio.sleep(0)
        await fast.quiet()
        assert [timeless(line) for line in fast.outbox] == [timeless(line) for line in slow.outbox]
        assert len(fast.outbox) == len(steps)
        assert fast.session.pending_bytes == slow.session.pending_bytes == 0
    finally:
        await fast.close()
        await slow.close()


# Rights and the order of checks.


async def test_rights_are_checked_before_parameters(world: World) -> None:
    """A caller without rights gets 403, an anonymous one 401, before any error about parameters."""
    session, outbox = world.connect(Permission.GET_CURRENT_USER)
    for identity in (session.caller.identity, ANONYMOUS):
        session.caller.identity = identity
        session.receive(b'{"action":"configuration/get","requestId":1,"name":{}}')
        session.receive(b'{"action":"configuration/put","requestId":2}')
        session.receive(b'{"jsonrpc":"2.0","id":3,"method":"configuration/get","params":[]}')
        session.receive(b'{"action":"configuration/get","requestId":4,"name":"n","networkId":[]}')
        session.receive(b'{"action":"no/such","requestId":5}')
    found = [json.loads(line) for line in outbox]
    shown = [answer["error"]["code"] if "jsonrpc" in answer else answer["code"] for answer in found]
    assert shown == [403, 403, 403, 400, 400, 401, 401, 401, 400, 400]


async def test_an_expired_token_says_so_and_open_requests_go_on(world: World) -> None:
    """An expired identity gets another error than none; public requests still work."""
    identity = world.session.caller.identity
    assert identity is not None
    world.session.caller.identity = Identity(1, "admin", now() - 1, identity.permissions, None, None)
    world.get(1)
    world.put(2)
    world.ask("server/info", 3)
    answers = world.answers()
    assert codes(answers) == [401, 401, 200]
    assert answers[0]["error"] == answers[1]["error"] == "Token expired"


async def test_failed_authentications_are_counted(world: World) -> None:
    """Bad tokens and wrong passwords count, refusals of other requests do not."""
    world.ask("authenticate", 1, token="x")
    world.ask("authenticate", 2)
    world.ask("token/refresh", 3, refreshToken="x")
    world.ask("token", 4, login="admin", password="wrong")
    world.ask("token", 5, login="nobody", password="wrong")
    world.ask("token", 6)
    world.get(7)
    await world.quiet()
    assert codes(world.answers()) == [401, 401, 401, 401, 401, 400, 404]
    assert world.session.caller.failures == 5


# Holding back.


async def test_while_held_nothing_begins_and_release_goes_on_in_order(world: World) -> None:
    """No answers are made for a peer that does not read; when it reads again, all of them follow."""
    world.session.pause()
    world.put(1)
    world.get(2)
    world.session.receive(b"not json")
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.outbox == []
    assert world.session.pending == 3
    assert world.services.ledger.get("configuration", "n") is None
    world.session.resume()
    await world.quiet()
    assert codes(world.answers()) == [200, 200, 400]


async def test_requests_in_progress_are_answered_also_when_held(world: World) -> None:
    """Holding stops new requests, not the answer to a write that the storage already has."""
    world.put(1)
    world.session.pause()
    world.get(2)
    while world.session.pending > 1:
        await asyncio.sleep(0)
    assert ids(world.answers()) == [1]
    world.session.resume()
    assert ids(world.answers()) == [2]


@pytest.mark.parametrize("status", [Status.LOCKED_OUT, Status.DISABLED])
async def test_rights_that_are_remembered_end_at_once(world: World, status: Status) -> None:
    """The same request again is refused as soon as its user is locked, and allowed as soon as it is not any more."""
    for now_is, code in ((Status.ACTIVE, 404), (status, 401), (Status.ACTIVE, 404)):
        content = UserContent("x", Role.ADMIN, now_is)
        await world.services.ledger.commit(world.services.users.write("admin", content, None))
        world.get(1)
        assert codes(world.answers()) == [code]


async def test_rights_that_are_remembered_end_with_the_token(world: World) -> None:
    """When it expires, and when another one takes its place that grants less."""
    caller = world.session.caller
    world.get(1)
    granted = caller.identity
    caller.identity = msgspec.structs.replace(granted, expires=now() - 1)
    world.get(2)
    caller.identity = msgspec.structs.replace(granted, permissions=0)
    world.get(3)
    caller.identity = granted
    world.get(4)
    assert codes(world.answers()) == [404, 401, 403, 404]


async def test_the_owner_is_told_when_something_was_answered(world: World) -> None:
    """Once for all answers of a commit, so that the owner may write them together and continue reading."""
    world.get(1)
    assert world.answered == 0
    world.put(2)
    world.put(3)
    await world.quiet()
    assert world.answered == 1
    world.put(4)
    await world.quiet()
    assert world.answered == 2


async def test_pending_counts_requests_and_bytes(world: World) -> None:
    """The owner of a session can see how much of a connection is unanswered, and bound it."""
    one = b'{"action":"configuration/put","name":"n","value":"v"}'
    batch = b'[{"jsonrpc":"2.0","id":1,"method":"server/info"},{"jsonrpc":"2.0","method":"server/info"}]'
    world.session.receive(one)
    world.session.receive(batch)
    assert (world.session.pending, world.session.pending_bytes) == (3, len(one) + len(batch))
    await world.quiet()
    assert world.session.pending_bytes == 0


# Closing.


async def test_after_close_nothing_is_sent_and_waiting_requests_are_dropped(world: World) -> None:
    """Writes in progress are finished without an answer; those waiting after them are never carried out."""
    world.put(1)
    world.get(2)
    world.put(3, name="later")
    world.session.close()
    await world.services.ledger.commit(world.services.users.write("other", UserContent(""), None))
    assert world.outbox == []
    assert world.services.ledger.get("configuration", "n") is not None
    assert world.services.ledger.get("configuration", "later") is None
    assert world.answered == 0


@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize("action", ["token", "user/update"])
async def test_a_peer_that_leaves_during_a_login_leaves_nothing_behind(world: World, action: str, turns: int) -> None:
    """Closing while a password is hashed, or before hashing has started, causes no error and no warning."""
    session, outbox = world.connect()
    members = {"login": "admin", "password": PASSWORD, "userId": 1, "user": {"password": PASSWORD}}
    session.receive(json.dumps({"action": action, **members}).encode())
    session.receive(b'{"action":"server/info"}')
    for _ in range(turns):
        await asyncio.sleep(0)
    session.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert outbox == []
    del session
    gc.collect()  # what was never awaited complains when it is let go of


# Notifications and batches.


async def test_a_notification_is_carried_out_and_never_answered(world: World) -> None:
    """JSON-RPC requests without an id are carried out without an answer, valid or not."""
    world.session.receive(
        b'{"jsonrpc":"2.0","method":"configuration/put","params":{"name":"n","value":"v"}}',
    )
    world.session.receive(b'{"jsonrpc":"2.0","method":"no/such"}')
    world.session.receive(b'{"jsonrpc":"2.0","method":"configuration/get","params":{"name":"missing"}}')
    world.session.receive(b'{"jsonrpc":"2.0","method":"configuration/get","params":[]}')
    world.get(1)
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1]
    assert answers[0]["configuration"]["value"] == "v"
    assert world.session.pending_bytes == 0


async def test_a_batch_is_answered_by_one_array_in_order(world: World) -> None:
    """Answers stand in the order of the requests, notifications are left out, frames around it keep their place."""
    world.get(1)
    world.session.receive(
        b'[{"jsonrpc":"2.0","id":"a","method":"configuration/put","params":{"name":"n","value":"1"}},'
        b'{"jsonrpc":"2.0","method":"configuration/put","params":{"name":"n","value":"2"}},'
        b'{"jsonrpc":"2.0","id":"b","method":"configuration/get","params":{"name":"n"}},'
        b'5,{"jsonrpc":"2.0","id":"c","method":"configuration/delete","params":{"name":"missing"}}]'
    )
    world.get(2)
    await world.quiet()
    first, batch, last = world.answers()
    assert (first["requestId"], last["requestId"]) == (1, 2)
    assert [answer["id"] for answer in batch] == ["a", "b", None, "c"]
    assert batch[0]["result"]["configuration"]["value"] == "1"
    assert batch[1]["result"]["configuration"] == {"name": "n", "value": "2", "entityVersion": 2}
    assert batch[2]["error"]["code"] == -32600
    assert batch[3]["error"]["code"] == 404


async def test_a_batch_is_worked_on_for_a_moment_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls are in one message, other connections are served between them."""
    monkeypatch.setattr("hivewire.session.CONNECTION_SLICE_SECONDS", 0)
    batch = [{"jsonrpc": "2.0", "id": n, "method": "configuration/list"} for n in range(100)]
    world.session.receive(json.dumps(batch).encode())
    assert world.session.pending >= 99
    await world.quiet()
    assert [answer["id"] for answer in world.answers()[0]] == list(range(100))


async def full_batch(world: World, session: Session, actions: Iterable[str]) -> dict[str, int]:
    """The codes of these actions, asked without members in a batch whose answers are over the limit before them."""
    await world.store("big", value="x" * 60_000)
    calls: list[tuple[str, Any]] = [("configuration/get", {"name": "big"})] * 30 + [(each, {}) for each in actions]
    batch = [{"jsonrpc": "2.0", "id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)]
    session.receive(json.dumps(batch).encode())
    await world.quiet(session)
    answers = json.loads(world.outbox.pop())
    return {m: each.get("error", {}).get("code", 200) for (m, _), each in zip(calls[30:], answers[30:], strict=True)}


@pytest.mark.parametrize("read_only", [True, False])
async def test_what_changes_nothing_is_not_carried_out_in_a_full_batch(world: World, read_only: bool) -> None:
    """Its answer would not be sent; whatever may change something is carried out, and its short answer fits."""
    actions = [action for action, each in REQUESTS.items() if each.read_only is read_only]
    codes = await full_batch(world, world.session, actions)
    assert [action for action, code in codes.items() if (code == 413) is not read_only] == []


async def test_rights_come_first_in_a_full_batch(world: World) -> None:
    """Who may not ask for something is told so, and not that the answer would be too large."""
    session, world.outbox = world.connect(Permission.GET_CONFIGURATION)
    actions = [action for action, each in REQUESTS.items() if each.read_only]
    codes = await full_batch(world, session, actions)
    open_to_all = [action for action in actions if REQUESTS[action].permission in (None, Permission.GET_CONFIGURATION)]
    assert [action for action, code in codes.items() if code == 413] == open_to_all
    assert {code for action, code in codes.items() if action not in open_to_all} == {403}


async def test_a_batch_of_notifications_is_answered_by_nothing(world: World) -> None:
    """A batch of notifications gets no answer, not even an empty array."""
    world.session.receive(
        b'[{"jsonrpc":"2.0","method":"configuration/put","params":{"name":"n","value":"v"}},'
        b'{"jsonrpc":"2.0","method":"server/info"}]'
    )
    world.get(1)
    await world.quiet()
    assert ids(world.answers()) == [1]


async def test_an_empty_batch_is_answered_by_one_object(world: World) -> None:
    """An empty array is not a request."""
    world.session.receive(b"[]")
    (answer,) = world.answers()
    assert answer["error"]["code"] == -32600
    assert answer["id"] is None


async def test_a_conflict_in_json_rpc_carries_the_change_as_data(world: World) -> None:
    """A writer who lost a race gets the current change in this framing too."""
    world.put(1)
    world.session.receive(
        b'{"jsonrpc":"2.0","id":2,"method":"configuration/put","params":{"name":"n","value":"w","entityVersion":0}}'
    )
    await world.quiet()
    error = world.answers()[1]["error"]
    assert error["code"] == 409
    assert error["data"]["change"]["configuration"] == {"name": "n", "value": "v", "entityVersion": 1}


# Failing storage.


async def test_when_the_storage_fails_writes_get_503_and_reads_go_on(world: World) -> None:
    """No failed write is answered as written; existing values can be read; later writes may succeed again."""
    world.put(1, value="before")
    await world.quiet()
    world.journal.broken = "disk full"
    world.put(2, value="lost")
    world.put(3, entityVersion=9)
    world.get(4)
    world.ask("configuration/delete", 5, name="n")
    world.ask("configuration/list", 6)
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1, 2, 3, 4, 5, 6]
    assert codes(answers)[1] == codes(answers)[4] == 503
    assert answers[1]["error"] == "Service is not available: disk full; nothing was written"
    assert answers[3]["configuration"] == {"name": "n", "value": "before", "entityVersion": 1}
    assert answers[5]["count"] == 1
    assert world.services.ledger.failing == "disk full"
    world.journal.broken = None
    world.put(7, value="after")
    world.get(8)
    await world.quiet()
    answers = world.answers()
    assert codes(answers) == [200, 200]
    assert answers[1]["configuration"] == {"name": "n", "value": "after", "entityVersion": 2}
    assert world.services.ledger.failing is None


async def test_when_the_gateway_is_stopping_a_write_is_refused(world: World) -> None:
    """A write that arrives too late gets an error, in order."""
    world.put(1)
    closing = asyncio.create_task(world.services.ledger.close())
    await asyncio.sleep(0)
    world.put(2)
    await closing
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1, 2]
    assert codes(answers) == [200, 503]
    assert "stopping" in answers[1]["error"]


async def test_an_unforeseen_failure_is_one_internal_error_and_the_session_goes_on(world: World) -> None:
    """A bug in the gateway fails one request, does not reveal its cause, and is logged."""
    seen: list[BaseException] = []
    world.services.telemetry.unexpected = lambda where, error: seen.append(error)  # type: ignore[method-assign]
    world.services.tokens.verify = None  # type: ignore[assignment,method-assign]
    world.put(1)
    world.ask("authenticate", 2, token="x")
    world.get(3)
    await world.quiet()
    answers = world.answers()
    assert ids(answers) == [1, 2, 3]
    assert codes(answers) == [200, 500, 200]
    assert answers[1]["error"] == "Internal server error"
    assert len(seen) == 1


async def test_a_request_before_the_login_makes_no_queue(world: World) -> None:
    """An idle session would keep the queue, which takes more memory than all the rest of it."""
    sent: list[bytes] = []
    session = Session(world.dispatcher, Caller("a", "h"), sent.append, lambda: None)
    assert session.receive_anonymous(b'{"action":"server/info"}')
    assert b'"status":"success"' in sent[0]
    assert session._line is None


async def test_a_long_line_of_waiting_requests_is_worked_off_to_the_end(world: World) -> None:
    """Thousands of requests behind a login are all answered in short slices, and the owner is notified."""
    sent: list[bytes] = []
    heard: list[int] = []
    session = Session(world.dispatcher, Caller("a", "h"), sent.append, lambda: heard.append(session.pending))
    session.receive(b'{"action":"token","login":"nobody","password":"nothing"}')
    for _ in range(20_000):
        session.receive(b'{"action":"server/info"}')
    async with asyncio.timeout(PATIENCE):
        while session.pending:
            await asyncio.sleep(0)
    assert (len(sent), heard[-1]) == (20_001, 0)


REFUSED = [
    b"{",
    b'{"action":"configuration/put","name":{}}',
    b'{"action":"nonsense"}',
    b'{"action":"configuration/get","name":"nothing"}',
    b'{"action":"configuration/put","name":"n"}' + b" " * 9,
    b'[{"jsonrpc":"2.0","id":1,"method":"configuration/get","params":{"name":[]}},1]',
]


async def test_refused_requests_are_not_kept(world: World) -> None:
    """Once answered, also after a write, an invalid request leaves nothing in memory."""
    gc.collect()
    before = sum(isinstance(found, WireError) for found in gc.get_objects())
    for message in REFUSED * 50:
        world.put(1)
        world.session.receive(message)
        await world.quiet()
        world.session.receive(message)
        await world.quiet()
    gc.collect()
    kept = [found for found in gc.get_objects() if isinstance(found, WireError)]
    assert len(kept) - before < 10, kept[-50:]
