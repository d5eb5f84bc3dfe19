"""Conditions in the headers of a request: which can be read, and when they hold."""

from __future__ import annotations

import pytest
from msgspec import structs

from hivewire.http.conditions import EntityTags, conditions_of
from hivewire.ledger.records import Change
from hivewire.resources import info_of, resource_of
from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.nouns.configuration import ChangeInfo
from tests.http.made import made

SECOND = Change(revision=7, kind="configuration", key="a", id=1, version=2, content=b"2", content_type="", time=0)
DELETED = structs.replace(SECOND, content=None, version=3, revision=8)
MATCH, NONE_MATCH = b"if-match", b"if-none-match"


def shown(change: Change) -> ChangeInfo:
    return info_of(change, resource_of(change, secret=False))


class Nothing:
    """An empty ledger, around the one record."""

    changes = ()

    def last(self, kind: str, key: str) -> Change | None:
        return None

    def count(self, kind: str) -> int:
        return 0

    def written(self, kind: str) -> list[Change]:
        return []


def holds(header: bytes, tags: str, last: Change | None = SECOND) -> bool:
    """Whether the condition of a header holds for a record."""
    [condition] = conditions_of(made((header, tags.encode())), shown)
    return condition.holds(last, Nothing())


@pytest.mark.parametrize(
    "tags", ['"2"', '"2-7"', "*", '"1", "2"', '"1","2"', '"2" , "7"', 'W/"2", "2"', '"x", "2-7"', ' "2" ']
)
def test_a_tag_of_what_is_there_matches(tags: str) -> None:
    """The current version, alone or with its revision, in a list, or `*`; nothing matches what is deleted or never
    was."""
    assert holds(MATCH, tags)
    assert not holds(NONE_MATCH, tags)
    for absent in (None, DELETED):
        assert not holds(MATCH, tags, absent)
        assert holds(NONE_MATCH, tags, absent)


@pytest.mark.parametrize(
    "tags", ['"1"', '"3"', '"02"', '""', '"x"', 'W/"2"', '"2-1"', '"1-7"', '"1", "3"', '"-7"', '"x,*,y"']
)
def test_another_tag_does_not_match(tags: str) -> None:
    """Another version, another revision, a weak tag, or other text between the quotes."""
    assert not holds(MATCH, tags)
    assert holds(NONE_MATCH, tags)
    assert holds(NONE_MATCH, tags, DELETED)


@pytest.mark.parametrize("tags", ["", "2", '"2', '2"', "**", '"2" "3"', '"2",*', 'w/"2"', "W/2", '"2";', '"a b"', ","])
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_what_cannot_be_read_is_refused(header: str, tags: str) -> None:
    """A condition is never ignored, so a client that lost its tag overwrites nothing."""
    with pytest.raises(OutOfBounds, match=header):
        conditions_of(made((header.lower().encode(), tags.encode())), shown)


def test_a_repeated_header_is_one_list() -> None:
    """And without one there is no condition; both headers are two."""
    assert conditions_of(made(), shown) == ()
    assert conditions_of(made((MATCH, b'"1"'), (NONE_MATCH, b"*"), (MATCH, b'"2"')), shown) == (
        EntityTags("If-Match", ('"1"', '"2"'), True, shown),
        EntityTags("If-None-Match", ("*",), False, shown),
    )
