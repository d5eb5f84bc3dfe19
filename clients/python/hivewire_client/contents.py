"""Contents that do not fit into a message: binary ones, and texts of any length. They go over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from hivewire_client.link import Link
from hivewire_client.plain import Answer
from hivewire_client.resources import TEXT, Entry


class Contents:
    """What a client can do over HTTP, with its token."""

    _link: Link

    async def http(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer of a gateway to any request below its address. Raises as `call`, by the status of the answer."""
        return await self._link.http(method, path, body, headers or {})

    async def content(self, name: str, *, version: int | None = None) -> bytes:
        """The content of a configuration, or of an earlier version, also where `get` and `fetch` leave it out: what is
        binary, or longer than 65,536 characters. Raises NotFound, Denied, Unavailable."""
        return (await self.http("GET", _path(name, {"entityVersion": version}))).body

    async def put_content(
        self,
        name: str,
        content: bytes,
        *,
        content_type: str = TEXT,
        expect: int | None = None,
        description: str | None = None,
    ) -> Entry[str]:
        """Write a configuration with any content, up to `property_bytes` of the gateway. Raises as `put`, TooLarge."""
        path = _path(name, {"entityVersion": expect, "description": description})
        answer = await self.http("PUT", path, content, {"Content-Type": content_type})
        return msgspec.json.decode(answer.body, type=Entry[str])


def _path(name: str, asked: dict[str, Any]) -> str:
    given = {member: value for member, value in asked.items() if value is not None}
    return f"/api/rest/configuration/{quote(name, safe='')}/content?{urlencode(given)}"
