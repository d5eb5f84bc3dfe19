"""The content of a configuration as it is, byte for byte: text of any length, images, archives.

Tokens, rights, conditions in headers and errors are as in the DeviceHive dialect. There the value is a member of a JSON
object, which cannot hold bytes.
"""

from __future__ import annotations

from functools import partial

from msgspec import UNSET

from hivewire.actions.configuration import get_change, put_content
from hivewire.http import body
from hivewire.http.conditions import conditions_of
from hivewire.http.cors import CORS
from hivewire.http.operations import (
    ANY,
    CALLER_ERRORS,
    CONDITIONS,
    DRY_RUN,
    ERROR,
    ERRORS,
    ETAG,
    REVISION,
    Content,
    Operation,
    Parameter,
    json_of,
    parameter_of,
)
from hivewire.http.parameters import request_of
from hivewire.http.peer import Admitted, admit_request
from hivewire.http.response import JSON, SANDBOX, Response
from hivewire.http.routes import Context, Dialect, Route, effective_method
from hivewire.ledger.pending import PendingWrite
from hivewire_protocol.nouns.configuration import Configuration, ConfigurationGet, ConfigurationPut, ConfigurationReply
from hivewire_protocol.properties.contents import BINARY
from hivewire_protocol.schemas import refer

CONTEXTS = ("api", "dh")


def dialect(context: Context) -> Dialect:
    """`/configuration/{name}/content` of the REST API."""
    contents, admit = Contents(context), partial(admit_request, context.dispatcher)
    rows = (("GET", ConfigurationGet, contents.get), ("PUT", ConfigurationPut, contents.put))
    routes = [
        Route(method, f"/{root}/rest/configuration/{{name}}/content", partial(admit, root, shape), page, shape)
        for root in CONTEXTS
        for method, shape, page in rows
    ]
    return Dialect(routes, method=effective_method, options=True, headers=CORS)


class Contents:
    """The handlers of both methods."""

    def __init__(self, context: Context) -> None:
        self._dispatcher = context.dispatcher
        self._services = context.dispatcher.services
        self._admission = context.admission

    async def get(self, call: Admitted) -> Response:
        """The current content, or an earlier one by `entityVersion` or `revision`, with its type."""
        found = await get_change(self._services, call.caller, request_of(ConfigurationGet, call.request))
        self._dispatcher.admit(call.caller, ConfigurationGet)  # the right may have ended while it was read
        tags = {"ETag": f'"{found.version}"', REVISION.name: str(found.revision)}
        return Response(200, memoryview(found.content or b""), found.content_type, tags | SANDBOX)

    async def put(self, call: Admitted) -> Response:
        """Store the body with its `Content-Type`; description and conditions are in the query or in headers."""
        request = call.request
        asked = request_of(ConfigurationPut, request)
        asked.contentType = request.headers.get("content-type") or BINARY
        content = await body.read(request, self._admission, self._services.settings.property_bytes)
        self._dispatcher.admit(call.caller, ConfigurationPut)  # the right may have ended while the body arrived
        judged = put_content(self._services, call.caller, asked, content)
        pending = judged if isinstance(judged, PendingWrite) else await judged
        reply = await self._dispatcher.write(
            call.caller, pending, conditions_of(request, self._services.resources.change)
        )
        assert isinstance(reply, ConfigurationReply)  # noqa: S101 - what a put answers
        headers = {"ETag": f'"{reply.configuration.entityVersion}"', REVISION.name: str(reply.revision)}
        if reply.dryRun is not UNSET:
            headers = {DRY_RUN.name: "true"}
        return Response(200, reply.member("configuration"), JSON, headers)


_PATH = "/api/rest/configuration/{name}/content"
_NAME = Parameter("name", "path", "The configuration's name.", required=True)


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    return (
        Operation(
            "GET",
            _PATH,
            "content_get",
            "configuration",
            "Read the content of a configuration as it is, with its media type.",
            {200: Content("The content.", ANY, (ETAG, REVISION))},
            sorted((*ERRORS, *CALLER_ERRORS)),
            ERROR,
            (
                _NAME,
                *(parameter_of(ConfigurationGet, name) for name in ("layer", "entityVersion", "revision", "reveal")),
            ),
            security=("bearer",),
        ),
        Operation(
            "PUT",
            _PATH,
            "content_put",
            "configuration",
            "Create or update a configuration with any content; its media type is in `Content-Type`.",
            {200: json_of("The configuration.", refer(Configuration), ETAG, REVISION, DRY_RUN)},
            sorted((*ERRORS, *CALLER_ERRORS, 408, 409, 412, 413, 415, 422)),
            ERROR,
            (
                _NAME,
                *(
                    parameter_of(ConfigurationPut, name)
                    for name in ("description", "check", "entityVersion", "revision", "dryRun")
                ),
                *CONDITIONS,
            ),
            Content("The content.", ANY),
            security=("bearer",),
        ),
    )
