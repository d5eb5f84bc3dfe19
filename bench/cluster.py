"""`make cluster`: three NATS nodes and three gateways on this machine, to see what a cluster does.

What ends is started again some seconds later, as a service manager would do it. Ctrl-C stops everything. The data stay
in the folder, and the next start goes on with them.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from bench import nodes
from bench.gateways import Gateway
from bench.nodes import Nodes
from bench.processes import Process

PORT, GATEWAYS = 8081, 3
AGAIN_SECONDS = 5
"""How long what has ended stays away: long enough to see that the others go on."""

LOOK_SECONDS = 0.2


class Ending:
    """What handles signals: the first one ends the program, but not while a process starts, which nobody would know.

    Others are ignored, because they would interrupt the stop: `timeout make cluster` sends one, and `make` another.
    """

    def __init__(self) -> None:
        self.told = self._held = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, now or where `held` ends."""
        first, self.told = not self.told, True
        if first and not self._held:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait meanwhile."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self.told:
            raise KeyboardInterrupt


class Cluster:
    """The processes, in the order in which they start."""

    def __init__(self, folder: Path, port: int, password: str) -> None:
        self.nodes = Nodes(folder / "nats")
        ports = range(port, port + GATEWAYS)
        self.gateways = [
            Gateway(
                f"gateway-{number}",
                folder,
                store=self.nodes.store(),
                password=password,
                port=own,
                flags=["--alternatives", ",".join(f"http://127.0.0.1:{other}" for other in ports if other != own)],
                secret=None,  # the first one makes one, and writes it to the log
            )
            for number, own in enumerate(ports, 1)
        ]
        self.end = Ending()
        self._due: dict[Process, float] = {}

    def start(self, stack: ExitStack) -> None:
        """Start everything; `stack` stops it, gateways first. Raises RuntimeError when something does not start."""
        for node in self.nodes:
            stack.callback(node.stop)
            with self.end.held():
                node.start()
        self.nodes.start()
        for gateway in self.gateways:
            stack.callback(gateway.stop)
            with self.end.held():
                gateway.start()
        for gateway in self.gateways:
            gateway.wait_until_ready()

    def look_after(self) -> None:
        """Start again what has ended some seconds ago, and tell of it."""
        for process in (*self.nodes, *self.gateways):
            if process.running:
                continue
            if process not in self._due:
                self._due[process] = time.monotonic() + AGAIN_SECONDS
                _say(f"{process.name} has ended ({_reason(process.code)}); it starts again in {AGAIN_SECONDS} s")
            elif time.monotonic() > self._due[process]:
                del self._due[process]
                with self.end.held():
                    process.start()
                _say(f"{process.name} is started again, as process {process.pid}")


def _reason(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _password(folder: Path) -> Path:
    """The file with the administrator's password, which the first start makes."""
    path = folder / "password"
    if not path.exists():
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(12) + "\n")
    return path


def _require(folder: Path, port: int) -> None:
    """End with the reason why nothing can be started."""
    if nodes.find() is None:
        sys.exit(f"There is no {nodes.PROGRAM} here: `make .venv/.test` installs it from PyPI.")
    for number in range(port, port + GATEWAYS):
        try:
            socket.create_server(("127.0.0.1", number)).close()
        except OSError as error:
            sys.exit(
                f"Port {number} cannot be used ({error.strerror}). Choose another first port: make cluster PORT=9001"
            )
    folder.mkdir(parents=True, exist_ok=True)


def _greet(cluster: Cluster, folder: Path, password: Path) -> None:
    program = shlex.quote(os.path.relpath(Path(sys.executable).with_name("hivewire")))
    one, two, *_ = cluster.gateways
    lines = [
        "",
        *(f"  {gateway.name}  {gateway.url}  process {gateway.pid}" for gateway in cluster.gateways),
        *(f"  node {node.name}     127.0.0.1:{node.port:<12}  process {node.pid}" for node in cluster.nodes),
        "",
        f"The password of `admin` is in {password}. Log in at one gateway and watch, then write at another:",
        "",
        f"  {program} login --url {one.url} --password-stdin < {password}",
        f"  {program} watch '*'",
        f"  {program} login --profile two --url {two.url} --password-stdin < {password}",
        f"  {program} put greeting hello --profile two",
        "",
        f"Kill any process: the others go on, and it comes back after {AGAIN_SECONDS} s. When the node that leads is",
        "killed, writes wait for up to ten seconds, and reads do not.",
        f"Logs and data are in {folder}. Ctrl-C stops everything.",
        "",
    ]
    print("\n".join(lines), flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("cluster-data"), help="where everything is kept")
    parser.add_argument("--port", type=int, default=PORT, help=f"port of the first gateway (default {PORT})")
    options = parser.parse_args()
    _require(options.folder, options.port)
    password = _password(options.folder)
    cluster = Cluster(options.folder, options.port, password.read_text().strip())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, cluster.end)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        stack.callback(_say, "stopped")
        _say("starting three NATS nodes and three gateways ...")
        try:
            cluster.start(stack)
        except RuntimeError as error:
            sys.exit(str(error))
        stack.callback(_say, "stopping ...")
        _greet(cluster, options.folder, password)
        while not cluster.end.told:  # Python drops an exception that is raised while it frees an object
            time.sleep(LOOK_SECONDS)
            cluster.look_after()


if __name__ == "__main__":
    main()
