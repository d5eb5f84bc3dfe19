"""The fleet: the layers of each device, and the pushes when they change (fleet.md, sections 3 and 4).

This follows every change of layers, their values, labels and devices. A change of a target can affect very many
devices: they move to their new views in slices of time, and one that is asked for meanwhile is moved first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from time import perf_counter
from typing import NamedTuple

from hivewire.access.bootstrap import SECRET, TAG_KEY
from hivewire.access.identity import Identity
from hivewire.component import end
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.registry import Registry
from hivewire.fleet.conditions import Empty
from hivewire.fleet.followers import Followers, Moves
from hivewire.fleet.layers import LABEL, LAYER, Layer, Layers, Placed, Tagger, Value, Written
from hivewire.fleet.members import Member, Members
from hivewire.fleet.reports import Interned, Known, Rates
from hivewire.fleet.rollouts import OPEN, ROLLOUT, Rollout, RolloutContent, Unheld, content_of, held_by
from hivewire.fleet.source import SOURCE, Desired, FleetSource, desired
from hivewire.fleet.views import View, Views
from hivewire.hub.feed import Subscription
from hivewire.hub.hub import Hub
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, Precondition, Write
from hivewire.resources import LAYERED
from hivewire.slices import background_seconds
from hivewire.telemetry import Gauges
from hivewire_protocol.nouns.device_configuration import Reported
from hivewire_protocol.nouns.layer import OF_DEVICE, TOP_RANK, key_of, split
from hivewire_protocol.tenant.steps import Steps

MOST_REACHED, FEW_EDITS = 5_000, 2
"""Edits of a commit, times the views in which they are followed, that are looked at when it is announced: 20 ms. With
more, devices get from the state what changed, in slices. To let them fall behind costs as much as an edit or two."""

LOOK = 20
"""Devices that are looked at in one step of a slice, or moved at once by one commit."""


class Sweep(NamedTuple):
    """Devices whose layers may have changed at a revision."""

    revision: int
    devices: Iterator[str]


class Fleet:
    """All devices with their views, which follow the ledger."""

    def __init__(self, ledger: Ledger, registry: Registry, hub: Hub) -> None:
        self.ledger = ledger
        self.layers = Layers(ledger)
        self.views = Views()
        self.members = Members(ledger, registry)
        self.followers = Followers(ledger, hub, registry, self.members, self.views, self.member)
        self.followers.online.on_change = self._note_change
        self.rollouts: dict[int, Rollout] = {}
        """The open rollouts, by number."""
        self.written = Written(ROLLOUT, held_by)
        """What those hold that are being written."""
        self.changes = 0
        """Grows whenever a count may have changed."""
        self.rates = Rates()
        self._registry = registry
        self._interned = Interned()
        self._defined = 0
        self._rolled: dict[str, int] = {}
        self._sweeps: list[Sweep] = []
        self._moves = Moves(0)
        self._task: asyncio.Task[None] | None = None
        self._source = FleetSource(ledger)
        hub.add(SOURCE, self._source)
        registry.belongings = self.belongings
        ledger.observe(self._apply, LAYER, LAYERED, LABEL, DEVICE, ROLLOUT)

    # The life of the component.

    def start(self) -> None:
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

    async def close(self) -> None:
        """Stop moving devices."""
        await end(self._task)

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {
            "fleet_layers": (
                "Layers that were made; `global` and those of single devices do not count.",
                lambda: len(self.layers.ranks),
            ),
            "fleet_views": ("Different sets of layers that devices have.", lambda: len(self.views)),
            "fleet_online": (
                "Devices that follow their configurations here.",
                lambda: len(self.followers.online.local()),
            ),
        }

    # Reports.

    def known(self, device_id: str) -> Known | None:
        """What is known of a device outside of the change log."""
        member = self.members.by_id.get(device_id)
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
        member, new = self.members.by_id.get(device_id), False
        if member is None or member.device.record_id != known.id:
            return False
        if known.order > (member.reported_at, b"" if member.report is None else member.report.content):
            self.members.report(member, known.report, known.at)
            new = True
        for number, at in known.reached.items():
            if (rollout := self.rollouts.get(number)) is not None and at < rollout.reached.get(device_id, at + 1):
                rollout.reached[device_id] = at
                new = True
                self._place(device_id)  # a held one shows itself to those that it has reached
        self.changes += new
        return new

    def report(self, member: Member, entries: Mapping[str, Reported], *, complete: bool) -> None:
        """Count all that is known of a device by its reports. `complete`: it has no other names."""
        at = max(self.ledger.now(), member.reported_at + 1)  # later than what is known, whatever the clock says
        self.members.report(member, self._interned.report(entries, complete=complete), at)
        self.members.unsaved[member.device.id] = None
        self.changes += 1

    # Reading.

    def member(self, device_id: str) -> Member | None:
        """A device as it is now, also while others are on their way to other views."""
        if self._sweeps:
            self._place(device_id)
        return self.members.by_id.get(device_id)

    def belongings(self, device_id: str) -> tuple[list[Write], tuple[Precondition, ...]]:
        """The writes that delete what belongs to a device, and the condition that its layer is empty then."""
        name = OF_DEVICE + device_id
        layer = self.layers.by_name.get(name)
        held = () if layer is None else sorted(layer.values)
        writes = [Write(LAYERED, key_of(name, each), None, if_present=True) for each in held]
        writes.append(Write(LABEL, device_id, None, if_present=True))  # also those that are written at this moment
        return writes, (Empty(self.layers, name),)

    def unheld(self, layer: str, *names: str) -> tuple[Precondition, ...]:
        """The conditions that no rollout holds these names of a layer, or without names the layer itself."""
        return (Unheld(self.rollouts, self.written, layer, names),)

    def record_of(self, layer: str) -> int:
        """The id of the record of the device whose layer this is; 0 for other layers, or when there is no device."""
        device = self._registry.device(layer.removeprefix(OF_DEVICE)) if layer.startswith(OF_DEVICE) else None
        return 0 if device is None else device.record_id

    def first_gone(self, devices: Mapping[str, int]) -> str | None:
        """The first of these layers whose device, that with this record, was deleted; None if all are there."""
        return next((layer for layer, record in devices.items() if self.record_of(layer) != record), None)

    def is_gone(self, content: RolloutContent) -> bool:
        """Whether a rollout is in the layer of a device that does not exist any more. Another one may have its id."""
        found = self.record_of(content.layer)
        return content.layer.startswith(OF_DEVICE) and (not found or content.device not in (0, found))

    def sees(self, identity: Identity, layer: str | None) -> bool:
        """Whether somebody sees what a layer holds: that of a single device only if it reaches the device."""
        if layer is None or not layer.startswith(OF_DEVICE):
            return True
        scope, device = self._registry.scope(identity), self._registry.device(layer.removeprefix(OF_DEVICE))
        return scope.everything or (device is not None and scope.covers(device))

    def sees_rollout(self, identity: Identity, content: RolloutContent) -> bool:
        """Whether somebody reaches all names of a rollout, and its device if it is in the layer of a single one."""
        if self.is_gone(content) and not self._registry.scope(identity).everything:
            return False
        names = identity.names
        return self.sees(identity, content.layer) and all((each.name or "") in names for each in content.changes)

    def limits(self, layer: Layer) -> tuple[Sequence[int] | None, Sequence[int] | None]:
        """The networks and the device types to which a layer is limited; None if it is not."""
        if layer.rank <= TOP_RANK:
            return layer.target.networkIds, layer.target.deviceTypeIds
        device = self._registry.device(layer.name.removeprefix(OF_DEVICE))
        return ((), ()) if device is None else ((device.network,), (device.type,))

    def online(self, device_id: str) -> bool:
        """Whether a device follows its configurations, at any gateway."""
        member = self.members.by_id.get(device_id)
        return member is not None and member.device.record_id in self.followers.online

    def online_views(self) -> Steps[Counter[View]]:
        """How many of the devices with each view are online."""
        found = Counter[View]()
        for number, record_id in enumerate(self.followers.online.everywhere(), 1):
            device = self._registry.device_of(record_id)
            if device is not None and (member := self.members.by_id.get(device.id)) is not None:
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

    # Following the ledger.

    def _note_change(self) -> None:
        self.changes += 1

    def _apply(self, changes: Sequence[Change]) -> None:
        items: list[Desired] = []
        too_many = self._reaches_too_many(changes)
        touched: dict[str, None] = {}
        insisted: list[tuple[Desired, list[Subscription]]] = []
        self.changes += 1
        self._moves = Moves(self.ledger.revision)
        for change in changes:
            if change.kind == LAYERED:
                items += self._edit(change, touched, insisted, unseen=too_many)
            elif change.kind == LAYER:
                targets = [target for target in self.layers.define(change) if target is not None]
                devices = chain.from_iterable([self.members.candidates(target) for target in targets])
                self._sweeps.append(Sweep(change.revision, _once(devices)))
                self._defined = change.revision
            elif change.kind == ROLLOUT:
                self._sweeps.append(Sweep(change.revision, self._roll(change)))
            elif change.kind == LABEL or change.kind == DEVICE:
                touched[change.key] = None
        self._unsettle(changes, touched)
        if too_many:
            self._source.lose()
        elif items:
            self._source.announce(items)
        for item, subs in insisted:
            self.followers.send_again(item, subs)
        if len(touched) > LOOK:  # a transaction may make the layers of a thousand
            self._sweeps.append(Sweep(changes[0].revision, iter(touched)))
            touched = {}
        self._unsettle((), ())
        for device in touched:
            self._place(device)
        if self._sweeps and self._task is None and not self._sweep():
            self._task = asyncio.get_running_loop().create_task(self._keep_sweeping(), name="devices change views")

    def _reaches_too_many(self, changes: Iterable[Change]) -> bool:
        """Whether the edits among these changes may change too many values in views that are followed."""
        edits = Counter(split(change.key)[0] for change in changes if change.kind == LAYERED)
        if edits.total() <= FEW_EDITS:
            return False
        known = [(self.layers.by_name.get(name), count) for name, count in edits.items()]
        return sum([count * self.views.count_followed(each) for each, count in known if each]) > MOST_REACHED

    def _edit(
        self,
        change: Change,
        touched: dict[str, None],
        insisted: list[tuple[Desired, list[Subscription]]],
        *,
        unseen: bool,
    ) -> list[Desired]:
        """What an edit of a layer changes in the views that are followed, if that is not `unseen`. A put of the same
        value is sent again to the devices that have not applied it."""
        layer, name, before, value = self.layers.write(change)
        if layer.rank > TOP_RANK:
            device = layer.name.removeprefix(OF_DEVICE)
            member = self.members.by_id.get(device)
            own = member is not None and layer in member.view.layers
            if member is not None and own and self._registry.device(device) is None:
                touched[device] = None  # the layer goes with its device
                if member.view.below(layer, name) is not None:
                    return []  # the name goes with the view
            elif not own:
                touched[device] = None  # the layer is new
                if member is not None and value is not None and value.tag == member.view.tag(name):
                    insisted += self._again(desired(name, value, change.revision, ()), self.followers.of(device))
                return []
        found: dict[int, tuple[Value | None, list[View]]] = {}
        for view in () if unseen else self.views.followed(layer):
            if not view.shows(layer, name):
                continue
            # Mostly a value replaces another one, so that nothing has to be looked up in any of thousands of views.
            below = view.below(layer, name) if value is None or before is None else None
            now, former = value or below, before or below
            if (None if former is None else former.tag) != (None if now is None else now.tag):
                found.setdefault(id(now), (now, []))[1].append(view)
            elif now is not None and change.content is not None:
                insisted += self._again(desired(name, now, change.revision, ()), view.followers)
        return [desired(name, value, change.revision, views) for value, views in found.values()]

    def _again(self, item: Desired, subs: Iterable[Subscription]) -> list[tuple[Desired, list[Subscription]]]:
        """An item with those of the subscriptions whose devices have not applied it, if there are any."""
        behind = self.followers.behind(subs, item.name)
        return [(item, behind)] if behind else []

    def _roll(self, change: Change) -> Iterator[str]:
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
            return iter([layer.name.removeprefix(OF_DEVICE)])
        return self.members.candidates(layer.target)

    def _unsettle(self, changes: Iterable[Change], touched: Iterable[str]) -> None:
        """Note the revision from which on positions are not safe to resume from."""
        first = [sweep.revision for sweep in self._sweeps]
        if touched:
            first += [change.revision for change in changes]
        self._source.unsettled = min(first, default=None)

    def _sweep(self, others: float = 0) -> bool:
        """Move devices for a slice of time, before which others had so many seconds. Whether all have moved."""
        began, most = perf_counter(), background_seconds(others)
        while self._sweeps:
            for device in self._sweeps[0].devices:
                self._place(device)
                if perf_counter() - began > most:
                    return False
            self._sweeps.pop(0)
            self._unsettle((), ())
            self._moves = Moves(self.ledger.revision)  # their positions were those of the sweep
        return True

    async def _keep_sweeping(self) -> None:
        try:
            ended = perf_counter()
            while True:
                await asyncio.sleep(0)  # other work runs between two slices
                if self._sweep(perf_counter() - ended):
                    return
                ended = perf_counter()
        finally:
            self._task = None

    def _place(self, device_id: str) -> None:
        """Give a device the view of its current layers."""
        device, member = self._registry.device(device_id), self.members.by_id.get(device_id)
        before = None if member is None else member.view
        after = None
        if member is not None and (device is None or device.record_id != member.device.record_id):
            self._remove(member)  # it was deleted; another one may have its id now
        if device is not None:
            if member is None or member.device is not device:
                self.followers.part(device)
                self.followers.enter(device)
            labels = self.members.labels(device_id)
            after = self._view(Placed(device_id, device.network, device.type, labels))
            self.members.put(device, labels, after)
        if after is not before:
            self.changes += 1
            self.followers.move(device_id, before, after, self._moves)
            if before is not None:
                self.views.forget(before)

    def _view(self, device: Placed) -> View:
        layers = self.layers.of(device)
        running = [each for each in self.rollouts.values() if each.layer in layers and each.shows(device)]
        shown = [each for each in running if not self.is_gone(each.content)]
        return self.views.view(layers, tuple(shown))

    def _remove(self, member: Member) -> None:
        """Forget a deleted device, its report, and what it was sent."""
        self.members.remove(member)
        for rollout in self.rollouts.values():
            rollout.reached.pop(member.device.id, None)
        self.followers.online.leave(member.device.record_id)
        self.members.unsaved[member.device.id] = None
        self.changes += 1


def _once(devices: Iterable[str]) -> Iterator[str]:
    """Each of them once."""
    seen: set[str] = set()
    for device in devices:
        if device not in seen:
            seen.add(device)
            yield device
