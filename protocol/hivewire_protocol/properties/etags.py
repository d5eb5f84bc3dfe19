"""Etags of properties, as the wiki writes them and as clients send them (site properties, section 6)."""

from __future__ import annotations

import re

from hivewire_protocol import times


def etag(record_id: int, version: int, time: int) -> str:
    """The etag of a record's version: `41.r2_ts2010-01-13T21:13:23Z`. `time` is milliseconds since 1970."""
    return f"{record_id}.r{version}_ts{date(time)}"


def date(milliseconds: int) -> str:
    """A time in whole seconds, `2010-01-13T21:13:23Z`."""
    return times.render(milliseconds)[:-4] + "Z"


_QUOTED = re.compile(r'(?:W/)?"(.*)"', re.DOTALL)


def bare(given: str) -> str:
    """A client's etag without what libraries and proxies add to it (section 11, row 3): one pair of
    quotes, `W/`, the suffix `-gzip`."""
    text = given.strip().removesuffix("-gzip")
    quoted = _QUOTED.fullmatch(text)
    return (quoted[1] if quoted else text.removeprefix("W/")).removesuffix("-gzip")


def effective_etag(header: str | None, query: str | None) -> str | None:
    """The etag that a write uses (section 7, first table): the header's, even an empty one, before the query's."""
    return bare(query or "" if header is None else header) or None
