"""The front page, for people and programs that know only the address: what this is, and where the interfaces are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache, partial
from html import escape
from typing import TypeAlias

from hivewire import __version__
from hivewire.http.cors import CORS
from hivewire.http.operations import BYTES, ERROR, ERRORS, LOCATION, OBJECT, TEXT, Content, Operation, json_of
from hivewire.http.request import HttpRequest
from hivewire.http.response import JSON, Response, json
from hivewire.http.routes import Context, Dialect, Route, anyone
from hivewire.transport.sockets import PATHS

SOCKET = {"websocket": ("/api/websocket", "actions and pushes, one JSON object per message")}
"""The WebSocket is not a dialect; the other interfaces are those that dialects list."""

Page: TypeAlias = Callable[[HttpRequest], Awaitable[Response]]

HEADERS = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"} | CORS
STYLE = "body{font:16px/1.5 system-ui;margin:3em auto;max-width:42em;padding:0 1em}td{padding:.2em 1em .2em 0}"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; frame-ancestors 'none'"

ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    b'<path d="M16 2l12 7v14l-12 7-12-7V9z" fill="#e8a317"/><path d="M9 16h4l3-6 3 12 2-6h3" fill="none" '
    b'stroke="#fff" stroke-width="2.5"/></svg>'
)


def dialect(context: Context) -> Dialect:
    """The front page, its icon, the API documents, and the answer to requests at a socket path without a handshake.

    No token is needed.
    """
    pages: dict[str, Page] = {
        "/": partial(_front, context.listed),
        "/favicon.ico": _icon,
        **dict.fromkeys(PATHS, _upgrade),
        **{f"/{name}.json": partial(_document, cache(make)) for name, make in context.documents.items()},
    }
    listed = {
        "openapi": ("/openapi.json", "all paths for tools (OpenAPI)"),
        "asyncapi": ("/asyncapi.json", "all messages of the WebSocket for tools (AsyncAPI)"),
    }
    return Dialect([Route("GET", path, anyone, page) for path, page in pages.items()], headers=HEADERS, listed=listed)


async def _front(listed: Mapping[str, tuple[str, str]], request: HttpRequest) -> Response:
    """The dashboard for browsers, or a page that says what this is; JSON for everything else."""
    places = {**SOCKET, **listed}
    if "text/html" in request.headers.get("accept", ""):
        if "dashboard" in listed:
            return Response(302, headers={"Location": "dashboard/"})  # relative: a proxy may put a prefix before it
        return Response(200, _html(places.values()), "text/html; charset=utf-8", {"Content-Security-Policy": POLICY})
    paths = {name: path for name, (path, _) in places.items()}
    return json({"name": "hivewire", "version": __version__, **paths})


def _html(places: Iterable[tuple[str, str]]) -> bytes:
    rows = "".join(f"<tr><td><code>{path}</code><td>{escape(what)}" for path, what in places)
    return (
        '<!doctype html><html lang="en"><title>Hivewire</title><link rel="icon" href="/favicon.ico">'
        f"<style>{STYLE}</style><h1>Hivewire {escape(__version__)}</h1>"
        "<p>This is a configuration server for programs that stay connected: it stores named, versioned values and "
        "pushes every change to those that follow them. It is used by programs, not in a browser.</p>"
        f"<table>{rows}</table><p>To look around: <code>hivewire login --url</code> and this address, then "
        "<code>hivewire list</code>. For more see the README of Hivewire and its folder <code>docs</code>.</p>"
    ).encode()


async def _icon(request: HttpRequest) -> Response:
    return Response(200, ICON, "image/svg+xml", {"Cache-Control": "public, max-age=86400"})


async def _document(make: Callable[[], bytes], request: HttpRequest) -> Response:
    """An API document. It is made in a thread, because that takes long, and only once."""
    return Response(200, await asyncio.to_thread(make), JSON, {"Cache-Control": "public, max-age=3600"})


async def _upgrade(request: HttpRequest) -> Response:
    """The answer to a request at a socket path that is not a handshake (RFC 9110, section 15.5.22)."""
    words = "A WebSocket opens here: the request needs the headers Connection: Upgrade and Upgrade: websocket"
    return json({"error": 426, "message": words}, 426, {"Upgrade": "websocket", "Connection": "Upgrade"})


def _operation(path: str, name: str, what: str, answer: Content) -> Operation:
    answers = {200: answer}
    if path == "/":
        answers[302] = Content("For browsers, if there is a dashboard.", headers=(LOCATION,))
    return Operation("GET", path, name, "front", what, answers, ERRORS, ERROR)


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    return (
        _operation(
            "/",
            "front",
            "Say what this is, and where its interfaces are.",
            Content(
                "The addresses; a page for browsers.",
                {JSON: {"type": "object", "additionalProperties": TEXT}, "text/html": TEXT},
            ),
        ),
        _operation("/favicon.ico", "favicon", "The icon of the pages.", Content("The icon.", {"image/svg+xml": BYTES})),
        _operation("/openapi.json", "openapi", "The OpenAPI document.", json_of("The document.", OBJECT)),
        _operation(
            "/asyncapi.json", "asyncapi", "The AsyncAPI document, of the WebSocket.", json_of("The document.", OBJECT)
        ),
    )
