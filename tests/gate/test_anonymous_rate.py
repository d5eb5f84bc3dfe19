"""Requests without a token are limited for each address; those with one, health checks and metrics are not."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gate.wire import INFO, Wire, dial, frame, opened, until, upgrade
from tests.running import PASSWORD, PATIENCE, RunningGateway

WORDS = "Too many requests without a token from this address; try again in 1 s"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that answers one request a second of an address, and two at once."""
    path = tmp_path_factory.mktemp("slow") / "hivewire.db"
    with RunningGateway(path, "--anonymous-rate", "1", "--trusted-proxies", "127.0.0.9") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def token(slow: RunningGateway) -> str:
    """A token of its administrator, who is somewhere else."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.8")) as client:
        answer = client.post(slow.rest_url + "/token", json={"login": "admin", "password": PASSWORD}, timeout=PATIENCE)
    return str(answer.json()["accessToken"])


def get(path: str, *headers: str) -> bytes:
    """A request without a body."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: g", *headers, "", ""]).encode()


def asked(gateway: RunningGateway, request: bytes, source: str = "") -> tuple[int, dict[str, str], bytes]:
    """The answer to a request on a connection of its own."""
    with dial(gateway, source=source) as wire:
        wire.send(request)
        status, headers = wire.head()
        return status, headers, wire.read(int(headers.get("content-length", "0")))


def refused(gateway: RunningGateway, request: bytes, source: str = "") -> tuple[dict[str, str], bytes]:
    """Headers and body of the first answer that is a 429."""
    while True:
        status, headers, body = asked(gateway, request, source)
        if status == 429:
            return headers, body


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/api/rest/info", {"error": 429, "message": WORDS, "retryAfter": 1}),
        ("/api/rest/configuration", {"error": 429, "message": WORDS, "retryAfter": 1}),
        ("/api/rest/configuration/a/content", {"error": 429, "message": WORDS, "retryAfter": 1}),
        ("/", {"error": 429, "message": WORDS, "retryAfter": 1}),
        ("/nowhere", {"error": 429, "message": WORDS, "retryAfter": 1}),
        ("/oauth/token", {"error": "temporarily_unavailable", "error_description": WORDS}),
        (
            "/reltio/status",
            {
                "severity": "Error",
                "errorMessage": WORDS,
                "errorCode": 429,
                "errorDetailMessage": "Too many requests without a token from this address; `retryAfter` says how many "
                "seconds to wait.",
            },
        ),
        (
            "/@api/deki/site/properties?dream.out.format=json",
            {
                "status": "429",
                "title": "Too Many Requests",
                "message": WORDS,
                "uri": "http://g/@api/deki/site/properties",
            },
        ),
    ],
)
def test_beyond_the_rate_every_dialect_answers_429(slow: RunningGateway, path: str, document: Any) -> None:
    """With `Retry-After`, in the form of its other errors, whether there is such a page or a right to it or not."""
    headers, body = refused(slow, get(path))
    assert headers["retry-after"] == "1"
    assert json.loads(body) == document


def test_requests_with_a_token_and_probes_are_never_refused(slow: RunningGateway, token: str) -> None:
    """However many there are, and while anonymous callers at the same address are."""
    refused(slow, get("/"))
    with opened(slow, token) as member, dial(slow) as other:
        for _ in range(20):
            member.send(frame(INFO))
            assert member.answer()["status"] == "success"
            other.send(get("/api/rest/info", f"Authorization: Bearer {token}"))
            assert other.response()[0] == 200
            for path in ("/health/live", "/health/ready", "/metrics"):
                assert asked(slow, get(path))[0] == 200
    assert refused(slow, get("/"))


def test_a_wrong_token_counts_like_none(slow: RunningGateway) -> None:
    """A caller with a made-up token is anonymous."""
    headers, _ = refused(slow, get("/api/rest/info", "Authorization: Bearer wrong"))
    assert headers["retry-after"] == "1"
    headers, _ = refused(slow, upgrade(token="wrong"))
    assert headers["retry-after"] == "1"


def test_requests_on_a_socket_count_until_it_logs_in(slow: RunningGateway, token: str) -> None:
    """Those of a pipeline beyond the rate are answered 429 one by one, in order, and then it goes on."""
    headers, body = refused(slow, upgrade(), "127.0.0.3")
    assert (headers["retry-after"], json.loads(body)) == ("1", {"error": 429, "message": WORDS, "retryAfter": 1})

    def handshake() -> Wire | None:
        wire = Wire(slow, source="127.0.0.4")
        wire.send(upgrade())
        return wire if wire.head()[0] == 101 else wire.close()

    wire = open_when_allowed(handshake)
    requests = [json.dumps({"action": "server/info", "requestId": number}).encode() for number in range(6)]
    wire.send(b"".join(map(frame, requests)))
    answers = [wire.answer() for _ in requests]
    assert [answer["requestId"] for answer in answers] == list(range(6))
    late = [answer for answer in answers if answer["status"] == "error"]
    assert late[0] == {
        "action": "server/info",
        "requestId": late[0]["requestId"],
        "status": "error",
        "code": 429,
        "error": WORDS,
        "retryAfter": 1,
    }
    assert any(answer["status"] == "success" for answer in answers)
    wire.send(*(frame(json.dumps({"action": "authenticate", "token": token}).encode()) for _ in range(3)))
    until(lambda: wire.answer()["status"] == "success")
    wire.send(frame(json.dumps({"action": "server/info", "requestId": "after"}).encode()) * 20)
    answers = [wire.answer() for _ in range(20)]
    answers += [wire.answer() for answer in answers if answer["action"] == "authenticate"]
    assert {answer["status"] for answer in answers if answer.get("requestId") == "after"} == {"success"}
    wire.close()


def open_when_allowed(attempt: Callable[[], Wire | None]) -> Wire:
    """The result of an attempt that is repeated until it is allowed."""
    while (wire := attempt()) is None:
        pass
    return wire


def test_a_batch_counts_as_many_requests_as_it_has(data: Path) -> None:
    """A batch counts as many requests as it has elements."""
    with RunningGateway(data, "--anonymous-rate", "50") as gateway, opened(gateway) as wire:
        calls = [{"jsonrpc": "2.0", "id": number, "method": "server/info"} for number in range(1_000)]
        wire.send(frame(json.dumps(calls).encode()))
        assert all("result" in each for each in wire.answer())
        wire.send(frame(json.dumps({"action": "server/info"}).encode()))
        assert 5 < wire.answer()["retryAfter"] <= 19  # of the 20 s that it took, two may be ahead


def test_a_login_returns_what_it_used(data: Path) -> None:
    """Many programs at one address log in one after the other: what a login took does not count."""
    with RunningGateway(data, "--anonymous-rate", "2") as gateway:
        token = gateway.token()
        for _ in range(20):
            with opened(gateway) as wire:
                wire.send(frame(json.dumps({"action": "authenticate", "token": token}).encode()))
                assert wire.answer()["status"] == "success"


def test_behind_a_trusted_proxy_the_address_of_the_client_counts(slow: RunningGateway) -> None:
    """Each client has a rate of its own, and one whose address is not named has none."""
    proxy = "127.0.0.9"
    refused(slow, get("/", "X-Forwarded-For: 192.0.2.1"), proxy)
    assert asked(slow, get("/", "X-Forwarded-For: 192.0.2.2"), proxy)[0] == 200
    with dial(slow, source=proxy) as wire:
        refused(slow, get("/", "X-Forwarded-For: 192.0.2.3"), proxy)
        for _ in range(20):
            wire.send(get("/"))
            assert wire.response()[0] == 200


def test_the_rate_can_be_switched_off(data: Path) -> None:
    """With `--anonymous-rate 0` an address may send any number of requests."""
    with RunningGateway(data, "--anonymous-rate", "0") as gateway, dial(gateway) as wire:
        for _ in range(300):
            wire.send(get("/api/rest/info"))
            assert wire.response()[0] == 200


def test_a_peer_that_goes_on_sending_after_a_refusal_is_not_read_for_ever(slow: RunningGateway) -> None:
    """It may lose the answer, but costs nothing more: what it sends stays in the buffers of the system."""
    with dial(slow) as wire:
        wire.send(b"NONSENSE\r\n\r\n")
        sent, piece = 0, bytes(1 << 20)
        wire.socket.settimeout(1)
        try:
            while sent < 256 << 20:
                sent += wire.socket.send(piece)
        except OSError:  # nothing is taken any more, or the connection is cut
            pass
        assert sent < 64 << 20


def test_metrics_are_rendered_a_few_times_a_second_at_most(data: Path) -> None:
    """More frequent requests get the last page, because rendering one takes some milliseconds."""
    with RunningGateway(data, "--anonymous-rate", "100000") as gateway, dial(gateway) as wire:
        wire.send((get("/api/rest/info") + get("/metrics")) * 100)  # each page would count one request more
        pages = set()
        for _ in range(100):
            assert wire.response()[0] == 200
            status, headers = wire.head()
            assert status == 200
            pages.add(wire.read(int(headers["content-length"])))
        assert len(pages) < 100


def test_a_long_pipeline_is_answered_in_order(data: Path) -> None:
    """Few of its requests are parsed at a time while nobody has logged in; the half-close at its end is respected."""
    with RunningGateway(data, "--anonymous-rate", "0") as gateway, dial(gateway) as wire:
        post = b"POST /api/rest/token HTTP/1.1\r\nHost: g\r\nContent-Length: 700\r\n\r\n" + b" " * 700
        wire.send(b"".join(get("/") + post + get(f"/health/{number}") for number in range(60)))
        for number in range(60):
            assert [wire.response()[0] for _ in range(3)] == [200, 400, 404], number
        wire.send(get("/") * 40)
        wire.socket.shutdown(socket.SHUT_WR)
        assert [wire.response()[0] for _ in range(40)] == [200] * 40
        assert wire.ended()
