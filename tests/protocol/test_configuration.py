"""The resource as every admission shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.configuration import INLINE_CHARACTERS, TEXT, forbidden_character, is_text, resource


@pytest.mark.parametrize(
    ("content", "content_type", "line"),
    [
        (b"42", TEXT, b'{"name":"n","value":"42","entityVersion":7}'),
        (b"", TEXT, b'{"name":"n","value":"","entityVersion":7}'),
        (
            b"[80,443]",
            "application/json",
            b'{"name":"n","value":"[80,443]","entityVersion":7,"contentType":"application/json","size":8}',
        ),
        (
            "ä".encode(),
            "text/plain",
            '{"name":"n","value":"ä","entityVersion":7,"contentType":"text/plain","size":2}'.encode(),
        ),
        (
            b"\x89PNG",
            "image/png",
            b'{"name":"n","value":null,"entityVersion":7,"contentType":"image/png","size":4}',
        ),
        (
            b"plain words",
            "image/png",
            b'{"name":"n","value":null,"entityVersion":7,"contentType":"image/png","size":11}',
        ),
        (
            b"\xff",
            "application/json",
            b'{"name":"n","value":null,"entityVersion":7,"contentType":"application/json","size":1}',
        ),
        (
            b"\xff" * 70_000,
            TEXT,
            b'{"name":"n","value":null,"entityVersion":7,"contentType":"text/plain; charset=utf-8","size":70000}',
        ),
        (
            b"\xff",
            TEXT,
            b'{"name":"n","value":null,"entityVersion":7,"contentType":"text/plain; charset=utf-8","size":1}',
        ),
        (None, "", b'{"name":"n","value":null,"entityVersion":7}'),
    ],
)
def test_the_resource_has_its_members_in_order(content: bytes | None, content_type: str, line: bytes) -> None:
    """Plain text shows three members; type and size follow for other types and whenever the value is left out."""
    assert encode(resource("n", content, content_type, 7)) == line


@pytest.mark.parametrize("character", ["x", "ä", "€", "😀"])
@pytest.mark.parametrize("content_type", [TEXT, "application/json"])
def test_the_value_is_shown_up_to_a_count_of_characters_not_bytes(character: str, content_type: str) -> None:
    """A value of 65,536 characters is shown however many bytes they take; one more and only the size is."""
    fits = character * INLINE_CHARACTERS
    shown = resource("n", fits.encode(), content_type, 1)
    assert shown.value == fits
    beyond = resource("n", (fits + "x").encode(), content_type, 1)
    assert beyond.value is None
    assert beyond.size == len(fits.encode()) + 1
    assert beyond.contentType == content_type


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/html; charset=utf-8",
        "TEXT/CSS",
        "application/json",
        "application/JSON ; indent=2",
        "x/json",
        "application/xml",
        "application/ld+json",
        "image/svg+xml",
    ],
)
def test_text_types_are_told(content_type: str) -> None:
    """Text, JSON, XML and what is built on them are shown as values, whatever the case and parameters."""
    assert is_text(content_type)


@pytest.mark.parametrize(
    "content_type",
    ["image/png", "application/octet-stream", "application/jsonlines", "application/x-json", "image/png; x=text/json"],
)
def test_other_types_are_not_shown(content_type: str) -> None:
    """Everything else is read over HTTP, not in a frame."""
    assert not is_text(content_type)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("a\x00b", "U+0000 at position 1"),
        ("\x1f", "U+001F at position 0"),
        ("ab\n", "U+000A at position 2"),
        ("a\x7f", "U+007F at position 1"),
        ("\x80", "U+0080 at position 0"),
        ("a\x9bb", "U+009B at position 1"),
        ("a\ud800", "U+D800 at position 1"),
        ("\udfff", "U+DFFF at position 0"),
        ("\ufffe", "U+FFFE at position 0"),
        ("é\uffff", "U+FFFF at position 1"),
    ],
)
def test_a_forbidden_character_is_named_with_its_place(name: str, where: str) -> None:
    """Control characters, surrogates and non-characters are refused by number and position."""
    assert forbidden_character(name) == where


@given(st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")))
def test_every_other_character_may_be_in_a_name(name: str) -> None:
    """Spaces, slashes, stars, emoji and every script are fine."""
    assert forbidden_character(name) is None


def test_characters_beside_the_forbidden_ones_are_fine() -> None:
    """The neighbours of the forbidden ranges are names."""
    assert forbidden_character(" /*%~\xa0\ud7ff\ue000\ufffd\U00010000\U0010ffff") is None
