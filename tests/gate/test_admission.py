"""Anonymous connections take nothing from those with a login: places, memory, answers."""

from __future__ import annotations

import json
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from hivewire.settings import Settings
from hivewire.transport.admission import FILES, SHARES, SPARE, TLS_BYTES, Admission
from hivewire.transport.websocket import ANONYMOUS_MESSAGE
from tests.gate.wire import INFO, Wire, dial, frame, gauge, memory, opened, until, upgrade
from tests.running import RunningGateway

KIBI, MEBI = 1 << 10, 1 << 20
SHARE = 4 * MEBI // SHARES
"""What one address may hold with the least `--anonymous-bytes`."""


def get(path: str, *headers: str) -> bytes:
    """A request without a body."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: g", *headers, "", ""]).encode()


def action(name: str, /, **members: object) -> bytes:
    """The message of a request."""
    return json.dumps({"action": name, "requestId": 1, **members}).encode()


def by_header(gateway: RunningGateway, stack: ExitStack) -> Wire:
    """A socket that was opened with a token."""
    return stack.enter_context(opened(gateway, gateway.token()))


def by_action(gateway: RunningGateway, stack: ExitStack) -> Wire:
    """A socket that has authenticated."""
    token, wire = gateway.token(), stack.enter_context(opened(gateway))
    wire.send(frame(action("authenticate", token=token)))
    assert wire.answer()["status"] == "success"
    return wire


def answers(wire: Wire) -> bool:
    """Whether a socket is served."""
    wire.send(frame(INFO))
    return bool(wire.answer()["status"] == "success")


# Places.


@pytest.mark.parametrize("flag", ["--connections", "--connections-per-address"])
@pytest.mark.parametrize("login", [by_header, by_action])
def test_the_oldest_connection_without_a_login_gives_way(data: Path, flag: str, login: object) -> None:
    """When no slot is left, a new connection replaces the oldest one without a login, never one with a login."""
    with RunningGateway(data, flag, "3", "--head-seconds", "100") as gateway, ExitStack() as stack:
        member = login(gateway, stack)  # type: ignore[operator]
        first, second = stack.enter_context(dial(gateway)), stack.enter_context(opened(gateway))
        for _ in range(5):
            newcomer = stack.enter_context(opened(gateway))
            assert first.ended()
            assert answers(newcomer)
            assert answers(member)
            first, second = second, newcomer


def test_who_has_no_login_gives_way_when_files_run_out(data: Path) -> None:
    """Where the process may open fewer files than `connections`, strangers do not keep callers with a token out."""
    with RunningGateway(data, "--head-seconds", "100") as gateway, ExitStack() as stack:
        member = by_header(gateway, stack)
        files = 2 * FILES
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (files, files))
        strangers = [stack.enter_context(dial(gateway)) for _ in range(files)]
        assert answers(by_header(gateway, stack))
        assert answers(member)
        assert strangers[0].ended()
        [told] = gateway.events("anonymous connections are closed: the open-file limit is reached")
        assert (told["connections"], told["possible"]) == (20_000, files - FILES)


@pytest.mark.parametrize("flag", ["--connections", "--connections-per-address"])
@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_who_never_finishes_a_tls_handshake_gives_way(
    data: Path, certificate: tuple[Path, Path], flag: str, begun: bytes
) -> None:
    """A connection has its slot from the moment it is accepted: when none is left, the oldest gives way, also one
    whose TLS handshake is not finished."""
    tls = ("--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1]))
    with RunningGateway(data, flag, "3", *tls) as gateway, ExitStack() as stack:
        silent = [stack.enter_context(dial(gateway)) for _ in range(3)]
        for wire in silent:
            wire.send(begun)
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(verify=trust) as client:
            metrics = client.get(gateway.url + "/metrics").text
            assert "hivewire_connections 3.0\n" in metrics  # two that are silent, and this one
            assert silent[0].ended()
            assert client.get(gateway.url + "/health/live").status_code == 200


def test_a_tls_connection_that_ends_leaves_its_place(data: Path, certificate: tuple[Path, Path]) -> None:
    """Neither a peer that goes away during its handshake nor one that sends something else is counted any longer."""
    tls = ("--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1]))
    with RunningGateway(data, *tls) as gateway:
        for begun in (b"", b"\x16\x03\x01\x02\x00\x01", get("/health/live")):
            with dial(gateway) as wire:
                wire.send(begun)
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(verify=trust) as client:
            until(lambda: "hivewire_connections 1.0\n" in client.get(gateway.url + "/metrics").text)
        assert not [event for event in gateway.log if event["level"] == "error"]


def test_a_socket_is_as_old_as_its_connection(data: Path) -> None:
    """Who upgrades a connection keeps its age: the next connection replaces it, not a younger one."""
    with RunningGateway(data, "--connections", "2", "--head-seconds", "100") as gateway, ExitStack() as stack:
        oldest, younger = stack.enter_context(dial(gateway)), stack.enter_context(dial(gateway))
        oldest.send(upgrade())
        assert oldest.head()[0] == 101
        stack.enter_context(dial(gateway)).send(get("/health/live"))
        assert oldest.ended()
        younger.send(get("/api/rest/info"))
        assert younger.response()[0] == 200


def test_a_request_with_a_token_keeps_the_place_of_its_connection(data: Path) -> None:
    """A connection with one authenticated request does not count as anonymous any more."""
    with RunningGateway(data, "--connections", "2") as gateway, ExitStack() as stack:
        member = stack.enter_context(dial(gateway))
        request = get("/api/rest/configuration", f"Authorization: Bearer {gateway.token()}")
        member.send(request)
        assert member.response()[0] == 200
        for _ in range(5):
            assert answers(stack.enter_context(opened(gateway)))
            member.send(request)
            assert member.response()[0] == 200


@pytest.mark.parametrize("flag", ["--connections", "--connections-per-address"])
def test_without_places_health_and_metrics_are_served_and_all_else_gets_503(data: Path, flag: str) -> None:
    """Connections with a login hold every place: probes are answered all the same, however many idle connections
    arrive, and a place that becomes free is usable."""
    with RunningGateway(data, flag, "2") as gateway, ExitStack() as stack:
        members = [by_header(gateway, stack) for _ in range(2)]
        for _ in range(SPARE + 4):
            stack.enter_context(dial(gateway))
        for path in ("/health/live", "/health/ready", "/metrics"):
            with dial(gateway) as probe:
                probe.send(get(path))
                assert probe.head()[0] == 200
        for request in (get("/api/rest/info"), get("/api/websocket", "Connection: Upgrade", "Upgrade: websocket")):
            with dial(gateway) as other:
                other.send(request)
                status, headers, body = other.response()
                assert (status, headers["connection"]) == (503, "close")
                assert body == {"error": 503, "message": "too many connections; try again later"}
                assert other.ended()
        assert all(map(answers, members))
        members[0].close()

        def room() -> bool:
            with dial(gateway) as again:
                again.send(get("/api/rest/info"))
                return again.response()[0] == 200

        until(room)


def test_a_socket_that_never_authenticates_is_closed(data: Path) -> None:
    """After `login_seconds` with 4010; those with a token, in the handshake or by the action, stay."""
    with RunningGateway(data, "--login-seconds", "2") as gateway, ExitStack() as stack:
        members = [by_header(gateway, stack), by_action(gateway, stack)]
        strangers = [stack.enter_context(opened(gateway)) for _ in range(2)]
        for connection in strangers:
            assert connection.closed() == (4010, "not authenticated in time")
        assert all(map(answers, members))


# Memory.


class Peer:
    """A connection that notes how it ends."""

    def __init__(self) -> None:
        self.end = ""

    def abort(self) -> None:
        self.end = "cut"

    def give_way(self) -> None:
        self.end = "gave way"


def test_anonymous_connections_share_a_budget_and_each_address_a_part_of_it() -> None:
    """The connection that has held memory for longest is closed: of an address over its share, or of all."""
    admission = Admission(Settings(anonymous_bytes=4 * MEBI))
    peers = [Peer() for _ in range(20)]
    for number, peer in enumerate(peers):
        assert admission.enter(peer, f"10.0.0.{number}")
    for peer in peers[:15]:
        admission.hold(peer, SHARE)
    admission.hold(peers[0], SHARE - 1)  # the others hold theirs for longer now
    admission.hold(peers[15], SHARE)
    assert not any(peer.end for peer in peers)
    admission.hold(peers[16], SHARE)
    assert [peer.end for peer in peers[:3]] == ["", "gave way", ""]
    admission.hold(peers[17], SHARE + 1)
    assert [peer for peer in peers if peer.end] == [peers[1], peers[17]]
    assert admission.inside == 18
    for number, peer in enumerate(peers):
        if not peer.end:
            admission.leave(peer, f"10.0.0.{number}")
    assert (admission.inside, admission.anonymous.held) == (0, 0)


def test_what_tls_takes_goes_on_to_a_socket() -> None:
    """It counts for the connection or the socket that has taken its place, and beside what these hold."""
    admission = Admission(Settings())
    connection, early, late = Peer(), Peer(), Peer()
    assert admission.enter(connection, "10.0.0.1")
    number = admission.number_of(connection)
    assert number is not None
    admission.hand_over(connection, early, "10.0.0.1")
    admission.hold(early, 10)
    admission.charge_tls(number)
    assert admission.anonymous.held == TLS_BYTES + 10
    admission.charge_tls(number)
    assert admission.anonymous.held == TLS_BYTES + 10
    admission.hand_over(early, late, "10.0.0.1")
    assert admission.anonymous.held == TLS_BYTES
    admission.login(late)
    admission.charge_tls(number)
    assert (admission.anonymous.held, admission.number_of(late)) == (0, None)


def test_sixteen_spare_places_are_live_at_a_time() -> None:
    """The seventeenth takes the place of the oldest of them, because a probe is always answered."""
    admission = Admission(Settings(connections=1))
    member, spare = Peer(), [Peer() for _ in range(SPARE + 2)]
    assert admission.enter(member, "10.0.0.1")
    admission.login(member)
    assert SPARE == 16
    for number, peer in enumerate(spare):
        assert not admission.enter(peer, "10.0.0.2")
        assert [each.end for each in spare if each.end] == ["gave way"] * max(0, number + 1 - SPARE)
    assert [peer.end for peer in spare] == ["gave way"] * 2 + [""] * SPARE
    admission.leave(spare[2], "10.0.0.2")
    assert not admission.enter(Peer(), "10.0.0.2")
    assert not spare[3].end
    assert (member.end, admission.inside) == ("", 1)


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with little memory for anonymous connections, and less for the unfinished messages of all others."""
    data = tmp_path_factory.mktemp("tight") / "hivewire.db"
    with RunningGateway(data, "--anonymous-bytes", str(4 * MEBI), "--unfinished-bytes", str(64 * KIBI)) as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


def test_incomplete_anonymous_messages_take_nothing_from_callers_with_a_token(tight: RunningGateway) -> None:
    """However much anonymous connections leave unfinished, messages and bodies with a token are accepted; the sockets
    with the oldest incomplete messages are closed."""
    half = frame(action("server/info", pad="x" * 60_000))[:-1]
    token = tight.token()
    body = b'{"value":"1"}'.ljust(60_000)
    head = f"PUT /api/rest/configuration/admission HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n"
    with ExitStack() as stack:
        connections = [stack.enter_context(opened(tight)) for _ in range(8)]
        for number, connection in enumerate(connections, 1):
            connection.send(half)
            if number <= 4:
                until(lambda number=number: gauge(tight, "anonymous_bytes") >= number * 60_000)  # type: ignore[misc]
        assert connections[0].ended()
        assert gauge(tight, "anonymous_bytes") <= SHARE
        assert gauge(tight, "unfinished_bytes") == 0
        with dial(tight) as client, opened(tight, token) as member:
            client.send(f"{head}Content-Length: 60000\r\n\r\n".encode(), body[:-1])
            until(lambda: gauge(tight, "unfinished_bytes") > 40_000)
            client.send(body[-1:])
            assert client.response()[0] == 200
            member.send(half)
            until(lambda: gauge(tight, "unfinished_bytes") > 40_000)
            member.send(frame(action("server/info", pad="x" * 60_000))[-1:])
            assert member.answer()["status"] == "success"
    until(lambda: gauge(tight, "anonymous_bytes") < KIBI)


def test_unread_answers_of_anonymous_connections_are_bounded(tight: RunningGateway) -> None:
    """Many anonymous clients request long answers and read nothing: together they stay within the share of their
    address."""
    message = frame(json.dumps({"action": "server/info", "requestId": "x" * 60_000}).encode())
    before = memory(tight)
    with ExitStack() as stack:
        for _ in range(30):
            connection = stack.enter_context(opened(tight, receive_buffer=4_096))
            connection.socket.settimeout(0.05)
            with stack.enter_context(ExitStack()):
                try:
                    while True:
                        connection.send(message)
                except (TimeoutError, ConnectionError):
                    pass
        assert gauge(tight, "anonymous_bytes") <= SHARE
        assert memory(tight) - before < 12 * MEBI
    until(lambda: gauge(tight, "anonymous_bytes") < KIBI)


HALF_HEAD = b"GET / HTTP/1.1\r\nX: " + b"x" * 50_000
HALF_BODY = b"POST /api/rest/token HTTP/1.1\r\nHost: g\r\nContent-Length: 60000\r\n\r\n" + b" " * 50_000


@pytest.mark.parametrize("sent", [HALF_HEAD, HALF_BODY], ids=["head", "body"])
def test_incomplete_anonymous_requests_are_counted_from_the_first_byte(tight: RunningGateway, sent: bytes) -> None:
    """Heads as well as bodies: the connection that has held memory for longest is closed, the others are answered."""
    with ExitStack() as stack:
        connections = [stack.enter_context(dial(tight)) for _ in range(8)]
        for connection in connections:
            connection.send(sent)
        assert connections[0].ended()
        until(lambda: 100_000 < gauge(tight, "anonymous_bytes") <= SHARE)
        assert gauge(tight, "unfinished_bytes") == 0
        assert tight.token()
    until(lambda: gauge(tight, "anonymous_bytes") < KIBI)


def test_an_anonymous_message_may_be_as_long_as_the_longest_token(tight: RunningGateway) -> None:
    """A header over 80 KiB before login closes with 1009, without waiting for the payload."""
    with opened(tight) as connection:
        connection.send(frame(action("server/info", pad="x" * (ANONYMOUS_MESSAGE - KIBI))))
        assert connection.answer()["status"] == "success"
        connection.send(frame(INFO), frame(announced=ANONYMOUS_MESSAGE + 100))
        assert connection.answer()["status"] == "success"
        assert connection.closed() == (1009, "message larger than the limit before login")
    with opened(tight) as connection:
        for _ in range(9):
            connection.send(frame(b"x" * 10_000, 1 if not _ else 0, fin=False))
        assert connection.closed()[0] == 1009


def test_bytes_right_after_a_login_count_as_authenticated(tight: RunningGateway) -> None:
    """A client need not wait for the answer to its login before it sends a long message, complete or unfinished."""
    login = frame(action("authenticate", token=tight.token()))
    long = frame(action("configuration/put", name="admission.long", value="x" * 60_000, description="d" * 50_000))
    with opened(tight) as wire:
        wire.send(login + long)
        assert wire.answer()["status"] == "success"
        assert wire.closed()[0] == 1011  # more than 64 KiB unfinished: those with a token have their own budget
    half = frame(action("server/info", pad="x" * 60_000))
    with opened(tight) as wire:
        wire.send(login + half[:-1])
        assert wire.answer()["status"] == "success"
        until(lambda: gauge(tight, "unfinished_bytes") > 40_000)
        assert gauge(tight, "anonymous_bytes") < KIBI
        wire.send(half[-1:])
        assert wire.answer()["status"] == "success"
    until(lambda: gauge(tight, "unfinished_bytes") == 0)


def test_unread_answers_of_sockets_draw_on_the_budget_of_all(data: Path) -> None:
    """When the answers that sockets do not read exceed `unread_bytes`, the one that has not read for longest is cut."""
    with RunningGateway(data, "--unread-bytes", str(2 * MEBI), "--value-length", "100000") as gateway:
        token = gateway.token()
        with gateway.socket(token) as talk:
            talk("configuration/put", name="long", value="x" * 60_000)
        with ExitStack() as stack:
            wires = [stack.enter_context(opened(gateway, token, receive_buffer=4_096)) for _ in range(3)]
            # One after the other, so that it is certain who has not read for longest.
            enough = (
                lambda: gauge(gateway, "unread_bytes") > MEBI,
                lambda: gauge(gateway, "sockets") < 4,
                lambda: gauge(gateway, "sockets") < 3,
            )
            for wire, reached in zip(wires, enough, strict=True):
                wire.send(frame(action("configuration/get", name="long")) * 200)
                until(reached)
            assert MEBI < gauge(gateway, "unread_bytes") < 2 * MEBI
            wires[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEBI)
            assert sum(1 for _ in range(200) if wires[2].answer()["status"] == "success") == 200
        until(lambda: gauge(gateway, "unread_bytes") == 0)


def test_a_refused_head_is_not_kept_while_the_connection_lingers(data: Path) -> None:
    """Hundreds of refused requests with large heads, whose connections stay, take little memory."""
    fields = "".join(f"h{number}: {number}\r\n" for number in range(240))
    head = f"GET /{'x' * 50_000} HTTP/1.1\r\n{fields}Host: a\r\nHost: b\r\n\r\n".encode()
    with RunningGateway(data) as gateway, ExitStack() as stack:
        before = memory(gateway, "VmHWM")
        for _ in range(300):
            wire = stack.enter_context(dial(gateway))
            wire.send(head)
            assert wire.head()[0] == 400
        assert memory(gateway, "VmHWM") - before < 12 << 20
