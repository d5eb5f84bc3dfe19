"""Refusing an HTTP request: what the answers of all dialects and of handshakes have in common."""

from __future__ import annotations

from collections.abc import Mapping

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import WireError

UNKNOWN_PATH = "GET / lists the interfaces"
"""The `hint` of a 404 for a path that no interface has."""

BEARER = "Bearer"
"""The challenge where only tokens are accepted (RFC 6750, section 3)."""


class Refusal(Exception):
    """The request is answered with an error document, and the connection is closed."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        """`members` stand in the document after its code and message."""
        super().__init__(message)
        self.members = members or {}
        self.status = status
        self.headers = headers or {}

    def answer(self, common: Mapping[str, str]) -> bytes:
        """The whole answer; `common` are the headers that all answers under its path have."""
        body = encode({"error": self.status, "message": str(self), **self.members})
        headers = {
            **common,
            **self.headers,
            "Content-Type": "application/json",
            "Connection": "close",
            "Content-Length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return STATUS_LINE[self.status] + head.encode() + b"\r\n" + body


def headers_of(error: Exception, status: int, challenge: str) -> dict[str, str]:
    """The headers that belong to an error: with a 401 the challenge (RFC 9110, section 11.6.1), and the seconds after
    which to try again, if the error has them (section 10.2.3)."""
    headers = {"WWW-Authenticate": challenge} if status == 401 else {}
    if isinstance(error, WireError) and "retryAfter" in error.members:
        headers["Retry-After"] = str(error.members["retryAfter"])
    return headers
