"""Concurrency of tenant configuration: dates, `updatedTime`, the precondition."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire_protocol.tenant.dates import http_date, may_save, next_time, parse_http_date

NOW = 1_771_830_348_123  # Mon, 23 Feb 2026 07:05:48.123 GMT
SECONDS = NOW // 1000


@pytest.mark.parametrize(
    "text",
    ["Mon, 23 Feb 2026 07:05:48 GMT", "Monday, 23-Feb-26 07:05:48 GMT", "Mon Feb 23 07:05:48 2026"],
)
def test_the_three_forms_of_a_date(text: str) -> None:
    """IMF-fixdate, RFC 850 and asctime mean the same moment (section 4.3)."""
    assert parse_http_date(text, NOW) == SECONDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        ("Sun, 23 Feb 2026 07:05:48 GMT", SECONDS),
        ("Thu Jan  1 00:00:00 1970", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
    ],
)
def test_dates_at_the_edges(text: str, seconds: int) -> None:
    """Leap days and seconds count, and the day of the week is not compared with the date."""
    assert parse_http_date(text, NOW) == seconds


@pytest.mark.parametrize(("digits", "year"), [("26", 2026), ("76", 2076), ("77", 1977), ("00", 2000), ("99", 1999)])
def test_years_of_two_digits(digits: str, year: int) -> None:
    """A year that would be more than 50 years ahead is the one a century before (RFC 9110, section 5.6.7)."""
    short = parse_http_date(f"Monday, 23-Feb-{digits} 07:05:48 GMT", NOW)
    assert short == parse_http_date(f"Mon, 23 Feb {year} 07:05:48 GMT", NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1771830348",
        "1771830348123",
        "2026-02-23T07:05:48Z",
        "2026-02-23 07:05:48",
        "Mon, 23 Feb 2026 07:05:48",
        "Mon, 23 Feb 2026 07:05:48 UTC",
        "Mon, 23 Feb 2026 07:05:48 gmt",
        "Mon, 23 Feb 2026 07:05:48 +0000",
        "Mon, 23 Feb 2026 07:05:48 CET",
        "mon, 23 feb 2026 07:05:48 GMT",
        "Mon,23 Feb 2026 07:05:48 GMT",
        "Mon 23 Feb 2026 07:05:48 GMT",
        "Mon, 23  Feb 2026 07:05:48 GMT",
        "Monday, 23 Feb 2026 07:05:48 GMT",
        "Mon, 3 Feb 2026 07:05:48 GMT",
        "Mon, 23 Feb 26 07:05:48 GMT",
        "Mon, 23 February 2026 07:05:48 GMT",
        "Mon, 23 Feb 2026 7:05:48 GMT",
        "Mon, 23 Feb 2026 07:05 GMT",
        "Mon, 23 Feb 2026 24:00:00 GMT",
        "Mon, 23 Feb 2026 07:60:00 GMT",
        "Mon, 23 Feb 2026 07:05:61 GMT",
        "Mon, 23 Feb 2026 07:05:48.123 GMT",
        "Mon, 30 Feb 2026 07:05:48 GMT",
        "Sun, 29 Feb 2026 07:05:48 GMT",
        "Mon, 00 Feb 2026 07:05:48 GMT",
        "Mon, 23 Feb 0000 07:05:48 GMT",
        "Mon, 23 Feb 2026 07:05:48 GMT ",
        " Mon, 23 Feb 2026 07:05:48 GMT",
        "Mon, 23 Feb 2026 07:05:48 GMT\n",
        "Mon, ٢٣ Feb 2026 07:05:48 GMT",
        "Mon, 23-Feb-26 07:05:48 GMT",
        "Monday, 23-Feb-2026 07:05:48 GMT",
        "Monday, 3-Feb-26 07:05:48 GMT",
        "Mon Feb 3 07:05:48 2026",
        "Mon Feb 03 07:05:48 2026 GMT",
        "Mon Feb 23 07:05:48 26",
        "Mon, 23 Feb 2026 07:05:48 GMT, Mon, 23 Feb 2026 07:05:48 GMT",
    ],
)
def test_near_misses_are_not_dates(text: str) -> None:
    """The grammars are matched exactly; other forms that a library would accept are not dates (section 4.3)."""
    assert parse_http_date(text, NOW) is None
    assert may_save(NOW, [text], NOW)


DATE = http_date(NOW)
EARLIER, LATER = http_date(NOW - 1000), http_date(NOW + 1000)


@pytest.mark.parametrize(
    ("row", "stored", "values", "saved"),
    [
        (1, None, [], True),
        (2, None, [EARLIER], True),
        (2, None, [LATER], True),
        (3, None, ["yesterday"], True),
        (4, NOW, [], True),
        (6, NOW, [LATER], True),
        (7, NOW, [DATE], True),
        (7, NOW // 1000 * 1000, [DATE], True),
        (7, NOW // 1000 * 1000 + 999, [DATE], True),
        (8, NOW, [EARLIER], False),
        (8, NOW // 1000 * 1000, [EARLIER], False),
        (8, NOW, ["Thu, 01 Jan 1970 00:00:00 GMT"], False),
        (9, NOW, ["yesterday"], True),
        (9, NOW, [EARLIER, EARLIER], True),
        (9, NOW, [f"{EARLIER}, {EARLIER}"], True),
    ],
)
def test_the_rows_of_the_precondition(row: int, stored: int | None, values: list[str], saved: bool) -> None:
    """Each row of section 4.1 that the header decides; rows 5 and 10 to 12 have other inputs that are not looked at."""
    assert may_save(stored, values, NOW) is saved, row


def test_times_are_shown_as_http_dates() -> None:
    """`Last-Modified` is in whole seconds, rounded down, with English names whatever the locale."""
    assert http_date(NOW) == "Mon, 23 Feb 2026 07:05:48 GMT"
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http_date(-1) == "Wed, 31 Dec 1969 23:59:59 GMT"


@pytest.mark.parametrize(
    ("stored", "now", "expected"),
    [
        (None, 5_123, 5_123),
        (5_123, 5_124, 6_000),
        (5_123, 6_000, 6_000),
        (5_123, 6_001, 6_001),
        (6_000, 6_000, 7_000),
        (9_000, 5_000, 10_000),
    ],
)
def test_each_save_has_a_second_of_its_own(stored: int | None, now: int, expected: int) -> None:
    """A save within the second of the one before, or with a clock set back, takes the next second (section 4.2)."""
    assert next_time(stored, now) == expected


@given(st.lists(st.integers(0, 3_000), min_size=2), st.integers(0, 4_000_000_000_000))
def test_a_save_depends_on_the_date_that_was_read(waits: list[int], now: int) -> None:
    """Sending back the date of the version that was read saves if nothing was saved since, and fails otherwise."""
    times = []
    stored = None
    for wait in waits:
        now += wait
        stored = next_time(stored, now)
        times.append(stored)
    assert [may_save(stored, [http_date(time)], now) for time in times] == [False] * (len(times) - 1) + [True]
    assert all(later // 1000 > earlier // 1000 for earlier, later in pairwise(times))


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_dates_round_trip(time: int) -> None:
    """A date that was shown means the second it was made from."""
    assert parse_http_date(http_date(time), NOW) == time // 1000
