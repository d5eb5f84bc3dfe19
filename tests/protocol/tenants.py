"""Tenant configuration documents for the tests: one that breaks no rule, and random ones."""

from __future__ import annotations

import copy
import re
from typing import Any

from hypothesis import strategies as st

from hivewire_protocol.tenant.documents import Document, parse
from hivewire_protocol.tenant.errors import Finding
from hivewire_protocol.tenant.steps import at_once
from hivewire_protocol.tenant.validation import validate

STORE, PLACE, SHOP = (f"configuration/entityTypes/{name}" for name in ("Store", "Place", "Shop"))
AT, OWNS = (f"configuration/relationTypes/{name}" for name in ("At", "Owns"))
CRM, WEB = "configuration/sources/CRM", "configuration/sources/WEB"

GONE = object()
"""In place of a value: the member is not there."""


def attribute(uri: str, type: str = "String", **members: Any) -> Document:
    name = uri.rpartition("/")[2]
    return {"uri": uri, "name": name, "label": name, "type": type, **members}


def _store() -> Document:
    hours = f"{STORE}/attributes/Hours"
    return {
        "uri": STORE,
        "label": "Store",
        "attributes": [
            attribute(
                f"{STORE}/attributes/City",
                lookupCode="CITY",
                dependentLookupAttributes=[f"{STORE}/attributes/Zip"],
                cardinality={"minValue": 0, "maxValue": 1},
            ),
            attribute(f"{STORE}/attributes/Zip", lookupCode="ZIP"),
            attribute(
                hours,
                "Nested",
                keyAttributeURIs=[f"{hours}/attributes/Day"],
                attributes=[
                    attribute(f"{hours}/attributes/Day"),
                    attribute(f"{hours}/attributes/More", "Nested", attributes=[]),
                ],
            ),
            attribute(
                f"{STORE}/attributes/Address",
                "Reference",
                referencedEntityTypeURI=PLACE,
                relationshipTypeURI=AT,
                referencedAttributeURIs=[f"{PLACE}/attributes/Street"],
            ),
        ],
        "matchGroups": [
            {
                "uri": f"{STORE}/matchGroups/Same",
                "useOvOnly": "true",
                "rule": {
                    "and": {"exact": [f"{STORE}/attributes/City", f"{STORE}/attributes/Address/attributes/Street"]},
                    "matchTokenClasses": {"mapping": [{"attribute": f"{STORE}/attributes/City", "class": "x"}]},
                },
            }
        ],
        "survivorshipGroups": [
            {
                "uri": f"{STORE}/survivorshipGroups/default",
                "default": True,
                "roles": ["configuration/roles/Clerk"],
                "mapping": [
                    {"attribute": f"{STORE}/attributes/City", "sourcesUriOrder": [CRM, "configuration/sources/Reltio"]},
                    {"attribute": hours, "comparisonAttributeUri": f"{hours}/attributes/Day"},
                    {
                        "attribute": f"{STORE}/attributes/City",
                        "filter": {"equals": [{"uri": f"{STORE}/attributes/Zip", "value": "1"}]},
                    },
                ],
            },
            {"uri": f"{STORE}/survivorshipGroups/second", "roles": ["configuration/roles/Boss"], "mapping": []},
        ],
        "surrogateCrosswalks": [{"source": CRM, "attributes": [f"{STORE}/attributes/City"]}],
        "imageAttributeURIs": [f"{STORE}/attributes/City"],
    }


_DOCUMENT: Document = {
    "uri": "configuration",
    "label": "",
    "schemaVersion": "1",
    "sources": [{"uri": CRM, "label": "CRM"}, {"uri": WEB, "label": "Web"}],
    "roles": [{"uri": "configuration/roles/Clerk"}, {"uri": "configuration/roles/Boss"}],
    "survivorshipStrategies": [{"uri": "configuration/survivorshipStrategies/Mine", "mainSourceType": CRM}],
    "entityTypes": [
        _store(),
        {"uri": PLACE, "label": "Place", "attributes": [attribute(f"{PLACE}/attributes/Street")]},
        {"uri": SHOP, "label": "Shop", "extendsTypeURI": STORE, "attributes": [attribute(f"{SHOP}/attributes/City")]},
    ],
    "relationTypes": [
        {"uri": AT, "startObject": {"objectTypeURI": STORE}, "endObject": {"objectTypeURI": PLACE}},
        {"uri": OWNS, "startObject": {"objectTypeURI": STORE}, "endObject": {"objectTypeURI": SHOP}, "attributes": []},
    ],
    "interactionTypes": [
        {"uri": "configuration/interactionTypes/Sale", "memberTypes": [{"name": "by", "objectTypeURI": STORE}]}
    ],
    "graphTypes": [{"uri": "configuration/graphTypes/Map", "relationshipTypeURIs": [AT]}],
}


def document(**edits: Any) -> Document:
    """The document that breaks no rule, with values changed at paths such as `entityTypes[0].label`."""
    return edited(_DOCUMENT, edits)


def edited(value: Document, edits: dict[str, Any]) -> Document:
    value = copy.deepcopy(value)
    for path, new in edits.items():
        *outer, last = [int(step) if step.isdigit() else step for step in re.findall(r"[\w$]+", path)]
        target: Any = value
        for step in outer:
            target = target[step]
        if new is GONE:
            del target[last]
        elif isinstance(last, int) and last == len(target):
            target.append(new)
        else:
            target[last] = new
    return value


def findings(value: Document, *, strict: bool = False, known_members_only: bool = False) -> list[Finding]:
    return at_once(validate(value, strict=strict, known_members_only=known_members_only)).findings


def errors(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if not finding.warning]


def parsed(body: bytes) -> Document:
    return at_once(parse(body))


# Random documents. Few names, so that versions share elements and documents collide with themselves.

_names = st.sampled_from("ABCDE")
_scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=5)
_extras = st.dictionaries(st.sampled_from(("description", "hidden", "more")), st.text(max_size=3), max_size=2)


@st.composite
def _attributes(draw: st.DrawFn, owner: str, depth: int) -> list[Document]:
    found = []
    for name in draw(st.lists(_names, unique=True, max_size=3)):
        uri = f"{owner}/attributes/{name}"
        nested = depth > 0 and draw(st.booleans())
        element = attribute(uri, "Nested" if nested else "String", **draw(_extras))
        if nested:
            element["attributes"] = draw(_attributes(uri, depth - 1))
        if draw(st.booleans()):
            element["URI"] = element.pop("uri")
        if draw(st.booleans()):
            element["id"] = draw(st.text(max_size=2))
        found.append(element)
    return found


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Valid documents."""
    types = []
    for name in draw(st.lists(_names, unique=True, max_size=3)):
        uri = f"configuration/entityTypes/{name}"
        types.append({"uri": uri, "label": name, **draw(_extras), "attributes": draw(_attributes(uri, 2))})
    sources = [{"uri": f"configuration/sources/{name}"} for name in draw(st.lists(_names, unique=True, max_size=3))]
    return {"label": draw(st.text(max_size=3)), "schemaVersion": "1", "sources": sources, "entityTypes": types}


_MEMBERS = """
uri URI id name label type attributes cardinality minValue maxValue values matchGroups rule negativeRule and exact
survivorshipGroups mapping attribute filter equals default roles comparisonAttributeUri primaryAttributeUri
sourcesForOv startObject endObject objectTypeURI extendsTypeURI referencedEntityTypeURI relationshipTypeURI
referencedAttributeURIs dependentLookupAttributes surrogateCrosswalks source keyAttributeURIs memberTypes
"""
_URIS = [STORE, AT, CRM, f"{STORE}/attributes/A", f"{STORE}/attributes/A/attributes/A", f"{STORE}/matchGroups/A"]
_WORDS = ["configuration", "A", "", "true", "String", "Nested", "Reference", "Int", "-1", "/attributes/"]
_members = st.sampled_from(_MEMBERS.split())
_texts = st.sampled_from(_URIS + _WORDS)
json_values = st.recursive(
    _scalars | _texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_members, inner, max_size=6),
    max_leaves=40,
)


@st.composite
def shapeless(draw: st.DrawFn) -> Document:
    """Documents whose members have the right names and any value whatsoever."""
    collections = ("entityTypes", "relationTypes", "sources", "interactionTypes", "graphTypes", "label", "uri")
    found: Document = draw(
        st.dictionaries(st.sampled_from(collections), st.lists(json_values, max_size=3) | json_values)
    )
    return found
