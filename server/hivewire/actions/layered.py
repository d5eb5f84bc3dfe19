"""Configurations in layers: who may write them, and the conditions under which they can be (fleet.md, 3)."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.caller import Caller
from hivewire.devices.scope import Scope
from hivewire.fleet.conditions import Room, missing
from hivewire.fleet.layers import LAYER, LayerContent
from hivewire.ledger.records import Change, EvaluatedState, Precondition
from hivewire.services import Services
from hivewire_protocol.errors import AccessDenied, OutOfBounds, WireError
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
    if (error := _beyond(services.registry.scope(identity), target)) is not None:
        raise error


def _beyond(scope: Scope, target: Target) -> AccessDenied | None:
    for what, own, named in (
        ("networks", scope.reached, target.networkIds),
        ("device types", scope.types, target.deviceTypeIds),
    ):
        if own is not None and (named is None or not own.issuperset(named)):
            return AccessDenied.because(f"the layer's target is not limited to {what} of the token")
    return None


class Within(Struct):
    """A condition: the target of a layer, if it exists, names only networks and types of a scope when it is written."""

    scope: Scope

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether that is so."""
        return self._problem(last) is None

    def error(self, last: Change | None) -> WireError:
        """The error for one that has other devices by then."""
        return self._problem(last) or AccessDenied()

    def _problem(self, last: Change | None) -> AccessDenied | None:
        if last is None or last.content is None:
            return None
        return _beyond(self.scope, msgspec.json.decode(last.content, type=LayerContent).target)


def conditions(services: Services, layer: str, name: str) -> tuple[Precondition, ...]:
    """The conditions of a write of a name in a layer."""
    return (Room(services.fleet.layers, layer), *services.fleet.unheld(layer, name))
