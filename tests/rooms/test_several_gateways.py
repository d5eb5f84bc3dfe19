"""Several gateways on one log: where clients resume, and that no refusal rests on an old state.

Each test lets the feed of one gateway lose what another one wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import UNSET

from hivewire.access.users import UserContent
from hivewire.caller import Caller
from hivewire.devices import registry
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import DeviceContent
from hivewire.devices.registry import GroupingContent
from hivewire.ledger.records import Transaction, Write
from hivewire.streams.memory import MemoryLog
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import NotFound
from hivewire_protocol.nouns.configuration import ConfigurationPut
from hivewire_protocol.nouns.server import ServerInfo
from hivewire_protocol.nouns.user import UserDelete, UserUpdate, UserUpdateFields
from tests.rooms.site import Gateway, site
from tests.rooms.test_hub import Peer
from tests.world import opened


@pytest.fixture
async def two() -> AsyncIterator[list[Gateway]]:
    """Two gateways on one log."""
    async with site() as gateways:
        yield gateways


async def answer(peer: Peer, count: int = 1) -> list[Any]:
    """The next frames that a connection gets."""
    while len(peer.frames) < count:
        await asyncio.sleep(0)
    return peer.taken()


# Resuming.


async def test_a_position_resumes_on_another_gateway(two: list[Gateway]) -> None:
    """Everything after it comes once and in order, whichever gateway gave it and whichever wrote the changes."""
    here, there = two
    first = here.peer()
    first.ask("configuration/subscribe", names=["a"], snapshot=False)
    await here.store("a", value="1")
    await there.store("a", value="2")
    _, one, two_ = await answer(first, 3)
    assert [each["configuration"]["value"] for each in (one, two_)] == ["1", "2"]
    await there.store("a", value="3")
    second = there.peer()
    second.ask("configuration/subscribe", names=["a"], since=one["position"])
    await here.store("a", value="4")
    reply, *frames = await answer(second, 5)
    assert reply["mode"] == "resumed"
    changes = [frame for frame in frames if "live" not in frame]
    assert [each["configuration"]["value"] for each in changes] == ["2", "3", "4"]
    assert [each["revision"] for each in changes] == [two_["revision"], two_["revision"] + 1, two_["revision"] + 2]


@pytest.mark.parametrize("action", ["configuration/subscribe", "device/subscribe", "network/subscribe"])
async def test_a_position_ahead_of_a_gateway_is_asked_for(two: list[Gateway], action: str) -> None:
    """It resumes on one that has not heard of it yet. One that nobody gave is a reset, on every gateway."""
    here, there = two
    there.miss(2)
    await here.store("a", value="1")
    position = f"{here.ledger.epoch}-{here.ledger.revision}"
    assert there.ledger.revision < here.ledger.revision
    peer = there.peer()
    peer.ask(action, since=position)
    [reply] = await answer(peer)
    assert (reply["status"], reply["mode"], reply.get("position")) == ("success", "resumed", position)
    [present] = await answer(peer)
    assert (present["live"], present["position"]) == (True, position)
    peer.ask(action, since=f"{here.ledger.epoch}-{here.ledger.revision + 1}")
    reply = (await answer(peer))[0]
    assert reply["mode"] == "reset"
    confirms = there.journal.confirms
    peer.ask(action, since=f"another-{here.ledger.revision + 1}")
    while not any(frame.get("mode") == "reset" for frame in peer.frames):
        await asyncio.sleep(0)
    assert there.journal.confirms == confirms, "another history cannot be heard of"


async def test_a_position_that_cannot_be_confirmed(two: list[Gateway]) -> None:
    """While the log does not answer, it is a 503 and no reset, which would make the client fetch everything."""
    here, there = two
    there.miss(2, misled=True)
    await here.store("a")
    there.journal.broken = "no leader"
    peer = there.peer()
    peer.ask("configuration/subscribe", since=f"{here.ledger.epoch}-{here.ledger.revision}")
    [refused] = await answer(peer)
    assert (refused["code"], refused["error"]) == (503, "what other gateways wrote cannot be confirmed: no leader")
    assert peer.caller.feed is None


@pytest.mark.parametrize("http", [False, True])
async def test_a_gateway_names_the_others(http: bool) -> None:
    """`server/info` has their addresses, in the order of the setting, for everybody; without any it has no such
    member."""
    for given, named in (("http://b, https://c/hive ,", ["http://b", "https://c/hive"]), ("", UNSET)):
        async with opened(alternatives=given) as world:
            reply = await world.ask(ServerInfo(), Caller("10.0.0.1", "h", http=http))
            assert reply.info.alternatives == named


# Refusals.


async def test_a_socket_is_logged_in_with_the_token_of_a_new_user(two: list[Gateway]) -> None:
    """Also where the feed has lost the user, and in the order of its requests; nobody's token is refused."""
    here, there = two
    there.miss(1)
    await here.ledger.commit(here.users.write("new", UserContent(""), None))
    user = here.users.by_login("new")
    assert user is not None
    peer = there.peer()
    peer.ask("authenticate", token=here.token(user.id))
    peer.ask("user/getCurrent")
    logged_in, current = await answer(peer, 2)
    assert (logged_in["status"], current["current"]["login"]) == ("success", "new")
    peer.ask("authenticate", token=here.token(99))
    [refused] = await answer(peer)
    assert (refused["code"], peer.caller.failures) == (401, 1)
    peer.ask("user/getCurrent")
    assert (await answer(peer))[0]["current"]["login"] == "new"


async def test_a_write_about_what_is_new_is_not_refused(two: list[Gateway]) -> None:
    """A handler that finds nothing looks again; when there is nothing anywhere, it is the same 404."""
    here, there = two
    there.miss(1)
    await here.ledger.commit(here.users.write("new", UserContent(""), None))
    user = here.users.by_login("new")
    assert user is not None
    assert there.users.by_id(user.id) is None
    await there.ask(UserUpdate(userId=user.id, user=UserUpdateFields(introReviewed=True)))
    assert there.users.by_id(user.id).content.intro_reviewed  # type: ignore[union-attr]
    await there.ask(UserDelete(userId=user.id))
    for gateway in two:
        with pytest.raises(NotFound):
            await gateway.ask(UserUpdate(userId=99, user=UserUpdateFields(introReviewed=True)))


async def test_an_error_that_was_looked_at_again_comes_in_order(
    two: list[Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the answers to the writes before it, however long their log takes."""
    here, there = two
    group = GroupingContent("g")
    device = encode(DeviceContent(name="lamp", network=1, type=1))
    writes = [*registry.insert("network", group), *registry.insert("deviceType", group), Write(DEVICE, "lamp", device)]
    await here.ledger.commit(Transaction(writes))
    go, append = asyncio.Event(), MemoryLog.append

    async def slow(log: MemoryLog, number: int, entry: bytes) -> bool:
        await go.wait()
        return await append(log, number, entry)

    monkeypatch.setattr(MemoryLog, "append", slow)
    there.miss(1)
    await here.store("other")
    peer, confirms = there.peer(), there.journal.confirms
    for name in ("lamp", "nothing", "lamp"):
        peer.ask("notification/insert", deviceId=name, notification={"notification": "on"})
    while there.journal.confirms == confirms:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert peer.frames == []
    go.set()
    assert [frame.get("code", 200) for frame in await answer(peer, 3)] == [200, 404, 200]


async def test_refusals_of_the_ledger_are_sure_anyway(two: list[Gateway]) -> None:
    """An expected version that is right on the log is right, though this gateway has not heard of it."""
    here, there = two
    await here.store("a")
    there.miss(1)
    await here.store("a")
    reply = await there.ask(ConfigurationPut(name="a", value="x", entityVersion=2))
    assert reply.configuration.entityVersion == 3
