"""Effective values as requests show them, encoded once for all devices with a view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from hivewire.actions import device_configuration
from hivewire.actions.device_configuration import TRIES
from hivewire.fleet import effective, views
from hivewire.fleet.effective import EffectiveRows
from hivewire_protocol.errors import TooLarge
from hivewire_protocol.nouns.device_configuration import DeviceEffective, DeviceEffectiveReply
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.tenant.steps import Steps, at_once
from tests.rooms.fleets import ADMIN, DEVICE_RIGHTS, fleet
from tests.rooms.test_reports import reported


async def test_values_that_fit_into_no_answer_are_not_all_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device may have 100,000 of them, and the event loop serves nobody else meanwhile."""
    async with fleet("a") as world:
        await world.put("global", **{f"n{number:02}": "v" for number in range(50)})
        monkeypatch.setattr(effective, "MAX_REPLY", 3_000)
        made: list[str] = []
        row = EffectiveRows._row
        monkeypatch.setattr(EffectiveRows, "_row", lambda rows, view, name: made.append(name) or row(rows, view, name))
        assert await world.no("device/effective", deviceId="a") == (413, TooLarge.text)
        assert 1 < len(made) < 45
        made.clear()
        monkeypatch.setattr(effective, "MAX_REPLY", 1_000)
        await world.put("global", n00="w")  # what was made is forgotten
        assert await world.no("device/effective", deviceId="a") == (413, TooLarge.text)
        assert not made
        [shown] = (await world.do("device/effective", deviceId="a", names=["n49"]))["configurations"]
        assert shown["name"] == "n49"


async def test_others_are_served_while_many_effective_values_are_made(
    monkeypatch: pytest.MonkeyPatch, steps_of: Callable[..., list[int]]
) -> None:
    """Between any two values, and while their names are put in order. For single names no others are looked at."""
    async with fleet("a") as world:
        await world.put("global", **{f"n{number}": "v" for number in range(9)})
        await world.put("device/a", **{f"m{number}": "v" for number in range(9)})
        steps = steps_of(device_configuration)
        await world.has("a")
        assert not steps  # they are few
        monkeypatch.setattr(device_configuration, "AT_ONCE", 17)
        monkeypatch.setattr(views, "RUN", 17)
        for names, count in ((["n0", "m1", "x"], 3 + 2), (None, 2 + 18 + 18), (None, 0), (["n*"], 0)):
            if count:
                await world.put("global", n0="w")  # what was made is forgotten
            await world.do("device/effective", deviceId="a", names=names)
            assert steps.pop() == count
            assert not steps


@pytest.mark.parametrize(
    ("made", "action", "members", "shown"),
    [
        (1, "configuration/put", {"layer": "global", "name": "a", "value": "1"}, {"a": "1", "b": "0"}),
        (1, "configuration/delete", {"layer": "global", "name": "b"}, {"a": "0"}),
        (2, "configuration/put", {"layer": "global", "name": "a", "value": "1"}, {"a": "1", "b": "0"}),
        (2, "configuration/put", {"layer": "device/a", "name": "a", "value": "1"}, {"a": "1", "b": "0"}),
        (2, "schema/put", {"names": "a", "secret": True}, {"a": None, "b": "0"}),
    ],
)
async def test_many_effective_values_are_those_of_one_moment(
    monkeypatch: pytest.MonkeyPatch, made: int, action: str, members: dict[str, Any], shown: dict[str, str]
) -> None:
    """When they change while they are made, they are made again."""
    monkeypatch.setattr(device_configuration, "AT_ONCE", 1)
    async with fleet("a") as world:
        await world.put("global", a="0", b="0")

        async def once(times: int) -> None:
            if times == 1:
                await world.do(action, **members)

        times = interrupted(monkeypatch, made, once)
        assert await world.has("a") == shown
        assert times == [1, 2]


def interrupted(monkeypatch: pytest.MonkeyPatch, made: int, meanwhile: Callable[[int], Awaitable[object]]) -> list[int]:
    """Calls a function, with the number of the try, each time that so many values are made. Returns the tries."""
    times: list[int] = []

    async def in_slices(steps: Steps[Any]) -> Any:
        times.append(len(times) + 1)
        for _ in range(made):
            next(steps)
        await meanwhile(times[-1])
        return at_once(steps)

    monkeypatch.setattr(device_configuration, "in_slices", in_slices)
    return times


async def test_effective_values_that_change_all_the_time_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries, so that the request is answered."""
    monkeypatch.setattr(device_configuration, "AT_ONCE", 1)
    async with fleet("a") as world:
        await world.put("global", a="0", b="0")
        times = interrupted(monkeypatch, 1, lambda number: world.put("global", a=str(number)))
        assert await world.has("a") == {"a": str(TRIES), "b": "0"}
        assert len(times) == TRIES


async def test_effective_values_are_put_together_as_they_are_declared() -> None:
    """From rows that are encoded once: the bytes are those of the declared reply, for operators and for devices."""
    async with fleet("a", "b") as world:
        await world.put("global", n="1", m='"ü"', secret="s", gone="2", **{"n.x": "3", "n.y": "4"})
        await world.put("device/a", n="own")
        await world.do(
            "rollout/start",
            layer="global",
            changes=[{"operation": "put", "name": "m", "value": "5"}],
            steps=[{"percent": 100}],
        )
        tags = {
            each["name"]: each["tag"] for each in (await world.do("device/effective", deviceId="a"))["configurations"]
        }
        await world.do("schema/put", names="secret", secret=True)
        await reported(
            world,
            "a",
            {"name": "n", "tag": tags["n"]},
            {"name": "n.x", "tag": tags["n.x"], "error": "no"},
            {"name": "gone", "value": "else"},
            {"name": "secret", "tag": tags["secret"], "error": "s is too short"},
            {"name": "k", "value": "its own"},
            {"name": "none", "tag": None},
        )
        own = world.caller(ADMIN, DEVICE_RIGHTS, d=["a"])
        for caller in (world.admin, own):
            for names in (None, ["n*"], ["n.y", "secret", "n.x", "zz"], ["gone", "k", "n*"]):
                reply = await world.ask(DeviceEffective(deviceId="a", names=names), caller)
                members = b"{%b}" % reply.members()
                declared = msgspec.json.decode(members, type=DeviceEffectiveReply)
                assert msgspec.json.encode(declared) == members
                wanted = EVERYTHING if names is None else Patterns(names)
                every = ["gone", "k", "m", "n", "n.x", "n.y", "secret"]
                shown = [each.name for each in declared.configurations]
                assert shown == [name for name in every if name in wanted and (caller is world.admin or name != "k")]
        found = {each["name"]: each for each in (await world.do("device/effective", deviceId="a"))["configurations"]}
        assert [found[name]["state"] for name in ("n", "n.x", "gone", "secret", "k", "m")] == [
            "applied",
            "refused",
            "local",
            "refused",
            "local",
            "pending",
        ]
        assert (found["n"]["hidden"], found["m"]["rollout"], found["secret"]["value"]) == (["global"], 1, None)
        assert "too short" not in str(found["secret"]) and "tag" not in found["secret"]


async def test_encoded_effective_values_are_those_of_now() -> None:
    """After an edit, and when the values of a name become secret or public."""
    async with fleet("a") as world:
        await world.put("global", n="1")
        assert await world.has("a") == {"n": "1"}
        await world.put("global", n="2", m="3")
        assert await world.has("a") == {"n": "2", "m": "3"}
        await world.do("schema/put", names="n", secret=True)
        assert await world.has("a") == {"n": None, "m": "3"}
        await world.do("schema/delete", names="n")
        await world.put("global", m=None)
        assert await world.has("a") == {"n": "2"}


async def test_encoded_effective_values_take_so_much_memory() -> None:
    """Those of the view that came first are dropped first."""
    ids = [f"d-{number}" for number in range(20)]
    async with fleet(*ids) as world:
        for each in ids:
            await world.put(f"device/{each}", n="x" * 1_000)
        rows = EffectiveRows(world.services.schemas, 5_000)
        views = [*world.services.fleet.views]
        assert len(views) == 20
        for _ in range(2):
            for view in views:
                [row] = at_once(rows.of(view, EVERYTHING)) or []
                assert b"x" * 1_000 in row.head
                assert 0 < rows.size <= 5_000
        named = EffectiveRows(world.services.schemas)
        at_once(named.of(views[0], Patterns(["n"])))
        before = named.size
        at_once(named.of(views[0], EVERYTHING))
        assert named.size == before + effective.ENTRY_BYTES  # the names of the view
        large = EffectiveRows(world.services.schemas, 500)
        assert [row.name for row in at_once(large.of(views[0], EVERYTHING)) or []] == ["n"]
        assert large.size == 0
