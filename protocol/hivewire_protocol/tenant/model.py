"""An index of the whole document for the rules: elements by URI, and the attributes of each type."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from hivewire_protocol.tenant.documents import Document
from hivewire_protocol.tenant.elements import ROOT, Element, TooLong
from hivewire_protocol.tenant.errors import Finding
from hivewire_protocol.tenant.steps import Steps

Found: TypeAlias = Iterator[Finding | None]
"""What a rule finds, and None for each array entry that it visits, so that long arrays are processed in slices."""

COMPLEX = ("Nested", "Reference")
"""Attribute types that are made of other attributes; all others are simple (section 6)."""

SYSTEM_SOURCES = ("configuration/sources/Reltio", "configuration/sources/ReltioCleanser")
"""The default source and the cleansing source, which exist in every tenant without a definition."""

MAX_ANCESTORS = 16
"""Most `extendsTypeURI` that are followed from one type, because they can form long chains and cycles."""

MAX_STEPS = 32
"""Most attributes that a URI may lead through; real ones reach five, and references can form cycles."""


class Model:
    """One document while the rules check it.

    `layered` says that it extends a base layer (`referenceConfigurationURI`), into which references may point. `seen`
    and `counts` belong to the rules: the elements that they have visited, and their counters.
    """

    def __init__(self, document: Document, *, known_members_only: bool = False) -> None:
        base = document.get("referenceConfigurationURI")
        self.layered = type(base) is str and bool(base)
        self.known_members_only = known_members_only
        self.elements: list[Element] = []
        self.by_uri: dict[str, Element] = {}
        self.dependents: dict[str, list[str]] = {}
        self.lookup_cycle: Sequence[str] = ()
        self.seen: dict[Hashable, Element] = {}
        self.counts: dict[Hashable, int] = {}
        self._steps: dict[tuple[int, str], Element | None] = {}  # a cache of attributes by owner and name

    def add(self, element: Element) -> None:
        """Index the next element of the walk. A reference to a URI means the first element that has it."""
        self.elements.append(element)
        if element.uri is not None:
            self.by_uri.setdefault(element.uri, element)
            if element.kind == "attributes" and "dependentLookupAttributes" in element.value:
                with suppress(TooLong):  # a rule reports it later
                    self.dependents.setdefault(element.uri, element.strings("dependentLookupAttributes"))

    def complete(self) -> Iterator[None]:
        """Finish the index after the last element; yields for each piece of work."""
        self.lookup_cycle = yield from cycle(self.dependents)

    def is_kind(self, uri: object, *kinds: str) -> bool:
        """Whether this is the URI of an element of one of these kinds."""
        found = self.by_uri.get(uri) if isinstance(uri, str) else None
        return found is not None and found.kind in kinds

    def has_source(self, uri: object) -> bool:
        """Whether this is the URI of a defined source, or of one that every tenant has."""
        return uri in SYSTEM_SOURCES or self.is_kind(uri, "sources")

    def attribute(self, uri: str) -> Element | None:
        """The definition of the attribute that a URI refers to; None when there is none.

        A URI may lead through a reference attribute into the entity or relation type it refers to, and to an attribute
        that the type inherits by `extendsTypeURI`.
        """
        head, *names = uri.split("/attributes/", MAX_STEPS + 1)  # one more than allowed, to see that there are too many
        found = self.by_uri.get(head)
        if len(names) > MAX_STEPS:
            return None
        for name in names:
            if found is None:
                return None
            step = (id(found), name)
            if step not in self._steps:
                self._steps[step] = self._own(found, name) or self._referenced(found, name)
            found = self._steps[step]
        return found if found is not None and found.kind == "attributes" else None

    def _own(self, owner: Element, name: str) -> Element | None:
        """An attribute of a type, of the types that it extends, or of an attribute."""
        for _ in range(MAX_ANCESTORS):
            if found := self.by_uri.get(f"{owner.uri}/attributes/{name}"):
                return found
            parent = owner.text("extendsTypeURI")
            if parent is None or (above := self.by_uri.get(parent)) is None or above.uri == ROOT:
                return None
            owner = above
        return None

    def _referenced(self, attribute: Element, name: str) -> Element | None:
        for member in ("referencedEntityTypeURI", "relationshipTypeURI"):
            target = self.by_uri.get(attribute.text(member) or "")
            if target is not None and (found := self._own(target, name)):
                return found
        return None


def is_simple(attribute: Element) -> bool:
    """Whether an attribute has values of its own, and not attributes."""
    return attribute.value.get("type") not in COMPLEX


def cycle(graph: Mapping[str, Sequence[str]]) -> Steps[Sequence[str]]:
    """The nodes of a cycle in a dependency graph, with the first one again at the end; empty when there is none.
    Yields for each node and edge."""
    done: set[str] = set()
    for start in graph:
        # Depth first: the nodes from `start` to the current one, each with the edges that are still to follow.
        path = {start: iter(graph[start])} if start not in done else {}
        while path:
            yield
            node = next(reversed(path))
            after = next(path[node], None)
            if after is None:
                del path[node]
                done.add(node)
            elif after in path:
                nodes = list(path)
                return [*nodes[nodes.index(after) :], after]
            elif after in graph and after not in done:
                path[after] = iter(graph[after])
    return ()
