"""`updatedTime`, `If-Unmodified-Since` and `Last-Modified` (section 4). Times are milliseconds since 1970 UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_day, _long_day, _month = f"(?:{'|'.join(_DAYS)})", f"(?:{'|'.join(_LONG_DAYS)})", f"(?P<month>{'|'.join(_MONTHS)})"
_clock = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"

# The three forms of an HTTP date (RFC 9110, section 5.6.7).
_FORMS = tuple(
    re.compile(form)
    for form in (
        f"{_day}, (?P<day>[0-9]{{2}}) {_month} (?P<year>[0-9]{{4}}) {_clock} GMT",
        f"{_long_day}, (?P<day>[0-9]{{2}})-{_month}-(?P<year>[0-9]{{2}}) {_clock} GMT",
        f"{_day} {_month} (?P<day>[0-9]{{2}}| [0-9]) {_clock} (?P<year>[0-9]{{4}})",
    )
)


def next_time(stored: int | None, now: int) -> int:
    """The `updatedTime` of a save: now, but in a later second than the version before (section 4.2).

    `stored` is the `updatedTime` of that version; None for the first save.
    """
    return now if stored is None else max(now, (stored // 1000 + 1) * 1000)


def may_save(stored: int | None, if_unmodified_since: Sequence[str], now: int) -> bool:
    """Whether the precondition of a save holds (section 4.1); `if_unmodified_since` has each value of the header.

    It holds for a first save, without the header, and with a header that must be ignored because it is malformed or
    repeated. Otherwise the date must not be earlier than the stored version, in whole seconds.
    """
    if stored is None or len(if_unmodified_since) != 1:
        return True
    seconds = parse_http_date(if_unmodified_since[0], now)
    return seconds is None or seconds >= stored // 1000


def parse_http_date(text: str, now: int) -> int | None:
    """Seconds since 1970 of an HTTP date in one of its three forms; None for everything else (section 4.3).

    The name of the weekday has to be valid, but is not compared with the date. A year of two digits is at most 50
    years after `now`.
    """
    found = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
    if found is None:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        this_year = (_EPOCH + timedelta(milliseconds=now)).year
        year += this_year // 100 * 100 + 100
        while year > this_year + 50:
            year -= 100
    try:
        date = datetime(year, _MONTHS.index(found["month"]) + 1, int(found["day"]), tzinfo=UTC)
    except ValueError:
        return None  # such as the 31st of a shorter month, or the year 0
    hours, minutes, seconds = int(found["hour"]), int(found["minute"]), int(found["second"])
    return (date - _EPOCH).days * 86400 + hours * 3600 + minutes * 60 + seconds


def http_date(time: int) -> str:
    """The time as `Last-Modified` shows it: `Mon, 23 Feb 2026 07:05:48 GMT`, in whole seconds."""
    moment = _EPOCH + timedelta(seconds=time // 1000)
    return f"{_DAYS[moment.weekday()]}, {moment:%d} {_MONTHS[moment.month - 1]} {moment.year:04} {moment:%H:%M:%S} GMT"
