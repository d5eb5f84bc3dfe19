"""Users as administrators and users themselves see them (core protocol, sections 6.2, 6.3 and 7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from hivewire.access.passwords import Busy
from hivewire.access.user_changes import change_user
from hivewire.access.users import KIND, User, UserContent
from hivewire.actions.listing import arrangement, equal, like, search
from hivewire.caller import Caller
from hivewire.dispatch import check_administrator
from hivewire.ledger.pending import PendingWrite, commit
from hivewire.ledger.records import Change, Expected, Guard, Refused
from hivewire.services import Services
from hivewire_protocol import times
from hivewire_protocol.errors import (
    InvalidParameters,
    NotAllowed,
    NotFound,
    OutOfBounds,
    Unauthorized,
    Unavailable,
    WireError,
)
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.nouns.user import (
    Role,
    Status,
    UserCreated,
    UserCurrentReply,
    UserFull,
    UserGetCurrent,
    UserInsert,
    UserInsertFields,
    UserInsertReply,
    UserList,
    UserListed,
    UserListReply,
    UserUpdate,
    UserUpdateFields,
)

_SORT_KEYS = {"id": lambda user: user.id, "login": lambda user: user.login}
_PASSWORD = re.compile(r".{6,128}")
_PASSWORD_RULE = "Password can contain only from 6 to 128 symbols!"  # noqa: S105 - a rule, no password
_LOGIN = re.compile(r"[\w@.-]+", re.ASCII)


def get_current(services: Services, caller: Caller, request: UserGetCurrent) -> Reply:
    """The caller, with the networks that it belongs to: none until networks exist."""
    user = services.users.by_id(caller.identity.user_id)
    if user is None:
        raise Unauthorized
    return UserCurrentReply(UserFull([], *_members(services, user)))


async def list_(services: Services, caller: Caller, request: UserList) -> Reply:
    """Users that match, sorted and paged: 20 over a socket, all over HTTP, as in DeviceHive."""
    arrange = arrangement(request, caller, _SORT_KEYS)
    users = await search(services.users.all(), _filter(request))
    return UserListReply([UserListed(*_members(services, user)) for user in arrange(users)])


def check_user_exists(services: Services, caller: Caller, parameters: Mapping[str, str]) -> None:
    """Raise NotFound unless the user in a path exists; decoding refuses an id that is not a number."""
    user_id = parameters["userId"]
    if user_id.isdecimal() and services.users.by_id(int(user_id[:20])) is None:
        raise NotFound(f"User with id = {user_id[:20]} not found")


async def insert(services: Services, caller: Caller, request: UserInsert) -> Reply:
    """Create a user. Raises NotAllowed when the login is taken. Texts are DeviceHive's (core protocol, section 6.3)."""
    fields = request.user
    if not isinstance(fields, UserInsertFields):
        raise InvalidParameters("User is required")
    _check_administrator(services, caller)
    login = _new_login(fields.login)
    if fields.role is None:
        raise InvalidParameters("User role is invalid or empty")
    if services.users.by_login(login) is not None:
        raise _taken(None)
    if not fields.password:
        raise OutOfBounds(_PASSWORD_RULE)
    _check(fields)
    content = UserContent(
        await _hash(services, fields.password),
        fields.role,
        _or(fields.status, Status.ACTIVE),
        fields.data,
        bool(fields.introReviewed),
        fields.allDeviceTypesAvailable is not False,
    )
    _check_administrator(services, caller)  # it may have lost the role while the password was hashed
    transaction = services.users.write(login, content, caller.identity.login, (Expected(version=0),))

    def inserted(changes: list[Change]) -> Reply:
        created = UserCreated(
            changes[0].id, None, content.data, content.intro_reviewed, content.all_device_types_available
        )
        return UserInsertReply(created)

    return await commit(services.ledger, PendingWrite(transaction, inserted, _taken))


def _new_login(given: str | None) -> str:
    """The login without blanks around it. Raises OutOfBounds, or InvalidParameters when there is none."""
    if given is None:
        raise InvalidParameters("login field cannot be null.")
    login = given.strip()
    if not 3 <= len(login) <= 128:
        raise OutOfBounds("Field cannot be empty. The length of login should be from 3 to 128 symbols.")
    if not _LOGIN.fullmatch(login):
        raise OutOfBounds(
            "Login can contain only lowercase or uppercase letters, numbers, and some special symbols (_@.-)"
        )
    return login


def _taken(refused: Refused | None) -> WireError:
    return NotAllowed("User with such login already exists. Please, select another one")


def _check_administrator(services: Services, caller: Caller) -> None:
    """In the reference server any holder of ManageUser can set an administrator's password and become one."""
    check_administrator(services, caller.identity, "login, password, role and status need")


async def update(services: Services, caller: Caller, request: UserUpdate) -> Reply:
    """Change a user. `data` is always overwritten: absent or null clears it, as in DeviceHive."""
    fields = request.user
    if not isinstance(fields, UserUpdateFields):
        raise InvalidParameters("User is required")
    if request.userId is None:
        raise InvalidParameters("User id is wrong or empty")
    user = services.users.by_id(request.userId)
    if user is None:
        raise NotFound(f"User with id = {request.userId} not found")
    if fields.login == user.login:
        fields.login = None  # consoles send it back as it is
    administers = any(value is not None for value in (fields.login, fields.role, fields.status, fields.password))
    if administers:
        _check_administrator(services, caller)
    if fields.login is not None:
        raise NotAllowed("A login cannot be changed")
    _check(fields)
    password_hash = await _hash(services, fields.password) if fields.password else None

    def change(content: UserContent) -> UserContent:
        if administers:
            _check_administrator(services, caller)  # it may have lost the role while the password was hashed
        return structs.replace(
            content.with_role(_or(fields.role, content.role)),
            password_hash=password_hash or content.password_hash,
            status=_or(fields.status, content.status),
            data=fields.data,
            intro_reviewed=bool(_or(fields.introReviewed, content.intro_reviewed)),
        )

    def guards(user: User) -> Sequence[Guard]:
        return [_another_administrator(services, user)] if _steps_down(user, fields) else ()

    await change_user(services.users, user.id, caller.identity.login, change, guards)
    if fields.status == Status.ACTIVE:
        services.throttle.forgive(user.login)
    return NOTHING


def _another_administrator(services: Services, user: User) -> Guard:
    """The condition that another active administrator does not step down at the same time. Raises NotAllowed."""
    for other in services.users.administrators():
        record = services.ledger.get(KIND, other.login)
        if other.id != user.id and record is not None:
            return Guard(KIND, other.login, (Expected(revision=record.revision),))
    raise NotAllowed("This is the last active administrator")


def _steps_down(user: User, fields: UserUpdateFields) -> bool:
    """Whether the change leaves an active administrator without that role or status."""
    return user.administers and (fields.role not in (None, Role.ADMIN) or fields.status not in (None, Status.ACTIVE))


def _or(given: int | None, current: int) -> int:
    return current if given is None else given


def _check(fields: UserInsertFields | UserUpdateFields) -> None:
    if fields.password and not _PASSWORD.fullmatch(fields.password):
        raise OutOfBounds(_PASSWORD_RULE)
    if fields.role is not None and fields.role not in tuple(Role):
        raise OutOfBounds("role must be 0 (administrator) or 1 (client)")
    if fields.status is not None and fields.status not in tuple(Status):
        raise OutOfBounds("status must be 0 (active), 1 (locked out) or 2 (disabled)")


async def _hash(services: Services, password: str) -> str:
    try:
        return await services.passwords.hash(password)
    except Busy:
        raise Unavailable("Too many logins at the same time; try again in a few seconds") from None


def _filter(request: UserList) -> Callable[[User], bool]:
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


READS = {UserGetCurrent: get_current, UserList: list_, UserInsert: insert, UserUpdate: update}
