"""Which subscriptions match a name: one lookup for the exact name, and one for each prefix length that is in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Generic, TypeVar

from hivewire_protocol.patterns import Patterns

_L = TypeVar("_L")


class Index(Generic[_L]):
    """Listeners by name patterns. The cost of `find` does not grow with the patterns that do not match.

    The pieces of one pattern set are disjoint, so a name finds a listener at most once.
    """

    __slots__ = ("_exact", "_lengths", "_prefixes", "_used")

    def __init__(self) -> None:
        # In the order in which they came: they lie in memory as they came, and a fan-out touches each of them.
        self._exact: dict[str, dict[_L, None]] = {}
        self._prefixes: dict[str, dict[_L, None]] = {}
        self._used: Counter[int] = Counter()
        self._lengths: list[int] = []

    def add(self, patterns: Patterns, listener: _L) -> None:
        """From now on the listener is found by every name of the set."""
        for name in patterns.exact:
            self._exact.setdefault(name, {})[listener] = None
        for prefix in patterns.prefixes:
            self._prefixes.setdefault(prefix, {})[listener] = None
        self._count(patterns.prefixes, 1)

    def remove(self, patterns: Patterns, listener: _L) -> None:
        """Undo an `add` of the same set."""
        for table, keys in ((self._exact, patterns.exact), (self._prefixes, patterns.prefixes)):
            for key in keys:
                listeners = table[key]
                listeners.pop(listener, None)
                if not listeners:
                    del table[key]
        self._count(patterns.prefixes, -1)

    def _count(self, prefixes: Iterable[str], step: int) -> None:
        for prefix in prefixes:
            self._used[len(prefix)] += step
        self._used = +self._used  # lengths that nobody uses any more are forgotten
        self._lengths = sorted(self._used)

    def find(self, name: str) -> list[_L]:
        """Those that match the name, each once."""
        found = list(self._exact.get(name, ()))
        prefixes = self._prefixes
        size = len(name)
        for length in self._lengths:
            if length > size:
                break
            listeners = prefixes.get(name[:length])
            if listeners is not None:
                found += listeners
        return found
