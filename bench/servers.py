"""The servers under load, each in a process of its own, pinned by the same rule and stopped by id."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple, TypeAlias, cast

import uvloop

PASSWORD, SECRET = secrets.token_hex(), secrets.token_hex(48)
"""New in each run, so that nobody else's gateway would let the generator in. Neither begins like an option."""
SERVER_CORES, GENERATOR_CORES = {0}, {1}
"""With two cores or more every server has the first one and the generator the second: nobody measures the scheduler.
The gateway's writer thread has to share the gateway's core."""


Turn: TypeAlias = Callable[[], dict[str, float]]
"""Measures once: the `rate`, and how `busy` the generator was."""

TRUSTING = ssl.create_default_context()
"""For gateways on this machine whose certificate has signed itself."""
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE

GENERATOR_SECONDS = 300
"""A load generator that takes longer has lost an answer."""

READY_SECONDS = 120
"""Longest start of a gateway."""


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


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def accepted(pid: int, port: int, peer: int) -> bool:
    """Whether a process has the server's end of the loopback connection between these ports (proc(5): `net/tcp`)."""
    ends = f" 0100007F:{port:04X} 0100007F:{peer:04X} "
    table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()
    sockets = {f"socket:[{line.split()[9]}]" for line in table if ends in line}
    return any(os.path.islink(file) and os.readlink(file) in sockets for file in Path(f"/proc/{pid}/fd").iterdir())


def pin(cores: set[int]) -> None:
    """Keep this process to some cores, where there are enough."""
    if (os.cpu_count() or 1) >= 2:
        os.sched_setaffinity(0, cores)


def command(module: str, *words: str, **options: object) -> list[str]:
    """How a load generator is called: options are spelt as keywords; True makes a flag."""
    found = [sys.executable, "-m", module, *words]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        found += [option] if value is True else [option, str(value)]
    return found


def generate(module: str, *words: str, **options: object) -> Any:
    """The output of a load generator, decoded. Raises RuntimeError with the end of its error output."""
    called = command(module, *words, **options)
    run = subprocess.run(called, capture_output=True, text=True, timeout=GENERATOR_SECONDS, check=False)
    if run.returncode:
        told = {name: value for name, value in options.items() if name not in ("token", "secret")}
        raise RuntimeError(f"{module} {' '.join(words)} {told}: {run.stderr.strip()[-1_000:]}")
    return json.loads(run.stdout)


def obey(works: Mapping[str, Callable[[Namespace], Coroutine[Any, Any, Any]]], **options: object) -> None:
    """Be a load generator: carry out one of these works, as the command line tells, and print its result.

    `options` are further ones with their defaults; one that is False is a flag.
    """
    parser = ArgumentParser()
    parser.add_argument("kind", choices=works)
    parser.add_argument("--port", type=int, required=True)
    for name, default in {"path": "/", "token": "", **options}.items():
        form: dict[str, Any] = {"action": "store_true"} if default is False else {"type": type(default)}
        parser.add_argument("--" + name.replace("_", "-"), default=default, **form)
    told = parser.parse_args()
    pin(GENERATOR_CORES)
    print(json.dumps(uvloop.run(works[told.kind](told))), flush=True)


@contextmanager
def prompted(command: Sequence[str], greets: bool = False) -> Iterator[Callable[..., str]]:
    """A load generator that answers each line of input with a line; calling sends one and returns the answer.

    It is killed at the end. `greets`: it prints a line when it is ready. Raises RuntimeError, with the end of what it
    complained of, when it has ended by itself.
    """
    name = " ".join(command[2:4])  # without the token behind them
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def answer() -> str:
        if not (line := _pipe(process.stdout).readline()):
            raise RuntimeError(f"{name}: {_pipe(process.stderr).read().strip()[-1_000:]}")
        return line

    def ask(line: object = "") -> str:
        _pipe(process.stdin).write(f"{line}\n")
        _pipe(process.stdin).flush()
        return answer()

    try:
        if greets:
            answer()
        yield ask
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended by itself")
    finally:
        process.kill()
        process.communicate()


@contextmanager
def turns(module: str, *words: str, **options: object) -> Iterator[Turn]:
    """A load generator whose connections wait between two turns (`bench.turns`)."""
    with prompted(command(module, *words, turns=True, **options), greets=True) as ask:
        yield lambda: cast(dict[str, float], json.loads(ask()))


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def gateway(
    data: Path, python: str = sys.executable, flags: Sequence[str] = (), own_group: bool = False
) -> Iterator[Server]:
    """A gateway over a file, once it is ready; `python` is the interpreter of another checkout's environment.

    `own_group`: Ctrl-C at the terminal does not reach it, so that it is there until the caller is done.

    Raises RuntimeError, with the end of its log, when it does not start.
    """
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
    environment |= {
        "HIVEWIRE_ADMIN_PASSWORD": PASSWORD,
        "HIVEWIRE_JWT_SECRET": SECRET,
        "HIVEWIRE_CONNECTIONS_PER_ADDRESS": "20000",  # all of them come from the loopback address here
    }
    if _has_setting(python, "anonymous_rate"):
        environment["HIVEWIRE_ANONYMOUS_RATE"] = "0"  # clients of a benchmark log in faster than any others
    command = [python, "-m", "hivewire", "serve", "--port", str(port), "--data", str(data), *flags]
    log = data.with_suffix(".log")
    with log.open("wb") as output, started(command, environment, output, own_group) as process:
        try:
            wait_until_ready(process, port, scheme="https" if "--tls-certificate" in flags else "http")
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.read_text(errors='replace')[-1_000:]}") from None
        yield Server(process.pid, port, "/api/websocket", data)


def _has_setting(python: str, name: str) -> bool:
    """Whether the gateway of an environment knows a setting: that of another checkout may be older."""
    code = f"from hivewire.settings import names; raise SystemExit({name!r} not in names())"
    return python == sys.executable or not subprocess.run([python, "-c", code], check=False).returncode


def free_port() -> int:
    """A port that nobody has: on a fixed one the server measured might be somebody else's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def plain(kind: str, size: int = 0) -> Iterator[Server]:
    """`echo`: the bare `websockets` server; `floor`: it answers without looking; `fanout`: it also pushes to all, a
    text of so many bytes, by default that of a put.

    `static` serves so many bytes over HTTP by the libraries that the gateway is made of, and nothing else; `rest`
    answers REST requests of configurations with the bytes that the gateway answers.
    """
    command = [sys.executable, "-m", "bench.servers", kind, str(size)]
    with started(command, dict(os.environ), subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {kind} server did not start")
        yield Server(process.pid, int(line), "/")


@contextmanager
def started(
    command: list[str], environment: dict[str, str], output: int | IO[bytes], own_group: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, pinned to the servers' core; it is stopped at the end."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=output,
        stderr=subprocess.DEVNULL if output == subprocess.PIPE else subprocess.STDOUT,
        preexec_fn=lambda: pin(SERVER_CORES),
        process_group=0 if own_group else None,
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


def wait_until_ready(process: subprocess.Popen[bytes], port: int, scheme: str = "http") -> None:
    """Return as soon as `/health/ready` says 200. Raises RuntimeError when the process ends or takes too long."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/health/ready", timeout=5, context=TRUSTING):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.005)
    raise RuntimeError("the gateway was not ready in time")


async def _echo() -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


class _Floor(asyncio.Protocol):
    """Shakes hands without checking, then answers each frame, told by its size alone, with one pre-built frame.

    The answer is as long as the gateway's, and the generator checks it alike: what it does here it can do there.
    """

    text = (
        b'{"action":"configuration/get","requestId":12345,"status":"success","configuration":'
        b'{"name":"bench.00001","value":"vvvvvvvvvvvvvvvvvvvv","entityVersion":1},"revision":12345}'
    )
    answer = b"\x81\x7e" + len(text).to_bytes(2, "big") + text

    def __init__(self) -> None:
        self._open = False
        self._frame_size = 0
        self._rest = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._open = True
            self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            return
        self._frame_size = self._frame_size or 6 + (data[1] & 0x7F)
        count, self._rest = divmod(self._rest + len(data), self._frame_size)
        self._transport.write(self.answer * count)


async def _floor() -> None:
    server = await asyncio.get_running_loop().create_server(_Floor, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class _Fanout(asyncio.Protocol):
    """Shakes hands; a frame from anybody is answered, and goes to all others as one pre-built frame: a raw fan-out.

    The frame is as long as the gateway's push of the same.
    """

    update = (
        b'{"action":"configuration/update","subscriptionId":1,"position":"0123456789abcdef-12345","revision":12345,'
        b'"operation":"put","modified":"2026-03-01T09:30:00.123","modifiedBy":"admin","description":null,'
        b'"configuration":{"name":"fan.1","value":"vvvvvvvvvvvvvvvvvvvv","entityVersion":12345}}'
    )
    push = b"\x81\x7e" + len(update).to_bytes(2, "big") + update
    members: ClassVar[list[_Fanout]] = []

    def __init__(self) -> None:
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._open = True
            self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            self.members.append(self)
            return
        for member in self.members:
            if member is not self:
                member._transport.write(self.push)
        self._transport.write(_Floor.answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.members.remove(self)


async def _fanout() -> None:
    if size := int(sys.argv[2]):
        _Fanout.push = b"\x81\x7e" + size.to_bytes(2, "big") + _Fanout.update[:size].ljust(size)
    server = await asyncio.get_running_loop().create_server(_Fanout, "127.0.0.1", 0, backlog=4_096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _static() -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    content = bytes(int(sys.argv[2]))

    async def serve(request: object) -> Response:
        return Response(content, media_type="application/json")

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(Starlette(routes=[Route("/", serve)]), http="httptools", access_log=False, log_config=None)
    await uvicorn.Server(config).serve([listener])


async def _rest() -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    content = b'{"name":"bench.00001","value":"vvvvvvvvvvvvvvvvvvvv","entityVersion":1}'
    headers = {"ETag": '"1"', "Hivewire-Revision": "12345"}

    async def serve(request: Request) -> Response:
        await request.body()
        return Response(content, 200, headers, "application/json")

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    routes = [Route("/api/rest/configuration/{name}", serve, methods=["GET", "PUT"])]
    # Its connections wait while others take their turns.
    options: dict[str, Any] = {"http": "httptools", "access_log": False, "log_config": None, "timeout_keep_alive": 600}
    config = uvicorn.Config(Starlette(routes=routes), **options)
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    import logging

    import uvloop

    logging.disable(logging.CRITICAL)  # connections that end without a close frame are no news here
    uvloop.run({"echo": _echo, "floor": _floor, "fanout": _fanout, "static": _static, "rest": _rest}[sys.argv[1]]())
