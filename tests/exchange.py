"""One request in uvicorn's hands, without a connection."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


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
    """One request, whose `body` came with its head, and what is written in answer to it."""

    def __init__(self, method: str = "GET", keep_alive: bool = True, body: bytes = b"") -> None:
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
        self.cycle.body += body
        self.cycle.more_body = False
        if body:
            self.cycle.message_event.set()
        self.receive: Any = self.cycle.receive
        self.send: Any = self.cycle.send

    def complete(self) -> None:
        self.completed += 1
