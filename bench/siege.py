"""`python -m bench.siege`: anonymous connections against every bound that all share, while a client with a token works.

The client writes, reads and follows over a socket, and opens a new one now and then. It must never be refused, and the
memory of the gateway must stay bounded. The table shows the time within which 99 of 100 of its rounds are done: in
peace, while the same attackers connect elsewhere on this machine (to a socket that nobody serves: so much the attackers
cost the machine), and while they attack the gateway. The exit code is 1 when the client was refused, lost a push, was
slower by more than MOST_SLOWER, or the memory grew by more than MOST_MIB. `--short` only attacks.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from websockets.sync.client import ClientConnection, connect

from bench import servers
from bench.measures import log_in

CONNECTIONS = 300
"""Connections of each attack at a time."""

BOUNDS = ("--connections", "200", "--unfinished-bytes", str(16 << 20), "--anonymous-rate", "100")
"""Flags of the gateway: fewer places and bytes than one attack wants; the rate is that by default."""

MOST_SLOWER = 3.0
"""How many times as long the rounds may take under attack as in peace, or while the attackers are elsewhere."""

MOST_MIB = 200
"""What all attacks together may add to the memory of the gateway."""

PATIENCE = 100
"""Seconds after which an answer is not waited for any more, also where the machine stops processes for a while."""

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


def guess(number: int) -> bytes:
    """A login with a wrong password, which is hashed before it is refused."""
    body = b'{"login":"admin","password":"wrong %d"}' % number
    head = b"POST /api/rest/token HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


GUESSES = b"".join(map(guess, range(20)))
PIPELINE = HANDSHAKE + text(b'{"action":"server/info"}' + b" " * 110) * 2_000

ATTACKS: dict[str, bytes] = {
    "places: connections that say nothing": b"",
    "places: sockets that stay anonymous": HANDSHAKE,
    "unfinished: half messages": HANDSHAKE + echo(70_000)[:-1],
    "unfinished: half heads": b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000,
    "unfinished: half bodies": b"POST /api/rest/token HTTP/1.1\r\nHost: g\r\nContent-Length: 99999\r\n\r\n"
    + b" " * 90_000,
    "unread: long answers on sockets": HANDSHAKE + echo(60_000) * 60,
    "unread: pages over HTTP": b"GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n" * 60,
    "work: requests in a pipeline": PIPELINE,
    "work: the same from 250 addresses": PIPELINE,
    "hashes: wrong passwords": GUESSES,
    "hashes: the same from 250 addresses": GUESSES,
}
"""What each connection sends; none reads anything."""

ADDRESSES = {name: 250 for name in ATTACKS if name.endswith("250 addresses")}
"""From how many addresses an attack comes, where it is not one."""


def attack(port: int, name: str, until: float) -> None:
    """Keep CONNECTIONS connections open, and open another one for each that is cut."""
    held: list[socket.socket] = []
    addresses, sent = ADDRESSES.get(name, 1), ATTACKS[name]
    for number in count():
        if time.time() >= until:
            return
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(0.05)
        with suppress(OSError):
            connection.bind((f"127.0.0.{1 + number % addresses}", 0))
            connection.connect(("127.0.0.1", port))
            connection.sendall(sent)
        held.append(connection)
        if len(held) > CONNECTIONS:
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
            with connect(
                self._url, additional_headers=self._headers, compression=None, open_timeout=PATIENCE
            ) as connection:
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
        frame = json.loads(connection.recv(timeout=PATIENCE))
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
def under_attack(port: int, name: str, seconds: float) -> Iterator[None]:
    """Attackers that have been there for a moment, and go on for so long."""
    moment = min(seconds, 0.5)
    attacker = multiprocessing.Process(target=attack, args=(port, name, time.time() + moment + seconds))
    attacker.start()
    time.sleep(moment)
    yield
    attacker.join()


class Row(NamedTuple):
    """The result of one attack: the client's rounds, their p99 in ms, and the memory of the gateway in MiB."""

    rounds: int
    peace: float
    elsewhere: float
    here: float
    memory: int

    @property
    def good(self) -> bool:
        """Whether the client was slower by no more than it may."""
        return self.here <= MOST_SLOWER * max(self.peace, self.elsewhere)

    def __str__(self) -> str:
        times = f"{self.peace:>10.1f}{self.elsewhere:>11.1f}{self.here:>10.1f}"
        slower = f"{self.here / self.peace:>9.1f}{self.here / self.elsewhere:>14.1f}"
        return f"{self.rounds:>8}{times}{slower}{self.memory:>6}"


TITLES = f"{'rounds':>8}{'peace ms':>10}{'elsewhere':>11}{'attacked':>10}{'x peace':>9}{'x elsewhere':>14}{'MiB':>6}"


def besiege(server: servers.Server, attacks: Sequence[str], seconds: float, tell: Callable[[str], None]) -> bool:
    """One attack after the other; whether the client was served in time and the memory stayed bounded."""
    client = Client(server, log_in(server))
    client.work(0.5)
    before, good = server.rss(), True
    tell(f"{'attack':<38}{TITLES}")
    with socket.create_server(("127.0.0.1", 0), backlog=4_096) as elsewhere:
        for name in attacks:
            try:
                peace = p99(client.work(seconds))
                with under_attack(elsewhere.getsockname()[1], name, seconds):
                    alone = p99(client.work(seconds))
                with under_attack(server.port, name, seconds):
                    times = client.work(seconds)
            except Exception as error:
                good = False
                tell(f"{name:<38} the client was refused: {error!r}")
            else:
                row = Row(len(times), peace, alone, p99(times), server.rss() // 1_024)
                good = good and row.good
                tell(f"{name:<38}{row}")
    return bounded(server, before, tell) and good


def attacked(server: servers.Server, attacks: Sequence[str], seconds: float, tell: Callable[[str], None]) -> bool:
    """The same without measuring times."""
    client, good = Client(server, log_in(server)), True
    client.work(0.2)
    before = server.rss()
    for name in attacks:
        try:
            with under_attack(server.port, name, seconds):
                client.work(seconds)
        except Exception as error:
            good = False
            tell(f"{name}: the client was refused: {error!r}")
    return bounded(server, before, tell) and good


def bounded(server: servers.Server, before: int, tell: Callable[[str], None]) -> bool:
    """Whether the memory grew by no more than it may since it was so many KiB."""
    if (grown := (server.rss() - before) // 1_024) > MOST_MIB:
        tell(f"the memory grew by {grown} MiB; at most {MOST_MIB} are allowed")
        return False
    return True


def main() -> None:
    """Run all attacks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each attack")
    parser.add_argument("--only", default="", metavar="TEXT", help="only attacks with this in their name")
    parser.add_argument("--short", action="store_true", help="measure no times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, servers.gateway(Path(folder) / "hivewire.db", flags=BOUNDS) as server:
        attacks = [name for name in ATTACKS if options.only in name]
        good = (attacked if options.short else besiege)(server, attacks, options.seconds, print)
    sys.exit(not good)


if __name__ == "__main__":
    main()
