"""The property dialect, `/@api/deki`: site properties with etags, for the scripts of wiki administrators.

A property is a configuration record, so putting one here is a transaction of the ledger like any other; the etag and
the abort mode are its precondition and are judged in the ledger's writer. The sections cited are those of the site
properties contract; its order of checks (section 7.5) is the order of the code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from itertools import chain
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from hivewire.access.users import Users
from hivewire.actions.configuration import KIND
from hivewire.dialects.properties.credentials import COOKIE, Asked, Caller, Credentials, is_foreign
from hivewire.dispatch import Dispatcher
from hivewire.http import body
from hivewire.http.peer import origin_of
from hivewire.ledger.pending import unavailable
from hivewire.ledger.records import Change, NotDurable, PreconditionFailed, Refused, Transaction, View, Write
from hivewire.services import Services
from hivewire.transport.admission import Admission
from hivewire.transport.connection import PORTION
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
    OutOfBounds,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
    VersionConflict,
    WireError,
)
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import (
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationList,
    ConfigurationPut,
    ConfigurationTransact,
)
from hivewire_protocol.nouns.identity import Token
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.properties import rules as properties
from hivewire_protocol.properties.batches import BatchEntry, read_batch
from hivewire_protocol.properties.markup import Element, Form, carried, document, frame, part
from hivewire_protocol.properties.rules import ROOTS, Abort, Author, Names, Property, Rule

MOST_INLINE = 64 << 10
"""The most bytes of text that documents show, whatever `contentcutoff` says; longer ones are at their own address."""

TOGETHER = 256
"""Entries of a batch that are submitted in one go, and properties of a list that are rendered in one go."""

FEW = 32
"""Properties of a list, or entries of a batch's answer, that are short enough to be rendered whole."""

LARGE_BATCH = 16 << 10
"""A larger batch takes so long to parse that it is done in a thread."""

LARGE_BATCHES, WAITING_BATCHES = 2, 16
"""So many larger ones are worked on at a time, each of which is fifty times its text in memory, and so many there may
be; others get 503."""

CONTENT_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
}
"""On raw contents: whatever somebody stored must not run as a page of this origin, which has the session cookie."""

READING = ("GET", "HEAD")


def routes(dispatcher: Dispatcher, admission: Admission) -> list[BaseRoute]:
    """Everything under the API's root, its 404s included. Paths are matched as they were sent, still encoded."""
    site = Site(dispatcher, admission)
    return [Route(root + "{path:path}", site) for root in ROOTS]


class Call:
    """One request: what it says, and what its answer depends on wherever that is made."""

    def __init__(self, services: Services, request: HttpRequest) -> None:
        self.request = request
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
        pairs = parse_qsl(request.scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True)
        query = dict(reversed(pairs))  # the first of several wins
        peer = request.client.host if request.client else "local"
        address, self.secure = origin_of(services.settings, peer, headers.get, request.scope["scheme"] == "https")
        self.asked = Asked(headers, query, address)
        self.headers, self.query = headers, query
        self.method: str = request.method
        if self.method == "POST":
            override = query.get("dream.in.verb") or headers.get("x-http-method-override")
            self.method = override.upper() if override else "POST"
        self.host = headers.get("host", "localhost")
        self.base = f"http{'s' if self.secure else ''}://{self.host}"
        self.root = self.base + ROOTS[0]
        self.form = Form.JSON if query.get("dream.out.format") == Form.JSON.value else Form.XML
        self.key = ""

    @property
    def name(self) -> str:
        """The name in the path. Raises OutOfBounds, or AccessDenied for the reserved one."""
        return properties.decoded_key(self.key)

    @property
    def inline(self) -> int:
        """The most bytes of text that documents show. Raises InvalidParameters."""
        cutoff = self.query.get("contentcutoff")
        if cutoff is None:
            return properties.INLINE
        return min(properties.integer("contentcutoff", cutoff, least=0), MOST_INLINE)

    def text(self, name: str) -> str | None:
        """A parameter that is any text. Raises InvalidParameters for one that documents could not show."""
        text = self.query.get(name)
        if text is not None and ("\ufffd" in text or not carried(text)):  # U+FFFD: where it was not UTF-8
            raise InvalidParameters(f"{name} must be UTF-8 text without control characters")
        return text

    def insists(self) -> bool:
        """Whether credentials are demanded; a value that is no boolean is complained of later."""
        return self.query.get("authenticate", "").lower() in ("true", "1")

    def check(self) -> None:
        """The parameters that every page has (section 2). Raises WireError."""
        query = self.query
        if "dream.out.format" in query and query["dream.out.format"] not in (Form.XML.value, Form.JSON.value):
            raise InvalidParameters("dream.out.format must be xml or json")
        if "authenticate" in query:
            properties.boolean("authenticate", query["authenticate"])
        if "redirects" in query:
            properties.integer("redirects", query["redirects"])

    def etag(self) -> str | None:
        """The etag that counts."""
        return properties.effective_etag(self.headers.get("etag"), self.query.get("etag"))

    def answer(self, root: Element, status: int = 200, **headers: str) -> Response:
        """A document in the form that was asked for."""
        return Response(document(root, self.form), status, headers, self.form.media_type)


Handler: TypeAlias = "Callable[[Site, Call, Caller], Coroutine[Any, Any, Response]]"


class Page(NamedTuple):
    """One verb of one path: what answers it, and the request that it counts as."""

    handler: Handler
    request: type[Request]


class Site:
    """All pages of the dialect: an ASGI application."""

    def __init__(self, dispatcher: Dispatcher, admission: Admission) -> None:
        self.dispatcher = dispatcher
        self.services = dispatcher.services
        self.admission = admission
        self._origins = {origin.strip() for origin in self.services.settings.property_origins.split(",")} - {""}
        self.credentials = Credentials(self.services, self._origins)
        self._large = asyncio.Semaphore(LARGE_BATCHES)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        call = Call(self.services, HttpRequest(scope, receive))
        pages = _pages(call)
        page = pages.get("GET" if call.method == "HEAD" else call.method)
        if pages and call.method == "OPTIONS":
            response = Response(status_code=204)
        else:
            response = await self._serve(call, pages, page)
        if pages and (page is None or call.method == "OPTIONS"):
            response.headers["Allow"] = ", ".join(_allowed(pages))
        if call.method == "HEAD" and call.request.method == "POST":
            # uvicorn leaves out the body of a HEAD; for a POST in its place that is up to us.
            response = Response(status_code=response.status_code, headers=dict(response.headers) | _NO_LENGTH)
        self._share(call, response)
        await response(scope, receive, send)

    async def _serve(self, call: Call, pages: dict[str, Page], page: Page | None) -> Response:
        request, began = page.request if page is not None else None, perf_counter()
        try:
            if page is None:
                raise MethodNotAllowed if pages else NotFound("There is no such path")
            response = await self._respond(call, page)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as unexpected:
            response = error_response(call, self.dispatcher.error(request, unexpected))
        action = f"property/{page.handler.__name__.strip('_')}" if page is not None else None
        self.services.telemetry.answered(action, response.status_code, began)
        return response

    async def _respond(self, call: Call, page: Page) -> Response:
        """Rights first, then everything else: who may not do it cannot make us read it."""
        if page.request is Token:
            return await page.handler(self, call, Caller())
        caller = await self.credentials.administrator(call.asked, insists=call.insists())
        if caller.ambient and call.method not in READING and self._is_foreign(call):
            raise AccessDenied("A page of another origin may not write with the credentials of a browser")
        call.check()
        return await page.handler(self, call, caller)

    def _is_foreign(self, call: Call) -> bool:
        origin = call.headers.get("origin")
        return is_foreign(origin, call.host) and origin not in self._origins

    def _share(self, call: Call, response: Response) -> None:
        """Let the pages of configured origins see the answer (section 11, row 20)."""
        origin = call.headers.get("origin")
        if self._origins:
            response.headers["Vary"] = "Origin"
        if origin in self._origins:
            response.headers.update(
                {
                    "Access-Control-Allow-Origin": origin,
                    "Access-Control-Allow-Credentials": "true",
                    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
                    "Access-Control-Allow-Headers": "Authorization, Content-Type, ETag, Slug, X-Authtoken, "
                    "X-Deki-Token, X-HTTP-Method-Override",
                    "Access-Control-Expose-Headers": "ETag, Retry-After",
                }
            )

    # Reading.

    async def list_(self, call: Call, caller: Caller) -> Response:
        """Every property, or those that `names` asks for, by name."""
        inline = call.inline
        found = await self._matching(Names(call.text("names") or ""))

        def one(change: Change) -> Element:
            return properties.property_element(self.shown(change), call.root, inline)

        root = properties.properties_element(len(found), call.root)
        return _listing(call, root, found, one, at_once=len(found) <= FEW and inline <= properties.INLINE)

    async def _matching(self, names: Names) -> list[Change]:
        kind = self.services.ledger.kind(KIND)
        ranges = kind.ranges(Patterns(names.patterns))
        keys = list(chain.from_iterable(kind.keys.islice(start, end) for start, end in ranges))
        found: list[Change] = []
        slice_ = max(1, 4_096 // names.effort)
        for number, key in enumerate(keys):
            if number % slice_ == slice_ - 1:
                await asyncio.sleep(0)
            if key in names and (change := kind.live.get(key)) is not None:
                found.append(change)
        return found

    async def get(self, call: Call, caller: Caller) -> Response:
        """The content, byte for byte, with its type."""
        found = self._found(call)
        shown = self.shown(found)
        # Set as a header, because Starlette completes the type of a text with a charset.
        headers = {"Content-Type": shown.content_type, "ETag": shown.etag, **CONTENT_HEADERS}
        return Response(memoryview(shown.content), headers=headers)  # a view: it is not the answer's own

    async def info(self, call: Call, caller: Caller) -> Response:
        """The property document."""
        inline = call.inline
        return call.answer(properties.property_element(self.shown(self._found(call)), call.root, inline))

    def _found(self, call: Call) -> Change:
        found = self.services.ledger.get(KIND, call.name)
        if found is None:
            raise NotFound("There is no such property")
        return found

    def shown(self, change: Change) -> Property:
        """A change with a content as a property."""
        return Property(
            change.key,
            change.id,
            change.version,
            change.time,
            change.content or b"",
            change.content_type,
            _author(self.services.users, change.author),
            change.description,
        )

    # Writing.

    async def put(self, call: Call, caller: Caller) -> Response:
        """Update the property (section 4.5), or create it where `abort` lets it."""
        rules = properties.PUT_MAY_CREATE if self.services.settings.property_put_creates else properties.PUT
        return await self._put(call, caller, call.name, rules, "modified")

    async def post(self, call: Call, caller: Caller) -> Response:
        """Create the property that `Slug` names (section 4.4)."""
        slug = call.headers.get("slug")
        if not slug:
            raise InvalidParameters("The header Slug must name the property")
        return await self._put(call, caller, properties.decoded_slug(slug), properties.POST, "exists")

    async def _put(self, call: Call, caller: Caller, name: str, rules: dict[Abort, Rule], default: str) -> Response:
        rule = rules[properties.abort_of(call.query.get("abort", default))]
        description = properties.checked_description(call.text("description")) or None
        content_type = properties.checked_media_type(call.headers.get("content-type") or properties.BINARY)
        content = await self._body(call)
        condition = Condition(rule, call.etag(), self.services.settings.property_count)
        write = Write(KIND, name, content, content_type, description, (condition,))
        change = await self._commit(write, caller)
        shown = self.shown(change)
        return call.answer(properties.property_element(shown, call.root), ETag=shown.etag)

    async def delete(self, call: Call, caller: Caller) -> Response:
        """Delete the property, whatever its etag (section 4.6)."""
        await self._commit(Write(KIND, call.name, None), caller)
        return Response()

    async def batch(self, call: Call, caller: Caller) -> Response:
        """Create, update and delete many, each for itself (section 4.7)."""
        content_type = call.headers.get("content-type", "text/xml")
        if content_type.partition(";")[0].strip().lower() not in ("application/xml", "text/xml"):
            raise InvalidParameters("A batch is application/xml or text/xml")
        charset = properties.charset_of(content_type) if "charset" in content_type.lower() else None
        data = await self._body(call)
        if len(data) <= LARGE_BATCH:
            outcomes = await self._write_batch(read_batch(data, charset), caller)
        elif self._waiting >= WAITING_BATCHES:
            raise Unavailable("Too many large batches at a time; try again in a few seconds")
        else:
            self._waiting += 1
            try:
                async with self._large:
                    entries = await asyncio.to_thread(read_batch, data, charset)
                    del data
                    outcomes = await self._write_batch(entries, caller)
            finally:
                self._waiting -= 1
        succeeded = sum(isinstance(outcome, Done) for outcome in outcomes)

        def one(outcome: Done | Failed) -> Element:
            if isinstance(outcome, Failed):
                return properties.failed(outcome.name, outcome.error)
            return properties.succeeded(self.shown(outcome.shown), call.root, outcome.deleted)

        root = properties.properties_element(succeeded, call.root)
        status = 200 if succeeded == len(outcomes) else 207
        return _listing(call, root, outcomes, one, status, at_once=len(outcomes) <= FEW)

    async def _write_batch(self, entries: list[BatchEntry], caller: Caller) -> list[Done | Failed]:
        """What became of the entries: what the answer is made from, which is not more than was in memory before."""
        outcomes: list[Done | Failed] = []
        for start in range(0, len(entries), TOGETHER):
            outcomes += await self._write_entries(entries[start : start + TOGETHER], caller)
            await asyncio.sleep(0)  # where all of them are no good, nothing else waits
        return outcomes

    async def _write_entries(self, entries: list[BatchEntry], caller: Caller) -> list[Done | Failed]:
        """The same for some of them, which are judged in their order."""
        limit = self.services.settings.property_bytes
        writes: list[Write | WireError] = []
        for entry in entries:
            if entry.problem is not None:
                writes.append(entry.problem)
            elif entry.content is None:
                writes.append(Write(KIND, entry.name, None, "", None, (Seen(),)))
            elif len(entry.content) > limit:
                writes.append(TooLarge(f"the content is over {limit} bytes"))
            else:
                condition = Condition(properties.ENTRY, entry.etag, self.services.settings.property_count)
                write = Write(KIND, entry.name, entry.content, entry.content_type, entry.description, (condition,))
                writes.append(write)
        outcomes = await asyncio.gather(
            *(self._commit(write, caller) for write in writes if isinstance(write, Write)), return_exceptions=True
        )
        left = iter(outcomes)
        return [
            self._outcome(entry, write, next(left) if isinstance(write, Write) else write)
            for entry, write in zip(entries, writes, strict=True)
        ]

    def _outcome(self, entry: BatchEntry, write: Write | WireError, outcome: Change | BaseException) -> Done | Failed:
        if isinstance(outcome, Change) and isinstance(write, Write):
            [condition] = write.preconditions
            if not isinstance(condition, Seen) or condition.last is None:
                return Done(outcome)
            return Done(condition.last, (_author(self.services.users, outcome.author), outcome.time))
        assert isinstance(outcome, BaseException)  # noqa: S101 - the only other outcome
        if isinstance(outcome, NotFound):
            outcome = InvalidParameters("There is neither such a property nor contents to make one")
        return Failed(entry.name, self.dispatcher.error(ConfigurationTransact, outcome).alone())

    async def _body(self, call: Call) -> bytes:
        """The whole body. Raises WireError when it is too large, late, or coded in some way."""
        if call.query.get("dream.in.format") in ("json", "php"):
            raise NotImplementedHere
        if call.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise UnsupportedMediaType("A content is taken as it is: no Content-Encoding but identity")
        if call.headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            raise UnsupportedMediaType("A content is taken as it is: no Transfer-Encoding but chunked")
        settings = self.services.settings
        return await body.read(call.request, self.admission, settings.property_bytes, settings.body_seconds)

    async def _commit(self, write: Write, caller: Caller) -> Change:
        """The change, once durable. Raises WireError."""
        author = caller.user.login if caller.user is not None else None
        try:
            [change] = await self.services.ledger.commit(Transaction((write,), author))
        except PreconditionFailed as failure:
            assert isinstance(failure.failed, Condition)  # noqa: S101 - the only one that can fail
            raise failure.failed.error(failure.last) from None
        except Refused:
            raise NotFound("There is no such property") from None
        except NotDurable as error:
            raise unavailable(error) from None
        return change

    # Logging in.

    async def authenticate(self, call: Call, caller: Caller) -> Response:
        """A session token for a Basic pair, in the body and as a cookie."""
        token, lifetime = await self.credentials.log_in(call.asked)
        call.check()
        redirect = call.query.get("redirect")
        if redirect:
            response = Response(status_code=302, headers={"Location": _checked_redirect(redirect)})
        else:
            response = Response(token, media_type="text/plain")
        # Strict: no other site's page sends it along. HttpOnly: no script reads it, a stored one neither.
        response.set_cookie(
            COOKIE, token, max_age=lifetime, path="/", secure=call.secure, httponly=True, samesite="strict"
        )
        response.headers["Cache-Control"] = "no-store"
        return response


class Done(NamedTuple):
    """An entry of a batch that succeeded: the change that is shown, which is the one before when it was `deleted`."""

    shown: Change
    deleted: tuple[Author, int] | None = None


class Failed(NamedTuple):
    """An entry of a batch that failed, and why."""

    name: str
    error: WireError


class Condition(Struct):
    """The etag and the abort mode of a write, judged in the ledger's writer: of two writers with the same etag the
    second finds the first one's."""

    rule: Rule
    given: str | None
    most: int
    """How many properties there may be; 0 for any number."""

    def holds(self, last: Change | None, view: View) -> bool:
        """Whether the write may happen to the record as it is."""
        current = _etag(last)
        if properties.verdict(self.rule, self.given, current) != 200:
            return False
        return current is not None or not self.most or view.count(KIND) < self.most

    def error(self, last: Change | None) -> WireError:
        """Why it did not."""
        current = _etag(last)
        status = properties.verdict(self.rule, self.given, current)
        if status == 200:
            return OutOfBounds("There are as many properties as there may be")
        kind = NotFound if status == NotFound.code else VersionConflict
        return kind(properties.reason(self.rule, self.given, current))


class Seen(Struct):
    """Holds always, and keeps what was there: the answer to a delete shows it."""

    last: Change | None = None

    def holds(self, last: Change | None, view: View) -> bool:
        """True."""
        self.last = last
        return True


_Item = TypeVar("_Item")


def _listing(
    call: Call,
    root: Element,
    items: Sequence[_Item],
    one: Callable[[_Item], Element],
    status: int = 200,
    *,
    at_once: bool,
) -> Response:
    """The root with an element for each item, which is made when it is to be sent: a list is never whole in memory.
    Only what is known to be short is made `at_once`, and so has a Content-Length."""
    head, between, tail = frame(root, call.form, len(items))
    if at_once:
        content = head + between.join(part(one(item), call.form) for item in items) + tail
        return Response(content, status, media_type=call.form.media_type)

    async def portions() -> AsyncIterator[bytes]:
        gathered = [head]
        size = 0
        for number, item in enumerate(items):
            gathered.append((between if number else b"") + part(one(item), call.form))
            size += len(gathered[-1])
            if size >= PORTION or number % TOGETHER == TOGETHER - 1:
                portion = b"".join(gathered)
                gathered, size = [], 0
                yield portion
                await asyncio.sleep(0)  # others have their turn, however long the list is
        yield b"".join(gathered) + tail

    return StreamingResponse(portions(), status, media_type=call.form.media_type)


def _etag(last: Change | None) -> str | None:
    if last is None or last.content is None:
        return None
    return properties.etag(last.id, last.version, last.time)


def _author(users: Users, login: str | None) -> Author:
    user = users.by_login(login) if login is not None else None
    return Author(user.id if user is not None else 0, login or "Anonymous")


def _checked_redirect(uri: str) -> str:
    """An address that a browser may be sent to. Raises InvalidParameters."""
    try:
        scheme = urlsplit(uri).scheme
    except ValueError:
        scheme = "?"
    if scheme not in ("", "http", "https") or not uri.isascii() or not uri.isprintable():
        raise InvalidParameters("redirect must be an http or https address, percent-encoded")
    return uri


def error_response(call: Call, error: WireError) -> Response:
    """The error document (section 9)."""
    uri = call.base + call.request.scope["path"]  # without the query, which may hold a token
    response = call.answer(properties.error_element(error, uri), error.code)
    if error.code == 401:
        response.headers["WWW-Authenticate"] = f'Basic realm="{properties.REALM}"'
    if "retryAfter" in error.members:
        response.headers["Retry-After"] = str(error.members["retryAfter"])
    if error.code in (408, 413, 415):
        response.headers["Connection"] = "close"  # the rest of the body is not read
    return response


_NO_LENGTH = {"content-length": "0"}


def _pages(call: Call) -> dict[str, Page]:
    """What there is at the path of a request, by verb; the name in it is noted."""
    root, *segments = call.request.path_params["path"].split("/")
    if root:
        return {}  # the API's root goes on without a slash
    if len(segments) in (3, 4) and segments[:2] == ["site", "properties"] and segments[2]:
        call.key = segments[2]
        segments[2] = "{key}"
    return PAGES.get("/".join(segments), {})


def _allowed(pages: dict[str, Page]) -> list[str]:
    return sorted({*pages, "OPTIONS"} | ({"HEAD"} if "GET" in pages else set()))


PAGES: dict[str, dict[str, Page]] = {
    "users/authenticate": {
        "GET": Page(Site.authenticate, Token),
        "POST": Page(Site.authenticate, Token),
    },
    "site/properties": {
        "GET": Page(Site.list_, ConfigurationList),
        "POST": Page(Site.post, ConfigurationPut),
        "PUT": Page(Site.batch, ConfigurationTransact),
    },
    "site/properties/{key}": {
        "GET": Page(Site.get, ConfigurationGet),
        "PUT": Page(Site.put, ConfigurationPut),
        "DELETE": Page(Site.delete, ConfigurationDelete),
    },
    "site/properties/{key}/info": {
        "GET": Page(Site.info, ConfigurationGet),
    },
}
