"""Single types and parts of a tenant configuration."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire_protocol.tenant import documents as documents_of
from hivewire_protocol.tenant import objects, work
from hivewire_protocol.tenant.documents import Document, render
from hivewire_protocol.tenant.elements import COLLECTIONS
from hivewire_protocol.tenant.errors import BadRequest, TypeIsNotFound, ValidationError
from hivewire_protocol.tenant.steps import Steps, at_once
from tests.protocol.tenants import (
    AT,
    CRM,
    PLACE,
    SHOP,
    STORE,
    WEB,
    attribute,
    document,
    documents,
    findings,
    json_values,
)

NEW = "configuration/entityTypes/New"


def address(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))


def test_reading() -> None:
    """A collection is an array, a type and a part are objects, and what may be there is an empty array if it is not."""
    value = document()
    assert objects.get(value, address("entityTypes")) == value["entityTypes"]
    assert objects.get(value, address("groupTypes")) == []
    assert objects.get(value, address("entityTypes/Place")) == value["entityTypes"][1]
    assert objects.get(value, address("entityTypes/Place/matchGroups")) == []
    assert objects.get(value, address("relationTypes/At/attributes")) == []
    assert objects.get(value, address("entityTypes/Place/attributes/Street"))["label"] == "Street"
    assert objects.get(value, address("entityTypes/Store/survivorshipGroups/default"))["default"] is True
    assert objects.get(value, address("entityTypes/Store/surrogateCrosswalks"))[0]["source"] == CRM
    assert objects.get(value, address("sources/CRM")) == {"uri": CRM, "label": "CRM"}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "things",
        "label",
        "survivorshipStrategies",
        "entityTypes/",
        "entityTypes/Nothing",
        "entityTypes/store",
        "entityTypes/Store/label",
        "entityTypes/Store/attributes/Nothing",
        "entityTypes/Store/attributes/Hours/attributes",
        "entityTypes/Store/attributes/Hours/attributes/Day",
        "entityTypes/Store/cleanseConfig",
        "entityTypes/Store/surrogateCrosswalks/0",
        "relationTypes/At/matchGroups",
        "relationTypes/At/cleanseConfig",
        "sources/CRM/attributes",
        "entityTypes/Nothing/attributes",
    ],
)
def test_missing_elements(path: str) -> None:
    """Every missing element is TYPE_IS_NOT_FOUND, for reading and removing, and never another error (section 2.2)."""
    for action in (objects.get, objects.remove):
        with pytest.raises(TypeIsNotFound) as caught:
            action(document(), address(path))
        assert caught.value.body()["errorMessage"].startswith("TYPE_IS_NOT_FOUND: ")
    with pytest.raises((TypeIsNotFound, BadRequest)):
        objects.replace(document(), address(path), None)


def test_select() -> None:
    """`select` keeps collections in document order, leaves out absent ones, and refuses unknown names."""
    value = document()
    assert list(objects.select(value, ["entityTypes", "sources", "groupTypes"])) == ["sources", "entityTypes"]
    assert objects.select(value, []) == {}
    for name in ("label", "entitytypes", ""):
        with pytest.raises(BadRequest):
            objects.select(value, ["sources", name])


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("entityTypes/New", {"uri": NEW, "label": ""}, "entityTypes/New"),
        ("groupTypes/New", {"URI": "configuration/groupTypes/New", "name": "New"}, "groupTypes/New"),
        ("changeRequestTypes/One", {"uri": "configuration/changeRequestTypes/One"}, "changeRequestTypes/One"),
        ("entityTypes/Store/attributes", attribute(f"{STORE}/attributes/New"), "entityTypes/Store/attributes/New"),
        ("entityTypes/Store/attributes/New", attribute(f"{STORE}/attributes/New"), "entityTypes/Store/attributes/New"),
        ("relationTypes/At/attributes", attribute(f"{AT}/attributes/New"), "relationTypes/At/attributes/New"),
        ("sources", {"uri": "configuration/sources/New"}, "sources/New"),
        ("entityTypes/entityTypes", {"uri": "configuration/entityTypes/entityTypes"}, "entityTypes/entityTypes"),
        (
            "entityTypes/Store/attributes/cleanseConfig",
            attribute(f"{STORE}/attributes/cleanseConfig"),
            "entityTypes/Store/attributes/cleanseConfig",
        ),
    ],
)
def test_adding(path: str, value: Document, place: str) -> None:
    """A new element comes last in its collection, whether its own address is given or that of the collection. Its name
    may be that of a collection or member."""
    before = document()
    after = objects.insert(before, address(path), value)
    assert before == document()
    assert objects.get(after, address(place)) is value
    assert objects.get(after, address(place)[:-1])[-1] is value
    assert objects.get(objects.remove(after, address(place)), address(place)[:-1]) == objects.get(
        before, address(place)[:-1]
    )
    with pytest.raises(BadRequest, match="exists"):
        objects.insert(after, address(path), value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("entityTypes", {"uri": NEW}),
        ("entityTypes/New", {"uri": f"{NEW}2"}),
        ("entityTypes/New", {"uri": "configuration/relationTypes/New"}),
        ("entityTypes/New", {"label": ""}),
        ("entityTypes/New", {"uri": NEW, "name": "Other"}),
        ("entityTypes/New", [{"uri": NEW}]),
        ("entityTypes/New", None),
        ("entityTypes/Store", {"uri": STORE}),
        ("entityTypes/Store/attributes", {"label": ""}),
        ("entityTypes/Store/attributes", [attribute(f"{STORE}/attributes/New")]),
        ("entityTypes/Store/attributes", attribute(f"{PLACE}/attributes/New")),
        ("entityTypes/Store/attributes", attribute(f"{STORE}/attributes/Hours/attributes/New")),
        ("entityTypes/Store/attributes/City", attribute(f"{STORE}/attributes/City")),
        ("entityTypes/Store/cleanseConfig", {}),
        ("entityTypes/Store/surrogateCrosswalks", []),
        ("roles/New", {"uri": "configuration/roles/New"}),
        ("hierarchyTypes/New", {"uri": "configuration/hierarchyTypes/New"}),
        ("sources", {"uri": CRM}),
        ("sources", {}),
    ],
)
def test_additions_that_are_refused(path: str, value: Any) -> None:
    """An element that exists, has another URI or name than its address, or cannot be added alone is BAD_REQUEST."""
    with pytest.raises(BadRequest) as caught:
        objects.insert(document(), address(path), value)
    assert caught.value.body()["errorMessage"].startswith("BAD_REQUEST: ")


def test_there_is_one_change_request_type() -> None:
    """`changeRequestTypes` has at most one element (section 2.2)."""
    value = document(changeRequestTypes=[{"uri": "configuration/changeRequestTypes/One"}])
    with pytest.raises(BadRequest, match="one element"):
        objects.insert(value, address("changeRequestTypes/Two"), {"uri": "configuration/changeRequestTypes/Two"})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("entityTypes/Place", {"URI": PLACE, "name": "Place"}),
        ("entityTypes/Store/attributes/City", attribute(f"{STORE}/attributes/City", "Date")),
        ("entityTypes/Store/attributes", []),
        ("relationTypes/At/survivorshipGroups", [{"uri": f"{AT}/survivorshipGroups/A"}]),
        ("entityTypes/Place/cleanseConfig", {"infos": []}),
        ("entityTypes/Store/surrogateCrosswalks", []),
    ],
)
def test_replacing(path: str, value: Any) -> None:
    """A type, a part or all parts of a kind are replaced where they stand, and nothing else changes."""
    before = document()
    after = objects.replace(before, address(path), value)
    assert before == document()
    assert objects.get(after, address(path)) == value
    owner = address(path)[:2]
    names = [element["uri"] for element in before[owner[0]] if not element["uri"].endswith(f"/{owner[1]}")]
    for uri in names:
        same = (owner[0], uri.rpartition("/")[2])
        assert objects.get(after, same) is objects.get(before, same)
    assert [element.get("uri", element.get("URI")) for element in after[owner[0]]] == [
        element["uri"] for element in before[owner[0]]
    ]


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("entityTypes/New", {"uri": NEW}, TypeIsNotFound),
        ("entityTypes/Place/attributes/New", attribute(f"{PLACE}/attributes/New"), TypeIsNotFound),
        ("entityTypes/New/attributes", [], TypeIsNotFound),
        ("entityTypes/Place", {"uri": STORE}, BadRequest),
        ("entityTypes/Place", {"uri": PLACE, "name": "place"}, BadRequest),
        ("entityTypes/Place", [], BadRequest),
        ("entityTypes/Place/attributes", {}, BadRequest),
        ("entityTypes/Place/attributes", None, BadRequest),
        ("entityTypes/Place/cleanseConfig", None, BadRequest),
        ("entityTypes/Place/surrogateCrosswalks", {}, BadRequest),
        ("entityTypes", [], BadRequest),
        ("sources", [], BadRequest),
        ("sources/CRM", {"uri": CRM}, BadRequest),
        ("roles/Clerk", {"uri": "configuration/roles/Clerk"}, BadRequest),
    ],
)
def test_replacements_that_are_refused(path: str, value: Any, error: type[Exception]) -> None:
    """A missing element is TYPE_IS_NOT_FOUND; one that does not fit its address is BAD_REQUEST."""
    with pytest.raises(error):
        objects.replace(document(), address(path), value)


@pytest.mark.parametrize(
    "path",
    [
        "entityTypes/Store/matchGroups/Same",
        "entityTypes/Store/attributes/Hours",
        "entityTypes/Store/survivorshipGroups",
        "entityTypes/Store/surrogateCrosswalks",
        "interactionTypes/Sale",
        "graphTypes/Map",
        "relationTypes/Owns",
        "sources/WEB",
    ],
)
def test_removing(path: str) -> None:
    """A type that nobody uses, a part, or all parts of a kind are gone afterwards."""
    before = document()
    after = objects.remove(before, address(path))
    assert before == document()
    if len(address(path)) == 3 and address(path)[-1] in objects.PART_OWNERS:
        assert objects.get(after, address(path)) == []
    else:
        with pytest.raises(TypeIsNotFound):
            objects.get(after, address(path))


@pytest.mark.parametrize("path", ["entityTypes", "sources", "relationTypes/At/survivorshipGroups", "roles/Clerk"])
def test_removals_that_are_refused(path: str) -> None:
    """Collections, roles and survivorship groups of relation types cannot be deleted (section 2.3)."""
    with pytest.raises(BadRequest):
        objects.remove(document(), address(path))


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("entityTypes/Store", "entityTypes[1]"),
        ("entityTypes/Place", "entityTypes[0].attributes[3]"),
        ("entityTypes/Shop", "relationTypes[1]"),
        ("relationTypes/At", "entityTypes[0].attributes[3]"),
        ("sources/CRM", "survivorshipStrategies[0]"),
    ],
)
def test_an_element_in_use_cannot_be_removed(path: str, user: str) -> None:
    """The error says which element refers to the type or source (section 13, row 16)."""
    with pytest.raises(ValidationError) as caught:
        objects.remove(document(), address(path))
    body = caught.value.body()
    assert body["errorCode"] == 313
    assert body["errorMessage"].startswith(f"VALIDATION_ERROR: Business model is not valid: {user} refers to ")


def test_names_that_begin_alike_are_not_in_use() -> None:
    """Only the URI itself, or something inside of it, counts as a reference."""
    value = document(**{"entityTypes[3]": {"uri": f"{SHOP}2", "label": SHOP[:-1], "description": f"see {SHOP}"}})
    value["relationTypes"] = []
    value["graphTypes"] = []
    assert len(objects.remove(value, address("entityTypes/Shop"))["entityTypes"]) == 3


def test_the_publish_date_of_a_source() -> None:
    """It is null until it is set, and lives in the source (section 2.4)."""
    value = document()
    assert objects.source_publish_date(value, "WEB") == {"sourcePublishDate": None}
    after = objects.with_source_publish_date(value, "WEB", {"sourcePublishDate": 5})
    assert objects.source_publish_date(after, "WEB") == {"sourcePublishDate": 5}
    assert after["sources"] == [value["sources"][0], {"uri": WEB, "label": "Web", "sourcePublishDate": 5}]
    assert findings(after) == []
    with pytest.raises(TypeIsNotFound):
        objects.source_publish_date(value, "Nothing")
    for body in (None, {}, {"sourcePublishDate": "5"}, {"sourcePublishDate": True}):
        with pytest.raises(BadRequest):
            objects.with_source_publish_date(value, "WEB", body)


@given(documents(), st.data())
def test_adding_and_removing_undo_each_other(value: Document, data: st.DataObject) -> None:
    """An element that is added at the end and removed again leaves the document as it was."""
    types = objects.get(value, ("entityTypes",))
    places = [("entityTypes",), *(("entityTypes", element["label"], "attributes") for element in types)]
    place = data.draw(st.sampled_from(places))
    owner = "configuration" if len(place) == 1 else f"configuration/entityTypes/{place[1]}"
    element = attribute(f"{owner}/{place[-1]}/New")
    after = objects.insert(value, (*place, "New"), element)
    assert after != value
    assert objects.remove(after, (*place, "New")) == value


@given(documents(), st.lists(st.sampled_from([*COLLECTIONS, "A", "B", "attributes", "cleanseConfig", ""])), json_values)
def test_any_address_and_any_body_is_answered(value: Document, path: list[str], body: Any) -> None:
    """Whatever is asked for, it is done or refused with an error of the dialect, and the document given stays."""
    before = copy.deepcopy(value)
    for action in (objects.get, objects.remove, objects.insert, objects.replace):
        try:
            action(value, path, *([body] if action in (objects.insert, objects.replace) else []))
        except (BadRequest, TypeIsNotFound, ValidationError):
            pass
    assert value == before


def test_one_element_in_place_of_a_collection_can_be_read_and_edited() -> None:
    """Readers get an array for a collection; an edit keeps the form as far as possible."""
    boss, clerk = ({"uri": f"configuration/groupTypes/{name}", "label": name} for name in ("Boss", "Clerk"))
    value = document(groupTypes=boss)
    assert objects.get(value, ("groupTypes",)) == [boss]
    assert objects.get(value, ("groupTypes", "Boss")) == boss
    assert objects.replace(value, ("groupTypes", "Boss"), boss | {"label": "B"})["groupTypes"] == boss | {"label": "B"}
    assert objects.insert(value, ("groupTypes", "Clerk"), clerk)["groupTypes"] == [boss, clerk]
    assert objects.remove(value, ("groupTypes", "Boss"))["groupTypes"] == []


def test_edits_keep_entries_that_are_not_elements() -> None:
    """Entries that are not objects stay where they are."""
    boss, clerk = ({"uri": f"configuration/groupTypes/{name}"} for name in ("Boss", "Clerk"))
    value = document(groupTypes=["x", boss, 5])
    assert objects.get(value, ("groupTypes",)) == [boss]
    assert objects.insert(value, ("groupTypes", "Clerk"), clerk)["groupTypes"] == ["x", boss, 5, clerk]
    assert objects.remove(value, ("groupTypes", "Boss"))["groupTypes"] == ["x", 5]


def test_of_two_of_one_name_the_page_shows_the_one_that_belongs_there() -> None:
    """The URI of the other one says that it stands elsewhere; alone, it can be read and replaced as it is."""
    here, elsewhere = {"uri": f"{PLACE}/attributes/City"}, {"uri": f"{STORE}/attributes/City"}
    value = document(**{"entityTypes[1].attributes": [elsewhere, here]})
    address = ("entityTypes", "Place", "attributes", "City")
    assert objects.get(value, address) == here
    alone = document(**{"entityTypes[1].attributes": [elsewhere]})
    assert (
        objects.replace(alone, address, elsewhere | {"label": "x"})["entityTypes"][1]["attributes"][0]["label"] == "x"
    )


def test_an_edit_reads_the_stored_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It saves and tells what the whole document with the same change would have."""
    read: list[bytes] = []

    def parse(body: bytes) -> Steps[Document]:
        read.append(body)
        return documents_of.parse(body)

    rules = work.Rules(strict=False, known_members_only=False, limit=1 << 20)
    members = {"updatedTime": 5}
    first = at_once(work.save(render(document()), None, None, rules, {"updatedTime": 4}, stale=False))
    old = work.Version(first.document, first.counter)
    value = {"uri": NEW, "label": "New", "attributes": [attribute(f"{NEW}/attributes/City")]}
    new = objects.insert(document(), ("entityTypes", "New"), value)
    whole = at_once(work.save(render(new), None, old, rules, members, stale=False))
    monkeypatch.setattr(work, "parse", parse)
    edit = work.Edit("insert", ("entityTypes", "New"))
    saved = at_once(work.save(render(value), edit, old, rules, members, stale=False))
    assert read == [old.document]
    assert (saved.document, saved.differences) == (whole.document, whole.differences)
    assert saved.differences.added == [NEW, f"{NEW}/attributes/City"]
