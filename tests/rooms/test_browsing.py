"""The tree of names, the changes of all names, and values that are left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire.actions import browsing
from hivewire.ledger.records import Change, Transaction, Write
from hivewire.ledger.state import Kind
from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.nouns.configuration import (
    TEXT,
    ConfigurationAudit,
    ConfigurationList,
    ConfigurationTree,
)
from hivewire_protocol.patterns import Patterns
from tests.world import World

NAMES = st.text("ab.-/", min_size=1, max_size=6)
PATTERNS = st.lists(NAMES | NAMES.map(lambda name: name[:-1] + "*"), max_size=4)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    yield world
    await world.close()


def matches(patterns: list[str] | None, name: str) -> bool:
    return patterns is None or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )


# The tree.


@given(
    existing=st.sets(NAMES), own=st.none() | PATTERNS, prefix=NAMES.map(lambda name: name[:-1]), take=st.integers(1, 3)
)
@pytest.mark.parametrize("delimiter", [".", "-", "./"])
def test_a_tree_is_what_a_naive_one_is(
    delimiter: str, existing: set[str], own: list[str] | None, prefix: str, take: int
) -> None:
    """All pages together have each child of the names that the token reaches once, in the order of its first name."""
    asyncio.run(tree_is_naive(delimiter, existing, own, prefix, take))


async def tree_is_naive(delimiter: str, existing: set[str], own: list[str] | None, prefix: str, take: int) -> None:
    world = await World().open()
    await world.store(*existing)
    caller = world.caller() if own is None else world.caller(c=own)
    found = sorted(name for name in existing if name.startswith(prefix) and matches(own, name))
    children: dict[str, list[str]] = {}
    for name in found:
        children.setdefault(prefix + name[len(prefix) :].partition(delimiter)[0], []).append(name)
    expected = [
        (child, child in names, len([name for name in names if name != child])) for child, names in children.items()
    ]
    told: list[tuple[str, bool, int]] = []
    after: str | None = None
    while True:
        reply = await world.ask(ConfigurationTree(prefix=prefix, delimiter=delimiter, take=take, after=after), caller)
        assert (reply.count, reply.revision) == (len(found), world.ledger.revision)
        told += [(node.name, node.leaf, node.count) for node in reply.children]
        if len(reply.children) < take:
            break
        after = reply.children[-1].name
    assert told == expected
    await world.close()


@pytest.mark.parametrize("wrong", [{"delimiter": ""}, {"delimiter": "123456789"}, {"take": 1_001}, {"take": -1}])
async def test_a_tree_has_bounds(world: World, wrong: dict[str, Any]) -> None:
    """The error names the member."""
    with pytest.raises(OutOfBounds, match=next(iter(wrong))):
        await world.ask(ConfigurationTree(**wrong))


async def test_a_page_of_a_large_tree_looks_at_its_children_only(world: World) -> None:
    """However many names are below them."""
    writes = [Write("configuration", f"{part}.{number}", b"v", TEXT) for part in "ab" for number in range(400)]
    await world.ledger.commit(Transaction(writes))
    reply = await world.ask(ConfigurationTree())
    assert [(node.name, node.leaf, node.count) for node in reply.children] == [("a", False, 400), ("b", False, 400)]


async def test_a_tree_looks_once_where_the_names_of_the_token_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for each child: a token may have a thousand patterns, and a page as many children."""
    names = [f"n{number}.a" for number in range(50)]
    await world.store(*names, "n0.b")
    searched: list[Patterns] = []
    ranges = Kind.ranges
    monkeypatch.setattr(Kind, "ranges", lambda kind, names: searched.append(names) or ranges(kind, names))
    reply = await world.ask(ConfigurationTree(), world.caller(c=names))
    assert (len(reply.children), reply.count) == (50, 50)
    assert len(searched) == 1


# The changes of all names.


@given(
    script=st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3, unique=True), st.booleans()), max_size=12),
    own=st.none() | PATTERNS,
    names=st.none() | PATTERNS,
    take=st.integers(1, 4),
    window=st.integers(1, 5),
)
def test_an_audit_is_what_a_naive_one_is(script: list[Any], **asked: Any) -> None:
    """All pages together have each change that matches once, newest first, whatever part of the log is read at once."""
    asyncio.run(audit_is_naive(script, **asked))


async def audit_is_naive(
    script: list[Any], own: list[str] | None, names: list[str] | None, take: int, window: int
) -> None:
    world = await World().open()
    caller = world.caller() if own is None else world.caller(c=own)
    made: list[list[tuple[int, str, str | None]]] = []
    for keys, by_john in script:
        author = "john" if by_john else "admin"
        done = await world.ledger.commit(Transaction([Write("configuration", key, b"v", TEXT) for key in keys], author))
        made.append([(change.revision, change.key, change.author) for change in done])
    for user in (None, "john"):
        expected = [
            row
            for rows in reversed(made)
            for row in rows
            if matches(own, row[1]) and matches(names, row[1]) and user in (None, row[2])
        ]
        told: list[tuple[int, str, str | None]] = []
        before: int | None = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(browsing, "WINDOW", window)
            patch.setattr(browsing, "LONG", window)
            patch.setattr(browsing, "MOST_READ", 2 * window)
            while True:
                request = ConfigurationAudit(names=names, user=user, before=before, take=take)
                reply = await world.ask(request, caller)
                told += [(row.revision, row.configuration.name, row.modifiedBy) for row in reply.changes]
                assert all(row.configuration.value is None and row.configuration.size == 1 for row in reply.changes)
                if reply.before is None:
                    break
                assert before is None or reply.before < before
                before = reply.before
        assert told == expected
    await world.close()


async def test_an_audit_of_long_transactions_reads_few_of_them(world: World) -> None:
    """One request reads so many changes, and not so many transactions, which may have a thousand changes each."""
    for _ in range(60):
        writes = [Write("configuration", f"long.{n:03}", b"v", TEXT) for n in range(200)]
        await world.ledger.commit(Transaction(writes, "admin"))
    read = 0
    since = world.ledger.since

    async def counted(revision: int, *, take: int) -> list[Change]:
        nonlocal read
        portion = await since(revision, take=take)
        read += len(portion)
        return portion

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.ledger, "since", counted)
        reply = await world.ask(ConfigurationAudit(take=1))
        assert len(reply.changes) == 200
        assert read <= 3_000
        reply = await world.ask(ConfigurationAudit(user="nobody"))
        assert reply.changes == []
        assert reply.before is not None
        assert read <= 15_000


async def test_an_audit_shows_deletes_and_reasons(world: World) -> None:
    """A delete has neither a value nor a size."""
    await world.store("a")
    await world.ledger.commit(Transaction([Write("configuration", "a", None, "", "no longer needed")], "john"))
    reply = await world.ask(ConfigurationAudit(take=1))
    (row,) = reply.changes
    assert (row.operation, row.modifiedBy, row.description) == ("delete", "john", "no longer needed")
    assert (row.configuration.name, row.configuration.value) == ("a", None)
    assert reply.before == row.revision


@pytest.mark.parametrize("wrong", [{"take": 1_001}, {"before": 0}, {"names": [""]}])
async def test_an_audit_has_bounds(world: World, wrong: dict[str, Any]) -> None:
    """The error names the member."""
    with pytest.raises(OutOfBounds, match=next(iter(wrong))):
        await world.ask(ConfigurationAudit(**wrong))


# Values that are left out, and changes in place of states.


@pytest.mark.parametrize(("inline", "shown"), [(None, "x" * 100), (100, "x" * 100), (99, None), (0, None)])
async def test_a_list_leaves_out_longer_values(world: World, inline: int | None, shown: str | None) -> None:
    """They are null, and the size says how long they are, in bytes."""
    await world.store("a", value="x" * 100)
    (row,) = (await world.ask(ConfigurationList(inline=inline))).configurations
    assert row.value == shown
    assert shown is not None or row.size == 100


async def test_a_list_with_detail_has_changes(world: World) -> None:
    """Each with its author and time, in place of the states."""
    await world.store("a", "b")
    reply = await world.ask(ConfigurationList(detail=True, inline=0))
    assert [(row.configuration.name, row.configuration.value, row.operation) for row in reply.changes] == [
        ("a", None, "put"),
        ("b", None, "put"),
    ]
    members = reply.members()
    assert b'"changes":[' in members and b'"configurations"' not in members


@pytest.mark.parametrize("inline", [-1, 65_537])
async def test_inline_has_bounds(world: World, inline: int) -> None:
    """The error names them."""
    with pytest.raises(OutOfBounds, match="inline must be between 0 and 65,536"):
        await world.ask(ConfigurationList(inline=inline))
