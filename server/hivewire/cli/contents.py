"""Contents that do not fit into a message: binary data and long texts. They are sent over plain HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from hivewire.cli import plain

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote


def get(url: str, token: str | None, name: str, revision: int | None, *, reveal: bool = False) -> bytes:
    """The content after the change of that revision, or the current one. Raises RemoteError, Unreachable."""
    return plain.checked(
        plain.ask(url, "GET", _path(name, {"revision": revision, "reveal": reveal or None}), token)
    ).body


def put(remote: Remote, name: str, content: bytes, content_type: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The reply of `configuration/put`. `asked` are members of the request. Raises RemoteError, Unreachable."""
    headers = {"Content-Type": content_type}
    answer = plain.checked(plain.ask(remote.url, "PUT", _path(name, asked), remote.token, content, headers))
    reply: dict[str, Any] = {"configuration": plain.object_of(answer)}
    if "hivewire-dry-run" in answer.headers:
        return reply | {"dryRun": True}
    return reply | {"revision": int(answer.headers["hivewire-revision"])}


def _path(name: str, asked: dict[str, Any]) -> str:
    given = {
        member: str(value).lower() if isinstance(value, bool) else value
        for member, value in asked.items()
        if value is not None
    }
    return f"/api/rest/configuration/{quote(name, safe='')}/content?{urlencode(given)}"
