"""Limits on how many attributes and relation types there are (section 9)."""

from __future__ import annotations

from hivewire_protocol.tenant.elements import Element, one_or_many
from hivewire_protocol.tenant.model import Found, Model

ATTRIBUTES = 200
REFERENCES = 20
SUB_ATTRIBUTES = 100
RELATIONS = 50


def attributes(element: Element, model: Model) -> Found:
    """An entity type has at most 200 attributes of its own."""
    own = one_or_many(element.value.get("attributes"))
    if len(own) > ATTRIBUTES:
        advice = f"An entity type should not have more than {ATTRIBUTES}."
        yield element.found(1800, "attributes", f"has {len(own)} elements", advice)


def references(element: Element, model: Model) -> Found:
    """An entity type has at most 20 reference attributes of its own."""
    count = 0
    for attribute in one_or_many(element.value.get("attributes")):
        yield None
        count += type(attribute) is dict and attribute.get("type") == "Reference"
    if count > REFERENCES:
        advice = f"An entity type may not have more than {REFERENCES}."
        yield element.found(1900, "attributes", f"has {count} reference attributes", advice)


def sub_attributes(element: Element, model: Model) -> Found:
    """A nested attribute has at most 100 attributes."""
    inner = one_or_many(element.value.get("attributes"))
    if len(inner) > SUB_ATTRIBUTES:
        advice = f"A nested attribute should not have more than {SUB_ATTRIBUTES}."
        yield element.found(1805, "attributes", f"has {len(inner)} elements", advice)


def relations_between(element: Element, model: Model) -> Found:
    """There are at most 50 relation types between two entity types, whichever is the start."""
    ends = [element.value.get(member) for member in ("startObject", "endObject")]
    uris = [end.get("objectTypeURI") for end in ends if type(end) is dict]
    between = frozenset(uri for uri in uris if type(uri) is str)
    if len(uris) != 2 or not between:
        return
    model.counts[between] = count = model.counts.get(between, 0) + 1
    if count == RELATIONS + 1:
        advice = f"There should not be more than {RELATIONS}."
        yield element.found(1806, "", f"is one of over {RELATIONS} relation types between the same types", advice)
