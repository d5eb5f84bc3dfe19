"""The login of the dashboard: a cookie for access tokens, which grants nothing else.

The page keeps its access token in memory only, and gets the next one with the cookie, which no script can read.
"""

from __future__ import annotations

import http.cookies
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from hivewire.access.sessions import Sessions
from hivewire.access.users import User
from hivewire.actions.identity import log_in, login_tokens
from hivewire.clocks import now
from hivewire.http import body
from hivewire.http.peer import origin_of
from hivewire.http.request import HttpRequest, cookie
from hivewire.http.response import Response, json
from hivewire.http.routes import Context
from hivewire_protocol import codec
from hivewire_protocol.errors import AccessDenied, InvalidParameters, MalformedJson, Unauthorized

COOKIE = "hivewire_dashboard"

MOST = 4_096
"""Most bytes of the body with login and password."""


class Own(NamedTuple):
    """A request that a page of the dashboard itself has sent, its address, and whether it came over TLS."""

    request: HttpRequest
    address: str
    secure: bool


class _Login(msgspec.Struct):
    login: str
    password: str


class DashboardLogins:
    """`/dashboard/session` and `/dashboard/token`."""

    def __init__(self, context: Context) -> None:
        self._services = context.dispatcher.services
        self._admission = context.admission

    @property
    def _sessions(self) -> Sessions:
        """Made for each request: the lifetime is a setting that can be reloaded."""
        services = self._services
        keys = partial(services.tokens.derived_keys, "dashboard session")
        return Sessions(keys, services.users, services.settings.session_lifetime * 1_000)

    async def own(self, request: HttpRequest) -> Own:
        """Admit requests with a header that browsers let no page of another origin send. Raises AccessDenied."""
        if request.header("hivewire-dashboard") != "1":
            raise AccessDenied.because("the header Hivewire-Dashboard: 1 is missing")
        return Own(request, *origin_of(self._services.settings, request.address, request.header, request.secure))

    async def log_in(self, call: Own) -> Response:
        """An access token and the cookie. Raises as every login, and InvalidParameters."""
        data = await body.read(call.request, self._admission, MOST)
        try:
            codec.check_form(data)
            given = msgspec.json.decode(data, type=_Login)
        except (MalformedJson, msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidParameters("the body must be a JSON object with the strings login and password") from None
        services = self._services
        user = await log_in(services, call.address, given.login, given.password, "dashboard", "dashboard")
        call.request.logged_in()
        lifetime = services.settings.session_lifetime
        return self._granted(user, _cookie(call, self._sessions.mint(user, now()), lifetime))

    async def renew(self, call: Own) -> Response:
        """Another access token, for the cookie. Raises Unauthorized."""
        given = cookie(call.request.headers, COOKIE) or ""
        user = await self._services.ledger.sure(partial(self._owner, given), Unauthorized)
        call.request.logged_in()
        self._services.ledger.audit.sum("token", user.login, user.login, call.address, how="dashboard")
        return self._granted(user)

    async def log_out(self, call: Own) -> Response:
        """Remove the cookie."""
        return Response(204, headers=_cookie(call, "", 0))

    def _owner(self, given: str) -> User:
        user = self._sessions.verify(given, now())
        if user is None or not user.active:
            raise Unauthorized
        return user

    def _granted(self, user: User, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
        access, _ = login_tokens(self._services, user)
        return json({"accessToken": access}, 200, {"Cache-Control": "no-store", **headers})


def _cookie(call: Own, value: str, lifetime: int) -> dict[str, str]:
    """The cookie has no path, so browsers use the folder of the request, with the prefix that a proxy adds to it."""
    jar = http.cookies.SimpleCookie({COOKIE: value})
    jar[COOKIE] |= {"max-age": lifetime, "secure": call.secure, "httponly": True, "samesite": "strict"}
    return {"Set-Cookie": jar[COOKIE].OutputString()}
