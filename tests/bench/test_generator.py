"""The load generator, against a real WebSocket server."""

from __future__ import annotations

import asyncio

from bench.generator import Connection, frames
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
