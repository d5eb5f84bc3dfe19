"""Users as administrators and users themselves see them (core protocol, sections 6.2, 6.3 and 7)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from msgspec import structs

from hivewire.access.passwords import Busy
from hivewire.access.user_changes import change_user, existing
from hivewire.access.users import KIND, User, UserContent
from hivewire.actions import network
from hivewire.actions.checks import check_token
from hivewire.actions.listing import Listing, ListingWithin, arrangement, equal, like, page, search
from hivewire.actions.user_checks import check_changes, check_free, check_new, taken
from hivewire.caller import Caller
from hivewire.dispatch import NOT_ADMINISTRATOR, check_administrator
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, Expected, Guard, Transaction
from hivewire.services import Services
from hivewire_protocol import times
from hivewire_protocol.errors import (
    InvalidParameters,
    NotAllowed,
    NotFound,
    Unauthorized,
    Unavailable,
)
from hivewire_protocol.messages import DONE, Reply
from hivewire_protocol.nouns.user import (
    Role,
    Status,
    UserCount,
    UserCountReply,
    UserCreated,
    UserDelete,
    UserGet,
    UserGetCurrent,
    UserInsert,
    UserInsertFields,
    UserInsertReply,
    UserList,
    UserListed,
    UserUpdate,
    UserUpdateCurrent,
    UserUpdateFields,
)

GENERATION_BITS = 31
"""Of the first generation of a user's tokens, which is random."""

_SORT_KEYS = {"id": lambda user: user.id, "login": lambda user: user.login}


def get(services: Services, caller: Caller, request: UserGet) -> Reply:
    """A user. Clients see only themselves."""
    user = existing(services.users, request.userId)
    if user.id != caller.identity.user_id and not _is_administrator(services, caller):
        raise NotFound(f"User with id = {user.id} not found")
    return _full("user", services, user)


def get_current(services: Services, caller: Caller, request: UserGetCurrent) -> Reply:
    """The caller."""
    user = services.users.by_id(caller.identity.user_id)
    if user is None:
        raise Unauthorized
    return _full("current", services, user)


def _full(name: str, services: Services, user: User) -> Reply:
    """A user with the networks that it belongs to, by id; over HTTP they may be any number."""
    networks = services.registry.networks
    own = [networks[each] for each in sorted(user.content.networks) if each in networks]
    return ListingWithin(name, own, network.view, "networks", UserListed(*_members(services, user)))


async def list_(services: Services, caller: Caller, request: UserList) -> Reply:
    """Users that match, sorted and paged: 20 over a socket, all over HTTP, as in DeviceHive."""
    arrange = arrangement(request, caller, _SORT_KEYS)

    def shown(user: User) -> UserListed:
        return UserListed(*_members(services, user))

    return Listing("users", await page(services.users.all(), _filter(request), arrange), shown)


async def count(services: Services, caller: Caller, request: UserCount) -> Reply:
    """The number of users that match."""
    return UserCountReply(len(await search(services.users.all(), _filter(request))))


def check_user_exists(services: Services, caller: Caller, parameters: Mapping[str, str]) -> None:
    """Raise NotFound unless the user in a path exists; decoding refuses an id that is not a number."""
    user_id = parameters["userId"]
    if user_id.isdecimal() and services.users.by_id(int(user_id[:20])) is None:
        raise NotFound(f"User with id = {user_id[:20]} not found")


async def insert(services: Services, caller: Caller, request: UserInsert) -> Reply:
    """Create a user. Raises NotAllowed when the login is taken."""
    fields = request.user
    if not isinstance(fields, UserInsertFields):
        raise InvalidParameters("User is required")
    login = check_new(services.users, fields)
    _check_administrator(services, caller)
    content = UserContent(
        await _hash(services, fields.password or ""),
        _or(fields.role, Role.CLIENT),
        _or(fields.status, Status.ACTIVE),
        fields.data,
        bool(fields.introReviewed),
        fields.allDeviceTypesAvailable is not False,
        # Behind a restored backup the id may be that of a user created since: no token of that one may count for this.
        secrets.randbits(GENERATION_BITS),
    )
    check_token(services, caller)  # it may have lost the role while the password was hashed, which ends its tokens
    transaction = services.users.write(login, content, caller.identity.login, (Expected(version=0),))

    def inserted(changes: list[Change]) -> Reply:
        created = UserCreated(
            changes[0].id, None, content.data, content.intro_reviewed, content.all_device_types_available
        )
        return UserInsertReply(created)

    pending: PendingWrite[Reply] = PendingWrite(transaction, inserted, lambda refused: taken())
    return await commit(services.ledger, pending.tried(request.dryRun), caller.identity)


def _check_administrator(services: Services, caller: Caller) -> None:
    """In the reference server any holder of ManageUser can set an administrator's password and become one."""
    check_administrator(services, caller.identity, "login, password, role and status need")


async def update(services: Services, caller: Caller, request: UserUpdate) -> Reply:
    """Change a user. `data` is always overwritten: absent or null clears it, as in DeviceHive."""
    given = isinstance(request.user, UserUpdateFields)
    if not given and not caller.http:
        raise InvalidParameters("User is required")
    user = existing(services.users, request.userId)
    if not isinstance(request.user, UserUpdateFields):
        return DONE  # a PUT without a body
    return await _change(services, caller, user, request.user, own=False, dry_run=request.dryRun)


async def update_current(services: Services, caller: Caller, request: UserUpdateCurrent) -> Reply:
    """Change the caller itself: its own password needs no other right."""
    if not isinstance(request.user, UserUpdateFields):
        if caller.http:
            return DONE
        raise InvalidParameters("User is required")
    user = existing(services.users, caller.identity.user_id)
    return await _change(services, caller, user, request.user, own=True, dry_run=request.dryRun)


async def _change(
    services: Services, caller: Caller, user: User, fields: UserUpdateFields, *, own: bool, dry_run: bool | None
) -> Reply:
    """Change a user, which is the caller's `own`. The rules that DeviceHive does not have come after those it has."""
    login = None if fields.login is None or fields.login.strip() == user.login else fields.login.strip()
    decides = login is not None or fields.role is not None or fields.status is not None
    if decides and not _is_administrator(services, caller):
        raise NotAllowed(NOT_ADMINISTRATOR)
    check_changes(services.users, fields, login)
    if decides or (fields.password and not own):
        _check_administrator(services, caller)
    password_hash = await _hash(services, fields.password) if fields.password else None

    def change(user: User) -> Transaction:
        check_token(services, caller)  # as in `insert`
        content = structs.replace(
            user.content.with_role(_or(fields.role, user.content.role)),
            password_hash=password_hash or user.content.password_hash,
            status=_or(fields.status, user.content.status),
            data=fields.data,
            intro_reviewed=bool(_or(fields.introReviewed, user.content.intro_reviewed)),
        )
        if login is not None and login != user.login:
            check_free(services.users, login)
            transaction = services.users.rename(user, login, content, caller.identity.login)
        else:
            transaction = services.users.replace(user, content, caller.identity.login)
        if _steps_down(user, content):
            transaction.guards = [_another_administrator(services, user)]
        return transaction

    reply = await change_user(services.users, caller.identity, user.id, change, dry_run)
    if fields.status == Status.ACTIVE and not dry_run:
        services.throttle.forgive(user.login if login is None else login)
    return reply


def _is_administrator(services: Services, caller: Caller) -> bool:
    """Whether the caller's user has that role, whatever the token grants."""
    user = services.users.by_id(caller.identity.user_id)
    return user is not None and user.content.role == Role.ADMIN


async def delete(services: Services, caller: Caller, request: UserDelete) -> Reply:
    """Delete a user. Its memberships are part of its record; its tokens, sockets and waiting writes end."""
    if request.userId is None:
        raise InvalidParameters("User id is wrong or empty")
    if request.userId == caller.identity.user_id:
        raise NotAllowed("You can not delete a user or access key that you use to authenticate this request")

    def change(user: User) -> Transaction:
        check_token(services, caller)
        if user.content.role == Role.ADMIN:
            check_administrator(services, caller.identity, "to delete an administrator takes")
        transaction = services.users.delete(user, caller.identity.login)
        if user.administers:
            transaction.guards = [_another_administrator(services, user)]
        return transaction

    return await change_user(services.users, caller.identity, request.userId, change, request.dryRun)


def _another_administrator(services: Services, user: User) -> Guard:
    """The condition that another active administrator does not step down at the same time. Raises NotAllowed."""
    for other in services.users.administrators():
        if other.id != user.id:
            return Guard(KIND, other.login, (other.unchanged,))
    raise NotAllowed("This is the last active administrator")


def _steps_down(user: User, content: UserContent) -> bool:
    """Whether the new content leaves an active administrator without that role or status."""
    return user.administers and (content.role != Role.ADMIN or content.status != Status.ACTIVE)


def _or(given: int | None, current: int) -> int:
    return current if given is None else given


async def _hash(services: Services, password: str) -> str:
    try:
        return await services.passwords.hash(password)
    except Busy:
        raise Unavailable("Too many logins at the same time; try again in a few seconds") from None


def _filter(request: UserList | UserCount) -> Callable[[User], bool]:
    """The test for the users that are asked for. `loginPattern` overrides `login`."""
    role, status = request.role, request.status
    login = like(request.loginPattern, "loginPattern") or equal(request.login)

    def matches(user: User) -> bool:
        return login(user.login) and role in (None, user.content.role) and status in (None, user.content.status)

    return matches


def _members(
    services: Services, user: User
) -> tuple[int, str, int, int, str | None, dict[str, object] | None, bool, bool]:
    content, last = user.content, services.users.last_login(user)
    return (
        user.id,
        user.login,
        content.role,
        content.status,
        times.render(last) if last is not None else None,
        content.data,
        content.intro_reviewed,
        content.all_device_types_available,
    )


READS = {
    UserGet: get,
    UserGetCurrent: get_current,
    UserList: list_,
    UserCount: count,
    UserInsert: insert,
    UserUpdate: update,
    UserUpdateCurrent: update_current,
    UserDelete: delete,
}
