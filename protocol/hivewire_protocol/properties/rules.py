"""The property dialect: the property document, etags, when a write is refused, names, error documents.

The sections cited are those of the site properties contract. Names of elements, attributes and parameters are the
wire's.
"""

from __future__ import annotations

import codecs
import re
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, unquote

from msgspec import Struct

from hivewire_protocol import times
from hivewire_protocol.errors import AccessDenied, InvalidParameters, OutOfBounds, WireError
from hivewire_protocol.nouns.configuration import RESERVED, forbidden_character
from hivewire_protocol.properties.markup import Element, carried

ROOTS = ("/@api/deki", "/%40api/deki")
"""The root of the API as clients send it; documents show the first one."""


def owns(path: str) -> bool:
    """Whether a path as it was sent is of this dialect."""
    return path.startswith(ROOTS)


REALM = "DekiWiki"

NAME_LENGTH = DESCRIPTION_LENGTH = MEDIA_TYPE_LENGTH = 255
"""In characters (section 8)."""

INLINE = 2_047
"""Bytes of text that a document shows unless `contentcutoff` says otherwise (section 5: less than 2048)."""

BINARY = "application/octet-stream"
"""The media type of a content that came without one."""

MAX_NAMES = 1_000
"""Items of a `names` parameter: as many as patterns elsewhere."""


# Etags (section 6).


def etag(number: int, version: int, time: int) -> str:
    """The etag of a record's version: `41.r2_ts2010-01-13T21:13:23Z`. `time` is milliseconds since 1970."""
    return f"{number}.r{version}_ts{date(time)}"


def date(milliseconds: int) -> str:
    """A time in whole seconds, `2010-01-13T21:13:23Z`."""
    return times.render(milliseconds)[:-4] + "Z"


_QUOTED = re.compile(r'(?:W/)?"(.*)"', re.DOTALL)


def bare(given: str) -> str:
    """An etag as a client sent it without what libraries and proxies put around it (section 11, row 3): one pair of
    quotes, `W/`, the suffix `-gzip`."""
    text = given.strip().removesuffix("-gzip")
    quoted = _QUOTED.fullmatch(text)
    return (quoted[1] if quoted else text.removeprefix("W/")).removesuffix("-gzip")


def effective_etag(header: str | None, query: str | None) -> str | None:
    """The etag that counts (section 7, first table): the header's when there is one, an empty one included."""
    return bare(query or "" if header is None else header) or None


# When a write is refused (section 7).


class Abort(Enum):
    """The `abort` parameter: when not to write."""

    NEVER = "never"
    MODIFIED = "modified"
    EXISTS = "exists"


def abort_of(text: str) -> Abort:
    """The value of an `abort` parameter, in any case. Raises OutOfBounds."""
    try:
        return Abort(text.lower())
    except ValueError:
        raise OutOfBounds("abort must be never, modified or exists") from None


class Rule(NamedTuple):
    """The status of a write: of an existing property by how the etag compares with its own, and of a new one."""

    match: int
    stale: int
    none: int
    new: int
    new_with_etag: int


PUT = {
    #                    match stale none  new  new with an etag
    Abort.MODIFIED: Rule(200, 409, 409, 404, 404),
    Abort.EXISTS: Rule(409, 409, 409, 200, 200),
    Abort.NEVER: Rule(200, 200, 200, 200, 200),
}
POST = {
    Abort.MODIFIED: Rule(200, 409, 409, 200, 409),
    Abort.EXISTS: Rule(409, 409, 409, 200, 200),
    Abort.NEVER: Rule(200, 200, 200, 200, 200),
}
PUT_MAY_CREATE = {**PUT, Abort.MODIFIED: POST[Abort.MODIFIED]}
"""As the open-source server had it (section 11, row 2)."""

ENTRY = Rule(200, 409, 409, 200, 200)
"""An entry of a batch with contents (section 7.3)."""


def verdict(rule: Rule, given: str | None, current: str | None) -> int:
    """The status of a write with the etag `given` to a property whose etag is `current`; None where there is none."""
    if current is None:
        return rule.new if given is None else rule.new_with_etag
    if given is None:
        return rule.none
    return rule.match if given == current else rule.stale


def reason(rule: Rule, given: str | None, current: str | None) -> str:
    """Why such a write was refused, for people."""
    if current is None:
        return "There is no such property" if rule.new == 404 else "There is no such property that the etag could match"
    if rule.match != 200:
        return "The property exists already"
    if given is None:
        return "An etag is required to change a property; abort=never overwrites whatever is there"
    return "The etag does not match the current revision"


# Names and addresses (section 1).


def decoded_key(segment: str) -> str:
    """The name in a path segment: decoded as a URI, then as a name. Raises OutOfBounds."""
    return checked_name(_decoded(_decoded(segment)))


def decoded_slug(slug: str) -> str:
    """The name in a `Slug` header, encoded once. Raises OutOfBounds."""
    if not slug.isascii():
        raise OutOfBounds("Slug must be percent-encoded")
    return checked_name(_decoded(slug))


def encoded_key(name: str) -> str:
    """The path segment for a name, encoded twice. Dots alone are encoded, too: clients take `.` and `..` out of paths,
    and `%2E` as well."""
    once = quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
    return quote(once, safe="")


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise OutOfBounds("The name is not UTF-8") from None


def checked_name(name: str) -> str:
    """The name itself. Raises OutOfBounds where no property can have it, AccessDenied for the reserved one."""
    if name == RESERVED:
        raise AccessDenied
    if not 1 <= len(name) <= NAME_LENGTH:
        raise OutOfBounds(f"A property name has 1 to {NAME_LENGTH} characters")
    if not name.isprintable() and (where := forbidden_character(name)) is not None:
        raise OutOfBounds(f"The property name has a forbidden character: {where}")
    return name


def checked_description(text: str | None) -> str | None:
    """The description itself. Raises OutOfBounds when it is too long."""
    if text is not None and len(text) > DESCRIPTION_LENGTH:
        raise OutOfBounds(f"A description has at most {DESCRIPTION_LENGTH} characters")
    return text


_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^`|~\w-]+/[!#$%&'*+.^`|~\w-]+[ \t]*(?:;[ -~\t]*)?", re.ASCII)


def checked_media_type(text: str) -> str:
    """The media type itself. Raises OutOfBounds."""
    if len(text) > MEDIA_TYPE_LENGTH or not _MEDIA_TYPE.fullmatch(text):
        raise OutOfBounds(f"A media type is type/subtype, with at most {MEDIA_TYPE_LENGTH} characters in all")
    return text


class Names:
    """The `names` parameter: a list with commas, `*` at the start or end of an item stands for anything.

    `patterns` are exact names and prefixes that cover all of it; `__contains__` decides, and takes `effort` comparisons
    at most. Raises OutOfBounds for too many items.
    """

    def __init__(self, text: str) -> None:
        items = set(text.split(",")) - {""}
        if len(items) > MAX_NAMES:
            raise OutOfBounds(f"More than {MAX_NAMES} names")
        self._exact = frozenset(item for item in items if not item.startswith("*") and not item.endswith("*"))
        self._prefixes = tuple(item[:-1] for item in items if item.endswith("*") and not item.startswith("*"))
        self._suffixes = tuple(item[1:] for item in items if item.startswith("*") and not item.endswith("*"))
        self._middles = [item[1:-1] for item in items if item.startswith("*") and item.endswith("*")]
        self.patterns = [*self._exact, *(prefix + "*" for prefix in self._prefixes)]
        if not items or self._suffixes or self._middles:
            self.patterns = ["*"]
        self.effort = 1 + len(self._prefixes) + len(self._suffixes) + len(self._middles)
        self._all = not items

    def __contains__(self, name: str) -> bool:
        return (
            self._all
            or name in self._exact
            or name.startswith(self._prefixes)
            or name.endswith(self._suffixes)
            or any(middle in name for middle in self._middles)
        )


# The property document (section 5).


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


_CHARSET = re.compile(r';\s*charset\s*=\s*"?([\w.:-]+)', re.IGNORECASE | re.ASCII)
_ENCODINGS = frozenset(
    ["utf-8", "ascii", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "koi8-r", "koi8-u"]
    + [f"iso8859-{number}" for number in range(1, 17)]
    + [f"cp125{number}" for number in range(9)]
    + ["shift_jis", "euc_jp", "euc_kr", "gb2312", "gbk", "gb18030", "big5"]
)
"""Charsets of texts. Python knows more, some of which run programs or take long."""


def inlined(content: bytes, content_type: str, most: int) -> str:
    """The content as the document shows it: text up to so many bytes, else nothing (section 5, section 11 row 5)."""
    if len(content) > most or content_type[:5].lower() != "text/":
        return ""
    charset = charset_of(content_type)
    try:
        text = content.decode(charset) if charset is not None else ""
    except UnicodeDecodeError:
        return ""
    return text if carried(text) else ""


def charset_of(content_type: str) -> str | None:
    """The charset of a media type as Python calls it, UTF-8 without one; None where it is not known here."""
    found = _CHARSET.search(content_type)
    if found is None:
        return "utf-8"
    try:
        name = codecs.lookup(found[1]).name
    except (LookupError, UnicodeError, ValueError):
        return None
    return name if name in _ENCODINGS else None


# Parameters (section 2).

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def boolean(name: str, text: str) -> bool:
    """The value of a boolean parameter. Raises InvalidParameters."""
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise InvalidParameters(f"{name} must be true or false") from None


def integer(name: str, text: str, least: int | None = None) -> int:
    """The value of an integer parameter. Raises InvalidParameters."""
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII) or (least is not None and int(text) < least):
        raise InvalidParameters(f"{name} must be an integer" + (f" of {least} or more" if least is not None else ""))
    return int(text)
