"""Conditions in the headers of a request, as preconditions of its transaction (RFC 9110, section 13.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from hivewire.actions.configuration import change_of
from hivewire.http.request import HttpRequest
from hivewire.ledger.records import Change, version_of
from hivewire_protocol.errors import OutOfBounds, PreconditionFailed


class EntityTags(Struct):
    """The condition of an `If-Match` or `If-None-Match` header (RFC 9110, sections 13.1.1 and 13.1.2).

    A tag is `"version"` or `"version-revision"`; `*` stands for any existing record.
    """

    header: str
    tags: tuple[str, ...]
    wanted: bool

    def holds(self, last: Change | None) -> bool:
        """Whether the record matches one of the tags, or none of them."""
        version = version_of(last)
        if not version or last is None:
            return not self.wanted
        matches = not {"*", f'"{version}"', f'"{version}-{last.revision}"'}.isdisjoint(self.tags)
        return matches is self.wanted

    def error(self, last: Change | None) -> PreconditionFailed:
        """The 412, with the record's current change."""
        text = f"{self.header}: {', '.join(self.tags)} does not hold"
        return PreconditionFailed(text, change=change_of(last) if last is not None else None)


_TAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_TAGS = re.compile(rf"\s*(?:\*|{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*)\s*")


class HeaderConditions:
    """The conditions of a request's headers. They are parsed when something is to be written, and not before: a read
    ignores them. Iterating raises OutOfBounds when one cannot be read."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __iter__(self) -> Iterator[EntityTags]:
        for header, wanted in (("If-Match", True), ("If-None-Match", False)):
            text = self._request.header(header.lower())
            if text is None:
                continue
            if not _TAGS.fullmatch(text):
                raise OutOfBounds(f'{header} must be * or entity tags in double quotes, such as "7"')
            # A weak tag keeps its mark, so that it matches nothing.
            tags = ("*",) if text.strip() == "*" else tuple(_TAG.findall(text))
            yield EntityTags(header, tags, wanted)
