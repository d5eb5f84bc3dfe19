"""The index of networks, device types and devices, over a ledger in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from hivewire.devices import registry
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import DeviceContent
from hivewire.devices.registry import DEVICE_TYPE, NAME, NETWORK, GroupingContent, Registry
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.records import Change, Expected, NotDurable, PreconditionFailed, Transaction, Write
from hivewire_protocol.errors import NotFound
from tests.world import World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


async def group(world: World, kind: str, name: str) -> int:
    """Create a network or a device type; its id."""
    changes = await world.ledger.commit(Transaction(registry.insert(kind, GroupingContent(name))))
    return changes[0].id


async def register(world: World, *ids: str, network: int = 1, device_type: int = 1) -> None:
    """Write devices, all in one transaction."""
    contents = [(each, DeviceContent(name=each, network=network, type=device_type)) for each in ids]
    await world.ledger.commit(
        Transaction([Write(DEVICE, key, msgspec.json.encode(content)) for key, content in contents])
    )


async def delete(world: World, kind: str, group_id: int) -> None:
    """Delete a network or a device type with all its devices."""
    groups = world.services.registry.networks if kind == NETWORK else world.services.registry.device_types
    await world.ledger.commit(Transaction(registry.delete(kind, groups[group_id])))


def ids(found: Registry, networks: Sequence[int] | None = None, types: frozenset[int] | None = None) -> list[str]:
    """The ids of devices."""
    return [device.id for device in found.devices_in(networks, types)]


async def settled(found: Registry) -> None:
    """Wait until all that is left of deleted networks and types is removed."""
    while len(found.ledger.kind(DEVICE).live) > len(ids(found)):
        await asyncio.sleep(0)


async def test_names_are_unique_among_networks_and_among_device_types(world: World) -> None:
    """A name is taken by an insert or a rename and free again after a rename or a delete; a type may have the name of a
    network. Ids are not used again."""
    found = world.services.registry
    assert [await group(world, kind, "a") for kind in (NETWORK, DEVICE_TYPE)] == [1, 1]
    with pytest.raises(PreconditionFailed) as refused:
        await group(world, NETWORK, "a")
    assert registry.is_taken(refused.value)
    assert await group(world, NETWORK, "b") == 2
    for name in ("c", "c", "a"):
        changed = registry.update(NETWORK, found.networks[2], GroupingContent(name, "d"), Expected())
        if name == "a":
            with pytest.raises(PreconditionFailed) as refused:
                await world.ledger.commit(Transaction(changed))
            assert registry.is_taken(refused.value)
        else:
            await world.ledger.commit(Transaction(changed))
    assert await group(world, NETWORK, "b") == 3
    await delete(world, NETWORK, 1)
    assert await group(world, NETWORK, "a") == 4
    assert [(each.id, each.name, each.description) for each in found.networks.values()] == [
        (2, "c", "d"), (3, "b", None), (4, "a", None),
    ]  # fmt: skip
    assert sorted(world.ledger.kind(NAME).live) == ["deviceType/a", "network/a", "network/b", "network/c"]


async def test_a_start_reads_everything_in_the_order_of_ids(world: World) -> None:
    """Whatever was changed last, and in whichever order an engine gives it."""
    for name in "abc":
        await group(world, NETWORK, name)
    await group(world, DEVICE_TYPE, "a")
    await register(world, "x", "y")
    for kind, key in ((NETWORK, "1"), (DEVICE, "x")):
        live = world.ledger.kind(kind).live
        live[key] = live.pop(key)
    found = Registry(world.ledger, world.users)
    found.load()
    assert (list(found.networks), ids(found)) == ([1, 2, 3], ["x", "y"])


async def test_a_device_exists_only_while_its_network_and_type_do(world: World) -> None:
    """It is hidden at once by one record, and its own record is removed in the background."""
    found = world.services.registry
    for kind in (NETWORK, NETWORK, DEVICE_TYPE, DEVICE_TYPE):
        await group(world, kind, f"{kind} {len(world.ledger.kind(NAME).live)}")
    await register(world, "a", "b")
    await register(world, "c", network=2)
    await register(world, "d", network=2, device_type=2)
    assert ids(found) == ["a", "b", "c", "d"]
    records = [found.ledger.kind(DEVICE).live[device].id for device in "ac"]
    assert found.device_of(records[0]) is found.device("a")
    assert (ids(found, [2]), ids(found, [1, 2], frozenset({1}))) == (["c", "d"], ["a", "b", "c"])
    assert (ids(found, None, frozenset({2})), ids(found, [])) == (["d"], [])
    await delete(world, NETWORK, 1)
    assert (ids(found), found.device("a"), len(world.ledger.kind(DEVICE).live)) == (["c", "d"], None, 4)
    assert [found.device_of(record) for record in (*records, 99)] == [None, found.device("c"), None]
    await delete(world, DEVICE_TYPE, 2)
    assert ids(found) == ["c"]
    for device in ("a", "d"):
        with pytest.raises(NotFound):
            found.reach(world.admin.identity, device)
    found.start()
    await settled(found)
    assert list(world.ledger.kind(DEVICE).live) == ["c"]
    await register(world, "e", network=1)  # by a gateway that knew no better
    await delete(world, DEVICE_TYPE, 1)
    await settled(found)
    assert not world.ledger.kind(DEVICE).live
    await found.close()
    await asyncio.sleep(0)
    assert "removal of devices" not in {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize(("belongings", "removed"), [(0, [1_000, 1_000, 500]), (1, [500] * 5)])
async def test_devices_of_a_deleted_network_are_removed_a_thousand_at_a_time_also_after_a_restart(
    belongings: int, removed: list[int]
) -> None:
    """The next start goes on with what is left. A commit has no more than a thousand writes, with what belongs to the
    devices."""
    journal = MemoryJournal()
    world = await World(journal).open()
    for kind in (NETWORK, DEVICE_TYPE):
        await group(world, kind, "a")
    for first in (0, 1_000, 2_000):
        await register(world, *[f"d{number}" for number in range(first, min(first + 1_000, 2_500))])
    await delete(world, NETWORK, 1)
    await world.ledger.close()

    world = World(journal)
    sizes: list[int] = []

    def count(changes: Sequence[Change]) -> None:
        sizes.append(sum(change.kind == DEVICE for change in changes))

    world.ledger.observe(count, DEVICE)
    await world.ledger.open()
    found = world.services.registry
    found.belongings = lambda device_id: ([Write("label", device_id, b"{}")] * belongings, ())
    found.start()
    assert (ids(found), len(world.ledger.kind(DEVICE).live)) == ([], 2_500)
    await settled(found)
    assert sizes == removed
    await found.close()
    await world.close()


async def test_a_device_with_more_than_a_thousand_belongings_is_removed_alone(world: World) -> None:
    """Together with them, however many."""
    found = world.services.registry
    for kind in (NETWORK, DEVICE_TYPE):
        await group(world, kind, "a")
    await register(world, "a", "b")
    await delete(world, NETWORK, 1)
    found.belongings = lambda device_id: ([Write("label", f"{device_id}{each}", b"{}") for each in range(1_000)], ())
    found.start()
    await settled(found)
    assert len(world.ledger.kind("label").live) == 2_000
    await found.close()


async def test_a_full_disk_delays_the_removal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again until it can be written."""
    monkeypatch.setattr(registry, "AGAIN_SECONDS", 0)
    append = world.journal.append
    refused: list[object] = []

    async def full(*arguments: Any, **named: Any) -> bool:
        if len(refused) < 2:
            refused.append(arguments)
            raise NotDurable("the disk is full")
        return await append(*arguments, **named)

    for kind in (NETWORK, DEVICE_TYPE):
        await group(world, kind, "a")
    await register(world, "a")
    await delete(world, NETWORK, 1)
    monkeypatch.setattr(world.journal, "append", full)
    world.services.registry.start()
    await settled(world.services.registry)
    assert len(refused) == 2
    await world.services.registry.close()


async def test_a_bug_delays_the_removal_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and does not end what removes all others."""
    monkeypatch.setattr(registry, "AGAIN_SECONDS", 0)
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
    for kind in (NETWORK, DEVICE_TYPE):
        await group(world, kind, "a")
    await register(world, "a")
    await delete(world, NETWORK, 1)
    found = world.services.registry
    belongings = found.belongings
    monkeypatch.setattr(found, "belongings", lambda device: belongings(device) if reported else 1 / 0)
    found.start()
    await settled(found)
    assert reported == ["devices of a deleted network or type were not removed"]
    await found.close()


async def test_two_gateways_that_remove_the_same_devices_do_no_harm(world: World) -> None:
    """Who comes later looks again; a device that was registered anew meanwhile stays."""
    for kind, name in ((NETWORK, "a"), (DEVICE_TYPE, "a"), (NETWORK, "b")):
        await group(world, kind, name)
    await register(world, "a", "b", "c")
    first, second = world.services.registry, Registry(world.ledger, world.users)
    second.load()
    await delete(world, NETWORK, 1)
    await asyncio.gather(first.forget("a"), second.forget("a"))  # its id is used again at both
    assert list(world.ledger.kind(DEVICE).live) == ["b", "c"]
    first.start()
    second.start()
    await register(world, "c", network=2)
    await settled(first)
    assert ids(first) == ids(second) == ["c"]
    await first.close()
    await second.close()
