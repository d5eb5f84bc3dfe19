"""Hivewire itself, over its WebSocket."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import generator, measures, servers
from bench.generator import Connection
from bench.peers.peer import VALUE, Peer
from bench.servers import Server
from bench.watchers import Latch, Watcher, masked_long


class Hivewire(Peer):
    """As it is by default."""

    name = "Hivewire"
    program = "hivewire"
    source = "this repository"
    packaged = True
    client = "raw WebSocket frames"
    durable = "after the fsync of its SQLite file (WAL, `synchronous=FULL`); puts that wait share one"
    watched = "`configuration/subscribe`"

    def find(self) -> str | None:
        return "hivewire"

    def version(self) -> str:
        return version("hivewire")

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Server]:
        with servers.gateway(folder / "hivewire.db") as server:
            yield server

    def log_in(self, server: Server) -> str:
        return measures.log_in(server)

    def requests(self, work: str, names: list[str]) -> list[bytes]:
        value = b',"value":"%b"' % VALUE if work == "put" else b""
        text = b'{"action":"configuration/%b","requestId":12345,"name":"%b"%b}'
        return [masked_long(text % (work.encode(), name.encode(), value)) for name in names]

    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        if latch is not None:
            return await joined(options, Watcher(options, latch, requests))
        proof = generator.proof("get" if options.work == "get" else "put")
        client = Connection(options.path, options.token, requests, proof)
        client.going = True  # the servers do not take turns here
        return await joined(options, client)

    async def watch(self, options: argparse.Namespace, number: int, latch: Latch) -> Any:
        client = await joined(options, Watcher(options, latch))
        ready = latch.expect(1)
        client.ask(action="configuration/subscribe", requestId=1, names=["fan.*"], snapshot=False)
        await ready
        return client


async def joined(options: argparse.Namespace, client: Connection) -> Any:
    """A client that has logged in."""
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", options.port)
    await client.ready
    return client
