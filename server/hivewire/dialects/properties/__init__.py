"""The property dialect, `/@api/deki`: site properties with etags, for the scripts of wiki administrators.

A property is a configuration record, so putting one here is a transaction of the ledger like any other. The sections
cited are those of the site properties contract; its order of checks (section 7.5) is the order of the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from hivewire.dialects.properties.batches import Batches
from hivewire.dialects.properties.calls import PropertyCallers, challenge, method_of, refuse
from hivewire.dialects.properties.operations import operations
from hivewire.dialects.properties.pages import PropertyPages
from hivewire.dialects.properties.store import PropertyStore
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response
from hivewire.http.routes import Context, Dialect, Route
from hivewire_protocol.properties.paths import ROOTS

__all__ = ["dialect", "operations"]


def dialect(context: Context) -> Dialect:
    """Everything under the API's root, its 404s included."""
    services = context.dispatcher.services
    origins = frozenset(origin.strip() for origin in services.settings.property_origins.split(",")) - {""}
    callers, store = PropertyCallers(services, origins), PropertyStore(services)
    pages, batches = PropertyPages(services, store, callers, context.admission), Batches(context, store)
    admin, list_ = callers.administrator, "site/properties"
    one, info, login = f"{list_}/{{key}}", f"{list_}/{{key}}/info", "users/authenticate"
    table = (
        ("GET", login, callers.anyone, pages.authenticate, "authenticate"),
        ("POST", login, callers.anyone, pages.authenticate, "authenticate"),
        ("GET", list_, admin, pages.list_, "list"),
        ("POST", list_, admin, pages.post, "post"),
        ("PUT", list_, admin, batches.put, "batch"),
        ("GET", one, admin, pages.get, "get"),
        ("PUT", one, admin, pages.put, "put"),
        ("DELETE", one, admin, pages.delete, "delete"),
        ("GET", info, admin, pages.info, "info"),
    )
    return Dialect(
        [
            Route(method, f"{root}/{path}", admit, handle, f"property/{name}")
            for root in ROOTS
            for method, path, admit, handle, name in table
        ],
        partial(refuse, services),
        challenge=challenge,
        prefixes=ROOTS,
        method=method_of,
        options=True,
        finish=lambda request, response: _share(request, response, origins),
        unknown_path="There is no such path",
        count_unknown=True,
        listed={"properties": ("/@api/deki/site/properties", "site properties, as wikis have them")},
    )


def _share(request: HttpRequest, response: Response, origins: frozenset[str]) -> None:
    """Let the pages of configured origins see the answer (section 11, row 20). The CORS headers of other dialects
    would be unsafe: browsers add the credentials of this dialect automatically."""
    origin = request.headers.get("origin")
    if origins:
        response.headers["Vary"] = "Origin"
    if origin in origins:
        response.headers.update({"Access-Control-Allow-Origin": origin, **_SHARED})


_SHARED: Mapping[str, str] = {
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, ETag, Slug, X-Authtoken, X-Deki-Token, "
    "X-HTTP-Method-Override",
    "Access-Control-Expose-Headers": "ETag, Retry-After",
}
