"""What is written later: configurations that expire, and scheduled transactions, by a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec import UNSET, Raw, structs

from hivewire import actions, schedules
from hivewire import timers as timers_module
from hivewire.access.users import UserContent
from hivewire.actions import rollout, schedule, schema
from hivewire.dispatch import Dispatcher
from hivewire.ledger.records import Change, NotDurable
from hivewire.schedules import scheduled_of as found_in
from hivewire.schemas import survey
from hivewire.timers import Timers
from hivewire_protocol import times
from hivewire_protocol.errors import (
    AccessDenied,
    DoesNotFit,
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    ValuesDoNotFit,
    VersionConflict,
)
from hivewire_protocol.nouns.configuration import (
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationPut,
    ConfigurationTransact,
    TransactChange,
)
from hivewire_protocol.nouns.schedule import ScheduleCancel, ScheduleList
from hivewire_protocol.nouns.schema import SchemaPut
from hivewire_protocol.nouns.user import Role, Status
from tests.rooms.fleets import fleet
from tests.rooms.site import site
from tests.rooms.test_hub import Peer
from tests.world import HASHER, JOHN, World, opened

SECOND = 1_000


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


def timers_of(world: World) -> Timers:
    """The clock of a gateway, which has read what there is and waits for `fire`."""
    timers = Timers(Dispatcher(world.services, actions.READS, actions.WRITES))
    timers._note(list(world.ledger.kind("schedule").live.values()))
    return timers


async def after(world: World, timers: Timers, seconds: float) -> None:
    """Move the clock, and carry out what is due."""
    world.clock.time += round(seconds * SECOND)
    await timers.fire()


def value(world: World, name: str) -> str | None:
    change = world.ledger.get("configuration", name)
    return None if change is None or change.content is None else change.content.decode()


async def put(world: World, name: str, value: str = "v", **members: Any) -> Any:
    return await world.ask(ConfigurationPut(name=name, value=value, **members))


async def plan(world: World, at: int, *changes: TransactChange, caller: Any = None, **members: Any) -> Any:
    """The reply to a transaction that is written after so many seconds."""
    when = str(world.clock() + at * SECOND)
    return await world.ask(ConfigurationTransact(changes=[*changes], at=when, **members), caller)


def change(name: str, value: str | None = "new", **members: Any) -> TransactChange:
    operation = "delete" if value is None else "put"
    return TransactChange(operation=operation, name=name, value=value, **members)


async def test_a_configuration_expires(world: World) -> None:
    """It is deleted at its time, not before, with a description that says why, and pushed like any other delete."""
    timers = timers_of(world)
    reply = await put(world, "a", ttl=60)
    assert reply.configuration.entityVersion == 1
    await put(world, "b", expires="2026-03-01T10:00:00Z")
    peer = Peer(world, world.caller().identity)  # type: ignore[arg-type]
    peer.subscribe(snapshot=False)
    await after(world, timers, 59.999)
    assert value(world, "a") == "v"
    await after(world, timers, 0.001)
    assert value(world, "a") is None
    [delete, _] = (await world.ask(ConfigurationHistory(name="a"))).changes
    assert (delete.operation, delete.description, delete.modifiedBy) == ("delete", "expired", None)
    assert [(frame["operation"], frame["description"]) for frame in peer.frames[1:]] == [("delete", "expired")]
    assert value(world, "b") == "v"
    await after(world, timers, 3_600)
    assert value(world, "b") is None
    assert not world.ledger.kind("schedule").live


async def test_puts_of_a_transaction_expire(world: World) -> None:
    """Each at its own time, counted from when it is written; the reply shows the configurations only."""
    timers = timers_of(world)
    changes = [change("a", ttl=10), change("b"), change("c", expires="2026-03-01T10:00:00Z")]
    reply = await world.ask(ConfigurationTransact(changes=changes))
    assert [each.name for each in reply.configurations] == ["a", "b", "c"]
    await after(world, timers, 10)
    assert [value(world, name) for name in "abc"] == [None, "new", "new"]
    await plan(world, 60, change("later", ttl=10))
    await after(world, timers, 60)
    assert value(world, "later") == "new"
    await after(world, timers, 10)
    assert value(world, "later") is None
    await after(world, timers, 3_600)
    assert (value(world, "c"), len(world.ledger.kind("schedule").live)) == (None, 0)


async def test_an_error_of_a_transaction_names_the_put_that_cannot_expire(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its index, whether its time is wrong, it is a delete, or there is no room; each counts as two writes."""
    await put(world, "there")
    for wrong, error in (
        (change("a", ttl=0), OutOfBounds),
        (change("a", ttl=5, expires="2099-01-01T00:00:00Z"), InvalidParameters),
        (change("there", None, ttl=5), InvalidParameters),
    ):
        with pytest.raises(error) as refused:
            await world.ask(ConfigurationTransact(changes=[change("b"), wrong]))
        assert refused.value.members["index"] == 1
    with pytest.raises(OutOfBounds, match=r"changes\[1\].expires must be after at"):
        await plan(world, 3_600, change("b"), change("a", expires="2026-03-01T10:00:00Z"))
    many = [change(f"n{number}", ttl=5 if number < 2 else None) for number in range(999)]
    with pytest.raises(InvalidParameters, match="expires counts twice"):
        await world.ask(ConfigurationTransact(changes=many))
    with pytest.raises(InvalidParameters, match="with at, changes may have at most 999 items"):
        await plan(world, 5, *many[1:], change("x"))
    await plan(world, 5, *many[1:])
    assert len(world.ledger.kind("schedule").live) == 1
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 2)
    with pytest.raises(NotAllowed) as full:
        await world.ask(ConfigurationTransact(changes=[change("b"), change("a", ttl=5), change("c", ttl=5)]))
    assert full.value.members["index"] == 2
    assert value(world, "b") is None


async def test_a_configuration_that_is_put_again_does_not_expire(world: World) -> None:
    """Nor one that was deleted and created anew; a put with another time moves it."""
    timers = timers_of(world)
    for name in ("kept", "anew", "moved"):
        await put(world, name, ttl=10)
    await put(world, "kept")
    await world.ask(ConfigurationDelete(name="anew"))
    await put(world, "anew")
    await put(world, "moved", ttl=20)
    await after(world, timers, 10)
    assert [value(world, name) for name in ("kept", "anew", "moved")] == ["v", "v", "v"]
    await after(world, timers, 10)
    assert [value(world, name) for name in ("kept", "anew", "moved")] == ["v", "v", None]
    assert not world.ledger.kind("schedule").live


async def test_a_put_at_the_same_moment_as_the_expiry_wins_or_creates_anew(world: World) -> None:
    """Whichever is first, the value of the put is there, and nothing is left over."""
    timers = timers_of(world)
    await put(world, "a", ttl=10)
    world.clock.time += 10 * SECOND
    await asyncio.gather(put(world, "a", "new"), timers.fire())
    assert value(world, "a") == "new"
    await timers.fire()
    assert not world.ledger.kind("schedule").live


async def test_of_many_that_expire_at_once_each_is_deleted_once(world: World) -> None:
    """In one go, however many they are."""
    timers = timers_of(world)
    await asyncio.gather(*(put(world, f"n{number}", ttl=5) for number in range(1_200)))
    await after(world, timers, 5)
    kind = world.ledger.kind("configuration")
    assert (len(kind.live), {each.version for each in kind.tombstones.values()}) == (0, {2})


async def test_the_clock_may_jump(world: World) -> None:
    """Back: it happens later, by the clock; forward: at once, in the order of the times."""
    timers = timers_of(world)
    await put(world, "a", ttl=60)
    await after(world, timers, -3_600)
    await after(world, timers, 3_659)
    assert value(world, "a") == "v"
    await plan(world, 20, change("a", "third"))
    await plan(world, 10, change("a", "second"))
    await after(world, timers, 86_400)
    assert value(world, "a") == "third"


async def test_times_that_make_no_sense_are_refused(world: World) -> None:
    """Of a put and of a transaction."""
    bad: list[dict[str, Any]] = [
        {"ttl": 0},
        {"ttl": -5},
        {"ttl": 2**60},
        {"expires": "tomorrow"},
        {"expires": "2026-02-01T00:00:00Z"},
        {"expires": "1772357400123000"},
        {"expires": "2030-01-01T00:00:00Z", "ttl": 5},
    ]
    for members in bad:
        with pytest.raises((OutOfBounds, InvalidParameters)):
            await put(world, "a", **members)
    with pytest.raises(OutOfBounds, match="at must be in the future"):
        await plan(world, 0, change("a"))
    with pytest.raises(InvalidParameters, match="with at, changes may have at most 999 items"):
        await plan(world, 5, *(change(f"n{number}") for number in range(1_000)))


async def test_a_transaction_is_written_at_its_time(world: World) -> None:
    """All of it, by its author, under one revision; the reply says under which number it waits."""
    timers = timers_of(world)
    await put(world, "old")
    reply = await plan(world, 60, change("a", description="opening"), change("old", None))
    assert (reply.schedule, reply.revision, reply.configurations) == (1, world.ledger.revision, UNSET)
    await after(world, timers, 59)
    assert value(world, "a") is None
    await after(world, timers, 1)
    assert (value(world, "a"), value(world, "old")) == ("new", None)
    [written] = (await world.ask(ConfigurationHistory(name="a"))).changes
    assert (written.modifiedBy, written.description, written.revision) == ("admin", "opening", world.ledger.revision)
    assert (await world.ask(ScheduleList())).schedules == []
    await after(world, timers, 3_600)
    assert (await world.ask(ConfigurationGet(name="a"))).configuration.entityVersion == 1


async def test_a_transaction_that_is_impossible_now_is_refused_now(world: World) -> None:
    """By its versions, its schema, and what it lacks; nothing is scheduled then."""
    await world.ask(SchemaPut(names="n", schema=Raw(b'{"type":"integer"}')))
    for wrong, error in (
        (change("a", entityVersion=5), VersionConflict),
        (change("n", "x"), DoesNotFit),
        (change("missing", None), NotFound),
        (change("a", ""), OutOfBounds),
    ):
        with pytest.raises(error):
            await plan(world, 60, wrong)
    with pytest.raises(AccessDenied):
        await plan(world, 60, change("b"), caller=world.caller(c=["a*"]))
    assert not world.ledger.kind("schedule").live
    tried = await plan(world, 60, change("a"), dryRun=True)
    assert (tried.dryRun, tried.schedule, tried.revision) == (True, 1, UNSET)
    assert not world.ledger.kind("schedule").live


async def test_it_is_judged_again_at_its_time(world: World) -> None:
    """What changed meanwhile counts: versions and schemas. The reason stays in the list until it is cancelled, so it
    repeats nothing of the value, which may become secret."""
    timers = timers_of(world)
    created = times.render(world.clock.time)
    await plan(world, 60, change("a", "1", entityVersion=0))
    await plan(world, 60, change("b", "text"))
    await plan(world, 60, change("c", "5"))
    await put(world, "a", "7")
    await world.ask(SchemaPut(names="*", schema=Raw(b'{"type":"integer"}'), force=True))
    await after(world, timers, 60)
    assert [value(world, name) for name in "abc"] == ["7", None, "5"]
    failed = (await world.ask(ScheduleList())).schedules
    assert [each.failed for each in failed] == [
        "changes[0]: Configuration 'a' is at version 1, not 0",
        "changes[0]: Configuration 'b' does not fit its schema",
    ]
    assert [(each.created, each.createdBy) for each in failed] == [(created, "admin")] * 2, "not those of the failure"
    await after(world, timers, 3_600)
    assert value(world, "b") is None
    await world.ask(ScheduleCancel(schedule=1))
    assert [each.schedule for each in (await world.ask(ScheduleList())).schedules] == [2]


@pytest.mark.parametrize("what", ["role", "locked", "deleted", "revoked"])
async def test_it_needs_the_rights_of_its_author_at_its_time(world: World, what: str) -> None:
    """Another role, a locked or deleted user, and revoked tokens end them; the token's own age does not."""
    await world.ledger.commit(world.users.write("boss", UserContent(HASHER.hash("x"), Role.ADMIN), None))
    boss = world.users.by_login("boss") or pytest.fail()
    timers = timers_of(world)
    await plan(world, 86_400, change("fine"))
    await plan(world, 86_400, change("a"), caller=world.caller(boss.id))
    content = boss.content
    transaction = {
        "role": lambda: world.users.replace(boss, content.with_role(Role.CLIENT), None),
        "locked": lambda: world.users.replace(boss, structs.replace(content, status=Status.LOCKED_OUT), None),
        "deleted": lambda: world.users.delete(boss, None),
        "revoked": lambda: world.users.replace(boss, structs.replace(content, generation=1), None),
    }[what]()
    await world.ledger.commit(transaction)
    await after(world, timers, 86_400)
    assert (value(world, "a"), value(world, "fine")) == (None, "new")
    [failed] = (await world.ask(ScheduleList())).schedules
    assert failed.failed


async def test_a_token_of_some_names_schedules_and_sees_only_these(world: World) -> None:
    """Also when its time has come."""
    timers = timers_of(world)
    caller = world.caller(JOHN, a=[13], c=["a*"])
    mine = await plan(world, 60, change("a"), caller=caller)
    other = await plan(world, 60, change("b"), change("a2"))
    await put(world, "b.expiring", ttl=60)
    await put(world, "a.expiring", ttl=60)
    listed = (await world.ask(ScheduleList(), caller)).schedules
    assert [(each.schedule, [part.name for part in each.changes]) for each in listed] == [
        (mine.schedule, ["a"]),
        (other.schedule, ["a2"]),
        (None, ["a.expiring"]),
    ]
    with pytest.raises(NotFound, match=f"There is no schedule {other.schedule}"):
        await world.ask(ScheduleCancel(schedule=other.schedule), caller)
    await after(world, timers, 60)
    assert (value(world, "a"), value(world, "b")) == ("new", "new")


async def test_schedules_are_listed_and_cancelled(world: World) -> None:
    """In the order of their times, with what they would write; a cancelled one is not carried out."""
    timers = timers_of(world)
    await plan(world, 120, change("late"))
    await plan(world, 60, change("soon", "5"))
    await put(world, "expiring", ttl=90)
    listed = await world.ask(ScheduleList())
    assert listed.count == 3
    assert [(each.schedule, each.at, each.createdBy, each.failed) for each in listed.schedules] == [
        (2, "2026-03-01T09:31:00.123", "admin", UNSET),
        (None, "2026-03-01T09:31:30.123", "admin", UNSET),
        (1, "2026-03-01T09:32:00.123", "admin", UNSET),
    ]
    assert [[(part.operation, part.name, part.value) for part in each.changes] for each in listed.schedules] == [
        [("put", "soon", "5")],
        [("delete", "expiring", None)],
        [("put", "late", "new")],
    ]
    assert [each.schedule for each in (await world.ask(ScheduleList(take=1, skip=2))).schedules] == [1]
    assert (await world.ask(ScheduleList(schedule=2))).schedules == [listed.schedules[0]]
    assert (await world.ask(ScheduleCancel(schedule=2, dryRun=True))).dryRun
    assert (await world.ask(ScheduleCancel(schedule=2))).revision == world.ledger.revision
    for number in (2, 99):
        for gone in (ScheduleCancel(schedule=number), ScheduleList(schedule=number)):
            with pytest.raises(NotFound, match=f"There is no schedule {number}"):
                await world.ask(gone)
    await after(world, timers, 200)
    assert [value(world, name) for name in ("soon", "expiring", "late")] == [None, None, "new"]


async def test_what_waits_has_to_fit_a_new_schema(world: World) -> None:
    """As what is stored does; not what failed, and not under a schema that is forced."""
    await plan(world, 60, change("n", "text"), change("m", "5"))
    integer = Raw(b'{"type":"integer"}')
    with pytest.raises(ValuesDoNotFit, match="'n': it is not JSON"):
        await world.ask(SchemaPut(names="*", schema=integer))
    await world.ask(SchemaPut(names="m", schema=integer))
    await world.ask(SchemaPut(names="*", schema=integer, force=True))


async def test_there_is_room_for_so_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules and expiring configurations together; one that is put again takes no more."""
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 2)
    await put(world, "a", ttl=60)
    await plan(world, 60, change("b"))
    await put(world, "a", ttl=90)
    with pytest.raises(NotAllowed, match="There are 2 schedules and expiring configurations already"):
        await put(world, "c", ttl=60)
    with pytest.raises(NotAllowed, match="There are 2 schedules and expiring configurations already"):
        await plan(world, 60, change("c"))
    await put(world, "c")


async def test_an_expiry_that_nothing_waits_for_takes_no_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted or put again long before its time is forgotten, on disk and in memory; what waits is not."""
    monkeypatch.setattr(timers_module, "TIDY", 10)
    timers, longest = timers_of(world), 86_400
    await put(world, "waits", ttl=longest)
    for number in range(20):
        await put(world, f"n{number}", ttl=longest)
        await world.ask(ConfigurationDelete(name=f"n{number}"))
        await put(world, "renewed", ttl=longest + number)
    await timers.fire()
    assert {*world.ledger.kind("schedule").live} == {"configuration/waits", "configuration/renewed"}
    assert len(timers._due) == 2
    await after(world, timers, longest)
    assert (value(world, "waits"), value(world, "renewed")) == (None, "v")
    await after(world, timers, 19)
    assert value(world, "renewed") is None


async def test_what_is_overdue_at_a_start_is_carried_out_once() -> None:
    """Over a restart, by the task that runs in a gateway; a second start finds nothing to do."""
    first = await World().open()
    await put(first, "a", ttl=60)
    await plan(first, 30, change("b"))
    await first.close()
    for _ in range(2):
        again = World(journal=first.journal)
        again.clock.time += 61 * SECOND
        await again.load()
        again.services.schemas.start()
        timers = Timers(again.dispatcher)
        timers.start()
        while again.ledger.kind("schedule").live:
            await asyncio.sleep(0)
        assert (value(again, "a"), value(again, "b")) == (None, "new")
        assert (again.ledger.kind("configuration").last("b") or pytest.fail()).version == 1
        await timers.close()
        await again.close()


async def test_of_several_gateways_one_carries_it_out() -> None:
    """Each has its own clock and tries; also one that has not yet heard of what another has done."""
    async with site(3) as gateways:
        first = gateways[0]
        await put(first, "a", ttl=5)
        await plan(first, 5, change("b"))
        for gateway in gateways:
            gateway.hear()
        clocks = [timers_of(gateway) for gateway in gateways]
        gateways[2].miss(misled=True)
        for gateway in gateways:
            gateway.clock.time += 5 * SECOND
        await asyncio.gather(*(timers.fire() for timers in clocks))
        for gateway in gateways:
            gateway.hear()
            await asyncio.sleep(0)
            kind = gateway.ledger.kind("configuration")
            assert [(kind.last(name) or pytest.fail()).version for name in "ab"] == [2, 1]
            assert not gateway.ledger.kind("schedule").live


async def test_it_waits_while_the_storage_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is carried out when the storage works again."""
    timers = timers_of(world)
    await put(world, "a", ttl=5)
    await plan(world, 5, change("b"))

    async def full(changes: Any, *, behind: int) -> bool:
        raise NotDurable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(world.journal, "append", full)
        with pytest.raises(NotDurable):
            await after(world, timers, 5)
    assert [value(world, name) for name in "ab"] == ["v", None]
    await after(world, timers, 1)
    assert [value(world, name) for name in "ab"] == [None, "new"]


async def test_a_layer_s_configuration_expires_and_no_rollout_may_change_it() -> None:
    """What expires cannot be in a rollout, and what a rollout holds cannot be made to expire."""
    async with fleet("lamp") as world:
        timers = timers_of(world)
        await world.do("configuration/put", name="baud", value="9600", layer="global", ttl=60)
        change = {"operation": "put", "name": "baud", "value": "19200"}
        asked = {"layer": "global", "changes": [change], "steps": [{"percent": 1}, {"percent": 100}]}
        refused = await world.no("rollout/start", **asked)
        assert refused == (409, "Configuration 'baud' of layer 'global' expires")
        await world.put("global", other="1")
        both = {**asked, "changes": [change | {"name": "other"}]}
        [_, late] = await asyncio.gather(
            world.do("configuration/put", name="other", value="2", layer="global", ttl=60),
            world.no("rollout/start", **both),
        )
        assert late == (409, "Configuration 'other' of layer 'global' expires")
        await world.put("global", other=None)
        world.clock.time += 60 * SECOND
        await timers.fire()
        assert await world.has("lamp") == {}
        await world.put("global", baud="9600")
        await world.do("rollout/start", **asked)
        held = await world.no("configuration/put", name="baud", value="1", layer="global", ttl=60)
        assert held[0] == 409
        misfit = await world.no("schema/put", names="baud", schema={"type": "integer", "maximum": 10_000})
        assert misfit == (
            409,
            "Stored configurations do not fit this schema: 'baud': 19200 is greater than the maximum of 10000",
        )


async def test_what_looks_at_all_schedules_or_rollouts_does_it_in_steps(
    monkeypatch: pytest.MonkeyPatch, steps_of: Callable[..., list[int]]
) -> None:
    """There may be 10,000, and the event loop serves others meanwhile. To cancel one looks at no other."""
    async with fleet("a") as world:
        at, put = world.clock.time + 60_000, {"operation": "put", "value": "1"}
        for number in range(3):
            await world.do("configuration/transact", changes=[{**put, "name": f"n{number}"}], at=at)
        for name in "xy":
            changes, last = [{**put, "name": name}], [{"percent": 100}]
            await world.do("rollout/start", layer="global", changes=changes, steps=last)
        steps = steps_of(schedule, schema, rollout, survey)
        assert len((await world.do("schedule/list"))["schedules"]) == 3
        assert len((await world.do("rollout/list"))["rollouts"]) == 2
        await world.do("schema/put", names="z*", schema=True)
        keys, stored, waiting, judged = 0, 0, 3 + 2, 3 + 2
        assert steps == [2 * 3, 2, keys, stored, waiting, judged]
        decoded: list[Change] = []
        for module in (schedule, schedules):
            monkeypatch.setattr(module, "scheduled_of", lambda change: decoded.append(change) or found_in(change))
        await world.do("schedule/cancel", schedule=2)
        assert {change.key for change in decoded} == {"2"}
