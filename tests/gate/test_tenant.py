"""A tenant's configuration document over real HTTP, and its changes over a socket."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings

from hivewire_protocol.tenant.dates import http_date
from hivewire_protocol.tenant.documents import Document
from hivewire_protocol.tenant.elements import walk
from tests.documents import SHAPES, WARNED, attributes_of, realistic, small
from tests.protocol import tenants
from tests.protocol.tenants import GONE, PLACE, SHOP, STORE
from tests.running import RunningGateway

SERVER_MEMBERS = ("id", "updatedTime", "createdTime", "createdBy", "updatedBy")
LIMIT = 4 << 20
NUMBERS = count(1)
OPEN: list[httpx.Client] = []

CITY = f"{STORE}/attributes/City"


class Tenant:
    """A tenant, a token for it, and what can be asked there."""

    def __init__(self, gateway: RunningGateway, name: str, token: str) -> None:
        self.gateway = gateway
        self.name = name
        self.client = ""
        self.token = token
        self.http = httpx.Client(
            base_url=f"{gateway.url}/reltio/api/{name}", headers={"Authorization": f"Bearer {token}"}
        )
        OPEN.append(self.http)

    def put(self, document: Any, since: str | None = None, **headers: str) -> httpx.Response:
        """PUT of the whole."""
        if since is not None:
            headers["If-Unmodified-Since"] = since
        return self.send("PUT", "", document, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request below `configuration`."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return self.http.request(
            method, f"/configuration{path}", content=content, headers={"Content-Type": "application/json"} | headers
        )

    def get(self, path: str = "", **params: Any) -> httpx.Response:
        """GET below `configuration`."""
        return self.http.get(f"/configuration{path}", params=params)

    def saved(self, document: Document | None = None) -> Document:
        """A document that has been saved."""
        answer = self.put(tenants.document() if document is None else document)
        assert answer.status_code == 200, answer.text
        found: Document = answer.json()
        return found


class Place:
    """A gateway in which tenants and clients are made as they are needed."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.admin = gateway.http()
        OPEN.append(self.admin)

    def tenant(self, *privileges: str) -> Tenant:
        """A new tenant, with a client that has these privileges in it; all of them when none are given."""
        name = f"t{next(NUMBERS)}"
        assert self.admin.post("/tenant", json={"tenantId": name}).status_code == 201
        return self.client(name, *privileges)

    def client(self, tenant: str, *privileges: str) -> Tenant:
        """A new client in a tenant."""
        given = [*privileges] or ["READ", "CREATE", "UPDATE", "DELETE"]
        name = f"c{next(NUMBERS)}"
        secret = self.admin.post("/client", json={"clientId": name, "tenants": {tenant: given}}).json()["clientSecret"]
        url, form = self.gateway.url + "/oauth/token", {"grant_type": "client_credentials"}
        made = Tenant(self.gateway, tenant, httpx.post(url, data=form, auth=(name, secret)).json()["access_token"])
        made.client = name
        return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One gateway for all of them."""
    data = tmp_path_factory.mktemp("tenant") / "hivewire.db"
    with RunningGateway(data, "--document-bytes", str(LIMIT)) as gateway:
        yield Place(gateway)
        while OPEN:
            OPEN.pop().close()
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close the connections that a test opened."""
    before = len(OPEN)
    yield
    while len(OPEN) > before:
        OPEN.pop().close()


@pytest.fixture
def tenant(place: Place) -> Tenant:
    """A tenant of its own, with all privileges."""
    return place.tenant()


@pytest.fixture(scope="module")
def shared(place: Place) -> Tenant:
    """One tenant for many examples."""
    return place.tenant()


def date(document: Document, seconds: int = 0) -> str:
    """The `updatedTime` of a document as an HTTP date, so many seconds later."""
    return http_date(document["updatedTime"] + seconds * 1_000)


def problem(answer: httpx.Response) -> tuple[int, int]:
    """Status and code of an error body."""
    body = answer.json()
    assert {"severity", "errorMessage", "errorCode", "errorDetailMessage"} <= set(body), body
    assert body["severity"] == "Error"
    return answer.status_code, body["errorCode"]


def without_server_members(value: Any) -> Any:
    """The document as it was sent, from the one in an answer."""
    if isinstance(value, dict):
        return {name: without_server_members(inner) for name, inner in value.items() if name not in SERVER_MEMBERS}
    return [*map(without_server_members, value)] if isinstance(value, list) else value


def ids(value: Any) -> dict[str, str]:
    """Ids by URI."""
    found: dict[str, str] = {}
    if isinstance(value, dict):
        if "id" in value:
            found[value["URI"] if "URI" in value else value["uri"]] = value["id"]
        value = [*value.values()]
    if isinstance(value, list):
        for inner in value:
            found |= ids(inner)
    return found


# The first save, and what comes back.


def test_the_sample_of_the_contract(tenant: Tenant) -> None:
    """Ids in document order, a new `updatedTime`, and the spelling of the request."""
    uri = "configuration/entityTypes/Store"
    city = {"URI": f"{uri}/attributes/City", "name": "City", "label": "City", "type": "String"}
    types = [{"URI": uri, "name": "Store", "label": "Store", "attributes": [city]}]
    answer = tenant.put({"label": "Shop", "schemaVersion": "3", "updatedTime": 1, "entityTypes": types})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    saved = answer.json()
    assert saved["entityTypes"][0]["id"] == "1"
    assert saved["entityTypes"][0]["attributes"][0] == {**city, "id": "2"}
    assert saved["updatedTime"] > 1
    assert saved["createdTime"] == saved["updatedTime"]
    assert saved["createdBy"] == saved["updatedBy"]
    assert answer.headers["last-modified"] == date(saved)


def test_before_the_first_save_there_is_nothing(tenant: Tenant) -> None:
    """404 with code 309, an empty object from `_noInheritance`, and no history."""
    assert problem(tenant.get()) == (404, 309)
    assert problem(tenant.get("/entityTypes")) == (404, 309)
    assert problem(tenant.send("POST", "/sources", {"uri": "configuration/sources/A"})) == (404, 309)
    assert problem(tenant.get("/_validateTenantConfiguration")) == (404, 309)
    for path in ("/_noInheritance", "/_noinheritance"):
        answer = tenant.get(path)
        assert (answer.status_code, answer.json()) == (200, {})
    assert tenant.get("/_history").json() == []


def test_a_saved_document_can_be_read_and_sent_back(tenant: Tenant) -> None:
    """All answers have the same bytes; without the server's members they are what was sent, members in order."""
    body = json.dumps(tenants.document(label="Läden")).encode()
    answer = tenant.put(body)
    assert answer.status_code == 200, answer.text
    assert tenant.get().content == tenant.get("/_noInheritance").content == answer.content
    assert json.dumps(without_server_members(answer.json())) == json.dumps(json.loads(body))
    assert tenant.get().headers["last-modified"] == answer.headers["last-modified"]
    head = tenant.http.head("/configuration")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["last-modified"] == answer.headers["last-modified"]
    again = tenant.put(answer.content)
    assert ids(again.json()) == ids(answer.json())
    assert without_server_members(again.json()) == json.loads(body)
    assert again.json()["createdTime"] == answer.json()["createdTime"]


def test_ids_are_stable_and_never_reused(tenant: Tenant) -> None:
    """A URI that is removed and added again is a new element."""
    first = ids(tenant.saved())
    attributes = tenants.document()["entityTypes"][0]["attributes"]
    less = ids(tenant.saved(tenants.document(**{"entityTypes[2].attributes": []})))
    gone = f"{SHOP}/attributes/City"
    assert gone not in less
    assert all(first[uri] == number for uri, number in less.items())
    back = ids(tenant.saved(tenants.document(**{"entityTypes[0].attributes": attributes[::-1]})))
    assert int(back.pop(gone)) == max(map(int, first.values())) + 1
    assert all(first[uri] == number for uri, number in back.items())


def test_a_document_survives_a_restart_with_its_counter(tmp_path: Path) -> None:
    """The ids go on where they were."""
    data = tmp_path / "hivewire.db"
    with RunningGateway(data) as gateway:
        place = Place(gateway)
        tenant = place.tenant()
        tenant.saved()
        tenant.saved(tenants.document(**{"entityTypes[2].attributes": []}))
        before = tenant.get().content
        gateway.stop()
    with RunningGateway(data) as gateway:
        again = Tenant(gateway, tenant.name, tenant.token)
        assert again.get().content == before
        back = ids(again.saved())
        assert int(back[f"{SHOP}/attributes/City"]) == len(back) + 1


# Concurrency: section 4.1, row by row.


@pytest.mark.parametrize("since", [None, http_date(0), http_date(4_000_000_000_000), "yesterday"])
def test_the_first_save_has_no_precondition(tenant: Tenant, since: str | None) -> None:
    """The first save succeeds with any `If-Unmodified-Since` (rows 1 to 3)."""
    assert tenant.put(tenants.document(), since).status_code == 200


@pytest.mark.parametrize("offset", [None, -5_000, 0, 5_000])
def test_without_the_header_nothing_is_compared(tenant: Tenant, offset: int | None) -> None:
    """Without the header a save succeeds, whatever `updatedTime` the body has (rows 4 and 5)."""
    time = tenant.saved()["updatedTime"]
    body = tenants.document() if offset is None else tenants.document(updatedTime=time + offset)
    answer = tenant.put(body)
    assert answer.status_code == 200
    assert answer.json()["updatedTime"] // 1_000 > time // 1_000


@pytest.mark.parametrize("header", [{}, {"If-Match": '"7"'}])
@pytest.mark.parametrize(("seconds", "status"), [(3_600, 200), (0, 200), (-1, 412)])
def test_the_date_is_compared_in_whole_seconds(
    tenant: Tenant, seconds: int, status: int, header: dict[str, str]
) -> None:
    """Rows 6 to 8 and 10: later, equal, earlier; a refused document changes nothing."""
    saved = tenant.saved()
    before = tenant.get().content
    answer = tenant.put(tenants.document(label="new", updatedTime=9), date(saved, seconds), **header)
    assert answer.status_code == status
    if status == 412:
        assert problem(answer) == (412, 412)
        assert tenant.get().content == before
        assert len(tenant.get("/_history").json()) == 1


@pytest.mark.parametrize("since", ["", "0", "1999-01-01T00:00:00Z", "Fri, 01 Jan 1999 00:00:00 CET"])
def test_a_malformed_date_is_ignored(tenant: Tenant, since: str) -> None:
    """A save with a malformed `If-Unmodified-Since` succeeds as one without it (row 9)."""
    tenant.saved()
    assert tenant.put(tenants.document(), since).status_code == 200


def test_two_dates_count_as_no_date(tenant: Tenant) -> None:
    """A save with two `If-Unmodified-Since` headers succeeds as one without any (row 9)."""
    tenant.saved()
    headers = [("Content-Type", "application/json"), *[("If-Unmodified-Since", http_date(0))] * 2]
    answer = tenant.http.put("/configuration", content=json.dumps(tenants.document()), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("form", ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"])
def test_the_old_forms_of_a_date_count(tenant: Tenant, form: str) -> None:
    """Dates in the forms of RFC 850 and asctime are compared like others (section 4.3)."""
    saved = tenant.saved()
    for seconds, status in ((-1, 412), (0, 200)):
        moment = datetime.fromtimestamp(saved["updatedTime"] // 1_000 + seconds, UTC)
        assert tenant.put(tenants.document(), moment.strftime(form)).status_code == status


@pytest.mark.parametrize("seconds", [10, -10])
def test_an_invalid_document_is_refused_before_its_date(tenant: Tenant, seconds: int) -> None:
    """The errors of an invalid document are reported whether its date fits or not (rows 11 and 12)."""
    saved = tenant.saved()
    assert problem(tenant.put(tenants.document(label=GONE), date(saved, seconds))) == (400, 304)


def test_of_two_saves_with_one_date_one_succeeds(tenant: Tenant, place: Place) -> None:
    """Of two concurrent saves with the same date one succeeds and the other gets 412."""
    other = Tenant(place.gateway, tenant.name, tenant.token)
    with ThreadPoolExecutor(2) as pool:
        for number in range(15):
            since = date(tenant.get().json() if number else tenant.saved())
            start = threading.Barrier(2)

            def put(who: Tenant, label: str, since: str = since, start: threading.Barrier = start) -> httpx.Response:
                start.wait()
                return who.put(tenants.document(label=label), since)

            answers = [*pool.map(put, (tenant, other), ("one", "two"))]
            assert sorted(answer.status_code for answer in answers) == [200, 412]
            winner = ("one", "two")[answers[1].status_code == 200]
            assert tenant.get().json()["label"] == winner


def test_each_save_of_a_burst_has_its_own_second(tenant: Tenant) -> None:
    """No update is hidden within the second of another (section 4.2)."""
    times = [tenant.saved()["updatedTime"] // 1_000 for _ in range(4)]
    assert times == sorted(set(times))


# What is refused.


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 306),
        (b"{", 306),
        (b"[]", 306),
        (b'{"label":"\xff"}', 306),
        (b'{"a":1,"a":2}', 305),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", 305),
        (b'{"a":1e999}', 305),
        (b"{}", 270),
    ],
)
def test_bodies_that_are_not_a_document(tenant: Tenant, body: bytes, code: int) -> None:
    """A body that is not a document gets the code for its fault, and nothing is saved."""
    assert problem(tenant.put(body)) == (400, code)
    assert problem(tenant.get()) == (404, 309)


def test_several_findings_come_in_document_order(tenant: Tenant) -> None:
    """Several findings come in one error, in the order of the document."""
    answer = tenant.put(tenants.document(**{"entityTypes[0].label": GONE, "entityTypes[1].label": GONE}))
    assert problem(answer) == (400, 270)
    messages = [found["errorMessage"] for found in answer.json()["foundErrors"]]
    assert "entityTypes[0].label" in messages[0]
    assert "entityTypes[1].label" in messages[1]


def test_the_type_of_a_body(tenant: Tenant) -> None:
    """JSON with any charset; 415 for anything else, before it is parsed."""
    body = json.dumps(tenants.document()).encode()
    assert tenant.put(body, **{"Content-Type": "application/json; charset=utf-8"}).status_code == 200
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Content-Encoding": "br"}):
        assert problem(tenant.put(b"{", **headers)) == (415, 415)


def test_gzip_is_accepted(tenant: Tenant) -> None:
    """In one member or several; an invalid or incomplete stream is 306."""
    body = json.dumps(tenants.document()).encode()
    packed = gzip.compress(body)
    halves = gzip.compress(body[:500]) + gzip.compress(body[500:])
    coded = {"Content-Encoding": "gzip"}
    assert tenant.put(packed, **coded).status_code == 200
    assert tenant.put(halves, **coded).status_code == 200
    for broken in (body, packed[:-4], packed[:40] + b"\xff" * 9 + packed[49:], packed + b"more", b""):
        assert problem(tenant.put(broken, **coded)) == (400, 306)
    assert problem(tenant.put(gzip.compress(b"") * 100, **coded)) == (400, 306)


def test_bodies_have_a_limit_after_decompression(tenant: Tenant) -> None:
    """As sent and decompressed; a bomb is not unpacked beyond the limit."""
    fits = tenants.document(description="x" * (LIMIT - 10_000))
    assert tenant.put(fits).status_code == 200
    assert problem(tenant.put(tenants.document(description="x" * LIMIT))) == (413, 413)
    bomb = gzip.compress(b" " * (256 << 20), 1)
    answer = tenant.put(bomb, **{"Content-Encoding": "gzip"})
    assert problem(answer) == (413, 413)
    assert answer.headers["connection"] == "close"
    assert tenant.put(tenants.document()).status_code == 200


def test_a_document_does_not_grow_beyond_the_limit_part_by_part(tenant: Tenant) -> None:
    """Each part fits, all of them together do not: 413, and nothing is changed."""
    tenant.saved()
    for number, status in ((1, 201), (2, 413)):
        uri = f"configuration/entityTypes/Large{number}"
        body = {"uri": uri, "label": "L", "attributes": [], "description": "x" * (LIMIT * 2 // 3)}
        assert tenant.send("POST", f"/entityTypes/Large{number}", body).status_code == status
    assert tenant.get("/entityTypes/Large1").status_code == 200
    assert problem(tenant.get("/entityTypes/Large2")) == (400, 400)


# Who may do what.


def test_rights(place: Place) -> None:
    """401 before 404 before 403, and all of them before the body is read."""
    writer = place.tenant("UPDATE")
    reader = place.client(writer.name, "READ")
    outsider = place.tenant("UPDATE", "READ")
    writer.saved()
    assert reader.get().status_code == 200
    assert problem(reader.put(b"{", **{"Content-Type": "x"})) == (403, 403)
    for method, path in (("POST", "/sources"), ("PUT", "/entityTypes/Store"), ("DELETE", "/entityTypes/Store")):
        assert problem(reader.send(method, path, b"{")) == (403, 403)
    for method in ("POST", "DELETE"):
        assert problem(writer.send(method, "/entityTypes/Store", b"{")) == (403, 403)
    outside = Tenant(place.gateway, writer.name, outsider.token)
    assert problem(outside.get()) == (403, 403)
    assert problem(Tenant(place.gateway, "nobody", outsider.token).put(b"{")) == (404, 309)
    for token, word in (("", "unauthorized"), ("nonsense", "invalid_token")):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = httpx.get(f"{place.gateway.url}/reltio/api/nobody/configuration", headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, word)
    assert Tenant(place.gateway, writer.name, place.gateway.token()).put(tenants.document()).status_code == 200


def test_a_new_tenant_of_an_old_name_starts_empty(place: Place) -> None:
    """A tenant that is deleted and created again has neither document nor history."""
    tenant = place.tenant()
    tenant.saved()
    assert place.admin.delete(f"/tenant/{tenant.name}").status_code == 204
    place.admin.post("/tenant", json={"tenantId": tenant.name})
    again = place.client(tenant.name)
    assert problem(again.get()) == (404, 309)
    assert again.get("/_history").json() == []
    assert ids(again.saved())[STORE]
    assert len(again.get("/_history").json()) == 1


# Reading in other ways.


def test_select_and_access(tenant: Tenant) -> None:
    """Some collections; and what the caller may do in each element."""
    saved = tenant.saved()
    assert tenant.get(select="sources,roles").json() == {name: saved[name] for name in ("sources", "roles")}
    assert list(tenant.get(select=["roles", "groupTypes"]).json()) == ["roles"]
    assert problem(tenant.get(select="nothing")) == (400, 400)
    shown = tenant.get(options="showAccess").json()
    assert shown["entityTypes"][0]["attributes"][0]["access"] == ["READ", "CREATE", "UPDATE", "DELETE"]
    assert "access" not in tenant.get().text


def test_history(tenant: Tenant) -> None:
    """The history lists versions newest first; `max` and `offset` page it."""
    labels = ["a", "b", "c"]
    saved = [tenant.saved(tenants.document(label=label)) for label in labels]
    found = tenant.get("/_history").json()
    assert [version["configuration"] for version in found] == saved[::-1]
    assert [version["timestamp"] for version in found] == [each["updatedTime"] for each in saved[::-1]]
    assert found[0]["updatedBy"] == saved[-1]["updatedBy"]
    page = tenant.get("/_history", max=1, offset=1).json()
    assert [version["configuration"]["label"] for version in page] == ["b"]
    assert tenant.get("/_history", max=0).json() == tenant.get("/_history", offset=3).json() == []
    assert problem(tenant.get("/_history", max="x")) == (400, 400)


def test_validation_saves_nothing(tenant: Tenant) -> None:
    """Findings by URI; of the one level that was asked for."""
    assert tenant.send("POST", "/_validation", tenants.document()).json() == {}
    wrong = tenants.document(**{"entityTypes[0].label": GONE, "entityTypes[0].matchGroups[0].rule": GONE})
    found = tenant.send("POST", "/_validation?validationErrorLevel=error", wrong).json()
    assert list(found) == [STORE]
    assert found[STORE]["errors"][0]["errorCode"] == 304
    found = tenant.send("POST", "/_validation", wrong).json()
    assert found[f"{STORE}/matchGroups/Same"]["warnings"][0]["errorCode"] == 373
    assert problem(tenant.send("POST", "/_validation?validationErrorLevel=x", wrong)) == (400, 400)
    assert problem(tenant.send("POST", "/_validation", b"{")) == (400, 306)
    assert problem(tenant.get()) == (404, 309)
    tenant.saved(tenants.document(**{"entityTypes[0].matchGroups[0].rule": GONE}))
    assert list(tenant.get("/_validateTenantConfiguration").json()) == [f"{STORE}/matchGroups/Same"]
    old = tenant.gateway.url + f"/reltio/tenants/{tenant.name}/_validateTenantConfiguration"
    assert list(httpx.get(old, headers=tenant.http.headers).json()) == [f"{STORE}/matchGroups/Same"]


def test_documents_in_use_are_saved_as_they_are(tenant: Tenant) -> None:
    """All variants that occur are stored unchanged, without a warning, and every definition has an id."""
    for shape, edits in SHAPES.items():
        value = tenants.edited(small(), edits)
        answer = tenant.put(value)
        assert (answer.status_code, answer.headers.get("hivewire-warnings")) == (200, None), shape
        assert json.dumps(without_server_members(answer.json())) == json.dumps(value), shape
        found = [element for element in walk(answer.json()) if element.owner is not None]
        given = [element.value["id"] for element in found if element.uri is not None]
        assert len(set(given)) == len(given), shape


def test_warnings_are_counted_and_change_nothing(tenant: Tenant) -> None:
    """A save with warnings says how many in a header and in its push; _validation names the place of each."""
    with tenant.gateway.socket(tenant.token) as talk:
        talk("configuration/subscribe", tenant=tenant.name, snapshot=False)
        for what, (code, path, edits) in WARNED.items():
            value = tenants.edited(small(), edits)
            answer = tenant.put(value)
            assert answer.status_code == 200, what
            assert json.dumps(without_server_members(answer.json())) == json.dumps(value), what
            found = tenant.send("POST", "/_validation", value).json()
            warnings = [each for of_one in found.values() for each in of_one["warnings"]]
            assert not [each for of_one in found.values() for each in of_one["errors"]], what
            assert any(each["errorCode"] == code and f": {path} " in each["errorMessage"] for each in warnings), what
            assert {each["severity"] for each in warnings} == {"Warning"}
            assert int(answer.headers["hivewire-warnings"]) == len(warnings) == talk.receive()["warnings"], what


def test_very_many_warnings_are_counted(tenant: Tenant) -> None:
    """Of 100,000 warnings all are counted, 1,000 are listed, and the list says so."""
    value = small()
    nested = next(each for each in value["entityTypes"][0]["attributes"] if each["type"] == "Nested")
    nested["matchFieldURIs"] = ["x"] * 100_000
    answer = tenant.put(value)
    assert (answer.status_code, answer.headers["hivewire-warnings"]) == (200, "100000")
    found = tenant.send("POST", "/_validation", value).json()
    assert len(found[nested["uri"]]["warnings"]) == 1_000
    (cut,) = found["configuration"]["warnings"]
    assert cut["errorMessage"].endswith("the document has 100,000 warnings; the first 1,000 are listed")


# Single types and parts.


def test_reading_types_and_parts(tenant: Tenant) -> None:
    """Collections are arrays, elements objects; what is missing is 400."""
    saved = tenant.saved()
    store = saved["entityTypes"][0]
    assert tenant.get("/entityTypes", inheritance="false").json() == saved["entityTypes"]
    assert tenant.get("/groupTypes").json() == []
    assert tenant.get("/entityTypes/Store").json() == store
    assert tenant.get("/entityTypes/Store/attributes").json() == store["attributes"]
    assert tenant.get("/entityTypes/Store/attributes/City").json() == store["attributes"][0]
    assert tenant.get("/entityTypes/Store/surrogateCrosswalks").json() == store["surrogateCrosswalks"]
    assert tenant.get("/sources/CRM/sourcePublishDate").json() == {"sourcePublishDate": None}
    for path in ("/nothing", "/entityTypes/Nothing", "/entityTypes/Store/attributes/No", "/entityTypes/Store/no"):
        answer = tenant.get(path)
        assert problem(answer) == (400, 400)
        assert answer.json()["errorMessage"].startswith("TYPE_IS_NOT_FOUND")


def test_a_type_is_made_changed_and_removed(tenant: Tenant) -> None:
    """201, 200 and 204; each is a version, and keeps the ids of everything else."""
    before = tenant.saved()
    uri = "configuration/entityTypes/Desk"
    desk = {"uri": uri, "label": "Desk", "attributes": []}
    made = tenant.send("POST", "/entityTypes/Desk", desk)
    assert made.status_code == 201, made.text
    assert without_server_members(made.json()) == desk
    assert made.json()["id"] == str(len(ids(before)) + 1)
    assert made.headers["last-modified"] > ""
    assert tenant.send("POST", "/entityTypes/Desk", desk).json()["errorMessage"].startswith("BAD_REQUEST")
    changed = tenant.send("PUT", "/entityTypes/Desk", desk | {"label": "A desk"})
    assert (changed.status_code, changed.json()["label"], changed.json()["id"]) == (200, "A desk", made.json()["id"])
    answer = tenant.send("PUT", "/entityTypes/Other", desk)
    assert answer.json()["errorMessage"].startswith("TYPE_IS_NOT_FOUND")
    answer = tenant.send("PUT", "/entityTypes/Desk", {"uri": uri})
    assert (answer.status_code, answer.json()["errorMessage"][:16]) == (400, "VALIDATION_ERROR")
    stale = {"If-Unmodified-Since": date(before)}
    assert problem(tenant.send("DELETE", "/entityTypes/Desk", **stale)) == (412, 412)
    gone = tenant.send("DELETE", "/entityTypes/Desk")
    assert (gone.status_code, gone.content) == (204, b"")
    assert ids(tenant.get().json()) == ids(before)
    assert tenant.send("DELETE", "/entityTypes/Place").json()["errorMessage"].startswith("VALIDATION_ERROR")
    assert problem(tenant.put(tenants.document(), date(before))) == (412, 412)
    assert len(tenant.get("/_history").json()) == 4


def test_parts_of_a_type(tenant: Tenant) -> None:
    """Attributes, match groups, survivorship groups with their statuses, and what is replaced as a whole."""
    tenant.saved()
    size = tenants.attribute(f"{STORE}/attributes/Size")
    assert tenant.send("POST", "/entityTypes/Store/attributes", size).status_code == 201
    assert tenant.send("PUT", "/entityTypes/Store/attributes/Size", size | {"label": "S"}).json()["label"] == "S"
    assert tenant.send("DELETE", "/entityTypes/Store/attributes/Size").status_code == 204
    answer = tenant.send("PUT", "/entityTypes/Place/attributes", [])
    assert (answer.status_code, answer.headers["hivewire-warnings"]) == (200, "2")  # what refers to its attribute
    assert tenant.send("PUT", "/entityTypes/Place/attributes", [size]).status_code == 200
    assert tenant.send("PUT", "/entityTypes/Place/attributes", [{"uri": f"{PLACE}/attributes/X"}]).status_code == 400
    group = {"uri": f"{STORE}/survivorshipGroups/third", "mapping": []}
    path = "/entityTypes/Store/survivorshipGroups/third"
    assert tenant.send("POST", path, group).status_code == 201
    assert tenant.send("PUT", path, group | {"label": "3"}).status_code == 202
    answer = tenant.send("DELETE", path)
    assert (answer.status_code, answer.json()) == (200, {"successful": True})
    path = "/entityTypes/Store/surrogateCrosswalks"
    assert tenant.send("PUT", path, []).json() == []
    assert tenant.send("DELETE", path).status_code == 204
    assert problem(tenant.get(path)) == (400, 400)
    for body in (b"", b"1,", b'[],"a":1', b"[}"):
        assert problem(tenant.send("PUT", "/entityTypes/Store/attributes", body))[0] == 400


def test_sources(tenant: Tenant) -> None:
    """Added, dated and removed; not while something refers to one."""
    tenant.saved()
    new = {"uri": "configuration/sources/New", "label": "New"}
    answer = tenant.send("POST", "/sources", new)
    assert (answer.status_code, without_server_members(answer.json())) == (201, new)
    answer = tenant.send("PUT", "/sources/New/sourcePublishDate", {"sourcePublishDate": 7})
    assert (answer.status_code, answer.json()) == (200, {"sourcePublishDate": 7})
    assert problem(tenant.send("DELETE", "/sources/New?option=all")) == (400, 400)
    assert problem(tenant.send("DELETE", "/sources/CRM?option=purgeAttributes")) == (400, 313)
    answer = tenant.send("DELETE", "/sources/New?option=purgeAllData")
    assert (answer.status_code, answer.json()["uri"]) == (200, "configuration/sources/New")
    task = answer.json()["backgroundTask"]
    assert (task["type"], task["status"]) == ("purgeAllData", "COMPLETED")
    assert task["id"].isdecimal()


# Following.


def test_saves_are_pushed(place: Place) -> None:
    """The push names the changed elements and never has the document; a resume pushes the same."""
    tenant = place.tenant()
    tenant.saved()
    reader = place.client(tenant.name, "READ")
    with place.gateway.socket(reader.token) as talk:
        reply = talk("configuration/subscribe", tenant=tenant.name)
        assert (reply["status"], reply["mode"]) == ("success", "snapshot")
        snapshot = talk.receive()
        assert snapshot["action"] == "tenant/snapshot"
        (shown,) = snapshot["tenants"]
        assert set(shown) == {"tenant", "updatedTime", "revision"}
        new = tenants.attribute(f"{SHOP}/attributes/New")
        edits = {"entityTypes[2].attributes": [new], "entityTypes[2].label": "s", "label": "L"}
        saved = tenant.saved(tenants.document(**edits))
        push = talk.receive()
        assert list(push) == [
            "action",
            "subscriptionId",
            "position",
            "revision",
            "modified",
            "modifiedBy",
            "tenant",
            "updatedTime",
            "added",
            "removed",
            "modifiedUris",
            "truncated",
            "warnings",
        ]
        assert push["warnings"] == 0
        assert (push["action"], push["tenant"], push["truncated"]) == ("tenant/update", tenant.name, False)
        assert (push["updatedTime"], push["modifiedBy"]) == (saved["updatedTime"], saved["updatedBy"])
        assert push["added"] == [new["uri"]]
        assert push["removed"] == [f"{SHOP}/attributes/City"]
        assert push["modifiedUris"] == ["configuration", SHOP]
        assert talk("subscription/list")["subscriptions"] == [
            {"subscriptionId": 1, "type": "tenant", "names": [tenant.name]}
        ]
        assert talk("configuration/unsubscribe", subscriptionId=1)["status"] == "success"
        position = snapshot["position"]
        reply = talk("configuration/subscribe", tenant=tenant.name, since=position)
        assert reply["mode"] == "resumed"
        assert talk.receive() == push | {"subscriptionId": 2}
        assert talk.receive()["live"] is True
        place.admin.delete(f"/tenant/{tenant.name}")
        assert talk.receive()["updatedTime"] is None


def test_following_needs_read(place: Place) -> None:
    """READ in that tenant, and it gives access to nothing else."""
    tenant, other = place.tenant("READ"), place.tenant("CREATE")
    with place.gateway.socket(tenant.token) as talk:
        assert talk("configuration/subscribe", tenant=tenant.name, snapshot=False)["mode"] == "live"
        assert talk("configuration/subscribe", tenant=other.name)["code"] == 403
        assert talk("configuration/subscribe", tenant="nobody")["code"] == 404
        assert talk("configuration/subscribe", tenant=tenant.name, names=["a"])["code"] == 400
        assert talk("configuration/subscribe")["code"] == 403
        assert talk("configuration/subscribe", names=["a"])["code"] == 403
        assert talk("configuration/get", name="a")["code"] == 403
    with place.gateway.socket(other.token) as talk:
        assert talk("configuration/subscribe", tenant=other.name)["code"] == 403
    with place.gateway.socket() as talk:
        assert talk("configuration/subscribe", tenant=other.name, snapshot=False)["mode"] == "live"


def test_an_event_stream_of_a_document(place: Place) -> None:
    """For a client with READ; without a tenant it may follow nothing."""
    tenant = place.tenant("UPDATE")
    url, headers = place.gateway.rest_url + "/configuration", {**tenant.http.headers, "Accept": "text/event-stream"}
    assert httpx.get(url, headers=headers).status_code == 403
    assert httpx.get(url, headers=tenant.http.headers).status_code == 403
    with httpx.stream("GET", url, params={"tenant": tenant.name}, headers=headers) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: snapshot"
        saved = tenant.saved()
        events = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        assert next(events)["tenants"] == []
        assert next(events)["updatedTime"] == saved["updatedTime"]


def test_privileges_end_with_their_tenant_on_an_open_socket(place: Place) -> None:
    """A new tenant of the name is another one: a subscription to the old one gets nothing about it."""
    tenant = place.tenant()
    with place.gateway.socket(tenant.token) as talk, place.gateway.socket() as admin:
        for each in (talk, admin):
            assert each("configuration/subscribe", tenant=tenant.name, snapshot=False)["mode"] == "live"
        tenant.saved()
        place.admin.delete(f"/tenant/{tenant.name}")
        assert [talk.receive()["updatedTime"] is None for _ in range(2)] == [False, True]
        place.admin.post("/tenant", json={"tenantId": tenant.name})
        again = place.client(tenant.name)
        again.saved()
        assert [admin.receive()["updatedTime"] is None for _ in range(3)] == [False, True, False]
        listed = {"subscriptionId": 1, "type": "tenant", "names": [tenant.name]}
        assert talk("subscription/list")["subscriptions"] == [listed | {"paused": True}]
        assert admin("subscription/list")["subscriptions"] == [listed]
        assert talk("configuration/subscribe", tenant=tenant.name)["code"] == 403
        assert problem(tenant.get()) == (403, 403)


# Settings, and size.


def test_strict_settings(tmp_path: Path) -> None:
    """Faults that are otherwise warnings, and unknown members of types, are refused."""
    flags = ("--document-validation", "strict", "--document-members", "known")
    with RunningGateway(tmp_path / "hivewire.db", *flags) as gateway:
        tenant = Place(gateway).tenant()
        assert problem(tenant.put(tenants.document(**{"entityTypes[0].matchGroups[0].rule": GONE}))) == (400, 373)
        assert problem(tenant.put(tenants.document(**{"entityTypes[0].colour": "red"}))) == (400, 304)
        tenant.saved()


@contextmanager
def begun(tenant: Tenant, method: str, path: str, body: bytes, size: int) -> Iterator[http.client.HTTPConnection]:
    """A connection with a request that announces `size` bytes of body and sends only these."""
    with closing(http.client.HTTPConnection("127.0.0.1", tenant.gateway.port)) as connection:
        connection.putrequest(method, f"/reltio/api/{tenant.name}/configuration{path}")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(size))
        connection.putheader("Authorization", f"Bearer {tenant.token}")
        connection.endheaders(body)
        yield connection


@pytest.mark.parametrize("gone", ["client", "tenant"])
def test_rights_are_those_at_the_end_of_the_body(place: Place, gone: str) -> None:
    """A slow body outlives neither the client's right nor the tenant, even if a new tenant has the name."""
    tenant = place.tenant()
    body = json.dumps(tenants.document()).encode()
    with begun(tenant, "PUT", "", body[:-1], len(body)) as connection:
        if gone == "client":
            assert place.admin.delete(f"/client/{tenant.client}").status_code == 204
        else:
            assert place.admin.delete(f"/tenant/{tenant.name}").status_code == 204
            assert place.admin.post("/tenant", json={"tenantId": tenant.name}).status_code == 201
        connection.send(body[-1:])
        answer = connection.getresponse()
        assert answer.status == {"client": 401, "tenant": 403}[gone], answer.read()
    other = (
        place.client(tenant.name) if gone == "tenant" else Tenant(tenant.gateway, tenant.name, place.gateway.token())
    )
    assert other.get().status_code == 404


@pytest.mark.parametrize("padding", [0, 100_000])
def test_an_edit_cannot_nest_too_deep(tenant: Tenant, padding: int) -> None:
    """A part that fits alone, but not at its place in the document, is refused, in small and large documents."""
    saved = tenant.saved(tenants.document(label="x" * padding))
    nested = b'{"a":' * 62 + b"1" + b"}" * 62
    answer = tenant.send("PUT", "/entityTypes/Store/cleanseConfig", nested)
    assert problem(answer) == (400, 305)
    assert tenant.get().json() == saved
    assert tenant.get("/entityTypes/Store").status_code == 200


def test_a_document_counts_as_it_is_stored(tenant: Tenant) -> None:
    """The ids count: a document over the limit with ids is too large, and a stored one can always be sent back."""
    document = tenants.document()
    sources = [{"uri": f"configuration/sources/S{number}", "label": "s"} for number in range(75_000)]
    document["sources"] += sources
    body = json.dumps(document, separators=(",", ":")).encode()
    assert len(body) < LIMIT
    refused = tenant.send("PUT", "", body)
    assert problem(refused)[0] == 413
    assert "with ids" in refused.json()["errorMessage"]
    assert tenant.get().status_code == 404


@pytest.mark.parametrize("unit", [b"-0", b"1e2", b"{}", b'{"":0}', b"[]", b'"abc"'])
def test_a_malicious_element_delays_nobody(tenant: Tenant, unit: bytes) -> None:
    """A worker processes two megabytes in one element: others are answered first, whatever it contains."""
    hurting = b",".join([unit] * (2_000_000 // (len(unit) + 1)))
    source = b'{"uri":"configuration/sources/CRM","label":"CRM","more":[%b]}' % hurting
    body = (
        json.dumps(tenants.document()).encode().replace(b'{"uri": "configuration/sources/CRM", "label": "CRM"}', source)
    )
    assert len(body) > 1_900_000
    answers: list[httpx.Response] = []
    work = threading.Thread(target=lambda: answers.append(tenant.send("POST", "/_validation", body)))
    with tenant.gateway.socket(tenant.token) as talk:
        work.start()
        for _ in range(3):
            talk("server/info")
            assert not answers
        work.join()
    assert answers[0].status_code == 200, answers[0].text


def test_a_killed_worker_fails_only_its_own_request(tenant: Tenant) -> None:
    """Its request gets 503, as on a machine that runs out of memory; the next worker repeats it."""
    document = tenants.document() | {"description": "x" * 2_000_000}
    answers: list[httpx.Response] = []
    work = threading.Thread(target=lambda: answers.append(tenant.put(document)))
    work.start()
    gateway = Path(f"/proc/{tenant.gateway.process.pid}/task")
    while not answers:
        for task in gateway.iterdir():
            for pid in (task / "children").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)
    work.join()
    assert problem(answers[0])[0] == 503
    assert tenant.put(document).status_code == 200


def test_validations_of_a_tenant_read_one_body_at_a_time(place: Place) -> None:
    """A validation waits until the previous body is complete, so slow bodies cannot use up the budget."""
    tenant = place.tenant()
    reader, body = place.client(tenant.name, "READ"), json.dumps(tenants.document()).encode()
    with (
        begun(reader, "POST", "/_validation", body[:-1], len(body)) as first,
        begun(reader, "POST", "/_validation", body, len(body)) as second,
    ):
        for _ in range(3):
            assert place.tenant().send("POST", "/_validation", body).status_code == 200
        assert not select.select([first.sock, second.sock], [], [], 0)[0]
        tenant.saved()
        first.send(body[-1:])
        for connection in (first, second):
            assert connection.getresponse().status == 200


@pytest.mark.parametrize("body", [b"", b"{", b'{"uri":}', b"[1", b"\xff"])
def test_a_malformed_part_is_a_bad_request(tenant: Tenant, body: bytes) -> None:
    """A malformed part gets 400 with BAD_REQUEST first in the message (section 2.2)."""
    tenant.saved()
    answer = tenant.send("PUT", "/entityTypes/Store", body)
    assert problem(answer) == (400, 400)
    assert answer.json()["errorMessage"].startswith("BAD_REQUEST: ")


@pytest.mark.parametrize(("method", "path", "status"), [("PATCH", "", 405), ("GET", "/../nothing", 404)])
def test_errors_for_missing_things_have_the_form_of_the_dialect(
    tenant: Tenant, method: str, path: str, status: int
) -> None:
    """Unknown methods and unknown paths get the error document of the dialect (section 7.2)."""
    answer = tenant.send(method, path)
    assert (answer.status_code, problem(answer)[0]) == (status, status)


def test_pages_of_other_origins_are_not_let_in(tenant: Tenant) -> None:
    """No answer of this dialect has CORS headers (section 13, row 21), refusals before a route neither."""
    headers = {"Origin": "https://elsewhere.example", "X-Long": "x" * 5_000, "Authorization": f"Bearer {tenant.token}"}
    for path in (
        f"/reltio/api/{tenant.name}/configuration",
        "/reltio/status",
        "/oauth/token",
        "/reltio/" + "x" * 61_000,
    ):
        answer = httpx.get(tenant.gateway.url + path, headers=headers)
        assert answer.status_code in (200, 404, 405, 431), answer.text
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_real_document(tenant: Tenant) -> None:
    """1.7 MB, 1,800 attributes: back as it was sent, member for member, ids kept, lists of differences end at 1,000."""
    document = realistic()
    every = [pair for each in document["entityTypes"] + document["relationTypes"] for pair in attributes_of(each)]
    assert (len(document["entityTypes"]), len(document["relationTypes"])) == (20, 60)
    assert (len(every), max(depth for _, depth in every)) == (1_800, 5)
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    assert 1_650_000 < len(body) < 1_750_000
    with tenant.gateway.socket(tenant.token) as talk:
        talk("configuration/subscribe", tenant=tenant.name, snapshot=False)
        assert tenant.send("PUT", "", body).status_code == 200
        push = talk.receive()
        assert (len(push["added"]), push["truncated"]) == (1_000, True)
        saved = tenant.get().json()
        assert json.dumps(without_server_members(saved)) == json.dumps(document)
        assert tenant.send("PUT", "", body).status_code == 200
        assert ids(tenant.get().json()) == ids(saved)
        push = talk.receive()
        assert (push["added"], push["removed"], push["modifiedUris"]) == ([], [], [])
    uris = {attribute["uri"] for attribute, _ in every}
    assert uris <= ids(saved).keys()
    assert len(set(ids(saved).values())) == len(ids(saved))


@settings(max_examples=40, deadline=None)
@given(document=tenants.documents())
def test_any_document_comes_back_as_it_was_sent(shared: Tenant, document: Document) -> None:
    """Whatever was there before: without the server's members it is what was sent, and a second PUT keeps all ids."""
    saved = shared.saved(document)
    assert json.dumps(without_server_members(saved)) == json.dumps(without_server_members(document))
    assert shared.get().json() == saved
    assert ids(shared.saved(document)) == ids(saved)


# Activities.


def test_activities_are_kept_and_read_newest_first(place: Place) -> None:
    """Any object, with author and time; each tenant has its own, and so has a new one of an old name."""
    tenant, other = place.tenant("READ"), place.tenant("READ")
    url = f"{tenant.gateway.url}/reltio/api/{tenant.name}/activities"
    before = [{"label": "Search", "description": f"number {number}", "items": [1.50]} for number in range(3)]
    for activity in before:
        answer = tenant.http.post("/activities", json=activity | {"user": "nobody", "timestamp": 1})
        assert answer.status_code == 200
        assert answer.json().items() >= (activity | {"user": tenant.client}).items()
    found = tenant.http.get("/activities").json()
    assert [{name: each[name] for name in before[0]} for each in found] == before[::-1]
    assert {each["user"] for each in found} == {tenant.client}
    assert len({each["uri"] for each in found}) == 3
    assert found[0]["timestamp"] >= found[2]["timestamp"] > 1_700_000_000_000
    assert tenant.http.get("/activities", params={"max": 1, "offset": 1}).json() == found[1:2]
    assert tenant.http.get("/activities", params={"user": "somebody"}).json() == []
    assert other.http.get("/activities").json() == []
    marked = tenant.http.post("/activities", json={"label": "x"}, headers={"ActivityID": "d7f7-22cd"})
    assert marked.json()["activityID"] == "d7f7-22cd"
    place.admin.delete(f"/tenant/{tenant.name}")
    place.admin.post("/tenant", json={"tenantId": tenant.name})
    assert place.client(tenant.name, "READ").http.get("/activities").json() == []
    assert httpx.get(url).status_code == 401
    assert problem(tenant.http.get("/activities"))[0] == 403


@pytest.mark.parametrize(
    ("body", "status"), [(b"[1]", 400), (b"{", 400), (b'{"a":1,"a":2}', 400), (b'{"a":"%b"}' % (b"x" * 17_000), 413)]
)
def test_an_invalid_activity_is_refused(tenant: Tenant, body: bytes, status: int) -> None:
    """An activity that is not JSON, not an object, or over 16 KiB is refused."""
    answer = tenant.http.post("/activities", content=body, headers={"Content-Type": "application/json"})
    assert problem(answer)[0] == status
    assert tenant.http.get("/activities").json() == []


def test_an_activity_that_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """An activity that was answered is still there after the gateway was killed."""
    with RunningGateway(tmp_path / "hivewire.db") as gateway:
        tenant = Place(gateway).tenant()
        assert tenant.http.post("/activities", json={"label": "x"}).status_code == 200
        gateway.stop(signal.SIGKILL)
    with RunningGateway(tmp_path / "hivewire.db") as gateway, gateway.http() as admin:
        url = f"{gateway.url}/reltio/api/{tenant.name}/activities"
        assert [each["label"] for each in httpx.get(url, headers=admin.headers).json()] == ["x"]
