"""`python -m bench.siege`: strangers against every bound that connections share, while a client with a token works.

The client writes, reads and follows over a socket, and opens a new one now and then. It must never be refused, and the
memory of the gateway must stay bounded. The table shows how long its requests take, calm and under each attack. The
exit code is 1 when it was refused, lost a push, or the memory grew by more than MOST_MIB.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from bench import servers
from bench.measures import log_in

STRANGERS = 300
"""Connections of each attack at a time."""

BOUNDS = ("--connections", "200", "--unfinished-bytes", str(16 << 20), "--anonymous-rate", "100")
"""Flags of the gateway: fewer places and bytes than the strangers of one attack want; the rate is that by default."""

MOST_MIB = 200
"""What all attacks together may add to the memory of the gateway."""

HANDSHAKE = (
    b"GET /api/websocket HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def text(payload: bytes) -> bytes:
    """A frame of a client whose mask is 0."""
    size = len(payload)
    length = bytes([0x80 | 126]) + size.to_bytes(2) if size < 1 << 16 else bytes([0x80 | 127]) + size.to_bytes(8)
    return b"\x81" + length + bytes(4) + payload


def echo(size: int) -> bytes:
    """A request whose answer is as long as it is itself."""
    return text(json.dumps({"action": "server/info", "requestId": "x" * size}).encode())


ATTACKS: dict[str, bytes] = {
    "places: connections that say nothing": b"",
    "places: sockets that stay anonymous": HANDSHAKE,
    "unfinished: half messages": HANDSHAKE + echo(70_000)[:-1],
    "unfinished: half heads": b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000,
    "unfinished: half bodies": b"POST /api/rest/token HTTP/1.1\r\nHost: g\r\nContent-Length: 99999\r\n\r\n"
    + b" " * 90_000,
    "unread: long answers on sockets": HANDSHAKE + echo(60_000) * 60,
    "unread: pages over HTTP": b"GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n" * 60,
    "work: requests in a pipeline": HANDSHAKE + text(b'{"action":"server/info"}' + b" " * 110) * 2_000,
}
"""What each stranger sends; none reads anything."""


def attack(port: int, sent: bytes, until: float) -> None:
    """Keep STRANGERS connections open, and open another one for each that is cut."""
    held: list[socket.socket] = []
    while time.time() < until:
        stranger = socket.socket()
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stranger.settimeout(0.05)
        with suppress(OSError):
            stranger.connect(("127.0.0.1", port))
            stranger.sendall(sent)
        held.append(stranger)
        if len(held) > STRANGERS:
            held.pop(0).close()
            time.sleep(0.005)


class Client:
    """Somebody with a token: each round writes, reads, and waits for the push of what it wrote."""

    def __init__(self, server: servers.Server, token: str) -> None:
        self._url = f"ws://127.0.0.1:{server.port}/api/websocket"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._rounds = 0

    def work(self, seconds: float) -> list[float]:
        """The time that each round took, in ms. Raises when anything is refused."""
        found: list[float] = []
        end = time.time() + seconds
        while time.time() < end:
            with connect(self._url, additional_headers=self._headers, compression=None) as connection:
                ask(connection, "configuration/subscribe", names=["siege"], mode="changes")
                for _ in range(20):
                    self._rounds += 1
                    began = time.perf_counter()
                    ask(connection, "configuration/put", name="siege", value=str(self._rounds), pushes=1)
                    got = ask(connection, "configuration/get", name="siege")
                    if got["configuration"]["value"] != str(self._rounds):
                        raise AssertionError(got)
                    found.append((time.perf_counter() - began) * 1_000)
        return found


def ask(connection: ClientConnection, action: str, pushes: int = 0, **members: Any) -> Any:
    """The answer to a request, when it and so many pushes are there. Raises AssertionError when it is refused."""
    connection.send(json.dumps({"action": action, "requestId": 1, **members}))
    answer: Any = None
    while answer is None or pushes > 0:
        frame = json.loads(connection.recv(timeout=30))
        if "status" not in frame:
            pushes -= frame["action"] == "configuration/update"
        elif frame["status"] != "success":
            raise AssertionError(frame)
        else:
            answer = frame
    return answer


def p99(times: list[float]) -> float:
    """The time within which 99 of 100 rounds are done."""
    return sorted(times)[len(times) * 99 // 100]


@contextmanager
def under_attack(port: int, sent: bytes, seconds: float) -> Iterator[None]:
    """Strangers that have been there for half a second, and go on for so long."""
    attacker = multiprocessing.Process(target=attack, args=(port, sent, time.time() + seconds + 0.5))
    attacker.start()
    time.sleep(0.5)
    yield
    attacker.join()


def besiege(server: servers.Server, seconds: float, tell: Callable[[str], None]) -> bool:
    """One attack after the other; whether the client was served and the memory stayed bounded."""
    client = Client(server, log_in(server))
    client.work(0.2)
    before, calm, good = server.rss(), p99(client.work(seconds)), True
    tell(f"{'attack':<42}{'rounds':>8}{'p99 ms':>9}{'x calm':>8}{'elsewhere':>11}{'MiB':>6}")
    tell(f"{'none':<42}{'':>8}{calm:>9.1f}{1:>8.1f}{'':>11}{before // 1_024:>6}")
    with socket.create_server(("127.0.0.1", 0), backlog=4_096) as elsewhere:
        for name, sent in ATTACKS.items():
            try:
                with under_attack(elsewhere.getsockname()[1], sent, seconds):
                    alone = p99(client.work(seconds)) / calm
                with under_attack(server.port, sent, seconds):
                    times = client.work(seconds)
            except Exception as error:
                good = False
                tell(f"{name:<42} the client was refused: {error!r}")
            else:
                slower, memory = p99(times) / calm, server.rss() // 1_024
                tell(f"{name:<42}{len(times):>8}{p99(times):>9.1f}{slower:>8.1f}{alone:>11.1f}{memory:>6}")
    if (grown := (server.rss() - before) // 1_024) > MOST_MIB:
        good = False
        tell(f"the memory grew by {grown} MiB; at most {MOST_MIB} are allowed")
    return good


def main() -> None:
    """Run all attacks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each attack")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, servers.gateway(Path(folder) / "hivewire.db", flags=BOUNDS) as server:
        good = besiege(server, seconds, print)
    sys.exit(not good)


if __name__ == "__main__":
    main()
