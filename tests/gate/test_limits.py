"""One client takes nothing from the others. And plain HTTP, to the letter."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosedError

from hivewire.settings import Settings
from hivewire.transport.admission import Admission
from hivewire.transport.connection import HEADERS, PARAMETERS
from tests.gate.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INFO,
    PING,
    PONG,
    Wire,
    dial,
    frame,
    gauge,
    opened,
    until,
    upgrade,
)
from tests.running import PASSWORD, RunningGateway, Talk

MEBI = 1 << 20


def lives(gateway: RunningGateway) -> bool:
    """Whether a newcomer is served."""
    return httpx.get(gateway.url + "/health/ready").status_code == 200


@contextmanager
def started(folder: Path, *flags: str) -> Iterator[RunningGateway]:
    """A gateway that reports no failure of its own."""
    with RunningGateway(folder / "hivewire.db", *flags) as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with small limits."""
    flags = ("--head-bytes", "2048", "--message-bytes", "4096", "--failed-authentications", "3", "--pipeline", "4")
    with started(tmp_path_factory.mktemp("strict"), *flags) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that waits for nobody for long: for tests of who is late, and for nothing else."""
    with started(tmp_path_factory.mktemp("impatient"), "--head-seconds", "0.4", "--body-seconds", "0.4") as gateway:
        yield gateway


# The head of a request.


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX-Endless: ", b"GET /api/websocket HTTP/1.1\r\nX: "])
def test_a_head_without_end_is_answered_with_431(shared_gateway: RunningGateway, start: bytes) -> None:
    """More than 64 KiB of request line and headers: 431, and the connection is closed."""
    with dial(shared_gateway) as wire:
        wire.send(start, b"x" * (65 << 10))
        status, headers, body = wire.response()
        assert (status, headers["connection"], body["error"]) == (431, "close", 431)
        assert wire.ended()


def test_many_small_headers_count_together(strict: RunningGateway) -> None:
    """It is the sum that is bounded, and by the setting `--head-bytes`."""
    with dial(strict) as wire:
        wire.send(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 340)
        assert wire.response()[0] == 431


def test_the_number_of_headers_is_bounded(shared_gateway: RunningGateway) -> None:
    """Short ones take 26 times their bytes in memory: hundreds of heads without a login took a gigabyte."""
    with dial(shared_gateway) as wire:
        wire.send(b"GET /health/live HTTP/1.1\r\nHost: g\r\n" + b"A:b\r\n" * (HEADERS - 1) + b"\r\n")
        assert wire.response()[0] == 200
        wire.send(b"GET /health/live HTTP/1.1\r\n" + b"A:b\r\n" * (HEADERS + 2))
        assert wire.response()[0] == 431
        assert wire.ended()


def test_the_number_of_parameters_is_bounded(shared_gateway: RunningGateway) -> None:
    """To look through tens of thousands would hold everybody up, and everybody may send them."""
    for parameters, status in ((PARAMETERS, 200), (PARAMETERS + 1, 400)):
        with dial(shared_gateway) as wire:
            query = b"&".join([b"a=b"] * parameters)
            wire.send(b"GET /api/rest/info?" + query + b" HTTP/1.1\r\nHost: g\r\n\r\n")
            assert wire.response()[0] == status


def test_the_bound_is_for_each_request_of_a_connection(strict: RunningGateway) -> None:
    """Many requests on one connection are fine, however long their heads are together; one too long is not."""
    with dial(strict) as wire:
        for _ in range(5):
            wire.send(b"GET /health/live HTTP/1.1\r\nHost: g\r\nX: " + b"x" * 1_500 + b"\r\n\r\n")
            assert wire.response()[0] == 200
        wire.send(b"GET /health/live HTTP/1.1\r\nHost: g\r\nX: " + b"x" * 2_500)
        assert wire.response()[0] == 431


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: g\r\n", upgrade()[:-20]])
def test_a_head_that_does_not_come_is_answered_with_408(impatient: RunningGateway, sent: bytes) -> None:
    """A peer that connects and sends nothing, half a request or half a handshake gets 408 and is disconnected."""
    with dial(impatient) as wire:
        wire.send(sent)
        status, headers, body = wire.response()
        assert (status, headers["connection"]) == (408, "close")
        assert body == {"error": 408, "message": "request line and headers took over 0.4 s"}
        assert wire.ended()


def test_a_dripping_head_gets_no_extra_time(impatient: RunningGateway) -> None:
    """Sending a byte now and then does not make the gateway wait longer."""
    with dial(impatient) as wire:
        wire.send(b"GET /")
        wire.socket.settimeout(0.05)
        answer = b""
        while not answer:
            wire.send(b"x")
            try:
                answer = wire.socket.recv(100)
            except TimeoutError:
                pass
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_an_open_socket_is_not_held_to_the_time_for_heads(impatient: RunningGateway) -> None:
    """After the handshake a socket may stay silent for longer."""
    with opened(impatient) as wire, dial(impatient) as late:
        assert late.response()[0] == 408
        wire.send(frame(INFO))
        assert wire.answer()["status"] == "success"


def test_half_handshakes_leave_no_trace(shared_gateway: RunningGateway) -> None:
    """A hundred clients that vanish in the middle of the handshake give all their places back."""
    before = gauge(shared_gateway, "connections")
    for size in range(100):
        with dial(shared_gateway) as wire:
            wire.send(upgrade()[: size + 1])
    until(lambda: gauge(shared_gateway, "connections") <= before)
    assert lives(shared_gateway)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_with_400(shared_gateway: RunningGateway, sent: bytes) -> None:
    """Binary noise, TLS on the plain port, nonsense versions: 400 and the end of that connection."""
    with dial(shared_gateway) as wire:
        wire.send(sent)
        status, _, body = wire.response()
        assert (status, body) == (400, {"error": 400, "message": "Invalid HTTP request received."})
        assert wire.ended()


def test_a_client_that_stops_sending_gets_its_answers(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Complete requests before a half-close are carried out and answered; an incomplete one after them is not."""
    value = b'{"value":"half"}'
    head = put_head(admin_token, f"Content-Length: {len(value)}")
    for sent, answers in ((head + value, 1), ((head + value) * 5, 5), ((head + value) * 5 + head[:-9], 5)):
        with dial(shared_gateway) as wire:
            wire.send(sent)
            wire.socket.shutdown(socket.SHUT_WR)
            assert [wire.response()[0] for _ in range(answers)] == [200] * answers
            assert wire.ended()
    with dial(shared_gateway) as wire:
        wire.send((head + value) * 2 + head + value[:-1])
        wire.socket.shutdown(socket.SHUT_WR)
        assert [wire.response()[0] for _ in range(3)] == [200, 200, 400]
        assert wire.ended()


def test_a_stream_ends_when_its_client_stops_sending(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A half-close cannot be told from a client that has gone."""
    before = gauge(shared_gateway, "streams")
    with dial(shared_gateway) as wire:
        head = f"GET /api/rest/configuration?names=none HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {admin_token}\r\n"
        wire.send(f"{head}Accept: text/event-stream\r\n\r\n".encode())
        until(lambda: gauge(shared_gateway, "streams") > before)
        wire.socket.shutdown(socket.SHUT_WR)
        until(lambda: gauge(shared_gateway, "streams") == before)


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (b"Host: g\r\nHost: g\r\n", "more than one Host header"),
        (b"", "the Host header is missing"),
        (b"Host: a b\r\n", "the Host header is not a host name or address"),
        (b"Host: a/b\r\n", "the Host header is not a host name or address"),
        (b"Host: " + b"a" * 301 + b"\r\n", "the Host header is not a host name or address"),
    ],
)
def test_a_wrong_host_header_is_refused(shared_gateway: RunningGateway, hosts: bytes, message: str) -> None:
    """The gateway and a proxy in front of it might use different hosts."""
    with dial(shared_gateway) as wire:
        wire.send(b"GET /api/rest/info HTTP/1.1\r\n" + hosts + b"\r\n")
        status, _, body = wire.response()
        assert (status, body) == (400, {"error": 400, "message": message})
        assert wire.ended()


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost:\r\n", b"HTTP/1.1\r\nHost: [::1]:8080\r\n", b"HTTP/1.1\r\nHost: my_host.\r\n"],
)
def test_each_right_host_header_is_served(shared_gateway: RunningGateway, head: bytes) -> None:
    """HTTP/1.0 has none, and a client that knows no name of the gateway sends an empty one."""
    with dial(shared_gateway) as wire:
        wire.send(b"GET /api/rest/info " + head + b"\r\n")
        assert wire.response()[0] == 200


# How many may come in.


def served(gateway: RunningGateway, source: str) -> bool:
    """Whether a newcomer from this address of the machine is served."""
    with dial(gateway, source=source) as wire:
        wire.send(b"GET /api/rest/info HTTP/1.1\r\nHost: g\r\n\r\n")
        return wire.response()[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_a_trusted_proxy_is_exempt_from_the_limit_of_an_address(data: Path, host: str) -> None:
    """All clients of a proxy come from its address, so they are not counted together; those of others are. An address
    that comes mapped to IPv6 is the IPv4 address that it stands for."""
    flags = ("--host", host, "--connections-per-address", "1", "--trusted-proxies", "10.0.0.1, 127.0.0.1")
    with RunningGateway(data, *flags) as gateway:
        token = gateway.token()
        member = f"GET /api/rest/configuration HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n"
        with opened(gateway, token), opened(gateway, token), dial(gateway, source="127.0.0.2") as other:
            other.send(member.encode())
            assert other.response()[0] == 200
            assert served(gateway, "127.0.0.1")
            assert served(gateway, "127.0.0.3")
            assert not served(gateway, "127.0.0.2")


class Peer:
    """A connection that nobody cuts."""

    def abort(self) -> None: ...

    def give_way(self) -> None: ...


def test_a_network_of_ipv6_addresses_counts_as_one() -> None:
    """A client has a whole /64 of addresses and gains nothing by using many; places of closed connections are free
    again."""
    admission = Admission(Settings(connections_per_address=2, trusted_proxies="2001:db8::cafe"))

    def enter(address: str) -> bool:
        member = Peer()
        entered = admission.enter(member, address)
        admission.login(member)
        return entered

    first, proxy = Peer(), Peer()
    assert admission.enter(first, "2001:db8::1")
    admission.login(first)
    assert admission.enter(proxy, "2001:db8::cafe")
    assert enter("2001:db8::ffff:1")
    assert not enter("2001:db8::2")
    assert enter("2001:db8:0:1::1")
    admission.leave(proxy, "2001:db8::cafe")
    assert not enter("2001:db8::2")
    admission.leave(first, "2001:db8::1")
    assert enter("2001:db8::2")


@pytest.mark.parametrize(
    ("settings", "other", "words"),
    [
        (Settings(connections_per_address=1), "10.0.0.1", "if it is a proxy, name it in trusted_proxies"),
        (Settings(connections=1), "10.0.0.2", "raise connections"),
    ],
)
def test_refused_connections_are_in_the_log(settings: Settings, other: str, words: str) -> None:
    """With what helps, and not with each of them."""
    admission, first = Admission(settings), Peer()
    with capture_logs() as logged:
        assert admission.enter(first, "10.0.0.1")
        admission.login(first)
        assert logged == []
        assert not any(admission.enter(Peer(), other) for _ in range(3))
    [told] = logged
    assert words in told["remedy"]
    assert told.get("address") in (other, None)


# The upgrade.


@pytest.mark.parametrize("path", ["/", "/api", "/websocket", "/api/websocket/", "/auth/websocket", "/api/rest/info"])
def test_a_websocket_on_another_path_gets_404_as_json(shared_gateway: RunningGateway, path: str) -> None:
    """Sockets are at /api/websocket and /dh/websocket; elsewhere the answer is an error document."""
    with dial(shared_gateway) as wire:
        wire.send(upgrade(path))
        status, headers, body = wire.response()
        assert (status, headers["content-type"]) == (404, "application/json")
        assert body == {"error": 404, "message": "HTTP 404 Not Found", "hint": "GET / lists the interfaces"}
        assert wire.ended()


@pytest.mark.parametrize("path", ["/api/websocket", "/dh/websocket", "/api/websocket?a=b"])
def test_both_paths_open_a_socket(shared_gateway: RunningGateway, path: str) -> None:
    """The paths of both contexts work, with a query too, and tell the REST address of their own context."""
    with dial(shared_gateway) as wire:
        wire.send(upgrade(path))
        assert wire.head()[0] == 101
        wire.send(frame(INFO))
        context = path.split("/")[1]
        assert wire.answer()["info"]["restServerUrl"] == f"http://gateway/{context}/rest"


@pytest.mark.parametrize("value", ["Bearer nonsense", "Bearer ", "bearer x", "Basic YTpi", "x"])
def test_an_upgrade_with_a_bad_authorization_gets_401_as_json(shared_gateway: RunningGateway, value: str) -> None:
    """A handshake with an invalid header is refused, and does not become anonymous."""
    with dial(shared_gateway) as wire:
        wire.send(upgrade()[:-2] + b"Authorization: " + value.encode() + b"\r\n\r\n")
        status, headers, body = wire.response()
        assert (status, headers["content-type"]) == (401, "application/json")
        assert body == {"error": 401, "message": "Unauthorized"}
        assert wire.ended()


@pytest.mark.parametrize(
    ("old", "new", "status", "message"),
    [
        (b"Version: 13", b"Version: 8", 426, "only version 13 of the WebSocket protocol is supported"),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 400, "missing Sec-WebSocket-Version header"),
        (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: short", 400, "invalid Sec-WebSocket-Key header"),
        (b"Sec-WebSocket-Key: ", b"X-Not-A-Key: ", 400, "missing Sec-WebSocket-Key header"),
        (b"GET", b"POST", 405, "unsupported HTTP method"),
        (b"HTTP/1.1", b"HTTP/1.0", 505, "unsupported HTTP version"),
        (b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n", 400, "a handshake has no body"),
        (b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "a handshake has no body"),
    ],
)
def test_an_invalid_handshake_is_refused(
    shared_gateway: RunningGateway, old: bytes, new: bytes, status: int, message: str
) -> None:
    """Another version of the protocol, an invalid key, a body: an error document says what is wrong."""
    with dial(shared_gateway) as wire:
        wire.send(upgrade().replace(old, new) + b"{}\r\n")
        found, headers, body = wire.response()
        assert (found, body["error"], headers["content-type"]) == (status, status, "application/json")
        assert message in body["message"]
        assert "\n" not in body["message"]
        assert headers["access-control-allow-origin"] == "*"
        assert wire.ended()


def test_a_refused_handshake_says_what_would_be_right(shared_gateway: RunningGateway) -> None:
    """A 426 names the supported version, a 405 the method, a 401 the kind of credentials."""
    for old, new, name, value in (
        (b"Version: 13", b"Version: 12", "sec-websocket-version", "13"),
        (b"Version: 13", b"Version: 12", "upgrade", "websocket"),
        (b"GET", b"POST", "allow", "GET"),
        (b"Host", b"Authorization: Bearer x\r\nHost", "www-authenticate", "Bearer"),
    ):
        with dial(shared_gateway) as wire:
            wire.send(upgrade().replace(old, new))
            assert wire.response()[1][name] == value


def test_a_handshake_may_have_long_and_many_headers(shared_gateway: RunningGateway) -> None:
    """Cookies of 20 KiB and 200 headers are fine; `--head-bytes` bounds them together, as for any request."""
    with dial(shared_gateway) as wire:
        wire.send(upgrade()[:-2] + b"Cookie: " + b"c" * (20 << 10) + b"\r\n" + b"X-Header: x\r\n" * 200 + b"\r\n")
        assert wire.head()[0] == 101
        wire.send(frame(INFO))
        assert wire.answer()["status"] == "success"
    with dial(shared_gateway) as wire:
        wire.send(upgrade()[:-2] + (b"X: " + b"x" * 1_000 + b"\r\n") * 66 + b"\r\n")
        status, headers, body = wire.response()
        assert (status, headers["content-type"], body["error"]) == (431, "application/json", 431)
        assert wire.ended()


@pytest.mark.parametrize("frames", [1, 50, 2_000])
def test_frames_in_the_segment_of_the_handshake_are_answered(shared_gateway: RunningGateway, frames: int) -> None:
    """A client that does not wait for the 101 before it sends requests loses none of them."""
    with dial(shared_gateway) as wire:
        sent = b"".join(frame(b'{"action":"server/info","requestId":%d}' % n) for n in range(frames))
        wire.send(upgrade() + sent)
        assert wire.head()[0] == 101
        assert [wire.answer()["requestId"] for _ in range(frames)] == list(range(frames))


def test_half_a_frame_in_the_segment_of_the_handshake_is_kept(shared_gateway: RunningGateway) -> None:
    """Wherever the segment ends, the rest of the frame may follow."""
    message = frame(INFO)
    for size in range(len(message)):
        with dial(shared_gateway) as wire:
            wire.send(upgrade() + message[:size], message[size:])
            assert wire.head()[0] == 101
            assert wire.answer()["status"] == "success"


# One request behind another.


def put_then(token: str, name: str, behind: bytes) -> bytes:
    """A PUT of `{"value":"1"}` and what stands behind it."""
    head = put_head(token, "Content-Length: 13").replace(b"limits.body", name.encode())
    return head + b'{"value":"1"}' + behind


CHUNKED = (
    b"PUT /api/rest/configuration/limits.bad HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %b\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    ("behind", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 1_000 + b"\r\n") * 66 + b"\r\n", 431),
        (CHUNKED + b'd\r\n{"value":"1"}\r\nzz\r\n', 400),
        (CHUNKED + b'd\r\n{"value":"1"}\r\n0\r\n' + b"X: x\r\n" * 40_000 + b"\r\n", 431),
        (upgrade("/nowhere"), 404),
        (b"CONNECT gateway:80 HTTP/1.1\r\nHost: gateway\r\n\r\n", 400),
    ],
    ids=["not HTTP", "endless head", "large head", "bad body", "large trailers", "no such socket", "CONNECT"],
)
def test_a_refusal_waits_for_the_answers_before_it(
    shared_gateway: RunningGateway, admin_token: str, behind: bytes, status: int
) -> None:
    """A bad request right behind a good one takes nothing from it: first the answer, then the refusal and the end."""
    with dial(shared_gateway) as wire:
        wire.send(put_then(admin_token, "limits.good", behind.replace(b"%b", admin_token.encode())))
        assert wire.response()[0] == 200
        refused, headers, body = wire.response()
        assert (refused, body["error"], headers["connection"]) == (status, status, "close")
        assert wire.ended()
    with shared_gateway.http(admin_token) as client:
        assert client.get("/configuration/limits.bad").status_code == 404


def test_a_late_head_is_refused_behind_the_answers_that_were_not_read(data: Path) -> None:
    """Half a head after requests whose answers the client reads slowly: it gets all answers, and then the 408."""
    with RunningGateway(data, "--head-seconds", "0.4") as gateway:
        token = gateway.token()
        with gateway.socket(token) as other:
            fill(other)
        with dial(gateway, receive_buffer=4096) as wire:
            wire.send(ask_for_all(token) * 20 + b"GET /")
            with dial(gateway) as late:
                assert late.response()[0] == 408
            assert [wire.response()[0] for _ in range(21)] == [200] * 20 + [408]
            assert wire.ended()


def test_an_upgrade_behind_a_request_comes_after_its_answer(shared_gateway: RunningGateway, admin_token: str) -> None:
    """PUT, handshake and frames in one segment: the PUT's answer, the 101, and the answers to the frames."""
    with dial(shared_gateway) as wire:
        wire.send(put_then(admin_token, "limits.upgrade", upgrade() + frame(INFO) * 50), frame(INFO))
        assert wire.response()[0] == 200
        assert wire.head()[0] == 101
        assert [wire.answer()["status"] for _ in range(51)] == ["success"] * 51


def test_an_upgrade_behind_answers_that_are_read_slowly(data: Path) -> None:
    """The timeout for reading an HTTP answer does not apply to a socket that was opened after large answers."""
    with RunningGateway(data, "--slow-seconds", "0.5", "--head-seconds", "0.7") as gateway:
        token = gateway.token()
        with gateway.socket(token) as other:
            fill(other)
        with dial(gateway, receive_buffer=4096) as wire:
            wire.send(ask_for_all(token) * 8 + upgrade())
            assert [wire.response()[0] for _ in range(8)] == [200] * 8
            assert wire.head()[0] == 101
            with dial(gateway) as late:
                assert late.response()[0] == 408
            wire.send(frame(INFO))
            assert wire.answer()["status"] == "success"


# Clients that do not read.


def ask_for_all(token: str) -> bytes:
    """A request whose answer is almost 1 MiB, after `fill`."""
    return f"GET /api/rest/configuration HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def fill(talk: Talk) -> None:
    """Almost 1 MiB of configurations: what one answer may hold."""
    for number in range(15):
        assert talk("configuration/put", name=f"big.{number}", value="x" * 65_000)["status"] == "success"


def test_a_client_that_never_reads_is_closed_and_others_are_served(data: Path) -> None:
    """It requests far more than fits its outbox and reads nothing: closed with 4008, while others are served."""
    flags = ("--outbox-bytes", "65536", "--slow-seconds", "0.5", "--ping-seconds", "6")
    with RunningGateway(data, *flags) as gateway:
        token = gateway.token()
        with gateway.socket(token) as other, opened(gateway, token, receive_buffer=4096) as wire:
            fill(other)
            wire.send(frame(b'{"action":"configuration/get","name":"big.1"}') * 300)

            def closed() -> bool:
                assert other("configuration/get", name="big.0")["status"] == "success"
                return bool(gateway.events("socket closed"))

            until(closed)
            until(lambda: gauge(gateway, "sockets") == 1)
            assert {event["code"] for event in gateway.events("socket closed")} == {4008}
            assert gauge(gateway, "outbox_bytes") == 0
            assert other("configuration/put", name="big.0", value="still here")["status"] == "success"


@pytest.mark.parametrize("action", ["configuration/get", "configuration/list"])
def test_the_unread_answers_of_a_client_are_bounded(data: Path, action: str) -> None:
    """Hundreds of requests in one segment, each with a large answer: no more are answered than fit the outbox."""
    with RunningGateway(data, "--outbox-bytes", "65536") as gateway:
        token = gateway.token()
        with gateway.socket(token) as other, opened(gateway, token, receive_buffer=4096) as wire:
            fill(other)
            wire.send(frame(json.dumps({"action": action, "name": "big.1"}).encode()) * 250)
            until(lambda: gauge(gateway, "outbox_bytes") > 65_536)
            assert gauge(gateway, "outbox_bytes") < 65_536 + 2 * MEBI


def test_a_client_that_reads_late_gets_every_answer(data: Path) -> None:
    """A slow client loses nothing: when it reads at last, all answers arrive, in order."""
    with RunningGateway(data, "--outbox-bytes", "65536") as gateway:
        token = gateway.token()
        with gateway.socket(token) as other, opened(gateway, token, receive_buffer=4096) as wire:
            other("configuration/put", name="big", value="x" * 65_000)
            wire.send(
                b"".join(
                    frame(b'{"action":"configuration/get","name":"big","requestId":%d}' % number)
                    for number in range(1_000)
                )
            )
            until(lambda: gauge(gateway, "outbox_bytes") > 65_536)
            assert [wire.answer()["requestId"] for _ in range(1_000)] == list(range(1_000))


def test_an_http_client_that_never_reads_its_answers_is_cut_off(data: Path) -> None:
    """Requests without reading the answers: after `--slow-seconds` the connection is gone and its memory free."""
    with RunningGateway(data, "--slow-seconds", "0.5") as gateway:
        token = gateway.token()
        with gateway.socket(token) as other, dial(gateway, receive_buffer=4096) as wire:
            fill(other)
            wire.send(ask_for_all(token) * 20)
            until(lambda: gauge(gateway, "connections") >= 3)
            until(lambda: gauge(gateway, "connections") == 2)
            assert other("configuration/get", name="big.1")["status"] == "success"


# Too much of something.


def test_too_many_failed_authentications_close_with_4029(strict: RunningGateway) -> None:
    """Guessing tokens over one socket ends after `--failed-authentications`, each guess answered."""
    with strict.socket("") as talk:
        for _ in range(3):
            assert talk("authenticate", token="guess")["code"] == 401
        with pytest.raises(ConnectionClosedError) as closed:
            talk("server/info")
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4029, "too many failed authentications")
    until(lambda: 4029 in [event["code"] for event in strict.events("socket closed")])


def test_guessing_passwords_and_refresh_tokens_counts_too(strict: RunningGateway) -> None:
    """Failures of all kinds of credentials count together; errors of other kinds do not."""
    with strict.socket("") as talk:
        for _ in range(5):
            assert talk("configuration/get", name="x")["code"] == 401
            assert talk("nonsense")["code"] == 400
        assert talk("token", login="guess", password="guess-1")["code"] == 401
        assert talk("token/refresh", refreshToken="guess")["code"] == 401
        assert talk("token", login="admin", password="guess-2")["code"] == 401
        with pytest.raises(ConnectionClosedError) as closed:
            talk.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4029


def test_more_requests_than_the_pipeline_takes_are_answered_all_the_same(strict: RunningGateway) -> None:
    """`--pipeline` bounds concurrent work, not what a client may send: a thousand puts are answered in order."""
    with opened(strict, strict.token()) as wire:
        put = '{"action":"configuration/put","requestId":%d,"name":"limits.pipeline","value":"v"}'
        wire.send(b"".join(frame((put % number).encode()) for number in range(1_000)))
        assert [wire.answer()["requestId"] for _ in range(1_000)] == list(range(1_000))


def test_http_requests_without_waiting_are_answered_in_order(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Sixty-four requests may wait behind one; of a flood so many are answered, then follow 503 and the end.

    Without a token few are parsed at a time, so all are answered."""
    ask = b"GET /health/%b HTTP/1.1\r\nHost: g\r\n\r\n"
    with dial(shared_gateway) as wire:
        wire.send(b"".join(ask % name for name in (b"live", b"gone") * 30))
        assert [wire.response()[0] for _ in range(60)] == [200, 404] * 30
        wire.send(ask % b"live" * 2_000)
        assert {wire.response()[0] for _ in range(2_000)} == {200}
    with dial(shared_gateway) as wire:
        with_token = (
            b"GET /api/rest/info HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %b\r\n\r\n" % admin_token.encode()
        )
        wire.send(with_token * 2_000)
        answers = [wire.response()[0]]
        while answers[-1] == 200:
            answers.append(wire.response()[0])
        assert answers[-1] == 503
        assert len(answers) > 65
        assert wire.ended()


def test_the_size_of_a_message_is_a_setting(strict: RunningGateway) -> None:
    """With `--message-bytes 4096` a message of that size is read; one byte more closes with 1009, all in one go."""
    text = b'{"action":"server/info","pad":"%b"}'
    room = 4_096 - len(text % b"")
    with opened(strict) as wire:
        wire.send(frame(text % (b"x" * room)) + frame(text % (b"x" * (room + 1))) + frame(INFO))
        assert wire.answer()["status"] == "success"
        assert wire.closed()[0] == 1009


# Messages and bodies that are not whole.


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with memory for 64 KiB of unfinished messages and bodies."""
    data = tmp_path_factory.mktemp("tight") / "hivewire.db"
    with RunningGateway(data, "--unfinished-bytes", str(64 << 10)) as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


def info_of(size: int) -> bytes:
    """A request of so many bytes."""
    text = b'{"action":"server/info","pad":"%b"}'
    return text % (b"x" * (size - len(text) + 2))


def one_frame(message: bytes) -> bytes:
    """The message in one frame."""
    return frame(message)


def two_frames(message: bytes) -> bytes:
    """The message in two fragments; the second is its last byte."""
    return frame(message[:-1], fin=False) + frame(message[-1:], CONTINUATION)


@pytest.mark.parametrize("cut", [one_frame, two_frames])
def test_unfinished_messages_share_a_budget(tight: RunningGateway, cut: Callable[[bytes], bytes]) -> None:
    """A socket that exceeds the budget for unfinished messages is closed with 1011 and may reconnect; the others finish
    theirs, and their memory is free again."""
    message, token = cut(info_of(60 << 10)), tight.token()
    with opened(tight, token) as first, opened(tight, token) as second, opened(tight, token) as third:
        first.send(message[:-1])
        until(lambda: gauge(tight, "unfinished_bytes") >= 55 << 10)
        second.send(message[:-1])
        assert second.closed() == (1011, "too many unfinished messages; try again later")
        assert second.ended()
        first.send(message[-1:])
        assert first.answer()["status"] == "success"
        assert gauge(tight, "unfinished_bytes") == 0
        third.send(message)
        assert third.answer()["status"] == "success"


def test_small_unfinished_messages_are_always_taken(tight: RunningGateway) -> None:
    """4 KiB of an unfinished message do not count for any connection, however many there are."""
    message, token = frame(info_of(4 << 10)), tight.token()
    with ExitStack() as stack:
        wires = [stack.enter_context(opened(tight, token)) for _ in range(20)]
        for wire in wires:
            wire.send(message[:-100])
        for wire in wires:
            wire.send(message[-100:])
            assert wire.answer()["status"] == "success"
        assert gauge(tight, "unfinished_bytes") == 0


@pytest.mark.parametrize("cut", [one_frame, two_frames])
def test_the_memory_of_an_unfinished_message_is_free_when_its_sender_is_gone(
    tight: RunningGateway, cut: Callable[[bytes], bytes]
) -> None:
    """A disconnect in the middle of a message, or an error in it, gives everything back."""
    token = tight.token()
    for behind in (b"", frame(b"x", BINARY)):
        with opened(tight, token) as wire:
            wire.send(cut(info_of(60 << 10))[:-7])
            until(lambda: gauge(tight, "unfinished_bytes") >= 55 << 10)
            wire.send(behind)
        until(lambda: gauge(tight, "unfinished_bytes") == 0)


def test_unfinished_bodies_draw_from_the_same_budget(tight: RunningGateway) -> None:
    """A body that needs more than is left gets 503; the one before it is finished, and its memory is free again."""
    token = tight.token()
    head, value = put_head(token, f"Content-Length: {60 << 10}"), b'{"value":"1"}'.ljust(60 << 10)
    with dial(tight) as first, dial(tight) as second, opened(tight, token) as socket:
        first.send(head, value[:-1])
        until(lambda: gauge(tight, "unfinished_bytes") >= 55 << 10)
        second.send(head, value[:-1])
        status, _, body = second.response()
        assert (status, body) == (503, {"error": 503, "message": "too many unfinished messages; try again later"})
        socket.send(frame(info_of(60 << 10))[:-1])
        assert socket.closed()[0] == 1011
        first.send(value[-1:])
        assert first.response()[0] == 200
        assert gauge(tight, "unfinished_bytes") == 0
    with dial(tight) as gone:
        gone.send(head, value[:-1])
        until(lambda: gauge(tight, "unfinished_bytes") >= 55 << 10)
    until(lambda: gauge(tight, "unfinished_bytes") == 0)


def heard(wire: Wire) -> tuple[int, bytes]:
    """The next frame that is not about whether anybody is there."""
    opcode, payload = wire.frame()
    while opcode in (PING, PONG):
        opcode, payload = wire.frame()
    return opcode, payload


@pytest.mark.parametrize(
    "begun",
    [
        b"\x81",
        frame(INFO)[:-1],
        frame(INFO, fin=False),
        frame(INFO, fin=False) + frame(b"", PING),
        frame(b"x", PING)[:3],
    ],
    ids=["half a head", "half a frame", "a fragment", "a fragment and a ping", "half a ping"],
)
def test_a_message_that_is_not_finished_in_time_closes_with_1002(impatient: RunningGateway, begun: bytes) -> None:
    """A message must be complete within `--body-seconds` of its start; answers before it are sent first."""
    with opened(impatient) as wire:
        wire.send(frame(INFO) + begun)
        assert wire.answer()["status"] == "success"
        assert heard(wire) == (CLOSE, (1002).to_bytes(2) + b"the message took over 0.4 s")
        assert wire.ended()


# Bodies.


@pytest.mark.parametrize("path", ["/token", "/token/refresh"])
def test_the_body_of_an_anonymous_caller_is_small(shared_gateway: RunningGateway, admin_token: str, path: str) -> None:
    """Without a token a body may have 128 KiB, and one byte more gets 413; with a token the common limit applies."""
    url, body = shared_gateway.rest_url + path, b'{"login":"nobody","password":"wrong","refreshToken":"x"}'
    assert httpx.post(url, content=body.ljust(128 << 10)).status_code == 401
    refused = httpx.post(url, content=body.ljust((128 << 10) + 1))
    assert (refused.status_code, refused.json()["message"]) == (413, "the body is over 131072 bytes")
    headers = {"Authorization": f"Bearer {admin_token}"}
    assert httpx.post(url, content=body.ljust((128 << 10) + 1), headers=headers).status_code == 401


def put_head(token: str, *headers: str) -> bytes:
    """The head of a PUT."""
    lines = ["PUT /api/rest/configuration/limits.body HTTP/1.1", "Host: g", f"Authorization: Bearer {token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_body_over_the_limit_is_refused_with_413(strict: RunningGateway) -> None:
    """A body longer than `--message-bytes` gets 413, announced or chunked; one of that size is read."""
    token = strict.token()
    value = json.dumps({"value": "x" * 4_084})
    assert len(value) == 4_097
    with strict.http(token) as client:
        assert client.put("/configuration/limits.body", content=value).status_code == 413
        refused = client.put("/configuration/limits.body", content=iter([value[:4_000].encode()] * 2))
        assert refused.status_code == 413
        assert refused.json() == {"error": 413, "message": "the body is over 4096 bytes"}
        assert client.put("/configuration/limits.body", content=value.replace("xx", "x", 1)).status_code == 200


def test_an_endless_body_is_cut_off(strict: RunningGateway) -> None:
    """A chunked body without end is refused as soon as it is over the limit."""
    head = put_head(strict.token(), "Transfer-Encoding: chunked")
    with dial(strict) as wire:
        wire.send(head + b"1000\r\n" + b" " * 4_096 + b"\r\n1\r\nx\r\n")  # at once: this is not about time
        status, headers, body = wire.response()
        assert (status, headers["connection"], body["error"]) == (413, "close", 413)
        assert wire.ended()


def test_a_body_is_not_read_without_the_right_to_write(strict: RunningGateway) -> None:
    """Without a token the answer is sent before the body."""
    with dial(strict) as wire:
        wire.send(b"PUT /api/rest/configuration/a HTTP/1.1\r\nHost: g\r\nContent-Length: 4000\r\n\r\n")
        assert wire.response()[0] == 401


def test_a_body_that_does_not_come_is_answered_with_408(impatient: RunningGateway) -> None:
    """Half a body, and then silence: 408, and nothing was written."""
    token = impatient.token()
    with dial(impatient) as wire:
        wire.send(put_head(token, "Content-Length: 100"), b'{"value":')
        status, headers, body = wire.response()
        assert (status, headers["connection"]) == (408, "close")
        assert body == {"error": 408, "message": "the body took over 0.4 s"}
        assert wire.ended()


def test_a_client_that_hangs_up_within_its_body_writes_nothing(
    shared_gateway: RunningGateway, admin_token: str
) -> None:
    """A request that is cut off is not carried out."""
    with dial(shared_gateway) as wire:
        wire.send(put_head(admin_token, "Content-Length: 100").replace(b"limits.body", b"limits.cut"), b'{"value":"1"}')
    with shared_gateway.http(admin_token) as client:
        assert client.get("/configuration/limits.cut").status_code == 404


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "x"])
def test_a_body_that_is_not_json_gets_415(shared_gateway: RunningGateway, admin_token: str, content_type: str) -> None:
    """Another content type than JSON is refused, whatever the bytes are."""
    with shared_gateway.http(admin_token) as client:
        refused = client.put(
            "/configuration/limits.type", content='{"value":"1"}', headers={"Content-Type": content_type}
        )
    assert refused.status_code == 415
    words = f"HTTP 415 Unsupported Media Type: the body must be application/json, not {content_type}"
    assert refused.json() == {"error": 415, "message": words}


def test_a_coded_body_gets_415(shared_gateway: RunningGateway, admin_token: str) -> None:
    """In every dialect that does not inflate it, with its error document, and before the body is sent."""
    with shared_gateway.http(admin_token) as admin:
        admin.post("/tenant", json={"tenantId": "coded"})
        client = admin.post("/client", json={"clientId": "coded", "tenants": {"coded": ["READ"]}}).json()
    pair = "admin", PASSWORD
    for method, path, auth in (
        ("POST", "/api/rest/token", ""),
        ("PUT", "/api/rest/configuration/coded", f"Bearer {admin_token}"),
        ("PUT", "/api/rest/configuration/coded/content", f"Bearer {admin_token}"),
        ("POST", "/oauth/token", basic("coded", client["clientSecret"])),
        ("PUT", "/@api/deki/site/properties/coded?abort=never", basic(*pair)),
        ("PUT", "/@api/deki/site/properties", basic(*pair)),
    ):
        lines = [f"{method} {path} HTTP/1.1", "Host: g", "Content-Encoding: gzip", "Content-Length: 100"]
        with dial(shared_gateway) as wire:
            wire.send("\r\n".join([*lines, *([f"Authorization: {auth}"] if auth else []), "", ""]).encode())
            status, headers = wire.head()
            assert (status, headers["connection"]) == (415, "close"), path
            assert b"Content-Encoding is not supported here" in wire.read(int(headers["content-length"])), path


def basic(login: str, password: str) -> str:
    """The header that has them."""
    return f"Basic {base64.b64encode(f'{login}:{password}'.encode()).decode()}"


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; charset=utf-8"])
def test_json_is_taken_with_any_spelling_of_its_type(
    shared_gateway: RunningGateway, admin_token: str, content_type: str | None
) -> None:
    """JSON in any case, with parameters, or without a type at all, is JSON."""
    headers = {"Content-Type": content_type} if content_type else {}
    with shared_gateway.http(admin_token) as client:
        taken = client.put("/configuration/limits.type", content='{"value":"1"}', headers=headers)
        assert taken.status_code == 200


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("{", "the body is not JSON: it ends too early"),
        ('{"value":1', "the body is not JSON: it ends too early"),
        ('{"value":"a\nb"}', "the body is not JSON: invalid character (byte 11)"),
        ('{"value":"1"} x', "the body is not JSON: trailing characters (byte 15)"),
        ("\x00", "the body is not JSON: invalid character (byte 0)"),
        ("[]", "the body is not a JSON object"),
        ("1", "the body is not a JSON object"),
        ('"45"', "the body is not a JSON object"),
        ("[" * 9_999, "the body is nested deeper than 128"),
        ('{"value":{}}', "value must be a string"),
    ],
)
def test_a_malformed_body_gets_400(shared_gateway: RunningGateway, admin_token: str, body: str, what: str) -> None:
    """A body that is not a JSON object, or has members of a wrong type, is `Invalid request parameters`; it says
    which."""
    with shared_gateway.http(admin_token) as client:
        refused = client.put("/configuration/limits.malformed", content=body)
    assert refused.status_code == 400
    assert refused.json()["message"].startswith(f"Invalid request parameters: {what}")


def test_a_body_that_is_not_utf_8_gets_400(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Bytes that are not text are refused."""
    with shared_gateway.http(admin_token) as client:
        assert client.put("/configuration/limits.utf", content=b'{"value":"\xff"}').status_code == 400


def test_a_body_nested_deeper_than_128_gets_400(shared_gateway: RunningGateway, admin_token: str) -> None:
    """The bound on nesting is the same over HTTP as over a socket."""
    with shared_gateway.http(admin_token) as client:
        nested = '{"data":{"a":%s}}'
        assert client.put("/user/1", content=nested.replace("%s", "[" * 126 + "]" * 126)).status_code == 204
        assert client.put("/user/1", content=nested.replace("%s", "[" * 127 + "]" * 127)).status_code == 400
        assert client.put("/user/1", content="{}").status_code == 204


def test_an_empty_body_is_reported_as_missing(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A PUT without a body, or with null, gets the error that the object is null."""
    with shared_gateway.http(admin_token) as client:
        for body in (None, b"", b" \n", b"null"):
            refused = client.put("/configuration/limits.empty", content=body)
            assert refused.json() == {"error": 400, "message": "Error! Validation failed: Object is null"}


# Paths and methods.


@pytest.mark.parametrize("path", ["/info", "/info/cache", "/"])
def test_head_is_get_without_the_body(shared_gateway: RunningGateway, path: str) -> None:
    """HEAD has status and headers of GET and no body; the connection goes on."""
    with dial(shared_gateway) as wire:
        for _ in range(2):
            wire.send(b"HEAD /api/rest%b HTTP/1.1\r\nHost: g\r\n\r\n" % path.encode())
            status, headers = wire.head()
            assert status == 200
            assert headers["content-type"].startswith(("application/json", "text/plain"))
        wire.send(b"GET /health/live HTTP/1.1\r\nHost: g\r\n\r\n")
        assert wire.response()[2] == {"status": "live"}


def test_a_post_may_stand_for_another_method(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Behind a proxy that passes only POST, `X-HTTP-Method-Override` names the method."""
    path, header = "/configuration/limits.override", "X-HTTP-Method-Override"
    with shared_gateway.http(admin_token) as client:
        put = client.post(path, json={"value": "1"}, headers={header: "PUT"})
        assert (put.status_code, put.json()["value"]) == (200, "1")
        assert client.post(path, headers={header: "OPTIONS"}).status_code == 204
        assert client.post(path, headers={header: "delete"}).status_code == 204
        assert client.get(path).status_code == 404
        assert client.post(path, json={"value": "1"}).status_code == 405
        assert client.get("/info", headers={header: "DELETE"}).status_code == 200


def test_a_connection_is_kept_for_the_next_request(shared_gateway: RunningGateway) -> None:
    """Success and errors leave the connection open, `Connection: close` and HTTP/1.0 end it."""
    with dial(shared_gateway) as wire:
        for path, status in ((b"info", 200), (b"configuration", 401), (b"nothing", 404), (b"info", 200)):
            wire.send(b"GET /api/rest/%b HTTP/1.1\r\nHost: g\r\n\r\n" % path)
            assert wire.response()[0] == status
        wire.send(b"GET /api/rest/info HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        assert wire.response()[0] == 200
        assert wire.ended()
    with dial(shared_gateway) as wire:
        wire.send(b"GET /api/rest/info HTTP/1.0\r\n\r\n")
        assert wire.response()[0] == 200
        assert wire.ended()


def offering(head: bytes, upgrades: bytes = b"Upgrade: h2c\r\n") -> bytes:
    """A request that offers to switch to other protocols than WebSocket, as Java's client and curl do."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\n" + upgrades + b"HTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    return head.replace(b"\r\n\r\n", b"\r\n" + offer + b"\r\n", 1)


@pytest.mark.parametrize(
    "upgrades", [b"Upgrade: h2c\r\n", b"UPGRADE:h2c, websocket\r\n", b"Upgrade: a\r\nUpgrade: websocket\r\n"]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upgrade_to_anything_but_websocket_is_ignored(
    shared_gateway: RunningGateway, admin_token: str, upgrades: bytes, chunked: bool
) -> None:
    """Every request of a connection may offer it: all are answered in HTTP/1.1, body and all, pipelined too."""
    value = b'{"value":"h2c"}'
    body = b"%x\r\n%b\r\n0\r\nX-Trailer: x\r\n\r\n" % (len(value), value) if chunked else value
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(value)
    head = b"PUT /api/rest/configuration/limits.h2c HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %b\r\n%b\r\n\r\n"
    put = offering(head % (admin_token.encode(), length), upgrades) + body
    get = offering(b"GET /api/rest/info HTTP/1.1\r\nHost: g\r\n\r\n", upgrades)
    with dial(shared_gateway) as wire:
        for sent in (put, put + put, put + get + put):
            wire.send(sent)
            for _ in range(sent.count(b"HTTP/1.1")):
                assert wire.response()[0] == 200
        wire.send(put, upgrade())
        assert [wire.response()[0], wire.head()[0]] == [200, 101]


def test_an_upgrade_is_ignored_wherever_its_bytes_are_cut(shared_gateway: RunningGateway) -> None:
    """The second request of a connection comes in two segments: it is answered, whatever the place of the cut."""
    body = b'{"login":"","password":"x"}'
    post = offering(b"POST /api/rest/token HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
    with dial(shared_gateway) as wire:
        for cut in range(1, len(post)):
            wire.send(post[:cut])
            lives(shared_gateway)  # by now the gateway has read the first piece
            wire.send(post[cut:])
            assert wire.response()[0] == 400, cut


def test_an_ignored_upgrade_changes_no_limit(shared_gateway: RunningGateway) -> None:
    """A head of 40 KiB with such an offer is answered; one of 70 KiB is not."""
    head = b"GET /api/rest/info HTTP/1.1\r\nHost: g\r\n%b\r\n"
    with dial(shared_gateway) as wire:
        wire.send(offering(head % ((b"X: " + b"x" * 1_000 + b"\r\n") * 40)))
        assert wire.response()[0] == 200
        wire.send(offering(head % ((b"X: " + b"x" * 1_000 + b"\r\n") * 70)))
        assert wire.response()[0] == 431


def test_the_header_connection_may_have_several_lines(shared_gateway: RunningGateway) -> None:
    """A handshake whose `Connection` comes in two lines opens a socket."""
    with dial(shared_gateway) as wire:
        wire.send(upgrade().replace(b"Connection: Upgrade", b"Connection: Upgrade\r\nConnection: keep-alive"))
        assert wire.head()[0] == 101


@pytest.mark.parametrize(
    ("encoded", "name"),
    [
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("%C3%A9", "é"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("..", ".."),
        ("%2e%2E", ".."),
        ("a;b=c", "a;b=c"),
        ("a%3Fb%23c", "a?b#c"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("%F0%9F%98%80", "😀"),
        ("info%2Fcache", "info/cache"),
    ],
)
def test_a_name_in_a_path_is_decoded_once(
    shared_gateway: RunningGateway, admin_token: str, encoded: str, name: str
) -> None:
    """The name is cut from the path as sent and decoded once, so any name can be reached."""
    body = b'{"value":"1"}'
    with dial(shared_gateway) as wire:
        wire.send(put_head(admin_token, f"Content-Length: {len(body)}").replace(b"limits.body", encoded.encode()), body)
        status, _, answer = wire.response()
        assert (status, answer["name"]) == (200, name)
    with shared_gateway.socket(admin_token) as talk:
        assert talk("configuration/delete", name=name)["status"] == "success"


# The admission is open to the end.


def test_sockets_that_end_in_any_way_leave_nothing_behind(shared_gateway: RunningGateway) -> None:
    """Sockets that end cleanly, with an error or in the middle of a frame free their places."""
    before = gauge(shared_gateway, "sockets")
    for number in range(200):
        with opened(shared_gateway) as wire:
            wire.send((b"", frame(INFO), frame(INFO)[:7], frame(b"", CLOSE), frame(b"", PING))[number % 5])
            if number % 5 == 4:
                assert wire.frame()[0] == PONG
            if number % 5 == 1:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    until(lambda: gauge(shared_gateway, "sockets") <= before)
