"""The pages about one property or a list of them, and the one that logs in."""

from __future__ import annotations

import asyncio
import http.cookies
from functools import partial
from urllib.parse import urlsplit

from hivewire.dialects.properties.calls import PropertyCall, PropertyCallers
from hivewire.dialects.properties.credentials import COOKIE
from hivewire.dialects.properties.listing import FEW, listing
from hivewire.dialects.properties.store import EtagCondition, PropertyStore
from hivewire.http.operations import REVISION
from hivewire.http.response import SANDBOX, Response
from hivewire.ledger.records import Change, Write
from hivewire.resources import KIND
from hivewire.services import Services
from hivewire.transport.admission import Admission
from hivewire_protocol.errors import AccessDenied, InvalidParameters
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.properties import elements
from hivewire_protocol.properties.aborts import POST, PUT, PUT_MAY_CREATE, Abort, AbortRule, abort_of
from hivewire_protocol.properties.contents import BINARY, INLINE, checked_description, checked_media_type
from hivewire_protocol.properties.elements import properties_element
from hivewire_protocol.properties.markup import Node
from hivewire_protocol.properties.names import Names, decoded_slug


class PropertyPages:
    """The handlers of single properties and of their list."""

    def __init__(
        self, services: Services, store: PropertyStore, callers: PropertyCallers, admission: Admission
    ) -> None:
        self._services = services
        self._store = store
        self._credentials = callers.credentials
        self._admission = admission

    # Reading.

    async def list_(self, call: PropertyCall) -> Response:
        """Every property, or those that `names` asks for, by name."""
        inline = call.inline
        found = await self._matching(Names(call.text("names") or ""))

        def one(change: Change) -> Node:
            return elements.property_element(self._store.shown(change), call.root, inline)

        root = properties_element(len(found), call.root)
        check = partial(self._store.check_still, call.who)
        check()  # it may have lost its right while the names were looked for
        return listing(call, root, found, one, at_once=len(found) <= FEW and inline <= INLINE, check=check)

    async def _matching(self, names: Names) -> list[Change]:
        kind = self._services.ledger.kind(KIND)
        keys = list(kind.within(Patterns(names.patterns)))
        found: list[Change] = []
        slice_ = max(1, 4_096 // names.effort)
        for number, key in enumerate(keys):
            if number % slice_ == slice_ - 1:
                await asyncio.sleep(0)
            if key in names and (change := kind.live.get(key)) is not None:
                found.append(change)
        return found

    async def get(self, call: PropertyCall) -> Response:
        """The content, byte for byte, with its type."""
        found = self._store.found(call.name)
        shown = self._store.shown(found)
        if shown.secret:
            raise AccessDenied.because("the value is secret")
        headers = {"ETag": shown.etag, **SANDBOX}
        return Response(200, memoryview(shown.content), shown.content_type, headers)

    async def info(self, call: PropertyCall) -> Response:
        """The property, with its content if that is short text."""
        inline = call.inline
        return call.answer(
            elements.property_element(self._store.shown(self._store.found(call.name)), call.root, inline)
        )

    # Writing.

    async def put(self, call: PropertyCall) -> Response:
        """Update the property (section 4.5), or create it if `abort` allows that."""
        rules = PUT_MAY_CREATE if self._services.settings.property_put_creates else PUT
        return await self._put(call, call.name, rules, "modified")

    async def post(self, call: PropertyCall) -> Response:
        """Create the property that `Slug` names (section 4.4)."""
        slug = call.headers.get("slug")
        if not slug:
            raise InvalidParameters("The header Slug must name the property")
        return await self._put(call, decoded_slug(slug), POST, "exists")

    async def _put(self, call: PropertyCall, name: str, rules: dict[Abort, AbortRule], default: str) -> Response:
        rule = rules[abort_of(call.query.get("abort", default))]
        description = checked_description(call.text("description")) or None
        content_type = checked_media_type(call.headers.get("content-type") or BINARY)
        content = await call.body(self._admission)
        condition = EtagCondition(rule, call.etag(), self._services.settings.property_count)
        write = Write(KIND, name, content, content_type, description, (condition,))
        change = await self._store.commit(write, call.who)
        shown = self._store.shown(change)
        response = call.answer(elements.property_element(shown, call.root), ETag=shown.etag)
        response.headers[REVISION.name] = str(change.revision)
        return response

    async def delete(self, call: PropertyCall) -> Response:
        """Delete the property, whatever its etag (section 4.6)."""
        change = await self._store.commit(Write(KIND, call.name, None), call.who)
        return Response(headers={REVISION.name: str(change.revision)})

    # Logging in.

    async def authenticate(self, call: PropertyCall) -> Response:
        """A session token for a Basic pair, in the body and as a cookie."""
        token, lifetime = await self._credentials.log_in(call.asked)
        call.check()
        # Strict: pages of other sites do not send it. HttpOnly: scripts cannot read it, even those in stored contents.
        cookie = http.cookies.SimpleCookie({COOKIE: token})
        cookie[COOKIE] |= {
            "max-age": lifetime,
            "path": "/",
            "secure": call.secure,
            "httponly": True,
            "samesite": "strict",
        }
        headers = {"Set-Cookie": cookie[COOKIE].OutputString(), "Cache-Control": "no-store"}
        if redirect := call.query.get("redirect"):
            return Response(302, headers={"Location": checked_redirect(redirect), **headers})
        return Response(200, token.encode(), "text/plain; charset=utf-8", headers)


def checked_redirect(uri: str) -> str:
    """A target for a redirect: an absolute URL, or a path of this gateway. Raises InvalidParameters.

    `http:path` is neither. Browsers read the URL by the rules of WHATWG: they remove spaces, tabs and line breaks, a
    backslash is a slash, and after two slashes or more comes a host.
    """
    try:
        parts = urlsplit(uri)
        good = bool(parts.netloc) if parts.scheme in ("http", "https") else not parts.scheme
    except ValueError:
        good = False
    if not good or uri.startswith("//") or not uri.isascii() or not uri.isprintable() or set(uri) & set("\\ "):
        raise InvalidParameters("redirect must be an http or https address or a path, percent-encoded")
    return uri
