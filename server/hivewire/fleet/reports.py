"""The reports of devices (fleet.md, section 5).

A report is not a change: it has no revision and no history, and is on the disk within seconds, as a note beside the
log. Equal reports of different devices are one object, so that a count compares each with a view once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET

from hivewire.fleet.views import View
from hivewire_protocol.nouns.device_configuration import Reported

REFUSED, PENDING, LOCAL, APPLIED = "refused", "pending", "local", "applied"
WORST = (REFUSED, PENDING, LOCAL, APPLIED)
"""The states, the worst first."""

MOST_NAMES, MOST_VALUE, MOST_ERROR, MOST_BYTES = 256, 1_024, 256, 32 << 10
"""Most names in a report, characters of values and errors, and bytes of all of it."""

REPORTS = 8
"""So many full reports make up what is known of a device, in names and in bytes."""

RATE, BURST = 1.0, 20.0
"""Reports of a device: the rate a second, and the burst."""


class Report:
    """What a device has reported, by name. `complete`: it has no other names.

    `content` is the entries as JSON, within an array if they are complete.
    """

    __slots__ = ("__weakref__", "complete", "content", "entries")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.complete = content.startswith(b"[")
        entries = content[1:-1] if self.complete else content
        self.entries: Mapping[str, Reported] = msgspec.json.decode(entries, type=dict[str, Reported])


class Known(NamedTuple):
    """What is known of a device outside of the change log: the id of its record, when it reported what, and when it was
    sent the values of rollouts, by their numbers."""

    id: int
    at: int
    report: Report | None
    reached: Mapping[int, int]

    @property
    def order(self) -> tuple[int, bytes]:
        """Of two reports the greater one counts, the same at every gateway."""
        return self.at, b"" if self.report is None else self.report.content


class Interned:
    """Reports by their content, each once."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[bytes, Report] = WeakValueDictionary()

    def report(self, entries: Mapping[str, Reported], *, complete: bool) -> Report | None:
        """The report with these entries; None without any that are not complete."""
        content = msgspec.json.encode(dict(sorted(entries.items())))
        return self.of(b"[%b]" % content if complete else content)

    def of(self, content: bytes) -> Report | None:
        """The report with this content."""
        if content == b"{}":
            return None
        found = self._known.get(content)
        if found is None:
            found = self._known[content] = Report(content)
        return found


def state(view: View, report: Report | None, name: str) -> str:
    """The state of a name of a device with this view that reported this (fleet.md, section 5)."""
    entry = None if report is None else report.entries.get(name)
    if entry is not None:
        return state_of(entry, view.tag(name))
    return APPLIED if report is not None and report.complete and view.tag(name) is None else PENDING


def state_of(entry: Reported, tag: str | None) -> str:
    """The state of a name whose effective value has this tag, by what was reported of it."""
    if entry.tag is UNSET:
        return LOCAL
    if entry.tag == tag:
        return APPLIED if entry.error is UNSET else REFUSED
    return PENDING


def worst(states: Iterable[str]) -> str:
    """The worst of these states; `applied` without any."""
    found = {*states}
    return next((each for each in WORST if each in found), APPLIED)


class Rates:
    """How often each device may report: a bucket of BURST that fills with RATE a second."""

    def __init__(self) -> None:
        self._empty_at: dict[int, float] = {}

    def wait(self, record_id: int, now: float) -> int:
        """Milliseconds until the next report of a device is taken, 0 if this one is. `now` in seconds."""
        # The time at which the bucket would be full again. It is further ahead than BURST takes only if the clock was
        # set back since: then it says nothing.
        latest = now + BURST / RATE
        known = self._empty_at.get(record_id, 0.0)
        full = (known if now < known <= latest else now) + 1 / RATE
        if full > latest:
            return max(1, round((full - latest) * 1_000))
        self._empty_at[record_id] = full
        if len(self._empty_at) > MOST_RATES:
            self._empty_at = {each: until for each, until in self._empty_at.items() if now < until <= latest}
        return 0


MOST_RATES = 10_000
"""Devices whose rate is remembered before those are forgotten that have not reported for long."""
