"""Members and URIs: which are required, their types and their names (sections 3, 5, 7.4 and 12)."""

from __future__ import annotations

from typing import Any

from hivewire_protocol.tenant.elements import COLLECTIONS, MAX_URI, PARTS, ROOT, Element, one_or_many
from hivewire_protocol.tenant.model import Found, Model

# The members that each kind requires in addition to its URI. For elements they depend on the spelling of the URI member
# (section 12).
_DOCUMENT = ("label", "schemaVersion", "entityTypes")
_REQUIRED = {
    ("entityTypes", "URI"): ("name", "label", "attributes"),
    ("entityTypes", "uri"): ("label",),
    ("attributes", "URI"): ("name", "label", "type"),
    ("attributes", "uri"): ("label", "type"),
}

_REQUIRED_STRINGS = {
    ROOT: ("uri", "URI", "label", "schemaVersion"),
    "entityTypes": ("name", "label"),
    "attributes": ("name", "label", "type"),
}
_OTHER_STRINGS = {ROOT: ("description", "referenceConfigurationURI"), "entityTypes": ("description",)}

_ARRAYS = {ROOT: ("entityTypes",), "entityTypes": ("attributes",)}
"""Collections that section 3 requires to be arrays: in the document, and in elements with `URI`."""

_ENTRY = ("uri", "URI", "id", "name", "label", "description", "abstract", "access", "extendsTypeURI", "attributes")
KNOWN_MEMBERS: dict[str, frozenset[str]] = {
    ROOT: frozenset(COLLECTIONS).union(
        ("$schema", "uri", "URI", "id", "label", "description", "schemaVersion", "abstract"),
        ("referenceConfigurationURI",),
        ("createdTime", "updatedTime", "createdBy", "updatedBy", "rdmTenantId", "flatOvCalculation"),
        ("pinIgnoredPriority", "activity", "ratings", "matchActions"),
    ),
    "entityTypes": frozenset(_ENTRY).union(
        ("analyticsAttributes", "matchGroups", "survivorshipGroups", "surrogateCrosswalks", "cleanseConfig"),
        ("dataLabelPattern", "secondaryLabelPattern", "lifecycleActions", "imageAttributeURIs"),
        ("defaultFacetedAttributes", "typeColor", "typeIcon"),
    ),
    "relationTypes": frozenset(_ENTRY).union(("startObject", "endObject", "direction", "survivorshipGroups")),
}
"""The members that the contract names (section 5). Its lists for entity and relation types are not complete."""

# Codes for something that is defined twice, where it is not 1963.
_TWICE = {"attributes": 1907, "survivorshipStrategies": 1912, "survivorshipGroups": 1917, "matchGroups": 1924}


def clip(text: Any) -> str:
    """A value from the document in quotes, short enough for one line."""
    shown = "{...}" if type(text) is dict else "[...]" if type(text) is list else str(text)
    return f"'{shown}'" if len(shown) <= 200 else f"'{shown[:200]}...'"


def one_uri(element: Element, model: Model) -> Found:
    """An element has one URI, as `URI` or `uri`, which is a string that is not too long."""
    value = element.value
    if "URI" in value and "uri" in value:
        advice = "Give the URI of an element under one of the two names."
        yield element.found(304, "uri", "is present together with URI", advice)
    elif element.uri is None and (uri := value.get("URI", value.get("uri"))) is not None:
        member = "URI" if "URI" in value else "uri"
        code = 304 if element.kind in _REQUIRED_STRINGS and type(uri) is not str else 315
        advice = f"A URI is a string of at most {MAX_URI:,} characters that begins with configuration/."
        yield element.found(code, member, "is not a URI", advice)


def has_uri(element: Element, model: Model) -> Found:
    """Each element has a URI. An element without one gets no id and no path of its own."""
    if element.owner is not None and element.value.get("URI", element.value.get("uri")) is None:
        yield element.found(304, "URI", "is missing", "Each element needs a URI, spelled URI or uri.")


def required_members(element: Element, model: Model) -> Found:
    """Required members are present. An element with `uri` needs fewer; a document with a base layer needs none."""
    value = element.value
    if element.kind == ROOT:
        required: tuple[str, ...] = _DOCUMENT
    else:
        spelling = "URI" if "URI" in value else "uri"
        if spelling == "uri" and model.layered:
            return
        required = _REQUIRED.get((element.kind, spelling), ())
    for member in required:
        if value.get(member) is None:
            yield element.found(304, member, "is missing", f"{_WHO[element.kind]} needs {_WHAT[member]}.")


def has_name(element: Element, model: Model) -> Found:
    """An attribute with `uri` has a name. Without one, the last segment of its URI is its name."""
    value = element.value
    if "URI" not in value and value.get("name") is None and not model.layered:
        yield element.found(304, "name", "is missing", "Each attribute needs a name: the last segment of its URI.")


_WHO = {ROOT: "The configuration", "entityTypes": "Each entity type", "attributes": "Each attribute"}
_WHAT = {
    "name": "a name",
    "label": "a label",
    "type": "a type",
    "schemaVersion": "a schemaVersion",
    "entityTypes": "an array of entityTypes, which may be empty",
    "attributes": "an array of attributes, which may be empty",
}


def required_types(element: Element, model: Model) -> Found:
    """Required members are strings and arrays of objects; null counts as absent. With `uri` one object can stand in
    place of `attributes`."""
    yield from _strings(element, _REQUIRED_STRINGS)
    for member in PARTS[element.kind]:
        items = element.value.get(member)
        if member not in _ARRAYS.get(element.kind, ()) or items is None:
            continue
        if type(items) is not list and (type(items) is not dict or element.kind == ROOT or "URI" in element.value):
            yield element.found(304, member, "is not an array", f"Give {member} as an array of objects.")
        else:
            yield from _entries(element, member)


def other_types(element: Element, model: Model) -> Found:
    """Other members have the JSON type that they must have, too; null counts as absent."""
    yield from _strings(element, _OTHER_STRINGS)
    if element.kind == ROOT:
        time = element.value.get("updatedTime")
        if time is not None and (type(time) is bool or not isinstance(time, (int, float))):
            advice = "Give milliseconds since 1970 UTC, or leave it out: the server sets it."
            yield element.found(304, "updatedTime", "is not a number", advice)
    for member in PARTS[element.kind]:
        if member in _ARRAYS.get(element.kind, ()):
            continue
        items = element.value.get(member)
        if items is not None and type(items) not in (list, dict):
            yield element.found(304, member, "is not an array", f"Give {member} as an array of objects, or as one.")
        else:
            yield from _entries(element, member)


def _strings(element: Element, members: dict[str, tuple[str, ...]]) -> Found:
    for member in members.get(element.kind, ()):
        if (found := element.value.get(member)) is not None and type(found) is not str:
            yield element.found(304, member, "is not a string", f"Give {member} as a string.")


def _entries(element: Element, member: str) -> Found:
    for index, item in enumerate(one_or_many(element.value.get(member))):
        yield None
        if type(item) is not dict:
            yield element.found(304, f"{member}[{index}]", "is not an object", "Give each element as an object.")


def one_at_most(element: Element, model: Model) -> Found:
    """There is at most one change request type."""
    if element.kind == "changeRequestTypes" and element.index:
        yield element.found(304, "", "is not the only element", "changeRequestTypes has at most one element.")


def known_at_top(element: Element, model: Model) -> Found:
    """The document has no unknown member at its top level."""
    if not model.known_members_only:
        yield from _unknown(element)


def known_members(element: Element, model: Model) -> Found:
    """With `document_members = known`, the document, entity types and relation types have no unknown member."""
    if model.known_members_only:
        yield from _unknown(element)


def _unknown(element: Element) -> Found:
    known = KNOWN_MEMBERS[element.kind]
    for member in element.value:
        yield None
        if member not in known:
            where = "a configuration" if element.kind == ROOT else f"an element of {element.kind}"
            yield element.found(304, member[:200], "is an unknown member", f"It is not known in {where}: leave it out.")


def uri_begins(element: Element, model: Model) -> Found:
    """A URI begins with `configuration/`."""
    if element.uri is not None and not element.uri.startswith("configuration/"):
        yield element.found(315, "", f"has the URI {clip(element.uri)}", "A URI begins with configuration/.")


def uri_place(element: Element, model: Model) -> Found:
    """A URI says where its element is: the owner's URI, the collection, a name of one segment."""
    uri, owner = element.uri, element.owner
    if uri is None or owner is None or owner.uri is None or not uri.startswith("configuration/"):
        return
    prefix = f"{owner.uri}/{element.kind}/"
    name = uri[len(prefix) :]
    if not uri.startswith(prefix) or not name or "/" in name:
        advice = f"Here a URI is {clip(prefix)} and a name without a slash."
        yield element.found(314, "", f"has the URI {clip(uri)}", advice)


def name_of_uri(element: Element, model: Model) -> Found:
    """A name is the last segment of the URI."""
    name = element.value.get("name")
    if type(name) is str and element.uri is not None and name != element.uri.rpartition("/")[2]:
        advice = f"The URI is {clip(element.uri)}; its last segment and the name have to be the same."
        yield element.found(1811, "name", f"is {clip(name)}", advice)


def unique(element: Element, model: Model) -> Found:
    """Nothing is defined twice: attributes in a type, everything else in its collection."""
    if element.uri is None or element.owner is None:
        return
    scope = element.type_element if element.kind == "attributes" else element.owner
    key = (id(scope), element.kind, element.uri)
    first = model.seen.setdefault(key, element)
    if first is not element:
        code = _TWICE.get(element.kind, 1963)
        yield element.found(code, "", f"is {clip(element.uri)} again", f"{first.path} has the same URI already.")
