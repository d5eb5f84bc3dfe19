"""Tokens, keys, the guessing brake and passwords."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import jwt
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from hivewire.access.identity import Identity
from hivewire.access.keys import Key, Previous, SecretError, generate_secret
from hivewire.access.passwords import NICE, Busy, Passwords, generate
from hivewire.access.tenants import Tenants
from hivewire.access.throttle import FORGET_AFTER, FREE_ATTEMPTS, LONGEST, MAX_TRACKED, AnonymousRate, Rate, Throttle
from hivewire.access.tokens import ACCESS, MAX_TOKEN, MOST_LISTED, REFRESH, Claims, Tokens, VerifiedTokens, login_claims
from hivewire.access.users import UserContent, Users
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Transaction, Write
from hivewire.settings import Settings
from hivewire_protocol.errors import (
    InvalidCredentials,
    InvalidTokenType,
    OutOfBounds,
    RefreshTokenExpired,
    TokenExpired,
    TokenRevoked,
    TooManyRequests,
    Unauthorized,
    WireError,
)
from hivewire_protocol.nouns.user import Role, Status
from hivewire_protocol.patterns import EVERYTHING
from hivewire_protocol.permissions import ALL, CLIENT, Permission

SECRET = "a secret of thirty-two bytes, or more"
NOW = 1_800_000_000_000
HOUR = 3_600_000
ADMIN, JOHN, LOCKED, BOUND = 1, 2, 3, 4


@pytest.fixture
async def users() -> AsyncIterator[Users]:
    """An administrator, a client, a locked client, and one that is bound to its own device types."""
    ledger = Ledger(MemoryJournal(), lambda: NOW)
    users = Users(ledger)
    await ledger.open()
    for login, content in (
        ("admin", UserContent("", Role.ADMIN)),
        ("john", UserContent("")),
        ("locked", UserContent("", status=Status.LOCKED_OUT)),
        ("bound", UserContent("", all_device_types_available=False)),
    ):
        await ledger.commit(users.write(login, content, None))
    yield users
    await ledger.close()


@pytest.fixture
def tokens(users: Users) -> Tokens:
    return Tokens(Key(SECRET, "utf8"), users, Tenants(users.ledger), HOUR, 10 * HOUR)


def claims(**changed: Any) -> Claims:
    """Good claims of an access token, but for what is changed."""
    members: dict[str, Any] = {"a": [0], "e": NOW + HOUR, "t": ACCESS, "u": ADMIN, "n": ["*"], "dt": ["*"]} | changed
    return Claims(**members)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def signed(body: Any, header: bytes = b'{"alg":"HS256"}', key: bytes = SECRET.encode(), digest: str = "sha256") -> str:
    """A token made by hand."""
    text = f"{encoded(header)}.{encoded(body if isinstance(body, bytes) else json.dumps(body).encode())}"
    return f"{text}.{encoded(hmac.new(key, text.encode(), digest).digest())}"


GOOD = {"a": [0], "e": NOW + HOUR, "t": 1, "u": 1, "n": ["*"], "dt": ["*"]}


# The layout.


def test_a_token_is_laid_out_as_existing_clients_know_it(tokens: Tokens) -> None:
    """The header is only the algorithm, the payload one claim, its keys in order, null members written."""
    head, body, signature = tokens.mint(claims(n=None, dt=["3", "*"], c=["a", "b*"])).split(".")
    assert decoded(head) == b'{"alg":"HS256"}'
    assert json.loads(decoded(body)) == {
        "payload": {"a": [0], "e": NOW + HOUR, "t": 1, "u": 1, "n": None, "dt": ["3", "*"], "c": ["a", "b*"]}
    }
    assert list(json.loads(decoded(body))["payload"]) == ["a", "e", "t", "u", "n", "dt", "c"]
    expected = hmac.new(SECRET.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    assert decoded(signature) == expected


def test_a_token_without_patterns_has_no_c(tokens: Tokens) -> None:
    """A token that reaches every name looks exactly like one of the reference server."""
    body = tokens.mint(claims()).split(".")[1]
    assert decoded(body) == b'{"payload":{"a":[0],"e":%d,"t":1,"u":1,"n":["*"],"dt":["*"]}}' % (NOW + HOUR)


def test_a_pair_has_the_same_rights_and_differs_in_type_and_expiry(tokens: Tokens) -> None:
    """The refresh token carries what the access token grants, the name patterns too."""
    access, refresh = tokens.pair(claims(c=["x*"]), NOW + 1, NOW + 2, NOW)
    ours = {"c": ["x*"], "i": NOW, "j": tokens.claims(access).j}
    assert tokens.claims(access) == claims(t=ACCESS, e=NOW + 1, **ours)
    assert tokens.claims(refresh) == claims(t=REFRESH, e=NOW + 2, **ours)


@given(
    a=st.none() | st.lists(st.sampled_from(sorted(ALL)), max_size=3),
    n=st.none() | st.lists(st.integers(0, 99).map(str) | st.just("*"), max_size=3),
    c=st.just(UNSET) | st.lists(st.sampled_from(["a", "b*", "é.*", "*"]), max_size=3),
)
def test_what_was_minted_is_read_back(a: Any, n: Any, c: Any) -> None:
    """Whatever a token grants, the server reads the same out of it later."""
    ledger = Ledger(MemoryJournal(), lambda: NOW)
    tokens = Tokens(Key(SECRET, "utf8"), Users(ledger), Tenants(ledger), HOUR, HOUR)
    given = claims(a=a, n=n, dt=n, c=c)
    assert tokens.claims(tokens.mint(given)) == given


# Verification.


def test_a_good_token_gives_its_identity(tokens: Tokens) -> None:
    """Rights, scopes and names are those of the token, the login that of the user."""
    identity = tokens.verify(tokens.mint(claims(a=[13], n=["7", "8"], c=["x*"], u=JOHN)), NOW)
    assert (identity.user_id, identity.login, identity.expires) == (JOHN, "john", NOW + HOUR)
    assert {found for found in Permission if identity.may(found)} == {13, 100}
    assert identity.networks == frozenset({7, 8})
    assert "xy" in identity.names
    assert "y" not in identity.names


@pytest.mark.parametrize(
    ("a", "expected"), [([0], ALL), ([], CLIENT), ([1], set()), (None, set()), ([2, 100], {2, 100})], ids=str
)
def test_the_actions_of_a_token_become_its_rights(tokens: Tokens, a: list[int] | None, expected: set[int]) -> None:
    """Zero is everything, the empty list the client set, one and null are nothing."""
    identity = tokens.verify(tokens.mint(claims(a=a)), NOW)
    assert {found for found in Permission if identity.may(found)} == expected


@pytest.mark.parametrize(
    ("user", "given", "networks", "types"),
    [
        (BOUND, ["*"], None, None),
        (BOUND, ["4", "*"], None, None),
        (BOUND, ["4", "5"], {4, 5}, {4, 5}),
        (BOUND, [], set(), set()),
        (BOUND, None, set(), set()),
        (JOHN, ["4"], {4}, {4}),
        (JOHN, None, set(), set()),
    ],
)
def test_the_scopes_of_a_token_become_ids(
    tokens: Tokens, user: int, given: list[str] | None, networks: set[int] | None, types: set[int] | None
) -> None:
    """A star is all, and a missing list is none. What a user with all device types has besides, its scope says."""
    identity = tokens.verify(tokens.mint(claims(u=user, n=given, dt=given)), NOW)
    assert identity.networks == networks
    assert identity.device_types == types


def test_without_patterns_every_name_is_reached_and_with_none_no_name(tokens: Tokens) -> None:
    """An absent `c` is everything, an empty one nothing."""
    assert tokens.verify(tokens.mint(claims()), NOW).names is EVERYTHING
    none = tokens.verify(tokens.mint(claims(c=[])), NOW).names
    assert "" not in none
    assert "a" not in none


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        GOOD | {"t": 2},
        GOOD | {"more": [1, {}]},
        {key: GOOD[key] for key in reversed(GOOD)},
        {key: value for key, value in GOOD.items() if key not in ("n", "dt")},
        GOOD | {"n": None, "dt": None},
    ],
)
def test_a_token_of_another_server_with_the_same_key_is_good(tokens: Tokens, body: dict[str, Any]) -> None:
    """The order of keys, unknown keys, missing scopes and a `typ` in the header do not matter."""
    assert tokens.verify(signed({"payload": body}), NOW).user_id == 1
    assert tokens.verify(signed({"payload": body}, b'{"typ":"JWT","alg":"HS256"}'), NOW).user_id == 1


@pytest.mark.parametrize(
    "registered",
    [{"exp": 1}, {"nbf": 2**40}, {"iat": 2**40}, {"aud": "x"}, {"iss": "x"}, {"sub": 5}, {"jti": 5}, {"exp": "never"}],
    ids=str,
)
def test_registered_claims_beside_the_payload_mean_nothing(tokens: Tokens, registered: dict[str, Any]) -> None:
    """The payload has its own expiry; unknown claims are ignored."""
    assert tokens.verify(signed({"payload": GOOD} | registered), NOW).user_id == 1


BAD_BODIES: dict[str, Any] = {
    "no payload": {"a": [0]},
    "payload of null": {"payload": None},
    "payload of text": {"payload": "x"},
    "not an object": [1],
    "not JSON": b"{",
    "nested deeply": b"[" * 5_000,
    "no expiry": {"payload": {key: value for key, value in GOOD.items() if key != "e"}},
    "no type": {"payload": {key: value for key, value in GOOD.items() if key != "t"}},
    "no user": {"payload": {key: value for key, value in GOOD.items() if key != "u"}},
    "a plugin's": {"payload": {"a": [0], "e": NOW + HOUR, "t": 1, "tpc": "x"}},
    "expiry in seconds": {"payload": GOOD | {"e": NOW // 1_000}},
    "expiry of 31 bits": {"payload": GOOD | {"e": 2**31 - 1}},
    "expiry of text": {"payload": GOOD | {"e": str(NOW + HOUR)}},
    "expiry with fraction": {"payload": GOOD | {"e": NOW + 0.5}},
    "negative expiry": {"payload": GOOD | {"e": -NOW}},
    "action of 19": {"payload": GOOD | {"a": [19]}},
    "action of -1": {"payload": GOOD | {"a": [-1]}},
    "action of text": {"payload": GOOD | {"a": ["0"]}},
    "action of true": {"payload": GOOD | {"a": [True]}},
    "actions of text": {"payload": GOOD | {"a": "0"}},
    "network of a word": {"payload": GOOD | {"n": ["x"]}},
    "network of a number": {"payload": GOOD | {"n": [1]}},
    "negative network": {"payload": GOOD | {"n": ["-1"]}},
    "empty network": {"payload": GOOD | {"n": [""]}},
    "network beside a star": {"payload": GOOD | {"n": ["*", "x"]}},
    "network in Arabic digits": {"payload": GOOD | {"n": ["٣"]}},
    "network of 5,000 digits": {"payload": GOOD | {"n": ["9" * 5_000]}},
    "pattern of a number": {"payload": GOOD | {"c": [1]}},
    "patterns of null": {"payload": GOOD | {"c": None}},
    "empty pattern": {"payload": GOOD | {"c": [""]}},
    "star within a pattern": {"payload": GOOD | {"c": ["a*b"]}},
    "unknown user": {"payload": GOOD | {"u": 99}},
    "locked user": {"payload": GOOD | {"u": LOCKED}},
    "refresh token": {"payload": GOOD | {"t": 0}},
    "expired refresh token": {"payload": GOOD | {"t": 0, "e": NOW - 1}},
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_token_with_bad_content_is_invalid(tokens: Tokens, body: Any) -> None:
    """A valid signature is not enough: missing, ill-typed or unknown claims make the token invalid."""
    with pytest.raises(InvalidCredentials):
        tokens.verify(signed(body), NOW)


def test_a_token_with_another_signature_is_invalid(tokens: Tokens) -> None:
    """Unsigned, signed with another key or algorithm, truncated, tampered with: all are refused."""
    head, body, signature = tokens.mint(claims()).split(".")
    payload = {"payload": GOOD}
    weaker = encoded(json.dumps({"payload": GOOD | {"u": JOHN}}).encode())
    none = encoded(b'{"alg":"none"}')
    bad = [
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        signed(payload, b'{"alg":"none"}'),
        signed(payload, b'{"alg":"None"}'),
        signed(payload, b"{}"),
        signed(payload, b'{"alg":"HS256","crit":["x"],"x":1}'),
        signed(payload, key=b"another secret of thirty-two bytes"),
        signed(payload, key=b""),
        signed(payload, b'{"alg":"HS512"}', digest="sha512"),
        signed(payload, b'{"alg":"HS384"}', digest="sha384"),
        signed(payload, b'{"alg":"HS512"}'),
        signed(payload, b'{"alg":"RS256"}'),
        signed(payload, digest="sha512"),
        f"{head}.{weaker}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{body}.{signature}",
        f"{head}.{body}.{signature}.{signature}",
        f" {head}.{body}.{signature}",
        "",
        ".",
        "..",
        "é.é.é",
        "\ud800",
        "x" * (MAX_TOKEN + 1),
    ]
    for token in bad:
        with pytest.raises(InvalidCredentials):
            tokens.verify(token, NOW)


@given(st.text(max_size=60) | st.lists(st.text("AZaz09-_=.", max_size=20), max_size=4).map(".".join))
def test_any_text_as_a_token_is_only_invalid(text: str) -> None:
    """Whatever is sent as a token, the answer is that it is not valid."""
    ledger = Ledger(MemoryJournal(), lambda: NOW)
    tokens = Tokens(Key(SECRET, "utf8"), Users(ledger), Tenants(ledger), HOUR, HOUR)
    with pytest.raises(InvalidCredentials):
        tokens.verify(text, NOW)


def test_a_token_is_good_until_its_last_millisecond(tokens: Tokens) -> None:
    """A token has expired strictly after its expiry, without leeway; any expired token gets that error."""
    token = tokens.mint(claims())
    assert tokens.verify(token, NOW + HOUR).expires == NOW + HOUR
    for found in (token, tokens.mint(claims(u=LOCKED)), tokens.mint(claims(u=99))):
        with pytest.raises(TokenExpired):
            tokens.verify(found, NOW + HOUR + 1)


async def test_tokens_are_valid_only_while_their_user_is_active(tokens: Tokens, users: Users) -> None:
    """Locking a user makes its tokens invalid, unlocking makes them valid again."""
    token = tokens.mint(claims(u=JOHN))
    ledger = users.ledger
    for status, good in ((Status.DISABLED, False), (Status.ACTIVE, True)):
        await ledger.commit(users.write("john", UserContent("", status=status), None))
        if good:
            assert tokens.verify(token, NOW).login == "john"
        else:
            with pytest.raises(InvalidCredentials):
                tokens.verify(token, NOW)


# Verified tokens.


class CountingTokens(Tokens):
    """Counts how often a signature is looked at."""

    looked_at = 0

    def _read(self, token: str) -> tuple[Claims, Key]:
        self.looked_at += 1
        return super()._read(token)


@pytest.fixture
def counting(users: Users) -> CountingTokens:
    return CountingTokens(Key(SECRET, "utf8"), users, Tenants(users.ledger), HOUR, 10 * HOUR)


def test_a_token_that_was_good_is_verified_once(counting: CountingTokens) -> None:
    """The same text gives the same identity without another check of its signature; another text does not."""
    john, admin = counting.mint(claims(u=JOHN)), counting.mint(claims())
    first = counting.verify(john, NOW)
    assert counting.verify("".join(john), NOW + 1) is first
    assert counting.verify(admin, NOW).login == "admin"
    assert counting.looked_at == 2


def test_a_remembered_token_expires_all_the_same(counting: CountingTokens) -> None:
    """A cached token expires to the millisecond, and then leaves the cache."""
    token = counting.mint(claims(e=NOW + 5))
    assert counting.verify(token, NOW + 5) is counting.verify(token, NOW + 5)
    for _ in range(2):
        with pytest.raises(TokenExpired):
            counting.verify(token, NOW + 6)
    assert len(counting._verified) == 0


async def test_a_remembered_token_follows_its_user(counting: CountingTokens, users: Users) -> None:
    """A lock, a deletion and a new role take effect at the next request."""
    token, ledger = counting.mint(claims()), users.ledger
    assert counting.verify(token, NOW).tenants is None
    await ledger.commit(users.write("admin", UserContent("", Role.CLIENT), None))
    assert counting.verify(token, NOW).tenants == {}
    await ledger.commit(users.write("admin", UserContent("", Role.ADMIN, Status.LOCKED_OUT), None))
    with pytest.raises(InvalidCredentials):
        counting.verify(token, NOW)
    await ledger.commit(users.write("admin", UserContent("", Role.ADMIN), None))
    assert counting.verify(token, NOW).tenants is None
    await ledger.commit(Transaction([Write("user", "admin", None)]))
    with pytest.raises(InvalidCredentials):
        counting.verify(token, NOW)


async def test_an_invalid_token_is_not_cached(counting: CountingTokens, users: Users) -> None:
    """A user who is created later can use its tokens."""
    token = counting.mint(claims(u=BOUND + 1))
    for _ in range(2):
        with pytest.raises(InvalidCredentials):
            counting.verify(token, NOW)
    assert (counting.looked_at, len(counting._verified)) == (2, 0)
    await users.ledger.commit(users.write("late", UserContent(""), None))
    assert counting.verify(token, NOW).login == "late"


def test_remembered_tokens_are_bounded_in_number_and_bytes() -> None:
    """The least recently used one is dropped first."""
    verified = VerifiedTokens(most=3, most_bytes=10)
    identity = Identity(1, "john", NOW, 0, None, None)

    def kept(*tokens: str) -> list[str]:
        return [token for token in tokens if verified.find(token) is not None]

    for token in ("a", "b", "c"):
        verified.remember(token, identity)
    assert kept("a") == ["a"]
    verified.remember("d", identity)
    assert (kept("a", "b", "c", "d"), verified.bytes) == (["a", "c", "d"], 3)
    verified.remember("e" * 9, identity)
    assert (kept("a", "c", "d", "e" * 9), verified.bytes) == (["d", "e" * 9], 10)
    verified.remember("f" * 11, identity)
    assert (len(verified), verified.bytes) == (0, 0)


# Revoking, and clocks that were wrong.


async def test_a_revoked_token_is_refused_with_those_made_from_it(tokens: Tokens, users: Users) -> None:
    """By its id: the access token, also a cached one, and its refresh token; those of another login stay."""
    access, refresh = tokens.pair(claims(), NOW + HOUR, NOW + HOUR, NOW)
    other, _ = tokens.pair(claims(), NOW + HOUR, NOW + HOUR, NOW)
    refreshed, _ = tokens.refresh(refresh, NOW)
    identities = [tokens.verify(token, NOW) for token in (access, refreshed)]
    await users.ledger.commit(tokens.revocations.revoke(identities[0].token, "admin"))
    assert all(tokens.refusal(identity, NOW) for identity in identities)
    for token in (access, refreshed):
        with pytest.raises(TokenRevoked):
            tokens.verify(token, NOW)
    with pytest.raises(TokenRevoked):
        tokens.refresh(refresh, NOW)
    assert tokens.refusal(tokens.verify(other, NOW), NOW) is None
    again = Tokens(Key(SECRET, "utf8"), users, Tenants(users.ledger), HOUR, HOUR)
    with pytest.raises(TokenRevoked):
        again.verify(access, NOW)


async def test_a_revocation_that_looks_like_one_of_a_device_ends_nothing(tokens: Tokens, users: Users) -> None:
    """`token/revoke` has made some, with which no gateway started any more."""
    access, _ = tokens.pair(claims(d=["lamp"]), NOW + HOUR, NOW + HOUR, NOW)
    await users.ledger.commit(tokens.revocations.revoke("device/lamp", "admin"))
    again = Tokens(Key(SECRET, "utf8"), users, Tenants(users.ledger), HOUR, HOUR)
    for each in (tokens, again):
        identity = each.verify(access, NOW)
        assert each.refusal(identity, NOW) is None
    await users.ledger.commit(tokens.revocations.revoke_device("lamp", NOW, "admin"))
    for each in (tokens, again):
        assert each.refusal(identity, NOW) is TokenRevoked


async def test_a_new_generation_ends_all_tokens_of_a_user(tokens: Tokens, users: Users) -> None:
    """Earlier ones, also those without a generation; not later ones, nor those of other users."""
    old, refresh = tokens.pair(claims(u=JOHN), NOW + HOUR, NOW + HOUR, NOW)
    bare, others = tokens.mint(claims(u=JOHN)), tokens.mint(claims())
    assert tokens.refusal(tokens.verify(old, NOW), NOW) is None
    await users.ledger.commit(users.write("john", UserContent("", generation=1), None))
    for token in (old, bare):
        with pytest.raises(TokenRevoked):
            tokens.verify(token, NOW)
    with pytest.raises(TokenRevoked):
        tokens.refresh(refresh, NOW)
    new, refresh = tokens.pair(claims(u=JOHN), NOW + HOUR, NOW + HOUR, NOW)
    for token in (new, tokens.refresh(refresh, NOW)[0], others):
        assert tokens.refusal(tokens.verify(token, NOW), NOW) is None


def test_a_token_of_a_clock_that_was_ahead_does_not_count(tokens: Tokens) -> None:
    """A token issued up to a minute ahead is valid; others become valid when their time has come."""
    year = 400 * 24 * HOUR
    access, refresh = tokens.pair(claims(), NOW + year + HOUR, NOW + year + HOUR, NOW + year)
    assert tokens.verify(access, NOW + year - 60_000)
    for moment in (NOW, NOW + year - 60_001):
        with pytest.raises(InvalidCredentials):
            tokens.verify(access, moment)
        with pytest.raises(Unauthorized):
            tokens.refresh(refresh, moment)


def test_a_clock_that_was_never_set_makes_good_tokens(tokens: Tokens) -> None:
    """At 1970 they count, and expire when the clock is set; a small expiry without a time of issue is in seconds."""
    access, refresh = tokens.pair(claims(), HOUR, HOUR, 0)
    assert tokens.verify(access, 1).expires == HOUR
    assert tokens.refresh(refresh, 1)
    with pytest.raises(TokenExpired):
        tokens.verify(access, NOW)
    with pytest.raises(InvalidCredentials):
        tokens.verify(tokens.mint(claims(e=NOW // 1_000)), 1)


def test_tokens_of_the_previous_key_are_good_for_a_time(tokens: Tokens, users: Users) -> None:
    """Until then both kinds are valid; new ones are signed with the new key."""
    old, refresh = tokens.pair(claims(), NOW + 9 * HOUR, NOW + 9 * HOUR, NOW)
    tokens = Tokens(Key("n" * 32, "utf8"), users, Tenants(users.ledger), HOUR, HOUR)
    with pytest.raises(InvalidCredentials):
        tokens.verify(old, NOW)
    tokens.previous = Previous(Key(SECRET, "utf8"), NOW + HOUR)
    assert tokens.verify(old, NOW).expires == NOW + HOUR
    new, _ = tokens.refresh(refresh, NOW)
    with pytest.raises(TokenExpired):
        tokens.verify(old, NOW + HOUR + 1)
    with pytest.raises(RefreshTokenExpired):
        tokens.refresh(refresh, NOW + HOUR + 1)
    tokens.previous = None
    assert tokens.verify(new, NOW).expires == NOW + HOUR
    with pytest.raises(InvalidCredentials):
        tokens.claims(old)


# Refreshing.


def test_a_refresh_token_gives_a_fresh_access_token_with_its_rights(tokens: Tokens) -> None:
    """Actions, scopes and name patterns are those of the refresh token, the lifetime is the default."""
    given = claims(a=[2, 13], t=REFRESH, u=JOHN, n=["5"], dt=None, c=["x*"])
    access, user = tokens.refresh(tokens.mint(given), NOW)
    assert user.login == "john"
    assert tokens.claims(access) == claims(a=[2, 13], t=ACCESS, u=JOHN, n=["5"], dt=None, c=["x*"], e=NOW + HOUR, i=NOW)


def test_a_refreshed_token_does_not_outlive_its_refresh_token(tokens: Tokens) -> None:
    """Otherwise a token that was made for an hour would live for half an hour longer."""
    refresh = tokens.mint(claims(t=REFRESH, e=NOW + HOUR // 2))
    assert tokens.claims(tokens.refresh(refresh, NOW)[0]).e == NOW + HOUR // 2


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"t": ACCESS}, InvalidTokenType),
        ({"t": 2}, InvalidTokenType),
        ({"t": ACCESS, "e": NOW - 1}, InvalidTokenType),
        ({"e": NOW - 1}, RefreshTokenExpired),
        ({"u": LOCKED}, Unauthorized),
        ({"u": 99}, Unauthorized),
        ({"e": 5}, Unauthorized),
    ],
)
def test_refreshing_an_invalid_token_says_why(tokens: Tokens, changed: dict[str, Any], error: type[WireError]) -> None:
    """The type is checked before the age, and both before the user."""
    with pytest.raises(error):
        tokens.refresh(tokens.mint(claims(**{"t": REFRESH} | changed)), NOW)


def test_a_forged_refresh_token_is_unauthorized(tokens: Tokens) -> None:
    """A refresh token that was signed with another key is refused."""
    with pytest.raises(Unauthorized):
        tokens.refresh(signed({"payload": GOOD | {"t": 0}}, key=b"x" * 32), NOW)


def test_a_login_gets_the_rights_of_its_role(users: Users) -> None:
    """Administrators get everything, clients the client set in those of their networks and types that exist."""
    for user in users.all():
        user.content.networks, user.content.device_types = [12, 3, 9], [2, 1]
    found = {user.login: login_claims(user, {3, 12}, {1, 2, 3}) for user in users.all()}
    assert (found["admin"].a, found["admin"].n, found["admin"].dt) == ([0], ["*"], ["*"])
    assert (found["john"].a, found["john"].n, found["john"].dt) == ([*range(2, 12), 15, 16, 17], ["3", "12"], ["*"])
    assert (found["bound"].n, found["bound"].dt) == (["3", "12"], ["1", "2"])
    assert all(claims.c is UNSET for claims in found.values())


def test_the_token_of_a_client_in_many_networks_does_not_list_them(users: Users) -> None:
    """`*` stands for the networks of the user: a list of all would be longer than proxies, or the gateway, accept."""
    john = next(user for user in users.all() if user.login == "john")
    john.content.networks = [*range(1, MOST_LISTED + 2)]
    listed = login_claims(john, range(1, MOST_LISTED + 1), set()).n
    assert listed == [str(number) for number in range(1, MOST_LISTED + 1)]
    assert login_claims(john, range(1, MOST_LISTED + 2), set()).n == ["*"]


def test_a_login_whose_token_would_be_too_long_is_refused(tokens: Tokens, users: Users) -> None:
    """It would be answered with a token that nobody accepts."""
    (bound,) = (user for user in users.all() if user.login == "bound")
    bound.content.device_types = [*range(10_000)]
    with pytest.raises(OutOfBounds, match="ids or devices the token would exceed 65536"):
        tokens.pair(login_claims(bound, set(), range(10_000)), NOW + HOUR, NOW + HOUR, NOW)


# Keys.


@pytest.mark.parametrize(
    ("secret", "value"),
    [
        ("devicehive", "75ebe271e862"),
        ("device-hive", "75ebe271e862"),
        ("devicehiv", "75ebe271e862"),
        ("d e v i c e h i", "75ebe271e862"),
        ("device", "75ebe2"),
        ("AAAA====AAAA", "000000000000"),
    ],
)
def test_a_secret_of_the_reference_server_gives_its_key(secret: str, value: str) -> None:
    """Characters that are not Base64 are skipped and an incomplete group dropped, so tokens of that server stay
    valid."""
    key = Key(secret, "devicehive")
    assert key.value.hex() == value
    assert key.weak


@pytest.mark.parametrize("secret", ["", "abc", "----", "äöü", "a-b-c"])
def test_a_secret_that_becomes_an_empty_key_is_refused(secret: str) -> None:
    """A secret that gives an empty key is refused, because anybody could guess that key."""
    with pytest.raises(SecretError, match="empty key"):
        Key(secret, "devicehive")


@pytest.mark.parametrize("secret", ["", "devicehive", "x" * 31, "é" * 15])
def test_a_short_secret_is_refused(secret: str) -> None:
    """Under 32 bytes the gateway does not start, and the message does not repeat the secret."""
    with pytest.raises(SecretError, match="shorter than 32 bytes") as caught:
        Key(secret, "utf8")
    assert not secret or secret not in str(caught.value)


def test_a_secret_of_32_bytes_is_the_key() -> None:
    """A secret of 32 bytes in UTF-8 is long enough, however few characters it has."""
    assert Key("é" * 16, "utf8").value == ("é" * 16).encode()
    assert not Key("x" * 32, "utf8").weak


def test_a_generated_secret_is_long_and_never_the_same() -> None:
    """Generated secrets differ, and each is 48 random bytes as 64 characters."""
    assert len({generate_secret() for _ in range(20)}) == 20
    assert len(Key(generate_secret(), "utf8").value) == 64


def test_a_key_is_not_shown() -> None:
    """Neither its repr nor a traceback contains it."""
    assert SECRET not in repr(Key(SECRET, "utf8"))
    assert "a-stored-hash" not in repr(UserContent("a-stored-hash"))


def test_tokens_with_a_weak_key_of_the_reference_server_verify_without_warnings(users: Users) -> None:
    """An existing installation keeps its tokens, and its log is not flooded."""
    tokens = Tokens(Key("devicehive", "devicehive"), users, Tenants(users.ledger), HOUR, HOUR)
    token = signed({"payload": GOOD}, key=bytes.fromhex("75ebe271e862"))
    assert tokens.verify(token, NOW).login == "admin"
    assert tokens.verify(tokens.mint(claims()), NOW).login == "admin"
    jwt.decode(token, bytes.fromhex("75ebe271e862"), algorithms=["HS256"])


# The guessing brake.


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


def fail(throttle: Throttle, times: int, login: str = "john", address: str = "10.0.0.1") -> None:
    for _ in range(times):
        throttle.fail(login, address)


def test_ten_wrong_passwords_are_free_and_then_the_wait_doubles(throttle: Throttle, clock: Clock) -> None:
    """The eleventh attempt waits 1 s, then 2, 4 and so on, never longer than 15 minutes."""
    for _ in range(FREE_ATTEMPTS):
        assert throttle.wait("john", "10.0.0.1") == 0
        throttle.fail("john", "10.0.0.1")
    waits = []
    for _ in range(14):
        waits.append(throttle.wait("john", "10.0.0.1"))
        clock.time += waits[-1] - 1
        assert throttle.wait("john", "10.0.0.1") == 1
        clock.time += 1
        assert throttle.wait("john", "10.0.0.1") == 0
        throttle.fail("john", "10.0.0.1")
    assert waits == [1_000 * 2**n for n in range(10)] + [LONGEST] * 4
    assert LONGEST == 900_000
    fail(throttle, 5_000)
    assert throttle.wait("john", "10.0.0.1") == LONGEST


def test_another_address_and_another_login_do_not_wait(throttle: Throttle) -> None:
    """Nobody can lock out somebody else by guessing."""
    fail(throttle, 50)
    assert throttle.wait("john", "10.0.0.2") == 0
    assert throttle.wait("admin", "10.0.0.1") == 0
    assert throttle.wait("john", "10.0.0.1") > 0


def test_a_right_password_resets_the_count(throttle: Throttle) -> None:
    """After a success there are ten free attempts again, for this address only."""
    fail(throttle, 12)
    fail(throttle, 12, address="10.0.0.2")
    throttle.succeed("john", "10.0.0.1")
    fail(throttle, 9)
    assert throttle.wait("john", "10.0.0.1") == 0
    assert throttle.wait("john", "10.0.0.2") > 0


def test_an_unlocked_login_is_forgiven_everywhere(throttle: Throttle) -> None:
    """When an administrator activates a user, its login does not wait at any address; other logins do."""
    fail(throttle, 12)
    fail(throttle, 12, address="10.0.0.2")
    fail(throttle, 12, login="admin")
    throttle.forgive("john")
    assert throttle.wait("john", "10.0.0.1") == throttle.wait("john", "10.0.0.2") == 0
    assert throttle.wait("admin", "10.0.0.1") > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("local", "local", True),
    ],
)
def test_an_address_is_what_one_client_has(throttle: Throttle, one: str, other: str, same: bool) -> None:
    """A whole /64 with IPv6, because a guesser can take a new address in it for each guess."""
    fail(throttle, 12, address=one)
    assert (throttle.wait("john", other) > 0) is same


def test_failures_are_forgotten_after_a_day(throttle: Throttle, clock: Clock) -> None:
    """Failures of yesterday do not count today."""
    fail(throttle, 15)
    clock.time += FORGET_AFTER + 1
    fail(throttle, FREE_ATTEMPTS - 1)
    assert throttle.wait("john", "10.0.0.1") == 0
    fail(throttle, 1)
    assert throttle.wait("john", "10.0.0.1") == 1_000


def test_a_clock_that_jumps_back_makes_nobody_wait_longer(throttle: Throttle, clock: Clock) -> None:
    """The wait is never more than the step that was reached."""
    fail(throttle, FREE_ATTEMPTS)
    clock.time -= 24 * HOUR
    assert throttle.wait("john", "10.0.0.1") == 1_000


def test_the_memory_of_failures_is_bounded(throttle: Throttle) -> None:
    """Guessing with ever new logins takes bounded memory; the one that failed longest ago is forgotten first."""
    fail(throttle, 12, login="first")
    fail(throttle, 12, login="second")
    for number in range(MAX_TRACKED - 1):
        throttle.fail(f"guess {number}", "10.0.0.1")
    assert throttle.wait("first", "10.0.0.1") == 0
    assert throttle.wait("second", "10.0.0.1") > 0


def test_endless_logins_are_counted_by_their_beginning(throttle: Throttle) -> None:
    """A login of a megabyte is neither stored completely nor a way around the throttle."""
    fail(throttle, FREE_ATTEMPTS, login="x" * 1_000_000)
    assert throttle.wait("x" * 1_000_000, "10.0.0.1") == 1_000


# Passwords.


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    found = Passwords(1, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    yield found
    found.close()


async def test_a_password_is_the_hashed_one_or_not(passwords: Passwords) -> None:
    """The right password verifies, others do not, and two hashes of one password differ."""
    one, two = await passwords.hash("gehéim"), await passwords.hash("gehéim")
    assert one != two
    assert one.startswith("$argon2id$")
    assert await passwords.verify(one, "gehéim")
    assert await passwords.verify(two, "gehéim")
    for wrong in ("geheim", "", "gehéim ", "x" * 10_000):
        assert not await passwords.verify(one, wrong)


async def test_a_hash_costs_a_guesser_64_mebibytes_and_three_passes() -> None:
    """The parameters stand in what is stored, which is RFC 9106's second recommendation on one lane."""
    passwords = Passwords()
    try:
        assert (await passwords.hash("geheim")).startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    finally:
        passwords.close()


@pytest.mark.parametrize("encoded", ["", "x", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$$", "plain"])
async def test_a_broken_hash_matches_nothing(passwords: Passwords, encoded: str) -> None:
    """A stored hash that cannot be read lets nobody in, with any password."""
    assert not await passwords.verify(encoded, encoded)
    assert not await passwords.verify(encoded, "")


class StuckHasher(PasswordHasher):
    """Hashes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go = threading.Event()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.go.wait()
        return "hashed"


async def test_strangers_wait_for_each_other_only() -> None:
    """However many of them wait, passwords of those who logged in before are verified."""

    class Stuck(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            if password == "guess":
                go.wait()
            return True

    go, passwords = threading.Event(), Passwords(1, Stuck())
    guesses = [asyncio.create_task(passwords.verify("x", "guess", stranger=True)) for _ in range(64)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(Busy):
            await passwords.verify("x", "x", stranger=True)
        assert await passwords.verify("x", "x")
    finally:
        go.set()
    assert all(await asyncio.gather(*guesses))
    passwords.close()


async def test_the_line_of_hashes_is_bounded() -> None:
    """When 64 hashes wait, the next is refused at once, and accepted when the queue is shorter."""
    hasher = StuckHasher()
    passwords = Passwords(1, hasher)
    waiting = [asyncio.create_task(passwords.hash("x")) for _ in range(64)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(Busy):
            await passwords.hash("x")
    finally:
        hasher.go.set()
    assert await asyncio.gather(*waiting) == ["hashed"] * 64
    assert await passwords.hash("x") == "hashed"
    passwords.close()


class PriorityHasher(PasswordHasher):
    """Tells the niceness of the thread in which it hashes."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        return str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
async def test_hashing_yields_to_everybody_else() -> None:
    """Its threads have a lower priority than the event loop, and the loop keeps its own."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    passwords = Passwords(1, PriorityHasher())
    assert int(await passwords.hash("x")) == min(ours + NICE, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours
    passwords.close()


def test_a_generated_password_is_long_and_unambiguous() -> None:
    """It has 20 of 56 letters and digits (116 bits), none that look alike, and is never the same."""
    found = {generate() for _ in range(200)}
    assert len(found) == 200
    assert len(set("".join(found))) == 56, "each of 4,000 draws misses one with a probability of 55/56"
    assert all(len(password) == 20 and password.isalnum() and not set(password) & set("0O1lI") for password in found)


# Rates.


def test_ten_calls_in_any_second_are_let_by_and_no_more() -> None:
    """The window slides: an accepted call counts for exactly one second, a refused one does not count."""
    clock = Clock()
    rate = Rate(clock, 10)
    for step in range(10):
        clock.time = NOW + 50 * step
        assert rate.wait("c", "10.0.0.1") == 0
    assert rate.wait("c", "10.0.0.1") == 550
    assert rate.wait("d", "10.0.0.1") == 0
    assert rate.wait("c", "10.0.0.2") == 0
    clock.time = NOW + 999
    assert rate.wait("c", "10.0.0.1") == 1
    clock.time = NOW + 1_000
    assert rate.wait("c", "10.0.0.1") == 0
    assert rate.wait("c", "10.0.0.1") == 50


def test_a_network_has_one_rate_and_a_clock_set_back_locks_nobody_out() -> None:
    """All addresses of an IPv6 /64 count together."""
    clock = Clock()
    rate = Rate(clock, 2)
    assert [rate.wait("c", f"2001:db8::{number}") for number in (1, 2, 3)] == [0, 0, 1_000]
    clock.time = NOW - 3_600_000
    assert rate.wait("c", "2001:db8::4") == 0


def test_a_rate_tracks_a_bounded_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up names do not fill the memory; the one that was quiet longest is forgotten."""
    monkeypatch.setattr("hivewire.access.throttle.MAX_TRACKED", 3)
    rate = Rate(lambda: NOW, 1)
    assert [rate.wait(name, "a") for name in ("1", "2", "3", "1", "4", "1", "2")] == [0, 0, 0, 1_000, 0, 1_000, 0]


def waits(rate_limit: AnonymousRate, address: str, requests: int = 1, rate: int = 10) -> int:
    """The seconds that an anonymous caller has to wait."""
    try:
        rate_limit.count(Settings(anonymous_rate=rate, trusted_proxies="10.0.0.9"), address, requests)
    except TooManyRequests as error:
        return int(error.members["retryAfter"])
    return 0


def test_an_address_has_a_rate_and_a_burst_of_two_seconds() -> None:
    """Other addresses have their own, refusals are free, and after a quiet time the burst is available again."""
    clock = Clock()
    rate_limit = AnonymousRate(lambda: clock.time / 1_000)
    assert [waits(rate_limit, "10.0.0.1") for _ in range(22)] == [0] * 20 + [1, 1]
    assert waits(rate_limit, "10.0.0.2") == 0
    clock.time += 101
    assert [waits(rate_limit, "10.0.0.1") for _ in range(2)] == [0, 1]
    clock.time += 10_000
    assert [waits(rate_limit, "10.0.0.1") for _ in range(21)] == [0] * 20 + [1]
    assert [waits(rate_limit, "10.0.0.1", rate=0) for _ in range(50)] == [0] * 50
    assert [waits(rate_limit, "10.0.0.9") for _ in range(50)] == [0] * 50


def test_a_message_of_many_requests_delays_the_next_one() -> None:
    """It is taken if one would be, and the next one waits the longer; a login gives back what it took."""
    clock = Clock()
    rate_limit = AnonymousRate(lambda: clock.time / 1_000)
    assert [waits(rate_limit, "2001:db8::1", 100), waits(rate_limit, "2001:db8::2")] == [0, 9]
    rate_limit.give_back(Settings(anonymous_rate=10), "2001:db8::3", 90)
    assert [waits(rate_limit, "2001:db8::4") for _ in range(11)] == [0] * 10 + [1]


def test_the_number_of_limited_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was answered longest ago is forgotten."""
    monkeypatch.setattr("hivewire.access.throttle.MAX_TRACKED", 2)
    rate_limit = AnonymousRate(lambda: 0.0)
    assert [waits(rate_limit, name, rate=1) for name in "aabbaaccaa"] == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
