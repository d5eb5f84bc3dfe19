"""Networks (core protocol, section 6.4); what is the same for device types stands in `groupings`."""

from __future__ import annotations

from hivewire.access.users import UserContent
from hivewire.actions.groupings import Ids, Noun, brief, checked_path, counted, created, deleted, found, listed, updated
from hivewire.actions.listing import Listing, ListingWithin
from hivewire.caller import Caller
from hivewire.devices.registry import NETWORK, Grouping
from hivewire.devices.scope import Scope
from hivewire.ledger.pending import PendingWrite
from hivewire.services import Services
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.network import (
    NetworkCount,
    NetworkCountReply,
    NetworkCreated,
    NetworkDelete,
    NetworkGet,
    NetworkInsert,
    NetworkInsertReply,
    NetworkList,
    NetworkListed,
    NetworkUpdate,
)
from hivewire_protocol.nouns.user import Role


def _members(user: UserContent) -> Ids:
    """An administrator sees all networks, a client those that it belongs to."""
    return None if user.role == Role.ADMIN else frozenset(user.networks)


def _devices(network: int, scope: Scope) -> tuple[Ids, Ids]:
    return frozenset({network}), scope.types


NETWORKS = Noun(NETWORK, "Network", lambda scope: scope.networks, _members, _devices)


async def list_(services: Services, caller: Caller, request: NetworkList) -> Reply:
    """Those that match and that the caller may see, sorted and paged."""
    return Listing("networks", await listed(services, caller, NETWORKS, request), view)


def view(network: Grouping) -> NetworkListed:
    """A network as a member of a list."""
    return NetworkListed(network.id, network.name, network.description)


async def count(services: Services, caller: Caller, request: NetworkCount) -> Reply:
    """How many match. A token that says nothing of networks restricts nothing here, unlike in a list."""
    unscoped = not caller.identity.says_networks
    return NetworkCountReply(await counted(services, caller, NETWORKS, request, unscoped=unscoped))


async def get(services: Services, caller: Caller, request: NetworkGet) -> Reply:
    """One, with its devices by creation; over HTTP they may be any number. Raises NotFound."""
    network, devices = await found(services, caller, NETWORKS, request.networkId)
    return ListingWithin("network", devices, brief, "devices", view(network))


def insert(services: Services, caller: Caller, request: NetworkInsert) -> PendingWrite[Reply]:
    """Create one. Raises NotAllowed when the name is taken."""
    return created(caller, NETWORKS, request.network, _created).tried(request.dryRun)


def _created(made: int) -> Reply:
    return NetworkInsertReply(NetworkCreated(made))


async def update(services: Services, caller: Caller, request: NetworkUpdate) -> Reply:
    """Change its name or description. Raises NotFound, and NotAllowed when the name is taken."""
    return await updated(services, caller, NETWORKS, request.networkId, request.network, request.dryRun)


async def delete(services: Services, caller: Caller, request: NetworkDelete) -> Reply:
    """Delete one, with its devices if that is forced. Raises NotFound."""
    return await deleted(services, caller, NETWORKS, request.networkId, request.dryRun, force=bool(request.force))


check_path = checked_path(NETWORKS, "networkId")
"""Checks what a path names; see there."""

READS = {NetworkList: list_, NetworkCount: count, NetworkGet: get, NetworkUpdate: update, NetworkDelete: delete}
WRITES = {NetworkInsert: insert}
