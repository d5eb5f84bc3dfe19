"""Rollouts: who sees the new values when, and what becomes of a rollout (fleet.md, sections 6 and 12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs
from structlog.testing import capture_logs

from hivewire.access.users import UserContent
from hivewire.fleet import conditions, progress, rollouts
from hivewire.fleet.layers import Written
from hivewire.fleet.rollouts import Rollout, RolloutContent, decide, gate_of
from hivewire.ledger.records import Change
from hivewire_protocol.errors import Conflict, OutOfBounds
from hivewire_protocol.nouns.layer import split
from hivewire_protocol.nouns.rollout import Gate, RolloutChange, RolloutCounts, Step
from hivewire_protocol.nouns.user import Role, Status
from tests.rooms.fleets import ANN, World, fleet
from tests.rooms.test_device_subscription import Device
from tests.rooms.test_hub import Peer
from tests.rooms.test_reports import reported, tags

SOON = {"wait": 0, "minimum": 0}


def put(**values: str) -> list[dict[str, str]]:
    """Changes that put values."""
    return [{"operation": "put", "name": name, "value": value} for name, value in values.items()]


async def start(world: World, *steps: Any, gate: Any = SOON, layer: str = "global", **values: str) -> int:
    """Start a rollout; its number."""
    given = {"layer": layer, "changes": put(**values), "steps": [*steps, {"percent": 100}], "gate": gate}
    number = int((await world.do("rollout/start", **given))["rollout"])
    await world.quiet()
    return number


async def state(world: World, number: int) -> tuple[str, int, Any]:
    """State, step and reason of a rollout."""
    found = (await world.do("rollout/get", rollout=number))["rollout"]
    return found["state"], found["step"], found["reason"]


async def counts(world: World, number: int) -> dict[str, int]:
    """The counts of a rollout that are not 0."""
    found = (await world.do("rollout/get", rollout=number))["rollout"]["counts"]
    return {name: value for name, value in found.items() if value}


async def judge(world: World, seconds: float = 0) -> None:
    """Let time pass and the gateway decide."""
    world.clock.time += round(seconds * 1_000)
    await world.services.progress.judge()
    await world.quiet()


class Devices:
    """Devices that apply what they are sent, or do not."""

    def __init__(self, world: World, *ids: str) -> None:
        self.world = world
        self.peers = {each: world.follow(each) for each in ids}
        self.have: dict[str, dict[str, Any]] = {each: {} for each in ids}

    async def listen(self, refuse: Any = (), silent: Any = ()) -> None:
        """Take what was sent; report it, some refusing and some not at all."""
        await self.world.quiet()
        for device, peer in self.peers.items():
            news = _configurations(peer)
            for each in news:
                self.have[device][each["name"]] = each["value"]
            if news and device not in silent:
                error = {"error": "unsupported rate"} if device in refuse else {}
                entries = [{"name": each["name"], "tag": each["tag"], **error} for each in news]
                await reported(self.world, device, *entries)

    def values(self, name: str) -> dict[str, Any]:
        """What each has of a name."""
        return {device: have.get(name) for device, have in self.have.items()}


def _configurations(peer: Peer) -> list[Any]:
    found: list[Any] = []
    for frame in peer.taken():
        found += frame.get("configurations", ())
        found += [frame["configuration"]] if "configuration" in frame else []
    return found


async def test_a_rollout_shows_itself_step_by_step_and_is_written_at_the_end() -> None:
    """Until then the layer says what it said. The end pushes nothing, and the tag stays the same."""
    ids = [f"d-{number}" for number in range(10)]
    async with fleet(*ids) as world:
        await world.put("global", n="old")
        devices = Devices(world, *ids)
        await devices.listen()
        number = await start(world, {"deviceIds": ids[:2]}, n="new")
        await devices.listen()
        assert [device for device, value in devices.values("n").items() if value == "new"] == ids[:2]
        found = (await world.do("device/effective", deviceId=ids[0]))["configurations"][0]
        assert (found["rollout"], found["layer"], found["entityVersion"]) == (number, "global", 0)
        assert (found["state"], "hidden" in found) == ("applied", False)
        assert (await world.do("configuration/get", name="n", layer="global"))["configuration"]["value"] == "old"
        assert await counts(world, number) == {"reached": 2, "applied": 2}
        await judge(world)
        await devices.listen()
        assert {*devices.values("n").values()} == {"new"}
        assert await state(world, number) == ("running", 2, None)
        before = world.ledger.revision
        await judge(world)
        assert (await state(world, number))[0] == "completed"
        assert world.ledger.revision == before + 1
        assert all(peer.taken() == [] for peer in devices.peers.values())
        after = (await world.do("device/effective", deviceId=ids[0]))["configurations"][0]
        assert (after["tag"], after["state"]) == (found["tag"], "applied")
        last = (await world.do("configuration/history", name="n", layer="global"))["changes"][0]
        assert (last["revision"], last["description"], last["modifiedBy"]) == (before + 1, f"rollout {number}", "admin")


async def test_steps_add_up() -> None:
    """A later step that names other devices takes nothing away from those of the steps before."""
    async with fleet("a", "b", "c") as world:
        devices = Devices(world, "a", "b", "c")
        number = await start(world, {"deviceIds": ["a"]}, {"deviceIds": ["b"]}, n="1")
        await devices.listen()
        assert devices.values("n") == {"a": "1", "b": None, "c": None}
        await judge(world)
        await devices.listen()
        assert (await state(world, number))[1] == 2
        assert devices.values("n") == {"a": "1", "b": "1", "c": None}


async def test_a_device_with_a_value_of_its_own_has_neither_applied_nor_failed() -> None:
    """It has answered, so it is not silent; and a step that needs it waits until the limit."""
    async with fleet("a") as world:
        gate = {"failures": 0, "wait": 0, "silent": 10, "limit": 100}
        number = await start(world, {"deviceIds": ["a"]}, gate=gate, n="1")
        world.follow("a")
        await reported(world, "a", {"name": "n", "value": "2"})
        await judge(world, 99)
        assert await counts(world, number) == {"reached": 1}
        assert (await state(world, number))[:2] == ("running", 1)
        await judge(world, 1)
        assert (await state(world, number))[0] == "held"


async def test_a_device_that_leaves_a_step_is_not_counted_any_more() -> None:
    """It was reached, and has none of the rollout's values now; it comes back as it was."""
    async with fleet("a", "b") as world:
        for device in ("a", "b"):
            await world.label(device, site="bonn")
        devices = Devices(world, "a", "b")
        number = await start(world, {"labels": {"site": ["bonn"]}}, n="1")
        await devices.listen(silent=["b"])
        assert await counts(world, number) == {"reached": 2, "applied": 1}
        await world.label("b")
        assert await counts(world, number) == {"reached": 1, "applied": 1}
        await world.label("b", site="bonn")
        assert await counts(world, number) == {"reached": 2, "applied": 1}


async def test_a_step_of_a_count_is_one_view(steps_of: Callable[..., list[int]]) -> None:
    """Each of its layers may have all names of the rollout, and devices may have a view each."""
    async with fleet(*"abc") as world:
        for each in "abc":
            await world.put(f"device/{each}", own="1")
        number = await start(world, n="1")
        steps = steps_of(progress)
        await world.do("rollout/get", rollout=number)
        assert steps == [3]


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, what: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    """Let something happen once, when this method of the owner has done its work and before its caller goes on."""
    method = getattr(owner, name)

    async def wrapped(*given: Any, **how: Any) -> Any:
        found = await method(*given, **how)
        monkeypatch.undo()
        await what()
        return found

    monkeypatch.setattr(owner, name, wrapped)


async def test_a_rollout_that_is_held_while_it_is_counted_stays_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was counted was about another state."""
    async with fleet("a", "b") as world:
        devices = Devices(world, "a", "b")
        number = await start(world, {"deviceIds": ["a", "b"]}, n="1")
        await devices.listen()
        progress = world.services.progress
        meanwhile(monkeypatch, progress, "count", lambda: world.do("rollout/hold", rollout=number))
        await progress.judge()
        assert (await state(world, number))[:2] == ("held", 1)


async def test_a_rollout_that_is_held_while_its_values_are_judged_stays_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was about to be completed; its layer is not written."""
    async with fleet("a") as world:
        devices = Devices(world, "a")
        number = await start(world, n="1")
        await devices.listen()
        meanwhile(monkeypatch, world.services.schemas, "settle", lambda: world.do("rollout/hold", rollout=number))
        await judge(world)
        assert (await state(world, number))[0] == "held"
        assert not world.services.fleet.layers.layer("global").values


async def test_a_hold_takes_no_rollout_back_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """It advances while its devices are counted for the hold."""
    async with fleet("a", "b") as world:
        devices = Devices(world, "a", "b")
        number = await start(world, {"deviceIds": ["a"]}, n="1")
        await devices.listen()
        progress = world.services.progress
        meanwhile(monkeypatch, progress, "count", progress.judge)
        await world.do("rollout/hold", rollout=number)
        assert (await state(world, number))[:2] == ("held", 2)


async def test_who_is_locked_while_values_are_judged_starts_no_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rights are looked at again."""
    async with fleet("a") as world:
        users = world.services.users
        locked = UserContent("", Role.ADMIN, status=Status.LOCKED_OUT)
        lock = users.write("admin", locked, None)
        meanwhile(monkeypatch, world.services.schemas, "settle", lambda: world.ledger.commit(lock))
        steps = [{"percent": 100}]
        code, _ = await world.no("rollout/start", layer="global", changes=put(n="1"), steps=steps)
        assert code == 401
        assert not world.services.fleet.rollouts


async def test_what_is_written_while_values_are_judged_is_in_what_undoes_a_rollout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the undo would restore an earlier value."""
    async with fleet("a") as world:
        await world.put("global", n="old")
        meanwhile(monkeypatch, world.services.schemas, "settle", lambda: world.put("global", n="newer"))
        number = await start(world, n="1")
        [change] = world.services.fleet.rollouts[number].content.before
        assert change.value == "newer"


async def test_a_rollout_that_cannot_be_advanced_keeps_no_other_one_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it, and whichever comes first; it is tried again."""
    async with fleet("a") as world:
        devices = Devices(world, "a")
        numbers = [await start(world, n="1"), await start(world, m="1")]
        await devices.listen()
        progress = world.services.progress
        count = progress.count

        async def fail_at_first(rollout: Rollout, **how: bool) -> tuple[RolloutCounts, list[str]]:
            return 1 / 0 if rollout.number == numbers[0] else await count(rollout, **how)  # type: ignore[return-value]

        monkeypatch.setattr(progress, "count", fail_at_first)
        await judge(world)
        monkeypatch.undo()
        assert [(await state(world, number))[0] for number in numbers] == ["running", "completed"]
        await judge(world)
        assert (await state(world, numbers[0]))[0] == "completed"


async def test_a_held_rollout_shows_itself_to_who_another_gateway_has_reached() -> None:
    """As soon as that is known here, without any other change."""
    async with fleet("a", "b") as world:
        number = await start(world, {"deviceIds": ["a"]}, n="1")
        await world.do("rollout/hold", rollout=number)
        await world.quiet()
        assert await world.has("b") == {}
        known = world.services.fleet.known("b")
        assert known is not None
        assert world.services.fleet.merge("b", known._replace(reached={number: world.clock.time}))
        assert await world.has("b") == {"n": "1"}


async def test_of_two_times_at_which_a_device_was_reached_the_first_one_counts() -> None:
    """Whichever gateway it was at, and whichever is heard first: its silence lasts since then."""
    async with fleet("a") as world:
        number = await start(world, {"deviceIds": ["a"]}, n="1")
        rollout, merge = world.services.fleet.rollouts[number], world.services.fleet.merge
        known = world.services.fleet.known("a")
        assert known is not None
        found = [
            (merge("a", known._replace(reached={number: at})), rollout.reached["a"]) for at in (50, 70, 50, 40, 60)
        ]
        assert found == [(True, 50), (False, 50), (False, 50), (True, 40), (False, 40)]


async def test_the_log_says_what_became_of_a_rollout() -> None:
    """Which step it began, and how it ended; as a warning with the reason where it does not go on."""
    async with fleet("a", "b", "c") as world:
        devices = Devices(world, "a", "b", "c")
        with capture_logs() as lines:
            tried = {"layer": "global", "changes": put(n="1"), "steps": [{"percent": 100}]}
            await world.do("rollout/start", **tried, dryRun=True)
            good = await start(world, {"deviceIds": ["a"]}, n="1")
            for _ in range(2):
                await devices.listen()
                await judge(world)
            bad = await start(world, {"deviceIds": ["a", "b", "c"]}, n="2")
            await devices.listen(refuse=("a", "b", "c"))
            await judge(world)
            await world.do("rollout/resume", rollout=bad, step=2)
            await world.do("rollout/rollback", rollout=bad)
        told = [(line["event"], line["rollout"], line["step"], line["log_level"], line.get("reason")) for line in lines]
        why = '3 of 3 reached devices failed (3 refused: "unsupported rate"); tolerated: 2, or 5%'
        assert told == [
            ("a rollout began a step", good, 1, "info", None),
            ("a rollout began a step", good, 2, "info", None),
            ("a rollout was completed", good, 2, "info", None),
            ("a rollout began a step", bad, 1, "info", None),
            ("a rollout was held", bad, 1, "warning", why),
            ("a rollout began a step", bad, 2, "info", None),
            ("a rollout was rolled back", bad, 2, "warning", "rolled back by admin"),
        ]


async def test_three_of_150_refuse() -> None:
    """It is held at once, nobody further is reached, and after the rollback the layer has no new history."""
    ids = [f"d-{number:03}" for number in range(300)]
    async with fleet(*ids) as world:
        await world.put("global", baud="4800")
        devices = Devices(world, *ids)
        await devices.listen()
        history = await world.do("configuration/history", name="baud", layer="global")
        number = await start(world, {"deviceIds": ids[:150]}, gate={**SOON, "success": 99}, baud="9600")
        await devices.listen(refuse=ids[:3])
        await judge(world)
        assert await state(world, number) == (
            "held",
            1,
            '3 of 150 reached devices failed (3 refused: "unsupported rate"); tolerated: 2, or 1%',
        )
        await judge(world, 100_000)
        await devices.listen()
        assert list(devices.values("baud").values()) == ["9600"] * 150 + ["4800"] * 150
        await world.do("rollout/rollback", rollout=number)
        await devices.listen()
        assert {*devices.values("baud").values()} == {"4800"}
        assert await world.do("configuration/history", name="baud", layer="global") == history
        assert (await state(world, number))[0] == "rolledBack"


async def test_devices_that_fall_silent_hold_a_rollout() -> None:
    """After `silent` seconds they count as failed, across a restart too, until they speak."""
    ids = [f"d-{number:02}" for number in range(60)]
    async with fleet(*ids) as world:
        await world.put("global", n="old")
        devices = Devices(world, *ids)
        await devices.listen()
        number = await start(world, {"percent": 99.99}, gate={"silent": 120, "wait": 10}, n="new")
        await devices.listen(silent=ids[:50])
        await judge(world, 119)
        assert (await state(world, number))[0] == "running"
        assert await counts(world, number) == {"reached": 60, "applied": 10}
        again = await world.restarted()
        await judge(again, 1)
        found = await state(again, number)
        assert found == ("held", 1, "50 of 60 reached devices failed (50 silent); tolerated: 2, or 5%")
        for device in ids:
            assert await again.has(device) == {"n": "new"}
        await again.messages.close()


async def test_a_silent_device_that_comes_again_is_as_silent() -> None:
    """Its time runs from when it was sent the values first: one that restarts for ever would never fail."""
    async with fleet("a") as world:
        gate = {"silent": 120, "failures": 0, "wait": 10}
        number = await start(world, {"deviceIds": ["a"]}, gate=gate, n="new")
        for _ in range(3):
            peer = world.follow("a")
            await judge(world, 39)
            peer.session.close()
        assert (await state(world, number))[0] == "running"
        world.follow("a")
        await judge(world, 3)
        found = await state(world, number)
        assert found == ("held", 1, "1 of 1 reached devices failed (1 silent); tolerated: 0, or 5%")


async def test_a_value_that_does_not_fit_its_schema_is_in_no_rollout() -> None:
    """Neither when it starts nor when it is tried."""
    async with fleet("a") as world:
        await world.do("schema/put", names="n", schema={"type": "integer"})
        asked = {"layer": "global", "changes": put(n="many"), "steps": [{"percent": 100}]}
        for more in ({}, {"dryRun": True}):
            code, text = await world.no("rollout/start", **asked, **more)
            assert (code, text.startswith("Configuration 'n' does not fit its schema")) == (422, True)


async def test_all_offline_is_held_at_the_limit() -> None:
    """Devices that wait are not counted, and are served when they come."""
    async with fleet("a", "b", "c") as world:
        number = await start(world, {"deviceIds": ["a", "b"]}, gate={"limit": 100}, n="new")
        assert await counts(world, number) == {"waiting": 2}
        late = world.follow("a")
        await world.quiet()
        assert [each["value"] for each in _configurations(late)] == ["new"]
        assert await counts(world, number) == {"reached": 1, "waiting": 1}
        late.session.close()
        await judge(world, 99)
        assert (await state(world, number))[0] == "running"
        await judge(world, 1)
        found, _, reason = await state(world, number)
        assert found == "held"
        assert reason == "step 1 did not pass its gate within 100 s: 1 reached, 0 applied, 1 waiting"
        # Held, it shows itself to those that it has reached only.
        assert await world.has("a") == {"n": "new"}
        assert await world.has("b") == {}


async def test_failures_are_forgiven_by_who_resumes() -> None:
    """Then only new ones count; a step can be named."""
    ids = [f"d-{number}" for number in range(10)]
    async with fleet(*ids) as world:
        devices = Devices(world, *ids)
        number = await start(world, {"deviceIds": ids[:5]}, gate={**SOON, "failures": 0}, n="new")
        await devices.listen(refuse=ids[:1])
        await judge(world)
        assert (await state(world, number))[0] == "held"
        await world.do("rollout/resume", rollout=number)
        await judge(world)
        assert await state(world, number) == ("running", 2, None)
        await devices.listen(refuse=ids[5:6])
        await judge(world)
        why = '1 of 10 reached devices failed (2 refused: "unsupported rate"; 1 of them forgiven); tolerated: 0, or 5%'
        assert await state(world, number) == ("held", 2, why)
        assert (await world.no("rollout/resume", rollout=number, step=3))[0] == 400
        await world.do("rollout/resume", rollout=number, step=1)
        assert await state(world, number) == ("running", 1, None)


async def test_a_step_begins_anew_when_it_is_resumed() -> None:
    """Its shortest and its longest time count from then on."""
    async with fleet("a", "b") as world:
        gate = {"wait": 60, "limit": 100, "minimum": 2}
        number = await start(world, {"deviceIds": ["a", "b"]}, gate=gate, n="1")
        devices = Devices(world, "a")
        await devices.listen()
        await judge(world, 100)
        assert (await state(world, number))[0] == "held"
        world.clock.time += 60_000
        await world.do("rollout/resume", rollout=number)
        await judge(world, 59)
        devices.peers["b"] = world.follow("b")
        devices.have["b"] = {}
        await devices.listen()
        await judge(world)
        assert (await state(world, number))[:2] == ("running", 1)
        await judge(world, 1)
        assert (await state(world, number))[:2] == ("running", 2)


async def test_who_was_forgiven_and_applies_it_forgives_no_other() -> None:
    """A failure counts in a later step, though as many were forgiven before."""
    ids = [f"d-{number}" for number in range(10)]
    async with fleet(*ids) as world:
        devices = Devices(world, *ids)
        number = await start(world, {"deviceIds": ids[:5]}, gate={**SOON, "failures": 0}, n="new")
        await devices.listen(refuse=ids[:1])
        await judge(world)
        await world.do("rollout/resume", rollout=number)
        await reported(world, ids[0], {"name": "n", "tag": (await tags(world, ids[0]))["n"]})
        await judge(world)
        assert await state(world, number) == ("running", 2, None)
        await devices.listen(refuse=ids[5:6])
        await judge(world)
        assert (await state(world, number))[0] == "held"


async def test_a_failure_can_roll_back_by_itself() -> None:
    """With `onFailure: rollback` nobody has to be awake."""
    async with fleet("a", "b") as world:
        await world.put("global", n="old")
        devices = Devices(world, "a", "b")
        gate = {**SOON, "failures": 0, "onFailure": "rollback"}
        number = await start(world, {"deviceIds": ["a"]}, gate=gate, n="new")
        await devices.listen(refuse=["a"])
        await judge(world)
        await devices.listen()
        assert (await state(world, number))[0] == "rolledBack"
        assert devices.values("n") == {"a": "old", "b": "old"}


class Iterated(list[Any]):
    """Changes of a rollout that count how often all of them are looked at."""

    times = 0

    def __iter__(self) -> Any:
        self.times += 1
        return super().__iter__()


async def test_a_transaction_looks_up_what_rollouts_and_its_layer_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not go through all of that for each of its writes, of which there may be a thousand."""
    async with fleet("a") as world:
        rollout = world.services.fleet.rollouts[await start(world, {"deviceIds": ["a"]}, baud="9600")]
        changes = Iterated(rollout.content.changes)
        rollout.content = structs.replace(rollout.content, changes=changes)
        keys: list[str] = []
        monkeypatch.setattr(conditions, "split", lambda key: keys.append(key) or split(key))
        await world.put("global", **{f"n{number}": "v" for number in range(100)})
        assert changes.times == 0
        assert len(keys) <= 2 * 100
        decoded: list[bytes] = []
        decode = msgspec.json.decode
        monkeypatch.setattr(msgspec.json, "decode", lambda data, **how: decoded.append(data) or decode(data, **how))
        condition = rollouts.Unheld({}, Written(rollouts.ROLLOUT, rollouts.held_by), "global", ("baud",))
        state = Evaluated([structs.replace(rollout.change, key=str(number)) for number in range(9)])
        for read in (9, 9 + 1, 9 + 1 + 10):
            assert [condition.holds(None, state) for _ in range(5)] == [False] * 5
            assert len(decoded) == read
            del state.changes[9:]  # of the second one, which is taken back
            state.changes.append(structs.replace(rollout.change, key="9"))
        state.changes.clear()
        assert condition.holds(None, state), "all of them are taken back"


class Evaluated(Struct):
    """The state in a commit that has written rollouts too."""

    changes: list[Change]

    def last(self, kind: str, key: str) -> None:
        """Nothing was there."""

    def count(self, kind: str) -> int:
        """There is nothing else."""
        return 1

    def written(self, kind: str) -> list[Change]:
        """The rollouts."""
        return self.changes


async def test_a_second_change_of_what_a_rollout_holds_is_refused() -> None:
    """Writes, rollouts and changes of the layer; other names and layers are free, and all is free afterwards."""
    async with fleet("a") as world:
        await world.layer("cold-chain", 500)
        for _ in range(2):
            await world.put("cold-chain", other=str(world.ledger.revision))
        number = await start(world, {"deviceIds": ["a"]}, layer="cold-chain", baud="9600")
        held = (409, f"Configuration 'baud' of layer 'cold-chain' is held by rollout {number}")
        assert await world.no("configuration/put", name="baud", value="1", layer="cold-chain") == held
        assert await world.no("configuration/delete", name="baud", layer="cold-chain") == held
        again = {"layer": "cold-chain", "changes": put(baud="1"), "steps": [{"percent": 100}]}
        assert await world.no("rollout/start", **again) == held
        one = (409, f"Layer 'cold-chain' has open rollout {number}")
        assert await world.no("layer/put", layer="cold-chain", target={}, rank=5) == one
        assert await world.no("layer/delete", layer="cold-chain", force=True) == one
        at_once = [world.do("rollout/start", **again | {"changes": put(two=value)}) for value in "12"]
        one, other = cast("tuple[Any, Any]", await asyncio.gather(*at_once, return_exceptions=True))
        assert str(other) == f"Configuration 'two' of layer 'cold-chain' is held by rollout {one['rollout']}"
        await world.do("rollout/rollback", rollout=one["rollout"])
        await world.put("cold-chain", other="free")
        await world.put("global", baud="free")
        await world.do("rollout/rollback", rollout=number)
        await world.put("cold-chain", baud="1")


async def test_a_completed_rollout_says_what_would_undo_it() -> None:
    """These changes can be started as a rollout."""
    async with fleet("a") as world:
        await world.put("global", n="old")
        devices = Devices(world, "a")
        await devices.listen()
        number = await start(world, n="new", fresh="1")
        await devices.listen()
        await judge(world)
        peer = Peer(world, world.caller().identity)  # type: ignore[arg-type]
        peer.ask("rollout/rollback", rollout=number)
        while not peer.frames:
            await asyncio.sleep(0)
        [refused] = peer.taken()
        assert refused["code"] == 409
        back = refused["changes"]
        assert back == [{"operation": "put", "name": "n", "value": "old"}, {"operation": "delete", "name": "fresh"}]
        await world.do("rollout/start", layer="global", changes=back, steps=[{"percent": 100}], gate=SOON)
        await devices.listen()
        await judge(world)
        assert devices.values("n") == {"a": "old"}
        assert await world.has("a") == {"n": "old"}


@pytest.mark.parametrize("lower", [None, "0"])
async def test_a_rollout_can_delete_a_name(lower: str | None) -> None:
    """Its devices get what a lower layer has, or nothing. One that says which names it has, and not this one, has
    applied that; one that says so of some names has not."""
    async with fleet("a", "b") as world:
        await world.layer("x", 5)
        await world.put("x", n="1", m="1")
        if lower is not None:
            await world.put("global", n=lower)
        devices = Devices(world, "a", "b")
        await devices.listen(silent=["b"])
        asked = {"layer": "x", "changes": [{"operation": "delete", "name": "n"}], "steps": [{"percent": 100}]}
        number = (await world.do("rollout/start", **asked, gate=SOON))["rollout"]
        await devices.listen(silent=["a", "b"])
        assert devices.values("n") == {"a": lower, "b": lower}
        await judge(world)
        assert await counts(world, number) == {"reached": 2}
        tag = {name: tag for name, tag in (await tags(world, "a")).items() if tag is not None}
        entries = [{"name": name, "tag": tag[name]} for name in tag]
        await reported(world, "a", *entries, complete=True)
        for device in ("a", "b"):
            await reported(world, device, {"name": "m", "tag": tag["m"]})
        assert await counts(world, number) == {"reached": 2, "applied": 1}
        await reported(world, "b", *entries, complete=True)
        again = await world.restarted()
        assert await counts(again, number) == {"reached": 2, "applied": 2}
        await judge(again)
        assert (await state(again, number))[0] == "completed"
        assert [each["name"] for each in (await again.do("configuration/list", layer="x"))["configurations"]] == ["m"]
        await again.messages.close()


async def test_a_rollout_of_secrets_is_undone_by_its_number() -> None:
    """What it undoes is shown to nobody; a rollout that is not complete, or of another layer, cannot be undone."""
    async with fleet("a") as world:
        await world.do("schema/put", names="key", secret=True)
        await world.put("global", key="old")
        devices = Devices(world, "a")
        await devices.listen()
        number = await start(world, key="new")
        undoing: dict[str, Any] = {"layer": "global", "undo": number, "steps": [{"percent": 100}], "gate": SOON}
        early = await world.no("rollout/start", **undoing)
        assert early == (409, f"Rollout {number} is running; it cannot be undone")
        await devices.listen()
        await judge(world)
        assert devices.values("key") == {"a": "new"}
        blind = world.caller(a=[13, 100])
        with pytest.raises(Conflict) as completed:
            await world.do("rollout/rollback", blind, rollout=number)
        assert completed.value.members["changes"] == [RolloutChange("put", "key", None)]
        for wrong, code in (({"layer": "device/a"}, 400), ({"undo": 99}, 404), ({"changes": put(n="1")}, 400)):
            assert (await world.no("rollout/start", **undoing | wrong))[0] == code
        await world.do("rollout/start", blind, **undoing)
        await devices.listen()
        await judge(world)
        assert devices.values("key") == {"a": "old"}


async def test_a_device_with_all_names_in_a_higher_layer_is_not_counted() -> None:
    """It is overridden, and so neither fails nor waits."""
    async with fleet("a", "b") as world:
        await world.put("device/b", n="own")
        devices = Devices(world, "a", "b")
        await devices.listen()
        number = await start(world, {"percent": 99.99}, gate={"wait": 10}, n="new")
        await devices.listen()
        assert devices.values("n") == {"a": "new", "b": "own"}
        assert await counts(world, number) == {"reached": 1, "applied": 1, "overridden": 1}


async def test_an_edit_below_a_rollout_is_pushed_where_its_devices_see_it() -> None:
    """Not where the rollout sets the name in a higher layer, but where it removes it there."""
    async with fleet("a") as world:
        await world.layer("top", 5)
        await world.put("top", removed="top")
        changes = [*put(added="top"), {"operation": "delete", "name": "removed"}]
        await world.do("rollout/start", layer="top", changes=changes, steps=[{"percent": 99.99}, {"percent": 100}])
        peer = world.follow("a")
        await world.quiet()
        peer.frames.clear()
        await world.put("global", added="below", removed="below")
        await world.quiet()
        assert [(each["name"], each["value"]) for each in _configurations(peer)] == [("removed", "below")]
        assert await world.has("a") == {"added": "top", "removed": "below"}


async def test_a_rollout_can_be_started_later() -> None:
    """It is judged again at its time; one that changes nothing by then has failed."""
    async with fleet("a") as world:
        await world.put("global", n="1")
        devices = Devices(world, "a")
        later = {"layer": "global", "steps": [{"percent": 100}], "at": world.clock.time + 60_000}
        first = (await world.do("rollout/start", changes=put(n="2"), **later))["rollout"]
        await judge(world, 59)
        assert (await state(world, first))[0] == "scheduled"
        await judge(world, 1)
        assert (await state(world, first))[0] == "running"
        await devices.listen()
        assert devices.values("n") == {"a": "2"}


async def test_the_author_s_rights_count_at_each_step() -> None:
    """A rollout of somebody who was locked is held."""
    async with fleet("a") as world:
        number = await start(world, {"deviceIds": ["a"]}, n="1")
        found = world.users.by_id(1)
        assert found is not None
        await world.do("user/insert", user={"login": "root", "password": "password", "role": 0, "status": 0})
        locked = structs.replace(found.content, status=Status.LOCKED_OUT)
        await world.ledger.commit(world.users.replace(found, locked, None))
        await judge(world)
        world.admin = world.caller(3)
        assert (await state(world, number))[::2] == ("held", "its author admin is not active any more")


@pytest.mark.parametrize("lost", ["networks", "types", "token"])
async def test_the_token_and_what_it_reaches_count_at_each_step(lost: str) -> None:
    """A rollout is held when its author has lost a network or a device type, or the token was revoked."""
    async with fleet("a") as world:
        await world.layer("x", 5, networkIds=[1])
        ann = world.users.by_id(ANN)
        assert ann is not None
        with_types = structs.replace(ann.content, all_device_types_available=True)
        await world.ledger.commit(world.users.replace(ann, with_types, None))
        asked = {"layer": "x", "steps": [{"deviceIds": ["a"]}, {"percent": 100}], "changes": put(n="1")}
        number = (await world.do("rollout/start", world.caller(ANN, dt=["1"]), **asked))["rollout"]
        await judge(world)
        assert (await state(world, number))[::2] == ("running", None)
        if lost == "token":
            await world.do("token/revoke", userId=ANN)
        else:
            less: dict[str, Any] = {"networks": []} if lost == "networks" else {"all_device_types_available": False}
            ann = world.users.by_id(ANN)
            assert ann is not None
            await world.ledger.commit(world.users.replace(ann, structs.replace(ann.content, **less), None))
        await judge(world)
        why = "its author ann does not reach all devices of layer 'x' any more"
        if lost == "token":
            why = "the token with which its author ann started it was revoked"
        assert (await state(world, number))[::2] == ("held", why)


async def test_so_many_rollouts_are_open_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of those that start at once; one that is over makes room."""
    monkeypatch.setattr("hivewire.actions.rollout.MOST_OPEN", 2)
    async with fleet("a") as world:
        first = await start(world, {"deviceIds": ["a"]}, n0="1")
        asked = {"layer": "global", "steps": [{"percent": 100}]}
        starts = [world.do("rollout/start", **asked, changes=put(**{f"n{number}": "1"})) for number in (1, 2, 3)]
        refused = [
            each for each in await asyncio.gather(*starts, return_exceptions=True) if isinstance(each, Exception)
        ]
        assert [str(each) for each in refused] == ["2 rollouts are open, the most that can be"] * 2
        assert isinstance(refused[0], OutOfBounds)
        await world.do("rollout/rollback", rollout=first)
        await start(world, n0="1")


async def test_schema_and_author_are_judged_again_at_its_time() -> None:
    """A scheduled rollout fails with what is wrong by then."""
    async with fleet("a") as world:
        asked: dict[str, Any] = {"layer": "global", "steps": [{"percent": 100}], "at": world.ledger.now() + 1_000}
        for name in ("typed", "plain"):
            await world.do("rollout/start", **asked, changes=put(**{name: "many"}))
        await world.do("schema/put", names="typed", schema={"type": "integer"}, force=True)
        found = world.users.by_id(1)
        assert found is not None
        await world.do("user/insert", user={"login": "root", "password": "password", "role": 0, "status": 0})
        locked = structs.replace(found.content, status=Status.LOCKED_OUT)
        await world.ledger.commit(world.users.replace(found, locked, None))
        await judge(world, 1)
        world.admin = world.caller(3)
        one, other = [await state(world, number) for number in (1, 2)]
        assert one[::2] == ("failed", "Configuration 'typed' does not fit its schema")
        assert other[::2] == ("failed", "its author admin is not active any more")


async def test_a_value_that_does_not_fit_by_then_is_not_written() -> None:
    """The rollout is held in place of its end, and says why, without the value: the log repeats the reason."""
    async with fleet("a") as world:
        devices = Devices(world, "a")
        number = await start(world, n="many")
        await world.do("schema/put", names="n", schema={"type": "integer"}, force=True)
        await devices.listen()
        await judge(world)
        assert (await state(world, number))[::2] == ("held", "Configuration 'n' does not fit its schema")


async def test_a_list_shows_rollouts_by_state() -> None:
    """The newest first, with their numbers."""
    async with fleet("a") as world:
        first = await start(world, {"deviceIds": ["a"]}, a="1")
        second = await start(world, {"deviceIds": ["a"]}, b="1")
        await world.do("rollout/hold", rollout=first)
        listed = (await world.do("rollout/list"))["rollouts"]
        assert [each["rollout"] for each in listed] == [second, first]
        [held] = (await world.do("rollout/list", state="held"))["rollouts"]
        assert (held["rollout"], held["reason"]) == (first, "held by admin")
        assert (await world.no("rollout/list", state="gone"))[0] == 400
        [newest] = (await world.do("rollout/list", take=1))["rollouts"]
        [older] = (await world.do("rollout/list", before=newest["rollout"]))["rollouts"]
        assert (newest["rollout"], older["rollout"]) == (second, first)


async def test_a_rollout_of_a_secret_shows_it_to_nobody_else() -> None:
    """Neither its value nor the words of who refuses it, which may repeat it; the device itself gets it."""
    async with fleet("a") as world:
        await world.do("schema/put", names="key", secret=True)
        devices = Devices(world, "a")
        number = await start(world, {"deviceIds": ["a"]}, gate={**SOON, "failures": 0}, key="hunter2")
        await devices.listen(refuse=["a"])
        assert devices.values("key") == {"a": "hunter2"}
        await judge(world)
        shown = str(await world.do("rollout/get", rollout=number)) + str(await world.do("rollout/list"))
        shown += str(await world.do("device/effective", deviceId="a"))
        assert "hunter2" not in shown
        assert "unsupported" not in shown
        assert "'error': 'the device refused it; why is not shown, because the value is secret'" in shown
        assert (await state(world, number))[2] == "1 of 1 reached devices failed (1 refused); tolerated: 0, or 5%"


def test_a_step_changes_the_gate_from_there_on() -> None:
    """What neither it nor a step before it says is that of the rollout, or the usual."""
    steps = [Step(percent=1, gate=Gate(success=99)), Step(percent=50, gate=Gate(failures=7)), Step(percent=100)]
    content = RolloutContent("global", [], steps, "running", 0, Gate(success=50, wait=5))
    gates = [gate_of(structs.replace(content, step=step)) for step in range(3)]
    assert [(gate.success, gate.failures, gate.wait, gate.minimum) for gate in gates] == [
        (99, 2, 5, 5),
        (99, 7, 5, 5),
        (99, 7, 5, 5),
    ]


NEXT = "running"


@pytest.mark.parametrize(
    ("numbers", "seconds", "expected"),
    [
        ((100, 95, 5, 0, 0, 0), 60, NEXT),  # as many as the gate allows
        ((100, 95, 5, 0, 0, 0), 59.999, None),
        ((100, 94, 3, 3, 0, 0), 0, "held"),
        ((3, 1, 1, 1, 0, 0), 86_399.999, None),  # few failed, and too few have applied
        ((3, 1, 1, 1, 0, 0), 86_400, "held"),
        ((3, 0, 2, 1, 0, 0), 0, "held"),
        ((100, 94, 0, 0, 0, 0), 60, None),
        ((4, 4, 0, 0, 1, 0), 60, None),
        ((5, 5, 0, 0, 1, 0), 60, NEXT),
        ((4, 4, 0, 0, 0, 0), 60, NEXT),  # these are all of the step
        ((0, 0, 0, 0, 0, 0), 0, NEXT),
        ((0, 0, 0, 0, 0, 9), 0, NEXT),
        ((0, 0, 0, 0, 1, 0), 60, None),
        ((0, 0, 0, 0, 1, 0), 86_400, "held"),
    ],
)
def test_the_usual_gate(numbers: tuple[int, ...], seconds: float, expected: str | None) -> None:
    """By how many devices were reached, applied, refused, fell silent, wait and are overridden, and the age of a step:
    the rollout takes the next step, is held, or goes on waiting."""
    content = RolloutContent("global", [], [Step(percent=1), Step(percent=100)], "running", 0)
    found = decide(content, RolloutCounts(*numbers), round(seconds * 1_000))
    assert (None if found is None else found.content.state) == expected
    assert found is None or found.content.step == (expected == NEXT)


def test_a_gate_is_that_of_the_contract_unless_it_is_given() -> None:
    """A rollout says nothing about the other members either."""
    content = RolloutContent("global", [], [Step(percent=100)], "running", 0, Gate(failures=1))
    assert gate_of(content) == Gate(95, 1, 5, 60, 86_400, 120, "hold")


NUMBERS = st.integers(0, 50)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 100), NUMBERS, st.integers(0, 200))
def test_a_rollout_never_goes_on_with_too_many_failures(
    applied: int, refused: int, silent: int, other: int, success: int, failures: int, age: int
) -> None:
    """Whatever the numbers: it stops if more failed than is tolerated, and goes on only if enough have applied."""
    gate = Gate(success=success, failures=failures, minimum=1, wait=60, limit=150)
    content = RolloutContent("global", [], [Step(percent=1), Step(percent=100)], "running", 0, gate)
    reached = applied + refused + silent + other
    found = decide(content, RolloutCounts(reached, applied, refused, silent, 1, 0), age * 1_000)
    failed = refused + silent
    if failed > failures and failed * 100 > reached * (100 - success):
        assert found is not None
        assert found.content.state == "held"
    elif age >= 60 and reached >= 1 and applied * 100 >= reached * success:
        assert found is not None
        assert (found.content.state, found.content.step) == ("running", 1)
    elif age >= 150:
        assert found is not None
        assert found.content.state == "held"
    else:
        assert found is None


async def test_of_two_decisions_one_is_made() -> None:
    """A decision expects the revision that it was made from, so another gateway's does not count twice."""
    async with fleet("a") as world:
        number = await start(world, {"deviceIds": ["a"]}, n="1")
        rollout = world.services.fleet.rollouts[number]
        change, content = rollout.change, rollout.content
        assert await world.services.progress.write(change, content) is not None
        assert await world.services.progress.write(change, content) is None


async def test_a_device_that_was_away_during_a_step_begins_anew() -> None:
    """Its position is from before the rollout, or from before its rollback: it gets all that counts now."""
    async with fleet("a") as world:
        await world.put("global", n="old")
        device = Device(world, "a")
        await device.listen()
        device.peer.session.close()
        number = await start(world, {"deviceIds": ["a"]}, n="new")
        device.connect()
        await device.listen()
        assert (device.mode, device.have) == ("reset", {"n": "new"})
        device.peer.session.close()
        await world.do("rollout/rollback", rollout=number)
        device.connect()
        await device.listen()
        assert (device.mode, device.have) == ("reset", {"n": "old"})
        device.peer.session.close()
        device.connect()
        assert device.mode == "resumed"


async def test_another_device_with_the_id_of_a_deleted_one_has_nothing_of_it() -> None:
    """Neither what it reported nor the values of a held rollout that it was sent, though both changes come at once."""
    async with fleet("a") as world:
        await world.put("global", n="old")
        devices = Devices(world, "a")
        number = await start(world, {"deviceIds": ["a"]}, n="new")
        await devices.listen()
        await world.do("rollout/hold", rollout=number)
        assert await world.has("a") == {"n": "new"}
        assert await counts(world, number) == {"reached": 1, "applied": 1}
        await asyncio.gather(world.do("device/delete", deviceId="a"), world.register("a"))
        await world.quiet()
        assert await world.has("a") == {"n": "old"}
        assert await counts(world, number) == {}
        [shown] = (await world.do("device/effective", deviceId="a"))["configurations"]
        assert (shown["state"], "reported" in shown) == ("pending", False)
        counted = await world.do("fleet/count")
        assert (counted["devices"], counted["pending"], counted["online"]) == (1, 1, 1)


async def test_a_device_to_which_nothing_can_be_sent_is_not_reached() -> None:
    """It does not read, or its tokens were revoked while its socket is open: it waits, and is not silent."""
    async with fleet("a", "b", "c") as world:
        devices = Devices(world, "a", "b", "c")
        await devices.listen()
        stalled = devices.peers["a"]
        stalled.session.pause()
        await world.do("device/revoke", deviceId="b")
        number = await start(world, gate={"wait": 0, "minimum": 3, "failures": 0, "success": 100}, n="1")
        await devices.listen()
        assert await counts(world, number) == {"reached": 1, "applied": 1, "waiting": 2}
        await judge(world, 1_000)
        assert (await state(world, number))[0] == "running"
        await world.do("rollout/hold", rollout=number)
        stalled.read()
        await devices.listen()
        assert devices.have["a"] == {}
        stalled.session.pause()
        await world.do("rollout/resume", rollout=number)
        assert (await counts(world, number))["reached"] == 1
        stalled.read()
        await devices.listen()
        assert devices.have["a"] == {"n": "1"}
        assert await counts(world, number) == {"reached": 2, "applied": 2, "waiting": 1}
