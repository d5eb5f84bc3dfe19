"""The front page, for somebody who knows only the address of a gateway."""

from __future__ import annotations

import httpx
import pytest

from tests.running import RunningGateway


def test_the_first_page_says_what_this_is_and_where_to_go(shared_gateway: RunningGateway) -> None:
    """HTML for a browser, JSON for a program; every path that it names exists."""
    page = httpx.get(shared_gateway.url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    told = httpx.get(shared_gateway.url)
    assert (told.status_code, told.headers["content-type"], told.headers["vary"]) == (200, "application/json", "Accept")
    places = {name: path for name, path in told.json().items() if name not in ("name", "version")}
    assert told.json()["name"] == "hivewire" and places["websocket"] == "/api/websocket"
    assert places["metrics"] == "/metrics"
    for path in places.values():
        assert f"<code>{path}</code>" in page.text
        assert httpx.get(shared_gateway.url + path).status_code != 404, path


def test_browsers_find_an_icon(shared_gateway: RunningGateway) -> None:
    """`/favicon.ico`, for which browsers ask with every page, is answered."""
    icon = httpx.get(shared_gateway.url + "/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("path", ["/api/websocket", "/dh/websocket"])
def test_the_address_of_a_socket_says_that_it_is_one(shared_gateway: RunningGateway, path: str) -> None:
    """A plain GET is 426 with the supported protocol (RFC 9110, section 15.5.22)."""
    answer = httpx.get(shared_gateway.url + path)
    assert (answer.status_code, answer.json()["error"], answer.headers["upgrade"]) == (426, 426, "websocket")
