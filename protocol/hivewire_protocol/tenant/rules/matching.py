"""Match groups (section 7.3; documents in use, section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hivewire_protocol.tenant.elements import Element, one_or_many, strings_in
from hivewire_protocol.tenant.model import Found, Model, is_simple
from hivewire_protocol.tenant.rules.structure import clip

_OPERATORS = ("and", "or", "not")

_COMPARING = ("exact", "fuzzy", "exactOrNull", "exactOrAllNull", "notExact", "notExactSame", "notFuzzySame")
"""Operators that compare values. Others test whether there are values, name classes, or give weights."""

_METHODS = ("rule", "negativeRule", "matchMethod", "matchMethodMetadata", "methods")
"""Members that say how a group matches; each group has one of them."""

_FIELDS = ("matchFieldURIs", "matchFieldURIsExactOrNull", "matchFieldURIsExactOrAllNull")
"""Members of an attribute that is not simple; they name the attributes to compare."""


def has_rule(element: Element, model: Model) -> Found:
    """A match group has a rule, a negative one, or a method in place of a rule."""
    if not any(element.value.get(member) for member in _METHODS):
        yield element.found(373, "rule", "is missing", "A match group needs a rule that is not empty.")


def rule_form(element: Element, model: Model) -> Found:
    """A rule and the rules that it combines, at any depth, are objects or arrays of them; a group has one kind of
    rule."""
    for member, code in (("rule", 353), ("negativeRule", 354)):
        pending = [(member, element.value.get(member))]
        while pending:
            path, value = pending.pop()
            for rule in one_or_many(value):
                yield None
                if type(rule) is not dict:
                    yield element.found(code, path, "is not an object", "Give one rule as an object, or several.")
                    continue
                pending += [(f"{path}.{operator}", rule[operator]) for operator in _OPERATORS if operator in rule]
    if element.value.get("rule") and element.value.get("negativeRule"):
        advice = "A match group has one of the two; make two groups."
        yield element.found(354, "negativeRule", "is present together with rule", advice)


def attributes_of_rule(element: Element, model: Model) -> Found:
    """The attributes in a rule exist, and a compared attribute is simple or names the fields to match."""
    owner = element.owner
    if owner is None or owner.uri is None:
        return
    own = f"{owner.uri}/attributes/"
    for member in ("rule", "negativeRule"):
        for operator, uri in _named(element.value.get(member)):
            yield None
            if uri is None or not uri.startswith(own):
                continue
            found = model.attribute(uri)
            if found is None:
                if not model.layered:
                    yield element.found(170, member, f"names {clip(uri)}", "The entity type has no such attribute.")
            elif operator in _COMPARING and not is_simple(found) and not any(map(found.value.get, _FIELDS)):
                advice = "Compare simple attributes, or give the attribute matchFieldURIs."
                yield element.found(375, member, f"compares {clip(uri)}", advice)


def _named(value: Any) -> Iterator[tuple[str, str | None]]:
    """The strings in a rule and in the rules that it combines, each with its operator; None for anything else.

    Of an entry of `multi` only its `attributes` count: its `uri` defines a new URI.
    """
    pending = [value]
    while pending:
        for rule in one_or_many(pending.pop()):
            if type(rule) is not dict:
                continue
            for operator, operands in rule.items():
                if operator in _OPERATORS:
                    pending.append(operands)
                    continue
                if operator == "multi":
                    operands = [entry.get("attributes") for entry in one_or_many(operands) if type(entry) is dict]
                for uri in strings_in(operands):
                    yield operator, uri
