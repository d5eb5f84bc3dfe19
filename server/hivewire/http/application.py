"""The one pipeline from a request to its answer, for all dialects (ASGI).

In this order: wait until the peer has read its earlier answers; find the route; identify the caller; limit anonymous
ones, which take turns; answer; count. Every error becomes an error document of the path's dialect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from time import monotonic, perf_counter
from typing import TypeVar

from hivewire.access.throttle import AnonymousRate
from hivewire.http.body import ClientGone
from hivewire.http.operations import AT_LEAST
from hivewire.http.peer import origin_of
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response
from hivewire.http.routes import Context, Dialect, Found, MakeDialect, Route, Table, encode_headers
from hivewire.ledger.pending import unavailable
from hivewire.ledger.records import NotDurable
from hivewire.session import ANONYMOUS_PAUSE_SECONDS, ANONYMOUS_SLICE_SECONDS
from hivewire.transport.asgi import Message, Receive, Scope, Send
from hivewire.transport.back_pressure import PORTION, Turns
from hivewire.transport.connection import HttpProtocol
from hivewire.transport.cycle import RawHeader, disconnect, send_in_portions, send_whole, without_chunks
from hivewire.transport.refusal import UNKNOWN_PATH, headers_of
from hivewire_protocol.errors import (
    InternalError,
    MethodNotAllowed,
    NotFound,
    OutOfBounds,
    TooManyRequests,
    WireError,
)
from hivewire_protocol.messages import action_of

BODY_NOT_READ = (408, 413, 415)
"""After these the rest of the request's body is not read, so the connection cannot be reused."""

T = TypeVar("T")


class Application:
    """The ASGI application. The first dialect also answers paths that belong to none."""

    def __init__(self, dialects: Iterable[MakeDialect], context: Context) -> None:
        self._services = context.dispatcher.services
        self._telemetry = self._services.telemetry
        self._probes = AnonymousRate(monotonic)
        self._turns, self._probe_turns = (Turns(ANONYMOUS_SLICE_SECONDS, ANONYMOUS_PAUSE_SECONDS) for _ in range(2))
        self.dialects = [make(context) for make in dialects]
        self.always = frozenset().union(*(dialect.always for dialect in self.dialects))
        """Paths that are served when no slot is left."""
        self._table = Table()
        for dialect in self.dialects:
            self._table.add(dialect)
            context.listed.update(dialect.listed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or disconnect its peer when it takes longer than `drain_seconds` of a stop."""
        connection: HttpProtocol = scope["hivewire.connection"]
        try:
            if connection.flow.write_paused:
                await connection.flow.drain()
            if connection.delayed_until:
                await connection.wait_out_delay()
            request = HttpRequest(scope, receive)
            found = self._table.find(request.path)
            dialect = found[0][0].dialect if found else self._owner(request.path)
            method = dialect.method(request)
            if found and method == "OPTIONS" and dialect.options:
                response = Response(204, headers={"Allow": _allowed(dialect, found)})
            else:
                response = await self._serve(request, dialect, _route(request, method, found), found)
            if method == "HEAD" and request.method == "POST":
                # uvicorn leaves out the body of a HEAD; for a POST with an override we have to do it.
                response = Response(response.status, b"", response.media_type, response.headers)
            if response.status in BODY_NOT_READ:
                response.headers["Connection"] = "close"
            if dialect.finish is not None:
                dialect.finish(request, response)
            await self._send(request, response, dialect.head, send)
        except asyncio.CancelledError:
            disconnect(send)  # an error would say that nothing was written, which may not be so
        except WireError:
            disconnect(send)  # the rights to an answer have ended while it was sent

    def headers_of(self, path: str) -> Mapping[str, str]:
        """The headers of every answer under a path, also of refusals before a request is complete."""
        return self._owner(path).headers

    def _owner(self, path: str) -> Dialect:
        """The dialect that a path belongs to, whether there is a route or not."""
        for dialect in self.dialects:
            if path.startswith(dialect.prefixes):
                return dialect
        return self.dialects[0]

    async def _serve(
        self, request: HttpRequest, dialect: Dialect, route: Route[object] | None, found: list[Found]
    ) -> Response:
        """Check the caller first, so that one without rights cannot make the gateway read a body."""
        began = perf_counter()
        try:
            try:
                if route is None:
                    raise MethodNotAllowed if found else NotFound(dialect.unknown_path, hint=UNKNOWN_PATH)
                call = await self._admit(request, route)
            finally:
                if not request.proven:
                    await self._count(request).take()
            response = await route.handle(call)
        except ClientGone:
            return Response(400)
        except Exception as error:
            response = dialect.refuse(request, self._expected(error, dialect, route))
            response.headers |= headers_of(error, response.status, dialect.challenge(request))
        if route is None:
            if found:
                response.headers["Allow"] = _allowed(dialect, found)
            if dialect.count_unknown:
                self._telemetry.answered(None, response.status, began)
        elif route.action is not None:
            self._telemetry.answered(route.action, response.status, began)
        return response

    async def _admit(self, request: HttpRequest, route: Route[T]) -> T:
        """The call, if its caller has the right to it. Raises what the dialect refuses it with.

        A request of a known caller waits for the revision that it names, and its rights are then those of that moment.
        """
        call = await route.admit(request)
        if _AT_LEAST in request.headers and request.proven:
            at_least = _revision(request)
            if at_least > self._services.ledger.revision:
                await self._services.freshness.wait(at_least, False, request.connection.when_lost)
                call = await route.admit(request)
        return call

    def _count(self, request: HttpRequest) -> Turns:
        """Count a request without a valid token, and return the `Turns` that it has to take. Raises TooManyRequests;
        then the next one is delayed.

        Refusing every request at once would cost nearly as much as answering it. Paths that are always served, probes,
        count by themselves and wait for each other only.
        """
        settings, probe = self._services.settings, request.scope["raw_path"] in self.always
        address, _ = origin_of(settings, request.address, request.header, secure=False)
        try:
            (self._probes if probe else self._services.anonymous_rate).count(settings, address)
        except TooManyRequests:
            if not settings.trusts(request.address):  # a proxy's connection also carries requests of others
                request.connection.delay_next()
            if not probe:
                raise
        return self._probe_turns if probe else self._turns

    def _expected(self, error: Exception, dialect: Dialect, route: Route[object] | None) -> Exception:
        """An error that the dialect can render. An unexpected one is logged and becomes an internal error."""
        if isinstance(error, (WireError, *dialect.errors)):
            return error
        if isinstance(error, NotDurable):
            return unavailable(error)
        action = route.action if route is not None else None
        self._telemetry.unexpected(
            action if isinstance(action, str) else action_of(action) if action else "http", error
        )
        return InternalError()

    async def _send(self, request: HttpRequest, response: Response, common: tuple[RawHeader, ...], send: Send) -> None:
        if response.stream is not None:
            request.forget_head()
            if request.scope["http_version"] == "1.0":
                send = without_chunks(send)
            await response.stream(request.scope, request.receive, _sending(request, response, common, send))
            return
        headers = encode_headers(response.headers)
        body = response.body
        if response.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        if response.media_type is not None:
            headers.append((b"content-type", response.media_type.encode("latin-1")))
        if len(body) > PORTION:
            await send({"type": "http.response.start", "status": response.status, "headers": [*headers, *common]})
            await send_in_portions(request.connection, body, False, send)
        else:
            send_whole(response.status, headers, common, body, send)


def _route(request: HttpRequest, method: str, found: list[Found]) -> Route[object] | None:
    """The route of a method among the endpoints that a path may mean; sets the parameters of the request."""
    wanted = "GET" if method == "HEAD" else method
    for endpoint, request.parameters in found:
        route: Route[object] | None = endpoint.routes.get(wanted)
        if route is None:
            continue
        if route.stream is not None and request.method == "GET" and request.accepts_events():
            return route.stream
        if not route.only_stream:
            return route
    return None


_AT_LEAST = AT_LEAST.name.lower()


def _revision(request: HttpRequest) -> int:
    """The revision that the header names. Raises OutOfBounds."""
    text = request.header(_AT_LEAST) or ""
    if not (text.isascii() and text.isdecimal()):
        raise OutOfBounds(f"Hivewire-At-Least must be a revision, such as that of Hivewire-Revision, not '{text[:32]}'")
    return int(text[:19])


def _sending(request: HttpRequest, response: Response, common: tuple[RawHeader, ...], send: Send) -> Send:
    """The `send` of a stream: adds the headers of the answer, and sends large pieces as the peer reads them."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *encode_headers(response.headers), *common]
            await send(message)
            # The head does not wait for the first piece, which may take long.
            message = {"type": "http.response.body", "body": b"", "more_body": True}
        elif len(body := message.get("body", b"")) > PORTION:
            await send_in_portions(request.connection, body, message.get("more_body", False), send)
            return
        await send(message)

    return send_on


def _allowed(dialect: Dialect, found: list[Found]) -> str:
    """The value of `Allow` for a path."""
    methods = {method for endpoint, _ in found for method in endpoint.routes}
    if "GET" in methods:
        methods.add("HEAD")
    if dialect.options:
        methods.add("OPTIONS")
    return ", ".join(sorted(methods))
