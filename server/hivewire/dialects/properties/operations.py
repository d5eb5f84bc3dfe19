"""The pages as operations of the OpenAPI document. `docs/properties.md` says more about their rules."""

from __future__ import annotations

from hivewire.http.operations import (
    ANY,
    BODY_ERRORS,
    CALLER_ERRORS,
    ERRORS,
    LOCATION,
    NUMBER,
    OBJECT,
    REVISION,
    SET_COOKIE,
    TEXT,
    Content,
    ErrorForm,
    Operation,
    Parameter,
)
from hivewire.http.response import JSON
from hivewire_protocol.properties.aborts import Abort
from hivewire_protocol.properties.markup import Form
from hivewire_protocol.properties.paths import ROOTS

_LIST = f"{ROOTS[0]}/site/properties"
_ONE = f"{_LIST}/{{key}}"
_LOGIN = f"{ROOTS[0]}/users/authenticate"

_FORMS = {Form.XML.media_type.partition(";")[0]: TEXT, JSON: OBJECT}
_ERROR = ErrorForm("PropertyError", Content("The error, as XML or JSON.", _FORMS))
_DOCUMENT = Content("The document, as XML or JSON.", _FORMS)
_ETAG = Parameter("ETag", "header", "Its etag.")
_DESCRIBED = Content("The property, as XML or JSON.", _FORMS, (_ETAG, REVISION))
_CONTENT = Content("The content.", ANY)
_CONTENT_READ = Content("The content.", ANY, (_ETAG,))

_READ, _WRITE = (*ERRORS, *CALLER_ERRORS), (*ERRORS, *CALLER_ERRORS, *BODY_ERRORS, 409, 422, 501)

_KEY = Parameter("key", "path", "The name, percent-encoded twice.", required=True)
_COMMON = (
    Parameter("dream.out.format", "query", "The form of the answer.", {"enum": [form.value for form in Form]}),
    Parameter("authenticate", "query", "`true`: a 401 instead of a 403 for anonymous callers."),
)
_CUTOFF = Parameter("contentcutoff", "query", "The most bytes of text that are shown; default 2,047.", NUMBER)
_STORING = (
    Parameter("abort", "query", "When to refuse.", {"enum": [abort.value for abort in Abort]}),
    Parameter("description", "query", "The reason of the change."),
    Parameter("etag", "query", "The etag of the version that was read; also as the header `Etag`."),
)


def _operation(
    method: str,
    path: str,
    name: str,
    what: str,
    answers: dict[int, Content],
    *parameters: Parameter,
    body: Content | None = None,
) -> Operation:
    return Operation(
        method,
        path,
        f"property_{name}",
        "site properties",
        what,
        answers,
        sorted(_READ if body is None else _WRITE),
        _ERROR,
        (*parameters, *_COMMON),
        body,
        security=("basic", "session"),
    )


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    return (
        _operation(
            "GET",
            _LIST,
            "list",
            "List the properties by name.",
            {200: _DOCUMENT},
            Parameter("names", "query", "Names, `prefix*` or `*suffix`, separated by commas."),
            _CUTOFF,
        ),
        _operation(
            "POST",
            _LIST,
            "post",
            "Create a property.",
            {200: _DESCRIBED},
            Parameter("Slug", "header", "The name, percent-encoded.", required=True),
            *_STORING,
            body=_CONTENT,
        ),
        _operation(
            "PUT",
            _LIST,
            "batch",
            "Create, update and delete many properties, each independently.",
            {
                200: _DOCUMENT._replace(headers=(REVISION,)),
                207: Content("The same; at least one failed.", _FORMS, (REVISION,)),
            },
            body=Content("The batch.", {"application/xml": TEXT, "text/xml": TEXT}),
        ),
        _operation("GET", _ONE, "get", "Read the content of a property.", {200: _CONTENT_READ}, _KEY),
        _operation("PUT", _ONE, "put", "Change a property.", {200: _DESCRIBED}, _KEY, *_STORING, body=_CONTENT),
        _operation("DELETE", _ONE, "delete", "Delete a property.", {200: Content("Done.", headers=(REVISION,))}, _KEY),
        _operation("GET", f"{_ONE}/info", "info", "Describe a property.", {200: _DOCUMENT}, _KEY, _CUTOFF),
        *(
            _operation(
                method,
                _LOGIN,
                f"authenticate_{method.lower()}",
                "Give a session token for a login and a password.",
                {
                    200: Content("The token.", {"text/plain": TEXT}, (SET_COOKIE,)),
                    302: Content("The token in a cookie, and a redirect.", headers=(SET_COOKIE, LOCATION)),
                },
                Parameter("redirect", "query", "Target of the redirect."),
            )
            for method in ("GET", "POST")
        ),
    )
