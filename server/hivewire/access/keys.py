"""Signing keys of tokens: the one in use, and the previous one while it is accepted."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import warnings
from typing import Literal

import jwt
from msgspec import Struct


class SecretError(Exception):
    """The signing secret cannot be used; the message says why and never contains it."""


class Key:
    """The HMAC key, derived from the secret by one of two rules (configuration contract, section 2)."""

    def __init__(self, secret: str, derivation: Literal["utf8", "devicehive"]) -> None:
        if derivation == "utf8":
            self.value = secret.encode()
            if len(self.value) < 32:
                raise SecretError(
                    "is shorter than 32 bytes; make one with `openssl rand -base64 48`, or remove the"
                    " setting to have one generated"
                )
        else:
            self.value = _lenient_base64(secret)
            if not self.value:
                raise SecretError("becomes an empty key with `jwt_key_derivation = devicehive`")
            if self.weak:
                # The gateway warns once at start; PyJWT would warn again for every token.
                warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)

        self.mark = hmac.digest(self.value, b"mark", "sha256")
        """An identifier of this key that reveals nothing about it."""

    @property
    def weak(self) -> bool:
        """Whether it is shorter than RFC 7518, section 3.2 requires for HS256; only `devicehive` allows that."""
        return len(self.value) < 32

    def __repr__(self) -> str:
        return "Key(...)"


class Previous(Struct, frozen=True):
    """A former key: it signs nothing, and its tokens are accepted `until` then (milliseconds)."""

    key: Key
    until: int


def _lenient_base64(secret: str) -> bytes:
    """The reference server's rule: skip characters outside Base64, decode whole groups of four (section 3.2)."""
    characters = re.sub(r"[^A-Za-z0-9+/]", "", secret)
    return base64.b64decode(characters[: len(characters) // 4 * 4])


def generate_secret() -> str:
    """A signing secret: 48 random bytes as text."""
    return secrets.token_urlsafe(48)
