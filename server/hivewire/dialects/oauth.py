"""The token endpoint of OAuth 2, for clients of tenants and for users (tenant configuration, section 1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hivewire.access.tenants import ApiClient, in_order
from hivewire.access.throttle import Rate
from hivewire.caller import Caller
from hivewire.dispatch import Dispatcher
from hivewire.http import body as bodies
from hivewire.http.body import ANONYMOUS_BODY
from hivewire.http.peer import header_of, origin_of
from hivewire.services import elapsed, now
from hivewire.transport.admission import Admission
from hivewire_protocol import permissions
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import (
    InternalError,
    InvalidParameters,
    RequestTimeout,
    TooLarge,
    TooManyAttempts,
    Unavailable,
    WireError,
)
from hivewire_protocol.nouns.identity import AccessTokenReply, Token, TokenRefresh, TokensReply
from hivewire_protocol.permissions import Permission

MOST_A_SECOND = 10
"""Token requests of one client from one address (tenant configuration, section 1)."""

MAX_PARAMETERS = 32

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_Answer = Callable[[HttpRequest], Awaitable[Response]]


def routes(dispatcher: Dispatcher, admission: Admission) -> list[BaseRoute]:
    """The token endpoint."""
    counted = dispatcher.services.telemetry.counted
    return [
        Route("/oauth/token", counted("oauth/token", TokenEndpoint(dispatcher, admission).answer), methods=["POST"])
    ]


# The token endpoint.


class Refused(Exception):
    """No token: an error code of RFC 6749, section 5.2, what to say about it, and the status."""

    def __init__(self, error: str, description: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.status = status
        self.retry_after = retry_after


class TokenEndpoint:
    """`POST /oauth/token`, for the grants `client_credentials`, `password` and `refresh_token`."""

    def __init__(self, dispatcher: Dispatcher, admission: Admission) -> None:
        self._dispatcher = dispatcher
        self._services = dispatcher.services
        self._admission = admission
        self._rate = Rate(elapsed, MOST_A_SECOND)
        self._grants = {
            "client_credentials": self._for_client,
            "password": self._for_password,
            "refresh_token": self._for_refresh_token,
        }

    async def answer(self, request: HttpRequest) -> Response:
        """The token, or why there is none. The client is looked at first: who is none cannot make us read a body."""
        try:
            peer = request.client.host if request.client else "local"
            address, _ = origin_of(self._services.settings, peer, header_of(request), secure=False)
            client = self._client(request, address)
            parameters = await self._parameters(request)
            grant = self._grants.get(parameters.get("grant_type", ""))
            if "grant_type" not in parameters:
                raise Refused("invalid_request", "grant_type is missing")
            if grant is None:
                raise Refused("unsupported_grant_type", f"grant_type is one of {', '.join(self._grants)}")
            return _json(await grant(client, address, parameters), 200, _NO_STORE)
        except Refused as refused:
            return _no_token(refused)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as unexpected:
            return _no_token(_refused(self._dispatcher.error(Token, unexpected)))

    def _client(self, request: HttpRequest, address: str) -> ApiClient:
        """The client that has proved itself. Raises Refused."""
        name, secret = _basic(header_of(request)("authorization"))
        if wait := self._rate.wait(name, address):
            raise _too_often(wait, f"more than {MOST_A_SECOND} token requests a second")
        known = self._services.tenants.client(name)
        # Clients share the throttle with users; no login has a NUL in it.
        throttle, key = self._services.throttle, f"\0{name}"
        if known is not None and (wait := throttle.wait(key, address)):
            raise _too_often(wait, "too many wrong client secrets")
        client = self._services.tenants.prove(name, secret)
        if client is None:
            if known is not None:
                throttle.fail(key, address)
            # A name that nobody has may be a slip, even a secret, and is not logged.
            self._failed("invalid_client", address, name if known is not None else None)
            raise _no_client()
        throttle.succeed(key, address)
        return client

    def _failed(self, reason: str, address: str, name: str | None) -> None:
        self._services.telemetry.authentication_failed("oauth/token", reason, address, name)

    async def _parameters(self, request: HttpRequest) -> dict[str, str]:
        """The parameters of body and query; those without a value are none (RFC 6749, section 3.2). Raises Refused."""
        settings = self._services.settings
        limit = min(settings.message_bytes, ANONYMOUS_BODY)
        body = await bodies.read(request, self._admission, limit, settings.body_seconds)
        if body.strip():
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != "application/x-www-form-urlencoded":
                raise Refused("invalid_request", "the body must be application/x-www-form-urlencoded")
        try:
            pairs = [*_form(request.scope["query_string"]), *_form(body.strip())]
        except ValueError:
            raise Refused("invalid_request", "the parameters are no form in UTF-8, or too many") from None
        parameters = dict(pairs)
        if len(parameters) < len(pairs):
            raise Refused("invalid_request", "a parameter was given twice")
        return parameters

    async def _for_client(self, client: ApiClient, address: str, parameters: dict[str, str]) -> dict[str, Any]:
        grants = self._services.tenants.grants(client)
        scope = [f"{tenant}:{privilege}" for tenant in sorted(grants) for privilege in in_order(grants[tenant])]
        token, expires = self._services.tokens.of_client(client, now())
        return _granted(token, expires, scope, parameters)

    async def _for_password(self, client: ApiClient, address: str, parameters: dict[str, str]) -> dict[str, Any]:
        login, password = parameters.get("username"), parameters.get("password")
        if login is None or password is None:
            raise Refused("invalid_request", "username or password is missing")
        reply = await self._ask(address, Token(login=login, password=password))
        assert isinstance(reply, TokensReply)  # noqa: S101 - what a login returns
        return self._of_user(reply.accessToken, parameters) | {"refresh_token": reply.refreshToken}

    async def _for_refresh_token(self, client: ApiClient, address: str, parameters: dict[str, str]) -> dict[str, Any]:
        """Refresh tokens are the user's and not bound to a client: `token/refresh` takes them without any."""
        if "refresh_token" not in parameters:
            raise Refused("invalid_request", "refresh_token is missing")
        reply = await self._ask(address, TokenRefresh(refreshToken=parameters["refresh_token"]))
        assert isinstance(reply, AccessTokenReply)  # noqa: S101 - what refreshing returns
        return self._of_user(reply.accessToken, parameters)

    async def _ask(self, address: str, request: Token | TokenRefresh) -> Any:
        answer = self._dispatcher.start(Caller(address, "", http=True), request)
        return await answer if isinstance(answer, Awaitable) else answer

    def _of_user(self, token: str, parameters: dict[str, str]) -> dict[str, Any]:
        claims = self._services.tokens.claims(token)
        granted = permissions.effective(claims.a)
        everything = granted == permissions.ALL
        names = [Permission.ANY.wire_name] if everything else [found.wire_name for found in sorted(granted)]
        return _granted(token, claims.e, names, parameters)


def _basic(header: str | None) -> tuple[str, str]:
    """Id and secret of a Basic header. Raises Refused."""
    scheme, _, credentials = (header or "").partition(" ")
    if scheme.lower() != "basic":
        raise _no_client()
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _no_client() from None
    name, colon, secret = text.partition(":")
    if not colon:
        raise _no_client()
    return name, secret


def _form(data: bytes) -> list[tuple[str, str]]:
    """The fields of a form. Raises ValueError."""
    return parse_qsl(data.decode(), max_num_fields=MAX_PARAMETERS, errors="strict")


def _granted(token: str, expires: int, scope: list[str], parameters: dict[str, str]) -> dict[str, Any]:
    """The answer of RFC 6749, section 5.1. A token has all that its subject has: asking for less changes nothing, and
    the answer says so (section 3.3); asking for more is an error."""
    if not {*parameters.get("scope", "").split()} <= {*scope}:
        raise Refused("invalid_scope", "the scope is more than there is to grant")
    seconds = max(0, expires - now()) // 1_000
    return {"access_token": token, "token_type": "bearer", "expires_in": seconds, "scope": " ".join(scope)}


def _no_client() -> Refused:
    return Refused("invalid_client", "no such client, or not its secret; they belong into a Basic header", 401)


def _too_often(milliseconds: int, words: str) -> Refused:
    seconds = -(-milliseconds // 1_000)
    return Refused("temporarily_unavailable", f"{words}; try again in {seconds} s", 429, seconds)


def _refused(error: WireError) -> Refused:
    """What an action's error is called here."""
    if isinstance(error, TooManyAttempts):
        return Refused("temporarily_unavailable", str(error), 429, error.members["retryAfter"])
    if isinstance(error, Unavailable):
        return Refused("temporarily_unavailable", str(error), 503)
    if isinstance(error, TooLarge | RequestTimeout):
        return Refused("invalid_request", str(error), error.code)
    if isinstance(error, InvalidParameters):
        return Refused("invalid_request", str(error))
    if isinstance(error, InternalError):
        return Refused("server_error", str(error), 500)
    return Refused("invalid_grant", "the login, the password or the refresh token is not good, or no longer")


def _no_token(refused: Refused) -> Response:
    headers = dict(_NO_STORE)
    if refused.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="hivewire", charset="UTF-8"'
    if refused.retry_after is not None:
        headers["Retry-After"] = str(refused.retry_after)
    if refused.status in (408, 413):
        headers["Connection"] = "close"  # the rest of the body is not read
    return _json({"error": refused.error, "error_description": str(refused)}, refused.status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, "application/json")
