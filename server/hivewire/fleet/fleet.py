"""The fleet: the layers of each device, and the pushes when they change (fleet.md, sections 3 and 4).

This follows every change of layers, their values, labels and devices. A change of a target can affect very many
devices: they move to their new views in slices of time, and one that is asked for meanwhile is moved first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple

import msgspec
from msgspec import Struct

from hivewire.access.bootstrap import SECRET, TAG_KEY
from hivewire.access.identity import Identity
from hivewire.access.revocations import OF_DEVICE as REVOKED_DEVICE
from hivewire.access.revocations import REVOCATION
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import Device
from hivewire.devices.registry import Registry
from hivewire.fleet.conditions import Empty
from hivewire.fleet.layers import LABEL, LAYER, Layer, Layers, Placed, Tagger, Value
from hivewire.fleet.online import Online
from hivewire.fleet.reports import APPLIED, Interned, Known, Rates, Report, state
from hivewire.fleet.rollouts import OPEN, ROLLOUT, Rollout, Unheld, content_of
from hivewire.fleet.source import (
    KIND,
    SOURCE,
    Desired,
    FleetSource,
    Present,
    Sight,
    desired,
    element_of,
    event_of,
    update_of,
    wants,
)
from hivewire.fleet.views import View, Views
from hivewire.hub.feed import Subscription
from hivewire.hub.frames import Shape
from hivewire.hub.hub import Hub
from hivewire.hub.source import Event, Topic
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Precondition, Write
from hivewire.resources import LAYERED
from hivewire.slices import SLICE_SECONDS
from hivewire.telemetry import Gauges
from hivewire_protocol.close import Code
from hivewire_protocol.nouns.configuration import INLINE_CHARACTERS
from hivewire_protocol.nouns.device_configuration import Reported
from hivewire_protocol.nouns.layer import OF_DEVICE, TOP_RANK, Target, key_of
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission
from hivewire_protocol.tenant.steps import Steps

NO_LABELS: Mapping[str, str] = {}

LOOK = 20
"""Devices that are looked at between two looks at the clock."""


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


class Sweep(NamedTuple):
    """Devices whose layers may have changed at a revision."""

    revision: int
    devices: Iterator[str]


class Fleet:
    """All devices with their views, and the topic that they follow."""

    def __init__(self, ledger: Ledger, registry: Registry, hub: Hub) -> None:
        self.ledger = ledger
        self.layers = Layers(ledger)
        self.views = Views()
        self.members: dict[str, Member] = {}
        self._registry = registry
        self._hub = hub
        self.rollouts: dict[int, Rollout] = {}
        """The open rollouts, by number."""
        self.changes = 0
        """Grows whenever a count may have changed."""
        self._defined = 0
        self._rolled: dict[str, int] = {}
        self._by_label: dict[tuple[str, str], dict[str, None]] = {}
        self._followers: dict[str, list[Subscription]] = {}
        self._sweeps: list[Sweep] = []
        self.rates = Rates()
        self._interned = Interned()
        self.unsaved: dict[str, None] = {}
        """Devices whose `known` has changed here since it was saved."""
        self.followed = Online()
        self.followed.on_change = self._note_change
        self._task: asyncio.Task[None] | None = None
        self._source = FleetSource(ledger)
        hub.add(SOURCE, self._source)
        self.topic = Topic(
            "configuration",
            KIND,
            update_of(INLINE_CHARACTERS * 4),
            lambda item: item.keys,
            self._served,
            "configurations",
            element_of(INLINE_CHARACTERS * 4),
            source=SOURCE,
            scoped=True,
            visible=Present(),
            latest=True,
            wants=wants,
            joined=self._join,
            left=self._leave,
        )
        registry.belongings = self.belongings
        ledger.observe(self._end_revoked, REVOCATION)
        ledger.observe(self._apply, LAYER, LAYERED, LABEL, DEVICE, ROLLOUT)

    @lru_cache(64)  # noqa: B019 - there is one fleet
    def topic_of(self, frame_bytes: int | None) -> Topic:
        """The topic with frames of at most this number of bytes."""
        if frame_bytes is None:
            return self.topic
        most = frame_bytes - FRAME_ROOM
        update, element = update_of(most), element_of(most)
        return self.topic._replace(update=update, element=element, frame_bytes=frame_bytes, passing=True)

    # The life of the component.

    def load(self) -> None:
        """Read what the ledger holds; the registry must have done so."""
        key = self.ledger.get(SECRET, TAG_KEY)
        self.layers.load(Tagger(b"" if key is None else key.content or b""))
        defined = self.ledger.kind(LAYER)
        for change in (*defined.live.values(), *defined.tombstones.values()):
            self._defined = max(self._defined, change.revision)
        for change in self.ledger.kind(ROLLOUT).live.values():
            self._roll(change)
        for device in self._registry.devices_in(None, None):
            self._place(device.id)

    def start(self) -> None:
        """Read what the ledger holds."""
        self.load()

    async def close(self) -> None:
        """Stop moving devices."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {
            "fleet_layers": ("Layers with a record.", lambda: len(self.layers.ranks)),
            "fleet_views": ("Different sets of layers that devices have.", lambda: sum(1 for _ in self.views)),
            "fleet_online": ("Devices that follow their configurations here.", lambda: len(self.followed.local())),
        }

    # Reports.

    def known(self, device_id: str) -> Known | None:
        """What is known of a device outside of the change log."""
        member = self.members.get(device_id)
        if member is None:
            return None
        reached = {number: at for number, each in self.rollouts.items() if (at := each.reached.get(device_id))}
        return Known(member.device.record_id, member.reported_at, member.report, reached)

    def follows(self, known: Known) -> bool:
        """Whether the ledger here has seen the device and the rollouts of something known."""
        last_rollout = max(known.reached, default=0)
        kind = self.ledger.kind
        return known.id <= kind(DEVICE).last_id and last_rollout <= kind(ROLLOUT).last_id

    def merge(self, device_id: str, known: Known) -> bool:
        """Take what was saved, or is known to another gateway: the later report, and for each rollout the earlier time.
        Whether that was new."""
        member, new = self.members.get(device_id), False
        if member is None or member.device.record_id != known.id:
            return False
        if known.order > (member.reported_at, b"" if member.report is None else member.report.content):
            self._report(member, known.report, known.at)
            new = True
        for number, at in known.reached.items():
            if (rollout := self.rollouts.get(number)) is not None and at < rollout.reached.get(device_id, at + 1):
                rollout.reached[device_id] = at
                new = True
                self._place(device_id)  # a held one shows itself to those that it has reached
        self.changes += new
        return new

    def report(self, member: Member, entries: Mapping[str, Reported]) -> None:
        """Count the report of a device, which is complete."""
        at = max(self.ledger.now(), member.reported_at + 1)  # later than what is known, whatever the clock says
        self._report(member, self._interned.report(entries), at)
        self.unsaved[member.device.id] = None

    def _report(self, member: Member, report: Report | None, at: int) -> None:
        self.changes += 1
        counts = member.view.reports
        _count(counts, member.report, -1)
        _count(counts, report, 1)
        member.report, member.reported_at = report, at

    # Reading.

    def member(self, device_id: str) -> Member | None:
        """A device as it is now, also while others are on their way to other views."""
        if self._sweeps:
            self._place(device_id)
        return self.members.get(device_id)

    def having(self) -> Counter[Layer]:
        """How many devices have each layer, once all have moved."""
        found = Counter[Layer]()
        for view in self.views:
            for layer in view.layers:
                found[layer] += view.members
        return found

    def belongings(self, device_id: str) -> tuple[list[Write], tuple[Precondition, ...]]:
        """The writes that delete what belongs to a device, and the condition that its layer is empty then."""
        name = OF_DEVICE + device_id
        layer = self.layers.by_name.get(name)
        held = () if layer is None else sorted(layer.values)
        writes = [Write(LAYERED, key_of(name, each), None, if_present=True) for each in held]
        if self.ledger.get(LABEL, device_id) is not None:
            writes.append(Write(LABEL, device_id, None, if_present=True))
        return writes, (Empty(self.layers, name),)

    def unheld(self, layer: str, *names: str) -> tuple[Precondition, ...]:
        """The conditions that no rollout holds these names of a layer, or without names the layer itself."""
        return (Unheld(self.rollouts, layer, names),)

    def is_gone(self, layer: Layer) -> bool:
        """Whether a layer is that of a device that does not exist any more."""
        return layer.rank > TOP_RANK and self._registry.device(layer.name.removeprefix(OF_DEVICE)) is None

    def networks_of(self, layer: Layer) -> Sequence[int] | None:
        """The networks to which a layer is limited; None if it is not."""
        if layer.rank <= TOP_RANK:
            return layer.target.networkIds
        device = self._registry.device(layer.name.removeprefix(OF_DEVICE))
        return () if device is None else (device.network,)

    def online(self, device_id: str) -> bool:
        """Whether a device follows its configurations, at any gateway."""
        member = self.members.get(device_id)
        return member is not None and member.device.record_id in self.followed

    def count_online(self) -> int:
        """How many devices do."""
        return len(self.followed)

    def online_views(self) -> Steps[Counter[View]]:
        """How many of the devices with each view are online."""
        found = Counter[View]()
        for number, record_id in enumerate(self.followed.everywhere(), 1):
            device = self._registry.device_of(record_id)
            if device is not None and (member := self.members.get(device.id)) is not None:
                found[member.view] += 1
            if number % LOOK == 0:
                yield
        return found

    async def settled(self) -> None:
        """Return when all devices have moved."""
        while self._task is not None and self._sweeps:
            await asyncio.shield(asyncio.gather(self._task, return_exceptions=True))

    def resumable_from(self, device_id: str) -> int:
        """The first revision since which a device has had the same layers."""
        device, label = self._registry.device(device_id), self.ledger.kind(LABEL).last(device_id)
        member = self.member(device_id)
        layers = () if member is None else member.view.layers
        return max(
            self._defined,
            0 if device is None else device.change.revision,
            0 if label is None else label.revision,
            *(self._rolled.get(layer.name, 0) for layer in layers),
        )

    def sight(self, device_id: str, names: Patterns) -> Sight:
        """The keys by which a device follows its view."""
        member = self.member(device_id)
        return Sight(device_id, None if member is None else member.view, names)

    def devices_after(self, after: str, most: int) -> list[str]:
        """The ids of so many devices behind this one, in order."""
        keys = self.ledger.kind(DEVICE).keys
        first = keys.bisect_right(after)
        return list(keys.islice(first, first + most))

    def candidates(self, target: Target) -> Iterable[str]:
        """The devices that may belong to a target: all that do, and perhaps others. It has to be read at once."""
        if target.deviceIds is not None:
            return (each for each in dict.fromkeys(target.deviceIds) if each in self.members)
        for label, given in (target.labels or {}).items():
            if given is not None:
                return (device for each in dict.fromkeys(given) for device in self._by_label.get((label, each), ()))
        if target.networkIds is not None or target.deviceTypeIds is not None:
            types = None if target.deviceTypeIds is None else frozenset(target.deviceTypeIds)
            return (device.id for device in self._registry.devices_in(target.networkIds, types))
        return iter(self.members)

    # Followers.

    def _served(self, identity: Identity, wanted: Patterns) -> Patterns:
        assert isinstance(wanted, Sight)  # noqa: S101 - what requests make
        if not follows(identity, wanted.device):
            return Sight(wanted.device, None, wanted.names)
        return self.sight(wanted.device, wanted.names & identity.names)

    def _join(self, sub: Subscription) -> None:
        served = sub.served
        if isinstance(served, Sight) and served.view is not None:
            self._followers.setdefault(served.device, []).append(sub)
            self._enter(served.device)
            self.views.follow(served.view, sub)
            self.reach(served.device, served.view)

    def _leave(self, sub: Subscription) -> None:
        wanted = sub.wanted
        assert isinstance(wanted, Sight)  # noqa: S101 - what the topic serves
        found = self._followers.get(wanted.device, [])
        if sub in found:
            found.remove(sub)
            if not found:
                del self._followers[wanted.device]
                if (member := self.members.get(wanted.device)) is not None:
                    self.followed.leave(member.device.record_id)
        if isinstance(sub.served, Sight) and sub.served.view is not None:
            self.views.leave(sub.served.view, sub)

    def _enter(self, device_id: str) -> None:
        """Mark a device online, if it exists and a subscription follows as it."""
        member = self.members.get(device_id)
        if member is not None and device_id in self._followers:
            self.followed.enter(member.device.record_id)

    def _note_change(self) -> None:
        self.changes += 1

    def _end_revoked(self, changes: Iterable[Change]) -> None:
        """Close the connections of devices whose tokens were revoked."""
        for change in changes:
            if change.kind == REVOCATION and change.key.startswith(REVOKED_DEVICE):
                for sub in list(self._followers.get(change.key.removeprefix(REVOKED_DEVICE), ())):
                    sub.feed.listener.close(Code.CLOSED_BY_ADMINISTRATOR)

    def _part(self, device: Device) -> None:
        """Close the connections of a device whose tokens do not reach its network or type any more."""
        for sub in list(self._followers.get(device.id, ())):
            if not self._registry.scope(sub.feed.identity).covers(device):
                sub.feed.listener.close(Code.CLOSED_BY_ADMINISTRATOR)

    # Following the ledger.

    def _apply(self, changes: Iterable[Change]) -> None:
        items: list[Desired] = []
        touched: dict[str, None] = {}
        insisted: list[tuple[Desired, list[Subscription]]] = []
        self.changes += 1
        for change in changes:
            if change.kind == LAYERED:
                items += self._edit(change, touched, insisted)
            elif change.kind == LAYER:
                found: dict[str, None] = {}
                for target in self.layers.define(change):
                    if target is not None:
                        found.update(dict.fromkeys(self.candidates(target)))
                self._sweeps.append(Sweep(change.revision, iter(found)))
                self._defined = change.revision
            elif change.kind == ROLLOUT:
                self._sweeps.append(Sweep(change.revision, iter(self._roll(change))))
            elif change.kind == LABEL or change.kind == DEVICE:
                touched[change.key] = None
        self._unsettle(changes, touched)
        if items:
            self._source.announce(items)
        self._unsettle((), ())
        for item, subs in insisted:
            frames: dict[Shape, bytes] = {}
            for sub in subs:
                self._hub.switch(sub, sub.served, [event_of(item)], frames)
        if touched:
            self._move_all(touched)
        if self._sweeps and self._task is None and not self._sweep():
            self._task = asyncio.get_running_loop().create_task(self._keep_sweeping(), name="devices change views")

    def _edit(
        self, change: Change, touched: dict[str, None], insisted: list[tuple[Desired, list[Subscription]]]
    ) -> list[Desired]:
        """What an edit of a layer changes in the views that are followed. A put of the same value is sent again to the
        devices that have not applied it."""
        layer, name, before, _ = self.layers.write(change)
        if layer.rank > TOP_RANK:
            device = layer.name.removeprefix(OF_DEVICE)
            member = self.members.get(device)
            if member is None or layer not in member.view.layers or self._registry.device(device) is None:
                touched[device] = None  # the layer is new, or goes with its device
                return []
        found: dict[int, tuple[Value | None, list[View]]] = {}
        for view in self.views.followed(layer):
            if not view.shows(layer, name):
                continue
            now = view.find(name)
            value = None if now is None else now.value
            former = before if before is not None else _below(view, layer, name)
            tag = None if former is None else former.tag
            after = None if value is None else value.tag
            if tag == after and value is not None and change.content is not None:
                subs = [sub for sub in view.followers if not self._applied(sub, name)]
                if subs:
                    insisted.append((desired(name, value, change.revision, [view]), subs))
            if tag != after:
                found.setdefault(id(value), (value, []))[1].append(view)
        return [desired(name, value, change.revision, views) for value, views in found.values()]

    def _roll(self, change: Change) -> Iterable[str]:
        """Follow a change of a rollout. Returns the devices that may see something else then."""
        content = content_of(change)
        layer = self.layers.layer(content.layer)
        self._rolled[layer.name] = max(self._rolled.get(layer.name, 0), change.revision)
        if content.state not in OPEN:
            self.rollouts.pop(change.id, None)
        elif (rollout := self.rollouts.get(change.id)) is not None:
            rollout.follow(change)
        else:
            self.rollouts[change.id] = Rollout(change, layer, self.layers.tagger)
        if layer.rank > TOP_RANK:
            return [layer.name.removeprefix(OF_DEVICE)]
        return list(self.candidates(layer.target))

    def reach(self, device_id: str, view: View) -> None:
        """Note that a device was sent the values of the rollouts that it sees."""
        for overlay in view.overlays:
            if isinstance(overlay, Rollout) and device_id not in overlay.reached:
                overlay.reached[device_id] = self.ledger.now()
                self.unsaved[device_id] = None

    def _forget(self, member: Member) -> None:
        """Forget the report of a deleted device, and what it was sent; another device may get its id."""
        for rollout in self.rollouts.values():
            rollout.reached.pop(member.device.id, None)
        self.followed.leave(member.device.record_id)
        self.unsaved[member.device.id] = None

    def _applied(self, sub: Subscription, name: str) -> bool:
        served = sub.served
        if not isinstance(served, Sight) or served.view is None or name not in served.names:
            return True  # it does not see the name
        member = self.members.get(served.device)
        return member is None or state(member.view, member.report, name) == APPLIED

    def _unsettle(self, changes: Iterable[Change], touched: Iterable[str]) -> None:
        """Note the revision from which on positions are not safe to resume from."""
        first = [sweep.revision for sweep in self._sweeps[:1]]
        if touched:
            first += [change.revision for change in changes]
        self._source.unsettled = min(first, default=None)

    def _sweep(self) -> bool:
        """Move devices for a slice of time. Whether all have moved."""
        began = perf_counter()
        moves = Moves(self._hub, self.ledger.revision)
        while self._sweeps:
            for number, device in enumerate(self._sweeps[0].devices, 1):
                self._place(device, moves)
                if number % LOOK == 0 and perf_counter() - began > SLICE_SECONDS:
                    return False
            self._sweeps.pop(0)
        self._unsettle((), ())
        return True

    async def _keep_sweeping(self) -> None:
        try:
            while True:
                await asyncio.sleep(0)  # other work runs between two slices
                if self._sweep():
                    return
        finally:
            self._task = None

    def _move_all(self, devices: Iterable[str]) -> None:
        moves = Moves(self._hub, self.ledger.revision)
        for device in devices:
            self._place(device, moves)

    def _relabel(self, device_id: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Follow the labels of a device in the index."""
        for label in before.items() - after.items():
            found = self._by_label[label]
            del found[device_id]
            if not found:
                del self._by_label[label]
        for label in after.items():
            self._by_label.setdefault(label, {})[device_id] = None

    def _place(self, device_id: str, moves: Moves | None = None) -> None:
        """Give a device the view of its current layers."""
        device, member = self._registry.device(device_id), self.members.get(device_id)
        before = None if member is None else member.view
        if device is None:
            view = None
            if member is not None:
                self._relabel(device_id, member.labels, NO_LABELS)
                del self.members[device_id]
                self._forget(member)
        else:
            record = self.ledger.get(LABEL, device_id)
            labels = NO_LABELS if record is None else labels_of(record.content or b"{}")
            former = NO_LABELS if member is None else member.labels
            if former is not labels:
                self._relabel(device_id, former, labels)
            placed = Placed(device_id, device.network, device.type, labels)
            layers = self.layers.of(placed)
            shown = tuple(each for each in self.rollouts.values() if each.layer in layers and each.shows(placed))
            view = self.views.view(layers, shown)
            if member is None or member.device is not device:
                self._part(device)
            if member is None:
                member = self.members[device_id] = Member(device, labels, view)
            elif member.device.record_id != device.record_id:  # another device has the id now
                self._report(member, None, 0)
                self._forget(member)
            member.device, member.labels, member.view = device, labels, view
            self._enter(device_id)
        if view is before:
            return
        self.changes += 1
        report = None if member is None else member.report
        if view is not None:
            view.members += 1
            _count(view.reports, report, 1)
        if before is not None:
            before.members -= 1
            _count(before.reports, report, -1)
        followers = self._followers.get(device_id, ())
        if followers and view is not None:
            self.reach(device_id, view)
        for sub in followers:
            (moves or Moves(self._hub, self.ledger.revision)).move(sub, self.views, before, view)
        if before is not None:
            self.views.forget(before)


FRAME_ROOM = 512
"""Bytes of a frame for what is around a value."""


def _count(counts: Counter[Report | None], report: Report | None, step: int) -> None:
    counts[report] += step
    if not counts[report]:
        del counts[report]


NOWHERE = View(0, (), ())
"""The view of a device that does not exist."""


class Moves:
    """Subscriptions that get other views at a revision. The differences of two views are found and encoded once."""

    def __init__(self, hub: Hub, revision: int) -> None:
        self._hub = hub
        self._revision = revision
        self._events: dict[tuple[View, View], tuple[list[Event], dict[Shape, bytes]]] = {}

    def move(self, sub: Subscription, views: Views, before: View | None, after: View | None) -> None:
        """Serve a subscription the current view of its device, and push the differences."""
        former = sub.served
        assert isinstance(former, Sight)  # noqa: S101 - what the topic serves
        if former.view is not before:  # its token does not allow it to follow
            return
        if before is not None:
            views.leave(before, sub)
        if after is not None:
            views.follow(after, sub)
        key = before or NOWHERE, after or NOWHERE
        found = self._events.get(key)
        if found is None:
            made = [
                event_of(Desired(name, value, self._revision, frozenset(), (name,)))
                for name, value in key[0].differences(key[1])
            ]
            found = self._events[key] = made, {}
        events, frames = found
        if former.names is not EVERYTHING:
            events, frames = [event for event in events if event.item.name in former.names], {}
        self._hub.switch(sub, Sight(former.device, after, former.names), events, frames)


def follows(identity: Identity, device_id: str) -> bool:
    """Whether a token is one with which this device follows its configurations."""
    return identity.may(Permission.SYNC_CONFIGURATION) and device_id in identity.devices


def _below(view: View, layer: Layer, name: str) -> Value | None:
    """The value of a name in the layers below one."""
    lower = View(0, view.layers[view.layers.index(layer) + 1 :], view.overlays)
    found = lower.find(name)
    return None if found is None else found.value
