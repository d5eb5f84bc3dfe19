"""Tracing with OpenTelemetry, if `otlp_endpoint` names a collector: spans of requests, and of what a write waits for.

Nothing here is on the path of a request that is not traced: the session, the application and `submit` of each log are
replaced at the start. The SDK sends the spans from a thread of its own, and drops those that the collector does not
take in time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, TypeAlias

import msgspec
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hivewire import __version__
from hivewire.group_commit import Done
from hivewire.http.application import Application
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response
from hivewire.http.routes import Dialect, Found, Route
from hivewire.services import Services
from hivewire.session import Session
from hivewire.settings import Settings
from hivewire.telemetry import Gauges, name_of
from hivewire_protocol.codec import Call
from hivewire_protocol.messages import Reply, Request

STOP_SECONDS = 3.0
"""How long a stop waits for the collector to take the last spans."""

Submit: TypeAlias = Callable[..., None]

_extract = TraceContextTextMapPropagator().extract
_text = msgspec.json.Decoder(str).decode


class Tracing:
    """The spans of one gateway, on their way to the collector."""

    def __init__(self, settings: Settings) -> None:
        resource = Resource.create(
            {"service.name": "hivewire", "service.version": __version__, "service.instance.id": settings.gateway}
        )
        # The exporter would log each attempt; only its errors about lost spans are kept.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        exporter = OTLPSpanExporter(f"{str(settings.otlp_endpoint).rstrip('/')}/v1/traces")
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("hivewire", __version__)

    def start(self) -> None:
        """Does nothing: the SDK has started its thread."""

    async def close(self) -> None:
        """Send what is left, if the collector takes it within STOP_SECONDS."""
        # A daemon thread, because the exporter keeps trying.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, STOP_SECONDS)

    def gauges(self) -> Gauges:
        """None."""
        return {}

    def request(self, name: str, carrier: Mapping[str, str], **attributes: Any) -> Span:
        """A new span of a request. `carrier` has the `traceparent` of the caller, if there is one."""
        return self._tracer.start_span(name, _extract(carrier), SpanKind.SERVER, attributes)

    def follow(self, services: Services) -> None:
        """Give each write of a traced request the spans `commit`, until it is durable, and `push`, until it was sent to
        those who follow it."""
        ledger, messages = services.ledger, services.messages
        ledger.submit = self._traced("ledger", ledger.submit, ledger.durable_ago)
        for name, log in {"commands": messages.commands, "notifications": messages.notifications}.items():
            log.submit = self._traced(name, log.submit, log.durable_ago)

    def _traced(self, name: str, submit: Submit, durable_ago: Callable[[], float]) -> Submit:
        def traced(item: Any, done: Done, *about: Any) -> None:
            request, began = get_current_span(), time_ns()
            if not request.is_recording():
                submit(item, done, *about)
                return

            def finished(*given: Any) -> None:
                self._written(name, set_span_in_context(request), began, durable_ago())
                done(*given)

            submit(item, finished, *about)

        return traced

    def _written(self, name: str, context: Context, began: int, durable_ago: float) -> None:
        """Make the spans of a write. What is refused, or changes nothing, is not pushed."""
        attributes, now = {"hivewire.log": name}, time_ns()
        durable = now - round(durable_ago * 1e9)
        commit = self._tracer.start_span("commit", context, attributes=attributes, start_time=began)
        commit.end(durable if durable > began else now)
        if durable > began:
            self._tracer.start_span("push", context, attributes=attributes, start_time=durable).end(now)

    def session(self, *arguments: Any) -> Session:
        """A session whose requests are traced."""
        return _Session(self, *arguments)

    def application(self, *arguments: Any) -> Application:
        """An application whose requests are traced."""
        return _Application(self, *arguments)


class _Session(Session):
    """A span for each request: from its start to its answer."""

    __slots__ = ("_spans", "_tracing")

    def __init__(self, tracing: Tracing, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tracing = tracing
        self._spans: dict[int, Span] = {}  # of calls that are not answered yet, by their identity

    def _start(self, call: Call) -> None:
        if call.request_type is None:
            super()._start(call)
            return
        span = self._spans.get(id(call))  # one that failed is started once more, when it is its turn
        if span is None:
            span = self._tracing.request(name_of(call.request_type), _carrier(call.request))
            self._spans[id(call)] = span
        with use_span(span, record_exception=False, set_status_on_exception=False):
            super()._start(call)

    def _succeed(self, call: Call, reply: Reply) -> None:
        self._end(call, 200)
        super()._succeed(call, reply)

    def _fail(self, call: Call, cause: BaseException) -> None:
        error = self._dispatcher.error(call.request_type, cause)
        self._end(call, error.code)
        super()._fail(call, error)

    def close(self) -> None:
        super().close()
        for span in self._spans.values():
            span.end()
        self._spans = {}

    def _end(self, call: Call, code: int) -> None:
        span = self._spans.pop(id(call), None)
        if span is not None:
            _note(span, "hivewire.code", code)
            span.end()


class _Application(Application):
    """A span for each request that counts in the metrics: until its answer, or the head of its stream, is ready."""

    def __init__(self, tracing: Tracing, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tracing = tracing

    async def _serve(
        self, request: HttpRequest, dialect: Dialect, route: Route[object] | None, found: list[Found]
    ) -> Response:
        if route is None or route.action is None:
            return await super()._serve(request, dialect, route, found)
        attributes = {
            "http.request.method": request.method,
            "http.route": route.path,
            "hivewire.action": name_of(route.action),
        }
        with use_span(
            self._tracing.request(f"{route.method} {route.path}", request.headers, **attributes), end_on_exit=True
        ) as span:
            response = await super()._serve(request, dialect, route, found)
            _note(span, "http.response.status_code", response.status)
            return response


def _note(span: Span, name: str, code: int) -> None:
    span.set_attribute(name, code)
    if code >= 500:
        span.set_status(StatusCode.ERROR)


def _carrier(request: Request | None) -> Mapping[str, str]:
    """The `trace` of a request as a header; empty if it has none, or one that is no text."""
    if request is None or request.trace is msgspec.UNSET:
        return {}
    try:
        return {"traceparent": _text(request.trace)}
    except msgspec.DecodeError:
        return {}
