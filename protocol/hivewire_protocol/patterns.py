"""Name patterns: an exact name, or a prefix that ends in `*` (configuration contract, section 3).

Two patterns either exclude each other or one contains the other, so any set of them can be kept as disjoint pieces.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence

MAX_PATTERNS = 1_000
"""The most patterns in one list: enough for a client with a name for each device, bounded in time and memory."""

MAX_LENGTH = 1_024


def problem(pattern: str) -> str | None:
    """What is wrong with a pattern, as an error text; None when it is well-formed."""
    if not pattern:
        return "a name pattern is empty"
    if len(pattern) > MAX_LENGTH:
        return f"a name pattern is longer than {MAX_LENGTH} characters"
    if "*" in pattern[:-1]:
        several = "; give several patterns one by one, in a URL as names=A&names=B" if "," in pattern else ""
        return f"name pattern '{pattern}': '*' is allowed at the end only{several}"
    return None


class Patterns:
    """A set of names, given by patterns. It can be searched for a name and intersected with another set."""

    __slots__ = ("_exact", "_ordered", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        given = set(patterns)
        prefixes: list[str] = []
        for prefix in sorted(pattern[:-1] for pattern in given if pattern.endswith("*")):
            if not prefixes or not prefix.startswith(prefixes[-1]):  # the prefix before covers it already
                prefixes.append(prefix)
        self._prefixes = tuple(prefixes)
        exact = [name for name in given if not name.endswith("*") and not self._has_prefix_of(name)]
        # Most have one name, for which a set takes 216 bytes, and a tuple 48.
        self._exact: Collection[str] = frozenset(exact) if len(exact) > 1 else tuple(exact)
        self._ordered: tuple[str, ...] | None = None  # the same in order, once it was needed

    def _has_prefix_of(self, name: str) -> bool:
        """Whether a prefix of the set covers the name. Only the last prefix that sorts before the name can."""
        position = bisect_right(self._prefixes, name)
        return position > 0 and name.startswith(self._prefixes[position - 1])

    def __contains__(self, name: str) -> bool:
        return name in self._exact or self._has_prefix_of(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patterns) and (self._exact, self._prefixes) == (other._exact, other._prefixes)

    def __hash__(self) -> int:
        return hash((self._exact, self._prefixes))

    def contains(self, pattern: str) -> bool:
        """Whether every name that the pattern matches is in this set."""
        # Names can never fill a prefix, and no two prefixes join into a shorter one: one prefix must cover the pattern.
        return self._has_prefix_of(pattern[:-1]) if pattern.endswith("*") else pattern in self

    def covers(self, other: Patterns) -> bool:
        """Whether every name of another set is in this one."""
        return all(self.contains(pattern) for pattern in other.patterns)

    def __and__(self, other: Patterns) -> Patterns:
        """The names that are in both sets."""
        if self is EVERYTHING or other is EVERYTHING:
            return other if self is EVERYTHING else self
        # Two patterns that overlap contain one another, so the smaller of the two is their intersection. The larger set
        # is only searched: a token with many patterns is intersected with each of many subscriptions.
        few, many = (self, other) if self.size <= other.size else (other, self)
        found = [pattern for pattern in few.patterns if many.contains(pattern)]
        for prefix in few.prefixes:
            found += many._below(prefix)
        return Patterns(found)

    def _below(self, prefix: str) -> Iterator[str]:
        """The patterns of the set that another one, of all names with this prefix, contains."""
        if self._ordered is None:
            self._ordered = tuple(sorted(self._exact))
        yield from _with_prefix(self._ordered, prefix)
        yield from (each + "*" for each in _with_prefix(self._prefixes, prefix))

    @property
    def patterns(self) -> tuple[str, ...]:
        """The shortest list of patterns for the set: sorted names, then sorted prefixes."""
        return (*sorted(self._exact), *(prefix + "*" for prefix in self._prefixes))

    @property
    def size(self) -> int:
        """How many patterns that list has."""
        return len(self._exact) + len(self._prefixes)

    @property
    def exact(self) -> Collection[str]:
        """The single names of the set that no prefix of it covers."""
        return self._exact

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of the set, ordered; none of them is a prefix of another."""
        return self._prefixes


def _with_prefix(texts: Sequence[str], prefix: str) -> Iterator[str]:
    """Those of some ordered texts that begin with a prefix."""
    for at in range(bisect_left(texts, prefix), len(texts)):
        if not texts[at].startswith(prefix):
            break
        yield texts[at]


EVERYTHING = Patterns(["*"])
