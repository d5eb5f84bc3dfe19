"""Counting a fleet: the devices of a target by the worst state of their names (fleet.md, section 9).

Devices with one view and one report are one group. A group is compared once, however many devices it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.devices.registry import Registry
from hivewire.devices.scope import Scope
from hivewire.fleet.fleet import Fleet
from hivewire.fleet.layers import EVERY_DEVICE, Selector
from hivewire.fleet.members import Member
from hivewire.fleet.reports import APPLIED, LOCAL, PENDING, REFUSED, WORST, Report, state, worst
from hivewire.fleet.rollouts import Rollout
from hivewire.fleet.views import View
from hivewire_protocol.nouns.fleet import ErrorCount, FleetCountReply, FleetRow, NameCounts
from hivewire_protocol.nouns.layer import Target
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.tenant.steps import Steps

LOOK = 200
"""Devices whose ids are looked up together. Each is a step: a target may have 32,000 values of labels."""

FEW = 1_000
"""Devices that are put in order for a list. Where there may be more, all devices are gone through."""

SAMPLE = "layer/"
"""The salt of percentages without a rollout. No layer has it, and no rollout unless that asks for it."""

MOST_NAMES, MOST_ERRORS = 1_000, 5


class Query(Struct):
    """Which devices and names are asked for. `secret` says whether a device's report of a name must not be shown."""

    scope: Scope
    names: Patterns
    secret: Callable[[str], bool]
    target: Target | None = None
    rollout: Rollout | None = None
    selector: Selector = EVERY_DEVICE

    def __post_init__(self) -> None:
        """Make the selector of the target."""
        if self.target is not None:
            self.selector = Selector(self.target)

    @property
    def everybody(self) -> bool:
        """Whether it is about all devices."""
        scope = self.scope
        return self.target is None and scope.networks is None and scope.types is None and scope.members is None

    def wants(self, member: Member) -> bool:
        """Whether a device is asked for."""
        return (
            self.scope.covers(member.device)
            and (self.rollout is None or self.rollout in member.view.overlays)
            and self.selector.selects(member.placed, self._salt)
        )

    @property
    def _salt(self) -> str:
        """What decides which devices a percentage selects: with a rollout those that it takes first."""
        return SAMPLE if self.rollout is None else self.rollout.salt

    def states(self, view: View, report: Report | None) -> Steps[dict[str, str]]:
        """The states of the names that the query is about, of devices with this view and report."""
        found: dict[str, str] = {}
        for name in (yield from self._of(view, report)):
            yield
            found[name] = state(view, report, name)
        return found

    def _of(self, view: View, report: Report | None) -> Steps[list[str]]:
        """These names: those of the rollout, or all in order."""
        if self.rollout is not None:
            yield
            return [name for name in view.uncovered(self.rollout) if name in self.names]
        found: list[str] = []
        entries = {} if report is None else report.entries
        if not self.names.prefixes:
            for name in self.names.exact:
                yield
                if name in entries or view.find(name) is not None:
                    found.append(name)
            return sorted(found)
        known = yield from view.ordered()
        if own := entries.keys() - {*known}:
            known = sorted([*known, *own])
        if self.names is EVERYTHING:
            return known
        for name in known:
            yield
            if name in self.names:
                found.append(name)
        return found


def query_of(
    fleet: Fleet, registry: Registry, secret: Callable[[str], bool], identity: Identity, request: Asked
) -> Query | None:
    """The query of a request, within what an identity reaches; None when its rollout is not open there."""
    names = (EVERYTHING if request.names is None else Patterns(request.names)) & identity.names
    query = Query(registry.scope(identity), names, secret, request.target)
    if request.rollout is not None:
        query.rollout = fleet.rollouts.get(request.rollout)
        if query.rollout is None or not fleet.sees_rollout(identity, query.rollout.content):
            return None
    return query


class Asked(Protocol):
    """The members of a request that select devices and names."""

    target: Target | None
    names: list[str] | None
    rollout: int | None


def count(fleet: Fleet, query: Query, each_name: bool) -> Steps[FleetCountReply]:
    """The counts."""
    groups: Counter[tuple[View, Report | None]] = Counter()
    online = 0
    if query.everybody and query.rollout is None:
        for view in list(fleet.views):
            yield
            for report in list(view.reports):  # each device may have said something else
                if number := view.reports[report]:  # else it was the last one, which has said something else since
                    groups[view, report] = number
                yield
        online = len(fleet.followers.online)
    else:
        for device in fleet.members.candidates(query.target or Target()):
            yield
            if (member := fleet.members.by_id.get(device)) is not None and query.wants(member):
                groups[member.view, member.report] += 1
                online += fleet.online(device)
    states, errors = Counter[str](), Counter[tuple[str, str]]()
    by_name: dict[str, Counter[str]] = {}
    for (view, report), devices in groups.items():
        yield
        found = yield from query.states(view, report)
        states[worst(found.values())] += devices
        for name, what in found.items():
            if each_name and (name in by_name or len(by_name) < MOST_NAMES):
                by_name.setdefault(name, Counter())[what] += devices
            if what == REFUSED and report is not None and not query.secret(name):
                errors[name, str(report.entries[name].error)] += devices
    reply = FleetCountReply(
        devices=states.total(),
        online=online,
        applied=states[APPLIED],
        refused=states[REFUSED],
        pending=states[PENDING],
        local=states[LOCAL],
        errors=[ErrorCount(name, error, devices) for (name, error), devices in errors.most_common(MOST_ERRORS)],
    )
    if each_name:
        reply.names = [
            NameCounts(name, **{what: found[what] for what in WORST}) for name, found in sorted(by_name.items())
        ]
    return reply


def rows(fleet: Fleet, query: Query, wanted: str | None, after: str, take: int) -> Steps[list[FleetRow]]:
    """Devices with their states, by id."""
    found: list[FleetRow] = []
    few = _few(fleet, query)
    while devices := fleet.members.after(after, LOOK) if few is None else [each for each in few if each > after][:LOOK]:
        for device in devices:
            yield
            member = fleet.members.by_id.get(device)
            if member is not None and query.wants(member):
                row = yield from _row(fleet, query, member)
                if wanted in (None, row.state):
                    found.append(row)
                    if len(found) == take:
                        return found
        after = devices[-1]
    return found


def _few(fleet: Fleet, query: Query) -> list[str] | None:
    """The devices that may be asked for, by id, if they are few."""
    found = None if query.target is None else list(islice(fleet.members.candidates(query.target), FEW + 1))
    return None if found is None or len(found) > FEW else sorted(found)


def _row(fleet: Fleet, query: Query, member: Member) -> Steps[FleetRow]:
    view, report, device = member.view, member.report, member.device
    found = yield from query.states(view, report)
    entries = {} if report is None else report.entries
    errors = {
        name: str(entries[name].error) for name, what in found.items() if what == REFUSED and not query.secret(name)
    }
    online = fleet.online(device.id)
    what = worst(found.values())
    return FleetRow(device.id, device.network, device.type, dict(member.labels), online, what, errors)
