"""NATS servers with JetStream on loopback ports, for tests, `make cluster` and measurements.

`Nodes` is a cluster, or one server alone. Each `Node` can be killed, paused and started again, and keeps its ports and
its data. All of it is synchronous, so that it can be used from tests, programs and threads.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bench.servers import pin

PROGRAM = "nats-server"
USER = PASSWORD = "hive"
"""Of the account that has the streams. They are on the loopback address only."""

START_SECONDS, STOP_SECONDS, ASK_SECONDS = 60, 20, 5
PORTS = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections, so that a port is still free when its server comes back."""

CONFIG = """\
server_name: {name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{ store_dir: {store}, sync_interval: {sync} }}
accounts {{
  HIVE {{ jetstream: enabled, users: [ {{ user: {user}, password: {password} }} ] }}
  SYS {{ users: [ {{ user: sys, password: sys }} ] }}
}}
system_account: SYS
"""
CLUSTER = """\
cluster {{ name: hive, listen: "127.0.0.1:{port}", no_advertise: true, routes: {routes} }}
"""


class Refused(RuntimeError):
    """An answer of JetStream that has an error; `code` is its number (`err_code`)."""

    def __init__(self, subject: str, error: dict[str, Any]) -> None:
        super().__init__(f"{subject}: {error.get('description')}")
        self.code: int | None = error.get("err_code")


def find() -> str | None:
    """The path of `nats-server`; None when it is not here. Beside this Python first, where its package put it."""
    return shutil.which(PROGRAM, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def steady_port() -> int:
    """A port that nobody has, and that no outgoing connection gets later."""
    for port in random.sample(PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError(f"no port in {PORTS} is free")


class Node:
    """One server. `log` is the file with its output."""

    def __init__(self, name: str, folder: Path, cores: set[int] | None = None) -> None:
        """`cores`: the processor cores that it is pinned to."""
        self.name: Final = name
        self.port, self.monitor, self.route = steady_port(), steady_port(), steady_port()
        self.store = folder / name
        self.config, self.log = folder / f"{name}.conf", folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._cores = cores

    def configure(self, routes: Sequence[str], sync: str, more: str) -> None:
        """Write its configuration file; without routes it is a server alone."""
        where = {"name": self.name, "port": self.port, "monitor": self.monitor, "store": json.dumps(str(self.store))}
        text = CONFIG.format(**where, sync=sync, user=USER, password=PASSWORD)
        if routes:
            text += CLUSTER.format(port=self.route, routes=json.dumps(routes))
        self.config.write_text(text + more)

    @property
    def running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start its process, without waiting for anything."""
        cores = self._cores
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [find() or PROGRAM, "-c", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C at the terminal is for whoever started it
                preexec_fn=None if cores is None else lambda: pin(cores),
            )

    def wait_until_healthy(self) -> None:
        """Return when its JetStream is up to date. Raises RuntimeError when it ends instead, or takes too long."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if not self.running:
                break
            with suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/healthz", timeout=1).close()
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not become healthy:\n{self.log.read_text(errors='replace')[-1_000:]}")

    def pause(self) -> None:
        """Stop its process without ending it; connections stay open and get nothing."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End its process at once, as `kill -9` does."""
        self._send(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """Ask its process to end, and wait; one that takes too long is killed."""
        self._send(signal.SIGTERM)
        self.resume()
        try:
            self._wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def _send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def _wait(self) -> None:
        if self.process is not None:
            self.process.wait(STOP_SECONDS)

    def ask(self, subject: str, body: bytes = b"") -> Any:
        """The answer to a request, decoded. Raises Refused for an error in it, and OSError when none comes in time."""
        answer = json.loads(_request(self.port, subject, body))
        if "error" in answer:
            raise Refused(subject, answer["error"])
        return answer


class Nodes:
    """A cluster in a folder; `count` is 3, or 1 for a server alone. A context manager that starts and stops it."""

    def __init__(
        self, folder: Path, count: int = 3, *, cores: set[int] | None = None, sync: str = "always", more: str = ""
    ) -> None:
        """`sync` is their `sync_interval`; `more` is appended to each configuration file."""
        folder.mkdir(parents=True, exist_ok=True)
        self._nodes = [Node(f"n{number}", folder, cores) for number in range(1, count + 1)]
        routes = [f"nats://127.0.0.1:{node.route}" for node in self._nodes] if count > 1 else []
        for node in self._nodes:
            node.configure(routes, sync, more)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __getitem__(self, number: int) -> Node:
        return self._nodes[number]

    def __len__(self) -> int:
        return len(self._nodes)

    def store(self, site: str = "site") -> str:
        """The address for `hivewire serve --store`; the password is not in it."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)
        return f"nats://{USER}@{hosts}/{site}?replicas={len(self._nodes)}"

    def start(self) -> None:
        """Start the nodes that do not run, and wait until all are healthy and streams can be made."""
        for node in self._nodes:
            if not node.running:
                node.start()
        for node in self._nodes:
            node.wait_until_healthy()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with suppress(OSError, Refused):  # 10008: no leader has been elected yet
                self._nodes[0].ask("$JS.API.STREAM.NAMES")
                return
            time.sleep(0.02)
        raise RuntimeError("the cluster has no leader")

    def stop(self) -> None:
        """Stop all of them."""
        for node in self._nodes:
            node.stop()

    def ask(self, subject: str, body: bytes = b"") -> Any:
        """The answer of the first node that has one, as `Node.ask`."""
        for node in self._nodes:
            with suppress(OSError):
                return node.ask(subject, body)
        raise OSError(f"no node answers {subject}")

    def leader(self, stream: str) -> Node | None:
        """The node that leads a stream; None while there is none, and of a server alone."""
        with suppress(OSError, Refused):
            name = self.ask(f"$JS.API.STREAM.INFO.{stream}").get("cluster", {}).get("leader")
            return next((node for node in self._nodes if node.name == name), None)
        return None

    def next_leader(self, stream: str, before: Node | None = None) -> Node:
        """The node that leads a stream, once there is one, and another than `before`."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if (found := self.leader(stream)) not in (None, before):
                assert found is not None
                return found
            time.sleep(0.02)
        raise RuntimeError(f"nobody leads {stream}")

    def step_down(self, stream: str) -> None:
        """Let another node lead a stream. Raises Refused and OSError."""
        self.ask(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}")

    def __enter__(self) -> Nodes:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_inboxes = itertools.count()


def _request(port: int, subject: str, body: bytes) -> bytes:
    """The payload of the answer, in NATS's text protocol. Raises OSError when none comes in time."""
    connect = json.dumps({"user": USER, "pass": PASSWORD, "verbose": False, "headers": True, "no_responders": True})
    inbox = f"_INBOX.{os.getpid()}.{next(_inboxes)}"
    asked = f"CONNECT {connect}\r\nSUB {inbox} 1\r\nPUB {subject} {inbox} {len(body)}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), ASK_SECONDS) as connection:
        connection.sendall(asked + body + b"\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            if line.startswith(b"MSG"):
                return lines.read(int(line.split()[-1]))
            if line.startswith((b"HMSG", b"-ERR")):
                raise OSError(f"{subject}: {line.decode().strip()}: nobody answers")
    raise OSError(f"{subject}: the connection ended")
