"""Which elements two versions of a document add, remove and modify, by URI."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from hivewire_protocol.tenant.documents import Document, render_sorted
from hivewire_protocol.tenant.elements import PARTS, ROOT, Element, objects, uri_of, walk
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
                elements.setdefault(element.uri, element)
            if not count % (5 * _SLICE):
                yield
    for count, (uri, element) in enumerate(after.items(), 1):
        if uri not in before:
            _list(differences, differences.added, uri)
        elif not _is_same(before[uri], element, before, after):
            _list(differences, differences.modified, uri)
        if not count % _SLICE:
            yield
    for uri in before:
        if uri not in after:
            _list(differences, differences.removed, uri)
    return differences


def _list(differences: Differences, uris: list[str], uri: str) -> None:
    if len(uris) < MAX_LISTED:
        uris.append(uri)
    else:
        differences.truncated = True


def _is_same(one: Element, other: Element, before: dict[str, Element], after: dict[str, Element]) -> bool:
    if _own(one) != _own(other):
        return False
    for part in PARTS[one.kind]:
        kept = [uri for uri in map(uri_of, objects(one.value.get(part))) if uri in after]
        if kept != [uri for uri in map(uri_of, objects(other.value.get(part))) if uri in before]:
            return False
    return True


def _own(element: Element) -> bytes:
    """The members of an element without its parts, as bytes: as values, 1, 1.0 and True would be equal in Python."""
    parts = PARTS[element.kind]
    left_out = SERVER_MEMBERS if element.kind == ROOT else ("id",)
    return render_sorted(
        {
            member: value
            for member, value in element.value.items()
            if member not in left_out and not (member in parts and type(value) is list)
        }
    )
