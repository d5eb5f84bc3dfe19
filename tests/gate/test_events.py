"""Event streams over HTTP: what `curl -N` and EventSource see."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hivewire_protocol.nouns.user import Role, Status
from tests.gate.wire import dial, gauge, memory, until
from tests.running import RunningGateway, Talk, brief_tokens
from tests.users import ADMIN, write_users

ACCEPT = {"Accept": "text/event-stream"}


class Stream:
    """The events of one stream, as dictionaries of their fields; `data` is decoded."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        for line in self._lines:
            if not line and event:
                yield event | {"data": json.loads(event["data"])}
                event = {}
            elif line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value

    def next(self) -> dict[str, Any]:
        """The next event."""
        return next(iter(self))


@contextmanager
def stream(
    gateway: RunningGateway,
    token: str | None = None,
    last: str | None = None,
    path: str = "/configuration",
    **query: Any,
) -> Iterator[Stream]:
    """An open stream; of configurations, unless the path is another one."""
    headers = ACCEPT | ({"Last-Event-ID": last} if last is not None else {})
    with (
        gateway.http(token) as http,
        http.stream("GET", path, params=query, headers=headers) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "text/event-stream"
        yield Stream(response)


def test_state_then_changes_with_ids(shared_gateway: RunningGateway, talk: Talk) -> None:
    """The members of the frames as data, and an id wherever there is a position."""
    talk("configuration/put", name="sse.a", value="1")
    with stream(shared_gateway, names="sse.*") as events:
        snapshot = events.next()
        assert snapshot["event"] == "snapshot"
        assert snapshot["data"]["configurations"] == [{"name": "sse.a", "value": "1", "entityVersion": 1}]
        assert snapshot["data"]["position"] == snapshot["id"]
        changes = [{"operation": "put", "name": f"sse.{n}", "value": "line\nbreak\u2028"} for n in "ab"]
        revision = talk("configuration/transact", changes=changes)["revision"]
        first, second = events.next(), events.next()
        assert (first["event"], first["data"]["more"], "id" in first) == ("update", True, False)
        assert second["id"] == second["data"]["position"]
        assert second["data"]["revision"] == revision
        assert second["data"]["configuration"] == {"name": "sse.b", "value": "line\nbreak\u2028", "entityVersion": 1}
    with stream(shared_gateway, names="sse.*", last=snapshot["id"]) as events:
        assert [events.next()["event"] for _ in range(3)] == ["bookmark", "update", "update"]
    with stream(shared_gateway, names="sse.*", since=snapshot["id"]) as events:
        assert events.next()["id"] == snapshot["id"]
    talk("configuration/delete", name="sse.a")
    talk("configuration/delete", name="sse.b")


def test_a_client_of_http_1_0_gets_no_chunks(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Proxies ask so. The answer ends with the connection, which another answer cannot have (RFC 9112, section 6.1)."""
    with dial(shared_gateway) as wire:
        wire.send(
            b"GET /api/rest/configuration?names=none.* HTTP/1.0\r\nConnection: keep-alive\r\n"
            b"Accept: text/event-stream\r\nAuthorization: Bearer %b\r\n\r\n" % admin_token.encode()
        )
        status, headers = wire.head()
        assert (status, headers["content-type"], headers["connection"]) == (200, "text/event-stream", "close")
        assert "transfer-encoding" not in headers
        assert wire.read(15) == b"event: snapshot"


def test_a_position_of_another_ledger_resets(shared_gateway: RunningGateway) -> None:
    """The snapshot says that it replaces the client's state, because an event stream has no reply that could."""
    with stream(shared_gateway, names="none.*", last="0123456789abcdef-5") as events:
        assert events.next()["data"]["reset"] is True


def test_without_a_snapshot_the_stream_begins_with_its_position(shared_gateway: RunningGateway) -> None:
    """A client that is disconnected at once can resume."""
    with stream(shared_gateway, snapshot="false") as events:
        event = events.next()
        assert (event["event"], event["id"]) == ("bookmark", event["data"]["position"])


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ({"names": "a*b"}, {}, 400),
        ({"since": "x"}, {}, 400),
        ({}, {"Last-Event-ID": "nonsense"}, 400),
        ({}, {"Authorization": "Bearer x"}, 401),
    ],
)
def test_a_refused_stream_is_an_error_document(
    shared_gateway: RunningGateway, admin_token: str, query: dict[str, str], headers: dict[str, str], code: int
) -> None:
    """The error comes before the first event, so with an HTTP status."""
    with shared_gateway.http(admin_token) as http:
        response = http.get("/configuration", params=query, headers=ACCEPT | headers)
    assert (response.status_code, response.json()["error"]) == (code, code)


def test_a_browsers_event_source_sends_its_token_in_the_query(shared_gateway: RunningGateway, admin_token: str) -> None:
    """It cannot set headers. Lists and writes take no such token, and it is never logged (RFC 6750, section 2.3)."""
    page, given = shared_gateway.rest_url + "/configuration", {"access_token": admin_token, "names": "sse.query"}
    with httpx.stream("GET", page, params=given, headers=ACCEPT) as response:
        assert response.status_code == 200
        assert Stream(response).next()["event"] == "snapshot"
    bearer = {"Authorization": f"Bearer {admin_token}"}
    assert httpx.get(page, params=given).status_code == 401
    assert httpx.put(page + "/sse.query", params=given, json={"value": "1"}).status_code == 401
    assert httpx.get(page, params=given, headers=ACCEPT | bearer).status_code == 400
    wrong = httpx.get(page, params={"access_token": "wr0ng"}, headers=ACCEPT)
    assert (wrong.status_code, "wr0ng" in wrong.text) == (401, False)
    assert httpx.get(page, params=[("access_token", admin_token)] * 2, headers=ACCEPT).status_code == 400
    log = f"{shared_gateway.log} {shared_gateway.noise}"
    assert "wr0ng" not in log
    assert admin_token not in log


@pytest.mark.parametrize("kind", ["command", "notification"])
def test_messages_of_devices_as_event_streams(shared_gateway: RunningGateway, talk: Talk, kind: str) -> None:
    """Of one device and of several; ids are positions. Without the media type, the paths are those of before: a list,
    and a device of that name."""
    device = f"streamed-{kind}"
    for name in (device, kind):
        talk("device/save", deviceId=name, device={"name": name, "networkId": 1, "deviceTypeId": 1})

    def insert(*names: str) -> None:
        for name in names:
            talk(f"{kind}/insert", deviceId=device, **{kind: {kind: name}})

    with stream(shared_gateway, path=f"/device/{device}/{kind}", names="a,b") as events:
        start = events.next()
        assert (start["event"], start["id"]) == ("bookmark", start["data"]["position"])
        insert("a", "x", "b")
        found = [events.next() for _ in range(2)]
        assert [(each["event"], each["data"][kind][kind]) for each in found] == [("insert", "a"), ("insert", "b")]
        assert all(each["id"] == each["data"]["position"] for each in found)
    with stream(shared_gateway, path=f"/device/{kind}", deviceTypeIds="1,2", last=found[0]["id"]) as events:
        assert [events.next()["data"].get(kind, {}).get(kind) for _ in range(3)] == [None, "x", "b"]
        assert events.next()["data"]["live"] is True
        insert("c")
        assert events.next()["data"][kind][kind] == "c"
    with shared_gateway.http() as http:
        assert [each[kind] for each in http.get(f"/device/{device}/{kind}", params={"sortOrder": "asc"}).json()][
            -1
        ] == "c"
        assert http.get(f"/device/{kind}").json()["id"] == kind
        assert http.get("/device/unknown", headers=ACCEPT).status_code == 404
        assert http.get(f"/device/unknown/{kind}", headers=ACCEPT).status_code == 404
        assert http.delete(f"/device/{kind}", headers=ACCEPT).status_code == 204
        assert http.get(f"/device/{kind}").status_code == 404
    talk("device/delete", deviceId=device)


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/event-streams"])
def test_a_request_without_the_stream_media_type_gets_the_list(
    shared_gateway: RunningGateway, admin_token: str, accept: str
) -> None:
    """The path of the event stream gives a list to requests that do not accept event streams."""
    with shared_gateway.http(admin_token) as http:
        response = http.get("/configuration", params={"names": "none.*"}, headers={"Accept": accept})
    assert response.json()["configurations"] == []


def test_a_stream_ends_with_its_token(data: Path) -> None:
    """`close` with 401, also when nothing happens in the ledger."""
    query = {"snapshot": "false", "names": "none"}
    with RunningGateway(data) as gateway, gateway.socket() as writer:
        for token in brief_tokens(writer):
            with (
                gateway.http(token) as http,
                http.stream("GET", "/configuration", params=query, headers=ACCEPT) as response,
            ):
                if response.status_code == 200:
                    events = [event["event"] for event in Stream(response)]
                    break
        else:
            raise AssertionError("all tokens were over too soon")
        assert events == ["bookmark", "close"]


def test_a_stream_of_a_locked_user_ends(data: Path) -> None:
    """At once, with the error that a request would get."""
    write_users(data, ADMIN, ("second", Role.ADMIN, Status.ACTIVE))
    with RunningGateway(data) as gateway, gateway.socket() as admin:
        user = gateway.token()
        with stream(gateway, user, snapshot="false") as events:
            events.next()
            threading.Thread(target=admin, args=("user/update",), kwargs={"userId": 1, "user": {"status": 1}}).start()
            assert events.next()["data"] == {"code": 401, "reason": "User is locked or disabled"}
            assert list(events) == []


def test_streams_end_when_the_gateway_stops(data: Path) -> None:
    """With 1001 and the time after which to reconnect, also as `retry`; the gateway stops cleanly."""
    with RunningGateway(data, "--drain-spread", "86400") as gateway, stream(gateway, snapshot="false") as events:
        events.next()
        gateway.process.send_signal(signal.SIGTERM)
        draining, event = events.next(), events.next()
        assert (draining["event"], event["event"]) == ("draining", "close")
        assert draining["data"] == {"alternatives": [], "retry": int(event["retry"])}
        assert event["data"]["code"] == 1001
        assert event["data"]["reason"] == f"server going away; retry={event['retry']}"
        assert 0 <= int(event["retry"]) <= 1_000, "a lone client has nobody to wait for"
        assert list(events) == []
        assert gateway.stop() == 0


def test_streams_that_nobody_reads_do_not_hold_up_a_stop(data: Path) -> None:
    """They are cut after `drain_seconds`. Those that are read have had their end by then."""
    flags = ("--outbox-bytes", "65536", "--drain-seconds", "1", "--slow-seconds", "600")
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(RunningGateway(data, *flags))
        writer = stack.enter_context(gateway.socket())
        head = f"GET /api/rest/configuration HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {gateway.token()}\r\n"
        wires = [stack.enter_context(dial(gateway, 4_096)) for _ in range(20)]
        for wire in wires:
            wire.send(f"{head}Accept: text/event-stream\r\n\r\n".encode())
            assert wire.head()[0] == 200
        for _ in range(50):
            writer("configuration/put", name="big", value="x" * 60_000)
        with stream(gateway, names="none") as events:
            events.next()
            gateway.process.send_signal(signal.SIGTERM)
            assert [event["data"].get("code", event["event"]) for event in events] == ["draining", 1001]
        assert gateway.stop() == 0
        assert not [line for line in gateway.log if "exception" in line]


def test_a_stream_that_nobody_reads_is_bounded(data: Path) -> None:
    """Its unread frames stay within the budget; when it is read again everything arrives, in order."""
    flags = ("--outbox-bytes", "65536", "--bookmark-seconds", "0.1")
    value, puts = "x" * 60_000, 200
    with RunningGateway(data, *flags) as gateway, gateway.socket() as writer, dial(gateway, 4_096) as wire:
        request = (
            f"GET /api/rest/configuration?names=big HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {gateway.token()}\r\n"
        )
        wire.send(f"{request}Accept: text/event-stream\r\n\r\n".encode())
        before = memory(gateway)
        for _ in range(puts):
            writer("configuration/put", name="big", value=value)
        # The ledger's end in memory has a bound of its own, 8 MiB; all that was put is 12 MB and would be pushed twice.
        assert memory(gateway) - before < 24 << 20
        wire.head()
        versions: list[int] = []
        unread = ""
        while len(versions) < puts:
            size = int(wire._reader.readline(), 16)
            *lines, unread = (unread + wire.read(size + 2)[:-2].decode()).split("\n")
            for line in lines:
                if line.startswith('data: {"position"') and '"operation":"put"' in line:
                    versions.append(json.loads(line[6:])["configuration"]["entityVersion"])
        assert versions == list(range(1, puts + 1))


def test_a_stream_that_must_not_be_conflated_is_closed(data: Path) -> None:
    """`conflate=false`: `close` with 4008 when there is too much to catch up with."""
    flags = ("--outbox-bytes", "1024", "--conflate-after", "3", "--conflate-seconds", "0.1")
    with RunningGateway(data, *flags) as gateway, gateway.socket() as writer, dial(gateway, 4_096) as wire:
        request = (
            f"GET /api/rest/configuration?conflate=false HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {gateway.token()}"
        )
        wire.send(f"{request}\r\nAccept: text/event-stream\r\n\r\n".encode())
        wire.head()
        for _ in range(300):
            writer("configuration/put", name="big", value="x" * 60_000)
        data_so_far = b""
        while b"event: close" not in data_so_far[-500:]:
            size = int(wire._reader.readline(), 16)
            data_so_far = data_so_far[-500:] + wire.read(size + 2)
        assert b'"code":4008' in data_so_far


def test_a_stream_that_is_not_read_says_why_it_ends(data: Path) -> None:
    """A client that reads nothing for `slow_seconds` finds `close` with 4008 after the frames in flight."""
    flags = ("--outbox-bytes", "65536", "--slow-seconds", "0.5")
    with (
        RunningGateway(data, *flags, main="tests.gate.patient:main") as gateway,
        gateway.socket() as writer,
        dial(gateway, 4_096) as wire,
    ):
        head = f"GET /api/rest/configuration HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {gateway.token()}"
        wire.send(f"{head}\r\nAccept: text/event-stream\r\n\r\n".encode())
        wire.head()
        for _ in range(100):
            writer("configuration/put", name="big", value="x" * 60_000)
        until(lambda: gauge(gateway, "closing_streams") == 1)
        rest = b""
        while size := int(wire._reader.readline(), 16):
            rest = rest[-500:] + wire.read(size + 2)
        assert rest.rstrip().endswith(b'event: close\ndata: {"code":4008,"reason":"slow consumer"}')


def test_a_stream_keeps_nothing_of_the_head_of_its_request(data: Path) -> None:
    """However long headers and query are, they are freed before the first event."""
    with RunningGateway(data) as gateway, contextlib.ExitStack() as stack:
        token, size = gateway.token(), 28_000

        def follow(count: int) -> int:
            for _ in range(count):
                wire = stack.enter_context(dial(gateway))
                junk = "".join(f"X-{number}: {'x' * (size // 100)}\r\n" for number in range(100))
                head = f"GET /api/rest/configuration?names=none&junk={'x' * size} HTTP/1.1\r\nHost: h\r\n{junk}"
                wire.send(f"{head}Authorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n".encode())
                assert wire.head()[0] == 200
            until(lambda: gauge(gateway, "streams") >= count)
            return memory(gateway)

        before = follow(20)
        assert follow(120) - before < 120 * size


def test_a_client_that_leaves_is_forgotten(data: Path) -> None:
    """When the client of an event stream disconnects, its stream and its subscription end."""
    with RunningGateway(data) as gateway:
        with stream(gateway, snapshot="false") as events:
            events.next()
            assert gauge(gateway, "streams") == 1
        until(lambda: gauge(gateway, "streams") == gauge(gateway, "subscriptions") == 0)
