"""Messages of devices as a broker has them, over Hivewire's WebSocket and in a stream of NATS."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from bench import messages, servers
from bench.devices import Client
from bench.generator import SUCCESS, Connection
from bench.peers.hivewire import Hivewire, joined
from bench.peers.nats import Nats, NatsClient
from bench.peers.peer import VALUE
from bench.servers import Server
from bench.watchers import Latch, masked_long

CONNECTIONS = 50


class Messages(Hivewire):
    """`notification/insert`: a topic is a device."""

    name = "Hivewire"
    program = "hivewire-messages"
    durable = "after the fsync of its SQLite file (WAL, `synchronous=FULL`); inserts that wait share one"
    watched = "`notification/subscribe` to one device"
    flags: ClassVar[tuple[str, ...]] = ()

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Server]:
        devices = ["fan.1", *(name for number in range(CONNECTIONS) for name in self.names(number))]
        path = folder / "hivewire.db"
        asyncio.run(messages.register(path, len(devices), id_of=devices.__getitem__))
        with servers.gateway(path, flags=self.flags) as server:
            yield server

    def requests(self, work: str, names: list[str]) -> list[bytes]:
        text = (
            b'{"action":"notification/insert","requestId":12345,"deviceId":"%b",'
            b'"notification":{"notification":"bench","parameters":{"value":"%b"}}}'
        )
        return [masked_long(text % (name.encode(), VALUE)) for name in names]

    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        if latch is not None:
            return await joined(options, Client(options, latch, requests))
        client = Connection(options.path, options.token, requests, SUCCESS)
        client.going = True
        return await joined(options, client)

    async def watch(self, options: argparse.Namespace, number: int, latch: Latch) -> Any:
        client = await joined(options, Client(options, latch))
        ready = latch.expect(1)
        client.ask(action="notification/subscribe", deviceId="fan.1")
        await ready
        return client


class MessagesInMemory(Messages):
    """The same with `messages = memory`."""

    name = "Hivewire in memory"
    program = "hivewire-memory"
    durable = "once it is in memory (`messages = memory`)"
    flags = messages.IN_MEMORY


class JetStreamClient(NatsClient):
    """The stream of messages."""

    bucket, subject = "bench", "bench."


class JetStream(Nats):
    """A stream that keeps each message for as long as notifications are kept."""

    name = "NATS JetStream"
    program = "jetstream"
    executable = Nats.program
    client = "the raw text protocol"
    watched = "an ordered consumer each"
    kind = JetStreamClient
    stream: ClassVar[dict[str, Any]] = {
        "name": "bench",
        "subjects": ["bench.>"],
        "storage": "file",
        "retention": "limits",
        "max_age": 120_000_000_000,
        "num_replicas": 1,
        "max_consumers": 100_000,
    }
