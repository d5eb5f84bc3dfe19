"""What the lists of users, networks, device types and devices have in common: patterns, sorting, pages (core protocol,
section 6.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from hivewire.caller import Caller
from hivewire.slices import in_slices
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, OutOfBounds
from hivewire_protocol.messages import Reply
from hivewire_protocol.tenant.steps import Steps

TAKE_OVER_SOCKET = 20
LONGEST_PATTERN = 256

T = TypeVar("T")

Test: TypeAlias = Callable[[T], bool]


class Paged(Protocol):
    """The members of a request for a list that say how it is sorted, and which page of it is wanted."""

    @property
    def sortField(self) -> str | None: ...  # noqa: D102 - named as on the wire
    @property
    def sortOrder(self) -> str | None: ...  # noqa: D102
    @property
    def take(self) -> int | None: ...  # noqa: D102
    @property
    def skip(self) -> int | None: ...  # noqa: D102


def arrangement(request: Paged, caller: Caller, keys: Mapping[str, Callable[[T], Any]]) -> Callable[[list[T]], list[T]]:
    """How to sort what is found, and to cut out the page: 20 over a socket by default, everything over HTTP.

    `keys` has what to sort by for each `sortField`, in lower case. Ties keep the order of what is found, and have the
    opposite one when the order is descending. Raises InvalidParameters and OutOfBounds.
    """
    field, order = (request.sortField or "").lower(), (request.sortOrder or "asc").lower()
    if (field and field not in keys) or order not in ("asc", "desc"):
        raise InvalidParameters
    skip = request.skip or 0
    take = request.take if request.take is not None else None if caller.http else TAKE_OVER_SOCKET
    if skip < 0 or (take is not None and take < 0):
        raise OutOfBounds("must be greater than or equal to 0")

    def arrange(found: list[T]) -> list[T]:
        if field:
            found.sort(key=keys[field])
            if order == "desc":
                found.reverse()
        return found[skip:] if take is None else found[skip : skip + take]

    return arrange


async def search(among: Iterable[T], matches: Test[T]) -> list[T]:
    """Those that match, in their order. The event loop goes on meanwhile."""
    return await in_slices(_search(among, matches))


def _search(among: Iterable[T], matches: Test[T]) -> Steps[list[T]]:
    found = []
    for each in among:
        if matches(each):
            found.append(each)
        yield
    return found


def equal(wanted: str | None) -> Callable[[str], bool]:
    """The test for exactly this text, or for any when none is given."""
    return lambda text: wanted is None or text == wanted


def like(pattern: str | None, member: str) -> Callable[[str], bool] | None:
    """The test for texts like an SQL pattern, or None without one: `%` is any run of characters, `_` any one.

    It does not backtrack, so a bad pattern costs a few milliseconds at most. Raises OutOfBounds, which names the
    member, for one that is too long.
    """
    if pattern is None:
        return None
    pattern = re.sub("%+", "%", pattern)
    if len(pattern) > LONGEST_PATTERN:
        raise OutOfBounds(f"{member} is longer than {LONGEST_PATTERN} characters")
    return lambda text: _like(pattern, text)


def _like(pattern: str, text: str) -> bool:
    row = [True] + [False] * len(text)
    for symbol in pattern:
        if symbol == "%":
            for position in range(1, len(row)):
                row[position] = row[position] or row[position - 1]
        else:
            row = [False] + [before and symbol in ("_", text[position]) for position, before in enumerate(row[:-1])]
    return row[-1]


PORTION = 64 << 10
"""Bytes of a long list that are rendered at a time."""


class Listing(Reply):
    """A reply whose only member is a list of what is shown of each item. It is rendered when it is sent: over HTTP,
    where it may have any length, portion by portion."""

    name: str
    items: Sequence[Any]
    show: Callable[[Any], Any]

    def members(self) -> bytes:
        """The member as JSON, without braces around it; cut off where it is too long for an answer anyway."""
        return b'"%b":%b' % (self.name.encode(), b"".join(_up_to(MAX_REPLY, self.portions())))

    def portions(self) -> Iterator[bytes]:
        """The list as JSON, in portions of about 64 KiB."""
        portion = bytearray(b"[")
        for number, item in enumerate(self.items):
            if number:
                portion += b","
            portion += encode(self.show(item))
            if len(portion) > PORTION:
                yield bytes(portion)
                portion.clear()
        yield bytes(portion) + b"]"


def _up_to(size: int, portions: Iterable[bytes]) -> Iterator[bytes]:
    """The portions, except those after more than so many bytes."""
    for portion in portions:
        yield portion
        size -= len(portion)
        if size < 0:
            return
