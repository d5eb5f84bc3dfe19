"""An answer that is complete goes out in one write."""

from __future__ import annotations

import pytest

from hivewire.transport.cycle import send_whole
from tests.exchange import Exchange

COMMON = ((b"access-control-max-age", b"0"),)


def answer(
    exchange: Exchange,
    status: int = 200,
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes | memoryview = b"body",
) -> None:
    send_whole(status, headers or [], COMMON, body, exchange.send)


LINES = b"date: today\r\netag: 1\r\n"


@pytest.mark.parametrize("body", [b"body", memoryview(b"body")])
async def test_head_and_body_are_one_write(body: bytes | memoryview) -> None:
    """With the headers of uvicorn, of the answer and of its dialect; then the connection goes on."""
    exchange = Exchange()
    answer(exchange, headers=[(b"etag", b"1")], body=body)
    assert exchange.written.pieces == [b"HTTP/1.1 200 OK\r\n" + LINES + b"access-control-max-age: 0\r\n\r\nbody"]
    assert (exchange.completed, exchange.cycle.response_complete, exchange.written.closed) == (1, True, False)


async def test_the_answer_to_head_has_no_body() -> None:
    """Its length is that of the body it does not have (RFC 9110, section 9.3.2)."""
    exchange = Exchange("HEAD")
    answer(exchange, headers=[(b"content-length", b"4")])
    assert exchange.written.pieces[0].endswith(b"content-length: 4\r\naccess-control-max-age: 0\r\n\r\n")


async def test_a_connection_that_ends_says_so() -> None:
    """Because the client asked for it, or the answer."""
    asked = Exchange(keep_alive=False)
    answer(asked)
    answered = Exchange()
    answer(answered, headers=[(b"connection", b"close")])
    for exchange in (asked, answered):
        assert exchange.written.pieces[0].count(b"\r\nconnection: close\r\n") == 1
        assert (exchange.written.closed, exchange.completed) == (True, 1)


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\rb", b"a\nb", b"a\0"])
async def test_a_header_cannot_begin_another_one(value: bytes) -> None:
    """Nothing is written; the connection answers with an internal error."""
    exchange = Exchange()
    with pytest.raises(RuntimeError, match="invalid header"):
        answer(exchange, headers=[(b"location", value)])
    assert (exchange.written.pieces, exchange.cycle.response_started) == ([], False)


async def test_nothing_is_written_for_a_client_that_has_gone() -> None:
    """Its connection is closed already."""
    exchange = Exchange()
    exchange.cycle.disconnected = True
    answer(exchange)
    assert (exchange.written.pieces, exchange.completed) == ([], 0)
