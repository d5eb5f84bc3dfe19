"""The front page, for somebody who knows only the address of a gateway."""

from __future__ import annotations

import httpx
import pytest

from hivewire.dialects import DIALECTS
from hivewire.http.application import Application
from hivewire.http.routes import Context, Dialect
from hivewire.transport.admission import Admission
from hivewire.transport.events import EventStreams
from tests.gate.test_fairness import OnConnection
from tests.running import RunningGateway
from tests.world import opened


def test_the_first_page_says_what_this_is_and_where_to_go(shared_gateway: RunningGateway) -> None:
    """HTML for a browser, JSON for a program; every path that it names exists."""
    page = httpx.get(shared_gateway.url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    told = httpx.get(shared_gateway.url)
    assert (told.status_code, told.headers["content-type"], told.headers["vary"]) == (200, "application/json", "Accept")
    places = {name: path for name, path in told.json().items() if name not in ("name", "version")}
    assert told.json()["name"] == "hivewire" and places["websocket"] == "/api/websocket"
    for path in places.values():
        assert f"<code>{path}</code>" in page.text
        assert httpx.get(shared_gateway.url + path).status_code != 404, path


async def test_a_new_interface_is_listed() -> None:
    """What a dialect lists is on the page, and each dialect with paths of its own lists some of them."""
    async with opened() as world:
        admission, streams = Admission(world.services.settings), EventStreams(world.dispatcher)
        context = Context(world.dispatcher, admission, streams, lambda for_writes: None)
        new = Dialect([], prefixes=("/new/",), listed={"new": ("/new/things", "things < others")})
        application = Application([*DIALECTS, lambda context: new], context)
        assert [each.prefixes for each in application.dialects if each.prefixes and not each.listed] == []
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(OnConnection(application)), base_url="http://gateway"
        ) as client:
            assert (await client.get("/")).json()["new"] == "/new/things"
            page = (await client.get("/", headers={"Accept": "text/html"})).text
            assert "<code>/new/things</code><td>things &lt; others" in page


def test_browsers_find_an_icon(shared_gateway: RunningGateway) -> None:
    """`/favicon.ico`, for which browsers ask with every page, is answered."""
    icon = httpx.get(shared_gateway.url + "/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("path", ["/api/websocket", "/dh/websocket"])
def test_the_address_of_a_socket_says_that_it_is_one(shared_gateway: RunningGateway, path: str) -> None:
    """A plain GET is 426 with the supported protocol (RFC 9110, section 15.5.22)."""
    answer = httpx.get(shared_gateway.url + path)
    assert (answer.status_code, answer.json()["error"], answer.headers["upgrade"]) == (426, 426, "websocket")
