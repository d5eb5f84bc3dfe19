"""One request and its answer, which uvicorn calls a cycle: taking a body and writing an answer without its detours.

`receive` and `send` of a request are methods of its cycle, so these functions need no more than them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from hivewire.transport.asgi import Message, Receive, Send
from hivewire.transport.back_pressure import PORTION

if TYPE_CHECKING:
    from hivewire.transport.connection import HttpProtocol

VIEW = 512 << 10
"""Like PORTION for an answer that is in memory anyway. A portion costs an iteration of the event loop but no copy."""

RawHeader: TypeAlias = "tuple[bytes, bytes]"
"""The name of a header in lower case, and its value, as ASGI has them."""


@lru_cache(maxsize=64)
def _lines(headers: tuple[RawHeader, ...]) -> bytes:
    """The lines of headers that many answers have."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def body_that_came(receive: Receive) -> bytes | None:
    """Take the body of a request, if all of it is here; None if it has to be received."""
    cycle: RequestResponseCycle = receive.__self__  # type: ignore[attr-defined]
    if cycle.more_body or cycle.disconnected:
        return None
    body = bytes(cycle.body)
    cycle.body.clear()
    return body


def send_whole(
    status: int, headers: list[RawHeader], common: tuple[RawHeader, ...], body: bytes | memoryview, send: Send
) -> None:
    """Write an answer in one system call. uvicorn would need two, and would look at every header for itself.

    Raises RuntimeError for a header with a line break or a NUL.
    """
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    lines = b"".join([b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)])
    breaks = len(cycle.default_headers) + len(headers)
    if lines.count(b"\r") != breaks or lines.count(b"\n") != breaks or b"\0" in lines:
        raise RuntimeError("invalid header")
    if cycle.disconnected:
        return
    if (b"connection", b"close") in headers:
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        lines += b"connection: close\r\n"
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    content = b"" if cycle.scope["method"] == "HEAD" else body
    cycle.transport.write(b"".join((STATUS_LINE[status], lines, _lines(common), b"\r\n", content)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def without_chunks(send: Send) -> Send:
    """Send an answer of unknown length to a client of HTTP/1.0, which has no chunks: its body ends with the connection
    (RFC 9112, section 6.1)."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    cycle.chunked_encoding = cycle.keep_alive = False

    async def send_as_it_is(message: Message) -> None:
        cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    return send_as_it_is


def disconnect(send: Send) -> None:
    """Disconnect the peer of a request that gets no answer, or not all of it."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    cycle.disconnected = True  # so that uvicorn does not answer it
    cycle.transport.abort()


async def send_in_portions(connection: HttpProtocol, body: bytes | memoryview, more: bool, send: Send) -> None:
    """Write a large body as the peer reads it; `more` tells whether other parts of the body follow.

    Bytes were built for this answer: they count as unread until all are written, and each portion is a copy, so that
    an unread one does not keep the whole body. A view is of data that is in memory anyway: it does not count, and its
    portions are not copied.
    """
    held, size = (len(body), PORTION) if isinstance(body, bytes) else (0, VIEW)
    connection.hold(held)
    try:
        for end in range(size, len(body) + size, size):
            portion, after = body[end - size : end], more or end < len(body)
            await send({"type": "http.response.body", "body": portion, "more_body": after})
    finally:
        connection.hold(-held)
