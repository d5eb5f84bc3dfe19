"""The handlers: configurations, minting of tokens, users; on a ledger in memory."""

from __future__ import annotations

import ast
import asyncio
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET, Raw, structs

import hivewire
import hivewire_protocol
import tests.world
from hivewire import actions, slices
from hivewire.access.identity import ANONYMOUS
from hivewire.access.throttle import FREE_ATTEMPTS
from hivewire.access.tokens import ACCESS, REFRESH, Claims
from hivewire.access.users import UserContent
from hivewire.actions import configuration
from hivewire.actions.identity import MAX_DEVICES
from hivewire.caller import Caller
from hivewire.clocks import now as real_now
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.records import Change, Transaction, Write
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidCredentials,
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TokenRevoked,
    TooManyAttempts,
    Unauthorized,
    Unavailable,
    UnknownLogin,
    UserNotActive,
    VersionConflict,
    WireError,
)
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import (
    TEXT,
    Configuration,
    ConfigurationDelete,
    ConfigurationGet,
    ConfigurationHistory,
    ConfigurationList,
    ConfigurationPut,
    ConfigurationRollback,
    ConfigurationTransact,
    TransactChange,
)
from hivewire_protocol.nouns.identity import (
    Authenticate,
    Token,
    TokenCreate,
    TokenPayload,
    TokenRefresh,
    TokenRevoke,
    TokensReply,
)
from hivewire_protocol.nouns.server import ClusterInfo
from hivewire_protocol.nouns.user import (
    Role,
    Status,
    UserGetCurrent,
    UserInsert,
    UserInsertFields,
    UserList,
    UserUpdate,
    UserUpdateCurrent,
    UserUpdateFields,
)
from hivewire_protocol.permissions import CLIENT, Permission
from tests.world import ADMIN, BOUND, HASHER, HELPER, HOUR, JOHN, LOCKED, HeldJournal


class World(tests.world.World):
    """The same, with a short word for the request that is made most often."""

    async def put(self, name: str, value: str = "v", caller: Caller | None = None, **members: Any) -> Any:
        return await self.ask(ConfigurationPut(name=name, value=value, **members), caller)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    yield world
    await world.close()


# List.

ALPHABET = "ab.\ud7ff\ue000\U0010ffff"
NAMES = st.text(ALPHABET, min_size=1, max_size=4)
PATTERNS = st.lists(
    st.builds(lambda name, star: name + star, NAMES, st.sampled_from(["", "*"])) | st.just("*"), max_size=4
)


def matches(patterns: list[str] | None, name: str) -> bool:
    return patterns is None or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )


@given(
    existing=st.sets(NAMES, max_size=12),
    deleted=st.sets(NAMES, max_size=3),
    own=st.none() | PATTERNS,
    names=st.none() | PATTERNS,
    take=st.none() | st.integers(0, 6),
    skip=st.none() | st.integers(0, 6),
    after=st.none() | NAMES,
    long=st.booleans(),
)
def test_a_list_is_what_a_naive_filter_finds(existing: set[str], deleted: set[str], long: bool, **asked: Any) -> None:
    """Patterns, the token's own patterns, `after`, `skip` and `take` together give exactly the expected page.

    A long one is made in slices of time."""
    with pytest.MonkeyPatch.context() as patch:
        if long:
            patch.setattr(configuration, "SHORT_PAGE", 0)
        asyncio.run(list_is_naive(existing, deleted, **asked))


async def list_is_naive(
    existing: set[str],
    deleted: set[str],
    own: list[str] | None,
    names: list[str] | None,
    take: int | None,
    skip: int | None,
    after: str | None,
) -> None:
    world = await World().open()
    caller = world.caller() if own is None else world.caller(c=own)
    await world.store(*existing | deleted)
    await world.remove(*deleted)
    reply = await world.ask(ConfigurationList(names=names, take=take, skip=skip, after=after), caller)
    found = sorted(name for name in existing - deleted if matches(own, name) and matches(names, name))
    rest = [name for name in found if after is None or name > after][skip or 0 :]
    assert [row.name for row in reply.configurations] == rest[: 1_000 if take is None else take]
    assert reply.count == len(found)
    assert reply.revision == world.ledger.revision
    await world.close()


async def test_a_list_has_bounds(world: World) -> None:
    """A page has 1,000 rows by default and 10,000 at most; invalid bounds are refused by name."""
    await world.store(*(f"a{number:04}" for number in range(1_000)))
    await world.store("b")
    reply = await world.ask(ConfigurationList())
    assert (len(reply.configurations), reply.count) == (1_000, 1_001)
    assert len((await world.ask(ConfigurationList(take=10_000))).configurations) == 1_001
    assert (await world.ask(ConfigurationList(take=0))).count == 1_001
    assert [row.name for row in (await world.ask(ConfigurationList(after="a0999"))).configurations] == ["b"]
    for bad, words in (
        (ConfigurationList(take=10_001), "take"),
        (ConfigurationList(take=-1), "take"),
        (ConfigurationList(skip=-1), "skip"),
        (ConfigurationList(names=["a", ""]), r"names\[1\]"),
        (ConfigurationList(names=["*a"]), r"names\[0\].*at the end only"),
        (ConfigurationList(names=["a"] * 1_001), "1000"),
    ):
        with pytest.raises(OutOfBounds, match=words):
            await world.ask(bad)


async def listing(world: World, monkeypatch: pytest.MonkeyPatch, caller: Caller, **members: Any) -> asyncio.Task[Any]:
    """A list of 50 configurations that has been begun: it waits for its turn after each of them."""
    monkeypatch.setattr(configuration, "SHORT_PAGE", 49)
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1)
    monkeypatch.setattr(slices, "SHORT_SECONDS", -1)
    await world.store(*(f"n{number:02}" for number in range(50)))
    task = asyncio.create_task(world.ask(ConfigurationList(**members), caller))
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("detail", [None, True])
async def test_a_long_list_is_of_one_revision(
    world: World, monkeypatch: pytest.MonkeyPatch, detail: bool | None
) -> None:
    """Others read and write while it is made."""
    task = await listing(world, monkeypatch, world.admin, detail=detail)
    before = world.ledger.revision
    await world.put("n49", "later")
    await world.remove("n48")
    assert not task.done()
    reply = await task
    assert (reply.revision, reply.count) == (before, 50)
    shown = [each.configuration for each in reply.changes] if detail else reply.configurations
    assert [(each.name, each.value) for each in shown] == [(f"n{number:02}", "v") for number in range(50)]


async def test_a_long_list_is_not_for_a_token_that_ended_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values are not shown to a user who was locked."""
    task = await listing(world, monkeypatch, world.caller(user=HELPER))
    await world.ledger.commit(world.users.write("helper", UserContent("", status=Status.LOCKED_OUT), None))
    with pytest.raises(UserNotActive):
        await task


# Get, put, delete.


async def test_put_get_and_delete_count_versions_and_revisions(world: World) -> None:
    """1 at creation, one more for every put, of equal values too; after a delete a new life starts at 1."""
    first = await world.put("n", "42")
    assert first.configuration == Configuration("n", "42", 1)
    second = await world.put("n", "42")
    assert second.configuration == Configuration("n", "42", 2)
    assert second.revision > first.revision
    got = await world.ask(ConfigurationGet(name="n"))
    assert (got.configuration, got.revision) == (second.configuration, second.revision)
    gone = await world.ask(ConfigurationDelete(name="n"))
    assert gone.revision > second.revision
    for request in (ConfigurationGet(name="n"), ConfigurationDelete(name="n")):
        with pytest.raises(NotFound, match="Requested config with name = n not found in the database"):
            await world.ask(request)
    again = await world.put("n", "43")
    assert again.configuration == Configuration("n", "43", 1)
    assert again.revision > gone.revision


async def test_names_are_case_sensitive_and_may_be_anything_printable(world: World) -> None:
    """Every spelling is another name, in any script."""
    for name in ("n", "N", " ", "a/b", "*", "ä", "a\u0308", "😀", "x" * 128, "😀" * 128):
        await world.put(name, name)
    for name in ("n", "N", " ", "a/b", "*", "ä", "a\u0308", "😀"):
        assert (await world.ask(ConfigurationGet(name=name))).configuration == Configuration(name, name, 1)


@pytest.mark.parametrize(
    ("name", "length", "words"),
    [
        ("", 32, "Name is empty; it has 1 to 32 characters, setting name_length"),
        ("x" * 129, 128, "Name is 129 characters long; at most 128, setting name_length"),
        ("abcd", 3, "Name is 4 characters long; at most 3, setting name_length"),
    ],
)
async def test_a_name_out_of_bounds_cannot_be_created(name: str, length: int, words: str) -> None:
    """The error for an empty or too long name has its length and the limit."""
    world = await World(name_length=length).open()
    with pytest.raises(OutOfBounds) as caught:
        await world.put(name)
    assert str(caught.value) == words
    assert world.services.ledger.get("configuration", name) is None
    await world.close()


@pytest.mark.parametrize("type_", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
async def test_a_value_that_is_declared_json_is_json(world: World, type_: str) -> None:
    """Invalid JSON is refused with the place, in a put and in a transaction, unless the request disables the check."""
    for value in ("{a:1}", "[1,]", "NaN", '{"a":1', "01", '"\\x"', "1 2", " ", "[" * 60_000):
        with pytest.raises(OutOfBounds, match="Value is not valid JSON, which its contentType requires: "):
            await world.ask(ConfigurationPut(name="n", value=value, contentType=type_))
        change = TransactChange(operation="put", name="n", value=value, contentType=type_)
        with pytest.raises(OutOfBounds, match=r"changes\[0\]: Value is not valid JSON"):
            await world.ask(ConfigurationTransact(changes=[change]))
    for value in ("null", ' {"a":[1,2.5e3,"\\u00e4"]}\n', '"text"'):
        await world.ask(ConfigurationPut(name="n", value=value, contentType=type_))
    await world.ask(ConfigurationPut(name="n", value="{a:1}", contentType=type_, check=False))
    await world.ask(ConfigurationPut(name="n", value="{a:1}", contentType="application/jsonx"))


async def test_a_longer_name_from_another_dialect_can_be_used_everywhere(world: World) -> None:
    """The limit is for creation only: an existing name can be read, written and deleted, but not created again."""
    name = "x" * 200
    await world.store(name)
    assert (await world.ask(ConfigurationGet(name=name))).configuration.entityVersion == 1
    assert (await world.put(name, "w")).configuration == Configuration(name, "w", 2)
    await world.ask(ConfigurationDelete(name=name))
    with pytest.raises(OutOfBounds, match="at most 128"):
        await world.put(name)


@pytest.mark.parametrize("name", ["a\x7fb", "a\x85b", "\x9f"])
async def test_a_name_with_a_character_that_was_allowed_once_can_be_read_and_deleted(world: World, name: str) -> None:
    """Such a record of an older file is not lost, but no new one is made."""
    with pytest.raises(OutOfBounds, match="forbidden character"):
        await world.ask(ConfigurationGet(name=name))
    await world.ledger.commit(Transaction([Write("configuration", name, b"old", TEXT)]))
    assert (await world.ask(ConfigurationGet(name=name))).configuration.value == "old"
    assert (await world.ask(ConfigurationPut(name=name, value="new"))).configuration.entityVersion == 2
    assert [found.name for found in (await world.ask(ConfigurationList())).configurations] == [name]
    await world.ask(ConfigurationDelete(name=name))
    assert len((await world.ask(ConfigurationHistory(name=name))).changes) == 3
    with pytest.raises(OutOfBounds, match="forbidden character"):
        await world.ask(ConfigurationPut(name=name, value="again"))


LONG_DESCRIPTION = "Description is 1,025 characters long; at most 1,024, setting description_length"


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (ConfigurationGet(), InvalidParameters, "Configuration name is wrong or empty"),
        (ConfigurationPut(value="v"), InvalidParameters, "Configuration name is wrong or empty"),
        (ConfigurationPut(), InvalidParameters, "Configuration name is wrong or empty"),
        (ConfigurationDelete(), InvalidParameters, "Configuration name is wrong or empty"),
        (ConfigurationGet(name=""), NotFound, "Requested config with name =  not found in the database"),
        (ConfigurationDelete(name=""), NotFound, "Requested config with name =  not found in the database"),
        (ConfigurationGet(name="n" * 100_000), NotFound, "with name = " + "n" * 256 + " not found"),
        (ConfigurationDelete(name="n" * 100_000), NotFound, "with name = " + "n" * 256 + " not found"),
        (ConfigurationGet(name="a\tb"), OutOfBounds, "forbidden character: U+0009 at position 1"),
        (ConfigurationPut(name="\ufffe", value="v"), OutOfBounds, "forbidden character: U+FFFE at position 0"),
        (ConfigurationDelete(name="\uffff"), OutOfBounds, "forbidden character: U+FFFF at position 0"),
        (ConfigurationPut(name="", value=None), OutOfBounds, "Name is empty"),
        (
            ConfigurationPut(name="n"),
            InvalidParameters,
            "Error! Make sure, that the passed object is correct and properly structured. Validation failed: \n"
            "On property value (value: null): value field cannot be null. ; ",
        ),
        (ConfigurationPut(name="n", value=""), OutOfBounds, "Value is empty"),
        (
            ConfigurationPut(name="n", value="x" * 65_537),
            OutOfBounds,
            "Value is 65,537 characters long; at most 65,536",
        ),
        (ConfigurationPut(name="n", value="v", description="x" * 1_025), OutOfBounds, LONG_DESCRIPTION),
        (ConfigurationDelete(name="n", description="x" * 1_025), OutOfBounds, LONG_DESCRIPTION),
    ],
)
async def test_bad_parameters_are_named(world: World, request_: Request, error: type[WireError], words: str) -> None:
    """Missing and ill-formed parameters are refused by name, and nothing is written."""
    before = world.services.ledger.revision
    with pytest.raises(WireError) as caught:
        await world.ask(request_)
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert world.services.ledger.revision == before


async def test_values_and_descriptions_at_their_bounds_are_taken() -> None:
    """The limits are settings, count characters, and are inclusive."""
    world = await World(value_length=3, description_length=2).open()
    assert (await world.put("n", "😀" * 3, description="éé")).configuration.value == "😀" * 3
    with pytest.raises(OutOfBounds, match="Value is 4 characters long; at most 3"):
        await world.put("n", "abcd")
    with pytest.raises(OutOfBounds, match="Description is 3 characters long; at most 2"):
        await world.put("n", description="abc")
    await world.close()
    world = await World().open()
    assert (await world.put("n", "😀" * 65_536)).configuration.value == "😀" * 65_536
    await world.close()


async def test_a_content_type_is_kept_and_shown(world: World) -> None:
    """Without one it is plain text and not shown; a value of a type that is not text is shown by its size."""
    put = await world.put("n", "[80,443]", contentType="application/json")
    assert put.configuration == Configuration("n", "[80,443]", 1, "application/json", 8)
    assert (await world.ask(ConfigurationGet(name="n"))).configuration == put.configuration
    assert (await world.put("n", "x", contentType="image/png")).configuration == Configuration(
        "n", None, 2, "image/png", 1
    )
    assert (await world.put("n", "x", contentType=TEXT)).configuration == Configuration("n", "x", 3)
    assert (await world.put("n", "x", contentType="text/csv; header=present")).configuration.value == "x"
    assert (await world.put("n", "x")).configuration == Configuration("n", "x", 5)


@pytest.mark.parametrize(
    "bad",
    ["", "json", "a/", "/b", "a/b/c", "a b/c", "text/plain\r\nX: y", "text/plain;", "ä/b", "a/b; é", "x" * 65 + "/b"],
)
async def test_a_bad_content_type_is_refused(world: World, bad: str) -> None:
    """A type that could not be an HTTP header is refused in frames too."""
    with pytest.raises(OutOfBounds, match="contentType"):
        await world.put("n", contentType=bad)


# Expected versions.


async def conflict_of(world: World, request: Request) -> VersionConflict:
    before = world.services.ledger.revision
    with pytest.raises(VersionConflict) as caught:
        await world.ask(request)
    assert world.services.ledger.revision == before
    return caught.value


async def test_an_expected_version_must_be_the_current_one(world: World) -> None:
    """A writer who expects another version writes nothing, and gets the current change."""
    await world.put("n", "a", description="first")
    put = await world.put("n", "b", entityVersion=1, description="lunch")
    for request in (
        ConfigurationPut(name="n", value="c", entityVersion=1),
        ConfigurationDelete(name="n", entityVersion=1),
    ):
        error = await conflict_of(world, request)
        assert str(error) == "Configuration 'n' is at version 2, not 1"
        assert msgspec.to_builtins(error.members["change"]) == {
            "revision": put.revision,
            "operation": "put",
            "modified": "2026-03-01T09:30:00.123",
            "modifiedBy": "admin",
            "description": "lunch",
            "configuration": {"name": "n", "value": "b", "entityVersion": 2},
        }
    await world.ask(ConfigurationDelete(name="n", entityVersion=2))


async def test_version_zero_means_must_not_exist(world: World) -> None:
    """Creation is safe too: of two writers that expect no record, one wins."""
    await world.put("n", "a", entityVersion=0)
    error = await conflict_of(world, ConfigurationPut(name="n", value="b", entityVersion=0))
    assert str(error) == "Configuration 'n' is at version 1, not 0"
    error = await conflict_of(world, ConfigurationPut(name="m", value="b", entityVersion=3))
    assert str(error) == "Configuration 'm' is at version 0, not 3"
    assert error.members == {"change": None}
    with pytest.raises(NotFound):
        await world.ask(ConfigurationDelete(name="m", entityVersion=0))


async def test_after_a_delete_the_conflict_shows_the_delete(world: World) -> None:
    """A deleted configuration is at version 0; the change is the delete, with the last version and one more."""
    await world.put("n")
    await world.put("n")
    gone = await world.ask(ConfigurationDelete(name="n", description="bye"))
    error = await conflict_of(world, ConfigurationPut(name="n", value="b", entityVersion=2))
    assert str(error) == "Configuration 'n' is at version 0, not 2"
    change = error.members["change"]
    assert (change.revision, change.operation, change.description) == (gone.revision, "delete", "bye")
    assert change.configuration == Configuration("n", None, 3)
    error = await conflict_of(world, ConfigurationDelete(name="n", entityVersion=2))
    assert str(error) == "Configuration 'n' is at version 0, not 2"
    assert (await world.put("n", "c", entityVersion=0)).configuration.entityVersion == 1


async def test_a_revision_tells_two_lives_apart_that_a_version_does_not(world: World) -> None:
    """Version 1 comes again after delete and re-creation, the revision never does."""
    first = await world.put("n", "a")
    await world.ask(ConfigurationDelete(name="n"))
    second = await world.put("n", "b")
    assert first.configuration.entityVersion == second.configuration.entityVersion == 1
    error = await conflict_of(world, ConfigurationPut(name="n", value="c", entityVersion=1, revision=first.revision))
    assert str(error) == f"Configuration 'n' is at revision {second.revision}, not {first.revision}"
    assert error.members["change"].configuration.value == "b"
    third = await world.put("n", "c", entityVersion=1, revision=second.revision)
    assert third.configuration.entityVersion == 2
    with pytest.raises(VersionConflict, match=f"is at revision {third.revision}, not 0"):
        await world.put("n", "d", revision=0)


async def test_when_both_are_wrong_the_error_names_the_version(world: World) -> None:
    """When version and revision are both wrong, the error names only the version."""
    await world.put("n")
    error = await conflict_of(world, ConfigurationPut(name="n", value="c", entityVersion=5, revision=999))
    assert str(error) == "Configuration 'n' is at version 1, not 5"


async def test_a_revision_of_a_deleted_record_is_that_of_the_delete(world: World) -> None:
    """A writer who saw the delete may create the record again, one who saw the put before may not."""
    put = await world.put("n")
    gone = await world.ask(ConfigurationDelete(name="n"))
    error = await conflict_of(world, ConfigurationPut(name="n", value="c", revision=put.revision))
    assert str(error) == f"Configuration 'n' is at revision {gone.revision}, not {put.revision}"
    assert (await world.put("n", "c", revision=gone.revision)).configuration.entityVersion == 1
    assert (await world.put("never", "c", revision=0)).configuration.entityVersion == 1


# Rights.


@pytest.mark.parametrize(
    "request_",
    [
        ConfigurationGet(name="jwt.secret"),
        ConfigurationPut(name="jwt.secret", value="v"),
        ConfigurationPut(name="jwt.secret"),
        ConfigurationDelete(name="jwt.secret"),
    ],
)
async def test_the_name_of_the_signing_secret_is_out_of_reach(world: World, request_: Request) -> None:
    """Administrators get 403 for `jwt.secret`; anonymous callers get 401 first."""
    with pytest.raises(AccessDenied):
        await world.ask(request_)
    with pytest.raises(Unauthorized):
        await world.ask(request_, Caller("10.0.0.1", "h"))


async def test_reading_and_writing_are_separate_rights(world: World) -> None:
    """GetConfiguration reads, ManageConfiguration does both, the client set neither."""
    await world.put("n")
    reader, manager = world.caller(a=[100]), world.caller(a=[13])
    for caller in (reader, manager):
        await world.ask(ConfigurationGet(name="n"), caller)
        await world.ask(ConfigurationList(), caller)
    request: Request
    for request in (ConfigurationPut(name="n", value="v"), ConfigurationDelete(name="n")):
        with pytest.raises(AccessDenied):
            await world.ask(request, reader)
        await world.ask(request, manager)
    for caller in (world.caller(a=[]), world.caller(a=[1]), world.caller(a=[12])):
        for request in (ConfigurationGet(name="n"), ConfigurationList(), ConfigurationPut(name="n", value="v")):
            with pytest.raises(AccessDenied):
                await world.ask(request, caller)


async def test_a_token_with_patterns_reaches_only_its_names(world: World) -> None:
    """Another name is 403 whether it exists or not; lists leave it out silently."""
    for name in ("a.1", "a.2", "b", "ab"):
        await world.put(name)
    caller = world.caller(c=["a.*", "b"])
    for name in ("a.1", "b"):
        await world.ask(ConfigurationGet(name=name), caller)
        await world.put(name, "w", caller)
    await world.put("a.new", "w", caller)
    for name in ("ab", "missing", "", "bb", "a"):
        for request in (
            ConfigurationGet(name=name),
            ConfigurationPut(name=name, value="v"),
            ConfigurationDelete(name=name),
        ):
            with pytest.raises(AccessDenied):
                await world.ask(request, caller)
    reply = await world.ask(ConfigurationList(), caller)
    assert [row.name for row in reply.configurations] == ["a.1", "a.2", "a.new", "b"]
    assert reply.count == 4
    reply = await world.ask(ConfigurationList(names=["a*"]), caller)
    assert [row.name for row in reply.configurations] == ["a.1", "a.2", "a.new"]
    assert (await world.ask(ConfigurationList(), world.caller(c=[]))).count == 0


# Minting of tokens.


def decoded(reply: Any) -> dict[str, Any]:
    """The members of a reply, as its client sees them."""
    members: dict[str, Any] = msgspec.json.decode(b"{%b}" % reply.members())
    return members


def raws(*items: object) -> list[Raw]:
    return [Raw(msgspec.json.encode(item)) for item in items]


async def mint(world: World, caller: Caller, **payload: Any) -> Claims:
    """The claims of the access token that the caller gets; those of the refresh token must be the same."""
    for member in ("actions", "networkIds", "deviceTypeIds"):
        if payload.get(member) is not None:
            payload[member] = raws(*payload[member])
    assert caller.identity is not None
    payload.setdefault("userId", caller.identity.user_id)
    reply = await world.ask(TokenCreate(payload=TokenPayload(**payload)), caller)
    access, refresh = world.services.tokens.claims(reply.accessToken), world.services.tokens.claims(reply.refreshToken)
    assert (access.t, refresh.t) == (ACCESS, REFRESH)
    assert (access.a, access.u, access.n, access.dt, access.c) == (
        refresh.a,
        refresh.u,
        refresh.n,
        refresh.dt,
        refresh.c,
    )
    return access


@pytest.mark.parametrize(
    ("own", "asked", "given"),
    [
        ([0], None, [1]),
        ([0], [], [1]),
        ([0], ["*"], [0]),
        ([0], [0], [0]),
        ([0], ["ManageConfiguration"], [13]),
        ([0], ["manageCONFIGURATION", 100, "GetUser", 12], [12, 13, 100]),
        ([0], ["NoSuchAction", 77, -1], [1]),
        ([0], [1], [1]),
        ([0], ["GetNetwork", 2, 2], [2]),
        ([15], ["GetNetwork"], None),
        ([15], [15], [15]),
        ([15], ["*"], None),
        ([15], [0], None),
        ([15], [], [1]),
        ([15], [1], [1]),
        ([15], ["NoSuchAction"], [1]),
        ([15], ["NoSuchAction", 13], None),
        ([13, 15], ["GetConfiguration"], [100]),
        ([100, 15], ["ManageConfiguration"], None),
        ([], ["GetDevice", "ManageToken"], [3, 15]),
        ([], [13], None),
        ([], ["*"], None),
        ([*range(2, 19), 101, 102], ["*"], [0]),
        ([*range(2, 19)], ["*"], None),
    ],
)
async def test_actions_are_minted_from_the_callers_own(
    world: World, own: list[int], asked: list[object] | None, given: list[int] | None
) -> None:
    """Names in any case and numbers become numbers, unknown ones are dropped, rights beyond the caller's are refused.
    If none is left the token grants nothing: never the empty list, which would mean the client set."""
    caller = world.caller(a=own)
    if given is None:
        with pytest.raises(AccessDenied):
            await mint(world, caller, actions=asked)
    else:
        assert (await mint(world, caller, actions=asked)).a == given


@given(
    st.lists(st.sampled_from([*Permission]), max_size=4),
    st.none() | st.lists(st.integers(-1, 20) | st.just(100), max_size=4),
)
def test_no_minted_token_grants_more_than_its_makers(own: list[int], asked: list[int] | None) -> None:
    """Whatever is requested, the new token's rights are among the caller's."""

    async def check() -> None:
        world = await World().open()
        caller = world.caller(a=[*own, 15])
        try:
            claims = await mint(world, caller, actions=asked)
        except AccessDenied:
            return
        finally:
            await world.close()
        assert claims.a
        made = world.services.tokens.verify(world.services.tokens.mint(claims), real_now())
        assert caller.identity is not None
        assert made.permissions & ~caller.identity.permissions == 0

    asyncio.run(check())


@pytest.mark.parametrize("bad", [b"1e400", b"-" + b"9" * 5_000, b'"\xff"', b'["\xff"]'], ids=lambda bad: str(bad[:5]))
async def test_an_action_that_cannot_be_read_is_refused(world: World, bad: bytes) -> None:
    """Numbers out of range, and text that is not UTF-8, are decoded only here."""
    with pytest.raises(OutOfBounds, match="Actions list should contain only Strings or Integers"):
        await world.ask(TokenCreate(payload=TokenPayload(userId=ADMIN, actions=[msgspec.Raw(b"2"), msgspec.Raw(bad)])))


@pytest.mark.parametrize("bad", [None, True, 1.5, {}, [2]], ids=str)
async def test_an_action_that_is_neither_name_nor_number_is_refused(world: World, bad: object) -> None:
    """The text is the one that clients know."""
    with pytest.raises(OutOfBounds, match="Actions list should contain only Strings or Integers"):
        await mint(world, world.admin, actions=[2, bad])


@pytest.mark.parametrize("scope", ["networkIds", "deviceTypeIds"])
@pytest.mark.parametrize(
    ("own", "asked", "given"),
    [
        (["*"], None, None),
        (["*"], [], []),
        (["*"], [1, "2", "*"], ["1", "2", "*"]),
        (["4", "5"], [4], ["4"]),
        (["4", "5"], ["5", 4], ["5", "4"]),
        (["4", "5"], None, None),
        (["4", "5"], [], []),
        (["4", "5"], [6], AccessDenied),
        (["4", "5"], ["*"], AccessDenied),
        (["4", "5"], [4, 6], AccessDenied),
        ([], [4], AccessDenied),
        (None, ["*"], AccessDenied),
        (["*"], ["x"], OutOfBounds),
        (["*"], [-1], OutOfBounds),
        (["*"], [1.5], OutOfBounds),
        (["*"], [None], OutOfBounds),
        (["*"], [""], OutOfBounds),
    ],
)
async def test_scopes_are_minted_from_the_callers_own(
    world: World, scope: str, own: list[str] | None, asked: list[object] | None, given: Any
) -> None:
    """Ids become texts; an id or a star beyond the caller's own is refused; a missing list stays missing."""
    caller = world.caller(BOUND, n=own, dt=own)
    if isinstance(given, type):
        with pytest.raises(given):
            await mint(world, caller, **{scope: asked})
    else:
        claims = await mint(world, caller, **{scope: asked})
        assert (claims.n if scope == "networkIds" else claims.dt) == given


@pytest.mark.parametrize(
    ("own", "asked", "given"),
    [
        (UNSET, None, UNSET),
        (UNSET, [], []),
        (UNSET, ["a", "b*"], ["a", "b*"]),
        (UNSET, ["*", "a"], ["*"]),
        (["a*"], None, ["a*"]),
        (["a*", "b"], None, ["b", "a*"]),
        ([], None, []),
        (["a*"], [], []),
        (["a*"], ["a*"], ["a*"]),
        (["a*"], ["ab", "ac*"], ["ab", "ac*"]),
        (["a*"], ["*"], AccessDenied),
        (["a*"], ["b"], AccessDenied),
        (["a*"], ["ab", "b*"], AccessDenied),
        (["ab"], ["a*"], AccessDenied),
        (["ab"], ["ab*"], AccessDenied),
        ([], ["a"], AccessDenied),
        (UNSET, ["a*b"], OutOfBounds),
        (UNSET, [""], OutOfBounds),
        (UNSET, ["a"] * 1_001, OutOfBounds),
    ],
)
async def test_name_patterns_are_minted_from_the_callers_own(
    world: World, own: Any, asked: list[str] | None, given: Any
) -> None:
    """Without `configurations` the new token reaches what the caller's does; anything beyond that is refused."""
    caller = world.caller(c=own)
    if isinstance(given, type):
        with pytest.raises(given):
            await mint(world, caller, configurations=asked)
    else:
        assert (await mint(world, caller, configurations=asked)).c == given


async def test_for_whom_tokens_are_minted(world: World) -> None:
    """For the caller with ManageToken, for others only with ManageUser too; for active users that exist."""
    assert (await mint(world, world.caller(JOHN, [15]), userId=JOHN)).u == JOHN
    with pytest.raises(AccessDenied):
        await mint(world, world.caller(JOHN, [15]), userId=ADMIN)
    with pytest.raises(AccessDenied):
        await mint(world, world.caller(JOHN, [15]), userId=99)
    with pytest.raises(AccessDenied):
        await mint(world, world.caller(JOHN, [12]), userId=JOHN)
    assert (await mint(world, world.caller(JOHN, [12, 15]), userId=HELPER)).u == HELPER
    with pytest.raises(AccessDenied):  # an administrator may what no right says, whatever the token of the maker
        await mint(world, world.caller(JOHN, [0]), userId=ADMIN)
    with pytest.raises(NotFound, match="User with id = 99 not found"):
        await mint(world, world.admin, userId=99)
    with pytest.raises(NotAllowed, match="User is locked or disabled"):
        await mint(world, world.admin, userId=LOCKED)
    with pytest.raises(InvalidParameters, match=r"On property userId \(value: null\): must not be null"):
        await mint(world, world.admin, userId=None)
    with pytest.raises(InvalidParameters):
        await world.ask(TokenCreate())
    with pytest.raises(Unauthorized):
        await world.ask(TokenCreate(payload=TokenPayload(userId=ADMIN)), Caller("10.0.0.1", "h"))


async def test_nobody_widens_device_types_through_somebody_elses_flag(world: World) -> None:
    """A caller limited to some device types mints for users limited alike, not for one who has them all."""
    caller = world.caller(BOUND, [12, 15], dt=["4"])
    assert (await mint(world, caller, userId=BOUND, deviceTypeIds=[4])).dt == ["4"]
    with pytest.raises(AccessDenied):
        await mint(world, caller, userId=JOHN, deviceTypeIds=[4])


@pytest.mark.parametrize(
    ("given", "access", "refresh"),
    [
        ({}, None, None),
        ({"expiration": b"null"}, None, None),
        ({"expiration": b'" "'}, None, None),
        ({"expiration": b"4000000000000"}, 4_000_000_000_000, 4_000_000_000_000),
        ({"expiration": b'"2096-10-02T07:06:40"'}, 4_000_000_000_000, 4_000_000_000_000),
        (
            {"expiration": b"4000000000000", "refreshExpiration": b'"4000000000001"'},
            4_000_000_000_000,
            4_000_000_000_001,
        ),
        ({"refreshExpiration": b"4000000000001"}, None, 4_000_000_000_001),
        ({"expiration": b"1500000000000"}, 1_500_000_000_000, 1_500_000_000_000),
    ],
)
async def test_expiries_are_as_asked(world: World, given: dict[str, bytes], access: Any, refresh: Any) -> None:
    """The access expiry counts for the refresh token too unless it has its own; without either the defaults count."""
    moment = real_now()
    expiries: dict[str, Any] = {key: Raw(value) for key, value in given.items()}
    payload = TokenPayload(ADMIN, **expiries)
    reply = await world.ask(TokenCreate(payload=payload))
    for token, expected, lifetime in ((reply.accessToken, access, HOUR), (reply.refreshToken, refresh, 10 * HOUR)):
        expiry = world.services.tokens.claims(token).e
        assert expiry == expected if expected is not None else moment + lifetime <= expiry <= real_now() + lifetime


def payload_with(member: str, value: bytes) -> TokenPayload:
    """An administrator's token with this member as it stands in JSON."""
    members: dict[str, Any] = {member: Raw(value)}
    return TokenPayload(ADMIN, **members)


@pytest.mark.parametrize("member", ["expiration", "refreshExpiration"])
async def test_an_expiry_that_no_token_may_have_is_refused(world: World, member: str) -> None:
    """Such a token would always be refused: a time in seconds is one in 1970 here."""
    for bad in (b"0", b"2147483647", b"1772357400"):
        with pytest.raises(OutOfBounds, match=f"^{member} is before 1970-01-25.*It has to be in milliseconds"):
            await world.ask(TokenCreate(payload=payload_with(member, bad)))
    await world.ask(TokenCreate(payload=payload_with(member, b"2147483648")))


async def test_a_token_is_for_so_many_devices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of more is looked for."""
    monkeypatch.setattr(world.services.registry, "reach", lambda identity, device_id: None)
    given = ["a"] * MAX_DEVICES
    await world.ask(TokenCreate(payload=TokenPayload(userId=ADMIN, deviceIds=given)))
    monkeypatch.setattr(world.services.registry, "reach", None)
    with pytest.raises(OutOfBounds, match=r"^deviceIds: a token is for at most 1000 devices"):
        await world.ask(TokenCreate(payload=TokenPayload(userId=ADMIN, deviceIds=[*given, "a"])))


@pytest.mark.parametrize("members", ["networkIds", "deviceTypeIds", "actions"])
async def test_lists_that_fit_into_no_token_are_not_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch, members: str
) -> None:
    """A request may have 500,000 elements, and the event loop serves nobody else meanwhile."""
    monkeypatch.setattr("hivewire.actions.identity.MOST_IDS", 2)
    monkeypatch.setattr("hivewire.actions.identity.coercion.text", None)
    monkeypatch.setattr("hivewire.actions.identity._item", None)
    given: dict[str, Any] = {members: [msgspec.Raw(b"1")] * 3}
    with pytest.raises(OutOfBounds, match=f"^{members}: .*more than 2"):
        await world.ask(TokenCreate(payload=TokenPayload(userId=ADMIN, **given)))


async def test_a_token_that_would_be_too_long_is_not_minted(world: World) -> None:
    """`token/create` refuses to make a token that is longer than the gateway accepts."""
    names = [f"{number:03}" + "x" * 100 for number in range(900)]
    with pytest.raises(OutOfBounds, match="patterns, ids or devices the token would exceed 65536"):
        await world.ask(TokenCreate(payload=TokenPayload(ADMIN, configurations=names)))
    reply = await world.ask(TokenCreate(payload=TokenPayload(ADMIN, configurations=names[:400])))
    assert "000" + "x" * 100 in world.services.tokens.verify(reply.accessToken, real_now()).names


@pytest.mark.parametrize("bad", [b'"soon"', b"1.5", b"true", b"{}", b"[]", b'"2017-07"', b"9" * 40])
async def test_an_invalid_expiry_is_refused(world: World, bad: bytes) -> None:
    """`token/create` refuses an invalid expiry with an error that names the member."""
    for member in ("expiration", "refreshExpiration"):
        with pytest.raises(OutOfBounds, match=f"^{member} is not a timestamp"):
            await world.ask(TokenCreate(payload=payload_with(member, bad)))


# Logging in.


async def test_a_login_gives_tokens_that_work(world: World) -> None:
    """The access token authenticates, the refresh token gives another one, and the last login is shown."""
    nobody = Caller("10.0.0.1", "h")
    tokens = await world.ask(Token(login="john", password="john's"), nobody)
    assert nobody.identity is ANONYMOUS
    await world.ask(Authenticate(token=tokens.accessToken), nobody)
    assert decoded(await world.ask(UserGetCurrent(), nobody))["current"]["login"] == "john"
    assert nobody.identity is not None
    assert {found for found in Permission if nobody.identity.may(found)} == CLIENT
    refreshed = await world.ask(TokenRefresh(refreshToken=tokens.refreshToken), Caller("10.0.0.1", "h"))
    await world.ask(Authenticate(token=refreshed.accessToken), Caller("10.0.0.1", "h"))
    (john,) = await listed(world, login="john")
    assert john["lastLogin"] == "2026-03-01T09:30:00.123"


async def test_revoking_ends_tokens_on_open_connections(world: World) -> None:
    """Without a member it ends all of the caller's own; an administrator ends those of others, by user, id or token."""
    john = world.caller(JOHN)
    await world.ask(TokenRevoke(), john)
    with pytest.raises(TokenRevoked):
        await world.ask(UserGetCurrent(), john)
    made = [await world.ask(Token(login="john", password="john's"), Caller("10.0.0.1", "h")) for _ in range(3)]
    callers = []
    for tokens in made:
        callers.append(Caller("10.0.0.1", "h"))
        await world.ask(Authenticate(token=tokens.accessToken), callers[-1])
        await world.ask(UserGetCurrent(), callers[-1])
    token_id = callers[0].identity.token
    for number, request in enumerate(
        (TokenRevoke(tokenId=token_id), TokenRevoke(token=made[1].refreshToken), TokenRevoke(userId=JOHN))
    ):
        for caller in callers[number:]:
            await world.ask(UserGetCurrent(), caller)
        await world.ask(request)
        with pytest.raises(TokenRevoked):
            await world.ask(UserGetCurrent(), callers[number])
        with pytest.raises(TokenRevoked):
            await world.ask(TokenRefresh(refreshToken=made[number].refreshToken), Caller("10.0.0.1", "h"))


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (TokenRevoke(userId=JOHN, tokenId="x"), InvalidParameters),
        (TokenRevoke(userId=99), NotFound),
        (TokenRevoke(userId=0), NotFound),
        (TokenRevoke(tokenId=""), OutOfBounds),
        (TokenRevoke(tokenId="x" * 65), OutOfBounds),
        (TokenRevoke(tokenId="device/lamp"), OutOfBounds),
        (TokenRevoke(token="x"), InvalidCredentials),
    ],
)
async def test_an_invalid_revocation_is_refused(world: World, request_: TokenRevoke, error: type[WireError]) -> None:
    """An invalid `token/revoke` is refused, and nothing is written."""
    revision = world.ledger.revision
    with pytest.raises(error):
        await world.ask(request_)
    assert world.ledger.revision == revision


async def test_only_administrators_end_tokens_of_others_and_single_ones(world: World) -> None:
    """With a token for everything; a narrow one, and other users, end all tokens of their own user at most."""
    for caller in (world.caller(JOHN), world.caller(HELPER, [12, 15]), world.caller(ADMIN, [12, 15])):
        for request in (TokenRevoke(userId=BOUND), TokenRevoke(tokenId="x"), TokenRevoke(token="x")):
            with pytest.raises(NotAllowed):
                await world.ask(request, caller)


async def test_the_number_of_single_revocations_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revocations are never forgotten, so their number is bounded; all tokens of a user can be revoked at any time."""
    monkeypatch.setattr("hivewire.access.revocations.MOST", 2)
    for token_id in ("a", "b", "a"):
        await world.ask(TokenRevoke(tokenId=token_id))
    with pytest.raises(OutOfBounds):
        await world.ask(TokenRevoke(tokenId="c"))
    await world.ask(TokenRevoke(userId=JOHN))


async def test_an_update_of_a_user_revives_no_token(world: World) -> None:
    """Revoked tokens stay revoked when the user is updated afterwards."""
    john = world.caller(JOHN)
    await world.ask(TokenRevoke(userId=JOHN))
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0, password="another")))
    with pytest.raises(TokenRevoked):
        await world.ask(UserGetCurrent(), john)


async def test_a_failed_authentication_leaves_the_identity(world: World) -> None:
    """A bad token on an authorised socket changes nothing."""
    caller = world.caller(JOHN)
    for bad in (None, "", "x"):
        with pytest.raises(InvalidCredentials if bad else Unauthorized):
            await world.ask(Authenticate(token=bad), caller)
    assert caller.identity is not None
    assert caller.identity.login == "john"


@pytest.mark.parametrize(
    ("login", "password", "error"),
    [
        ("john", "wrong", InvalidCredentials),
        ("john", "x" * 1_000, InvalidCredentials),
        ("JOHN", "john's", UnknownLogin),
        ("nobody", "x", UnknownLogin),
        ("locked", "x", UserNotActive),
        ("", "x", InvalidParameters),
        (" ", "x", InvalidParameters),
        (None, "x", InvalidParameters),
        ("john", "", InvalidParameters),
        ("john", None, InvalidParameters),
    ],
)
async def test_a_login_that_fails_says_why(
    world: World, login: str | None, password: str | None, error: type[WireError]
) -> None:
    """The texts are those that clients know."""
    with pytest.raises(WireError) as caught:
        await world.ask(Token(login=login, password=password), Caller("10.0.0.1", "h"))
    assert type(caught.value) is error
    if error is UnknownLogin:
        assert str(caught.value) == f"User with login = {login} not found or bad password"


async def test_guessing_is_slowed_down_and_an_administrator_ends_that(world: World) -> None:
    """After ten wrong passwords even the right one waits, but only from that address; activating the user resets it."""
    here, there = Caller("10.0.0.1", "h"), Caller("10.0.0.2", "h")
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(InvalidCredentials):
            await world.ask(Token(login="john", password="wrong"), here)
    with pytest.raises(TooManyAttempts, match="try again in 1 s") as caught:
        await world.ask(Token(login="john", password="john's"), here)
    assert caught.value.members == {"retryAfter": 1}
    await world.ask(Token(login="john", password="john's"), there)
    world.clock.time += 1_000
    with pytest.raises(InvalidCredentials):
        await world.ask(Token(login="john", password="wrong"), here)
    with pytest.raises(TooManyAttempts, match="try again in 2 s"):
        await world.ask(Token(login="john", password="john's"), here)
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=0)))
    await world.ask(Token(login="john", password="john's"), here)


async def test_guesses_at_a_time_learn_no_more_than_guesses_in_a_row(world: World) -> None:
    """Of a hundred parallel guesses ten are checked, and the wait is that of ten."""
    here = Caller("10.0.0.1", "h")
    guesses = [world.ask(Token(login="john", password=f"wrong {n}"), here) for n in range(60)]
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert [type(answer) for answer in answers] == [InvalidCredentials] * 10 + [TooManyAttempts] * 50
    assert world.services.throttle.wait("john", "10.0.0.1") == 1_000


async def test_right_passwords_at_a_time_all_get_in(world: World) -> None:
    """Fifty services of one host may start together."""
    here = Caller("10.0.0.1", "h")
    logins = [world.ask(Token(login="john", password="john's"), here) for _ in range(50)]
    assert all(reply.accessToken for reply in await asyncio.gather(*logins))


async def test_a_login_refused_by_a_full_queue_is_not_counted(world: World) -> None:
    """It gets 503, and other logins continue."""
    here = Caller("10.0.0.1", "h")
    logins = [world.ask(Token(login="john", password="john's"), here) for _ in range(70)]
    other = world.ask(Token(login="admin", password="admin's"), here)
    answered: list[Any] = await asyncio.gather(*logins, other, return_exceptions=True)
    *answers, reply = answered
    assert [type(answer).__name__ for answer in answers] == ["TokensReply"] * 64 + ["Unavailable"] * 6
    assert reply.accessToken
    assert world.services.throttle.wait("john", "10.0.0.1") == 0


async def test_who_logged_in_before_does_not_wait_behind_strangers(world: World) -> None:
    """Guessers from many addresses fill their own queue only; others who come for the first time are refused then."""
    known = Caller("10.0.0.1", "h")
    await world.ask(Token(login="john", password="john's"), known)
    guessers = [Caller(f"10.1.0.{n}", "h") for n in range(70)]
    guesses = [world.ask(Token(login="john", password="wrong"), guesser) for guesser in guessers]
    again = world.ask(Token(login="john", password="john's"), known)
    answered: list[Any] = await asyncio.gather(*guesses, again, return_exceptions=True)
    *answers, reply = answered
    assert [type(answer).__name__ for answer in answers] == ["InvalidCredentials"] * 64 + ["Unavailable"] * 6
    assert reply.accessToken


async def test_guesses_at_logins_that_do_not_exist_count_for_nothing(world: World) -> None:
    """They displace no other failures from memory."""
    for number in range(30):
        with pytest.raises(UnknownLogin):
            await world.ask(Token(login="nobody", password=f"{number}"), Caller("10.0.0.1", "h"))
    assert not world.services.throttle._failures


# Users.


async def content_of(world: World, number: int) -> UserContent:
    user = world.services.users.by_id(number)
    assert user is not None
    return user.content


async def test_a_new_user_can_log_in_with_the_rights_of_its_role(world: World) -> None:
    """The reply has its number and defaults, neither login nor password (core protocol, section 6.1)."""
    fields = UserInsertFields(login=" mary ", password="mary's one", role=1)
    created = (await world.ask(UserInsert(user=fields))).user
    assert (created.lastLogin, created.data) == (None, None)
    assert (created.introReviewed, created.allDeviceTypesAvailable) == (False, True)
    assert (await content_of(world, created.id)).role == Role.CLIENT
    await world.ask(Token(login="mary", password="mary's one"), Caller("10.0.0.1", "h"))


NEW: dict[str, Any] = {"login": "mary", "password": "mary's one", "role": 1}


async def test_a_token_counts_for_no_other_user_with_its_id(world: World) -> None:
    """After a backup was restored, ids that were given since are given again."""
    created = (await world.ask(UserInsert(user=UserInsertFields(**NEW)))).user
    async with tests.world.opened() as restored:
        fields = UserInsertFields(login="boss", password="another one", role=0)
        assert (await restored.ask(UserInsert(user=fields))).user.id == created.id
        with pytest.raises(TokenRevoked):
            restored.tokens.verify(world.token(created.id), real_now())


@pytest.mark.parametrize(
    ("user", "error", "words"),
    [
        (None, InvalidParameters, "User is required"),
        (NEW | {"login": None}, InvalidParameters, "login field cannot be null"),
        (NEW | {"login": " ab "}, OutOfBounds, "from 3 to 128"),
        (NEW | {"login": "x" * 129}, InvalidParameters, "should not be more than 128"),
        (NEW | {"login": "mary\n1"}, OutOfBounds, "Login can contain only"),
        (NEW | {"login": "märy"}, OutOfBounds, "Login can contain only"),
        (NEW | {"login": "john"}, NotAllowed, "already exists"),
        (NEW | {"role": None}, InvalidParameters, "role is invalid or empty"),
        (NEW | {"role": 2}, InvalidParameters, "role"),
        (NEW | {"status": 3}, OutOfBounds, "status"),
        (NEW | {"password": None}, OutOfBounds, "from 6 to 128 symbols"),
        (NEW | {"password": "12345"}, OutOfBounds, "from 6 to 128 symbols"),
    ],
)
async def test_an_invalid_user_is_refused(
    world: World, user: dict[str, Any] | None, error: type[WireError], words: str
) -> None:
    """An invalid new user is refused with an error that names the fault, and nothing is written."""
    before = world.services.ledger.revision
    with pytest.raises(WireError, match=words) as caught:
        await world.ask(UserInsert(user=UserInsertFields(**user) if user is not None else None))
    assert type(caught.value) is error
    assert world.services.ledger.revision == before


async def test_only_an_administrator_with_all_rights_makes_users(world: World) -> None:
    """Another user with ManageUser, or a restricted token of an administrator, would gain rights by it."""
    for caller in (world.caller(HELPER, [12]), world.caller(ADMIN, [12])):
        with pytest.raises(NotAllowed):
            await world.ask(UserInsert(user=UserInsertFields(**NEW)), caller)
    with pytest.raises(AccessDenied):
        await world.ask(UserInsert(user=UserInsertFields(**NEW)), world.caller(JOHN, [1]))


async def test_of_two_users_with_one_login_the_first_stays(world: World) -> None:
    """A second user with the same login is refused, also when both are created at once."""
    twice = [world.ask(UserInsert(user=UserInsertFields(**NEW))) for _ in range(2)]
    results = await asyncio.gather(*twice, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NotAllowed", "UserInsertReply"]


class SlowJournal(MemoryJournal):
    """A journal whose log is read when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        self.asked.set()
        await self.go.wait()
        return await super().history(kind, key, revision=revision, take=take)


async def test_a_token_that_ends_while_the_disk_is_read_does_not_roll_back() -> None:
    """The disk may hang for long; the write after it needs the right that there is then."""
    journal = SlowJournal()
    world = await World(journal).open()
    await world.put("a", "1")
    john = world.caller(JOHN)
    asked = asyncio.create_task(world.ask(ConfigurationRollback(name="a", to=1), john))
    await journal.asked.wait()
    await world.ask(TokenRevoke(userId=JOHN))
    journal.go.set()
    with pytest.raises(TokenRevoked):
        await asked
    assert (await world.ask(ConfigurationGet(name="a"))).configuration.entityVersion == 1
    await world.close()


async def held_with_helper() -> tuple[HeldJournal, World, Caller]:
    """A world whose next commit is held, and a second administrator in it."""
    journal = HeldJournal()
    world = await World(journal).open()
    await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=0)))
    helper = world.caller(HELPER, j="lost")
    journal.began.clear()
    journal.go.clear()
    return journal, world, helper


ENDS = {
    "role": UserUpdate(userId=HELPER, user=UserUpdateFields(role=1)),
    "status": UserUpdate(userId=HELPER, user=UserUpdateFields(status=1)),
    "revoked": TokenRevoke(userId=HELPER),
    "one token": TokenRevoke(tokenId="lost"),
}
"""What ends the rights of that administrator, or of its token."""


@pytest.mark.parametrize("end", ENDS)
async def test_writes_that_wait_are_dropped_when_their_author_loses_its_rights(end: str) -> None:
    """Nothing that it sent is written after the change that ended its rights was answered; others are not affected."""
    journal, world, helper = await held_with_helper()
    ended = asyncio.create_task(world.ask(ENDS[end]))
    await journal.began.wait()
    puts = [world.put(f"a{number}", "1", by) for number, by in enumerate((helper, world.admin, helper))]
    waiting = asyncio.gather(*puts, return_exceptions=True)
    await asyncio.sleep(0)
    journal.go.set()
    results = await waiting
    assert ended.done()
    assert [type(result).__name__ for result in results] == ["Unavailable", "ConfigurationReply", "Unavailable"]
    assert "nothing was written" in str(results[0])
    assert [row.name for row in (await world.ask(ConfigurationList())).configurations] == ["a1"]
    await world.close()


@pytest.mark.parametrize("end", ENDS)
async def test_writes_in_one_commit_with_the_end_of_their_author_are_dropped(end: str) -> None:
    """Nothing that it sent is written behind the change that ended its rights; what came before that is."""
    journal, world, helper = await held_with_helper()
    held = asyncio.create_task(world.put("held", "1"))
    await journal.began.wait()
    before = asyncio.create_task(world.put("before", "1", helper))
    ended = asyncio.create_task(world.ask(ENDS[end]))
    for _ in range(10):  # until it waits too
        await asyncio.sleep(0)
    puts = [world.put(f"a{number}", "1", by) for number, by in enumerate((helper, world.admin, helper))]
    waiting = asyncio.gather(*puts, return_exceptions=True)
    await asyncio.sleep(0)
    journal.go.set()
    results = await waiting
    await asyncio.gather(held, before, ended)
    assert [type(result).__name__ for result in results] == ["Unavailable", "ConfigurationReply", "Unavailable"]
    assert [row.name for row in (await world.ask(ConfigurationList())).configurations] == ["a1", "before", "held"]
    await world.close()


async def test_writes_with_another_token_are_not_dropped() -> None:
    """The revocation of one token ends nothing else of its user."""
    journal, world, helper = await held_with_helper()
    ended = asyncio.create_task(world.ask(TokenRevoke(tokenId="lost")))
    await journal.began.wait()
    other, none = world.caller(HELPER, j="other"), world.caller(HELPER)
    puts = [asyncio.create_task(world.put("a", str(number), by)) for number, by in enumerate((other, helper, none))]
    await asyncio.sleep(0)
    journal.go.set()
    results = await asyncio.gather(ended, *puts, return_exceptions=True)
    assert [isinstance(result, Unavailable) for result in results] == [False, False, True, False]
    await world.close()


async def test_an_update_changes_what_is_given_and_clears_data(world: World) -> None:
    """Absent members stay, except `data`, which the request replaces or clears."""
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(data={"a": [1]}, introReviewed=True)))
    before = await content_of(world, JOHN)
    assert (before.data, before.intro_reviewed) == ({"a": [1]}, True)
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0)))
    after = await content_of(world, JOHN)
    assert (after.role, after.status, after.data, after.intro_reviewed) == (Role.ADMIN, Status.ACTIVE, None, True)
    assert after.password_hash == before.password_hash


async def test_a_new_password_replaces_the_old_one(world: World) -> None:
    """The new one logs in, the old one does not; an empty one changes nothing."""
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(password="another")))
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(password="")))
    await world.ask(Token(login="john", password="another"), Caller("10.0.0.1", "h"))
    with pytest.raises(InvalidCredentials):
        await world.ask(Token(login="john", password="john's"), Caller("10.0.0.1", "h"))


async def test_a_locked_user_is_refused_at_once(world: World) -> None:
    """On its open connections and for logins, until it is active again."""
    john = world.caller(JOHN)
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=1)))
    with pytest.raises(UserNotActive):
        await world.ask(UserGetCurrent(), john)
    with pytest.raises(UserNotActive):
        await world.ask(Token(login="john", password="john's"), Caller("10.0.0.1", "h"))
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=0)))
    assert decoded(await world.ask(UserGetCurrent(), john))["current"]["id"] == JOHN


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (UserUpdate(userId=JOHN), InvalidParameters, "User is required"),
        (UserUpdate(userId=JOHN, user=None), InvalidParameters, "User is required"),
        (UserUpdate(user=UserUpdateFields()), InvalidParameters, "User id is wrong or empty"),
        (UserUpdate(userId=99, user=UserUpdateFields()), NotFound, "User with id = 99 not found"),
        (UserUpdate(userId=JOHN, user=UserUpdateFields(login="admin")), NotAllowed, "already exists"),
        (UserUpdate(userId=JOHN, user=UserUpdateFields(password="12345")), OutOfBounds, "from 6 to 128 symbols"),
        (UserUpdate(userId=JOHN, user=UserUpdateFields(password="x" * 129)), OutOfBounds, "from 6 to 128 symbols"),
        (UserUpdate(userId=JOHN, user=UserUpdateFields(password="abc\ndefg")), OutOfBounds, "from 6 to 128 symbols"),
        (UserUpdate(userId=JOHN, user=UserUpdateFields(role=2)), OutOfBounds, "role"),
        (UserUpdate(userId=JOHN, user=UserUpdateFields(role=-1)), OutOfBounds, "role"),
        (UserUpdate(userId=JOHN, user=UserUpdateFields(status=3)), OutOfBounds, "status"),
    ],
)
async def test_an_invalid_update_is_refused(
    world: World, request_: UserUpdate, error: type[WireError], words: str
) -> None:
    """An invalid update of a user is refused with an error that names the fault, and nothing is written."""
    before = world.services.ledger.revision
    with pytest.raises(WireError, match=words) as caught:
        await world.ask(request_)
    assert type(caught.value) is error
    assert world.services.ledger.revision == before


@pytest.mark.parametrize(
    ("number", "fields", "allowed"),
    [
        (JOHN, {"data": {"x": 1}}, True),
        (HELPER, {"introReviewed": True}, True),
        (HELPER, {"password": "my own new one"}, False),
        (JOHN, {"password": "taken over"}, False),
        (ADMIN, {"password": "taken over"}, False),
        (ADMIN, {"password": ""}, True),
        (HELPER, {"role": 0}, False),
        (HELPER, {"role": 1}, False),
        (JOHN, {"status": 1}, False),
        (HELPER, {"login": "helper"}, True),
        (HELPER, {"login": "john"}, False),
    ],
)
async def test_a_user_manager_cannot_become_an_administrator(
    world: World, number: int, fields: dict[str, Any], allowed: bool
) -> None:
    """Roles, statuses, logins and passwords can be changed only by administrators, not by everybody with ManageUser."""
    helper = world.caller(HELPER, [12])
    request = UserUpdate(userId=number, user=UserUpdateFields(**fields))
    if allowed:
        await world.ask(request, helper)
    else:
        before = await content_of(world, number)
        with pytest.raises(NotAllowed, match="Admin permissions required for this action"):
            await world.ask(request, helper)
        assert await content_of(world, number) == before


@pytest.mark.parametrize(
    "restricted",
    [{"a": [12]}, {"a": [2, 3, 12, 13]}, {"c": ["a*"]}, {"n": []}, {"n": ["1"]}],
    ids=["one right", "some rights", "names", "no networks", "one network"],
)
@pytest.mark.parametrize("fields", [{"password": "taken over"}, {"role": 0}, {"status": 0}])
async def test_a_restricted_token_cannot_gain_rights(
    world: World, restricted: dict[str, Any], fields: dict[str, Any]
) -> None:
    """With an administrator's token for managing users a caller could otherwise set its password and log in."""
    request = UserUpdate(userId=ADMIN, user=UserUpdateFields(**fields))
    with pytest.raises(NotAllowed, match="unrestricted token"):
        await world.ask(request, world.caller(ADMIN, **restricted))
    await world.ask(request, world.caller(ADMIN))
    everything = [int(permission) for permission in Permission if permission > Permission.NONE]
    await world.ask(request, world.caller(ADMIN, everything))


@pytest.mark.parametrize("fields", [{"role": 1}, {"status": 1}, {"status": 2}])
async def test_the_last_administrator_stays(world: World, fields: dict[str, Any]) -> None:
    """The last administrator can be neither demoted nor locked; with a second one that is allowed."""
    with pytest.raises(NotAllowed, match="last active administrator"):
        await world.ask(UserUpdate(userId=ADMIN, user=UserUpdateFields(**fields)))
    await world.ask(UserUpdate(userId=ADMIN, user=UserUpdateFields(introReviewed=True, role=0, status=0)))
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0)))
    await world.ask(UserUpdate(userId=ADMIN, user=UserUpdateFields(**fields)))


async def test_of_two_administrators_who_step_down_at_once_one_stays(world: World) -> None:
    """Both requests see two administrators when they begin, so the second is refused when it is written."""
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0)))
    results = await asyncio.gather(
        world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=1))),
        world.ask(UserUpdate(userId=ADMIN, user=UserUpdateFields(status=2))),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == ["WriteReply", "NotAllowed"]
    assert await logins(world, role=0, status=0) == ["admin"]


async def test_a_new_role_ends_all_tokens_of_the_user(world: World) -> None:
    """So no token carries rights of a former role: live connections, refresh tokens and created tokens are refused.

    A new login gets the rights of the role. Tokens stay ended when the former role comes back.
    """
    nobody = Caller("10.0.0.1", "h")
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0)))
    for role in (1, 0):
        login = await world.ask(Token(login="john", password="john's"), nobody)
        live = Caller("10.0.0.1", "h")
        await world.ask(Authenticate(token=login.accessToken), live)
        created = await world.ask(TokenCreate(payload=TokenPayload(JOHN, actions=raws(15))), live)
        await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(introReviewed=True)))
        await world.ask(UserGetCurrent(), live)
        await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=role)))
        with pytest.raises(TokenRevoked):
            await world.ask(UserGetCurrent(), live)
        for tokens in (login, created):
            with pytest.raises(TokenRevoked):
                await world.ask(TokenRefresh(refreshToken=tokens.refreshToken), nobody)
            with pytest.raises(TokenRevoked):
                await world.ask(Authenticate(token=tokens.accessToken), nobody)
        again = await world.ask(Token(login="john", password="john's"), nobody)
        await world.ask(Authenticate(token=again.accessToken), live)
        assert live.identity.may(Permission.MANAGE_CONFIGURATION) is (role == 0)


async def test_a_role_that_ends_while_a_password_is_hashed_does_not_count(world: World) -> None:
    """Neither makes the former administrator a new one, nor sets a password: another user's, or its own with a token
    that ended."""
    await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=0)))
    helper = world.caller(HELPER)
    for request in (
        UserInsert(user=UserInsertFields(login="mary", password="mary's one", role=0)),
        UserUpdate(userId=ADMIN, user=UserUpdateFields(password="taken over")),
        UserUpdateCurrent(user=UserUpdateFields(password="taken over")),
    ):
        hashed = threading.Event()
        world.passwords._others.pool.submit(hashed.wait)  # its only thread, so that the password waits
        asked = asyncio.create_task(world.ask(request, helper))
        await asyncio.sleep(0)
        await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=1)))
        hashed.set()
        with pytest.raises(TokenRevoked):
            await asked
        await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=0)))
        helper = world.caller(HELPER)
    assert world.users.by_login("mary") is None
    await world.ask(Token(login="admin", password="admin's"), Caller("10.0.0.1", "h"))


@pytest.mark.parametrize("logins", [1, 3])
async def test_a_login_that_waits_does_not_count_with_a_password_that_was_replaced(world: World, logins: int) -> None:
    """Whether it waits for its turn, or its password is being hashed. The new password is right."""
    await world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(password="the old one")))
    hashed = threading.Event()
    world.passwords._strangers.pool.submit(hashed.wait)  # its only thread, so that the passwords wait
    caller = Caller("10.0.0.1", "h")
    asked = [asyncio.create_task(world.ask(Token(login="john", password="the old one"), caller)) for _ in range(logins)]
    await asyncio.sleep(0)
    content = await content_of(world, JOHN)
    replaced = structs.replace(content, password_hash=HASHER.hash("the new one"))
    await world.ledger.commit(world.users.write("john", replaced, "admin"))
    hashed.set()
    for each in asked:
        with pytest.raises(InvalidCredentials):
            await each
    assert isinstance(await world.ask(Token(login="john", password="the new one"), caller), TokensReply)


async def test_updates_at_the_same_time_lose_nothing(world: World) -> None:
    """Two administrators who change different members of one user both succeed."""
    await asyncio.gather(
        world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(introReviewed=True))),
        world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(role=0))),
        world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(password="another"))),
        world.ask(UserUpdate(userId=JOHN, user=UserUpdateFields(status=2))),
    )
    content = await content_of(world, JOHN)
    assert (content.intro_reviewed, content.role, content.status) == (True, 0, 2)
    assert await world.services.passwords.verify(content.password_hash, "another")


async def test_a_user_is_shown_without_its_password(world: World) -> None:
    """Members come in the documented order, and no hash among them."""
    current = decoded(await world.ask(UserGetCurrent()))["current"]
    assert current == {
        "networks": [],
        "id": ADMIN,
        "login": "admin",
        "role": 0,
        "status": 0,
        "lastLogin": None,
        "data": None,
        "introReviewed": False,
        "allDeviceTypesAvailable": True,
    }
    (row,) = await listed(world, login="admin")
    del current["networks"]
    assert list(row.items()) == list(current.items())


async def logins(world: World, caller: Caller | None = None, **asked: Any) -> list[str]:
    return [user["login"] for user in await listed(world, caller, **asked)]


async def listed(world: World, caller: Caller | None = None, **asked: Any) -> list[dict[str, Any]]:
    """The users of a list, as they are sent."""
    reply = await world.ask(UserList(**asked), caller)
    found: list[dict[str, Any]] = decoded(reply)["users"]
    return found


async def test_users_are_filtered_sorted_and_paged(world: World) -> None:
    """Exact login, role, status; by id or login; take and skip."""
    assert await logins(world, login="john") == ["john"]
    assert await logins(world, login="JOHN") == []
    assert await logins(world, login="joh") == []
    assert await logins(world, role=0) == ["admin"]
    assert await logins(world, status=1) == ["locked"]
    assert await logins(world, status=0, role=1, sortField="login") == ["bound", "helper", "john"]
    assert await logins(world, login="john", loginPattern="%o%", sortField="id") == ["john", "locked", "bound"]
    everybody = ["admin", "bound", "helper", "john", "locked"]
    assert await logins(world, sortField="login") == everybody
    assert await logins(world, sortField="LOGIN", sortOrder="DESC") == everybody[::-1]
    assert await logins(world, sortField="id", sortOrder="asc", skip=1, take=2) == ["john", "locked"]
    assert await logins(world, take=0) == []
    assert await logins(world, skip=9) == []


async def test_a_list_of_users_has_twenty_over_a_socket_and_all_over_http(world: World) -> None:
    """`user/list` without `take` returns 20 users over a socket and all over HTTP, as in DeviceHive."""
    for number in range(30):
        await world.services.ledger.commit(world.services.users.write(f"user{number}", UserContent(""), None))
    assert len(await logins(world)) == 20
    assert len(await logins(world, take=100)) == 35
    caller = world.caller()
    caller.http = True
    assert len(await logins(world, caller)) == 35


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"sortField": "role"}, InvalidParameters),
        ({"sortOrder": "up"}, InvalidParameters),
        ({"take": -1}, OutOfBounds),
        ({"skip": -1}, OutOfBounds),
    ],
)
async def test_an_invalid_list_of_users_is_refused(world: World, asked: dict[str, Any], error: type[WireError]) -> None:
    """The reference server stays silent there, this one answers."""
    with pytest.raises(error):
        await world.ask(UserList(**asked))


def like(pattern: str, text: str) -> bool:
    """SQL LIKE, written down naively."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and like(pattern[1:], text[1:])


@example("a%")
@example("%_b%b")
@example("%b%b%")
@given(st.text("ab%_.*[", max_size=6))
def test_a_login_pattern_is_sql_like(pattern: str) -> None:
    """`%` is any run of characters, `_` any one, everything else itself."""

    async def check() -> None:
        world = World()
        await world.ledger.open()
        names = ["a", "b", "ab", "ba", "aab", "abab", "b.a", "a_b", "aaaa"]
        for name in names:
            await world.ledger.commit(world.users.write(name, UserContent(""), None))
        found: Any = actions.READS[UserList](world.services, world.admin, UserList(loginPattern=pattern))
        reply = await found
        assert [user.login for user in reply.items] == [name for name in names if like(pattern, name)]
        await world.close()

    asyncio.run(check())


async def test_a_malicious_pattern_is_harmless(world: World) -> None:
    """Many wildcards cost no more than their number, and all are applied."""
    assert await logins(world, loginPattern="%a" * 100) == []
    assert await logins(world, loginPattern="%" * 256 + "nobody") == []
    assert await logins(world, loginPattern="%" * 200 + "john") == ["john"]
    assert await logins(world, loginPattern="%" + "x" * 255) == [], "the longest one"


async def test_a_search_among_many_users_lets_others_work(world: World) -> None:
    """With the slowest pattern, which takes longer than a slice, the event loop goes on meanwhile."""
    people = [f"{'a' * 120}{number}" for number in range(100)]
    content = UserContent("")
    await asyncio.gather(*(world.ledger.commit(world.users.write(login, content, None)) for login in people))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    meanwhile = asyncio.create_task(others())
    assert await logins(world, loginPattern=f"%{'_' * 60}b%") == []
    meanwhile.cancel()
    assert turns > 5


def test_no_input_becomes_a_regular_expression() -> None:
    """Every pattern of a search is a literal or a constant of the module."""
    sources = [path for package in (hivewire, hivewire_protocol) for path in Path(package.__path__[0]).rglob("*.py")]
    assert len(sources) > 50
    for path in sources:
        text = path.read_text()
        tree = ast.parse(text if re.search(r"\bre\.\w", text) else "")
        constants = {ast.unparse(node.targets[0]) for node in tree.body if isinstance(node, ast.Assign)}
        for node in tree.body:
            for call in ast.walk(node) if not isinstance(node, ast.Assign) else ():
                if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("re."):
                    given = call.args[0]
                    assert isinstance(given, ast.Constant) or ast.unparse(given) in constants, f"{path}:{call.lineno}"


@pytest.mark.parametrize(
    ("host", "secure", "shown"),
    [("h", False, "h:80"), ("h", True, "h:443"), ("h:8000", True, "h:8000"), ("", False, "127.0.0.1:8080")],
)
async def test_the_addresses_of_a_cluster_are_those_of_the_gateway(
    world: World, host: str, secure: bool, shown: str
) -> None:
    """With a port; where a client says no host, they are in the settings. Clients need texts."""
    reply = await world.ask(ClusterInfo(), Caller("10.0.0.1", host, secure=secure))
    assert reply.clusterInfo == {"bootstrap.servers": shown, "zookeeper.connect": shown}
