"""Session tokens: what `users/authenticate` gives to scripts and browsers (site properties, section 3).

`{user id}_{18 digits}_{32 hex}`: the digits are the time of the login in ticks of 100 ns since the year 1, the rest is
an HMAC over both and the user's password hash. So nothing is kept here, and a token ends with its password.
"""

from __future__ import annotations

import hmac
import re

from hivewire.access.users import User, Users

_TICKS_IN_1970 = 621_355_968_000_000_000
_TICKS = 10_000
"""Ticks in a millisecond."""

_TOKEN = re.compile(r"(\d{1,18})_(\d{18})_([0-9a-f]{32})", re.ASCII)


class Sessions:
    """Mints and verifies. `lifetime` is milliseconds."""

    def __init__(self, key: bytes, users: Users, lifetime: int) -> None:
        self._key = key
        self._users = users
        self._lifetime = lifetime

    def mint(self, user: User, now: int) -> str:
        """A token for a user who has just logged in."""
        ticks = _TICKS_IN_1970 + now * _TICKS
        return f"{user.id}_{ticks:018}_{self._mark(user, str(ticks))}"

    def verify(self, token: str, now: int) -> User | None:
        """Whose token it is, active or not; None when it is malformed, unknown or too old."""
        match = _TOKEN.fullmatch(token)
        user = self._users.by_id(int(match[1])) if match else None
        if match is None or user is None or not hmac.compare_digest(match[3], self._mark(user, match[2])):
            return None
        age = now - (int(match[2]) - _TICKS_IN_1970) // _TICKS
        return user if age < self._lifetime else None

    def _mark(self, user: User, ticks: str) -> str:
        message = f"{user.id}_{ticks}_{user.profile.password_hash}".encode()
        return hmac.digest(self._key, message, "sha256").hex()[:32]
