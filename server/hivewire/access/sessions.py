"""Session tokens: what `users/authenticate` and the dashboard give to browsers (site properties, section 3).

`{user id}_{18 digits}_{32 hex}`: the digits are the time of the login in ticks of 100 ns since the year 1, the rest is
an HMAC over both and the user's password hash. So nothing is stored, and a token ends when the password changes or all
tokens of its user are revoked.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence

from hivewire.access.tokens import AHEAD
from hivewire.access.users import User, Users

_TICKS_IN_1970 = 621_355_968_000_000_000
_TICKS = 10_000
"""Ticks in a millisecond."""

_TOKEN = re.compile(r"(\d{1,18})_(\d{18})_([0-9a-f]{32})", re.ASCII)


class Sessions:
    """Mints and verifies. `keys` returns the valid keys at a time, the one for signing first; `lifetime` is
    milliseconds."""

    def __init__(self, keys: Callable[[int], Sequence[bytes]], users: Users, lifetime: int) -> None:
        self._keys = keys
        self._users = users
        self._lifetime = lifetime

    def mint(self, user: User, now: int) -> str:
        """A token for a user who has just logged in."""
        ticks = _TICKS_IN_1970 + now * _TICKS
        return f"{user.id}_{ticks:018}_{_mark(self._keys(now)[0], user, str(ticks))}"

    def verify(self, token: str, now: int) -> User | None:
        """The user of a token, active or not; None when it is malformed, unknown or too old."""
        match = _TOKEN.fullmatch(token)
        user = self._users.by_id(int(match[1])) if match else None
        if match is None or user is None:
            return None
        if not any(hmac.compare_digest(match[3], _mark(key, user, match[2])) for key in self._keys(now)):
            return None
        age = now - (int(match[2]) - _TICKS_IN_1970) // _TICKS
        return user if -AHEAD <= age < self._lifetime else None


def _mark(key: bytes, user: User, ticks: str) -> str:
    generation = f"_{user.content.generation}" if user.content.generation else ""
    message = f"{user.id}_{ticks}_{user.content.password_hash}{generation}".encode()
    return hmac.digest(key, message, "sha256").hex()[:32]
