"""Whatever happens to layers, labels, devices and rollouts, and whenever the gateway is killed: at rest every device
has just what counts for it, and the counts are those of a recount (fleet.md, section 12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivewire.fleet import fleet as fleets
from hivewire_protocol.errors import WireError
from hivewire_protocol.nouns.layer import bucket
from tests.rooms.fleets import World, fleet
from tests.rooms.test_device_subscription import Device
from tests.rooms.test_reports import reported, tags

IDS = ("a", "b", "c")
LAYERS = ("global", "low", "high", "device/a")
NAMES = ("x", "y")
SITES = ("bonn", "ulm", "")

TARGETS = st.sampled_from([{}, {"labels": {"site": ["bonn"]}}, {"networkIds": [2]}, {"percent": 50}])
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(LAYERS), st.sampled_from(NAMES), st.sampled_from("123")),
    st.tuples(st.just("delete"), st.sampled_from(LAYERS), st.sampled_from(NAMES)),
    st.tuples(st.just("label"), st.sampled_from(IDS), st.sampled_from(SITES)),
    st.tuples(st.just("move"), st.sampled_from(IDS), st.integers(1, 2)),
    st.tuples(st.just("layer"), st.sampled_from(LAYERS[1:3]), TARGETS),
    st.tuples(st.just("start"), st.sampled_from(LAYERS), st.sampled_from(NAMES), st.sampled_from("456"), TARGETS),
    st.tuples(st.sampled_from(["hold", "resume", "rollback"])),
    st.tuples(st.just("judge"), st.sampled_from([1, 100, 100_000])),
    st.tuples(st.just("report"), st.sampled_from(IDS), st.booleans()),
    st.tuples(st.sampled_from(["drop", "stall", "read"]), st.sampled_from(IDS)),
    st.tuples(st.just("kill")),
)


class Model:
    """What the ledger was told, and who would have what by that."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], str] = {}
        self.targets: dict[str, Any] = {"low": {}, "high": {"labels": {"site": ["bonn"]}}}
        self.labels = dict.fromkeys(IDS, "")
        self.networks = dict.fromkeys(IDS, 1)

    def layers(self, device: str) -> list[str]:
        """The layers of a device, the highest first."""
        return [f"device/{device}", *(each for each in ("high", "low") if self._covers(each, device)), "global"]

    def _covers(self, layer: str, device: str) -> bool:
        target = self.targets[layer]
        if "labels" in target:
            return self.labels[device] in target["labels"]["site"]
        if "networkIds" in target:
            return self.networks[device] in target["networkIds"]
        return "percent" not in target or bucket(f"layer/{layer}", device) < target["percent"] * 100

    def counts(self, device: str, shown: dict[tuple[str, str], str], names: Sequence[str] = NAMES) -> dict[str, str]:
        """What of these names counts for a device to which some rollouts show these values."""
        found: dict[str, str] = {}
        for layer in reversed(self.layers(device)):
            for name in names:
                if (value := shown.get((layer, name), self.values.get((layer, name)))) is not None:
                    found[name] = value
        return found


class Run:
    """A gateway, its devices, and the model beside it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = Model()
        self.devices = {each: Device(world, each) for each in IDS}

    async def take(self, step: tuple[Any, ...]) -> None:
        """Do a step; what the gateway refuses changes nothing."""
        what, *given = step
        try:
            await getattr(self, what)(*given)
        except WireError:
            await self.world.quiet()

    async def put(self, layer: str, name: str, value: str) -> None:
        await self.world.do("configuration/put", layer=layer, name=name, value=value)
        self.model.values[layer, name] = value

    async def delete(self, layer: str, name: str) -> None:
        await self.world.do("configuration/delete", layer=layer, name=name)
        del self.model.values[layer, name]

    async def label(self, device: str, site: str) -> None:
        await self.world.label(device, **({"site": site} if site else {}))
        self.model.labels[device] = site

    async def move(self, device: str, network: int) -> None:
        await self.world.do("device/save", deviceId=device, device={"networkId": network})
        self.model.networks[device] = network

    async def layer(self, layer: str, target: Any) -> None:
        await self.world.layer(layer, 5 if layer == "low" else 6, **target)
        self.model.targets[layer] = target

    async def start(self, layer: str, name: str, value: str, devices: Any) -> None:
        first = {each: devices[each] for each in ("labels", "percent") if each in devices} or {"deviceIds": ["a"]}
        change = {"operation": "put", "name": name, "value": value}
        gate = {"wait": 0, "minimum": 0, "failures": 0, "success": 60}
        await self.world.do("rollout/start", layer=layer, changes=[change], steps=[first, {"percent": 100}], gate=gate)

    async def _change(self, what: str) -> None:
        for number in list(self.world.services.fleet.rollouts)[:1]:
            await self.world.do(f"rollout/{what}", rollout=number)

    async def hold(self) -> None:
        await self._change("hold")

    async def resume(self) -> None:
        await self._change("resume")

    async def rollback(self) -> None:
        await self._change("rollback")

    async def judge(self, seconds: int) -> None:
        self.world.clock.time += seconds * 1_000
        await self.world.services.progress.judge()
        await self.world.quiet()
        self.model.values = {}
        for key, change in self.world.ledger.kind("layerConfiguration").live.items():
            layer, _, name = key.rpartition("/")
            self.model.values[layer, name] = (change.content or b"").decode()

    async def report(self, device: str, fine: bool) -> None:
        error = {} if fine else {"error": "no"}
        found = await tags(self.world, device)
        entries = [{"name": name, "tag": tag, **error} for name, tag in found.items() if tag is not None]
        self.world.clock.time += 1_000
        await reported(self.world, device, *entries, complete=True)

    async def drop(self, device: str) -> None:
        await self.devices[device].listen()
        self.devices[device].peer.session.close()
        self.devices[device].connect()

    async def stall(self, device: str) -> None:
        self.devices[device].peer.session.pause()

    async def read(self, device: str) -> None:
        self.devices[device].peer.read()

    async def kill(self) -> None:
        """Nothing of the gateway is left but its log and its notes; devices come back with the positions they have."""
        for device in self.devices.values():
            await device.listen()
        again = await self.world.restarted()
        await self.world.messages.close()
        self.world = again
        for device in self.devices.values():
            device.world = again
            device.connect()

    async def check(self) -> None:
        """Everybody reads to the end, and agrees."""
        for device in self.devices.values():
            device.peer.read()
        for device in self.devices.values():
            await device.listen()
        worst: Counter[str] = Counter()
        for each, device in self.devices.items():
            effective = await self.world.do("device/effective", deviceId=each)
            now = {one["name"]: one["value"] for one in effective["configurations"] if one["layer"] is not None}
            assert device.have == now, each
            shown = {
                (one["layer"], one["name"]): one["value"] for one in effective["configurations"] if "rollout" in one
            }
            assert now == self.model.counts(each, shown), each
            states = {one["state"] for one in effective["configurations"]}
            worst[next((one for one in ("refused", "pending", "local") if one in states), "applied")] += 1
        counted = await self.world.do("fleet/count")
        assert {name: counted[name] for name in worst} == worst
        assert counted["devices"] == len(IDS)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=25), st.booleans())
async def test_every_device_ends_with_what_counts(script: list[tuple[Any, ...]], many: bool) -> None:
    """After any script the devices agree with the ledger, and the ledger with the model; also when each edit is one of
    too many to be announced."""
    with pytest.MonkeyPatch.context() as patched:
        if many:
            patched.setattr(fleets, "MOST_REACHED", 0)
            patched.setattr(fleets, "FEW_EDITS", 0)
        await end_with_what_counts(script)


async def end_with_what_counts(script: list[tuple[Any, ...]]) -> None:
    async with fleet(*IDS) as world:
        run = Run(world)
        await run.layer("low", {})
        await run.layer("high", {"labels": {"site": ["bonn"]}})
        try:
            for step in script:
                await run.take(step)
            await run.check()
        finally:
            if run.world is not world:
                await run.world.messages.close()
