"""A cache of verified passwords, so that one that is sent with every request is not hashed every time.

The cache has no password, only an HMAC of it. The key is random and exists only in this process.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from msgspec import Struct

from hivewire.access.users import User, Users

REMEMBERED = 60_000
"""Milliseconds for which a verified password is cached."""


class _Verified(Struct, gc=False):
    mark: bytes
    user: User
    until: int


class Remembered:
    """At most one password for each user. `now` returns milliseconds."""

    def __init__(self, users: Users, now: Callable[[], int]) -> None:
        self._users = users
        self._now = now
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, _Verified] = {}

    def find(self, login: str, password: str) -> User | None:
        """The user, if this password was verified within the last minute and the user has not changed since.

        Ask the throttle first: otherwise a caller that has to wait could go on guessing here.
        """
        verified = self._verified.get(login)
        if verified is None:
            return None
        # Every change of a user makes a new object: password, status, role.
        if verified.until < self._now() or self._users.by_login(login) is not verified.user:
            del self._verified[login]
            return None
        return verified.user if hmac.compare_digest(verified.mark, self._mark(login, password)) else None

    def remember(self, user: User, password: str) -> None:
        """Cache a password that was just verified."""
        self._verified[user.login] = _Verified(self._mark(user.login, password), user, self._now() + REMEMBERED)

    def _mark(self, login: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{len(login)}:{login}{password}".encode(), "sha256")
