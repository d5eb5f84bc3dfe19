"""Long lists of DeviceHive's API, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hivewire.cli.errors import RemoteError
from hivewire.cli.output import Row

if TYPE_CHECKING:
    from hivewire.cli.remote import Remote

PAGE = 1_000


def listed(remote: Remote, action: str, member: str, **asked: Any) -> Iterator[Row]:
    """Everything that a request for a list finds, by creation. A page that is too large for one answer is asked for in
    halves."""
    skip, take = 0, PAGE
    while True:
        try:
            page = remote.request(action, take=take, skip=skip, **asked)[member]
        except RemoteError as error:
            if error.code != 413 or take == 1:
                raise
            take //= 2
            continue
        yield from page
        if len(page) < take:
            return
        skip += take
