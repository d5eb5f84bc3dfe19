"""Reads that wait for a revision, or for what other gateways wrote (several gateways on one log, section 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hivewire import freshness
from hivewire.access.users import UserContent
from hivewire.actions.configuration import get_change
from hivewire.caller import Caller
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import TokenRevoked, Unavailable
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import (
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationList,
    ConfigurationPut,
)
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe
from tests.rooms.site import Gateway, site
from tests.rooms.test_hub import Peer
from tests.running import PATIENCE
from tests.world import JOHN, World

NEVER = 1 << 62
"""A revision that no ledger reaches."""

READS: dict[str, Callable[..., Request]] = {
    "get": lambda **members: ConfigurationGet(name="a", **members),
    "list": lambda **members: ConfigurationList(**members),
    "history": lambda **members: ConfigurationHistory(name="a", **members),
}


@pytest.fixture
async def two() -> AsyncIterator[list[Gateway]]:
    """Two gateways on one log."""
    async with site() as gateways:
        yield gateways


def shown(reply: Any) -> list[str | None]:
    """The values in a reply."""
    found = getattr(reply, "changes", None) or getattr(reply, "configurations", None) or [reply]
    return [getattr(each, "configuration", each).value for each in found]


def waiting(world: World) -> float:
    """How many reads wait."""
    return world.services.freshness.gauges()["waiting_reads"][1]()


async def until_waiting(world: World, count: int = 1) -> None:
    """Until so many reads wait."""
    while waiting(world) < count:
        await asyncio.sleep(0)


async def put(world: World, value: str = "new") -> int:
    """Write `a`; the revision in the reply."""
    reply = await world.ask(ConfigurationPut(name="a", value=value))
    return int(reply.revision)


@pytest.mark.parametrize("read", READS)
async def test_put_here_and_read_there(two: list[Gateway], read: str) -> None:
    """A read with the revision of a write sees it on every gateway, also where the feed has lost it, once and again."""
    here, there = two
    await put(here, "old")
    for value in ("new", "newer"):
        there.miss()
        revision = await put(here, value)
        assert there.ledger.revision < revision
        assert shown(await there.ask(READS[read](atLeast=revision)))[0] == value
        assert waiting(there) == 0


async def test_a_read_waits_for_the_feed(two: list[Gateway]) -> None:
    """It is answered as soon as the revision is there, and not before; with an earlier revision at once."""
    here, there = two
    there.miss(misled=True)
    revision = await put(here)
    reading = asyncio.create_task(there.ask(READS["get"](atLeast=revision)))
    later = asyncio.create_task(there.ask(READS["list"](atLeast=revision + 1)))
    await until_waiting(there, 2)
    assert not reading.done()
    there.hear()
    assert shown(await reading) == ["new"]
    assert not later.done()
    assert shown(await there.ask(READS["get"](atLeast=revision))) == ["new"]
    assert await put(here, "newest") == revision + 1
    assert shown(await later) == ["newest"]


@pytest.mark.parametrize("read", [*READS, "subscribe", "content"])
async def test_a_revision_that_does_not_come(two: list[Gateway], read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 5 s it is a 503 that says where the gateway stands, also for a revision that never was."""
    assert freshness.WAIT_SECONDS == 5
    monkeypatch.setattr(freshness, "WAIT_SECONDS", 0)
    revision = await put(two[0])
    peer = two[0].peer()
    with pytest.raises(Unavailable) as refused:
        if read == "content":
            await get_change(two[0].services, peer.caller, ConfigurationGet(name="a", atLeast=NEVER))
        else:
            await two[0].ask(READS.get(read, ConfigurationSubscribe)(atLeast=NEVER), peer.caller)
    assert str(refused.value) == f"this gateway has not reached revision {NEVER}, it is at {revision}: waited for 0 s"
    assert (refused.value.code, waiting(two[0]), peer.caller.feed) == (503, 0, None)
    assert not two[0].services.freshness._revisions, "the log is asked no more"


@pytest.mark.parametrize("read", READS)
async def test_a_fresh_read_sees_what_was_answered_anywhere(two: list[Gateway], read: str) -> None:
    """Also where nothing tells that the gateway is behind, but a commit; a plain read may be old."""
    here, there = two
    await put(here, "old")
    there.miss(misled=True)
    await put(here)
    assert shown(await there.ask(READS[read]()))[0] == "old"
    assert shown(await there.ask(READS[read](fresh=True)))[0] == "new"


async def test_fresh_reads_share_a_confirmation(two: list[Gateway]) -> None:
    """All that come together wait for one empty entry; each that comes during a confirmation waits for the next."""
    here, there = two
    revision = await put(here)
    entries = there.journal.log.entries
    before = len(entries)
    await asyncio.gather(*(there.ask(READS["get"](fresh=True)) for _ in range(50)))
    assert [len(entry) for entry in entries[before:]] == [0]
    assert here.ledger.revision == there.ledger.revision == revision


async def test_a_log_that_does_not_confirm(two: list[Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh read gets 503 when the log fails, or does not answer within 5 s."""
    here = two[0]
    await put(here)
    here.journal.broken = "no leader"
    with pytest.raises(Unavailable, match=r"cannot be confirmed: no leader$"):
        await here.ask(READS["get"](fresh=True))
    monkeypatch.setattr(freshness, "WAIT_SECONDS", 0)
    here.journal.broken = None
    with pytest.raises(Unavailable, match=r"cannot be confirmed: waited for 0 s$"):
        await here.ask(READS["get"](fresh=True))
    assert waiting(here) == 0


@pytest.mark.parametrize("read", READS)
async def test_a_single_gateway_is_never_behind(world: World, read: str) -> None:
    """There `fresh` and the revision of any write are answered at once, and nothing is written for it."""
    revision = await put(world)
    tip = world.journal.tip
    assert shown(await world.ask(READS[read](fresh=True, atLeast=revision))) == ["new"]
    assert world.journal.tip == tip


async def test_only_so_many_wait(two: list[Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound a read that would have to wait gets 503 at once; others are answered as always."""
    monkeypatch.setattr(freshness, "MOST", 2)
    here = two[0]
    revision = await put(here)
    reads = [asyncio.create_task(here.ask(READS["get"](atLeast=revision + 1))) for _ in range(2)]
    await until_waiting(here, 2)
    with pytest.raises(Unavailable, match=r": too many requests wait already$"):
        await here.ask(READS["get"](atLeast=revision + 1))
    assert shown(await here.ask(READS["get"](atLeast=revision))) == ["new"]
    await put(here, "newest")
    assert [shown(await read) for read in reads] == [["newest"]] * 2


async def test_the_waiting_ends_with_the_gateway(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits when it stops, or comes later, gets 503 at once."""
    monkeypatch.setattr(freshness, "WAIT_SECONDS", 2 * PATIENCE)
    reading = asyncio.create_task(world.ask(READS["list"](atLeast=999)))
    await until_waiting(world)
    world.services.drain()
    for read in (reading, world.ask(READS["list"](atLeast=999))):
        with pytest.raises(Unavailable, match="the gateway is stopping"):
            await asyncio.wait_for(read, PATIENCE)


async def test_the_waiting_ends_with_the_connection(two: list[Gateway]) -> None:
    """Over HTTP and on a socket nothing of a read remains whose client is gone."""
    here = two[0]
    gone: list[Any] = []
    caller = here.caller()
    caller.http, caller.when_gone = True, gone.append
    reading = asyncio.create_task(here.ask(READS["list"](atLeast=999), caller))
    peer = here.peer()
    peer.ask("configuration/get", name="a", atLeast=999)
    await until_waiting(here, 2)
    gone[-1]()
    with pytest.raises(Unavailable):
        await reading
    assert gone[-1] is None
    peer.session.close()
    for _ in range(3):
        await asyncio.sleep(0)
    assert waiting(here) == 0
    await put(here)


async def test_the_rights_are_looked_at_again(two: list[Gateway]) -> None:
    """A token that ends while its read waits gets the error of a token that has ended."""
    here, there = two
    caller = here.caller(JOHN)
    reading = asyncio.create_task(here.ask(READS["list"](atLeast=here.ledger.revision + 2), caller))
    await until_waiting(here)
    await there.ledger.commit(there.users.write("john", UserContent("", generation=1), None))
    await put(there)
    with pytest.raises(TokenRevoked):
        await reading


@pytest.mark.parametrize("rpc", [False, True])
async def test_a_socket_keeps_its_order(two: list[Gateway], rpc: bool) -> None:
    """What was asked after a read that waits is answered after it, and the reply of a subscription comes before its
    pushes. In both framings."""
    here, there = two
    peer = here.peer()
    await put(there, "1")
    here.miss(misled=True)
    revision = await put(there, "2")
    ask(peer, rpc, "configuration/subscribe", names=["a"], snapshot=False, atLeast=revision)
    ask(peer, rpc, "configuration/get", name="a")
    await until_waiting(here)
    assert peer.frames == []
    here.hear()
    while len(peer.frames) < 2:
        await asyncio.sleep(0)
    await put(there, "3")
    while len(peer.frames) < 3:
        await asyncio.sleep(0)
    subscribed, read, pushed = [frame.get("params", frame.get("result", frame)) for frame in peer.frames]
    assert subscribed["mode"] == "live"
    assert [each["configuration"]["value"] for each in (read, pushed)] == ["2", "3"]


def ask(peer: Peer, rpc: bool, action: str, **members: Any) -> None:
    """Send a request in one of the two framings."""
    if rpc:
        peer.session.receive(encode({"jsonrpc": "2.0", "id": 1, "method": action, "params": members}))
    else:
        peer.ask(action, **members)


async def test_a_caller_without_a_connection_may_wait(world: World) -> None:
    """Such as a handler that asks for itself."""
    caller = Caller("10.0.0.1", "h", identity=world.admin.identity)
    revision = world.ledger.revision
    reading = asyncio.create_task(world.ask(READS["list"](atLeast=revision + 1), caller))
    await until_waiting(world)
    await put(world)
    assert shown(await reading) == ["new"]
