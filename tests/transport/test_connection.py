"""HTTP connections of a real socket, in the process of the test."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from hivewire.settings import Settings
from hivewire.transport.admission import SHARES, Admission
from hivewire.transport.back_pressure import PORTION
from hivewire.transport.connection import KEEP_ALIVE_SECONDS, PROXY_SECONDS, HttpProtocol
from hivewire.transport.server import Server
from tests.running import PATIENCE

REQUEST = b"GET /%b HTTP/1.1\r\nHost: g\r\n\r\n"
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer 204; to `/hangs` as soon as the client has gone. To `/long` 16 MiB, as they are read."""
    if scope["path"] == "/hangs":
        while (await receive())["type"] != "http.disconnect":
            pass
    if scope["path"] == "/long":
        await send({"type": "http.response.start", "status": 200})
        for _ in range(256):
            await send({"type": "http.response.body", "body": bytes(PORTION), "more_body": True})
        return
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


class Port:
    """A listening port. `left` are the requests and connections that it has had and that are still in memory."""

    def __init__(self) -> None:
        self.left: weakref.WeakSet[object] = weakref.WeakSet()
        self.lost = asyncio.Event()
        port = self

        class Watched(HttpProtocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                port.left.add(self)

            def on_headers_complete(self) -> None:
                super().on_headers_complete()
                port.left.add(self.cycle)

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                port.lost.set()

        self.config = config = Config(
            answer, lifespan="off", log_config=None, proxy_headers=False, server_header=False, date_header=False
        )
        config.load()
        always = frozenset[bytes]()
        self.admission = Admission(Settings())
        connection = partial(Watched, self.admission, lambda path: {}, always, config, ServerState(), {})
        self.number = 0
        self.listening = asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    port = Port()
    async with await port.listening as server:
        port.number = server.sockets[0].getsockname()[1]
        yield port


@pytest.fixture
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collection")
@pytest.mark.parametrize("cut", [False, True], ids=["answered", "cut"])
async def test_requests_and_connections_leave_nothing_to_collect(port: Port, cut: bool) -> None:
    """They are freed when they end, also where the client resets the connection: a flood of connections makes
    no garbage whose collection would make everybody wait."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(REQUEST % b"1" + REQUEST % b"2")
    assert await asyncio.wait_for(reader.readexactly(2 * len(ANSWER)), PATIENCE) == 2 * ANSWER
    assert len(port.left) == 2, "the connection, and the last request"
    if cut:
        writer.write(REQUEST % b"hangs" + REQUEST % b"4")
        while len(port.left) < 3:
            await asyncio.sleep(0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    await asyncio.wait_for(port.lost.wait(), PATIENCE)
    for _ in range(5):  # the request that hung ends now
        await asyncio.sleep(0)
    assert len(port.left) == 0


def test_a_login_may_end_after_its_connection() -> None:
    """Passwords take a while, and clients give up meanwhile. Closed transports of uvloop refuse whatever is asked."""
    assert uvloop.run(anonymous_after_a_late_login()) is False


async def anonymous_after_a_late_login() -> bool:
    port = Port()
    async with await port.listening as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(REQUEST % b"1")
        await asyncio.wait_for(reader.readexactly(len(ANSWER)), PATIENCE)
        [connection] = [each for each in port.left if isinstance(each, HttpProtocol)]
        writer.close()
        await asyncio.wait_for(port.lost.wait(), PATIENCE)
        connection.logged_in()
        return connection.anonymous


async def test_unread_answers_of_strangers_count_until_one_is_cut(port: Port) -> None:
    """Also where their requests are short: the connection that has read nothing for longest gives way."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port.number))) for _ in range(40)]
        for number, client in enumerate(clients):
            # Else the kernel may grow it until it takes a whole answer, which then is not unread for the gateway.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PORTION)
            client.send(REQUEST % b"long")
            if number == 0:
                async with asyncio.timeout(PATIENCE):
                    while not port.admission.anonymous.held:
                        await asyncio.sleep(0)
        await asyncio.wait_for(port.lost.wait(), PATIENCE)
        assert PORTION <= port.admission.anonymous.held <= port.admission.settings.anonymous_bytes // SHARES


@pytest.mark.parametrize(("proxies", "seconds"), [("", KEEP_ALIVE_SECONDS), ("127.0.0.0/8", PROXY_SECONDS)])
async def test_an_idle_connection_is_kept_for_longer_than_its_client_uses_it(
    port: Port, proxies: str, seconds: float
) -> None:
    """That of a proxy for much longer: a write that meets the close is lost, and nobody sends it again."""
    port.admission.settings = settings = Settings(trusted_proxies=proxies)
    served = Server(settings, answer, lambda path: {}, frozenset(), port.admission, Mock(), Mock())
    port.config.timeout_keep_alive = served.config.timeout_keep_alive
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(REQUEST % b"1")
    await asyncio.wait_for(reader.readexactly(len(ANSWER)), PATIENCE)
    assert [each.timeout_keep_alive for each in port.left if isinstance(each, HttpProtocol)] == [seconds]
    writer.close()


async def test_a_connection_that_has_left_counts_no_bytes(port: Port) -> None:
    """Its last answer can end after that, when a socket has taken over. Nobody would take the bytes back."""
    with socket.create_connection(("127.0.0.1", port.number)):
        while not port.left:
            await asyncio.sleep(0)
        (connection,) = port.left
        assert isinstance(connection, HttpProtocol)
        connection.logged_in()
        connection.pause_writing()
        connection.hold(1 << 20)
        assert connection.admission.unread.held >= 1 << 20
        connection.give_way()
        connection.admission.resume(connection)
        connection.hold(-10)
        assert connection.admission.unread.held == 0
