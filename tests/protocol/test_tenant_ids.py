"""Generated ids, and members that the server sets."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from hivewire_protocol.tenant.documents import Document, render
from hivewire_protocol.tenant.elements import walk
from hivewire_protocol.tenant.ids import ids_of, number, stamp
from hivewire_protocol.tenant.steps import at_once
from tests.protocol.tenants import PLACE, STORE, WEB, document, documents, parsed

CITY = f"{STORE}/attributes/City"


def numbered(value: Document, before: Document | None = None, counter: int = 0) -> tuple[Document, int]:
    """The document with ids, after a stored version."""
    return at_once(number(value, at_once(ids_of(before or {})), counter))


def ids(value: Document) -> dict[str, str]:
    return at_once(ids_of(value))


def test_the_answer_of_the_seed() -> None:
    """Ids count depth first, owners before members; in an element the id stands before its attributes, or last."""
    sent = (
        b'{"label":"Shop","schemaVersion":"3","entityTypes":[{"URI":"configuration/entityTypes/Store","name":"Store",'
        b'"label":"Store","attributes":[{"URI":"configuration/entityTypes/Store/attributes/City","name":"City",'
        b'"label":"City","type":"String"},{"URI":"configuration/entityTypes/Store/attributes/Hours","name":"Hours",'
        b'"label":"Hours","type":"Nested","attributes":[{"URI":"configuration/entityTypes/Store/attributes/Hours/'
        b'attributes/Day","name":"Day","label":"Day","type":"String"}]}]}]}'
    )
    answer = (
        b'{"label":"Shop","schemaVersion":"3","updatedTime":1716203045000,'
        b'"entityTypes":[{"URI":"configuration/entityTypes/Store","name":"Store","label":"Store","id":"1",'
        b'"attributes":[{"URI":"configuration/entityTypes/Store/attributes/City","name":"City","label":"City",'
        b'"type":"String","id":"2"},{"URI":"configuration/entityTypes/Store/attributes/Hours","name":"Hours",'
        b'"label":"Hours","type":"Nested","id":"3","attributes":[{"URI":"configuration/entityTypes/Store/attributes/'
        b'Hours/attributes/Day","name":"Day","label":"Day","type":"String","id":"4"}]}]}]}'
    )
    value, counter = numbered(parsed(sent))
    assert counter == 4
    assert render(stamp(value, {"updatedTime": 1716203045000})) == answer


def test_every_definition_gets_an_id_and_nothing_else_does() -> None:
    """Elements of collections and attributes have ids; the document, references and what has no URI have none."""
    value, counter = numbered(document())
    found = [element.value.get("id") for element in walk(value)]
    assert found == [None, *map(str, range(1, counter + 1))]
    assert counter == len(ids(value)) == 23
    assert "id" not in value["relationTypes"][0]["startObject"]
    without, _ = numbered({"sources": [{"id": "7", "label": "no URI"}, "text"], "entityTypes": {}})
    assert without == {"sources": [{"label": "no URI"}, "text"], "entityTypes": {}}
    only, counter = numbered({"sources": {"uri": WEB}, "entityTypes": [{"uri": STORE, "attributes": {"uri": CITY}}]})
    store = {"uri": STORE, "id": "2", "attributes": {"uri": CITY, "id": "3"}}
    assert (only, counter) == ({"sources": {"uri": WEB, "id": "1"}, "entityTypes": [store]}, 3)


def test_an_element_with_the_uri_of_another_has_an_id_of_its_own() -> None:
    """A copied attribute may still have its old URI: both keep their ids, whatever becomes of the other one."""
    copied = {"uri": CITY, "attributes": [{"uri": f"{CITY}/attributes/A"}]}
    value = {"entityTypes": [{"uri": STORE, "attributes": [copied]}, {"uri": PLACE, "attributes": [copied]}]}
    first, counter = numbered(copy.deepcopy(value))
    assert [element.value.get("id") for element in walk(first)][1:] == ["1", "2", "3", "4", "5", "6"]
    turned: Document = {"entityTypes": first["entityTypes"][::-1]}
    again, still = numbered(copy.deepcopy(turned), first, counter)
    assert (again, still) == (turned, counter)
    alone, _ = numbered({"entityTypes": [value["entityTypes"][1]]}, first, counter)
    assert [element.value.get("id") for element in walk(alone)][1:] == ["4", "5", "6"]


def test_ids_in_a_request_are_ignored() -> None:
    """Whatever a client sends as id, the server's is stored, in the server's place."""
    sent = document(**{"sources[0]": {"id": "99", "uri": WEB, "label": "x"}})
    value, _ = numbered(sent)
    assert list(value["sources"][0].items()) == [("uri", WEB), ("label", "x"), ("id", "1")]


def test_the_document_given_stays_as_it_was() -> None:
    """Numbering and stamping make a new document."""
    sent = document()
    before = copy.deepcopy(sent)
    value, _ = numbered(sent)
    stamp(value, {"updatedTime": 1})
    assert sent == before
    assert "updatedTime" not in value


def test_an_element_that_returns_is_a_new_one() -> None:
    """A URI that was removed and comes back gets a number that nobody had."""
    first, counter = numbered(document())
    gone, counter = numbered(document(sources=[]), first, counter)
    back, counter = numbered(document(), gone, counter)
    assert ids(first)[WEB] == "2"
    assert ids(back)[WEB] == "25"
    assert counter == 25


def test_server_members_keep_their_place() -> None:
    """A member that was sent is overwritten where it stands; others come before the first collection, or last."""
    members = {"updatedTime": 5, "updatedBy": "ann"}
    assert list(stamp({"updatedTime": 1, "label": "", "sources": [], "roles": []}, members).items()) == [
        ("updatedTime", 5),
        ("label", ""),
        ("updatedBy", "ann"),
        ("sources", []),
        ("roles", []),
    ]
    assert list(stamp({"label": ""}, members)) == ["label", "updatedTime", "updatedBy"]


def test_numbering_comes_in_steps() -> None:
    """A large document yields on the way, both ways."""
    value = {"roles": [{"uri": f"configuration/roles/R{index}"} for index in range(10_000)]}
    assert len(list(number(value, {}, 0))) > 3
    assert len(list(ids_of(value))) > 3


@settings(max_examples=50)
@given(st.lists(documents(), min_size=2, max_size=6))
def test_ids_are_stable_and_never_used_twice(versions: list[Document]) -> None:
    """Across any versions: same URI, same id; and an id belongs to one stay of one URI, for ever."""
    stored: Document = {}
    counter = 0
    owners: dict[str, str] = {}
    before: dict[str, str] = {}
    for version in versions:
        stored, counter = numbered(version, stored, counter)
        stored = parsed(render(stored))  # as it is stored and read again
        now = ids(stored)
        assert len(set(now.values())) == len(now)
        assert [element.uri for element in walk(stored)] == [element.uri for element in walk(version)]
        for uri, found in now.items():
            if uri in before:
                assert found == before[uri]
            else:
                assert found not in owners
            owners[found] = uri
            assert 1 <= int(found) <= counter
        before = now
        again, same = numbered(stored, stored, counter)
        assert render(again) == render(stored)
        assert same == counter
