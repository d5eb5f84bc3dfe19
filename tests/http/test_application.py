"""The pipeline: from a request to the answer, for all dialects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
import pytest
from structlog.testing import capture_logs

from hivewire.actions import poll
from hivewire.dialects import DIALECTS
from hivewire.dialects.devicehive.rows import ROWS
from hivewire.dialects.properties import calls
from hivewire.http.application import Application
from hivewire.http.body import ClientGone
from hivewire.http.operations import AFFECTS, DRY_RUN, REVISION
from hivewire.http.response import Response, json
from hivewire.http.routes import Context, Dialect, Route, anyone
from hivewire.ledger.records import NotDurable
from hivewire.transport.admission import Admission
from hivewire.transport.events import EventStreams
from hivewire_protocol.errors import NotAllowed, TooLarge, TooManyAttempts, Unauthorized
from tests.exchange import Exchange
from tests.world import World


class Answer(NamedTuple):
    """What was sent; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Connection:
    """A connection of nobody, whose peer has read everything."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] | None = None
        self.flow = SimpleNamespace(write_paused=False)
        self.known = None
        self.delayed_until = 0.0
        self.anonymous = True
        self.delays = 0

    def logged_in(self) -> None:
        self.anonymous = False

    def when_lost(self, call: Any) -> None:
        """It is not."""

    def delay_next(self) -> None:
        self.delays += 1


class Gateway:
    """A gateway in memory, and a connection to it."""

    def __init__(self, world: World, *dialects: Any) -> None:
        self.world = world
        admission, streams = Admission(world.services.settings), EventStreams(world.dispatcher)
        context = Context(world.dispatcher, admission, streams, lambda for_writes: None)
        self.application = Application(dialects or DIALECTS, context)
        self.connection = Connection()
        self.scope: dict[str, Any] = {}
        """That of the last request."""

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """The answer to a request; an underscore in the name of a header stands for a hyphen."""
        self.scope = scope = {
            "method": method,
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.1", 4711),
            "scheme": "http",
            "hivewire.connection": self.connection,
        }

        exchange = Exchange(method, body=body)
        await self.application(scope, exchange.receive, exchange.send)
        head, _, content = exchange.written.pieces.pop().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        assert len(fields) == len(lines), "a header twice"
        return Answer(int(first.split(" ")[1]), fields, content)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().open()
    yield world
    await world.close()


@pytest.fixture
def gateway(world: World) -> Gateway:
    return Gateway(world)


async def test_a_new_interface_is_on_the_first_page(world: World) -> None:
    """What a dialect lists is there, and each dialect with paths of its own lists some of them."""
    new = Dialect([], prefixes=("/new/",), listed={"new": ("/new/things", "things < others")})
    world.services.settings = msgspec.structs.replace(
        world.services.settings, dashboard=False
    )  # it is the page otherwise
    gateway = Gateway(world, *DIALECTS, lambda context: new)
    assert [each.prefixes for each in gateway.application.dialects if each.prefixes and not each.listed] == []
    assert (await gateway.ask("GET", "/")).json()["new"] == "/new/things"
    page = (await gateway.ask("GET", "/", accept="text/html")).body
    assert b"<code>/new/things</code><td>things &lt; others" in page


async def test_a_request_that_waits_keeps_nothing_of_its_head(world: World, gateway: Gateway) -> None:
    """Thousands may wait."""
    assert {row.request for row in ROWS if row.waits} == {*poll.READS}
    bearer = f"Bearer {world.token()}"
    waiting = asyncio.create_task(
        gateway.ask("GET", "/api/rest/device/notification/poll?names=a", authorization=bearer)
    )
    while not world.services.polls.gauges()["polls"][1]():
        await asyncio.sleep(0)
    assert (gateway.scope["headers"], gateway.scope["query_string"]) == ([], b"")
    world.services.polls.drain()
    answer = await waiting
    assert (answer.status, answer.json()) == (200, [])


# Paths and methods.


@pytest.mark.parametrize(
    "path", ["/api", "/api/rest", "/api/rest/nothing", "/api/rest/configuration/", "/api/rest/configuration/a/b/c"]
)
async def test_an_unknown_path_gets_404_as_json(gateway: Gateway, path: str) -> None:
    """The answer is an error document, not a page; it says where the right paths are, and repeats no secret in one."""
    missing = await gateway.ask("GET", path)
    assert (missing.status, missing.headers["content-type"]) == (404, "application/json")
    hint = {"hint": "GET / lists the interfaces"}
    assert missing.json() == {"error": 404, "message": "HTTP 404 Not Found"} | hint


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/rest/info", "GET, HEAD, OPTIONS"),
        ("PATCH", "/api/rest/configuration/a", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("GET", "/api/rest/token", "OPTIONS, POST"),
        ("TRACE", "/api/rest/user", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/api/rest/configuration/transact/history", "GET, HEAD, OPTIONS"),
        ("POST", "/health/live", "GET, HEAD"),
        ("GET", "/oauth/token", "POST"),
    ],
)
async def test_another_method_gets_405_with_those_that_are_allowed(
    gateway: Gateway, method: str, path: str, allowed: str
) -> None:
    """A path that exists refuses other methods and lists its own in `Allow`."""
    refused = await gateway.ask(method, path)
    assert refused.json() == {"error": 405, "message": "HTTP 405 Method Not Allowed"}
    assert (refused.status, refused.headers["allow"]) == (405, allowed)


async def test_options_lists_the_methods(gateway: Gateway) -> None:
    """OPTIONS without a token is answered with the methods of the path in `Allow`."""
    options = await gateway.ask("OPTIONS", "/api/rest/configuration/a")
    assert (options.status, options.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PUT")
    assert "content-length" not in options.headers


async def test_a_post_may_stand_for_head(gateway: Gateway) -> None:
    """The override works for HEAD, which has no body to send and gets none."""
    answer = await gateway.ask("POST", "/api/rest/info", x_http_method_override="HEAD")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "application/json")


@pytest.mark.parametrize("encoded", ["%FF", "%C3", "%ED%A0%80", "%00", "%0A", "%EF%BF%BF"])
@pytest.mark.parametrize("page", ["", "/content", "/history"])
async def test_an_invalid_name_in_a_path_gets_400(gateway: Gateway, page: str, encoded: str) -> None:
    """Percent-encoded bytes that are not UTF-8, and characters that a name may not have, are refused."""
    token = f"Bearer {gateway.world.token()}"
    refused = await gateway.ask("GET", f"/api/rest/configuration/{encoded}{page}", authorization=token)
    assert (refused.status, refused.json()["error"]) == (400, 400)


# What every answer has.

CORS = {
    "access-control-allow-credentials": "true",
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "OPTIONS, GET, POST, PUT, DELETE, HEAD",
    "access-control-max-age": "0",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/rest/info", 200),
        ("OPTIONS", "/api/rest/configuration/a", 204),
        ("GET", "/api/rest/configuration/a", 401),
        ("GET", "/api/rest/configuration/a/content", 401),
        ("GET", "/nothing", 404),
        ("DELETE", "/api/rest/info", 405),
        ("GET", "/metrics", 200),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
    ],
)
async def test_every_answer_has_the_cors_headers(gateway: Gateway, method: str, path: str, status: int) -> None:
    """Pages of any origin may talk to the gateway: success and errors alike say so."""
    answer = await gateway.ask(method, path, origin="http://elsewhere")
    assert answer.status == status
    assert CORS.items() <= answer.headers.items()
    allowed = answer.headers["access-control-allow-headers"]
    headers = ("Origin", "Authorization", "Accept", "Content-Type", "Auth-DeviceID", "Auth-DeviceKey", "If-Match")
    for header in (*headers, "Last-Event-ID"):  # scripts that follow with `fetch` send that one themselves
        assert header in allowed.split(", ")
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Retry-After", AFFECTS.name, DRY_RUN.name, REVISION.name} == {*exposed}


@pytest.mark.parametrize("path", ["/reltio/tenants", "/oauth/token", "/@api/deki/site/properties"])
async def test_dialects_that_browsers_add_credentials_to_are_not_shared(gateway: Gateway, path: str) -> None:
    """Nor those whose specification has no pages of other origins."""
    answer = await gateway.ask("GET", path, origin="http://elsewhere")
    assert not CORS.keys() & answer.headers.keys()


async def test_the_query_of_a_stranger_is_read_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the properties ask for it: for the method, the credentials and the form of the error."""
    read: list[str] = []
    monkeypatch.setattr(calls, "parse_qsl", lambda text, **options: read.append(text) or parse_qsl(text, **options))
    answer = await gateway.ask("POST", "/@api/deki/site/properties?dream.out.format=json&once")
    assert (answer.status, answer.headers["content-type"]) == (403, "application/json; charset=utf-8")
    assert read == ["dream.out.format=json&once"]


# Errors.


def failing(error: Exception) -> Any:
    """A dialect with one path, which fails, and one that is always served."""

    async def fail(request: object) -> Response:
        raise error

    async def fine(request: object) -> Response:
        return json({})

    routes = [Route("GET", "/fails", anyone, fail, "fails"), Route("GET", "/always", anyone, fine)]
    return lambda context: Dialect(routes, always=frozenset({b"/always"}))


@pytest.mark.parametrize(
    ("error", "status", "message", "headers"),
    [
        (NotAllowed(), 403, NotAllowed.text, {}),
        (Unauthorized(), 401, "Unauthorized", {"www-authenticate": "Bearer"}),
        (TooManyAttempts("wait", retryAfter=7), 429, "wait", {"retry-after": "7"}),
        (TooLarge("the body is over 1 bytes"), 413, "the body is over 1 bytes", {"connection": "close"}),
        (NotDurable("full"), 503, "full; nothing was written", {}),
        (KeyError("secret"), 500, "Internal server error", {}),
    ],
    ids=lambda error: type(error).__name__ if isinstance(error, Exception) else "",
)
async def test_whatever_is_raised_becomes_an_error_document(
    world: World, error: Exception, status: int, message: str, headers: dict[str, str]
) -> None:
    """With the headers of its status. The connection ends where the body was not read; and only an error that nobody
    expected is logged, which the answer does not show."""
    with capture_logs() as logged:
        answer = await Gateway(world, failing(error)).ask("GET", "/fails")
    assert answer.status == answer.json()["error"] == status
    assert answer.json()["message"].endswith(message)
    of_status = {"www-authenticate", "retry-after", "connection"} & answer.headers.keys()
    assert {name: answer.headers[name] for name in of_status} == headers
    assert [line["exc_info"] for line in logged] == ([error] if status == 500 else [])
    assert world.services.telemetry.requests["fails", status] == 1


async def test_a_client_that_is_gone_gets_an_empty_answer(world: World) -> None:
    """Nobody reads it, and nothing is logged or counted."""
    answer = await Gateway(world, failing(ClientGone())).ask("GET", "/fails")
    assert (answer.status, answer.body) == (400, b"")
    assert not world.services.telemetry.requests


async def test_one_who_asks_too_often_is_refused_and_delayed() -> None:
    """Except on the paths that are always served, for which the connection is delayed as well."""
    world = await World(anonymous_rate=2).open()
    gateway = Gateway(world, failing(NotAllowed()))
    assert [(await gateway.ask("GET", "/fails")).status for _ in range(40)].count(429) > 0
    refused = gateway.connection.delays
    assert refused > 0
    assert {(await gateway.ask("GET", "/always")).status for _ in range(40)} == {200}
    assert gateway.connection.delays > refused
    assert gateway.application.always == {b"/always"}
    await world.close()


async def test_requests_with_a_token_and_probes_do_not_wait_for_anonymous_ones(gateway: Gateway) -> None:
    """Requests without a token take turns; those with one are answered at once, and probes wait for each other only."""
    order: list[str] = []

    async def ask(name: str, path: str, **headers: str) -> None:
        await gateway.ask("GET", path, b"", **headers)
        order.append(name)

    anonymous = [ask(f"anonymous {number}", "/api/rest/info") for number in range(8)]
    token = f"Bearer {gateway.world.token()}"
    await asyncio.gather(
        *anonymous, ask("probe", "/health/live"), ask("token", "/api/rest/configuration/a", authorization=token)
    )
    assert order[:3] == ["anonymous 0", "probe", "token"]
    assert len(order) == 10
