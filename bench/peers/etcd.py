"""etcd, one member, over gRPC: HTTP/2 frames made beforehand."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import VALUE, Client, Peer, fail, opened, running, said
from bench.servers import Server, free_port
from bench.watchers import Latch

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
LARGEST_WINDOW = (1 << 31) - 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


# No table of headers, so that each block stands for itself, and windows that never close.
OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(SETTINGS, 0, 0, b"\0\1" + bytes(4) + b"\0\4" + LARGEST_WINDOW.to_bytes(4, "big"))
    + frame(WINDOW_UPDATE, 0, 0, (LARGEST_WINDOW - 65_535).to_bytes(4, "big"))
)


def field(number: int, value: bytes) -> bytes:
    """A member of a protobuf message, of type bytes, short."""
    return bytes((number << 3 | 2, len(value))) + value


def call(method: str, message: bytes, last: bool = True) -> bytes:
    """The frames of a gRPC request on stream 1; `Etcd` numbers them again. HPACK without Huffman (RFC 7541)."""
    path = f"/etcdserverpb.{method}".encode()
    block = b"\x83\x86"  # :method POST, :scheme http
    block += b"\x04" + bytes((len(path),)) + path
    block += b"\x01\x09localhost"  # :authority
    block += b"\x0f\x10\x10application/grpc"  # content-type
    block += b"\x00\x02te\x08trailers"
    text = b"\0" + len(message).to_bytes(4, "big") + message
    return frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM if last else 0, 1, text)


class EtcdClient(Client):
    """One connection; each request is a stream of its own."""

    def __init__(self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None) -> None:
        super().__init__(options, number, [], latch)
        self._parts = [_parts(request) for request in requests]
        self._messages = self._ends = 0

    def open(self) -> None:
        self.transport.write(OPENING)

    def send(self, count: int) -> None:
        for request in range(self._sent, self._sent + count):
            head, middle, rest = self._parts[request % len(self._parts)]
            stream = (2 * request + 1).to_bytes(4, "big")
            self.transport.write(head + stream + middle + stream + rest)
        self._sent += count

    def watch(self) -> None:
        """One stream that stays open."""
        message = field(1, field(1, b"fan.") + field(2, b"fan/"))
        self.transport.write(call("Watch/Watch", message, last=False))

    def read(self, data: bytes) -> tuple[int, int]:
        found = at = 0
        while len(data) - at >= 9:
            after = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if after > len(data):
                break
            kind, flags = data[at + 3], data[at + 4]
            if kind == DATA:
                found += self._message(data[at + 9 : after])
            elif kind == HEADERS and flags & END_STREAM:
                self._ends += 1
                if self._ends > self._messages:  # trailers without a message: an error
                    fail(data[at:after])
                found += 1
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self.transport.write(frame(kind, ACK, 0, data[at + 9 : after] if kind == PING else b""))
                if kind == SETTINGS:
                    self.ready.set_result(None)
            elif kind not in (HEADERS, SETTINGS, PING, WINDOW_UPDATE):
                fail(data[at:after])
            at = after
        return found, at

    def _message(self, payload: bytes) -> int:
        """A whole gRPC message: of a watch it is an answer, of a call the trailers will be."""
        if len(payload) < 5 or payload[0] or int.from_bytes(payload[1:5], "big") != len(payload) - 5:
            fail(payload)
        self._messages += 1
        if self._parts:
            if self.options.work == "get" and VALUE not in payload:
                fail(payload)
            return 0
        if self.ready.done() and self._messages > 1 and VALUE not in payload:
            fail(payload)
        return 1


class Etcd(Peer):
    """One member without others, as it is by default."""

    name = "etcd"
    program = "etcd"
    source = "`etcd` where it is on the PATH"
    client = "gRPC in raw HTTP/2 frames; gets are linearizable, its default"
    durable = "after the fsync of its log; puts that wait share one"
    watched = "a watch, one stream on one connection each"

    def version(self) -> str:
        return said(self.find() or "", "--version").rpartition(" ")[2]

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Server]:
        port, other = free_port(), free_port()
        url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"
        command = [self.find() or "", "--name", "bench", "--data-dir", str(folder / "etcd"), "--logger", "zap"]
        command += ["--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer]
        command += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}"]
        with running(command, folder, port, "/health") as server:
            yield server

    def requests(self, work: str, names: list[str]) -> list[bytes]:
        if work == "put":
            return [call("KV/Put", field(1, name.encode()) + field(2, VALUE)) for name in names]
        return [call("KV/Range", field(1, name.encode())) for name in names]

    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        return await opened(options, EtcdClient(options, number, requests, latch))

    async def watch(self, options: argparse.Namespace, number: int, latch: Latch) -> Any:
        client = await opened(options, EtcdClient(options, number, [], latch))
        ready = latch.expect(1)
        client.watch()
        await ready
        return client


def _parts(request: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before, between and behind the two numbers of the stream."""
    second = 9 + int.from_bytes(request[:3], "big")
    return request[:5], request[9 : second + 5], request[second + 9 :]
