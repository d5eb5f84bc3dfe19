"""Configurations in layers: who may write them, and the conditions under which they can be (fleet.md, 3)."""

from __future__ import annotations

from hivewire.access.identity import Identity
from hivewire.caller import Caller
from hivewire.fleet.conditions import Room, missing
from hivewire.fleet.layers import LAYER
from hivewire.ledger.records import Precondition
from hivewire.services import Services
from hivewire_protocol.errors import AccessDenied, OutOfBounds
from hivewire_protocol.nouns.layer import GLOBAL, LAYER_NAME, OF_DEVICE, Target


def check_read(services: Services, caller: Caller, layer: str) -> None:
    """Raise NotFound for a layer that does not exist, OutOfBounds for what is no name of one."""
    if layer.startswith(OF_DEVICE):
        services.registry.reach(caller.identity, layer.removeprefix(OF_DEVICE))
        return
    if not LAYER_NAME.fullmatch(layer):
        raise OutOfBounds("a layer's name has 1 to 32 characters of a-z 0-9 . -, or is device/ID")
    if layer != GLOBAL and services.ledger.get(LAYER, layer) is None:
        raise missing(layer)


async def seen_from(services: Services, identity: Identity, layer: str | None) -> int:
    """The first revision of which somebody sees the changes of a layer.

    A device may have the id of a deleted one. The layer of the deleted one is only for those who reach all devices.
    """
    if layer is None or not layer.startswith(OF_DEVICE) or services.registry.scope(identity).everything:
        return 0
    device = services.registry.device(layer.removeprefix(OF_DEVICE))
    return services.ledger.revision + 1 if device is None else await services.registry.registered(device)


def check_write(services: Services, caller: Caller, layer: str) -> None:
    """Raise as `check_read`, and AccessDenied for a layer that has devices out of the caller's reach."""
    check_read(services, caller, layer)
    if not layer.startswith(OF_DEVICE):
        check_target(services, caller.identity, services.fleet.layers.by_name[layer].target)


def check_target(services: Services, identity: Identity, target: Target) -> None:
    """Raise AccessDenied for a target that does not name only networks and types of the caller."""
    scope = services.registry.scope(identity)
    for what, own, named in (
        ("networks", scope.reached, target.networkIds),
        ("device types", scope.types, target.deviceTypeIds),
    ):
        if own is not None and (named is None or not own.issuperset(named)):
            raise AccessDenied.because(f"the layer's target is not limited to {what} of the token")


def conditions(services: Services, layer: str, name: str) -> tuple[Precondition, ...]:
    """The conditions of a write of a name in a layer."""
    return (Room(services.fleet.layers, layer), *services.fleet.unheld(layer, name))
