"""Pages for operators and their tools: liveness, readiness and metrics."""

from __future__ import annotations

from hivewire.access.throttle import Rate
from hivewire.clocks import elapsed
from hivewire.http.cors import CORS
from hivewire.http.operations import ERROR, ERRORS, NUMBER, TEXT, Content, Operation, Parameter, Schema, json_of
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response, json
from hivewire.http.routes import Context, Dialect, Route, anyone
from hivewire.telemetry import CONTENT_TYPE
from hivewire_protocol.errors import InvalidParameters

METRICS_APART = 50
"""Milliseconds for which a rendered page of metrics is cached; rendering takes 2 ms."""

METRICS_A_SECOND = 5
"""Pages rendered in a second although a cached one is valid, so that an occasional reader gets the current figures."""


def dialect(context: Context) -> Dialect:
    """Pages without a token. Their requests are not counted, so that a probe does not change what it measures."""
    services = context.dispatcher.services
    made, page, made_at = Rate(elapsed, METRICS_A_SECOND), b"", 0

    async def live(request: HttpRequest) -> Response:
        return json({"status": "live"})

    async def ready(request: HttpRequest) -> Response:
        purpose = dict(request.query()).get("for", "reads")
        if purpose not in ("reads", "writes"):
            raise InvalidParameters("for must be reads or writes")
        if (reason := context.not_ready(purpose == "writes")) is not None:
            return json({"status": "not ready", "reason": reason}, 503)
        reason = services.ledger.failing or services.messages.failing
        refused = {"writesRefused": reason} if reason is not None else {}
        return json({"status": "ready", "revision": services.ledger.revision, **refused})

    async def metrics(request: HttpRequest) -> Response:
        nonlocal page, made_at
        old = elapsed() - made_at >= METRICS_APART
        if old or not services.settings.anonymous_rate or not made.wait("/metrics", ""):
            page, made_at = await services.telemetry.page(), elapsed()
        return Response(200, page, CONTENT_TYPE)

    pages = {"/health/live": live, "/health/ready": ready, "/metrics": metrics}
    routes = [Route("GET", path, anyone, page) for path, page in pages.items()]
    listed = {
        "health": ("/health/ready", "whether requests are served"),
        "metrics": ("/metrics", "counters and times, for Prometheus"),
    }
    return Dialect(routes, headers=CORS, always=frozenset(path.encode() for path in pages), listed=listed)


def _state(**members: Schema) -> Schema:
    return {"type": "object", "properties": {"status": TEXT, **members}, "required": ["status"]}


_REASON = {"type": "string", "description": "Why writes are refused."}


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    return (
        Operation(
            "GET",
            "/health/live",
            "health_live",
            "health",
            "Say that the process answers.",
            {200: json_of("It does.", _state())},
            ERRORS,
            ERROR,
        ),
        Operation(
            "GET",
            "/health/ready",
            "health_ready",
            "health",
            "Say whether to send requests to this gateway.",
            {
                200: json_of("It is ready.", _state(revision=NUMBER, writesRefused=_REASON)),
                503: json_of("It is not ready.", _state(reason=TEXT)),
            },
            ERRORS,
            ERROR,
            (Parameter("for", "query", "What for; `reads` when absent.", {"enum": ["reads", "writes"]}),),
        ),
        Operation(
            "GET",
            "/metrics",
            "metrics",
            "health",
            "The metrics, for Prometheus.",
            {200: Content("The metrics.", {"text/plain": TEXT})},
            ERRORS,
            ERROR,
        ),
    )
