"""How often a password may be guessed: counted for a login from an address, so that nobody can lock others out.

After 10 wrong ones the next attempt waits 1 s, then 2, 4 ... up to 15 min (configuration contract, section 2).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

FREE_ATTEMPTS = 10
LONGEST = 15 * 60_000
MAX_TRACKED = 100_000
"""Pairs of login and address that are remembered, about 20 MiB; the one that was quiet longest is forgotten first."""

FORGET_AFTER = 24 * 3_600_000


class Throttle:
    """Counts wrong passwords; `now` is milliseconds."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._failures: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def wait(self, login: str, address: str) -> int:
        """Milliseconds until the next attempt is looked at; 0 when it may be now."""
        count, last = self._failures.get((login[:128], address), (0, 0))
        if count < FREE_ATTEMPTS:
            return 0
        delay = min(1_000 << min(count - FREE_ATTEMPTS, 20), LONGEST)
        return min(max(0, last + delay - self._now()), delay)

    def begin(self, login: str, address: str) -> bool:
        """An attempt is about to be looked at; whether it was counted as wrong already.

        Once the free attempts are used up it is, so that attempts in parallel cannot share one turn.
        """
        count, _ = self._failures.get((login[:128], address), (0, 0))
        if count < FREE_ATTEMPTS:
            return False
        self.fail(login, address)
        return True

    def fail(self, login: str, address: str) -> None:
        """A wrong password."""
        pair = (login[:128], address)
        count, last = self._failures.pop(pair, (0, 0))
        if self._now() - last > FORGET_AFTER:
            count = 0
        self._failures[pair] = (count + 1, self._now())
        if len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)

    def succeed(self, login: str, address: str) -> None:
        """A right one: start counting anew."""
        self._failures.pop((login[:128], address), None)

    def forgive(self, login: str) -> None:
        """Forget the failures of a login from everywhere: an administrator unlocked it."""
        for pair in [pair for pair in self._failures if pair[0] == login]:
            del self._failures[pair]
