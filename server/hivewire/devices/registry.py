"""Networks, device types and devices: an index of the ledger's records that follows every change.

A network and a device type are the same thing twice: a number and a name that devices are grouped by. The key of their
record is its own id. Their names are unique: each is a record of kind `name` too, written in the same transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from operator import attrgetter

import msgspec
from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.access.users import Users
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import Device, DeviceContent, DeviceIndex, decode
from hivewire.devices.scope import EVERYWHERE, Scope, required, scope_of
from hivewire.keyed_lock import KeyedLock
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import (
    Change,
    EvaluatedState,
    Exists,
    Expected,
    Guard,
    LedgerError,
    Precondition,
    Refused,
    Transaction,
    Write,
)
from hivewire.ledger.state import Kind
from hivewire.telemetry import Gauges, log
from hivewire.unexpected import log_unexpected

NETWORK, DEVICE_TYPE, NAME = "network", "deviceType", "name"

REMOVED_AT_ONCE = 1_000
"""Devices of a deleted network or device type that one transaction removes."""

AGAIN_SECONDS = 1.0
"""Time until the next attempt to remove devices when the ledger could not be written."""


class GroupingContent(Struct, omit_defaults=True):
    """The content of the record of a network or a device type."""

    name: str
    description: str | None = None


class Grouping(Struct, frozen=True, gc=False):
    """A network or a device type as it is now. Every change of its record makes a new object."""

    id: int
    name: str
    description: str | None


PAGE = 100
"""Changes of a device that are read at once."""


class Registry:
    """What the ledger holds of networks, device types and devices. A device exists while its network and type do."""

    def __init__(self, ledger: Ledger, users: Users) -> None:
        self.ledger = ledger
        self.users = users
        self.networks: dict[int, Grouping] = {}
        """By id, in the order of ids, like `device_types`."""
        self.device_types: dict[int, Grouping] = {}
        self._groups = {NETWORK: self.networks, DEVICE_TYPE: self.device_types}
        self._devices = DeviceIndex()
        self.on_device: list[Callable[[Device | None, Device | None], None]] = []
        """Called with a device before and after each change of its record; None where there is none. The devices of a
        deleted network or type are no exception, although `device` no longer finds them."""
        self.belongings: Callable[[str], tuple[list[Write], tuple[Precondition, ...]]] = lambda device_id: ([], ())
        """The writes that delete what belongs to the device with an id, and conditions that there is nothing else."""
        self.changing: KeyedLock[tuple[str, str]] = KeyedLock()
        """Held for a record, by its kind and key, that is read and changed: else all who do so at once try again after
        each of them."""
        self._task: asyncio.Task[None] | None = None
        self._deleted = asyncio.Event()
        ledger.observe(self._apply, NETWORK, DEVICE_TYPE, DEVICE)

    def load(self) -> None:
        """Read what the ledger holds; it must be open."""
        for kind in self._groups:
            for change in _by_id(self.ledger.kind(kind)):
                self._follow(change)
        for change in _by_id(self.ledger.kind(DEVICE)):
            self._devices.apply(change)

    def _apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind == DEVICE:
                before, after = self._devices.apply(change)
                for call in self.on_device:
                    call(before, after)
            elif change.kind in self._groups:
                self._follow(change)

    def _follow(self, change: Change) -> None:
        groups = self._groups[change.kind]
        if change.content is None:
            groups.pop(change.id, None)
            self._deleted.set()
        else:
            content = msgspec.json.decode(change.content, type=GroupingContent)
            groups[change.id] = Grouping(change.id, content.name, content.description)

    # Reading.

    def groupings(self, kind: str) -> Mapping[int, Grouping]:
        """The networks or the device types by id, in the order of ids."""
        return self._groups[kind]

    def device(self, device_id: str) -> Device | None:
        """The device with exactly this id."""
        found = self._devices.get(device_id)
        return found if found is not None and self._shown(found) else None

    def device_of(self, record_id: int) -> Device | None:
        """The device with the record of this id. It is looked for in each type, of which there are few."""
        found = self._devices.types.find(record_id)
        return found if found is not None and self._shown(found) else None

    def devices_in(self, networks: Iterable[int] | None, types: frozenset[int] | None) -> Iterator[Device]:
        """The devices that are in one of the networks and of one of the types, by creation; None stands for all.

        They are those at the time of the call.
        """
        index = self._devices
        if networks is not None:
            found = index.networks.within(networks)
        else:
            found = index.all() if types is None else index.types.within(types)
        return (device for device in found if (types is None or device.type in types) and self._shown(device))

    def scope(self, identity: Identity) -> Scope:
        """What a caller reaches now."""
        return scope_of(identity, self.users.by_id(identity.user_id))

    async def registered(self, device: Device) -> int:
        """The revision at which a device was registered, or the first one since then that is still kept."""
        at = device.change
        while at.version > 1:
            page = await self.ledger.history(DEVICE, at.key, revision=at.revision, take=PAGE)
            first = [change for change in page if change.id == at.id][-1:]
            if first in ([], [at]):
                break
            [at] = first
        return at.revision

    def reach(self, identity: Identity, device_id: str | None, *, follows: bool = False) -> Device:
        """The device with this id, if the caller reaches it. Raises AccessDenied or NotFound (addendum, section 4), and
        InvalidParameters without an id.

        `follows`: the request subscribes or polls.
        """
        scope, found = scope_of(identity, self.users.by_id(identity.user_id)), self._devices.get(device_id)
        if (
            found is None
            or found.network not in self.networks
            or found.type not in self.device_types
            or not (scope is EVERYWHERE or scope.covers(found))
        ):
            raise scope.refusal(required(device_id), follows=follows)
        return found

    async def forget(self, device_id: str) -> None:
        """Remove what is left of a device in a deleted network or of a deleted type, before its id is used again."""
        left = self._devices.get(device_id)
        if left is not None and not self._shown(left):
            await self._remove([left])

    def _shown(self, device: Device) -> bool:
        return device.network in self.networks and device.type in self.device_types

    # The life of the component.

    def start(self) -> None:
        """Read what the ledger holds, and begin to remove the devices of deleted networks and types."""
        self.load()
        self._deleted.set()  # some may be left from before
        self._task = asyncio.create_task(self._keep_removing(), name="removal of devices")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {
            "networks": ("Networks that exist.", lambda: len(self.networks)),
            "device_types": ("Device types that exist.", lambda: len(self.device_types)),
            "devices": (
                "Devices, those of deleted networks and types included until they are removed.",
                lambda: len(self._devices),
            ),
        }

    async def _keep_removing(self) -> None:
        while True:
            await self._deleted.wait()
            self._deleted.clear()
            try:
                while found := list(islice(self._left_over(), REMOVED_AT_ONCE)):
                    await self._remove(found)
            except Exception as error:
                what = "devices of a deleted network or type were not removed"
                if isinstance(error, LedgerError):
                    log.warning(what, reason=str(error))
                else:
                    log_unexpected(what, error)
                self._deleted.set()
                await asyncio.sleep(AGAIN_SECONDS)

    async def _remove(self, devices: list[Device]) -> None:
        """Delete the records of these devices together, or of the first ones, unless one of them has changed."""
        writes: list[Write] = []
        for device in devices:
            removal = self.removal(device)
            if writes and len(writes) + len(removal) > REMOVED_AT_ONCE:
                break
            writes += removal
        try:
            await self.ledger.commit(Transaction(writes))
        except Refused:
            await asyncio.sleep(0)  # another gateway was faster, or a device was registered meanwhile: look again

    def removal(self, device: Device) -> list[Write]:
        """The writes that delete a device with what belongs to it, unless it has changed."""
        belongings, conditions = self.belongings(device.id)
        expected = (device.unchanged, *conditions)
        return [*belongings, Write(DEVICE, device.id, None, description=device.farewell, preconditions=expected)]

    def _left_over(self) -> Iterator[Device]:
        """The devices whose network or type does not exist."""
        networks, types = self._devices.networks, self._devices.types
        yield from networks.within(network for network in networks.ids() if network not in self.networks)
        for device in types.within(found for found in types.ids() if found not in self.device_types):
            if device.network in self.networks:
                yield device


def _by_id(kind: Kind) -> list[Change]:
    return sorted(kind.live.values(), key=attrgetter("id"))


def exists(kind: str, group_id: int) -> Guard:
    """The condition that a network or a device type exists."""
    return Guard(kind, str(group_id), (Exists(group_id),))


class Vacant(Struct):
    """The condition that no device is in one of these networks and of one of these types; None stands for all."""

    registry: Registry
    networks: frozenset[int] | None
    types: frozenset[int] | None

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it is true, given also what other transactions of the same commit do."""
        written = {change.key: change for change in state.written(DEVICE)}
        if any(device.id not in written for device in self.registry.devices_in(self.networks, self.types)):
            return False
        return not any(self._covers(decode(change)) for change in written.values() if change.content is not None)

    def _covers(self, device: DeviceContent) -> bool:
        return (self.networks is None or device.network in self.networks) and (
            self.types is None or device.type in self.types
        )


# The writes of a network or a device type, with its name.


def insert(kind: str, content: GroupingContent) -> list[Write]:
    """The writes that create one. A name that is taken is refused: see `is_taken`."""
    return [_put(kind, "", content), *_take(kind, content.name)]


def update(kind: str, group: Grouping, content: GroupingContent, condition: Precondition) -> list[Write]:
    """The writes that change one under a condition. A name that is taken is refused."""
    renamed = [] if content.name == group.name else [_release(kind, group.name), *_take(kind, content.name)]
    return [_put(kind, str(group.id), content, condition), *renamed]


def delete(kind: str, group: Grouping, *conditions: Precondition) -> list[Write]:
    """The writes that delete one under conditions. Its devices are removed later, in the background."""
    return [Write(kind, str(group.id), None, "", group.name, conditions), _release(kind, group.name)]


def _put(kind: str, key: str, content: GroupingContent, *conditions: Precondition) -> Write:
    return Write(kind, key, msgspec.json.encode(content), "application/json", content.name, conditions)


def _take(kind: str, name: str) -> list[Write]:
    return [Write(NAME, f"{kind}/{name}", b"1", preconditions=(Expected(version=0),))]


def _release(kind: str, name: str) -> Write:
    return Write(NAME, f"{kind}/{name}", None)


def is_taken(refused: Refused) -> bool:
    """Whether a write was refused because another network or device type has the name."""
    return refused.write.kind == NAME
