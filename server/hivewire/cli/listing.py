"""Long lists of DeviceHive's API, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hivewire.cli.errors import RemoteError
from hivewire.cli.output import Row
from hivewire_protocol import times

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE = 1_000


def listed(remote: Remote, action: str, member: str, **asked: Any) -> Iterator[Row]:
    """Everything that a request for a list finds, by creation."""
    skip, take = 0, PAGE
    while True:
        page, take = _page(remote, action, member, take, skip=skip, **asked)
        yield from page
        if len(page) < take:
            return
        skip += take


def newest(remote: Remote, action: str, member: str, most: int, **asked: Any) -> Iterator[Row]:
    """At most this number of messages, newest first.

    A page begins where the one before ended, by the time: the number of those to skip would change with each new one.
    """
    size, end, skip = PAGE, None, 0
    while most > 0:
        page, size = _page(remote, action, member, min(size, most), skip=skip, end=end, **_DESCENDING, **asked)
        yield from page
        if len(page) < size:
            return
        most -= size
        last = page[-1]["timestamp"]
        before, end = end, times.render(times.parse(last) + 1)
        skip = sum(row["timestamp"] == last for row in page) + (skip if end == before else 0)


_DESCENDING = {"sortField": "timestamp", "sortOrder": "desc"}


def _page(remote: Remote, action: str, member: str, take: int, **asked: Any) -> tuple[list[Row], int]:
    """A page and its size, which is halved while the page is too large for one answer."""
    while True:
        try:
            return remote.request(action, take=take, **asked)[member], take
        except RemoteError as error:
            if error.code != 413 or take == 1:
                raise
            take //= 2
