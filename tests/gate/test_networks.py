"""Networks and device types over a real port: HTTP's statuses and order of refusals, and the members of both faces."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from hivewire.access.users import UserContent
from hivewire.devices import registry
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import DeviceContent
from hivewire.ledger.records import Transaction, Write
from hivewire.settings import Settings
from hivewire.store import open_store
from hivewire_protocol.nouns.user import Role
from tests.running import PASSWORD, RunningGateway, Talk
from tests.world import HASHER

NULL_BODY = {"error": 400, "message": "Error! Validation failed: Object is null"}


class Word(NamedTuple):
    """How a noun is spelt: its path, its members, its texts, and the claim of a token that limits it."""

    path: str
    one: str
    many: str
    title: str
    limited: dict[str, Any]


NETWORK = Word("/network", "network", "networks", "Network", {"networkIds": ["999"]})
DEVICE_TYPE = Word("/devicetype", "deviceType", "deviceTypes", "Device type", {"deviceTypeIds": ["999"]})


@pytest.fixture(params=[NETWORK, DEVICE_TYPE], ids=["network", "device type"])
def word(request: pytest.FixtureRequest) -> Word:
    found: Word = request.param
    return found


def test_both_faces_have_the_same_answers(shared_gateway: RunningGateway, talk: Talk, word: Word) -> None:
    """What HTTP shows as the whole body is the member of the socket's answer; writes over HTTP are 201 and 204."""
    action = word.path[1:]
    named = {"name": "faces.a", "description": None}
    with shared_gateway.http() as client:
        made = client.post(word.path, json=named | {"id": "ignored"})
        assert (made.status_code, list(made.json())) == (201, ["id"])
        number = made.json()["id"]
        answer = talk(f"{action}/insert", **{word.one: {"name": "faces.b"}})
        assert answer == {
            "action": f"{action}/insert", "requestId": 1, "status": "success", word.one: {"id": number + 1},
        }  # fmt: skip
        full = {"devices": [], "id": number, **named}
        assert client.get(f"{word.path}/{number}").json() == full
        assert talk(f"{action}/get", **{f"{word.one}Id": str(number)})[word.one] == full
        query = {"namePattern": "faces._", "sortField": "Name", "sortOrder": "desc", "unknown": "1"}
        listed = client.get(word.path, params=query).json()
        assert [list(each) for each in listed] == [["id", "name", "description"]] * 2
        assert [each["name"] for each in listed] == ["faces.b", "faces.a"]
        assert talk(f"{action}/list", **query)[word.many] == listed
        assert client.get(f"{word.path}/count", params=query).json() == {"count": 2}
        assert talk(f"{action}/count", **query)["count"] == 2
        changed = client.put(f"{word.path}/{number}", content=b'{"description":"d"}')
        assert (changed.status_code, changed.content) == (204, b"")
        assert client.get(f"{word.path}/{number}").json()["description"] == "d"
        assert client.get(word.path, params={"name": "", "namePattern": "", "take": "", "skip": ""}).status_code == 200
        gone = client.request("DELETE", f"{word.path}/{number}?force=True", content=b"{}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert talk(f"{action}/delete", **{f"{word.one}Id": number + 1})["status"] == "success"
        for bad in ("take=-1", "skip=-1"):
            refused = client.get(f"{word.path}?{bad}")
            assert refused.json() == {"error": 400, "message": "must be greater than or equal to 0"}


def test_bodies_of_memberships_are_ignored(shared_gateway: RunningGateway, talk: Talk) -> None:
    """Whatever they are: a client may send one with a DELETE too."""
    fields = {"login": "bodies", "password": "password", "role": 1, "allDeviceTypesAvailable": False}
    user = talk("user/insert", user=fields)["user"]["id"]
    network = talk("network/insert", network={"name": "bodies"})["network"]["id"]
    device_type = talk("devicetype/insert", deviceType={"name": "bodies"})["deviceType"]["id"]
    with shared_gateway.http() as client:
        for path in (f"network/{network}", f"devicetype/{device_type}", "devicetype/all"):
            for method in ("PUT", "DELETE"):
                for body in (b"", b"{}", b"{", b"[1]"):
                    answer = client.request(method, f"/user/{user}/{path}", content=body)
                    assert (answer.status_code, answer.content) == (204, b""), (method, path, body)


def test_a_number_of_any_length_is_no_user(shared_gateway: RunningGateway) -> None:
    """The error of a write repeats its beginning. A path whose id is no number of 64 bits does not exist."""
    with shared_gateway.http() as client:
        refused = client.put(f"/user/{'9' * 5_000}")
        assert (refused.status_code, refused.json()["message"]) == (404, f"User with id = {'9' * 20} not found")
        for path in ("/user/x", f"/user/{'9' * 30}", f"/user/1/network/{'9' * 30}", "/rollout/x"):
            refused = client.get(path)
            assert (refused.status_code, refused.json()["message"]) == (404, "HTTP 404 Not Found"), path


def test_what_a_path_names_is_looked_for_before_the_body(
    shared_gateway: RunningGateway, talk: Talk, word: Word
) -> None:
    """401, then 403 for the action and for the scope, then 404 for what is not there or no number, then the body."""
    jane = talk("user/insert", user={
        "login": f"order.{word.one}", "password": "password", "role": 1, "allDeviceTypesAvailable": False,
    })["user"]["id"]  # fmt: skip
    narrow = talk("token/create", payload={"userId": jane, "actions": ["*"], **word.limited})["accessToken"]
    nothing = talk("token/create", payload={"userId": jane, "actions": [2]})["accessToken"]
    missing = {"error": 404, "message": f"{word.title} with id = 999 not found"}
    for body in (b"", b"{", b"{}"):
        for method in ("PUT", "DELETE"):
            for path, token, status, message in (
                ("999", "", 401, "Unauthorized"),
                ("1", narrow, 403, "Access is denied"),
                ("998", narrow, 403, "Access is denied"),
                ("999", narrow, 404, missing["message"]),
                ("9" * 30, narrow, 404, "HTTP 404 Not Found"),
                ("x", narrow, 404, "HTTP 404 Not Found"),
                ("%31%3f", narrow, 404, "HTTP 404 Not Found"),
            ):
                with shared_gateway.http(token) as client:
                    refused = client.request(method, f"{word.path}/{path}", content=body)
                assert (refused.status_code, refused.json()["message"]) == (status, message), (method, path)
            with shared_gateway.http(nothing) as client:
                assert client.request(method, f"{word.path}/999", content=body).status_code == 403
    with shared_gateway.http() as client:
        for path in ("x", "9" * 30):
            refused = client.get(f"{word.path}/{path}")
            assert (refused.status_code, refused.json()["message"]) == (404, "HTTP 404 Not Found")
        number = client.post(word.path, json={"name": f"order.{word.one}"}).json()["id"]
        assert client.put(f"{word.path}/{number}").json() == NULL_BODY
        assert client.put(f"{word.path}/{number}", content=b"[]").status_code == 400
        assert client.put(f"{word.path}/{number}", json={}).status_code == 204
        assert client.post(word.path).json() == NULL_BODY
        assert client.get(f"{word.path}/999").json() == missing
        assert client.post(f"{word.path}/{number}").status_code == 405
        taken = client.post(word.path, json={"name": f"order.{word.one}"})
        assert (taken.status_code, taken.json()["error"]) == (403, 403)
        assert client.delete(f"{word.path}/{number}").status_code == 204


async def fill_lists(data: Path, number: int) -> None:
    """A file with an administrator, and so many networks and device types with long names. All networks are its own."""
    async with AsyncExitStack() as stack:
        store = await open_store(Settings(data=str(data)), stack)
        content = UserContent(HASHER.hash(PASSWORD), Role.ADMIN, networks=[*range(1, number + 1)])
        named = [registry.GroupingContent(f"{each:0128}", "d" * 128) for each in range(1, number + 1)]
        writes = [registry.insert(kind, each) for kind in (registry.NETWORK, registry.DEVICE_TYPE) for each in named]
        await store.ledger.commit(store.users.write("admin", content, None))
        await asyncio.gather(*[store.ledger.commit(Transaction(each)) for each in writes])


def test_a_list_over_http_has_no_limit(data: Path) -> None:
    """A list of more than a mebibyte comes whole, also that in a user, where a socket would say `ask for less`."""
    asyncio.run(fill_lists(data, 4_000))
    with RunningGateway(data) as gateway, gateway.socket() as talk, gateway.http() as client:
        answers = {path: client.get(path) for path in ("/network", "/user/1/devicetype", "/user/1", "/user/current")}
        for path, answer in answers.items():
            assert (answer.headers["content-type"], len(answer.content) > 1 << 20) == ("application/json", True)
            full = answer.json()
            found = full if isinstance(full, list) else full["networks"]
            assert [int(each["name"]) for each in found] == [*range(1, 4_001)], path
        assert list(answers["/user/1"].json()) == USER_MEMBERS
        reverse = client.get("/network", params={"sortField": "name", "sortOrder": "desc"}).json()
        assert reverse == answers["/network"].json()[::-1]
        for action, members in (
            ("network/list", {"take": 5_000}),
            ("user/getDeviceTypes", {"userId": 1}),
            ("user/getCurrent", {}),
        ):
            refused = talk(action, **members)
            assert (refused["code"], refused["error"]) == (413, "ask for less")


USER_MEMBERS = [
    "networks",
    "id",
    "login",
    "role",
    "status",
    "lastLogin",
    "data",
    "introReviewed",
    "allDeviceTypesAvailable",
]


def test_one_with_many_devices_comes_whole_over_http(data: Path) -> None:
    """Networks and types show more than a mebibyte of devices over HTTP, in order of creation; a socket says `ask for
    less`."""
    with RunningGateway(data) as gateway, gateway.socket() as talk, gateway.http() as client:
        fields = {"name": "n", "data": {"text": "d" * 6_000}}
        for number in range(200):
            request = {"action": "device/save", "deviceId": f"many-{number}", "device": fields}
            talk.connection.send(json.dumps(request), text=True)
        for _ in range(200):
            assert talk.receive()["status"] == "success"
        for path, action, member in (
            ("/network/1", "network/get", "networkId"),
            ("/devicetype/1", "devicetype/get", "deviceTypeId"),
        ):
            answer = client.get(path)
            assert len(answer.content) > 1 << 20
            full = answer.json()
            assert [each["id"] for each in full["devices"][1:]] == [f"many-{number}" for number in range(200)]
            assert full["devices"][-1] == {"id": "many-199", **fields, "isBlocked": False}
            assert list(full) == ["devices", "id", "name", "description"]
            assert full["id"] == 1
            assert talk(action, **{member: 1})["code"] == 413


def test_a_new_data_file_has_what_clients_expect(data: Path) -> None:
    """Network 1 with its member, device types and the sample device, which a device without a network joins; what is
    deleted is gone after a restart too."""
    with RunningGateway(data) as gateway, gateway.http() as client:
        sample = {"id": "e50d6085-2aba-48e9-b1c3-73c673e414be", "name": "Sample Device"}
        network = client.get("/network/1").json()
        assert network["devices"] == [{**sample, "data": None, "isBlocked": False}]
        assert (network["id"], network["name"]) == (1, "Sample Network")
        types = client.get("/devicetype").json()
        assert [each["id"] for each in types] == [*range(1, 9)]
        assert client.put("/device/mine", json={"name": "Mine"}).status_code == 204
        assert client.get("/device/mine").json()["networkId"] == 1
        assert client.delete("/network/1").status_code == 400
        assert client.delete("/network/1?force=true").status_code == 204
        assert client.get("/device").json() == []
        for each in types:
            assert client.delete(f"/devicetype/{each['id']}?force=true").status_code == 204
    with RunningGateway(data) as gateway, gateway.http() as client:
        assert (client.get("/network").json(), client.get("/devicetype").json()) == ([], [])
        assert client.post("/network", json={"name": "Sample Network"}).json() == {"id": 2}


def devices_kept(gateway: RunningGateway) -> int:
    """The metric of devices, hidden ones included."""
    found = re.search(r"^hivewire_devices (\d+)\.0$", httpx.get(gateway.url + "/metrics").text, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def fill(data: Path, devices: int) -> None:
    """A file with an administrator, a network, a type, and devices in them."""
    async with AsyncExitStack() as stack:
        store = await open_store(Settings(data=str(data)), stack)
        content = UserContent(HASHER.hash(PASSWORD), Role.ADMIN, networks=[1])
        await store.ledger.commit(store.users.write("admin", content, None))
        for kind in (registry.NETWORK, registry.DEVICE_TYPE):
            await store.ledger.commit(Transaction(registry.insert(kind, registry.GroupingContent("first"))))
        device = msgspec.json.encode(DeviceContent(name="n", network=1, type=1))
        for first in range(0, devices, 1_000):
            numbers = range(first, min(first + 1_000, devices))
            await store.ledger.commit(Transaction([Write(DEVICE, f"left-{number}", device) for number in numbers]))


def test_a_network_deleted_by_force_stays_deleted_with_its_devices(data: Path) -> None:
    """Also if the gateway is killed right after the answer: none of them is seen again, and the next start removes what
    is left."""
    asyncio.run(fill(data, 5_000))
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        assert devices_kept(gateway) == 5_000
        assert talk("network/delete", networkId=1, force=True)["status"] == "success"
        assert talk("device/get", deviceId="left-0")["code"] == 404
        gateway.stop(signal.SIGKILL)
    with RunningGateway(data) as gateway, gateway.http() as client:
        assert client.get("/device").json() == []
        assert client.get("/network").json() == []
        while devices_kept(gateway):
            pass
        assert client.get("/device/count").json() == {"count": 0}
