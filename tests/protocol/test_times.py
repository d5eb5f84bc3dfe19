"""Timestamps: one form out, several in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hivewire_protocol import times

MOMENT = 1_500_122_797_123
"""2017-07-15T12:46:37.123Z"""


def test_a_time_is_shown_in_utc_with_three_digits_and_no_zone() -> None:
    """Answers show milliseconds always, also when they are zero."""
    assert times.render(MOMENT) == "2017-07-15T12:46:37.123"
    assert times.render(0) == "1970-01-01T00:00:00.000"
    assert times.render(-1) == "1969-12-31T23:59:59.999"
    assert times.render(253_402_300_800_000) == "9999-12-31T23:59:59.999"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1500122797123", MOMENT),
        ("0", 0),
        ("-1", -1),
        ("2017-07-15T12:46:37.123", MOMENT),
        ("2017-07-15T12:46:37.123Z", MOMENT),
        ("2017-07-15T14:46:37.123+0200", MOMENT),
        ("2017-07-15T14:46:37.123+02:00", MOMENT),
        ("2017-07-15T07:16:37.123-05:30", MOMENT),
        ("2017-07-15T12:46:37.1", MOMENT - 23),
        ("2017-07-15T12:46:37.12", MOMENT - 3),
        ("2017-07-15T12:46:37.123456789", MOMENT),
        ("2017-07-15T12:46:37.999999999", MOMENT + 876),
        ("2017-07-15T12:46:37", MOMENT - 123),
        ("1969-12-31T23:59:59.9999", -1),
        ("2017-07-15", 1_500_076_800_000),
        ("Sat, 15 Jul 2017 12:46:37 GMT", MOMENT - 123),
        ("Sat, 15 Jul 2017 14:46:37 +0200", MOMENT - 123),
        ("0001-01-01T14:00:00+14:00", -62_135_596_800_000),
        ("-62135596800000", -62_135_596_800_000),
        ("9999-12-31T23:59:59.999", 253_402_300_799_999),
        ("253402300799999", 253_402_300_799_999),
    ],
)
def test_every_accepted_form_is_read(text: str, expected: int) -> None:
    """Milliseconds, ISO 8601 with or without fraction and zone, a date alone, and the form of HTTP headers."""
    assert times.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "yesterday",
        "2017-07",
        "2017-07-15 12:46:37",
        "2017-07-15T12:46:37.",
        "2017-07-15T12:46:37.1234567890",
        "2017-07-15T12:46:37+2",
        "2017-07-15T12:46:37+99:00",
        "2017-00-15",
        "0000-01-01",
        "1.5",
        "1e3",
        "٢٠١٧-٠٧-١٥",
        "9" * 16,
        "-62135596800001",
        "253402300800000",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999-14:00",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """A text that is not a timestamp is refused and not guessed at, nor is a time that could not be shown."""
    with pytest.raises(ValueError):
        times.parse(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_shown_can_be_sent_back(moment: datetime) -> None:
    """A time copied from an answer is understood as the same millisecond."""
    milliseconds = times.parse(moment.isoformat())
    assert times.parse(times.render(milliseconds)) == milliseconds
    assert datetime.fromisoformat(times.render(milliseconds) + "+00:00") == moment.replace(
        microsecond=moment.microsecond // 1_000 * 1_000
    )


PIECES = st.sampled_from(
    ["Sat,", "15", "Jul", "2017", "99999999999", "12:46:37", ":", "+0200", "-9999", "GMT", "T", "-"]
)


@given(st.text(max_size=30) | st.lists(PIECES, max_size=7).map(" ".join) | st.lists(PIECES, max_size=7).map("".join))
@example("1 Jan 99999 00:00:00")
@example("\x00")
def test_bad_text_raises_only_value_errors(text: str) -> None:
    """Any text is read as a timestamp that can be shown, or refused, and never breaks the server."""
    try:
        assert times.render(times.parse(text))
    except ValueError:
        pass
