"""What a store has to be able to do to take part: be found, be started, be written to, be watched."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from bench import servers
from bench.servers import Server
from bench.watchers import Latch

VALUE = b"v" * 20
"""What is written, everywhere."""

NAMES = 20
"""Names of each connection: the same work for every store."""

BEGIN_SECONDS = 30
"""How long a server may take until it answers."""


class Client(asyncio.Protocol):
    """One connection: opens, then keeps requests in flight, or counts down a latch for what it receives."""

    def __init__(self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers = 0
        self.finished = False
        self.options, self.number, self.latch = options, number, latch
        self._requests = requests
        self._sent = 0
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.open()

    def open(self) -> None:
        """Say what has to be said first; `ready` may be set at once or when the server has answered."""
        self.ready.set_result(None)

    def read(self, data: bytes) -> tuple[int, int]:
        """How many answers are complete, each of them checked, and how many bytes they and all else took."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        found, used = self.read(data)
        self._rest = data[used:]
        if not found:
            return
        self.answers += found
        if self.latch is not None:
            self.latch.take(found, data, self)  # type: ignore[arg-type]
        elif self._sent:
            self.send(found)

    def send(self, count: int) -> None:
        """Put more requests in flight."""
        for request in range(self._sent, self._sent + count):
            self.transport.write(self._requests[request % len(self._requests)])
        self._sent += count

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished:
            fail(b"the server gave up a connection: " + repr(exc or "closed").encode() + b" after " + self._rest)


class Peer(ABC):
    """A store or a broker, and how it is used here. The texts go into the document."""

    name: ClassVar[str]
    program: ClassVar[str]
    """What it is called by here."""
    executable: ClassVar[str] = ""
    """Its file, where that is not called as the program is here."""
    source: ClassVar[str]
    """Where the program is had from."""
    packaged: ClassVar[bool] = False
    """Whether `make bench-peers` installs it: a run without it is not worth writing down."""
    client: ClassVar[str]
    """What speaks to it."""
    durable: ClassVar[str]
    """When it answers a put."""
    watched: ClassVar[str | None]
    """What is watched; None: it takes no part where there are watchers."""

    def find(self) -> str | None:
        """The path of its program; None when it is not here. Beside this Python first, as packages put it there."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return shutil.which(self.executable or self.program, path=path)

    @abstractmethod
    def version(self) -> str:
        """The version that the program reports."""

    @abstractmethod
    def serve(self, folder: Path) -> AbstractContextManager[Server]:
        """A server that keeps its data in a folder, ready and with what the work needs."""

    def log_in(self, server: Server) -> str:
        """A token for the connections; most need none here."""
        return ""

    @abstractmethod
    def requests(self, work: str, names: list[str]) -> list[bytes]:
        """The bytes of a `put` or `get` of each name."""

    @abstractmethod
    async def connect(
        self, options: argparse.Namespace, number: int, requests: list[bytes], latch: Latch | None
    ) -> Any:
        """A connection that is ready: a Client or what looks like one."""

    async def watch(self, options: argparse.Namespace, number: int, latch: Latch) -> Any:
        """A connection that watches `fan.*`, once it does; changes only, not what there is."""
        raise NotImplementedError

    def names(self, number: int) -> list[str]:
        """The names that a connection uses in turn."""
        return [f"bench.{number}.{name}" for name in range(NAMES)]


async def opened(options: argparse.Namespace, client: Client) -> Any:
    """The client, connected and ready."""
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", options.port)
    await client.ready
    return client


def fail(data: bytes) -> None:
    """End the run with what was received."""
    print(f"unexpected answer: {data[:500]!r}", file=sys.stderr, flush=True)
    os._exit(1)


def said(*command: str) -> str:
    """The first line of what a command prints."""
    return (
        subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()[0].strip()
    )


@contextmanager
def running(command: list[str], folder: Path, port: int, health: str | None = None) -> Iterator[Server]:
    """A server, once it takes connections, or once `health` answers. Raises RuntimeError with the end of its log."""
    log = folder / "server.log"
    with log.open("wb") as output, servers.started(command, dict(os.environ), output) as process:
        end = time.monotonic() + BEGIN_SECONDS
        while not _answers(port, health):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-1_000:]}")
            time.sleep(0.02)
        yield Server(process.pid, port, "/", folder)


def _answers(port: int, health: str | None) -> bool:
    try:
        if health is None:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=1) as answer:
            return b"false" not in answer.read()  # etcd says {"health":"false"} until it has a leader
    except OSError:
        return False
