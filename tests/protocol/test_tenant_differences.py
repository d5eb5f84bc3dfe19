"""The differences between two versions of a tenant configuration."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from hivewire_protocol.tenant.differences import MAX_LISTED, Differences, compare
from hivewire_protocol.tenant.documents import Document
from hivewire_protocol.tenant.elements import PARTS, walk
from hivewire_protocol.tenant.ids import number, stamp
from hivewire_protocol.tenant.steps import at_once
from tests.protocol.tenants import AT, CRM, GONE, OWNS, SHOP, STORE, WEB, attribute, document, documents


def differences(old: Document | None, new: Document) -> Differences:
    return at_once(compare(old, new))


def uris(value: Document) -> set[str]:
    return {element.uri for element in walk(value) if element.uri}


def test_two_equal_versions_differ_in_nothing() -> None:
    """Ids, server members, the order of members and how numbers of the document were set make no difference."""
    old = stamp(at_once(number(document(), {}, 0)).document, {"updatedTime": 1, "updatedBy": "ann"})
    new = stamp(document(), {"updatedTime": 2})
    new["sources"][0] = dict(reversed(new["sources"][0].items()))
    assert differences(old, new) == Differences()


def test_a_first_version_adds_everything() -> None:
    """Without an old version every element is added, the document first, in document order."""
    found = differences(None, document())
    assert found.added == [element.uri for element in walk(document())]
    assert (found.removed, found.modified) == ([], [])


def test_parts_count_for_themselves() -> None:
    """A changed attribute is modified and its type is not; a new or lost one is added or removed, and that is all."""
    city = "entityTypes[0].attributes[0]"
    assert differences(document(), document(**{f"{city}.label": "x"})).modified == [f"{STORE}/attributes/City"]
    extra = attribute(f"{STORE}/attributes/Extra")
    more = document(**{"entityTypes[0].attributes[4]": extra})
    assert differences(document(), more) == Differences(added=[extra["uri"]])
    assert differences(more, document()) == Differences(removed=[extra["uri"]])


def test_what_is_not_a_definition_is_its_owners() -> None:
    """Ends of relations, match rules and members of the document are part of the element they are in."""
    edits = {"relationTypes[0].endObject.x": 1, "entityTypes[0].matchGroups[0].rule": {}, "label": "x"}
    found = differences(document(), document(**edits))
    assert found.modified == ["configuration", f"{STORE}/matchGroups/Same", AT]


def test_values_that_python_takes_for_equal_differ() -> None:
    """1, 1.0, true and "1" are four values, and null is not absence."""
    values = (1, 1.0, True, "1", None, GONE)
    for old in values:
        for new in values:
            one, other = (document(**{"sources[0].icon": 0}) for _ in range(2))
            for side, value in ((one, old), (other, new)):
                side["sources"][0]["icon"] = value
                if value is GONE:
                    del side["sources"][0]["icon"]
            assert differences(one, other).modified == ([] if old is new else [CRM])


def test_another_order_modifies_the_owner() -> None:
    """Order is kept for clients, so that changing it is a change; an insertion between others is not."""
    new = document()
    new["entityTypes"][0]["attributes"].reverse()
    new["sources"].insert(1, {"uri": "configuration/sources/New"})
    assert differences(document(), new) == Differences(added=["configuration/sources/New"], modified=[STORE])
    new["relationTypes"].reverse()
    assert differences(document(), new).modified == ["configuration", STORE]


def test_an_element_with_another_uri_is_another_element() -> None:
    """Renaming is removing and adding, parts included."""
    new = document(**{"relationTypes[1].uri": f"{OWNS}2", "entityTypes[2]": {"uri": WEB + "x"}})
    assert differences(document(), new) == Differences(
        added=[WEB + "x", f"{OWNS}2"], removed=[SHOP, f"{SHOP}/attributes/City", OWNS]
    )


def test_an_element_with_the_uri_of_another_is_compared_with_itself() -> None:
    """A copied attribute that kept its old URI is one of its own."""
    path = "entityTypes[1].attributes[1]"
    copied = document(**{path: attribute(f"{STORE}/attributes/City", label="first")})
    assert differences(document(), copied) == Differences(added=[f"{STORE}/attributes/City"])
    changed = document(**{path: attribute(f"{STORE}/attributes/City", label="second")})
    assert differences(copied, changed) == Differences(modified=[f"{STORE}/attributes/City"])


def test_one_element_in_place_of_a_collection_is_an_element() -> None:
    """The content of a collection counts, not its form. Elements without a URI there belong to the owner."""
    one = {"uri": "configuration/roles/Boss", "label": "x"}
    assert differences(document(roles=[one]), document(roles=one)) == Differences()
    found = differences(document(roles=one), document(roles=one | {"label": "y"}))
    assert found == Differences(modified=["configuration/roles/Boss"])
    for entry in ("Boss", {"label": "x"}):
        assert differences(document(roles=[one]), document(roles=[one, entry])).modified == ["configuration"]


def test_an_id_makes_no_difference_in_an_element_without_a_uri() -> None:
    """The server drops ids of elements that it does not know, also in their parts."""
    parts = {"attributes": [{"id": "8"}]}
    old: Document = {"uri": "configuration", "entityTypes": [{"label": "x", "id": "7", **parts}]}
    new: Document = {"uri": "configuration", "entityTypes": [{"label": "x", "attributes": [{}]}]}
    assert at_once(compare(old, new)) == Differences()
    other: Document = {"uri": "configuration", "entityTypes": [{"label": "y", "attributes": [{}]}]}
    assert at_once(compare(old, other)).modified == ["configuration"]


def test_long_lists_end_with_a_sign() -> None:
    """Each list has at most 1,000 URIs, and says so if there were more."""
    many = [{"uri": f"configuration/roles/R{index}"} for index in range(MAX_LISTED + 1)]
    empty, full = document(roles=[]), document(roles=many)
    assert len(differences(empty, full).added) == MAX_LISTED
    assert differences(empty, full).truncated
    assert len(differences(full, empty).removed) == MAX_LISTED
    assert not differences(empty, document(roles=many[:-1])).truncated
    assert len(list(compare(full, full))) > 1


@given(documents(), documents())
def test_differences_are_those_of_the_uris(old: Document, new: Document) -> None:
    """Added and removed are exactly the URIs on one side, and modified is on both; the way back is the mirror."""
    found = differences(old, new)
    assert set(found.added) == uris(new) - uris(old)
    assert set(found.removed) == uris(old) - uris(new)
    assert set(found.modified) <= uris(old) & uris(new)
    back = differences(new, old)
    assert (set(back.added), set(back.removed)) == (set(found.removed), set(found.added))
    assert set(back.modified) == set(found.modified)
    assert differences(old, copy.deepcopy(old)) == Differences()


@given(documents(), st.data())
def test_what_was_done_is_what_is_found(value: Document, data: st.DataObject) -> None:
    """Changing, adding and removing chosen elements is found as just that."""
    new = copy.deepcopy(value)
    elements = [element for element in walk(new) if element.owner is not None]
    changed = data.draw(st.lists(st.sampled_from(elements), unique_by=id)) if elements else []
    for element in changed:
        element.value["changed"] = 1
    drop: bool = bool(elements) and data.draw(st.booleans())
    dropped = data.draw(st.sampled_from(elements)) if drop else None
    if dropped is not None:
        siblings = dropped.owner.value[dropped.kind] if dropped.owner else []
        siblings.remove(dropped.value)
    new["sources"].append({"uri": "configuration/sources/New"})
    found = differences(value, new)
    lost = uris(value) - uris(new)
    assert set(found.added) == {"configuration/sources/New"}
    assert set(found.removed) == lost
    assert set(found.modified) == {element.uri for element in changed if element.uri not in lost}
    if dropped is not None:
        assert lost == {element.uri for element in [dropped] if element.uri} | {
            uri for uri in uris(value) if any(uri.startswith(f"{dropped.uri}/{part}/") for part in PARTS[dropped.kind])
        }
