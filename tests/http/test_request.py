"""What a request says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from hivewire.http.request import cookie
from tests.http.made import made


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_head_is_freed_and_not_that_of_the_next_request(pipelined: bool) -> None:
    """Whose path the connection may have read already."""
    request = made(target="/path?query", headers=[(b"a", b"b")])
    connection: Any = request.connection
    connection.scope, connection.url = ({} if pipelined else request.scope), b"/whole?url"
    request.forget_head()
    assert (request.headers, request.all("a"), request.query()) == ({}, [], [])
    assert connection.url == (b"/whole?url" if pipelined else b"/path")


def test_a_header_that_came_twice() -> None:
    """Of one that came twice the first counts, or every one, or the list of all."""
    request = made((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert request.headers == {"a": "1", "b": "2"}
    assert (request.all("a"), request.all("c")) == (["1", "3"], [])
    assert (request.header("a"), request.header("b"), request.header("c")) == ("1, 3", "2", None)


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        (b"application/json", "application/json"),
        (b"Application/JSON; charset=utf-8", "application/json"),
        (b" text/xml ;x", "text/xml"),
        (b"", ""),
        (None, "default"),
    ],
)
def test_a_media_type_has_no_case_and_no_parameters(header: bytes | None, media_type: str) -> None:
    """And it is the default only where there is no header."""
    given = [] if header is None else [(b"content-type", header)]
    assert made(*given).media_type("default") == media_type


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", []),
        ("a=1&b=&c&a=2", [("a", "1"), ("b", ""), ("c", ""), ("a", "2")]),
        ("a%3D=%26+%2B", [("a=", "& +")]),
        ("a=%C3%A9%FF", [("a", "é\ufffd")]),
    ],
)
def test_a_query_is_read_in_order(query: str, found: list[tuple[str, str]]) -> None:
    """With empty values; bytes that are not UTF-8 are marked."""
    assert made(target=f"/a?{query}").query() == found


@pytest.mark.parametrize(
    ("accept", "events"),
    [
        ([], False),
        ([b"*/*"], False),
        ([b"application/json"], False),
        ([b"text/event-stream"], True),
        ([b"Text/Event-Stream;q=0.9"], True),
        ([b"application/json, text/event-stream"], True),
        ([b"application/json", b"text/event-stream"], True),
        ([b"text/event-streams"], False),
    ],
)
def test_an_event_stream_is_asked_for_by_name(accept: list[bytes], events: bool) -> None:
    """In any header `Accept`; a range that covers everything does not ask for one."""
    assert made(*((b"accept", each) for each in accept)).accepts_events() is events


def test_a_cookie_is_found_by_its_name() -> None:
    """None without the header, or without the cookie."""
    headers = {"cookie": "a=1; authtoken=x_y; b=2"}
    assert (cookie(headers, "authtoken"), cookie(headers, "c"), cookie({}, "a")) == ("x_y", None, None)
    assert cookie({"cookie": "authtoken=x;authtoken = y=z "}, "authtoken") == "y=z"


def test_quotes_and_backslashes_of_a_cookie_are_not_looked_at() -> None:
    """Python's own reader takes minutes for them, and a client without a login may send them."""
    hostile = '\\"' * 500_000
    assert cookie({"cookie": f'a={hostile}; authtoken="{hostile}"'}, "authtoken") == hostile
