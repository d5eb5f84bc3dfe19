"""The opening handshake of a WebSocket (RFC 6455, section 4.2): from a request that uvicorn has parsed to its 101."""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from hivewire.transport.cycle import RawHeader
from hivewire.transport.refusal import Refusal

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope


def handshake(scope: HTTPScope, url: bytes, headers: list[RawHeader]) -> Request:
    """The parsed request as the `websockets` library represents it. Raises Refusal if it has a body."""
    lines = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    if "Transfer-Encoding" in lines or not {*lines.get_all("Content-Length")} <= {"0"}:
        raise Refusal(400, "a handshake has no body")
    return Request(url.decode("latin-1"), lines, scope["method"], f"HTTP/{scope['http_version']}")


def head_without_upgrade(scope: HTTPScope, url: bytes, headers: list[RawHeader]) -> bytes:
    """The head of a parsed request, without its offer to switch to another protocol, such as h2c.

    A server may ignore such an offer (RFC 9110, section 7.8), but the parser takes the body for that protocol.
    So it parses the request once more.
    """
    lines = [b"%b %b HTTP/%b" % (scope["method"].encode(), url, scope["http_version"].encode())]
    lines += [b"%b: %b" % (name, value) for name, value in headers if name != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


def accept(request: Request) -> Response:
    """The 101 to a handshake request. Raises Refusal, with the headers that tell what is supported (section 4.2.2)."""
    versions = request.headers.get_all("Sec-WebSocket-Version")
    if versions and versions != ["13"]:
        supported = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        raise Refusal(426, "only version 13 of the WebSocket protocol is supported", supported)
    response = ServerProtocol().accept(request)
    if response.status_code != 101:
        kept = {name: value for name, value in response.headers.raw_items() if name in ("Allow", "Upgrade")}
        raise Refusal(response.status_code, bytes(response.body).decode().partition("\n")[0], kept)
    return response


def header(request: Request, name: str) -> str | None:
    """The value of a header that may be repeated, None without it."""
    values = request.headers.get_all(name)
    return ", ".join(values) if values else None
