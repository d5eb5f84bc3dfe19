"""Callers without a token: every action and every page is tried. They come from the gateway's own tables, so a new one
is tried here without a change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import product

import httpx
import pytest
from websockets.sync.client import connect

from hivewire.dialects import DIALECTS
from hivewire.http.routes import Context
from hivewire.openapi import DOCUMENTS
from hivewire.transport.admission import Admission
from hivewire.transport.events import EventStreams
from hivewire.transport.sockets import PATHS
from hivewire_protocol.catalogue import REQUESTS
from tests.running import PASSWORD, RunningGateway, Talk
from tests.world import World

ACTIONS = sorted(REQUESTS)
OPEN_ACTIONS = {"server/info", "server/cacheInfo", "cluster/info", "token", "token/refresh"}
"""What tells of the gateway, and what gives a token for a password or for another token."""

OPEN_PAGES = {
    *(("GET", path) for path in ("/health/live", "/health/ready", "/metrics", "/reltio/status")),
    *(("GET", path) for path in ("/", "/favicon.ico", *PATHS)),  # what this is, and that a socket takes an upgrade
    *(("GET", path) for path in ("/openapi.json", "/asyncapi.json")),
    *(("GET", f"/dashboard{path}") for path in ("", "/", "/file")),
    *((method, "/dashboard/session") for method in ("POST", "DELETE")),  # 403 without the header of the dashboard
    ("POST", "/dashboard/token"),
    *(("GET", f"/{context}/rest{path}") for context in ("api", "dh", "auth") for path in ("/", "/info")),
    *(("GET", f"/{context}/rest/info{path}") for context in ("api", "dh") for path in ("/cache", "/config/cluster")),
    *(("POST", f"/{context}/rest/token{path}") for context in ("api", "dh", "auth") for path in ("", "/refresh")),
}
"""The same over HTTP, where each context has a page that says what it is, and what probes ask."""

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


async def every_route() -> list[tuple[str, str]]:
    """The method and the path of every route, names filled in."""
    world = await World().open()
    try:
        admission = Admission(world.services.settings)
        streams = EventStreams(world.dispatcher)
        context = Context(world.dispatcher, admission, streams, lambda for_writes: None, DOCUMENTS)
        found = {(route.method, route.path) for make in DIALECTS for route in make(context).routes}
    finally:
        await world.close()
    return [(method, path.replace(":path", "").replace("{", "").replace("}", "")) for method, path in sorted(found)]


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    """All of them."""
    return asyncio.run(every_route())


@pytest.fixture(scope="module")
def pages(routes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Every method with the path of every route; those that are not there are answered with 405."""
    return list(product(METHODS, sorted({path for _, path in routes})))


@pytest.mark.parametrize("path", PATHS)
def test_only_the_listed_actions_are_open_without_a_token(shared_gateway: RunningGateway, path: str) -> None:
    """Every other action is 401 over a socket without a token, as an action and as JSON-RPC."""
    url = shared_gateway.socket_url.replace("/api/websocket", path)
    with Talk(connect(url, compression=None)) as talk:
        for action in ACTIONS:
            plain = talk(action, name="a", value="b", payload={"userId": 1})
            rpc = talk.frame({"jsonrpc": "2.0", "id": 1, "method": action, "params": {}})
            codes = [plain.get("code"), rpc.get("error", {}).get("code")]
            if action in OPEN_ACTIONS:
                assert 401 not in codes, (action, plain, rpc)
            else:
                assert codes == [401, 401], (action, plain, rpc)


def test_only_the_listed_pages_are_open_without_a_token(
    shared_gateway: RunningGateway, pages: list[tuple[str, str]]
) -> None:
    """Every other page of every dialect is 401 without a token, whatever the method and the Accept header."""
    asked = set()
    with httpx.Client(base_url=shared_gateway.url, params={"authenticate": "true"}) as client:
        for (method, path), accept in product(pages, ("*/*", "text/event-stream")):
            body = None if method in ("GET", "HEAD") else b"{}"
            headers = {"Accept": accept, "Content-Type": "application/json"}
            code = client.request(method, path, content=body, headers=headers).status_code
            if ("GET" if method == "HEAD" else method, path) in OPEN_PAGES:
                assert code not in (401, 405), (method, path)
            else:
                assert code in (401, 405), (method, path, code)
            if code != 405:
                asked.add((method, path))
    assert {path for _, path in asked} == {path for _, path in pages}
    assert asked >= OPEN_PAGES


# The cookie of site properties.


@pytest.fixture(scope="module")
def cookie(shared_gateway: RunningGateway) -> Iterator[str]:
    """An administrator's session, which is good where it belongs."""
    url = shared_gateway.url + "/@api/deki/"
    token = httpx.get(url + "users/authenticate", auth=("admin", PASSWORD)).text
    assert httpx.get(url + "site/properties", headers={"Cookie": f"authtoken={token}"}).status_code == 200
    yield token


def test_a_cookie_opens_no_page_but_site_properties(
    shared_gateway: RunningGateway, routes: list[tuple[str, str]], cookie: str
) -> None:
    """With nothing but the session of site properties, every route of REST and tenants answers as without a token."""
    ways = ({"Cookie": f"authtoken={cookie}"}, {"X-Authtoken": cookie}, {"Authorization": f"Bearer {cookie}"})
    closed = [
        (method, path)
        for method, path in routes
        if not path.startswith(("/@api", "/%40api")) and (method, path) not in OPEN_PAGES and method != "HEAD"
    ]
    with httpx.Client(base_url=shared_gateway.url) as client:
        for (method, path), headers in product(closed, ways):
            answer = client.request(method, path, headers=headers, content=None if method == "GET" else b"{}")
            assert answer.status_code == 401, (method, path, headers)


def test_a_cookie_opens_no_socket(shared_gateway: RunningGateway, cookie: str) -> None:
    """A handshake with a session cookie is anonymous: its requests are 401, and the cookie is not a token."""
    with shared_gateway.socket("") as unknown:
        assert unknown("authenticate", token=cookie)["code"] == 401
    with Talk(connect(shared_gateway.socket_url, additional_headers={"Cookie": f"authtoken={cookie}"})) as talk:
        for action in ("configuration/list", "configuration/put", "configuration/subscribe", "user/getCurrent"):
            assert talk(action, name="anonymous.cookie", value="x")["code"] == 401, action
