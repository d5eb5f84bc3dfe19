"""What the members of a user have to be: DeviceHive's rules and texts, in its order (core protocol, section 6.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hivewire.access.users import Users
from hivewire.actions.checks import NO_OBJECT, Broken, violations
from hivewire_protocol.errors import InvalidParameters, NotAllowed, OutOfBounds
from hivewire_protocol.nouns.user import Role, Status, UserInsertFields, UserUpdateFields

_PASSWORD = re.compile(r"[^\n\r\u0085\u2028\u2029]{6,128}")
_PASSWORD_RULE = "Password can contain only from 6 to 128 symbols!"  # noqa: S105 - a rule, no password
_LOGIN = re.compile(r"[\w@.-]+", re.ASCII)
_LOGIN_LENGTH = "Field cannot be empty. The length of login should be from 3 to 128 symbols."
_LOGIN_FORM = "Login can contain only lowercase or uppercase letters, numbers, and some special symbols (_@.)"
_LOGIN_EMPTY = "Field login cannot be empty. The length of login should not be more than 128 symbols."


def check_new(users: Users, fields: UserInsertFields) -> str:
    """The login of a new user, without blanks around it. Raises WireError for the first member that breaks a rule."""
    check_data(fields.data)
    if broken := [*_broken(fields)]:
        raise violations(broken)
    if fields.login is None:
        raise violations([("login", None, "login field cannot be null.")])
    if fields.role is None:
        raise InvalidParameters("User role is invalid or empty")
    login = fields.login.strip()
    check_free(users, login)
    _check_password(fields.password)
    _check_login(login)
    _check_status(fields.status)
    return login


def check_changes(users: Users, fields: UserUpdateFields, login: str | None) -> None:
    """Raise WireError for the first member that breaks a rule; `login` is the new one, if it changes."""
    if login is not None:
        check_free(users, login)
    if fields.password:
        _check_password(fields.password)
    if fields.role is not None and fields.role not in tuple(Role):
        raise OutOfBounds("role must be 0 (administrator) or 1 (client)")
    _check_status(fields.status)
    if login == "":
        raise violations([("login", fields.login, _LOGIN_EMPTY)])
    if login is not None:
        _check_login(login)
    check_data(fields.data)


def check_data(data: Any) -> None:
    """Raise InvalidParameters unless it is an object or null."""
    if data is not None and not isinstance(data, dict):
        raise InvalidParameters(NO_OBJECT)


def check_free(users: Users, login: str) -> None:
    """Raise NotAllowed when a user has this login."""
    if users.by_login(login) is not None:
        raise taken()


def taken() -> NotAllowed:
    """The error for a login that another user has."""
    return NotAllowed("User with such login already exists. Please, select another one")


def _broken(fields: UserInsertFields) -> Iterator[Broken]:
    """The members with values that no user has: name, value and rule."""
    login, password = fields.login, fields.password
    if login is not None and not 1 <= len(login) <= 128:
        yield "login", login, _LOGIN_EMPTY
    for member, value, most in (("role", fields.role, 1), ("status", fields.status, 3)):
        if value is not None and value > most:
            yield member, str(value), f"The value of {member} should not be more than {most}."
        if value is not None and value < 0:
            yield member, str(value), f"The value of {member} should not be less than 0."
    if password is not None and len(password) > 128:
        yield "password", "...", "The length of password should not be more than 128 symbols."


def _check_password(password: str | None) -> None:
    if not _PASSWORD.fullmatch(password or ""):
        raise OutOfBounds(_PASSWORD_RULE)


def _check_login(login: str) -> None:
    broken = "" if 3 <= len(login) <= 128 else _LOGIN_LENGTH
    if not _LOGIN.fullmatch(login):
        broken += _LOGIN_FORM
    if broken:
        raise OutOfBounds(broken)


def _check_status(status: int | None) -> None:
    if status is not None and status not in tuple(Status):
        raise OutOfBounds("status must be 0 (active), 1 (locked out) or 2 (disabled)")
