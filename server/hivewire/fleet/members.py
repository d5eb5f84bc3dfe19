"""The devices of the fleet: the labels, the view and the last report of each (fleet.md, sections 3 and 5).

Views count their devices, and these by what they reported; both counts are kept here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain

import msgspec
from msgspec import Struct

from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import Device
from hivewire.devices.registry import Registry
from hivewire.fleet.layers import LABEL, Placed
from hivewire.fleet.reports import Report
from hivewire.fleet.rollouts import Rollout
from hivewire.fleet.views import View
from hivewire.ledger.ledger import Ledger
from hivewire_protocol.nouns.layer import Target

NO_LABELS: Mapping[str, str] = {}


@lru_cache(4_096)
def labels_of(content: bytes) -> Mapping[str, str]:
    """The labels in a record; equal ones are one object."""
    found: dict[str, str] = msgspec.json.decode(content, type=dict[str, str])
    return found


class Member(Struct, gc=False):
    """A device, its labels, its view, and what it reported."""

    device: Device
    labels: Mapping[str, str]
    view: View
    report: Report | None = None
    reported_at: int = 0

    @property
    def placed(self) -> Placed:
        """What targets look at."""
        return Placed(self.device.id, self.device.network, self.device.type, self.labels)


class Members:
    """All devices, found by id and by target."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self.by_id: dict[str, Member] = {}
        self.unsaved: dict[str, None] = {}
        """Devices of which something is known that is not in the log, and has changed here since it was saved."""
        self._by_label: dict[tuple[str, str], dict[str, None]] = {}

    def labels(self, device_id: str) -> Mapping[str, str]:
        """The labels that the ledger has for a device."""
        record = self._ledger.get(LABEL, device_id)
        return NO_LABELS if record is None else labels_of(record.content or b"{}")

    def put(self, device: Device, labels: Mapping[str, str], view: View) -> None:
        """Follow a device, new or not, to its labels and its view."""
        member = self.by_id.get(device.id)
        if member is None:
            member = self.by_id[device.id] = Member(device, NO_LABELS, view)
            _count(member, 1)
        elif member.view is not view:
            _count(member, -1)
            member.view = view
            _count(member, 1)
        if member.labels is not labels:
            self._relabel(device.id, member.labels, labels)
        member.device, member.labels = device, labels

    def remove(self, member: Member) -> None:
        """Forget a device that was deleted."""
        _count(member, -1)
        self._relabel(member.device.id, member.labels, NO_LABELS)
        del self.by_id[member.device.id]

    def _relabel(self, device_id: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Follow the labels of a device in the index."""
        for label in before.items() - after.items():
            found = self._by_label[label]
            del found[device_id]
            if not found:
                del self._by_label[label]
        for label in after.items():
            self._by_label.setdefault(label, {})[device_id] = None

    def report(self, member: Member, report: Report | None, at: int) -> None:
        """Count what a device has reported, in place of its report before."""
        counts = member.view.reports
        _add(counts, member.report, -1)
        _add(counts, report, 1)
        member.report, member.reported_at = report, at

    def reach(self, device_id: str, view: View) -> None:
        """Note that a device was sent the values of the rollouts that it sees."""
        for overlay in view.overlays:
            if isinstance(overlay, Rollout) and device_id not in overlay.reached:
                overlay.reached[device_id] = self._ledger.now()
                self.unsaved[device_id] = None

    def after(self, device_id: str, most: int) -> list[str]:
        """The ids of so many devices behind this one, in order."""
        keys = self._ledger.kind(DEVICE).keys
        first = keys.bisect_right(device_id)
        return list(keys.islice(first, first + most))

    def candidates(self, target: Target) -> Iterator[str]:
        """The devices that may belong to a target: all that do, and perhaps others. There may be 100,000, so each is
        looked for when its turn comes; one that is changed meanwhile may be missing."""
        if target.deviceIds is not None:
            return (each for each in dict.fromkeys(target.deviceIds) if each in self.by_id)
        for label, given in (target.labels or {}).items():
            if given is not None:
                return chain.from_iterable([*self._by_label.get((label, each), ())] for each in dict.fromkeys(given))
        if target.networkIds is not None or target.deviceTypeIds is not None:
            types = None if target.deviceTypeIds is None else frozenset(target.deviceTypeIds)
            return (device.id for device in self._registry.devices_in(target.networkIds, types))
        return iter([*self.by_id])


def _count(member: Member, step: int) -> None:
    """Count a device in its view, or no longer."""
    member.view.members += step
    _add(member.view.reports, member.report, step)


def _add(counts: Counter[Report | None], report: Report | None, step: int) -> None:
    counts[report] += step
    if not counts[report]:
        del counts[report]
