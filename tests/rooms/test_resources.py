"""Replies that are encoded once: never an old one, and never more than the cache may hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.journal import Entry
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.process_pool import ProcessPool
from hivewire.resources import CACHE_BYTES, ENTRY_BYTES, ResourceReply, Resources
from hivewire.schemas.schemas import Schemas
from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.configuration import TEXT, ConfigurationGet, ConfigurationPut, ConfigurationReply
from tests.world import World


def change(key: str, revision: int, content: bytes | None = b"v", content_type: str = TEXT) -> Change:
    return Change(
        revision=revision,
        kind="configuration",
        key=key,
        id=1,
        version=revision,
        content=content,
        content_type=content_type,
        time=0,
    )


def resources_of(limit: int = CACHE_BYTES) -> tuple[Resources, Callable[[Change], None]]:
    """Resources over a ledger that is not open, and a function that announces a change."""
    ledger = Ledger(MemoryJournal(), lambda: 1)
    resources = Resources(ledger, Schemas(ledger, ProcessPool()), limit)

    return resources, lambda change: ledger._writer.take(Entry(change.revision, [change]))


def read(resources: Resources, name: str) -> ResourceReply:
    """The reply for a resource that exists."""
    reply = resources.read(name)
    assert reply is not None
    return reply


@given(st.text(), st.binary(), st.sampled_from([TEXT, "application/json", "image/png"]), st.integers(1, 2**53))
def test_a_reply_made_from_a_change_equals_the_encoded_struct(
    key: str, content: bytes, content_type: str, revision: int
) -> None:
    """Byte for byte, whatever the name and the content are, also when it is read a second time."""
    resources, take = resources_of()
    take(change(key, revision, content, content_type))
    first, again = read(resources, key), read(resources, key)
    expected = ConfigurationReply(first.configuration, first.revision)
    assert first.members() == again.members() == expected.members()
    assert first.resource == encode(expected.configuration)


def test_a_read_shows_the_last_change_of_the_ledger() -> None:
    """Also when the name was read before, and whoever wrote it; a record of another kind is not."""
    resources, take = resources_of()
    assert resources.read("n") is None
    take(change("n", 1))
    assert b'"v"' in read(resources, "n").members()
    take(change("n", 2, b"w"))
    assert b'"w"' in read(resources, "n").members()
    take(replace(change("n", 3, b"other"), kind="tenant"))
    assert b'"w"' in read(resources, "n").members()
    take(change("n", 4, None))
    assert resources.read("n") is None
    take(change("n", 5, b"x"))
    assert b'"x"' in read(resources, "n").members()


def test_a_reply_is_encoded_once_for_all_readers() -> None:
    """The second reader gets the same bytes, and after a write the writer and the readers do."""
    resources, take = resources_of()
    take(change("n", 1))
    assert read(resources, "n").encoded is read(resources, "n").encoded


def test_a_write_is_answered_with_its_own_change() -> None:
    """Even when another one of the same commit has replaced it already."""
    resources, take = resources_of()
    first, second = change("n", 1, b"a"), change("n", 2, b"b")
    take(first)
    read(resources, "n")
    take(second)
    assert b'"a"' in resources_of()[0].written([first]).members()
    assert b'"b"' in read(resources, "n").members()


@pytest.mark.parametrize("limit", [0, 1_000, 50_000])
def test_the_cache_never_takes_more_than_its_limit(limit: int) -> None:
    """Under reads and writes at random of many names, small and large; what it says of its size is true."""
    (resources, take), dice = resources_of(limit), random.Random(1)
    last: dict[str, Change] = {}
    for revision in range(1, 2_000):
        name, chance = str(dice.randrange(200)), dice.random()
        if chance < 0.4:
            version = last[name].version + 1 if name in last else 1
            content = b"v" * dice.choice([1, 100, 3_000])
            last[name] = replace(change(name, revision, content), version=version)
            take(last[name])
            assert json.loads(b"{%b}" % resources_of()[0].written([last[name]]).members())["revision"] == revision
        elif chance < 0.5 and name in last:
            del last[name]
            take(change(name, revision, None))
        reply = resources.read(name)
        assert (reply and reply.change) is last.get(name)
        assert 0 <= resources.size <= limit
    held = sum(ENTRY_BYTES + len(reply.encoded) for reply in resources._kept.values())
    assert resources.size == held


async def test_ten_thousand_names_are_all_kept(world: World) -> None:
    """Reading them once more encodes nothing: the cache is for many names, not for a hot one."""
    names = [f"bench.name-{number}" for number in range(10_000)]
    for start in range(0, len(names), 100):
        await world.store(*names[start : start + 100], value="v" * 100)
    first: list[ResourceReply] = [await world.ask(ConfigurationGet(name=name)) for name in names]
    again: list[ResourceReply] = [await world.ask(ConfigurationGet(name=name)) for name in names]
    assert all(one.encoded is two.encoded for one, two in zip(first, again, strict=True))


async def test_a_name_that_was_deleted_and_made_again_is_read_as_it_is(world: World) -> None:
    """Its version starts at 1; the reply of its earlier life is not shown."""
    await world.ask(ConfigurationPut(name="n", value="before"))
    await world.ask(ConfigurationGet(name="n"))
    await world.remove("n")
    await world.store("n", value="after")
    reply = await world.ask(ConfigurationGet(name="n"))
    assert (reply.configuration.value, reply.configuration.entityVersion) == ("after", 1)
