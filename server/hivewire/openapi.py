"""The OpenAPI 3.1 document: every route of every dialect, made from their tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hivewire import __version__
from hivewire.dialects import operations
from hivewire.http.operations import AT_LEAST, NUMBER, Content, Operation, Parameter, Schema
from hivewire.http.response import JSON
from hivewire_protocol import asyncapi
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import catalogue
from hivewire_protocol.schemas import PLACE, referred, sentence

DESCRIPTION = """\
Everything that the gateway answers over HTTP. The paths below `/api/rest` are there below `/dh/rest` too, and \
those of tokens, users and single configurations below `/auth/rest`. A POST can name another method in \
`X-HTTP-Method-Override`. HEAD is GET without the body.

An access token comes from `POST /api/rest/token`. What goes over the WebSocket is in the AsyncAPI document."""

SECURITY: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "query": {"type": "apiKey", "in": "query", "name": "access_token", "description": "For event streams only."},
    "basic": {"type": "http", "scheme": "basic", "description": "An administrator's login and password."},
    "session": {"type": "apiKey", "in": "header", "name": "X-Authtoken", "description": "Of `users/authenticate`."},
    "dashboard": {"type": "apiKey", "in": "cookie", "name": "hivewire_dashboard", "description": "Of the dashboard."},
    "client": {"type": "http", "scheme": "basic", "description": "The id and the secret of a client."},
}

REASONS = {
    400: "The request is malformed.",
    401: "Nobody is logged in, or the token is not valid.",
    403: "The caller may not do this.",
    404: "It does not exist.",
    408: "The body did not arrive in time.",
    409: "It has another version than was expected, or something that exists is in the way.",
    412: "A condition in a header does not hold.",
    413: "The body or the answer is too large.",
    415: "The body has a wrong media type.",
    422: "The value does not fit its schema, or the idempotency key was used for other content.",
    429: "Too many requests; `Retry-After` says how long to wait.",
    500: "The gateway failed.",
    501: "The form of the body is not supported.",
    503: "The gateway cannot do this now.",
}
"""What errors with the same status have in common."""


HEADERS = {
    401: (Parameter("WWW-Authenticate", "header", "How to log in (RFC 9110, section 11.6.1)."),),
    429: (Parameter("Retry-After", "header", "Seconds to wait.", NUMBER),),
}
"""Headers of errors, by status."""


DOCUMENTS: dict[str, Callable[[], bytes]] = {
    "openapi": lambda: encode(document(__version__)),
    "asyncapi": lambda: encode(asyncapi.document(__version__)),
}
"""What makes each API document of this gateway, as JSON. It takes some tenths of a second."""


def document(release: str) -> dict[str, Any]:
    """The document of this version of the gateway."""
    paths: dict[str, dict[str, Schema]] = {}
    errors: dict[str, Schema] = {}
    schemas: dict[str, Schema] = {}
    for operation in operations():
        paths.setdefault(template(operation.path), {})[operation.method.lower()] = _operation(operation)
        form = operation.error
        schemas[form.name] = form.body.schemas[JSON]
        body = {**form.body.schemas, JSON: {"$ref": PLACE.format(name=form.name)}}
        for status in operation.errors:
            errors[_error(operation, status)] = _answer(Content(reason(status), body, HEADERS.get(status, ())))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hivewire",
            "version": release,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**referred(paths, schemas), **schemas},
            "responses": dict(sorted(errors.items())),
            "securitySchemes": SECURITY,
        },
    }


def template(path: str) -> str:
    """The path of a route as the document has it: OpenAPI has no form for the rest of a path, `{name:path}`."""
    return path.replace(":path}", "}")


def reason(status: int) -> str:
    """What an error with this status means: that of a status without an entry in REASONS is what its class says."""
    return REASONS.get(status) or next(sentence(error) for error in catalogue() if error.code == status)


def _operation(operation: Operation) -> Schema:
    answers = {str(status): _answer(content) for status, content in sorted(operation.answers.items())}
    for status in operation.errors:
        answers.setdefault(str(status), {"$ref": f"#/components/responses/{_error(operation, status)}"})
    found: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.what,
        "parameters": [_parameter(each) for each in (*operation.parameters, *([AT_LEAST] * bool(operation.security)))],
        "responses": answers,
        "security": [{name: []} for name in operation.security],
    }
    if operation.body is not None:
        body = operation.body
        found["requestBody"] = {
            "description": body.what,
            "required": operation.body_required,
            "content": {media_type: {"schema": schema} for media_type, schema in body.schemas.items()},
        }
    return found


def _error(operation: Operation, status: int) -> str:
    """Where the document has an error, which many operations share."""
    return f"{operation.error.name}{status}"


def _parameter(parameter: Parameter) -> Schema:
    return {"name": parameter.name, "in": parameter.location, "required": parameter.required, **_described(parameter)}


def _answer(content: Content) -> Schema:
    found: dict[str, Any] = {"description": content.what}
    if content.schemas:
        found["content"] = {media_type: {"schema": schema} for media_type, schema in content.schemas.items()}
    if content.headers:
        found["headers"] = {header.name: _described(header) for header in content.headers}
    return found


def _described(parameter: Parameter) -> dict[str, Any]:
    return {"description": parameter.what, "schema": parameter.schema}
