"""Name patterns: an exact name, or a prefix that ends in `*` (configuration contract, section 3).

Two patterns either exclude each other or one contains the other, so a set of them is always a few disjoint pieces.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_PATTERNS = 1_000
"""The most patterns in one list: enough for a client with a name for each device, bounded in time and memory."""

MAX_LENGTH = 1_024


def problem(pattern: str) -> str | None:
    """What is wrong with a pattern, in words that a person can act on; None when it is well formed."""
    if not pattern:
        return "a name pattern is empty"
    if len(pattern) > MAX_LENGTH:
        return f"a name pattern is longer than {MAX_LENGTH} characters"
    if "*" in pattern[:-1]:
        return f"name pattern '{pattern}': '*' is allowed at the end only"
    return None


class Patterns:
    """A set of names, given by patterns: which names are in it, and which part of another set."""

    __slots__ = ("_exact", "_prefixes", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        given = sorted(set(patterns))
        self._prefixes: tuple[str, ...] = ()
        for prefix in sorted(pattern[:-1] for pattern in given if pattern.endswith("*")):
            if not prefix.startswith(self._prefixes):  # an earlier, shorter prefix holds it already
                self._prefixes += (prefix,)
        self._exact = frozenset(
            name for name in given if not name.endswith("*") and not name.startswith(self._prefixes)
        )
        self.patterns: tuple[str, ...] = (
            *sorted(self._exact),
            *(prefix + "*" for prefix in self._prefixes),
        )

    def __contains__(self, name: str) -> bool:
        return name in self._exact or name.startswith(self._prefixes)

    def contains(self, pattern: str) -> bool:
        """Whether every name that the pattern stands for is in this set."""
        if pattern.endswith("*"):
            return pattern[:-1].startswith(self._prefixes)
        return pattern in self

    def __and__(self, other: Patterns) -> Patterns:
        """The names that are in both sets."""
        return Patterns(
            [pattern for pattern in self.patterns if other.contains(pattern)]
            + [pattern for pattern in other.patterns if self.contains(pattern)]
        )

    @property
    def exact(self) -> frozenset[str]:
        """The single names of the set that no prefix of it covers."""
        return self._exact

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of the set, ordered; none of them is a prefix of another."""
        return self._prefixes


EVERYTHING = Patterns(["*"])
