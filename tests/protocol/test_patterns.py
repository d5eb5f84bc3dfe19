"""Name patterns against the naive reading of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire_protocol.patterns import EVERYTHING, MAX_LENGTH, Patterns, problem

NAMES = st.text("ab.\U0010ffff", max_size=4)
PATTERNS = st.builds(lambda name, star: name + star, NAMES, st.sampled_from(["", "*"])).filter(bool)
LISTS = st.lists(PATTERNS, max_size=6)


def matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def naive(patterns: list[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in patterns)


@given(LISTS, NAMES)
def test_a_name_is_in_the_set_when_any_pattern_matches_it(patterns: list[str], name: str) -> None:
    """A token with several patterns reaches exactly the names that one of them matches."""
    assert (name in Patterns(patterns)) == naive(patterns, name)


@given(LISTS, LISTS, NAMES)
def test_the_intersection_holds_what_both_sets_hold(one: list[str], two: list[str], name: str) -> None:
    """A list asked for by patterns shows the names that are in the request's and in the token's patterns."""
    assert (name in (Patterns(one) & Patterns(two))) == (naive(one, name) and naive(two, name))


class Compared(str):
    """A name that counts how often such names are compared."""

    __slots__ = ()
    compared = 0

    def __lt__(self, other: str) -> bool:
        Compared.compared += 1
        return str.__lt__(self, other)

    def __gt__(self, other: str) -> bool:
        Compared.compared += 1
        return str.__gt__(self, other)


def test_a_large_set_is_not_gone_through_for_each_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket with 1,000 subscriptions gets a token with 1,000 patterns: the event loop serves others at once."""
    token = Patterns([*(Compared(f"a{number:03}") for number in range(500)), *(f"b{n:03}*" for n in range(500))])
    assert (token & Patterns(["a*"])).patterns == tuple(f"a{number:03}" for number in range(500))
    contained = []
    contains = Patterns.contains
    monkeypatch.setattr(Patterns, "contains", lambda self, each: contained.append(each) or contains(self, each))
    Compared.compared = 0
    for small in (Patterns(["a12*", "b12*"]), Patterns(["a007", "b007x"])):
        assert (token & small).patterns == (small & token).patterns != ()
    assert len(contained) == 2 * 4
    assert Compared.compared < 200


@given(LISTS, PATTERNS)
def test_a_contained_pattern_stands_for_nothing_outside(patterns: list[str], pattern: str) -> None:
    """A pattern counts as within one's own exactly when one of one's own patterns covers it whole."""
    covered = any(
        pattern[:-1].startswith(own[:-1])
        if own.endswith("*") and pattern.endswith("*")
        else matches(own, pattern) and not pattern.endswith("*")
        for own in patterns
    )
    assert Patterns(patterns).contains(pattern) == covered


@given(LISTS)
def test_the_normal_form_means_the_same_and_has_no_overlaps(patterns: list[str]) -> None:
    """The normal form of a token's patterns is the same set, without repetitions."""
    found = Patterns(patterns)
    assert Patterns(found.patterns).patterns == found.patterns
    assert len(set(found.patterns)) == len(found.patterns)
    for one in found.patterns:
        assert not any(Patterns([other]).contains(one) for other in found.patterns if other != one)
    assert set(found.exact) == {pattern for pattern in found.patterns if not pattern.endswith("*")}
    assert list(found.prefixes) == sorted(pattern[:-1] for pattern in found.patterns if pattern.endswith("*"))


def test_everything_holds_every_name_and_nothing_holds_none() -> None:
    """The pattern `*` reaches every name, an empty list reaches none."""
    nothing = Patterns([])
    for name in ("", "a", "*", "\U0010ffff"):
        assert name in EVERYTHING
        assert name not in nothing
    assert EVERYTHING.contains("*")
    assert not nothing.contains("*")
    assert not Patterns(["a*"]).contains("*")
    assert (EVERYTHING & nothing).patterns == ()


@pytest.mark.parametrize("pattern", ["a", "a*", "*", "a.b*", "x" * MAX_LENGTH])
def test_a_well_formed_pattern_has_no_problem(pattern: str) -> None:
    """An exact name, a prefix and the star alone are accepted."""
    assert problem(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty"),
        ("a*b", "'a*b': '*' is allowed at the end only"),
        ("a.*,b.*", "allowed at the end only; give several patterns one by one, in a URL as names=A&names=B"),
        ("**", "at the end only"),
        ("*a", "at the end only"),
        ("x" * (MAX_LENGTH + 1), "longer than 1024"),
    ],
)
def test_a_bad_pattern_is_explained(pattern: str, words: str) -> None:
    """A pattern that cannot be used is refused with words that say why."""
    assert words in (problem(pattern) or "")
