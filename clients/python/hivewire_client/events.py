"""What a watch yields, and the queue behind it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from hivewire_client.resources import Change, Patterns
from hivewire_client.stream import Stream

MOST_UNREAD = 10_000
"""Changes that a watch keeps unread; of more, only the last of each name is kept."""


class Changes(Struct, frozen=True):
    """Changes that belong together: those of one transaction. `conflated`: changes in between were left out."""

    changes: tuple[Change, ...]
    position: str
    conflated: bool = False


class Reset(Struct, frozen=True):
    """The state was replaced: `changes` are the differences from what was known before.

    A watch begins with one, whose differences are everything that is known.
    """

    changes: tuple[Change, ...]
    position: str


class StateChanged(Struct, frozen=True):
    """The client has another state. `reason` says why it is not live."""

    state: str
    stale_since: datetime | None
    reason: str | None


class Invalid(Struct, frozen=True):
    """A value is not what was asked for, so `get` goes on with the last good one."""

    name: str
    kind: Any
    error: str


Event = Changes | Reset | StateChanged | Invalid


class Watch(Stream[Event]):
    """The events of some names."""

    def __init__(self, names: Patterns, forget: Callable[[Watch], None]) -> None:
        super().__init__()
        self._names = names
        self._forget = forget
        self._unread = 0
        self._most = MOST_UNREAD

    async def __anext__(self) -> Event:
        """The next event; waits for it."""
        event = await super().__anext__()
        if isinstance(event, Changes | Reset):
            self._unread -= len(event.changes)
        return event

    async def close(self) -> None:
        """End the iteration."""
        self._forget(self)
        self.end()

    def push(self, item: Event) -> None:
        """Queue an event, as far as it is about these names."""
        if isinstance(item, Changes | Reset):
            changes = tuple(change for change in item.changes if change.name in self._names)
            if not changes and isinstance(item, Changes):
                return
            if len(changes) < len(item.changes):
                item = structs.replace(item, changes=changes)
            self._unread += len(changes)
        elif isinstance(item, Invalid) and item.name not in self._names:
            return
        super().push(item)
        if self._unread > self._most:
            self._conflate()

    def _conflate(self) -> None:
        """Keep the last change of each name, and the last of all other events."""
        last: dict[str, Change] = {}
        others: dict[Any, Event] = {}
        position, reset = "", False
        for event in self._items:
            if isinstance(event, Changes | Reset):
                position, reset = event.position, reset or isinstance(event, Reset)
                for change in event.changes:
                    last.pop(change.name, None)
                    last[change.name] = change
            else:
                others[(event.name, event.kind) if isinstance(event, Invalid) else None] = event
        changes = tuple(last.values())
        self._items.clear()
        self._items.append(Reset(changes, position) if reset else Changes(changes, position, conflated=True))
        self._items.extend(others.values())
        self._unread = len(changes)
        self._most = max(MOST_UNREAD, 2 * self._unread)  # where there are more names, not again at each change
