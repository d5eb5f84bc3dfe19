"""The fleet side of the Python client: effective values, rollouts to their end, and counts that follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest

from hivewire_client import ABSENT, Backoff, Conflict, FleetState, Hivewire, NotFound, Refused, fleet
from hivewire_protocol.nouns import device_configuration, rollout
from hivewire_protocol.nouns import fleet as counts
from tests.clients.gateways import FleetGateway
from tests.running import PATIENCE

DEVICES = [f"d{number}" for number in range(4)]
GATE = {"wait": 0, "minimum": 1, "failures": 0, "success": 99}


def refuse_over_38400(name: str, value: str | None) -> str | None:
    """What the devices do with a baud rate."""
    return "unsupported rate" if name == "baud" and int(value or 0) > 38_400 else None


@asynccontextmanager
async def running() -> AsyncIterator[tuple[FleetGateway, Hivewire]]:
    """A gateway with devices that follow and report, and an administrator."""
    with FleetGateway() as gateway:
        for each in DEVICES:
            gateway.do("device/save", deviceId=each, device={"name": each})
        gateway.put("global", baud="9600")
        token = gateway.device_token(*DEVICES)
        backoff = Backoff(0.01, 0.02)
        async with (
            asyncio.timeout(PATIENCE),
            Hivewire(gateway.url, token=token, names=[], backoff=backoff) as listening,
            Hivewire(gateway.url, token=gateway.token, names=[], backoff=backoff) as hw,
            AsyncExitStack() as stack,
        ):
            devices = [await stack.enter_async_context(listening.device(each)) for each in DEVICES]
            tasks = [asyncio.create_task(device.run(refuse_over_38400)) for device in devices]
            for device in devices:
                await device.report()
            yield gateway, hw
        await asyncio.gather(*tasks)


async def test_what_counts_for_a_device() -> None:
    """The value, where it is from, what it hides, and what the device says of it."""
    async with running() as (gateway, hw):
        await asyncio.to_thread(gateway.put, "device/d1", baud="57600")
        while (effective := await hw.effective("d1", "baud"))["baud"].state == "pending":
            await asyncio.sleep(0.01)
        baud = effective["baud"]
        assert (baud.value, baud.layer, baud.version, baud.hidden) == ("57600", "device/d1", 1, ("global",))
        assert baud.state == "refused" and baud.reported == fleet.Reported(baud.tag, "unsupported rate")
        assert (effective.layers, effective.revision > 0) == (("device/d1", "global"), True)
        with pytest.raises(KeyError):
            effective["none"]
        with pytest.raises(NotFound):
            await hw.effective("none")


async def test_a_rollout_to_its_end() -> None:
    """It goes through its steps, and the layer is written; then it cannot be rolled back, and says what undoes it."""
    async with running() as (_, hw):
        rollout = await hw.start_rollout("global", {"baud": "19200", "new": {"a": 1}}, [25, 100], gate=GATE)
        seen = [state async for state in rollout.follow()]
        assert (seen[-1].state, seen[-1].step, seen[-1].is_over) == ("completed", 2, True)
        assert (await hw.effective("d0"))["new"].content_type == "application/json"
        with pytest.raises(Refused) as refused:
            await hw.rollout(rollout.number).rollback()
        assert {"operation": "put", "name": "baud", "value": "9600"} in refused.value.reply["changes"]


async def test_a_rollout_that_devices_refuse() -> None:
    """It holds itself and says why; it can go on, be held, and be rolled back, which gives the devices what was."""
    async with running() as (gateway, hw):
        rollout = await hw.start_rollout("global", {"baud": 57_600}, [{"deviceIds": ["d2"]}, 100], gate=GATE)
        async for state in rollout.follow():
            if state.state == "held":
                assert state.counts.refused == 1 and "unsupported rate" in (state.reason or "")
                assert (await hw.effective("d2"))["baud"].rollout == rollout.number
                await rollout.resume()
                await rollout.hold()
                assert (await rollout.get()).state == "held"
                await rollout.resume(step=2)
                await asyncio.to_thread(gateway.drop)
                await rollout.get()  # over the next connection; a rollback that meets the end of one is uncertain
                await rollout.rollback()
        assert state.state == "rolledBack"
        assert (await hw.effective("d2"))["baud"].value == "9600"


async def test_watching_a_fleet() -> None:
    """Counts and rows as they are now, over connections that break; who has left, and why."""
    async with running() as (gateway, hw):

        async def until(state: str, count: int) -> FleetState:
            async for found in watch:
                if getattr(found.counts, state) == count and len(found.rows) == found.counts.devices:
                    return found
            raise AssertionError

        watch = hw.watch_fleet({"deviceIds": DEVICES}, names=["baud"], rows=10)
        found = await until("applied", 4)
        assert [row.device for row in found.rows] == DEVICES
        assert [each.name for each in found.counts.names] == ["baud"]
        watch = hw.watch_fleet({"deviceIds": DEVICES}, rows=10)
        await watch.follow()
        await asyncio.to_thread(gateway.put, "global", baud="57600")
        await asyncio.to_thread(gateway.drop)
        found = await until("refused", 4)
        assert found.counts.errors == (fleet.ErrorCount("baud", "unsupported rate", 4),)
        assert {row.errors["baud"] for row in found.rows} == {"unsupported rate"}
        async with hw.watch_fleet({"deviceIds": DEVICES}, state="refused", rows=10) as watch:
            await anext(watch)
            await asyncio.to_thread(gateway.put, "device/d0", baud="1")
            async for found in watch:
                if found.left:
                    break
            assert (found.left, [row.device for row in found.rows]) == ({"d0": "state"}, DEVICES[1:])


async def test_layers_are_written_and_read() -> None:
    """The same requests as for plain configurations, which do not show what is in a layer."""
    with FleetGateway() as gateway:
        gateway.do("device/save", deviceId="dev", device={"name": "dev"})
        layer = "device/dev"
        async with Hivewire(gateway.url, token=gateway.token) as hw:
            entry = await hw.put("baud", 9_600, expect=ABSENT, layer=layer)
            assert (entry.layer, entry.version) == (layer, 1)
            async with hw.transaction("why") as tx:
                tx.put("baud", 4_800, expect=1, layer=layer)
                tx.put("baud", 1)
                tx.put("mode", "eco", layer=layer)
            with pytest.raises(Conflict):
                await hw.put("baud", 2, expect=1, layer=layer)
            assert [(each.name, each.value) for each in await hw.list(layer=layer)] == [
                *(("baud", "4800"), ("mode", "eco")),
            ]
            assert [each.description for each in await hw.history("baud", layer=layer)] == ["why", None]
            await hw.delete("mode", layer=layer)
            assert [each.name for each in (await hw.effective("dev")).configurations] == ["baud"]
            assert (await hw.fetch("baud")).value == "1"


def test_its_structs_are_the_gateways() -> None:
    """The members have the names of the wire."""

    def members(struct: type[msgspec.Struct]) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(struct)} - {"status", "requestId", "action"}

    for ours, theirs in (
        (fleet.Reported, device_configuration.Reported),
        (fleet.EffectiveConfiguration, device_configuration.EffectiveConfiguration),
        (fleet.Effective, device_configuration.DeviceEffectiveReply),
        (fleet.RolloutCounts, rollout.RolloutCounts),
        (fleet.RolloutState, rollout.RolloutView),
        (fleet.NameCounts, counts.NameCounts),
        (fleet.ErrorCount, counts.ErrorCount),
        (fleet.FleetRow, counts.FleetRow),
        (fleet.FleetCounts, counts.FleetCounts),
    ):
        assert members(ours) == members(theirs) - {"subscriptionId"}, ours
