"""DeviceHive's REST dialect and our own additions to it: parse, call the action, render.

Each row of the table names the request that also comes over a socket, and how its reply is shown; there is no second
implementation of any action (core protocol, sections 1.5 and 10; configuration contract, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Raw

from hivewire.actions import user
from hivewire.caller import Caller
from hivewire.http import body
from hivewire.http.conditions import conditions_of
from hivewire.http.cors import CORS
from hivewire.http.parameters import request_of
from hivewire.http.peer import Admitted, admit_request
from hivewire.http.request import HttpRequest
from hivewire.http.response import JSON, Response
from hivewire.http.routes import Context, Dialect, Route, effective_method
from hivewire.resources import ResourceReply
from hivewire.services import Services
from hivewire_protocol import codec, coercion
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, MalformedJson, TooLarge, UnsupportedMediaType
from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.audit import AuditList
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
from hivewire_protocol.nouns.identity import Token, TokenCreate, TokenRefresh, TokenRevoke
from hivewire_protocol.nouns.network import NetworkList
from hivewire_protocol.nouns.server import ClusterInfo, ServerCacheInfo, ServerInfo
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe
from hivewire_protocol.nouns.tenant import TenantDelete, TenantInsert, TenantList
from hivewire_protocol.nouns.user import UserGetCurrent, UserInsert, UserList, UserUpdate


class Row(NamedTuple):
    """One method of one path: the request it stands for, the status of success, and what is shown.

    `shows` is the member of the reply that becomes the whole body; None for all members as one object. `body` is the
    member of the request that the body becomes; None when the body's members are the request's. `auth` rows are there
    under `/auth/rest` too, where DeviceHive has a server of its own for tokens. `stream` is what the row stands for
    when the caller accepts an event stream. `check` raises NotFound when what the path names does not exist; it is
    called before the body is read.
    """

    method: str
    path: str
    request: type[Request]
    status: int = 200
    shows: str | None = None
    body: str | None = None
    auth: bool = False
    stream: type[Request] | None = None
    check: Callable[[Services, Mapping[str, str]], None] | None = None


ROWS = (
    Row("GET", "/info", ServerInfo, shows="info", auth=True),
    Row("GET", "/info/cache", ServerCacheInfo, shows="cacheInfo"),
    Row("GET", "/info/config/cluster", ClusterInfo, shows="clusterInfo"),
    Row("POST", "/token", Token, 201, auth=True),
    Row("POST", "/token/create", TokenCreate, 201, body="payload", auth=True),
    Row("POST", "/token/refresh", TokenRefresh, 201, auth=True),
    Row("POST", "/token/revoke", TokenRevoke, 204, auth=True),
    Row("GET", "/configuration", ConfigurationList, stream=ConfigurationSubscribe),
    Row("POST", "/configuration/transact", ConfigurationTransact),
    Row("GET", "/configuration/{name}/history", ConfigurationHistory),
    Row("POST", "/configuration/{name}/rollback", ConfigurationRollback),
    Row("GET", "/configuration/{name}", ConfigurationGet, shows="configuration", auth=True),
    Row("PUT", "/configuration/{name}", ConfigurationPut, shows="configuration", auth=True),
    Row("DELETE", "/configuration/{name}", ConfigurationDelete, 204, auth=True),
    Row("GET", "/user", UserList, shows="users"),
    Row("POST", "/user", UserInsert, 201, shows="user", body="user"),
    Row("GET", "/user/current", UserGetCurrent, shows="current", auth=True),
    Row("PUT", "/user/{userId}", UserUpdate, 204, body="user", check=user.check_user_exists),
    Row("GET", "/audit", AuditList),
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

CONTEXTS = ("api", "dh", "auth")
"""The contexts before `/rest`: our own, DeviceHive's, and that of DeviceHive's auth server."""


def dialect(context: Context) -> Dialect:
    """REST under all contexts. Paths that belong to no dialect get its errors, too."""
    rest = Rest(context)
    routes = [route for name in CONTEXTS for route in rest.routes(name)]
    listed = {"rest": ("/api/rest/", "the same actions over plain HTTP; event streams of changes")}
    return Dialect(routes, method=effective_method, options=True, headers=CORS, listed=listed)


class Rest:
    """The rows of the table as routes."""

    def __init__(self, context: Context) -> None:
        self._dispatcher = context.dispatcher
        self._services = context.dispatcher.services
        self._admission = context.admission
        self._streams = context.streams

    def routes(self, context: str) -> Iterator[Route[Admitted]]:
        """Everything under one context."""
        root = f"/{context}/rest"
        yield Route("GET", root + "/", self._anyone, _welcome)
        rows = [row for row in ROWS if row.auth or context != "auth"]
        paths = {row.path for row in rows}
        for row in rows:
            # A fixed word in the place of a name has only its own methods: GET of a name `transact` reads that name.
            also_name = "{" not in row.path and row.path.rpartition("/")[0] + "/{name}" in paths
            admit, handle = partial(admit_request, self._dispatcher, context, row.request), partial(self._answer, row)
            stream: Route[Admitted] | None = None
            if row.stream is not None:
                streamed = row._replace(request=row.stream)
                # `EventSource` in browsers cannot set headers.
                admit_stream = partial(admit_request, self._dispatcher, context, row.stream, query_token=True)
                stream = Route("GET", root + row.path, admit_stream, partial(self._follow, streamed), row.stream)
            yield Route(row.method, root + row.path, admit, handle, row.request, stream, also_name)

    async def _anyone(self, request: HttpRequest) -> Admitted:
        return Admitted(request, Caller(request.address, ""))

    async def _answer(self, row: Row, call: Admitted) -> Response:
        if row.check is not None:
            row.check(self._services, call.request.parameters)
        asked = request_of(row.request, call.request, await self._body(row, call))
        reply = await self._dispatcher.carry_out(call.caller, asked, partial(conditions_of, call.request))
        return _render(row, reply)

    async def _follow(self, row: Row, call: Admitted) -> Response:
        """The same list as an event stream. A client that reconnects says in a header where it continues."""
        last = call.request.headers.get("last-event-id")
        asked = request_of(row.request, call.request, given={} if last is None else {"since": Raw(encode(last))})
        return Response(stream=self._streams.subscribe(call.caller, asked))

    async def _body(self, row: Row, call: Admitted) -> dict[str, Raw]:
        if row.method not in METHODS_WITH_BODY:
            return {}
        request = call.request
        data = await body.read(request, self._admission, self._services.settings.message_bytes)
        if not data.strip():
            if row.method == "DELETE":
                return {}
            raise InvalidParameters("Error! Validation failed: Object is null")
        if (given := request.media_type(JSON)) != JSON:
            raise UnsupportedMediaType(f"{UnsupportedMediaType.text}: the body must be {JSON}, not {given[:100]}")
        try:
            codec.check_depth(data)
            members = coercion.decode_members(data)
        except MalformedJson:
            raise InvalidParameters(f"{InvalidParameters.text}: the body {_fault(data)}") from None
        return members if row.body is None else {row.body: Raw(data)}


def _fault(data: bytes) -> str:
    """What is wrong with a body that is no JSON object, and where."""
    try:
        codec.check_depth(data)
        msgspec.json.decode(data, type=dict[str, Raw])
    except MalformedJson:
        return f"is nested deeper than {codec.MAX_DEPTH}"
    except msgspec.ValidationError:
        return "is not a JSON object"
    except UnicodeDecodeError:
        return "is not UTF-8"
    except msgspec.DecodeError as error:
        words = str(error).removeprefix("JSON is malformed: ")
        return "is not JSON: it ends too early" if "truncated" in words else f"is not JSON: {words}"
    return "is not a JSON object"


async def _welcome(call: Admitted) -> Response:
    return Response(200, b"The REST API of this gateway; GET info tells more.\n", "text/plain; charset=utf-8")


def _render(row: Row, reply: Reply) -> Response:
    headers = _headers(reply)
    if row.status == 204:
        return Response(204, headers=headers)
    content = b"{%b}" % reply.members() if row.shows is None else reply.member(row.shows)
    if len(content) > MAX_REPLY and reply.bounded:
        raise TooLarge
    return Response(row.status, content, JSON, headers)


def _headers(reply: Reply) -> dict[str, str]:
    """The version and the revision of what is shown, for conditional requests."""
    if isinstance(reply, ResourceReply):
        return {"ETag": f'"{reply.change.version}"', "Hivewire-Revision": str(reply.revision)}
    if isinstance(reply, ConfigurationReply):
        return {"ETag": f'"{reply.configuration.entityVersion}"', "Hivewire-Revision": str(reply.revision)}
    return {"Hivewire-Revision": str(reply.revision)} if isinstance(reply, RevisionReply) else {}
