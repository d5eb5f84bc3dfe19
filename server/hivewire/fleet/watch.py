"""Subscriptions to the fleet: counts and rows, at most once a second, after a change (fleet.md, section 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.component import end
from hivewire.devices.scope import Scope
from hivewire.fleet import census
from hivewire.fleet.census import Query
from hivewire.fleet.fleet import Fleet
from hivewire.fleet.progress import Progress
from hivewire.fleet.source import SOURCE
from hivewire.hub.feed import Subscription
from hivewire.hub.source import Topic
from hivewire.slices import in_slices
from hivewire.telemetry import Gauges, log
from hivewire.unexpected import every
from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.fleet import FleetRow, FleetSubscribe
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.permissions import Permission

TELL_SECONDS = 1.0
"""The shortest time between two pushes to a subscription."""

ALL = Patterns(("fleet",))
NOTHING = Patterns(())


Reach: TypeAlias = tuple[Scope, Patterns]
"""The devices and the names that somebody sees: another token, or another network of its user, may change them."""


class Watched(Struct):
    """What was pushed to a subscription last: at which state of the fleet, to whom, the counts, and the rows by
    device."""

    at: int = -1
    reach: Reach | None = None
    counts: bytes = b""
    rows: dict[str, FleetRow] = {}


class FleetWatch:
    """Pushes changed counts and rows. `query` makes the query of a request for an identity, `scope` its scope."""

    def __init__(
        self,
        fleet: Fleet,
        progress: Progress,
        query: Callable[[Identity, FleetSubscribe], Query | None],
        scope: Callable[[Identity], Scope],
    ) -> None:
        self._fleet = fleet
        self._progress = progress
        self._query = query
        self._scope = scope
        self._watching: dict[Subscription, Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self.topic = Topic(
            "fleet",
            "fleet",
            _never,
            _no_keys,
            _served,
            source=SOURCE,
            latest=True,
            joined=self._join,
            left=self._leave,
        )

    def start(self) -> None:
        """Begin to push."""
        work = every(TELL_SECONDS, self.tell, "subscriptions to the fleet were not served")
        self._task = asyncio.create_task(work, name="watchers of the fleet")

    async def close(self) -> None:
        """Stop."""
        await end(self._task)

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {"fleet_watchers": ("Subscriptions to counts of the fleet.", lambda: len(self._watching))}

    def _join(self, sub: Subscription) -> None:
        self._watching[sub] = Watched()

    def _leave(self, sub: Subscription) -> None:
        self._watching.pop(sub, None)

    async def tell(self) -> None:
        """Push to each subscription what has changed for it; to one whose peer does not read, later."""
        for sub, told in list(self._watching.items()):
            if sub.live and not sub.feed.stalled and sub.served.patterns:
                try:
                    await self._tell(sub, told)
                except Exception as error:  # whatever it is, others are served, and trying again does no harm
                    log.warning("a subscription to the fleet was not served", reason=repr(error))

    async def _tell(self, sub: Subscription, told: Watched) -> None:
        request: FleetSubscribe = sub.noted
        at, reach = self._fleet.changes, self._reach(sub)
        # Devices of a rollout become silent by the passing of time alone.
        if told.at == at and told.reach == reach and request.rollout is None:
            return
        query = self._query(sub.feed.identity, request)
        if query is None:  # its rollout is over, or out of reach
            return
        counts = encode(await self._progress.census(query, each_name=request.names is not None))[1:-1]
        frames = []
        if counts != told.counts:
            frames.append(sub.shape.notice("fleet", "count", counts))
        rows = told.rows
        if request.rows:
            found = await in_slices(census.rows(self._fleet, query, request.state, "", request.rows))
            rows = {each.deviceId: each for each in found}
            if rows != told.rows:
                frames.append(sub.shape.notice("fleet", "rows", encode(self._changes(told.rows, rows, query))[1:-1]))
        if sub.live and not sub.feed.stalled and sub in self._watching and self._reach(sub) == reach:
            told.at, told.reach, told.counts, told.rows = at, reach, counts, rows
            if frames:
                sub.feed.listener.push(b"".join(frames))

    def _reach(self, sub: Subscription) -> Reach:
        identity = sub.feed.identity
        return self._scope(identity), identity.names

    def _changes(self, before: dict[str, FleetRow], after: dict[str, FleetRow], query: Query) -> dict[str, Any]:
        return {
            "entered": [row for device, row in after.items() if device not in before],
            "changed": [row for device, row in after.items() if device in before and before[device] != row],
            "left": [{"deviceId": each, "why": self._why(each, query)} for each in before if each not in after],
        }

    def _why(self, device: str, query: Query) -> str:
        member = self._fleet.members.by_id.get(device)
        if member is None:
            return "deleted"
        return "state" if query.wants(member) else "target"


def _served(identity: Identity, wanted: Patterns) -> Patterns:
    return wanted if identity.may(Permission.GET_CONFIGURATION) else NOTHING


def _never(item: Any) -> bytes:
    """There are no events: all pushes are made here."""
    return b""


def _no_keys(item: Any) -> tuple[str, ...]:
    return ("",)
