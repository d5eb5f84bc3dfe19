"""Batches of site properties: the XML document that creates, updates and deletes many (site properties, section 4.7).

The document is parsed by `defusedxml`, event by event, and refused at the first thing that does not belong in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from io import BytesIO
from xml.sax import SAXException
from xml.sax.handler import ContentHandler, LexicalHandler, property_lexical_handler
from xml.sax.xmlreader import AttributesImpl, InputSource

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import create_parser
from msgspec import Struct

from hivewire_protocol.errors import OutOfBounds, WireError
from hivewire_protocol.properties.contents import charset_of, checked_description, checked_media_type
from hivewire_protocol.properties.etags import bare
from hivewire_protocol.properties.markup import escape, escape_attribute
from hivewire_protocol.properties.names import checked_name

MAX_DEPTH = 128
"""The deepest nesting of elements: the same as for JSON elsewhere."""

CARRIED = 8
"""The most that namespace declarations may add to the contents of a batch, as a multiple of its length. Without a bound
a long namespace used in every entry would turn a megabyte into gigabytes."""


class BatchEntry(Struct):
    """One property to write, or to delete when `content` is None. `problem` says why the entry is refused.

    The content is in the charset that its type names, UTF-8 where it names none.
    """

    name: str
    etag: str | None = None
    content: bytes | None = None
    content_type: str = ""
    description: str | None = None
    problem: WireError | None = None


def read_batch(data: bytes, charset: str | None = None) -> list[BatchEntry]:
    """The entries of a batch in document order. Raises OutOfBounds when the whole document is refused.

    `charset` is that of the Content-Type, which wins over the document's own declaration.
    """
    handler = _BatchHandler(CARRIED * len(data))
    parser = create_parser(forbid_dtd=True)  # a DTD can define entities that expand to gigabytes
    parser.setContentHandler(handler)
    parser.setProperty(property_lexical_handler, handler)
    source = InputSource()
    source.setByteStream(BytesIO(data))
    if charset is not None:
        source.setEncoding(charset)
    try:
        parser.parse(source)
    except (SAXException, DefusedXmlException, LookupError, ValueError) as error:
        what = "it has a document type" if isinstance(error, DefusedXmlException) else "it is not well-formed"
        raise OutOfBounds(f"The body is not XML that is accepted here: {what}") from None
    return handler.entries


class _Contents:
    """What is inside a `contents` element: text, or markup that is serialised again.

    Serialising changes only the quotes of attributes, the form of empty elements, and references to characters. The
    outermost elements get the declarations of the namespaces that they use and that outer elements have declared.
    """

    def __init__(self, scopes: list[dict[str, str]], room: int) -> None:
        self.room = room
        self._scopes = [scope for scope in reversed(scopes) if scope]  # declared around the contents, innermost first
        # Both are written, because only the end shows whether the contents are text.
        self._text: list[str] = []
        self._markup: list[str] = []
        self._has_markup = False
        self._tag_open = False  # the end of a start tag is written later, because that of an empty element is `/>`
        self._in_cdata = False
        self._depth = 0
        self._declared: list[list[str]] = []  # the prefixes that each open element declares
        self._bound: Counter[str] = Counter()  # how many open elements declare a prefix
        self._outermost = 0  # the index in `_markup` of the outermost open element's start tag
        self._carried: dict[str, str] = {}  # namespaces inherited from outer elements

    def start(self, name: str, attributes: AttributesImpl[str]) -> None:
        """An element begins."""
        self._close_tag()
        if not self._depth:
            self._outermost = len(self._markup)
            self._carried = {}
        self._depth += 1
        if self._scopes:
            self._note_namespaces(name, attributes.getNames())
        self._markup.append(f"<{name}{_attributes(attributes)}")
        self._has_markup = self._tag_open = True

    def end(self, name: str) -> None:
        """The element ends."""
        self._markup.append("/>" if self._tag_open else f"</{name}>")
        self._tag_open = False
        self._depth -= 1
        if self._scopes:
            for key in self._declared.pop():
                self._bound[key] -= 1
        if not self._depth:
            self._markup[self._outermost] += _attributes({key: value for key, value in self._carried.items() if value})

    def text(self, text: str) -> None:
        """Text, in pieces."""
        self._close_tag()
        self._text.append(text)
        self._markup.append(text if self._in_cdata else escape(text))

    def cdata(self, *, begins: bool) -> None:
        """A CDATA section begins or ends."""
        self._close_tag()
        self._in_cdata = begins
        self._markup.append("<![CDATA[" if begins else "]]>")

    def other(self, markup: str) -> None:
        """A comment or a processing instruction."""
        self._close_tag()
        self._has_markup = True
        self._markup.append(markup)

    def whole(self) -> str:
        """The contents, once they are complete."""
        return "".join(self._markup if self._has_markup else self._text)

    def _close_tag(self) -> None:
        if self._tag_open:
            self._tag_open = False
            self._markup.append(">")

    def _note_namespaces(self, name: str, attributes: Collection[str]) -> None:
        declared = [key for key in attributes if _declares(key)]
        self._declared.append(declared)
        for key in declared:
            self._bound[key] += 1
        self._use(name)
        for key in attributes:  # one without a prefix is in no namespace
            if ":" in key and not _declares(key):
                self._use(key)

    def _use(self, name: str) -> None:
        """A name is used, so its prefix must be declared. Raises OutOfBounds."""
        prefix, colon, _ = name.rpartition(":")
        key = "xmlns" + colon + prefix
        if key in self._carried or self._bound[key]:
            return
        namespace = next((scope[key] for scope in self._scopes if key in scope), "")
        self._carried[key] = namespace
        self.room -= len(namespace)
        if self.room < 0:
            raise OutOfBounds("The namespaces that are declared outside of contents would take too much space")


def _declares(attribute: str) -> bool:
    return attribute == "xmlns" or attribute.startswith("xmlns:")


def _attributes(attributes: Mapping[str, str] | AttributesImpl[str]) -> str:
    return "".join([f' {key}="{escape_attribute(value)}"' for key, value in attributes.items()])


class _BatchHandler(ContentHandler, LexicalHandler):
    """Builds the entries while the document is parsed. `room` is for declarations of namespaces, in characters."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.entries: list[BatchEntry] = []
        self._names: set[str] = set()
        self._room = room
        self._path: list[str] = []
        self._scopes: list[dict[str, str]] = []
        self._texts: dict[str, list[str]] = {}
        self._contents: _Contents | None = None

    def startElement(self, name: str, attrs: AttributesImpl[str]) -> None:
        """Called by the parser."""
        path = self._path
        path.append(name)
        if len(path) > MAX_DEPTH:
            raise OutOfBounds(f"Elements are nested deeper than {MAX_DEPTH}")
        if self._contents is not None:
            self._contents.start(name, attrs)
            return
        if len(path) == 1 and name != "properties":
            raise OutOfBounds("The body is not a properties document")
        self._scopes.append({key: value for key, value in attrs.items() if _declares(key)})
        if path == ["properties", "property"]:
            self._begin_entry(attrs)
        elif path == ["properties", "property", "contents"]:
            self._begin_contents(attrs)
        elif len(path) == 3:
            self._texts[name] = []

    def endElement(self, name: str) -> None:
        """Called by the parser."""
        path = self._path
        if self._contents is not None and len(path) > 3:  # `contents` itself is the third
            self._contents.end(name)
        else:
            if self._contents is not None:
                self._end_contents(self._contents)
            elif path == ["properties", "property"]:
                self._end_entry()
            self._scopes.pop()
        path.pop()

    def characters(self, content: str) -> None:
        """Called by the parser."""
        if self._contents is not None:
            self._contents.text(content)
        elif len(self._path) == 3:
            self._texts[self._path[2]].append(content)

    def processingInstruction(self, target: str, data: str) -> None:
        """Called by the parser."""
        if self._contents is not None:
            self._contents.other(f"<?{target} {data}?>" if data else f"<?{target}?>")

    def comment(self, content: str) -> None:
        """Called by the parser."""
        if self._contents is not None:
            self._contents.other(f"<!--{content}-->")

    def startCDATA(self) -> None:
        """Called by the parser."""
        if self._contents is not None:
            self._contents.cdata(begins=True)

    def endCDATA(self) -> None:
        """Called by the parser."""
        if self._contents is not None:
            self._contents.cdata(begins=False)

    def _begin_entry(self, attributes: AttributesImpl[str]) -> None:
        self._texts = {}
        name = attributes.get("name")
        if not name:
            raise OutOfBounds(f"Property {len(self.entries) + 1} of the batch has no name")
        if name in self._names:
            raise OutOfBounds(f"The name '{name[:128]}' occurs twice in the batch")
        self._names.add(name)
        entry = BatchEntry(name, bare(attributes.get("etag") or "") or None)
        self.entries.append(entry)
        try:
            checked_name(name)
        except WireError as problem:
            entry.problem = problem

    def _begin_contents(self, attributes: AttributesImpl[str]) -> None:
        entry = self.entries[-1]
        if entry.content is not None:
            entry.problem = entry.problem or OutOfBounds("There are several contents")
        self._contents = _Contents(self._scopes, self._room)
        entry.content_type = attributes.get("type") or ""
        try:
            checked_media_type(entry.content_type)
        except WireError as problem:
            entry.problem = entry.problem or problem

    def _end_contents(self, contents: _Contents) -> None:
        self._contents = None
        self._room = contents.room
        entry = self.entries[-1]
        entry.content = b""
        charset = charset_of(entry.content_type)
        try:
            if charset is None:
                raise LookupError
            entry.content = contents.whole().encode(charset)
        except (LookupError, UnicodeEncodeError):
            entry.problem = entry.problem or OutOfBounds("The contents cannot be written in the charset of their type")

    def _end_entry(self) -> None:
        entry = self.entries[-1]
        texts = self._texts.get("description") or self._texts.get("change-description") or []
        try:
            entry.description = checked_description("".join(texts)) or None
        except WireError as problem:
            entry.problem = entry.problem or problem
