"""Saving a tenant's document: in slices or by a worker, one at a time, and on the version that was evaluated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from msgspec import structs

from hivewire import documents, slices
from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.access.tenants import DOCUMENT
from hivewire.documents import Documents, Saver, Stored
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, NotDurable, Transaction, Write
from hivewire_protocol.errors import Unavailable
from hivewire_protocol.tenant.dates import http_date
from hivewire_protocol.tenant.errors import NotDefined, Stale
from tests.http.test_application import Gateway
from tests.protocol import tenants
from tests.protocol.tenants import STORE
from tests.rooms.test_rollouts import meanwhile
from tests.world import NOW, HeldJournal, World

BODY = msgspec.json.encode(tenants.document())


def documents_of(world: World) -> Documents:
    """The store of the documents of a world."""
    services = world.services
    return Documents(services.ledger, services.tenants, services.pool, services.settings)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One with the tenant t1."""
    world = await World().open()
    await world.services.ledger.commit(world.services.tenants.insert_tenant("t1", None))
    yield world
    await world.close()


async def put(
    world: World, store: Documents, login: str = "ann", since: Sequence[str] = (), tenant: str = "t1"
) -> Stored:
    """Save BODY as somebody who may."""
    number = world.services.tenants.record_id(tenant) or 0
    return (
        await store.save(Saver(tenant, number, structs.replace(ANONYMOUS, login=login), lambda: None), BODY, since)
    )[0]


@pytest.mark.parametrize(
    "query", ["?select=sources", "?options=showAccess", "/entityTypes/Store", "/_validateTenantConfiguration"]
)
async def test_who_loses_the_right_while_a_document_is_read_gets_nothing_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """A large one is read in a process of its own, one after the other."""
    await put(world, world.services.documents)
    path, bearer = f"/reltio/api/t1/configuration{query}", f"Bearer {world.token(j='lost')}"
    gateway = Gateway(world)
    before = await gateway.ask("GET", path, authorization=bearer)
    revoke = world.services.tokens.revocations.revoke("lost", None)
    meanwhile(monkeypatch, world.services.documents, "_do", lambda: world.ledger.commit(revoke))
    after = await gateway.ask("GET", path, authorization=bearer)
    assert (before.status, after.status) == (200, 401)


def interrupt(monkeypatch: pytest.MonkeyPatch, between: list[Transaction]) -> None:
    """Have each of these written right before what is committed next."""

    async def late(ledger: Ledger, pending: PendingWrite[Stored], by: Identity) -> Stored:
        if between:
            await ledger.commit(between.pop(0))
        return await commit(ledger, pending, by)

    monkeypatch.setattr(documents, "commit", late)


async def test_a_save_replaces_the_version_that_it_evaluated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write in between is noticed: everything is evaluated again, with the date of an older version."""
    store = documents_of(world)
    first = await put(world, store)
    other = Write(DOCUMENT, "t1", _later(first.change), "application/json")
    interrupt(monkeypatch, [Transaction((other,), "bob")])
    with pytest.raises(Stale):
        await put(world, store, "ann", [http_date(first.header.updatedTime)])
    current = store.stored("t1")
    assert current is not None
    assert (current.change.author, current.change.version) == ("bob", 2)
    interrupt(monkeypatch, [Transaction((other,), "bob")])
    saved = await put(world, store)
    assert (saved.change.author, saved.change.version) == ("ann", 4)
    assert saved.header.updatedTime == (first.header.updatedTime // 1_000 + 10) * 1_000


def _later(change: Change) -> bytes:
    """The same version, saved nine seconds later."""
    first, _, rest = (change.content or b"").partition(b"\n")
    header = msgspec.json.decode(first, type=documents.HeadLine)
    header.updatedTime += 9_000
    return msgspec.json.encode(header) + b"\n" + rest


async def test_a_save_that_is_always_late_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that others overtake every time is refused after a fixed number of attempts."""
    store = documents_of(world)
    first = await put(world, store)
    other = Write(DOCUMENT, "t1", first.change.content, "application/json")
    interrupt(monkeypatch, [Transaction((other,), "bob") for _ in range(documents.TRIES)])
    with pytest.raises(Unavailable):
        await put(world, store)
    await put(world, store)


async def test_a_deleted_tenant_takes_its_document_along(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a document that is saved in the same moment does not belong to a new tenant of the name."""
    store, services = (
        documents_of(world),
        world.services,
    )
    await put(world, store)
    await services.ledger.commit(services.tenants.delete_tenant("t1", None))
    assert services.ledger.get(DOCUMENT, "t1") is None
    with pytest.raises(NotDefined):
        await put(world, store)
    await services.ledger.commit(services.tenants.insert_tenant("t1", None))
    interrupt(monkeypatch, [services.tenants.delete_tenant("t1", None)])
    with pytest.raises(NotDefined):
        await put(world, store)
    assert services.ledger.get(DOCUMENT, "t1") is None
    await services.ledger.commit(services.tenants.insert_tenant("t1", None))
    assert store.stored("t1") is None
    fresh = await put(world, store, "bob", [http_date(0)])
    assert [version.change.author async for version in store.history(fresh, 10, 0)] == ["bob"]


async def test_a_first_save_and_a_delete_of_its_tenant_in_one_commit_leave_no_document(world: World) -> None:
    """Whichever of the two comes first: the delete takes the document along, or the save is refused."""
    store, tenants, ledger = documents_of(world), world.services.tenants, world.services.ledger
    outcomes: list[type] = []
    for turns in range(12):
        saving = asyncio.create_task(put(world, store))
        for _ in range(turns):
            await asyncio.sleep(0)
        await ledger.commit(tenants.delete_tenant("t1", None))
        [outcome] = await asyncio.gather(saving, return_exceptions=True)
        outcomes.append(type(outcome))
        assert ledger.get(DOCUMENT, "t1") is None
        await ledger.commit(tenants.insert_tenant("t1", None))
    assert {NotDefined, Stored} == {*outcomes}


@pytest.mark.parametrize(
    ("ending", "dropped"), [("client", [False, True]), ("user", [True, False]), ("secret", [False, False])]
)
async def test_of_a_user_and_a_client_of_one_name_each_loses_only_its_own_writes(
    ending: str, dropped: list[bool]
) -> None:
    """What waits of the one whose rights ended is dropped; what waits of the other is written. A client that gets a new
    secret loses nothing."""
    journal = HeldJournal()
    world = await World(journal).open()
    ledger, tenants, users = world.services.ledger, world.services.tenants, world.services.users
    await ledger.commit(tenants.insert_tenant("t1", None))
    await ledger.commit(tenants.insert_client("helper", {"t1": ["UPDATE"]}, "secret", None))
    helper = users.by_login("helper")
    assert helper is not None
    change = structs.replace(helper.content, generation=1)
    ends = {
        "client": tenants.delete_client("helper", None),
        "user": users.write("helper", change, None),
        "secret": tenants.update_client("helper", None, "another", None),
    }[ending]
    saver = Saver(
        "t1", tenants.record_id("t1") or 0, structs.replace(ANONYMOUS, login="helper", client=1), lambda: None
    )
    journal.began.clear()
    journal.go.clear()
    ended = asyncio.create_task(ledger.commit(ends))
    await journal.began.wait()
    put = asyncio.create_task(ledger.commit(Transaction((Write("configuration", "a", b"1"),), "helper")))
    save = asyncio.create_task(documents_of(world).save(saver, BODY, ()))
    for _ in range(1_000):  # until the document is ready to be written
        await asyncio.sleep(0)
    journal.go.set()
    results = await asyncio.gather(put, save, return_exceptions=True)
    await ended
    assert [isinstance(result, (NotDurable, Unavailable)) for result in results] == dropped
    written = ["a" in ledger.kind("configuration").live, "t1" in ledger.kind(DOCUMENT).live]
    assert written == [not lost for lost in dropped]
    await world.close()


async def test_saves_of_one_tenant_come_one_after_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they overlap; large ones of different tenants too, and nothing is left behind."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0)
    monkeypatch.setattr(documents, "LARGE", 1)
    names = ["t1", "t2", "t3"]
    for name in names[1:]:
        await world.services.ledger.commit(world.services.tenants.insert_tenant(name, None))
    store = documents_of(world)
    saved = await asyncio.gather(*(put(world, store, tenant=name) for name in names * 5))
    for name in names:
        times = [one.header.updatedTime for one in saved if one.change.key == name]
        assert sorted(times) == [NOW, *((NOW // 1_000 + late) * 1_000 for late in range(1, 5))]
        assert len({one.header.counter for one in saved}) == 1
    assert STORE.encode() in saved[-1].document
    assert not len(store._saves)
    await world.services.pool.close()
