"""What the property dialect answers, as elements: properties, lists, batches, errors (site properties, 5 and 9).

Names of elements and attributes are those of the wire.
"""

from __future__ import annotations

from http import HTTPStatus

from msgspec import Struct

from hivewire_protocol.errors import WireError
from hivewire_protocol.properties.contents import INLINE, inlined
from hivewire_protocol.properties.etags import date, etag
from hivewire_protocol.properties.markup import Node
from hivewire_protocol.properties.names import encoded_key


class Author(Struct, frozen=True):
    """Who wrote; `user_id` is 0 when the user does not exist or was deleted."""

    user_id: int
    login: str


class Property(Struct, gc=False):
    """One version of a property. `time` is milliseconds since 1970."""

    name: str
    record_id: int
    version: int
    time: int
    content: bytes
    content_type: str
    author: Author
    description: str | None = None
    secret: bool = False
    """Whether neither its content nor the length of it is shown."""

    @property
    def etag(self) -> str:
        """The etag of this version."""
        return etag(self.record_id, self.version, self.time)


def property_element(shown: Property, root: str, inline: int = INLINE, more: tuple[Node, ...] = ()) -> Node:
    """A property. `root` is the API's absolute address, `inline` the most bytes of text that are shown."""
    href = f"{root}/site/properties/{encoded_key(shown.name)}"
    contents = {"type": shown.content_type, "size": str(len(shown.content)), "href": href}
    if shown.secret:
        contents = {"type": shown.content_type, "secret": "true", "href": href}
    return Node(
        "property",
        {"name": shown.name, "href": href + "/info", "etag": shown.etag},
        (
            Node("contents", contents, (), inlined(shown.content, shown.content_type, inline)),
            Node("date.modified", {}, (), date(shown.time)),
            _user("user.modified", shown.author, root),
            Node("change-description", {}, (), shown.description or ""),
            *more,
        ),
    )


def _user(tag: str, author: Author, root: str) -> Node:
    names = (Node("nick", {}, (), author.login), Node("username", {}, (), author.login))
    return Node(tag, {"id": str(author.user_id), "href": f"{root}/users/{author.user_id}"}, names)


def properties_element(count: int, root: str) -> Node:
    """The root element of a list and of a batch's answer, without its children."""
    return Node("properties", {"count": str(count), "href": root + "/site/properties"})


def success_element(shown: Property, root: str, deleted: tuple[Author, int] | None = None) -> Node:
    """A batch's answer to an entry that succeeded; `deleted` says by whom and when a property was deleted."""
    more: tuple[Node, ...] = (Node("status", {"code": "200"}),)
    if deleted is not None:
        author, time = deleted
        more = (_user("user.deleted", author, root), Node("date.deleted", {}, (), date(time)), *more)
    return property_element(shown, root, more=more)


def failure_element(name: str, error: WireError) -> Node:
    """A batch's answer to an entry that failed."""
    return Node("property", {"name": name}, (Node("status", {"code": str(error.code)}, (), str(error)),))


def error_element(error: WireError, uri: str) -> Node:
    """An error (section 9)."""
    members = {
        "status": str(error.code),
        "title": HTTPStatus(error.code).phrase,
        "message": str(error),
        "uri": uri,
    }
    return Node("error", {}, tuple(Node(name, {}, (), text) for name, text in members.items()))
