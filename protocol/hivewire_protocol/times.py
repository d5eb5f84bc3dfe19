"""Timestamps on the wire (core protocol, section 1.6): milliseconds since 1970 inside, ISO 8601 outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_DIGITS = re.compile(r"-?\d{1,15}", re.ASCII)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999, which ISO 8601 can show


@lru_cache(maxsize=1_024)  # a change is shown several times, and those of one commit have the same time
def render(milliseconds: int) -> str:
    """`2017-07-15T12:46:37.123`: UTC, always three digits, no zone; of a later time the last one that it can show."""
    second, rest = divmod(min(milliseconds, _LAST), 1_000)
    return f"{_rendered(second)}.{rest:03}"


@lru_cache(maxsize=64)  # each message has a millisecond of its own, and a thousand of them share the rest
def _rendered(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat(timespec="seconds")


def parse(text: str) -> int:
    """Milliseconds of any accepted form: epoch milliseconds, ISO 8601 (UTC unless it says otherwise), RFC 1123.

    Raises ValueError for anything else, and for a time that `render` could not show.
    """
    milliseconds = _parsed(text)
    if not _FIRST <= milliseconds <= _LAST:
        raise ValueError("not a timestamp of the years 1 to 9999")
    return milliseconds


def _parsed(text: str) -> int:
    if _DIGITS.fullmatch(text):
        return int(text)
    if match := _ISO.fullmatch(text):
        year, month, day, hour, minute, second, fraction, zone = match.groups()
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((fraction or "0").ljust(6, "0")[:6]),
            _zone(zone),
        )
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (OverflowError, TypeError, IndexError):  # the library raises these for some malformed dates
            raise ValueError("not a timestamp") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:])))
