"""Access tokens: where they come from, and when they are renewed (clients, section 6)."""

from __future__ import annotations

import asyncio
import base64
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from hivewire_client import plain
from hivewire_client.connection import SECONDS, Connection
from hivewire_client.errors import LoginRequired, Unavailable

RENEWED_AT = 0.75
"""The part of its life after which a token is renewed."""


class Credentials:
    """A source of tokens over a connection. `subject` says whose they are."""

    subject: str

    async def __call__(self, connection: Connection) -> str:
        """A new token. Raises LoginRequired."""
        raise NotImplementedError


class Password(Credentials):
    """The login of a user."""

    def __init__(self, login: str, password: str) -> None:
        self.subject = f"login {login}"
        self.login = login
        self._password = password
        self._refresh: str | None = None

    async def __call__(self, connection: Connection) -> str:
        """A new token: from the refresh token, or by a new login. Raises LoginRequired."""
        if self._refresh is not None:
            try:
                return str((await connection.request("token/refresh", {"refreshToken": self._refresh}))["accessToken"])
            except LoginRequired:
                self._refresh = None
        reply = await connection.request("token", {"login": self.login, "password": self._password})
        self._refresh = reply["refreshToken"]
        return str(reply["accessToken"])


class ClientCredentials(Credentials):
    """The id and secret of an OAuth client, which reaches documents of tenants (RFC 6749, section 4.4)."""

    def __init__(self, client: str, secret: str) -> None:
        self.subject = f"client {client}"
        self.client = client
        self._secret = secret

    async def __call__(self, connection: Connection) -> str:
        """A new token. Raises LoginRequired."""
        proof = base64.b64encode(f"{self.client}:{self._secret}".encode()).decode()
        headers = {"Authorization": f"Basic {proof}", "Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({"grant_type": "client_credentials"}).encode()
        answer = await asyncio.to_thread(
            plain.ask, connection.url, "POST", "/oauth/token", body=body, headers=headers, seconds=SECONDS
        )
        found = plain.object_of(answer)
        if answer.status in (400, 401):
            raise LoginRequired(f"the client is refused: {found.get('error_description', found.get('error'))}")
        if answer.status != 200:
            raise Unavailable(f"no token: HTTP {answer.status}", found, answer.status)
        return str(found["access_token"])


TokenSource = str | Callable[[], str | Awaitable[str]] | Credentials
"""A token itself, a function that gets one, or what to log in with. The function may be a coroutine function; one that
blocks is for programs of threads. It raises LoginRequired to give up."""


class Tokens:
    """The token of a client. It is asked for when none is held, at 75 % of its life, and when the gateway refused it;
    never twice at a time."""

    def __init__(self, source: TokenSource) -> None:
        self.current: str | None = source if isinstance(source, str) else None
        self._source = source
        self._renew_at = _renewal(source) if isinstance(source, str) else 0.0
        self._asking = asyncio.Lock()

    @property
    def subject(self) -> str | None:
        """Whose tokens these are, and which names they reach: what is known with another one may be another state.

        None while nothing is known of it.
        """
        if isinstance(self._source, Credentials):
            return self._source.subject
        return subject_of(self.current) if self.current is not None else None

    @property
    def renewable(self) -> bool:
        """Whether there can be another one."""
        return not isinstance(self._source, str)

    @property
    def due_in(self) -> float | None:
        """Seconds until the next token should be asked for; None when that is only known from a refusal."""
        if not self.renewable or self._renew_at == 0:
            return None
        return max(0.0, self._renew_at - time.time())

    async def early(self) -> None:
        """Call a token function, which needs no connection, so that the subject is known."""
        if self.current is None and not isinstance(self._source, str | Credentials):
            self._take(await _call(self._source))

    async def get(self, connection: Connection, refused: str | None = None) -> str:
        """A token; another one than the `refused` one, if it is `renewable`.

        Raises LoginRequired, and whatever the source raises.
        """
        async with self._asking:
            if self.current is not None and self.current != refused and self.due_in != 0:
                return self.current
            if isinstance(self._source, str):
                return self._source  # there is no other one
            if isinstance(self._source, Credentials):
                return self._take(await self._source(connection))
            return self._take(await _call(self._source))

    def _take(self, token: str) -> str:
        self.current = token
        self._renew_at = _renewal(token)
        return token


async def _call(source: Callable[[], str | Awaitable[str]]) -> str:
    """The token of a function."""
    found = source()
    return await found if inspect.isawaitable(found) else found


def claims_of(token: str) -> dict[str, Any]:
    """The claims of an access token; empty when they cannot be read."""
    try:
        part = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["payload"]
        return claims if isinstance(claims, dict) else {}
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return {}


def seconds_left(token: str) -> float:
    """How long an access token is still valid by this machine's clock; 0 or less when it cannot be read."""
    try:
        return float(claims_of(token)["e"]) / 1_000 - time.time()
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0


def subject_of(token: str) -> str:
    """Whose token it is, and which names and tenants it reaches."""
    claims = claims_of(token)
    return msgspec.json.encode({key: claims.get(key) for key in ("u", "cl", "c", "tn")}, order="sorted").decode()


def _renewal(token: str) -> float:
    """When to renew it, in seconds since 1970; 0 when this is not known, as where the two clocks differ much."""
    left = seconds_left(token)
    return time.time() + max(1.0, RENEWED_AT * left) if left > 0 else 0.0
