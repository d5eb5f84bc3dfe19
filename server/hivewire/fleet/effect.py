"""How many devices a change of layers would affect, for dry runs (fleet.md, section 8)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hivewire.fleet.fleet import Fleet
from hivewire.fleet.layers import Selector
from hivewire_protocol.nouns.configuration import Affects
from hivewire_protocol.nouns.layer import OF_DEVICE, Target
from hivewire_protocol.tenant.steps import Steps


def of_names(fleet: Fleet, names: Mapping[str, Collection[str]]) -> Steps[Affects]:
    """The devices that have one of these layers; hidden are those for which higher layers set all of the names."""
    found, online = Affects(0, 0, 0), (yield from fleet.online_views())
    for view in [*fleet.views]:
        yield
        if mine := [layer for layer in view.layers if layer.name in names]:
            found.devices += view.members
            found.online += online[view]
            if not any(view.shows(layer, name) for layer in mine for name in names[layer.name]):
                found.hidden += view.members
    for layer in names:  # that of a device is there once it has held something
        member = fleet.members.by_id.get(layer.removeprefix(OF_DEVICE)) if layer.startswith(OF_DEVICE) else None
        if member is not None and not any(each.name in names for each in member.view.layers):
            found.devices += 1
            found.online += fleet.online(member.device.id)
    return found


def of_target(fleet: Fleet, layer: str, rank: int, target: Target) -> Steps[Affects]:
    """The devices that would have a layer with this rank and target; hidden are those for which higher layers set all
    of its names. Each device is a step, because a target may have 32,000 values of labels."""
    held = fleet.layers.by_name.get(layer)
    names = () if held is None else tuple(held.values)
    selector, salt, found = Selector(target), f"layer/{layer}", Affects(0, 0, 0)
    for device in fleet.members.candidates(target):
        yield
        member = fleet.members.by_id.get(device)
        if member is not None and selector.selects(member.placed, salt):
            found.devices += 1
            found.online += fleet.online(device)
            above = [each for each in member.view.layers if each.rank > rank and each is not held]
            found.hidden += all(any(name in each.values for each in above) for name in names) and bool(names)
    return found
