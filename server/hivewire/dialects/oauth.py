"""The OAuth dialect: the token endpoint for clients of tenants and for users (tenant configuration, section 1)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from hivewire.access.tenants import ApiClient, in_order
from hivewire.access.throttle import Rate
from hivewire.caller import Caller
from hivewire.clocks import elapsed, now
from hivewire.http import body as bodies
from hivewire.http.body import ANONYMOUS_BODY
from hivewire.http.operations import NUMBER, TEXT, Content, ErrorForm, Operation, json_of
from hivewire.http.peer import origin_of
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response, error_document, json
from hivewire.http.routes import Context, Dialect, Route
from hivewire_protocol import permissions
from hivewire_protocol.errors import (
    InternalError,
    InvalidCredentials,
    InvalidParameters,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    TooLarge,
    TooManyAttempts,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from hivewire_protocol.nouns.identity import AccessTokenReply, Token, TokenRefresh, TokensReply
from hivewire_protocol.permissions import Permission

MOST_A_SECOND = 10
"""Token requests in a second of one client from one address (tenant configuration, section 1)."""

MAX_PARAMETERS = 32
"""Most fields of a form."""

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def dialect(context: Context) -> Dialect:
    """The token endpoint."""
    endpoint = TokenEndpoint(context)
    route = Route("POST", "/oauth/token", endpoint.client, endpoint.answer, "oauth/token")
    listed = {"oauth": ("/oauth/token", "tokens for clients")}
    return Dialect([route], _refuse, errors=(TokenRefused,), challenge=_challenge, prefixes=("/oauth/",), listed=listed)


class TokenRefused(Exception):
    """A refused token request: an error code of RFC 6749, section 5.2, a description, and the status."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


class TokenCall(NamedTuple):
    """A token request of an authenticated client, and its address."""

    request: HttpRequest
    client: ApiClient
    address: str


class TokenEndpoint:
    """`POST /oauth/token`, for the grants `client_credentials`, `password` and `refresh_token`."""

    def __init__(self, context: Context) -> None:
        self._dispatcher = context.dispatcher
        self._services = context.dispatcher.services
        self._admission = context.admission
        self._rate = Rate(elapsed, MOST_A_SECOND)
        self._grants = {
            "client_credentials": self._for_client,
            "password": self._for_password,
            "refresh_token": self._for_refresh_token,
        }

    async def client(self, request: HttpRequest) -> TokenCall:
        """Authenticate the client, before a body is read. Raises TokenRefused."""
        address, _ = origin_of(self._services.settings, request.address, request.header, secure=False)
        name, secret = _basic(request.header("authorization"))
        if wait := self._rate.wait(name, address):
            raise _too_often(wait, f"more than {MOST_A_SECOND} token requests a second")
        known, seen = self._services.tenants.client(name), self._services.ledger.revision
        if known is None and await self._services.ledger.hear(seen):
            known = self._services.tenants.client(name)
        # Clients share the throttle with users. The NUL keeps their names apart from logins, which cannot have one.
        throttle, key = self._services.throttle, f"\0{name}"
        if known is not None and (wait := throttle.wait(key, address)):
            raise _too_often(wait, "too many wrong client secrets")
        client = self._services.tenants.authenticate(name, secret)
        if client is None:
            if known is not None:
                throttle.fail(key, address)
            # An unknown name may be a secret in the wrong field, so it is not logged.
            login = name if known is not None else None
            self._services.telemetry.authentication_failed("oauth/token", InvalidCredentials, address, login)
            raise _no_client()
        throttle.succeed(key, address)
        request.logged_in()
        return TokenCall(request, client, address)

    async def answer(self, call: TokenCall) -> Response:
        """The token. Raises TokenRefused, or WireError."""
        parameters = await self._parameters(call.request)
        client = self._still(call.client)
        grant = self._grants.get(parameters.get("grant_type", ""))
        if "grant_type" not in parameters:
            raise TokenRefused("invalid_request", "grant_type is missing")
        if grant is None:
            raise TokenRefused("unsupported_grant_type", f"grant_type is one of {', '.join(self._grants)}")
        return json(await grant(client, call.address, parameters), 200, _NO_STORE)

    def _still(self, client: ApiClient) -> ApiClient:
        """The client as it is now that the body has arrived. Raises TokenRefused if it was deleted meanwhile, or has
        another secret."""
        current = self._services.tenants.by_record_id(client.record_id)
        if current is None or current.content.secret_hash != client.content.secret_hash:
            raise _no_client()
        return current

    async def _parameters(self, request: HttpRequest) -> dict[str, str]:
        """The parameters of body and query; those without a value are ignored (RFC 6749, section 3.2).

        Raises TokenRefused.
        """
        settings = self._services.settings
        limit = min(settings.message_bytes, ANONYMOUS_BODY)
        body = await bodies.read(request, self._admission, limit)
        if body.strip() and request.media_type() != "application/x-www-form-urlencoded":
            raise TokenRefused("invalid_request", "the body must be application/x-www-form-urlencoded")
        try:
            pairs = [*_form(request.scope["query_string"]), *_form(body.strip())]
        except ValueError:
            raise TokenRefused("invalid_request", "the body is not a UTF-8 form, or has too many fields") from None
        parameters = dict(pairs)
        if len(parameters) < len(pairs):
            raise TokenRefused("invalid_request", "a parameter was given twice")
        return parameters

    async def _for_client(self, client: ApiClient, address: str, parameters: dict[str, str]) -> dict[str, Any]:
        grants = self._services.tenants.grants(client)
        scope = [f"{tenant}:{privilege}" for tenant in sorted(grants) for privilege in in_order(grants[tenant])]
        token, expires = self._services.tokens.of_client(client, now())
        self._services.ledger.audit.sum("token", client.id, client.id, address, how="client_credentials")
        return _granted(token, expires, scope, parameters)

    async def _for_password(self, client: ApiClient, address: str, parameters: dict[str, str]) -> dict[str, Any]:
        login, password = parameters.get("username"), parameters.get("password")
        if login is None or password is None:
            raise TokenRefused("invalid_request", "username or password is missing")
        reply = await self._ask(address, Token(login=login, password=password))
        assert isinstance(reply, TokensReply)  # noqa: S101 - what a login returns
        return self._of_user(reply.accessToken, parameters) | {"refresh_token": reply.refreshToken}

    async def _for_refresh_token(self, client: ApiClient, address: str, parameters: dict[str, str]) -> dict[str, Any]:
        """Refresh tokens belong to the user and are not bound to a client: `token/refresh` accepts them without one."""
        if "refresh_token" not in parameters:
            raise TokenRefused("invalid_request", "refresh_token is missing")
        reply = await self._ask(address, TokenRefresh(refreshToken=parameters["refresh_token"]))
        assert isinstance(reply, AccessTokenReply)  # noqa: S101 - what refreshing returns
        return self._of_user(reply.accessToken, parameters)

    async def _ask(self, address: str, request: Token | TokenRefresh) -> Any:
        return await self._dispatcher.carry_out(Caller(address, "", http=True), request)

    def _of_user(self, token: str, parameters: dict[str, str]) -> dict[str, Any]:
        claims = self._services.tokens.claims(token)
        granted = permissions.effective(claims.a)
        everything = granted == permissions.ALL
        names = [Permission.ANY.wire_name] if everything else [found.wire_name for found in sorted(granted)]
        return _granted(token, claims.e, names, parameters)


def _basic(header: str | None) -> tuple[str, str]:
    """Id and secret of a Basic header. Raises TokenRefused."""
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
    """The answer of RFC 6749, section 5.1. A token has all rights of its subject: a narrower scope in the request has
    no effect, which the scope in the answer shows (section 3.3); a wider one is an error."""
    if not {*parameters.get("scope", "").split()} <= {*scope}:
        raise TokenRefused("invalid_scope", "the scope exceeds what can be granted")
    seconds = max(0, expires - now()) // 1_000
    return {"access_token": token, "token_type": "bearer", "expires_in": seconds, "scope": " ".join(scope)}


def _no_client() -> TokenRefused:
    return TokenRefused("invalid_client", "unknown client or wrong secret; send both in a Basic header", 401)


def _too_often(milliseconds: int, words: str) -> TooManyAttempts:
    seconds = -(-milliseconds // 1_000)
    return TooManyAttempts(f"{words}; try again in {seconds} s", retryAfter=seconds)


def _refused(error: Exception) -> TokenRefused:
    """The OAuth error for an action's error."""
    if isinstance(error, TooManyAttempts | TooManyRequests):
        return TokenRefused("temporarily_unavailable", str(error), 429)
    if isinstance(error, Unavailable):
        return TokenRefused("temporarily_unavailable", str(error), 503)
    if isinstance(error, TooLarge | RequestTimeout | UnsupportedMediaType):
        return TokenRefused("invalid_request", str(error), error.code)
    if isinstance(error, InvalidParameters):
        return TokenRefused("invalid_request", str(error))
    if isinstance(error, InternalError):
        return TokenRefused("server_error", str(error), 500)
    return TokenRefused("invalid_grant", "login, password or refresh token is invalid or expired")


def _refuse(request: HttpRequest, error: Exception) -> Response:
    """The error document of RFC 6749, section 5.2, also for a wrong path or method."""
    if isinstance(error, MethodNotAllowed | NotFound):
        return error_document(error)
    refused = error if isinstance(error, TokenRefused) else _refused(error)
    return json({"error": refused.error, "error_description": str(refused)}, refused.status, _NO_STORE)


def _challenge(request: HttpRequest) -> str:
    return 'Basic realm="hivewire", charset="UTF-8"'


_FORM = "application/x-www-form-urlencoded"


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    return (
        Operation(
            "POST",
            "/oauth/token",
            "oauth_token",
            "oauth",
            "Give a token to a client of tenants, or to a user through one (RFC 6749).",
            {
                200: json_of(
                    "The token.",
                    {
                        "type": "object",
                        "properties": {
                            "access_token": TEXT,
                            "token_type": {"const": "bearer"},
                            "expires_in": {"type": "integer", "description": "Seconds."},
                            "scope": {"type": "string", "description": "What it grants, separated by spaces."},
                            "refresh_token": {"type": "string", "description": "For the grant `password` only."},
                        },
                        "required": ["access_token", "token_type", "expires_in", "scope"],
                    },
                )
            },
            (400, 401, 404, 408, 413, 415, 429, 500, 503),
            ErrorForm(
                "OAuthError",
                json_of(
                    "The error (RFC 6749, section 5.2).",
                    {
                        "type": "object",
                        "properties": {"error": {"anyOf": [TEXT, NUMBER]}, "error_description": TEXT, "message": TEXT},
                        "required": ["error"],
                    },
                ),
            ),
            body=Content(
                "The grant.",
                {
                    _FORM: {
                        "type": "object",
                        "properties": {
                            "grant_type": {"enum": ["client_credentials", "password", "refresh_token"]},
                            "username": TEXT,
                            "password": TEXT,
                            "refresh_token": TEXT,
                            "scope": TEXT,
                        },
                        "required": ["grant_type"],
                    }
                },
            ),
            security=("client",),
        ),
    )
