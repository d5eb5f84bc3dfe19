"""The Python client does what `cases.md` says, with a real gateway and with the fake one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from hivewire_client import (
    ABSENT,
    Backoff,
    Busy,
    Changes,
    Conflict,
    Denied,
    Event,
    Hivewire,
    Invalid,
    LoginRequired,
    NotFound,
    Password,
    Refused,
    Reset,
    StateChanged,
    TooLarge,
    Unavailable,
    Uncertain,
    Watch,
)
from hivewire_client.connection import log
from hivewire_client.testing import FakeGateway
from hivewire_client.testing.session import Session
from tests.clients.conftest import Start
from tests.clients.gateways import Gateway
from tests.running import PATIENCE

KILLS = 50


class Limits(msgspec.Struct):
    """A typed value."""

    max: int


@asynccontextmanager
async def client(gateway: Gateway, *addresses: str, **options: Any) -> AsyncIterator[Hivewire]:
    """A client that is live, and waits hardly at all before it connects again."""
    given: dict[str, Any] = {"token": gateway.token, "backoff": Backoff(0.01, 0.02)} | options
    async with Hivewire([*addresses, gateway.url], **given) as hw:
        await hw.ready(PATIENCE, stale=False)
        yield hw


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of the client so far."""
    return [each.getMessage() for each in caplog.records if each.levelname == "WARNING" and each.name == log.name]


async def until(holds: Callable[[], object]) -> None:
    """Wait for something that the gateway is about to cause."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.002)


async def event(watch: Watch, kind: type[Event]) -> Any:
    """The next event of this kind."""
    async with asyncio.timeout(PATIENCE):
        while not isinstance(found := await anext(watch), kind):
            pass
    return found


def applied(events: list[Event]) -> dict[str, str | None]:
    """The values that somebody has who applied all changes."""
    state: dict[str, str | None] = {}
    for each in events:
        if isinstance(each, Changes | Reset):
            for change in each.changes:
                if change.operation == "delete":
                    state.pop(change.name, None)
                else:
                    state[change.name] = change.entry.value
    return state


async def test_reads_memory(start: Start) -> None:
    """After `ready` the values are there, decoded; what does not exist gives the default."""
    gateway = start({"limits.api": {"max": 5}, "limits.day": "2026-03-01", "other": "x"})
    async with client(gateway, names=["limits.*"]) as hw:
        assert hw.get("limits.api", Limits, default=Limits(1)) == Limits(5)
        assert hw.get("limits.api", Limits) is hw.get("limits.api", Limits)
        assert hw.get("limits.day") == "2026-03-01"
        assert hw.get("limits.none", Limits, default=Limits(1)) == Limits(1)
        assert (hw.get("limits.none"), hw.get("limits.none", default="-")) == (None, "-")
        assert hw.names() == ("limits.api", "limits.day")
        entry = hw.entry("limits.api", Limits)
        assert entry is not None and (entry.value, entry.version) == (Limits(5), 1)
        with pytest.raises(ValueError, match="not among the `names`"):
            hw.get("other")


async def test_own_write(start: Start) -> None:
    """When a put is answered, `get` has its value."""
    async with client(start()) as hw:
        for number in range(20):
            entry = await hw.put("n", number, description="count")
            assert (hw.get("n", int), entry.version) == (number, number + 1)
        assert await hw.delete("n") > 0
        assert hw.get("n", int) is None
        changes = await hw.history("n", take=2)
        assert [(change.operation, change.description) for change in changes] == [("delete", None), ("put", "count")]
        assert (await hw.rollback("n", to_revision=changes[1].revision)).value == "19"
        await hw.put("n", 20)
        assert (await hw.rollback("n", 1)).value == "19"
        assert [entry.name for entry in await hw.list("n*")] == ["n"]
        assert (await hw.fetch("n", int)).value == 19
        assert (await hw.fetch("n", int, version=2)).value == 20


async def test_watch_begins(start: Start) -> None:
    """A watch begins with a reset whose changes are everything that is known."""
    async with client(start({"a.x": "1", "a.y": "2", "b": "3"})) as hw:
        async with hw.watch("a.*") as watch:
            first = await anext(watch)
        assert isinstance(first, Reset) and applied([first]) == {"a.x": "1", "a.y": "2"}
        async for only in hw.watch("b"):
            assert isinstance(only, Reset)
            break


async def test_groups(start: Start) -> None:
    """A transaction is one event with all its changes."""
    async with client(start({"old": "1"})) as hw, hw.watch() as watch:
        async with hw.transaction("why") as tx:
            tx.put("a", "1", expect=ABSENT)
            tx.put("b", {"max": 2})
            tx.delete("old")
        assert [entry.version for entry in tx.entries] == [1, 1, 2] and tx.revision is not None
        found = await event(watch, Changes)
        assert [(change.operation, change.name) for change in found.changes] == [
            ("put", "a"),
            ("put", "b"),
            ("delete", "old"),
        ]
        assert {(change.revision, change.description, change.modified_by) for change in found.changes} == {
            (tx.revision, "why", "admin")
        }


async def test_fifty_kills(start: Start) -> None:
    """The connection is cut 50 times while values change: a watch sees each change once, in order."""
    gateway = start({"n": "0"})
    async with client(gateway) as hw, hw.watch("n") as watch:
        seen: list[int] = []

        async def read() -> None:
            while not seen or seen[-1] < 2 * KILLS:
                found = await anext(watch)
                if isinstance(found, Changes | Reset):
                    seen.extend(int(change.entry.value or "") for change in found.changes)

        reading = asyncio.create_task(read())
        for number in range(KILLS):
            await asyncio.to_thread(gateway.change, "n", str(2 * number + 1))
            if number % 2:
                await until(lambda: hw.state == "live")
            await asyncio.to_thread(gateway.drop)
            await asyncio.to_thread(gateway.change, "n", str(2 * number + 2))
        async with asyncio.timeout(PATIENCE):
            await reading
        assert seen == [*range(2 * KILLS + 1)]
        await until(lambda: hw.state == "live")


async def test_reset(start: Start) -> None:
    """The gateway's data were replaced: one reset with the differences, and the state is the new one."""
    gateway = start({"same": 1, "gone": 2, "other": 3})
    async with client(gateway) as hw, hw.watch() as watch:
        events: list[Event] = [await anext(watch)]
        gateway.stop()
        gateway.change({"gone": None, "other": 4, "new": 5})
        gateway.lose_history()
        gateway.start()
        await until(lambda: hw.get("new", int) == 5)
        events.append(await event(watch, Reset))
        assert applied(events[1:]) == {"other": "4", "new": "5"}
        assert applied(events) == {"same": "1", "other": "4", "new": "5"}
        assert hw.get("gone") is None


async def test_renewal(start: Start) -> None:
    """The token ends: a new one is asked for once, and given to the open connection; nothing is missed."""
    gateway = start({"n": "0"})
    asked: list[str] = []

    async def token() -> str:
        asked.append(await asyncio.to_thread(gateway.token))
        return asked[-1]

    async with client(gateway, token=token) as hw, hw.watch("n") as watch:
        before = hw._link.connection
        for number in range(1, 4):
            await asyncio.to_thread(gateway.expire)
            await asyncio.to_thread(gateway.change, "n", str(number))
            await asyncio.gather(*(hw.fetch("n") for _ in range(5)))  # refused with 401, all at once
            await until(lambda: hw.state == "live" and hw.get("n") == str(number))  # noqa: B023
            assert len(asked) == number + 1
        assert hw._link.connection is before
        events = [await anext(watch) for _ in range(1)]
        while applied(events) != {"n": "3"}:
            events.append(await anext(watch))
        assert [each.changes[0].entry.value for each in events if isinstance(each, Changes | Reset)] == [*"0123"]


async def test_text_token_ends(start: Start) -> None:
    """A token that cannot be renewed ends: closed with LoginRequired, and the last values are still served."""
    gateway = start({"n": "1"})
    async with client(gateway, token=gateway.token()) as hw, hw.watch() as watch:
        gateway.expire()
        await until(lambda: hw.state == "closed")
        assert [each async for each in watch][-1] == StateChanged("closed", hw.stale_since, hw.reason)
        assert hw.get("n") == "1" and hw.stale_since is not None
        with pytest.raises(LoginRequired):
            await hw.ready(stale=False)


async def test_drain(start: Start) -> None:
    """The gateway stops and names no other: the client comes back, and misses nothing."""
    gateway = start({"n": "1"})
    async with client(gateway) as hw, hw.watch("n") as watch:
        gateway.drain()
        gateway.change("n", "2")
        assert (await event(watch, Changes)).changes[0].entry.value == "2"
        await until(lambda: hw.state == "live")


async def test_no_return_before_retry(fake: FakeGateway) -> None:
    """Not before the time that the gateway says."""
    async with client(fake) as hw:
        since = time.monotonic()
        fake.drain(retry=300)
        await until(lambda: hw.state == "stale")
        await until(lambda: hw.state == "live")
        assert time.monotonic() - since > 0.29


async def test_alternatives(start: Start) -> None:
    """The gateway stops and names another: the client goes there at once."""
    gateway, other = start({"n": "1"}), start({"n": "other"})
    async with client(gateway, backoff=Backoff(1_000, 1_000)) as hw:
        gateway.drain([other.url], retry=100_000)
        await until(lambda: hw.get("n") == "other" and hw.state == "live")
        await until(lambda: not gateway.connections)  # it learns of the end in its own time
        assert (gateway.connections, other.connections) == (0, 1)


async def test_list_of_addresses(start: Start) -> None:
    """One of two addresses is dead: the other one is used."""
    gateway, other = start({"n": "1"}), start({"n": "1"})
    other.stop()
    async with client(gateway, other.url) as hw:
        assert hw.get("n") == "1"


async def test_writing_later(start: Start) -> None:
    """What expires is deleted in its time, unless it was written again; a transaction is written at its time."""
    async with client(start()) as hw:
        soon = datetime.now(UTC) + timedelta(seconds=2)
        await hw.put("kept", "1", ttl=1)
        await hw.put("kept", "2")
        await hw.put("brief", "1", ttl=1)
        async with hw.transaction() as tx:
            tx.put("brief.too", "1", expires=soon)
            tx.put("briefer", "1", ttl=1)
        assert [entry.version for entry in tx.entries] == [1, 1] and tx.schedule is None
        async with hw.transaction("in time", at=soon) as later:
            later.put("opened", "1", expect=ABSENT)
        assert (later.entries, later.schedule is not None, hw.get("opened")) == ((), True, None)
        await until(lambda: hw.names() == ("kept", "opened"))
        assert hw.get("kept") == "2"
        expired, put = await hw.history("brief")
        assert (expired.operation, expired.description, put.operation) == ("delete", "expired", "put")
        assert [change.description for change in await hw.history("opened")] == ["in time"]
        with pytest.raises(Refused, match="in the future"):
            await hw.put("late", "1", expires=soon - timedelta(days=1))


async def test_conflict(start: Start) -> None:
    """Another version than the expected one: Conflict with the current entry, and who wrote it."""
    gateway = start({"n": "1"})
    async with client(gateway) as hw:
        gateway.change("n", "2", by="somebody")
        with pytest.raises(Conflict, match="is at version 2, not 1") as caught:
            await hw.put("n", "3", expect=1)
        current, change = caught.value.current, caught.value.change
        assert current is not None and (current.value, current.version) == ("2", 2)
        assert change is not None and change.modified_by == "somebody"
        gateway.change("n", None)
        with pytest.raises(Conflict) as caught:
            await hw.put("n", "3", expect=2)
        assert caught.value.current is None
        with pytest.raises(NotFound):
            await hw.fetch("n")


async def test_absent(start: Start) -> None:
    """A put that expects nothing there fails when something is."""
    async with client(start()) as hw:
        await hw.put("n", "1", expect=ABSENT)
        with pytest.raises(Conflict):
            await hw.put("n", "2", expect=ABSENT)


async def test_transaction_conflict(start: Start) -> None:
    """One write of a transaction is refused: nothing is written; neither is it after an exception in the block."""
    gateway = start({"n": "1"})
    async with client(gateway) as hw:
        with pytest.raises(Conflict) as caught:
            async with hw.transaction() as tx:
                tx.put("a", "1")
                tx.put("n", "2", expect=7)
        assert caught.value.reply["index"] == 1
        with pytest.raises(ZeroDivisionError):
            async with hw.transaction() as tx:
                tx.put("a", "1")
                1 / 0  # noqa: B018
        assert (gateway.value("a"), gateway.value("n")) == (None, "1")


async def test_uncertain(start: Start) -> None:
    """The connection ends after a put was sent: Uncertain, and it is not sent again."""
    gateway = start({"n": "0"})
    async with client(gateway) as hw:
        gateway.cut("configuration/put")
        with pytest.raises(Uncertain):
            await hw.put("n", "1")
        await until(lambda: hw.get("n") == "1")
        entry = hw.entry("n")
        assert entry is not None and entry.version == 2


async def test_a_drop_waits_only_for_whom_it_drops(fake: FakeGateway) -> None:
    """A client that comes back before another one has left stays."""
    back = Session(fake)

    async def drop() -> None:
        dropping = asyncio.create_task(fake._drop())
        await asyncio.sleep(0)  # now it waits
        fake._sessions[back] = cast(Any, None)
        async with asyncio.timeout(PATIENCE):
            await dropping
        del fake._sessions[back]

    async with client(fake):
        await asyncio.to_thread(fake._thread.run, drop())


async def test_reads_repeat(fake: FakeGateway) -> None:
    """The connection ends after a read was sent: it is sent again."""
    fake.change("n", "1")
    async with client(fake) as hw:
        fake.cut("configuration/get")
        assert (await hw.fetch("n")).value == "1"
        assert fake.requests.count("configuration/get") == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [(400, Refused), (403, Denied), (404, NotFound), (413, TooLarge), (429, Busy), (503, Unavailable)],
)
async def test_refusals(fake: FakeGateway, code: int, error: type[Refused]) -> None:
    """Each code is its own error; a busy gateway says when to try again."""
    async with client(fake) as hw:
        fake.refuse("configuration/put", code, "because", retryAfter=7)
        with pytest.raises(error, match="because") as caught:
            await hw.put("n", "1")
        assert (type(caught.value), caught.value.code, caught.value.retry_after) == (error, code, 7)
        fake.refuse("configuration/put", 503, "not known whether this was written; read before trying again")
        with pytest.raises(Uncertain):
            await hw.put("n", "1")


async def test_invalid(start: Start) -> None:
    """A value that is not of the kind: the last good one stays, and the watch says so."""
    gateway = start({"n": {"max": 1}})
    async with client(gateway) as hw, hw.watch() as watch:
        assert hw.get("n", Limits) == Limits(1)
        gateway.change("n", {"min": 2})
        found = await event(watch, Invalid)
        assert (found.name, found.kind) == ("n", Limits) and "max" in found.error
        entry = hw.entry("n", Limits)
        assert entry is not None and (entry.value, entry.version) == (Limits(1), 1)
        assert hw.get("n") == '{"min":2}'
        assert hw.get("n", int, default=9) == 9, "it never was one"
        gateway.change("n", {"max": 3})
        await until(lambda: hw.get("n", Limits) == Limits(3))


async def test_invalid_at_first(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The first value is not of the kind: the default, and then the first good one. A warning does not quote it."""
    gateway = start({"n": {"min": 41}})
    async with client(gateway) as hw:
        assert hw.get("n", Limits, default=Limits(0)) == Limits(0)
        assert "n, version" in caplog.text and "41" not in caplog.text
        gateway.change("n", {"max": 3})
        await until(lambda: hw.get("n", Limits) == Limits(3))


async def test_on_change(start: Start) -> None:
    """The callback gets the decoded value, and None after a delete, until it is stopped."""
    gateway, seen = start({"n": {"max": 1}}), list[Limits | None]()

    def failing(_: object) -> None:
        raise ValueError

    async with client(gateway) as hw:
        hw.on_change("n", failing)
        stop = hw.on_change("n", seen.append, Limits)
        for value in ({"max": 2}, "no limits", {"max": 3}, None):
            gateway.change("n", value)
        await until(lambda: seen and seen[-1] is None)
        stop()
        gateway.change("n", {"max": 4})
        await until(lambda: hw.get("n", Limits) == Limits(4))
        assert seen == [Limits(2), Limits(3), None]
        with pytest.raises(TypeError):
            hw.on_change("n", hw.put)  # type: ignore[arg-type]


async def test_stale_from_cache(start: Start, tmp_path: Path) -> None:
    """The gateway is down: the values of the cache at once, and since when; then live, with what was missed."""
    gateway, cache = start({"n": {"max": 1}, "m": "1"}), tmp_path / "cache"
    options: dict[str, Any] = {"token": gateway.token(), "cache": cache, "backoff": Backoff(0.01, 0.02)}
    async with client(gateway, **options) as hw:
        await hw.put("m", "2")
    assert cache.stat().st_mode & 0o777 == 0o600
    assert options["token"].encode() not in cache.read_bytes()
    gateway.stop()
    async with Hivewire(gateway.url, **options) as hw:
        assert (hw.state, hw.get("n", Limits), hw.get("m")) == ("stale", Limits(1), "2")
        assert hw.stale_since is not None
        await hw.ready(0)
        events: list[Event] = []
        async with hw.watch() as watch:
            events.append(await anext(watch))
            gateway.change("m", None)
            gateway.start()
            await hw.ready(PATIENCE, stale=False)
            events.append(await event(watch, Changes))
        assert applied(events) == {"n": '{"max":1}'}
        assert not hw.stale_since and hw.get("m") is None
        await hw.logout()
    assert not cache.exists()


async def test_foreign_cache(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged cache, or one for other names, another address or subject: not used."""
    gateway, cache = start({"n": "1"}), tmp_path / "cache"
    login = Password("admin", "admin's")
    async with client(gateway, cache=cache, token=login):
        pass
    kept = cache.read_bytes()
    gateway.stop()

    async def state(url: str = gateway.url, token: Any = login, **options: Any) -> str:
        async with Hivewire(url, token=token, cache=cache, **options) as hw:
            await until(lambda: hw.reason)
            return hw.state

    assert await state() == "stale"
    assert await state(cache_max_age=0) == "connecting"
    assert warnings(caplog) == []
    assert await state(token=Password("other", "admin's")) == "connecting"
    assert await state(url="http://127.0.0.1:9") == "connecting"
    assert await state(names=["n"]) == "connecting"
    foreign = f"the cache {cache} is for other addresses, another subject or other names, and is not used"
    assert warnings(caplog) == [foreign] * 3
    for damaged in (b"", kept[:-1], kept.replace(b'"entries"', b'"entrees"'), b"[]", b"\xff"):
        cache.write_bytes(damaged)
        assert await state() == "connecting"
    assert len(warnings(caplog)) == 8 and "is not used" in warnings(caplog)[-1]
