"""References from types (section 7.4, rule 11). They are not checked in a document with a base layer: they may point
into it."""

from __future__ import annotations

from hivewire_protocol.tenant.elements import Element, entries, strings, strings_in, uri_of
from hivewire_protocol.tenant.model import SYSTEM_SOURCES, Found, Model
from hivewire_protocol.tenant.rules.structure import clip

_DIRECTIONS = ("directed", "undirected", "bidirectional")


def extended_type(element: Element, model: Model) -> Found:
    """`extendsTypeURI` names a type of the same collection."""
    parent = element.value.get("extendsTypeURI")
    if parent is not None and not model.is_kind(parent, element.kind):
        advice = f"There is no such element in {element.kind}."
        yield element.found(313, "extendsTypeURI", f"is {clip(parent)}", advice)


def ends_of_relation(element: Element, model: Model) -> Found:
    """A relation type has entity types at both ends; an abstract or extending one may leave an end to others."""
    value = element.value
    partial = value.get("abstract") in (True, "true") or element.text("extendsTypeURI") is not None
    for member, code in (("startObject", 1951), ("endObject", 1952)):
        end = value.get(member)
        if end is None and partial:
            continue
        uri = end.get("objectTypeURI") if type(end) is dict else None
        if uri is None:
            advice = f"A relation type needs a {member} with the objectTypeURI of an entity type."
            yield element.found(code, f"{member}.objectTypeURI", "is missing", advice)
        elif not model.is_kind(uri, "entityTypes"):
            advice = "There is no such element in entityTypes."
            yield element.found(code, f"{member}.objectTypeURI", f"is {clip(uri)}", advice)


def direction_of_relation(element: Element, model: Model) -> Found:
    """The direction of a relation type is directed, undirected or bidirectional, when it is given."""
    direction = element.value.get("direction")
    if direction is not None and direction not in _DIRECTIONS:
        yield element.found(304, "direction", f"is {clip(direction)}", f"It is one of {', '.join(_DIRECTIONS)}.")


def members_of_interaction(element: Element, model: Model) -> Found:
    """The members of an interaction type are of entity types that exist."""
    for member in entries(element.value.get("memberTypes")):
        yield None
        uri = member.get("objectTypeURI")
        if uri is not None and not model.is_kind(uri, "entityTypes"):
            advice = "There is no such element in entityTypes."
            yield element.found(313, "memberTypes", f"has the objectTypeURI {clip(uri)}", advice)


def members_once(element: Element, model: Model) -> Found:
    """The members of an interaction type have different URIs."""
    seen: set[str] = set()
    for member in entries(element.value.get("memberTypes")):
        yield None
        uri = uri_of(member)
        if uri is not None and uri in seen:
            yield element.found(1963, "memberTypes", f"has {clip(uri)} again", "Define each member once.")
        seen.add(uri or "")


def members_of_group(element: Element, model: Model) -> Found:
    """The entity types that a group type names as members exist, in whatever form it names them."""
    for uri in strings_in(element.value.get("memberTypes")):
        yield None
        if uri is None or not uri.startswith("configuration/entityTypes/"):
            continue
        if not model.is_kind("/".join(uri.split("/", 3)[:3]), "entityTypes"):
            advice = "There is no such element in entityTypes."
            yield element.found(313, "memberTypes", f"names {clip(uri)}", advice)


def relations_of_graph(element: Element, model: Model) -> Found:
    """A graph type names relation types that exist."""
    for uri in element.strings("relationshipTypeURIs"):
        yield None
        if not model.is_kind(uri, "relationTypes"):
            advice = "There is no such element in relationTypes."
            yield element.found(313, "relationshipTypeURIs", f"names {clip(uri)}", advice)


def attributes_of_type(element: Element, model: Model) -> Found:
    """Members of an entity type that name its attributes name attributes that it has."""
    own = f"{element.uri}/attributes/"
    for member in ("imageAttributeURIs", "defaultFacetedAttributes"):
        for uri in element.strings(member):
            yield None
            if uri.startswith(own) and model.attribute(uri) is None:
                yield element.found(170, member, f"names {clip(uri)}", "The entity type has no such attribute.")


def surrogate_crosswalks(element: Element, model: Model) -> Found:
    """The source of a surrogate crosswalk is defined and not a system source, and its attributes exist."""
    for crosswalk in entries(element.value.get("surrogateCrosswalks")):
        yield None
        source = crosswalk.get("source")
        if source in SYSTEM_SOURCES:
            code, use = ((334, "the default source"), (1961, "used for cleansing"))[SYSTEM_SOURCES.index(source)]
            advice = f"It is {use}; a surrogate crosswalk needs another."
            yield element.found(code, "surrogateCrosswalks", f"has the source {clip(source)}", advice)
        elif source is not None and not model.layered and not model.has_source(source):
            advice = "It is not defined in sources."
            yield element.found(1962, "surrogateCrosswalks", f"has the source {clip(source)}", advice)
        attributes = crosswalk.get("attributes")
        if attributes == []:
            advice = "Name the attributes that the key is made of."
            yield element.found(1967, "surrogateCrosswalks", "has an empty list of attributes", advice)
        for uri in strings(attributes):
            yield None
            if not model.layered and uri.startswith("configuration/") and model.attribute(uri) is None:
                advice = "The entity type has no such attribute."
                yield element.found(170, "surrogateCrosswalks", f"names {clip(uri)}", advice)


def cleansing(element: Element, model: Model) -> Found:
    """The attributes and sources that a cleanse configuration names exist, wherever it names them."""
    own = f"{element.uri}/attributes/"
    for uri in strings_in(element.value.get("cleanseConfig")):
        yield None
        if uri is None:
            continue
        if uri.startswith(own) and model.attribute(uri) is None:
            advice = "The entity type has no such attribute."
            yield element.found(170, "cleanseConfig", f"names {clip(uri)}", advice)
        elif uri.startswith("configuration/sources/") and not model.has_source(uri):
            yield element.found(1962, "cleanseConfig", f"names {clip(uri)}", "It is not defined in sources.")
