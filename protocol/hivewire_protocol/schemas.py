"""JSON Schemas (2020-12) of requests, replies, pushes and what is inside of them, for the API documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

import msgspec

from hivewire_protocol.catalogue import HTTP_ONLY, PUSHES, REQUESTS
from hivewire_protocol.messages import Request

Schema: TypeAlias = dict[str, Any]

ALL: dict[str, type[Request]] = {**REQUESTS, **HTTP_ONLY}
"""All requests: noun by noun, then those that are there over HTTP only."""

PLACE = "#/components/schemas/{name}"
"""Where both documents keep the schemas."""

ADDRESS = ("deviceId", "networkId", "deviceTypeId")
"""Members that the decoder checks in every request, and that few requests heed."""


def refer(schema: type) -> Schema:
    """A reference to the schema of a struct."""
    return {"$ref": PLACE.format(name=schema.__name__)}


def sentence(documented: object) -> str:
    """The first paragraph of a docstring, without the section of a specification that the rule comes from."""
    text = " ".join((documented.__doc__ or "").partition("\n\n")[0].split())
    return re.sub(r" \([^()]*\b(?:section|core protocol) [^()]*\)", "", text)


def members_of(request: type[Request]) -> tuple[str, ...]:
    """The names of the members that a request heeds, beside `action`, `requestId`, `trace` and `jsonrpc`."""
    heeded = {*request.required, *request.heeds, *request.__annotations__}
    own = [name for name in request.__struct_fields__ if name in heeded and name not in ADDRESS]
    return (*(name for name in ADDRESS if name in heeded), *own)


@cache
def components() -> dict[str, Schema]:
    """The schema of each struct by its name. A request has just the members that it heeds."""
    shapes = [*ALL.values(), *PUSHES.values(), *{request.reply: None for request in ALL.values()}]
    _, found = msgspec.json.schema_components(shapes, ref_template=PLACE)
    for request in ALL.values():
        schema = found[request.__name__]
        kept = ("action", "requestId", "trace", *members_of(request))
        schema["properties"] = {name: _given(schema["properties"][name]) for name in kept}
    for shape in _structs(found):
        schema = found[shape.__name__]
        schema["description"] = sentence(shape)
        required = [*schema.get("required", ()), *getattr(shape, "required", ())]
        schema["required"] = list(dict.fromkeys(required))
        if not schema["required"]:
            del schema["required"]
    return found


def member(request: type[Request], name: str) -> Schema:
    """The schema of a member of a request, without null, which says no more than its absence."""
    schema = dict(components()[request.__name__]["properties"][name])
    options = [option for option in schema.pop("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        schema = {**options[0], **schema}
    elif options:
        schema["anyOf"] = options
    return schema


def referred(*parts: Any) -> dict[str, Schema]:
    """The schemas that parts of a document refer to, and those that these refer to."""
    found: dict[str, Schema] = {}
    pending = [*parts]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            name = str(part.get("$ref", "")).removeprefix(PLACE.format(name=""))
            if name in components() and name not in found:
                found[name] = components()[name]
                pending.append(found[name])
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return dict(sorted(found.items()))


def _given(schema: Schema) -> Schema:
    """The schema of a member that a client gives: that it is null when absent needs no words."""
    return {name: value for name, value in schema.items() if name != "default"}


def _structs(found: dict[str, Schema]) -> list[type]:
    """The structs that have a schema here."""
    known: dict[str, type] = {}
    pending: list[type] = [msgspec.Struct]
    while pending:
        children: list[type] = pending.pop().__subclasses__()
        pending += children
        known |= {child.__name__: child for child in children if child.__module__.startswith("hivewire_protocol.")}
    return [known[name] for name in found if name in known]


ERROR_MEMBERS: dict[str, Schema] = {
    "change": {
        "anyOf": [{"$ref": PLACE.format(name="ChangeInfo")}, {"type": "null"}],
        "description": "409 and 412: the current change; null when there is none.",
    },
    "index": {"type": "integer", "description": "The number of the change of a transaction that failed, from 0 on."},
    "problems": {
        "type": "array",
        "items": {"$ref": PLACE.format(name="Problem")},
        "description": "422: the rules that the value breaks, at most 20.",
    },
    "misfits": {
        "type": "array",
        "items": {"$ref": PLACE.format(name="Misfit")},
        "description": "409 of a schema: stored configurations that do not fit it, at most 20.",
    },
    "changes": {
        "type": "array",
        "items": {"$ref": PLACE.format(name="RolloutChange")},
        "description": "409 of a completed rollout: the changes that undo it.",
    },
    "retryAfter": {"type": "integer", "description": "429: the seconds to wait."},
    "hint": {"type": "string", "description": "404 of an unknown path: where the right ones are listed."},
}
"""Further members of an error, by its class."""
