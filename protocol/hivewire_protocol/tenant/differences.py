"""Which elements two versions of a document add, remove and modify, by URI."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from hivewire_protocol.tenant.documents import Document, render_sorted
from hivewire_protocol.tenant.elements import PARTS, ROOT, Element, identity, objects, one_or_many, uri_of, walk
from hivewire_protocol.tenant.ids import SERVER_MEMBERS
from hivewire_protocol.tenant.steps import Steps

MAX_LISTED = 1_000
"""Most URIs in each list."""

_SLICE = 500
"""Elements between two steps."""


class Differences(Struct):
    """URIs in document order, those removed in the order of the old version; `configuration` is the document itself.

    An element is modified when one of its own members has changed. These do not include `id`, its parts and, for the
    document, the members that the server sets. A new attribute, for example, is added, and its type is not modified;
    the type is modified when the order of its remaining parts changes. The order of members and the escaping of strings
    are ignored. `truncated` is true when a list had more than 1,000 URIs.
    """

    added: list[str] = msgspec.field(default_factory=list)
    removed: list[str] = msgspec.field(default_factory=list)
    modified: list[str] = msgspec.field(default_factory=list)
    truncated: bool = False


def compare(old: Document | None, new: Document) -> Steps[Differences]:
    """The differences from the old version to the new one, in steps; without an old one everything is added."""
    differences = Differences()
    before: dict[str, Element] = {}
    after: dict[str, Element] = {}
    for elements, document in ((before, old), (after, new)):
        for count, element in enumerate(walk(document) if document is not None else (), 1):
            if element.uri is not None:
                # Of several elements with one identity the first one counts, as it does for ids.
                elements.setdefault(element.identity, element)
            if not count % (5 * _SLICE):  # collecting an element takes less time than comparing it below
                yield
    for count, (key, element) in enumerate(after.items(), 1):
        if key not in before:
            _list(differences, differences.added, element)
        elif not _is_same(before[key], element, before, after):
            _list(differences, differences.modified, element)
        if not count % _SLICE:
            yield
    for key, element in before.items():
        if key not in after:
            _list(differences, differences.removed, element)
    return differences


def _list(differences: Differences, uris: list[str], element: Element) -> None:
    if len(uris) < MAX_LISTED:
        uris.append(element.uri or "")
    else:
        differences.truncated = True


def _is_same(one: Element, other: Element, before: dict[str, Element], after: dict[str, Element]) -> bool:
    if _own(one) != _own(other):
        return False
    # Compare only the order of parts that both versions have: an added or removed part is listed itself.
    for part in PARTS[one.kind]:
        kept = [key for key in _parts(one, part) if key in after]
        if kept != [key for key in _parts(other, part) if key in before]:
            return False
    return True


def _parts(owner: Element, part: str) -> list[str]:
    """The identities of its parts of one kind that have a URI, in order."""
    items = owner.value.get(part)
    if not items:
        return []
    uris = map(uri_of, objects(items))
    return [identity(owner.identity, part, uri, None) for uri in uris if uri is not None]


def _own(element: Element) -> bytes:
    """The members of an element without its parts. They are bytes, because Python takes 1, 1.0 and True for equal.

    Entries of its collections that have no URI count as its own members.
    """
    parts = PARTS[element.kind]
    left_out = SERVER_MEMBERS if element.kind == ROOT else ("id",)
    own: dict[str, Any] = {}
    for member, value in element.value.items():
        if member in left_out:
            continue
        if member not in parts or type(value) not in (list, dict):
            own[member] = value
        elif rest := [item for item in one_or_many(value) if type(item) is not dict or uri_of(item) is None]:
            own[member] = [_without_ids(item, member) for item in rest]
    return render_sorted(own)


def _without_ids(value: Any, kind: str) -> Any:
    """A definition without the ids that the server sets or removes in it and in its parts."""
    if type(value) is not dict:
        return value
    parts = PARTS[kind]
    found: Document = {}
    for member, inner in value.items():
        if member == "id":
            continue
        if member in parts and type(inner) is list:
            found[member] = [_without_ids(item, member) for item in inner]
        else:
            found[member] = _without_ids(inner, member) if member in parts else inner
    return found
