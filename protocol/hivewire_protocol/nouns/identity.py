"""Identity: `authenticate`, and requests that return or revoke tokens (core protocol, sections 3.8-3.11)."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol.errors import (
    ClientDeleted,
    InvalidCredentials,
    InvalidTokenType,
    NotAllowed,
    NotFound,
    OutOfBounds,
    RefreshTokenExpired,
    TokenExpired,
    TokenRevoked,
    TooManyAttempts,
    Unauthorized,
    Unavailable,
    UnknownLogin,
    UserNotActive,
)
from hivewire_protocol.messages import Integer, Push, Reply, Request, says
from hivewire_protocol.permissions import Permission


class AuthenticateReply(Reply):
    """The numbers of the subscriptions that ended, when the socket had another user before."""

    ended: Annotated[
        list[int] | UnsetType,
        says("The subscriptions that ended because the socket has another user now; absent if none did."),
    ] = UNSET


class TokensReply(Reply):
    """Both tokens, compact JWS."""

    accessToken: Annotated[str, says("The token for `authenticate` and `Authorization: Bearer`.")]
    refreshToken: Annotated[str, says("The token for `token/refresh`.")]


class AccessTokenReply(Reply):
    """The access token, compact JWS."""

    accessToken: Annotated[str, says("The token for `authenticate` and `Authorization: Bearer`.")]


class Authenticate(Request, tag="authenticate"):
    """Give this socket the identity of an access token; a failure does not change the identity."""

    authenticates = True
    required = ("token",)
    reply = AuthenticateReply
    errors = (Unauthorized, InvalidCredentials, TokenExpired, TokenRevoked, UserNotActive, ClientDeleted)

    token: Annotated[str | None, says("An access token.")] = None


class Token(Request, tag="token"):
    """Log in: get an access token and a refresh token for a login and its password."""

    authenticates = True
    required = ("login", "password")
    reply = TokensReply
    errors = (InvalidCredentials, UnknownLogin, UserNotActive, TooManyAttempts, Unavailable)

    login: Annotated[str | None, says("The user's login.")] = None
    password: Annotated[str | None, says("The user's password.")] = None


class TokenPayload(Struct):
    """The claims of the tokens that `token/create` makes."""

    required: ClassVar[tuple[str, ...]] = ("userId",)

    userId: Annotated[Integer | None, says("The user of the tokens; other users need `ManageUser`.")] = None
    actions: Annotated[
        list[Raw] | None, says("Permissions by name or number; `*` or 0 for all. Without any it grants nothing.")
    ] = None
    networkIds: Annotated[list[Raw] | None, says("The networks that it reaches: ids, or `*`.")] = None
    deviceTypeIds: Annotated[list[Raw] | None, says("The device types that it reaches: ids, or `*`.")] = None
    expiration: Annotated[
        Raw | None,
        says("When the access token expires: milliseconds since 1970, or ISO 8601; default as after a login."),
    ] = None
    refreshExpiration: Annotated[
        Raw | None, says("When the refresh token expires; default `expiration`, if given.")
    ] = None
    deviceIds: Annotated[
        list[str] | None, says("Up to 1,000 devices whose token it is, with which they follow their configurations.")
    ] = None
    configurations: Annotated[
        list[str] | None, says("Up to 1,000 patterns of configuration names that it reaches; default the caller's own.")
    ] = None


class TokenCreate(Request, tag="token/create"):
    """Create tokens with at most the rights of the caller (configuration contract, section 3)."""

    permission = Permission.MANAGE_TOKEN
    required = ("payload",)
    reply = TokensReply
    errors = (NotAllowed, NotFound, OutOfBounds)

    payload: Annotated[TokenPayload | None, says("The rights of the tokens.")] = None


class TokenRefresh(Request, tag="token/refresh"):
    """Get a new access token with the rights of a refresh token."""

    authenticates = True
    required = ("refreshToken",)
    reply = AccessTokenReply
    errors = (InvalidTokenType, RefreshTokenExpired, TokenRevoked, Unauthorized)

    refreshToken: Annotated[str | None, says("A refresh token.")] = None


class TokenRevoke(Request, tag="token/revoke", forbid_unknown_fields=True):
    """End tokens at once, on open sockets too: all of the caller's own user, unless one of the members is given.

    Tokens of others, and single ones, need an administrator's unrestricted token. Unknown members are refused: with a
    misspelt one, others than were meant would end.
    """

    permission = Permission.MANAGE_TOKEN
    reply = Reply
    errors = (InvalidCredentials, NotAllowed, NotFound, OutOfBounds, Unavailable)

    userId: Annotated[Integer | None, says("The user whose existing tokens end.")] = None
    tokenId: Annotated[str | None, says("The claim `j` of the tokens that end.")] = None
    token: Annotated[
        str | None, says("A token that ends, with the other one of its pair and those made by refreshing it.")
    ] = None


class TokenExpiring(Push, tag="token/expiring", kw_only=True):
    """The token of the socket expires within a minute; sent once for each token, to each subscription."""

    expires: Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
