"""Reading the body of an HTTP request: bounded in bytes and time, and counted in the budget of all connections.

Dialects call `read`. One that takes gzip, or works with the body for long, uses `Body`.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from hivewire.http.request import HttpRequest
from hivewire.transport.admission import Admission
from hivewire.transport.connection import LINGER_SECONDS
from hivewire.transport.cycle import body_that_came
from hivewire_protocol.errors import RequestTimeout, TooLarge, UnsupportedMediaType

THROWN_AWAY = 16 << 20
"""Bytes beyond the limit that are read and discarded: a client that still sends when the connection closes never
reads the 413."""

ANONYMOUS_BODY = 128 << 10
"""Largest body of a caller without a token: enough to ask for one."""

CODED = "Content-Encoding is not supported here, nor a Transfer-Encoding other than chunked; send the body as it is"
"""The text of the 415 for a body that is coded."""

INFLATE = 256 << 10
"""Bytes that are decompressed at a time."""

GZIP_MEMBERS = 64
"""A gzip body may have several members (RFC 1952, section 2.2); thousands of empty ones would only cost time."""


class ClientGone(Exception):
    """The client closed the connection before its body was complete; nobody reads an answer."""


class NotGzip(Exception):
    """A body is not a valid gzip stream; the message continues "The request body"."""


def coding_of(request: HttpRequest) -> str | None:
    """How the body is coded: `identity`, `gzip`, or None for any other coding, also one for its transfer alone."""
    if request.headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        return None
    coding = ",".join(request.all("content-encoding")).strip().lower()
    return {"": "identity", "identity": "identity", "gzip": "gzip", "x-gzip": "gzip"}.get(coding)


class Body:
    """The whole body, of fixed length or chunked, decompressed where its `coding` is `gzip`.

    A body in a coding that is not known (None) is read as it was sent, and left to the caller to refuse. What it holds
    is drawn from the budget until `free`. `limit` is in bytes after decompression, and nothing beyond it is ever
    decompressed.

    Reading raises TooLarge, RequestTimeout, NotGzip, ClientGone, and Unavailable when unfinished bodies and messages
    hold too much already.
    """

    def __init__(self, request: HttpRequest, admission: Admission, limit: int) -> None:
        self.coding = coding_of(request)
        self._request = request
        self._admission = admission
        self._limit = limit
        self._data = bytearray()
        self._drawn = 0
        self._members = 0
        self._inflate = _member() if self.coding == "gzip" else None

    async def read(self) -> bytes:
        """The whole body. After an error nothing of it counts in the budget."""
        headers = self._request.headers
        announced = headers.get("content-length")
        if announced is None and "transfer-encoding" not in headers:
            return self._whole()  # RFC 9112, section 6.3: there is no body
        if "expect" in headers and announced is not None and announced.isdecimal() and int(announced) > self._limit:
            raise _too_large(self._limit)  # before the client sends it
        try:
            await self._read()
            return self._whole()
        except BaseException:
            self.free()
            raise

    async def _read(self) -> None:
        """Read all of it. An error waits until the client has stopped sending, so that it reads the answer.

        Only the time spent waiting for the client counts towards its timeout, not that of decompressing.
        """
        wrong: TooLarge | NotGzip | None = None
        beyond = 0
        now = asyncio.get_running_loop().time
        left = seconds = self._admission.settings.body_seconds
        try:
            more = True
            while more and beyond <= THROWN_AWAY:
                begun = now()
                async with asyncio.timeout(left):
                    message = await self._request.receive()
                left -= now() - begun
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk, more = message.get("body", b""), message.get("more_body", False)
                if wrong is not None:
                    beyond += len(chunk)
                    continue
                try:
                    await self._take(chunk)
                except (TooLarge, NotGzip) as error:
                    wrong = error
                    self._data.clear()
                    left = min(left, LINGER_SECONDS)
        except TimeoutError:
            if wrong is None:
                raise RequestTimeout(f"the body took over {seconds:g} s") from None
        if wrong is not None:
            raise wrong

    async def _take(self, chunk: bytes) -> None:
        """Add the data of one ASGI message."""
        if self._inflate is None:
            self._add(chunk)
            return
        while chunk:
            if self._inflate.eof:
                self._members += 1
                if self._members > GZIP_MEMBERS:
                    raise NotGzip(f"has more than {GZIP_MEMBERS} gzip members")
                self._inflate = _member()
            try:
                piece = self._inflate.decompress(chunk, INFLATE)
            except zlib.error as error:
                raise NotGzip(f"is not gzip: {error}") from None
            self._add(piece)
            chunk = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            await asyncio.sleep(0)

    def _add(self, piece: bytes) -> None:
        size = len(self._data) + len(piece)
        if size > self._limit:
            raise _too_large(self._limit)
        if not self._request.connection.anonymous:  # anonymous input is counted with its connection
            self._drawn = self._admission.draw(self._drawn, size)
        self._data += piece

    def _whole(self) -> bytes:
        if self._inflate is not None and not self._inflate.eof:
            raise NotGzip("is not a complete gzip stream")
        return bytes(self._data)

    def free(self) -> None:
        """Drop the data, and return its bytes to the budget."""
        self._data.clear()
        self._drawn = self._admission.draw(self._drawn, 0)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over {limit} bytes")


def _member() -> Any:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


async def read(request: HttpRequest, admission: Admission, limit: int) -> bytes:
    """The whole body, returned to the budget when it is complete. Of an unknown caller it may have `ANONYMOUS_BODY`.

    Raises as `Body`, and UnsupportedMediaType for a coded body before anything of it is read.
    """
    headers = request.headers
    if ("content-encoding" in headers or "transfer-encoding" in headers) and coding_of(request) != "identity":
        raise UnsupportedMediaType(CODED)
    if not request.proven and limit > ANONYMOUS_BODY:
        limit = ANONYMOUS_BODY
    came = body_that_came(request.receive)
    if came is not None:  # with the head, as nearly all do
        if len(came) > limit:
            raise _too_large(limit)
        return came
    body = Body(request, admission, limit)
    try:
        return await body.read()
    finally:
        body.free()
