"""Tenant configuration documents like real ones: 20 entity types, 60 relation types, 1,800 attributes nested 5 deep.

The members, their order, and how types refer to each other follow what documents of the real system have (tenant
configuration contract, sections 5 and 6); the sentences in them are made up. As compact JSON it is 1.7 MB.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from hivewire_protocol.tenant.documents import Document

ENTITY_TYPES, RELATION_TYPES, ATTRIBUTES, DEPTH = 20, 60, 1_800, 5

_ROOT = "configuration"
_OF_RELATION = 5
_CHAINS, _LEAVES = 5, 2
"""Nested attributes of an entity type: so many, of full depth, with so many simple ones at each depth."""
_OF_ENTITY = (ATTRIBUTES - RELATION_TYPES * _OF_RELATION) // ENTITY_TYPES
_OTHERS = _OF_ENTITY - 1 - _CHAINS * (DEPTH - 1) * (1 + _LEAVES)
"""Simple attributes of an entity type beside its key."""

_SIMPLE = ("String", "String", "String", "Int", "Date", "Boolean", "Double", "Timestamp", "URL")
_WORDS = """
    account address agreement amount branch business care category channel city code company contact country customer
    date device district effective employee family first gender given group health identifier last legal license line
    member name number order organization party payment person phone postal preferred primary product profile provider
    record region role sales segment specialty start state status street tax title type valid verified year été 住所
""".split()  # noqa: SIM905 - a list of lines to read


def realistic(seed: int = 0, *, entity_types: int = ENTITY_TYPES, filler: int = 62, chains: int = _CHAINS) -> Document:
    """A document that breaks no rule, the same for the same seed.

    `filler` is the words in each description, `chains` the nested attributes of each entity type.
    """
    made = _Maker(random.Random(seed), filler, chains)
    return {
        "uri": _ROOT,
        "label": "Business model",
        "description": made.sentence(),
        "schemaVersion": "1",
        "sources": [made.source(number) for number in range(20)],
        "roles": [{"uri": f"{_ROOT}/roles/Role{number}", "label": made.title()} for number in range(8)],
        "entityTypes": [made.entity_type(number) for number in range(entity_types)],
        "relationTypes": [
            made.relation_type(number, number % entity_types, (number * 7 + 1) % entity_types)
            for number in range(RELATION_TYPES * entity_types // ENTITY_TYPES)
        ],
    }


def attributes_of(owner: Document) -> Iterator[tuple[Document, int]]:
    """Every attribute below something, with its depth from 1."""
    for attribute in owner.get("attributes", ()):
        yield attribute, 1
        yield from ((inner, depth + 1) for inner, depth in attributes_of(attribute))


class _Maker:
    def __init__(self, chance: random.Random, filler: int, chains: int) -> None:
        self._chance = chance
        self._filler = filler
        self._chains = chains

    def title(self) -> str:
        return " ".join(self._chance.choices(_WORDS, k=2)).capitalize()

    def sentence(self) -> str:
        return " ".join(self._chance.choices(_WORDS, k=self._filler)).capitalize() + "."

    def source(self, number: int) -> Document:
        return {
            "uri": _source(number),
            "label": self.title(),
            "abbreviation": f"S{number:02}",
            "icon": f"images/source/source{number:02}.png",
            "description": self.sentence(),
        }

    def attribute(self, uri: str, kind: str) -> Document:
        required = self._chance.random() < 0.1
        made: Document = {
            "label": self.title(),
            "name": uri.rpartition("/")[2],
            "description": self.sentence(),
            "type": kind,
            "hidden": False,
            "important": self._chance.random() < 0.3,
            "system": False,
            "required": required,
            "faceted": kind == "String",
            "searchable": True,
            "attributeOrdering": {"orderType": "ASC", "orderingStrategy": "LUD"},
            "uri": uri,
            "cardinality": {"minValue": int(required), "maxValue": self._chance.choice((1, 5, 1_000))},
        }
        if kind == "String" and self._chance.random() < 0.2:
            made["values"] = sorted({self.title() for _ in range(6)})
        return made

    def nested(self, uri: str, depth: int) -> Document:
        made = self.attribute(uri, "Nested")
        made["attributes"] = [self.simple(uri, "Part", number) for number in range(_LEAVES)]
        if depth > 2:
            made["attributes"].append(self.nested(f"{uri}/attributes/Detail", depth - 1))
        return made

    def simple(self, owner: str, name: str, number: int) -> Document:
        """Of a type that follows from its number: the same path has the same type everywhere (code 1960)."""
        return self.attribute(f"{owner}/attributes/{name}{number}", _SIMPLE[number % len(_SIMPLE)])

    def entity_type(self, number: int) -> Document:
        uri = _entity_type(number)
        chains = [self.nested(f"{uri}/attributes/Nested{chain}", DEPTH) for chain in range(self._chains)]
        simple = [self.attribute(f"{uri}/attributes/Key", "String")]
        simple += [self.simple(uri, "Simple", each) for each in range(_OTHERS)]
        uris = [attribute["uri"] for attribute in simple]
        return {
            "uri": uri,
            "label": self.title(),
            "description": self.sentence(),
            "typeColor": f"#{self._chance.randrange(1 << 24):06X}",
            "dataLabelPattern": "{Key}",
            "attributes": [*simple, *chains],
            "matchGroups": [self.match_group(uri, each, uris) for each in range(6)],
            "survivorshipGroups": [self.survivorship(uri, uris)],
            "surrogateCrosswalks": [{"source": _source(3), "attributes": uris[:2]}],
        }

    def match_group(self, owner: str, number: int, uris: list[str]) -> Document:
        exact = uris[number : number + 2]
        return {
            "uri": f"{owner}/matchGroups/Group{number}",
            "label": self.title(),
            "type": "automatic",
            "scope": "ALL",
            "useOvOnly": "true",
            "rule": {
                "matchTokenClasses": {
                    "mapping": [{"attribute": uri, "class": "com.example.match.ExactToken"} for uri in exact]
                },
                "and": {"exact": exact, "not": {"equals": [{"uri": uris[-1], "values": ["a", "b"]}]}},
            },
        }

    def survivorship(self, owner: str, uris: list[str]) -> Document:
        order = [_source(number) for number in self._chance.sample(range(20), 6)]
        return {
            "uri": f"{owner}/survivorshipGroups/default",
            "default": True,
            "mapping": [
                {"attribute": uri, "survivorshipStrategy": "SRC_SYS", "sourcesUriOrder": order} for uri in uris
            ],
        }

    def relation_type(self, number: int, start: int, end: int) -> Document:
        uri = f"{_ROOT}/relationTypes/Relation{number}"
        return {
            "uri": uri,
            "label": self.title(),
            "direction": "directed",
            "startObject": self.end(f"{uri}/startObject", start),
            "endObject": self.end(f"{uri}/endObject", end),
            "attributes": [self.simple(uri, "Simple", each) for each in range(_OF_RELATION)],
        }

    def end(self, uri: str, entity_type: int) -> Document:
        context = {"uri": f"{uri}/directionalContext", "labelPattern": "{Key}", "role": self.title()}
        return {"uri": uri, "objectTypeURI": _entity_type(entity_type), "directionalContext": [context]}


def _entity_type(number: int) -> str:
    return f"{_ROOT}/entityTypes/Type{number}"


def _source(number: int) -> str:
    return f"{_ROOT}/sources/Source{number}"


# Shapes of documents in use (documents in use, section 2). Each is a change of the document of `small`, by paths
# such as `entityTypes[0].label`.

TYPE = f"{_ROOT}/entityTypes/Type0"
KEY, TEXT, NESTED = f"{TYPE}/attributes/Key", f"{TYPE}/attributes/Simple0", f"{TYPE}/attributes/Nested0"
PART = f"{NESTED}/attributes/Part0"
_SIMPLE_0, _SIMPLE_1 = "entityTypes[0].attributes[1]", "entityTypes[0].attributes[2]"
_NESTED_0 = f"entityTypes[0].attributes[{_OF_ENTITY - _CHAINS * ((DEPTH - 1) * (_LEAVES + 1))}]"
_GROUP, _SURVIVAL = "entityTypes[0].matchGroups[0]", "entityTypes[0].survivorshipGroups[0]"
_RULE = f"{_GROUP}.rule"
_OPERANDS: Document = {
    "exact": KEY,
    "fuzzy": [KEY, TEXT],
    "exactOrNull": [NESTED],
    "exactOrAllNull": NESTED,
    "ignoreInToken": [NESTED, KEY],
    "notExact": {"uri": KEY, "multiValueAnyMismatchIsPositive": "true"},
    "equals": {"uri": KEY, "values": "a", "strict": "true"},
    "notEquals": [{"uri": KEY, "value": "b", "weight": "1"}],
    "in": [{"uri": TEXT, "values": ["a", "b"]}],
    "multi": [{"uri": f"{TYPE}/attributes/Together", "attributes": [KEY, TEXT]}],
    "nullValues": {"attribute": NESTED, "value": "n/a"},
    "matchTokenClasses": {"mapping": {"attribute": KEY, "class": "x", "parameters": {"parameter": "groupTokenLimit"}}},
    "comparatorClasses": {"mapping": [{"attribute": NESTED, "class": "x"}]},
    "cleanse": {"cleanseAdapter": "x", "mappings": {"attribute": NESTED, "cleanseAttribute": "City"}},
    "weights": {"attribute": KEY, "weight": "0.5"},
    "actionThresholds": {"type": "auto_merge", "threshold": "0.8-1.0"},
}
_NEGATIVE: Document = {
    "notExactSame": KEY,
    "notFuzzySame": [KEY],
    "equals": [{"uri": KEY, "value": "a"}],
    "notEquals": {"uri": KEY, "value": "a"},
    "in": {"uri": KEY, "values": "a"},
    "nullValues": [{"attribute": NESTED, "value": "x"}],
    "comparatorClasses": {"mapping": {"attribute": NESTED, "class": "x"}},
}
_FIELDS: Document = {f"{_NESTED_0}.matchFieldURIsExactOrNull": PART}
_BOOLEANS = """
    hidden important faceted searchable system required singleValue singleValueByCrosswalk autoGenerated
    matchFieldURIsIgnoreCase resolveLookupCode
""".split()  # noqa: SIM905 - a list of names to read

SHAPES: dict[str, Document] = {
    "and, or, not: one rule": _FIELDS | {f"{_RULE}": {"and": _OPERANDS, "or": {"exact": KEY}, "not": {"exact": KEY}}},
    "and, or, not: several": _FIELDS
    | {f"{_RULE}": {"and": [_OPERANDS, {"or": [{"exact": KEY}, {"not": [_OPERANDS]}]}]}},
    "rules beside each other": _FIELDS | {_RULE: [{"and": _OPERANDS}, {"exact": [KEY]}]},
    "operators without a logical one": _FIELDS | {_RULE: _OPERANDS},
    "negative rules": {
        _GROUP: {"uri": f"{TYPE}/matchGroups/Group0", "negativeRule": {"or": [_NEGATIVE, {"and": [_NEGATIVE]}]}}
    },
    "one negative rule": {_GROUP: {"uri": f"{TYPE}/matchGroups/Group0", "negativeRule": {"and": _NEGATIVE}}},
    "a method in place of a rule": {_GROUP: {"uri": f"{TYPE}/matchGroups/Group0", "matchMethod": "match_iq"}},
    "its metadata": {_GROUP: {"uri": f"{TYPE}/matchGroups/Group0", "matchMethodMetadata": {"packageId": "x"}}},
    "numbers as strings": {
        f"{_GROUP}.scoreStandalone": "0",
        f"{_GROUP}.scoreIncremental": "0",
        f"{_GROUP}.maxDistance": "3",
        "sources[0].priority": "100500",
        f"{_SIMPLE_0}.cardinality": {"minValue": "0", "maxValue": "1"},
    },
    "booleans as strings": {f"{_SIMPLE_0}.{member}": "true" for member in _BOOLEANS}
    | {
        f"{_GROUP}.useOvOnly": "false",
        f"{_SURVIVAL}.default": "true",
        "relationTypes[0].implicit": "true",
        "graphTypes": {
            "uri": f"{_ROOT}/graphTypes/Graph",
            "allowCycles": "true",
            "limitMemberToOneGraphInstance": "false",
            "relationshipTypeURIs": f"{_ROOT}/relationTypes/Relation0",
        },
    },
    "one context": {
        "relationTypes[0].startObject.directionalContext": {
            "uri": f"{_ROOT}/relationTypes/Relation0/startObject/directionalContext",
            "rule": {"type": "ends", "attribute": "x", "value": "y", "condition": "eq"},
        }
    },
    "a context several times": {
        "relationTypes[0].startObject.directionalContext": [
            {"uri": f"{_ROOT}/relationTypes/Relation0/startObject/directionalContext", "rule": [{"type": "ends"}]}
        ]
        * 3
    },
    "one mapping": {f"{_SURVIVAL}.mapping": {"attribute": KEY, "survivorshipStrategy": "LUD"}},
    "mappings with filters": {
        f"{_SURVIVAL}.mapping": [
            {
                "attribute": NESTED,
                "comparisonAttributeUri": PART,
                "comparisonAttributeOvOnly": "true",
                "sourcesUriOrder": _source(1),
                "lookupComparisonField": {"field": "x"},
                "filter": {"equals": {"uri": PART, "value": "a"}, "or": {"and": [{"uri": PART, "operator": "eq"}]}},
                "fallbackStrategies": {"attribute": NESTED, "survivorshipStrategy": "LUD"},
            },
            {"attribute": NESTED, "filter": {"or": [{"uri": PART}, {"uri": KEY}]}, "lookupComparisonField": "x"},
        ]
    },
    "one string or several": {
        f"{_NESTED_0}.matchFieldURIs": PART,
        f"{_NESTED_0}.keyAttributeURIs": PART,
        f"{_NESTED_0}.matchFieldURIsExactOrAllNull": [PART],
        "survivorshipStrategies": [
            {
                "uri": f"{_ROOT}/survivorshipStrategies/Mine",
                "winnerSourceType": _source(2),
                "winnerSourceAttributes": f"{_source(2)}/attributes/Name",
            }
        ],
    },
    "attributes of an image": {
        f"{_SIMPLE_0}.type": "Image",
        f"{_SIMPLE_0}.attributes": [
            {"uri": f"{TEXT}/attributes/Width", "name": "Width", "label": "Width", "type": "Number"},
            {"uri": f"{TEXT}/attributes/CdnUrl", "name": "CdnUrl", "label": "URL", "type": "URL"},
        ],
        "entityTypes[1].attributes[1].type": "Image",
        "entityTypes[2].attributes[1].type": "Image",
        "entityTypes[0].imageAttributeURIs": TEXT,
    },
    "members of types": {
        "entityTypes[0].geoLocationAttributes": {"latitude": KEY, "longitude": TEXT},
        "entityTypes[1].geoLocationAttributes": [{"latitude": "x", "longitude": "y"}],
        "entityTypes[0].analyticsAttributes": {"uri": f"{TYPE}/analyticsAttributes/A", "name": "A"},
        "entityTypes[1].analyticsAttributes": [{"uri": f"{TYPE}/analyticsAttributes/A", "analyticsAttributes": {}}],
        "entityTypes[0].cleanse": {"cleanseProvider": "x", "inputMapping": {"attribute": NESTED}},
        "entityTypes[0].surrogateCrosswalks": {"source": _source(3), "attributes": KEY, "enforce": "true"},
        "groupTypes": [
            {"uri": f"{_ROOT}/groupTypes/Group", "groupElements": {"x": 1}, "memberTypes": {"objectTypeURI": TYPE}}
        ],
    },
    "an export of another layer": {
        "uri": f"{_ROOT}/_vertical/pack-2022",
        "rdmTenantId": "{{rdmTenant}}",
        f"{_SIMPLE_0}.access": ["CREATE", "READ", "READ_MASKED", "INITIATE_CHANGE_REQUEST"],
        f"{_SIMPLE_0}.skipInDataAccess": False,
        f"{_SIMPLE_0}.indexingConfig": {"enabled": True, "attributes": ["x"]},
        f"{_SIMPLE_0}.attributeOrdering": {"fieldURI": KEY, "orderType": "ASC", "orderingStrategy": "FieldBased"},
        f"{_NESTED_0}.matchFieldURIsExactOrNull": [],
        "entityTypes[0].lifecycleActions": {"beforeSave": ["Vendor/DVFAction"], "validate": []},
        f"{_GROUP}.postEvaluation": {"type": "common_assets", "assetsList": [f"{TYPE}/matchAssets/Name"]},
    },
    "groups of records": {
        "groupingTypes": [
            {
                "uri": f"{_ROOT}/groupingTypes/Household",
                "source": _source(1),
                "entityType": TYPE,
                "groupForSingleEntity": True,
                "members": [{"entityType": TYPE, "groupingRule": f"{TYPE}/matchGroups/Group0"}] * 2,
                "attributeMappings": [
                    {"uri": KEY, "function": {"type": "topK", "config": {"attribute": TEXT, "maxValues": 3}}},
                    {"uri": KEY, "function": {"type": "count", "config": {}}},
                ],
            }
        ],
        "hierarchyTypes": [{"uri": f"{_ROOT}/hierarchyTypes/Tree", "allowedEntityTypes": [TYPE]}],
        "groupTypes": [],
        "attributeTypes": [{"uri": f"{_ROOT}/attributeTypes/Email", "valueType": "String", "matchTokenClass": {}}],
        "interactionTypes": [
            {
                "uri": f"{_ROOT}/interactionTypes/Order",
                "label": "Order",
                "hasMembers": True,
                "memberTypes": [
                    {"uri": f"{_ROOT}/interactionTypes/Order/memberTypes/{name}", "objectTypeURI": TYPE}
                    for name in ("Buyer", "Seller")
                ],
            }
        ],
    },
    "fallbacks in fallbacks": {
        f"{_SURVIVAL}.mapping": [
            {
                "attribute": TEXT,
                "primaryAttributeUri": KEY,
                "survivorshipStrategy": "OtherAttributeWinnerCrosswalk",
                "fallbackUsingCriteria": "ZERO_OR_MORE_THAN_ONE",
                "fallbackStrategies": [
                    {
                        "attribute": TEXT,
                        "primaryAttributeUri": PART,
                        "fallbackStrategies": [{"attribute": TEXT, "survivorshipStrategy": "LUD"}],
                    }
                ],
            }
        ]
    },
    "one element in place of a collection": {
        "roles": {"uri": f"{_ROOT}/roles/Only", "label": "Only"},
        "entityTypes[0].matchGroups": {"uri": f"{TYPE}/matchGroups/Only", "rule": {"exact": KEY}},
        "entityTypes[0].survivorshipGroups": {"uri": f"{TYPE}/survivorshipGroups/Only", "default": "true"},
        f"{_NESTED_0}.attributes[2].attributes": {
            "uri": f"{NESTED}/attributes/Detail/attributes/Only",
            "name": "Only",
            "label": "Only",
            "type": "String",
        },
    },
    "the top level": {
        "$schema": "x",
        "abstract": "false",
        "flatOvCalculation": "true",
        "rdmTenantId": "x",
        "pinIgnoredPriority": ["x"],
        "ratings": {"sources": []},
        "matchActions": {"name": "x", "mapping": {"class": "x"}},
        "activity": {"uri": f"{_ROOT}/activity", "attributes": [{"uri": f"{_ROOT}/activity/attributes/A"}]},
        **{
            kind: [{"uri": f"{_ROOT}/{kind}/One", "label": "One"}]
            for kind in ("attributeTypes", "changeRequestTypes", "groupTypes", "interactionTypes", "graphTypes")
        },
        **{
            kind: [{"uri": f"{_ROOT}/{kind}/One", "label": "One"}]
            for kind in ("categoryTypes", "survivorshipStrategies", "groupingTypes", "hierarchyTypes")
        },
    },
}
"""What must not even be warned about."""

WARNED: dict[str, tuple[int, str, Document]] = {
    "an attribute type": (304, f"{_SIMPLE_1}.type", {f"{_SIMPLE_1}.type": "int"}),
    "a sentence in its place": (304, f"{_SIMPLE_1}.type", {f"{_SIMPLE_1}.type": "One of the codes below."}),
    "members of another type": (281, f"{_SIMPLE_0}.relationshipTypeURI", {f"{_SIMPLE_0}.relationshipTypeURI": "x"}),
    "a URI of another owner": (314, _SIMPLE_0, {f"{_SIMPLE_0}.uri": f"{_ROOT}/entityTypes/Type1/attributes/Simple0"}),
    "another name": (1811, f"{_SIMPLE_0}.name", {f"{_SIMPLE_0}.name": "Other"}),
    "no such attribute": (170, _RULE, {_RULE: {"and": [{"exact": f"{TYPE}/attributes/Nowhere"}]}}),
    "no such type": (313, "entityTypes[0].extendsTypeURI", {"entityTypes[0].extendsTypeURI": "x"}),
    "no full path": (312, f"{_SURVIVAL}.mapping[0].attribute", {f"{_SURVIVAL}.mapping[0].attribute": "Key"}),
    "no such source": (1915, f"{_SURVIVAL}.mapping[0].sourcesForOv", {f"{_SURVIVAL}.mapping[0].sourcesForOv": ["x"]}),
    "no such mapped attribute": (
        1916,
        f"{_SURVIVAL}.mapping[0].attribute",
        {f"{_SURVIVAL}.mapping[0].attribute": f"{TYPE}/attributes/Nowhere"},
    ),
    "no such crosswalk": (
        1962,
        "entityTypes[0].surrogateCrosswalks",
        {"entityTypes[0].surrogateCrosswalks[0].source": f"{_ROOT}/sources/Nowhere"},
    ),
    "a reference without targets": (1970, f"{_SIMPLE_0}.referencedEntityTypeURI", {f"{_SIMPLE_0}.type": "Reference"}),
    "a rule that is none": (353, _RULE, {_RULE: "x"}),
    "a negative rule that is none": (354, f"{_GROUP}.negativeRule", {f"{_GROUP}.negativeRule": ["x"], _RULE: None}),
    "no rule": (373, _RULE, {_RULE: {}}),
    "a comparison of what is nested": (375, _RULE, {_RULE: {"exact": NESTED}}),
    "a second default": (
        1919,
        "entityTypes[0].survivorshipGroups[1].default",
        {"entityTypes[0].survivorshipGroups[1]": {"uri": f"{TYPE}/survivorshipGroups/Second", "default": "true"}},
    ),
    "an attribute without a name": (304, f"{_SIMPLE_1}.name", {f"{_SIMPLE_1}.name": None}),
    "a minimum below 0": (1006, f"{_SIMPLE_0}.cardinality.minValue", {f"{_SIMPLE_0}.cardinality": {"minValue": -1}}),
    "an incompatible type": (1960, "entityTypes[1].attributes[1].type", {"entityTypes[1].attributes[1].type": "Date"}),
    "an unknown member": (304, "entitytypes", {"entitytypes": []}),
    "no URI": (304, "roles[0].URI", {"roles[0]": {"label": "x"}}),
    "an entry that is no object": (304, "roles[0]", {"roles[0]": "Clerk"}),
}
"""What is stored all the same: the code and the place of a warning, and the change."""


def small() -> Document:
    """A document that breaks no rule, with three entity types, each with one nested attribute."""
    return realistic(entity_types=3, filler=1, chains=1)
