"""Tenant documents: every rule with a document that breaks it and its neighbour that does not."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire_protocol.tenant import work
from hivewire_protocol.tenant.documents import Document, render
from hivewire_protocol.tenant.elements import MAX_ENTRIES
from hivewire_protocol.tenant.errors import Invalid
from hivewire_protocol.tenant.model import cycle
from hivewire_protocol.tenant.steps import at_once
from hivewire_protocol.tenant.validation import MAX_ELEMENTS, MAX_FINDINGS, RULES, validate
from tests.documents import SHAPES, WARNED, small
from tests.protocol.tenants import (
    AT,
    CRM,
    GONE,
    OWNS,
    PLACE,
    SHOP,
    STORE,
    WEB,
    attribute,
    document,
    documents,
    edited,
    errors,
    findings,
    parsed,
    shapeless,
)

CITY, ZIP, HOURS, ADDRESS = (f"entityTypes[0].attributes[{index}]" for index in range(4))
MATCH = "entityTypes[0].matchGroups[0]"
SRC_SYS = "configuration/survivorshipStrategies/SRC_SYS"
FIRST, SECOND = (f"entityTypes[0].survivorshipGroups[{index}]" for index in range(2))
KEY = "entityTypes[0].surrogateCrosswalks[0]"
NOWHERE = f"{STORE}/attributes/Nowhere"
MORE = f"{STORE}/attributes/Hours/attributes/More"


def broken(value: Document, **settings: bool) -> list[tuple[int, str]]:
    """The code and path of each finding."""
    return [(finding.code, finding.path) for finding in findings(value, **settings)]


def test_the_document_that_breaks_no_rule_breaks_none() -> None:
    """The document that the others are made from is valid even when validation is strict."""
    assert broken(document(), strict=True, known_members_only=True) == []


CASES: list[tuple[int, str, dict[str, Any], dict[str, Any]]] = [
    # Rule 2: required members, JSON types; the spelling of the URI decides (section 12).
    (304, "label", {"label": GONE}, {"label": ""}),
    (304, "label", {"label": None}, {"label": "x"}),
    (304, "label", {"label": 1}, {"label": "1"}),
    (304, "schemaVersion", {"schemaVersion": GONE}, {"schemaVersion": "dp.1.5"}),
    (304, "schemaVersion", {"schemaVersion": 1}, {"schemaVersion": "1"}),
    (304, "description", {"description": []}, {"description": None}),
    (304, "updatedTime", {"updatedTime": "1"}, {"updatedTime": 1}),
    (304, "updatedTime", {"updatedTime": True}, {"updatedTime": 1.5}),
    (304, "uri", {"uri": 5}, {"uri": None}),
    (304, "URI", {"uri": GONE, "URI": {}}, {"uri": GONE, "URI": "configuration"}),
    (304, "referenceConfigurationURI", {"referenceConfigurationURI": 1}, {"referenceConfigurationURI": None}),
    (304, "referenceConfigurationURI", {"referenceConfigurationURI": {"a": 1}}, {"referenceConfigurationURI": ""}),
    (304, "roles", {"roles": "Boss"}, {"roles": None}),
    (304, "roles.URI", {"roles": {}}, {"roles": {"uri": "configuration/roles/Boss"}}),
    (304, "roles[1]", {"roles[1]": "Boss"}, {"roles[1]": {"uri": "configuration/roles/Boss"}}),
    (304, "roles[1].URI", {"roles[1].uri": GONE}, {}),
    (315, "roles[1].uri", {"roles[1].uri": ["x"]}, {}),
    (304, "entityTypes[2].label", {"entityTypes[2].label": GONE}, {"entityTypes[2].label": ""}),
    (304, "entityTypes[2].label", {"entityTypes[2].label": 7}, {"entityTypes[2].label": "7"}),
    (304, "entityTypes[2].attributes", {"entityTypes[2].attributes": "x"}, {"entityTypes[2].attributes": []}),
    (304, f"{ZIP}.name", {f"{ZIP}.name": GONE}, {f"{ZIP}.name": "Zip"}),
    (304, f"{ZIP}.label", {f"{ZIP}.label": GONE}, {f"{ZIP}.label": ""}),
    (304, f"{ZIP}.type", {f"{ZIP}.type": GONE}, {f"{ZIP}.type": "URL"}),
    (304, f"{MATCH}.URI", {f"{MATCH}.uri": None}, {}),
    # Rule 3 and section 5: unknown members, both spellings in one element.
    (304, "entitytypes", {"entitytypes": []}, {"ratings": []}),
    (304, "uri", {"URI": "configuration"}, {}),
    (304, "roles[1].uri", {"roles[1].URI": "configuration/roles/Boss"}, {}),
    # Section 2.2: at most one type of change requests.
    (
        304,
        "changeRequestTypes[1]",
        {"changeRequestTypes": [{"uri": f"configuration/changeRequestTypes/{name}"} for name in "AB"]},
        {"changeRequestTypes": [{"uri": "configuration/changeRequestTypes/A"}]},
    ),
    # Rules 4 to 6: where a URI stands.
    (315, "roles[1]", {"roles[1].uri": "roles/Boss"}, {}),
    (314, "roles[1]", {"roles[1].uri": "configuration/sources/Boss"}, {"roles[1].uri": "configuration/roles/B"}),
    (314, "roles[1]", {"roles[1].uri": "configuration/roles/"}, {}),
    (314, MATCH, {f"{MATCH}.uri": f"{PLACE}/matchGroups/Same"}, {f"{MATCH}.uri": f"{STORE}/matchGroups/Other"}),
    (
        314,
        "entityTypes[1].attributes[1]",
        {"entityTypes[1].attributes[1]": attribute(f"{STORE}/attributes/Flat")},
        {"entityTypes[1].attributes[1]": attribute(f"{PLACE}/attributes/Flat")},
    ),
    (
        314,
        "entityTypes[1].attributes[1]",
        {"entityTypes[1].attributes[1]": attribute(f"{PLACE}/attributes/Flat/Number")},
        {},
    ),
    (314, "roles[1]", {"roles[1].uri": "configuration/roles/a/b"}, {"roles[1].uri": "configuration/roles/a b"}),
    (314, "roles[1]", {"roles[1].uri": "configuration/roles/Boss/"}, {}),
    (314, "roles[1]", {"roles[1].uri": "configuration/roles//"}, {}),
    (
        314,
        "entityTypes[3]",
        {"entityTypes[3]": {"uri": f"{STORE}/attributes/City", "label": ""}},
        {"entityTypes[3]": {"uri": f"{STORE}.attributes.City", "label": ""}},
    ),
    (314, MATCH, {f"{MATCH}.uri": f"{STORE}/matchGroups/a/b"}, {f"{MATCH}.uri": f"{STORE}/matchGroups/a"}),
    (314, SECOND, {f"{SECOND}.uri": f"{STORE}/survivorshipGroups/a/b"}, {}),
    # Rule 7.
    (1811, f"{ZIP}.name", {f"{ZIP}.name": "zip"}, {f"{ZIP}.name": "Zip"}),
    (1811, f"{ZIP}.name", {f"{ZIP}.name": ""}, {}),
    (
        1811,
        "entityTypes[3].name",
        {"entityTypes[3]": {"URI": f"{STORE}2", "name": "", "label": "", "attributes": []}},
        {"entityTypes[3]": {"URI": f"{STORE}2", "name": "Store2", "label": "", "attributes": []}},
    ),
    # Rules 8 and 9.
    (1907, f"{HOURS}.attributes[2]", {f"{HOURS}.attributes[2]": attribute(MORE, "Nested")}, {}),
    (
        1912,
        "survivorshipStrategies[1]",
        {"survivorshipStrategies[1]": {"uri": "configuration/survivorshipStrategies/Mine"}},
        {},
    ),
    (1917, SECOND, {f"{SECOND}.uri": f"{STORE}/survivorshipGroups/default"}, {}),
    (
        1924,
        "entityTypes[0].matchGroups[1]",
        {"entityTypes[0].matchGroups[1]": {"uri": f"{STORE}/matchGroups/Same", "rule": {"x": 1}}},
        {},
    ),
    (1963, "sources[2]", {"sources[2]": {"uri": WEB}}, {"sources[2]": {"uri": WEB + "2"}}),
    (1963, "entityTypes[3]", {"entityTypes[3]": {"uri": SHOP, "label": ""}}, {}),
    # Rule 10, and what goes with a type.
    (304, f"{ZIP}.type", {f"{ZIP}.type": "string"}, {f"{ZIP}.type": "Image URL"}),
    (281, f"{HOURS}.referencedEntityTypeURI", {f"{HOURS}.referencedEntityTypeURI": PLACE}, {}),
    (
        281,
        f"{ZIP}.attributes",
        {f"{ZIP}.attributes": [attribute(f"{STORE}/attributes/Zip/attributes/A")]},
        {f"{ZIP}.attributes": []},
    ),
    # Rule 11.
    (
        1951,
        "relationTypes[0].startObject.objectTypeURI",
        {"relationTypes[0].startObject": GONE},
        {"relationTypes[0].startObject": None, "relationTypes[0].abstract": True},
    ),
    (1951, "relationTypes[0].startObject.objectTypeURI", {"relationTypes[0].startObject": {"objectTypeURI": AT}}, {}),
    (1952, "relationTypes[0].endObject.objectTypeURI", {"relationTypes[0].endObject": {}}, {}),
    (
        1952,
        "relationTypes[0].endObject.objectTypeURI",
        {"relationTypes[0].endObject": {"objectTypeURI": "x"}},
        {"relationTypes[0].endObject": {"objectTypeURI": SHOP}},
    ),
    (
        1970,
        f"{ADDRESS}.referencedEntityTypeURI",
        {f"{ADDRESS}.referencedEntityTypeURI": GONE, f"{ADDRESS}.referencedAttributeURIs": [], f"{MATCH}.rule.and": {}},
        {},
    ),
    (1971, f"{ADDRESS}.relationshipTypeURI", {f"{ADDRESS}.relationshipTypeURI": GONE}, {}),
    (
        313,
        f"{ADDRESS}.relationshipTypeURI",
        {f"{ADDRESS}.relationshipTypeURI": PLACE},
        {f"{ADDRESS}.relationshipTypeURI": OWNS},
    ),
    (
        313,
        f"{ADDRESS}.referencedEntityTypeURI",
        {f"{ADDRESS}.referencedEntityTypeURI": AT, f"{MATCH}.rule.and": {}},
        {},
    ),
    (
        313,
        "entityTypes[2].extendsTypeURI",
        {"entityTypes[2].extendsTypeURI": CRM},
        {"entityTypes[2].extendsTypeURI": PLACE},
    ),
    (
        313,
        "interactionTypes[0].memberTypes",
        {"interactionTypes[0].memberTypes[0].objectTypeURI": AT},
        {"interactionTypes[0].memberTypes[0].objectTypeURI": SHOP},
    ),
    (
        304,
        "relationTypes[0].direction",
        {"relationTypes[0].direction": "both"},
        {"relationTypes[0].direction": "bidirectional"},
    ),
    (304, "relationTypes[0].direction", {"relationTypes[0].direction": {}}, {"relationTypes[0].direction": None}),
    (
        1963,
        "interactionTypes[0].memberTypes",
        {"interactionTypes[0].memberTypes": [{"uri": "m"}, {"uri": "n"}, {"URI": "m"}]},
        {"interactionTypes[0].memberTypes": [{"uri": "m"}, {"uri": "n"}, {}, {}]},
    ),
    (
        313,
        "graphTypes[0].relationshipTypeURIs",
        {"graphTypes[0].relationshipTypeURIs[0]": STORE},
        {"graphTypes[0].relationshipTypeURIs[0]": OWNS},
    ),
    (
        313,
        "groupTypes[0].memberTypes",
        {"groupTypes": [{"uri": "configuration/groupTypes/G", "memberTypes": [STORE + "x"]}]},
        {"groupTypes": [{"uri": "configuration/groupTypes/G", "memberTypes": [STORE, "x", 1]}]},
    ),
    (
        313,
        "groupTypes[0].memberTypes",
        {"groupTypes": [{"uri": "configuration/groupTypes/G", "memberTypes": [{"objectTypeURI": f"{SHOP}s"}]}]},
        {"groupTypes": [{"uri": "configuration/groupTypes/G", "memberTypes": [{"objectTypeURI": SHOP}]}]},
    ),
    (
        1962,
        "entityTypes[0].cleanseConfig",
        {"entityTypes[0].cleanseConfig": {"infos": [{"source": "configuration/sources/X"}]}},
        {"entityTypes[0].cleanseConfig": {"infos": [{"source": "configuration/sources/ReltioCleanser"}]}},
    ),
    (1962, "entityTypes[0].surrogateCrosswalks", {f"{KEY}.source": "configuration/sources/X"}, {f"{KEY}.source": WEB}),
    # Rule 12.
    (1006, f"{CITY}.cardinality.minValue", {f"{CITY}.cardinality.minValue": -1}, {f"{CITY}.cardinality.minValue": 0}),
    (
        1007,
        f"{CITY}.cardinality.maxValue",
        {f"{CITY}.cardinality": {"maxValue": "0"}},
        {f"{CITY}.cardinality": {"maxValue": "1"}},
    ),
    (1008, f"{CITY}.cardinality.maxValue", {f"{CITY}.cardinality.minValue": 2}, {f"{CITY}.cardinality.minValue": 1}),
    (
        304,
        f"{CITY}.cardinality.minValue",
        {f"{CITY}.cardinality.minValue": "x"},
        {f"{CITY}.cardinality.minValue": "0"},
    ),
    (
        304,
        f"{CITY}.cardinality.maxValue",
        {f"{CITY}.cardinality.maxValue": True},
        {f"{CITY}.cardinality.maxValue": None},
    ),
    (304, f"{CITY}.cardinality", {f"{CITY}.cardinality": 3}, {f"{CITY}.cardinality": {}}),
    # Section 7.3.
    (170, "entityTypes[0].imageAttributeURIs", {"entityTypes[0].imageAttributeURIs[0]": NOWHERE}, {}),
    (
        170,
        "entityTypes[0].cleanseConfig",
        {"entityTypes[0].cleanseConfig": {"mappings": [{"inputMapping": [{"attribute": NOWHERE}]}]}},
        {
            "entityTypes[0].cleanseConfig": {
                "mappings": [
                    {
                        "uri": f"{STORE}/cleanse/mappings/address",
                        "inputMapping": [{"attribute": f"{STORE}/attributes/Address/attributes/Street"}],
                    }
                ]
            }
        },
    ),
    (170, "entityTypes[0].surrogateCrosswalks", {f"{KEY}.attributes[0]": NOWHERE}, {}),
    (
        170,
        f"{ADDRESS}.referencedAttributeURIs",
        {f"{ADDRESS}.referencedAttributeURIs[0]": f"{PLACE}/attributes/Nowhere"},
        {f"{ADDRESS}.referencedAttributeURIs": []},
    ),
    (170, f"{MATCH}.rule", {f"{MATCH}.rule.and.exact[0]": NOWHERE}, {f"{MATCH}.rule.and.exact[0]": "Nowhere"}),
    (
        170,
        f"{MATCH}.rule",
        {f"{MATCH}.rule.matchTokenClasses.mapping[0].attribute": f"{STORE}/attributes/Address/attributes/X"},
        {},
    ),
    (
        170,
        f"{MATCH}.negativeRule",
        {f"{MATCH}.rule": GONE, f"{MATCH}.negativeRule": {"or": {"equals": [{"uri": NOWHERE}]}}},
        {f"{MATCH}.rule": GONE, f"{MATCH}.negativeRule": {"or": {}}},
    ),
    (278, f"{HOURS}.keyAttributeURIs", {f"{HOURS}.keyAttributeURIs[0]": f"{STORE}/attributes/Zip"}, {}),
    (278, f"{HOURS}.matchFieldURIs", {f"{HOURS}.matchFieldURIs": [f"{STORE}/attributes/Hours/attributes/X"]}, {}),
    (383, f"{HOURS}.keyAttributeURIs", {f"{HOURS}.keyAttributeURIs[0]": MORE}, {}),
    (312, f"{FIRST}.mapping[0].attribute", {f"{FIRST}.mapping[0].attribute": "City"}, {}),
    (
        1916,
        f"{FIRST}.mapping[0].attribute",
        {f"{FIRST}.mapping[0].attribute": NOWHERE},
        {f"{FIRST}.mapping[0].attribute": f"{STORE}/attributes/Zip"},
    ),
    (
        333,
        f"{CITY}.dependentLookupAttributes",
        {f"{CITY}.dependentLookupAttributes[0]": f"{STORE}/attributes/City"},
        {},
    ),
    (334, "entityTypes[0].surrogateCrosswalks", {f"{KEY}.source": "configuration/sources/Reltio"}, {}),
    (1961, "entityTypes[0].surrogateCrosswalks", {f"{KEY}.source": "configuration/sources/ReltioCleanser"}, {}),
    (
        335,
        f"{FIRST}.mapping[1].comparisonAttributeUri",
        {f"{FIRST}.mapping[1].comparisonAttributeUri": f"{STORE}/attributes/Hours/attributes/X"},
        {},
    ),
    (
        336,
        f"{FIRST}.mapping[1].comparisonAttributeUri",
        {f"{FIRST}.mapping[1].comparisonAttributeUri": f"{STORE}/attributes/Zip"},
        {},
    ),
    (337, f"{FIRST}.mapping[1].comparisonAttributeUri", {f"{FIRST}.mapping[1].comparisonAttributeUri": MORE}, {}),
    (338, f"{FIRST}.mapping[2].filter", {f"{FIRST}.mapping[2].filter.equals[0].uri": f"{STORE}/attributes/Hours"}, {}),
    (339, f"{FIRST}.mapping[2].attribute", {f"{FIRST}.mapping[2].filter": GONE}, {}),
    (
        1922,
        f"{FIRST}.mapping[0].comparisonAttributeUri",
        {f"{FIRST}.mapping[0].comparisonAttributeUri": f"{STORE}/attributes/Zip"},
        {},
    ),
    (347, f"{CITY}.lookupCode", {f"{CITY}.lookupCode": GONE}, {}),
    (347, f"{CITY}.dependentLookupAttributes", {f"{ZIP}.lookupCode": GONE}, {}),
    (348, f"{CITY}.dependentLookupAttributes", {f"{CITY}.dependentLookupAttributes[0]": NOWHERE}, {}),
    (
        349,
        f"{CITY}.dependentLookupAttributes",
        {f"{CITY}.dependentLookupAttributes[0]": f"{STORE}/attributes/Hours"},
        {},
    ),
    (
        349,
        f"{HOURS}.dependentLookupAttributes",
        {f"{HOURS}.dependentLookupAttributes": [f"{STORE}/attributes/Zip"]},
        {},
    ),
    (353, f"{MATCH}.rule", {f"{MATCH}.rule": "x"}, {}),
    (353, f"{MATCH}.rule.and", {f"{MATCH}.rule.and": ["x"]}, {f"{MATCH}.rule.and": []}),
    (353, f"{MATCH}.rule.and.or", {f"{MATCH}.rule.and": [{"or": [{}, "x"]}]}, {f"{MATCH}.rule.and": [{"or": {}}]}),
    (354, f"{MATCH}.negativeRule", {f"{MATCH}.rule": GONE, f"{MATCH}.negativeRule": ["x"]}, {}),
    (354, f"{MATCH}.negativeRule", {f"{MATCH}.negativeRule": {"or": {}}}, {}),
    (
        366,
        f"{FIRST}.mapping[0].sourcesForOv",
        {f"{FIRST}.mapping[0].sourcesForOv": []},
        {f"{FIRST}.mapping[0].sourcesForOv": [CRM]},
    ),
    (1967, "entityTypes[0].surrogateCrosswalks", {f"{KEY}.attributes": []}, {}),
    (373, f"{MATCH}.rule", {f"{MATCH}.rule": {}}, {}),
    (
        375,
        f"{MATCH}.rule",
        {f"{MATCH}.rule.and.exact[0]": f"{STORE}/attributes/Hours"},
        {
            f"{MATCH}.rule.and.exact[0]": f"{STORE}/attributes/Hours",
            f"{HOURS}.matchFieldURIs": [f"{STORE}/attributes/Hours/attributes/Day"],
        },
    ),
    (
        1009,
        f"{ZIP}.defaultValue",
        {f"{ZIP}.defaultValue": "1.5", f"{ZIP}.type": "Int"},
        {f"{ZIP}.defaultValue": "15", f"{ZIP}.type": "Int"},
    ),
    (
        1009,
        f"{ZIP}.defaultValue",
        {f"{ZIP}.defaultValue": 1, f"{ZIP}.type": "Boolean"},
        {f"{ZIP}.defaultValue": True, f"{ZIP}.type": "Boolean"},
    ),
    (
        1009,
        f"{ZIP}.defaultValue",
        {f"{ZIP}.defaultValue": [1], f"{ZIP}.type": "Float"},
        {f"{ZIP}.defaultValue": -1.5e9, f"{ZIP}.type": "Float"},
    ),
    *(
        (
            1009,
            f"{ZIP}.defaultValue",
            {f"{ZIP}.defaultValue": wrong, f"{ZIP}.type": kind},
            {f"{ZIP}.defaultValue": right, f"{ZIP}.type": kind},
        )
        for kind, wrong, right in (
            ("Date", True, "2026-02-23"),
            ("Time", ["07:05"], "07:05"),
            ("Timestamp", False, 1716203045000),
            ("String", {"value": "x"}, "x"),
            ("URL", ["x"], "https://example.com"),
            ("Number", "1" * 401, "1" * 400),
        )
    ),
    (
        1914,
        f"{FIRST}.mapping",
        {f"{FIRST}.mapping[0].primaryAttributeUri": f"{STORE}/attributes/City"},
        {f"{FIRST}.mapping[0].primaryAttributeUri": f"{STORE}/attributes/Zip"},
    ),
    (
        1915,
        f"{FIRST}.mapping[0].sourcesUriOrder",
        {f"{FIRST}.mapping[0].sourcesUriOrder[0]": "configuration/sources/X"},
        {f"{FIRST}.mapping[0].sourcesUriOrder[0]": WEB},
    ),
    (
        1913,
        "survivorshipStrategies[0].mainSourceType",
        {"survivorshipStrategies[0].parentStrategyURI": SRC_SYS, "survivorshipStrategies[0].mainSourceType": GONE},
        {"survivorshipStrategies[0].parentStrategyURI": SRC_SYS},
    ),
    (1915, "survivorshipStrategies[0].mainSourceType", {"survivorshipStrategies[0].mainSourceType": "X"}, {}),
    (1918, f"{SECOND}.roles", {f"{SECOND}.roles[0]": "configuration/roles/Clerk"}, {}),
    (1919, f"{SECOND}.default", {f"{SECOND}.default": "true"}, {f"{SECOND}.default": "false"}),
    (
        1964,
        "entityTypes[0].attributes[4].relationshipTypeURI",
        {
            "entityTypes[0].attributes[4]": attribute(
                f"{STORE}/attributes/Next", "Reference", referencedEntityTypeURI=PLACE, relationshipTypeURI=AT
            )
        },
        {
            "entityTypes[0].attributes[4]": attribute(
                f"{STORE}/attributes/Next", "Reference", referencedEntityTypeURI=SHOP, relationshipTypeURI=OWNS
            )
        },
    ),
    (
        1960,
        "entityTypes[1].attributes[1].type",
        {"entityTypes[1].attributes[1]": attribute(f"{PLACE}/attributes/City", "Int")},
        {"entityTypes[1].attributes[1]": attribute(f"{PLACE}/attributes/City", "Blob")},
    ),
]


@pytest.mark.parametrize(("code", "path", "breaks", "keeps"), CASES)
def test_each_rule_finds_what_breaks_it_and_nothing_else(
    code: int, path: str, breaks: dict[str, Any], keeps: dict[str, Any]
) -> None:
    """The finding has its code and a path to the element, and is the only one; the neighbour has none."""
    (finding,) = findings(document(**breaks), strict=True)
    assert (finding.code, finding.path) == (code, path)
    assert finding.uri
    assert finding.message == f"Business model is not valid: {path} {finding.problem}"
    assert finding.advice.endswith(".")
    assert broken(document(**keeps), strict=True) == []


def test_every_code_of_the_table_has_a_case() -> None:
    """No rule goes untested, and each rule names the codes that it finds."""
    elsewhere = {1905, 1800, 1805, 1806, 1900}
    codes = {code for rule in RULES for code in rule.codes}
    assert codes == {code for code, *_ in CASES} | elsewhere
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_an_element_spelled_URI_is_held_to_the_seed_in_full() -> None:
    """`URI` asks for name, label and attributes of an entity type, `uri` for the label only (section 12). The name of
    an attribute with `uri` is only missed: published documents leave it out."""
    kind = "configuration/entityTypes/New"
    for spelling, missing in (("URI", ["name", "label", "attributes"]), ("uri", ["label"])):
        found = broken(document(**{"entityTypes[3]": {spelling: kind}}))
        assert found == [(304, f"entityTypes[3].{member}") for member in missing]
        found = broken(document(**{"entityTypes[2].attributes[1]": {spelling: f"{SHOP}/attributes/A"}}))
        assert {*found} == {(304, f"entityTypes[2].attributes[1].{member}") for member in ("name", "label", "type")}
    for spelling, refused in (("URI", True), ("uri", False)):
        new = attribute(f"{SHOP}/attributes/A") | {"name": None}
        new[spelling] = new.pop("uri")
        (finding,) = findings(document(**{"entityTypes[2].attributes[1]": new}))
        assert (finding.path, finding.warning) == ("entityTypes[2].attributes[1].name", not refused)


def test_a_document_above_a_base_layer_may_have_stubs() -> None:
    """With `referenceConfigurationURI` an element needs a `uri` only, and references may lead into the base layer."""
    base = {"referenceConfigurationURI": "configuration/_vertical/life-sciences"}
    stubs = {
        "entityTypes[3]": {"uri": "configuration/entityTypes/Stub", "extendsTypeURI": "configuration/entityTypes/Base"},
        "entityTypes[2].attributes[1]": {"uri": f"{SHOP}/attributes/A", "type": "Reference"},
        "relationTypes[2]": {"uri": "configuration/relationTypes/Stub"},
        f"{MATCH}.rule": {"and": {"exact": [NOWHERE]}},
        f"{FIRST}.mapping[0]": {"attribute": NOWHERE, "sourcesUriOrder": ["configuration/sources/Base"]},
        f"{KEY}.source": "configuration/sources/Base",
    }
    assert broken(document(**base, **stubs), strict=True) == []
    assert {code for code, _ in broken(document(**stubs))} == {304, 313, 1970, 1971, 1951, 1952, 170, 1916, 1915, 1962}
    wrong = {"entityTypes[2].uri": "Shop", "sources[2]": {"uri": CRM}, f"{CITY}.cardinality": {"minValue": -1}}
    assert broken(document(**base, **wrong)) == [
        (1963, "sources[2]"),
        (1006, f"{CITY}.cardinality.minValue"),
        (315, "entityTypes[2]"),
        (314, "entityTypes[2].attributes[0]"),
    ]
    assert {finding.code for finding in errors(findings(document(**base, **wrong)))} == {1963, 315}


@pytest.mark.parametrize("base", [1, {"a": 1}, True, ["x"]])
def test_an_invalid_base_layer_relaxes_nothing(base: Any) -> None:
    """A `referenceConfigurationURI` that is not a string is an error itself and hides no other."""
    value = document(referenceConfigurationURI=base, **{f"{CITY}.dependentLookupAttributes[0]": NOWHERE})
    assert broken(value) == [
        (304, "referenceConfigurationURI"),
        (348, f"{CITY}.dependentLookupAttributes"),
    ]


def test_the_top_level_is_required_above_a_base_layer_too() -> None:
    """A base layer relaxes elements, not the document."""
    assert broken({"referenceConfigurationURI": "x"}) == [
        (304, "label"),
        (304, "schemaVersion"),
        (304, "entityTypes"),
    ]


REFUSED = [
    "label",
    "schemaVersion",
    "uri",
    "URI",
    "entityTypes[2].label",
    "entityTypes[2].attributes",
    f"{ZIP}.label",
    f"{ZIP}.type",
]


@pytest.mark.parametrize(("code", "path", "breaks", "keeps"), CASES)
def test_only_what_the_store_could_not_keep_is_refused(
    code: int, path: str, breaks: dict[str, Any], keeps: dict[str, Any]
) -> None:
    """By default, required members, URIs, definitions that occur twice and ends of relations are errors; all else
    is a warning."""
    (finding,) = findings(document(**breaks))
    definition = code in (315, 1907, 1912, 1917, 1924, 1951, 1952) or (code == 1963 and path.endswith("]"))
    required = code == 304 and path in REFUSED and finding.problem != "is 'string'"
    both = finding.problem == "is present together with URI"
    assert finding.warning == (not (definition or required or both)), finding


@pytest.mark.parametrize(("code", "path", "breaks", "keeps"), CASES)
def test_a_document_is_stored_as_it_is_or_refused(
    code: int, path: str, breaks: dict[str, Any], keeps: dict[str, Any]
) -> None:
    """A warning changes nothing of what is stored; an error stores nothing."""
    value = document(**breaks)
    (finding,) = findings(value)
    saving = work.save(render(value), None, None, work.Rules(False, False, 1 << 20), {}, stale=False)
    if finding.warning:
        saved = at_once(saving)
        assert saved.warnings == 1
        assert without_ids(parsed(saved.document)) == value
    else:
        with pytest.raises(Invalid):
            at_once(saving)


def without_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [*map(without_ids, value)]
    return {name: without_ids(value[name]) for name in value if name != "id"} if isinstance(value, dict) else value


def test_real_documents_break_some_rules_unless_validation_is_strict() -> None:
    """A match group without a rule, one path with two types and an overridden type are warnings unless strict."""
    value = document(**{f"{MATCH}.rule": GONE, "entityTypes[2].attributes[0].type": "Date"})
    expected = [(373, f"{MATCH}.rule"), *((code, "entityTypes[2].attributes[0].type") for code in (1905, 1960))]
    assert broken(value) == expected
    assert errors(findings(value)) == []
    assert [(finding.code, finding.path) for finding in errors(findings(value, strict=True))] == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_documents_in_use_draw_no_finding(shape: str) -> None:
    """One or many, booleans and numbers as strings, further members: not even a warning, also when it is strict."""
    assert broken(edited(small(), SHAPES[shape]), strict=True) == []


@pytest.mark.parametrize("what", WARNED)
def test_faults_in_the_business_model_are_warnings(what: str) -> None:
    """Each kind names its place and refuses nothing."""
    code, path, edits = WARNED[what]
    found = findings(edited(small(), edits))
    assert (code, path) in [(finding.code, finding.path) for finding in found]
    assert errors(found) == []


def test_unknown_members_below_the_top_are_kept_unless_the_setting_says_otherwise() -> None:
    """The setting concerns entity and relation types only; attributes may have any member (section 13, row 12)."""
    value = document(**{"entityTypes[0].x": 1, "relationTypes[0].y": 1, f"{CITY}.z": 1, "sources[0].z": 1})
    assert broken(value) == []
    assert broken(value, known_members_only=True) == [(304, "entityTypes[0].x"), (304, "relationTypes[0].y")]
    assert len(errors(findings(document(x=1, **{"entityTypes[0].x": 1}), known_members_only=True))) == 2


def test_attributes_are_found_through_inheritance_and_references() -> None:
    """A URI may lead through a reference attribute, and to what a type inherits, in any combination."""
    inherited = f"{SHOP}/attributes/Address/attributes/Street"
    shop = {"uri": f"{SHOP}/matchGroups/A", "rule": {"and": {"exact": [inherited, f"{SHOP}/attributes/Zip"]}}}
    assert broken(document(**{"entityTypes[2].matchGroups": [shop]})) == []
    value = document(**{"entityTypes[2].matchGroups": [shop], "entityTypes[2].extendsTypeURI": GONE})
    assert broken(value) == [(170, "entityTypes[2].matchGroups[0].rule")] * 2
    circle = document(**{"entityTypes[2].matchGroups": [shop], "entityTypes[2].extendsTypeURI": SHOP})
    assert broken(circle) == [(170, "entityTypes[2].matchGroups[0].rule")] * 2


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ({"String": 200}, []),
        ({"String": 201}, [(1800, "entityTypes[3].attributes", True)]),
        ({"String": 220, "Reference": 20}, [(1800, "entityTypes[3].attributes", True)]),
        ({"Reference": 20}, []),
        ({"Reference": 21}, [(1900, "entityTypes[3].attributes", True)]),
    ],
)
def test_limits_of_an_entity_type(count: dict[str, int], expected: list[tuple[int, str, bool]]) -> None:
    """More than 200 attributes are a warning, and so are more than 20 references (section 9)."""
    uri = "configuration/entityTypes/Big"
    names = [(kind, f"{kind}{index}") for kind, number in count.items() for index in range(number)]
    value = document(referenceConfigurationURI="x")
    members = [{"uri": f"{uri}/attributes/{name}", "type": kind} for kind, name in names]
    value["entityTypes"].append({"uri": uri, "attributes": members})
    assert [(finding.code, finding.path, finding.warning) for finding in findings(value)] == expected


def test_limits_of_nested_attributes_and_of_relations() -> None:
    """More than 100 sub-attributes, or 50 relation types between two entity types, are warnings (section 9)."""
    many = [attribute(f"{MORE}/attributes/A{index}") for index in range(101)]
    place = f"{HOURS}.attributes[1].attributes"
    assert broken(document(**{place: many[:100]})) == []
    (finding,) = findings(document(**{place: many}))
    assert (finding.code, finding.path, finding.warning) == (1805, place, True)

    value = document()
    for index in range(50):
        start, end = (STORE, PLACE) if index % 2 else (PLACE, STORE)
        uri = f"configuration/relationTypes/R{index}"
        value["relationTypes"].append(
            {"uri": uri, "startObject": {"objectTypeURI": start}, "endObject": {"objectTypeURI": end}}
        )
    (finding,) = findings(value)  # the document has one of its own
    assert (finding.code, finding.path, finding.warning) == (1806, "relationTypes[51]", True)
    del value["relationTypes"][-1]
    assert findings(value) == []


def test_a_uri_has_a_limit() -> None:
    """A URI of over 1,024 characters is refused: short references must not stand for megabytes."""
    long = "configuration/roles/" + "x" * 1005
    assert broken(document(**{"roles[2]": {"uri": long[:-1]}})) == []
    assert broken(document(**{"roles[2]": {"uri": long}})) == [(315, "roles[2].uri")]


def test_findings_are_in_document_order() -> None:
    """Owners come before their parts, and collections in the order they have in the document."""
    bad = {f"{CITY}.type": "x", "entityTypes[0].label": GONE, "sources[0].uri": GONE, "label": GONE}
    bad |= {f"{SECOND}.uri": "x", "graphTypes[0].uri": "x", "entityTypes[2].label": 1}
    paths = [finding.path for finding in findings(document(**bad)) if finding.code in (304, 315)]
    assert paths == [
        "label",
        "sources[0].URI",
        "entityTypes[0].label",
        f"{CITY}.type",
        SECOND,
        "entityTypes[2].label",
        "graphTypes[0]",
    ]


def test_findings_in_an_element_are_in_the_order_of_its_members() -> None:
    """Findings about the element come first, then about its members in order, then about missing members."""
    assert broken({"x.y[3]": 1, "label": 5, "entityTypes": 5, "x": 1}) == [
        (304, "x.y[3]"),
        (304, "label"),
        (304, "entityTypes"),
        (304, "x"),
        (304, "schemaVersion"),
    ]
    kind = {"cardinality": 1, "defaultValue": "x", "type": "Int", "name": "B", "uri": f"{SHOP}/attributes/City"}
    path = "entityTypes[2].attributes[1]"
    assert broken(document(**{path: kind})) == [
        (1907, path),
        (304, f"{path}.cardinality"),
        (1009, f"{path}.defaultValue"),
        (1905, f"{path}.type"),
        (1960, f"{path}.type"),
        (1811, f"{path}.name"),
        (304, f"{path}.label"),
    ]


def test_findings_in_an_array_are_in_the_order_of_its_entries() -> None:
    """Findings about array entries come in the order of the entries, whichever rules find them."""
    mapping: list[dict[str, Any]] = [{"attribute": "City"} for _ in range(11)]
    mapping[2] = mapping[10] = {"attribute": f"{STORE}/attributes/City", "sourcesForOv": []}
    found = broken(document(**{f"{FIRST}.mapping": mapping, f"{FIRST}.default": True}))
    places = [int(path.rpartition("[")[2].partition("]")[0]) for _, path in found]
    assert len(places) == 9 + 8 + 1 + 2
    assert places == sorted(places)


def test_findings_quote_little_of_the_document() -> None:
    """However long the strings of a document are, what is said of them fits on a line."""
    long = "x" * 100_000
    bad = {f"{CITY}.type": long, long: 1, "roles[1].uri": f"configuration/{long}"[:1000], f"{ZIP}.name": long}
    for finding in findings(document(**bad)):
        assert len(finding.message) + len(finding.advice) < 1500


def test_findings_are_bounded() -> None:
    """At most 1,000 errors and 1,000 warnings are listed; a last finding says that there are more."""
    sources = [{"uri": "x"} for _ in range(2 * MAX_FINDINGS)]
    found = errors(findings(document(sources=sources)))
    assert [finding.code for finding in found[MAX_FINDINGS:]] == [270]
    assert found[-1].problem == "has more than 1,000 errors; the first 1,000 are listed"
    value = document(schemaVersion=1)
    value["entityTypes"][0]["matchGroups"] = [{"uri": f"{STORE}/matchGroups/{i}"} for i in range(2 * MAX_FINDINGS)]
    checked = at_once(validate(value))
    assert (len(checked.findings), checked.warnings) == (MAX_FINDINGS + 2, 2 * MAX_FINDINGS)
    assert [finding.path for finding in checked.errors] == ["schemaVersion"]
    assert checked.findings[-1].message.endswith("the document has 2,000 warnings; the first 1,000 are listed")


def test_a_hundred_thousand_warnings_are_counted_and_not_kept() -> None:
    """The number is that of all of them, the list has its end."""
    value = document(**{f"{HOURS}.matchFieldURIs": ["x"] * MAX_ENTRIES})
    checked = at_once(validate(value))
    assert (len(checked.findings), checked.warnings) == (MAX_FINDINGS + 1, MAX_ENTRIES)
    assert checked.findings[0].path == f"{HOURS}.matchFieldURIs"


def test_elements_are_bounded() -> None:
    """A document that defines more than 250,000 elements is refused before it costs time and memory."""
    value = document(sources=[{}] * MAX_ELEMENTS)
    (finding,) = findings(value)
    assert (finding.code, finding.path) == (304, "")


def test_a_uri_does_not_lead_through_references_for_ever() -> None:
    """References may go in circles; a URI leads through 32 of them at most."""
    again = {f"{ADDRESS}.referencedEntityTypeURI": STORE, f"{ADDRESS}.referencedAttributeURIs": []}
    for steps, found in ((31, []), (32, [(170, f"{MATCH}.rule")])):
        uri = STORE + "/attributes/Address" * steps + "/attributes/City"
        assert broken(document(**again, **{f"{MATCH}.rule.and": {"exact": [uri]}})) == found


def test_validation_comes_in_steps() -> None:
    """A large document yields many times on the way to its findings, a small one need not."""
    value = document()
    value["roles"] = [{"uri": f"configuration/roles/R{index}"} for index in range(5_000)]
    assert len(list(validate(value))) > 20
    assert at_once(validate(value)) == ([], 0)


LONG = 20_000
HUGE = {
    f"{MATCH}.rule.and.exact": [f"{STORE}/attributes/City"] * LONG,
    "entityTypes[0].imageAttributeURIs": [f"{STORE}/attributes/City"] * LONG,
    f"{CITY}.dependentLookupAttributes": [f"{STORE}/attributes/Zip"] * LONG,
    f"{HOURS}.keyAttributeURIs": [f"{STORE}/attributes/Hours/attributes/Day"] * LONG,
    f"{ADDRESS}.referencedAttributeURIs": [f"{PLACE}/attributes/Street"] * LONG,
    f"{FIRST}.mapping": [{"attribute": f"{STORE}/attributes/Zip", "filter": index} for index in range(LONG)],
    f"{FIRST}.mapping[0].sourcesUriOrder": [CRM] * LONG,
    f"{SECOND}.roles": [f"configuration/roles/R{index}" for index in range(LONG)],
    "entityTypes[0].surrogateCrosswalks": [{"source": CRM}] * LONG,
    f"{KEY}.attributes": [f"{STORE}/attributes/City"] * LONG,
    "interactionTypes[0].memberTypes": [{"objectTypeURI": STORE}] * LONG,
    "graphTypes[0].relationshipTypeURIs": [AT] * LONG,
}


@pytest.mark.parametrize("path", HUGE)
def test_one_huge_array_comes_in_steps(path: str) -> None:
    """However much is in one element, there are breaks while it is looked through."""
    assert len(list(validate(document(**{path: HUGE[path]})))) >= LONG // 3_000


def test_arrays_that_are_looked_through_have_an_end() -> None:
    """An array too long for the rules is a finding itself, wherever in an element it is; other rules go on."""
    for path in (f"{ADDRESS}.referencedAttributeURIs", f"{FIRST}.mapping[0].sourcesUriOrder"):
        exactly = [f"{PLACE}/attributes/Street", CRM][path.startswith(FIRST)]
        assert broken(document(**{path: [exactly] * MAX_ENTRIES})) == []
        where = path.partition(".mapping")[0].removesuffix(".referencedAttributeURIs")
        assert broken(document(**{path: [exactly] * (MAX_ENTRIES + 1)})) == [(304, where)]
    lookups = {f"{CITY}.dependentLookupAttributes": [1] * (MAX_ENTRIES + 1)}
    assert broken(document(**lookups)) == [(304, CITY)]


@given(st.dictionaries(st.sampled_from("ABCDEF"), st.lists(st.sampled_from("ABCDEF"), max_size=3)))
def test_a_circle_is_found_when_there_is_one(graph: dict[str, list[str]]) -> None:
    """The same graphs have one as the standard library says, and what is shown is one."""
    circle = at_once(cycle(graph))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        assert circle[0] == circle[-1]
        assert all(after in graph[node] for node, after in pairwise(circle))
        assert len(circle) > 1
    else:
        assert circle == ()


@given(documents())
def test_valid_documents_have_no_findings(value: Document) -> None:
    """Whatever is built by the rules keeps them, in both spellings."""
    assert errors(findings(value)) == []


@given(shapeless())
def test_validation_never_fails(value: Document) -> None:
    """Any JSON at all in place of any member gives findings, never an exception, and each can be shown."""
    for finding in findings(value, strict=True, known_members_only=True):
        body = finding.body()
        assert body["errorCode"] == finding.code
        assert all(body[member] for member in ("severity", "errorMessage", "errorDetailMessage"))
