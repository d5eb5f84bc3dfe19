"""The subscriptions with which devices follow their configurations (fleet.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from hivewire.access.identity import Identity
from hivewire.devices.index import Device
from hivewire.devices.registry import Registry
from hivewire.fleet.members import Member, Members
from hivewire.fleet.online import Online
from hivewire.fleet.reports import APPLIED, state
from hivewire.fleet.source import (
    KIND,
    SOURCE,
    Desired,
    Present,
    Sight,
    element_of,
    event_of,
    update_of,
    wants,
)
from hivewire.fleet.views import View, Views
from hivewire.hub.feed import Subscription
from hivewire.hub.frames import Shape
from hivewire.hub.hub import Hub
from hivewire.hub.index import ByKey
from hivewire.hub.source import Event, Topic
from hivewire.ledger.ledger import Ledger
from hivewire_protocol.close import Code
from hivewire_protocol.errors import AccessDenied
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission

FRAME_BYTES = 64 << 10
"""Largest snapshot frame for who asks for no size: up to 1,000 values, which are found in their layers in 10 ms."""

FRAME_ROOM = 512
"""Bytes of a frame for what is around a name and its value."""


class Followers:
    """The subscriptions of each device, and the topic that they follow.

    `current` is called for a device when it subscribes, and returns it with the view that it has by then.
    """

    def __init__(
        self,
        ledger: Ledger,
        hub: Hub,
        registry: Registry,
        members: Members,
        views: Views,
        current: Callable[[str], Member | None],
    ) -> None:
        self._hub = hub
        self._registry = registry
        self._members = members
        self._views = views
        self._current = current
        self._by_device = ByKey[Subscription]()
        self.online = Online()
        self.topic = Topic(
            "configuration",
            KIND,
            update_of(),
            lambda item: item.keys,
            self._served,
            "configurations",
            element_of(),
            source=SOURCE,
            scoped=True,
            visible=Present(ledger),
            latest=True,
            wants=wants,
            joined=self._join,
            left=self._leave,
            switched=self._switch,
            caught_up=self._reach,
            frame_bytes=FRAME_BYTES,
        )

    @lru_cache(64)  # noqa: B019 - there is one fleet
    def topic_of(self, frame_bytes: int | None) -> Topic:
        """The topic with frames of at most this number of bytes."""
        if frame_bytes is None:
            return self.topic
        most = frame_bytes - FRAME_ROOM
        update, element = update_of(most), element_of(most)
        return self.topic._replace(update=update, element=element, frame_bytes=frame_bytes, passing=True)

    def sight(self, device_id: str, names: Patterns) -> Sight:
        """The keys by which a device follows its view."""
        member = self._current(device_id)
        return Sight(device_id, None if member is None else member.view, names)

    def _served(self, identity: Identity, wanted: Patterns) -> Patterns:
        assert isinstance(wanted, Sight)  # noqa: S101 - what requests make
        member = self._members.by_id.get(wanted.device)
        within = member is None or self._registry.scope(identity).covers(member.device)
        if not within or not follows(identity, wanted.device):
            return Sight(wanted.device, None, wanted.names)
        served = self.sight(wanted.device, wanted.names & identity.names)
        same = served.view is wanted.view and served.names is wanted.names
        return wanted if same else served  # mostly so, and one object less for each device

    # Coming and going.

    def _join(self, sub: Subscription) -> None:
        served = sub.served
        if isinstance(served, Sight) and served.view is not None:
            self._by_device.add(served.device, sub)
            if (member := self._members.by_id.get(served.device)) is not None:
                self.enter(member.device)
            self._switch(sub, Sight(served.device, None, served.names))

    def _leave(self, sub: Subscription) -> None:
        wanted = sub.wanted
        assert isinstance(wanted, Sight)  # noqa: S101 - what the topic serves
        if sub in self._by_device.get(wanted.device, ()):
            self._by_device.remove(wanted.device, sub)
            if wanted.device not in self._by_device and (member := self._members.by_id.get(wanted.device)) is not None:
                self.online.leave(member.device.record_id)
        if isinstance(sub.served, Sight) and sub.served.view is not None:
            self._views.leave(sub.served.view, sub)

    def _switch(self, sub: Subscription, former: Patterns) -> None:
        """A subscription follows another view, or none: the device is elsewhere, or its token allows something else."""
        served = sub.served
        assert isinstance(former, Sight)  # noqa: S101 - what the topic serves
        assert isinstance(served, Sight)  # noqa: S101
        if former.view is served.view:
            return
        if former.view is not None:
            self._views.leave(former.view, sub)
        if served.view is not None:
            self._views.follow(served.view, sub)
            if not sub.feed.stalled and self._hub.allows(sub.feed):
                self._reach(sub)  # else nothing is sent before it has caught up

    def _reach(self, sub: Subscription) -> None:
        """A device is sent what it follows, the values of rollouts too."""
        if isinstance(sub.served, Sight) and sub.served.view is not None:
            self._members.reach(sub.served.device, sub.served.view)

    def enter(self, device: Device) -> None:
        """Mark a device online if a subscription follows as it."""
        if device.id in self._by_device:
            self.online.enter(device.record_id)

    def part(self, device: Device) -> None:
        """Close the connections of a device whose tokens do not reach its network or type any more."""
        for sub in list(self._by_device.get(device.id, ())):
            if not self._registry.scope(sub.feed.identity).covers(device):
                sub.feed.listener.close(Code.CLOSED_BY_ADMINISTRATOR)

    # Pushes that the hub does not make from events alone.

    def of(self, device_id: str) -> Iterable[Subscription]:
        """The subscriptions of a device."""
        return self._by_device.get(device_id, ())

    def behind(self, subs: Iterable[Subscription], name: str) -> list[Subscription]:
        """Those of the subscriptions that see a name, and whose devices have not applied its value."""
        return [sub for sub in subs if not self._applied(sub, name)]

    def _applied(self, sub: Subscription, name: str) -> bool:
        served = sub.served
        if not isinstance(served, Sight) or served.view is None or name not in served.names:
            return True  # it does not see the name
        member = self._members.by_id.get(served.device)
        return member is None or state(member.view, member.report, name) == APPLIED

    def send_again(self, item: Desired, subs: Iterable[Subscription]) -> None:
        """Push a value that has not changed."""
        frames: dict[Shape, bytes] = {}
        for sub in subs:
            self._hub.switch(sub, sub.served, [event_of(item)], frames)

    def move(self, device_id: str, before: View | None, after: View | None, moves: Moves) -> None:
        """Serve the subscriptions of a device its current view, and push the differences."""
        for sub in tuple(self._by_device.get(device_id, ())):
            former = sub.served
            assert isinstance(former, Sight)  # noqa: S101 - what the topic serves
            if former.view is not before or not follows(sub.feed.identity, device_id):
                continue
            events, frames = moves.between(before, after)
            if events is not None and former.names is not EVERYTHING:
                events, frames = [event for event in events if event.item.name in former.names], {}
            self._hub.switch(sub, Sight(former.device, after, former.names), events, frames)


NOWHERE = View(0, (), ())
"""The view of a device that does not exist."""


KEPT_MOVES = 64
"""Most pairs of views whose differences are kept. Devices with a layer of their own have a view each."""


MOVED_NAMES, MOVED_BYTES = 1_000, 4 << 20
"""The most names that are compared when a device gets another view, and the most memory of the events about those that
differ: about 20 ms. With more, the device gets the whole state of its new view, in slices."""


class Moves:
    """What is pushed to devices that get other views, from a revision until the fleet changes again. The differences of
    two views are found and encoded once."""

    def __init__(self, revision: int) -> None:
        self._revision = revision
        self._found: dict[tuple[View, View], tuple[list[Event] | None, dict[Shape, bytes]]] = {}

    def between(self, before: View | None, after: View | None) -> tuple[list[Event] | None, dict[Shape, bytes]]:
        """The events, None if they would be too many, and the frames of those that were encoded already."""
        key = before or NOWHERE, after or NOWHERE
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= KEPT_MOVES:
                self._found.clear()
            found = self._found[key] = self._events(*key), {}
        return found

    def _events(self, before: View, after: View) -> list[Event] | None:
        differences = before.differences(after, MOVED_NAMES)
        if differences is None:
            return None
        events = [event_of(Desired(name, value, self._revision, frozenset(), (name,))) for name, value in differences]
        return events if sum([event.size for event in events]) <= MOVED_BYTES else None


def follows(identity: Identity, device_id: str) -> bool:
    """Whether a token is one with which this device follows its configurations."""
    return identity.may(Permission.SYNC_CONFIGURATION) and device_id in identity.devices


def check_follows(identity: Identity, device_id: str) -> None:
    """Raise AccessDenied unless the token is one with which this device follows its configurations."""
    if not follows(identity, device_id):
        raise AccessDenied.because(f"the token is not one of device '{device_id}'")
