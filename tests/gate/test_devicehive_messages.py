"""Commands and notifications by the official Python client of DeviceHive, over sockets and REST."""

from __future__ import annotations

from typing import Any

import pytest
from devicehive import ApiResponseError
from devicehive.api import Api

from tests.gate.devicehive import ENDPOINTS, LOGIN, address, run, unused
from tests.running import RunningGateway


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_sends_commands_and_reports_what_came_of_them(shared_gateway: RunningGateway, endpoint: str) -> None:
    """What is sent is listed, with all members; a result that is saved is there; an unknown command is the client's
    own error."""

    def work(api: Api) -> Any:
        device = api.put_device(unused("device"))
        sent = device.send_command("on", parameters={"level": 3}, lifetime=10, status="new", result={"a": None})
        [found] = device.list_commands()
        assert (found.id, found.timestamp, found.user_id) == (sent.id, sent.timestamp, sent.user_id)
        assert (found.device_id, found.command, found.parameters) == (device.id, "on", {"level": 3})
        assert (found.lifetime, found.status, found.result) == (10, "new", {"a": None})
        found.status, found.result = "done", {"took": 1.5}
        found.save()
        [after] = device.list_commands(command="on", status="done", start=None)
        assert (after.result, after.timestamp) == ({"took": 1.5}, sent.timestamp)
        assert after.last_updated() > sent.timestamp
        assert device.list_commands(start=sent.timestamp) == []
        after._id += 1
        with pytest.raises(ApiResponseError) as unknown:
            after.save()
        device.remove()
        return unknown.value.code, str(unknown.value)

    code, text = run(address(shared_gateway, endpoint), work, **LOGIN)
    assert code == 404
    assert "Command with id = " in text


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_sends_notifications(shared_gateway: RunningGateway, endpoint: str) -> None:
    """They are listed by time, name and page; a device begins with the one about itself."""

    def work(api: Api) -> None:
        device = api.put_device(unused("device"))
        first = device.send_notification("temperature", parameters={"t": 20.5})
        for _ in range(3):
            device.send_notification("ping")
        [found] = device.list_notifications(notification="temperature")
        assert (found.id, found.device_id, found.parameters) == (first.id, device.id, {"t": 20.5})
        assert found.timestamp == first.timestamp
        in_order = device.list_notifications(sort_field="timestamp", sort_order="ASC")
        assert [each.notification for each in in_order] == ["$device-add", "temperature", "ping", "ping", "ping"]
        later = device.list_notifications(sort_field="timestamp", sort_order="ASC", take=1, skip=1)
        assert [each.id for each in later] == [first.id]
        device.remove()

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("kind", ["command", "notification"])
def test_an_insert_is_repeated_under_its_key_over_either_face(
    shared_gateway: RunningGateway, admin_token: str, kind: str
) -> None:
    """The key is in the body, in the query or in the frame; other content under it is 422."""
    device = unused("device")
    path, body = f"/device/{device}/{kind}", {kind: "on", "parameters": {"a": 1}}
    with shared_gateway.http(admin_token) as http, shared_gateway.socket(admin_token) as talk:
        assert http.put(f"/device/{device}", json={"name": device}).status_code == 204
        first = http.post(path, json={**body, "idempotencyKey": "k"})
        again = http.post(path, params={"idempotencyKey": "k"}, json=body)
        assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
        ask: dict[str, Any] = {"deviceId": device, "idempotencyKey": "k"}
        answer = talk(f"{kind}/insert", **ask, **{kind: body})
        assert answer.get(kind) == first.json(), answer
        refused = http.post(path, json={kind: "off", "idempotencyKey": "k"})
        text = "Other content was inserted under this idempotencyKey"
        assert (refused.status_code, refused.json()) == (422, {"error": 422, "message": text})
        frame = talk(f"{kind}/insert", **ask, **{kind: {kind: "off"}})
        assert (frame["code"], frame["error"]) == (422, text)
        assert http.post(path, params={"idempotencyKey": ""}, json=body).status_code == 400
        assert http.delete(f"/device/{device}").status_code == 204
