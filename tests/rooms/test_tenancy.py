"""Tenants and clients: what makes them, what their tokens grant, and when they grant it no more."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from hivewire.access.keys import Key, Previous
from hivewire.access.tenants import CLIENT, Tenants
from hivewire.access.tokens import ACCESS, REFRESH, Claims
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.hub.feed import Feed
from hivewire.hub.frames import Frame
from hivewire_protocol.errors import (
    AccessDenied,
    ClientDeleted,
    InvalidCredentials,
    InvalidParameters,
    InvalidTokenType,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TokenExpired,
    TokenRevoked,
    Unauthorized,
    VersionConflict,
    WireError,
)
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.client import MAX_TENANTS, ClientDelete, ClientInsert, ClientList, ClientUpdate
from hivewire_protocol.nouns.configuration import ConfigurationGet, ConfigurationPut
from hivewire_protocol.nouns.identity import Authenticate, Token, TokenCreate, TokenPayload, TokenRefresh, TokenRevoke
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe
from hivewire_protocol.nouns.tenant import Privilege, TenantDelete, TenantInsert, TenantList
from hivewire_protocol.nouns.user import UserGetCurrent, UserList, UserUpdate, UserUpdateFields
from hivewire_protocol.permissions import Permission
from tests.world import ADMIN, HELPER, HOUR, JOHN, World

READ, CREATE, UPDATE, DELETE = Privilege


async def tenant(world: World, *names: str) -> None:
    for name in names:
        await world.ask(TenantInsert(tenantId=name))


async def client(world: World, name: str = "sync", **tenants: list[str]) -> str:
    """Make one; its secret."""
    return str((await world.ask(ClientInsert(clientId=name, tenants=tenants))).clientSecret)


def token_of(world: World, name: str = "sync") -> str:
    found = world.services.tenants.client(name)
    assert found is not None
    return world.services.tokens.of_client(found, now())[0]


def bearer(world: World, token: str) -> Caller:
    return Caller("10.0.0.1", "h", identity=world.services.tokens.verify(token, now()))


async def listed(world: World) -> Any:
    return msgspec.to_builtins((await world.ask(ClientList())).clients)


# Tenants.


async def test_a_tenant_is_made_listed_and_deleted(world: World) -> None:
    """Its id is kept to the letter, and the ledger remembers who made it."""
    await tenant(world, "b1", "B1", "a")
    assert msgspec.to_builtins((await world.ask(TenantList())).tenants) == [
        {"tenantId": "B1"},
        {"tenantId": "a"},
        {"tenantId": "b1"},
    ]
    record = world.services.ledger.get("tenant", "b1")
    assert record is not None
    assert record.author == "admin"
    await world.ask(TenantDelete(tenantId="b1"))
    assert world.services.tenants.all() == ["B1", "a"]
    assert not world.services.tenants.exists("b1")


@pytest.mark.parametrize("name", ["a b", "a-b", "a/b", "é", "x" * 33, "a\n", "*", "２"])
async def test_the_id_of_a_tenant_is_letters_and_digits(world: World, name: str) -> None:
    """Anything else is refused, and nothing is written; 32 of them are not too many."""
    with pytest.raises(OutOfBounds, match="1 to 32 letters and digits"):
        await world.ask(TenantInsert(tenantId=name))
    await tenant(world, "x" * 32)
    assert world.services.tenants.all() == ["x" * 32]


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (TenantInsert(), InvalidParameters, "tenantId is required"),
        (TenantDelete(), InvalidParameters, "tenantId is required"),
        (TenantInsert(tenantId="t1"), NotAllowed, "Tenant with id = t1 exists already"),
        (TenantDelete(tenantId="T1"), NotFound, "Tenant with id = T1 not found"),
        (ClientDelete(), InvalidParameters, "clientId is required"),
        (ClientUpdate(), InvalidParameters, "clientId is required"),
        (ClientUpdate(clientId="none", newSecret=True), NotFound, "Client with id = none not found"),
        (ClientUpdate(clientId="sync", tenants={}), OutOfBounds, f"1 to {MAX_TENANTS} tenants"),
        (ClientUpdate(clientId="sync", tenants={"t9": ["READ"]}), OutOfBounds, "there is no tenant 't9'"),
        (ClientDelete(clientId="none"), NotFound, "Client with id = none not found"),
        (ClientInsert(clientId="sync", tenants={"t1": ["READ"]}), NotAllowed, "Client with id = sync exists already"),
        (ClientInsert(clientId="a:b", tenants={"t1": ["READ"]}), OutOfBounds, "letters, digits, dots"),
        (ClientInsert(clientId="x" * 65, tenants={"t1": ["READ"]}), OutOfBounds, "1 to 64"),
        (ClientInsert(clientId="a"), OutOfBounds, f"1 to {MAX_TENANTS} tenants"),
        (ClientInsert(clientId="a", tenants={}), OutOfBounds, f"1 to {MAX_TENANTS} tenants"),
        (ClientInsert(clientId="a", tenants={f"t{n}": ["READ"] for n in range(101)}), OutOfBounds, "1 to 100"),
        (ClientInsert(clientId="a", tenants={"t9": ["READ"]}), OutOfBounds, "there is no tenant 't9'"),
        (ClientInsert(clientId="a", tenants={"t1": []}), OutOfBounds, "some of READ, CREATE, UPDATE, DELETE"),
        (ClientInsert(clientId="a", tenants={"t1": ["read"]}), OutOfBounds, "some of READ, CREATE, UPDATE, DELETE"),
        (ClientInsert(clientId="a", tenants={"t1": ["READ", "ALL"]}), OutOfBounds, "some of READ"),
    ],
)
async def test_invalid_requests_are_refused_and_not_written(
    world: World, request_: Request, error: type[WireError], words: str
) -> None:
    """An invalid request is refused with an error that names the fault, and nothing is written."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    before = world.services.ledger.revision
    with pytest.raises(WireError, match=words) as caught:
        await world.ask(request_)
    assert type(caught.value) is error
    assert world.services.ledger.revision == before


# Who may make them.

EVERY = [
    TenantInsert(tenantId="new"),
    TenantList(),
    TenantDelete(tenantId="t1"),
    ClientInsert(clientId="new", tenants={"t1": ["READ"]}),
    ClientList(),
    ClientUpdate(clientId="sync", newSecret=True),
    ClientDelete(clientId="sync"),
]


@pytest.mark.parametrize("request_", EVERY, ids=lambda request: type(request).__name__)
async def test_tenants_and_clients_need_the_right_to_manage_users(world: World, request_: Request) -> None:
    """Anonymous callers, users of role client, every other right, and a tenant's client are all refused."""
    await tenant(world, "t1")
    await client(world, t1=["READ", "CREATE", "UPDATE", "DELETE"])
    with pytest.raises(Unauthorized):
        await world.ask(request_, Caller("10.0.0.1", "h"))
    others = [int(right) for right in Permission if right > 1 and right != Permission.MANAGE_USER]
    for caller in (world.caller(JOHN, []), world.caller(ADMIN, others), bearer(world, token_of(world))):
        with pytest.raises(AccessDenied):
            await world.ask(request_, caller)
    await world.ask(request_)


@pytest.mark.parametrize("claims", [{"a": [12]}, {"c": ["a*"]}, {"n": []}, {"dt": ["1"], "n": ["1"]}])
@pytest.mark.parametrize("user", [ADMIN, HELPER])
async def test_only_an_unrestricted_administrator_makes_and_deletes_tenants_and_clients(
    world: World, user: int, claims: dict[str, Any]
) -> None:
    """A client can have any privilege, and a document goes with its tenant: restricted tokens reach neither."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    caller = world.caller(user, **{"a": [0], **claims})
    requests: list[Request] = [ClientInsert(clientId="mine", tenants={"t1": ["UPDATE"]}), ClientDelete(clientId="sync")]
    requests.append(ClientUpdate(clientId="sync", tenants={"t1": ["UPDATE"]}))
    for request in (*requests, TenantInsert(tenantId="t2"), TenantDelete(tenantId="t1")):
        with pytest.raises(NotAllowed, match="unrestricted token"):
            await world.ask(request, caller)
    if user == HELPER:
        with pytest.raises(NotAllowed):
            await world.ask(ClientInsert(clientId="mine", tenants={"t1": ["UPDATE"]}), world.caller(HELPER, [0]))
    assert [found["clientId"] for found in await listed(world)] == ["sync"]
    assert [found.tenantId for found in (await world.ask(TenantList())).tenants] == ["t1"]


async def test_a_former_administrator_makes_no_client_with_an_old_token(world: World) -> None:
    """Its tokens have ended; with new ones it may not."""
    await tenant(world, "t1")
    await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=0)))
    helper = world.caller(HELPER)
    await world.ask(ClientInsert(clientId="one", tenants={"t1": ["READ"]}), helper)
    await world.ask(UserUpdate(userId=HELPER, user=UserUpdateFields(role=1)))
    for caller, error in ((helper, TokenRevoked), (world.caller(HELPER), NotAllowed)):
        with pytest.raises(error):
            await world.ask(ClientInsert(clientId="two", tenants={"t1": ["READ"]}), caller)


# Clients.


async def test_a_clients_secret_is_shown_once_and_stored_as_a_hash(world: World) -> None:
    """256 bits, different for each client; neither the list nor the ledger nor any repr has it."""
    await tenant(world, "t1", "t2")
    made = await world.ask(ClientInsert(clientId="sync", tenants={"t2": ["DELETE", "UPDATE"], "t1": ["READ", "READ"]}))
    assert msgspec.to_builtins(made) == {
        "clientId": "sync",
        "clientSecret": made.clientSecret,
        "tenants": {"t2": ["READ", "UPDATE", "DELETE"], "t1": ["READ"]},
    }
    assert len(made.clientSecret) == 43
    another = await world.ask(ClientInsert(tenants={"t1": ["CREATE"]}))
    assert another.clientSecret != made.clientSecret
    assert len(another.clientId) == 16
    found = await listed(world)
    record = world.services.ledger.get(CLIENT, "sync")
    assert record is not None
    tenants = {"t2": ["READ", "UPDATE", "DELETE"], "t1": ["READ"]}
    assert {"clientId": "sync", "tenants": tenants, "revision": record.revision} in found
    assert {"clientId": another.clientId, "tenants": {"t1": ["CREATE"]}, "revision": record.revision + 1} in found
    shown = f"{made!r} {found!r} {record!r} {world.services.tenants.client('sync')!r}"
    assert made.clientSecret not in shown
    stored = msgspec.json.decode(record.content or b"")["secret_hash"]
    known = world.services.tenants.client("sync")
    assert known is not None
    assert stored not in f"{known!r} {known.content!r} {made!r}"


async def test_a_new_secret_ends_the_old_one_and_no_token(world: World) -> None:
    """As a new password of a user does; privileges stay, the reply shows the secret once, and nothing else has it."""
    await tenant(world, "t1")
    old = await client(world, t1=["UPDATE"])
    token = token_of(world)
    changed = await world.ask(ClientUpdate(clientId="sync", newSecret=True))
    assert changed.tenants == {"t1": ["READ", "UPDATE"]}
    assert changed.clientSecret != old
    assert world.tenants.authenticate("sync", old) is None
    known = world.tenants.authenticate("sync", changed.clientSecret)
    assert known is not None
    assert world.tokens.verify(token, now()).may_tenant("t1", Privilege.UPDATE)
    record = world.services.ledger.get(CLIENT, "sync")
    assert record is not None
    assert record.description == "secret"
    assert changed.clientSecret not in f"{changed!r} {record!r} {known!r}"


async def test_other_privileges_apply_to_tokens_at_once(world: World) -> None:
    """What is taken away ends in tokens that were made before; what is added needs a new token. The secret stays."""
    await tenant(world, "t1", "t2")
    secret = await client(world, t1=["READ", "DELETE"])
    token = token_of(world)
    holder = bearer(world, token)
    changed = await world.ask(ClientUpdate(clientId="sync", tenants={"t1": ["READ"], "t2": ["CREATE"]}))
    assert (changed.clientSecret, changed.tenants) == (None, {"t1": ["READ"], "t2": ["CREATE"]})
    assert holder.identity is not None
    for found in (world.tokens.verify(token, now()), world.tokens.current(holder.identity)):
        assert found.may_tenant("t1", Privilege.READ)
        assert not found.may_tenant("t1", Privilege.DELETE)
        assert not found.may_tenant("t2", Privilege.CREATE)
    assert world.tokens.verify(token_of(world), now()).may_tenant("t2", Privilege.CREATE)
    assert world.tenants.authenticate("sync", secret) is not None


async def test_a_change_of_a_client_that_another_one_has_changed_is_refused(world: World) -> None:
    """It gives the revision that it was made of; without one it is written in any case."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    [seen] = await listed(world)
    await world.ask(ClientUpdate(clientId="sync", tenants={"t1": ["DELETE"]}, revision=seen["revision"]))
    with pytest.raises(VersionConflict, match=f"Client 'sync' is at revision {seen['revision'] + 1}, not"):
        await world.ask(ClientUpdate(clientId="sync", tenants={"t1": ["CREATE"]}, revision=seen["revision"]))
    [left] = await listed(world)
    assert left["tenants"] == {"t1": ["DELETE"]}
    await world.ask(ClientUpdate(clientId="sync", tenants={"t1": ["CREATE"]}))
    [last] = await listed(world)
    assert last["tenants"] == {"t1": ["CREATE"]}


async def test_two_changes_of_a_client_at_once_both_happen(world: World) -> None:
    """Neither undoes the other."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    both = (ClientUpdate(clientId="sync", newSecret=True), ClientUpdate(clientId="sync", tenants={"t1": ["DELETE"]}))
    changed, _ = await asyncio.gather(*map(world.ask, both))
    known = world.tenants.authenticate("sync", changed.clientSecret)
    assert known is not None
    assert world.tenants.grants(known) == {"t1": frozenset({Privilege.DELETE})}


async def test_a_client_is_authenticated_by_its_own_secret_only(world: World) -> None:
    """Not by another client's, not by its hash, not by nothing, and not under another spelling of its id."""
    await tenant(world, "t1")
    secret, other = await client(world, t1=["READ"]), await client(world, "other", t1=["READ"])
    tenants = world.services.tenants
    found = tenants.authenticate("sync", secret)
    assert found is not None
    assert found.id == "sync"
    for name, given in [
        ("sync", other),
        ("sync", ""),
        ("sync", secret + "x"),
        ("sync", found.content.secret_hash),
        ("sync", "é\ud800"),
        ("Sync", secret),
        ("nobody", secret),
        ("", ""),
    ]:
        assert tenants.authenticate(name, given) is None


async def test_an_index_that_is_loaded_knows_what_one_that_followed_knows(world: World) -> None:
    """After a restart the index of tenants and clients is as before, deletes included."""
    await tenant(world, "t1", "t2", "t3")
    secret = await client(world, t1=["READ"], t2=["UPDATE"])
    await client(world, "gone", t1=["READ"])
    await world.ask(ClientDelete(clientId="gone"))
    await world.ask(TenantDelete(tenantId="t2"))
    loaded = Tenants(world.services.ledger)
    assert loaded.all() == []
    loaded.load()
    assert loaded.all() == world.services.tenants.all() == ["t1", "t3"]
    assert [found.id for found in loaded.clients()] == ["sync"]
    found = loaded.authenticate("sync", secret)
    assert found is not None
    assert loaded.grants(found) == {"t1": {READ}}
    assert loaded.by_record_id(found.record_id) is found


# Tokens.


async def test_a_token_of_a_client_grants_privileges_and_no_action(world: World) -> None:
    """It names the client and its privileges; its holder writes under the client's id and has no permission."""
    await tenant(world, "t1", "t2", "t3")
    await client(world, t1=["READ"], t2=["UPDATE"])
    token = token_of(world)
    claims = world.services.tokens.claims(token)
    assert (claims.a, claims.t, claims.u, claims.n, claims.dt) == ([1], ACCESS, 0, [], [])
    assert claims.tn == {"t1": ["READ"], "t2": ["READ", "UPDATE"]}
    identity = bearer(world, token).identity
    assert identity is not None
    assert (identity.login, identity.user_id, identity.permissions) == ("sync", 0, 0)
    granted = {
        (name, each) for name in ("t1", "t2", "t3", "T1") for each in Privilege if identity.may_tenant(name, each)
    }
    assert granted == {("t1", READ), ("t2", READ), ("t2", UPDATE)}
    for request in (ConfigurationGet(name="a"), ConfigurationPut(name="a", value="b"), UserGetCurrent()):
        with pytest.raises(AccessDenied):
            await world.ask(request, bearer(world, token))


async def test_tokens_of_users_have_no_claims_of_clients(world: World) -> None:
    """After the claims of the reference server they have their time of issue and their id."""
    reply = await world.ask(Token(login="admin", password="admin's"), Caller("10.0.0.1", "h"))
    claims = world.services.tokens.claims(reply.accessToken)
    assert list(json.loads(msgspec.json.encode(claims))) == ["a", "e", "t", "u", "n", "dt", "i", "j"]


async def test_only_an_administrators_unrestricted_token_has_privileges(world: World) -> None:
    """All privileges in all tenants; a restricted one has none, nor has any other user."""
    for caller, expected in [
        (world.caller(), True),
        (world.caller(a=[int(each) for each in Permission if each > 1]), True),
        (world.caller(a=[12, 13]), False),
        (world.caller(c=["a*"]), False),
        (world.caller(n=["1"]), False),
        (world.caller(JOHN), False),
        (world.caller(tn={"t1": [READ]}, a=[13]), False),
        (world.caller(JOHN, tn={"t1": [READ]}), False),
    ]:
        assert caller.identity is not None
        assert {caller.identity.may_tenant("t1", each) for each in Privilege} == {expected}


async def test_the_same_token_comes_back_until_it_expires_or_the_client_changes(world: World) -> None:
    """A program that asks again and again does not create more tokens."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    found, tokens = world.services.tenants.client("sync"), world.services.tokens
    assert found is not None
    first, expires = tokens.of_client(found, now())
    assert tokens.of_client(found, expires - 1_000) == (first, expires)
    second, later = tokens.of_client(found, expires - 999)
    assert second != first
    assert later > expires
    await world.ask(ClientDelete(clientId="sync"))
    await client(world, t1=["READ"])
    assert token_of(world) not in (first, second)


async def test_a_revoked_token_of_a_client_is_replaced_by_another(world: World) -> None:
    """It is refused, and the client gets a new one."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    token = token_of(world)
    identity = world.tokens.verify(token, now())
    assert token_of(world) == token
    await world.ask(TokenRevoke(tokenId=identity.token))
    with pytest.raises(TokenRevoked):
        world.tokens.verify(token, now())
    assert world.tokens.verify(token_of(world), now()).login == "sync"


async def test_a_client_gets_another_token_when_the_last_one_is_refused(world: World) -> None:
    """After a change of the signing secret, and when the token was made by a clock that was ahead."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    found = world.tenants.client("sync")
    assert found is not None
    _, expires = world.tokens.of_client(found, now() + 1_000 * HOUR)
    assert expires > now() + 1_000 * HOUR
    token = token_of(world)
    assert world.tokens.verify(token, now()).login == "sync"
    world.tokens.use(Key("y" * 32, "utf8"), Previous(Key("x" * 32, "utf8"), now() + 60_000))
    kept, expires = world.tokens.of_client(found, now())
    assert kept == token
    assert expires <= now() + 60_000, "it expires with its key"
    world.tokens.use(Key("y" * 32, "utf8"), None)
    assert world.tokens.verify(token_of(world), now()).login == "sync"


async def test_a_deleted_client_is_refused_at_once_and_for_ever(world: World) -> None:
    """On open connections too; a new client with its id does not make its tokens valid again."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    token = token_of(world)
    caller = bearer(world, token)
    world.dispatcher.authorize_tenant(caller, "t1", READ)
    await world.ask(ClientDelete(clientId="sync"))

    def is_out() -> None:
        for request in (ConfigurationGet, UserList):
            with pytest.raises(ClientDeleted, match="Client does not exist any more"):
                world.dispatcher.admit(caller, request)
        with pytest.raises(ClientDeleted):
            world.dispatcher.authorize_tenant(caller, "t1", READ)
        with pytest.raises(InvalidCredentials):
            world.services.tokens.verify(token, now())

    is_out()
    await client(world, t1=["READ", "UPDATE"])
    is_out()
    world.dispatcher.authorize_tenant(bearer(world, token_of(world)), "t1", UPDATE)


async def test_privileges_end_with_their_tenant_and_do_not_come_back(world: World) -> None:
    """A new tenant of the same id is a different one: neither the client nor an existing token reaches it."""
    await tenant(world, "t1", "t2")
    await client(world, t1=["UPDATE"], t2=["READ"])
    token = token_of(world)
    await world.ask(TenantDelete(tenantId="t1"))
    with pytest.raises(NotFound):
        world.dispatcher.authorize_tenant(bearer(world, token), "t1", READ)
    await tenant(world, "t1")
    with pytest.raises(AccessDenied, match="READ in tenant t1"):
        world.dispatcher.authorize_tenant(bearer(world, token), "t1", READ)
    world.dispatcher.authorize_tenant(bearer(world, token), "t2", READ)
    assert [each["tenants"] for each in await listed(world)] == [{"t2": ["READ"]}]


async def test_a_remembered_token_of_a_client_follows_tenants_and_client(world: World) -> None:
    """A tenant that is deleted is gone from the identity at the next request, and the client itself too."""
    await tenant(world, "a", "b")
    await client(world, a=["READ"], b=["READ"])
    token, tokens = token_of(world), world.services.tokens
    assert tokens.verify(token, now()) is tokens.verify(token, now())
    await world.ask(TenantDelete(tenantId="a"))
    assert tokens.verify(token, now()).tenants == {"b": frozenset({READ})}
    await tenant(world, "a")
    assert tokens.verify(token, now()).tenants == {"b": frozenset({READ})}
    await world.ask(ClientDelete(clientId="sync"))
    with pytest.raises(InvalidCredentials):
        tokens.verify(token, now())


async def test_a_tenant_is_checked_after_the_token_and_before_the_privilege(world: World) -> None:
    """A bad token gets 401, then an unknown tenant 404, then a missing privilege 403."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    with pytest.raises(Unauthorized):
        world.dispatcher.authorize_tenant(Caller("10.0.0.1", "h"), "none", READ)
    caller = bearer(world, token_of(world))
    with pytest.raises(NotFound, match="Tenant 'none' is not defined"):
        world.dispatcher.authorize_tenant(caller, "none", UPDATE)
    with pytest.raises(AccessDenied):
        world.dispatcher.authorize_tenant(caller, "t1", UPDATE)
    for missing in (world.caller(), world.caller(JOHN)):
        with pytest.raises(NotFound):
            world.dispatcher.authorize_tenant(missing, "none", READ)
    identity = msgspec.structs.replace(caller.identity, expires=now() - 1)
    with pytest.raises(TokenExpired):
        world.dispatcher.authorize_tenant(Caller("10.0.0.1", "h", identity=identity), "none", READ)


@pytest.mark.parametrize(
    "changed",
    [{"u": ADMIN}, {"tn": msgspec.UNSET}, {"cl": 99}, {"cl": 0}, {"t": REFRESH}],
    ids=["a user too", "no privileges", "unknown", "nobody", "refresh token"],
)
async def test_contradictory_claims_are_refused(world: World, changed: dict[str, Any]) -> None:
    """A client's token with contradictory claims is refused, even with a valid signature."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    good: dict[str, Any] = {"a": [0], "e": now() + HOUR, "t": ACCESS, "u": 0, "cl": 1, "tn": {"t1": [READ]}}
    granted = world.services.tokens.verify(world.services.tokens.mint(Claims(**good)), now())
    assert granted.permissions == 0, "whatever a client's token says, it may no action"
    with pytest.raises(InvalidCredentials):
        world.services.tokens.verify(world.services.tokens.mint(Claims(**good | changed)), now())


async def test_a_token_grants_no_more_than_the_client_has(world: World) -> None:
    """The token and the client's record both have to allow it."""
    await tenant(world, "t1", "t2")
    await client(world, t1=["READ"])
    claims = Claims([1], now() + HOUR, ACCESS, 0, cl=1, tn={"t1": [UPDATE, DELETE], "t2": [READ], "t3": [READ]})
    identity = world.services.tokens.verify(world.services.tokens.mint(claims), now())
    assert identity.tenants == {"t1": frozenset({READ})}


async def test_a_client_cannot_make_tokens_of_another_kind_out_of_its_own(world: World) -> None:
    """`token/create` and `token/refresh` refuse a client's token."""
    await tenant(world, "t1")
    await client(world, t1=["READ", "CREATE", "UPDATE", "DELETE"])
    token = token_of(world)
    for user in (0, ADMIN, JOHN):
        with pytest.raises(AccessDenied):
            await world.ask(TokenCreate(payload=TokenPayload(userId=user)), bearer(world, token))
    with pytest.raises(InvalidTokenType):
        await world.ask(TokenRefresh(refreshToken=token), Caller("10.0.0.1", "h"))
    claims = world.services.tokens.claims(token)
    claims.t = REFRESH
    for claims.u in (0, ADMIN):
        with pytest.raises(Unauthorized):
            await world.ask(TokenRefresh(refreshToken=world.services.tokens.mint(claims)), Caller("10.0.0.1", "h"))


async def test_what_a_user_mints_has_no_privileges_in_tenants_but_an_administrators_own_whole_token(
    world: World,
) -> None:
    """There is nothing to name tenants with; only a token for everything reaches them."""
    for actions, expected in (([b'"*"'], True), ([b"13", b"12"], False)):
        payload = TokenPayload(userId=ADMIN, actions=[msgspec.Raw(each) for each in actions])
        payload.networkIds = payload.deviceTypeIds = [msgspec.Raw(b'"*"')]
        minted = await world.ask(TokenCreate(payload=payload))
        claims = world.services.tokens.claims(minted.accessToken)
        assert (claims.cl, claims.tn) == (msgspec.UNSET, msgspec.UNSET)
        assert (world.services.tokens.verify(minted.accessToken, now()).tenants is None) is expected


# On sockets.


class Peer:
    """A connection that only notes what happens to it."""

    outlives_token = True

    def __init__(self) -> None:
        self.suspended = 0

    @staticmethod
    def framing(*_: object) -> Frame:
        return lambda members, position: b""

    def push(self, data: bytes) -> None: ...

    def close(self, code: Any) -> None: ...

    def authenticated(self) -> None: ...

    def suspend(self) -> None:
        self.suspended += 1


async def test_a_socket_takes_a_clients_token_and_ends_what_a_user_had_there(world: World) -> None:
    """A client is another subject than the user before it, and another client is another subject again."""
    world.clock.time = now()
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    await client(world, "other", t1=["READ"])
    peer = Peer()
    caller = world.caller()
    caller.listener = peer
    await world.ask(ConfigurationSubscribe(snapshot=False), caller)
    reply = await world.ask(Authenticate(token=token_of(world)), caller)
    assert reply.ended == [1]
    assert caller.identity is not None
    assert caller.identity.login == "sync"
    before = caller.identity.subject
    await world.ask(Authenticate(token=token_of(world, "other")), caller)
    assert caller.identity.subject != before
    assert isinstance(caller.feed, Feed)
    assert world.services.hub.allows(caller.feed)
    await world.ask(ClientDelete(clientId="sync"))
    assert peer.suspended == 0
    await world.ask(ClientDelete(clientId="other"))
    assert peer.suspended == 1
    assert not world.services.hub.allows(caller.feed)
    caller.feed.close()


async def test_a_user_and_a_client_of_one_id_are_not_taken_for_each_other(world: World) -> None:
    """Deleting the client with id 1 does not affect the user with id 1."""
    await tenant(world, "t1")
    await client(world, t1=["READ"])
    found = world.services.tenants.client("sync")
    assert found is not None
    assert found.record_id == ADMIN
    peer = Peer()
    caller = world.caller()
    caller.listener = peer
    await world.ask(ConfigurationSubscribe(snapshot=False), caller)
    await world.ask(ClientDelete(clientId="sync"))
    assert peer.suspended == 0
    assert caller.feed is not None
    assert world.services.hub.allows(caller.feed)
    caller.feed.close()
