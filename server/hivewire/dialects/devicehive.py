"""DeviceHive's REST dialect and our own additions to it: parse, call the action, render.

There is no second implementation: each row of the table names the request that also comes over a socket, and how its
reply is shown (core protocol, sections 1.5 and 10; configuration contract, section 5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from time import perf_counter
from typing import NamedTuple, get_type_hints
from urllib.parse import unquote

from msgspec import Raw, Struct
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from hivewire.access.identity import ANONYMOUS
from hivewire.dispatch import Dispatcher
from hivewire.http import body
from hivewire.http.body import ANONYMOUS_BODY
from hivewire.http.peer import caller_of_request
from hivewire.ledger.records import Change, View, version_of
from hivewire.resources import ResourceReply, change_of
from hivewire.transport.admission import Admission
from hivewire.transport.events import EventStream, EventStreams
from hivewire_protocol import codec, coercion
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    HeaderConditionFailed,
    InvalidParameters,
    MalformedJson,
    MethodNotAllowed,
    OutOfBounds,
    TooLarge,
    UnsupportedMediaType,
    WireError,
)
from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.client import ClientDelete, ClientInsert, ClientList
from hivewire_protocol.nouns.configuration import (
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationList,
    ConfigurationPut,
    ConfigurationReply,
    ConfigurationRollback,
    ConfigurationTransact,
    RevisionReply,
)
from hivewire_protocol.nouns.device import DeviceList
from hivewire_protocol.nouns.devicetype import DeviceTypeList
from hivewire_protocol.nouns.identity import Token, TokenCreate, TokenRefresh
from hivewire_protocol.nouns.network import NetworkList
from hivewire_protocol.nouns.server import ClusterInfo, ServerCacheInfo, ServerInfo
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe
from hivewire_protocol.nouns.tenant import TenantDelete, TenantInsert, TenantList
from hivewire_protocol.nouns.user import UserGetCurrent, UserList, UserUpdate


class Row(NamedTuple):
    """One method of one path: the request it stands for, the status of success, and what is shown.

    `shows` is the member of the reply that becomes the whole body; None for all members as one object. `body` is the
    member of the request that the body becomes; None when the body's members are the request's. `auth` rows are there
    under `/auth/rest` too, where DeviceHive has a server of its own for tokens. `stream` is what the row stands for
    when the caller accepts an event stream.
    """

    method: str
    path: str
    request: type[Request]
    status: int = 200
    shows: str | None = None
    body: str | None = None
    auth: bool = False
    stream: type[Request] | None = None


ROWS = (
    Row("GET", "/info", ServerInfo, shows="info", auth=True),
    Row("GET", "/info/cache", ServerCacheInfo, shows="cacheInfo"),
    Row("GET", "/info/config/cluster", ClusterInfo, shows="clusterInfo"),
    Row("POST", "/token", Token, 201, auth=True),
    Row("POST", "/token/create", TokenCreate, 201, body="payload", auth=True),
    Row("POST", "/token/refresh", TokenRefresh, 201, auth=True),
    Row("GET", "/configuration", ConfigurationList, stream=ConfigurationSubscribe),
    Row("POST", "/configuration/transact", ConfigurationTransact),
    Row("GET", "/configuration/{name}/history", ConfigurationHistory),
    Row("POST", "/configuration/{name}/rollback", ConfigurationRollback),
    Row("GET", "/configuration/{name}", ConfigurationGet, shows="configuration", auth=True),
    Row("PUT", "/configuration/{name}", ConfigurationPut, shows="configuration", auth=True),
    Row("DELETE", "/configuration/{name}", ConfigurationDelete, 204, auth=True),
    Row("GET", "/user", UserList, shows="users"),
    Row("GET", "/user/current", UserGetCurrent, shows="current", auth=True),
    Row("PUT", "/user/{userId}", UserUpdate, 204, body="user"),
    Row("GET", "/tenant", TenantList, shows="tenants"),
    Row("POST", "/tenant", TenantInsert, 201, shows="tenant"),
    Row("DELETE", "/tenant/{tenantId}", TenantDelete, 204),
    Row("GET", "/client", ClientList, shows="clients"),
    Row("POST", "/client", ClientInsert, 201),
    Row("DELETE", "/client/{clientId}", ClientDelete, 204),
    Row("GET", "/device", DeviceList, shows="devices"),
    Row("GET", "/network", NetworkList, shows="networks"),
    Row("GET", "/devicetype", DeviceTypeList, shows="deviceTypes"),
)

METHODS_WITH_BODY = ("POST", "PUT", "DELETE")


def routes(dispatcher: Dispatcher, admission: Admission, streams: EventStreams) -> list[BaseRoute]:
    """The routes of all contexts. They are matched against the path as it was sent, still percent-encoded."""
    found: list[BaseRoute] = []
    for context in ("api", "dh", "auth"):
        paths: dict[str, dict[str, Row]] = {}
        for row in ROWS:
            if row.auth or context != "auth":
                paths.setdefault(row.path, {})[row.method] = row
        found += [Route(f"/{context}/rest/", _welcome, methods=["GET"])]
        for path, rows in paths.items():
            # A word where a name could stand takes its own methods only: GET of a name `transact` goes on to the name.
            own = list(rows) if path.rpartition("/")[0] + "/{name}" in paths and "{" not in path else None
            found.append(
                Route(f"/{context}/rest{path}", Resource(dispatcher, admission, streams, context, rows), methods=own)
            )
    return found


async def _welcome(request: HttpRequest) -> Response:
    return PlainTextResponse("The REST API of this gateway; GET info tells more.\n")


class Resource:
    """What can be done at one path: an ASGI application."""

    def __init__(
        self, dispatcher: Dispatcher, admission: Admission, streams: EventStreams, context: str, methods: dict[str, Row]
    ) -> None:
        self._dispatcher = dispatcher
        self._admission = admission
        self._streams = streams
        self._context = context
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = HttpRequest(scope, receive)
        method = request.method
        if method == "POST" and "x-http-method-override" in request.headers:
            method = request.headers["x-http-method-override"].upper()
        row = self._methods.get("GET" if method == "HEAD" else method)
        response: Response | EventStream
        if method == "OPTIONS":
            response = Response(status_code=204, headers={"Allow": ", ".join(self._allowed())})
        elif row is None:
            response = error_response(MethodNotAllowed())
            response.headers["Allow"] = ", ".join(self._allowed())
        else:
            if row.stream is not None and request.method == "GET" and _accepts_events(request):
                row = row._replace(request=row.stream)
            response = await self._serve(request, row)
            if method == "HEAD" and request.method == "POST" and isinstance(response, Response):
                # uvicorn leaves out the body of a HEAD; for a POST in its place that is up to us.
                response.body = b""
                response.headers["Content-Length"] = "0"
        await response(scope, receive, send)

    def _allowed(self) -> list[str]:
        return sorted({*self._methods, "OPTIONS"} | ({"HEAD"} if "GET" in self._methods else set()))

    async def _serve(self, request: HttpRequest, row: Row) -> Response | EventStream:
        code, began = row.status, perf_counter()
        try:
            response: Response | EventStream = await self._respond(request, row)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as unexpected:
            error = self._dispatcher.error(row.request, unexpected)
            response, code = error_response(error), error.code
        self._dispatcher.services.telemetry.answered(row.request, code, began)
        return response

    async def _respond(self, request: HttpRequest, row: Row) -> Response | EventStream:
        """Rights first, then the body: who may not do it cannot make us read it."""
        caller = caller_of_request(self._dispatcher.services, request, self._context)
        self._dispatcher.admit(caller, row.request)
        asked = await self._build(request, row, anonymous=caller.identity is ANONYMOUS)
        if isinstance(asked, ConfigurationSubscribe):
            asked.since = request.headers.get("last-event-id", asked.since)
            return self._streams.subscribe(caller, asked)
        return _render(row, await self._dispatcher.carry_out(caller, asked, _conditions(request)))

    async def _build(self, request: HttpRequest, row: Row, *, anonymous: bool) -> Request:
        """The request out of body, query and path, the latter winning."""
        members: dict[str, Raw] = {}
        try:
            if row.method in METHODS_WITH_BODY:
                limit = self._dispatcher.services.settings.message_bytes
                members |= await self._body(request, row, min(limit, ANONYMOUS_BODY) if anonymous else limit)
            members |= _query(request, row.request)
            for name, value in request.path_params.items():
                members[name] = Raw(encode(unquote(value, errors="strict")))
            for envelope in ("requestId", "jsonrpc"):
                members.pop(envelope, None)
            return coercion.build(row.request, members)
        except (MalformedJson, UnicodeDecodeError):
            raise InvalidParameters from None

    async def _body(self, request: HttpRequest, row: Row, limit: int) -> dict[str, Raw]:
        data = await body.read(request, self._admission, limit, self._dispatcher.services.settings.body_seconds)
        if not data.strip():
            if row.method == "DELETE":
                return {}
            raise InvalidParameters("Error! Validation failed: Object is null")
        content_type = request.headers.get("content-type", "application/json")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType
        codec.check_depth(data)
        members = coercion.decode_members(data)
        return members if row.body is None else {row.body: Raw(data)}


class EntityTags(Struct):
    """The condition of an `If-Match` or `If-None-Match` header (RFC 9110, sections 13.1.1 and 13.1.2).

    A tag is `"version"` or `"version-revision"`; `*` stands for any existing record.
    """

    header: str
    tags: tuple[str, ...]
    wanted: bool

    def holds(self, last: Change | None, view: View) -> bool:
        """Whether the record matches one of the tags, or none of them."""
        version = version_of(last)
        if not version or last is None:
            return not self.wanted
        matches = not {"*", f'"{version}"', f'"{version}-{last.revision}"'}.isdisjoint(self.tags)
        return matches is self.wanted

    def error(self, last: Change | None) -> WireError:
        """412, with the current change."""
        current = change_of(last) if last is not None else None
        return HeaderConditionFailed(f"{self.header}: {', '.join(self.tags)} does not hold", change=current)


_TAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_TAGS = re.compile(rf"\s*(?:\*|{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*)\s*")


def _conditions(request: HttpRequest) -> list[EntityTags]:
    """The conditions of the headers. Raises OutOfBounds for what is no list of tags."""
    conditions = []
    for header, wanted in (("If-Match", True), ("If-None-Match", False)):
        if header not in request.headers:
            continue
        text = ", ".join(request.headers.getlist(header))
        if not _TAGS.fullmatch(text):
            raise OutOfBounds(f'{header} must be * or entity tags in double quotes, such as "7"')
        # A weak tag keeps its mark, so that it matches nothing.
        tags = ("*",) if text.strip() == "*" else tuple(_TAG.findall(text))
        conditions.append(EntityTags(header, tags, wanted))
    return conditions


def _accepts_events(request: HttpRequest) -> bool:
    ranges = ",".join(request.headers.getlist("accept")).split(",")
    return "text/event-stream" in [media_range.partition(";")[0].strip().lower() for media_range in ranges]


def _query(request: HttpRequest, shape: type[Request]) -> Iterable[tuple[str, Raw]]:
    """The query's parameters as raw JSON strings; repeated ones as a list where the request takes a list."""
    lists = _list_fields(shape)
    return [
        (
            name,
            Raw(encode(request.query_params.getlist(name) if name in lists else request.query_params.getlist(name)[0])),
        )
        for name in request.query_params
    ]


@cache
def _list_fields(shape: type[Request]) -> frozenset[str]:
    return frozenset(name for name, hint in get_type_hints(shape).items() if "list[" in str(hint))


def _render(row: Row, reply: Reply) -> Response:
    headers = {}
    if isinstance(reply, ConfigurationReply | ResourceReply):
        headers["ETag"] = f'"{reply.configuration.entityVersion}"'
    if isinstance(reply, ConfigurationReply | ResourceReply | RevisionReply):
        headers["Hivewire-Revision"] = str(reply.revision)
    if row.status == 204:
        return Response(status_code=204, headers=headers)
    body = b"{%b}" % reply.members() if row.shows is None else encode(getattr(reply, row.shows))
    if len(body) > MAX_REPLY and reply.bounded:
        return error_response(TooLarge())
    return Response(body, row.status, headers, "application/json")


def error_response(error: WireError) -> Response:
    """The error document of this dialect: `{"error":code,"message":text}` and further members."""
    response = Response(
        encode({"error": error.code, "message": str(error), **error.members}),
        error.code,
        None,
        "application/json",
    )
    if error.code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if "retryAfter" in error.members:
        response.headers["Retry-After"] = str(error.members["retryAfter"])
    if error.code in (408, 413, 415):
        response.headers["Connection"] = "close"  # the rest of the body is not read
    return response
