"""Members that the server sets in a document: generated ids, and who saved it when (sections 3 and 11).

The stored version itself says which URI has which id, so only a counter is kept beside it. A URI that was removed and
added again is not in that version, so it gets a new id. No id is used twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hivewire_protocol.tenant.documents import Document
from hivewire_protocol.tenant.elements import PARTS, ROOT, identity, uri_of, walk
from hivewire_protocol.tenant.steps import Steps

SERVER_MEMBERS = ("createdTime", "createdBy", "updatedTime", "updatedBy")
"""Members of the document that the server sets (section 3)."""

_SLICE = 2_000
"""Elements between two steps: a few milliseconds."""


class Numbered(NamedTuple):
    """A document in which every definition has an id, and the last number used in this tenant."""

    document: Document
    counter: int


def ids_of(document: Document) -> Steps[dict[str, str]]:
    """The ids in a stored version, by the `identity` of each element, in steps."""
    ids: dict[str, str] = {}
    for count, element in enumerate(walk(document), 1):
        found = element.value.get("id")
        if element.owner is not None and element.uri is not None and type(found) is str:
            ids.setdefault(element.identity, found)
        if not count % _SLICE:
            yield
    return ids


def number(document: Document, ids: Mapping[str, str], counter: int) -> Steps[Numbered]:
    """The document with ids, in steps: those of `ids` for known identities, the numbers after `counter` for new ones.

    New numbers follow document order, owners before their parts. `id` is placed before the first collection of parts,
    or last; an `id` in the request is ignored. A definition that occurs twice in one collection is one element, so
    both get the same id. The result shares everything but elements and their collections with the given document.
    (Section 11)
    """
    numbers = _Numbers(dict(ids), counter)
    new: Document = {}
    count = 0
    for member, items in document.items():
        if member not in PARTS[ROOT] or type(items) is not list:  # an object in place of a collection is its element
            new[member] = numbers.element(items, member, ROOT, None) if member in PARTS[ROOT] else items
            continue
        new[member] = numbered = []
        for index, item in enumerate(items):
            numbered.append(numbers.element(item, member, ROOT, index))
            if numbers.given - count >= _SLICE:
                count = numbers.given
                yield
    return Numbered(new, numbers.counter)


class _Numbers:
    def __init__(self, ids: dict[str, str], counter: int) -> None:
        self.ids = ids
        self.counter = counter
        self.given = 0

    def element(self, value: Any, kind: str, owner: str, index: int | None) -> Any:
        """A copy of an element and of the elements in it, with ids. `owner` is the identity of its owner."""
        if type(value) is not dict:
            return value
        parts = PARTS[kind]
        uri = uri_of(value)
        key = identity(owner, kind, uri, index)
        # Before the members, so that an owner gets its number before its parts. Without a URI there is no id: only the
        # index tells such elements apart, and it changes when others are added or removed.
        found = self._id(key) if uri is not None else None
        new: Document = {}
        for member, inner in value.items():
            if member == "id":
                continue
            if member in parts and type(inner) in (list, dict):
                if found is not None:  # has an effect at the first collection of parts only
                    new.setdefault("id", found)
                if type(inner) is dict:
                    new[member] = self.element(inner, member, key, None)
                else:
                    new[member] = [self.element(item, member, key, at) for at, item in enumerate(inner)]
            else:
                new[member] = inner
        if found is not None:
            new.setdefault("id", found)
        return new

    def _id(self, key: str) -> str:
        self.given += 1
        if key not in self.ids:
            self.counter += 1
            self.ids[key] = str(self.counter)
        return self.ids[key]


def stamp(document: Document, members: Mapping[str, Any]) -> Document:
    """The document with members that the server sets, such as `{"updatedTime": 1716203045000}`.

    An existing member keeps its place; a new one is placed before the first collection.
    """
    new: Document = {}
    absent = {member: value for member, value in members.items() if member not in document}
    for member, value in document.items():
        if member in PARTS[ROOT]:
            new |= absent
            absent = {}
        new[member] = members.get(member, value)
    return new | absent
