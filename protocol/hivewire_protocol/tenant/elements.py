"""The walk over every definition in a document: types, sources, attributes and so on (section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from hivewire_protocol.tenant.documents import Document
from hivewire_protocol.tenant.errors import Finding

ROOT = "configuration"
"""The URI of the whole document, and the kind of the element that stands for it."""

COLLECTIONS = (
    "entityTypes",
    "relationTypes",
    "attributeTypes",
    "interactionTypes",
    "groupTypes",
    "graphTypes",
    "hierarchyTypes",
    "groupingTypes",
    "categoryTypes",
    "changeRequestTypes",
    "sources",
    "roles",
    "survivorshipStrategies",
)

# Collections of definitions inside an element of each kind. All other members belong to the element, however nested.
_ATTRIBUTES = ("attributes",)
_NOTHING: tuple[str, ...] = ()
PARTS: dict[str, tuple[str, ...]] = {
    ROOT: COLLECTIONS,
    **dict.fromkeys(COLLECTIONS, _ATTRIBUTES),
    "entityTypes": ("attributes", "matchGroups", "survivorshipGroups"),
    "relationTypes": ("attributes", "survivorshipGroups"),
    "sources": _NOTHING,
    "roles": _NOTHING,
    "survivorshipStrategies": _NOTHING,
    "attributes": _ATTRIBUTES,
    "matchGroups": _NOTHING,
    "survivorshipGroups": _NOTHING,
}


MAX_URI = 1_024
"""Longest URI in characters. The contract gives no limit; without one, short references could expand to megabytes."""


def uri_of(value: Document) -> str | None:
    """The URI in either spelling (section 5); None when it is absent or not valid."""
    uri = value.get("URI", value.get("uri"))
    return uri if type(uri) is str and 0 < len(uri) <= MAX_URI else None


class Element(Struct, eq=False):
    """One definition: its members, its kind (the collection that it is in), its place and its owner.

    The document itself is the element without an owner; its kind, URI and identity are `configuration`. `index` is
    None when the element stands in place of a collection. Ids and differences use `identity` as the key of an element.
    """

    value: Document
    kind: str
    uri: str | None
    identity: str
    owner: Element | None = None
    index: int | None = 0

    @property
    def path(self) -> str:
        """Its path in the document, such as `entityTypes[0].attributes[3]`; empty for the document itself."""
        if self.owner is None:
            return ""
        return self.owner.at(self.kind if self.index is None else f"{self.kind}[{self.index}]")

    def at(self, member: str) -> str:
        """The path of one of its members."""
        path = self.path
        return f"{path}.{member}" if path and member else path or member

    @property
    def nearest_uri(self) -> str:
        """Its URI, or that of the nearest owner that has one."""
        element: Element | None = self
        while element is not None and element.uri is None:
            element = element.owner
        return element.uri or ROOT if element else ROOT

    @property
    def type_element(self) -> Element:
        """The element of a top-level collection that contains it, or itself."""
        element = self
        while element.owner is not None and element.owner.owner is not None:
            element = element.owner
        return element

    def text(self, member: str) -> str | None:
        """A member, when it is a non-empty string."""
        value = self.value.get(member)
        return value if type(value) is str and value else None

    def strings(self, member: str) -> list[str]:
        """The strings in a member that is a string or an array of them. Raises TooLong."""
        return strings(self.value.get(member))

    def found(self, code: int, member: str, problem: str, advice: str) -> Finding:
        """A finding about a member of it, or about itself when `member` is empty."""
        return Finding(code, self.at(member), self.nearest_uri, problem, advice)


def one_or_many(value: Any) -> list[Any]:
    """What a member that may repeat contains: the entries of an array, or the one value that stands in its place.

    Documents that were written from an XML schema have one or the other anywhere (documents in use, section 2). Null
    counts as absent.
    """
    return value if type(value) is list else [] if value is None else [value]


def objects(value: Any) -> list[Document]:
    """The objects in a member that may repeat."""
    return [item for item in one_or_many(value) if type(item) is dict]


def identity(owner: str, kind: str, uri: str | None, index: int | None) -> str:
    """The key of an element for ids and differences: its URI, when that says where the element is.

    The URI of an element that is elsewhere may be that of another one, and an element may have none. The key is then
    made of its owner's identity, its collection, and its URI, or else its index.
    """
    prefix = f"{owner}/{kind}/"
    if uri is not None and uri.startswith(prefix) and uri.find("/", len(prefix)) < 0:
        return uri
    # Hashed, because it contains the identity of the owner, and would grow with each level.
    place = f"{prefix}\0{index if uri is None else uri}"
    return "\0" + blake2b(place.encode(errors="surrogatepass"), digest_size=16).hexdigest()


MAX_ENTRIES = 100_000
"""Most array entries that a rule looks through, to bound its time; real documents have a few hundred at most."""


class TooLong(Exception):
    """An array has more than MAX_ENTRIES entries."""


def strings(value: Any) -> list[str]:
    """The strings in a member that may repeat and that rules look through. Raises TooLong."""
    return [item for item in _entries(value) if type(item) is str]


def entries(value: Any) -> list[Document]:
    """The objects in a member that may repeat and that rules look through. Raises TooLong."""
    return [item for item in _entries(value) if type(item) is dict]


def _entries(value: Any) -> list[Any]:
    found = one_or_many(value)
    if len(found) > MAX_ENTRIES:
        raise TooLong
    return found


def strings_in(value: Any) -> Iterator[str | None]:
    """All strings in a piece of JSON, in order, and None for everything else in it."""
    open_values = [iter((value,))]  # for each level the values that are still to come
    while open_values:
        for inner in open_values[-1]:
            yield inner if type(inner) is str else None
            if type(inner) is dict:
                open_values.append(iter(inner.values()))
                break
            if type(inner) is list:
                open_values.append(iter(inner))
                break
        else:
            open_values.pop()


def walk(document: Document) -> Iterator[Element]:
    """Every definition in the document, itself first: owners before their parts, in document order.

    Entries that are not objects are skipped. An object in place of a collection is its only element.
    """
    root = Element(document, ROOT, ROOT, ROOT)
    yield root
    open_owners = [_parts(root)]  # for each owner of the current element the parts that are still to come
    while open_owners:
        element = next(open_owners[-1], None)
        if element is None:
            open_owners.pop()
            continue
        yield element
        if PARTS[element.kind]:
            open_owners.append(_parts(element))


def _parts(owner: Element) -> Iterator[Element]:
    """The definitions directly inside an element."""
    parts = PARTS[owner.kind]
    for member, items in owner.value.items():
        if member in parts:
            many = type(items) is list
            for index, item in enumerate(items if many else (items,)):
                if type(item) is dict:
                    uri, place = uri_of(item), index if many else None
                    yield Element(item, member, uri, identity(owner.identity, member, uri, place), owner, place)
