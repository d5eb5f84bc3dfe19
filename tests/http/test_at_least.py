"""The revision of each write over HTTP, and reading on another gateway what was written at it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hivewire import freshness
from hivewire.access.users import UserContent
from tests.http.test_application import Gateway
from tests.rooms.site import site
from tests.world import JOHN, World

KEY = "k" * 32


class Pair:
    """Two gateways on one log, and how to ask them."""

    def __init__(self, worlds: list[Any]) -> None:
        self.here, self.there = worlds
        self.gateways = {id(world): Gateway(world) for world in worlds}
        self.token = f"Bearer {self.here.token()}"

    async def ask(self, world: World, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """The answer of one of them to the administrator."""
        given = {"authorization": self.token, "content_type": "application/json", "content_length": str(len(body))}
        return await self.gateways[id(world)].ask(method, path, body, **{**given, **headers})


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with site(api_key=KEY) as worlds:
        await worlds[0].ledger.commit(worlds[0].tenants.insert_tenant("shop", None))
        yield Pair(worlds)


REST = "/api/rest/configuration"
PROPERTIES = "/@api/deki/site/properties"
BATCH = b'<properties><property name="b"><contents type="text/plain">1</contents></property></properties>'
DOCUMENT = b'{"label":"Shop","schemaVersion":"1","entityTypes":[]}'

WRITES = [
    ("PUT", f"{REST}/a", b'{"value":"1"}'),
    ("DELETE", f"{REST}/old", b""),
    ("PUT", f"{REST}/a/content", b"1"),
    ("POST", f"{PROPERTIES}?apikey={KEY}&abort=never", b"1"),
    ("PUT", f"{PROPERTIES}/old?apikey={KEY}&abort=never", b"1"),
    ("DELETE", f"{PROPERTIES}/old?apikey={KEY}", b""),
    ("PUT", f"{PROPERTIES}?apikey={KEY}", BATCH),
    ("PUT", "/reltio/api/shop/configuration", DOCUMENT),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_every_answer_to_a_write_has_its_revision(pair: Pair, method: str, path: str, body: bytes) -> None:
    """In the header `Hivewire-Revision`, through every door."""
    await pair.here.store("old")
    xml = path.startswith(PROPERTIES + "?") and method == "PUT"
    kind = "application/xml" if xml else "application/json"
    extra = {"slug": "c"} if method == "POST" else {}
    answer = await pair.ask(pair.here, method, path, body, content_type=kind, **extra)
    assert answer.status in (200, 204), answer
    assert answer.headers["hivewire-revision"] == str(pair.here.ledger.revision)


@pytest.mark.parametrize("action", ["rollback", "transact"])
async def test_the_other_writes_have_it_in_their_bodies(pair: Pair, action: str) -> None:
    """As the replies over a socket do."""
    await pair.here.store("a")
    paths = {
        "rollback": ("/a/rollback", b'{"to":1}'),
        "transact": ("/transact", b'{"changes":[{"operation":"put","name":"a","value":"1"}]}'),
    }
    path, body = paths[action]
    answer = await pair.ask(pair.here, "POST", REST + path, body)
    assert answer.json()["revision"] == pair.here.ledger.revision


READS = [
    f"{REST}/a",
    f"{REST}?names=a",
    f"{REST}/a/history",
    f"{REST}/a/content",
    f"{PROPERTIES}/a?apikey={KEY}",
    f"{PROPERTIES}?apikey={KEY}",
    f"{PROPERTIES}/a/info?apikey={KEY}",
]


@pytest.mark.parametrize("path", READS)
async def test_a_read_with_the_header_waits_for_the_revision(pair: Pair, path: str) -> None:
    """Every read of every dialect sees the write whose revision it names, and the answer is the same on both."""
    await pair.here.store("a", value="old")
    pair.there.miss(misled=True)
    revision = await pair.here.store("a", value="brand-new")
    reading = asyncio.create_task(pair.ask(pair.there, "GET", path, hivewire_at_least=str(revision)))
    while not pair.there.services.freshness.gauges()["waiting_reads"][1]():
        await asyncio.sleep(0)
    pair.there.hear()
    answer = await reading
    assert (answer.status, b"brand-new" in answer.body) == (200, True)
    assert answer.body == (await pair.ask(pair.here, "GET", path)).body


async def test_the_same_in_the_query(pair: Pair) -> None:
    """`atLeast`, and `fresh`, which needs no revision."""
    await pair.here.store("a", value="old")
    pair.there.miss()
    revision = await pair.here.store("a", value="new")
    answer = await pair.ask(pair.there, "GET", f"{REST}/a?atLeast={revision}")
    assert answer.json()["value"] == "new"
    pair.there.miss(misled=True)
    await pair.here.store("a", value="newest")
    assert (await pair.ask(pair.there, "GET", f"{REST}/a")).json()["value"] == "new"
    assert (await pair.ask(pair.there, "GET", f"{REST}/a?fresh=true")).json()["value"] == "newest"


async def test_a_revision_that_does_not_come_gets_503(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of the request remains; what is no revision gets 400. Who has no valid token does not wait."""
    monkeypatch.setattr(freshness, "WAIT_SECONDS", 0)
    answer = await pair.ask(pair.here, "GET", f"{REST}/a", hivewire_at_least="999")
    assert (answer.status, answer.json()["message"].partition(",")[0]) == (
        503,
        "this gateway has not reached revision 999",
    )
    for wrong in ("", "-1", "1.5", "x", "1, 2", "²"):
        answer = await pair.ask(pair.here, "GET", f"{REST}/a", hivewire_at_least=wrong)
        assert (answer.status, answer.json()["message"].partition(",")[0]) == (
            400,
            "Hivewire-At-Least must be a revision",
        )
    assert (await pair.ask(pair.here, "GET", f"{REST}/a", authorization="", hivewire_at_least="999")).status == 401
    assert (await pair.gateways[id(pair.here)].ask("GET", "/api/rest/info", hivewire_at_least="999")).status == 200


@pytest.mark.parametrize("path", [REST, f"{REST}/a/content"])
async def test_rights_are_those_after_the_waiting(pair: Pair, path: str) -> None:
    """A token that is revoked while its read waits gets 401."""
    await pair.here.store("a")
    token = f"Bearer {pair.here.token(JOHN)}"
    revision = pair.here.ledger.revision + 2
    reading = asyncio.create_task(
        pair.ask(pair.here, "GET", path, authorization=token, hivewire_at_least=str(revision))
    )
    while not pair.here.services.freshness.gauges()["waiting_reads"][1]():
        await asyncio.sleep(0)
    await pair.there.ledger.commit(pair.there.users.write("john", UserContent("", generation=1), None))
    await pair.there.store("a")
    assert (await reading).status == 401


# Refusals do not rest on what a gateway has not heard of yet.


async def test_a_new_user_is_known_everywhere(pair: Pair) -> None:
    """Its token and its password are accepted at once on a gateway whose feed has lost it; those of nobody are not."""
    pair.there.miss(2)
    content = UserContent(await pair.here.passwords.hash("secret"))
    await pair.here.ledger.commit(pair.here.users.write("new", content, None))
    user = pair.here.users.by_login("new")
    assert user is not None
    assert pair.there.users.by_login("new") is None
    token = pair.here.token(user.id, a=[100])
    assert (await pair.ask(pair.there, "GET", REST, authorization=f"Bearer {token}")).status == 200
    pair.there.miss(2)
    await pair.here.ledger.commit(pair.here.users.write("newer", content, None))
    body = b'{"login":"newer","password":"secret"}'
    answer = await pair.gateways[id(pair.there)].ask("POST", "/api/rest/token", body, content_type="application/json")
    assert answer.status == 201
    nobody = pair.here.token(99)
    assert (await pair.ask(pair.there, "GET", REST, authorization=f"Bearer {nobody}")).status == 401


async def test_a_new_generation_of_tokens_is_known_everywhere(pair: Pair) -> None:
    """A token that was made after a revocation is not taken for one that was revoked."""
    pair.there.miss()
    await pair.here.ledger.commit(pair.here.users.write("john", UserContent("", generation=1), None))
    token = pair.here.token(JOHN)
    assert (await pair.ask(pair.there, "GET", REST, authorization=f"Bearer {token}")).status == 200


async def test_a_new_client_and_a_new_tenant_are_known_everywhere(pair: Pair) -> None:
    """The client gets a token, and its tenant is there; a client and a tenant that nobody made are not."""
    here = pair.here
    pair.there.miss(2)
    await here.ledger.commit(here.tenants.insert_tenant("fresh", None))
    await here.ledger.commit(here.tenants.insert_client("crm", {"fresh": ["READ"]}, "s" * 43, None))
    basic = "Basic " + base64.b64encode(b"crm:" + b"s" * 43).decode()
    form = {"content_type": "application/x-www-form-urlencoded"}
    grant = b"grant_type=client_credentials"
    answer = await pair.ask(pair.there, "POST", "/oauth/token", grant, authorization=basic, **form)
    assert answer.status == 200
    pair.there.miss()
    await here.ledger.commit(here.tenants.insert_tenant("fresher", None))
    answer = await pair.ask(pair.there, "PUT", "/reltio/api/fresher/configuration", DOCUMENT)
    assert answer.status == 200
    assert (await pair.ask(pair.there, "GET", "/reltio/api/none/configuration")).status == 404
    basic = "Basic " + base64.b64encode(b"none:" + b"s" * 43).decode()
    assert (await pair.ask(pair.there, "POST", "/oauth/token", grant, authorization=basic, **form)).status == 401


async def test_a_new_document_can_be_edited_everywhere(pair: Pair) -> None:
    """An edit where its first save has not been heard of yet finds it; without one it is not defined."""
    path = "/reltio/api/shop/configuration/sources/none"
    assert (await pair.ask(pair.there, "DELETE", path)).status == 404
    pair.there.miss()
    assert (await pair.ask(pair.here, "PUT", "/reltio/api/shop/configuration", DOCUMENT)).status == 200
    assert (await pair.ask(pair.there, "DELETE", path)).status == 400, "there is no such source"


async def test_refusals_are_quick_while_the_log_does_not_answer(pair: Pair) -> None:
    """Then they rest on what is known."""
    pair.there.journal.broken = "no leader"
    nobody = pair.here.token(99)
    assert (await pair.ask(pair.there, "GET", REST, authorization=f"Bearer {nobody}")).status == 401
