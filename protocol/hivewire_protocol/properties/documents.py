"""The documents of the property dialect: properties, lists, answers of batches, errors (site properties, 5 and 9).

Names of elements and attributes are those of the wire.
"""

from __future__ import annotations

from http import HTTPStatus

from msgspec import Struct

from hivewire_protocol.errors import WireError
from hivewire_protocol.properties.contents import INLINE, inlined
from hivewire_protocol.properties.etags import date, etag
from hivewire_protocol.properties.markup import Element
from hivewire_protocol.properties.names import encoded_key


class Author(Struct, frozen=True):
    """Who wrote: `number` is the user's id, 0 when there is no such user (any more)."""

    number: int
    login: str


class Property(Struct, gc=False):
    """One version of a property. `time` is milliseconds since 1970."""

    name: str
    number: int
    version: int
    time: int
    content: bytes
    content_type: str
    author: Author
    description: str | None = None

    @property
    def etag(self) -> str:
        """The etag of this version."""
        return etag(self.number, self.version, self.time)


def property_element(shown: Property, root: str, inline: int = INLINE, more: tuple[Element, ...] = ()) -> Element:
    """The property document. `root` is the API's absolute address, `inline` the most bytes of text that are shown."""
    href = f"{root}/site/properties/{encoded_key(shown.name)}"
    contents = {"type": shown.content_type, "size": str(len(shown.content)), "href": href}
    return Element(
        "property",
        {"name": shown.name, "href": href + "/info", "etag": shown.etag},
        (
            Element("contents", contents, (), inlined(shown.content, shown.content_type, inline)),
            Element("date.modified", {}, (), date(shown.time)),
            _user("user.modified", shown.author, root),
            Element("change-description", {}, (), shown.description or ""),
            *more,
        ),
    )


def _user(tag: str, author: Author, root: str) -> Element:
    names = (Element("nick", {}, (), author.login), Element("username", {}, (), author.login))
    return Element(tag, {"id": str(author.number), "href": f"{root}/users/{author.number}"}, names)


def properties_element(count: int, root: str) -> Element:
    """The root of a list and of a batch's answer, without what it holds."""
    return Element("properties", {"count": str(count), "href": root + "/site/properties"})


def succeeded(shown: Property, root: str, deleted: tuple[Author, int] | None = None) -> Element:
    """A batch's answer to an entry that succeeded; `deleted` says by whom and when a property was deleted."""
    more: tuple[Element, ...] = (Element("status", {"code": "200"}),)
    if deleted is not None:
        author, time = deleted
        more = (_user("user.deleted", author, root), Element("date.deleted", {}, (), date(time)), *more)
    return property_element(shown, root, more=more)


def failed(name: str, error: WireError) -> Element:
    """A batch's answer to an entry that failed."""
    return Element("property", {"name": name}, (Element("status", {"code": str(error.code)}, (), str(error)),))


def error_element(error: WireError, uri: str) -> Element:
    """The error document (section 9)."""
    members = {
        "status": str(error.code),
        "title": HTTPStatus(error.code).phrase,
        "message": str(error),
        "uri": uri,
    }
    return Element("error", {}, tuple(Element(name, {}, (), text) for name, text in members.items()))
