"""What the lists of users, networks, device types and devices have in common: patterns, sorting, pages (core protocol,
section 6.2)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from hivewire.caller import Caller
from hivewire.slices import in_order, in_slices
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, OutOfBounds
from hivewire_protocol.messages import Reply
from hivewire_protocol.tenant.steps import Steps, at_once

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


class Arrangement(Generic[T]):
    """How what is found is sorted, and which page of it is wanted. `key` is what to sort by, None for no sorting; ties
    keep the order of what is found, and have the opposite one when the order is descending."""

    def __init__(self, key: Callable[[T], Any] | None, descending: bool, skip: int, take: int | None) -> None:
        self._key = key
        self._descending = descending
        self._skip = skip
        self._end = None if take is None else skip + take

    @property
    def enough(self) -> int | None:
        """How many have to be found for the page; None for all."""
        return self._end if self._key is None else None

    def __call__(self, found: list[T]) -> list[T]:
        """The page."""
        return at_once(self.steps(found))

    def steps(self, found: list[T]) -> Steps[list[T]]:
        """The page, sorted in steps."""
        if self._key is not None:
            found = yield from in_order(found, self._key)
            if self._descending:
                found.reverse()
        return found[self._skip : self._end]


def arrangement(request: Paged, caller: Caller, keys: Mapping[str, Callable[[T], Any]]) -> Arrangement[T]:
    """What a request says of order and page: 20 over a socket by default, everything over HTTP.

    `keys` has what to sort by for each `sortField`, in lower case. Raises InvalidParameters and OutOfBounds.
    """
    field, order = (request.sortField or "").lower(), (request.sortOrder or "asc").lower()
    if (field and field not in keys) or order not in ("asc", "desc"):
        raise InvalidParameters
    skip = request.skip or 0
    take = request.take if request.take is not None else None if caller.http else TAKE_OVER_SOCKET
    if skip < 0 or (take is not None and take < 0):
        raise OutOfBounds("must be greater than or equal to 0")
    return Arrangement(keys[field] if field else None, order == "desc", skip, take)


async def page(among: Iterable[T], matches: Test[T], arrange: Arrangement[T]) -> list[T]:
    """The page of those that match. The event loop goes on meanwhile, however many there are."""
    return await in_slices(arrange.steps(await search(among, matches, arrange.enough)))


async def search(among: Iterable[T], matches: Test[T], most: int | None = None) -> list[T]:
    """Those that match, in their order, at most `most`. The event loop is not blocked meanwhile."""
    return await in_slices(_search(among, matches, most))


def _search(among: Iterable[T], matches: Test[T], most: int | None) -> Steps[list[T]]:
    found: list[T] = []
    for each in among:
        if len(found) == most:
            break
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
    first, *parts = pattern.split("%")
    if not parts:
        return lambda text: len(text) == len(first) and _fits(first, text, 0)
    return lambda text: _like(first, parts, text)


def _like(first: str, parts: Sequence[str], text: str) -> bool:
    """Whether a text begins with the first part of a pattern, ends with its last one, and has the others between.

    Each of them is looked for once, at the first place where it fits: a later one would leave less of the text for the
    rest.
    """
    *inner, last = parts
    start, end = len(first), len(text) - len(last)
    if end < start or not (_fits(first, text, 0) and _fits(last, text, end)):
        return False
    for part in inner:
        found = _find(part, text, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


def _find(part: str, text: str, start: int, end: int) -> int:
    """The first place of a part between two places, -1 when there is none."""
    if "_" not in part:
        return text.find(part, start, end)
    return next((place for place in range(start, end - len(part) + 1) if _fits(part, text, place)), -1)


def _fits(part: str, text: str, place: int) -> bool:
    """Whether a part is in a text at this place, which leaves room for it."""
    if "_" not in part:
        return text.startswith(part, place)
    return all(symbol in ("_", text[number]) for number, symbol in enumerate(part, place))


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
        return _rendered(self.items, self.show, b"[", b"]")


class LongListing(Listing):
    """A list that is read while it is sent: `items` are the first ones, and `rest` has the others in portions."""

    rest: AsyncIterator[Sequence[Any]]

    async def sent(self) -> AsyncIterator[bytes]:
        """The list as JSON, in portions."""
        for portion in _rendered(self.items, self.show, b"[", b""):
            yield portion
        async for items in self.rest:
            for portion in _rendered(items, self.show, b",", b""):
                yield portion
        yield b"]"


def _rendered(items: Sequence[Any], show: Callable[[Any], Any], head: bytes, tail: bytes) -> Iterator[bytes]:
    """Items as JSON with commas between them, in portions of about 64 KiB."""
    portion = bytearray(head)
    for number, item in enumerate(items):
        if number:
            portion += b","
        portion += encode(show(item))
        if len(portion) > PORTION:
            yield bytes(portion)
            portion.clear()
    yield bytes(portion) + tail


class ListingWithin(Listing):
    """The same of an object whose first member is the list: `first` is that member's name, `rest` has the others."""

    first: str
    rest: Struct

    def portions(self) -> Iterator[bytes]:
        """The object as JSON, in portions."""
        portions = super().portions()
        held = b'{"%b":%b' % (self.first.encode(), next(portions))
        for portion in portions:
            yield held
            held = portion
        yield held + b"," + encode(self.rest)[1:]


def _up_to(size: int, portions: Iterable[bytes]) -> Iterator[bytes]:
    """The portions, except those beyond this number of bytes."""
    for portion in portions:
        yield portion
        size -= len(portion)
        if size < 0:
            return
