"""The servers under load, each in a process of its own, pinned by the same rule and stopped by id."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PASSWORD = "only for this run"
SECRET = "a signing secret for this run alone, long enough"
SERVER_CORES, GENERATOR_CORES = {0}, {1}
"""With two cores or more every server has the first one and the generator the second: nobody measures the scheduler.
The gateway's writer thread has to share the gateway's core."""


class Server(NamedTuple):
    """A running server."""

    pid: int
    port: int
    path: str
    data: Path | None = None

    def rss(self) -> int:
        """Resident memory in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")


def pin(cores: set[int]) -> None:
    """Keep this process to some cores, where there are enough."""
    if (os.cpu_count() or 1) >= 2:
        os.sched_setaffinity(0, cores)


@contextmanager
def gateway(data: Path, port: int = 18_080) -> Iterator[Server]:
    """A gateway over a file, once it is ready."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    environment |= {
        "HIVEWIRE_ADMIN_PASSWORD": PASSWORD,
        "HIVEWIRE_JWT_SECRET": SECRET,
        "HIVEWIRE_CONNECTIONS_PER_ADDRESS": "20000",  # all of them come from the loopback address here
    }
    command = [sys.executable, "-m", "hivewire", "serve", "--port", str(port), "--data", str(data)]
    with _process(command, environment) as process:
        wait_until_ready(process, port)
        yield Server(process.pid, port, "/api/websocket", data)


@contextmanager
def plain(kind: str, port: int = 18_081) -> Iterator[Server]:
    """`echo`: the bare `websockets` server; `floor`: a protocol that answers without looking."""
    with _process([sys.executable, "-m", "bench.servers", kind, str(port)], dict(os.environ)) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the {kind} server did not start")
        yield Server(process.pid, port, "/")


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE if "bench.servers" in command else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: pin(SERVER_CORES),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, seconds: float = 120) -> None:
    """Return as soon as `/health/ready` says 200. Raises RuntimeError when the process ends or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.005)
    raise RuntimeError("the gateway was not ready in time")


async def _echo(port: int) -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", port, compression=None):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


class _Floor(asyncio.Protocol):
    """Shakes hands without checking, then answers each 64 bytes or so of input with one pre-built frame."""

    answer = b"\x81\x10" + b'"status":"success"'[:16]

    def __init__(self) -> None:
        self._open = False
        self._frame_size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._open = True
            self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")  # type: ignore[attr-defined]
            return
        self._frame_size = self._frame_size or 6 + (data[1] & 0x7F)
        self._transport.write(self.answer * (len(data) // self._frame_size))  # type: ignore[attr-defined]


async def _floor(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Floor, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import logging

    import uvloop

    logging.disable(logging.CRITICAL)  # connections that end without a close frame are no news here
    uvloop.run({"echo": _echo, "floor": _floor}[sys.argv[1]](int(sys.argv[2])))
