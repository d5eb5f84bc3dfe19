"""The caller in the property dialect: API key, server token, session token or Basic (site properties, section 3).

A browser token identifies a web page, not a caller: the key of a page is not secret, so it grants no rights.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Collection, Mapping
from functools import partial
from urllib.parse import urlsplit

from msgspec import Struct

from hivewire.access.sessions import Sessions
from hivewire.access.users import User
from hivewire.actions.identity import verify_password
from hivewire.clocks import elapsed, now
from hivewire.dialects.properties.remembered import Remembered
from hivewire.dialects.properties.server_tokens import ServerTokens, parse_keys, same
from hivewire.http.request import cookie
from hivewire.services import Services
from hivewire.settings import Settings
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidCredentials,
    Unauthorized,
    Unavailable,
    UserNotActive,
    WireError,
)
from hivewire_protocol.nouns.user import Role

COOKIE = "authtoken"

NEEDED = "this needs the login of an administrator, as Basic authorization or a session token, or an API key"


class Asked(Struct):
    """The part of a request that identifies the caller: headers by lower-case name, query, address of the client."""

    headers: dict[str, str]
    query: Mapping[str, str]
    address: str


class SiteCaller(Struct):
    """The caller in this dialect. `user` is None for anonymous callers, and for the API key without a user.

    `ambient` credentials are those that a browser adds automatically, also to requests that a foreign page makes.
    `by_password`: they are, or depend on, the user's password, and end with it.
    """

    user: User | None = None
    everything: bool = False
    ambient: bool = False
    by_password: bool = False


class Credentials:
    """Finds the caller of a request. Pages of `origins` may use browser tokens."""

    def __init__(self, services: Services, origins: Collection[str]) -> None:
        self._origins = origins
        self._services = services
        self._remembered = Remembered(services.users, elapsed)
        self._verifying: dict[tuple[str, str, str], asyncio.Task[User]] = {}
        self._read(services.settings)

    def _read(self, settings: Settings) -> None:
        users = self._services.users
        self._settings = settings
        self._browser_tokens = (settings.browser_tokens or "").split()
        self._server_tokens = ServerTokens(parse_keys(settings.server_tokens or ""), users)
        keys = partial(self._services.tokens.derived_keys, "site properties session")
        self._sessions = Sessions(keys, users, settings.session_lifetime * 1_000)

    async def administrator(self, asked: Asked, *, insists: bool) -> SiteCaller:
        """A caller with the ADMIN right.

        Raises Unauthorized for rejected credentials, and for missing ones when the request `insists`; otherwise
        AccessDenied for missing ones. Raises AccessDenied for disabled users and for those who are not administrators,
        and TooManyAttempts.
        """
        caller = await self._caller(asked)
        if caller.everything:
            return caller
        if caller.user is None:
            raise Unauthorized if insists else AccessDenied.because(NEEDED)
        if caller.user.content.role != Role.ADMIN:
            raise AccessDenied.because("this needs an administrator")
        return caller

    async def log_in(self, asked: Asked) -> tuple[str, int]:
        """A session token for the Basic pair of a request, and its life in seconds. Raises as `administrator`."""
        user = await self._basic(asked)
        if user is None:
            raise Unauthorized
        self._services.users.logged_in(user)
        self._services.ledger.audit.note("login", user.login, user.login, asked.address, how="session")
        return self._sessions.mint(user, now()), self._settings.session_lifetime

    async def _caller(self, asked: Asked) -> SiteCaller:
        if self._settings is not self._services.settings:  # the settings were reloaded
            self._read(self._services.settings)
        if (given := asked.query.get("apikey")) and self._services.settings.api_key is not None:
            if same(given, self._services.settings.api_key):
                return SiteCaller(self._impersonated(asked), everything=True)
            self._failed(asked, "apikey", InvalidCredentials)
        token = asked.headers.get("x-deki-token")
        if token is not None and not self._is_from_registered_page(asked, token):
            server_user = await self._services.ledger.sure(partial(self._server_user, asked, token), Unauthorized)
            return SiteCaller(self._active(asked, server_user, "X-Deki-Token"))
        session = cookie(asked.headers, COOKIE)
        for token, ambient in (
            (asked.query.get("authtoken"), False),
            (session, True),
            (asked.headers.get("x-authtoken"), False),
        ):
            if token:
                seen, user = self._services.ledger.revision, self._sessions.verify(token, now())
                if user is None and await self._services.ledger.hear(seen):
                    user = self._sessions.verify(token, now())
                found = user and self._active(asked, user, "authtoken")
                return SiteCaller(found, ambient=ambient, by_password=True)
        return SiteCaller(await self._basic(asked), ambient=True, by_password=True)

    def _impersonated(self, asked: Asked) -> User | None:
        user_id = asked.query.get("impersonateuserid")
        if user_id is None:
            return None
        user = self._services.users.by_id(int(user_id)) if re.fullmatch(r"[0-9]{1,18}", user_id) else None
        if user is None:
            raise Unauthorized("impersonateuserid names no user")
        return self._active(asked, user, "apikey")

    def _is_from_registered_page(self, asked: Asked, token: str) -> bool:
        known = any(same(token, key) for key in self._browser_tokens)
        return known and asked.headers.get("origin") in self._origins

    def _server_user(self, asked: Asked, token: str) -> User:
        user = self._server_tokens.verify(_text(token.encode("latin-1")), now())
        if user is None:
            self._failed(asked, "X-Deki-Token", Unauthorized)
            raise Unauthorized("The token is invalid or expired, or not for pages of this origin")
        return user

    def _active(self, asked: Asked, user: User, how: str) -> User:
        if not user.active:
            self._failed(asked, how, UserNotActive, user.login)
            raise AccessDenied(UserNotActive.text)
        return user

    async def _basic(self, asked: Asked) -> User | None:
        """The user of a correct Basic pair; None without one."""
        scheme, _, encoded = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            login, found, password = _text(base64.b64decode(encoded.strip(), validate=True)).partition(":")
        except ValueError:  # not Base64, or not ASCII
            found = ""
        if not found:
            self._failed(asked, "basic", Unauthorized)
            raise Unauthorized
        # The throttle comes before the cache, which would otherwise tell a throttled caller whether a guess was right.
        if not self._services.throttle.wait(login, asked.address):
            user = self._remembered.find(login, password)
            if user is not None:
                return user
        # A script with many connections sends the same pair on all of them at once: it is hashed once.
        pair = (asked.address, login, password)
        verifying = self._verifying.get(pair)
        if verifying is None:
            verifying = self._verifying[pair] = asyncio.create_task(self._verify(*pair))
            verifying.add_done_callback(partial(self._verified, pair))
        try:
            return await asyncio.shield(verifying)
        except Unavailable:
            raise
        except WireError as error:
            self._failed(asked, "basic", type(error), login)
            if isinstance(error, UserNotActive):
                raise AccessDenied(UserNotActive.text) from None
            if error.code == InvalidCredentials.code:
                raise Unauthorized(InvalidCredentials.text) from None
            raise

    def _verified(self, pair: tuple[str, str, str], verifying: asyncio.Task[User]) -> None:
        del self._verifying[pair]
        if not verifying.cancelled():
            verifying.exception()  # otherwise asyncio reports an exception that no caller waits for

    async def _verify(self, address: str, login: str, password: str) -> User:
        before = self._services.users.by_login(login)
        user = await verify_password(self._services, address, login, password)
        if user is before:  # otherwise the user was changed meanwhile, and this may be the earlier password
            self._remembered.remember(user, password)
        return user

    def _failed(self, asked: Asked, how: str, why: type[WireError], login: str | None = None) -> None:
        # An unknown login may be a password in the wrong field, so it is not logged.
        known = login if login is not None and self._services.users.by_login(login) is not None else None
        self._services.telemetry.authentication_failed(how, why, asked.address, known)


def is_foreign(origin: str | None, host: str) -> bool:
    """Whether a page of another origin made a browser send this. Programs and old scripts send no Origin."""
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:
        return True


def _text(data: bytes) -> str:
    """UTF-8, or else Latin-1, as older clients send it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
