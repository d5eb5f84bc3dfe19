"""Survivorship groups and strategies (section 7.3)."""

from __future__ import annotations

from collections.abc import Iterator

from hivewire_protocol.tenant.documents import Document, render
from hivewire_protocol.tenant.elements import Element, entries, strings, uri_of
from hivewire_protocol.tenant.model import Found, Model, cycle, is_simple
from hivewire_protocol.tenant.rules.structure import clip


def groups_of_type(element: Element, model: Model) -> Found:
    """A type has one default group, and each role is in one group."""
    owner = id(element.owner)  # not its URI, which may be missing or that of another type
    if element.value.get("default") in (True, "true"):
        first = model.seen.setdefault((owner, "default"), element)
        if first is not element:
            yield element.found(1919, "default", "is true again", f"{first.path} is the default group already.")
    for role in element.strings("roles"):
        yield None
        first = model.seen.setdefault((owner, "role", role), element)
        if first is not element:
            yield element.found(1918, "roles", f"names {clip(role)} again", f"{first.path} has this role already.")


def mapped_attributes(element: Element, model: Model) -> Found:
    """Each entry of a mapping names an attribute by its full path, once for each filter."""
    owner = element.owner.uri if element.owner else None
    if owner is None:
        return
    seen: set[tuple[str, bytes]] = set()
    for index, entry in enumerate(_mapping(element)):
        yield None
        uri = entry.get("attribute")
        if type(uri) is not str:
            continue
        place = f"mapping[{index}].attribute"
        if not uri.startswith("configuration/"):
            yield element.found(312, place, f"is {clip(uri)}", f"Give the full path, from {clip(owner)} on.")
        elif not model.layered and uri.startswith(f"{owner}/attributes/") and model.attribute(uri) is None:
            yield element.found(1916, place, f"is {clip(uri)}", "The type has no such attribute.")
        key = (uri, render(entry.get("filter")))
        if key in seen:
            advice = "The group maps this attribute already; entries of one attribute need different filters."
            yield element.found(339, place, f"is {clip(uri)} again", advice)
        seen.add(key)


def comparison_attributes(element: Element, model: Model) -> Found:
    """A nested attribute is compared by a simple attribute in it, and filters use simple attributes."""
    for index, entry in enumerate(_mapping(element)):
        yield None
        uri, by = entry.get("attribute"), entry.get("comparisonAttributeUri", entry.get("comparisonAttributeURI"))
        place = f"mapping[{index}].comparisonAttributeUri"
        if type(by) is str and by and type(uri) is str:
            mapped, found = model.attribute(uri), model.attribute(by)
            if mapped is not None and is_simple(mapped):
                yield element.found(1922, place, f"is {clip(by)}", "A simple attribute is compared by itself.")
            elif not by.startswith(f"{uri}/attributes/"):
                yield element.found(336, place, f"is {clip(by)}", f"Name an attribute inside {clip(uri)}.")
            elif found is None:
                if not model.layered:
                    yield element.found(335, place, f"is {clip(by)}", "There is no such attribute.")
            elif not is_simple(found):
                yield element.found(337, place, f"is {clip(by)}", "Name a simple attribute.")
        for uri in _filtered(entry):
            yield None
            found = model.attribute(uri) if uri is not None else None
            if found is not None and not is_simple(found):
                place = f"mapping[{index}].filter"
                yield element.found(338, place, f"looks at {clip(uri)}", "Filter by simple attributes.")


def sources_of_mapping(element: Element, model: Model) -> Found:
    """Sources in a mapping are defined, and a list of sources is not empty."""
    for index, entry in enumerate(_mapping(element)):
        yield None
        if entry.get("sourcesForOv") == []:
            place = f"mapping[{index}].sourcesForOv"
            yield element.found(366, place, "is empty", "Name sources, or leave the list out.")
        for member in ("sourcesUriOrder", "sourcesForOv"):
            for uri in strings(entry.get(member)):
                yield None
                if not model.layered and not model.has_source(uri):
                    advice = "It is not defined in sources."
                    yield element.found(1915, f"mapping[{index}].{member}", f"names {clip(uri)}", advice)


def no_cycle(element: Element, model: Model) -> Found:
    """The attributes that decide about other attributes form no cycle."""
    graph: dict[str, list[str]] = {}
    for entry in _mapping(element):
        yield None
        uri, by = entry.get("attribute"), entry.get("primaryAttributeUri", entry.get("primaryAttributeURI"))
        if type(uri) is str and type(by) is str:
            graph.setdefault(uri, []).append(by)
    if graph and (nodes := (yield from cycle(graph))):
        advice = f"Break the cycle {clip(' -> '.join(nodes[:10]))}."
        yield element.found(1914, "mapping", "forms a cycle by primaryAttributeUri", advice)


def sources_of_strategy(element: Element, model: Model) -> Found:
    """The sources that a survivorship strategy prefers are defined."""
    for member in ("mainSourceType", "winnerSourceType"):
        uri = element.text(member)
        if uri is not None and not model.has_source(uri):
            yield element.found(1915, member, f"is {clip(uri)}", "It is not defined in sources.")


_BY_SOURCE = "configuration/survivorshipStrategies/SRC_SYS"


def complete_strategy(element: Element, model: Model) -> Found:
    """A custom strategy based on SRC_SYS names the source that it prefers."""
    if element.text("parentStrategyURI") == _BY_SOURCE and element.text("mainSourceType") is None:
        advice = f"A strategy based on {clip(_BY_SOURCE)} needs the URI of the source that it prefers."
        yield element.found(1913, "mainSourceType", "is missing", advice)


def _mapping(element: Element) -> list[Document]:
    return entries(element.value.get("mapping"))


def _filtered(entry: Document) -> Iterator[str | None]:
    """The URIs in the filter of an entry, including combined conditions, and None for everything else in it."""
    pending = entries(entry.get("filter"))
    while pending:
        conditions = pending.pop()
        for operator, operands in conditions.items():
            yield None
            found = entries(operands)
            yield from map(uri_of, found)
            if operator in ("and", "or"):
                pending += found
