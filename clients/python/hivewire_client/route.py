"""Where to connect next, and when (clients, section 6). It knows nothing of connections but how they ended."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterable

from hivewire_client.address import endpoint
from hivewire_client.errors import BadAddress, Busy, Closed, HivewireError, Unavailable, Unreachable

log = logging.getLogger("hivewire_client")

IN_VAIN = (1002, 1003, 1007, 1009)
"""Close codes after which another attempt would fail in the same way."""

TOO_MANY_FAILURES, LONG = 4029, 30.0

SETTLED = 10.0
"""Seconds of a live connection after which the waits start again from the shortest."""

_RETRY = re.compile(r"\bretry=(\d{1,7})\b")


class Backoff:
    """Full jitter: a random time up to `first` seconds, whose bound doubles with each attempt up to `longest`."""

    def __init__(
        self, first: float = 2.0, longest: float = 30.0, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self.first = first
        self.longest = longest
        self.attempts = 0
        self._uniform = uniform

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        bound = min(self.longest, self.first * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return self._uniform(0, bound)


def told(error: HivewireError) -> float | None:
    """The seconds after which the gateway wants the client to reconnect: those of `retry=…` in the reason of a close
    frame, of `Retry-After`, and half a minute after too many failed logins."""
    if isinstance(error, Closed):
        if found := _RETRY.search(error.reason):
            return int(found[1]) / 1_000
        if error.code == TOO_MANY_FAILURES:
            return LONG
    if isinstance(error, Unreachable | Busy | Unavailable):
        return error.retry_after
    return None


class Route:
    """The `address` of the next attempt, among those that were given and those that a gateway offers when it stops."""

    def __init__(self, addresses: Iterable[str], backoff: Backoff, clock: Callable[[], float] = time.monotonic) -> None:
        self._addresses = list(addresses)
        if not self._addresses:
            raise BadAddress("no address is given")
        places = [endpoint(each) for each in self._addresses]
        self._secure = all(place.startswith("wss:") for place in places)
        self._offered: list[str] = []
        self._not_before: dict[str, float] = {}
        self._backoff = backoff
        self._clock = clock
        self.address = self._addresses[0]

    def offer(self, alternatives: Iterable[str]) -> None:
        """The gateway stops, and offers others of its ledger. An address without TLS does not replace one with TLS."""
        self._offered = [each for each in alternatives if each != self.address and self._is_as_secure(each)]

    def _is_as_secure(self, address: str) -> bool:
        """Whether it is an address, with TLS if ours have it."""
        try:
            return endpoint(address).startswith("wss:") or not self._secure
        except BadAddress:
            log.warning("%r is not the address of a gateway", address)
            return False

    def settle(self, seconds: float) -> None:
        """A connection was live for this number of seconds."""
        if seconds >= SETTLED:
            self._backoff.attempts = 0

    def pause(self) -> float:
        """Seconds to wait before anything else is tried again."""
        return self._backoff.next()

    def after(self, error: HivewireError) -> float:
        """Choose the address of the next attempt after this error; returns the seconds to wait before it.

        To a gateway that offers others, or says when to come back, an attempt at another one need not wait.
        """
        now = self._clock()
        wait = told(error)
        if wait is not None:
            self._not_before[self.address] = now + wait
        if self._offered:
            self.address = self._offered.pop(0)
            return 0
        start = self._addresses.index(self.address) + 1 if self.address in self._addresses else 0
        others = self._addresses[start:] + self._addresses[:start]
        self.address = min(others, key=lambda each: max(now, self._not_before.get(each, 0)))
        left = max(0.0, self._not_before.get(self.address, 0) - now)
        return left if wait is not None else max(left, self._backoff.next())
