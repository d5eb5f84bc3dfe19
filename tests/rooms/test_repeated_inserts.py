"""Inserts of commands and notifications that are repeated under an idempotency key (messages, section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from hivewire.actions.device_messages import content_of
from hivewire.caller import Caller
from hivewire.devices.index import DeviceContent
from hivewire.ledger.records import Transaction, Write
from hivewire_protocol.errors import AccessDenied, KeyReused, OutOfBounds
from tests.rooms.test_device_messages import BOTH, Messages
from tests.rooms.test_devices import ANN


class World(Messages):
    """With the devices `lamp` and `door`."""

    async def fill(self) -> Self:
        await super().fill()
        content = msgspec.json.encode(DeviceContent(name="device", network=1, type=3))
        await self.ledger.commit(Transaction([Write("device", device, content) for device in ("lamp", "door")]))
        return self


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await (await world.open()).fill()
    yield world
    await world.close()


@pytest.mark.parametrize("kind", BOTH)
async def test_an_insert_is_repeated_under_its_key(world: World, kind: str) -> None:
    """At once and later it is done once, and answered the same; another user, device or key is another insert."""

    async def insert(key: str | None = "k", device: str = "lamp", caller: Caller | None = None, **members: Any) -> Any:
        fields = {kind: "on", "parameters": {"a": 1}} | members
        reply = await world.do(f"{kind}/insert", caller, deviceId=device, idempotencyKey=key, **{kind: fields})
        return reply[kind]

    at_once = await asyncio.gather(*[insert() for _ in range(5)])
    again = await insert(None, idempotencyKey="k"), await insert("k", idempotencyKey=None)
    assert [*at_once, *again] == [at_once[0]] * 7
    others = [await insert("l"), await insert(device="door"), await insert(caller=world.caller(ANN))]
    others.append(await insert(None))
    assert len({each["id"] for each in (at_once[0], *others)}) == 5
    assert len(await world.names(kind)) == 4


async def test_other_content_under_a_key_is_refused(world: World) -> None:
    """422 for every member that differs, and nothing is inserted. What came of a command meanwhile changes nothing."""
    fields = {"command": "on", "timestamp": 5, "parameters": {"a": 1}, "lifetime": 1, "status": "s", "result": {}}
    ask: dict[str, Any] = {"deviceId": "lamp", "idempotencyKey": "k", "expiresIn": 9}
    first = await world.do("command/insert", **ask, command=fields)
    number = first["command"]["id"]
    await world.do("command/update", deviceId="lamp", commandId=number, command={"status": "done", "result": {"b": 2}})
    assert await world.do("command/insert", **ask, command=fields) == first
    for name, value in {"command": "off", "timestamp": 6, "parameters": {"a": 2}, "lifetime": 2, "status": "t"}.items():
        refused = await world.refused("command/insert", **ask, command={**fields, name: value})
        assert refused == (KeyReused, "Other content was inserted under this idempotencyKey")
    assert KeyReused.code == 422
    other: dict[str, Any]
    for other in ({"command": {**fields, "result": None}}, {"expiresIn": 8}, {"expiresIn": None}):
        assert (await world.refused("command/insert", **{**ask, "command": fields, **other}))[0] is KeyReused
    for other in ({"notification": "b"}, {"timestamp": 6}, {"parameters": {}}):
        told = {"notification": "a", "timestamp": 5}
        await world.do("notification/insert", deviceId="lamp", idempotencyKey="k", notification=told)
        ask = {"deviceId": "lamp", "idempotencyKey": "k", "notification": {**told, **other}}
        assert (await world.refused("notification/insert", **ask))[0] is KeyReused
    assert (await world.names("command"), await world.names("notification")) == (["on"], ["a"])


def test_content_is_the_same_for_equal_json() -> None:
    """However it is spaced and ordered; other types, numbers and texts differ, whatever their size."""
    same = b'{"a":1,"b":[{},"x"]}', b'{ "b" : [ { }, "\\u0078" ], "a": 1 }'
    assert content_of(Raw(same[0])) == content_of(Raw(same[1]))
    values = ["1", '"1"', "1.0", "1e999", "-0", "null", '"null"', "true", "{}", "[]", "[[]]", '""', '"\\ud800"']
    values += ['{"a":1}', '{"a":"1"}', '{"a":[1]}', '[["a",1]]', '["a",1]', "9" * 5_000, "9" * 5_001]
    assert len({content_of(Raw(value.encode())) for value in values}) == len(values)


async def test_rights_come_before_keys(world: World) -> None:
    """Who may not insert any more learns nothing under an old key."""
    caller = world.caller(ANN)
    ask: dict[str, Any] = {"deviceId": "lamp", "idempotencyKey": "k", "command": {"command": "on"}}
    await world.do("command/insert", caller, **ask)
    for claims in ({"n": ["9"]}, {"a": [2]}):
        assert (await world.refused("command/insert", world.caller(ANN, **claims), **ask))[0] is AccessDenied


@pytest.mark.parametrize("kind", BOTH)
async def test_bounds_of_keys_and_of_time(world: World, kind: str) -> None:
    """One key of 1 to 64 characters, at least one second; 400 for anything else."""
    texts = "The length of idempotencyKey should be from 1 to 64 symbols.", "expiresIn should be at least 1."
    for key in ("", "x" * 65):
        ask: dict[str, Any]
        for ask in ({"idempotencyKey": key, kind: {kind: "a"}}, {kind: {kind: "a", "idempotencyKey": key}}):
            assert await world.refused(f"{kind}/insert", deviceId="lamp", **ask) == (OutOfBounds, texts[0])
    differ: dict[str, Any] = {"idempotencyKey": "k", kind: {kind: "a", "idempotencyKey": "l"}}
    refused = await world.refused(f"{kind}/insert", deviceId="lamp", **differ)
    assert refused == (OutOfBounds, "idempotencyKey is there twice, and differs.")
    for key in ("x", "\U0001f511" * 64):
        members: dict[str, Any] = {kind: {kind: "a"}}
        await world.do(f"{kind}/insert", deviceId="lamp", idempotencyKey=key, **members)
    if kind == "command":
        differ = {"expiresIn": 30, kind: {kind: "a", "expiresIn": 60}}
        refused = await world.refused("command/insert", deviceId="lamp", **differ)
        assert refused == (OutOfBounds, "expiresIn is there twice, and differs.")
        for seconds in (0, -1):
            for ask in ({"expiresIn": seconds, kind: {kind: "a"}}, {kind: {kind: "a", "expiresIn": seconds}}):
                assert await world.refused("command/insert", deviceId="lamp", **ask) == (OutOfBounds, texts[1])
        for seconds in (1, 2**62):
            await world.do("command/insert", deviceId="lamp", expiresIn=seconds, command={"command": "a"})


async def test_answers_under_keys_are_in_order(world: World) -> None:
    """Also when some were inserted long ago, and are not in memory any more."""
    old = [await world.order(f"c{n}", idempotencyKey=str(n)) for n in range(2)]
    for segment in range(2):
        for _ in range(3):
            await world.order(f"between {segment}")
        world.clock.time += 6_000_000
        log = world.services.messages.commands
        log._index.open.began = -(10**9)
        log.tidy()
        while log.is_tidying:
            await asyncio.sleep(0)
    assert len(log._index.stored()) == 1
    session, outbox = world.connect()
    for number, name in enumerate(["c0", "new", "c1", "c0"]):
        command = {"command": name, "idempotencyKey": name[1:]}
        frame = {"action": "command/insert", "requestId": number, "deviceId": "lamp", "command": command}
        session.receive(msgspec.json.encode(frame))
    while session.pending:
        await asyncio.sleep(0)
    answers = [msgspec.json.decode(line) for line in outbox]
    assert [answer["requestId"] for answer in answers] == list(range(4))
    assert [answers[at]["command"] for at in (0, 2, 3)] == [old[0], old[1], old[0]]


def test_keys_are_texts_of_a_user_for_a_device() -> None:
    """Whatever characters they have: inserts are the same exactly if user, device, kind and key are."""
    loop = asyncio.new_event_loop()
    world = World()
    loop.run_until_complete(world.open())
    loop.run_until_complete(world.fill())
    callers = world.caller(), world.caller(ANN)
    known: dict[tuple[str, int, str, str], tuple[str, Any]] = {}

    async def insert(kind: str, user: int, device: str, key: str, name: str) -> None:
        ask = {"deviceId": device, "idempotencyKey": key, kind: {kind: name}}
        before = known.get((kind, user, device, key))
        if before is not None and before[0] != name:
            assert (await world.refused(f"{kind}/insert", callers[user], **ask))[0] is KeyReused
            return
        reply = (await world.do(f"{kind}/insert", callers[user], **ask))[kind]
        if before is not None:
            assert reply == before[1]
        else:
            others = [other for at, (_, other) in known.items() if (at[0], at[2]) == (kind, device)]
            assert reply["id"] not in {other["id"] for other in others}
            known[kind, user, device, key] = name, reply

    key = st.text(min_size=1, max_size=64, alphabet=st.characters(exclude_categories=["Cs"]))
    asked = st.tuples(
        st.sampled_from(BOTH),
        st.sampled_from((0, 1)),
        st.sampled_from(("lamp", "door")),
        key | st.sampled_from(("a", "b", "a ", "1", "a\0b", "a b")),
        st.sampled_from(("x", "y")),
    )

    @settings(deadline=None)
    @given(st.lists(asked, max_size=8))
    def check(inserts: list[tuple[str, int, str, str, str]]) -> None:
        for each in inserts:
            loop.run_until_complete(insert(*each))

    check()
    loop.run_until_complete(world.close())
    loop.close()
