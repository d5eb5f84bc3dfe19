"""The dashboard: its files, and logging in to them (dashboard and clients, sections 2 and 5)."""

from __future__ import annotations

from hivewire.dialects.dashboard.files import HEADERS, MEDIA_TYPES, answer
from hivewire.dialects.dashboard.logins import DashboardLogins, Own
from hivewire.http.operations import (
    BODY_ERRORS,
    BYTES,
    CALLER_ERRORS,
    ERROR,
    ERRORS,
    LOCATION,
    SET_COOKIE,
    TEXT,
    Content,
    Operation,
    Parameter,
    json_of,
)
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response
from hivewire.http.routes import Context, Dialect, Route, anyone


def dialect(context: Context) -> Dialect:
    """The files, which need no token, and the requests of the login. No routes with `dashboard = false`."""
    if not context.dispatcher.services.settings.dashboard:
        return Dialect([])
    logins = DashboardLogins(context)
    routes: list[Route[HttpRequest] | Route[Own]] = [
        Route("GET", "/dashboard", anyone, _slash),
        Route("GET", "/dashboard/", anyone, answer),
        Route("GET", "/dashboard/{file:path}", anyone, answer),
        Route("POST", "/dashboard/session", logins.own, logins.log_in, "dashboard/session"),
        Route("DELETE", "/dashboard/session", logins.own, logins.log_out, "dashboard/session"),
        Route("POST", "/dashboard/token", logins.own, logins.renew, "dashboard/token"),
    ]
    listed = {"dashboard": ("/dashboard/", "this gateway in a browser")}
    return Dialect(routes, prefixes=("/dashboard/",), headers=HEADERS, listed=listed)


async def _slash(request: HttpRequest) -> Response:
    """Redirect to a relative address, because a proxy may have a prefix before the path (RFC 9110, section 10.2.2)."""
    return Response(308, headers={"Location": "dashboard/"})


_OWN = Parameter("Hivewire-Dashboard", "header", "`1`: pages of other origins cannot send it.", required=True)
_TOKEN = {"type": "object", "properties": {"accessToken": TEXT}, "required": ["accessToken"]}
_LOGIN = {"type": "object", "properties": {"login": TEXT, "password": TEXT}, "required": ["login", "password"]}
_TAG = Parameter("ETag", "header", "The hash of the file.")
_FILES = Content("The file.", {media_type.partition(";")[0]: BYTES for media_type in MEDIA_TYPES.values()}, (_TAG,))


def operations() -> tuple[Operation, ...]:
    """The routes, for the OpenAPI document."""
    named = Parameter("file", "path", "The path of a file.", required=True)
    answers = {200: _FILES, 304: Content("The browser has it already.", headers=(_TAG,))}
    login_errors = (*ERRORS, *CALLER_ERRORS, *BODY_ERRORS)
    return (
        Operation(
            "GET",
            "/dashboard",
            "dashboard_slash",
            "dashboard",
            "Redirect to the dashboard.",
            {308: Content("The redirect.", headers=(LOCATION,))},
            ERRORS,
            ERROR,
        ),
        Operation("GET", "/dashboard/", "dashboard", "dashboard", "The dashboard.", answers, ERRORS, ERROR),
        Operation(
            "GET",
            "/dashboard/{file:path}",
            "dashboard_file",
            "dashboard",
            "A file of the dashboard.",
            answers,
            ERRORS,
            ERROR,
            (named,),
        ),
        Operation(
            "POST",
            "/dashboard/session",
            "dashboard_login",
            "dashboard",
            "Log in: get an access token, and a cookie for further ones.",
            {200: json_of("The token.", _TOKEN, SET_COOKIE)},
            login_errors,
            ERROR,
            (_OWN,),
            json_of("Who logs in.", _LOGIN),
        ),
        Operation(
            "DELETE",
            "/dashboard/session",
            "dashboard_logout",
            "dashboard",
            "Log out: remove the cookie.",
            {204: Content("The cookie is removed.", {}, (SET_COOKIE,))},
            (*ERRORS, 403),
            ERROR,
            (_OWN,),
        ),
        Operation(
            "POST",
            "/dashboard/token",
            "dashboard_token",
            "dashboard",
            "Get another access token for the cookie.",
            {200: json_of("The token.", _TOKEN)},
            (*ERRORS, *CALLER_ERRORS),
            ERROR,
            (_OWN,),
            security=("dashboard",),
        ),
    )
