"""Dry runs of what is written about a fleet: judged alike, nothing written, and whom it is about (fleet.md, 8)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rooms.fleets import World, fleet
from tests.rooms.test_rollouts import put, start

ALL: list[Any] = [{"percent": 100}]

WRITES: list[tuple[str, dict[str, Any]]] = [
    ("layer/put", {"layer": "new", "rank": 7, "target": {}}),
    ("layer/delete", {"layer": "cold", "force": True}),
    ("device/label", {"deviceId": "a", "labels": {"site": "ulm"}}),
    ("device/revoke", {"deviceId": "a"}),
    ("configuration/put", {"name": "n", "value": "2", "layer": "cold"}),
    ("configuration/delete", {"name": "n", "layer": "cold"}),
    ("configuration/rollback", {"name": "n", "layer": "cold", "to": 1}),
    ("configuration/transact", {"changes": [{"operation": "delete", "name": "n", "layer": "cold"}]}),
    ("rollout/start", {"layer": "cold", "changes": put(n="2"), "steps": ALL}),
    ("rollout/hold", {"rollout": 1}),
    ("rollout/resume", {"rollout": 2}),
    ("rollout/rollback", {"rollout": 1}),
]


async def prepared(world: World) -> World:
    """Three devices, of which two are in bonn and one of these follows; a running and a held rollout."""
    await world.layer("cold", 5, labels={"site": ["bonn"]})
    for device in ("a", "b"):
        await world.label(device, site="bonn")
    await world.put("cold", n="1")
    await start(world, {"deviceIds": ["a"]}, x="1")
    await start(world, {"deviceIds": ["a"]}, y="1")
    await world.do("rollout/hold", rollout=2)
    world.follow("a")
    await world.quiet()
    return world


@pytest.mark.parametrize(("action", "members"), WRITES, ids=[action for action, _ in WRITES])
async def test_a_dry_run_answers_like_the_write_and_writes_nothing(action: str, members: dict[str, Any]) -> None:
    """But for the revision, which there is none of, and whom it is about."""
    async with fleet("a", "b", "c") as world:
        await prepared(world)
        before = world.ledger.revision
        tried = await world.do(action, **members, dryRun=True)
        assert (world.ledger.revision, tried.pop("dryRun"), "revision" in tried) == (before, True, False)
        tried.pop("affects", None)
        written = await world.do(action, **members)
        written.pop("revision", None)
        assert tried == written
        assert world.ledger.revision > before


@pytest.mark.parametrize(("action", "members"), WRITES, ids=[action for action, _ in WRITES])
async def test_a_dry_run_is_judged_like_the_write(action: str, members: dict[str, Any]) -> None:
    """By the same rights, and with the same words."""
    async with fleet("a", "b", "c") as world:
        await prepared(world)
        nobody = world.caller(a=[100, 101])
        refused = await world.no(action, nobody, **members)
        assert refused[0] in (401, 403)
        assert await world.no(action, nobody, **members, dryRun=True) == refused


async def test_a_dry_run_says_whom_it_is_about() -> None:
    """How many devices have the layer, how many of them follow, and how many see nothing of it."""
    async with fleet("a", "b", "c") as world:
        await prepared(world)

        async def affects(action: str, **members: Any) -> tuple[int, int, int]:
            found = (await world.do(action, **members, dryRun=True))["affects"]
            return found["devices"], found["online"], found["hidden"]

        assert await affects("configuration/put", name="n", value="2", layer="cold") == (2, 1, 0)
        assert await affects("configuration/put", name="n", value="2", layer="global") == (3, 1, 2)
        assert await affects("configuration/put", name="m", value="2", layer="device/a") == (1, 1, 0)
        await world.put("device/b", n="own")
        assert await affects("configuration/delete", name="n", layer="cold") == (2, 1, 1)
        assert await affects("configuration/put", name="m", value="2", layer="device/b") == (1, 0, 0)
        changes = [*put(n="3"), {"operation": "put", "name": "m", "value": "3", "layer": "device/c"}]
        changes[0]["layer"] = "cold"
        assert await affects("configuration/transact", changes=changes) == (3, 1, 1)
        assert await affects("rollout/start", layer="cold", changes=put(n="2"), steps=ALL) == (2, 1, 1)
        assert await affects("layer/delete", layer="cold", force=True) == (2, 1, 1)
        assert await affects("layer/put", layer="cold", rank=5, target={"deviceIds": ["b", "c"]}) == (2, 0, 1)
        assert await affects("layer/put", layer="new", rank=6, target={}) == (3, 1, 0)
