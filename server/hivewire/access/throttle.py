"""Limits on guessing passwords. Failures are counted for each login and address, so nobody can lock others out.

After 10 failures the next attempt has to wait 1 s, then 2, 4 ... up to 15 min (configuration contract, section 2).
Only logins that exist are counted: guesses at others cannot succeed, and must not evict real counts from memory.
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
"""Pairs of login and address that are counted, about 20 MiB. The pair that failed longest ago is evicted first."""

FORGET_AFTER = 24 * 3_600_000

MAX_WAITING = 64
"""Attempts at one login from one address that may be queued."""


class Throttle:
    """Counts wrong passwords. `now` gives milliseconds of a monotonic clock, so setting the time changes no delay."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._failures: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._locks: KeyedLock[tuple[str, str]] = KeyedLock(MAX_WAITING)

    def wait(self, login: str, address: str) -> int:
        """Milliseconds until the next attempt is allowed; 0 when it is allowed now."""
        count, last = self._failures.get(_pair(login, address), (0, 0))
        if count < FREE_ATTEMPTS:
            return 0
        delay = min(1_000 << min(count - FREE_ATTEMPTS, 20), LONGEST)
        return min(max(0, last + delay - self._now()), delay)

    def attempt(self, login: str, address: str) -> AbstractAsyncContextManager[None]:
        """A lock for one attempt at a login from an address, so that parallel attempts cannot outrun the count.

        Entering it raises TooManyWaiting.
        """
        return self._locks.lock(_pair(login, address))

    def fail(self, login: str, address: str) -> None:
        """Count a wrong password."""
        pair = _pair(login, address)
        count, last = self._failures.pop(pair, (0, 0))
        if self._now() - last > FORGET_AFTER:
            count = 0
        self._failures[pair] = (count + 1, self._now())
        if len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)

    def succeed(self, login: str, address: str) -> None:
        """Forget the failures after a right password."""
        self._failures.pop(_pair(login, address), None)

    def forgive(self, login: str) -> None:
        """Forget the failures of a login from all addresses, because an administrator unlocked it."""
        for pair in [pair for pair in self._failures if pair[0] == login]:
            del self._failures[pair]


class Rate:
    """A limit on calls within any second, for each pair of name and address. `now` gives milliseconds."""

    def __init__(self, now: Callable[[], int], most: int) -> None:
        self._now = now
        self._most = most
        self._times: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def wait(self, name: str, address: str) -> int:
        """0 when this call is allowed, which also counts it; otherwise milliseconds until the next one is allowed."""
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
