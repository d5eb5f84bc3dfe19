"""Limits on guessing passwords: counted for a login from an address, so that nobody can lock others out.

After 10 wrong ones the next attempt waits 1 s, then 2, 4 ... up to 15 min (configuration contract, section 2).
Only logins that exist are counted: guesses at others lead nowhere, and must not push those out of memory.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from hivewire.addresses import network_prefix
from hivewire.keyed_lock import KeyedLock

FREE_ATTEMPTS = 10
LONGEST = 15 * 60_000
MAX_TRACKED = 100_000
"""Pairs of login and address that are remembered, about 20 MiB; the one that failed longest ago is forgotten first."""

FORGET_AFTER = 24 * 3_600_000

MAX_WAITING = 64
"""Attempts at one login from one address that may wait for each other."""


class Throttle:
    """Counts wrong passwords; `now` is milliseconds of a monotonic clock: setting the time changes no wait."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._failures: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._locks: KeyedLock[tuple[str, str]] = KeyedLock(MAX_WAITING)

    def wait(self, login: str, address: str) -> int:
        """Milliseconds until the next attempt is allowed; 0 when it is now."""
        count, last = self._failures.get(_pair(login, address), (0, 0))
        if count < FREE_ATTEMPTS:
            return 0
        delay = min(1_000 << min(count - FREE_ATTEMPTS, 20), LONGEST)
        return min(max(0, last + delay - self._now()), delay)

    def attempt(self, login: str, address: str) -> AbstractAsyncContextManager[None]:
        """One attempt after the other, so that many at a time learn no more than many in a row.

        Raises TooManyWaiting.
        """
        return self._locks.lock(_pair(login, address))

    def fail(self, login: str, address: str) -> None:
        """A wrong password."""
        pair = _pair(login, address)
        count, last = self._failures.pop(pair, (0, 0))
        if self._now() - last > FORGET_AFTER:
            count = 0
        self._failures[pair] = (count + 1, self._now())
        if len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)

    def succeed(self, login: str, address: str) -> None:
        """A right password: start counting from zero."""
        self._failures.pop(_pair(login, address), None)

    def forgive(self, login: str) -> None:
        """Forget the failures of a login from everywhere: an administrator unlocked it."""
        for pair in [pair for pair in self._failures if pair[0] == login]:
            del self._failures[pair]


class Rate:
    """A limit of calls in any second, for each name from an address; `now` is milliseconds."""

    def __init__(self, now: Callable[[], int], most: int) -> None:
        self._now = now
        self._most = most
        self._times: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def wait(self, name: str, address: str) -> int:
        """0 when this call is allowed, and it counts; else the milliseconds until the next one is."""
        pair, moment = _pair(name, address), self._now()
        times = self._times.pop(pair, None) or deque(maxlen=self._most)
        self._times[pair] = times
        if len(self._times) > MAX_TRACKED:
            self._times.popitem(last=False)
        if len(times) == self._most and 0 <= moment - times[0] < 1_000:
            return 1_000 - (moment - times[0])
        times.append(moment)
        return 0


def _pair(login: str, address: str) -> tuple[str, str]:
    return login[:128], network_prefix(address)
