"""One plain HTTP request to a gateway, for data that does not fit into a message: documents and binary contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from hivewire.cli.errors import RemoteError, Unreachable
from hivewire.cli.output import on_one_line

if TYPE_CHECKING:
    from email.message import Message

_SOCKETS = ("/api/websocket", "/dh/websocket")


class Answer(NamedTuple):
    """The response of the gateway."""

    status: int
    headers: Message
    body: bytes


def ask(
    url: str,
    method: str,
    path: str,
    token: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request to the gateway at an address. Raises Unreachable.

    It follows no redirects and uses no proxies, because they would get the token.
    """
    import http.client

    from hivewire.cli.remote import SECONDS, endpoint

    parts = urlsplit(endpoint(url))
    root = next((parts.path.removesuffix(end) for end in _SOCKETS if parts.path.endswith(end)), parts.path)
    make = http.client.HTTPSConnection if parts.scheme == "wss" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=SECONDS)
    given = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    try:
        connection.request(method, root + path, body, given)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"no answer from {url}: {on_one_line(str(error))}") from None
    finally:
        connection.close()


def checked(answer: Answer) -> Answer:
    """The answer of a success. Raises RemoteError for others."""
    if answer.status != 200:
        told = object_of(answer)
        raise RemoteError(answer.status, str(told.get("message")), told)
    return answer


def object_of(answer: Answer) -> dict[str, Any]:
    """The JSON object in an answer. Raises Unreachable when there is none."""
    import msgspec

    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise Unreachable(f"HTTP {answer.status} does not come from a gateway") from None
