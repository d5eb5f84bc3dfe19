"""A real gateway in a process of its own, for tests that go over the wire."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.contract import hold_push
from tests.documented import hold_message
from tests.forked import Piped

PASSWORD = "correct horse"
SECRET = "a secret for tests, longer than 32 bytes"

UNLIMITED = {"HIVEWIRE_ANONYMOUS_RATE": "0"}
"""All clients of a test have one address, so together they send more without a token than one client would."""


def unmeasured() -> dict[str, str]:
    """The environment of a process whose lines are not counted: what counts them loads modules of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


PATIENCE = 100
"""Seconds after which an answer or an end is not waited for any more. It only ends what hangs, on any machine."""

END = signal.SIGTERM if "coverage" in sys.modules else signal.SIGKILL
"""How a gateway ends that a test is done with: at once, but not before it could say which lines it ran."""


class NotStarted(AssertionError):
    """The process of a gateway ended before it listened."""


class RunningGateway:
    """A gateway on a free port over the file `data`. `log` grows with its structured lines, as dictionaries."""

    def __init__(
        self,
        data: Path,
        *flags: str,
        env: dict[str, str] | None = None,
        main: str = "hivewire.cli:main",
        fresh: bool = False,
    ) -> None:
        """`main` is the function that is the command; `fresh` runs `python -m hivewire` itself, which takes longer."""
        self.data = data
        self.log: list[dict[str, Any]] = []
        self.noise: list[str] = []
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVEWIRE_")}
        environment |= {"HIVEWIRE_ADMIN_PASSWORD": PASSWORD, "HIVEWIRE_JWT_SECRET": SECRET, **UNLIMITED, **(env or {})}
        environment = {name: value for name, value in environment.items() if value}
        arguments = ["serve", "--port=0", f"--data={data}", "--log-format=json", *flags]
        started = _command if fresh else partial(Piped, main)
        self.process: subprocess.Popen[str] | Piped = started(arguments, environment)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if self._take(line) == "started":
                break
        else:
            code = self.process.wait(PATIENCE)
            self._close_pipes()
            raise NotStarted(f"the gateway did not start ({code}): {self.noise} {self.log}")
        self.url: str = self.log[-1]["url"]
        self.port = int(self.url.rpartition(":")[2])
        self.socket_url = self.url.replace("http", "ws", 1) + "/api/websocket"
        self.rest_url = self.url + "/api/rest"
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _take(self, line: str) -> str | None:
        try:
            entry = json.loads(line)
        except ValueError:
            self.noise.append(line.rstrip())
            return None
        self.log.append(entry)
        event = entry.get("event")
        return event if isinstance(event, str) else None

    def _drain(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._take(line)

    def events(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event so far."""
        return [entry for entry in self.log if entry.get("event") == event]

    def token(self, login: str = "admin", password: str = PASSWORD) -> str:
        """An access token."""
        answer = httpx.post(self.rest_url + "/token", json={"login": login, "password": password}, timeout=PATIENCE)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["accessToken"])

    def http(self, token: str | None = None) -> httpx.Client:
        """An HTTP client for the REST API, authorised with a token (the administrator's by default; "" for none)."""
        token = self.token() if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.rest_url, headers=headers, timeout=PATIENCE)

    def socket(self, token: str | None = None, **options: Any) -> Talk:
        """A WebSocket client, authorised like `http`."""
        token = self.token() if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options = {"compression": None, "open_timeout": PATIENCE, **options}
        return Talk(connect(self.socket_url, additional_headers=headers, **options))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait until it ends; its exit code. All that it wrote is in `log` and `noise` then."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._close_pipes()
        return code

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> RunningGateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(END)


def _command(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hivewire", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key, made with `openssl`."""
    folder.mkdir(exist_ok=True)
    chain, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(chain)),
        ],
        check=True,
        capture_output=True,
    )
    return chain, key


@contextmanager
def serving(handle: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The address of a WebSocket server that does what a gateway would not: `handle` has each connection."""
    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


class Talk:
    """Action frames as dictionaries over one socket, without a client: tests also send what no client would."""

    def __init__(self, connector: AbstractContextManager[ClientConnection]) -> None:
        self._connector = connector
        self.connection = connector.__enter__()

    def __call__(self, action: str, **members: Any) -> Any:
        """Send a request, return the answer."""
        return self.frame({"action": action, "requestId": 1, **members})

    def frame(self, frame: Any) -> Any:
        """Send any JSON value, return the answer."""
        return self.raw(json.dumps(frame))

    def raw(self, text: str | bytes) -> Any:
        """Send a text message as it stands, return the answer."""
        self.connection.send(text, text=True)
        return self.receive()

    def receive(self) -> Any:
        """The next message. It is as the AsyncAPI document says, and a push has the form of its struct."""
        line = self.connection.recv(timeout=PATIENCE)
        found = json.loads(line)
        if isinstance(found, dict) and "subscriptionId" in found and "status" not in found:
            hold_push(line.encode() if isinstance(line, str) else line)
        hold_message(found)
        return found

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._connector.__exit__(None, None, None)


def brief_tokens(talk: Talk) -> Iterator[str]:
    """Tokens of the administrator that live a second, five, and twenty-five: before a busy machine has used it, one may
    be over."""
    for seconds in (1, 5, 25):
        payload = {"userId": 1, "actions": ["*"], "expiration": int((time.time() + seconds) * 1_000)}
        yield talk("token/create", payload=payload)["accessToken"]


def started(code: str, *arguments: object, powerless: bool = False) -> Piped:
    """Run code in a process of its own; `powerless`: even root must obey the permissions of files there."""
    main = "tests.forked:execute_powerless" if powerless else "tests.forked:execute"
    return Piped(main, [textwrap.dedent(code), *map(str, arguments)], dict(os.environ))


def process(code: str, *arguments: object, powerless: bool = False) -> subprocess.CompletedProcess[str]:
    """The same, and wait for its end."""
    with started(code, *arguments, powerless=powerless) as running:
        out, err = running.stdout.read(), running.stderr.read()
        return subprocess.CompletedProcess(code, running.wait(PATIENCE), out, err)
