"""One plain HTTP request to a gateway, for what does not fit into a message: documents, binary contents, OAuth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hivewire_client.address import endpoint, http_of
from hivewire_client.errors import Unreachable

if TYPE_CHECKING:
    from email.message import Message


class Answer(NamedTuple):
    """The response of the gateway."""

    status: int
    headers: Message
    body: bytes


class NotSent(Unreachable):
    """No connection could be opened, so the gateway has not got the request."""


def ask(
    url: str,
    method: str,
    path: str,
    token: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = 30.0,
) -> Answer:
    """Send a request to the gateway at an address. It blocks. Raises Unreachable, and NotSent.

    It follows no redirects and uses no proxies, because they would get the token.
    """
    import http.client  # here, because most programs need it never

    secure, host, port, root = http_of(endpoint(url))
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(host, port, timeout=seconds)
    given = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    failure: type[Unreachable] = NotSent
    try:
        connection.connect()
        failure = Unreachable
        connection.request(method, root + path, body, given)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise failure(f"no answer from {url}: {' '.join(str(error).split())}") from None
    finally:
        connection.close()


def object_of(answer: Answer) -> dict[str, Any]:
    """The JSON object in an answer. Raises Unreachable when there is none."""
    import msgspec

    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise Unreachable(f"HTTP {answer.status} does not come from a gateway") from None
