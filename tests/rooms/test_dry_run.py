"""Writes that are only tried: they are evaluated like any other, and leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs

from hivewire_protocol.errors import AccessDenied, VersionConflict, WireError
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import (
    ConfigurationDelete,
    ConfigurationHistory,
    ConfigurationPut,
    ConfigurationRollback,
    ConfigurationTransact,
    TransactChange,
)
from tests.world import World

NAMES = st.sampled_from(["a", "b", "c"])
VERSIONS = st.just(UNSET) | st.integers(0, 3)
CHANGES = st.builds(
    TransactChange,
    operation=st.sampled_from(["put", "delete"]),
    name=NAMES,
    value=st.just("v"),
    entityVersion=VERSIONS,
)
WRITES = (
    st.builds(ConfigurationPut, name=NAMES, value=st.sampled_from(["1", ""]), entityVersion=VERSIONS)
    | st.builds(ConfigurationDelete, name=NAMES, entityVersion=VERSIONS)
    | st.builds(ConfigurationRollback, name=NAMES, to=st.integers(1, 2), entityVersion=VERSIONS)
    | st.builds(ConfigurationTransact, changes=st.lists(CHANGES, max_size=3))
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    yield world
    await world.close()


async def outcome(world: World, request: Request) -> dict[str, Any]:
    """The members of the reply, or the code and the text of the error."""
    try:
        reply = await world.ask(request)
    except WireError as error:
        return {"code": error.code, "error": str(error)}
    members = ("configuration", "configurations", "revision", "dryRun")
    return {name: getattr(reply, name, UNSET) for name in members}


@given(before=st.lists(WRITES, max_size=5), last=WRITES)
def test_a_dry_run_tells_what_the_write_would(before: list[Request], last: Request) -> None:
    """The same reply but for the revision, or the same error; and the ledger is as it was."""
    asyncio.run(compared(before, last))


async def compared(before: list[Request], last: Any) -> None:
    world = await World().open()
    for write in before:
        await outcome(world, write)
    kind, revision = world.ledger.kind("configuration"), world.ledger.revision
    state = dict(kind.live), dict(kind.tombstones), kind.last_id, list(kind.keys)
    tried = await outcome(world, structs.replace(last, dryRun=True))
    assert (dict(kind.live), dict(kind.tombstones), kind.last_id, list(kind.keys)) == state
    assert world.ledger.revision == revision
    done = await outcome(world, last)
    if "code" not in done:
        assert (tried.pop("revision"), tried.pop("dryRun")) == (UNSET, True)
        assert (done.pop("revision"), done.pop("dryRun")) == (revision + 1, UNSET)
    assert tried == done
    await world.close()


async def test_a_dry_run_sees_the_writes_before_it_and_those_behind_do_not_see_it(world: World) -> None:
    """Also when all of them share a commit."""
    replies = await asyncio.gather(
        world.ask(ConfigurationPut(name="a", value="1", entityVersion=0)),
        world.ask(ConfigurationPut(name="a", value="2", entityVersion=1, dryRun=True)),
        world.ask(ConfigurationPut(name="b", value="2", dryRun=True)),
        world.ask(ConfigurationPut(name="a", value="3", entityVersion=1)),
        world.ask(ConfigurationPut(name="b", value="3", entityVersion=0)),
    )
    assert [reply.configuration.entityVersion for reply in replies] == [1, 2, 1, 2, 1]
    assert (await world.ask(ConfigurationHistory(name="a"))).changes[0].configuration.value == "3"
    first, second = (world.ledger.get("configuration", name) or pytest.fail() for name in "ab")
    assert second.id == first.id + 1


async def test_a_dry_run_needs_the_right_to_write(world: World) -> None:
    """It would tell about names that the token does not reach."""
    with pytest.raises(AccessDenied):
        await world.ask(ConfigurationPut(name="a", value="1", dryRun=True), world.caller(a=[100]))


async def test_nobody_who_follows_hears_of_it(world: World) -> None:
    """Observers of the ledger are not called."""
    heard: list[Any] = []
    world.ledger.observe(heard.append)
    await world.ask(ConfigurationPut(name="a", value="1", dryRun=True))
    await world.ask(ConfigurationTransact(changes=[TransactChange(operation="put", name="b", value="1")], dryRun=True))
    assert not heard
    with pytest.raises(VersionConflict):
        await world.ask(ConfigurationPut(name="a", value="1", entityVersion=3, dryRun=True))
