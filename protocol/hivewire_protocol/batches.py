"""Batches of site properties: the XML document that creates, updates and deletes many (site properties, section 4.7).

What comes from outside is parsed by `defusedxml`, event by event, and given up at the first thing that does not belong.
"""

from __future__ import annotations

from io import BytesIO
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, InputSource

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import create_parser
from msgspec import Struct

from hivewire_protocol.errors import OutOfBounds, WireError
from hivewire_protocol.markup import escape, escape_attribute
from hivewire_protocol.properties import bare, checked_description, checked_media_type, checked_name

MAX_DEPTH = 128
"""Of elements: as deep as JSON may be nested elsewhere."""


class Entry(Struct):
    """One property of a batch: to be written, or deleted when `content` is None. `problem` is why it cannot be."""

    name: str
    etag: str | None = None
    content: bytes | None = None
    content_type: str = ""
    description: str | None = None
    problem: WireError | None = None


def read_batch(data: bytes, charset: str | None = None) -> list[Entry]:
    """The entries of a batch in document order. Raises OutOfBounds when the document as a whole is no good.

    `charset` is that of the Content-Type, which wins over the document's own declaration.
    """
    handler = _BatchHandler()
    parser = create_parser(forbid_dtd=True)
    parser.setContentHandler(handler)
    source = InputSource()
    source.setByteStream(BytesIO(data))
    if charset is not None:
        source.setEncoding(charset)
    try:
        parser.parse(source)
    except (SAXException, DefusedXmlException, LookupError, ValueError) as error:
        what = "a document type" if isinstance(error, DefusedXmlException) else "what is not well-formed"
        raise OutOfBounds(f"The body is not XML that is taken here: there is {what}") from None
    names = [entry.name for entry in handler.entries]
    if len(set(names)) < len(names):
        raise OutOfBounds("A name stands in the batch twice")
    return handler.entries


class _BatchHandler(ContentHandler):
    """Takes the document as it is parsed. What is inside of `contents` is written out again, without its text escaped
    when there is no markup."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self._path: list[str] = []
        self._texts: dict[str, list[str]] = {}
        self._inner: list[str] = []
        self._has_markup = False
        self._tag_open = False

    def startElement(self, name: str, attrs: AttributesImpl[str]) -> None:
        """Called by the parser."""
        self._path.append(name)
        if len(self._path) > MAX_DEPTH:
            raise OutOfBounds(f"Elements are nested deeper than {MAX_DEPTH}")
        path = self._path
        if len(path) == 1 and name != "properties":
            raise OutOfBounds("The body is not a properties document")
        if path == ["properties", "property"]:
            self._begin_entry(attrs)
        elif path == ["properties", "property", "contents"]:
            self._begin_contents(attrs)
        elif len(path) > 3 and path[2] == "contents":
            self._close_tag()
            self._has_markup = self._tag_open = True
            shown = "".join(f' {key}="{escape_attribute(value)}"' for key, value in attrs.items())
            self._inner.append(f"<{name}{shown}")
        elif len(path) == 3:
            self._texts[name] = []

    def endElement(self, name: str) -> None:
        """Called by the parser."""
        path = self._path
        if len(path) > 3 and path[2] == "contents":
            if self._tag_open:
                self._tag_open = False
                self._inner.append("/>")
            else:
                self._inner.append(f"</{name}>")
        elif path == ["properties", "property", "contents"]:
            self.entries[-1].content = "".join(self._inner if self._has_markup else self._texts["contents"]).encode()
        elif path == ["properties", "property"]:
            self._end_entry()
        path.pop()

    def characters(self, content: str) -> None:
        """Called by the parser."""
        path = self._path
        if len(path) >= 3 and path[2] == "contents":
            self._close_tag()
            self._inner.append(escape(content))
        if len(path) == 3 and path[2] in self._texts:
            self._texts[path[2]].append(content)

    def _close_tag(self) -> None:
        if self._tag_open:
            self._tag_open = False
            self._inner.append(">")

    def _begin_entry(self, attributes: AttributesImpl[str]) -> None:
        self._texts = {}
        name = attributes.get("name")
        if not name:
            raise OutOfBounds("A property of the batch has no name")
        entry = Entry(name, bare(attributes.get("etag") or "") or None)
        self.entries.append(entry)
        try:
            checked_name(name)
        except WireError as problem:
            entry.problem = problem

    def _begin_contents(self, attributes: AttributesImpl[str]) -> None:
        entry = self.entries[-1]
        if entry.content is not None:
            entry.problem = entry.problem or OutOfBounds("There are several contents")
        self._texts["contents"] = []
        self._inner = []
        self._has_markup = False
        entry.content_type = attributes.get("type") or ""
        try:
            checked_media_type(entry.content_type)
        except WireError as problem:
            entry.problem = entry.problem or problem

    def _end_entry(self) -> None:
        entry = self.entries[-1]
        texts = self._texts.get("description") or self._texts.get("change-description") or []
        try:
            entry.description = checked_description("".join(texts)) or None
        except WireError as problem:
            entry.problem = entry.problem or problem
