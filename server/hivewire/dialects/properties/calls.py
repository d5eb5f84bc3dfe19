"""Requests of the property dialect, their callers and their errors."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import parse_qsl

from hivewire.dialects.properties.credentials import Asked, Credentials, SiteCaller, is_foreign
from hivewire.http import body
from hivewire.http.peer import origin_of
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response
from hivewire.resources import KIND
from hivewire.services import Services
from hivewire.transport.admission import Admission
from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotImplementedHere, WireError
from hivewire_protocol.properties.contents import INLINE
from hivewire_protocol.properties.elements import error_element
from hivewire_protocol.properties.etags import effective_etag
from hivewire_protocol.properties.markup import Form, Node, is_xml_text, render
from hivewire_protocol.properties.names import decoded_key
from hivewire_protocol.properties.parameters import boolean, integer
from hivewire_protocol.properties.paths import REALM, ROOTS

MOST_INLINE = 64 << 10
"""The most bytes of text that answers show, whatever `contentcutoff` says; longer text can be read by itself."""

READING = ("GET", "HEAD")


def _query(request: HttpRequest) -> Mapping[str, str]:
    return _parsed(request.scope["query_string"])


@lru_cache(1)  # each request is asked for it up to five times, and a long one takes 15 ms
def _parsed(text: bytes) -> Mapping[str, str]:
    found = dict(reversed(parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True))) if text else {}
    return MappingProxyType(found)


def method_of(request: HttpRequest) -> str:
    """The effective method: a POST may name another one in its query or a header."""
    if request.method != "POST":
        return request.method
    override = _query(request).get("dream.in.verb") or (request.all("x-http-method-override") or [""])[-1]
    return override.upper() if override else "POST"


class PropertyCall:
    """One request, with everything that its answer depends on."""

    def __init__(self, services: Services, request: HttpRequest) -> None:
        self.request = request
        self.who = SiteCaller()
        self._known = services.ledger.kind(KIND).live
        # In this dialect the last of several headers counts, and the first of several parameters.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
        query = _query(request)
        address, self.secure = origin_of(services.settings, request.address, request.header, request.secure)
        self.asked = Asked(headers, query, address)
        self.headers, self.query = headers, query
        self.method = method_of(request)
        self.host = headers.get("host", "localhost")
        self.base = f"http{'s' if self.secure else ''}://{self.host}"
        self.root = self.base + ROOTS[0]
        self.form = Form.JSON if query.get("dream.out.format") == Form.JSON.value else Form.XML

    @property
    def name(self) -> str:
        """The name in the path. Raises OutOfBounds, or AccessDenied for the reserved one."""
        return decoded_key(self.request.parameters["key"], self._known)

    @property
    def inline(self) -> int:
        """The most bytes of text that answers show. Raises InvalidParameters."""
        cutoff = self.query.get("contentcutoff")
        if cutoff is None:
            return INLINE
        return min(integer("contentcutoff", cutoff, least=0), MOST_INLINE)

    def text(self, name: str) -> str | None:
        """A parameter that may be any text. Raises InvalidParameters for one that answers could not show."""
        text = self.query.get(name)
        if text is not None and ("\ufffd" in text or not is_xml_text(text)):  # U+FFFD replaces what was not UTF-8
            raise InvalidParameters(f"{name} must be UTF-8 text without control characters")
        return text

    def insists(self) -> bool:
        """Whether credentials are required; a value that is not a boolean is refused later."""
        return self.query.get("authenticate", "").lower() in ("true", "1")

    def check(self) -> None:
        """The parameters that every page has (section 2). Raises WireError."""
        query = self.query
        if "dream.out.format" in query and query["dream.out.format"] not in (Form.XML.value, Form.JSON.value):
            raise InvalidParameters("dream.out.format must be xml or json")
        if "authenticate" in query:
            boolean("authenticate", query["authenticate"])
        if "redirects" in query:
            integer("redirects", query["redirects"])

    def etag(self) -> str | None:
        """The effective etag."""
        return effective_etag(self.headers.get("etag"), self.query.get("etag"))

    async def body(self, admission: Admission) -> bytes:
        """The body of a write, byte for byte: the content, or a batch. Raises WireError."""
        if self.query.get("dream.in.format") in ("json", "php"):
            raise NotImplementedHere
        return await body.read(self.request, admission, admission.settings.property_bytes)

    def answer(self, root: Node, status: int = 200, **headers: str) -> Response:
        """An answer in the requested format."""
        return Response(status, render(root, self.form), self.form.media_type, headers)


class PropertyCallers:
    """The `admit` of the routes: finds the caller. Pages of `origins` may use browser tokens."""

    def __init__(self, services: Services, origins: Set[str]) -> None:
        self._services = services
        self._origins = origins
        self.credentials = Credentials(services, origins)

    async def anyone(self, request: HttpRequest) -> PropertyCall:
        """No credentials are needed here: the handler checks them itself."""
        return PropertyCall(self._services, request)

    async def administrator(self, request: HttpRequest) -> PropertyCall:
        """A caller with the ADMIN right. Raises WireError, also for bad values of parameters that all pages share."""
        call = PropertyCall(self._services, request)
        call.who = await self.credentials.administrator(call.asked, insists=call.insists())
        if call.who.ambient and call.method not in READING and self._is_foreign(call):
            raise AccessDenied("A page of another origin may not write with the credentials of a browser")
        request.logged_in()
        call.check()
        return call

    def _is_foreign(self, call: PropertyCall) -> bool:
        origin = call.headers.get("origin")
        return is_foreign(origin, call.host) and origin not in self._origins


def refuse(services: Services, request: HttpRequest, error: Exception) -> Response:
    """The error document (section 9)."""
    assert isinstance(error, WireError)  # noqa: S101 - the dialect has no errors of its own
    call = PropertyCall(services, request)
    uri = call.base + request.path  # without the query, which may hold a token
    return call.answer(error_element(error, uri), error.code)


def challenge(request: HttpRequest) -> str:
    """The challenge of a 401: a login and its password."""
    return f'Basic realm="{REALM}"'
