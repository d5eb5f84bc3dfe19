"""Manage configuration by object type: one type, one part of it, or a source, of a document (sections 2.2 to 2.4).

An address is the path below `/configuration/`, unquoted: `("entityTypes", "Store", "attributes", "City")`. A change
returns a new document, which shares unchanged parts with the old one. The caller validates it as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from hivewire_protocol.tenant.documents import Document, render
from hivewire_protocol.tenant.elements import COLLECTIONS, PARTS, ROOT, Element, objects, one_or_many, uri_of, walk
from hivewire_protocol.tenant.errors import BadRequest, Finding, TypeIsNotFound, ValidationError

Address: TypeAlias = Sequence[str]
"""Collections and names in turns. An odd number of segments is the address of a collection, or of a part that is read
as a whole; an even number that of an element."""

READABLE = tuple(name for name in COLLECTIONS if name != "survivorshipStrategies")
"""Collections that can be read by name (section 2.2)."""

WRITABLE = (
    "entityTypes",
    "groupTypes",
    "relationTypes",
    "graphTypes",
    "interactionTypes",
    "changeRequestTypes",
    "categoryTypes",
)
"""Collections whose types can be written one by one (section 2.2)."""

PART_OWNERS = {
    "attributes": ("entityTypes", "relationTypes"),
    "matchGroups": ("entityTypes",),
    "survivorshipGroups": ("entityTypes", "relationTypes"),
}
"""Collections of parts, and whose parts they are (section 2.3)."""

WHOLE_PARTS: dict[str, tuple[type, str]] = {
    "cleanseConfig": (dict, "an object"),
    "surrogateCrosswalks": (list, "an array"),
}
"""Members of an entity type that are read, replaced and removed as a whole (section 2.3), and their JSON types."""


def select(document: Document, names: Iterable[str]) -> Document:
    """The document with these collections only, in document order. Collections that it does not have are left out.

    Raises BadRequest for a name that is not a collection (section 13, row 15).
    """
    wanted = set(names)
    if unknown := wanted.difference(COLLECTIONS):
        raise BadRequest(
            f"select: '{min(unknown)[:100]}' is not a collection", f"It is one of {', '.join(COLLECTIONS)}."
        )
    return {name: value for name, value in document.items() if name in wanted}


def get(document: Document, address: Address) -> Any:
    """A collection (an array), a type, a collection of parts, or one part.

    A collection that the document may have, but does not, is an empty array. Raises TypeIsNotFound for anything else.
    """
    found = _find(document, address)
    return objects(found) if len(address) % 2 and address[-1] not in WHOLE_PARTS else found


def _find(document: Document, address: Address) -> Any:
    """The same, but a collection is returned with all its entries, including those that are not objects."""
    _check_address(address)
    owner: Document = document  # the element that contains the collection, whose URI begins those of its elements
    value: Any = document
    for depth, segment in enumerate(address):
        if depth % 2:
            owner = value = value[_position(value, owner, address[depth - 1], segment, address)]
        elif segment in WHOLE_PARTS:
            if segment not in value:
                raise _not_found(address)
            return value[segment]
        else:
            value = one_or_many(value.get(segment))
    return value


def insert(document: Document, address: Address, value: Any) -> Document:
    """The document with a type, part or source added at the end of its collection.

    The address is that of the element, or of its collection. Raises BadRequest for an element that exists, whose URI
    or name do not fit the address, or that cannot be added one by one, and TypeIsNotFound for an unknown place.
    """
    _check_address(address)
    depth = len(address)
    # A type is added under its own address; only sources, and parts, are added to their collection.
    if (depth == 1 and address[0] != "sources") or (depth == 3 and address[-1] in WHOLE_PARTS):
        raise BadRequest(f"nothing can be added to {'/'.join(address)} as it is")
    _check_writable(address)
    collection = address if depth % 2 else address[:-1]
    name = _name(value) if depth % 2 else address[-1]
    existing = _find(document, collection)
    _check_fits(document, (*collection, name), value)
    if any(_name(other) == name for other in existing):
        raise BadRequest(f"{'/'.join((*collection, name))} exists", "Use PUT to replace it.")
    if address[0] == "changeRequestTypes" and existing:
        raise BadRequest("changeRequestTypes has one element already", "There can be only one; use PUT to replace it.")
    return _with(document, collection, [*existing, value])


def replace(document: Document, address: Address, value: Any) -> Document:
    """The document with a type or part replaced, or with all parts of one kind of a type.

    Raises TypeIsNotFound when the type or part is not there, and BadRequest for a value that does not fit the address.
    """
    _check_address(address)
    _check_writable(address)
    if len(address) == 1 or address[0] == "sources":
        raise BadRequest(f"{'/'.join(address)} cannot be replaced as it is", "Send the whole configuration.")
    found = get(document, address if len(address) % 2 == 0 else address[:2])
    if len(address) % 2 == 0:
        _check_fits(document, address, value, uri_of(found))
    else:
        expected, words = WHOLE_PARTS.get(address[-1], (list, "an array"))
        if type(value) is not expected:
            raise BadRequest(f"{'/'.join(address)} is {words}", f"Send {words}.")
    return _with(document, address, value)


def remove(document: Document, address: Address) -> Document:
    """The document without a type, a source, a part or a collection of parts.

    Raises TypeIsNotFound when it is not there, BadRequest when it cannot be deleted, and ValidationError for
    a type or source that something else in the document refers to (section 13, row 16).
    """
    found = get(document, address)
    _check_writable(address)
    if len(address) == 1 or (address[0] == "relationTypes" and "survivorshipGroups" in address[2:3]):
        raise BadRequest(f"{'/'.join(address)} cannot be deleted", "Send the whole configuration.")
    if len(address) % 2:
        return _with(document, address, None)
    collection = _find(document, address[:-1])
    # Compare objects, not names: of two elements with one name, only the one that `get` shows is removed.
    rest = _with(document, address[:-1], [other for other in collection if other is not found])
    if len(address) == 2:
        _check_unused(rest, uri_of(found) or "")
    return rest


def source_publish_date(document: Document, source: str) -> dict[str, int | None]:
    """The `sourcePublishDate` of a source (section 2.4), null before one was set. Raises TypeIsNotFound."""
    return {"sourcePublishDate": get(document, ("sources", source)).get("sourcePublishDate")}


def with_source_publish_date(document: Document, source: str, body: Any) -> Document:
    """The document with another `sourcePublishDate` of a source (section 2.4).

    Raises TypeIsNotFound, and BadRequest for a body other than `{"sourcePublishDate": milliseconds}`.
    """
    found = get(document, ("sources", source))
    date = body.get("sourcePublishDate") if type(body) is dict else None
    if type(date) is not int:
        raise BadRequest("sourcePublishDate is missing", 'Send {"sourcePublishDate": milliseconds since 1970 UTC}.')
    return _with(document, ("sources", source), found | {"sourcePublishDate": date})


def _check_address(address: Address) -> None:
    """Raise TypeIsNotFound for an address that cannot exist."""
    collection = address[0] if address else ""
    known = collection in READABLE and len(address) <= 4
    if known and len(address) > 2:
        part = address[2]
        known = collection in PART_OWNERS.get(part, ()) or (
            part in WHOLE_PARTS and collection == "entityTypes" and len(address) == 3
        )
    if not known:
        raise _not_found(address)


def _check_writable(address: Address) -> None:
    if address[0] not in WRITABLE and address[0] != "sources":
        raise BadRequest(f"{address[0]} cannot be written one by one", "Send the whole configuration.")


def _check_fits(document: Document, address: Address, value: Any, stored: str | None = None) -> None:
    """Raise BadRequest unless an element has the URI that its address asks for, and no other name (row 17).

    It may also keep the URI of what is stored there, which may belong elsewhere.
    """
    owner = (uri_of(get(document, address[:2])) or "") if len(address) > 2 else ROOT
    expected = f"{owner}/{address[-2]}/{address[-1]}"
    if type(value) is not dict:
        raise BadRequest(f"{'/'.join(address)[:200]} is an object", "Send one element as an object.")
    if uri_of(value) not in (expected, stored or expected):
        raise BadRequest("the URI in the body is not that of the path", f"Here it is '{expected[:200]}'.")
    if value.get("name", address[-1]) != address[-1]:
        raise BadRequest("the name in the body is not that in the path", f"Here it is '{address[-1][:200]}'.")


def _check_unused(rest: Document, uri: str) -> None:
    """Raise ValidationError when a string in the document is this URI or the URI of something inside it."""
    # In most cases a search of the bytes, in C, finds nothing. The walk, which is slow, then is not needed.
    quoted = render(uri)
    data = render(rest)
    if quoted not in data and quoted[:-1] + b"/" not in data:
        return
    for element, user in _strings_in_elements(rest):
        if user == uri or user.startswith(f"{uri}/"):
            problem = f"refers to '{user[:200]}'"
            advice = f"'{uri}' is in use: remove the reference first."
            raise ValidationError([Finding(313, element.path, uri, problem, advice)])


def _strings_in_elements(document: Document) -> Iterator[tuple[Element, str]]:
    """Every string of the document with the element that contains it."""
    for element in walk(document):
        parts = PARTS[element.kind]
        pending = [value for member, value in element.value.items() if member not in parts]
        while pending:
            value = pending.pop()
            if type(value) is str:
                yield element, value
            elif type(value) is dict:
                pending += value.values()
            elif type(value) is list:
                pending += value


def _name(value: Any) -> str:
    """The name of an element: the last segment of its URI."""
    return (uri_of(value) or "").rpartition("/")[2] if type(value) is dict else ""


def _position(elements: list[Any], owner: Document, kind: str, name: str, address: Address) -> int:
    """The index of the element of this name. Of several, the one whose URI belongs to this place is preferred."""
    named = [position for position, element in enumerate(elements) if _name(element) == name]
    if not named:
        raise _not_found(address)
    # The URI of a part begins with that of its owner, the URI of a type with `configuration`.
    prefix = (uri_of(owner) or ROOT) if kind in PART_OWNERS else ROOT
    here = f"{prefix}/{kind}/{name}"
    return next((position for position in named if uri_of(elements[position]) == here), named[0])


def _not_found(address: Address) -> TypeIsNotFound:
    return TypeIsNotFound(f"there is no {'/'.join(address)[:200]}")


def _with(document: Document, address: Address, new: Any) -> Document:
    """A copy of an element with another value at an address; None removes the member."""
    member, *rest = address
    if not rest:
        return (
            document | {member: new}
            if new is not None
            else {name: document[name] for name in document if name != member}
        )
    items = one_or_many(document.get(member))
    position = _position(items, document, member, rest[0], address)
    changed = _with(items[position], rest[1:], new) if rest[1:] else new
    if type(document.get(member)) is not list:  # an object in place of a collection stays one
        return document | {member: changed}
    return document | {member: [*items[:position], changed, *items[position + 1 :]]}
