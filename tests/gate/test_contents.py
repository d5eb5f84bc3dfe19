"""Contents byte for byte over HTTP: `/api/rest/configuration/{name}/content`."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.running import RunningGateway, Talk

IMAGE = b"\x89PNG\r\n\x1a\n\x00\xff"
PNG = {"Content-Type": "image/png"}


def page(gateway: RunningGateway, name: str) -> str:
    return f"{gateway.rest_url}/configuration/{name}/content"


@pytest.fixture
def http(admin_token: str) -> Any:
    with httpx.Client(headers={"Authorization": f"Bearer {admin_token}"}) as client:
        yield client


def test_bytes_come_back_as_they_were_put(shared_gateway: RunningGateway, http: httpx.Client, talk: Talk) -> None:
    """With their type, and with headers that keep browsers from running them; the resource has type and size, and the
    history has all versions."""
    place = page(shared_gateway, "content.a%2Fb")
    put = http.put(place, content=IMAGE, headers=PNG, params={"description": "a logo"})
    assert put.json() == {
        "name": "content.a/b",
        "value": None,
        "entityVersion": 1,
        "contentType": "image/png",
        "size": 10,
    }
    assert (put.status_code, put.headers["etag"]) == (200, '"1"')
    got = http.get(place)
    assert (got.content, got.headers["content-type"], got.headers["etag"]) == (IMAGE, "image/png", '"1"')
    assert got.headers["hivewire-revision"] == put.headers["hivewire-revision"]
    assert "sandbox" in got.headers["content-security-policy"]
    assert got.headers["x-content-type-options"] == "nosniff"
    assert talk("configuration/history", name="content.a/b")["changes"][0]["description"] == "a logo"
    http.put(place, content=b"\x00second")
    assert http.get(place).headers["content-type"] == "application/octet-stream"
    assert http.get(place, params={"entityVersion": 1}).content == IMAGE
    assert http.get(place, params={"revision": put.headers["hivewire-revision"]}).content == IMAGE


def test_a_layer_takes_no_content(shared_gateway: RunningGateway, http: httpx.Client, talk: Talk) -> None:
    """It is refused, and the plain one of this name stays; the text of a layer is read."""
    place = page(shared_gateway, "content.layered")
    layer = {"layer": "global"}
    refused = http.put(place, content=IMAGE, headers=PNG, params=layer)
    assert (refused.status_code, "A layer has no contents but texts" in refused.text) == (400, True)
    assert http.get(place).status_code == 404
    assert talk("configuration/put", name="content.layered", layer="global", value="text")["status"] == "success"
    assert http.get(place, params=layer).content == b"text"
    assert http.get(place).status_code == 404
    talk("configuration/delete", name="content.layered", layer="global")  # which all devices of other tests have


def test_a_content_is_tried(shared_gateway: RunningGateway, http: httpx.Client) -> None:
    """The answer says that it was, and nothing is written."""
    place = page(shared_gateway, "content.tried")
    tried = http.put(place, content=IMAGE, headers=PNG, params={"dryRun": "true"})
    assert (tried.status_code, tried.headers["hivewire-dry-run"]) == (200, "true")
    assert http.get(place).status_code == 404


def test_a_content_is_written_under_the_same_conditions(shared_gateway: RunningGateway, http: httpx.Client) -> None:
    """Expectations in the query are 409, in headers 412; JSON is checked, and empty content is refused."""
    place = page(shared_gateway, "content.conditions")
    assert http.put(place, content=IMAGE, headers={"If-None-Match": "*"}).status_code == 200
    assert http.put(place, content=IMAGE, headers={"If-None-Match": "*"}).status_code == 412
    conflict = http.put(place, content=IMAGE, params={"entityVersion": 7})
    assert (conflict.status_code, conflict.json()["change"]["configuration"]["entityVersion"]) == (409, 1)
    json = {"Content-Type": "application/json"}
    assert http.put(place, content=b"{", headers=json).status_code == 400
    assert http.put(place, content=b"{", headers=json, params={"check": "false"}).status_code == 200
    assert http.put(place, content=b"").status_code == 400
    assert http.put(place, content=IMAGE, headers={"Content-Type": "nonsense"}).status_code == 400
    assert http.get(page(shared_gateway, "content.nothing")).status_code == 404
    assert http.put(place, content=b"x" * 5_000_000).status_code == 413


def test_a_content_needs_the_rights_of_its_configuration(
    shared_gateway: RunningGateway, http: httpx.Client, talk: Talk
) -> None:
    """A token for reading does not write, and reaches its own names only; without a token it is 401."""
    place = page(shared_gateway, "content.rights")
    http.put(place, content=IMAGE)
    given = {"userId": 1, "actions": ["GetConfiguration"], "configurations": ["content.rights"]}
    token = talk("token/create", payload=given)["accessToken"]
    reader = {"Authorization": f"Bearer {token}"}
    assert httpx.get(place, headers=reader).content == IMAGE
    assert httpx.put(place, headers=reader, content=b"x").status_code == 403
    assert httpx.get(page(shared_gateway, "content.other"), headers=reader).status_code == 403
    assert http.get(page(shared_gateway, "jwt.secret")).status_code == 403
    assert (httpx.get(place).status_code, httpx.put(place, content=b"x").status_code) == (401, 401)


def test_a_deleted_content_is_404(shared_gateway: RunningGateway, http: httpx.Client, talk: Talk) -> None:
    """The content of a deleted configuration is 404, but an earlier revision of it can still be read."""
    place = page(shared_gateway, "content.deleted")
    revision = http.put(place, content=IMAGE).headers["hivewire-revision"]
    deleted = talk("configuration/delete", name="content.deleted")["revision"]
    assert http.get(place).status_code == 404
    assert http.get(place, params={"revision": deleted}).status_code == 404
    assert http.get(place, params={"revision": revision}).content == IMAGE
