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
from bench.generator import masked
from bench.peers.peer import VALUE, Peer, fail
from bench.servers import Server
from bench.watchers import Turn, masked_long

UPDATE = b'"action":"configuration/update"'


class Client(generator.Connection):
    """The generator's connection; with a turn it passes to it what comes."""

    def __init__(self, options: argparse.Namespace, requests: list[bytes], turn: Turn | None, watches: bool) -> None:
        super().__init__(options.path, options.token, requests, checked=not watches)
        self.turn = turn
        self._watches = watches

    def subscribe(self) -> None:
        self._transport.write(
            masked(b'{"action":"configuration/subscribe","requestId":1,"names":["fan.*"],"snapshot":false}')
        )

    def _count(self, data: bytes) -> None:
        whole = self._rest + data
        found = self._texts(data)
        if not found:
            return
        if self._watches and whole.count(UPDATE) + whole.count(b'"status":"success"') < found:
            fail(whole)
        self.answers += found
        if self.turn is not None:
            self.turn.take(found, whole, self)  # type: ignore[arg-type]
        elif self._turn:
            self.send(found)


class Hivewire(Peer):
    """As it is by default."""

    name = "Hivewire"
    program = "hivewire"
    source = "this repository"
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

    async def connect(self, options: argparse.Namespace, number: int, requests: list[bytes], turn: Turn | None) -> Any:
        return await self._open(options, Client(options, requests, turn, watches=False))

    async def watch(self, options: argparse.Namespace, number: int, turn: Turn) -> Any:
        client = await self._open(options, Client(options, [], turn, watches=True))
        ready = turn.expect(1)
        client.subscribe()
        await ready
        return client

    async def _open(self, options: argparse.Namespace, client: Client) -> Client:
        await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", options.port)
        await client.ready
        return client
