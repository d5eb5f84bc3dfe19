"""`authenticate`, and the requests that return or revoke tokens (core protocol 3.8-3.11; contract, section 3)."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, structs

from hivewire.access.identity import Identity
from hivewire.access.passwords import Busy
from hivewire.access.tokens import MAX_TOKEN, SMALLEST_TIME, Claims, login_claims
from hivewire.access.user_changes import change_user
from hivewire.access.users import User
from hivewire.actions.checks import check_token, time_of, violations
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.devices.scope import scope_of
from hivewire.dispatch import check_administrator
from hivewire.keyed_lock import TooManyWaiting
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Refused, Transaction
from hivewire.services import Services
from hivewire_protocol import coercion, times
from hivewire_protocol.errors import (
    AccessDenied,
    InvalidCredentials,
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    TooManyAttempts,
    Unauthorized,
    Unavailable,
    UnknownLogin,
    UserNotActive,
    WireError,
)
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.nouns.identity import (
    AccessTokenReply,
    Authenticate,
    AuthenticateReply,
    Token,
    TokenCreate,
    TokenPayload,
    TokenRefresh,
    TokenRevoke,
    TokensReply,
)
from hivewire_protocol.nouns.user import Role
from hivewire_protocol.patterns import EVERYTHING, MAX_PATTERNS, Patterns, problem
from hivewire_protocol.permissions import BY_NAME, Permission

_BY_NUMBER: dict[int, Permission] = {int(permission): permission for permission in Permission}
MAX_TOKEN_ID = 64
"""Longest id of a token that can be revoked, in characters."""

MOST_IDS = MAX_TOKEN // 4
"""Elements of a list in a request for a token. An id takes at least four characters of the token, and there are far
fewer actions, so no token has more."""

_IDS = re.compile(r"\*|\d{1,19}", re.ASCII)


def authenticate(services: Services, caller: Caller, request: Authenticate) -> Reply:
    """Take the identity of an access token; a failure changes nothing."""
    try:
        if not request.token:
            raise Unauthorized
        identity = services.tokens.verify(request.token, now())
    except WireError as error:
        services.telemetry.authentication_failed("authenticate", type(error), caller.address)
        raise
    former, caller.identity = caller.identity, identity
    if caller.listener is not None:
        caller.listener.authenticated()
    user = services.users.by_id(identity.user_id)
    if user is not None:
        services.users.logged_in(user)
    ended: list[int] = []
    for feed in caller.feeds:
        # Subscriptions belong to a user: another token of the same user continues them, one of another user ends them.
        if former.subject != identity.subject:
            ended += feed.end_all()
        feed.renew(identity)
    return AuthenticateReply(ended) if ended else NOTHING


async def token(services: Services, caller: Caller, request: Token) -> Reply:
    """Log in. Wrong passwords are counted for the login from this address."""
    login, password = request.login, request.password
    if not login or not login.strip() or not password:
        raise InvalidParameters("Invalid or empty authorization request parameters")
    user = await log_in(services, caller.address, login, password, "token", "password")
    return TokensReply(*login_tokens(services, user))


async def log_in(services: Services, address: str, login: str, password: str, where: str, how: str) -> User:
    """The user with this login and password. Success is in the audit, with `how`; a failure in the log, with `where`.

    Raises as `verify_password`.
    """
    try:
        user = await verify_password(services, address, login, password)
    except Unavailable:
        raise
    except WireError as error:
        # An unknown login may be a password in the wrong field.
        known = login if services.users.by_login(login) is not None else None
        services.telemetry.authentication_failed(where, type(error), address, known)
        raise
    services.users.logged_in(user)
    services.ledger.audit.note("login", user.login, user.login, address, how=how)
    return user


def login_tokens(services: Services, user: User) -> tuple[str, str]:
    """The access token and the refresh token of a user who is logged in."""
    moment, tokens = now(), services.tokens
    claims = login_claims(user, services.registry.networks, services.registry.device_types)
    return tokens.pair(claims, moment + tokens.access_lifetime, moment + tokens.refresh_lifetime, moment)


async def verify_password(services: Services, address: str, login: str, password: str) -> User:
    """The user with this login and password. Raises WireError: wrong, locked, throttled, or too many at once."""
    _check_wait(services, login, address)
    user = await services.ledger.sure(partial(_known, services, login), UnknownLogin)
    _active(services, user.id)
    if len(password) > 128:
        raise InvalidCredentials  # an unknown login is not counted: no user's password was guessed
    try:
        async with services.throttle.attempt(login, address):
            _check_wait(services, login, address)  # attempts that waited before this one may have used up the free ones
            verified = None
            current = _active(services, user.id)
            # A new password may be set while this one waits or is hashed. Then the new one counts.
            while current.content.password_hash != verified:
                verified = current.content.password_hash
                stranger = not services.throttle.knows(login, address)
                if not await services.passwords.verify(verified, password, stranger=stranger):
                    services.throttle.fail(login, address)
                    raise InvalidCredentials
                current = _active(services, user.id)
            services.throttle.succeed(login, address)
            return current
    except (Busy, TooManyWaiting):
        raise Unavailable("Too many logins at the same time; try again in a few seconds") from None


def _known(services: Services, login: str) -> User:
    """The user with this login. Raises UnknownLogin."""
    user = services.users.by_login(login)
    if user is None:
        raise UnknownLogin(UnknownLogin.text.format(login=login[:128]))
    return user


def _active(services: Services, user_id: int) -> User:
    """The user as it is now. Raises UserNotActive."""
    user = services.users.by_id(user_id)
    if user is None or not user.active:
        raise UserNotActive
    return user


def _check_wait(services: Services, login: str, address: str) -> None:
    if wait := services.throttle.wait(login, address):
        seconds = -(-wait // 1_000)
        raise TooManyAttempts(TooManyAttempts.text.format(seconds=seconds), retryAfter=seconds)


def token_refresh(services: Services, caller: Caller, request: TokenRefresh) -> Reply:
    """A new access token with the rights of the refresh token."""
    if not request.refreshToken:
        raise InvalidParameters("Missing or invalid payload in request")
    try:
        access, user = services.tokens.refresh(request.refreshToken, now())
    except WireError as error:
        services.telemetry.authentication_failed("token/refresh", type(error), caller.address)
        raise
    services.users.logged_in(user)
    services.ledger.audit.sum("token", user.login, user.login, caller.address, how="refresh")
    return AccessTokenReply(access)


def token_create(services: Services, caller: Caller, request: TokenCreate) -> Reply:
    """Mint tokens with no more rights than the caller's own."""
    identity, payload = caller.identity, request.payload
    if payload is None:
        raise InvalidParameters("Missing or invalid payload in request")
    user, maker = _owner(services, identity, payload), services.users.by_id(identity.user_id)
    if user.content.role == Role.ADMIN and (maker is None or maker.content.role != Role.ADMIN):
        # Administrators may do what no permission covers, such as setting passwords.
        raise AccessDenied.because("only administrators make tokens for administrators")
    if len(payload.deviceIds or ()) > MAX_DEVICES:
        raise OutOfBounds(f"deviceIds: a token is for at most {MAX_DEVICES} devices")
    for device_id in payload.deviceIds or ():
        services.registry.reach(identity, device_id)
    claims = _claims(identity, scope_of(identity, maker).types, user, payload)
    tokens, moment = services.tokens, now()
    access_expiry = _time(payload.expiration, "expiration")
    refresh_expiry = _time(payload.refreshExpiration, "refreshExpiration")
    if refresh_expiry is None:
        refresh_expiry = access_expiry if access_expiry is not None else moment + tokens.refresh_lifetime
    if access_expiry is None:
        access_expiry = moment + tokens.access_lifetime
    pair = tokens.pair(claims, access_expiry, refresh_expiry, moment)
    names = [Permission(number).wire_name for number in claims.a or ()]
    services.ledger.audit.note(
        "token",
        user.login,
        identity.login,
        caller.address,
        actions=names,
        names=(claims.c or [])[:20],
        networkIds=(claims.n or [])[:20],
        deviceTypeIds=(claims.dt or [])[:20],
        deviceIds=(claims.d or [])[:20],
        expires=access_expiry,
    )
    return TokensReply(*pair)


def _owner(services: Services, identity: Identity, payload: TokenPayload) -> User:
    """The user for whom a token is made. Raises InvalidParameters, AccessDenied, NotFound or NotAllowed."""
    if payload.userId is None:
        raise violations([("userId", None, "must not be null")])
    if payload.userId != identity.user_id and not identity.may(Permission.MANAGE_USER):
        raise AccessDenied.because(f"a token for somebody else needs {Permission.MANAGE_USER.wire_name}")
    user = services.users.by_id(payload.userId)
    if user is None:
        raise NotFound(f"User with id = {payload.userId} not found")
    if not user.active:
        raise NotAllowed(UserNotActive.text)
    return user


MAX_DEVICES = 1_000
"""Devices of one token."""


async def token_revoke(services: Services, caller: Caller, request: TokenRevoke) -> Reply:
    """Revoke tokens: all of a user, or those with one id. Users who are not administrators can revoke all of their
    own."""
    given = (request.userId, request.tokenId, request.token)
    if sum(value is not None for value in given) > 1:
        raise InvalidParameters("give only one of userId, tokenId and token")
    identity = caller.identity
    own = request.userId == identity.user_id or given == (None, None, None)
    if not own:
        check_administrator(services, identity, "ending these tokens needs")
    if own or request.userId is not None:
        user_id = identity.user_id if request.userId is None else request.userId
        return await _revoke_all(services, caller, user_id)
    token_id = request.tokenId
    if request.token is not None:
        token_id = services.tokens.claims(request.token).j or None
    if token_id is None or not 1 <= len(token_id) <= MAX_TOKEN_ID:
        raise OutOfBounds("the token has no id: end all tokens of its user")
    if "/" in token_id:
        raise OutOfBounds("no id of a token has a slash: device/revoke ends the tokens of a device")
    transaction = services.tokens.revocations.revoke(token_id, identity.login)
    pending = PendingWrite(transaction, lambda changes: NOTHING, too_many_revoked)
    return await commit(services.ledger, pending, caller.identity)


def too_many_revoked(refused: Refused) -> WireError:
    """The error for a revocation that there is no room for."""
    return OutOfBounds("too many tokens are revoked: end all tokens of the user")


async def _revoke_all(services: Services, caller: Caller, user_id: int) -> Reply:
    """Begin a new generation of the user's tokens."""

    def change(user: User) -> Transaction:
        check_token(services, caller)
        content = structs.replace(user.content, generation=user.content.generation + 1)
        return services.users.replace(user, content, caller.identity.login)

    return await change_user(services.users, caller.identity, user_id, change)


def _claims(granter: Identity, types: frozenset[int] | None, user: User, payload: TokenPayload) -> Claims:
    """The requested rights, checked against those of the caller, who reaches these device types.

    Raises AccessDenied for anything beyond the caller's own rights.
    """
    networks = _scope(payload.networkIds, granter.networks, "networkIds")
    device_types = _scope(payload.deviceTypeIds, types, "deviceTypeIds")
    if user.content.all_device_types_available and types is not None:
        # The target user's own flag would extend any list to all types (core protocol 3.5).
        raise AccessDenied.because("the user sees all device types, and the caller does not")
    claims = Claims(_actions(granter, payload.actions), 0, 0, user.id, networks, device_types)
    if (names := _names(granter, payload.configurations)) is not None:
        claims.c = names
    if payload.deviceIds is not None:
        claims.d = payload.deviceIds
    return claims


def _actions(granter: Identity, given: list[Raw] | None) -> list[int]:
    """The numbers for names and numbers; unknown ones are dropped, and `[1]` stands for nothing."""
    wanted: set[Permission] = set()
    if len(given or ()) > MOST_IDS:
        raise OutOfBounds(f"actions: more than {MOST_IDS:,}")
    for raw in given or ():
        item = _item(raw)
        if isinstance(item, str):
            permission = BY_NAME.get(item.lower())
        elif isinstance(item, int) and not isinstance(item, bool):
            permission = _BY_NUMBER.get(item)
        else:
            raise OutOfBounds("Actions list should contain only Strings or Integers")
        if permission is not None:
            wanted.add(permission)
    wanted.discard(Permission.NONE)
    if lacking := [each.wire_name for each in sorted(wanted) if not _grants(granter, each)]:
        raise AccessDenied.because(f"the caller's own token does not grant {', '.join(lacking)}")
    return sorted(wanted) or [Permission.NONE]


def _item(raw: Raw) -> Any:
    """The value itself; None if it is out of range or, in a body, not UTF-8, which was not checked before."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _grants(granter: Identity, permission: Permission) -> bool:
    if permission is Permission.ANY:
        return all(granter.may(each) for each in Permission if each > Permission.NONE)
    return granter.may(permission)


def _scope(given: list[Raw] | None, own: frozenset[int] | None, field: str) -> list[str] | None:
    """Ids as strings, if all of them are within the caller's own; a missing list stays missing."""
    if given is None:
        return None
    if len(given) > MOST_IDS:
        raise OutOfBounds(f"{field}: with more than {MOST_IDS:,} ids the token would be too long")
    ids = [coercion.text(bytes(raw)) or "" for raw in given]
    for index, text in enumerate(ids):
        if not _IDS.fullmatch(text):
            raise OutOfBounds(f"{field}[{index}] is neither a number nor '*'")
        if own is not None and (text == "*" or int(text) not in own):
            raise AccessDenied.because(f"{field}[{index}] is not among those of the caller's own token")
    return ids


def _names(granter: Identity, given: list[str] | None) -> list[str] | None:
    """The name patterns of the new token, None for everything; absent ones are the caller's own."""
    if given is None:
        return None if granter.names is EVERYTHING else list(granter.names.patterns)
    if len(given) > MAX_PATTERNS:
        raise OutOfBounds(f"more than {MAX_PATTERNS} name patterns")
    for index, pattern in enumerate(given):
        if (what := problem(pattern)) is not None:
            raise OutOfBounds(f"configurations[{index}]: {what}")
        if not granter.names.contains(pattern):
            raise AccessDenied.because(f"configurations[{index}] is not among those of the caller's own token")
    return list(Patterns(given).patterns)


def _time(raw: Raw | None, field: str) -> int | None:
    time = time_of(field, raw)
    if time is not None and time < SMALLEST_TIME:
        raise OutOfBounds(
            f"{field} is before {times.render(SMALLEST_TIME)}: is it in seconds? It has to be in milliseconds"
        )
    return time


READS = {
    Authenticate: authenticate,
    Token: token,
    TokenRefresh: token_refresh,
    TokenCreate: token_create,
    TokenRevoke: token_revoke,
}
