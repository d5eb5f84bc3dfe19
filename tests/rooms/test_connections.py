"""Open connections as administrators see and close them, on one gateway and on several."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.http11 import Request

from hivewire import broadcast, connections, slices
from hivewire.caller import Caller
from hivewire.transport.admission import Admission
from hivewire.transport.sockets import Sockets
from hivewire.transport.websocket import WebSocket
from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import AccessDenied, NotAllowed, NotFound, OutOfBounds, WireError
from hivewire_protocol.nouns.audit import AuditList
from hivewire_protocol.nouns.connection import ConnectionClose, ConnectionList, ConnectionListed
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe
from hivewire_protocol.permissions import Permission
from tests.broadcast import Bus
from tests.gate.wire import CLOSE, KEY, frame
from tests.ledger.shared import SharedLog
from tests.rooms.neighbours import Gateway, Site, settle
from tests.rooms.test_topics import Reader
from tests.streams.shared import SharedStore
from tests.transport.test_websocket import Wire
from tests.world import JOHN, NOW, World

HEADERS = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
CLOSED = frame((4011).to_bytes(2) + b"closed by an administrator", CLOSE, masked=False)


class Peer(Wire):
    """A transport of which the handshake knows too."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Door:
    """Where sockets of a gateway are opened."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._caller = world.admin
        self._sockets = Sockets(world.dispatcher, Admission(world.services.settings), lambda *_, **__: self._caller)

    def open(self, caller: Caller | None = None) -> WebSocket:
        """Open a socket, of the administrator by default."""
        self._caller = caller or self._world.caller()
        return self._sockets.open(Peer(), Request("/api/websocket", Headers(HEADERS)), ServerState())


def written(socket: WebSocket) -> bytes:
    """What was written to the peer since the last call."""
    wire = socket.transport
    assert isinstance(wire, Peer)
    found, wire.written = wire.written, b""
    return found


def ask(socket: WebSocket, action: str, **members: Any) -> None:
    """Send a request over a socket."""
    socket.data_received(frame(encode({"action": action, **members})))


async def listed(world: World, **wanted: Any) -> list[ConnectionListed]:
    """The connections that the administrator gets."""
    found: list[ConnectionListed] = (await world.ask(ConnectionList(**wanted))).connections
    return found


# What is listed.


async def test_sockets_and_event_streams_are_listed_by_age(world: World) -> None:
    """With whose they are and since when, how much they follow and have not read."""
    door = Door(world)
    socket = door.open(world.caller(JOHN))
    ask(socket, "configuration/subscribe", names=["a"])
    ask(socket, "command/subscribe")
    world.clock.time += 1_000
    reader = Reader(world, ConfigurationSubscribe(), Permission.GET_CONFIGURATION)
    await reader.events(1)
    await settle()  # then its events are written
    stranger = door.open(Caller("10.0.0.9", "h"))
    stranger.transport.unread = 7  # type: ignore[attr-defined]
    found = await listed(world)
    ids = [each.connectionId for each in found]
    then, later = times.render(NOW), times.render(NOW + 1_000)
    assert found == [
        ConnectionListed(ids[0], "websocket", "john", "10.0.0.1", then, 2, 0, 0, None),
        ConnectionListed(ids[1], "events", "john", "10.0.0.1", later, 1, 0, 0, None),
        ConnectionListed(ids[2], "websocket", None, "10.0.0.9", later, 0, 0, 7, None),
    ]
    assert sorted({*ids}) == ids
    assert await listed(world, login="john") == found[:2]
    assert await listed(world, login="nobody") == []
    socket.connection_lost(None)
    reader.answering.cancel()
    await settle()
    assert await listed(world) == found[2:], "those that have ended are not there any more"


async def test_how_far_the_slowest_subscription_is_behind(world: World) -> None:
    """In changes of what it follows; all are live again when the peer has read."""
    await world.store("first")
    socket = Door(world).open()
    ask(socket, "configuration/subscribe", names=["a"])
    ask(socket, "command/subscribe")
    await settle()
    assert [each.behind for each in await listed(world)] == [0]
    socket.pause_writing()
    for _ in range(3):
        await world.store("a")
    assert [each.behind for each in await listed(world)] == [3]
    socket.resume_writing()
    await settle()
    assert [each.behind for each in await listed(world)] == [0]
    ask(socket, "configuration/subscribe", names=["*"])
    socket.pause_writing()
    assert [each.behind for each in await listed(world)] == [1], "it has not got its snapshot yet"
    socket.connection_lost(None)


async def test_a_long_list_comes_in_pages(world: World) -> None:
    """Each after the last connection of the one before, whatever has been closed meanwhile."""
    door = Door(world)
    sockets = [door.open(world.caller(JOHN if number % 2 else 1)) for number in range(130)]
    everything = await listed(world, take=500)
    assert len(everything) == 130
    assert await listed(world) == everything[:100]
    first = await listed(world, login="john", take=20)
    for socket in sockets[:60]:
        socket.connection_lost(None)
    rest = await listed(world, login="john", take=500, after=first[-1].connectionId)
    assert len(first) == 20
    assert rest == [each for each in everything[60:] if each.login == "john"]
    assert await listed(world, take=0) == []
    assert await listed(world, after=everything[-1].connectionId) == []


@pytest.mark.parametrize("take", [-1, 501])
async def test_a_page_is_bounded(world: World, take: int) -> None:
    """More is refused, and not cut."""
    with pytest.raises(OutOfBounds, match="between 0 and 500"):
        await listed(world, take=take)


async def test_connections_come_and_go_while_they_are_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop serves others after each step: whoever is there all the time is listed, once."""
    for name in ("SLICE_SECONDS", "SHORT_SECONDS"):
        monkeypatch.setattr(slices, name, 0.0)
    door = Door(world)
    sockets = [door.open() for _ in range(50)]
    stay = {each.connectionId for each in (await listed(world))[::2]}
    listing = asyncio.create_task(listed(world, take=500))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not listing.done(), "it has only begun"
    for socket in sockets[1::2]:
        socket.connection_lost(None)
        door.open()
    found = [each.connectionId for each in await listing]
    assert stay <= {*found}
    assert sorted({*found}) == found


# Closing.


async def test_a_closed_socket_gets_the_code(world: World) -> None:
    """From then on it is neither listed nor found."""
    socket = Door(world).open()
    written(socket)
    id = (await listed(world))[0].connectionId
    await world.ask(ConnectionClose(connectionId=id))
    await settle()
    assert written(socket) == CLOSED
    assert await listed(world) == []
    with pytest.raises(NotFound):
        await world.ask(ConnectionClose(connectionId=id))


async def test_whoever_closes_their_own_connection_is_answered_before(world: World) -> None:
    """The answer is in front of the close frame."""
    socket = Door(world).open()
    id = (await listed(world))[0].connectionId
    written(socket)
    ask(socket, "connection/close", connectionId=id, requestId=5)
    await settle()
    answer = encode({"action": "connection/close", "requestId": 5, "status": "success"})
    assert written(socket) == frame(answer, masked=False) + CLOSED


async def test_a_closed_event_stream_ends_with_an_event(world: World) -> None:
    """Which has the same code and reason."""
    reader = Reader(world, ConfigurationSubscribe(), Permission.GET_CONFIGURATION)
    await reader.events(1)
    await world.ask(ConnectionClose(connectionId=(await listed(world))[0].connectionId))
    await reader.answering
    [closed] = await reader.events(1)
    assert closed == ["event: close", 'data: {"code":4011,"reason":"closed by an administrator"}']
    assert await listed(world) == []


async def test_what_is_no_connection_is_not_found(world: World) -> None:
    """An id of another gateway, of an earlier start, or written in another way."""
    socket = Door(world).open()
    id = (await listed(world))[0].connectionId
    prefix, _, number = id.partition("-")
    others = [f"{prefix}-{int(number, 16):x}", f"{prefix}-{'f' * 10}", f"{prefix}-", f"{prefix}- {number}", prefix]
    for other in [*others, f"{prefix}-0x{number}", "00000000-" + number, id.upper() + " ", "x" * 10_000]:
        with pytest.raises(NotFound, match="Connection with id = "):
            await world.ask(ConnectionClose(connectionId=other))
    assert not socket.ended


async def test_the_audit_says_who_closed_whose(world: World) -> None:
    """And where both of them were; no secret."""
    Door(world).open(world.caller(JOHN))
    id = (await listed(world))[0].connectionId
    await world.ask(ConnectionClose(connectionId=id), Caller("10.0.0.7", "h", identity=world.admin.identity))
    [row] = (await world.ask(AuditList(kind="connection"))).rows
    assert (row.subject, row.user, row.address) == ("john", "admin", "10.0.0.7")
    assert json.loads(bytes(row.detail)) == {"connectionId": id, "transport": "websocket", "peer": "10.0.0.1"}


async def test_only_an_unrestricted_administrator_lists_and_closes(world: World) -> None:
    """Neither users with all rights nor administrators with a token for some of their rights."""
    socket = Door(world).open()
    id = (await listed(world))[0].connectionId
    some = world.caller(a=[Permission.MANAGE_USER])
    for caller, refusal in ((world.caller(JOHN, a=[Permission.GET_CONFIGURATION]), AccessDenied), (some, NotAllowed)):
        for request in (ConnectionList(), ConnectionClose(connectionId=id)):
            with pytest.raises(WireError) as refused:
                await world.ask(request, caller)
            assert type(refused.value) is refusal
    assert not socket.ended


# Several gateways.


async def gateways(site: Site) -> tuple[list[Gateway], list[WebSocket], list[str]]:
    """Two that know one another, with a socket each, and the ids of these."""
    both = [await site.gateway(), await site.gateway()]
    sockets = [Door(gateway).open() for gateway in both]
    ids = [(await listed(gateway))[0].connectionId for gateway in both]  # which do not know one another yet
    await site.beat()
    return both, sockets, ids


async def test_the_connections_of_all_gateways_are_listed(site: Site) -> None:
    """Each answers the same, page by page."""
    (mine, other), _, ids = await gateways(site)
    found = await listed(mine)
    assert [each.connectionId for each in found] == sorted(ids)
    assert await listed(other) == found
    first = await listed(mine, take=1)
    assert first + await listed(mine, take=1, after=first[0].connectionId) == found


async def test_a_connection_of_another_gateway_is_closed(site: Site) -> None:
    """That gateway is told, and answers whose it was; the audit says who asked for it."""
    (mine, _), (own, far), (_, id) = await gateways(site)
    written(far)
    await mine.ask(ConnectionClose(connectionId=id))
    await settle()
    assert written(far) == CLOSED
    [row] = (await mine.ask(AuditList(kind="connection"))).rows
    assert (row.subject, row.user) == ("admin", "admin")
    with pytest.raises(NotFound):
        await mine.ask(ConnectionClose(connectionId=id))
    assert not own.ended


async def test_a_device_s_connections_end_with_its_tokens(site: Site) -> None:
    """At all gateways, whether it follows anything or not; those of others stay."""
    (mine, other), (own, far), _ = await gateways(site)
    device = mine.caller(a=[Permission.SYNC_CONFIGURATION], d=["dev", "dev-2"])
    idle, elsewhere = Door(mine).open(device), Door(other).open(device)
    foreign = Door(mine).open(mine.caller(a=[Permission.SYNC_CONFIGURATION], d=["dev-1"]))
    for socket in (idle, elsewhere):
        written(socket)
    await mine.ledger.commit(mine.services.tokens.revocations.revoke_device("dev", mine.clock.time, "admin"))
    await settle()
    assert written(idle) == written(elsewhere) == CLOSED
    assert not (own.ended or far.ended or foreign.ended)


async def test_gateways_that_ask_at_once_get_their_own_answers(site: Site) -> None:
    """What a third one answers to another one is not taken for the answer to this one."""
    (mine, other), *_ = await gateways(site)
    Door(await site.gateway()).open(mine.caller(JOHN))
    await site.beat()
    asked = [listed(mine), listed(other, login="john"), listed(other)]
    whole, johns, again = await asyncio.gather(*asked)
    assert len({each.connectionId for each in whole}) == len(whole) == 3
    assert again == whole
    assert johns == [each for each in whole if each.login == "john"]


async def test_who_does_not_answer_is_left_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact may be lost, and a gateway be gone; what the others have is listed all the same."""
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.01)
    (mine, _), (_, far), ids = await gateways(site)
    whole = await listed(mine)
    site.bus.lose = 1
    assert [each.connectionId for each in await listed(mine)] == ids[:1]
    site.bus.lose = 1
    with pytest.raises(NotFound):
        await mine.ask(ConnectionClose(connectionId=ids[1]))
    assert not far.ended
    assert await listed(mine) == whole


async def test_a_fact_that_nobody_understands_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a newer version: it is reported, and questions are answered as before."""
    reports: list[str] = []
    monkeypatch.setattr(broadcast, "log_unexpected", lambda words, error: reports.append(words))
    (mine, other), *_ = await gateways(site)
    other.end.tell("connections", b"\xc1")
    await settle()
    assert reports == ["a fact of another gateway was not understood"]
    assert len(await listed(mine)) == 2


async def test_a_gateway_without_others_waits_for_nobody() -> None:
    """It tells no facts: no answer would come."""
    bus = Bus()
    gateway = Gateway(SharedLog(), SharedStore(), bus)
    await gateway.open()
    Door(gateway).open()
    bus.lose = told = 1
    assert len(await listed(gateway)) == 1
    assert bus.lose == told
    await gateway.close()
