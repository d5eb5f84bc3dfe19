"""Attributes: types, members that fit them, cardinality, dependent lookups (sections 6, 7.3 and 7.4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hivewire_protocol.tenant.elements import Element
from hivewire_protocol.tenant.model import COMPLEX, MAX_ANCESTORS, Found, Model, is_simple
from hivewire_protocol.tenant.rules.structure import clip

# Types that are compatible with each other under one path (1960); any other is compatible only with itself.
_MOMENTS = ("Date", "Time", "Timestamp")
_WHOLES = ("Long", "Int", "Integer")
_FRACTIONS = ("Float", "Double", "Number")
_TEXTS = ("String", "Blob")
_FAMILIES = {name: family for family in (_MOMENTS, _WHOLES, _FRACTIONS, _TEXTS) for name in family}

_OTHERS = ("Dollar", "Boolean", "URL", "Image", "Image URL", "Enumerated", "SSN", *COMPLEX)
TYPES = frozenset((*_FAMILIES, *_OTHERS))
"""Every type that an attribute may have (section 6)."""

_WITH_ATTRIBUTES = (*COMPLEX, "Image", "Image URL")
"""Types whose attributes have attributes: an image has its address, its width and so on."""

_FOR_REFERENCES = ("referencedEntityTypeURI", "relationshipTypeURI", "referencedAttributeURIs")

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}").fullmatch
_FRACTION = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?").fullmatch
_DEFAULTS: dict[str, tuple[Callable[[str], object], str]] = {
    **dict.fromkeys(_MOMENTS, (lambda text: text not in ("true", "false"), "a string or a number")),
    **dict.fromkeys(_WHOLES, (_WHOLE, "a whole number")),
    **dict.fromkeys((*_FRACTIONS, "Dollar"), (_FRACTION, "a number")),
    "Boolean": (lambda text: text in ("true", "false"), "true or false"),
}


def known_type(element: Element, model: Model) -> Found:
    """The type of an attribute is known."""
    kind = element.value.get("type")
    if type(kind) is str and kind not in TYPES:
        yield element.found(304, "type", f"is {clip(kind)}", f"The types are {', '.join(sorted(TYPES))}.")


def members_of_type(element: Element, model: Model) -> Found:
    """Only reference attributes refer to types, and only nested, reference and image attributes have attributes."""
    kind = element.value.get("type")
    if type(kind) is not str or kind not in TYPES:
        return
    if kind != "Reference":
        for member in _FOR_REFERENCES:
            if element.value.get(member):
                advice = f"The type is {kind}; only attributes of type Reference have {member}."
                yield element.found(281, member, "cannot be combined with the type", advice)
    if kind not in _WITH_ATTRIBUTES and element.value.get("attributes"):
        advice = f"The type is {kind}; only attributes of type Nested have attributes."
        yield element.found(281, "attributes", "cannot be combined with the type", advice)


def cardinality(element: Element, model: Model) -> Found:
    """A minimum is not below 0, a maximum not below 1 nor below the minimum."""
    bounds = element.value.get("cardinality")
    if bounds is None:
        return
    if type(bounds) is not dict:
        yield element.found(304, "cardinality", "is not an object", "Give {minValue, maxValue}.")
        return
    least, most = _number(bounds.get("minValue")), _number(bounds.get("maxValue"))
    for member, number in (("minValue", least), ("maxValue", most)):
        if number is None and bounds.get(member) is not None:
            yield element.found(304, f"cardinality.{member}", "is not a number", "Give a number, or leave it out.")
    if least is not None and least < 0:
        yield element.found(1006, "cardinality.minValue", "is below 0", "Give 0 or more, or leave it out.")
    if most is not None and most < 1:
        yield element.found(1007, "cardinality.maxValue", "is below 1", "Give 1 or more, or leave it out.")
    if least is not None and most is not None and most < least:
        advice = "The maximum may not be below the minimum."
        yield element.found(1008, "cardinality.maxValue", "is below minValue", advice)


def _number(value: Any) -> float | None:
    """A number, also as a string, because real files write some numbers as strings (section 13, row 14)."""
    if type(value) is str and _WHOLE(value):
        return int(value)
    return value if isinstance(value, (int, float)) and type(value) is not bool else None


def default_value(element: Element, model: Model) -> Found:
    """A default value fits the type: numbers and booleans can be parsed, a date is not a boolean, and a simple value is
    not an object or an array."""
    default, kind = element.value.get("defaultValue"), element.value.get("type")
    if default is None or default == "" or type(kind) is not str or kind not in TYPES or kind in COMPLEX:
        return
    fits, words = _DEFAULTS.get(kind, (bool, "one value"))
    if type(default) in (dict, list) or not fits(_as_text(default)):
        yield element.found(1009, "defaultValue", f"is {clip(default)}", f"The type asks for {words}.")


def _as_text(value: Any) -> str:
    return str(value).lower() if type(value) is bool else str(value)


def nested_keys(element: Element, model: Model) -> Found:
    """`keyAttributeURIs` and `matchFieldURIs` of a nested attribute name simple attributes in it."""
    if element.value.get("type") != "Nested" or element.uri is None:
        return
    for member in ("keyAttributeURIs", "matchFieldURIs"):
        for uri in element.strings(member):
            yield None
            found = model.attribute(uri) if uri.startswith(f"{element.uri}/attributes/") else None
            if found is None:
                yield element.found(278, member, f"names {clip(uri)}", "Name attributes of this nested attribute.")
            elif not is_simple(found):
                yield element.found(383, member, f"names {clip(uri)}", "Name simple attributes only.")


def dependent_lookups(element: Element, model: Model) -> Found:
    """Lookups depend on one another only where both are simple, have a `lookupCode`, and form no cycle."""
    dependents = element.strings("dependentLookupAttributes")
    if not dependents:
        return
    member = "dependentLookupAttributes"
    if not is_simple(element):
        yield element.found(349, member, "is not for this attribute", "Only simple attributes can drive lookups.")
    elif element.text("lookupCode") is None:
        yield element.found(347, "lookupCode", "is missing", "An attribute that drives lookups needs a lookupCode.")
    if element.uri in model.lookup_cycle[:1]:
        nodes = " -> ".join(model.lookup_cycle[:10])
        yield element.found(333, member, "forms a cycle", f"Break the cycle {clip(nodes)}.")
    for uri in dependents:
        yield None
        found = model.attribute(uri)
        if found is None:
            yield element.found(348, member, f"names {clip(uri)}", "There is no such attribute.")
        elif not is_simple(found):
            yield element.found(349, member, f"names {clip(uri)}", "Name simple attributes only.")
        elif found.text("lookupCode") is None:
            yield element.found(347, member, f"names {clip(uri)}", "That attribute needs a lookupCode.")


def reference_targets(element: Element, model: Model) -> Found:
    """A reference attribute names its entity type and its relation type, and both exist."""
    if element.value.get("type") != "Reference":
        return
    for member, kind, code in (
        ("referencedEntityTypeURI", "entityTypes", 1970),
        ("relationshipTypeURI", "relationTypes", 1971),
    ):
        uri = element.text(member)
        if uri is None:
            yield element.found(code, member, "is missing", f"A reference attribute needs {member}.")
        elif not model.is_kind(uri, kind):
            yield element.found(313, member, f"is {clip(uri)}", f"There is no such element in {kind}.")
    for uri in element.strings("referencedAttributeURIs"):
        yield None
        if model.attribute(uri) is None:
            yield element.found(170, "referencedAttributeURIs", f"names {clip(uri)}", "There is no such attribute.")


def one_relation_each(element: Element, model: Model) -> Found:
    """Two reference attributes of a type do not use one relation type."""
    relation = element.text("relationshipTypeURI")
    if relation is None or element.value.get("type") != "Reference":
        return
    key = (id(element.type_element), "relationshipTypeURI", relation)
    first = model.seen.setdefault(key, element)
    if first is not element:
        advice = f"{first.path} uses this relation type already; each reference needs one of its own."
        yield element.found(1964, "relationshipTypeURI", f"is {clip(relation)} again", advice)


def inherited_type(element: Element, model: Model) -> Found:
    """An attribute that a type inherits keeps its data type."""
    kind, owner = element.text("type"), element.type_element
    if kind is None or owner.uri is None or element.uri is None or "extendsTypeURI" not in owner.value:
        return
    rest = element.uri.removeprefix(owner.uri)
    parent: Element | None = owner
    for _ in range(MAX_ANCESTORS):
        parent = model.by_uri.get(parent.text("extendsTypeURI") or "") if parent else None
        if parent is None:
            return
        above = model.by_uri.get(f"{parent.uri}{rest}")
        inherited = above.text("type") if above else None
        if inherited is not None and inherited != kind:
            advice = f"{clip(parent.uri)} has it with the type {clip(inherited)}."
            yield element.found(1905, "type", f"is {clip(kind)}", advice)
            return


def one_type_per_path(element: Element, model: Model) -> Found:
    """One attribute path has compatible types in all entity types, and in all relation types."""
    kind, owner = element.text("type"), element.type_element
    if kind is None or owner.kind not in ("entityTypes", "relationTypes") or not owner.uri or not element.uri:
        return
    key = (owner.kind, element.uri.removeprefix(owner.uri))
    first = model.seen.setdefault(key, element)
    other = first.text("type")
    if other != kind and _family(other) != _family(kind):
        advice = f"The same path has the type {clip(other)} in {clip(first.uri)}."
        yield element.found(1960, "type", f"is {clip(kind)}", advice)


def _family(kind: str | None) -> tuple[str, ...]:
    return _FAMILIES.get(kind or "", (kind or "",))
