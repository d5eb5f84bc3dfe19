"""From a document to findings: one walk builds the model, then the rules check each element in document order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from hivewire_protocol.tenant.documents import Document
from hivewire_protocol.tenant.elements import COLLECTIONS, MAX_ENTRIES, PARTS, ROOT, Element, TooLong, walk
from hivewire_protocol.tenant.errors import ENVELOPE, Finding
from hivewire_protocol.tenant.model import Found, Model
from hivewire_protocol.tenant.rules import attributes, limits, matching, references, structure, survivorship
from hivewire_protocol.tenant.steps import Steps

MAX_FINDINGS = 1_000
"""Most errors, and most warnings, that are reported."""

ALWAYS, STRICT, NEVER = "always", "strict", "never"
"""When a finding keeps a document from being saved: always, when validation is strict, or never (documents in use,
section 1).

`ALWAYS` is only for faults with which the store could not keep its own promises: ids, the paths of types, differences.
The meaning of a document is for its owner to decide, so other faults are warnings unless validation is strict.
"""

MAX_ELEMENTS = 250_000
"""Most definitions in one document, to bound time and memory. Five real documents had 4,000 together."""

_SLICE = 2_000
"""Units of work in one step, which takes two to five milliseconds. An element counts ten, an array entry that a rule
looks through counts one."""

Check = Callable[[Element, Model], Found]


class Rule(NamedTuple):
    """A check, and the kinds of element that it applies to. `complete` rules are skipped when there is a base layer;
    `refuses` is when a finding keeps the document from being saved."""

    codes: tuple[int, ...]
    name: str
    kinds: Sequence[str]
    check: Check
    refuses: str = STRICT
    complete: bool = False


class Checked(NamedTuple):
    """The findings in a document, in document order, and the number of all its warnings, also of those not listed."""

    findings: list[Finding]
    warnings: int

    @property
    def errors(self) -> list[Finding]:
        """The findings that keep the document from being saved."""
        return [finding for finding in self.findings if not finding.warning]


def validate(document: Document, *, strict: bool = False, known_members_only: bool = False) -> Steps[Checked]:
    """The findings in a document, in document order, owners before their parts; in steps.

    At most 1,000 errors and 1,000 warnings; when there are more, a last finding says so. Never raises, whatever JSON
    the document holds. `strict` turns most warnings into errors; `known_members_only` refuses unknown members of entity
    and relation types and of the document (section 13, rows 12 and 20).
    """
    model = Model(document, known_members_only=known_members_only)
    # The index is complete before the first rule runs, because elements refer to others anywhere in the document.
    for count, element in enumerate(walk(document), 1):
        if count > MAX_ELEMENTS:
            advice = f"A configuration has at most {MAX_ELEMENTS:,}."
            return Checked([Finding(304, "", ROOT, f"defines more than {MAX_ELEMENTS:,} elements", advice)], 0)
        model.add(element)
        if not count % _SLICE:
            yield
    for count, _ in enumerate(model.complete(), 1):
        if not count % _SLICE:
            yield
    rules = _rules(model)
    refusing = (ALWAYS, STRICT) if strict else (ALWAYS,)
    findings: list[Finding] = []
    found = {False: 0, True: 0}  # errors and warnings, also those that are not listed
    work = 0
    for element in model.elements:
        own: list[Finding] = []
        work += 10
        for rule, finding in _found(element, model, rules[element.kind]):
            work += 1
            if work > _SLICE:
                work = 0
                yield
            if finding is None:
                continue
            warning = rule.refuses not in refusing
            found[warning] += 1
            if found[warning] <= MAX_FINDINGS:
                own.append(msgspec.structs.replace(finding, warning=True) if warning else finding)
            elif not warning:
                # The document is refused anyway, so the search ends. Warnings are counted to the end, because a save
                # reports their number.
                findings += yield from _in_order(element, own)
                return Checked([*findings, *_cut(found)], found[True])
        # Rules run in the order of the table; findings are shown in the order of the members.
        findings += (yield from _in_order(element, own)) if len(own) > 1 else own
        if work > _SLICE:
            work = 0
            yield
    return Checked([*findings, *_cut(found)], found[True])


def _cut(found: Mapping[bool, int]) -> Iterator[Finding]:
    """A finding that says that others are not listed. The search ends at the first error beyond the limit."""
    for warning, count in found.items():
        if count > MAX_FINDINGS:
            number = f"{count:,} warnings" if warning else f"more than {MAX_FINDINGS:,} errors"
            advice = "Correct these, and validate again to see the others."
            yield Finding(ENVELOPE, "", ROOT, f"has {number}; the first {MAX_FINDINGS:,} are listed", advice, warning)


def _found(element: Element, model: Model, rules: Sequence[Rule]) -> Iterator[tuple[Rule, Finding | None]]:
    """What the rules find in an element. An array that is too long to be looked through is a finding itself, once."""
    too_long = False
    for rule in rules:
        try:
            for finding in rule.check(element, model):
                yield rule, finding
        except TooLong:
            if not too_long:
                too_long = True
                advice = f"Rules look through arrays of at most {MAX_ENTRIES:,} entries."
                yield rule, element.found(304, "", f"has an array of over {MAX_ENTRIES:,} entries", advice)


def _in_order(element: Element, findings: list[Finding]) -> Steps[list[Finding]]:
    """The findings in an element, in the order of its members.

    Findings about the element itself come first, those about missing members last. Findings about one member keep the
    order of the rules, and those about array entries the order of the entries.
    """
    start = len(element.at("x")) - 1  # where the member begins in the path of a finding
    places = {finding.path: _place(finding.path[start:], element) for finding in findings}
    wanted = {name for name, _ in places.values()}
    positions: dict[str, int] = {}  # only those of members with findings: an element may have a million others
    for position, name in enumerate(element.value, 1):
        if name in wanted:
            positions[name] = position
        if not position % 10_000:
            yield
    positions[""] = 0
    missing = len(element.value) + 1

    def order(finding: Finding) -> tuple[int, int]:
        name, entry = places[finding.path]
        return positions.get(name, missing), entry

    return sorted(findings, key=order)


def _place(path: str, element: Element) -> tuple[str, int]:
    """The first member of a path inside an element, and the index of its entry; -1 for the whole member."""
    if path in element.value:  # because names of members may have dots and brackets, too
        return path, -1
    name, _, rest = re.split(r"([.\[]|$)", path, maxsplit=1)
    entry = rest.partition("]")[0]
    return name, int(entry) if entry.isdecimal() else -1


def _rules(model: Model) -> dict[str, tuple[Rule, ...]]:
    rules = [rule for rule in RULES if not (rule.complete and model.layered)]
    return {kind: tuple(rule for rule in rules if kind in rule.kinds) for kind in PARTS}


_ELEMENTS = tuple(kind for kind in PARTS if kind != ROOT)
_ALL = tuple(PARTS)
_OTHERS = tuple(kind for kind in _ELEMENTS if kind not in ("entityTypes", "attributes"))

RULES = (
    Rule((304, 315), "one URI", _ALL, structure.one_uri, ALWAYS),
    Rule((304,), "URI of types and attributes", ("entityTypes", "attributes"), structure.has_uri, ALWAYS),
    Rule((304,), "URI of others", _OTHERS, structure.has_uri),
    Rule((304,), "required members", (ROOT, "entityTypes", "attributes"), structure.required_members, ALWAYS),
    Rule(
        (304,), "JSON types of required members", (ROOT, "entityTypes", "attributes"), structure.required_types, ALWAYS
    ),
    Rule((304,), "name of attributes", ("attributes",), structure.has_name),
    Rule((304,), "JSON types of others", _ALL, structure.other_types),
    Rule((304,), "one element at most", ("changeRequestTypes",), structure.one_at_most),
    Rule((304,), "known members at the top", (ROOT,), structure.known_at_top),
    Rule((304,), "known members", (ROOT, "entityTypes", "relationTypes"), structure.known_members, ALWAYS),
    Rule((315,), "URI begins with configuration", _ELEMENTS, structure.uri_begins, ALWAYS),
    Rule((314,), "URI fits the place", _ELEMENTS, structure.uri_place),
    Rule((1811,), "name is the end of the URI", _ELEMENTS, structure.name_of_uri),
    Rule((1907, 1912, 1917, 1924, 1963), "defined once", _ELEMENTS, structure.unique, ALWAYS),
    Rule((304,), "known type", ("attributes",), attributes.known_type),
    Rule((281,), "members go with the type", ("attributes",), attributes.members_of_type),
    Rule((1006, 1007, 1008, 304), "cardinality", ("attributes",), attributes.cardinality),
    Rule((1009,), "default value", ("attributes",), attributes.default_value),
    Rule((278, 383), "keys of nested attributes", ("attributes",), attributes.nested_keys, complete=True),
    Rule((333, 347, 348, 349), "dependent lookups", ("attributes",), attributes.dependent_lookups, complete=True),
    Rule((1970, 1971, 313, 170), "targets of references", ("attributes",), attributes.reference_targets, complete=True),
    Rule((1964,), "a relation for each reference", ("attributes",), attributes.one_relation_each),
    Rule((1905,), "inherited type", ("attributes",), attributes.inherited_type),
    Rule((1960,), "one type for a path", ("attributes",), attributes.one_type_per_path),
    Rule((313,), "extended type", COLLECTIONS, references.extended_type, complete=True),
    Rule((1951, 1952), "ends of relations", ("relationTypes",), references.ends_of_relation, ALWAYS, True),
    Rule((304,), "direction of relations", ("relationTypes",), references.direction_of_relation),
    Rule((313,), "members of interactions", ("interactionTypes",), references.members_of_interaction, complete=True),
    Rule((1963,), "members of interactions once", ("interactionTypes",), references.members_once),
    Rule((313,), "members of groups", ("groupTypes",), references.members_of_group, complete=True),
    Rule((313,), "relations of graphs", ("graphTypes",), references.relations_of_graph, complete=True),
    Rule((170,), "attributes of the type", ("entityTypes",), references.attributes_of_type, complete=True),
    Rule((334, 1961, 1962, 1967, 170), "surrogate crosswalks", ("entityTypes",), references.surrogate_crosswalks),
    Rule((170, 1962), "cleansing", ("entityTypes",), references.cleansing, complete=True),
    Rule((373,), "match rule is present", ("matchGroups",), matching.has_rule, complete=True),
    Rule((353, 354), "form of match rules", ("matchGroups",), matching.rule_form),
    Rule((170, 375), "attributes of match rules", ("matchGroups",), matching.attributes_of_rule),
    Rule((1918, 1919), "survivorship groups", ("survivorshipGroups",), survivorship.groups_of_type),
    Rule((312, 339, 1916), "mapped attributes", ("survivorshipGroups",), survivorship.mapped_attributes),
    Rule((335, 336, 337, 338, 1922), "comparisons", ("survivorshipGroups",), survivorship.comparison_attributes),
    Rule((366, 1915), "sources of mappings", ("survivorshipGroups",), survivorship.sources_of_mapping),
    Rule((1914,), "survivorship cycles", ("survivorshipGroups",), survivorship.no_cycle),
    Rule((1913,), "complete strategies", ("survivorshipStrategies",), survivorship.complete_strategy, complete=True),
    Rule(
        (1915,), "sources of strategies", ("survivorshipStrategies",), survivorship.sources_of_strategy, complete=True
    ),
    Rule((1800,), "attributes of an entity type", ("entityTypes",), limits.attributes, NEVER),
    Rule((1900,), "references of an entity type", ("entityTypes",), limits.references),
    Rule((1805,), "attributes of a nested attribute", ("attributes",), limits.sub_attributes, NEVER),
    Rule((1806,), "relations between two types", ("relationTypes",), limits.relations_between, NEVER),
)
