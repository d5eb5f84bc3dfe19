"""One plain HTTP request to a gateway, for data that does not fit into a message: documents and binary contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hivewire.cli.errors import RemoteError

if TYPE_CHECKING:
    from hivewire_client.plain import Answer


def ask(
    url: str,
    method: str,
    path: str,
    token: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request to the gateway at an address, as `hivewire_client.plain.ask`.

    Raises Unreachable, whose text says of a write that it may have been carried out.
    """
    from hivewire.cli.remote import UNSURE, translated
    from hivewire_client import errors, plain  # here, so that help and completion load no network library

    with translated():
        try:
            return plain.ask(url, method, path, token, body, headers)
        except errors.Unreachable as error:
            unsure = "" if method == "GET" or isinstance(error, plain.NotSent) else UNSURE
            raise errors.Unreachable(f"{error}{unsure}") from None


def checked(answer: Answer) -> Answer:
    """The answer of a success. Raises RemoteError for others."""
    if answer.status != 200:
        told = object_of(answer)
        raise RemoteError(answer.status, str(told.get("message")), told)
    return answer


def object_of(answer: Answer) -> dict[str, Any]:
    """The JSON object in an answer. Raises Unreachable when there is none."""
    from hivewire.cli.remote import translated
    from hivewire_client import plain

    with translated():
        return plain.object_of(answer)
