"""Who is asking: `authenticate` and the three ways to a token (core protocol, sections 3.8-3.11)."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Raw, Struct

from hivewire_protocol.messages import Integer, Reply, Request
from hivewire_protocol.permissions import Permission


class Authenticate(Request, tag="authenticate"):
    """Give this socket the identity of an access token; a failure leaves the identity as it was."""

    token: str | None = None


class AuthenticateReply(Reply):
    """The numbers of the subscriptions that ended, because the socket has another user now."""

    ended: list[int]


class Token(Request, tag="token"):
    """Log in: an access and a refresh token for a login and its password."""

    login: str | None = None
    password: str | None = None


class TokenPayload(Struct):
    """What `token/create` is to mint. Times as in section 1.6; `configurations` are name patterns."""

    userId: Integer | None = None
    actions: list[Raw] | None = None
    networkIds: list[Raw] | None = None
    deviceTypeIds: list[Raw] | None = None
    expiration: Raw | None = None
    refreshExpiration: Raw | None = None
    configurations: list[str] | None = None


class TokenCreate(Request, tag="token/create"):
    """Mint tokens with no more rights than one's own (configuration contract, section 3)."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_TOKEN

    payload: TokenPayload | None = None


class TokenRefresh(Request, tag="token/refresh"):
    """A fresh access token with the rights of a refresh token."""

    refreshToken: str | None = None


class TokensReply(Reply):
    """Both tokens, compact JWS."""

    accessToken: str
    refreshToken: str


class AccessTokenReply(Reply):
    """The access token, compact JWS."""

    accessToken: str
