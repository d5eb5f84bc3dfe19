"""Watching a fleet (fleet.md, section 9)."""

from __future__ import annotations

from hivewire.actions.checks import checked_patterns, within
from hivewire.actions.feeds import Wanted, unsubscribe
from hivewire.actions.layer import check_bounds
from hivewire.caller import Caller
from hivewire.dispatch import Handler
from hivewire.fleet import census
from hivewire.fleet.census import Query
from hivewire.fleet.reports import WORST
from hivewire.fleet.watch import ALL
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol.errors import NotFound, OutOfBounds
from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.fleet import FleetCount, FleetList, FleetListReply, FleetSubscribe, FleetUnsubscribe

TAKE, MOST = 100, 1_000
MOST_ROWS = 200


async def count(services: Services, caller: Caller, request: FleetCount) -> Reply:
    """How many devices are in which state. Raises NotFound for a rollout that is over or never was."""
    return await services.progress.census(_query(services, caller, request), each_name=request.names is not None)


async def list_(services: Services, caller: Caller, request: FleetList) -> Reply:
    """A page of devices by id. Raises as `count`."""
    _check_state(request)
    take, query = within("take", request.take, TAKE, MOST), _query(services, caller, request)
    await services.fleet.settled()
    found = census.rows(services.fleet, query, request.state, request.after or "", take)
    return FleetListReply(await in_slices(found))


def _check_state(request: FleetList | FleetSubscribe) -> None:
    if request.state is not None and request.state not in WORST:
        raise OutOfBounds(f"state must be one of {', '.join(WORST)}")


def _query(services: Services, caller: Caller, request: FleetCount | FleetList | FleetSubscribe) -> Query:
    if request.target is not None:
        check_bounds(request.target)
    checked_patterns(request.names)
    if (query := services.fleet_query(caller.identity, request)) is None:
        raise NotFound(f"Rollout {request.rollout} is not open")
    return query


def watched(services: Services, caller: Caller, request: FleetSubscribe) -> Wanted:
    """What a request to follow the fleet is about. Raises as `count`."""
    _check_state(request)
    within("rows", request.rows, 0, MOST_ROWS)
    _query(services, caller, request)
    return Wanted(services.fleet_watch.topic, ALL, snapshot=False, noted=request)


READS: dict[type[Request], Handler] = {FleetCount: count, FleetList: list_, FleetUnsubscribe: unsubscribe}
