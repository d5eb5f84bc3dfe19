"""The shell of a socket, with a transport that keeps what is written and a clock moved by hand."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import struct
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from hivewire.caller import Caller
from hivewire.http.peer import caller_of
from hivewire.session import Session
from hivewire.transport.admission import SHARES, Admission
from hivewire.transport.back_pressure import ANONYMOUS_PIECE, PIECE
from hivewire.transport.connection import HttpProtocol
from hivewire.transport.sockets import Sockets
from hivewire.transport.websocket import WebSocket
from hivewire_protocol.encoding import encode
from tests.contract import hold_push
from tests.gate.wire import CLOSE, CONTINUATION, INFO, PING, PONG, frame, upgrade
from tests.world import World, opened

LATE = frame((1002).to_bytes(2) + b"the message took over 10 s", CLOSE, masked=False)


class Wire(asyncio.Transport):
    """The gateway's end of a connection whose peer reads everything, until it is told that the peer does not."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 1)})
        self.written = b""
        self.unread = 0
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...


class Shell:
    """A socket of the administrator, who has ten seconds for each message."""

    def __init__(self, world: World) -> None:
        self.wire = Wire()
        self.sockets = Sockets(world.dispatcher, Admission(world.services.settings), lambda: Caller("", ""))
        self.socket = WebSocket(self.sockets.shared, self.wire, world.caller(), ServerState(), 1)
        self.moment = asyncio.get_running_loop().time()

    def pass_by(self, seconds: float) -> None:
        """Let this much time pass for the timer of the sockets."""
        self.moment += seconds
        self.sockets.tick(30)

    def written(self) -> bytes:
        """The bytes that were written since the last call."""
        found, self.wire.written = self.wire.written, b""
        return found


@pytest.fixture
async def shell(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    async with opened(body_seconds=10) as world:
        shell = Shell(world)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: shell.moment)
        yield shell
        monkeypatch.undo()


@pytest.mark.parametrize(
    "message",
    [frame(INFO), frame(INFO[:9], fin=False) + frame(INFO[9:], CONTINUATION), frame(b"x" * 9, PING)],
    ids=["text", "fragments", "ping"],
)
async def test_the_time_for_a_message_starts_anew_with_each_message(shell: Shell, message: bytes) -> None:
    """Segments that always end in the middle of the next message are fine for ever; one that does not end is late."""
    shell.socket.data_received(message[:-9])
    for _ in range(6):
        shell.pass_by(9)
        shell.socket.data_received(message[-9:] + message[:-9])
        answer = shell.written()
        assert answer
        assert not answer.endswith(LATE)
    shell.pass_by(11)
    assert shell.written() == LATE


async def test_a_message_that_the_gateway_does_not_read_is_not_late(shell: Shell) -> None:
    """While a client does not read its answers the gateway reads nothing from it, so its message may be late as
    well."""
    shell.socket.data_received(frame(INFO)[:-1])
    shell.pass_by(9)
    shell.socket.pause_writing()
    for _ in range(3):
        shell.pass_by(15)
    shell.moment += 9
    shell.socket.resume_writing()
    shell.pass_by(9)
    assert not shell.written()
    shell.socket.data_received(frame(INFO)[-1:])
    assert b"success" in shell.written()
    shell.socket.data_received(frame(INFO)[:-1])
    shell.pass_by(11)
    assert shell.written() == LATE


async def test_pings_without_a_login_are_answered_a_few_at_a_time(shell: Shell) -> None:
    """Thousands that arrive at once are not one long piece of work, for which others would have to wait."""
    stranger = WebSocket(shell.sockets.shared, shell.wire, Caller("", ""), ServerState(), 2)
    ping, pong = frame(b"", PING), frame(b"", PONG, masked=False)
    stranger.data_received(ping * 2_000)
    await asyncio.sleep(0)
    answers = len(shell.written()) // len(pong)
    assert 0 < answers <= ANONYMOUS_PIECE // len(ping)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application without HTTP."""


async def visit(port: int, token: str | None, end: str) -> None:
    """Open a socket, use it, and end it by a close frame, by the end of the bytes or by a reset."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setblocking(False)
        await loop.sock_connect(peer, ("127.0.0.1", port))
        messages = [upgrade(token=token), *map(frame, [INFO, *USES] if token is not None else [INFO])]
        for message in messages:
            await loop.sock_sendall(peer, message)
            assert await loop.sock_recv(peer, 65_536)
        if end == "close":
            await loop.sock_sendall(peer, frame(b"\x03\xe8", CLOSE))
            while await loop.sock_recv(peer, 65_536):
                pass
        elif end == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


USES = [
    b'{"action":"configuration/put","name":"a","value":"1"}',
    b'{"action":"configuration/subscribe","names":["*"]}',
]
"""A write, and a subscription, whose feed belongs to the socket."""


async def garbage_of_sockets(login: bool, end: str) -> int:
    """The objects that only the garbage collector frees after forty sockets have come and gone."""
    async with opened() as world:
        admission = Admission(world.services.settings)
        sockets = Sockets(world.dispatcher, admission, partial(caller_of, world.services))
        config = Config(nothing, interface="asgi3", ws=sockets.open, lifespan="off", log_config=None)  # type: ignore[arg-type]
        config.load()
        always = frozenset[bytes]()
        connection = partial(HttpProtocol, admission, lambda path: {}, always, config, ServerState(), {})
        async with await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            token = world.token() if login else None
            await visit(port, token, end)
            gc.collect()
            gc.disable()
            try:
                for _ in range(40):
                    await visit(port, token, end)
                while admission.inside:
                    await asyncio.sleep(0)
                return gc.collect()
            finally:
                gc.enable()


@pytest.mark.parametrize("end", ["close", "end", "reset"])
@pytest.mark.parametrize("login", [True, False])
def test_sockets_leave_nothing_to_collect(login: bool, end: str) -> None:
    """They are freed when they end, on the event loop of the gateway: thousands that come and go make no garbage whose
    collection would make everybody wait."""
    assert uvloop.run(garbage_of_sockets(login, end)) < 40


async def test_unread_answers_of_a_stranger_count_until_it_is_cut(shell: Shell) -> None:
    """Also where its requests are short: the socket that has read nothing for longest gives way."""
    admission = shell.sockets.shared.admission
    share = admission.settings.anonymous_bytes // SHARES
    wires = [Wire() for _ in range(3)]
    for number, wire in enumerate(wires):
        stranger = WebSocket(shell.sockets.shared, wire, Caller("10.0.0.1", ""), ServerState(), 2 + number)
        assert admission.enter(stranger, "10.0.0.1")
        stranger.pause_writing()
        wire.unread = share // 2
        stranger.count_unread()
        assert admission.anonymous.held == share // 2 * min(number + 1, 2)
    assert [wire.aborted for wire in wires] == [True, False, False]


# An error of the gateway.


class Broken(Session):
    """A session in which every message meets an error of the gateway."""

    def receive(self, message: bytes) -> None:
        raise ValueError(message)


@pytest.mark.parametrize("count", [2, PIECE // len(INFO)], ids=["at once", "after a wait"])
async def test_an_error_of_the_gateway_ends_only_its_connection(shell: Shell, count: int) -> None:
    """It is reported once and closes the socket with 1011, whether its message was handled at once or had to wait."""
    shared, reported = shell.sockets.shared, list[BaseException]()
    shared.session = Broken
    shared.dispatcher.services.telemetry.unexpected = lambda where, error: reported.append(error)  # type: ignore[method-assign]
    wire = Wire()
    broken = WebSocket(shared, wire, shell.socket.caller, ServerState(), 2)
    broken.data_received(frame(INFO) * count)
    for _ in range(count):
        await asyncio.sleep(0)
    assert [type(error) for error in reported] == [ValueError]
    assert wire.written == frame((1011).to_bytes(2) + b"internal error", CLOSE, masked=False)
    shell.socket.data_received(frame(INFO))
    assert b"success" in shell.written()


# A stop.


async def test_who_follows_with_positions_is_told_where_to_go_before_a_stop() -> None:
    """Each such subscription gets `server/draining` right before the close frame, in its own framing and with the same
    time; DeviceHive's plain ones, and connections without any, only the close frame."""
    others = ["https://b.example", "http://c.example:8080/hive"]
    async with opened(alternatives=" https://b.example, http://c.example:8080/hive,") as world:
        shell, plain = Shell(world), Shell(world)
        asked = [
            {"action": "configuration/subscribe", "snapshot": False},
            {"jsonrpc": "2.0", "id": 1, "method": "command/subscribe", "params": {"resumable": True}},
            {"action": "command/subscribe"},
        ]
        for request in asked:
            shell.socket.data_received(frame(encode(request)))
        plain.socket.data_received(frame(encode({"action": "notification/subscribe"})))
        shell.written(), plain.written()
        for stopped in (shell, plain):
            stopped.sockets.drain(30.0)
            stopped.socket.shutdown()
        written = shell.written()
        found = re.search(rb"server going away; retry=(\d+)", written)
        assert found is not None
        members = {"alternatives": others, "retry": int(found[1])}
        pushes: list[dict[str, Any]] = [
            {"action": "server/draining", "subscriptionId": 1, **members},
            {"jsonrpc": "2.0", "method": "server/draining", "params": {"subscriptionId": 2, **members}},
        ]
        for each in pushes:
            hold_push(encode(each))
        close = frame((1001).to_bytes(2) + found[0], CLOSE, masked=False)
        assert written == b"".join(frame(encode(each), masked=False) for each in pushes) + close
        assert re.fullmatch(rb"\x88.\x03\xe9server going away; retry=\d+", plain.written())
