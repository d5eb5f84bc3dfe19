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
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import START_SECONDS, Process

PROGRAM = "nats-server"
USER = PASSWORD = "hive"
"""Of the account that has the streams. They are on the loopback address only."""
ADMINISTRATOR = "sys"
"""The user of the system account. The password of each is its name."""

ASK_SECONDS = 5
PORTS = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections, so that a port is still free when its server comes back."""

CONFIG = """\
server_name: {name}
listen: "{host}:{port}"
http: "{host}:{monitor}"
# Streams may reserve more than the disk has.
jetstream {{ store_dir: {store}, sync_interval: {sync}, max_file_store: 1000GiB }}
accounts {{
  HIVE {{ jetstream: enabled, users: [ {{ user: {user}, password: {password} }} ] }}
  SYS {{ users: [ {{ user: sys, password: sys }} ] }}
}}
system_account: SYS
"""
CLUSTER = """\
cluster {{ name: hive, listen: "{host}:{port}", no_advertise: true, advertise: "{advertise}", routes: {routes} }}
"""
NOWHERE = "127.0.0.1:1"
"""What a node says its address is when the others have to reach it through a proxy: nobody finds a way around that."""


class Refused(RuntimeError):
    """An answer of JetStream that has an error; `code` is its number (`err_code`)."""

    def __init__(self, subject: str, error: dict[str, Any]) -> None:
        super().__init__(f"{subject}: {error.get('description')}")
        self.code: int | None = error.get("err_code")


def find() -> str | None:
    """The path of `nats-server`; None when it is not here. Beside this Python first, where its package put it."""
    return shutil.which(PROGRAM, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


_ports = iter(random.sample(PORTS, len(PORTS)))  # each once only: a server may bind it much later


def steady_port() -> int:
    """A port that nobody has, and that no outgoing connection gets later."""
    for port in _ports:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError(f"no port in {PORTS} is free")


class Where(NamedTuple):
    """Where a node runs: its address, and the command that starts another one there, such as `ip netns exec NAME`."""

    host: str = "127.0.0.1"
    within: Sequence[str] = ()


HERE = Where()


class Node(Process):
    """One server, which keeps its ports and its data when it is started again."""

    def __init__(self, name: str, folder: Path, *, cores: set[int] | None = None, where: Where = HERE) -> None:
        """`cores`: the processor cores that it is pinned to."""
        self.host = where.host
        self.port, self.monitor, self.route = steady_port(), steady_port(), steady_port()
        self.store = folder / name
        self._config = folder / f"{name}.conf"
        command = [*where.within, find() or PROGRAM, "-c", str(self._config)]
        health = f"http://{self.host}:{self.monitor}/healthz"
        super().__init__(name, command, folder / f"{name}.log", cores=cores, health=health)

    @property
    def address(self) -> str:
        """Where the other nodes reach it."""
        return f"{self.host}:{self.route}"

    def configure(self, routes: Sequence[str], advertise: str, sync: str, more: str) -> None:
        """Write its configuration file; `routes` are the addresses of the others. Without them it is a server alone."""
        where = {"name": self.name, "host": self.host, "port": self.port, "monitor": self.monitor}
        text = CONFIG.format(**where, store=json.dumps(str(self.store)), sync=sync, user=USER, password=PASSWORD)
        if routes:
            urls = json.dumps([f"nats://{address}" for address in routes])
            text += CLUSTER.format(host=self.host, port=self.route, advertise=advertise, routes=urls)
        self._config.write_text(text + more)

    def ask(self, subject: str, body: bytes = b"", user: str = USER) -> Any:
        """The answer to a request, decoded. Raises Refused for an error in it, and OSError when none comes in time."""
        return ask(self.port, subject, body, self.host, user)


class Nodes:
    """A cluster in a folder; `count` is 3, or 1 for a server alone. A context manager that starts and stops it."""

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        *,
        cores: set[int] | None = None,
        sync: str = "always",
        more: str = "",
        through: Callable[[Node, Node], int] | None = None,
        places: Sequence[Where] = (),
    ) -> None:
        """`sync` is their `sync_interval`; `more` is appended to each configuration file.

        `through` gives the port at which the first node reaches the second one: that of a proxy. `places`: where each
        of them runs, if not here.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._sync = folder, sync
        where = places or [HERE] * count
        self._nodes = [Node(f"n{number}", folder, cores=cores, where=each) for number, each in enumerate(where, 1)]
        for node in self._nodes:
            others = [other for other in self._nodes if other is not node]
            ports = [through(node, other) if through is not None else other.route for other in others]
            routes = [f"{other.host}:{port}" for other, port in zip(others, ports, strict=True)]
            advertise = node.address if through is None else NOWHERE
            node.configure(routes, advertise, sync, more)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __getitem__(self, number: int) -> Node:
        return self._nodes[number]

    def __len__(self) -> int:
        return len(self._nodes)

    def store(self, site: str = "site", through: Callable[[Node], int] | None = None) -> str:
        """The address for `hivewire serve --store`, without the password. `through` gives the port for each node."""
        ports = [through(node) if through is not None else node.port for node in self._nodes]
        hosts = ",".join(f"{node.host}:{port}" for node, port in zip(self._nodes, ports, strict=True))
        return f"nats://{USER}@{hosts}/{site}?replicas={len(self._nodes)}"

    def start(self) -> None:
        """Start the nodes that do not run, and wait until all are healthy and streams can be made."""
        for node in self._nodes:
            if not node.running:
                node.start()
        for node in self._nodes:
            node.wait_until_ready()
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

    def ask(self, subject: str, body: bytes = b"", user: str = USER) -> Any:
        """The answer of the first node that has one, as `Node.ask`."""
        for node in self._nodes:
            with suppress(OSError):
                return node.ask(subject, body, user)
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

    def replace(self, number: int, name: str) -> None:
        """Remove a node that is lost with its disk, start a new one of another name, and wait until it has all streams.

        Raises Refused, OSError, and RuntimeError if it takes too long.
        """
        lost, new = self._nodes[number], Node(name, self._folder)
        others = [node.address for node in self._nodes if node is not lost]
        new.configure(others, new.address, self._sync, "")
        self.ask("$JS.API.SERVER.REMOVE", json.dumps({"peer": lost.name}).encode(), ADMINISTRATOR)
        self._nodes[number] = new
        new.start()
        new.wait_until_ready()
        end = time.monotonic() + START_SECONDS
        while not all(self._has(new, stream) for stream in self.ask("$JS.API.STREAM.NAMES")["streams"]):
            if time.monotonic() > end:
                raise RuntimeError(f"{name} does not get all streams")
            time.sleep(0.02)

    def _has(self, node: Node, stream: str) -> bool:
        """Whether a node has everything of a stream."""
        found = self.ask(f"$JS.API.STREAM.INFO.{stream}")["cluster"]
        current = {replica["name"] for replica in found["replicas"] if replica["current"]}
        return node.name in current | {found.get("leader")}

    def __enter__(self) -> Nodes:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def ask(port: int, subject: str, body: bytes = b"", host: str = HERE.host, user: str = USER) -> Any:
    """The answer of the server at a port, as `Node.ask`."""
    answer = json.loads(_request(port, subject, body, host, user))
    if "error" in answer:
        raise Refused(subject, answer["error"])
    return answer


_inboxes = itertools.count()


def _request(port: int, subject: str, body: bytes, host: str = HERE.host, user: str = USER) -> bytes:
    """The payload of the answer, in NATS's text protocol. Raises OSError when none comes in time."""
    connect = json.dumps({"user": user, "pass": user, "verbose": False, "headers": True, "no_responders": True})
    inbox = f"_INBOX.{os.getpid()}.{next(_inboxes)}"
    asked = f"CONNECT {connect}\r\nSUB {inbox} 1\r\nPUB {subject} {inbox} {len(body)}\r\n".encode()
    with socket.create_connection((host, port), ASK_SECONDS) as connection:
        connection.sendall(asked + body + b"\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            if line.startswith(b"MSG"):
                return lines.read(int(line.split()[-1]))
            if line.startswith((b"HMSG", b"-ERR")):
                raise OSError(f"{subject}: {line.decode().strip()}: nobody answers")
    raise OSError(f"{subject}: the connection ended")
