"""Several writes, all or nothing."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Any, Self

import msgspec

from hivewire_client import values
from hivewire_client.link import Link
from hivewire_client.resources import TEXT, Entry


class Transaction:
    """Collects writes, and sends them at the end of the `async with` block.

    After it `entries` are what the configurations are then, in the order of the writes, and `revision` is the number
    of the transaction. One for a later time has no entries, and in `schedule` the number for `schedule/cancel`.
    Leaving the block raises as `put`; a Conflict says in `reply["index"]` which write it is about.
    """

    def __init__(self, link: Link, description: str | None, at: datetime | None = None) -> None:
        self.entries: tuple[Entry[str], ...] = ()
        self.revision: int | None = None
        self.schedule: int | None = None
        self._link = link
        self._description = description
        self._at = values.moment(at)
        self._changes: list[dict[str, Any]] = []

    def put(
        self,
        name: str,
        value: Any,
        *,
        expect: int | None = None,
        content_type: str | None = None,
        layer: str | None = None,
        ttl: int | None = None,
        expires: datetime | None = None,
    ) -> None:
        """Write a configuration, as `Hivewire.put`."""
        text, content_type = values.encode(value, content_type)
        content = {"value": text, "contentType": None if content_type == TEXT else content_type}
        self._add("put", name, expect, layer, {**content, "ttl": ttl, "expires": values.moment(expires)})

    def delete(self, name: str, *, expect: int | None = None, layer: str | None = None) -> None:
        """Delete a configuration."""
        self._add("delete", name, expect, layer, {})

    def _add(self, operation: str, name: str, expect: int | None, layer: str | None, content: dict[str, Any]) -> None:
        members = {"entityVersion": expect, "layer": layer, "description": self._description, **content}
        given = {member: value for member, value in members.items() if value is not None}
        self._changes.append({"operation": operation, "name": name, **given})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.commit()

    async def commit(self) -> None:
        """Send the writes, if there are any. The end of the block does it."""
        if self._changes:
            reply = await self._link.request("configuration/transact", {"changes": self._changes, "at": self._at})
            self.entries = msgspec.convert(reply.get("configurations", ()), tuple[Entry[str], ...])
            self.revision, self.schedule = reply["revision"], reply.get("schedule")


def written(reply: dict[str, Any]) -> Entry[str]:
    """The configuration in a reply."""
    return msgspec.convert(reply["configuration"], Entry[str])
