"""The load: raw WebSocket frames, made beforehand, a fixed number of requests in flight on each connection.

It runs in a process of its own and prints one JSON object. Every answer is counted by its frame, and each frame of the
gateway and the floor must say `"status":"success"`, or with a get bring the value: anything else ends the run with what
was received, and so does a connection that the server gives up.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import json
import os
import random
import uuid
from typing import Any

import uvloop

from bench import turns
from bench.servers import GENERATOR_CORES, accepted, pin
from bench.turns import fail

NAMES = 10_000
"""Configurations that are read and written, each connection in a random order of its own: one hot name would show what
a cache can do, not what a server does."""

SUCCESS = b'"status":"success"'
VALUE = b'"value":"vvvvvvvvvvvvvvvvvvvv"'
"""What is written, and has to come back."""
SERVICE = '{"host":"db.example.com","port":5432,"tags":["primary","replica"],"text":"as it is in production"}'
CONTENTS = {"put-100": f"[{SERVICE}]", "put-2000": f"[{','.join([SERVICE] * 20)}]"}
"""Kinds of puts whose values are JSON, of about so many bytes."""
TEXT, PING, PONG = 0x81, 0x89, 0x8A


def masked(payload: bytes, kind: int = TEXT) -> bytes:
    """A client's frame."""
    mask = b"\x11\x22\x33\x44"
    size = len(payload)
    head = bytes((kind, 0x80 | size)) if size < 126 else bytes((kind, 0xFE)) + size.to_bytes(2, "big")
    return head + mask + bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def name_of(number: int) -> str:
    """The name of a configuration that is read and written."""
    return f"bench.{number:05d}"


def device_of(number: int) -> str:
    """The id of a device that messages are inserted for: of 36 characters, as most are."""
    return str(uuid.UUID(int=number))


def insert_of(kind: str, number: int) -> bytes:
    """The request to insert a `notification` or a `command` of a device."""
    text = b'{"action":"%b/insert","requestId":12345,"deviceId":"%b","%b":{"%b":"temperature","parameters":{"t":20.5}}}'
    name = kind.encode()
    return text % (name, device_of(number).encode(), name, name)


@functools.cache
def requests_of(kind: str) -> list[bytes]:
    """A frame for each name, or with `insert` for each device."""
    if kind == "insert":
        return [masked(insert_of("notification", number)) for number in range(NAMES)]
    members = b",%b" % VALUE if kind == "put" else b""
    if kind in CONTENTS:
        members = b',"value":%b' % json.dumps(CONTENTS[kind]).encode()
    action = b"configuration/put" if kind.startswith("put") else b"configuration/get"
    return [
        masked(b'{"action":"%b","requestId":12345,"name":"%b"%b}' % (action, name_of(number).encode(), members))
        for number in range(NAMES)
    ]


def frames(kind: str, number: int) -> list[bytes]:
    """The requests that a connection sends in turn; all of one length, since the floor tells them by it."""
    return random.Random(number).sample(requests_of(kind), NAMES)


def proof(kind: str) -> bytes | None:
    """Bytes that every answer of a kind has exactly once; None for an echo, which is not checked."""
    return None if kind == "echo" else VALUE if kind == "get" else SUCCESS


class Connection(asyncio.Protocol):
    """One client: shakes hands, authenticates where a token is given, then keeps requests in flight.

    Each answer has to have `proof` in it.
    """

    def __init__(self, path: str, token: str | None, requests: list[bytes], proof: bytes | None) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers = 0
        self.going = False
        self.finished = False
        self.in_flight = 1
        self._path = path
        self._token = token
        self._requests = requests
        self._proof = proof
        self._sent = 0
        self._rest = b""
        self._stage = self._handshake

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16))
        transport.write(
            b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % (self._path.encode(), key)
        )

    def data_received(self, data: bytes) -> None:
        self._stage(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished:  # the others would go on, and their rate would pass for that of all
            fail(b"the server gave up a connection: " + repr(exc or "closed").encode() + b" after " + self._rest)

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come."""
        return self.answers < self._sent

    def start(self) -> None:
        """Put the first requests in flight."""
        self.send(self.in_flight)

    def send(self, count: int) -> None:
        """Put more requests in flight."""
        numbers = range(self._sent, self._sent + count)
        self._transport.write(b"".join(self._requests[number % len(self._requests)] for number in numbers))
        self._sent += count

    def _handshake(self, data: bytes) -> None:
        self._rest += data
        if b"\r\n\r\n" not in self._rest:
            return
        if b" 101 " not in self._rest:
            fail(self._rest)
        _, _, rest = self._rest.partition(b"\r\n\r\n")
        self._rest = b""
        if self._token is None:
            self._stage = self._count
            self.ready.set_result(None)
        else:
            self._stage = self._authenticated
            self._transport.write(masked(json.dumps({"action": "authenticate", "token": self._token}).encode()))
        self._stage(rest)

    def _authenticated(self, data: bytes) -> None:
        found, whole = self._texts(data)
        if found:
            if SUCCESS not in whole:
                fail(whole)
            self._stage = self._count
            self.ready.set_result(None)

    def _count(self, data: bytes) -> None:
        found = self._answers(data)
        self.answers += found
        if found and self.going:
            self.send(found)

    def _answers(self, data: bytes) -> int:
        """How many answers are complete with this, each of them checked."""
        found, whole = self._texts(data)
        if self._proof is not None and whole.count(self._proof) != found:
            fail(whole)
        return found

    def _texts(self, data: bytes) -> tuple[int, bytes]:
        """How many text frames are complete with this, and the bytes of them; pings are answered on the way."""
        data = self._rest + data
        position = found = 0
        while (size := len(data) - position) >= 2:
            length, head = data[position + 1], 2
            if length == 126:
                if size < 4:
                    break
                length, head = (data[position + 2] << 8) | data[position + 3], 4
            elif length == 127:  # a size of 8 bytes: nothing asked for here is so large
                fail(data[position:])
            if size < head + length:
                break
            if data[position] == TEXT:
                found += 1
            elif data[position] == PING:
                # With the same payload: a server gives up on a client whose pongs are not those of its pings.
                self._transport.write(masked(data[position + head : position + head + length], PONG))
            else:
                fail(data[position:])
            position += head + length
        self._rest = data[position:]
        return found, data[:position]


def _same(connection: Connection) -> Connection:
    return connection


async def connect(
    options: argparse.Namespace, count: int, kind: type[Connection] = Connection, process: int | None = None
) -> list[Connection]:
    """This many connections of a kind, ready. With `process` all are with that one of the server's processes."""
    loop = asyncio.get_running_loop()
    token = options.token or None
    found: list[Connection] = []
    while len(found) < count:
        connection = kind(options.path, token, frames(options.kind, len(found)), proof(options.kind))
        make = functools.partial(_same, connection)
        transport, _ = await loop.create_connection(make, "127.0.0.1", options.port)
        await connection.ready
        if process is None or accepted(process, options.port, transport.get_extra_info("sockname")[1]):
            found.append(connection)
        else:
            connection.finished = True
            transport.close()
    return found


async def load(options: argparse.Namespace) -> None:
    """Requests per second."""
    connections = await connect(options, options.connections, process=options.process)
    for connection in connections:
        connection.in_flight = options.in_flight
    await turns.measure(connections, options)


async def hold(options: argparse.Namespace) -> None:
    """Hold idle authenticated connections; each line of input says how many more, each line of output that they are."""
    held: list[Connection] = []
    reader = await turns.lines()
    while line := await reader.readline():
        held += await connect(options, int(line))
        print(len(held), flush=True)
    turns.finish(held)


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["echo", "floor", "get", "put", *CONTENTS, "insert", "hold"])
    turns.arguments(parser)
    parser.add_argument("--path", default="/")
    parser.add_argument("--token", default="")
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--process", type=int, help="keep only connections that this process accepted")
    options = parser.parse_args()
    pin(GENERATOR_CORES)
    uvloop.run(hold(options) if options.kind == "hold" else load(options))


if __name__ == "__main__":
    main()
