"""The routes as operations of the OpenAPI document. `docs/tenant-configuration.md` says more about their rules."""

from __future__ import annotations

from hivewire.http.operations import (
    ANYTHING,
    BODY_ERRORS,
    CALLER_ERRORS,
    ERRORS,
    NUMBER,
    OBJECT,
    REVISION,
    TEXT,
    Content,
    ErrorForm,
    Operation,
    Parameter,
    Schema,
    json_of,
    list_of,
)
from hivewire_protocol.tenant.errors import LEVELS

_TENANT = "/reltio/api/{tenantId}"
_DOCUMENT = f"{_TENANT}/configuration"
_PART = f"{_DOCUMENT}/{{address:path}}"

_ID = Parameter("tenantId", "path", "The tenant.", required=True)
_ADDRESS = Parameter("address", "path", "A collection, a type or a part of one; it has slashes.", required=True)
_SINCE = Parameter("If-Unmodified-Since", "header", "Write only if the document has not changed since; otherwise 412.")
_MODIFIED = Parameter("Last-Modified", "header", "When the document was saved.")
_WARNINGS = Parameter("Hivewire-Warnings", "header", "The number of warnings about the document, if any.", NUMBER)
_LEVEL = Parameter("validationErrorLevel", "query", "Which findings to show; `all` when absent.", {"enum": [*LEVELS]})

_BODY = json_of("The document, or the part of it.", OBJECT)
_STORED = json_of("As it was saved.", ANYTHING, _MODIFIED)
_SAVED = json_of("As it was saved.", ANYTHING, _MODIFIED, REVISION, _WARNINGS)
_FINDINGS = json_of("`errors` and `warnings` by the URI of the element.", OBJECT)
_ERROR = ErrorForm("TenantError", json_of("The error.", OBJECT))


def _page(most: str, default: int) -> tuple[Parameter, Parameter]:
    return (
        Parameter("max", "query", f"{most} Default {default}.", NUMBER),
        Parameter("offset", "query", "The number to skip.", NUMBER),
    )


def _operation(
    method: str,
    path: str,
    name: str,
    what: str,
    answers: dict[int, Content],
    *parameters: Parameter,
    body: Content | None = None,
    public: bool = False,
) -> Operation:
    errors = {*ERRORS} | ({*CALLER_ERRORS} if not public else set()) | ({*BODY_ERRORS} if body is not None else set())
    return Operation(
        method,
        path,
        name,
        "tenant",
        what,
        answers,
        sorted(errors | ({412} if _SINCE in parameters else set())),
        _ERROR,
        (_ID, *parameters) if "{tenantId}" in path else parameters,
        body,
        security=() if public else ("bearer",),
    )


def _listed(what: str, item: Schema) -> dict[int, Content]:
    return {200: json_of(what, list_of(item))}


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    return (
        _operation(
            "GET",
            "/reltio/status",
            "tenant_status",
            "Say that the gateway runs.",
            {200: json_of("It does.", OBJECT)},
            public=True,
        ),
        _operation(
            "GET",
            "/reltio/tenants",
            "tenant_tenants",
            "List the tenants that the caller may read.",
            _listed("Their ids.", TEXT),
        ),
        _operation(
            "GET",
            "/reltio/permissions/{tenantId}",
            "tenant_permissions",
            "Say what the caller may do in a tenant.",
            {200: json_of("The privileges by object.", {"type": "object", "additionalProperties": list_of(TEXT)})},
        ),
        _operation(
            "GET",
            _DOCUMENT,
            "document_get",
            "Read the document of a tenant.",
            {200: _STORED},
            Parameter("select", "query", "Only these collections, separated by commas."),
            Parameter("options", "query", "`showAccess`: the caller's rights in each element."),
        ),
        _operation("PUT", _DOCUMENT, "document_put", "Replace the document.", {200: _SAVED}, _SINCE, body=_BODY),
        *(
            _operation(
                "GET",
                f"{_DOCUMENT}/{word}",
                f"document_{word[1:]}",
                "Read the document without what it inherits.",
                {200: _STORED},
            )
            for word in ("_noInheritance", "_noinheritance")
        ),
        _operation(
            "GET",
            f"{_DOCUMENT}/_history",
            "document_history",
            "List the versions of the document, newest first.",
            _listed("The versions.", OBJECT),
            *_page("The most versions to return, up to 1,000.", 10),
        ),
        _operation(
            "POST",
            f"{_DOCUMENT}/_validation",
            "document_validate",
            "Check a document without saving it.",
            {200: _FINDINGS},
            _LEVEL,
            body=_BODY,
        ),
        *(
            _operation("GET", path, name, "Check the stored document.", {200: _FINDINGS}, _LEVEL)
            for name, path in (
                ("document_validateStored", f"{_DOCUMENT}/_validateTenantConfiguration"),
                ("tenant_validateStored", "/reltio/tenants/{tenantId}/_validateTenantConfiguration"),
            )
        ),
        _operation("GET", _PART, "part_get", "Read a collection, a type, or a part of one.", {200: _STORED}, _ADDRESS),
        _operation("POST", _PART, "part_insert", "Add one.", {201: _SAVED}, _ADDRESS, _SINCE, body=_BODY),
        _operation(
            "PUT", _PART, "part_replace", "Replace it.", {200: _SAVED, 202: _SAVED}, _ADDRESS, _SINCE, body=_BODY
        ),
        _operation(
            "DELETE",
            _PART,
            "part_remove",
            "Remove it.",
            {
                200: json_of("What was removed.", OBJECT, _MODIFIED, REVISION, _WARNINGS),
                204: Content("Done.", headers=(_MODIFIED, REVISION, _WARNINGS)),
            },
            _ADDRESS,
            _SINCE,
            Parameter("option", "query", "Of a source: what happens to its data."),
        ),
        _operation(
            "POST",
            f"{_TENANT}/activities",
            "activity_post",
            "Store an activity, any JSON object.",
            {200: json_of("The stored activity.", OBJECT)},
            Parameter("activityid", "header", "The `activityID` of one that has none."),
            body=json_of("The activity.", OBJECT),
        ),
        _operation(
            "GET",
            f"{_TENANT}/activities",
            "activity_list",
            "List the activities, newest first.",
            _listed("The activities.", OBJECT),
            *_page("The most to return, up to 1,000.", 20),
            Parameter("user", "query", "Only those of this user."),
        ),
    )
