"""HTTP and WebSocket clients as people use them, real and unmodified, each doing the same.

Each is a small program in `clients/`. What it has to send comes on its standard input and what came back is printed, so
all of them are held to the same answers. One whose language or library is not installed is skipped by name.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.running import PATIENCE, RunningGateway

PROGRAMS = Path(__file__).with_name("clients")
NODE_MODULES = Path(sys.prefix) / "clients" / "node_modules"
GO_PATH = Path("/usr/share/gocode")
"""Where Debian keeps the sources of Go packages."""

LARGE = 2 << 20
"""Characters of a large value; from 1 MiB on curl waits for `100 Continue` before it sends a body."""

Steps = Sequence[tuple[str, str, str]]


def installed(*programs: str) -> None:
    """Skip the test when one of these is not there."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def run(command: Sequence[str | Path], lines: Sequence[str] = (), **environment: str) -> list[str]:
    """The output of a program for these lines."""
    ran = subprocess.run(
        list(map(str, command)),
        input="".join(line + "\n" for line in lines),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def python(name: str, folder: Path) -> list[str | Path]:
    return [sys.executable, PROGRAMS / name]


def node(name: str, folder: Path) -> list[str | Path]:
    installed("node")
    command = ["node", "--experimental-websocket", "--no-warnings"]
    needed = {"fetch.mjs": "fetch", "websocket.mjs": "WebSocket"}[name]
    if run([*command, "-p", f"typeof {needed}"]) == ["undefined"]:
        pytest.skip(f"this Node has no {needed}")
    return [*command, PROGRAMS / name]


def node_ws(name: str, folder: Path) -> list[str | Path]:
    installed("node")
    if not (NODE_MODULES / "ws").exists():
        pytest.skip("the npm package ws is not installed (make .venv/.clients)")
    return ["node", PROGRAMS / name]


def java(name: str, folder: Path) -> list[str | Path]:
    installed("java", "javac")
    built = folder.parent / name  # for both tests
    if not built.exists():
        run(["javac", "-J-XX:TieredStopAtLevel=1", "-d", built, PROGRAMS / name])
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", built, name.removesuffix(".java")]


def go(name: str, folder: Path) -> list[str | Path]:
    installed("go")
    if name == "websocket.go" and not (GO_PATH / "src/github.com/gorilla/websocket").exists():
        pytest.skip("the Go package gorilla/websocket is not installed")
    built = folder / "client"
    run(["go", "build", "-o", built, PROGRAMS / name], GO111MODULE="off", GOPATH=str(GO_PATH), GOCACHE=str(folder))
    return [built]


def dotnet(name: str, folder: Path) -> list[str | Path]:
    """By Mono, which is what Debian has of .NET."""
    installed("mono", "mcs")
    built = folder.parent / "client.exe"  # for both tests
    if not built.exists():
        run(["mcs", "-r:System.Net.Http.dll", f"-out:{built}", PROGRAMS / name])
    return ["mono", built]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One that takes large values."""
    data = tmp_path_factory.mktemp("clients") / "hivewire.db"
    with RunningGateway(data, f"--value-length={LARGE}", f"--message-bytes={2 * LARGE}") as gateway:
        yield gateway


@contextmanager
def counted(gateway: RunningGateway) -> Iterator[tuple[str, list[object]]]:
    """An address that leads to the gateway, and its connections so far."""
    connections: list[object] = []

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connections.append(self.client_address)
            with socket.create_connection(("127.0.0.1", gateway.port)) as onward:
                back = Thread(target=pass_on, args=(onward, self.request))
                back.start()
                pass_on(self.request, onward)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", connections
        finally:
            server.shutdown()


def curl(base: str, token: str, steps: Steps, folder: Path, *flags: str) -> list[str]:
    """One call of curl, which keeps its connection."""
    installed("curl")
    command: list[str | Path] = ["curl"]
    for number, (method, path, body) in enumerate(steps):
        (folder / f"{number}.body").write_text(body)
        command += ["--next"] if number else []
        command += [*flags, "-sS", "-X", method, "-H", f"Authorization: Bearer {token}"]
        command += ["-H", "Content-Type: application/json", "--data-binary", f"@{folder}/{number}.body"] if body else []
        command += ["-o", folder / f"{number}.answer", "-w", "%{http_code}\n", base + path]
    statuses = run(command)
    return [f"{status} {(folder / f'{number}.answer').read_text()}" for number, status in enumerate(statuses)]


HTTP: dict[str, tuple[Callable[[str, Path], list[str | Path]], str]] = {
    "requests": (python, "with_requests.py"),
    "httpx": (python, "with_httpx.py"),
    "aiohttp": (python, "with_aiohttp.py"),
    "Node fetch": (node, "fetch.mjs"),
    "Java HttpClient": (java, "Client.java"),
    "Go net-http": (go, "http.go"),
    ".NET HttpClient": (dotnet, "Client.cs"),
}
WEBSOCKETS = {
    "websocket-client": (python, "with_websocket_client.py"),
    "aiohttp": (python, "with_aiohttp.py"),
    "Node WebSocket": (node, "websocket.mjs"),
    "Node ws": (node_ws, "websocket.mjs"),
    "Java WebSocket": (java, "Client.java"),
    "Go gorilla": (go, "websocket.go"),
    ".NET ClientWebSocket": (dotnet, "Client.cs"),
}


@pytest.mark.parametrize("client", ["curl", "curl --http2", *HTTP])
def test_an_http_client_writes_meets_a_conflict_and_sends_much(
    gateway: RunningGateway, tmp_path: Path, client: str
) -> None:
    """Six requests use one keep-alive connection; the pool of Node's `fetch` may open a second one."""
    name = f"http.{client.replace(' ', '.')}"
    path, token = f"/api/rest/configuration/{name}", gateway.token()
    steps = [
        ("PUT", path, '{"value":"ünï 😀","entityVersion":0}'),
        ("GET", path, ""),
        ("PUT", path, '{"value":"two","entityVersion":0}'),
        ("PUT", f"{path}.large", json.dumps({"value": "x" * LARGE})),
        ("GET", f"{path}.large", ""),
        ("DELETE", path, ""),
    ]
    with counted(gateway) as (base, connections):
        if client.startswith("curl"):
            answers = curl(base, token, steps, tmp_path, *client.split()[1:])
        else:
            command, program = HTTP[client]
            answers = run([*command(program, tmp_path), base, token], [" ".join(step) for step in steps])
        assert len(connections) <= (2 if client == "Node fetch" else 1)
    statuses = [int(answer.split(" ")[0]) for answer in answers]
    bodies = [answer.partition(" ")[2] for answer in answers]
    assert statuses == [200, 200, 409, 200, 200, 204]
    put, got, refused, large, large_got = map(json.loads, bodies[:-1])
    assert put == got == {"name": name, "value": "ünï 😀", "entityVersion": 1}
    assert refused["change"]["configuration"] == put
    assert large == large_got
    assert large["size"] == LARGE


@pytest.mark.parametrize("client", WEBSOCKETS)
def test_a_websocket_client_logs_in_writes_and_follows(gateway: RunningGateway, tmp_path: Path, client: str) -> None:
    """It gets the push of its own put before the answer, and the close code that it sent."""
    name = f"socket.{client.replace(' ', '.')}"
    put = {"action": "configuration/put", "name": name, "value": "ünï 😀", "entityVersion": 0}
    asked: list[tuple[int, dict[str, Any]]] = [  # how many messages come, for what is sent
        (1, {"action": "authenticate", "token": gateway.token()}),
        (1, put),
        (1, {**put, "value": "two"}),
        (1, {**put, "name": f"{name}.large", "value": "x" * LARGE}),
        (2, {"action": "configuration/subscribe", "names": [name]}),
        (2, {**put, "value": "two", "entityVersion": 1}),
    ]
    command, program = WEBSOCKETS[client]
    arguments = [gateway.socket_url, *([NODE_MODULES] if command is node_ws else [])]
    lines = [f"{count} {json.dumps(request | {'requestId': 1})}" for count, request in asked]
    printed = run([*command(program, tmp_path), *arguments], lines)
    entered, written, refused, large, subscribed, snapshot, update, updated = map(json.loads, printed[:-1])
    assert entered["status"] == subscribed["status"] == "success"
    assert written["configuration"] == {"name": name, "value": "ünï 😀", "entityVersion": 1}
    assert (refused["code"], refused["change"]["configuration"]) == (409, written["configuration"])
    assert large["configuration"]["size"] == LARGE
    assert snapshot["configurations"] == [written["configuration"]]
    assert update["configuration"] == updated["configuration"] == {"name": name, "value": "two", "entityVersion": 2}
    assert printed[-1] == "1000"
