"""Replies that are encoded once: never an old one, and never more than the cache may hold."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire.ledger.records import Change
from hivewire.resources import ENTRY_BYTES, ResourceReply, Resources
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


@given(st.text(), st.binary(), st.sampled_from([TEXT, "application/json", "image/png"]), st.integers(1, 2**53))
def test_a_reply_made_from_a_change_says_what_the_struct_says(
    key: str, content: bytes, content_type: str, revision: int
) -> None:
    """Byte for byte, whatever the name and the content are, and when it is read the second time as well."""
    resources, stored = Resources(), change(key, revision, content, content_type)
    first, again = resources.read(stored), resources.read(stored)
    expected = ConfigurationReply(first.configuration, first.revision)
    assert first.members() == again.members() == expected.members()
    assert first.resource == encode(expected.configuration)


def test_what_is_kept_is_shown_for_its_change_alone() -> None:
    """A newer change of a name has a reply of its own, whether it was written here or came from elsewhere."""
    resources = Resources()
    assert b'"v"' in resources.read(change("n", 1)).members()
    assert b'"w"' in resources.written([change("n", 2, b"w")]).members()
    assert b'"x"' in resources.read(change("n", 3, b"x")).members()


def test_a_reply_is_encoded_once_for_all_who_read_the_record() -> None:
    """The second reader gets the same bytes, and after a write the writer's."""
    resources, first, second = Resources(), change("n", 1), change("n", 2)
    assert resources.read(first).encoded is resources.read(first).encoded
    assert resources.written([second]).encoded is resources.read(second).encoded


@pytest.mark.parametrize("limit", [0, 1_000, 50_000])
def test_the_cache_never_takes_more_than_its_limit(limit: int) -> None:
    """Under reads and writes at random of many names, small and large; what it says of its size is true."""
    resources, dice = Resources(limit), random.Random(1)
    for revision in range(1, 2_000):
        stored = change(str(dice.randrange(200)), revision, b"v" * dice.choice([1, 100, 3_000]))
        reply = resources.read(stored) if dice.random() < 0.6 else resources.written([stored])
        assert json.loads(b"{%b}" % reply.members())["revision"] == revision
        assert 0 <= resources.size <= limit
    held = sum(ENTRY_BYTES + 2 * len(data) for _, data in resources._kept.values())
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
    """Its version begins anew; the reply of its former life is not shown."""
    await world.ask(ConfigurationPut(name="n", value="before"))
    await world.ask(ConfigurationGet(name="n"))
    await world.remove("n")
    await world.store("n", value="after")
    reply = await world.ask(ConfigurationGet(name="n"))
    assert (reply.configuration.value, reply.configuration.entityVersion) == ("after", 1)
