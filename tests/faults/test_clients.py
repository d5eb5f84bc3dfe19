"""Malicious clients at a gateway with its default limits: others are served, and the memory is released. One gateway
takes all attacks, one after the other, and is killed at the end."""

from __future__ import annotations

import gzip
import json
import resource
import selectors
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter

import httpx
import pytest

from hivewire.settings import Settings
from tests.faults.station import MEBI, Station, settles
from tests.gate.wire import BINARY, CONTINUATION, TEXT, dial, frame, gauge, memory, opened, until, upgrade
from tests.running import PASSWORD, RunningGateway

LONG = (pytest.mark.long, pytest.mark.timeout(600))
PATIENCE = ("--head-seconds", "4", "--body-seconds", "3")
ELSEWHERE = "127.0.0.2"
"""The address of those who mean no harm."""

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
"""How many files a process may have open: at first, and once it has raised its own limit, as the gateway does."""

PLACES = Settings().connections_per_address
if HARD != resource.RLIM_INFINITY:
    PLACES = min(PLACES, (HARD - 500) // 2)
"""For one address: 5,000, or as many as leave twice as many connections and what else is open below the limit."""

SLOW = min(500, PLACES - 10)
"""Slow requests at a time."""

DRIP_SECONDS = 0.3
"""Pause of a slow request: ten bytes come before its time is over."""

CUT = 0
"""In place of a status: the connection was cut."""

NUMBERS = count()


class Besieged:
    """A gateway, and what may be said of it whatever happens."""

    def __init__(self, station: Station, gateway: RunningGateway) -> None:
        self.station = station
        self.gateway = gateway
        self.others = httpx.Client(
            base_url=gateway.rest_url,
            transport=httpx.HTTPTransport(local_address=ELSEWHERE),
            headers={"Authorization": f"Bearer {gateway.token()}"},
        )

    def serves_others(self) -> None:
        """Somebody from elsewhere writes and reads, and logs in."""
        name, value = f"other {next(NUMBERS)}", "x" * 100
        put = self.others.put(f"/configuration/{name}", json={"value": value})
        assert put.status_code == 200
        self.station.answered[name] = (value, put.json()["entityVersion"])
        assert self.others.get(f"/configuration/{name}").json()["value"] == value
        login = self.others.post("/token", json={"login": "admin", "password": PASSWORD})
        assert login.status_code == 201

    def recovers(self, before: int, most: int) -> None:
        """All places and bytes are given back; memory is within `most` bytes of what it was."""
        for name in ("connections", "sockets", "unfinished_bytes"):
            settles(partial(gauge, self.gateway, name), 2 if name == "connections" else 0)
        assert settles(lambda: memory(self.gateway), before + most)
        self.serves_others()
        assert not self.gateway.events("unexpected error")


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    station = Station(tmp_path_factory.mktemp("besieged") / "hivewire.db", faults="none")
    with station.start(*PATIENCE, "--connections-per-address", str(PLACES)) as gateway:
        found = Besieged(station, gateway)
        with found.others:
            found.serves_others()
            yield found
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        station.check(gateway)
        station.check_after_kill(gateway)


@pytest.fixture
def before(besieged: Besieged) -> int:
    """The memory of the gateway before the attack."""
    besieged.serves_others()
    return memory(besieged.gateway)


# Connections.


@pytest.fixture
def files() -> Iterator[None]:
    """As many open files as the system lets this process have."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))


def flood(besieged: Besieged) -> None:
    """Twice as many connections as one address has places, until the gateway has got rid of them."""
    answers: Counter[int] = Counter()
    with ExitStack() as stack, selectors.PollSelector() as poll:

        def take(timeout: float | None) -> None:
            for key, _ in poll.select(timeout):
                poll.unregister(key.fileobj)
                assert isinstance(key.fileobj, socket.socket)
                try:
                    answers[int(key.fileobj.recv(12)[9:] or CUT)] += 1
                except ConnectionResetError:
                    answers[CUT] += 1

        for _ in range(2 * PLACES):
            one = stack.enter_context(socket.socket())
            one.connect(("127.0.0.1", besieged.gateway.port))
            poll.register(one, selectors.EVENT_READ)
        with dial(besieged.gateway, source=ELSEWHERE) as last:
            last.send(b"GET /health/live HTTP/1.1\r\nHost: g\r\n\r\n")
            assert last.head()[0] == 200  # it stood in line behind them: each of them is in, or has been
        take(0)
        left = answers[408]  # a connection that was closed before that has made place for another
        besieged.serves_others()
        while poll.get_map():
            take(None)
        besieged.serves_others()
    assert answers.keys() <= {408, CUT}  # on a slow machine all may be late before a place is wanted
    assert answers.total() == 2 * PLACES
    assert PLACES - 2 <= answers[408] <= PLACES + left


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=LONG)])
def test_ten_thousand_connections_that_send_nothing(
    besieged: Besieged, before: int, files: None, rounds: int, record_property: Callable[[str, object], None]
) -> None:
    """One address gets 5,000 places and the oldest connections give way; others are served; all are closed in time. The
    process keeps the memory of the first flood for the next; ten floods take no more than one."""
    record_property("MiB before", before // MEBI)
    for number in range(rounds):
        flood(besieged)
        record_property(f"MiB after flood {number + 1}", memory(besieged.gateway) // MEBI)
    assert memory(besieged.gateway, "VmHWM") < before + 150 * MEBI
    besieged.recovers(before, 80 * MEBI)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_tls_handshake_that_never_comes(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """A peer that connects and sends nothing is disconnected after a minute, and one that sends half a handshake
    sooner; others are served."""
    chain, key = certificate
    trust = ssl.create_default_context(cafile=str(chain))
    with (
        RunningGateway(tmp_path / "hivewire.db", "--tls-certificate", str(chain), "--tls-key", str(key)) as gateway,
        dial(gateway) as silent,
        dial(gateway) as half,
    ):
        half.send(b"\x16\x03\x01\x02\x00\x01")
        assert httpx.get(gateway.url + "/health/live", verify=trust).status_code == 200
        for wire in (silent, half):
            wire.socket.settimeout(120)
            assert wire.ended()
        assert httpx.get(gateway.url + "/health/live", verify=trust).status_code == 200


def drip(besieged: Besieged, stack: ExitStack, number: int, begun: bytes, drop: Callable[[int], bytes]) -> list[int]:
    """Begin this many requests, then send a little of each, round after round, until all are answered: their codes."""
    waiting = [stack.enter_context(dial(besieged.gateway)) for _ in range(number)]
    for wire in waiting:
        wire.send(begun)
    statuses = []
    with selectors.PollSelector() as poll:
        for wire in waiting:
            poll.register(wire.socket, selectors.EVENT_READ, wire)
        for turn in count():
            while answered := poll.select(DRIP_SECONDS):
                for key, _ in answered:
                    poll.unregister(key.fileobj)
                    statuses.append(key.data.head()[0])
            if not poll.get_map():
                return statuses
            for key in list(poll.get_map().values()):
                try:
                    key.data.send(drop(turn))
                except OSError:
                    pass  # it is closed; its answer is read in the next turn
            besieged.serves_others() if turn == 2 else besieged.others.get("/info").raise_for_status()
    raise AssertionError


def test_slow_handshakes(besieged: Besieged, before: int) -> None:
    """500 handshakes that arrive byte by byte are all answered with 408 when their time is over."""
    with ExitStack() as stack:
        statuses = drip(besieged, stack, SLOW, upgrade()[:-2] + b"X-Slow: ", lambda turn: b"x")
    assert statuses == [408] * SLOW
    besieged.recovers(before, 32 * MEBI)


def test_slow_bodies(besieged: Besieged, before: int) -> None:
    """500 puts whose bodies arrive byte by byte are all answered with 408 when their time is over; none is written."""
    token = besieged.others.headers["Authorization"]
    head = f"PUT /api/rest/configuration/slow HTTP/1.1\r\nHost: g\r\nAuthorization: {token}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n" + '{"value":"'
    with ExitStack() as stack:
        statuses = drip(besieged, stack, SLOW, head.encode(), lambda turn: b"x" * 100)
    assert statuses == [408] * SLOW
    assert besieged.others.get("/configuration/slow").status_code == 404
    besieged.recovers(before, 32 * MEBI)


# Passwords.


@pytest.mark.parametrize("guesses", [1_000, pytest.param(10_000, marks=LONG)])
def test_thousands_of_wrong_passwords(besieged: Besieged, before: int, guesses: int) -> None:
    """Ten guesses from an address are checked; more get 429, as does the right password. Others can log in."""
    body = json.dumps({"login": "admin", "password": "wrong password"}).encode()
    request = b"POST /api/rest/token HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
    request += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    source = f"127.0.1.{next(NUMBERS) % 250 + 1}"

    def guess(_: int) -> list[int]:
        statuses = []
        with dial(besieged.gateway, source=source) as wire:
            for _ in range(guesses // 5 // 50):
                wire.send(request * 50)
                statuses += [wire.response()[0] for _ in range(50)]
        return statuses

    with ThreadPoolExecutor(5) as pool:
        answers = pool.map(guess, range(5))
        besieged.serves_others()
        statuses = [status for each in answers for status in each]
    assert len(statuses) == guesses
    assert 10 <= statuses.count(401) <= 20  # ten at once; then one a second, two seconds, four, eight ...
    assert {*statuses} <= {401, 429, 503}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=source)) as http:

        def login(password: str) -> int:
            answer = http.post(f"{besieged.gateway.rest_url}/token", json={"login": "admin", "password": password})
            return answer.status_code

        def wait() -> bool:
            """After a guesser was told to wait; on a busy machine the wait may be over by then."""
            until(lambda: login("wrong password") == 429)
            return login(PASSWORD) == 429

        until(wait)
    besieged.recovers(before, 80 * MEBI)  # a hash takes 64 MiB while it is worked out


# Sizes.


@pytest.mark.parametrize(
    "begun",
    [frame(b"", TEXT, announced=64 << 20), frame(b"x", TEXT, fin=False) + frame(b"", CONTINUATION, announced=64 << 20)],
    ids=["a frame", "a fragment"],
)
def test_frames_of_64_mebibytes_are_announced(besieged: Besieged, before: int, begun: bytes) -> None:
    """50 at a time: each is closed with 1009 after its header, before any payload is kept."""
    with ExitStack() as stack:
        wires = [stack.enter_context(opened(besieged.gateway)) for _ in range(50)]
        for wire in wires:
            wire.send(begun)
        besieged.serves_others()
        assert [wire.closed()[0] for wire in wires] == [1009] * 50
    besieged.recovers(before, 16 * MEBI)


def test_frames_of_64_mebibytes_that_do_come(besieged: Besieged, before: int) -> None:
    """A client that sends the whole frame gets the same answer, and the gateway keeps none of it."""
    with opened(besieged.gateway) as wire:
        wire.send(frame(b"", TEXT, announced=64 << 20))
        try:
            for _ in range(1_024):
                wire.send(bytes(64 << 10))
        except OSError:
            pass  # it may be cut off before the end
        assert wire.closed()[0] == 1009
    besieged.recovers(before, 16 * MEBI)


def test_bodies_of_64_mebibytes(besieged: Besieged, before: int) -> None:
    """Announced or in chunks without end: 413."""
    head = b"PUT /api/rest/configuration/a HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nAuthorization: "
    head += besieged.others.headers["Authorization"].encode() + b"\r\n"
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
    with ExitStack() as stack:
        wires = [stack.enter_context(dial(besieged.gateway)) for _ in range(20)]
        for number, wire in enumerate(wires):
            announced = number % 2
            wire.send(
                head + (b"Content-Length: 67108864\r\n\r\n" if announced else b"Transfer-Encoding: chunked\r\n\r\n")
            )
            try:
                for _ in range(24):
                    wire.send(bytes(65_536) if announced else chunk)
            except OSError:
                pass  # it is cut off; the answer stands all the same
        assert [wire.head()[0] for wire in wires] == [413] * 20
    besieged.recovers(before, 32 * MEBI)


# Compression.


def test_compression_of_frames_is_not_offered(besieged: Besieged, before: int) -> None:
    """A handshake that asks for permessage-deflate does not get it, and a compressed frame is a protocol error."""
    with dial(besieged.gateway) as wire:
        wire.send(upgrade()[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        status, headers = wire.head()
        assert status == 101
        assert "sec-websocket-extensions" not in headers
        wire.send(frame(b"\x00" * 100, BINARY, reserved=4))
        assert wire.closed()[0] == 1002
    besieged.recovers(before, 16 * MEBI)


def test_compression_bombs(besieged: Besieged, before: int) -> None:
    """Eight bodies at a time that unpack to a gigabyte each get 413 at 16 MiB, and no document is saved."""
    made = besieged.others.post("/tenant", json={"tenantId": f"t{next(NUMBERS)}"}).json()["tenantId"]
    url = f"{besieged.gateway.url}/reltio/api/{made}/configuration"
    bomb = gzip.compress(bytes(16 * MEBI)) * 64
    headers = {
        "Authorization": besieged.others.headers["Authorization"],
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }

    def explode(_: int) -> int:
        return httpx.put(url, content=bomb, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(explode, range(8))
        besieged.serves_others()
        statuses = [*answers]
    assert {*statuses} <= {413, 503}
    assert 413 in statuses
    assert httpx.get(url, headers=headers).status_code == 404
    assert memory(besieged.gateway, "VmHWM") < before + 300 * MEBI
    besieged.recovers(before, 64 * MEBI)


# Names.


@pytest.mark.parametrize("names", [5_000, pytest.param(1_000_000, marks=LONG)])
def test_distinct_names(
    tmp_path_factory: pytest.TempPathFactory, names: int, record_property: Callable[[str, object], None]
) -> None:
    """A million names are kept, found again after kill -9, and deleted; the memory for each is bounded. 48 MiB are for
    memory that does not grow with them, above all the caches of SQLite."""
    station = Station(tmp_path_factory.mktemp("names") / "hivewire.db", faults="none")
    flags = ("--log-changes", "1000", "--compact-seconds", "0.2")

    def transact(gateway: RunningGateway, operation: str) -> None:
        with station.talk(gateway) as talk:
            for start in range(0, names, 1_000):
                changes = [{"operation": operation, "name": f"name {n}"} for n in range(start, start + 1_000)]
                if operation == "put":
                    changes = [{**change, "value": f"value of {change['name']}"} for change in changes]
                assert talk("configuration/transact", changes=changes)["status"] == "success"

    with station.start(*flags) as gateway:
        station.check(gateway)
        before = memory(gateway)
        record_property("MiB before", before // MEBI)
        begun = perf_counter()
        transact(gateway, "put")
        record_property("seconds of writing", round(perf_counter() - begun))
        record_property("MiB when written", memory(gateway) // MEBI)
        assert gauge(gateway, "configurations") == names + 1
        assert memory(gateway) - before < 48 * MEBI + names * 768
        station.check_alive(gateway)
        gateway.process.kill()
        gateway.process.wait()
    with station.start(*flags) as gateway:
        assert gauge(gateway, "configurations") == names + 1
        with station.talk(gateway) as talk:
            for number in range(0, names, names // 100):
                found = talk("configuration/get", name=f"name {number}")["configuration"]
                assert found == {"name": f"name {number}", "value": f"value of name {number}", "entityVersion": 1}
        transact(gateway, "delete")
        until(lambda: gauge(gateway, "ledger_log_changes") <= 2_000)
        record_property("MiB when deleted", memory(gateway) // MEBI)
        # No more than while they were there, but not less yet either: that a name was deleted is known until its last
        # change has left the file, and the sweep that removes it works a tenth of the time.
        assert memory(gateway) - before < 48 * MEBI + names * 768
        station.check(gateway)
        station.check_after_kill(gateway)
