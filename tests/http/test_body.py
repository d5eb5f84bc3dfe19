"""The body of a request, from the messages that carry it."""

from __future__ import annotations

import gzip
from types import SimpleNamespace

import pytest
from starlette.types import Message

from hivewire.http.body import Body
from hivewire.http.request import HttpRequest
from hivewire.settings import Settings
from hivewire.transport.admission import Admission
from hivewire_protocol.errors import TooLarge

MEBI = 1 << 20


def packed(data: bytes, limit: int, pieces: int) -> Body:
    """A body that is complete at once, in this many pieces, and is read with a timeout of a nanosecond."""
    sent = gzip.compress(data)
    size = len(sent) // pieces + 1
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]

    async def receive() -> Message:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    headers = [(b"transfer-encoding", b"chunked")]
    connection = SimpleNamespace(anonymous=False)
    scope = {"method": "PUT", "raw_path": b"/", "headers": headers, "hivewire.connection": connection}
    return Body(HttpRequest(scope, receive), Admission(Settings(body_seconds=1e-9)), limit, gzip=True)


@pytest.mark.parametrize("pieces", [1, 5])
async def test_a_client_is_not_late_while_its_body_is_decompressed(pieces: int) -> None:
    """Received bytes count as in time, however long they take to decompress; a body over the limit gets 413."""
    data = bytes(8 * MEBI)
    assert await packed(data, 8 * MEBI, pieces).read() == data
    with pytest.raises(TooLarge):
        await packed(data, 4 * MEBI, pieces).read()
