"""The description of a route, in words and schemas, for the OpenAPI document. Each dialect has a table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from hivewire.http.response import JSON
from hivewire_protocol.messages import Request
from hivewire_protocol.schemas import ERROR_MEMBERS, member

Schema: TypeAlias = Mapping[str, Any]
"""A JSON Schema (2020-12)."""

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
BYTES: Schema = {"type": "string", "format": "binary"}
OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}

ANY: Mapping[str, Schema] = {"application/octet-stream": BYTES, "*/*": BYTES}
"""A body of any media type. Makers of clients look for the first one."""

ERRORS = (400, 404, 429, 500, 503)
"""Statuses that every request can get: a malformed one, an unknown path, too many, a failure, a stop."""

CALLER_ERRORS = (401, 403)
"""Further ones where a caller is needed, or an invalid token is refused."""

BODY_ERRORS = (408, 413, 415)
"""Further ones where a body is read."""

Location: TypeAlias = Literal["path", "query", "header"]

Security: TypeAlias = Literal["bearer", "query", "basic", "session", "client", "dashboard"]
"""How callers authenticate: a key of the document's security schemes."""


def list_of(schema: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": schema}


class Parameter(NamedTuple):
    """A parameter in the path, the query or the headers of a request, or a header of an answer."""

    name: str
    location: Location
    what: str
    schema: Schema = TEXT
    required: bool = False


class Content(NamedTuple):
    """The body of a request or of an answer: what it is, its schema for each media type, and headers."""

    what: str
    schemas: Mapping[str, Schema] = MappingProxyType({})
    headers: Sequence[Parameter] = ()


def json_of(what: str, schema: Schema, *headers: Parameter) -> Content:
    """A body in JSON."""
    return Content(what, {JSON: schema}, headers)


def parameter_of(
    request: type[Request], name: str, location: Location = "query", *, required: bool = False
) -> Parameter:
    """A member of a request that is in the path or the query."""
    schema = member(request, name)
    return Parameter(name, location, schema.pop("description"), schema or TEXT, required)


class ErrorForm(NamedTuple):
    """The form of the errors of a dialect, and its name in the document."""

    name: str
    body: Content


ERROR = ErrorForm(
    "RestError",
    json_of(
        "The error.",
        {
            "type": "object",
            "properties": {
                "error": {"type": "integer", "description": "The status again."},
                "message": {"type": "string", "description": "What is wrong, in words."},
                **ERROR_MEMBERS,
            },
            "required": ["error", "message"],
        },
    ),
)
"""The body of `error_document`."""


LOCATION = Parameter("Location", "header", "Where it is, relative to this address.")
SET_COOKIE = Parameter("Set-Cookie", "header", "The session of a browser.")
ETAG = Parameter("ETag", "header", "The `entityVersion` in quotes.")
REVISION = Parameter("Hivewire-Revision", "header", "The revision of what the answer shows, or of the write.", NUMBER)
AT_LEAST = Parameter("Hivewire-At-Least", "header", "Wait until the gateway has this revision; after 5 s 503.", NUMBER)
DRY_RUN = Parameter("Hivewire-Dry-Run", "header", "`true`: nothing was written.")
AFFECTS = Parameter(
    "Hivewire-Affects",
    "header",
    "Of a dry run in layers, the devices that it is about: `devices=12, online=3, hidden=0`.",
)
CONDITIONS = (
    Parameter("If-Match", "header", '`*`, or tags such as `"7"`: one must be the current version, otherwise 412.'),
    Parameter("If-None-Match", "header", "The opposite; `*` stands for any existing configuration."),
)
"""The conditions of writes to configurations."""


class Operation(NamedTuple):
    """One method of one path, which is that of its route.

    `answers` are those of success, by status; `errors` are the statuses of others, which have the form `error`.
    `security` has the ways to authenticate, of which one is enough; without any, no token is needed.
    """

    method: str
    path: str
    name: str
    tag: str
    what: str
    answers: Mapping[int, Content]
    errors: Sequence[int]
    error: ErrorForm
    parameters: Sequence[Parameter] = ()
    body: Content | None = None
    body_required: bool = True
    security: Sequence[Security] = ()
