"""The rows as routes: parse, call the action, render."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from itertools import chain

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import asdict

from hivewire.actions.listing import Listing, LongListing
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.dialects.devicehive.row import Row
from hivewire.dialects.devicehive.rows import ROWS
from hivewire.fleet.effective import EffectiveReply
from hivewire.http import body
from hivewire.http.conditions import conditions_of
from hivewire.http.cors import CORS
from hivewire.http.operations import AFFECTS, DRY_RUN, REVISION
from hivewire.http.parameters import request_of
from hivewire.http.peer import Admitted, admit_request
from hivewire.http.request import HttpRequest
from hivewire.http.response import JSON, Response, streamed
from hivewire.http.routes import Context, Dialect, Route, effective_method
from hivewire.resources import ResourceReply
from hivewire_protocol import codec, coercion
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, MalformedJson, TooLarge, UnsupportedMediaType, WireError
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.nouns.configuration import ConfigurationReply, RevisionReply

METHODS_WITH_BODY = ("POST", "PUT", "DELETE")

CONTEXTS = ("api", "dh", "auth")
"""The contexts before `/rest`: our own, DeviceHive's, and that of DeviceHive's auth server."""


def dialect(context: Context) -> Dialect:
    """REST under all contexts. Paths that belong to no dialect get the errors of this one."""
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
            # A fixed word in place of a name takes only the methods of its row: GET `transact` reads that name.
            only_stream = row.request is row.stream
            beside = {row.path.rpartition("/")[0] + name for name in ("/{name}", "/{names}")}
            also_name = only_stream or ("{" not in row.path and not paths.isdisjoint(beside))
            admit, handle = partial(admit_request, self._dispatcher, context, row.request), partial(self._answer, row)
            stream: Route[Admitted] | None = None
            if row.stream is not None:
                streamed = row._replace(request=row.stream)
                # `EventSource` in browsers cannot set headers.
                admit_stream = partial(admit_request, self._dispatcher, context, row.stream, query_token=True)
                stream = Route("GET", root + row.path, admit_stream, partial(self._follow, streamed), row.stream)
            yield Route(row.method, root + row.path, admit, handle, row.request, stream, also_name, only_stream)

    async def _anyone(self, request: HttpRequest) -> Admitted:
        return Admitted(request, Caller(request.address, ""))

    async def _answer(self, row: Row, call: Admitted) -> Response:
        if row.check is not None:
            row.check(self._services, call.caller, call.request.parameters)
        if row.unconditional and not call.request.headers.keys().isdisjoint(("if-match", "if-none-match")):
            raise InvalidParameters("conditions in headers are not supported here; send entityVersion or revision")
        data = await self._body(row, call)
        try:
            asked = request_of(row.request, call.request, _members(row, call.request, data))
        except WireError:
            if row.check_if_wrong is not None:
                row.check_if_wrong(self._services, call.caller, call.request.parameters)
            raise
        if row.waits:
            call.request.forget_head()
        reply = await self._dispatcher.carry_out(
            call.caller, asked, partial(conditions_of, call.request, self._services.resources.change)
        )
        if isinstance(reply, EffectiveReply):
            return _unless_known(call.request, row, reply)
        if isinstance(reply, Listing):
            return _listed(reply, partial(self._services.tokens.check, call.caller.identity, now()))
        return _render(row, reply)

    async def _follow(self, row: Row, call: Admitted) -> Response:
        """The same list as an event stream. A client that reconnects sends in a header the position to resume after."""
        last = call.request.headers.get("last-event-id")
        asked = request_of(row.request, call.request, given={} if last is None else {"since": Raw(encode(last))})
        return Response(stream=await self._streams.subscribe(call.caller, asked))

    async def _body(self, row: Row, call: Admitted) -> bytes | None:
        """The body; None when there is none. Raises InvalidParameters when there must be one."""
        if row.method not in METHODS_WITH_BODY:
            return None
        data = await body.read(call.request, self._admission, self._services.settings.message_bytes)
        if row.bodiless:
            return None
        if data.strip() not in (b"", b"null"):
            return data
        if row.method == "DELETE" or row.empty is None:
            return None
        raise InvalidParameters(row.empty)


def _members(row: Row, request: HttpRequest, data: bytes | None) -> dict[str, Raw]:
    """The members of a request that its body has."""
    if data is None:
        return {}
    if (given := request.media_type(JSON)) != JSON:
        raise UnsupportedMediaType.because(f"the body must be {JSON}, not {given[:100]}")
    try:
        codec.check_form(data)
        members = coercion.decode_members(data)
    except MalformedJson:
        raise InvalidParameters.because(f"the body {_fault(data)}") from None
    if row.request.__struct_config__.forbid_unknown_fields:
        coercion.refuse_repeated(data)
    return members if row.body is None else {row.body: Raw(data)}


def _fault(data: bytes) -> str:
    """What is wrong with a body that is not a JSON object, and where."""
    try:
        codec.check_form(data)
        msgspec.json.decode(data, type=dict[str, Raw])
    except MalformedJson as error:
        return str(error)
    except msgspec.ValidationError:
        return "is not a JSON object"
    except UnicodeDecodeError:
        return "is not UTF-8"
    except msgspec.DecodeError as error:
        words = str(error).removeprefix("JSON is malformed: ")
        return "is not JSON: it ends too early" if "truncated" in words else f"is not JSON: {words}"
    return "is not a JSON object"


async def _welcome(call: Admitted) -> Response:
    return Response(200, b"The REST API of this gateway; see also GET info.\n", "text/plain; charset=utf-8")


def _render(row: Row, reply: Reply) -> Response:
    headers = _headers(reply)
    if row.status == 204 or (reply is NOTHING and row.shows is not None):
        return Response(204, headers=headers)
    content = b"{%b}" % reply.members() if row.shows is None else reply.member(row.shows)
    if row.single:
        content = content.removeprefix(b"[").removesuffix(b"]")
    if len(content) > MAX_REPLY and reply.bounded:
        raise TooLarge
    return Response(row.status, content, JSON, headers)


def _listed(listing: Listing, check: Callable[[], None]) -> Response:
    """A list of any length: what fits in one portion is sent at once, and more is rendered while it is sent, as long as
    the check passes."""
    if isinstance(listing, LongListing):
        return streamed(listing.sent(), JSON, check=check)
    portions = listing.portions()
    first, second = next(portions), next(portions, None)
    if second is None:
        return Response(200, first, JSON)
    return streamed(_one_by_one(chain((first, second), portions)), JSON, check=check)


async def _one_by_one(portions: Iterable[bytes]) -> AsyncIterator[bytes]:
    for portion in portions:
        yield portion
        await asyncio.sleep(0)  # so that a long list does not block other connections


def _unless_known(request: HttpRequest, row: Row, reply: EffectiveReply) -> Response:
    """The answer, or 304 without a body for a client that has exactly this already, at whichever revision.

    A device is shown contents and tags, an operator also what changes without them: states, reports and layers (RFC
    9110, section 13.1.2). Proxies that compress add `W/` or `-gzip` to a tag, so its digits are looked for.
    """
    digits = sha256(reply.shown()).hexdigest()[:ETAG_DIGITS]
    headers = {"ETag": f'"{digits}"'}
    known = request.header("if-none-match") or ""
    if digits in known or known.strip() == "*":
        return Response(304, headers=headers)
    response = _render(row, reply)
    response.headers.update(headers)
    return response


ETAG_DIGITS = 32
"""Hexadecimal digits of the hash over all that is shown of a device."""


def _headers(reply: Reply) -> dict[str, str]:
    """The version and the revision of what the answer shows, for conditional requests."""
    if getattr(reply, "dryRun", UNSET) is not UNSET:
        affects = getattr(reply, "affects", UNSET)
        counts = "" if affects is UNSET else ", ".join(f"{name}={count}" for name, count in asdict(affects).items())
        return {DRY_RUN.name: "true", **({AFFECTS.name: counts} if counts else {})}
    if isinstance(reply, ResourceReply):
        return {"ETag": f'"{reply.change.version}"', REVISION.name: str(reply.revision)}
    if isinstance(reply, ConfigurationReply):
        return {"ETag": f'"{reply.configuration.entityVersion}"', REVISION.name: str(reply.revision)}
    return {REVISION.name: str(reply.revision)} if isinstance(reply, RevisionReply) else {}
