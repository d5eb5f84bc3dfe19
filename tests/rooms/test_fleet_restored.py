"""A fleet after its gateway was restored from a backup: nobody is said to have what it does not (fleet.md, 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copyfile

from hivewire.ledger.engines.sqlite.journal import SqliteJournal
from tests.rooms.fleets import World
from tests.rooms.test_device_subscription import Device
from tests.rooms.test_reports import reported, states, tags
from tests.rooms.test_rollouts import judge, start, state
from tests.world import Clock


@asynccontextmanager
async def serving(path: Path, clock: Clock) -> AsyncIterator[World]:
    """The gateway of a file, which saves what it knows when it stops. A new file gets a device."""
    world, new = World(SqliteJournal(path), clock), not path.exists()
    try:
        if new:
            await (await world.open()).fill()
            await world.register("a")
        else:
            await world.load()
            world.admin = world.caller()
            await world.services.notes.load()
        yield world
        await world.services.notes.save()
    finally:
        await world.services.fleet.close()
        await world.close()


async def speak(device: Device) -> None:
    """Apply what has come and report all of it; it is what counts."""
    await device.listen()
    tag = await tags(device.world, device.id)
    await reported(device.world, device.id, *({"name": name, "tag": tag[name]} for name in device.have))
    assert await states(device.world, device.id) == {"m": "applied", "n": "applied"}


async def test_a_restored_backup_shows_no_false_applied(tmp_path: Path) -> None:
    """Neither of what a device had when the backup was made, nor of another value with the revision of a lost one. A
    rollout gives those that it had reached time to speak."""
    path, backup, clock = tmp_path / "ledger.db", tmp_path / "backup.db", Clock()
    async with serving(path, clock) as world:
        await world.put("global", n="1")
        device = Device(world, "a")
        number = await start(world, {"deviceIds": ["a"]}, gate={"silent": 60, "failures": 0, "minimum": 2}, m="1")
        await speak(device)
    copyfile(path, backup)
    async with serving(path, clock) as device.world:
        assert await states(device.world, "a") == {"m": "applied", "n": "applied"}, "this was no restore"
        device.connect()
        lost = await device.world.put("global", n="2")
        await speak(device)
        old = await tags(device.world, "a")
    copyfile(backup, path)
    clock.time += 3_600_000
    async with serving(path, clock) as world:
        assert await states(world, "a") == {"m": "pending", "n": "pending"}, "it has another value since the backup"
        assert await world.put("global", n="3") == lost
        await reported(world, "a", {"name": "n", "tag": old["n"]})
        assert (await states(world, "a"))["n"] == "pending"
        await judge(world, 59)
        assert (await state(world, number))[0] == "running"
        device.world = world
        device.connect()
        assert device.mode == "reset"
        await speak(device)
        assert device.have == {"m": "1", "n": "3"}
        await judge(world, 2)
        assert (await state(world, number))[:2] == ("running", 2)
