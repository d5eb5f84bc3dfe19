"""Where `users/authenticate` redirects to, as browsers read it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hivewire.dialects.properties.pages import checked_redirect
from hivewire_protocol.errors import InvalidParameters

PIECES = [
    "/",
    "\\",
    "\t",
    "\n",
    "\r",
    " ",
    "\0",
    ":",
    ".",
    "@",
    "#",
    "?",
    "%2F",
    "evil",
    "http:",
    "https:",
    "HTTP:",
    "ftp:",
]


def host_in_a_browser(uri: str, scheme: str) -> str | None:
    """The host that a page of this scheme would go to; None for the one that it is from (WHATWG URL, section 4.4)."""
    uri = re.sub(r"[\t\n\r]", "", uri.strip("".join(map(chr, range(0x21)))))
    given = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    if given is not None:
        if given[1].lower() not in ("http", "https"):
            return "another scheme"
        rest = uri[given.end() :]
        if given[1].lower() == scheme and not re.match(r"[/\\]{2}", rest):
            return None  # "special relative"
    elif re.match(r"[/\\]{2}", uri):
        rest = uri
    else:
        return None
    return re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0].rpartition("@")[2]


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.sampled_from(["http", "https"]))
@example("///evil", "http")
@example("////evil", "http")
@example("/\t/evil", "http")
@example(" ///evil", "http")
@example("/\\evil", "http")
@example("http:evil", "https")
@example("http:///evil", "http")
def test_browsers_go_where_the_check_says(uri: str, scheme: str) -> None:
    """What is accepted as a path stays at the gateway, and a URL leads to the host that it shows."""
    try:
        accepted = checked_redirect(uri)
    except InvalidParameters:
        return
    shown = urlsplit(accepted)
    assert host_in_a_browser(accepted, scheme) == (shown.netloc.rpartition("@")[2] if shown.scheme else None)


@pytest.mark.parametrize(
    "uri", ["/", "page", "/a//b", "/a?b=//c", "?a", "#a", "http://a", "https://a:1/b?c#d", "HTTP://a"]
)
def test_paths_and_web_addresses_are_accepted(uri: str) -> None:
    """As they are."""
    assert checked_redirect(uri) == uri
