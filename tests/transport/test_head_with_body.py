"""The head of an answer goes out with its body, in one write."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hivewire.transport.connection import HeadWithBody


class Written:
    """In the place of a transport."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
def written() -> Written:
    return Written()


def answer(written: Written, *, started: bool = True) -> HeadWithBody:
    cycle: Any = SimpleNamespace(response_started=started)
    transport: Any = written
    return HeadWithBody(cycle, transport)


@pytest.mark.parametrize("body", [b"body", memoryview(b"body")])
def test_the_head_waits_for_the_body(written: Written, body: bytes | memoryview) -> None:
    """One write for both, and one for each piece after them."""
    transport = answer(written)
    transport.write(b"head ")
    assert written.pieces == []
    transport.write(body)
    transport.write(b"more")
    assert written.pieces == [b"head body", b"more"]


def test_an_empty_piece_sends_the_head_alone(written: Written) -> None:
    """A stream can begin before it has any data."""
    transport = answer(written)
    transport.write(b"head")
    transport.write(b"")
    assert written.pieces == [b"head"]


def test_a_head_without_a_body_is_written_when_it_is_flushed_or_closed(written: Written) -> None:
    """The answer to HEAD has no body; flushing again writes nothing."""
    transport = answer(written)
    transport.write(b"head")
    transport.flush()
    transport.flush()
    transport.close()
    assert (written.pieces, transport.is_closing()) == ([b"head"], True)
    other = answer(written)
    other.write(b"last")
    other.close()
    assert written.pieces == [b"head", b"last"]


def test_an_interim_response_does_not_wait(written: Written) -> None:
    """A client that expects `100 Continue` sends nothing before it has it."""
    answer(written, started=False).write(b"HTTP/1.1 100 Continue")
    assert written.pieces == [b"HTTP/1.1 100 Continue"]
