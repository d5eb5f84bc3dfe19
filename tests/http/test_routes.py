"""The table of routes: which place a path leads to, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hivewire.http.request import HttpRequest
from hivewire.http.response import Response
from hivewire.http.routes import Dialect, Route, Table
from hivewire_protocol.errors import NotFound


async def nothing(request: HttpRequest) -> Any:
    raise NotFound


def route(method: str, path: str, *, also_name: bool = False) -> Route[Any]:
    return Route(method, path, nothing, nothing, also_name=also_name)


@pytest.fixture(scope="module")
def table() -> Table:
    table = Table()
    first = [
        route("GET", "/api/items"),
        route("GET", "/api/items/{name}"),
        route("POST", "/api/items/transact", also_name=True),
        route("GET", "/api/items/current"),
        route("GET", "/api/items/{name}/history"),
    ]
    second = [
        route("GET", "/t/{tenant}/configuration"),
        route("GET", "/t/{tenant}/configuration/_history", also_name=True),
        route("DELETE", "/t/{tenant}/configuration/{address:path}"),
    ]
    for routes in (first, second):
        table.add(Dialect(routes, lambda request, error: Response(404)))
    return table


def found(table: Table, path: str) -> list[tuple[set[str], Mapping[str, str]]]:
    """The methods of each place, and the parameters."""
    return [({*place.routes}, parameters) for place, parameters in table.find(path)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/items", [({"GET"}, {})]),
        ("/api/items/a", [({"GET"}, {"name": "a"})]),
        ("/api/items/a%2Fb", [({"GET"}, {"name": "a%2Fb"})]),
        ("/api/items/a/history", [({"GET"}, {"name": "a"})]),
        ("/api/items/current", [({"GET"}, {})]),
        ("/api/items/transact", [({"POST"}, {}), ({"GET"}, {"name": "transact"})]),
        ("/t/x/configuration", [({"GET"}, {"tenant": "x"})]),
        ("/t/x/configuration/", [({"DELETE"}, {"tenant": "x", "address": ""})]),
        ("/t/x/configuration/a/b%2F", [({"DELETE"}, {"tenant": "x", "address": "a/b%2F"})]),
        (
            "/t/x/configuration/_history",
            [({"GET"}, {"tenant": "x"}), ({"DELETE"}, {"tenant": "x", "address": "_history"})],
        ),
    ],
)
def test_a_path_leads_to_its_place(table: Table, path: str, expected: Any) -> None:
    """Words before names; names are still encoded; a word that may also be a name leads to both."""
    assert found(table, path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/api",
        "/api/",
        "/api/items/",
        "/api/items//history",
        "/api/items/a/",
        "/api/items/a/b",
        "/t//configuration",
        "//",
    ],
)
def test_another_path_leads_nowhere(table: Table, path: str) -> None:
    """A name is not empty, and no slash is dropped or added."""
    assert found(table, path) == []
