"""Effective values as `device/effective` shows them, encoded once for all devices with a view (fleet.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from msgspec import UNSET, UnsetType
from sortedcontainers import SortedList

from hivewire.fleet.reports import PENDING, Report, state_of
from hivewire.fleet.rollouts import Rollout
from hivewire.fleet.source import shown as desired
from hivewire.fleet.views import View
from hivewire.ledger.state import ranges
from hivewire.schemas.schemas import Schemas
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import TooLarge
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import resource
from hivewire_protocol.nouns.device_configuration import EffectiveConfiguration, Reported
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.tenant.steps import Steps

CACHE_BYTES = 16 << 20
"""The most memory for encoded values: about 40,000 small ones."""

ENTRY_BYTES = 300
"""Memory of a row, or of a view, beside the encoded value."""

LEAST_ROW = len('{"name":"","value":"","tag":""},')
"""Bytes of the shortest row."""

AS_IT_IS, UNANSWERED = b"}", b',"state":"%b"}' % PENDING.encode()
"""The ends of a row that a device is shown, and of one of which a device has reported nothing."""

HIDDEN = "the device refused it; why is not shown, because the value is secret"


class Row(NamedTuple):
    """A name of a view: its tag, whether its value is secret, and as JSON without the last brace what all devices with
    the view have in common. A name that only a device has is of no view, and its tag is None."""

    name: str
    tag: str | None
    secret: bool
    head: bytes


class Rows:
    """The rows of a view that were encoded, while its layers had been edited so often. `names` are all names of the
    view, once somebody asked for patterns."""

    __slots__ = ("by_name", "edits", "key", "names", "size")

    def __init__(self, key: tuple[View, bool], edits: int) -> None:
        self.key = key
        self.edits = edits
        self.names: SortedList | None = None
        self.by_name: dict[str, Row] = {}
        self.size = ENTRY_BYTES

    def select(self, names: Patterns) -> Steps[list[str]]:
        """Those of the view's names that are among these, in order."""
        view, found = self.key[0], list[str]()
        if not names.prefixes:
            for name in names.exact:
                if view.find(name) is not None:
                    found.append(name)
                yield
            return sorted(found)
        if self.names is None:
            self.names = SortedList((yield from view.ordered()))
        every = self.names
        if names is EVERYTHING:
            return [*every]
        return [*chain.from_iterable(every.islice(*each) for each in ranges(every, every, names))]


class EffectiveRows:
    """The rows of views, as many as fit into `limit` bytes; those of the view that came first are dropped first."""

    def __init__(self, schemas: Schemas, limit: int = CACHE_BYTES) -> None:
        self.size = 0
        """Bytes in use."""
        self._schemas = schemas
        self._limit = limit
        self._kept: dict[tuple[View, bool], Rows] = {}
        self._forgotten = 0
        schemas.on_secrets.append(self._forget)

    def of(self, view: View, names: Patterns, *, for_device: bool = False) -> Steps[list[Row] | None]:
        """The rows of these names in a view, in order, made in steps; None when an edit came between two steps.

        A device is shown its secrets, and not where values are from. Raises TooLarge as soon as they do not fit into
        an answer.
        """
        forgotten, kept = self._forgotten, self._rows_of((view, for_device))
        counted = kept.names is not None
        selected = yield from kept.select(names)
        if not counted and kept.names is not None:
            self._add(kept, ENTRY_BYTES * len(kept.names))
        if len(selected) * LEAST_ROW > MAX_REPLY:
            raise TooLarge
        found, room = list[Row](), MAX_REPLY
        for name in selected:
            row = kept.by_name.get(name)
            if row is None:
                if forgotten != self._forgotten or kept.edits != _edits(view):
                    return None
                row = kept.by_name[name] = self._device_row(view, name) if for_device else self._row(view, name)
                self._add(kept, ENTRY_BYTES + len(row.head))
                yield
            found.append(row)
            room -= len(row.head)
            if room < 0:
                raise TooLarge
        return found if forgotten == self._forgotten and kept.edits == _edits(view) else None

    def _rows_of(self, key: tuple[View, bool]) -> Rows:
        kept, edits = self._kept.get(key), _edits(key[0])
        if kept is None or kept.edits != edits:
            self._drop(key)
            kept = self._kept[key] = Rows(key, edits)
            self.size += kept.size
        return kept

    def _add(self, kept: Rows, size: int) -> None:
        """Count what was added to rows, and drop the first ones when that is too much."""
        kept.size += size
        if self._kept.get(kept.key) is kept:
            self.size += size
        while self.size > self._limit:
            self._drop(next(iter(self._kept)))

    def _row(self, view: View, name: str) -> Row:
        found = view.find(name)
        assert found is not None  # noqa: S101 - a name of the view
        value, secret = found.value, self._schemas.is_secret(name)
        plain = resource(name, value.content, value.content_type, value.version, secret=secret)
        shown = EffectiveConfiguration(
            name,
            plain.value,
            UNSET if secret else value.tag,
            found.layer.name,
            value.version,
            plain.contentType,
            plain.size,
            secret=plain.secret,
            rollout=found.overlay.number if isinstance(found.overlay, Rollout) else UNSET,
            hidden=view.hidden(name, found.layer) or UNSET,
        )
        return Row(name, value.tag, secret, encode(shown)[:-1])

    def _device_row(self, view: View, name: str) -> Row:
        found = view.find(name)
        assert found is not None  # noqa: S101 - a name of the view
        return Row(name, found.value.tag, False, encode(desired(name, found.value))[:-1])

    def own(self, report: Report, names: Patterns, rows: Sequence[Row]) -> list[Row]:
        """The rows of what only a device has, beside the rows of its view."""
        shown = {row.name for row in rows}
        return [
            Row(
                name,
                None,
                self._schemas.is_secret(name),
                encode(EffectiveConfiguration(name, None, None, None, 0))[:-1],
            )
            for name, entry in report.entries.items()
            if name not in shown and name in names and entry.tag is not None
        ]

    def _drop(self, key: tuple[View, bool]) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self.size -= kept.size

    def _forget(self) -> None:
        self._kept.clear()
        self.size = 0
        self._forgotten += 1


def _edits(view: View) -> int:
    return sum([layer.edits for layer in view.layers])


def answer_of(report: Report | None, row: Row) -> bytes:
    """The end of a row: what a device has reported of it; of a secret one only that it was refused.

    The error may repeat the value, and a tag tells whether two contents are equal: who may write could try values.
    """
    entry = None if report is None else report.entries.get(row.name)
    if entry is None:
        return UNANSWERED
    state = state_of(entry, row.tag).encode()
    if row.secret:
        if isinstance(entry.error, UnsetType):
            return b',"state":"%b"}' % state
        entry = Reported(error=HIDDEN)
    return b',"state":"%b","reported":%b}' % (state, encode(entry))


class EffectiveReply(Reply):
    """The answer to `device/effective`, put together from encoded rows and their ends: what `DeviceEffectiveReply`
    says."""

    rows: list[Row]
    ends: list[bytes]
    revision: int
    layers: list[str] | UnsetType = UNSET

    def members(self) -> bytes:
        """The members, as DeviceEffectiveReply encodes them."""
        return b'%b,"revision":%d' % (self.shown(), self.revision)

    def shown(self) -> bytes:
        """The members without the revision, which changes though nothing of the device does."""
        layers = b"" if isinstance(self.layers, UnsetType) else b'"layers":%b,' % encode(self.layers)
        rows = b",".join([row.head + end for row, end in zip(self.rows, self.ends, strict=True)])
        return b'%b"configurations":[%b]' % (layers, rows)
