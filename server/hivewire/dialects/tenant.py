"""A tenant's configuration over HTTP: the whole document, its history, and single types and parts of it.

The paths are those of the tenant configuration contract, sections 2.1 to 2.4. What is checked comes in the order of its
section 10: who asks, the tenant, the right, the size of the body, its type, and then what is in it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from hivewire.caller import Caller as Asker
from hivewire.dispatch import Dispatcher
from hivewire.documents import Author, Documents, Stored
from hivewire.http.peer import caller_of_request, header_of
from hivewire.keyed_lock import KeyedLock
from hivewire.ledger.pending import unavailable
from hivewire.ledger.records import NotDurable
from hivewire.transport.admission import Admission
from hivewire.transport.connection import LINGER_SECONDS
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import NotFound, RequestTimeout, WireError
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.tenant.dates import http_date
from hivewire_protocol.tenant.documents import render
from hivewire_protocol.tenant.errors import (
    BadRequest,
    InternalError,
    NotDefined,
    NotJson,
    TenantError,
    TooLarge,
    UnsupportedMediaType,
    validation_answer,
)
from hivewire_protocol.tenant.work import Edit

HISTORY_MAX = 10
"""Versions in a history answer when `max` is not given (section 2.1)."""

MOST_HISTORY = 1_000

MOST_THROWN_AWAY = 16 << 20
"""Bytes beyond the limit that are read to be thrown away: a client that is still sending never reads a 413."""

INFLATE = 256 << 10
"""Bytes that are decompressed at a time."""

GZIP_MEMBERS = 64
"""A gzip body may have several members (RFC 1952, section 2.2); thousands of empty ones would cost and say nothing."""

BUSINESS_MODEL = "MDM.config.businessModel"
"""What the privileges are about (tenant configuration, section 1)."""

PURGES = ("purgeAttributes", "purgeAllData")
"""What is to happen to the data of a deleted source (section 2.4); this gateway has none."""


class Caller(NamedTuple):
    """Who asks, and about which tenant. `number` is that of the tenant's record, so that a new tenant of the name is
    another one; `still` raises WireError when the right to ask has ended."""

    tenant: str
    number: int
    login: str
    may: list[Privilege]
    still: Callable[[], None]

    @property
    def author(self) -> Author:
        """The caller as somebody who saves."""
        return Author(self.tenant, self.number, self.login, self.still)


_Work = Callable[[HttpRequest, Caller], Awaitable[Response]]
_Endpoint = Callable[[HttpRequest], Awaitable[Response]]

_PRIVILEGES = {"POST": Privilege.CREATE, "PUT": Privilege.UPDATE, "DELETE": Privilege.DELETE}


def routes(dispatcher: Dispatcher, admission: Admission) -> list[BaseRoute]:
    """The routes of the tenant dialect that are about documents."""
    face = TenantFace(dispatcher, admission)
    at, read = "/reltio/api/{tenantId}/configuration", Privilege.READ
    neighbours = Neighbours(dispatcher)
    counted = dispatcher.services.telemetry.counted
    permissions = counted("tenant/permissions", neighbours.permissions)
    return [
        Route("/reltio/status", counted("tenant/status", neighbours.status), methods=["GET"]),
        Route("/reltio/tenants", counted("tenant/list", neighbours.tenants), methods=["GET"]),
        Route("/reltio/permissions/{tenantId}/", permissions, methods=["GET"]),
        Route("/reltio/permissions/{tenantId}", permissions, methods=["GET"]),
        Route(at, face.endpoint(read, face.get), methods=["GET"]),
        Route(at, face.endpoint(Privilege.UPDATE, face.put), methods=["PUT"]),
        Route(f"{at}/_noInheritance", face.endpoint(read, face.own), methods=["GET"]),
        Route(f"{at}/_noinheritance", face.endpoint(read, face.own), methods=["GET"]),
        Route(f"{at}/_history", face.endpoint(read, face.history), methods=["GET"]),
        Route(f"{at}/_validation", face.endpoint(read, face.validate), methods=["POST"]),
        Route(f"{at}/_validateTenantConfiguration", face.endpoint(read, face.validate_stored), methods=["GET"]),
        Route(
            "/reltio/tenants/{tenantId}/_validateTenantConfiguration",
            face.endpoint(read, face.validate_stored),
            methods=["GET"],
        ),
        Route(f"{at}/{{address:path}}", face.endpoint(read, face.get_part), methods=["GET"]),
        *(
            Route(f"{at}/{{address:path}}", face.endpoint(privilege, work), methods=[method])
            for (method, privilege), work in zip(
                _PRIVILEGES.items(), (face.insert, face.replace, face.remove), strict=True
            )
        ),
    ]


class TenantFace:
    """What can be done with documents over HTTP."""

    def __init__(self, dispatcher: Dispatcher, admission: Admission) -> None:
        self._dispatcher = dispatcher
        self._services = dispatcher.services
        self._admission = admission
        self._documents = Documents(
            self._services.ledger, self._services.tenants, self._services.workers, self._services.settings
        )
        self._validations: KeyedLock[str] = KeyedLock()

    def endpoint(self, privilege: Privilege, work: _Work) -> _Endpoint:
        """Something to do for who has a privilege in the tenant of the path; errors become answers (section 7.2)."""

        async def answer(request: HttpRequest) -> Response:
            try:
                return await work(request, self._caller(request, privilege))
            except TenantError as error:
                return _refusal(error)
            except WireError as error:
                return _closing(refusal(request, error))
            except NotDurable as error:
                return refusal(request, unavailable(error))
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as unexpected:
                self._services.telemetry.unexpected("tenant configuration", unexpected)
                return _refusal(InternalError())

        return self._services.telemetry.counted(f"document/{work.__name__}", answer)

    def _caller(self, request: HttpRequest, privilege: Privilege) -> Caller:
        """401, then 404, then 403 (section 10). Raises WireError."""
        client = caller_for(self._dispatcher, request)
        tenant = tenant_of(request)
        still = partial(self._dispatcher.authorize_tenant, client, tenant, privilege)
        still()
        identity = self._dispatcher.authenticated(client)
        may = [each for each in Privilege if identity.may_tenant(tenant, each)]
        return Caller(tenant, self._services.tenants.number(tenant) or 0, identity.login, may, still)

    # The whole document.

    async def get(self, request: HttpRequest, caller: Caller) -> Response:
        """The document as it was saved, or some collections of it, or with what the caller may do in each element."""
        stored = self._stored(caller)
        names = [name for given in request.query_params.getlist("select") for name in given.split(",") if name]
        access = "showAccess" in ",".join(request.query_params.getlist("options")).split(",")
        if not names and not access:
            return _document(stored)
        found = await self._documents.collections(stored, names, list(caller.may) if access else None)
        return Response(found, 200, _dated(stored), "application/json")

    async def own(self, request: HttpRequest, caller: Caller) -> Response:
        """The document as it was saved; an empty one before that (section 13, row 2)."""
        stored = self._documents.stored(caller.tenant)
        return _document(stored) if stored is not None else _json({})

    async def put(self, request: HttpRequest, caller: Caller) -> Response:
        """Replace the document (section 3)."""
        async with self._body(request) as body:
            since = request.headers.getlist("if-unmodified-since")
            stored, _ = await self._documents.save(caller.author, body, since)
            return _document(stored)

    async def history(self, request: HttpRequest, caller: Caller) -> Response:
        """Versions, newest first; one after the other is read and sent, however large they are together."""
        most = _number(request, "max", HISTORY_MAX)
        offset = _number(request, "offset", 0)
        stored = self._documents.stored(caller.tenant)

        async def pieces() -> AsyncIterator[bytes]:
            lead = b"["
            if stored is not None:
                async for version in self._documents.history(stored, most, offset):
                    header = version.header
                    tail = encode({"timestamp": header.updatedTime, "updatedBy": header.updatedBy})
                    yield b"".join((lead, b'{"configuration":', version.view, b",", tail[1:]))
                    lead = b","
            yield b"]" if lead == b"," else b"[]"

        return StreamingResponse(pieces(), 200, None, "application/json")

    async def validate(self, request: HttpRequest, caller: Caller) -> Response:
        """What is wrong with a document, which is not saved."""
        level = _level(request)
        # Before the body is read: whoever may only read holds one body of a tenant at a time, however slow it comes.
        async with self._validations.turn(caller.tenant), self._body(request) as body:
            return _json(validation_answer(await self._documents.find(caller.tenant, body), level))

    async def validate_stored(self, request: HttpRequest, caller: Caller) -> Response:
        """What is wrong with the stored document."""
        level, stored = _level(request), self._stored(caller)
        return _json(validation_answer(await self._documents.find(caller.tenant, stored.document), level))

    def _stored(self, caller: Caller) -> Stored:
        stored = self._documents.stored(caller.tenant)
        if stored is None:
            raise NotDefined(f"Tenant {caller.tenant!r} has no configuration yet")
        return stored

    # One type, one part of it, or a source (sections 2.2 to 2.4).

    async def get_part(self, request: HttpRequest, caller: Caller) -> Response:
        """A collection, a type, or a part of one."""
        address = _address(request)
        stored = self._stored(caller)
        return Response(await self._documents.part(stored, address), 200, _dated(stored), "application/json")

    async def insert(self, request: HttpRequest, caller: Caller) -> Response:
        """Add one."""
        return await self._edit(request, caller, Edit("insert", _address(request)), 201)

    async def replace(self, request: HttpRequest, caller: Caller) -> Response:
        """Put another in its place. A survivorship group is answered with 202, as section 2.3 has it."""
        address = _address(request)
        status = 202 if "survivorshipGroups" in address[2:3] else 200
        return await self._edit(request, caller, Edit("replace", address), status)

    async def remove(self, request: HttpRequest, caller: Caller) -> Response:
        """Take it away: 204, but 200 with a body for a survivorship group and a source.

        That for a source names the task that purges its data (section 2.4); there is none here, so it is done at once.
        """
        address = _address(request)
        option = request.query_params.get("option", PURGES[0])
        if address[0] == "sources" and option not in PURGES:
            raise BadRequest(f"option is one of {', '.join(PURGES)}")
        since = request.headers.getlist("if-unmodified-since")
        stored, _ = await self._documents.save(caller.author, None, since, Edit("remove", address))
        if "survivorshipGroups" in address[2:3]:
            return _json({"successful": True}, stored=stored)
        if address[0] == "sources":
            task = {"id": str(stored.change.revision), "type": option, "status": "COMPLETED"}
            uri = f"configuration/{'/'.join(address)}"
            return _json({"uri": uri, "successful": True, "backgroundTask": task}, stored=stored)
        return Response(status_code=204, headers=_dated(stored))

    async def _edit(self, request: HttpRequest, caller: Caller, edit: Edit, status: int) -> Response:
        async with self._body(request) as body:
            since = request.headers.getlist("if-unmodified-since")
            stored, part = await self._documents.save(caller.author, body, since, edit)
        return Response(part, status, _dated(stored), "application/json")

    # Bodies.

    @asynccontextmanager
    async def _body(self, request: HttpRequest) -> AsyncIterator[bytes]:
        """The JSON of a body. What it holds is drawn from the admission's budget until the work with it is over.

        Raises TooLarge, UnsupportedMediaType, NotJson for gzip that is none, RequestTimeout and Unavailable.
        """
        reader = Body(request, self._admission)
        try:
            data = await reader.read()
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != "application/json" or not reader.known:
                raise UnsupportedMediaType
            yield data
        finally:
            reader.free()


class Body:
    """A body on its way in: bounded while it is read and decompressed, in size, time and what all hold together.

    The limit is that of the decompressed body; nothing beyond it is ever decompressed (section 13, row 22).
    """

    def __init__(self, request: HttpRequest, admission: Admission) -> None:
        self._request = request
        self._admission = admission
        self._limit = admission.settings.document_bytes
        self._data = bytearray()
        self._drawn = 0
        coding = ",".join(request.headers.getlist("content-encoding")).strip().lower()
        self.known = coding in ("", "identity", "gzip", "x-gzip")
        """Whether it is in a coding that is understood; in another one it is read all the same, and bounded."""
        self._members = 0
        self._inflate = self._member() if self.known and coding.endswith("gzip") else None

    async def read(self) -> bytes:
        """All of it, decompressed."""
        announced = self._request.headers.get("content-length", "")
        if "expect" in self._request.headers and announced.isdecimal() and int(announced) > self._limit:
            raise self._too_large()
        seconds = self._admission.settings.body_seconds
        refused: TenantError | None = None
        beyond = 0
        try:
            async with asyncio.timeout(seconds) as deadline:
                async for chunk in self._request.stream():
                    if refused is None:
                        refused = await self._take(chunk)
                        if refused is not None:
                            self._data.clear()
                            soon = asyncio.get_running_loop().time() + LINGER_SECONDS
                            deadline.reschedule(min(soon, deadline.when() or soon))
                    else:
                        beyond += len(chunk)
                        if beyond > MOST_THROWN_AWAY:
                            break
        except TimeoutError:
            if refused is None:
                raise RequestTimeout(f"the body took over {seconds:g} s") from None
        if refused is not None:
            raise refused
        if self._inflate is not None and not self._inflate.eof:
            raise NotJson("The request body is no whole gzip stream")
        return bytes(self._data)

    def free(self) -> None:
        """What it held is not held any more."""
        self._data.clear()
        self._drawn = self._admission.draw(self._drawn, 0)

    async def _take(self, chunk: bytes) -> TenantError | None:
        """Add a piece; what is wrong with it, if anything."""
        if self._inflate is None:
            return self._add(chunk)
        while chunk:
            if self._inflate.eof:
                self._members += 1
                if self._members > GZIP_MEMBERS:
                    return NotJson(f"The request body has more than {GZIP_MEMBERS} gzip members")
                self._inflate = self._member()
            try:
                piece = self._inflate.decompress(chunk, INFLATE)
            except zlib.error as error:
                return NotJson(f"The request body is not gzip: {error}")
            if (refused := self._add(piece)) is not None:
                return refused
            chunk = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            await asyncio.sleep(0)
        return None

    def _add(self, piece: bytes) -> TenantError | None:
        if len(self._data) + len(piece) > self._limit:
            return self._too_large()
        self._drawn = self._admission.draw(self._drawn, len(self._data) + len(piece))
        self._data += piece
        return None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The request body is over {self._limit} bytes", "Nothing was changed.")

    @staticmethod
    def _member() -> Any:
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


# The path, the query, the answer.


def _address(request: HttpRequest) -> tuple[str, ...]:
    """The path below `configuration`, unquoted. The path is still percent-encoded, so a name may have a slash in it."""
    return tuple(unquote(segment) for segment in request.path_params["address"].rstrip("/").split("/"))


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadRequest(f"{name} is a whole number, not negative")
    return min(int(text), MOST_HISTORY)


def _level(request: HttpRequest) -> str:
    """The value of `validationErrorLevel`. Raises BadRequest for none that there is, before anything is read."""
    level = request.query_params.get("validationErrorLevel", "all")
    validation_answer((), level)
    return level


def _dated(stored: Stored) -> dict[str, str]:
    return {"Last-Modified": http_date(stored.header.updatedTime)}


def _document(stored: Stored) -> Response:
    return Response(stored.view, 200, _dated(stored), "application/json")


def _json(value: Any, status: int = 200, stored: Stored | None = None) -> Response:
    return Response(render(value), status, _dated(stored) if stored is not None else None, "application/json")


def _refusal(error: TenantError) -> Response:
    return _closing(Response(encode(error.body()), error.status, None, "application/json"))


def _closing(response: Response) -> Response:
    if response.status_code in (408, 413, 415):
        response.headers["Connection"] = "close"  # the rest of the body is not read
    return response


# The tenant dialect's neighbours, and how all of it says no.


class Neighbours:
    """Small things that programs ask around a tenant's configuration (tenant configuration, section 2.5)."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def status(self, request: HttpRequest) -> Response:
        """That somebody is here; for everybody."""
        return _plain({"status": "OK"})

    async def tenants(self, request: HttpRequest) -> Response:
        """The ids of the tenants that the caller may read."""
        try:
            identity = self._dispatcher.authenticated(caller_for(self._dispatcher, request))
        except WireError as error:
            return refusal(request, error)
        known = self._dispatcher.services.tenants.all()
        return _plain([tenant for tenant in known if identity.may_tenant(tenant, Privilege.READ)])

    async def permissions(self, request: HttpRequest) -> Response:
        """What the caller may do in a tenant that it may read."""
        try:
            client = caller_for(self._dispatcher, request)
            tenant = tenant_of(request)
            self._dispatcher.authorize_tenant(client, tenant, Privilege.READ)
        except WireError as error:
            return refusal(request, error)
        identity = self._dispatcher.authenticated(client)
        return _plain({BUSINESS_MODEL: [each for each in Privilege if identity.may_tenant(tenant, each)]})


def caller_for(dispatcher: Dispatcher, request: HttpRequest) -> Asker:
    """Who asks, for `Dispatcher.authorize_tenant`. Raises Unauthorized or TokenExpired when its token is no good."""
    return caller_of_request(dispatcher.services, request, "reltio")


def tenant_of(request: HttpRequest) -> str:
    """The tenant of the path parameter `tenantId`, as it was meant: the path is still percent-encoded."""
    return unquote(request.path_params["tenantId"])


def refusal(request: HttpRequest, error: WireError) -> Response:
    """401, 404 and 403 as the tenant dialect has them (tenant configuration, sections 1, 7.2 and 10).

    A 401 says `invalid_token` when a token was given, so that a program fetches a new one and tries again.
    """
    if error.code == 401:
        given = (header_of(request)("authorization") or "").lower().startswith("bearer ")
        word = "invalid_token" if given else "unauthorized"
        challenge = f'Bearer realm="hivewire", error="{word}"' if given else 'Bearer realm="hivewire"'
        return _plain({"error": word, "error_description": str(error)}, 401, {"WWW-Authenticate": challenge})
    problem = {
        "severity": "Error",
        "errorMessage": str(error),
        "errorCode": 309 if isinstance(error, NotFound) else error.code,
        "errorDetailMessage": (type(error).__doc__ or "").partition("\n\n")[0],
    }
    return _plain(problem, error.code)


def _plain(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, "application/json")
