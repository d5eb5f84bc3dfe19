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
_OF_ENTITY = (ATTRIBUTES - RELATION_TYPES * _OF_RELATION) // ENTITY_TYPES
_CHAINS, _LEAVES = 5, 2
"""Nested attributes of an entity type: so many, of full depth, with so many simple ones at each depth."""

_SIMPLE = ("String", "String", "String", "Int", "Date", "Boolean", "Double", "Timestamp", "URL")
_WORDS = """
    account address agreement amount branch business care category channel city code company contact country customer
    date device district effective employee family first gender given group health identifier last legal license line
    member name number order organization party payment person phone postal preferred primary product profile provider
    record region role sales segment specialty start state status street tax title type valid verified year été 住所
""".split()  # noqa: SIM905 - a list of lines to read


def realistic(seed: int = 0, *, entity_types: int = ENTITY_TYPES, filler: int = 62) -> Document:
    """A document that breaks no rule, the same for the same seed. `filler` is the words in each description."""
    made = _Maker(random.Random(seed), filler)
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
    def __init__(self, chance: random.Random, filler: int) -> None:
        self._chance = chance
        self._filler = filler

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
        chains = [self.nested(f"{uri}/attributes/Nested{chain}", DEPTH) for chain in range(_CHAINS)]
        count = _OF_ENTITY - sum(1 for _ in attributes_of({"attributes": chains})) - 1
        simple = [self.attribute(f"{uri}/attributes/Key", "String")]
        simple += [self.simple(uri, "Simple", each) for each in range(count)]
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
