"""Conditions in the headers of a request, as preconditions of its transaction (RFC 9110, section 13.1)."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

from hivewire.http.request import HttpRequest
from hivewire.ledger.records import Change, EvaluatedState, version_of
from hivewire_protocol.errors import HeaderConditionFailed, OutOfBounds
from hivewire_protocol.nouns.configuration import ChangeInfo


class EntityTags(Struct):
    """The condition of an `If-Match` or `If-None-Match` header (RFC 9110, sections 13.1.1 and 13.1.2).

    A tag is `"version"` or `"version-revision"`; `*` stands for any existing record.
    """

    header: str
    tags: tuple[str, ...]
    wanted: bool
    show: Callable[[Change], ChangeInfo]
    """How the 412 shows the current change."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether the record matches one of the tags (for `If-None-Match`: none)."""
        version = version_of(last)
        if not version or last is None:
            return not self.wanted
        matches = not {"*", f'"{version}"', f'"{version}-{last.revision}"'}.isdisjoint(self.tags)
        return matches is self.wanted

    def error(self, last: Change | None) -> HeaderConditionFailed:
        """The 412, with the record's current change."""
        text = f"{self.header}: {', '.join(self.tags)} does not hold"
        return HeaderConditionFailed(text, change=self.show(last) if last is not None else None)


_TAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_TAGS = re.compile(rf"\s*(?:\*|{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*)\s*")


def conditions_of(request: HttpRequest, show: Callable[[Change], ChangeInfo]) -> tuple[EntityTags, ...]:
    """The conditions in the headers of a request. Raises OutOfBounds for a malformed header."""
    found = []
    if (text := request.header("if-match")) is not None:
        found.append(_entity_tags("If-Match", text, True, show))
    if (text := request.header("if-none-match")) is not None:
        found.append(_entity_tags("If-None-Match", text, False, show))
    return tuple(found)


def _entity_tags(header: str, text: str, wanted: bool, show: Callable[[Change], ChangeInfo]) -> EntityTags:
    if not _TAGS.fullmatch(text):
        raise OutOfBounds(f'{header} must be * or entity tags in double quotes, such as "7"')
    # A weak tag keeps its mark, so that it matches nothing.
    return EntityTags(header, ("*",) if text.strip() == "*" else tuple(_TAG.findall(text)), wanted, show)
