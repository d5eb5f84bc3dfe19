"""The Starlette application: the route tables of all dialects, health, metrics, and what every answer has in common."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hivewire.dialects import devicehive as rest
from hivewire.dialects import oauth, tenant
from hivewire.dialects.properties import pages as properties
from hivewire.dispatch import Dispatcher
from hivewire.http.cors import cors
from hivewire.telemetry import CONTENT_TYPE
from hivewire.transport.admission import Admission
from hivewire.transport.connection import PORTION, HttpProtocol
from hivewire.transport.events import EventStreams
from hivewire_protocol.errors import InternalError, MethodNotAllowed, NotFound


def application(
    dispatcher: Dispatcher, admission: Admission, streams: EventStreams, not_ready: Callable[[], str | None]
) -> ASGIApp:
    """Everything that is served over HTTP. `not_ready` gives the reason why new work should go elsewhere, or None."""
    found = routes(dispatcher, admission, streams, not_ready)
    starlette = Starlette(routes=found, exception_handlers={HTTPException: _http_error, Exception: _unexpected})
    starlette.router.redirect_slashes = False
    return Face(starlette)


def routes(
    dispatcher: Dispatcher, admission: Admission, streams: EventStreams, not_ready: Callable[[], str | None]
) -> list[BaseRoute]:
    """The routes of all dialects, and of those who look after the gateway."""

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(request: Request) -> Response:
        if (reason := not_ready()) is not None:
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready", "revision": dispatcher.services.ledger.revision})

    async def metrics(request: Request) -> Response:
        return Response(dispatcher.services.telemetry.exposition(), media_type=CONTENT_TYPE)

    return [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/metrics", metrics),
        *rest.routes(dispatcher, admission, streams),
        *oauth.routes(dispatcher, admission),
        *properties.routes(dispatcher, admission),
        *tenant.routes(dispatcher, admission),
    ]


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    refused = MethodNotAllowed() if error.status_code == 405 else NotFound()
    ours = request.scope["path"].startswith("/reltio/")
    response = tenant.refusal(request, refused) if ours else rest.error_response(refused)
    response.headers.update(error.headers or {})
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    return rest.error_response(InternalError())


class Face:
    """In: a request waits until its peer reads what it asked for before, and routes match the path as it was sent, so
    that `a%2Fb` is one name. Out: large bodies go in portions as they are read, and there are the CORS headers, except
    for the property dialect, whose credentials browsers add by themselves: it decides who may see its answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = path = scope["raw_path"].decode("ascii")
        connection: HttpProtocol = scope["hivewire.connection"]
        if connection.flow.write_paused:
            await connection.flow.drain()

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(cors(path))
            elif len(body := message.get("body", b"")) > PORTION:
                await connection.send_in_portions(body, message.get("more_body", False), send)
                return
            await send(message)

        await self._app(scope, receive, send_on)
