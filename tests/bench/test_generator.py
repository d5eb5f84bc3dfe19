"""The load generator, against a real WebSocket server."""

from __future__ import annotations

import asyncio
import os

from bench.generator import Connection, frames
from bench.servers import accepted
from websockets.asyncio.server import ServerConnection, serve

from tests.running import PATIENCE


async def test_a_ping_is_answered_with_its_payload() -> None:
    """RFC 6455, section 5.5.3; a server counts no other pong, and gives up on the client."""
    client = Connection("/", None, frames("echo", 0), None)
    ponged = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        await (await connection.ping())
        client.finished = True  # it may be closed now
        ponged.set()
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            await ponged.wait()
        transport.abort()
    assert client.ready.done()


async def test_the_process_behind_a_connection_is_known() -> None:
    """Of several that listen on one port, a load chooses one."""
    async with serve(ServerConnection.wait_closed, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Connection("/", None, frames("echo", 0), None)
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            await client.ready
        client.finished = True  # it may be closed now
        peer = transport.get_extra_info("sockname")[1]
        found = [accepted(pid, port, peer) for pid in (os.getpid(), os.getppid())]
        transport.abort()
    assert found == [True, False]
