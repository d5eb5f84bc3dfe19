"""Sorting and paging of lists that may be long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire import slices
from hivewire.actions import listing
from hivewire.actions.listing import Arrangement, Listing, ListingWithin, LongListing, page
from hivewire_protocol.codec import MAX_REPLY


@given(st.lists(st.integers(0, 5)), st.booleans(), st.booleans(), st.integers(0, 9), st.none() | st.integers(0, 9))
def test_a_page_is_that_of_the_whole_list_in_order(
    keys: list[int], by_key: bool, descending: bool, skip: int, take: int | None
) -> None:
    """However many runs it is sorted in; ties keep their order, and have the opposite one when it is descending."""
    items = [(-place, key) for place, key in enumerate(keys)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(slices, "RUN", 4)
        arrange: Arrangement[tuple[int, int]] = Arrangement(
            (lambda item: item[1]) if by_key else None, descending, skip, take
        )
        found = arrange(items.copy())
    if by_key:
        items.sort(key=lambda item: item[1])
        if descending:
            items.reverse()
    assert found == items[skip:][:take]


async def test_a_page_that_is_not_sorted_ends_the_search() -> None:
    """What comes after it is not looked at."""
    seen = []

    def endless() -> Iterator[int]:
        for number in count():
            seen.append(number)
            yield number

    assert await page(endless(), lambda number: number % 2 == 1, Arrangement(None, False, 2, 3)) == [5, 7, 9]
    assert len(seen) <= 11
    assert await page(endless(), lambda number: True, Arrangement(None, False, 0, 0)) == []


async def test_a_long_search_and_its_sorting_let_others_work() -> None:
    """The work is done in steps, none of which is longer than the sorting of one run."""
    arrange: Arrangement[int] = Arrangement(lambda number: -number, False, 0, None)
    assert sum(1 for _ in arrange.steps(list(range(2_500)))) == 2_500 + 3 + 2_500


def test_a_reply_over_a_socket_is_cut_off_where_it_is_too_long() -> None:
    """It is refused for its length, so the rest need not be rendered."""
    shown = []

    def show(item: int) -> str:
        shown.append(item)
        return "x" * 1_000

    assert len(Listing("items", range(10_000), show).members()) > MAX_REPLY
    assert len(shown) < 1_200


class Rest(msgspec.Struct):
    """What an object has beside its list."""

    count: int


@pytest.mark.parametrize("number", [0, 1, 5, 6, 50])
async def test_a_list_is_whole_in_however_many_portions(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Each portion ends with the first item that makes it large enough; the last one has what is left."""
    monkeypatch.setattr(listing, "PORTION", 40)
    items = list(range(100, 100 + number))

    async def rest() -> AsyncIterator[list[int]]:
        for start in range(5, number, 20):
            yield items[start : start + 20]

    def show(item: int) -> str:
        return f"no. {item}"

    shown, portions = [show(item) for item in items], list(Listing("items", items, show).portions())
    assert msgspec.json.decode(b"".join(portions)) == shown
    assert all(40 < len(portion) <= 40 + len(',"no. 100"') for portion in portions[:-1])
    within = list(ListingWithin("items", items, show, "items", Rest(7)).portions())
    assert msgspec.json.decode(b"".join(within)) == {"items": shown, "count": 7}
    assert len(within) == len(portions)
    sent = [portion async for portion in LongListing("items", items[:5], show, rest()).sent()]
    assert msgspec.json.decode(b"".join(sent)) == shown
