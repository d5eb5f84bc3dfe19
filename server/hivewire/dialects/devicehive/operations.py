"""The rows as operations of the OpenAPI document."""

from __future__ import annotations

import re

from hivewire.dialects.devicehive.rest import METHODS_WITH_BODY
from hivewire.dialects.devicehive.row import Row
from hivewire.dialects.devicehive.rows import ROWS
from hivewire.http.operations import (
    AFFECTS,
    BODY_ERRORS,
    CALLER_ERRORS,
    CONDITIONS,
    DRY_RUN,
    ERROR,
    ERRORS,
    ETAG,
    REVISION,
    TEXT,
    Content,
    Operation,
    Parameter,
    Schema,
    json_of,
    parameter_of,
)
from hivewire.http.response import JSON
from hivewire.transport.events import EVENTS
from hivewire_protocol.messages import Request, action_of, errors_of, noun_of
from hivewire_protocol.nouns.configuration import ConfigurationReply, ConfigurationTransactReply, RevisionReply
from hivewire_protocol.nouns.device_configuration import DeviceEffectiveReply
from hivewire_protocol.nouns.poll import CommandWait
from hivewire_protocol.schemas import ADDRESS, components, member, members_of, refer, sentence

ROOT = "/api/rest"

_WRITTEN = (ConfigurationReply, ConfigurationTransactReply, RevisionReply)
"""Replies to requests that may have conditions in headers."""

_LAST_EVENT = Parameter("Last-Event-ID", "header", "Of an event stream: the position to resume after.")


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    welcome = Content("A sentence.", {"text/plain": TEXT})
    first = Operation("GET", f"{ROOT}/", "welcome", "server", "Say what this is.", {200: welcome}, ERRORS, ERROR)
    return (first, *map(_operation, ROWS))


def _id(row: Row) -> str:
    """The action; followed by the path if several rows have the same action."""
    action = re.sub(r"\W", "_", action_of(row.request))
    first = next(each for each in ROWS if each.request is row.request)
    return action if row is first else action + re.sub(r"\W+", "_", f"_{row.method.lower()}{row.path}").rstrip("_")


def _operation(row: Row) -> Operation:
    request, in_path = row.request, re.findall(r"{(\w+)}", row.path)
    writes = row.method in METHODS_WITH_BODY
    body, in_body = (_body(row, in_path), _in_body(row, in_path)) if writes and not row.bodiless else (None, ())
    parameters = [parameter_of(request, name, "path", required=True) for name in in_path]
    for shape in dict.fromkeys((request, row.stream or request)):
        known = {parameter.name for parameter in parameters}
        names = [name for name in _members(shape) if name not in (*in_body, *known)]
        parameters += [parameter_of(shape, name, "query", required=name in shape.required) for name in names]
    parameters += [_LAST_EVENT] if row.stream is not None else []
    conditional = writes and request.reply in _WRITTEN and not row.unconditional
    parameters += CONDITIONS if conditional else ()
    errors = {
        *ERRORS,
        *CALLER_ERRORS,
        *(error.code for shape in (request, row.stream or request) for error in errors_of(shape)),
    }
    errors |= ({*BODY_ERRORS} if writes else set()) | ({412} if conditional else set())
    return Operation(
        row.method,
        ROOT + row.path,
        _id(row),
        noun_of(request),
        sentence(request),
        _answers(row),
        sorted(errors),
        ERROR,
        parameters,
        body,
        body_required=row.empty is not None and row.method != "DELETE",
        security=() if request.permission is None else ("bearer", "query") if row.stream is not None else ("bearer",),
    )


def _members(request: type[Request]) -> list[str]:
    """The members of a request over HTTP, where the path names networks and device types."""
    return [name for name in members_of(request) if name in request.__annotations__ or name not in ADDRESS[1:]]


def _in_body(row: Row, in_path: list[str]) -> tuple[str, ...]:
    """The members of the request that are in its body."""
    if row.body is not None:
        return (row.body,)
    return tuple(name for name in _members(row.request) if name not in in_path)


def _body(row: Row, in_path: list[str]) -> Content | None:
    request, names = row.request, _in_body(row, in_path)
    if row.body is not None:
        schema: Schema = member(request, row.body)
    elif names:
        required = [name for name in request.required if name in names]
        properties = {name: member(request, name) for name in names}
        strict = {"additionalProperties": False} if request.__struct_config__.forbid_unknown_fields else {}
        schema = {"type": "object", "properties": properties, **({"required": required} if required else {}), **strict}
    else:
        return None
    return json_of("One JSON object.", schema)


def _answers(row: Row) -> dict[int, Content]:
    request, reply = row.request, row.request.reply
    headers = [ETAG] if reply in (ConfigurationReply, DeviceEffectiveReply) else []
    headers += [REVISION] if reply in _WRITTEN else []
    headers += [DRY_RUN] if "dryRun" in request.__annotations__ else []
    headers += [AFFECTS] if "affects" in reply.__struct_fields__ else []
    if row.request is row.stream:
        return {200: Content(_STREAM, {EVENTS: TEXT})}
    if row.status == 204:
        return {204: Content("Done.", headers=headers)}
    shown = refer(reply) if row.shows is None else components()[reply.__name__]["properties"][row.shows]
    shown = shown["items"] if row.single else shown
    content = json_of(sentence(reply), shown, *headers)
    if row.stream is not None:
        content = Content(f"{content.what} {_STREAM}", {JSON: shown, EVENTS: TEXT}, headers)
    found = {row.status: content}
    if request is CommandWait:
        found[204] = Content("It was not updated in time.")
    if reply is DeviceEffectiveReply:
        found[304] = Content("The tags are those of `If-None-Match`.", headers=[ETAG])
    return found


_STREAM = "With `Accept: text/event-stream`: an event stream of pushes, whose ids are positions."
