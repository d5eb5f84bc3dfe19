"""Answers as trees of elements, and their two forms: XML, and JSON mapped from it (site properties, section 5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from msgspec import Struct

from hivewire_protocol.encoding import encode


class Node(Struct, gc=False):
    """One element. An element with children has no text: no answer of this dialect mixes them."""

    tag: str
    attributes: Mapping[str, str] = {}
    children: tuple[Node, ...] = ()
    text: str = ""


class Form(Enum):
    """How an answer is written; the value is what `dream.out.format` calls it."""

    XML = "xml"
    JSON = "json"

    @property
    def media_type(self) -> str:
        """The Content-Type of such an answer."""
        return f"application/{self.value}; charset=utf-8"


_DECLARATION = b'<?xml version="1.0"?>\n'


def render(root: Node, form: Form) -> bytes:
    """The whole answer. In JSON the name of the root is dropped."""
    if form is Form.JSON:
        return encode(json_value(root))
    return _DECLARATION + xml(root).encode()


def frame(root: Node, form: Form, count: int) -> tuple[bytes, bytes, bytes]:
    """The text before, between and after the parts of an answer whose root holds `count` elements `property`."""
    if form is Form.XML:
        return _DECLARATION + f"<{root.tag}{_attributes(root)}>".encode(), b"", f"</{root.tag}>".encode()
    head = encode(json_value(root))[:-1]
    if count > 1:
        return head + b',"property":[', b",", b"]}"
    # A single element is not in a list, as in `json_value`.
    return head + (b',"property":' if count else b""), b"", b"}"


def part(element: Node, form: Form) -> bytes:
    """One of the parts of an answer that go between those of `frame`."""
    return encode(json_value(element)) if form is Form.JSON else xml(element).encode()


def json_value(element: Node) -> Any:
    """An element as JSON: attributes as `@name`, text next to attributes as `#text`, an element of text only as a
    string, elements of the same name as a list. All scalars are strings."""
    if not element.attributes and not element.children:
        return element.text
    found: dict[str, Any] = {"@" + name: value for name, value in element.attributes.items()}
    for child in element.children:
        value = json_value(child)
        if child.tag not in found:
            found[child.tag] = value
        elif isinstance(found[child.tag], list):
            found[child.tag].append(value)
        else:
            found[child.tag] = [found[child.tag], value]
    if element.text:
        found["#text"] = element.text
    return found


def xml(element: Node) -> str:
    """The element as XML 1.0, without a declaration."""
    start = element.tag + _attributes(element)
    if not element.children and not element.text:
        return f"<{start}/>"
    inner = "".join(map(xml, element.children)) + escape(element.text)
    return f"<{start}>{inner}</{element.tag}>"


def _attributes(element: Node) -> str:
    return "".join([f' {name}="{escape_attribute(value)}"' for name, value in element.attributes.items()])


_NOT_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_ESCAPED_IN_TEXT = re.compile(rf"\r|{_NOT_XML}")
_ESCAPED_IN_ATTRIBUTE = re.compile(rf'[&<>"\t\n\r]|{_NOT_XML}')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def is_xml_text(text: str) -> bool:
    """Whether XML allows every character of a text (XML 1.0, section 2.2)."""
    return re.search(_NOT_XML, text) is None


def escape(text: str) -> str:
    """Text between tags; characters that XML does not allow become U+FFFD."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")  # faster than the pattern
    return _ESCAPED_IN_TEXT.sub(_escape_match, text)


def escape_attribute(text: str) -> str:
    """Text between double quotes; line ends and tabs are escaped, so that a parser keeps them."""
    return _ESCAPED_IN_ATTRIBUTE.sub(_escape_match, text)


def _escape_match(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0], "\ufffd")
