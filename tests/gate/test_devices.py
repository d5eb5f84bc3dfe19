"""Devices over REST: the order of checks, what clients really send, and lists of any length."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from hivewire.access.users import UserContent
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, insert
from hivewire.ledger.records import Transaction
from hivewire.settings import Settings
from hivewire.store import open_store
from hivewire_protocol.nouns.user import Role
from tests.gate.test_events import stream
from tests.running import PASSWORD, RunningGateway
from tests.world import HASHER


async def _write(data: Path) -> None:
    """A file with two networks and a device type; an administrator, and Ann, who is a member of network 1."""
    async with AsyncExitStack() as stack:
        store = await open_store(Settings(data=str(data)), stack)
        secret = HASHER.hash(PASSWORD)
        for login, role in (("admin", Role.ADMIN), ("ann", Role.CLIENT)):
            content = UserContent(secret, role, networks=[1])
            await store.ledger.commit(store.users.write(login, content, None))
        for kind, name in ((NETWORK, "home"), (NETWORK, "office"), (DEVICE_TYPE, "any")):
            await store.ledger.commit(Transaction(insert(kind, GroupingContent(name))))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway over such a file, for all tests of this module."""
    data = tmp_path_factory.mktemp("house") / "hivewire.db"
    asyncio.run(_write(data))
    with RunningGateway(data) as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")


@pytest.fixture
def admin(house: RunningGateway) -> Iterator[httpx.Client]:
    """The administrator over HTTP."""
    with house.http() as client:
        yield client


def token(house: RunningGateway, **payload: Any) -> str:
    """An access token that the administrator makes."""
    with house.http() as admin:
        return str(admin.post("/token/create", json=payload).json()["accessToken"])


def message(answer: httpx.Response) -> tuple[int, str]:
    """Status and text of an error."""
    assert answer.json()["error"] == answer.status_code
    return answer.status_code, answer.json()["message"]


def test_a_device_over_http_from_its_first_save_to_its_end(admin: httpx.Client) -> None:
    """204 without a body for writes; the bare device, a bare array and `count` for reads; then 404."""
    saved = admin.put("/device/lamp", json={"name": "Lamp", "id": "other", "data": {"k": 1}})
    assert (saved.status_code, saved.content) == (204, b"")
    lamp = {"id": "lamp", "name": "Lamp", "data": {"k": 1}, "networkId": 1, "deviceTypeId": 1, "isBlocked": False}
    assert admin.get("/device/lamp").json() == lamp
    assert admin.get("/device", params={"name": "Lamp", "namePattern": "", "take": "", "x": "y"}).json() == [lamp]
    assert admin.get("/device/count", params={"namePattern": "La%"}).json() == {"count": 1}
    deleted = admin.request("DELETE", "/device/lamp", json={})
    assert (deleted.status_code, deleted.content) == (204, b"")
    missing = (404, "Device with such deviceId = lamp not found")
    assert message(admin.get("/device/lamp")) == missing
    assert message(admin.delete("/device/lamp")) == missing
    assert admin.get("/device", params={"name": "Lamp"}).json() == []


def test_a_body_needs_no_content_type(admin: httpx.Client) -> None:
    """The Python client sends none."""
    request = admin.build_request("PUT", "/device/untyped", content=b'{"name":"x","data":null,"networkId":null}')
    assert "content-type" not in request.headers
    assert admin.send(request).status_code == 204


@pytest.mark.parametrize("body", [b"", b" ", b"null"])
def test_a_save_without_a_body_is_refused_after_its_id(admin: httpx.Client, body: bytes) -> None:
    """The characters of the id come first, then the body."""
    assert message(admin.put("/device/a_b", content=body)) == (
        400,
        "Device Id can only contain letters, digits and dashes.",
    )
    assert message(admin.put("/device/lamp", content=body)) == (400, "Error! Validation failed: \nObject is null")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"x"', b'{"name":{}}', b'{"name":"x","networkId":"y"}', b'{"name":"x","deviceTypeId":[]}']
)
def test_a_save_with_a_bad_body_is_refused(admin: httpx.Client, body: bytes) -> None:
    """400 with the words of the reference, and then what is wrong."""
    status, text = message(admin.put("/device/bad", content=body))
    assert status == 400
    assert text.startswith("Invalid request parameters")


def test_data_must_be_an_object_in_utf_8(admin: httpx.Client) -> None:
    """What is kept as it was sent is JSON for everybody who gets it."""
    for data in (b"[]", b'"{}"', b"1", b"true", b'{"a":"\xff"}'):
        refused = admin.put("/device/bad", content=b'{"name":"x","data":' + data + b"}")
        assert refused.status_code == 400, data
    assert admin.get("/device/bad").status_code == 404


def test_an_id_in_a_path_is_decoded(admin: httpx.Client) -> None:
    """Reads and deletes look for any characters; a save refuses them."""
    admin.put("/device/l%61mp-2", json={"name": "x"})
    assert admin.get("/device/lamp%2D2").json()["id"] == "lamp-2"
    for path in ("/device/a%20b", "/device/%C3%A4", "/device/a%2Fb"):
        assert admin.get(path).status_code == admin.delete(path).status_code == 404
        assert message(admin.put(path, json={"name": "x"}))[1] == (
            "Device Id can only contain letters, digits and dashes."
        )


def test_another_method_is_not_allowed(admin: httpx.Client) -> None:
    """405 with the usual body."""
    for method, path in (("POST", "/device/lamp"), ("PATCH", "/device"), ("DELETE", "/device")):
        assert message(admin.request(method, path)) == (405, "HTTP 405 Method Not Allowed")


def test_rights_come_before_everything_else(house: RunningGateway) -> None:
    """401 and 403 precede the id and the body."""
    with house.http("") as nobody:
        assert message(nobody.put("/device/a_b", content=b"{"))[0] == 401
    with house.http(token(house, userId=1, actions=["GetDevice"])) as reader:
        assert message(reader.put("/device/a_b", content=b"{"))[0] == 403
        assert message(reader.get("/device/unknown"))[0] == 403  # its token has no networks


OF_DEVICE = (
    ("POST", "/command", b""),
    ("POST", "/command", b"null"),
    ("POST", "/command", b"{"),
    ("POST", "/command", b'{"lifetime":"x"}'),
    ("POST", "/notification", b""),
    ("POST", "/notification", b"{"),
    ("POST", "/notification", b"{}"),
    ("PUT", "/command/1", b"{"),
    ("PUT", "/command/x", b"{"),
    ("GET", "/command/x", b""),
    ("GET", "/command/x/poll", b""),
    ("GET", "/command?take=x", b""),
    ("GET", "/notification?start=x&skip=x", b""),
    ("GET", "/notification/x", b""),
    ("GET", "/command/poll?waitTimeout=x", b""),
    ("GET", "/notification/poll?waitTimeout=61", b""),
    ("GET", "/notification/poll?waitTimeout=x", b""),
)
"""Requests that have something wrong with them, beside a device that may be out of reach."""


def test_reach_comes_before_the_query_and_the_body(house: RunningGateway) -> None:
    """403 for a device out of reach, whatever else is wrong. One that does not exist is 404 before that, unless
    an insert has no object at all."""
    with house.http(token(house, userId=1, networkIds=["2"], actions=["*"])) as narrow:
        for method, path, body in OF_DEVICE:
            assert message(narrow.request(method, f"/device/other{path}", content=body))[0] == 403, (method, path)
    with house.http() as admin:
        for method, path, body in OF_DEVICE:
            if method != "POST" or body not in (b"", b"null"):
                assert message(admin.request(method, f"/device/none{path}", content=body))[0] == 404, (method, path)


def test_a_client_is_denied_to_poll_a_device_that_does_not_exist(house: RunningGateway) -> None:
    """With a token for everything: other requests are told that there is none (addendum, section 4)."""
    paths = {"": 404, "/command": 404, "/command/1": 404, "/notification/1": 404}
    paths |= dict.fromkeys(("/command/poll", "/command/1/poll", "/command/x/poll", "/notification/poll"), 403)
    with house.http(token(house, userId=2, actions=["*"], networkIds=["*"], deviceTypeIds=["*"])) as client:
        for path, status in paths.items():
            assert message(client.get(f"/device/none{path}"))[0] == status, path
    with house.http() as admin:
        for path in paths:
            assert message(admin.get(f"/device/none{path}"))[0] == 404, path


def test_inserts_without_an_object_or_with_a_bad_time_are_refused(admin: httpx.Client) -> None:
    """Also for a device that does not exist: the object comes first."""
    assert admin.put("/device/timed", json={"name": "Timed"}).status_code == 204
    for kind in ("command", "notification"):
        for device in ("timed", "none"):
            refused = message(admin.post(f"/device/{device}/{kind}", content=b"null"))
            assert refused == (400, "Error! Validation failed: Object is null")
        refused = message(admin.post(f"/device/timed/{kind}", json={kind: "x", "timestamp": "soon"}))
        assert refused == (400, "Invalid request parameters")
        assert message(admin.get(f"/device/timed/{kind}?start=soon")) == (400, "Unparseable timestamp")


def test_messages_without_a_number_in_the_path_do_not_exist(admin: httpx.Client) -> None:
    """404 with the text of an unknown one, before the query and the body."""
    assert admin.put("/device/numbers", json={"name": "Numbers"}).status_code == 204
    for method, path in (("GET", "x"), ("PUT", "x"), ("GET", "1x/poll?waitTimeout=x"), ("GET", "-1?x")):
        number = path.partition("/")[0].partition("?")[0]
        refused = message(admin.request(method, f"/device/numbers/command/{path}", content=b"{"))
        assert refused == (404, f"Command with id = {number} not found")
    assert message(admin.get("/device/numbers/notification/x")) == (404, "Requested notification not found")


@pytest.mark.parametrize("asked", ["sortField=status", "sortOrder=up", "take=-1", "skip=-1", "sortField=id"])
def test_a_list_refuses_a_bad_order_or_page(admin: httpx.Client, asked: str) -> None:
    """400 for everything that the reference does not answer."""
    assert admin.get("/device?" + asked).status_code == 400


def test_a_list_of_any_length_is_sent(house: RunningGateway) -> None:
    """It is sent piece by piece where an answer of one piece would be too large; over a socket that is refused. A
    client gets its own devices only."""
    data = {"text": "x" * 10_000}
    of_ann = token(house, userId=2, actions=["GetDevice"], networkIds=["*"])
    with house.http() as admin, house.http(of_ann) as ann, house.socket() as socket:
        for number in range(150):
            device = {"name": "long", "data": data, "networkId": 1 + number % 2}
            assert admin.put(f"/device/long-{number}", json=device).status_code == 204
        answer = admin.get("/device", params={"name": "long"})
        assert "content-length" not in answer.headers
        assert answer.headers["content-type"] == "application/json"
        assert [device["id"] for device in answer.json()] == [f"long-{number}" for number in range(150)]
        assert all(device["data"] == data for device in answer.json())
        assert {device["networkId"] for device in ann.get("/device", params={"name": "long"}).json()} == {1}
        short = admin.get("/device", params={"name": "long", "take": 3, "skip": 148})
        assert len(short.json()) == 2
        assert int(short.headers["content-length"]) == len(short.content)
        refused: Any = socket("device/list", name="long", take=150)
        assert (refused["code"], refused["status"]) == (413, "error")
        assert len(socket("device/list", name="long")["devices"]) == 20


def test_a_long_list_of_messages_is_read_while_it_is_sent(house: RunningGateway) -> None:
    """Over HTTP as any other list, in its order; over a socket it is refused as too long."""
    with house.http() as admin, house.socket() as socket:
        assert admin.put("/device/chatty", json={"name": "chatty", "networkId": 1}).is_success
        said = {"text": "x" * 8_000}
        insert = partial(socket, "command/insert", deviceId="chatty")
        sent = [insert(command={"command": f"c{number}", "parameters": said}) for number in range(150)]
        answer = admin.get("/device/chatty/command", params={"take": 150, "sortOrder": "asc"})
        assert "content-length" not in answer.headers
        assert answer.headers["content-type"] == "application/json"
        assert [each["id"] for each in answer.json()] == [each["command"]["id"] for each in sent]
        assert all(each["parameters"] == said for each in answer.json())
        refused: Any = socket("command/list", deviceId="chatty", take=150)
        assert (refused["code"], refused["status"]) == (413, "error")
        short = admin.get("/device/chatty/command", params={"take": 3})
        assert len(short.json()) == 3
        assert int(short.headers["content-length"]) == len(short.content)


def test_devices_are_followed_as_an_event_stream(house: RunningGateway, admin: httpx.Client) -> None:
    """Of some networks, from the last event that a client has; one that is moved away is a delete."""
    admin.put("/device/stream-1", json={"name": "s", "networkId": 1, "deviceTypeId": 1})
    query: dict[str, Any] = {"networkIds": [1, 3], "deviceId": "stream-1", "presence": "true"}
    with stream(house, path="/device", **query) as events:
        snapshot = events.next()
        assert (snapshot["event"], snapshot["data"]["position"]) == ("snapshot", snapshot["id"])
        [device] = snapshot["data"]["devices"]
        assert (device["id"], device["online"]) == ("stream-1", False)
        admin.put("/device/stream-1", json={"networkId": 2})
        change = events.next()
        assert (change["event"], change["data"]["operation"]) == ("change", "delete")
    with stream(house, path="/device", last=snapshot["id"], networkIds=1) as events:
        assert [events.next()["event"], events.next()] == ["bookmark", change]
    for path in ("/network", "/devicetype"):
        with stream(house, path=path) as events:
            assert events.next()["event"] == "snapshot"
