"""Layers: which devices have which configurations (fleet.md, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hivewire.actions.checks import check_token, expected_of, moved
from hivewire.actions.layered import Within, check_target
from hivewire.caller import Caller
from hivewire.fleet import effect
from hivewire.fleet.conditions import Countable, Empty, Vacant, missing
from hivewire.fleet.layers import DEVICE_RANK, LAYER, Layer, LayerContent
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import (
    Condition,
    Expected,
    PreconditionFailed,
    Refused,
    Transaction,
    Write,
)
from hivewire.resources import LAYERED
from hivewire.services import Services
from hivewire.slices import in_slices
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    AccessDenied,
    Conflict,
    InvalidParameters,
    NotAllowed,
    OutOfBounds,
    TooLarge,
    WireError,
)
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import RevisionReply
from hivewire_protocol.nouns.device import MAX_DEVICE_ID, is_device_id
from hivewire_protocol.nouns.layer import (
    GLOBAL,
    LAYER_NAME,
    OF_DEVICE,
    TOP_RANK,
    LayerDelete,
    LayerList,
    LayerListReply,
    LayerPut,
    LayerPutReply,
    LayerView,
    Target,
    key_of,
)
from hivewire_protocol.tenant.steps import Steps

MOST_LABELS, MOST_LABEL = 32, 64
"""Labels of a device or a target, and characters of each and of its value (fleet.md, section 10)."""

MOST_IDS = 1_000
"""Ids, or values of labels, in a target."""


async def list_(services: Services, caller: Caller, request: LayerList) -> Reply:
    """The layers by rank without those of single devices, or the one that is asked for. Raises NotFound."""
    fleet, name = services.fleet, request.layer
    if name is not None and name.startswith(OF_DEVICE):
        device = services.registry.reach(caller.identity, name.removeprefix(OF_DEVICE))
        layer = fleet.layers.by_name.get(name)  # it is not there before it has held something
        held = 0 if layer is None else len(layer.values)
        return LayerListReply([LayerView(name, DEVICE_RANK, Target(deviceIds=[device.id]), 0, held, 1)])
    if name is None:
        found = fleet.layers.shared()
    elif (layer := fleet.layers.by_name.get(name)) is not None:
        found = [layer]
    else:
        raise missing(name)
    devices = await in_slices(fleet.views.devices())
    shown = await in_slices(_shown(found, devices))
    return LayerListReply(shown)


def _shown(layers: Sequence[Layer], devices: Mapping[Layer, int]) -> Steps[list[LayerView]]:
    """What is shown of layers. Raises TooLarge as soon as that cannot be sent: a target may be long."""
    shown: list[LayerView] = []
    room = MAX_REPLY
    for layer in layers:
        shown.append(_view(layer, devices[layer]))
        room -= len(encode(shown[-1]))
        if room < 0:
            raise TooLarge
        yield
    return shown


def _view(layer: Layer, devices: int) -> LayerView:
    return LayerView(layer.name, layer.rank, layer.target, layer.revision, len(layer.values), devices)


async def put(services: Services, caller: Caller, request: LayerPut) -> Reply:
    """Create or change a layer. Raises Conflict for a rank that is taken."""
    name, target, rank = _name(request.layer), request.target, request.rank
    if target is None or rank is None:
        raise InvalidParameters("target and rank are required")
    if not 1 <= rank <= TOP_RANK:
        raise OutOfBounds(f"rank must be between 1 and {TOP_RANK:,}")
    check_bounds(target)
    check_target(services, caller.identity, target)
    if (found := services.fleet.layers.by_name.get(name)) is not None:
        check_target(services, caller.identity, found.target)
        _check_names(caller, found)
    fleet, within = services.fleet, Within(services.registry.scope(caller.identity))
    conditions = (*expected_of(request), within, Countable(), Vacant(fleet.layers, name, rank), *fleet.unheld(name))
    content = msgspec.json.encode(LayerContent(rank, target))
    write = Write(LAYER, name, content, "application/json", None, conditions)
    transaction = Transaction([write], caller.identity.login, dry_run=bool(request.dryRun))
    pending = PendingWrite(transaction, lambda changes: changes[0], refusal)
    change = await commit(services.ledger, pending, caller.identity)
    await fleet.settled()
    if request.dryRun:
        affects = await in_slices(effect.of_target(fleet, name, rank, target))
        return LayerPutReply(layer=name, devices=affects.devices, dryRun=True, affects=affects)
    current = fleet.layers.by_name.get(name)
    devices = 0 if current is None else (await in_slices(fleet.views.devices()))[current]
    return LayerPutReply(layer=name, revision=change.revision, devices=devices)


async def delete(services: Services, caller: Caller, request: LayerDelete) -> Reply:
    """Delete a layer, with `force` together with what it holds."""
    name, fleet = _name(request.layer), services.fleet
    while True:
        check_token(services, caller)
        layer = fleet.layers.by_name.get(name)
        if layer is None:
            raise missing(name)
        check_target(services, caller.identity, layer.target)
        _check_names(caller, layer)
        held = sorted(layer.values) if request.force else ()
        writes = [Write(LAYERED, key_of(name, each), None, if_present=True) for each in held]
        within = Within(services.registry.scope(caller.identity))
        conditions = (*expected_of(request), within, Empty(fleet.layers, name), *fleet.unheld(name))
        writes.append(Write(LAYER, name, None, "", None, conditions))
        transaction = Transaction(writes, caller.identity.login, dry_run=bool(request.dryRun))
        pending = PendingWrite(transaction, lambda changes: changes[0], refusal)
        try:
            change = await commit(services.ledger, pending, caller.identity)
            if not request.dryRun:
                return RevisionReply(change.revision)
            return RevisionReply(dryRun=True, affects=await in_slices(effect.of_names(fleet, {name: held})))
        except Conflict:
            if not request.force or sorted(layer.values) == held:
                raise  # otherwise a value was put into it meanwhile


def _check_names(caller: Caller, layer: Layer) -> None:
    """Raise AccessDenied for a layer with names that the token does not reach: a change affects them too."""
    if not all(name in caller.identity.names for name in layer.values):
        raise AccessDenied.because(f"layer '{layer.name}' holds names that the token does not reach")


def refusal(refused: Refused) -> WireError:
    """The error for a refused write of a layer."""
    if isinstance(refused, PreconditionFailed):
        failed, last = refused.failed, refused.last
        if isinstance(failed, Condition):
            return failed.error(last)
        assert isinstance(failed, Expected)  # noqa: S101 - the only other one
        return moved(f"Layer '{refused.write.key}'", failed, last)
    return missing(refused.write.key)


def _name(given: str | None) -> str:
    if given is None:
        raise InvalidParameters("layer is required")
    if given == GLOBAL or given.startswith(OF_DEVICE):
        raise NotAllowed(f"Layer '{given[:128]}' is always there, and cannot be changed")
    if not LAYER_NAME.fullmatch(given):
        raise OutOfBounds("a layer's name has 1 to 32 characters of a-z 0-9 . -")
    return given


def check_bounds(target: Target) -> None:
    """Raise OutOfBounds for a target that is too large, or that says what no device can have."""
    for what, given in (
        ("networkIds", target.networkIds),
        ("deviceTypeIds", target.deviceTypeIds),
        ("deviceIds", target.deviceIds),
    ):
        if given is not None and not 1 <= len(given) <= MOST_IDS:
            raise OutOfBounds(f"target.{what} must have 1 to {MOST_IDS:,} elements")
    for device in target.deviceIds or ():
        if not is_device_id(device):
            raise OutOfBounds(f"target.deviceIds: '{device[:MAX_DEVICE_ID]}' is not a device id")
    if target.percent is not None and not 0 < target.percent <= 100:
        raise OutOfBounds("target.percent must be over 0, and at most 100")
    labels = target.labels or {}
    check_labels(dict.fromkeys(labels, ""), "target.labels")
    for label, given in labels.items():
        if given is not None and not 1 <= len(given) <= MOST_IDS:
            raise OutOfBounds(f"target.labels: '{label}' must have 1 to {MOST_IDS:,} values, or be null")
        if given is not None:  # the longest value alone, as a request may have 300,000 of them
            check_labels({label: max(given, key=len)}, "target.labels")


def check_labels(labels: dict[str, str], what: str) -> None:
    """Raise OutOfBounds for labels that are too many or too long."""
    if len(labels) > MOST_LABELS:
        raise OutOfBounds(f"{what} must have at most {MOST_LABELS} labels")
    for label, value in labels.items():
        if not 1 <= len(label) <= MOST_LABEL or len(value) > MOST_LABEL:
            raise OutOfBounds(f"{what}: a label has 1 to {MOST_LABEL} characters, and its value at most {MOST_LABEL}")


READS = {LayerList: list_, LayerPut: put, LayerDelete: delete}
