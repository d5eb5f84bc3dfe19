"""The configurations in memory: what `get` serves. It knows nothing of connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct, structs

from hivewire_client import values
from hivewire_client.connection import Frame, log
from hivewire_client.events import Changes, Event, Invalid, Reset
from hivewire_client.resources import Change, Entry


class _Snapshot(Struct):
    """The part of the state in a `configuration/snapshot`."""

    configurations: list[Entry[str]]


_snapshots, _changes = msgspec.json.Decoder(_Snapshot), msgspec.json.Decoder(Change)


class Replica:
    """The last known state of the followed names, at a `position`; None before anything is known.

    `entries` are what the gateway sent, by name. `decoded` has for each kind that somebody asked for those entries
    whose values were decoded, once; those of the kind `str` are `entries` itself. `tell` gets each event.
    """

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self.position: str | None = None
        self.entries: dict[str, Entry[str]] = {}
        self.decoded: dict[Any, dict[str, Entry[Any]]] = {str: self.entries}
        self._invalid: set[tuple[str, Any]] = set()
        self._tell = tell

    def find(self, name: str, kind: Any) -> Entry[Any] | None:
        """The entry with its value decoded, where that was not done before; None when there is no good value."""
        entry = self.entries.get(name)
        if entry is None or entry.value is None or (name, kind) in self._invalid:
            return None
        return self._decode(entry, kind)

    def load(self, entries: Iterable[Entry[str]], position: str) -> None:
        """Begin with what a cache has."""
        self._replace({entry.name: entry for entry in entries}, position)

    def apply(self, frames: list[Frame], position: str, *, replaces: bool) -> None:
        """Apply a whole group of pushes. `replaces`: they are the state, whatever was known before."""
        found: list[Change] = []
        conflated = False
        state: dict[str, Entry[str]] = {}
        for frame in frames:
            if frame.action == "configuration/snapshot":
                state.update((entry.name, entry) for entry in _snapshots.decode(frame.data).configurations)
            elif frame.action == "configuration/update":
                change = _changes.decode(frame.data)
                conflated = conflated or frame.conflated
                found.append(change)
                if change.operation == "put":
                    state[change.name] = change.entry
                else:
                    state.pop(change.name, None)
        if replaces:
            self._replace(state, position)
            return
        self.position = position
        if found:
            for change in found:
                self._take(change)
            self._tell(Changes(tuple(found), position, conflated))

    def _replace(self, state: dict[str, Entry[str]], position: str) -> None:
        """Make this the state, and tell the differences."""
        gone = [
            Change("delete", structs.replace(entry, value=None))
            for name, entry in self.entries.items()
            if name not in state
        ]
        different = [Change("put", entry) for name, entry in state.items() if self.entries.get(name) != entry]
        self.position = position
        if not self.entries and len(self.decoded) == 1:
            self.entries.update(state)
        else:
            for change in gone:
                self._take(change)
            for change in different:
                self._take(change)
        self._tell(Reset((*gone, *different), position))

    def _take(self, change: Change) -> None:
        """Make a change, also of what was decoded: where the new value is not of that kind, the last good one stays."""
        name = change.name
        if change.operation == "delete":
            for entries in self.decoded.values():
                entries.pop(name, None)
        else:
            self.entries[name] = change.entry
        if len(self.decoded) == 1:
            return
        for kind, entries in self.decoded.items():
            self._invalid.discard((name, kind))
            if kind is not str and name in entries:
                if change.entry.value is None:
                    del entries[name]
                else:
                    self._decode(change.entry, kind)

    def _decode(self, entry: Entry[str], kind: Any) -> Entry[Any] | None:
        good = self.decoded.setdefault(kind, {})  # also for a bad value, so that `_take` tries the next one
        try:
            value = values.decode(entry.value or "", kind)
        except ValueError as error:  # those of msgspec and pydantic are ValueErrors too
            self._invalid.add((entry.name, kind))
            # Perhaps nobody watches.
            what, why = values.name_of(kind), values.safe_reason(error)
            log.warning("%s, version %s, is not used: it is no %s%s", entry.name, entry.version, what, why)
            self._tell(Invalid(entry.name, kind, str(error)))
            return None
        found: Entry[Any] = structs.replace(entry, value=value)
        good[entry.name] = found
        return found
