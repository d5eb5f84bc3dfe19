"""JSON-RPC 2.0 on the same socket, with a client library that knows nothing of this gateway."""

from __future__ import annotations

from typing import Any

import pytest
from jsonrpcclient import Error, Ok, notification, notification_json, parse, request, request_json, request_uuid

from tests.running import RunningGateway, Talk


def parsed(answer: Any) -> Any:
    """As the library understands it; a batch is a list."""
    return parse(answer)


def call(talk: Talk, method: str, **params: Any) -> Any:
    """Ask through the library: Ok or Error."""
    return parsed(talk.frame(request(method, params)))


def test_a_request_is_answered_with_its_result(talk: Talk) -> None:
    """Put, get, list and delete give the members of the action's reply as the result."""
    put = call(talk, "configuration/put", name="rpc.one", value="1")
    assert isinstance(put, Ok)
    assert put.result["configuration"] == {"name": "rpc.one", "value": "1", "entityVersion": 1}
    got = call(talk, "configuration/get", name="rpc.one")
    assert got.result == put.result
    assert call(talk, "configuration/list", names=["rpc.*"]).result["count"] == 1
    deleted = call(talk, "configuration/delete", name="rpc.one")
    assert list(deleted.result) == ["revision"]


def test_ids_of_any_kind_come_back(talk: Talk) -> None:
    """Numbers, strings and UUIDs are echoed as the library sent them."""
    for made in (request("server/info", id=7), request("server/info", id="x"), request_uuid("server/info")):
        assert parsed(talk.frame(made)).id == made["id"]
    reply = parsed(talk.raw(request_json("server/info")))
    assert reply.result["info"]["apiVersion"] == "4.1.0"


def test_an_action_without_members_has_an_empty_result(talk: Talk, admin_token: str) -> None:
    """A reply that says only success is an empty object."""
    assert call(talk, "authenticate", token=admin_token).result == {}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("configuration/nothing", {}, -32601),
        ("configuration/get", {}, -32602),
        ("configuration/put", {"name": "rpc.none"}, -32602),
        ("configuration/put", {"name": {"a": 1}, "value": "1"}, -32602),
        ("configuration/get", ("rpc.none",), -32602),
        ("configuration/get", {"name": "rpc.none"}, 404),
        ("configuration/get", {"name": "jwt.secret"}, 403),
        ("configuration/put", {"name": "n" * 999, "value": "1"}, 400),
        ("token", {"login": "rpc.nobody", "password": "wrong"}, 401),
    ],
)
def test_errors_have_the_codes_of_json_rpc_or_of_http(talk: Talk, method: str, params: Any, code: int) -> None:
    """Errors of the call itself have JSON-RPC's codes, all others those of HTTP."""
    made = request(method, params)
    error = parsed(talk.frame(made))
    assert isinstance(error, Error)
    assert (error.code, error.id) == (code, made["id"])
    assert error.message


def test_a_conflict_carries_the_current_change(talk: Talk) -> None:
    """The error's data has what the action frame has beside the text."""
    call(talk, "configuration/put", name="rpc.conflict", value="mine")
    error = call(talk, "configuration/put", name="rpc.conflict", value="yours", entityVersion=0)
    assert (error.code, error.message) == (409, "Configuration 'rpc.conflict' is at version 1, not 0")
    assert error.data["change"]["configuration"]["value"] == "mine"


def test_a_batch_is_answered_by_a_batch_in_order(talk: Talk) -> None:
    """Each request sees those before it; notifications are carried out and left out of the answer."""
    batch = [
        request("configuration/put", {"name": "rpc.batch", "value": "1"}),
        notification("configuration/put", {"name": "rpc.batch", "value": "2"}),
        request("configuration/get", {"name": "rpc.batch"}),
        request("nonsense"),
        request("configuration/delete", {"name": "rpc.batch"}),
    ]
    replies = list(parsed(talk.frame(batch)))
    assert [reply.id for reply in replies] == [made["id"] for made in batch if "id" in made]
    put, got, unknown, deleted = replies
    assert put.result["configuration"]["entityVersion"] == 1
    assert got.result["configuration"] == {"name": "rpc.batch", "value": "2", "entityVersion": 2}
    assert unknown.code == -32601
    assert deleted.result["revision"] > got.result["revision"]


def test_a_notification_is_carried_out_and_never_answered(talk: Talk) -> None:
    """The next answer on the socket is that of the next request, even when the notification failed."""
    for params in ({"name": "rpc.silent", "value": "heard"}, {"name": "rpc.silent"}):
        talk.connection.send(silent("configuration/put", params), text=True)
    talk.connection.send(silent("nonsense", {}), text=True)
    made = request("configuration/get", {"name": "rpc.silent"})
    reply = parsed(talk.frame(made))
    assert (reply.id, reply.result["configuration"]["value"]) == (made["id"], "heard")


def silent(method: str, params: dict[str, Any]) -> str:
    """A notification as text."""
    return str(notification_json(method, params))


def test_a_batch_of_notifications_is_not_answered(talk: Talk) -> None:
    """A batch of notifications is carried out and gets no answer, not even an empty array."""
    talk.connection.send(
        "[" + ",".join([silent("configuration/put", {"name": "rpc.quiet", "value": "1"})] * 3) + "]", text=True
    )
    assert call(talk, "configuration/get", name="rpc.quiet").result["configuration"]["entityVersion"] == 3


@pytest.mark.parametrize("frame", [[], [1], {"jsonrpc": "1.0", "id": 1, "method": "server/info"}, {"jsonrpc": "2.0"}])
def test_an_invalid_request_gets_minus_32600(talk: Talk, frame: Any) -> None:
    """Empty batches, elements that are not requests, another version, no method."""
    answer = talk.frame(frame)
    error = answer[0] if isinstance(answer, list) else answer
    assert isinstance(answer, list) == (frame == [1])
    assert error["error"]["code"] == -32600


def test_a_batch_of_more_than_a_thousand_gets_a_single_error(talk: Talk) -> None:
    """A batch of 1,000 requests is answered one by one; a larger one gets a single error."""
    assert len(list(parsed(talk.frame([request("server/info") for _ in range(1_000)])))) == 1_000
    error = parsed(talk.frame([request("server/info") for _ in range(1_001)]))
    assert (error.code, error.id) == (-32600, None)


def test_both_framings_mix_on_one_socket(talk: Talk) -> None:
    """A value written by JSON-RPC can be read with an action frame, in order; a frame with both is JSON-RPC."""
    assert call(talk, "configuration/put", name="rpc.mixed", value="1").result
    assert talk("configuration/get", name="rpc.mixed")["configuration"]["value"] == "1"
    both = talk.frame({**request("server/info"), "action": "configuration/list", "requestId": 5})
    assert "info" in parsed(both).result


def test_text_that_is_not_json_is_answered_as_an_action_frame(talk: Talk) -> None:
    """Such a message does not say which framing it means."""
    assert talk.raw('{"jsonrpc":"2.0",') == {"code": 400, "status": "error", "error": "Malformed Json received."}


def test_authenticate_by_json_rpc_counts_for_action_frames(shared_gateway: RunningGateway, admin_token: str) -> None:
    """There is one identity for the socket, whichever framing it came by."""
    with shared_gateway.socket("") as talk:
        error = call(talk, "configuration/list")
        assert (error.code, error.message) == (401, "Unauthorized")
        assert isinstance(call(talk, "authenticate", token=admin_token), Ok)
        assert talk("configuration/list")["status"] == "success"
