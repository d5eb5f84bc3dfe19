"""The AsyncAPI 3.0 document: everything that goes over a WebSocket, made from the structs of the protocol."""

from __future__ import annotations

from typing import Any

from hivewire_protocol.catalogue import PUSHES, REQUESTS
from hivewire_protocol.close import TABLE
from hivewire_protocol.errors import TooManyRequests, catalogue
from hivewire_protocol.messages import Request, errors_of
from hivewire_protocol.schemas import ERROR_MEMBERS, Schema, components, referred, sentence

ADDRESS = "/api/websocket"

HOST = "127.0.0.1:8080"

DESCRIPTION = f"""\
One JSON object per text message, over a WebSocket at `{ADDRESS}` or `/dh/websocket`. Each request is answered by one \
message, which repeats its `action` and its `requestId`. Answers are in the order of the requests, and a request sees \
the effect of every earlier request of its connection.

A caller sends an access token with `authenticate`, or in the header `Authorization: Bearer` of the handshake.

A message with `"jsonrpc":"2.0"` is the same request as JSON-RPC 2.0: `method` is the action, `params` has the other \
members by name, and `result` has those of the reply. Pushes of a subscription that was made so are notifications."""

_CHANNEL = {"$ref": "#/channels/socket"}


def document(version: str) -> dict[str, Any]:
    """The document of this version of the gateway."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hivewire",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": "{host}",
                "protocol": "ws",
                "description": "A gateway; `wss` where it has a TLS certificate.",
                "variables": {"host": {"default": HOST}},
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
        },
        "channels": {"socket": _channel()},
        "operations": _operations(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "x-errors": [
            {"code": error.code, "name": error.__name__, "text": error.text, "when": sentence(error)}
            for error in catalogue()
        ],
    }


def _channel() -> Schema:
    messages = {"Error": _message("error", "The answer to a request that failed.", "Error")}
    for action, request in REQUESTS.items():
        messages[request.__name__] = _message(action, sentence(request), request.__name__)
        answer = _answer(request)
        messages[answer] = _message(action, f"The answer to `{action}`: {sentence(request.reply)}", answer)
    for action, push in PUSHES.items():
        messages[push.__name__] = _message(action, sentence(push), push.__name__)
    return {
        "address": ADDRESS,
        "description": "All requests, answers and pushes of one connection.",
        "messages": messages,
        "bindings": {"ws": {"method": "GET"}},
        "x-close-codes": [
            {"code": code.value, "reason": close.reason, "reconnect": close.reconnect} for code, close in TABLE.items()
        ],
    }


def _message(action: str, summary: str, schema: str) -> Schema:
    return {"name": action, "summary": summary, "payload": {"$ref": f"#/components/schemas/{schema}"}}


def _operations() -> dict[str, Schema]:
    """What the gateway receives, with its answers, and what it pushes."""
    found: dict[str, Schema] = {}
    for action, request in REQUESTS.items():
        permission = f"`{request.permission.wire_name}`" if request.permission is not None else "none"
        found[action.replace("/", "_")] = {
            "action": "receive",
            "channel": _CHANNEL,
            "title": action,
            "summary": sentence(request),
            "description": f"Permission: {permission}.",
            "messages": [_of_channel(request.__name__)],
            "reply": {"channel": _CHANNEL, "messages": [_of_channel(_answer(request)), _of_channel("Error")]},
            "x-errors": sorted(f"{error.code} {error.__name__}" for error in errors_of(request) | {TooManyRequests}),
        }
    for action, push in PUSHES.items():
        found[f"push_{action.replace('/', '_')}"] = {
            "action": "send",
            "channel": _CHANNEL,
            "title": action,
            "summary": sentence(push),
            "messages": [_of_channel(push.__name__)],
        }
    return found


def _of_channel(message: str) -> Schema:
    return {"$ref": f"#/channels/socket/messages/{message}"}


def _answer(request: type[Request]) -> str:
    """The name of the success answer to a request. Several requests share the struct of a reply."""
    return f"{request.__name__}Answer"


def _schemas() -> dict[str, Schema]:
    """Those of messages and of what is in them."""
    found = {shape.__name__: components()[shape.__name__] for shape in (*REQUESTS.values(), *PUSHES.values())}
    for action, request in REQUESTS.items():
        reply = components()[request.reply.__name__]
        found[_answer(request)] = {
            "type": "object",
            "properties": {
                "action": {"const": action},
                "requestId": {"description": "That of the request; null when it had none."},
                "status": {"const": "success"},
                **reply["properties"],
            },
            "required": ["action", "requestId", "status", *reply.get("required", ())],
            "additionalProperties": False,
        }
    found["Error"] = {
        "type": "object",
        "description": "An error. One of a message that was no request has neither `action` nor `requestId`.",
        "properties": {
            "action": {"description": "That of the request."},
            "requestId": {"description": "That of the request."},
            "code": {"enum": sorted({error.code for error in catalogue()})},
            "status": {"const": "error"},
            "error": {"type": "string", "description": "What is wrong, in words."},
            **ERROR_MEMBERS,
        },
        "required": ["code", "status", "error"],
        "additionalProperties": False,
    }
    return referred(found) | found
