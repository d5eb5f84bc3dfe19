"""The body of a request, from the messages that carry it."""

from __future__ import annotations

import gzip
from types import SimpleNamespace

import pytest

from hivewire.http.body import ANONYMOUS_BODY, Body, read
from hivewire.http.request import HttpRequest
from hivewire.settings import Settings
from hivewire.transport.admission import Admission
from hivewire.transport.asgi import Message
from hivewire_protocol.errors import TooLarge, UnsupportedMediaType
from tests.http.made import made

MEBI = 1 << 20


def packed(data: bytes, limit: int, pieces: int) -> Body:
    """A body that is complete at once, in this many pieces, and is read with a timeout of a nanosecond."""
    sent = gzip.compress(data)
    size = len(sent) // pieces + 1
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]

    async def receive() -> Message:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    headers = [(b"transfer-encoding", b"chunked"), (b"content-encoding", b"gzip")]
    connection = SimpleNamespace(anonymous=False)
    scope = {"method": "PUT", "raw_path": b"/", "headers": headers, "hivewire.connection": connection}
    return Body(HttpRequest(scope, receive), Admission(Settings(body_seconds=1e-9)), limit)


@pytest.mark.parametrize("pieces", [1, 5])
async def test_a_client_is_not_late_while_its_body_is_decompressed(pieces: int) -> None:
    """Received bytes count as in time, however long they take to decompress; a body over the limit gets 413."""
    data = bytes(8 * MEBI)
    assert await packed(data, 8 * MEBI, pieces).read() == data
    with pytest.raises(TooLarge):
        await packed(data, 4 * MEBI, pieces).read()


def sent(data: bytes, *headers: tuple[bytes, bytes], proven: bool = True) -> HttpRequest:
    """A request whose body came with its head."""
    request = made(*headers, method="PUT", came=data)
    request.proven = proven
    return request


ENCODING, TRANSFER = b"content-encoding", b"transfer-encoding"


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ([], True),
        ([(ENCODING, b"")], True),
        ([(ENCODING, b"identity")], True),
        ([(ENCODING, b" Identity ")], True),
        ([(ENCODING, b"gzip")], False),
        ([(ENCODING, b"br")], False),
        ([(ENCODING, b"identity"), (ENCODING, b"gzip")], False),
        ([(TRANSFER, b"Chunked")], True),
        ([(TRANSFER, b"gzip, chunked")], False),
    ],
)
async def test_a_body_is_taken_as_it_is(headers: list[tuple[bytes, bytes]], taken: bool) -> None:
    """One that is coded, for its transfer or not, would be taken for something else, so it is refused."""
    request, admission = sent(b"x", *headers), Admission(Settings())
    if taken:
        assert await read(request, admission, 1) == b"x"
    else:
        with pytest.raises(UnsupportedMediaType, match="Content-Encoding is not supported here"):
            await read(request, admission, 1)


@pytest.mark.parametrize(
    ("limit", "proven", "most"),
    [(10, True, 10), (MEBI, True, MEBI), (10, False, 10), (MEBI, False, ANONYMOUS_BODY)],
)
async def test_a_body_has_a_limit(limit: int, proven: bool, most: int) -> None:
    """Its own, and for callers who are not known a small one."""
    admission = Admission(Settings())
    assert len(await read(sent(bytes(most), proven=proven), admission, limit)) == most
    with pytest.raises(TooLarge, match=f"over {most} bytes"):
        await read(sent(bytes(most + 1), proven=proven), admission, limit)
