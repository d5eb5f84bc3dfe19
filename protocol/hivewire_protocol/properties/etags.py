"""Etags of properties, as the wiki writes them and as clients send them (site properties, section 6)."""

from __future__ import annotations

import re

from hivewire_protocol import times


def etag(number: int, version: int, time: int) -> str:
    """The etag of a record's version: `41.r2_ts2010-01-13T21:13:23Z`. `time` is milliseconds since 1970."""
    return f"{number}.r{version}_ts{date(time)}"


def date(milliseconds: int) -> str:
    """A time in whole seconds, `2010-01-13T21:13:23Z`."""
    return times.render(milliseconds)[:-4] + "Z"


_QUOTED = re.compile(r'(?:W/)?"(.*)"', re.DOTALL)


def bare(given: str) -> str:
    """An etag as a client sent it without what libraries and proxies put around it (section 11, row 3): one pair of
    quotes, `W/`, the suffix `-gzip`."""
    text = given.strip().removesuffix("-gzip")
    quoted = _QUOTED.fullmatch(text)
    return (quoted[1] if quoted else text.removeprefix("W/")).removesuffix("-gzip")


def effective_etag(header: str | None, query: str | None) -> str | None:
    """The etag that counts (section 7, first table): the header's when there is one, an empty one included."""
    return bare(query or "" if header is None else header) or None
