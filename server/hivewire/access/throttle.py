"""Limits on guessing passwords, and on requests without a token.

Failures are counted for each login and address, so nobody can lock others out.

After 10 failures the next attempt has to wait 1 s, then 2, 4 ... up to 15 min (configuration contract, section 2).
Only logins that exist are counted: guesses at others cannot succeed, and must not evict real counts from memory.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from hivewire.addresses import network_prefix
from hivewire.keyed_lock import KeyedLock
from hivewire.settings import Settings
from hivewire_protocol.errors import TooManyRequests

FREE_ATTEMPTS = 10
LONGEST = 15 * 60_000
MAX_TRACKED = 100_000
"""Pairs of login and address that are counted, about 20 MiB. The pair that failed longest ago is evicted first."""

MAX_KNOWN = 10_000
"""Pairs with a successful login, about 2 MiB. The one whose login is longest ago is forgotten first."""

FORGET_AFTER = 24 * 3_600_000

MAX_WAITING = 64
"""Attempts at one login from one address that may be queued."""

BURST = 2.0
"""Size of a burst, in seconds of `anonymous_rate`: a web page or a starting program sends many requests at once."""


class Throttle:
    """Counts wrong passwords. `now` gives milliseconds of a monotonic clock, so setting the time changes no delay."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._failures: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
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
        """Forget the failures after a right password, and remember where it came from."""
        pair = _pair(login, address)
        self._failures.pop(pair, None)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def knows(self, login: str, address: str) -> bool:
        """Whether there was a right password for the login from this address since the start."""
        return _pair(login, address) in self._known

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
        self._times[pair] = times  # at the end: the pair that called longest ago is evicted first
        if len(self._times) > MAX_TRACKED:
            self._times.popitem(last=False)
        if len(times) == self._most and 0 <= moment - times[0] < 1_000:
            return 1_000 - (moment - times[0])
        times.append(moment)
        return 0


class AnonymousRate:
    """A limit on requests without a token, for each address: `anonymous_rate` a second, with bursts of BURST seconds.
    `now` gives seconds of a monotonic clock.

    One number is kept for each address: the moment when the bucket of the address is empty again (the generic cell
    rate algorithm of ATM).
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._paid: OrderedDict[str, float] = OrderedDict()

    def count(self, settings: Settings, address: str, requests: int = 1) -> None:
        """Count requests. Raises TooManyRequests, and counts nothing, when the address has to wait.

        An address that may send one request may send several in one message, and then waits longer. Requests from a
        trusted proxy that names no other address are not limited, because many clients may be behind it.
        """
        rate = settings.anonymous_rate
        if not rate or settings.trusts(address):
            return
        moment, prefix = self._now(), network_prefix(address)
        # A request moves the moment on by 1 / rate. It may be up to BURST seconds ahead.
        paid = max(self._paid.get(prefix, 0.0), moment)
        if (wait := paid - moment - BURST + 1 / rate) > 0:
            seconds = math.ceil(wait)
            raise TooManyRequests(TooManyRequests.text.format(seconds=seconds), retryAfter=seconds)
        self._paid[prefix] = paid + requests / rate
        self._paid.move_to_end(prefix)
        if len(self._paid) > MAX_TRACKED:
            self._paid.popitem(last=False)

    def give_back(self, settings: Settings, address: str, requests: int) -> None:
        """Take requests back that have led to a login."""
        prefix = network_prefix(address)
        if prefix in self._paid and settings.anonymous_rate:
            self._paid[prefix] -= requests / settings.anonymous_rate


def _pair(login: str, address: str) -> tuple[str, str]:
    return login[:128], network_prefix(address)
