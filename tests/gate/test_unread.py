"""Answers that are larger than what the kernel takes, and peers that do not read them."""

from __future__ import annotations

import base64
import json
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.gate.test_tenant import OPEN, Place, Tenant
from tests.gate.wire import BINARY, CLOSE, INFO, Wire, dial, frame, gauge, memory, until, upgrade
from tests.protocol import tenants
from tests.running import PASSWORD, PATIENCE, RunningGateway

MEBI = 1 << 20
LARGE = 8 * MEBI
STORED, MADE = "", "?options=showAccess"
"""The document as it is in memory, and one that is made for the answer."""


def tenant_of(gateway: RunningGateway) -> Tenant:
    """A tenant whose document is large."""
    tenant = Place(gateway).tenant()
    tenant.saved(tenants.document() | {"description": "x" * LARGE})
    return tenant


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """A tenant of a gateway with memory for one large unread answer."""
    data = tmp_path_factory.mktemp("unread") / "hivewire.db"
    with RunningGateway(data, "--unread-bytes", str(LARGE + 4 * MEBI)) as gateway:
        yield tenant_of(gateway)
        while OPEN:
            OPEN.pop().close()
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


def ask(tenant: Tenant, query: str, method: str = "GET") -> bytes:
    """A request for the document."""
    return ask_for(f"/reltio/api/{tenant.name}/configuration{query}", tenant.token, method)


def ask_for(path: str, token: str, method: str = "GET") -> bytes:
    """A request with a token."""
    return f"{method} {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def ask_info(times: int) -> bytes:
    """The same request, so many times."""
    return b"GET /api/rest/info HTTP/1.1\r\nHost: g\r\n\r\n" * times


def received(wire: Wire) -> int:
    """Bytes that come until the connection ends."""
    size = 0
    try:
        while piece := wire.socket.recv(MEBI):
            size += len(piece)
    except ConnectionResetError:
        pass
    return size


def test_large_answers_come_whole_one_behind_the_other(tenant: Tenant) -> None:
    """Whatever they are built from, whether or not they are read at once; HEAD has the length of GET and no body."""
    expected = tenant.get().content
    with dial(tenant.gateway, 4_096) as wire:
        wire.send(ask(tenant, STORED), ask(tenant, STORED, "HEAD"), ask(tenant, MADE), ask(tenant, STORED))
        until(lambda: gauge(tenant.gateway, "unread_bytes"))
        status, headers = wire.head()
        assert (status, wire.read(int(headers["content-length"]))) == (200, expected)
        assert wire.head() == (200, headers)
        status, _, made = wire.response()
        assert (status, len(made["description"])) == (200, LARGE)
        assert wire.response()[2] == json.loads(expected)
    until(lambda: gauge(tenant.gateway, "unread_bytes") == 0)


def test_who_loses_its_rights_gets_no_more_of_a_list(tenant: Tenant) -> None:
    """However slowly it reads, over the connection that has begun; others get the whole list."""
    gateway, size, asked = tenant.gateway, 60 << 10, 200
    with gateway.http() as admin:
        device = admin.get("/device").json()[0]["id"]
        path = f"/device/{device}/notification"
        for _ in range(asked):
            body = {"notification": "n", "parameters": {"text": "x" * size}}
            assert admin.post(path, json=body).status_code == 201
        payload = {"userId": 1, "actions": ["*"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
        ended, other = (admin.post("/token/create", json=payload).json()["accessToken"] for _ in range(2))
        with dial(gateway, 4_096) as first, dial(gateway, 4_096) as second:
            for wire, token in ((first, ended), (second, other)):
                wire.send(ask_for(f"/api/rest{path}?take={asked}", token))
                assert wire.head()[0] == 200
            assert admin.post("/token/revoke", json={"token": ended}).status_code == 204
            assert received(first) < size * asked // 2
            second.send(b"GET /api/rest/info HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
            assert received(second) > size * asked


def test_who_loses_its_rights_gets_no_more_of_the_site_properties(tenant: Tenant) -> None:
    """An administrator that is demoted while it reads them."""
    gateway, size, count = tenant.gateway, 60 << 10, 200
    with gateway.http() as admin:
        user = {"login": "second", "password": PASSWORD, "role": 0, "status": 0}
        number = admin.post("/user", json=user).json()["id"]
        for index in range(count):
            assert admin.put(f"/configuration/large.{index}", json={"value": "x" * size}).is_success
        basic = base64.b64encode(f"second:{PASSWORD}".encode()).decode()
        path = f"/@api/deki/site/properties?contentcutoff={size}"
        with dial(gateway, 4_096) as wire:
            wire.send(f"GET {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Basic {basic}\r\n\r\n".encode())
            assert wire.head()[0] == 200
            assert admin.put(f"/user/{number}", json={"role": 1}).status_code == 204
            assert received(wire) < size * count // 2


def test_who_loses_its_rights_gets_no_more_of_a_history(tenant: Tenant) -> None:
    """Of large versions the one that is being sent is the last."""
    own = tenant_of(tenant.gateway)
    own.saved(tenants.document() | {"description": "y" * LARGE})
    with dial(own.gateway, 4_096) as wire:
        wire.send(ask(own, "/_history"))
        assert wire.head()[0] == 200
        with own.gateway.http() as admin:
            assert admin.post("/token/revoke", json={"token": own.token}).status_code == 204
        assert received(wire) < LARGE + MEBI


def test_unread_documents_share_the_ledgers_memory(tenant: Tenant) -> None:
    """However many clients request a document and do not read it, it is in memory once."""
    before, number = memory(tenant.gateway), 30
    with ExitStack() as stack:
        for asked in range(1, number + 1):
            stack.enter_context(dial(tenant.gateway, 4_096)).send(ask(tenant, STORED))
            until(lambda asked=asked: gauge(tenant.gateway, "unread_bytes") > asked * (64 << 10))  # type: ignore[misc]
        assert gauge(tenant.gateway, "unread_bytes") < number * (512 << 10)
        assert memory(tenant.gateway) - before < 2 * LARGE
    until(lambda: gauge(tenant.gateway, "unread_bytes") == 0)


def test_the_connection_that_has_not_read_for_longest_is_closed(tenant: Tenant) -> None:
    """When unread answers exceed the limit together, the connection that has not read for longest is closed; the last
    one gets its answer, and all memory is free again."""
    with dial(tenant.gateway, 4_096) as first, dial(tenant.gateway, 4_096) as second:
        first.send(ask(tenant, MADE))
        until(lambda: gauge(tenant.gateway, "unread_bytes") > LARGE)
        # The connection of an earlier reading may not be closed yet, and be counted.
        connected = min(gauge(tenant.gateway, "connections") for _ in range(5))
        second.send(ask(tenant, MADE))
        until(lambda: gauge(tenant.gateway, "connections") < connected)
        assert received(first) < LARGE
        assert gauge(tenant.gateway, "unread_bytes") > LARGE
        assert len(second.response()[2]["description"]) == LARGE
        assert gauge(tenant.gateway, "unread_bytes") == 0


def test_no_answer_is_built_while_an_earlier_one_is_unread(tenant: Tenant) -> None:
    """Requests after an unread answer wait, and hold no memory."""
    gateway, token, number = tenant.gateway, tenant.gateway.token(), 10
    medium = f"GET /api/rest/configuration/medium HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n"
    with gateway.http(token) as admin, ExitStack() as stack:
        assert admin.put("/configuration/medium", json={"value": "x" * 60_000}).status_code == 200
        assert tenant.get(options="showAccess").status_code == 200
        before = memory(gateway)
        for _ in range(number):
            wire, unread = stack.enter_context(dial(gateway, 4_096)), gauge(gateway, "unread_bytes")
            while gauge(gateway, "unread_bytes") == unread:
                wire.send(medium.encode() * 4)
            wire.send(ask(tenant, MADE))
        assert tenant.get(options="showAccess").status_code == 200  # long after the others would have been made
        assert memory(gateway) - before < number * LARGE // 2
    until(lambda: gauge(gateway, "unread_bytes") == 0)


def test_a_peer_that_never_reads_is_disconnected(data: Path) -> None:
    """After `slow_seconds`, and three more; its memory is free again."""
    with RunningGateway(data, "--slow-seconds", "0.1") as gateway:
        tenant = tenant_of(gateway)
        with dial(gateway, 4_096) as wire:
            wire.send(ask(tenant, MADE))
            until(lambda: gauge(gateway, "unread_bytes") > LARGE)
            until(lambda: gauge(gateway, "unread_bytes") == 0)
            assert received(wire) < LARGE


def test_an_answer_that_is_being_read_is_finished_before_a_stop(data: Path) -> None:
    """A stop waits for `drain_seconds` until it is read."""
    with RunningGateway(data) as gateway:
        tenant = tenant_of(gateway)
        with dial(gateway, 4_096) as wire:
            wire.send(ask(tenant, MADE))
            until(lambda: gauge(gateway, "unread_bytes") > LARGE)
            gateway.process.send_signal(signal.SIGTERM)
            until(lambda: gateway.events("stopping"))
            assert len(wire.response()[2]["description"]) == LARGE
            assert wire.ended()
        assert gateway.process.wait(PATIENCE) == 0


RESET = b"\x01\0\0\0\0\0\0\0"
"""SO_LINGER: close with a reset, at once."""


def test_a_reset_with_waiting_requests_is_not_logged(tenant: Tenant) -> None:
    """A connection that is reset in the middle of an answer, with requests waiting, is closed without an error."""
    gateway = tenant.gateway
    with dial(gateway, receive_buffer=4_096) as wire:
        wire.send(ask(tenant, MADE), ask(tenant, STORED))
        until(lambda: gauge(gateway, "unread_bytes") > 0)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    until(lambda: gauge(gateway, "unread_bytes") == 0)
    told = len(gateway.events("authentication failed"))
    httpx.post(gateway.rest_url + "/token", json={"login": "nobody", "password": "nothing"})
    until(lambda: len(gateway.events("authentication failed")) > told)  # what was logged before has been read, too
    assert not [entry for entry in gateway.log if entry["level"] == "error"]


PIPELINED = {
    "requests": ask_info(60),
    "and no HTTP": ask_info(30) + b"nonsense\r\n\r\n",
    "and a socket": ask_info(30) + upgrade() + frame(INFO) * 100,
    "a socket": upgrade() + frame(INFO) * 2_000,
    "a socket that closes": upgrade() + frame(INFO) * 100 + frame(b"\x03\xe8", CLOSE),
    "a socket that errs": upgrade() + frame(INFO) * 100 + frame(b"x", BINARY),
}


@pytest.mark.parametrize("sent", PIPELINED.values(), ids=PIPELINED.keys())
def test_a_reset_after_pipelined_requests_is_not_logged(tenant: Tenant, sent: bytes) -> None:
    """Whatever was sent before, and however far the gateway is, the connection is closed without an error."""
    gateway = tenant.gateway
    before = gauge(gateway, "connections")
    for number in range(50):
        with dial(gateway, receive_buffer=4_096) as wire:
            wire.send(sent)
            for _ in range(number % 3):
                gauge(gateway, "connections")
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    until(lambda: gauge(gateway, "connections") <= before)
    assert not [entry for entry in gateway.log if entry["level"] == "error"]
    assert not gateway.noise


def test_a_reset_under_tls_is_not_logged(data: Path, certificate: tuple[Path, Path]) -> None:
    """Also where pushes are under way to a socket that was reset: the event loop would warn of each."""
    cert, key = map(str, certificate)
    with RunningGateway(data, f"--tls-certificate={cert}", f"--tls-key={key}") as gateway:
        trusting = ssl.create_default_context(cafile=cert)
        login = {"login": "admin", "password": PASSWORD}
        token = httpx.post(f"https://localhost:{gateway.port}/api/rest/token", json=login, verify=trusting).json()
        subscribe = frame(b'{"action":"configuration/subscribe","snapshot":false}')
        put = frame(b'{"action":"configuration/put","name":"a","value":"%b"}' % (b"x" * 1_000))
        for number in range(40):
            plain = socket.create_connection(("127.0.0.1", gateway.port))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with trusting.wrap_socket(plain, server_hostname="localhost") as wire:
                wire.sendall(upgrade(token=token["accessToken"]) + subscribe * 3 + put * 100)
                for _ in range(number % 4):
                    wire.recv(4_096)
        assert gateway.stop() == 0
    assert gateway.events("stopped")
    assert not [entry for entry in gateway.log if entry["level"] in ("warning", "error")]
    assert not gateway.noise


def test_a_stream_with_a_request_behind_it_ends_with_its_connection(data: Path) -> None:
    """Nothing is read after a waiting request, so the end is noticed at the stream's next comment."""
    with RunningGateway(data, "--ping-seconds", "0.2") as gateway:
        head = f"Host: g\r\nAuthorization: Bearer {gateway.token()}\r\n"
        stream = f"GET /api/rest/configuration HTTP/1.1\r\n{head}Accept: text/event-stream\r\n\r\n"
        with dial(gateway) as wire:
            wire.send(stream.encode())
            until(lambda: gauge(gateway, "streams") > 0)
            wire.send(f"GET /api/rest/info HTTP/1.1\r\n{head}\r\n".encode())
            httpx.get(gateway.rest_url + "/info").raise_for_status()  # so it has been read
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        until(lambda: gauge(gateway, "streams") == 0)
