"""An HTTP answer, as dialects make it from a reply or an error."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any

from msgspec import Struct, field

from hivewire.transport.asgi import ASGIApp, Receive, Scope, Send
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import WireError

JSON = "application/json"

SANDBOX = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
}
"""Headers of stored contents: a stored page must not run in this origin, which has the session cookie."""


class Response(Struct):
    """A status, a body, its media type and further headers.

    A `memoryview` is of something that is in memory anyway; bytes are the answer's own and count against the budget of
    unread answers. `stream` is an ASGI application that sends the answer by itself, in place of the body.
    """

    status: int = 200
    body: bytes | memoryview = b""
    media_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stream: ASGIApp | None = None


def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(status, encode(value), JSON, dict(headers or {}))


def streamed(
    pieces: AsyncIterable[bytes], media_type: str, status: int = 200, check: Callable[[], object] | None = None
) -> Response:
    """An answer whose body is produced piece by piece while it is sent, until the peer has gone, or until `check`
    raises the error of a caller whose rights have ended: then the peer is disconnected."""

    async def send_pieces(scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["hivewire.connection"].transport
        headers = [(b"content-type", media_type.encode("latin-1"))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        async for piece in pieces:
            if transport.is_closing():
                return
            if check is not None:
                check()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return Response(status, stream=send_pieces)


def error_document(error: WireError) -> Response:
    """`{"error":code,"message":text}` and further members: DeviceHive's form, and that of paths of no dialect."""
    return json({"error": error.code, "message": str(error), **error.members}, error.code)
