"""Where a request comes from, and who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs

from hivewire import dispatch
from hivewire.access.identity import ANONYMOUS
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.http import peer
from hivewire.http.peer import MOST_PROXIES, admit_request, caller_of_request, origin_of
from hivewire.settings import Settings
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidParameters,
    TokenExpired,
    TokenRevoked,
    Unauthorized,
    WireError,
)
from hivewire_protocol.messages import Request
from hivewire_protocol.nouns.configuration import ConfigurationGet, ConfigurationPut
from hivewire_protocol.nouns.identity import TokenRevoke
from hivewire_protocol.nouns.server import ServerInfo
from hivewire_protocol.nouns.user import Status
from hivewire_protocol.permissions import Permission
from tests.http.made import made
from tests.world import HOUR, JOHN, World, opened

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9, 198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("[::ffff:198.51.100.7]:4711", "198.51.100.7"),
        ("198.51.100.7, unknown", PROXY),
        ("198.51.100.7:x", PROXY),
        ("[nowhere]:1", PROXY),
        ("198.51.100.7,", PROXY),
    ],
)
def test_ports_and_brackets_of_a_forwarded_address_are_ignored(forwarded: str, address: str) -> None:
    """So a client is the same on each of its connections; a value that is not an address counts as the proxy's."""
    settings = Settings(trusted_proxies=PROXY)
    assert origin_of(settings, PROXY, {"x-forwarded-for": forwarded}.get, False) == (address, False)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("198.51.100.7, [2001:db8::1]:80, 10.0.0.2:80", "198.51.100.7"),
        ("6.6.6.6, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("198.51.100.7" + ", 10.0.0.2" * MOST_PROXIES, "10.0.0.2"),
    ],
)
def test_trusted_proxies_in_a_row_are_followed_back(forwarded: str, address: str) -> None:
    """To the last address that none of them has; a limited number of them, because clients may claim any."""
    settings = Settings(trusted_proxies="10.0.0.0/24, 2001:db8::/32")
    assert origin_of(settings, PROXY, {"x-forwarded-for": forwarded}.get, False) == (address, False)


@pytest.mark.parametrize(
    ("peer", "scheme", "secure", "expected"),
    [
        (PROXY, "https", False, ("198.51.100.7", True)),
        (PROXY, "http", False, ("198.51.100.7", False)),
        (PROXY, "http", True, ("198.51.100.7", True)),
        ("10.0.0.2", "https", False, ("10.0.0.2", False)),
        ("10.0.0.2", "http", True, ("10.0.0.2", True)),
        ("::ffff:10.0.0.2", "http", False, ("10.0.0.2", False)),
        ("::ffff:10.0.0.1", "https", False, ("198.51.100.7", True)),
    ],
)
def test_forwarding_headers_count_from_a_trusted_proxy_alone(
    peer: str, scheme: str, secure: bool, expected: tuple[str, bool]
) -> None:
    """Any client could send them."""
    headers = {"x-forwarded-for": "203.0.113.9, 198.51.100.7", "x-forwarded-proto": scheme}
    assert origin_of(Settings(trusted_proxies=PROXY), peer, headers.get, secure) == expected


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


async def who(world: World, *headers: str, target: str = "/", query_token: bool = False) -> str:
    """The login of the caller, or the error; with the headers `Authorization` in this order."""
    given = [(b"authorization", each.encode()) for each in headers]
    request = made(*given, target=target, client=("192.0.2.1", 4711), scheme="http")
    try:
        caller = await caller_of_request(world.services, request, "api", query_token=query_token)
    except WireError as error:
        assert not request.proven
        return type(error).__name__
    assert request.proven is (caller.identity is not ANONYMOUS)
    return caller.identity.login if request.proven else "nobody"


async def test_a_caller_has_the_token_of_its_header(world: World) -> None:
    """Its scheme has no case (RFC 9110, section 11.1); another scheme, or a wrong token, is not taken for none."""
    token = world.token()
    assert await who(world) == "nobody"
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert await who(world, f"{scheme} {token}") == "admin"
    for wrong in ("", "Bearer", "Bearer x", f"Basic {token}", token, f"Bearer {token}x"):
        assert await who(world, wrong) == Unauthorized.__name__, wrong
    assert await who(world, f"Bearer {token}", f"Bearer {token}") == Unauthorized.__name__


async def test_a_token_may_be_in_the_query_where_headers_cannot_be_set(world: World) -> None:
    """Once, not in both places, and not elsewhere (RFC 6750, section 2.3)."""
    token = world.token()
    once, twice = f"/?access_token={token}", f"/?access_token={token}&access_token={token}"
    assert await who(world, target=once) == "nobody"
    assert await who(world, target=once, query_token=True) == "admin"
    assert await who(world, target="/?access_token=x", query_token=True) == Unauthorized.__name__
    assert await who(world, target=twice, query_token=True) == InvalidParameters.__name__
    assert await who(world, f"Bearer {token}", target=once, query_token=True) == InvalidParameters.__name__


class Kept:
    """A connection over which requests come one after the other."""

    def __init__(self, world: World) -> None:
        self._dispatcher = world.dispatcher
        self.connection = made().connection
        self._over: dict[str, Any] = {"hivewire.connection": self.connection}

    async def admit(
        self,
        authorization: str,
        wanted: type[Request] = ConfigurationGet,
        context: str = "api",
        host: str = "h",
        *,
        stream: bool = False,
    ) -> Caller:
        """The caller of the next request."""
        headers = (b"authorization", authorization.encode()), (b"host", host.encode())
        request = made(*headers, scheme="http", client=None, **self._over)
        try:
            _, caller = await admit_request(self._dispatcher, context, wanted, request, query_token=stream)
        except WireError as error:
            assert request.proven is isinstance(error, AccessDenied), "whoever is known is not counted as anonymous"
            raise
        assert request.proven
        assert (caller.host, caller.context, caller.when_gone) == (host, context, self.connection.when_lost)
        return caller

    async def __call__(self, *arguments: Any) -> str:
        """Its login, or the error."""
        try:
            return (await self.admit(*arguments)).identity.login
        except WireError as error:
            return type(error).__name__


async def test_each_request_of_a_connection_has_a_caller_of_its_own(world: World) -> None:
    """Whatever tokens, paths and schemes came before it."""
    ask, admin, john = Kept(world), world.token(), world.token(JOHN)
    for place in ("api", "a"), ("api", "a"), ("api", "b"), ("auth", "b"), ("api", "a"):
        assert await ask(f"Bearer {admin}", ConfigurationGet, *place) == "admin"
        for wrong in (admin, f"Basic {admin}", f"Bearer {admin}x", "Bearer"):
            assert await ask(wrong, ConfigurationGet, *place) == Unauthorized.__name__, wrong
    for _ in range(2):
        assert await ask(f"bearer {admin}") == "admin"
        assert await ask(f"Bearer {john}") == "john"


async def test_what_was_found_of_a_caller_is_not_found_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a socket."""
    ask, admin = Kept(world), f"Bearer {world.token()}"
    callers = [await ask.admit(admin)]
    monkeypatch.delattr(peer, "caller_of_request")
    callers += [await ask.admit(admin), await ask.admit(admin)]
    assert [each is callers[0] for each in callers] == [True] * 3


async def test_a_stream_has_a_caller_of_its_own(world: World) -> None:
    """It gets feeds, which the requests behind it must not have."""
    ask, admin = Kept(world), f"Bearer {world.token()}"
    streaming = await ask.admit(admin, stream=True)
    usual = await ask.admit(admin)
    assert usual is not streaming
    assert await ask.admit(admin, stream=True) is not usual
    assert await ask.admit(admin) is usual


async def test_each_request_of_a_connection_needs_its_own_right(world: World) -> None:
    """That of the request before says nothing about it."""
    ask, reader = Kept(world), f"Bearer {world.token(a=[Permission.GET_CONFIGURATION])}"
    for _ in range(2):
        assert await ask(reader) == "admin"
        assert await ask(reader, ConfigurationPut) == AccessDenied.__name__


async def test_a_right_that_ends_counts_from_the_next_request_of_a_connection_on(world: World) -> None:
    """When the user is locked or the token is revoked."""
    ask, john = Kept(world), f"Bearer {world.token(JOHN, j='one')}"
    assert [await ask(john) for _ in range(2)] == ["john", "john"]
    user = world.users.by_id(JOHN)
    assert user is not None
    for status, expected in ((Status.LOCKED_OUT, Unauthorized.__name__), (Status.ACTIVE, "john")):
        await world.ledger.commit(world.users.write("john", structs.replace(user.content, status=status), None))
        assert await ask(john) == expected
    await world.ask(TokenRevoke(tokenId="one"))
    assert await ask(john) == TokenRevoked.__name__


async def test_a_token_that_expires_counts_no_more_on_its_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its rights have been found before, and where no right is needed."""
    ask, admin = Kept(world), f"Bearer {world.token()}"
    assert [await ask(admin) for _ in range(2)] == ["admin", "admin"]
    later = now() + 2 * HOUR
    for module in (peer, dispatch):
        monkeypatch.setattr(module, "now", lambda: later)
    monkeypatch.setattr(dispatch, "time_ns", lambda: later * 1_000_000)
    for wanted in ServerInfo, ConfigurationGet:
        assert await ask(admin, wanted) == TokenExpired.__name__


async def test_behind_a_trusted_proxy_each_request_has_its_address() -> None:
    """A proxy sends the requests of many clients over one connection."""
    connection: dict[str, Any] = {"hivewire.connection": made().connection}
    async with opened(trusted_proxies=PROXY) as world:
        token = b"Bearer " + world.token().encode()
        for address in ("198.51.100.7", "198.51.100.8"):
            headers = (b"authorization", token), (b"x-forwarded-for", address.encode())
            request = made(*headers, scheme="http", client=(PROXY, 1), **connection)
            assert (await admit_request(world.dispatcher, "api", ConfigurationGet, request)).caller.address == address
