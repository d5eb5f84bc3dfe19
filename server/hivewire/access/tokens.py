"""Tokens: compact JWS with the single claim `payload` (core protocol, section 3), signed and verified by PyJWT."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Container
from typing import Any

import jwt
import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from hivewire.access.identity import Identity
from hivewire.access.keys import Key, Previous
from hivewire.access.revocations import Revocations
from hivewire.access.tenants import ApiClient, Tenants, effective, in_order
from hivewire.access.users import User, Users
from hivewire_protocol import patterns, permissions
from hivewire_protocol.errors import (
    ClientDeleted,
    InvalidCredentials,
    InvalidTokenType,
    OutOfBounds,
    RefreshTokenExpired,
    TokenExpired,
    TokenRevoked,
    Unauthorized,
    UserNotActive,
    WireError,
)
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.nouns.user import Role
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission

REFRESH, ACCESS = 0, 1
MAX_TOKEN = 64 << 10
"""Longest token that is verified, in characters: enough for 1,000 name patterns."""

MOST_LISTED = 1_000
"""Networks that the token of a login lists: with more it would not fit into the 8 KiB of headers that many proxies
accept."""

SHORTEST = 1_000
"""Remaining lifetime in ms below which a client gets a new token instead of the one issued before."""

CACHED_TOKENS, CACHED_BYTES = 4_096, 4 << 20
"""Bounds of the cache of verified tokens: how many, and how many characters together. Their identities take about as
much memory again. The least recently used token is evicted first."""

NO_NAMES = Patterns(())

AHEAD = 60_000
"""Milliseconds that a token may be issued ahead of the clock; a later one was issued by a wrong clock."""

SMALLEST_TIME = 1 << 31
"""A smaller `e` is in seconds or invalid, so the token is rejected (section 3.1), unless it says when it was issued:
then this gateway made it, with a clock near 1970."""


class Claims(Struct, omit_defaults=False):
    """The payload: actions, expiry (ms), type, user id, network ids, device type ids, and our own members.

    `c` are name patterns, `i` is when the token was issued (ms), and `j` its id, which all tokens have that were made
    together or by refreshing. `g` is the generation of the user's tokens that it belongs to, 0 when absent.
    `d` are the ids of the devices that it is a token of.

    A client's token has the id of the client's record in `cl`, its privileges by tenant in `tn`, and user id 0.
    It has not the client's own id, so that a new client with the id of a deleted one does not revive the old tokens.
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
    i: int | UnsetType = UNSET
    j: str | UnsetType = UNSET
    g: int | UnsetType = UNSET
    d: list[str] | UnsetType = UNSET


class VerifiedTokens:
    """A cache of verified tokens and their identities, because REST callers send the same token with every request.

    Only valid tokens are cached, and only in memory. The owner clears the cache when any user, client or tenant
    changes, since an identity depends on them.
    """

    def __init__(self, most: int = CACHED_TOKENS, most_bytes: int = CACHED_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._identities: OrderedDict[str, Identity] = OrderedDict()
        self.bytes = 0

    def find(self, token: str) -> Identity | None:
        """The identity of a cached token, which may have expired; None when it is not cached."""
        found = self._identities.get(token)
        if found is not None:
            self._identities.move_to_end(token)
        return found

    def remember(self, token: str, identity: Identity) -> None:
        """Cache a token that was verified just now."""
        self._identities[token] = identity
        self.bytes += len(token)
        while len(self._identities) > self._most or self.bytes > self._most_bytes:
            self.forget(next(iter(self._identities)))

    def forget(self, token: str) -> None:
        """Remove a cached token."""
        del self._identities[token]
        self.bytes -= len(token)

    def clear(self) -> None:
        """Remove all tokens."""
        self._identities.clear()
        self.bytes = 0

    def __len__(self) -> int:
        """The number of cached tokens."""
        return len(self._identities)


class Tokens:
    """Mints and verifies tokens, and says which are still accepted. Lifetimes are milliseconds."""

    def __init__(self, key: Key, users: Users, tenants: Tenants, access_lifetime: int, refresh_lifetime: int) -> None:
        self._key = key
        self.previous: Previous | None = None
        """The previous key, whose tokens are still accepted for a while."""
        self._users = users
        self._tenants = tenants
        self.revocations = Revocations(users.ledger)
        self._verified = VerifiedTokens()
        self.access_lifetime = access_lifetime
        self.refresh_lifetime = refresh_lifetime
        self.generation = 0
        """Grows with every change of a user, client or tenant, and with every revocation. Cached decisions about
        rights depend on it."""
        users.on_change = tenants.on_change = self.begin_generation
        self.revocations.on_change = self._end_revoked
        self.on_revoked: Callable[[], None] = lambda: None
        """Called when tokens were revoked, after what waits for the ledger was dropped."""

    def begin_generation(self) -> None:
        """Invalidate all cached decisions about rights."""
        self.generation += 1
        self._verified.clear()

    def _end_revoked(self) -> None:
        """Drop what waits to be written with tokens that were revoked."""
        self.begin_generation()
        self._users.ledger.end_by(self.revoked)
        self.on_revoked()

    def use(self, key: Key, previous: Previous | None) -> None:
        """Sign with this key from now on. Tokens of keys that are neither of the two are refused."""
        self._key, self.previous = key, previous
        self.begin_generation()

    def as_now(self, identity: Identity) -> Identity:
        """The identity with what may have changed since its token was verified; the same object if nothing has.

        Its user may have another login, or no longer all device types, and the key that signed its token may expire.
        """
        previous, user = self.previous, self._users.by_id(identity.user_id)
        if previous is not None and identity.key == previous.key.mark and identity.expires > previous.until:
            identity = structs.replace(identity, expires=previous.until)
        if user is not None and user.login != identity.login:
            identity = structs.replace(identity, login=user.login)
        if user is not None and identity.tenants is None and not _unrestricted(identity, user):
            identity = structs.replace(identity, tenants={})
        return identity

    def derived_keys(self, purpose: str, now: int) -> list[bytes]:
        """Keys for another purpose, which do not reveal those of the tokens; the first one is for signing."""
        keys = [self._key]
        if self.previous is not None and self.previous.until >= now:
            keys.append(self.previous.key)
        return [hmac.digest(key.value, purpose.encode(), "sha256") for key in keys]

    def mint(self, claims: Claims) -> str:
        """The token in compact form; its header is exactly `{"alg":"HS256"}`."""
        payload = {"payload": msgspec.to_builtins(claims)}
        # Without `typ`, which PyJWT adds by default.
        return jwt.encode(payload, self._key.value, algorithm="HS256", headers={"typ": None})

    def claims(self, token: str) -> Claims:
        """The payload of a token with a valid signature and shape, expired or not; raises InvalidCredentials."""
        return self._read(token)[0]

    def _read(self, token: str) -> tuple[Claims, Key]:
        """The same, and the key that signed it."""
        if len(token) > MAX_TOKEN:
            raise InvalidCredentials
        key, previous = self._key, self.previous
        try:
            try:
                claims = _decode(token, key)
            except jwt.InvalidSignatureError:
                if previous is None:
                    raise
                key = previous.key
                claims = _decode(token, key)
                claims.e = min(claims.e, previous.until)  # it expires when its key does
        except (jwt.InvalidTokenError, msgspec.ValidationError, KeyError, RecursionError, UnicodeError):
            raise InvalidCredentials from None
        if claims.e < SMALLEST_TIME and claims.i is UNSET:
            raise InvalidCredentials
        return claims, key

    def verify(self, token: str, now: int) -> Identity:
        """The identity of an access token (section 3.6); raises InvalidCredentials, TokenExpired or TokenRevoked."""
        found = self._verified.find(token)
        if found is None:
            found = self._verify(token, now)
            self._verified.remember(token, found)
        if found.issued > now + AHEAD:
            raise InvalidCredentials
        if found.expires < now:  # while it was cached; its owner's changes clear the cache
            self._verified.forget(token)
            raise TokenExpired
        return found

    def verified(self, token: str) -> Identity | None:
        """The identity of a token that was verified since the last change of a user, client or tenant. It is the same
        object until then; it may have expired."""
        return self._verified.find(token)

    def _verify(self, token: str, now: int) -> Identity:
        claims, key = self._read(token)
        if claims.t == REFRESH:  # it lives for months and may only be exchanged for access tokens
            raise InvalidCredentials
        if claims.e < now:
            raise TokenExpired
        if claims.cl is not UNSET:
            found = self._client_identity(claims, claims.cl)
        elif (user := self._owner(claims)) is not None:
            found = identity(claims, user)
        else:
            raise InvalidCredentials
        if self.revoked(found):
            raise TokenRevoked
        return structs.replace(found, key=key.mark)

    def _client_identity(self, claims: Claims, record_id: int) -> Identity:
        """The identity of a client's token: privileges in tenants that still exist, and no permissions."""
        client = self._tenants.by_record_id(record_id)
        if client is None or claims.u or claims.tn is UNSET:
            raise InvalidCredentials
        # A token cannot have more privileges than its client has now. They end with their tenant, and a new
        # tenant with the same id does not restore them.
        now = self._tenants.grants(client)
        tenants = {tenant: effective(given) & now[tenant] for tenant, given in claims.tn.items() if tenant in now}
        none: frozenset[int] = frozenset()
        found = Identity(0, client.id, claims.e, 0, none, none, NO_NAMES, tenants, client.record_id)
        return structs.replace(found, issued=claims.i or 0, token=claims.j or "")

    def refusal(self, identity: Identity, now: int) -> type[WireError] | None:
        """The error for a token that is no longer accepted, as a request gets it; None when it still is."""
        if identity.expires < now:
            return TokenExpired
        if identity.issued > now + AHEAD:
            return Unauthorized
        if self.revoked(identity):
            return TokenRevoked
        if identity.client:
            return None if self._tenants.by_record_id(identity.client) is not None else ClientDeleted
        user = self._users.by_id(identity.user_id)
        return None if user is not None and user.active else UserNotActive

    def check(self, identity: Identity, now: int) -> None:
        """Raise the error for a token that is no longer accepted."""
        if (refusal := self.refusal(identity, now)) is not None:
            raise refusal

    def revoked(self, identity: Identity) -> bool:
        """Whether the token was revoked: alone, with all tokens of its user, or with the key that signed it."""
        if identity.token in self.revocations:
            return True
        if identity.key not in (b"", self._key.mark, self.previous.key.mark if self.previous is not None else b""):
            return True
        if identity.devices and self.revocations.until(identity.devices) >= identity.issued:
            return True
        user = self._users.by_id(identity.user_id)
        return user is not None and user.content.generation != identity.generation

    def current(self, identity: Identity) -> Identity:
        """The identity without privileges in tenants that were deleted since; the same object if nothing changed."""
        client = self._tenants.by_record_id(identity.client) if identity.client else None
        if client is None or identity.tenants is None:
            return identity
        now = self._tenants.grants(client)
        tenants = {tenant: given & now[tenant] for tenant, given in identity.tenants.items() if tenant in now}
        return identity if tenants == identity.tenants else structs.replace(identity, tenants=tenants)

    def of_client(self, client: ApiClient, now: int) -> tuple[str, int]:
        """A client's access token and its expiry. It is the same one until it is refused, or nearly expired."""
        expires = self._expiry(client.token, now) if client.token is not None else 0
        if client.token is None or expires - now < SHORTEST:
            tenants = {tenant: in_order(given) for tenant, given in self._tenants.grants(client).items()}
            claims = Claims(
                [Permission.NONE], now + self.access_lifetime, ACCESS, 0, [], [], cl=client.record_id, tn=tenants
            )
            claims.i, claims.j = now, _token_id()
            client.token, expires = self.mint(claims), claims.e
        return client.token, expires

    def _expiry(self, token: str, now: int) -> int:
        """The expiry of an access token, 0 when it is refused."""
        try:
            return self.verify(token, now).expires
        except WireError:
            return 0

    def refresh(self, token: str, now: int) -> tuple[str, User]:
        """A new access token with the rights of a refresh token (section 3.11), and its user."""
        try:
            claims = self.claims(token)
        except InvalidCredentials:
            raise Unauthorized from None
        if claims.t != REFRESH:
            raise InvalidTokenType
        if claims.e < now:
            raise RefreshTokenExpired
        user = self._owner(claims)
        if user is None or (claims.i or 0) > now + AHEAD:
            raise Unauthorized
        ended = claims.d is not UNSET and self.revocations.until(claims.d) >= (claims.i or 0)
        if ended or (claims.j or "") in self.revocations or user.content.generation != (claims.g or 0):
            raise TokenRevoked
        # It ends with the refresh token, so that a token does not live for longer than its creator said.
        claims.t, claims.e, claims.i = ACCESS, min(claims.e, now + self.access_lifetime), now
        return self.mint(claims), user

    def _owner(self, claims: Claims) -> User | None:
        """The user of a token; None for a client's token, a deleted user and a locked one."""
        if claims.cl is not UNSET:
            return None
        user = self._users.by_id(claims.u)
        return user if user is not None and user.active else None

    def pair(self, claims: Claims, access_expiry: int, refresh_expiry: int, now: int) -> tuple[str, str]:
        """An access and a refresh token with the same rights and the same id.

        Raises OutOfBounds for rights that make a token longer than is verified.
        """
        # Later than what has revoked those of its devices, perhaps in the same millisecond.
        issued = now if claims.d is UNSET else max(now, self.revocations.until(claims.d) + 1)
        claims.i, claims.j = issued, _token_id()
        user = self._users.by_id(claims.u)
        if user is not None and user.content.generation:
            claims.g = user.content.generation
        claims.t, claims.e = ACCESS, access_expiry
        access = self.mint(claims)
        claims.t, claims.e = REFRESH, refresh_expiry
        refresh = self.mint(claims)
        if max(len(access), len(refresh)) > MAX_TOKEN:
            raise OutOfBounds(f"with so many patterns, ids or devices the token would exceed {MAX_TOKEN} characters")
        return access, refresh


def _token_id() -> str:
    """72 random bits, so ids do not repeat."""
    return secrets.token_urlsafe(9)


def _decode(token: str, key: Key) -> Claims:
    body: dict[str, Any] = jwt.decode(token, key.value, algorithms=["HS256"], options=_OPTIONS)
    return msgspec.convert(body["payload"], Claims)


_OPTIONS: Any = {
    "verify_signature": True,
    **dict.fromkeys(
        ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
    ),
}
# The payload has its own expiry (`e`); registered claims beside it are ignored.


def identity(claims: Claims, user: User) -> Identity:
    """What the claims grant (sections 3.4 and 3.5); raises InvalidCredentials for malformed ids or patterns."""
    try:
        granted = sum(1 << permission for permission in permissions.effective(claims.a))
        networks, device_types = _ids(claims.n), _ids(claims.dt)
    except ValueError:
        raise InvalidCredentials from None
    names = EVERYTHING
    if claims.c is not UNSET:
        if any(patterns.problem(pattern) for pattern in claims.c):
            raise InvalidCredentials
        names = Patterns(claims.c)
    found = Identity(
        user.id,
        user.login,
        claims.e,
        granted,
        networks,
        device_types,
        names,
        issued=claims.i or 0,
        token=claims.j or "",
        generation=claims.g or 0,
        says_networks=claims.n is not None,
        devices=frozenset(() if claims.d is UNSET else claims.d),
    )
    if user.content.role == Role.ADMIN and _unrestricted(found, user):
        # A user's token cannot name tenants. An administrator's token for everything includes them all; one that was
        # narrowed on purpose must not.
        return structs.replace(found, tenants=None)
    return found


def _unrestricted(identity: Identity, user: User) -> bool:
    """Whether the token grants everything; a user with all device types has them whatever its token says."""
    if user.content.all_device_types_available and identity.device_types is not None:
        identity = structs.replace(identity, device_types=None)
    return identity.unrestricted


def _ids(texts: list[str] | None) -> frozenset[int] | None:
    """The ids in a list of scopes: None when it contains `*`, none when the list is missing. Raises ValueError."""
    if not all(text == "*" or (text.isascii() and text.isdecimal()) for text in texts or ()):
        raise ValueError("neither a number nor '*'")
    if texts and "*" in texts:
        return None
    return frozenset(map(int, texts or ()))


def login_claims(user: User, networks: Container[int], device_types: Container[int]) -> Claims:
    """The rights that a login gets, of a client in those networks and device types that exist (section 3.9).

    Of a client, `*` stands for the networks that it belongs to (addendum, section 4). A long list says so.
    """
    content = user.content
    if content.role == Role.ADMIN:
        return Claims([Permission.ANY], 0, ACCESS, user.id, ["*"], ["*"])
    members = [str(each) for each in sorted(content.networks) if each in networks]
    assigned = [str(each) for each in sorted(content.device_types) if each in device_types]
    types = ["*"] if content.all_device_types_available else assigned
    listed = members if len(members) <= MOST_LISTED else ["*"]
    return Claims(sorted(permissions.CLIENT), 0, ACCESS, user.id, listed, types)
