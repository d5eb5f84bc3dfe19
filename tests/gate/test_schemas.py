"""Schemas over real sockets: a value that does not fit is refused through every door."""

from __future__ import annotations

import json

import httpx

from tests.running import PASSWORD, RunningGateway, Talk

BATCH = """<properties><property name="{name}"><contents type="text/plain">{value}</contents></property></properties>"""


def test_every_door_refuses_what_does_not_fit(shared_gateway: RunningGateway, admin_token: str, talk: Talk) -> None:
    """Frames, JSON-RPC, REST, contents, and site properties one by one and in a batch: 422, and nothing is written."""
    name = "doors.port"
    assert talk("schema/put", names="doors.*", schema={"type": "integer", "maximum": 65535})["status"] == "success"
    words = "Configuration 'doors.port' does not fit its schema: 70000 is greater than the maximum of 65535"
    frame = talk("configuration/put", name=name, value="70000")
    assert (frame["code"], frame["error"], frame["problems"][0]["rule"]) == (422, words, "/maximum")
    request = {"jsonrpc": "2.0", "id": 1, "method": "configuration/put", "params": {"name": name, "value": "70000"}}
    rpc = talk.raw(json.dumps(request))["error"]
    assert (rpc["code"], rpc["message"], rpc["data"]["problems"][0]["pointer"]) == (422, words, "")
    with shared_gateway.http(admin_token) as client:
        rest = client.put(f"/configuration/{name}", json={"value": "70000"})
        assert (rest.status_code, rest.json()["message"]) == (422, words)
        content = client.put(f"/configuration/{name}/content", content=b"70000", headers={"Content-Type": "text/plain"})
        assert (content.status_code, content.json()["message"]) == (422, words)
        several = client.post("/configuration/transact", json={"changes": [change(name, "70000")]}).json()
        assert (several["error"], several["index"]) == (422, 0)
    with httpx.Client(base_url=shared_gateway.url + "/@api/deki/site/", auth=("admin", PASSWORD)) as site:
        single = site.put(f"properties/{name}?abort=never", content=b"70000")
        assert single.status_code == 422
        assert words in single.text
        headers = {"Content-Type": "application/xml"}
        batch = site.put("properties", content=BATCH.format(name=name, value="70000"), headers=headers)
        assert '<status code="422">' in batch.text
        assert site.put("properties", content=BATCH.format(name=name, value="80"), headers=headers).status_code == 200
    assert talk("configuration/get", name=name)["configuration"]["entityVersion"] == 1


def change(name: str, value: str) -> dict[str, str]:
    return {"operation": "put", "name": name, "value": value}
