"""The front page, for somebody who knows only the address of a gateway."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.running import RunningGateway

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_the_first_page_leads_browsers_to_the_dashboard(shared_gateway: RunningGateway) -> None:
    """By a relative address, which holds behind a proxy with a prefix."""
    page = httpx.get(shared_gateway.url, headers=BROWSER)
    assert (page.status_code, page.headers["location"], page.headers["vary"]) == (302, "dashboard/", "Accept")


def test_without_a_dashboard_browsers_see_where_to_go(data: Path) -> None:
    """The page names what the JSON names, and nothing is below `/dashboard/`."""
    with RunningGateway(data, "--dashboard=false") as gateway:
        page, told = httpx.get(gateway.url, headers=BROWSER), httpx.get(gateway.url).json()
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for name in told.keys() - {"name", "version"}:
            assert f"<code>{told[name]}</code>" in page.text
        assert "dashboard" not in told
        for path in ("/dashboard", "/dashboard/", "/dashboard/app.js"):
            assert httpx.get(gateway.url + path).status_code == 404
        assert httpx.post(gateway.url + "/dashboard/token", headers={"Hivewire-Dashboard": "1"}).status_code == 404


def test_the_first_page_says_to_programs_where_to_go(shared_gateway: RunningGateway) -> None:
    """Every path that it names exists."""
    told = httpx.get(shared_gateway.url)
    assert (told.status_code, told.headers["content-type"], told.headers["vary"]) == (200, "application/json", "Accept")
    places = {name: path for name, path in told.json().items() if name not in ("name", "version")}
    assert told.json()["name"] == "hivewire" and places["websocket"] == "/api/websocket"
    assert places["metrics"] == "/metrics"
    for path in places.values():
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
