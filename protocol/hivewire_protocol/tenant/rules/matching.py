"""Match groups (section 7.3)."""

from __future__ import annotations

from hivewire_protocol.tenant.elements import Element, strings_in
from hivewire_protocol.tenant.model import Found, Model, is_simple
from hivewire_protocol.tenant.rules.structure import clip

_OPERATORS = ("and", "or", "not")


def has_rule(element: Element, model: Model) -> Found:
    """A match group has a rule, or a negative one."""
    if not element.value.get("rule") and not element.value.get("negativeRule"):
        yield element.found(373, "rule", "is missing", "A match group needs a rule that is not empty.")


def rule_form(element: Element, model: Model) -> Found:
    """A rule is an object, and so is what its operators combine; a group has one rule, not two."""
    for member, code in (("rule", 353), ("negativeRule", 354)):
        rule = element.value.get(member)
        if rule is None:
            continue
        if type(rule) is not dict:
            yield element.found(code, member, "is not an object", "Give a rule as an object.")
            continue
        for operator in _OPERATORS:
            if operator in rule and type(rule[operator]) is not dict:
                yield element.found(code, f"{member}.{operator}", "is not an object", "Give what it combines.")
    if element.value.get("rule") and element.value.get("negativeRule"):
        advice = "A match group has either of the two; make two groups of it."
        yield element.found(354, "negativeRule", "is there beside rule", advice)


def attributes_of_rule(element: Element, model: Model) -> Found:
    """The attributes in a rule exist, and a compared attribute is simple or names the fields to match."""
    owner = element.owner
    if owner is None or owner.uri is None:
        return
    own = f"{owner.uri}/attributes/"
    for member in ("rule", "negativeRule"):
        rule = element.value.get(member)
        if type(rule) is not dict:
            continue
        for part, value in rule.items():
            for uri in strings_in(value):
                yield None
                if uri is None or not uri.startswith(own):
                    continue
                found = model.attribute(uri)
                if found is None:
                    if not model.layered:
                        advice = "The entity type has no such attribute."
                        yield element.found(170, member, f"names {clip(uri)}", advice)
                elif part in _OPERATORS and not is_simple(found) and not found.value.get("matchFieldURIs"):
                    advice = "Compare simple attributes, or give the attribute matchFieldURIs."
                    yield element.found(375, member, f"compares {clip(uri)}", advice)
