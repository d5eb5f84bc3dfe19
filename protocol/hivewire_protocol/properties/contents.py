"""Contents and descriptions of properties: media types, charsets and lengths (site properties, sections 5 and 8)."""

from __future__ import annotations

import codecs
import re

from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.properties.markup import is_xml_text

DESCRIPTION_LENGTH = MEDIA_TYPE_LENGTH = 255
"""In characters (section 8)."""

INLINE = 2_047
"""Bytes of text that an answer shows unless `contentcutoff` says otherwise (section 5: less than 2048)."""

BINARY = "application/octet-stream"
"""The media type of content that was sent without one."""


def checked_description(text: str | None) -> str | None:
    """The description itself. Raises OutOfBounds when it is too long."""
    if text is not None and len(text) > DESCRIPTION_LENGTH:
        raise OutOfBounds(f"A description has at most {DESCRIPTION_LENGTH:,} characters; this one has {len(text):,}")
    return text


_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^`|~\w-]+/[!#$%&'*+.^`|~\w-]+[ \t]*(?:;[ -~\t]*)?", re.ASCII)


def checked_media_type(text: str) -> str:
    """The media type itself. Raises OutOfBounds."""
    if len(text) > MEDIA_TYPE_LENGTH or not _MEDIA_TYPE.fullmatch(text):
        raise OutOfBounds(f"A media type is type/subtype, with at most {MEDIA_TYPE_LENGTH} characters in all")
    return text


_CHARSET = re.compile(r';\s*charset\s*=\s*"?([\w.:-]+)', re.IGNORECASE | re.ASCII)
_ENCODINGS = frozenset(
    ["utf-8", "ascii", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "koi8-r", "koi8-u"]
    + [f"iso8859-{number}" for number in range(1, 17)]
    + [f"cp125{number}" for number in range(9)]
    + ["shift_jis", "euc_jp", "euc_kr", "gb2312", "gbk", "gb18030", "big5"]
)
"""Charsets that are decoded. Python has more codecs, but some are slow, and some are not for text."""


def charset_of(content_type: str) -> str | None:
    """The charset of a media type as Python calls it, UTF-8 without one; None when it is not supported."""
    found = _CHARSET.search(content_type)
    if found is None:
        return "utf-8"
    try:
        name = codecs.lookup(found[1]).name
    except (LookupError, UnicodeError, ValueError):
        return None
    return name if name in _ENCODINGS else None


def inlined(content: bytes, content_type: str, most: int) -> str:
    """The content as answers show it: text of at most `most` bytes, or nothing (sections 5 and 11)."""
    if len(content) > most or content_type[:5].lower() != "text/":
        return ""
    charset = charset_of(content_type)
    try:
        text = content.decode(charset) if charset is not None else ""
    except UnicodeDecodeError:
        return ""
    return text if is_xml_text(text) else ""
