"""A fleet whose gateways are killed: whatever happens to layers, labels, devices and rollouts, at rest every device has
just what counts for it, counts are those of a recount, and no answered write is lost (fleet.md, section 12).

`tests/rooms/test_fleet_model.py` does the same in one process, with many more scripts.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench.nodes import PASSWORD as STORE_PASSWORD

from hivewire_client import Backoff, Hivewire
from tests.rooms.test_fleet_model import IDS, LAYERS, NAMES, SITES, Model
from tests.running import PATIENCE, RunningGateway, Talk

ROLLED = "rolled"
"""The name that only rollouts change."""

TARGETS: list[dict[str, Any]] = [{}, {"labels": {"site": ["bonn"]}}, {"networkIds": [2]}, {"percent": 50}]
GATE = {"wait": 0, "minimum": 0, "failures": 0, "success": 60, "silent": 2}
MINT = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
PAUSE = 0.05


class Place:
    """A gateway that can be killed and started again, at the same address and over the same file."""

    def __init__(self, data: Path, *flags: str, **environment: str) -> None:
        self._start = partial(RunningGateway, data, env=environment)
        self._flags = flags
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it."""
        self.gateway = self._start(f"--port={self.port}", *self._flags)
        self.port = self.gateway.port
        self.talk: Talk = self.gateway.socket()

    def kill(self) -> None:
        """End it without a word."""
        self.gateway.stop(signal.SIGKILL)


class Device:
    """A device that applies what it is told, but for values with a 6, over whatever connections there are."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.have: dict[str, str] = {}

    def apply(self, name: str, value: str | None) -> str | None:
        """What the client calls."""
        if value is not None and "6" in value:
            return "unsupported"
        self.have[name] = value or ""
        if value is None:
            del self.have[name]
        return None


class Run:
    """The gateways, the devices, and the model beside them."""

    def __init__(self, places: list[Place], seed: int) -> None:
        self.places = places
        self.random = random.Random(seed)
        self.model = Model()
        self.devices = {each: Device(each) for each in IDS}
        self.kills = 0

    async def ask(self, action: str, place: Place | None = None, **members: Any) -> Any:
        """The answer of one gateway."""
        talk = (place or self.random.choice(self.places)).talk
        answer = await asyncio.to_thread(talk, action, **members)
        assert answer["status"] == "success" or answer["code"] < 500, answer
        return answer

    async def done(self, action: str, **members: Any) -> bool:
        """Whether a request was not refused."""
        return bool((await self.ask(action, **members))["status"] == "success")

    async def prepare(self) -> None:
        """A second network, two layers, and the devices, each with a token of its own."""
        first = partial(self.ask, place=self.places[0])
        for each in (await first("device/list"))["devices"]:  # an example
            await first("device/delete", deviceId=each["id"])
        await first("network/insert", network={"name": "second"})
        await first("layer/put", layer="low", rank=5, target={})
        await first("layer/put", layer="high", rank=6, target={"labels": {"site": ["bonn"]}})
        for each in IDS:
            await first("device/save", deviceId=each, device={"name": each})
            assert (await first("configuration/put", layer=f"device/{each}", name="own", value="1"))["revision"]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The devices run."""
        urls = [place.gateway.url for place in self.places]
        async with AsyncExitStack() as stack:
            for device in self.devices.values():
                made = await self.ask("token/create", self.places[0], payload=MINT | {"deviceIds": [device.id]})
                client = Hivewire(urls, token=made["accessToken"], names=[], backoff=Backoff(0.01, 0.1))
                listener = await (await stack.enter_async_context(client)).device(device.id).__aenter__()
                task = asyncio.create_task(listener.run(device.apply))
                stack.push_async_callback(asyncio.wait, {task})
                stack.push_async_callback(listener.close)
            yield

    # Steps of a script.

    async def put(self) -> None:
        layer, name, value = self.random.choice(LAYERS), self.random.choice(NAMES), str(self.random.randrange(100))
        if await self.done("configuration/put", layer=layer, name=name, value=value):
            self.model.values[layer, name] = value

    async def delete(self) -> None:
        layer, name = self.random.choice(LAYERS), self.random.choice(NAMES)
        if await self.done("configuration/delete", layer=layer, name=name):
            del self.model.values[layer, name]

    async def label(self) -> None:
        device, site = self.random.choice(IDS), self.random.choice(SITES)
        if await self.done("device/label", deviceId=device, labels={"site": site} if site else {}):
            self.model.labels[device] = site

    async def move(self) -> None:
        device, network = self.random.choice(IDS), self.random.randint(1, 2)
        if await self.done("device/save", deviceId=device, device={"networkId": network}):
            self.model.networks[device] = network

    async def layer(self) -> None:
        layer, target = self.random.choice(LAYERS[1:3]), self.random.choice(TARGETS)
        if await self.done("layer/put", layer=layer, rank=5 if layer == "low" else 6, target=target):
            self.model.targets[layer] = target

    async def roll(self) -> None:
        change = {"operation": "put", "name": ROLLED, "value": str(self.random.randrange(100))}
        steps = [{"deviceIds": [self.random.choice(IDS)]}, {"percent": 100}]
        layer = self.random.choice(LAYERS)
        await self.done("rollout/start", layer=layer, changes=[change], steps=steps, gate=GATE)

    async def decide(self) -> None:
        for each in (await self.ask("rollout/list"))["rollouts"]:
            action = self.random.choice(("hold", "resume", "rollback"))
            await self.done(f"rollout/{action}", rollout=each["rollout"])

    async def kill(self) -> None:
        """While a write is under way: it is there or not, as a whole, and all that was answered before is."""
        place = self.random.choice(self.places)
        value = str(self.random.randrange(100, 200))
        changes = [{"operation": "put", "layer": "global", "name": name, "value": value} for name in NAMES]
        writing = asyncio.to_thread(place.talk, "configuration/transact", changes=changes)
        killing = asyncio.to_thread(self._kill, place, self.random.random() / 100)
        answer: Any = (await asyncio.gather(writing, killing, return_exceptions=True))[0]
        await asyncio.to_thread(place.start)
        self.kills += 1
        found = (await self.ask("configuration/list", place, layer="global", fresh=True))["configurations"]
        stands = {each["name"]: each["value"] for each in found if each["name"] in NAMES}
        after, before = dict.fromkeys(NAMES, value), self.model.values
        if isinstance(answer, dict) and answer["status"] == "success":
            assert stands == after, "it was answered"
        if stands == after:
            before.update({("global", name): value for name in NAMES})
        assert stands == {name: before["global", name] for name in NAMES if ("global", name) in before}

    @staticmethod
    def _kill(place: Place, seconds: float) -> None:
        time.sleep(seconds)
        place.kill()

    async def step(self) -> None:
        """Any of them."""
        steps: list[Callable[[], Awaitable[None]]] = [self.put, self.put, self.delete, self.label, self.move]
        await self.random.choice([*steps, self.layer, self.roll, self.decide])()

    # At rest.

    async def end_rollouts(self) -> None:
        """Roll back what has not completed."""
        for each in (await self.ask("rollout/list", self.places[0]))["rollouts"]:
            await self.done("rollout/rollback", rollout=each["rollout"])

    async def agree(self) -> None:
        """Return when devices, counts, the model and all gateways agree."""
        until = time.monotonic() + PATIENCE
        while odd := [each for place in self.places for each in await self.odd(place)]:
            assert time.monotonic() < until, odd
            await asyncio.sleep(PAUSE)

    async def odd(self, place: Place) -> list[Any]:
        """What does not fit yet at a gateway."""
        values = {
            (layer, each["name"]): each["value"]
            for layer in LAYERS
            for each in (await self.ask("configuration/list", place, layer=layer, fresh=True))["configurations"]
        }
        assert {key: value for key, value in values.items() if key[1] in NAMES} == self.model.values
        odd: list[Any] = []
        worst: Counter[str] = Counter()
        for each, device in self.devices.items():
            found = (await self.ask("device/effective", place, deviceId=each))["configurations"]
            rows = {one["name"]: one for one in found}
            expected = self.model.counts(each, values, (*NAMES, ROLLED)) | {"own": "1"}
            assert {name: row["value"] for name, row in rows.items()} == expected, each
            for name, row in rows.items():
                wanted = "refused" if "6" in row["value"] else "applied"
                if row["state"] != wanted or (wanted == "applied" and device.have.get(name) != row["value"]):
                    odd.append((each, name, row["state"], row["value"], device.have.get(name)))
            odd += [(each, name) for name in device.have.keys() - rows.keys()]
            worst["refused" if "refused" in {row["state"] for row in rows.values()} else "applied"] += 1
        counted = await self.ask("fleet/count", place)
        shown = {name: counted[name] for name in ("devices", "online", "applied", "refused", "pending", "local")}
        wanted_counts = {"devices": len(IDS), "online": len(IDS), "pending": 0, "local": 0, **worst}
        return odd or [shown] * any(shown[name] != number for name, number in wanted_counts.items())


@asynccontextmanager
async def run_of(places: Callable[[], list[Place]], seed: int) -> AsyncIterator[Run]:
    """A run whose gateways are ended at the end."""
    started = await asyncio.to_thread(places)
    try:
        yield Run(started, seed)
    finally:
        for place in started:
            await asyncio.to_thread(place.kill)


async def carried_out(run: Run, kills: int, steps: int) -> None:
    """So many kills with so many steps before each, and then rest."""
    await run.prepare()
    async with run.listening():
        for _ in range(kills):
            for _ in range(steps):
                await run.step()
            await run.kill()
        await run.end_rollouts()
        await run.agree()
    assert run.kills == kills


@pytest.mark.parametrize(
    ("kills", "steps"), [(2, 12), pytest.param(30, 40, marks=(pytest.mark.long, pytest.mark.timeout(900)))]
)
async def test_a_killed_gateway_and_its_devices_agree_at_rest(tmp_path: Path, kills: int, steps: int) -> None:
    """One gateway over SQLite."""
    async with run_of(lambda: [Place(tmp_path / "hivewire.db")], seed=kills) as run:
        await carried_out(run, kills, steps)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_three_gateways_of_which_some_are_killed_agree_at_rest(
    clusters: Callable[[int], str], tmp_path: Path
) -> None:
    """On one log in NATS: devices go on at another gateway, and each knows what was said to the others."""
    store = clusters(1).format(site=secrets.token_hex(8))

    def places() -> list[Place]:
        return [
            Place(tmp_path / f"{number}.db", f"--store={store}", HIVEWIRE_STORE_PASSWORD=STORE_PASSWORD)
            for number in range(3)
        ]

    async with run_of(places, seed=3) as run:
        await carried_out(run, 12, 30)
