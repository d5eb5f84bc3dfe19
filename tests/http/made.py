"""Requests that no socket brought."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hivewire.http.request import HttpRequest
from tests.exchange import Exchange


def made(
    *headers: tuple[bytes, bytes], method: str = "GET", target: str = "/", came: bytes = b"", **scope: Any
) -> HttpRequest:
    """The request for a target; `came` is the body, which came with the head. Further members are of its scope."""
    path, _, query = target.partition("?")
    connection = SimpleNamespace(anonymous=True, logged_in=lambda: None, when_lost=lambda call: None, known=None)
    given = {
        "method": method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "hivewire.connection": connection,
    }
    return HttpRequest(given | scope, Exchange(body=came).receive)
