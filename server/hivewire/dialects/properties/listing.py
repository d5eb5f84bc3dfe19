"""Long answers, rendered while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from hivewire.dialects.properties.calls import PropertyCall
from hivewire.http.response import Response, streamed
from hivewire.transport.back_pressure import PORTION
from hivewire_protocol.properties.markup import Node, frame, part

TOGETHER = 100
"""Elements that are rendered before other connections are served."""

FEW = 32
"""Most elements of an answer that is rendered at once."""

_Item = TypeVar("_Item")


def listing(
    call: PropertyCall,
    root: Node,
    items: Sequence[_Item],
    one: Callable[[_Item], Node],
    status: int = 200,
    *,
    at_once: bool,
    check: Callable[[], None] | None = None,
) -> Response:
    """The root with an element for each item. It is rendered while it is sent, so that a long list is never in memory
    as a whole, as long as the check passes. A list that is known to be short is rendered `at_once`, and has a
    Content-Length."""
    head, between, tail = frame(root, call.form, len(items))
    if at_once:
        content = head + between.join(part(one(item), call.form) for item in items) + tail
        return Response(status, content, call.form.media_type)

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
                await asyncio.sleep(0)  # so that a long list does not block other connections
        yield b"".join(gathered) + tail

    return streamed(portions(), call.form.media_type, status, check)
