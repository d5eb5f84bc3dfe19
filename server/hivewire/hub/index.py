"""Which subscriptions match a key: one lookup for the exact key, and one for each prefix length that is in use."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Generic, TypeVar

from hivewire_protocol.patterns import Patterns

_S = TypeVar("_S")


class ByKey(dict[str, "tuple[_S] | dict[_S, None]"], Generic[_S]):
    """The subscriptions of each key, in the order in which they were made.

    They were allocated in that order, so a push to many reads memory in order. A key with only one subscription, such
    as that of a device, has a tuple, which takes a fifth of a dictionary.
    """

    __slots__ = ()

    def add(self, key: str, one: _S) -> None:
        """Add a subscription to a key."""
        waiting = self.get(key)
        if waiting is None:
            self[key] = (one,)
        elif isinstance(waiting, tuple):
            self[key] = dict.fromkeys((*waiting, one))
        else:
            waiting[one] = None

    def remove(self, key: str, one: _S) -> None:
        """Remove a subscription from a key."""
        waiting = self[key]
        if isinstance(waiting, dict):
            waiting.pop(one, None)
        if not waiting or waiting == (one,):
            del self[key]


class Index(Generic[_S]):
    """Subscriptions by patterns over keys. The cost of `find` does not grow with the patterns that do not match.

    The pieces of one pattern set are disjoint, so a key finds a subscription at most once.
    """

    __slots__ = ("_exact", "_lengths", "_prefixes", "_used")

    def __init__(self) -> None:
        self._exact = ByKey[_S]()
        self._prefixes: dict[str, dict[_S, None]] = {}
        self._used: Counter[int] = Counter()
        self._lengths: list[int] = []

    def add(self, patterns: Patterns, sub: _S) -> None:
        """From now on the subscription is found by every key of the set."""
        for key in patterns.exact:
            self._exact.add(key, sub)
        for prefix in patterns.prefixes:
            self._prefixes.setdefault(prefix, {})[sub] = None
        self._count(patterns.prefixes, 1)

    def remove(self, patterns: Patterns, sub: _S) -> None:
        """Undo an `add` of the same set."""
        for key in patterns.exact:
            self._exact.remove(key, sub)
        for prefix in patterns.prefixes:
            following = self._prefixes[prefix]
            following.pop(sub, None)
            if not following:
                del self._prefixes[prefix]
        self._count(patterns.prefixes, -1)

    def _count(self, prefixes: Iterable[str], step: int) -> None:
        used = self._used
        for prefix in prefixes:
            length = len(prefix)
            before, used[length] = used[length], used[length] + step
            if not before:
                insort(self._lengths, length)
            elif not used[length]:
                del used[length]
                self._lengths.remove(length)

    def find_any(self, keys: Sequence[str]) -> Collection[_S]:
        """The subscriptions that match one of the keys, each once."""
        if self._lengths:
            matching = [*filter(None, map(self.find, keys))]
            return matching[0] if len(matching) == 1 else dict.fromkeys(chain.from_iterable(matching))
        # Messages of devices have a dozen keys, of which mostly none or one is followed: then nothing has to be merged.
        followed = self._exact.keys() & keys
        if not followed:
            return ()
        if len(followed) == 1:
            found = self._exact[followed.pop()]
            return found if type(found) is tuple else list(found)
        return dict.fromkeys(chain.from_iterable([self._exact[key] for key in keys if key in followed]))

    def parts(self, key: str) -> tuple[Collection[_S], ...]:
        """The collections that together are what `find` returns: the same objects for keys that match alike."""
        exact, size = self._exact.get(key), len(key)
        matching = [self._prefixes.get(key[:length]) for length in self._lengths if length <= size]
        return tuple([each for each in (exact, *matching) if each is not None])

    def find(self, key: str) -> list[_S]:
        """The subscriptions that match the key, each once."""
        # Each length in use costs one look-up, however many prefixes have it. So a pattern that does not match costs
        # nothing, and 10,000 patterns cost no more than their different lengths.
        found = list(self._exact.get(key, ()))
        prefixes = self._prefixes
        size = len(key)
        for length in self._lengths:
            if length > size:
                break
            matching = prefixes.get(key[:length])
            if matching is not None:
                found += matching
        return found
