"""Where a request comes from, and who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hivewire.access.identity import ANONYMOUS
from hivewire.http.peer import admit_request, caller_of_request, origin_of
from hivewire.settings import Settings
from hivewire_protocol.errors import InvalidParameters, Unauthorized, WireError
from hivewire_protocol.nouns.poll import CommandPollMany
from tests.http.made import made
from tests.world import World, opened

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9, 198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
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
    ("peer", "scheme", "secure", "expected"),
    [
        (PROXY, "https", False, ("198.51.100.7", True)),
        (PROXY, "http", False, ("198.51.100.7", False)),
        (PROXY, "http", True, ("198.51.100.7", True)),
        ("10.0.0.2", "https", False, ("10.0.0.2", False)),
        ("10.0.0.2", "http", True, ("10.0.0.2", True)),
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


async def test_a_caller_knows_the_size_of_its_head(world: World) -> None:
    """Which is in memory as long as its request waits."""
    headers = ((b"authorization", f"Bearer {world.token()}".encode()), (b"x", b"y" * 50_000))
    request, caller = await admit_request(
        world.dispatcher, "api", CommandPollMany, made(*headers, scheme="http", client=None)
    )
    assert caller.head_size() == request.head_size() > 50_000
