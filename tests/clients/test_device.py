"""The Python client as a device: it ends with what counts, and says so, whatever its connections do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hivewire_client import Backoff, Denied, DesiredChange, Device, Hivewire, NotFound, Stopped, sync
from hivewire_client.device import MOST_NAMES
from tests.clients.gateways import FleetGateway
from tests.running import PATIENCE


@pytest.fixture
def gateway() -> Iterator[FleetGateway]:
    """A gateway with the device `dev`."""
    with FleetGateway() as gateway:
        gateway.do("device/save", deviceId="dev", device={"name": "dev"})
        yield gateway


@asynccontextmanager
async def connected(gateway: FleetGateway, cache: Path | None = None, **options: Any) -> AsyncIterator[Device]:
    """The device, which waits hardly at all before it connects again."""
    async with (
        asyncio.timeout(PATIENCE),
        Hivewire(gateway.url, token=gateway.device_token("dev"), names=[], backoff=Backoff(0.01, 0.02)) as hw,
        hw.device("dev", cache=cache, **options) as device,
    ):
        yield device


async def applied(device: Device, count: int) -> dict[str, str | None]:
    """Apply so many changes; what they were."""
    found: dict[str, str | None] = {}
    for _ in range(count):
        change = await device.next()
        found[change.name] = change.value
        change.applied()
    return found


async def states(gateway: FleetGateway) -> dict[str, tuple[str, str]]:
    """Of each name of the device the value that counts and its state."""
    return await asyncio.to_thread(gateway.states, "dev")


async def put(gateway: FleetGateway, layer: str, **values: str | None) -> None:
    """Put values into a layer."""
    await asyncio.to_thread(gateway.put, layer, **values)


async def test_a_device_answers_each_change(gateway: FleetGateway) -> None:
    """What it applied, refused, and has no more; the layers decide what it is sent."""
    gateway.put("global", baud="4800", port="1")
    gateway.put("device/dev", baud="9600")
    async with connected(gateway) as device:
        async for change in device.configuration():
            if change.name == "baud":
                assert (change.value, change.decode(int), change.gone, len(change.tag or "")) == (
                    "9600",
                    9600,
                    False,
                    12,
                )
                change.refused("unsupported rate")
            else:
                change.applied()
                break
        await device.report()
        assert await states(gateway) == {"baud": ("9600", "refused"), "port": ("1", "applied")}
        found = await asyncio.to_thread(gateway.do, "device/effective", deviceId="dev", names=["baud"])
        assert found["configurations"][0]["reported"]["error"] == "unsupported rate"
        await put(gateway, "device/dev", baud=None)
        await put(gateway, "global", port=None)
        assert await applied(device, 2) == {"baud": "4800", "port": None}
        await device.report()
        assert await states(gateway) == {"baud": ("4800", "applied")}


async def test_a_put_of_the_same_value_insists(gateway: FleetGateway) -> None:
    """A refused value and one that the device has replaced by its own come again, and an applied one does not."""
    gateway.put("global", refused="1", own="1", good="1")
    async with connected(gateway) as device:
        for _ in range(3):
            change = await device.next()
            change.refused("no") if change.name == "refused" else change.applied()
        await device.report({"own": 7, "fact": {"a": 1}})
        assert await states(gateway) == {
            "refused": ("1", "refused"),
            "own": ("1", "local"),
            "good": ("1", "applied"),
            "fact": (None, "local"),
        }
        gateway.drop()  # it does not come back with what was decided
        await device.report({"fact": None})
        await put(gateway, "global", refused="1", own="1", good="1")
        assert await applied(device, 2) == {"refused": "1", "own": "1"}
        await device.report()
        assert {state for _, state in (await states(gateway)).values()} == {"applied"}
        with pytest.raises(ValueError, match="1,024 characters"):
            await device.report({"fact": "x" * 1_025})


async def test_only_the_last_unread_change_of_a_name_is_held(gateway: FleetGateway) -> None:
    """However many come: the last value, and none for a name that is again what the device has."""
    gateway.put("global", a="1", b="1")
    async with connected(gateway) as device:
        await applied(device, 2)
        for number in range(50):
            await put(gateway, "global", a=str(number), b=str(number))
        await put(gateway, "global", b="1", last="1")
        assert await applied(device, 2) == {"a": "49", "last": "1"}
        assert not device._unread


async def test_a_change_that_is_not_answered_comes_again(gateway: FleetGateway, tmp_path: Path) -> None:
    """After a restart with a file only that and what is different comes, and what is gone meanwhile."""
    gateway.put("global", done="1", doing="1", gone="1")
    async with connected(gateway, tmp_path / "cache") as device:
        found = {(change := await device.next()).name: change for _ in range(3)}
        found["done"].applied()
        found["gone"].applied()
        gateway.drop()
        await put(gateway, "global", more="1")
        assert (await device.next()).name == "more"  # nothing comes twice while it is being applied
    found["doing"].applied()  # too late
    gateway.put("global", gone=None)
    async with connected(gateway, tmp_path / "cache") as device:
        assert await applied(device, 3) == {"doing": "1", "more": "1", "gone": None}
        await device.report()
    async with connected(gateway, tmp_path / "cache") as device:
        await device.report()
        assert not device._unread
    assert {state for _, state in gateway.states("dev").values()} == {"applied"}
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o600


async def test_what_is_gone_after_the_data_were_replaced(gateway: FleetGateway, tmp_path: Path) -> None:
    """A new ledger has other tags and names: all that it has comes, and of what it has not that it is gone."""
    gateway.put("global", old="1", both="1")
    async with connected(gateway, tmp_path / "cache") as device:
        await applied(device, 2)
    gateway.lose_history()
    gateway.do("device/save", deviceId="dev", device={"name": "dev"})
    gateway.put("global", both="2")
    async with connected(gateway, tmp_path / "cache") as device:
        assert await applied(device, 2) == {"old": None, "both": "2"}
        await device.report()
    assert gateway.states("dev") == {"both": ("2", "applied")}


@pytest.mark.parametrize("drops", [50, pytest.param(1_000, marks=pytest.mark.long)])
async def test_through_drops_and_restarts(gateway: FleetGateway, tmp_path: Path, drops: int) -> None:
    """Connections are cut while values and labels change, and the program starts anew: it ends with what counts."""
    chance = random.Random(7)
    has: dict[str, str] = {}
    gateway.do("layer/put", layer="odd", rank=5, target={"labels": {"odd": ["yes"]}})

    async def apply(name: str, value: str | None) -> str | None:
        if value is not None and value.startswith("bad"):
            return "bad"
        has.pop(name, None)
        if value is not None:
            has[name] = value
        return None

    for _ in range(5):
        async with connected(gateway, tmp_path / "cache") as device:
            running = asyncio.create_task(device.run(apply))
            for number in range(drops // 5):
                value = chance.choice([None, "bad", "good"])
                name, layer = f"n{chance.randrange(6)}", chance.choice(["global", "odd", "device/dev"])
                try:
                    await put(gateway, layer, **{name: value and f"{value}{number}"})
                except Exception as error:
                    assert value is None and "not found" in str(error)
                if chance.random() < 0.3:
                    label = {"odd": chance.choice(["yes", "no"])}
                    await asyncio.to_thread(gateway.do, "device/label", deviceId="dev", labels=label)
                while chance.random() < 0.99 and not (gateway.connections and device.live):
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(gateway.drop)
        await running
    async with connected(gateway, tmp_path / "cache") as device:
        running = asyncio.create_task(device.run(apply))
        await put(gateway, "device/dev", n0="bad", n1="good")
        await device.report()
        while "pending" in {state for _, state in (await states(gateway)).values()}:
            await device.report()
    await running
    found = gateway.states("dev")
    assert {name for name, (value, _) in found.items() if value.startswith("bad")} == {
        name for name, (_, state) in found.items() if state == "refused"
    }
    assert found["n0"] == ("bad", "refused")
    assert {name: has[name] for name, (_, state) in found.items() if state == "applied"} == {
        name: value for name, (value, state) in found.items() if state == "applied"
    }


async def test_a_function_that_fails_refuses(gateway: FleetGateway) -> None:
    """With its words; and what the gateway leaves out is refused without it."""
    gateway.put("global", odd="x", long="x" * 2_000)

    def apply(name: str, value: str | None) -> str | None:
        return str(int(value or "0"))

    async with connected(gateway, frame_bytes=1_024) as device:
        running = asyncio.create_task(device.run(apply))
        while {state for _, state in (await states(gateway)).values()} != {"refused"}:
            await device.report()
        found = await asyncio.to_thread(gateway.do, "device/effective", deviceId="dev")
    await running
    errors = {each["name"]: each["reported"]["error"] for each in found["configurations"]}
    assert errors["long"] == "the value is binary or too long" and errors["odd"].startswith("ValueError: invalid")


async def test_too_many_reports_wait_as_told(gateway: FleetGateway) -> None:
    """After 20 at once the gateway wants one a second: a later one waits, and then all is counted."""
    async with connected(gateway) as device:
        for number in range(22):
            await device.report({"n": number})
        assert gateway.do("device/effective", deviceId="dev")["configurations"][0]["reported"] == {"value": "21"}


async def test_many_names_take_several_reports(
    gateway: FleetGateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many names those that were refused are there, and a warning says that there are more."""
    gateway.put("global", **{f"n{number:03}": "1" for number in range(MOST_NAMES + 10)})
    async with connected(gateway) as device:
        for _ in range(MOST_NAMES + 10):
            change = await device.next()
            change.refused("x" * 500) if change.name.endswith("9") else change.applied()
        await device.report()
        found = [state for _, state in gateway.states("dev").values()]
        assert (found.count("refused"), found.count("applied"), caplog.text) == (26, MOST_NAMES - 16, "")
        monkeypatch.setattr("hivewire_client.device.REPORTS", 1)
        await device.report()
        found = [state for _, state in gateway.states("dev").values()]
        assert (found.count("refused"), found.count("pending") >= 10) == (26, True)
        assert "names" in caplog.text


async def test_a_device_that_may_not_listen_is_told(gateway: FleetGateway) -> None:
    """At once over an open connection, later in its loop; and when it is deleted meanwhile."""
    gateway.do("device/save", deviceId="other", device={"name": "other"})
    async with Hivewire(gateway.url, token=gateway.device_token("dev"), names=[], backoff=Backoff(0.01)) as hw:
        await hw.ready(PATIENCE)
        with pytest.raises(Denied, match="not one of device"):
            await hw.device("other").__aenter__()
    async with Hivewire(gateway.url, token=gateway.device_token("dev"), names=[]) as hw, hw.device("other") as device:
        with pytest.raises(Denied, match="not one of device"):
            await device.next()
    async with connected(gateway) as device:
        await device.report()
        await asyncio.to_thread(gateway.do, "device/delete", deviceId="dev")
        with pytest.raises(NotFound):
            await device.report()


async def test_its_loops_end_with_it(gateway: FleetGateway) -> None:
    """And what waits for a report is told that there is none."""
    async with connected(gateway) as device:
        await device.report()
    with pytest.raises(Stopped):
        await device.report()
    assert [change async for change in device.configuration()] == []


async def test_another_device_or_other_names_do_not_continue(gateway: FleetGateway, tmp_path: Path) -> None:
    """The position of a file counts for its names only, and a file of another device not at all."""
    gateway.put("global", a1="1", b1="1")
    async with connected(gateway, tmp_path / "cache", names=["a*"]) as device:
        assert await applied(device, 1) == {"a1": "1"}
    async with connected(gateway, tmp_path / "cache", names=["b*"]) as device:
        assert await applied(device, 1) == {"b1": "1"}
        await device.report()
    assert {state for _, state in gateway.states("dev").values()} == {"applied"}
    (tmp_path / "cache").write_text((tmp_path / "cache").read_text().replace('"dev"', '"other"'))
    async with connected(gateway, tmp_path / "cache") as device:
        assert await applied(device, 2) == {"a1": "1", "b1": "1"}


def test_without_asyncio(gateway: FleetGateway) -> None:
    """The same in threads."""
    gateway.put("global", a="1", b="2", c="3")
    token = gateway.device_token("dev")
    seen: list[tuple[str, str | None]] = []
    with sync.Hivewire(gateway.url, token=token, names=[]) as hw, hw.device("dev") as device:
        changes: Iterator[DesiredChange] = device.configuration()
        device.applied(next(changes))
        device.refused(next(changes), "no")

        def apply(name: str, value: str | None) -> str | None:
            seen.append((name, value))
            hw.close()
            return None

        device.report({"fact": 1})
        assert hw.effective("dev")["a"].value == "1"
        device.run(apply)
    assert seen == [("c", "3")]
    assert [state for _, state in gateway.states("dev").values()] == ["applied", "refused", "pending", "local"]
