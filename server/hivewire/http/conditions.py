"""Conditions in the headers of a request, as preconditions of its transaction (RFC 9110, section 13.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import overload

from msgspec import Struct

from hivewire.http.request import HttpRequest
from hivewire.ledger.records import Change, View, version_of
from hivewire.resources import change_of
from hivewire_protocol.errors import HeaderConditionFailed, OutOfBounds


class EntityTags(Struct):
    """The condition of an `If-Match` or `If-None-Match` header (RFC 9110, sections 13.1.1 and 13.1.2).

    A tag is `"version"` or `"version-revision"`; `*` stands for any existing record.
    """

    header: str
    tags: tuple[str, ...]
    wanted: bool

    def holds(self, last: Change | None, view: View) -> bool:
        """Whether the record matches one of the tags (for `If-None-Match`: none)."""
        version = version_of(last)
        if not version or last is None:
            return not self.wanted
        matches = not {"*", f'"{version}"', f'"{version}-{last.revision}"'}.isdisjoint(self.tags)
        return matches is self.wanted

    def error(self, last: Change | None) -> HeaderConditionFailed:
        """The 412, with the record's current change."""
        text = f"{self.header}: {', '.join(self.tags)} does not hold"
        return HeaderConditionFailed(text, change=change_of(last) if last is not None else None)


_TAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_TAGS = re.compile(rf"\s*(?:\*|{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*)\s*")


class HeaderConditions(Sequence[EntityTags]):
    """The conditions of a request's headers. They are parsed only for a write, because a read ignores them. Access
    raises OutOfBounds for a malformed header."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._found: tuple[EntityTags, ...] | None = None

    @property
    def _tags(self) -> tuple[EntityTags, ...]:
        if self._found is None:
            both = (_entity_tags(self._request, "If-Match", True), _entity_tags(self._request, "If-None-Match", False))
            self._found = tuple(tags for tags in both if tags is not None)
        return self._found

    def __len__(self) -> int:
        """Their number."""
        return len(self._tags)

    @overload
    def __getitem__(self, index: int) -> EntityTags: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[EntityTags]: ...

    def __getitem__(self, index: int | slice) -> EntityTags | Sequence[EntityTags]:
        """One of them, or some."""
        return self._tags[index]


def _entity_tags(request: HttpRequest, header: str, wanted: bool) -> EntityTags | None:
    text = request.header(header.lower())
    if text is None:
        return None
    if not _TAGS.fullmatch(text):
        raise OutOfBounds(f'{header} must be * or entity tags in double quotes, such as "7"')
    # A weak tag keeps its mark, so that it matches nothing.
    return EntityTags(header, ("*",) if text.strip() == "*" else tuple(_TAG.findall(text)), wanted)
