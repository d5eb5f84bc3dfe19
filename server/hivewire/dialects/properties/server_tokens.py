"""Server tokens and the API key: secrets that another server shares with this gateway (site properties, section 3)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from hivewire.access.users import User, Users

VALID_SECONDS = 300
"""Seconds before and after the time in a token, within which it is valid."""

_SIGNED = re.compile(r"(\d{1,12})_(=.+|\d{1,18})_([0-9a-f]{64})", re.ASCII)


def signature(secret: str, key: str, epoch: str, user: str) -> str:
    """The hash of a token: HMAC-SHA256 over key, epoch and user without separators, in lower-case hex."""
    return hmac.digest(secret.encode(), f"{key}{epoch}{user}".encode(), "sha256").hex()


def parse_keys(text: str) -> dict[str, str]:
    """The secrets by their keys, from `key:secret` pairs separated by spaces."""
    return dict(pair.split(":", 1) for pair in text.split())


class ServerTokens:
    """Verifies `{key}_{epoch}_{user}_{hash}`, with or without `tkn_` before it."""

    def __init__(self, secrets: Mapping[str, str], users: Users) -> None:
        self._secrets = secrets
        self._users = users

    def verify(self, token: str, now: int) -> User | None:
        """The user that a valid token names, active or not. `now` is milliseconds."""
        for text in (token, token.removeprefix("tkn_")):
            for key, secret in self._secrets.items():
                if text.startswith(key + "_") and (match := _SIGNED.fullmatch(text, len(key) + 1)):
                    epoch, user, mark = match.groups()
                    genuine = hmac.compare_digest(mark, signature(secret, key, epoch, user))
                    if genuine and abs(now - int(epoch) * 1_000) <= VALID_SECONDS * 1_000:
                        return self._users.by_login(user[1:]) if user[0] == "=" else self._users.by_id(int(user))
        return None


def same(given: str, secret: str) -> bool:
    """Whether two secrets are equal, in a time that reveals neither content nor length."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(secret.encode()).digest())
