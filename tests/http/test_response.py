"""Answers that are produced while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from hivewire.http.response import streamed


async def test_a_stream_is_sent_until_its_peer_has_gone() -> None:
    """Then nothing more is produced for it."""
    lost = [False]
    scope = {"hivewire.connection": SimpleNamespace(transport=SimpleNamespace(is_closing=lambda: lost[0]))}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append((message.get("status"), message.get("headers"), message.get("body"), message.get("more_body")))

    async def pieces(gone: bool) -> AsyncIterator[bytes]:
        yield b"1"
        lost[0] = gone
        yield b"2"
        assert not gone
        yield b"3"

    head = (207, [(b"content-type", b"text/plain")], None, None)
    for gone, rest in ((True, []), (False, [(None, None, each, bool(each)) for each in (b"2", b"3", b"")])):
        sent.clear()
        lost[0] = False
        stream: Any = streamed(pieces(gone), "text/plain", 207).stream
        await stream(scope, None, send)
        assert sent == [head, (None, None, b"1", True), *rest]
