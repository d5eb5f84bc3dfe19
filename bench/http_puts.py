"""The load of requests over HTTP: conditional PUTs, where each connection keeps one value and puts it again with the
etag it got last, and GETs of it.

Like `bench.generator` it speaks raw bytes from a process of its own, checks every answer, and prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import time
from typing import Any

import uvloop

from bench.generator import fail
from bench.servers import GENERATOR_CORES, pin

VALUE = b"v" * 20
ETAG = re.compile(rb"\r\netag: ([^\r]+)\r\n", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Writer(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
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
            self._condition, self._type, self._body = b"If-Match", b"application/json", b'{"value":"%b"}' % VALUE
        self._get = (
            b"" if options.kind != "rest-get" else self._head.replace(b"PUT", b"GET", 1) + b"\r\nHost: h\r\n\r\n"
        )
        self._is_property = options.kind == "properties"
        self.answers = 0
        self.finished = False
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._put(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished:
            fail(b"the server gave up a connection: " + repr(exc or "closed").encode())

    def _put(self, etag: bytes | None) -> None:
        """The first one writes whatever is there, those after it only what they have seen, or read it."""
        if etag is not None and self._get:
            self._transport.write(self._get)
            return
        head = self._head
        if self._is_property:
            head %= b"never" if etag is None else b"modified"
        condition = b"" if etag is None else b"\r\n%b: %b" % (self._condition, etag)
        self._transport.write(
            b"%b%b\r\nHost: 127.0.0.1\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (head, condition, self._type, len(self._body), self._body)
        )

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
        self._rest = b""
        self.answers += 1
        self._put(etag[1])


async def load(options: argparse.Namespace) -> None:
    """Requests per second over `seconds`, after a second to warm up."""
    loop = asyncio.get_running_loop()
    writers: list[Writer] = []
    for number in range(options.connections):
        _, writer = await loop.create_connection(
            lambda number=number: Writer(options, number), "127.0.0.1", options.port
        )
        writers.append(writer)
    await asyncio.sleep(1)
    started, before, cpu = time.perf_counter(), sum(each.answers for each in writers), time.process_time()
    await asyncio.sleep(options.seconds)
    elapsed = time.perf_counter() - started
    done = sum(each.answers for each in writers) - before
    for writer in writers:
        writer.finished = True
    if not done:
        fail(b"no answers at all")
    print(json.dumps({"rate": done / elapsed, "busy": (time.process_time() - cpu) / elapsed}), flush=True)


def main() -> None:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["properties", "rest", "rest-get"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--login", default="admin")
    parser.add_argument("--secret", required=True, help="the password, or the token")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    pin(GENERATOR_CORES)
    uvloop.run(load(options))


if __name__ == "__main__":
    main()
