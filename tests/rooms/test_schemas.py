"""Schemas of configurations: which one a name has, what is refused, and that nothing gets past them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec import UNSET, Raw

from hivewire.ledger.records import Change, Transaction, Unfit, Write
from hivewire.schemas import schemas, survey
from hivewire_protocol.errors import (
    AccessDenied,
    DoesNotFit,
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    Unavailable,
    ValuesDoNotFit,
    VersionConflict,
)
from hivewire_protocol.nouns.configuration import (
    TEXT,
    ConfigurationDelete,
    ConfigurationPut,
    ConfigurationRollback,
    ConfigurationTransact,
    TransactChange,
)
from hivewire_protocol.nouns.schema import SchemaCheck, SchemaDelete, SchemaHistory, SchemaList, SchemaPut
from tests.world import World, opened

PORTS = {"type": "array", "items": {"type": "integer", "maximum": 65535}}
NUMBER = {"type": "integer"}


def raw(schema: Any) -> Raw:
    return Raw(json.dumps(schema).encode())


async def define(world: World, names: str, schema: Any = UNSET, **members: Any) -> Any:
    """The reply to a put of a schema."""
    return await world.ask(SchemaPut(names=names, schema=raw(schema) if schema is not UNSET else UNSET, **members))


async def put(world: World, name: str, value: str, **members: Any) -> Any:
    return await world.ask(ConfigurationPut(name=name, value=value, **members))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world
        await world.services.pool.close()


async def test_a_value_that_does_not_fit_is_refused_with_its_problems(world: World) -> None:
    """Nothing is written, and a value that fits is."""
    await define(world, "ports", PORTS)
    with pytest.raises(DoesNotFit) as refused:
        await put(world, "ports", "[80,443,70000]")
    assert str(refused.value) == (
        "Configuration 'ports' does not fit its schema: /2: 70000 is greater than the maximum of 65535"
    )
    [problem] = refused.value.members["problems"]
    assert (problem.pointer, problem.rule) == ("/2", "/items/maximum")
    assert world.ledger.get("configuration", "ports") is None
    assert (await put(world, "ports", "[80]")).configuration.entityVersion == 1


async def test_the_exact_name_counts_before_the_longest_prefix(world: World) -> None:
    """A shorter prefix, and the exact name of another configuration, do not count."""
    for names, least in (("*", 1), ("a.*", 10), ("a.b.*", 100), ("a.b.c", 1_000)):
        await define(world, names, {"minimum": least})
    for name, least in (("z", 1), ("a.z", 10), ("a.b.z", 100), ("a.b.c", 1_000), ("a.b.cd", 100), ("a.", 10)):
        with pytest.raises(DoesNotFit, match=f"minimum of {least}$"):
            await put(world, name, str(least - 1))
        await put(world, name, str(least))
    await world.ask(SchemaDelete(names="a.b.*"))
    await put(world, "a.b.z", "10")


async def test_transactions_and_rollbacks_are_judged_too(world: World) -> None:
    """The error of a transaction says which of its changes; a delete needs no value."""
    await put(world, "n", "text")
    await put(world, "n", "1")
    await define(world, "n", NUMBER)
    with pytest.raises(DoesNotFit):
        await world.ask(ConfigurationRollback(name="n", to=1))
    changes = [TransactChange(operation="put", name=name, value="x") for name in ("m", "n")]
    with pytest.raises(DoesNotFit, match=r"changes\[1\]: Configuration 'n'") as refused:
        await world.ask(ConfigurationTransact(changes=changes))
    assert refused.value.members["index"] == 1
    assert world.ledger.get("configuration", "m") is None
    await world.ask(ConfigurationDelete(name="n"))


async def test_a_dry_run_is_judged_like_the_write(world: World) -> None:
    """By the same schema, with the same words."""
    await define(world, "n", NUMBER)
    with pytest.raises(DoesNotFit):
        await put(world, "n", "x", dryRun=True)
    assert (await put(world, "n", "1", dryRun=True)).dryRun


async def test_what_others_write_is_judged_by_the_ledger(world: World) -> None:
    """Whoever does not ask before, such as a future door, is refused when its write is evaluated."""
    await define(world, "n", NUMBER)
    for kind, key in (("configuration", "n"), ("layerConfiguration", "base/n"), ("layerConfiguration", "device/d-1/n")):
        with pytest.raises(Unfit) as refused:
            await world.ledger.commit(Transaction([Write(kind, key, b"x", TEXT)], "admin"))
        assert isinstance(refused.value.error, DoesNotFit)
        await world.ledger.commit(Transaction([Write(kind, key, b"1", TEXT)], "admin"))
    await world.ledger.commit(Transaction([Write("layerConfiguration", "n/m", b"x", TEXT)], "admin"))


async def test_a_schema_that_comes_at_the_same_time_counts(world: World) -> None:
    """A put that was judged before is judged again behind it; one before it counts as stored."""
    found = await asyncio.gather(
        define(world, "n", NUMBER, force=True), put(world, "n", "x"), put(world, "n", "1"), return_exceptions=True
    )
    assert [type(each).__name__ for each in found] == ["SchemaReply", "DoesNotFit", "ConfigurationReply"]
    others = await asyncio.gather(put(world, "m", "x"), define(world, "m", NUMBER), return_exceptions=True)
    assert [type(each).__name__ for each in others] == ["ConfigurationReply", "ValuesDoNotFit"]
    assert (await world.ask(SchemaList(name="m"))).schemas == []


async def test_schemas_that_come_at_the_same_time_are_read_where_they_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all of them with each write: both may be very many."""
    read, rule_after = list[str](), schemas.rule_after

    def counted(change: Change) -> Any:
        read.append(change.key)
        return rule_after(change)

    defining = [define(world, names, NUMBER, force=True) for names in ("a*", "b*", "c*")]
    writes = [Write("configuration", name, b"1", TEXT) for name in ("a1", "a2", "d")]
    monkeypatch.setattr(schemas, "rule_after", counted)
    await asyncio.gather(*defining, world.ledger.commit(Transaction(writes, "admin")))
    assert read == ["a*", "a*", "a*", "b*", "c*"], "for two of the writes, and when they are applied"


async def test_a_schema_that_ends_at_the_same_time_does_not_count(world: World) -> None:
    """The put behind its delete was refused already when it came; the one after it is not."""
    await define(world, "n*", NUMBER)
    await define(world, "n", {"type": "string"})
    await asyncio.gather(world.ask(SchemaDelete(names="n")), world.ledger.commit(_write("n", b"1")))
    await world.ask(SchemaDelete(names="n*"))
    await put(world, "n", "x")


def _write(name: str, content: bytes) -> Transaction:
    return Transaction([Write("configuration", name, content, TEXT)], "admin")


async def test_stored_values_have_to_fit_a_new_schema(world: World) -> None:
    """Unless it is forced: then they stay as they are. Those that another schema comes first for do not matter."""
    await put(world, "a.exact", "x")
    await define(world, "a.exact*", {"type": "string"})
    with pytest.raises(ValuesDoNotFit):
        await define(world, "a.exact", NUMBER)
    await define(world, "a.exact", {"type": "string"})
    for number in range(30):
        await put(world, f"a.{number}", "x" if number % 2 else "1")
    with pytest.raises(ValuesDoNotFit) as refused:
        await define(world, "a.*", NUMBER)
    misfits = refused.value.members["misfits"]
    assert {each.name for each in misfits} == {f"a.{number}" for number in range(1, 30, 2)}
    assert str(refused.value).startswith("Stored configurations do not fit this schema: 'a.1': it is not JSON")
    assert str(refused.value).endswith(" (and 14 more)")
    reply = await define(world, "a.*", NUMBER, force=True)
    assert reply.schema.entityVersion == 1
    with pytest.raises(DoesNotFit):
        await put(world, "a.1", "y")


async def test_values_are_looked_for_in_each_layer_and_not_among_other_names(
    world: World, steps_of: Callable[..., list[int]]
) -> None:
    """Layers may have 100,000 names that a schema is not for, and names of layers begin with those of others."""
    layers = ["a", "a-b", "a.b", "a0", "device/a", "device/a.b", "device/a0", "z"]
    keys = [f"{layer}/{name}" for layer in layers for name in ("m.0", f"n.{layers.index(layer)}", "n0", "o.1", "o.2")]
    for at in range(0, len(keys), 10):
        await world.ledger.commit(
            Transaction([Write("layerConfiguration", key, b"x", TEXT) for key in keys[at : at + 10]], "admin")
        )
    steps = steps_of(survey)
    with pytest.raises(ValuesDoNotFit) as refused:
        await define(world, "n.*", NUMBER)
    misfits = [each.name for each in refused.value.members["misfits"]]
    assert sorted(misfits) == [f"n.{at}" for at in range(len(layers))]
    assert steps[:2] == [len(layers), len(layers)]


async def test_values_that_are_written_during_the_survey_are_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are: they are looked at before the schema is written, or with it."""
    for few in (True, False):
        monkeypatch.setattr(survey, "LITTLE", 100 if few else 0)
        monkeypatch.setattr(survey, "in_slices", interrupted := Interrupted(world, f"c{few}.late"))
        with pytest.raises(ValuesDoNotFit) as refused:
            await define(world, f"c{few}.*", NUMBER)
        assert interrupted.steps == [0, 0, 0 if few else 1], "keys, stored values, and what waits or was written since"
        assert [each.name for each in refused.value.members["misfits"]] == [f"c{few}.late"]
        assert not world.services.schemas.surveys


async def test_other_names_that_are_written_with_a_schema_are_not_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each of them is asked what its schema is, once, and not again with each schema."""
    asked, then = list[str](), schemas.Schemas.then
    monkeypatch.setattr(
        schemas.Schemas, "then", lambda self, name, state: asked.append(name) or then(self, name, state)
    )
    await asyncio.gather(world.store("b1", "b2", value="1"), *[define(world, names, NUMBER) for names in ("a*", "b1*")])
    assert asked == ["b1", "b2", "b1"]


class Interrupted:
    """In place of `in_slices`: all at once, and then somebody else writes. `steps` are those of each work."""

    def __init__(self, world: World, name: str) -> None:
        self.steps: list[int] = []
        self._world, self._name = world, name

    async def __call__(self, steps: Any) -> Any:
        self.steps.append(0)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                if len(self.steps) == 1:
                    await self._world.store(self._name, value="x")
                return end.value
            self.steps[-1] += 1


async def test_values_that_take_long_are_judged_by_a_new_schema_if_they_are_few(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored ones, and those that are to be written later: each may take 2 s."""
    monkeypatch.setattr(survey, "MAX_HEAVY", 1)
    monkeypatch.setattr("hivewire.schemas.compiled.LIGHT", 0)
    changes = [TransactChange(operation="put", name=f"later.{number}", value="1") for number in range(2)]
    await world.ask(ConfigurationTransact(changes=changes, at=str(world.clock() + 1_000)))
    for number in range(2):
        await put(world, f"stored.{number}", "1")
    for names in ("later.*", "stored.*"):
        with pytest.raises(ValuesDoNotFit, match="too costly: more than 20 values take long to judge"):
            await define(world, names, NUMBER)


LONG = {"type": "array", "items": {"enum": [{"a": number} for number in range(2_000)]}}


async def test_what_takes_long_is_judged_in_a_process(world: World) -> None:
    """With the same answers: of puts, transactions, surveys and checks."""
    await define(world, "long*", LONG)
    await put(world, "long", json.dumps([{"a": 1}] * 200))
    wrong = json.dumps([{"a": 5_000}] * 200)
    with pytest.raises(DoesNotFit, match="/0: ") as refused:
        await put(world, "long", wrong)
    assert len(refused.value.members["problems"]) == 20
    changes = [TransactChange(operation="put", name=name, value=wrong) for name in ("else", "long")]
    with pytest.raises(DoesNotFit) as refused:
        await world.ask(ConfigurationTransact(changes=changes))
    assert refused.value.members["index"] == 1
    assert not (await world.ask(SchemaCheck(name="long", value=wrong))).fits
    await put(world, "else", wrong)
    with pytest.raises(ValuesDoNotFit):
        await define(world, "else", LONG)


async def test_what_takes_too_long_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two seconds of a processor; the gateway goes on meanwhile."""
    monkeypatch.setattr(schemas, "judgement", endless)
    await define(world, "long", LONG)
    slow = asyncio.create_task(put(world, "long", json.dumps([{"a": 1}] * 200)))
    await put(world, "other", "x")
    with pytest.raises(DoesNotFit, match="too costly"):
        await slow


async def test_a_judge_that_somebody_kills_says_nothing_of_the_value(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the system when its memory is full: the write may be sent again, and a schedule waits. So it is with one
    that gets no processor."""
    await define(world, "long", LONG)
    monkeypatch.setattr(schemas, "judgement", killed)
    with pytest.raises(Unavailable, match="ended; try again"):
        await put(world, "long", json.dumps([{"a": 1}] * 200))
    monkeypatch.setattr(schemas, "judgement", suspended)
    monkeypatch.setattr("hivewire.process_pool.WORK_SECONDS", 0.01)
    with pytest.raises(Unavailable, match="took over"):
        await put(world, "long", json.dumps([{"a": 1}] * 200))


def killed(schema: bytes, content: bytes, secret: bool) -> Any:
    """As `judgement`, in a process that is killed meanwhile."""
    os.kill(os.getpid(), signal.SIGKILL)
    yield


def suspended(schema: bytes, content: bytes, secret: bool) -> Any:
    """As `judgement`, in a process that is suspended meanwhile."""
    os.kill(os.getpid(), signal.SIGSTOP)
    yield


def endless(schema: bytes, content: bytes, secret: bool) -> Any:
    """As `judgement`, with a value that takes for ever."""
    signal.setitimer(signal.ITIMER_PROF, 0.05)
    yield
    while True:
        pass


async def test_a_long_value_that_does_not_fit_is_described_in_a_process(world: World) -> None:
    """Each of its problems repeats it."""
    await define(world, "n", NUMBER)
    with pytest.raises(DoesNotFit, match="is not of type") as refused:
        await put(world, "n", json.dumps("x" * 5_000))
    assert len(str(refused.value)) < 300


async def test_checks_write_nothing(world: World) -> None:
    """A value by its name or by a schema, and stored values by a schema that is not there."""
    await define(world, "n*", NUMBER)
    await put(world, "m", "x")
    revision = world.ledger.revision
    by_name = await world.ask(SchemaCheck(name="n1", value="x"))
    assert (by_name.fits, by_name.names, len(by_name.problems)) == (False, "n*", 1)
    free = await world.ask(SchemaCheck(name="m", value="x"))
    assert (free.fits, free.names, free.problems) == (True, None, [])
    by_schema = await world.ask(SchemaCheck(schema=raw(NUMBER), value="5"))
    assert (by_schema.fits, by_schema.names) == (True, None)
    stored = await world.ask(SchemaCheck(names="m", schema=raw(NUMBER)))
    assert (stored.fits, [each.name for each in stored.misfits]) == (False, ["m"])
    assert world.ledger.revision == revision
    for wrong in (
        {},
        {"name": "n"},
        {"value": "1"},
        {"names": "n", "value": "1"},
        {"schema": raw(NUMBER), "name": "n"},
    ):
        with pytest.raises(InvalidParameters):
            await world.ask(SchemaCheck(**wrong))


async def test_the_history_of_a_schema_outlives_it(world: World) -> None:
    """Newest first, with who and why, over more than is read at once; a token needs all the names."""
    for number in range(30):
        await define(world, "h*", {"maximum": number}, description=f"no. {number}")
    await world.ask(SchemaDelete(names="h*", description="done"))
    await world.ask(SchemaPut(names="h*", secret=True))
    found = (await world.ask(SchemaHistory(names="h*", take=100))).changes
    assert [each.operation for each in found] == ["put", "delete", *["put"] * 30]
    assert [each.entityVersion for each in found] == [1, 0, *range(30, 0, -1)]
    assert [bytes(each.schema) for each in found[:3]] == [b"null", b"null", b'{"maximum":29}']
    assert [each.secret for each in found[:2]] == [True, False]
    assert (found[1].description, found[-1].description) == ("done", "no. 0")
    assert len((await world.ask(SchemaHistory(names="h*"))).changes) == 20
    with pytest.raises(NotFound):
        await world.ask(SchemaHistory(names="h"))
    with pytest.raises(AccessDenied):
        await world.ask(SchemaHistory(names="h*"), world.caller(c=["ha*"]))


async def test_schemas_are_listed_changed_and_deleted(world: World) -> None:
    """Each within the names of the token; versions and revisions are expected like those of configurations."""
    first = await define(world, "b*", NUMBER, description="why")
    await define(world, "a", True, entityVersion=0)
    await define(world, "b*", {"type": "number"}, revision=first.revision)
    listed = await world.ask(SchemaList())
    assert [(each.names, bytes(each.schema), each.entityVersion) for each in listed.schemas] == [
        ("a", b"true", 1),
        ("b*", b'{"type":"number"}', 2),
    ]
    assert (listed.count, listed.schemas[0].modifiedBy) == (2, "admin")
    assert [each.names for each in (await world.ask(SchemaList(after="a"))).schemas] == ["b*"]
    assert [each.names for each in (await world.ask(SchemaList(take=1))).schemas] == ["a"]
    assert [each.names for each in (await world.ask(SchemaList(name="b1"))).schemas] == ["b*"]
    for version in (0, 1):
        with pytest.raises(VersionConflict, match=f"The schema of 'b\\*' is at version 2, not {version}"):
            await define(world, "b*", True, entityVersion=version)
    with pytest.raises(VersionConflict, match=f"not {first.revision}"):
        await world.ask(SchemaDelete(names="b*", revision=first.revision))
    assert (await world.ask(SchemaDelete(names="b*", dryRun=True))).revision is UNSET
    deleted = await world.ask(SchemaDelete(names="b*", entityVersion=2))
    assert deleted.revision == world.ledger.revision
    with pytest.raises(NotFound, match=r"There is no schema for 'b\*'"):
        await world.ask(SchemaDelete(names="b*"))
    tried = await define(world, "c", NUMBER, dryRun=True)
    assert (tried.dryRun, tried.revision) == (True, UNSET)
    assert (await world.ask(SchemaList())).count == 1


async def test_a_token_changes_only_schemas_of_its_names(world: World) -> None:
    """All of the names have to be among its own; what it sees has some of them."""
    await define(world, "a.b*", NUMBER)
    await define(world, "z", NUMBER)
    caller = world.caller(c=["a.*"])
    for names in ("*", "a*", "b"):
        with pytest.raises(AccessDenied):
            await world.ask(SchemaPut(names=names, schema=raw(True)), caller)
    await world.ask(SchemaPut(names="a.*", schema=raw(True)), caller)
    assert [each.names for each in (await world.ask(SchemaList(), caller)).schemas] == ["a.*", "a.b*"]
    with pytest.raises(AccessDenied):
        await world.ask(SchemaCheck(name="z", value="1"), caller)
    reader = world.caller(a=[100])
    with pytest.raises(AccessDenied):
        await world.ask(SchemaPut(names="a", schema=raw(True)), reader)
    assert (await world.ask(SchemaCheck(name="z", value="1"), reader)).fits


async def test_names_that_no_schema_can_have_are_refused(world: World) -> None:
    """Patterns that are none, the reserved name, and too long ones."""
    for names in ("", "a*b", "x" * 129):
        with pytest.raises(OutOfBounds):
            await define(world, names, True)
    with pytest.raises(AccessDenied):
        await define(world, "jwt.secret", True)
    with pytest.raises(InvalidParameters, match="give schema, secret, or both"):
        await define(world, "a")
    with pytest.raises(OutOfBounds, match="schema: /type"):
        await define(world, "a", {"type": "nope"})


async def test_descriptions_of_schemas_have_a_bound(world: World) -> None:
    """Also of one that is deleted."""
    await define(world, "a", True, description="x" * 1_024)
    for request in (
        SchemaPut(names="a", schema=raw(True), description="x" * 1_025),
        SchemaDelete(names="a", description="x" * 1_025),
    ):
        with pytest.raises(OutOfBounds, match="description"):
            await world.ask(request)


async def test_there_is_room_for_so_many_schemas(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused, a change of one is not."""
    monkeypatch.setattr("hivewire.actions.schema.MAX_SCHEMAS", 2)
    await define(world, "a", True)
    await define(world, "b", True)
    with pytest.raises(NotAllowed, match="There are 2 schemas already"):
        await define(world, "c", True)
    await define(world, "b", False)


async def test_schemas_are_there_after_a_restart() -> None:
    """And judge from the first request on."""
    first = await World().open()
    await define(first, "n*", NUMBER)
    await first.close()
    second = World(journal=first.journal)
    await second.load()
    second.admin = second.caller()
    with pytest.raises(DoesNotFit):
        await put(second, "n1", "x")
    await second.close()
