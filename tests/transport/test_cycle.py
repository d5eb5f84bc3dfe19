"""An answer that is complete goes out in one write."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hivewire.transport.cycle import send_whole

COMMON = ((b"access-control-max-age", b"0"),)


class Written:
    """In the place of a transport."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True


class Exchange:
    """One request of a connection, and what is written in answer to it."""

    def __init__(self, method: str = "GET", keep_alive: bool = True) -> None:
        self.written = Written()
        self.completed = 0
        transport: Any = self.written
        scope: Any = {"type": "http", "method": method}
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=transport,
            flow=FlowControl(transport),
            logger=logging.getLogger(),
            access_logger=logging.getLogger(),
            access_log=False,
            default_headers=[(b"date", b"today")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self.complete,
        )

    def complete(self) -> None:
        self.completed += 1

    def answer(
        self, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None, body: bytes | memoryview = b"body"
    ) -> None:
        send: Any = self.cycle.send
        send_whole(status, headers or [], COMMON, body, send)


LINES = b"date: today\r\netag: 1\r\n"


@pytest.mark.parametrize("body", [b"body", memoryview(b"body")])
async def test_head_and_body_are_one_write(body: bytes | memoryview) -> None:
    """With the headers of uvicorn, of the answer and of its dialect; then the connection goes on."""
    exchange = Exchange()
    exchange.answer(headers=[(b"etag", b"1")], body=body)
    assert exchange.written.pieces == [b"HTTP/1.1 200 OK\r\n" + LINES + b"access-control-max-age: 0\r\n\r\nbody"]
    assert (exchange.completed, exchange.cycle.response_complete, exchange.written.closed) == (1, True, False)


async def test_the_answer_to_head_has_no_body() -> None:
    """Its length is that of the body it does not have (RFC 9110, section 9.3.2)."""
    exchange = Exchange("HEAD")
    exchange.answer(headers=[(b"content-length", b"4")])
    assert exchange.written.pieces[0].endswith(b"content-length: 4\r\naccess-control-max-age: 0\r\n\r\n")


async def test_a_connection_that_ends_says_so() -> None:
    """Because the client asked for it, or the answer."""
    asked = Exchange(keep_alive=False)
    asked.answer()
    answered = Exchange()
    answered.answer(headers=[(b"connection", b"close")])
    for exchange in (asked, answered):
        assert exchange.written.pieces[0].count(b"\r\nconnection: close\r\n") == 1
        assert (exchange.written.closed, exchange.completed) == (True, 1)


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\rb", b"a\nb", b"a\0"])
async def test_a_header_cannot_begin_another_one(value: bytes) -> None:
    """Nothing is written; the connection answers with an internal error."""
    exchange = Exchange()
    with pytest.raises(RuntimeError, match="invalid header"):
        exchange.answer(headers=[(b"location", value)])
    assert (exchange.written.pieces, exchange.cycle.response_started) == ([], False)


async def test_nothing_is_written_for_a_client_that_has_gone() -> None:
    """Its connection is closed already."""
    exchange = Exchange()
    exchange.cycle.disconnected = True
    exchange.answer()
    assert (exchange.written.pieces, exchange.completed) == ([], 0)
