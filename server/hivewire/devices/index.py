"""The devices of the ledger by id, network and device type.

A device holds the change that wrote it and nothing of its content but the two ids that decide who reaches it: the rest
is decoded when somebody asks, so that a registered device takes little memory beside its record.

A change that moves a device or deletes it says in its description where it was, so that each change by itself tells
whose reach the device has left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from operator import attrgetter

import msgspec
from msgspec import Raw, Struct, structs

from hivewire.ledger.records import Change, Expected

KIND = "device"

NULL = Raw(b"null")


class DeviceContent(Struct, kw_only=True, omit_defaults=True, gc=False):
    """The content of a device's record. The key of the record is the id that the client chose. `data` is any JSON
    object, or null."""

    name: str
    data: Raw = NULL
    network: int
    type: int
    blocked: bool = False


class Device(Struct, frozen=True, gc=False):
    """A device as it is now. Every change of its record makes a new object.

    `id` is the client's; `record_id` belongs to this life of the device, and no other device ever gets it. Both are
    those of the change: every message asks for them.
    """

    change: Change
    network: int
    type: int
    id: str
    record_id: int

    @classmethod
    def of(cls, change: Change, network: int, type: int) -> Device:
        """The device that a change makes."""
        return cls(change, network, type, change.key, change.id)

    @property
    def content(self) -> DeviceContent:
        """Its name, data and so on, decoded each time."""
        return decode(self.change)

    @property
    def unchanged(self) -> Expected:
        """The condition that it has not changed since."""
        return Expected(revision=self.change.revision)

    @property
    def farewell(self) -> str:
        """The description of a change that takes it away from its network or type."""
        return f"was in network {self.network}, of type {self.type}"


def decode(change: Change) -> DeviceContent:
    """The content of a device's record, which must not be a delete."""
    assert change.content is not None  # noqa: S101 - the caller's part
    return _decode(change.content)


def places_of(change: Change) -> list[tuple[int, int]]:
    """The network and the type where a change puts a device, and those that it takes it away from."""
    found = []
    if change.content is not None:
        content = _decode(change.content)
        found.append((content.network, content.type))
    if (match := _FAREWELL.fullmatch(change.description or "")) is not None:
        found.append((int(match[1]), int(match[2])))
    return found


def parts_of(change: Change) -> tuple[Change, Change]:
    """A change that moves a device, as two: the delete that it is where the device was, and the put where it is."""
    return structs.replace(change, content=None), structs.replace(change, description=None)


_FAREWELL = re.compile(r"was in network (\d+), of type (\d+)", re.ASCII)
_decode = msgspec.json.Decoder(DeviceContent).decode
_record_id = attrgetter("record_id")


class Group:
    """The devices of one network or of one type."""

    __slots__ = ("_devices", "_last", "_sorted", "id")

    def __init__(self, group_id: int) -> None:
        self.id = group_id
        self._devices: dict[int, Device] = {}
        self._last = 0
        self._sorted = True

    def put(self, device: Device) -> None:
        """Add a device, or what it is now."""
        record_id = device.record_id
        if record_id > self._last:
            self._last = record_id
        elif record_id not in self._devices:  # it moved here
            self._sorted = False
        self._devices[record_id] = device

    def remove(self, device: Device) -> None:
        """Remove a device."""
        del self._devices[device.record_id]

    def get(self, record_id: int) -> Device | None:
        """The device with the record of this id."""
        return self._devices.get(record_id)

    def devices(self) -> list[Device]:
        """A copy, by creation."""
        if not self._sorted:
            self._devices = dict(sorted(self._devices.items()))
            self._sorted = True
        return list(self._devices.values())

    def __len__(self) -> int:
        """The number of devices."""
        return len(self._devices)


class Groups:
    """The devices of each network, or of each type: `of` says to which one a device belongs."""

    def __init__(self, of: Callable[[Device], int]) -> None:
        self._of = of
        self._groups: dict[int, Group] = {}

    def group(self, group_id: int) -> Group:
        """One of them, which is made when it is not there."""
        if (found := self._groups.get(group_id)) is None:
            found = self._groups[group_id] = Group(group_id)
        return found

    def follow(self, before: Device | None, after: Device | None) -> None:
        """A device is changed, new or gone."""
        if before is not None and (after is None or self._of(after) != self._of(before)):
            group = self._groups[self._of(before)]
            group.remove(before)
            if not len(group):
                del self._groups[group.id]
        if after is not None:
            self.group(self._of(after)).put(after)

    def within(self, wanted: Iterable[int]) -> Iterator[Device]:
        """The devices of some groups at the time of the call, by creation."""
        found = [self._groups[group_id].devices() for group_id in wanted if group_id in self._groups]
        return iter(found[0]) if len(found) == 1 else merge(*found, key=_record_id)

    def find(self, record_id: int) -> Device | None:
        """The device with the record of this id."""
        return next((found for group in self._groups.values() if (found := group.get(record_id)) is not None), None)

    def ids(self) -> list[int]:
        """The ids of those that have devices."""
        return list(self._groups)


class DeviceIndex:
    """All devices, those of deleted networks and types included."""

    def __init__(self) -> None:
        self._by_id: dict[str, Device] = {}
        self.get: Callable[[str | None], Device | None] = self._by_id.get  # type: ignore[assignment]
        """The device with exactly this id."""
        self.networks = Groups(attrgetter("network"))
        self.types = Groups(attrgetter("type"))

    def apply(self, change: Change) -> tuple[Device | None, Device | None]:
        """Follow a change of a device's record. Returns the device before and after it."""
        before, after = self._by_id.get(change.key), None
        if change.content is None:
            self._by_id.pop(change.key, None)
        else:
            content = decode(change)
            # The ids of the groups, so that a number takes memory once.
            network, device_type = self.networks.group(content.network).id, self.types.group(content.type).id
            after = self._by_id[change.key] = Device.of(change, network, device_type)
        self.networks.follow(before, after)
        self.types.follow(before, after)
        return before, after

    def all(self) -> Iterator[Device]:
        """All devices at the time of the call, by creation."""
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        """The number of devices."""
        return len(self._by_id)
