"""Reading the body of an HTTP request: bounded in bytes and time, and drawn from the budget of all connections."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from hivewire.transport.admission import Admission
from hivewire.transport.connection import LINGER_SECONDS
from hivewire_protocol.errors import RequestTimeout, TooLarge

THROWN_AWAY = 16 << 20
"""Bytes of a body that are read in all. A client that is still sending when the connection closes never reads the 413,
so what is over the limit is read to be thrown away, up to here."""


ANONYMOUS_BODY = 128 << 10
"""Largest body of a caller without a token: enough to ask for one."""


async def read(request: Request, admission: Admission, limit: int, seconds: float) -> bytes:
    """The whole body, of fixed length or chunked.

    Raises TooLarge over `limit` bytes, RequestTimeout when it takes longer than `seconds`, Unavailable when unfinished
    bodies and messages hold too much already, ClientDisconnect when the client is gone.
    """
    too_large = TooLarge(f"the body is over {limit} bytes")
    announced = request.headers.get("content-length", "")
    if "expect" in request.headers and announced.isdecimal() and int(announced) > limit:
        raise too_large
    data, size, drawn = bytearray(), 0, 0
    try:
        async with asyncio.timeout(seconds) as deadline:
            async for chunk in request.stream():
                size += len(chunk)
                if size > THROWN_AWAY:
                    break
                if size <= limit:
                    drawn = admission.draw(drawn, size)
                    data += chunk
                else:
                    soon = asyncio.get_running_loop().time() + LINGER_SECONDS
                    deadline.reschedule(min(soon, deadline.when() or soon))
    except TimeoutError:
        if size <= limit:
            raise RequestTimeout(f"the body took over {seconds:g} s") from None
    finally:
        admission.draw(drawn, 0)
    if size > limit:
        raise too_large
    return bytes(data)
