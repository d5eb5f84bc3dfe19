"""The load over HTTP: keep-alive connections with one request in flight each.

`properties` and `rest` put conditionally: each connection keeps one value and puts it again with the etag it got last.
`put` and `get` are REST requests with a bearer token for names at random. Like `bench.generator` it speaks raw bytes
from a process of its own, checks every answer, and prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import random
import re
from collections.abc import Iterator
from typing import Any

import uvloop

from bench import turns
from bench.generator import NAMES, name_of
from bench.servers import GENERATOR_CORES, pin
from bench.turns import fail

VALUE = b"v" * 20
BODY = b'{"value":"%b"}' % VALUE
ETAG = re.compile(rb"\r\netag: ([^\r]+)\r\n", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request in flight; what it asks is for its subclass."""

    def __init__(self) -> None:
        self.answers = 0
        self.going = False
        self.waiting = False
        self.finished = False
        self.transport: Any = None
        self._etag: bytes | None = None  # that of the last answer
        self._rest = b""

    def ask(self, etag: bytes | None) -> None:
        """Send the next request; `etag` is that of the answer before."""
        raise NotImplementedError

    def start(self) -> None:
        """Send the first request of a turn."""
        self.waiting = True
        self.ask(self._etag)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished:
            fail(b"the server gave up a connection: " + repr(exc or "closed").encode())

    def data_received(self, data: bytes) -> None:
        self._rest += data
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            return
        length, etag = LENGTH.search(self._rest), ETAG.search(self._rest)
        if not self._rest.startswith(b"HTTP/1.1 200") or length is None or etag is None:
            fail(self._rest)
            return
        if len(self._rest) < end + 4 + int(length[1]):
            return
        if VALUE not in self._rest[end:]:
            fail(self._rest)
        self._rest = b""
        self.answers += 1
        self._etag = etag[1]
        if self.going:
            self.ask(self._etag)
        else:
            self.waiting = False


class ConditionalWriter(Connection):
    """Puts one value again and again, each time expecting what it wrote the last time."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        super().__init__()
        name = b"http.%s.%d" % (options.kind.encode(), number)
        if options.kind == "properties":
            pair = base64.b64encode(f"{options.login}:{options.secret}".encode())
            self._head = b"PUT /@api/deki/site/properties/%b?abort=%%b HTTP/1.1\r\nAuthorization: Basic %b" % (
                name,
                pair,
            )
            self._condition, self._type, self._body = b"ETag", b"text/plain; charset=utf-8", VALUE
        else:
            self._head = b"PUT /api/rest/configuration/%b HTTP/1.1\r\nAuthorization: Bearer %b" % (
                name,
                options.secret.encode(),
            )
            self._condition, self._type, self._body = b"If-Match", b"application/json", BODY
        self._is_property = options.kind == "properties"

    def ask(self, etag: bytes | None) -> None:
        """The first one writes whatever is there, those after it only what they have seen."""
        head = self._head
        if self._is_property:
            head %= b"never" if etag is None else b"modified"
        condition = b"" if etag is None else b"\r\n%b: %b" % (self._condition, etag)
        self.transport.write(
            b"%b%b\r\nHost: 127.0.0.1\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (head, condition, self._type, len(self._body), self._body)
        )


class RandomRequests(Connection):
    """Reads or writes names at random."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        super().__init__()
        self._requests = self._endless(options.kind, options.secret.encode(), random.Random(number))

    @staticmethod
    def _endless(kind: str, token: bytes, chance: random.Random) -> Iterator[bytes]:
        method = kind.upper().encode()
        tail = b" HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\n" % token
        if kind == "put":
            tail += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
        else:
            tail += b"\r\n"
        names = [name_of(number).encode() for number in range(NAMES)]
        while True:
            yield b"%b /api/rest/configuration/%b%b" % (method, chance.choice(names), tail)

    def ask(self, etag: bytes | None) -> None:
        """The next name."""
        self.transport.write(next(self._requests))


def _same(connection: Connection) -> Connection:
    return connection


async def load(options: argparse.Namespace) -> None:
    """Requests per second."""
    loop = asyncio.get_running_loop()
    at_random = options.kind in ("put", "get")
    connections: list[Connection] = []
    for number in range(options.connections):
        connection: Connection
        connection = RandomRequests(options, number) if at_random else ConditionalWriter(options, number)
        await loop.create_connection(functools.partial(_same, connection), "127.0.0.1", options.port)
        connections.append(connection)
    await turns.measure(connections, options)


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["properties", "rest", "put", "get"])
    turns.arguments(parser)
    parser.add_argument("--login", default="admin")
    parser.add_argument("--secret", required=True, help="the password, or the token")
    options = parser.parse_args()
    pin(GENERATOR_CORES)
    uvloop.run(load(options))


if __name__ == "__main__":
    main()
