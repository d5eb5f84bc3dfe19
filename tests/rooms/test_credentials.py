"""Session tokens, server tokens, the API key, and passwords that were right a moment ago."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hivewire.access.keys import Key
from hivewire.access.sessions import Sessions
from hivewire.access.tenants import Tenants
from hivewire.access.throttle import Throttle
from hivewire.access.tokens import Tokens
from hivewire.access.users import UserContent, Users
from hivewire.dialects.properties.credentials import Asked, Credentials, is_foreign
from hivewire.dialects.properties.remembered import REMEMBERED, Remembered
from hivewire.dialects.properties.server_tokens import VALID_SECONDS, ServerTokens, parse_keys, same, signature
from hivewire.ledger.engines.memory import MemoryJournal
from hivewire.ledger.ledger import Ledger
from hivewire.settings import Settings
from hivewire.telemetry import Telemetry
from hivewire_protocol.nouns.user import Role, Status

EPOCH = 1_413_073_249
NOW = EPOCH * 1_000
DAY = 86_400_000
KNOWN = "foo_1413073249_2_8e158d680647ce83fef7c05fd189b537f9834e298734efe2c6b383540c1a67b7"


class Place:
    """Users in memory, and a clock moved by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.ledger = Ledger(MemoryJournal(), lambda: NOW)
        self.users = Users(self.ledger)
        self.sessions = Sessions(lambda now: [b"k" * 32], self.users, DAY)
        self.tokens = ServerTokens({"foo": "bar", "other": "secret", "foo_2": "baz"}, self.users)
        self.remembered = Remembered(self.users, lambda: self.now)

    async def store(self, login: str, content: UserContent) -> None:
        await self.ledger.commit(self.users.write(login, content, None))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.ledger.open()
    await place.store("admin", UserContent("hash", Role.ADMIN))
    await place.store("john_doe", UserContent("hash"))
    yield place
    await place.ledger.close()


# Session tokens.


def test_a_session_token_has_its_shape_and_tells_its_user(place: Place) -> None:
    """A session token is user id, 18 digits and 32 hex digits, and identifies its user (section 3)."""
    [admin, john] = place.users.all()
    for user in (admin, john):
        token = place.sessions.mint(user, NOW)
        number, ticks, mark = token.split("_")
        assert (int(number), len(ticks), len(mark)) == (user.id, 18, 32)
        assert place.sessions.verify(token, NOW) is user


def test_a_session_token_expires(place: Place) -> None:
    """It is valid for its lifetime and not a millisecond longer."""
    token = place.sessions.mint(place.users.all()[0], NOW)
    assert place.sessions.verify(token, NOW + DAY - 1) is not None
    assert place.sessions.verify(token, NOW + DAY) is None


async def test_a_session_token_ends_with_the_password(place: Place) -> None:
    """A session token is invalid once its user's password has changed."""
    token = place.sessions.mint(place.users.all()[0], NOW)
    await place.store("admin", UserContent("another hash", Role.ADMIN))
    assert place.sessions.verify(token, NOW) is None


async def test_a_session_token_ends_with_all_tokens_of_its_user(place: Place) -> None:
    """When they are revoked it is invalid."""
    token = place.sessions.mint(place.users.all()[0], NOW)
    await place.store("admin", UserContent("hash", Role.ADMIN, generation=1))
    assert place.sessions.verify(token, NOW) is None
    assert place.sessions.verify(place.sessions.mint(place.users.all()[0], NOW), NOW) is not None


def test_a_session_token_of_a_clock_that_was_ahead_does_not_count(place: Place) -> None:
    """From up to a minute ahead it does."""
    token = place.sessions.mint(place.users.all()[0], NOW)
    assert place.sessions.verify(token, NOW - 60_000) is not None
    assert place.sessions.verify(token, NOW - 60_001) is None


def test_a_session_token_of_another_good_key_counts(place: Place) -> None:
    """The previous key's tokens are valid while it is among the keys; new ones are made with the first key."""
    user = place.users.all()[0]
    token = place.sessions.mint(user, NOW)
    keys = [b"n" * 32, b"k" * 32]
    later = Sessions(lambda now: keys, place.users, DAY)
    assert later.verify(token, NOW) is user
    assert place.sessions.verify(later.mint(user, NOW), NOW) is None
    del keys[1]
    assert later.verify(token, NOW) is None


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_session_token_cannot_be_altered(place: Place, data: st.DataObject) -> None:
    """A session token with any one character changed is refused."""
    token = place.sessions.mint(place.users.all()[0], NOW)
    position = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(
        st.sampled_from("0123456789abcdefABCDEF_- ").filter(lambda character: character != token[position])
    )
    assert place.sessions.verify(token[:position] + other + token[position + 1 :], NOW) is None


@pytest.mark.parametrize(
    "token", ["", "1", "1_2_3", "x" * 100_000, "9" * 5_000 + "_" + "1" * 18 + "_" + "a" * 32, "１_1_a"]
)
def test_malformed_session_tokens(place: Place, token: str) -> None:
    """A malformed session token is refused, however long it is."""
    assert place.sessions.verify(token, NOW) is None


# Server tokens.


def test_the_known_answer() -> None:
    """The hash of a server token is that of the example in section 3."""
    assert signature("bar", "foo", "1413073249", "2") == KNOWN.rpartition("_")[2]


@pytest.mark.parametrize("prefix", ["", "tkn_"])
def test_a_server_token_names_its_user(place: Place, prefix: str) -> None:
    """By id, or by name after `=`, with or without the prefix; names may have underscores, and so may keys."""
    john = place.users.by_id(2)
    assert place.tokens.verify(prefix + KNOWN, NOW) is john
    for key, secret in (("foo", "bar"), ("other", "secret"), ("foo_2", "baz")):
        mark = signature(secret, key, str(EPOCH), "=john_doe")
        assert place.tokens.verify(f"{prefix}{key}_{EPOCH}_=john_doe_{mark}", NOW) is john


@pytest.mark.parametrize(
    ("seconds", "good"),
    [(0, True), (VALID_SECONDS, True), (-VALID_SECONDS, True), (VALID_SECONDS + 1, False), (-VALID_SECONDS - 1, False)],
)
def test_a_server_token_is_good_for_five_minutes_around_its_time(place: Place, seconds: int, good: bool) -> None:
    """A server token is accepted from five minutes before its time until five minutes after it."""
    assert (place.tokens.verify(KNOWN, NOW + seconds * 1_000) is not None) is good


@pytest.mark.parametrize(
    "token",
    [
        "",
        "foo",
        "foo_",
        KNOWN.replace("foo", "fop"),
        KNOWN.replace("foo", "other"),
        KNOWN.replace("_2_", "_1_"),
        KNOWN.replace("249", "250"),
        KNOWN[:-1] + "8",
        KNOWN.upper(),
        KNOWN.replace("8e15", "8E15"),
        KNOWN + " ",
        f"foo_{EPOCH}_=nobody_{signature('bar', 'foo', str(EPOCH), '=nobody')}",
        f"foo_{EPOCH}_99_{signature('bar', 'foo', str(EPOCH), '99')}",
        f"foo_{EPOCH}__{signature('bar', 'foo', str(EPOCH), '')}",
    ],
)
def test_invalid_server_tokens(place: Place, token: str) -> None:
    """Another key, user, time, hash or form; and valid ones for unknown users."""
    assert place.tokens.verify(token, NOW) is None


def test_without_keys_no_server_token_is_good(place: Place) -> None:
    """Without configured keys every server token is refused."""
    assert ServerTokens(parse_keys(""), place.users).verify(KNOWN, NOW) is None


def test_keys_are_pairs_with_spaces_between() -> None:
    """A secret may have a colon, a key not."""
    assert parse_keys("foo:bar other:se:cret") == {"foo": "bar", "other": "se:cret"}


def test_secrets_are_compared_whole() -> None:
    """A part of the key, or more than it, is not the key."""
    assert same("kéy", "kéy")
    assert not any(same(given, "key") for given in ("", "ke", "keyy", "KEY"))


@pytest.mark.parametrize("way", ["key", "session", "server token", "remembered", "client"])
def test_secrets_are_compared_in_constant_time(place: Place, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The library's comparison in constant time decides, and no other one."""
    admin = place.users.all()[0]
    place.remembered.remember(admin, "right")
    tenants = Tenants(place.ledger)
    session = place.sessions.mint(admin, NOW)
    ways: dict[str, Callable[[], Any]] = {
        "key": lambda: same("key", "key"),
        "session": lambda: place.sessions.verify(session, NOW),
        "server token": lambda: place.tokens.verify(KNOWN, NOW),
        "remembered": lambda: place.remembered.find("admin", "right"),
        "client": lambda: tenants.authenticate("nobody", "secret"),
    }
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *two: bool(compared.append(two)))
    assert not ways[way]()
    assert compared


# Passwords that were right a moment ago.


async def test_a_password_is_remembered_for_a_minute(place: Place) -> None:
    """A verified password is cached for a minute, for its user only."""
    [admin, john] = place.users.all()
    assert place.remembered.find("admin", "right") is None
    place.remembered.remember(admin, "right")
    assert place.remembered.find("admin", "right") is admin
    assert place.remembered.find("admin", "wrong") is None
    assert place.remembered.find("john_doe", "right") is None
    place.remembered.remember(john, "other")
    assert place.remembered.find("admin", "right") is admin
    place.now += REMEMBERED
    assert place.remembered.find("admin", "right") is admin
    place.now += 1
    assert place.remembered.find("admin", "right") is None


@pytest.mark.parametrize(
    "content",
    [
        UserContent("another hash", Role.ADMIN),
        UserContent("hash", Role.ADMIN, Status.LOCKED_OUT),
        UserContent("hash", Role.CLIENT),
    ],
)
async def test_a_change_of_the_user_empties_the_cache(place: Place, content: UserContent) -> None:
    """A cached password is forgotten when the user's password, status or role changes."""
    place.remembered.remember(place.users.all()[0], "right")
    await place.store("admin", content)
    assert place.remembered.find("admin", "right") is None
    await place.store("admin", UserContent("hash", Role.ADMIN))
    assert place.remembered.find("admin", "right") is None


class ChangingPasswords:
    """Finds every password right, and has the user's changed while the first hash is worked out."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.verified = 0
        self.changes = True

    async def verify(self, encoded: str, password: str, *, stranger: bool) -> bool:
        self.verified += 1
        if self.changes and self.verified == 1:
            await self.place.store("admin", UserContent(f"hash {self.verified}", Role.ADMIN))
        return True


ASKED = Asked({"authorization": "Basic " + base64.b64encode(b"admin:old").decode()}, {}, "a")


def credentials_of(place: Place, passwords: ChangingPasswords) -> Credentials:
    """A finder of callers, with these passwords."""
    services: Any = SimpleNamespace(
        settings=Settings(),
        ledger=place.ledger,
        users=place.users,
        tokens=Tokens(Key("s" * 32, "utf8"), place.users, Tenants(place.ledger), 1, 1),
        passwords=passwords,
        throttle=Throttle(lambda: place.now),
        telemetry=Telemetry(),
    )
    return Credentials(services, ())


async def test_a_password_that_was_changed_meanwhile_is_not_remembered(place: Place) -> None:
    """It is verified against the new one, and the next request needs a verification again."""
    passwords = ChangingPasswords(place)
    credentials = credentials_of(place, passwords)
    for changes, verified in ((True, 2), (False, 3), (False, 3)):
        passwords.changes = changes
        caller = await credentials.administrator(ASKED, insists=False)
        assert caller.user is place.users.by_login("admin")
        assert passwords.verified == verified


async def test_no_setting_of_the_clock_makes_a_password_be_remembered_longer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute is a minute, also when the clock is set back by an hour within it."""
    passwords = ChangingPasswords(place)
    passwords.changes = False
    credentials = credentials_of(place, passwords)
    wall, steady = time.time_ns(), time.monotonic_ns()
    for seconds, set_back, verified in ((0, 0, 1), (60, 3_600, 1), (61, 3_600, 2)):
        monkeypatch.setattr(time, "time_ns", lambda at=wall + (seconds - set_back) * 10**9: at)
        monkeypatch.setattr(time, "monotonic_ns", lambda at=steady + seconds * 10**9: at)
        await credentials.administrator(ASKED, insists=False)
        assert passwords.verified == verified


# Pages of other origins.


@pytest.mark.parametrize(
    ("origin", "foreign"),
    [
        (None, False),
        ("http://host:8080", False),
        ("https://HOST:8080", False),
        ("http://host", True),
        ("http://evil", True),
        ("null", True),
        ("", True),
        ("http://[", True),
    ],
)
def test_foreign_origins_are_recognized(origin: str | None, foreign: bool) -> None:
    """The origin of a page is ours when its host and port are those of the request."""
    assert is_foreign(origin, "host:8080") is foreign
