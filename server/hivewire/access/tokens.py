"""Tokens: compact JWS with the single claim `payload` (core protocol, section 3), signed and verified by PyJWT."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import warnings
from collections import OrderedDict
from typing import Any, Literal

import jwt
import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from hivewire.access.identity import Identity
from hivewire.access.tenants import ApiClient, Tenants, effective, in_order
from hivewire.access.users import User, Users
from hivewire_protocol import patterns, permissions
from hivewire_protocol.errors import (
    InvalidCredentials,
    InvalidTokenType,
    RefreshTokenExpired,
    TokenExpired,
    Unauthorized,
)
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.nouns.user import Role
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission

REFRESH, ACCESS = 0, 1
MAX_TOKEN = 64 << 10
"""Characters of the longest token that is verified: room for 1,000 name patterns."""

SHORTEST = 1_000
"""Milliseconds; a client's token that expires sooner is not given out again."""

CACHED_TOKENS, CACHED_BYTES = 4_096, 4 << 20
"""Verified tokens that are remembered: how many, and characters of all of them. What a token grants takes about as much
memory again. The one that was used longest ago goes first."""

NO_NAMES = Patterns(())

SMALLEST_TIME = 1 << 31
"""A smaller `e` is in seconds or nonsense, and such a token is not valid (section 3.1)."""


class Claims(Struct, omit_defaults=False):
    """The payload: actions, expiry (ms), type, user id, network ids, device type ids, and our own name patterns.

    A client's token has its number in `cl` and its privileges by tenant in `tn`, and its user id is 0. The number and
    not the id, so that a client which takes the place of a deleted one does not revive its tokens.
    """

    a: list[int] | None
    e: int
    t: int
    u: int
    n: list[str] | None = None
    dt: list[str] | None = None
    c: list[str] | UnsetType = UNSET
    cl: int | UnsetType = UNSET
    tn: dict[str, list[Privilege]] | UnsetType = UNSET


class SecretError(Exception):
    """The signing secret cannot be used; the message says why and never contains it."""


class Key:
    """The HMAC key, out of the secret by one of two rules (configuration contract, section 2)."""

    def __init__(self, secret: str, derivation: Literal["utf8", "devicehive"]) -> None:
        if derivation == "utf8":
            self.value = secret.encode()
            if len(self.value) < 32:
                raise SecretError(
                    "the JWT secret is shorter than 32 bytes; make one with `openssl rand -base64 48`, or remove the"
                    " setting to have one generated"
                )
        else:
            self.value = _lenient_base64(secret)
            if not self.value:
                raise SecretError("the JWT secret gives an empty key under `jwt_key_derivation = devicehive`")
            if self.weak:
                # The gateway warns of it at start; PyJWT would warn again for each token.
                warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)

    @property
    def weak(self) -> bool:
        """Whether it is shorter than HMAC-SHA256 asks for (RFC 7518, section 3.2): possible with `devicehive` only."""
        return len(self.value) < 32

    def __repr__(self) -> str:
        return "Key(...)"


def _lenient_base64(secret: str) -> bytes:
    """The reference server's rule: skip what is not Base64, decode whole groups of four (section 3.2)."""
    characters = re.sub(r"[^A-Za-z0-9+/]", "", secret)
    return base64.b64decode(characters[: len(characters) // 4 * 4])


def generate_secret() -> str:
    """A secret of 48 random bytes as text."""
    return secrets.token_urlsafe(48)


class VerifiedTokens:
    """Identities of tokens that were verified before, so that a client which sends one with every request is not
    verified each time. Tokens are kept in memory only; one that is not good is never kept. The owner clears all of them
    when something changes that a token depends on.
    """

    def __init__(self, most: int = CACHED_TOKENS, most_bytes: int = CACHED_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._identities: OrderedDict[str, Identity] = OrderedDict()
        self.bytes = 0

    def find(self, token: str) -> Identity | None:
        """The identity that the token gave; it may have expired."""
        found = self._identities.get(token)
        if found is not None:
            self._identities.move_to_end(token)
        return found

    def remember(self, token: str, identity: Identity) -> None:
        """The token was verified just now."""
        self._identities[token] = identity
        self.bytes += len(token)
        while len(self._identities) > self._most or self.bytes > self._most_bytes:
            self.forget(next(iter(self._identities)))

    def forget(self, token: str) -> None:
        """Verify it anew when it comes again."""
        del self._identities[token]
        self.bytes -= len(token)

    def clear(self) -> None:
        """Verify all of them anew."""
        self._identities.clear()
        self.bytes = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._identities)


class Tokens:
    """Mints and verifies tokens, and knows which of them count. Lifetimes are milliseconds."""

    def __init__(self, key: Key, users: Users, tenants: Tenants, access_lifetime: int, refresh_lifetime: int) -> None:
        self._key = key
        self._users = users
        self._tenants = tenants
        self._verified = VerifiedTokens()
        self.access_lifetime = access_lifetime
        self.refresh_lifetime = refresh_lifetime
        self.generation = 0
        """Grows with every change of a user, a client or a tenant: what was decided before may not hold any more."""
        users.on_change = tenants.on_change = self._begin_generation

    def _begin_generation(self) -> None:
        self.generation += 1
        self._verified.clear()

    def derived_key(self, purpose: str) -> bytes:
        """A key for another purpose, from which the key of the tokens cannot be worked out."""
        return hmac.digest(self._key.value, purpose.encode(), "sha256")

    def mint(self, claims: Claims) -> str:
        """The compact form, header exactly `{"alg":"HS256"}`."""
        payload = {"payload": msgspec.to_builtins(claims)}
        return jwt.encode(payload, self._key.value, algorithm="HS256", headers={"typ": None})

    def claims(self, token: str) -> Claims:
        """The payload of a token with a good signature and the right shape; raises InvalidCredentials otherwise."""
        if len(token) > MAX_TOKEN:
            raise InvalidCredentials
        try:
            body: dict[str, Any] = jwt.decode(token, self._key.value, algorithms=["HS256"], options=_OPTIONS)
            claims = msgspec.convert(body["payload"], Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError, KeyError, RecursionError, UnicodeError):
            raise InvalidCredentials from None
        if claims.e < SMALLEST_TIME:
            raise InvalidCredentials
        return claims

    def verify(self, token: str, now: int) -> Identity:
        """The identity that an access token gives (section 3.6); raises InvalidCredentials or TokenExpired."""
        found = self._verified.find(token)
        if found is None:
            found = self._verify(token, now)
            self._verified.remember(token, found)
        if found.expires < now:
            self._verified.forget(token)
            raise TokenExpired
        return found

    def _verify(self, token: str, now: int) -> Identity:
        claims = self.claims(token)
        if claims.t == REFRESH:
            raise InvalidCredentials
        if claims.e < now:
            raise TokenExpired
        if claims.cl is not UNSET:
            return self._client_identity(claims, claims.cl)
        user = self._owner(claims)
        if user is None:
            raise InvalidCredentials
        return identity(claims, user)

    def _client_identity(self, claims: Claims, number: int) -> Identity:
        """What a client's token grants: privileges in tenants that still exist, and no action at all."""
        client = self._tenants.by_number(number)
        if client is None or claims.u or claims.tn is UNSET:
            raise InvalidCredentials
        now = self._tenants.grants(client)
        tenants = {tenant: effective(given) & now[tenant] for tenant, given in claims.tn.items() if tenant in now}
        none: frozenset[int] = frozenset()
        return Identity(0, client.id, claims.e, 0, none, none, NO_NAMES, tenants, client.number)

    def active(self, identity: Identity) -> bool:
        """Whether the token still counts: its client exists, or its user exists and is not locked."""
        if identity.client:
            return self._tenants.by_number(identity.client) is not None
        user = self._users.by_id(identity.user_id)
        return user is not None and user.active

    def current(self, identity: Identity) -> Identity:
        """The identity with the privileges that still count: those in a tenant end with the tenant."""
        client = self._tenants.by_number(identity.client) if identity.client else None
        if client is None or identity.tenants is None:
            return identity
        now = self._tenants.grants(client)
        tenants = {tenant: given & now[tenant] for tenant, given in identity.tenants.items() if tenant in now}
        return identity if tenants == identity.tenants else structs.replace(identity, tenants=tenants)

    def of_client(self, client: ApiClient, now: int) -> tuple[str, int]:
        """A client's access token and its expiry: the same one until it expires, or the client changes."""
        if client.token is None or client.token[1] - now < SHORTEST:
            tenants = {tenant: in_order(given) for tenant, given in self._tenants.grants(client).items()}
            claims = Claims(
                [Permission.NONE], now + self.access_lifetime, ACCESS, 0, [], [], cl=client.number, tn=tenants
            )
            client.token = self.mint(claims), claims.e
        return client.token

    def refresh(self, token: str, now: int) -> tuple[str, User]:
        """A new access token with the rights of a refresh token (section 3.11), and whose it is."""
        try:
            claims = self.claims(token)
        except InvalidCredentials:
            raise Unauthorized from None
        if claims.t != REFRESH:
            raise InvalidTokenType
        if claims.e < now:
            raise RefreshTokenExpired
        user = self._owner(claims)
        if user is None:
            raise Unauthorized
        claims.t, claims.e = ACCESS, now + self.access_lifetime
        return self.mint(claims), user

    def _owner(self, claims: Claims) -> User | None:
        """The user of a token, if it is a user's who still exists and is active."""
        if claims.cl is not UNSET:
            return None
        user = self._users.by_id(claims.u)
        return user if user is not None and user.active else None

    def pair(self, claims: Claims, access_expiry: int, refresh_expiry: int) -> tuple[str, str]:
        """An access and a refresh token with the same rights."""
        claims.t, claims.e = ACCESS, access_expiry
        access = self.mint(claims)
        claims.t, claims.e = REFRESH, refresh_expiry
        return access, self.mint(claims)


_OPTIONS: Any = {
    "verify_signature": True,
    **dict.fromkeys(
        ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
    ),
}
# The payload has an expiry of its own; registered claims beside it mean nothing here.


def identity(claims: Claims, user: User) -> Identity:
    """What the claims grant (sections 3.4 and 3.5); raises InvalidCredentials for ids that stand for nothing."""
    try:
        granted = sum(1 << permission for permission in permissions.effective(claims.a))
        all_types = user.profile.all_device_types_available
        device_types = None if all_types else _ids(claims.dt)
        networks = _ids(claims.n)
    except ValueError:
        raise InvalidCredentials from None
    names = EVERYTHING
    if claims.c is not UNSET:
        if any(patterns.problem(pattern) for pattern in claims.c):
            raise InvalidCredentials
        names = Patterns(claims.c)
    found = Identity(user.id, user.login, claims.e, granted, networks, device_types, names)
    if user.profile.role == Role.ADMIN and found.unrestricted:
        # All tenants or none: a token that was made for less was not made for tenants, which it cannot name.
        return structs.replace(found, tenants=None)
    return found


def _ids(texts: list[str] | None) -> frozenset[int] | None:
    """The ids of a scope list: None for all, nothing for a missing list."""
    if not all(text == "*" or (text.isascii() and text.isdecimal()) for text in texts or ()):
        raise ValueError("neither a number nor '*'")
    if texts and "*" in texts:
        return None
    return frozenset(map(int, texts or ()))


def login_claims(user: User) -> Claims:
    """The rights that a login gets (section 3.9)."""
    if user.profile.role == Role.ADMIN:
        return Claims([Permission.ANY], 0, ACCESS, user.id, ["*"], ["*"])
    device_types = ["*"] if user.profile.all_device_types_available else []
    return Claims(sorted(permissions.CLIENT), 0, ACCESS, user.id, [], device_types)
