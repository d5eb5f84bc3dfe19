"""The errors of the tenant dialect (tenant configuration, sections 1, 7.2 and 10)."""

from __future__ import annotations

from hivewire.http.request import HttpRequest
from hivewire.http.response import Response, json
from hivewire_protocol import errors as wire
from hivewire_protocol.errors import NotFound, WireError
from hivewire_protocol.tenant.errors import InternalError, TenantError


def refuse(request: HttpRequest, error: Exception) -> Response:
    """The error document."""
    if isinstance(error, wire.InternalError):
        error = InternalError()
    if isinstance(error, TenantError):
        return json(error.body(), error.status)
    assert isinstance(error, WireError)  # noqa: S101 - the only other one
    return _unauthorized(request, error) if error.code == 401 else _problem(error)


def _unauthorized(request: HttpRequest, error: WireError) -> Response:
    """The body of a 401. With `invalid_token`, which means that a token was sent, a program gets a new token and tries
    again."""
    if _has_token(request):
        return json({"error": "invalid_token", "error_description": str(error)}, 401)
    how = "send an access token in the header Authorization: Bearer TOKEN"
    return json({"error": "unauthorized", "error_description": f"{error}: {how}"}, 401)


def challenge(request: HttpRequest) -> str:
    """The challenge of a 401, which says whether a token was sent (RFC 6750, section 3.1)."""
    return 'Bearer realm="hivewire"' + (', error="invalid_token"' if _has_token(request) else "")


def _has_token(request: HttpRequest) -> bool:
    return (request.header("authorization") or "").lower().startswith("bearer ")


def _problem(error: WireError) -> Response:
    problem = {
        "severity": "Error",
        "errorMessage": str(error),
        "errorCode": 309 if isinstance(error, NotFound) else error.code,
        "errorDetailMessage": (type(error).__doc__ or "").partition("\n\n")[0],
    }
    return json(problem, error.code)
