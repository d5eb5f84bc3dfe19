"""The parts of the Python client that need no gateway: what `cases.md` has for no gateway, and tokens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec import Struct
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from hivewire_client import (
    Backoff,
    BadAddress,
    Busy,
    Change,
    Changes,
    Closed,
    Entry,
    Hivewire,
    Reset,
    TooLarge,
    Uncertain,
)
from hivewire_client.connection import Frame
from hivewire_client.events import MOST_UNREAD, Watch
from hivewire_client.link import READS, Subscription
from hivewire_client.replica import Replica
from hivewire_client.resources import Patterns
from hivewire_client.route import LONG, Route
from hivewire_client.testing import FakeGateway
from hivewire_client.tokens import Tokens, subject_of
from hivewire_protocol.catalogue import REQUESTS
from tests.running import PATIENCE, serving


def change(name: str, version: int, value: str | None = "v") -> Change:
    return Change("delete" if value is None else "put", Entry(name, value, version), version)


def test_a_value_of_another_kind_is_a_warning_that_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It names the type, the field and what is wrong with it, but nothing of the value."""

    class Limits(Struct):
        max: int
        unit: Literal["s", "ms"] = "s"

    replica = Replica(lambda event: None)
    values = ['{"max":"hush"}', "{}", "hush", '{"max":1,"unit":"hush"}', '{"hush":"hush"}']
    replica.load([Entry(f"n{number}", value, 3) for number, value in enumerate(values)], "e-1")
    for number, kind in enumerate([Limits, Limits, int, Limits, dict[str, int]]):
        assert replica.find(f"n{number}", kind) is None
    assert [record.getMessage() for record in caplog.records] == [
        "n0, version 3, is not used: it is no Limits (Expected `int`, got `str` - at `$.max`)",
        "n1, version 3, is not used: it is no Limits (Object missing required field `max`)",
        "n2, version 3, is not used: it is no int (JSON is malformed: invalid character (byte 0))",
        "n3, version 3, is not used: it is no Limits",
        "n4, version 3, is not used: it is no dict[str, int] (Expected `int`, got `str` - at `$[...]`)",
    ]


async def test_conflated() -> None:
    """A watch with more than 10,000 unread changes has the last one of each name, marked."""
    watch = Watch(Patterns(("n*",)), lambda watch: None)
    for number in range(MOST_UNREAD + 5):
        watch.push(Changes((change(f"n{number % 10}", number), change("other", number)), f"e-{number}"))
    first = await anext(watch)
    assert isinstance(first, Changes) and first.conflated and first.position == f"e-{MOST_UNREAD}"
    assert [each.revision for each in first.changes] == [*range(MOST_UNREAD - 9, MOST_UNREAD + 1)]
    rest = [await anext(watch) for _ in range(4)]
    assert [each.conflated for each in rest if isinstance(each, Changes)] == [False] * 4


class Held(Subscription):
    """A subscription that keeps what it applies."""

    def __init__(self) -> None:
        super().__init__("configuration", {})
        self.replica = Replica(lambda event: None)

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        self.replica.apply(frames, position, replaces=replaces)


def pushed(action: str, **members: Any) -> Frame:
    """A push."""
    told = {name: members[name] for name in ("position", "reset", "last", "live") if name in members}
    data = json.dumps({"action": f"configuration/{action}", "subscriptionId": 1, **members}).encode()
    return Frame(f"configuration/{action}", subscriptionId=1, data=data, **told)


def update(name: str, value: str, version: int, **members: Any) -> Frame:
    configuration = {"name": name, "value": value, "entityVersion": version}
    return pushed("update", operation="put", revision=version, configuration=configuration, **members)


def test_unfinished_group() -> None:
    """A group whose end did not come is dropped, and comes again."""
    held = Held()
    held.begin({"subscriptionId": 1, "mode": "snapshot"})
    held.take(pushed("snapshot", configurations=[{"name": "a", "value": "1", "entityVersion": 1}], last=False))
    assert held.replica.position is None and not held.live
    held.take(pushed("snapshot", configurations=[], last=True, position="e-1"))
    assert held.live
    held.take(update("a", "2", 2, more=True))
    held.take(update("b", "2", 1, more=True))
    assert (held.replica.entries["a"].value, held.position) == ("1", "e-1")
    held.begin({"subscriptionId": 2, "mode": "resumed", "position": "e-1"})
    assert not held.live
    held.take(update("a", "3", 2, position="e-2"))
    assert {name: entry.value for name, entry in held.replica.entries.items()} == {"a": "3"}
    held.take(pushed("bookmark", position="e-3", live=True))
    assert (held.live, held.position) == (True, "e-3")


def test_spread() -> None:
    """1,000 clients that are cut at once: at most 10 % of them come back in the same 100 ms."""
    chance = random.Random(7)
    waits = [Route(["a"], Backoff(uniform=chance.uniform)).after(Closed("cut")) for _ in range(1_000)]
    assert max(Counter(int(wait * 10) for wait in waits).values()) <= 100
    route = Route(["a"], Backoff(uniform=lambda low, high: high))
    assert [route.after(Closed("cut")) for _ in range(6)] == [2, 4, 8, 16, 30, 30]
    route.settle(9)
    assert route.after(Closed("cut")) == 30
    route.settle(10)
    assert route.after(Closed("cut")) == 2


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 1011, 4008, 4010, 4011])
async def test_close_codes(code: int) -> None:
    """1002, 1003, 1007 and 1009 close the client; after others it comes back, after 4029 in half a minute."""
    codes, visits = [code], list[None]()

    def handle(socket: ServerConnection) -> None:
        visits.append(None)
        socket.recv(PATIENCE)
        socket.send('{"action":"authenticate","requestId":1,"status":"success"}')
        if codes:
            socket.close(codes.pop())
        with contextlib.suppress(ConnectionClosed):
            socket.recv(PATIENCE)

    with serving(handle) as url:
        async with Hivewire(url, token="x", names=[], backoff=Backoff(0.01)) as hw:
            async with asyncio.timeout(PATIENCE):
                while hw.state != "closed" and (len(visits) < 2 or hw.state != "live"):
                    await asyncio.sleep(0.002)
            assert (hw.state, len(visits)) == (("closed", 1) if code < 1010 else ("live", 2))
            if code < 1010:
                with pytest.raises(Closed, match=str(code)):
                    await hw.ready()


def test_the_gateway_says_when() -> None:
    """`retry` and `Retry-After` win over the jitter, also over a long one; and half a minute after 4029."""
    route = Route(["a"], Backoff(uniform=lambda low, high: high), clock=lambda: 0)
    busy = Busy("busy", {"retryAfter": 3})
    for error, wait in [
        (Closed("", 1001, "server going away; retry=250"), 0.25),
        (Closed("", 4029, "too many failed authentications"), LONG),
        (busy, 3),
    ]:
        assert Route(["a"], Backoff(uniform=lambda low, high: high), clock=lambda: 0).after(error) == wait
    assert route.after(busy) == 3


def test_others_are_tried_meanwhile() -> None:
    """Who has several addresses goes to another one at once if the gateway stops, and back when it wants to."""
    now = [0.0]
    route = Route(["http://a", "http://b"], Backoff(uniform=lambda low, high: high), clock=lambda: now[0])
    stopping = Closed("", 1001, "server going away; retry=5000")
    assert (route.after(stopping), route.address) == (0, "http://b")
    assert (route.after(stopping), route.address) == (5, "http://a")
    assert (route.after(Closed("cut")), route.address) == (5, "http://b")
    route.offer(["http://c", "http://b"])
    assert (route.after(stopping), route.address) == (0, "http://c")
    now[0] = 20.0
    assert (route.after(Closed("cut")), route.address) == (4, "http://a")


def test_no_downgrade() -> None:
    """An alternative without TLS is not used in place of an address with it; nor is what is no address."""
    route = Route(["https://a"], Backoff(uniform=lambda low, high: high))
    route.offer(["http://b", "ftp://c", "wss://d/api/websocket"])
    assert (route.after(Closed("")), route.address) == (0, "wss://d/api/websocket")
    assert (route.after(Closed("")), route.address) == (2, "https://a")
    with pytest.raises(BadAddress):
        Route([], Backoff())
    with pytest.raises(BadAddress):
        Route(["ftp://c"], Backoff())


VALUES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3).map(str), max_size=6)


@given(st.lists(st.tuples(st.booleans(), VALUES), min_size=1, max_size=6))
def test_who_applies_all_events_has_the_state(steps: list[tuple[bool, dict[str, str]]]) -> None:
    """Whatever comes, states or changes: what the events say is what `get` serves, in each kind that was asked for."""
    told: dict[str, str] = {}

    def tell(event: Any) -> None:
        assert isinstance(event, Changes | Reset)
        for each in event.changes:
            if each.operation == "put":
                told[each.name] = str(each.entry.value)
            else:
                del told[each.name]

    replica = Replica(tell)
    versions = Counter[str]()
    for number, (replaces, wanted) in enumerate(steps):
        position, known = f"e-{number}", dict(told)
        versions.update([*wanted])
        if replaces:
            found = [{"name": name, "value": value, "entityVersion": versions[name]} for name, value in wanted.items()]
            frames = [pushed("snapshot", configurations=found, last=True, position=position)]
            known = wanted
        else:
            frames = [update(name, value, versions[name]) for name, value in wanted.items()]
            known |= wanted
        replica.apply(frames, position, replaces=replaces)
        assert {name: entry.value for name, entry in replica.entries.items()} == told == known
        for name in told:
            entry = replica.find(name, int)
            assert entry is not None and entry.value == int(told[name])
        assert (
            {name: entry.value for name, entry in replica.decoded[int].items()}
            == {name: int(value) for name, value in told.items()}
            if told
            else True
        )


async def test_a_token_is_renewed_at_three_quarters_of_its_life() -> None:
    """Not before; and when it is refused, but then only if it is the one that was refused."""
    gateway, given = FakeGateway(), list[str]()

    def source() -> str:
        given.append(gateway.token(1_000))
        return given[-1]

    tokens = Tokens(source)
    await tokens.early()
    connection: Any = None  # a function needs none
    assert tokens.due_in is not None and 700 < tokens.due_in <= 750
    assert await tokens.get(connection) == given[0]
    assert await tokens.get(connection, refused=given[0]) == given[1]
    assert await tokens.get(connection, refused=given[0]) == given[1]
    found = await asyncio.gather(*(tokens.get(connection, refused=given[1]) for _ in range(9)))
    assert found == [given[2]] * 9 and len(given) == 3
    tokens._renew_at = time.time()
    assert await tokens.get(connection) == given[3]
    assert not Tokens("text").renewable


def test_a_subject_is_whose_token_it_is_and_what_it_reaches() -> None:
    """A renewed token has the same one; what cannot be read has none of its own."""
    gateway = FakeGateway()
    deep = base64.urlsafe_b64encode(b'{"payload":' + b"[" * 100_000).decode()
    unreadable = {subject_of(token) for token in ("text", "other.a.b", f"a.{deep}.b")}
    assert subject_of(gateway.token()) == subject_of(gateway.token(5))
    assert len(unreadable) == 1 and subject_of(gateway.token()) not in unreadable


async def test_a_request_that_is_too_large_costs_only_itself() -> None:
    """The gateway closes with 1009: the largest request is refused, a shorter one that waited is uncertain, and the
    client comes back."""
    visits = list[None]()

    def handle(socket: ServerConnection) -> None:
        visits.append(None)
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = json.loads(socket.recv(PATIENCE))
                if frame.get("name") == "large":
                    socket.close(1009)
                elif frame.get("name") != "waits":
                    socket.send(json.dumps({"action": frame["action"], "requestId": frame["requestId"]} | DONE))

    with serving(handle) as url:
        async with Hivewire(url, token="x", names=[], backoff=Backoff(0.01)) as hw:
            await hw.ready(PATIENCE)
            outcomes = await asyncio.gather(hw.put("waits", "1"), hw.put("large", "long" * 9), return_exceptions=True)
            assert [type(each) for each in outcomes] == [Uncertain, TooLarge]
            assert (await hw.put("small", "1")).version == 1
            assert len(visits) == 2


DONE = {"status": "success", "configuration": {"name": "small", "value": "1", "entityVersion": 1}}


def test_every_request_that_only_reads_is_repeated() -> None:
    """Both clients know them by the end of their names."""
    text = (Path(__file__).parents[2] / "clients/js/src/connection.js").read_text()
    (pattern,) = re.findall(r"^const READS = /(.*)/i;$", text, re.MULTILINE)
    for request in REQUESTS.values():
        action = str(request.__struct_config__.tag)
        repeated = action.partition("/")[2] in READS
        assert (repeated, re.search(pattern, action, re.IGNORECASE) is not None) == (request.read_only,) * 2, action
