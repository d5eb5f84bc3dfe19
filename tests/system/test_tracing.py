"""Traces: a collector gets the spans of requests, below those of their callers, and of what their writes wait for."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from hivewire.settings import Settings
from hivewire.tracing.spans import Tracing
from tests.running import NotStarted, RunningGateway
from tests.world import HeldJournal, World

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CALLER}-01"
"""The example of W3C Trace Context."""


class Collector(ThreadingHTTPServer):
    """What takes traces by OTLP over HTTP, and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[ExportTraceServiceRequest] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Span]:
        """All spans that have come."""
        return [
            span
            for taken in self.taken
            for resource in taken.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_the_collector_gets_what_a_caller_asked_and_what_it_waited_for(data: Path, collector: Collector) -> None:
    """Over HTTP and over a socket, with what failed, and not without a caller's wish."""
    with RunningGateway(data, "--otlp-endpoint", collector.url) as gateway:
        with gateway.http() as client:
            traced = {"traceparent": PARENT}
            assert client.put("/configuration/traced", json={"value": "1"}, headers=traced).status_code == 200
            assert client.get("/configuration/missing", headers=traced).status_code == 404
            not_sampled = {"traceparent": PARENT[:-1] + "0"}
            assert client.get("/configuration/traced", headers=not_sampled).status_code == 200
        with gateway.socket() as talk:
            assert talk("configuration/put", name="traced", value="2", trace=PARENT)["status"] == "success"
            assert talk("configuration/put", name="traced", value="3", entityVersion=1, trace=PARENT)["code"] == 409
            assert talk("configuration/get", name="traced", trace={"no": "text"})["status"] == "success"
            assert talk("command/insert", deviceId="none", command={"command": "c"}, trace=PARENT)["code"] == 404
        assert gateway.stop() == 0
    below: dict[str, list[Span]] = {}
    for span in collector.spans:
        below.setdefault(span.parent_span_id.hex(), []).append(span)
    asked = {(span.name, *attributes(span).values()): span for span in below[CALLER]}
    assert set(asked) == {
        ("PUT /api/rest/configuration/{name}", "PUT", "/api/rest/configuration/{name}", "configuration/put", 200),
        ("GET /api/rest/configuration/{name}", "GET", "/api/rest/configuration/{name}", "configuration/get", 404),
        ("configuration/put", 200),
        ("configuration/put", 409),
        ("command/insert", 404),
    }
    assert {span.trace_id.hex() for span in asked.values()} == {TRACE}
    assert {span.kind for span in asked.values()} == {Span.SPAN_KIND_SERVER}
    for key, span in asked.items():
        waited = [(each.name, attributes(each)["hivewire.log"]) for each in below.get(span.span_id.hex(), ())]
        pushed = [("push", "ledger")] * (key[-1] == 200)
        assert waited == ([("commit", "ledger"), *pushed] if "put" in key[-2] else []), key
        times = [span, *below.get(span.span_id.hex(), ())]
        assert all(span.start_time_unix_nano <= each.start_time_unix_nano for each in times)
        assert all(each.start_time_unix_nano <= each.end_time_unix_nano <= span.end_time_unix_nano for each in times)
    own = {span.name for span in below[""]}
    assert own == {"POST /api/rest/token", "configuration/get"}


async def test_what_fails_or_is_not_waited_for_has_an_end_too(collector: Collector) -> None:
    """A failure of the gateway is an error in its trace; a request whose connection ends is over."""
    journal = HeldJournal()
    world = await World(journal).open()
    tracing = Tracing(Settings(otlp_endpoint=collector.url))
    tracing.follow(world.services)
    sessions = [
        tracing.session(world.dispatcher, world.caller(), outbox.append, world.settled)
        for outbox in (list[bytes](), list[bytes]())
    ]
    journal.go.clear()
    sessions[0].receive(b'{"action":"configuration/put","name":"a","value":"1"}')
    sessions[0].receive(b'{"action":"what is this"}')
    await journal.began.wait()
    sessions[0].close()
    journal.go.set()
    await world.close()
    sessions[1].receive(b'{"action":"configuration/put","name":"a","value":"1"}')
    await tracing.close()
    ended = [span.status.code for span in collector.spans if span.name == "configuration/put"]
    assert ended == [Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR]


def test_a_collector_that_is_not_there_holds_nobody_up(data: Path) -> None:
    """Neither requests nor the stop; the log says once that spans are lost."""
    with RunningGateway(data, "--otlp-endpoint", "http://127.0.0.1:1") as gateway:
        with gateway.http() as client:
            assert client.put("/configuration/traced", json={"value": "1"}).status_code == 200
        assert gateway.stop() == 0


def test_tracing_without_its_packages_is_refused_with_what_to_install(data: Path, collector: Collector) -> None:
    """Before a data file is made."""
    with pytest.raises(NotStarted, match=r"pip install 'hivewire\[otel\]'"):
        RunningGateway(data, "--otlp-endpoint", collector.url, main="tests.system.test_tracing:without_opentelemetry")
    assert not data.exists()


def without_opentelemetry() -> None:
    """The command, on a machine without OpenTelemetry."""
    from hivewire import cli

    sys.modules["hivewire.tracing.spans"] = None  # type: ignore[assignment]
    cli.main()
