"""The REST dialect: every page, its conditions, and that it tells the same as a socket."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from itertools import count, product
from typing import Any

import httpx
import jwt
import pytest
from websockets.sync.client import connect

from hivewire.dialects.devicehive import ROWS
from hivewire_protocol.tenant.elements import ROOT
from tests.gate.wire import guess
from tests.running import PASSWORD, SECRET, RunningGateway, Talk

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}")
LOGIN = {"login": "admin", "password": PASSWORD}

COMMAND = [
    "id",
    "command",
    "timestamp",
    "lastUpdated",
    "userId",
    "deviceId",
    "networkId",
    "deviceTypeId",
    "parameters",
    "lifetime",
    "status",
    "result",
]
LATER = {"at": "2099-01-01", "changes": [{"operation": "put", "name": "rest.later", "value": "1"}]}
SCHEMA = ["names", "schema", "secret", "entityVersion", "modified", "modifiedBy", "revision"]
NOTIFICATION = ["id", "notification", "deviceId", "networkId", "deviceTypeId", "timestamp", "parameters"]

USER = ["networks", "id", "login", "role", "status", "lastLogin", "data", "introReviewed", "allDeviceTypesAvailable"]

# Method, path, body, status, members of the answer (None: no body; a list: a list), and whether /auth has it too.
ROLLOUT = {
    "layer": "global",
    "changes": [{"operation": "put", "name": "rest.page", "value": "1"}],
    "steps": [{"deviceIds": ["page"]}, {"percent": 100}],
    "gate": {"wait": 1_000},
}
ROLLOUT_MEMBERS = [
    *("rollout", "layer", "state", "step", "steps", "gate", "changes", "salt", "reason", "counts", "since", "at"),
    *("author", "revision"),
]
IN_LAYER = ["name", "value", "entityVersion", "layer"]
LAYER = ["layer", "rank", "target", "revision", "configurations", "devices"]
PAGES: list[tuple[str, str, Any, int, Any, bool]] = [
    ("GET", "/info", None, 200, ["apiVersion", "serverTimestamp", "webSocketServerUrl"], True),
    ("GET", "/info/cache", None, 200, ["serverTimestamp", "cacheStats"], False),
    ("GET", "/info/config/cluster", None, 200, ["bootstrap.servers", "zookeeper.connect"], False),
    ("POST", "/token", LOGIN, 201, ["accessToken", "refreshToken"], True),
    ("POST", "/token/create", {"userId": 1, "actions": ["*"]}, 201, ["accessToken", "refreshToken"], True),
    ("POST", "/token/refresh", {"refreshToken": "?"}, 201, ["accessToken"], True),
    ("POST", "/token/revoke", {"token": "?"}, 204, None, True),
    ("PUT", "/configuration/{name}", {"value": "1"}, 200, ["name", "value", "entityVersion"], True),
    ("GET", "/configuration/{name}", None, 200, ["name", "value", "entityVersion"], True),
    ("GET", "/configuration/{name}/history", None, 200, ["changes"], False),
    ("PUT", "/schema/{names}", {"schema": True}, 200, SCHEMA, False),
    ("GET", "/schema/{names}", None, 200, SCHEMA, False),
    ("GET", "/schema", None, 200, ["schemas", "count", "revision"], False),
    ("GET", "/schema/{names}/history", None, 200, ["changes"], False),
    ("POST", "/schema/check", {"schema": True, "value": "1"}, 200, ["fits", "names", "problems"], False),
    ("DELETE", "/schema/{names}", None, 204, None, False),
    ("POST", "/configuration/transact", LATER, 200, ["schedule", "revision"], False),
    ("GET", "/schedule", None, 200, [], False),
    ("GET", "/schedule/{schedule}", None, 200, ["schedule", "at", "changes", "created", "createdBy"], False),
    ("DELETE", "/schedule/{schedule}", None, 204, None, False),
    ("GET", "/configuration-tree", None, 200, ["children", "count", "revision"], False),
    ("GET", "/configuration-audit", None, 200, ["changes", "before"], False),
    ("POST", "/configuration/{name}/rollback", {"to": 1}, 200, ["configuration", "revision"], False),
    (
        "POST",
        "/configuration/transact",
        {"changes": [{"operation": "put", "name": "rest.transact", "value": "1"}]},
        200,
        ["configurations", "revision"],
        False,
    ),
    ("DELETE", "/configuration/{name}", None, 204, None, True),
    ("GET", "/configuration", None, 200, ["configurations", "count", "revision"], False),
    ("GET", "/user", None, 200, [], False),
    (
        "POST",
        "/user",
        {"login": "?", "password": PASSWORD, "role": 1},
        201,
        ["id", "lastLogin", "data", "introReviewed", "allDeviceTypesAvailable"],
        False,
    ),
    ("GET", "/user/count", None, 200, ["count"], False),
    (
        "GET",
        "/user/current",
        None,
        200,
        USER,
        True,
    ),
    ("PUT", "/user/current", None, 204, None, True),
    ("GET", "/user/{userId}", None, 200, USER, False),
    ("PUT", "/user/{userId}", {"introReviewed": False}, 204, None, False),
    ("DELETE", "/user/{userId}", None, 204, None, False),
    ("GET", "/audit", None, 200, ["rows"], False),
    ("GET", "/tenant", None, 200, [], False),
    ("POST", "/tenant", {"tenantId": "page"}, 201, ["tenantId"], False),
    ("GET", "/client", None, 200, [], False),
    (
        "POST",
        "/client",
        {"clientId": "page", "tenants": {"page": ["READ"]}},
        201,
        ["clientId", "clientSecret", "tenants"],
        False,
    ),
    (
        "PUT",
        "/client/{clientId}",
        {"tenants": {"page": ["UPDATE"]}},
        200,
        ["clientId", "clientSecret", "tenants"],
        False,
    ),
    ("DELETE", "/client/{clientId}", None, 204, None, False),
    ("GET", "/connection", None, 200, [], False),
    ("DELETE", "/connection/{connectionId}", None, 204, None, False),
    ("DELETE", "/tenant/{tenantId}", None, 204, None, False),
    ("GET", "/device", None, 200, [], False),
    ("GET", "/device/count", None, 200, ["count"], False),
    ("PUT", "/device/{deviceId}", {"name": "page"}, 204, None, False),
    (
        "GET",
        "/device/{deviceId}",
        None,
        200,
        ["id", "name", "data", "networkId", "deviceTypeId", "isBlocked"],
        False,
    ),
    (
        "POST",
        "/device/{deviceId}/command",
        {"command": "c"},
        201,
        ["id", "timestamp", "lastUpdated", "userId"],
        False,
    ),
    ("GET", "/device/{deviceId}/command", None, 200, [], False),
    ("PUT", "/device/{deviceId}/command/{commandId}", {"status": "done"}, 204, None, False),
    ("GET", "/device/{deviceId}/command/{commandId}", None, 200, COMMAND, False),
    ("GET", "/device/{deviceId}/command/{commandId}/poll", None, 200, COMMAND, False),
    ("GET", "/device/{deviceId}/command/poll", None, 200, [], False),
    ("GET", "/device/command/poll", None, 200, [], False),
    (
        "POST",
        "/device/{deviceId}/notification",
        {"notification": "n"},
        201,
        ["id", "timestamp"],
        False,
    ),
    ("GET", "/device/{deviceId}/notification", None, 200, [], False),
    ("GET", "/device/{deviceId}/notification/poll", None, 200, [], False),
    ("GET", "/device/notification/poll", None, 200, [], False),
    ("GET", "/device/{deviceId}/notification/{notificationId}", None, 200, NOTIFICATION, False),
    ("GET", "/device/{deviceId}/configuration", None, 200, ["layers", "configurations", "revision"], False),
    ("PUT", "/device/{deviceId}/label", {"labels": {}}, 200, ["labels", "revision"], False),
    ("GET", "/device/{deviceId}/label", None, 200, ["labels", "revision"], False),
    ("POST", "/device/{deviceId}/report", {"report": []}, 204, None, False),
    ("POST", "/device/{deviceId}/revoke", None, 204, None, False),
    ("PUT", "/layer/{layer}", {"target": {}, "rank": 5}, 200, ["layer", "revision", "devices"], False),
    ("GET", "/layer", None, 200, [], False),
    ("GET", "/layer/{layer}", None, 200, LAYER, False),
    ("PUT", "/layer/{layer}/configuration/{name}", {"value": "1"}, 200, IN_LAYER, False),
    ("GET", "/layer/{layer}/configuration/{name}", None, 200, IN_LAYER, False),
    ("GET", "/layer/{layer}/configuration", None, 200, ["configurations", "count", "revision"], False),
    ("GET", "/layer/{layer}/configuration/{name}/history", None, 200, ["changes"], False),
    ("POST", "/layer/{layer}/configuration/{name}/rollback", {"to": 1}, 200, ["configuration", "revision"], False),
    ("DELETE", "/layer/{layer}/configuration/{name}", None, 204, None, False),
    ("DELETE", "/layer/{layer}", None, 200, ["revision"], False),
    ("GET", "/fleet", None, 200, ["devices", "online", "applied", "refused", "pending", "local", "errors"], False),
    ("GET", "/fleet/device", None, 200, [], False),
    ("POST", "/rollout", ROLLOUT, 201, ["rollout", "revision"], False),
    ("GET", "/rollout", None, 200, [], False),
    ("GET", "/rollout/{rollout}", None, 200, ROLLOUT_MEMBERS, False),
    ("POST", "/rollout/{rollout}/hold", None, 200, ["rollout", "revision"], False),
    ("POST", "/rollout/{rollout}/resume", None, 200, ["rollout", "revision"], False),
    ("POST", "/rollout/{rollout}/rollback", None, 200, ["rollout", "revision"], False),
    ("DELETE", "/device/{deviceId}", None, 204, None, False),
    ("POST", "/network", {"name": "page"}, 201, ["id"], False),
    ("PUT", "/user/{userId}/network/{networkId}", None, 204, None, False),
    ("GET", "/user/{userId}/network/{networkId}", None, 200, ["network"], False),
    ("DELETE", "/user/{userId}/network/{networkId}", {}, 204, None, False),
    ("GET", "/network", None, 200, [], False),
    ("GET", "/network/count", None, 200, ["count"], False),
    ("GET", "/network/{networkId}", None, 200, ["devices", "id", "name", "description"], False),
    ("PUT", "/network/{networkId}", {"description": "d"}, 204, None, False),
    ("DELETE", "/network/{networkId}", None, 204, None, False),
    ("POST", "/devicetype", {"name": "page"}, 201, ["id"], False),
    ("DELETE", "/user/{userId}/devicetype/all", None, 204, None, False),
    ("PUT", "/user/{userId}/devicetype/{deviceTypeId}", None, 204, None, False),
    ("GET", "/user/{userId}/devicetype/{deviceTypeId}", None, 200, ["deviceType"], False),
    ("GET", "/user/{userId}/devicetype", None, 200, [], False),
    ("DELETE", "/user/{userId}/devicetype/{deviceTypeId}", None, 204, None, False),
    ("PUT", "/user/{userId}/devicetype/all", {}, 204, None, False),
    ("GET", "/devicetype", None, 200, [], False),
    ("GET", "/devicetype/count", None, 200, ["count"], False),
    ("GET", "/devicetype/{deviceTypeId}", None, 200, ["devices", "id", "name", "description"], False),
    ("PUT", "/devicetype/{deviceTypeId}", {"description": "d"}, 204, None, False),
    ("DELETE", "/devicetype/{deviceTypeId}", None, 204, None, False),
]
TAKES_TOKEN = {"/token/refresh": "refreshToken", "/token/revoke": "token"}
PUBLIC = ("/info", "/info/cache", "/info/config/cluster", "/token", "/token/refresh")


def test_no_page_is_left_out_here() -> None:
    """The table of pages below is the whole table of the gateway, without what is an event stream only."""
    listed = {(method, path, status, auth) for method, path, _, status, _, auth in PAGES}
    assert listed == {(row.method, row.path, row.status, row.auth) for row in ROWS if row.request is not row.stream}


@pytest.mark.parametrize("context", ["api", "dh", "auth"])
def test_every_page_of_a_context_answers(shared_gateway: RunningGateway, admin_token: str, context: str) -> None:
    """Each page is under /api/rest and /dh/rest, those of DeviceHive's auth service under /auth/rest as well, with the
    documented status and members in order; other pages are 404 there."""
    refresh = httpx.post(shared_gateway.rest_url + "/token", json=LOGIN).json()["refreshToken"]
    headers = {"Authorization": f"Bearer {admin_token}"}
    with (
        httpx.Client(base_url=f"{shared_gateway.url}/{context}/rest", headers=headers) as client,
        shared_gateway.socket(admin_token) as talk,
    ):
        connection = talk("connection/list", take=500)["connections"][-1]["connectionId"]
        assert client.get("/").status_code == 200
        made = 0  # the id of what was created last
        for method, path, body, status, members, auth in PAGES:
            user = made if (method, path) == ("DELETE", "/user/{userId}") else 1
            page = path.replace("{name}", f"rest.page.{context}").replace("{userId}", str(user))
            page = (
                page.replace("{layer}", "page")
                .replace("{tenantId}", "page")
                .replace("{clientId}", "page")
                .replace("{deviceId}", "page")
            )
            page = page.replace("{connectionId}", connection)
            for number in ("networkId", "deviceTypeId", "commandId", "notificationId", "schedule"):
                page = page.replace("{" + number + "}", str(made))
            if "{rollout}" in page and context != "auth":
                page = page.replace("{rollout}", str(client.get("/rollout").json()[0]["rollout"]))
            sent = {member: refresh} if (member := TAKES_TOKEN.get(path)) is not None else body
            if (method, path) == ("POST", "/user"):
                sent = body | {"login": f"rest.page.{context}"}
            asked = {"waitTimeout": 0} if path.endswith("/poll") else None
            if path.endswith("/report") and context != "auth":
                own = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"]}
                made_for = client.post("/token/create", json=own | {"deviceIds": ["page"]}).json()
                client.headers["Authorization"] = f"Bearer {made_for['accessToken']}"
            answer = client.request(method, page, json=sent, params=asked)
            client.headers.update(headers)
            if context == "auth" and not auth:
                # There, `transact` is the name of a configuration like any other.
                assert answer.status_code == (405 if path == "/configuration/transact" else 404), page
                continue
            assert answer.status_code == status, (page, answer.text)
            if members is None:
                assert answer.content == b""
                continue
            assert answer.headers["content-type"] == "application/json"
            if members[:1] == ["schedule"] or (status == 201 and members[:1] == ["id"]):
                made = answer.json()[members[0]]
            assert isinstance(answer.json(), list) if members == [] else list(answer.json()) == members, page


NOT_PUBLIC = [(row.method, row.path.replace("{", "").replace("}", "")) for row in ROWS if row.path not in PUBLIC]


def test_a_page_that_needs_a_token_says_401(shared_gateway: RunningGateway) -> None:
    """Without a token every page but the public ones is 401, whatever is sent."""
    with shared_gateway.http("") as client:
        for (method, path), body in product(NOT_PUBLIC, (b"", b"{", b"{}")):
            refused = client.request(method, path, content=body)
            told = (refused.status_code, refused.json())
            assert told == (401, {"error": 401, "message": "Unauthorized"}), (method, path, body)


def test_a_page_that_the_token_does_not_grant_says_403(shared_gateway: RunningGateway, talk: Talk) -> None:
    """With a token for nothing every page but the public ones is 403."""
    nothing = talk("token/create", payload={"userId": 1})["accessToken"]
    with shared_gateway.http(nothing) as client:
        for method, path in NOT_PUBLIC:
            refused = client.request(method, path, content=b"{}")
            assert (refused.status_code, refused.json()["error"]) == (403, 403), (method, path)
            assert refused.json()["message"].startswith("Access is denied: this needs "), (method, path)


@pytest.mark.parametrize("context", ["api", "dh", "auth"])
def test_info_names_the_socket_of_the_address_that_was_asked(shared_gateway: RunningGateway, context: str) -> None:
    """`webSocketServerUrl` has the Host of the request, and can be connected to."""
    info = httpx.get(f"{shared_gateway.url}/{context}/rest/info").json()
    assert info["apiVersion"] == "4.1.0"
    assert TIME.fullmatch(info["serverTimestamp"])
    shown = "api" if context == "auth" else context
    assert info["webSocketServerUrl"] == f"ws://127.0.0.1:{shared_gateway.port}/{shown}/websocket"
    named = httpx.get(f"{shared_gateway.url}/{context}/rest/info", headers={"Host": "example.org"}).json()
    assert named["webSocketServerUrl"] == f"ws://example.org/{shown}/websocket"


def test_a_proxy_is_trusted_only_when_it_is_configured(data: Any) -> None:
    """`X-Forwarded-Proto` and `X-Forwarded-For` count only from `--trusted-proxies`."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9, 198.51.100.7", "Host": "example.org"}
    with RunningGateway(data, "--trusted-proxies", "127.0.0.1, 10.0.0.1") as gateway:
        info = httpx.get(gateway.rest_url + "/info", headers=headers).json()
        assert info["webSocketServerUrl"] == "wss://example.org/api/websocket"
        httpx.post(gateway.rest_url + "/token", json={"login": "x", "password": "y"}, headers=headers)
        gateway.stop()
        assert [line["address"] for line in gateway.events("authentication failed")] == ["198.51.100.7"]


def test_guesses_through_a_proxy_that_adds_ports_are_throttled(data: Any) -> None:
    """They count for the address of the client, whatever the port."""
    wrong = {"login": "admin", "password": "wrong"}
    with RunningGateway(data, "--trusted-proxies", "127.0.0.1") as gateway:
        ports = count(4_000)

        def once() -> int:
            headers = {"X-Forwarded-For": f"203.0.113.1:{next(ports)}"}
            return httpx.post(gateway.rest_url + "/token", json=wrong, headers=headers).status_code

        assert guess(once)[:10] == [401] * 10


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_of_a_token_has_no_case(shared_gateway: RunningGateway, admin_token: str, scheme: str) -> None:
    """RFC 9110, section 11.1: over HTTP, and in the handshake of a socket."""
    headers = {"Authorization": f"{scheme} {admin_token}"}
    assert httpx.get(shared_gateway.rest_url + "/configuration?take=1", headers=headers).status_code == 200
    with Talk(connect(shared_gateway.socket_url, additional_headers=headers, compression=None)) as talk:
        assert talk("configuration/list", take=1)["status"] == "success"


def test_a_forwarded_address_is_ignored_without_a_trusted_proxy(data: Any) -> None:
    """A client cannot choose the address for which its guesses count, nor hide its own from the log."""
    wrong = {"login": "admin", "password": "wrong"}
    with RunningGateway(data, "--trusted-proxies", "10.0.0.1") as gateway:
        hosts = count()

        def once() -> int:
            headers = {"X-Forwarded-For": f"203.0.113.{next(hosts)}"}
            return httpx.post(gateway.rest_url + "/token", json=wrong, headers=headers).status_code

        assert guess(once)[:10] == [401] * 10
        gateway.stop()
        assert {line["address"] for line in gateway.events("authentication failed")} == {"127.0.0.1"}


# Configuration.


def test_what_is_written_over_http_is_read_over_a_socket_and_back(
    shared_gateway: RunningGateway, talk: Talk, admin_token: str
) -> None:
    """One ledger, two protocols: the same resource, version and revision, there and gone."""
    with shared_gateway.http(admin_token) as client:
        put = client.put("/configuration/rest.both", json={"value": "1", "description": "first"})
        assert put.json() == {"name": "rest.both", "value": "1", "entityVersion": 1}
        got = talk("configuration/get", name="rest.both")
        assert got["configuration"] == put.json()
        assert put.headers["hivewire-revision"] == str(got["revision"])
        again = talk("configuration/put", name="rest.both", value="ünï 😀")
        seen = client.get("/configuration/rest.both")
        assert seen.json() == again["configuration"] == {"name": "rest.both", "value": "ünï 😀", "entityVersion": 2}
        assert (seen.headers["etag"], seen.headers["hivewire-revision"]) == ('"2"', str(again["revision"]))
        deleted = client.delete("/configuration/rest.both")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert int(deleted.headers["hivewire-revision"]) > again["revision"]
        missing = client.get("/configuration/rest.both")
        words = "Requested config with name = rest.both not found in the database"
        assert (missing.status_code, missing.json()) == (404, {"error": 404, "message": words})
        assert talk("configuration/get", name="rest.both")["error"] == words
        assert client.delete("/configuration/rest.both").status_code == 404


def test_content_types_are_shown_when_they_are_not_plain_text(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A value with another type has `contentType` and `size`."""
    with shared_gateway.http(admin_token) as client:
        client.put("/configuration/rest.type", json={"value": "[1]", "contentType": "application/json"})
        shown = {"name": "rest.type", "value": "[1]", "entityVersion": 1, "contentType": "application/json", "size": 3}
        assert client.get("/configuration/rest.type").json() == shown


@pytest.mark.parametrize("value", [True, 1, 1.0, "1"])
def test_scalars_are_taken_by_their_literal_text(shared_gateway: RunningGateway, admin_token: str, value: Any) -> None:
    """A number or boolean for a value is stored as it was written."""
    text = str(value).lower()
    with shared_gateway.http(admin_token) as client:
        put = client.put("/configuration/rest.scalar", content=b'{"value":%b}' % text.encode())
        assert put.json()["value"] == text


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("n" * 129, {"value": "1"}, "Name is 129 characters long; at most 128, setting name_length"),
        ("rest.bad", {"value": ""}, "Value is empty; it has 1 to 65,536 characters, setting value_length"),
        ("rest.bad", {"value": "x" * 65_537}, "Value is 65,537 characters long; at most 65,536, setting value_length"),
        ("rest.bad", {"value": None}, "value field cannot be null"),
        ("rest.bad", {}, "value field cannot be null"),
        ("rest.bad", {"value": "1", "contentType": "no type"}, "contentType must be a media type"),
        (
            "rest.bad",
            {"value": "1", "description": "x" * 1_025},
            "Description is 1,025 characters long; at most 1,024, setting description_length",
        ),
    ],
)
def test_a_put_out_of_bounds_says_what_is_wrong(
    shared_gateway: RunningGateway, talk: Talk, admin_token: str, name: str, body: dict[str, Any], words: str
) -> None:
    """The text is the same over HTTP and over a socket, and nothing is written."""
    with shared_gateway.http(admin_token) as client:
        refused = client.put(f"/configuration/{name}", json=body)
        assert refused.status_code == 400
        assert words in refused.json()["message"]
        assert talk("configuration/put", name=name, **body)["error"] == refused.json()["message"]
        assert client.get(f"/configuration/{name}").status_code == 404


# Conditions.


@pytest.fixture
def client(shared_gateway: RunningGateway, admin_token: str) -> Any:
    """An HTTP client of the administrator's; `rest.tag` is at version 2."""
    with shared_gateway.http(admin_token) as client:
        client.delete("/configuration/rest.tag")
        for value in ("1", "2"):
            assert client.put("/configuration/rest.tag", json={"value": value}).status_code == 200
        yield client


def revision(client: httpx.Client) -> str:
    """The revision of `rest.tag`."""
    return str(client.get("/configuration/rest.tag").headers["hivewire-revision"])


@pytest.mark.parametrize("tags", ['"2"', '"2-{revision}"'])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_if_match_that_holds_lets_the_write_through(client: httpx.Client, method: str, tags: str) -> None:
    """The current version, alone or with its revision: written with the next version."""
    headers = {"If-Match": tags.replace("{revision}", revision(client))}
    answer = client.request(method, "/configuration/rest.tag", json={"value": "3"}, headers=headers)
    assert answer.status_code == (200 if method == "PUT" else 204)
    if method == "PUT":
        assert (answer.headers["etag"], answer.json()["entityVersion"]) == ('"3"', 3)


@pytest.mark.parametrize("tags", ['"1"', '"1-{revision}"'])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_if_match_that_fails_is_412_with_the_current_change(client: httpx.Client, method: str, tags: str) -> None:
    """Another version: 412, nothing is written, and the current change is shown."""
    headers = {"If-Match": tags.replace("{revision}", revision(client))}
    refused = client.request(method, "/configuration/rest.tag", json={"value": "3"}, headers=headers)
    assert refused.status_code == 412
    answer = refused.json()
    assert list(answer) == ["error", "message", "change"]
    assert answer["message"] == f"If-Match: {headers['If-Match']} does not hold"
    assert TIME.fullmatch(answer["change"].pop("modified"))
    assert answer["change"] == {
        "revision": int(revision(client)),
        "operation": "put",
        "modifiedBy": "admin",
        "description": None,
        "configuration": {"name": "rest.tag", "value": "2", "entityVersion": 2},
    }
    assert client.get("/configuration/rest.tag").json()["value"] == "2"


@pytest.mark.parametrize(("header", "tags"), [("If-Match", "2"), ("If-None-Match", "2"), ("If-Match", "")])
def test_a_condition_that_cannot_be_read_is_400(client: httpx.Client, header: str, tags: str) -> None:
    """A condition is never ignored: an unreadable one is refused, and nothing is written."""
    refused = client.put("/configuration/rest.tag", json={"value": "3"}, headers={header: tags})
    assert refused.status_code == 400
    assert header in refused.json()["message"]
    assert client.get("/configuration/rest.tag").json()["value"] == "2"


@pytest.mark.parametrize("tags", ["*", '"2"', '"1", "2"'])
def test_if_none_match_protects_what_is_there(client: httpx.Client, tags: str) -> None:
    """`If-None-Match: *` creates and never overwrites; a list refuses the versions that it names."""
    refused = client.put("/configuration/rest.tag", json={"value": "3"}, headers={"If-None-Match": tags})
    assert refused.status_code == 412
    assert refused.json()["change"]["configuration"]["value"] == "2"
    other = client.put("/configuration/rest.tag", json={"value": "3"}, headers={"If-None-Match": '"1", "7"'})
    assert other.status_code == 200
    client.delete("/configuration/rest.tag")
    created = client.put("/configuration/rest.tag", json={"value": "new"}, headers={"If-None-Match": tags})
    assert (created.status_code, created.json()["entityVersion"]) == (200, 1)


def test_a_tag_of_an_earlier_life_holds_only_without_its_revision(client: httpx.Client) -> None:
    """After delete and re-creation the version is the same again, the revision never."""
    before = revision(client)
    client.delete("/configuration/rest.tag")
    for value in ("again", "once more"):
        client.put("/configuration/rest.tag", json={"value": value})
    refused = client.put("/configuration/rest.tag", json={"value": "3"}, headers={"If-Match": f'"2-{before}"'})
    assert refused.status_code == 412
    assert client.put("/configuration/rest.tag", json={"value": "3"}, headers={"If-Match": '"2"'}).status_code == 200


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_conditions_are_refused_where_they_would_be_ignored(client: httpx.Client, header: str) -> None:
    """Where another version would have been overwritten or deleted. In the body there are `entityVersion` and
    `revision`."""
    assert client.put("/layer/rest-condition", json={"rank": 7, "target": {}}).status_code == 200
    assert client.put("/schema/rest.condition", json={"schema": {}}).status_code == 200
    assert client.put("/device/rest-condition", json={"name": "d"}).status_code == 204
    revision = client.get("/configuration", params={"take": 0}).json()["revision"]
    for method, path, body in (
        ("PUT", "/layer/rest-condition", {"rank": 8, "target": {}}),
        ("DELETE", "/layer/rest-condition", None),
        ("PUT", "/schema/rest.condition", {"schema": True}),
        ("PUT", "/device/rest-condition/label", {"labels": {"a": "b"}}),
    ):
        refused = client.request(method, path, json=body, headers={header: '"99"'})
        assert refused.status_code == 400, refused.text
        assert "entityVersion" in refused.json()["message"]
    assert client.get("/configuration", params={"take": 0}).json()["revision"] == revision


def test_if_match_on_a_name_that_never_existed_is_412_without_a_change(client: httpx.Client) -> None:
    """If-Match on a name that never existed gets 412, and its `change` is null."""
    for method, tags in (("PUT", "*"), ("PUT", '"1"'), ("DELETE", "*")):
        refused = client.request(method, "/configuration/rest.never", json={"value": "1"}, headers={"If-Match": tags})
        assert (refused.status_code, refused.json()["change"]) == (412, None)
    assert client.get("/configuration/rest.never").status_code == 404


def test_if_match_on_a_deleted_name_shows_the_delete(client: httpx.Client) -> None:
    """The late writer learns that it was deleted."""
    client.delete("/configuration/rest.tag")
    refused = client.put("/configuration/rest.tag", json={"value": "3"}, headers={"If-Match": '"2"'})
    assert refused.status_code == 412
    assert refused.json()["change"]["operation"] == "delete"
    assert refused.json()["change"]["configuration"] == {"name": "rest.tag", "value": None, "entityVersion": 3}


def test_both_headers_must_hold(client: httpx.Client) -> None:
    """If-Match and If-None-Match together: one that fails is enough."""
    headers = {"If-Match": '"2"', "If-None-Match": "*"}
    assert client.put("/configuration/rest.tag", json={"value": "3"}, headers=headers).status_code == 412
    headers = {"If-Match": '"2"', "If-None-Match": '"1"'}
    assert client.put("/configuration/rest.tag", json={"value": "3"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"entityVersion": 1}, "Configuration 'rest.tag' is at version 2, not 1"),
        ({"entityVersion": 0}, "Configuration 'rest.tag' is at version 2, not 0"),
        ({"entityVersion": "1"}, "Configuration 'rest.tag' is at version 2, not 1"),
        ({"revision": 1}, "Configuration 'rest.tag' is at revision {revision}, not 1"),
        ({"entityVersion": 2, "revision": 1}, "Configuration 'rest.tag' is at revision {revision}, not 1"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_expectation_in_the_body_that_fails_is_409(
    client: httpx.Client, talk: Talk, method: str, expected: dict[str, Any], words: str
) -> None:
    """The answer has the current change, the same as over a socket."""
    refused = client.request(method, "/configuration/rest.tag", json={"value": "3", **expected})
    assert refused.status_code == 409
    assert refused.json()["message"] == words.format(revision=revision(client))
    assert refused.json()["change"]["configuration"] == {"name": "rest.tag", "value": "2", "entityVersion": 2}
    action = {"PUT": "configuration/put", "DELETE": "configuration/delete"}[method]
    answer = talk(action, name="rest.tag", value="3", **expected)
    assert (answer["code"], answer["error"]) == (409, refused.json()["message"])
    assert answer["change"] == refused.json()["change"]


def test_headers_are_looked_at_before_the_body(client: httpx.Client) -> None:
    """With both wrong the header decides: 412."""
    body = {"value": "3", "entityVersion": 1}
    assert client.put("/configuration/rest.tag", json=body, headers={"If-Match": '"1"'}).status_code == 412
    assert client.put("/configuration/rest.tag", json=body, headers={"If-Match": '"2"'}).status_code == 409


def test_an_expectation_may_be_in_the_query(client: httpx.Client) -> None:
    """A DELETE needs no body for it."""
    assert client.delete("/configuration/rest.tag?entityVersion=1").status_code == 409
    assert client.delete("/configuration/rest.tag?entityVersion=2").status_code == 204


def test_a_misspelt_expectation_in_the_query_writes_nothing(client: httpx.Client) -> None:
    """DELETE, and PUT of a content, where the query is the place for it; other unknown parameters are ignored."""
    page = "/configuration/rest.query"
    assert client.put(page, json={"value": "1"}).status_code == 200
    for method, path in (("DELETE", page), ("PUT", page + "/content")):
        refused = client.request(method, f"{path}?entityversion=99", content=b"2" if method == "PUT" else None)
        words = "Unknown parameter 'entityversion'; did you mean 'entityVersion'?"
        assert (refused.status_code, refused.json()["message"]) == (400, words)
    assert client.get(page).json()["value"] == "1"
    assert client.delete(page + "?trace=99").status_code == 204


def test_a_body_that_names_something_else_than_the_path_writes_nothing(client: httpx.Client) -> None:
    """400 names both; the same name, as a client has read it, is accepted."""
    page = "/configuration/rest.%C3%A9"
    for name, words in (("rest.other", "rest.other"), (5, "5"), (["rest.é"], '["rest.é"]')):
        refused = client.put(page, json={"name": name, "value": "1"})
        assert refused.status_code == 400
        assert refused.json()["message"] == f"name is '{words}', but the path names 'rest.é'"
    assert client.get(page).status_code == 404
    assert client.put(page, json={"name": "rest.é", "value": "1", "requestId": {}}).status_code == 200
    assert client.put(page, json={"name": None, "value": "1"}).status_code == 200
    assert client.request("DELETE", page, json={"name": "rest.other"}).status_code == 400
    assert client.request("DELETE", page + "?name=rest.other").status_code == 400
    assert client.delete(page).status_code == 204


def test_an_expectation_that_is_twice_in_a_body_writes_nothing(client: httpx.Client) -> None:
    """The last one would count, and null would drop the lock."""
    page, headers = "/configuration/rest.twice", {"Content-Type": "application/json"}
    assert client.put(page, json={"value": "1"}).status_code == 200
    body = b'{"value":"2","entityVersion":0,"entityVersion":null}'
    refused = client.put(page, content=body, headers=headers)
    assert (refused.status_code, refused.json()["message"]) == (400, "Member 'entityVersion' occurs twice")
    assert client.get(page).json()["value"] == "1"
    assert client.delete(page).status_code == 204


def test_a_misspelt_member_of_a_body_writes_nothing(client: httpx.Client) -> None:
    """400 names it; an unknown query parameter is ignored."""
    client.put("/configuration/rest.strict", json={"value": "1"})
    for method, under in (("PUT", ""), ("DELETE", ""), ("POST", "/rollback")):
        body = {"value": "2", "to": 1, "entityversion": 7} if under else {"value": "2", "entityversion": 7}
        refused = client.request(method, f"/configuration/rest.strict{under}", json=body)
        assert (refused.status_code, "did you mean 'entityVersion'?" in refused.json()["message"]) == (400, True)
    assert client.get("/configuration/rest.strict").json()["value"] == "1"
    taken = client.put("/configuration/rest.strict", params={"cache": "no"}, json={"value": "3", "size": 1, "id": 1})
    assert (taken.status_code, taken.json()["value"]) == (200, "3")


# Lists.


def test_a_list_is_paged_and_filtered_as_over_a_socket(
    shared_gateway: RunningGateway, talk: Talk, admin_token: str
) -> None:
    """`names`, `take`, `skip` and `after` mean the same in a query and in a frame."""
    for name in ("rest.list.b", "rest.list.a", "rest.list.c", "rest.list.B", "rest.liszt"):
        talk("configuration/put", name=name, value="v")
    with shared_gateway.http(admin_token) as client:

        def names(query: str, **members: Any) -> list[str]:
            answer = client.get("/configuration?" + query).json()
            frame = talk("configuration/list", **members)
            assert {key: frame[key] for key in ("configurations", "count", "revision")} == answer
            assert answer["count"] >= len(answer["configurations"])
            return [each["name"].removeprefix("rest.list.") for each in answer["configurations"]]

        pattern = {"names": ["rest.list.*"]}
        assert names("names=rest.list.*", **pattern) == ["B", "a", "b", "c"]
        assert names("names=rest.list.*&take=2", **pattern, take=2) == ["B", "a"]
        assert names("names=rest.list.*&take=2&skip=1", **pattern, take=2, skip=1) == ["a", "b"]
        assert names("names=rest.list.*&after=rest.list.a", **pattern, after="rest.list.a") == ["b", "c"]
        assert names("names=rest.list.*&take=0", **pattern, take=0) == []
        assert names("names=rest.list.a&names=rest.list.c", names=["rest.list.a", "rest.list.c"]) == ["a", "c"]
        assert names("names=nothing.*", names=["nothing.*"]) == []
        assert names("unknown=1&names=rest.list.c", names=["rest.list.c"]) == ["c"]
        for bad in ("take=-1", "take=10001", "skip=-1", "names=a*b", "take=9999999999999999999"):
            assert client.get("/configuration?" + bad).status_code == 400, bad


def test_an_answer_over_one_mebibyte_is_refused_with_413(data: Any) -> None:
    """A list that is too large says `ask for less`, over HTTP and over a socket, and a page of it is answered."""
    with RunningGateway(data) as gateway:
        token = gateway.token()
        with gateway.socket(token) as talk, gateway.http(token) as client:
            for number in range(17):
                talk("configuration/put", name=f"big.{number}", value="x" * 65_000)
            refused = client.get("/configuration")
            assert (refused.status_code, refused.json()) == (413, {"error": 413, "message": "ask for less"})
            answer = talk("configuration/list")
            assert (answer["code"], answer["error"]) == (413, "ask for less")
            assert len(client.get("/configuration?take=15").json()["configurations"]) == 15


# Tokens and users.


def test_a_token_is_minted_over_http_as_over_a_socket(
    shared_gateway: RunningGateway, talk: Talk, admin_token: str
) -> None:
    """The same payload gives the same claims."""
    payload = {
        "userId": 1,
        "actions": ["GetDevice", 13, "getconfiguration"],
        "networkIds": [1, "2"],
        "expiration": "2100-01-01T00:00:00.000",
        "configurations": ["rest.*"],
    }
    with shared_gateway.http(admin_token) as client:
        payload_of = {"via http": client.post("/token/create", json=payload).json()}
    payload_of["via socket"] = talk("token/create", payload=payload)
    claims = [
        jwt.decode(tokens["accessToken"], SECRET, algorithms=["HS256"])["payload"] for tokens in payload_of.values()
    ]
    for each in claims:
        assert (type(each.pop("i")), type(each.pop("j"))) == (int, str)  # when, and which token
    assert claims[0] == claims[1]
    assert claims[0] == {
        "a": [3, 13, 100],
        "e": 4_102_444_800_000,
        "t": 1,
        "u": 1,
        "n": ["1", "2"],
        "dt": None,
        "c": ["rest.*"],
    }


def test_users_never_show_a_password(shared_gateway: RunningGateway, talk: Talk, admin_token: str) -> None:
    """The list and the current user are the same over HTTP and over a socket, and have neither password nor hash."""
    with shared_gateway.http(admin_token) as client:
        users = client.get("/user")
        current = client.get("/user/current")
        assert users.json() == talk("user/list")["users"]
        assert current.json() == talk("user/getCurrent")["current"]
        assert current.json()["login"] == "admin"
        for user in (*users.json(), current.json()):
            assert not [name for name in user if "password" in name.lower()]
        assert "argon2" not in users.text + current.text
        assert client.get("/user?login=nobody").json() == []
        assert [user["id"] for user in client.get("/user?loginPattern=adm%25&sortField=login").json()] == [1]


def test_an_unknown_user_is_404(client: httpx.Client) -> None:
    """A user that is not there cannot be changed, which is found before the body is looked at."""
    for body in (b'{"introReviewed":true}', b"", b"{", b"[1]"):
        missing = client.put("/user/4711", content=body, headers={"Content-Type": "application/json"})
        expected = (404, {"error": 404, "message": "User with id = 4711 not found"})
        assert (missing.status_code, missing.json()) == expected
    assert client.put("/user/1", content=b"").status_code == 204  # no body changes nothing (core protocol, 6.3)


def test_users_are_written_as_consoles_write_them(client: httpx.Client) -> None:
    """With digits for numbers, nulls, what was read before, and members that nobody knows (addendum, section 3)."""
    sent: dict[str, Any] = {
        "login": "console",
        "password": PASSWORD,
        "role": "1",
        "status": "0",
        "networks": [],
        "id": None,
        "x": 1,
    }
    created = client.post("/user", json=sent)
    assert created.status_code == 201
    page = f"/user/{created.json()['id']}"
    read = client.get(page).json()
    changed = read | {"role": "1", "status": "0", "data": {}, "password": None, "passwordConfirmation": "?"}
    assert client.put(page, json=changed).status_code == 204
    assert client.get(page).json() == read | {"data": {}}
    refused = client.put(page, json={"data": 1})
    assert (refused.status_code, refused.json()["message"]) == (400, "'parameters' must be JSON Object!")
    for body in (b"", b"{}", b"nonsense"):
        assert client.put(page + "/network/1", content=body).status_code == 204
    assert [network["id"] for network in client.get(page).json()["networks"]] == [1]
    assert client.request("DELETE", page + "/network/1", content=b"{}").status_code == 204
    assert client.delete(page).status_code == 204
    assert client.get(page).status_code == 404
    assert client.put("/user/none", content=b"").status_code == 404


def test_an_empty_parameter_is_an_absent_one(client: httpx.Client) -> None:
    """Clients send all the parameters that they have, filled or not."""
    everybody = client.get("/user").json()
    assert client.get("/user?login=&loginPattern=&role=&take=&skip=&sortField=&sortOrder=").json() == everybody
    assert client.get("/configuration?names=", headers={"Accept": "text/event-stream"}).status_code == 400


def test_the_console_sends_a_user_back_as_it_is(client: httpx.Client) -> None:
    """Numbers as strings, members that only the server sets, and nulls for members that stay."""
    shown = client.get("/user/current").json()
    sent = shown | {"role": str(shown["role"]), "status": "0", "password": None, "passwordConfirmation": None}
    assert client.put("/user/1", json=sent).status_code == 204
    after = client.get("/user/current").json()
    assert after == shown


# Health and metrics.


def test_health_pages_say_live_and_ready(shared_gateway: RunningGateway, talk: Talk) -> None:
    """Two pages for the orchestrator, without a token; the second has the ledger's revision."""
    written = talk("configuration/put", name="rest.health", value="1")["revision"]
    live, ready = (httpx.get(f"{shared_gateway.url}/health/{page}") for page in ("live", "ready"))
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "revision": written})


def test_metrics_count_the_dialects_of_other_systems(data: Any) -> None:
    """Tenant documents, site properties and tokens by OAuth, under names without paths or tenants."""
    with RunningGateway(data) as gateway, gateway.http() as admin, httpx.Client(base_url=gateway.url) as client:
        admin.post("/tenant", json={"tenantId": "hidden"})
        secret = admin.post("/client", json={"clientId": "sync", "tenants": {"hidden": ["UPDATE", "CREATE"]}}).json()
        form, wrong = {"grant_type": "client_credentials"}, {"grant_type": "none"}
        who = ("sync", secret["clientSecret"])
        bearer = {"Authorization": f"Bearer {client.post('/oauth/token', data=form, auth=who).json()['access_token']}"}
        client.post("/oauth/token", data=wrong, auth=who)
        client.post("/oauth/token", data=form, auth=("sync", "wrong"))
        at = "/reltio/api/hidden/configuration"
        document = {"label": "", "schemaVersion": "1", "entityTypes": [{"uri": f"{ROOT}/entityTypes/A", "label": ""}]}
        assert client.put(at, json=document, headers=bearer).status_code == 200
        client.put(at, json={}, headers=bearer)
        client.get(at, headers=bearer)
        client.get(at)
        client.get("/reltio/api/nobody/configuration", headers=bearer)
        client.get(f"{at}/entityTypes/A", headers=bearer)
        client.post(f"{at}/entityTypes/B", json={"uri": f"{ROOT}/entityTypes/B", "label": ""}, headers=bearer)
        client.get(f"{at}/_history", headers=bearer)
        client.get("/reltio/status")
        client.get("/reltio/tenants", headers=bearer)
        session = client.get("/@api/deki/users/authenticate", auth=("admin", PASSWORD)).text
        site = {"X-Authtoken": session}
        client.put("/@api/deki/site/properties/logo", content=b"x", headers=site)
        client.post("/@api/deki/site/properties", content=b"x", headers=site | {"Slug": "logo"})
        client.get("/@api/deki/site/properties/logo", headers=site)
        client.get("/@api/deki/site/properties", headers=site)
        client.get("/@api/deki/nonsense", headers=site)
        text = client.get("/metrics").text
    found = {
        (match[1], int(match[2])): float(match[3])
        for match in re.finditer(r'hivewire_requests_total\{action="(.*?)",code="(\d+)"\} (.*)', text)
    }
    for action, code in (
        ("oauth/token", 200),
        ("oauth/token", 400),
        ("oauth/token", 401),
        ("document/put", 200),
        ("document/put", 400),
        ("document/get", 200),
        ("document/get", 401),
        ("document/get", 404),
        ("document/get_part", 200),
        ("document/insert", 201),
        ("document/history", 200),
        ("tenant/insert", 201),
        ("tenant/status", 200),
        ("tenant/list", 200),
        ("property/authenticate", 200),
        ("property/put", 404),
        ("property/post", 200),
        ("property/get", 200),
        ("property/list", 200),
        ("invalid", 404),
    ):
        assert found[action, code] == 1
    assert ("token", 200) not in found
    times = dict(re.findall(r'hivewire_http_seconds_count\{action="(.*?)"\} (.*)', text))
    for action, _ in found:
        assert float(times[action]) == sum(count for (name, _), count in found.items() if name == action)
    assert "hidden" not in text
    assert "logo" not in text


def test_metrics_count_what_happened(data: Any) -> None:
    """Requests by action and code over HTTP and sockets, failures, commits and gauges, in the format of Prometheus."""
    with RunningGateway(data) as gateway:
        with gateway.socket() as talk, gateway.http() as client:
            talk("configuration/put", name="a", value="1")
            client.put("/configuration/b", json={"value": "1"})
            talk("configuration/get", name="none")
            talk("nonsense")
            talk("authenticate", token="bad")
            answer = httpx.get(gateway.url + "/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        metrics = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
        counted = {
            ("configuration/put", 200): 2,
            ("configuration/get", 404): 1,
            ("authenticate", 401): 1,
            ("token", 201): 2,
            ("invalid", 400): 1,
        }
        for (action, code), count in counted.items():
            assert metrics[f'hivewire_requests_total{{action="{action}",code="{code}"}}'] == count
        assert metrics["hivewire_failed_authentications_total"] == 1
        assert metrics["hivewire_configurations"] == 2
        assert metrics["hivewire_sockets"] == 1
        assert metrics["hivewire_connections"] >= 2
        assert metrics["hivewire_outbox_bytes"] == 0
        assert metrics["hivewire_ledger_revision"] == 4
        assert metrics["hivewire_commit_seconds_count"] >= 2
        assert metrics["hivewire_batch_changes_sum"] >= 2
        assert metrics["process_cpu_seconds_total"] > 0.01
        assert 1 << 20 < metrics["process_resident_memory_bytes"] < 1 << 32
        assert metrics["process_start_time_seconds"] <= time.time()


def test_metrics_contain_no_names(data: Any) -> None:
    """Logins, names, tenants, clients and addresses never become labels, whether they exist or not."""
    with RunningGateway(data, env={"HIVEWIRE_ADMIN_LOGIN": "zyx-login"}) as gateway, ExitStack() as stack:
        token = gateway.token("zyx-login")
        client, talk = stack.enter_context(gateway.http(token)), stack.enter_context(gateway.socket(token))
        bearer = {"Authorization": f"Bearer {token}"}
        client.post("/tenant", json={"tenantId": "zyxtenant"})
        made = client.post("/client", json={"clientId": "zyx-client", "tenants": {"zyxtenant": ["READ"]}}).json()
        talk("configuration/put", name="zyx-name", value="zyx-value")
        talk("configuration/subscribe", names=["zyx-*"])
        talk("zyx-action")
        talk("token", login="zyx-login", password="wrong")
        talk("token", login="zyx-nobody", password="wrong")
        client.get("/configuration/zyx-name")
        client.get("/zyx-page")
        at = f"{gateway.url}/reltio/api/zyxtenant/configuration"
        assert httpx.get(at, headers=bearer).status_code == 404
        httpx.get(at.replace("zyxtenant", "zyxnone"), headers=bearer)
        for secret in (made["clientSecret"], "wrong"):
            grant = {"grant_type": "client_credentials"}
            httpx.post(gateway.url + "/oauth/token", data=grant, auth=("zyx-client", secret))
        site = gateway.url + "/@api/deki/site/properties/zyx-name"
        assert httpx.get(site, auth=("zyx-login", PASSWORD)).text == "zyx-value"
        text = httpx.get(gateway.url + "/metrics").text
    assert 'action="configuration/put"' in text
    assert "zyx" not in text
    assert "127.0.0.1" not in text
