"""Password hashing with argon2id, in threads and with a bounded queue."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_T = TypeVar("_T")

MAX_WAITING = 64
"""Most hashes that wait, for strangers and for all others each. One takes about 50 ms, so callers in a longer queue
would time out anyway."""

TIME, MEMORY = 3, 65_536
"""Passes, and KiB of each hash."""

NICE = 10
"""Niceness of the threads beyond that of the process, so that on a busy machine the event loop and the writer go first.
A hash then still gets a tenth of a core or more. With the lowest priority of all, logins could starve."""


class Busy(Exception):
    """Too many hashes are waiting already."""


class Passwords:
    """Hashes and verifies passwords, with 64 MiB each. One at a time for strangers, who cannot be told from guessers;
    beside it at most half of the cores (at least one) for everybody else.

    The parameters are the second recommended option of RFC 9106, section 4, except for one lane instead of four:
    the threads already work in parallel.
    """

    def __init__(self, threads: int | None = None, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=TIME, memory_cost=MEMORY, parallelism=1)
        self._strangers = _Queue(1)
        self._others = _Queue(threads or max(1, (os.cpu_count() or 1) // 2))

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash with a new salt. Raises Busy."""
        return await self._others.run(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str, password: str, *, stranger: bool = False) -> bool:
        """Whether the password is the hashed one, compared in constant time. Raises Busy."""
        return await (self._strangers if stranger else self._others).run(lambda: self._matches(encoded, password))

    def _matches(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        """Stop the threads: running hashes finish, waiting ones are dropped."""
        self._strangers.close()
        self._others.close()


class _Queue:
    """Threads that hash, and at most MAX_WAITING hashes that run or wait."""

    def __init__(self, threads: int) -> None:
        self.pool = ThreadPoolExecutor(threads, "argon2", _yield_to_others)
        self._waiting = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        if self._waiting >= MAX_WAITING:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)


def _yield_to_others() -> None:
    """Lower the priority of this thread. Only Linux has one for each thread; elsewhere nothing changes."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICE)


def unknown() -> str:
    """The hash of a password that nobody knows: random bytes in its form. To try it takes as long as any."""
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={MEMORY},t={TIME},p=1${salt}${digest}"


def generate() -> str:
    """A password of 20 letters and digits that are not easily confused, such as 0 and O (116 bits)."""
    alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "".join(secrets.choice(alphabet) for _ in range(20))
