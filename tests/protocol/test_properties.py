"""The property dialect in words: etags, the tables of decisions, names, documents in both forms, batches."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotFound, OutOfBounds, VersionConflict, WireError
from hivewire_protocol.properties import etags
from hivewire_protocol.properties.aborts import (
    ENTRY,
    POST,
    PUT,
    PUT_MAY_CREATE,
    Abort,
    AbortRule,
    abort_of,
    reason,
    verdict,
)
from hivewire_protocol.properties.batches import BatchEntry, read_batch
from hivewire_protocol.properties.contents import INLINE, checked_media_type, inlined
from hivewire_protocol.properties.elements import Author, Property, error_element, properties_element, property_element
from hivewire_protocol.properties.etags import bare, effective_etag
from hivewire_protocol.properties.markup import Form, Node, frame, part, render
from hivewire_protocol.properties.names import Names, decoded_key, decoded_slug, encoded_key
from hivewire_protocol.properties.parameters import boolean, integer

ROOT = "http://host/@api/deki"
MATCH, STALE = "41.r2_ts2010-01-13T21:13:23Z", "41.r1_ts2010-01-13T20:19:26Z"
MOTD = Property(
    "motd", 12, 3, 1_714_555_800_999, b"Back at noon", "text/plain; charset=utf-8", Author(1, "Admin"), "lunch"
)

# What there is, `abort`, the effective etag, and the status: the rows of section 7 as they stand there.
PUT_ROWS: list[tuple[int, str | None, str | None, str | None, int]] = [
    (1, MATCH, None, MATCH, 200),
    (1, MATCH, "modified", MATCH, 200),
    (2, MATCH, None, STALE, 409),
    (2, MATCH, "modified", "not an etag", 409),
    (3, MATCH, None, None, 409),
    (3, MATCH, "modified", None, 409),
    (4, MATCH, "exists", None, 409),
    (5, MATCH, "exists", MATCH, 409),
    (6, MATCH, "exists", STALE, 409),
    (7, MATCH, "never", None, 200),
    (8, MATCH, "never", MATCH, 200),
    (9, MATCH, "never", STALE, 200),
    (10, None, None, None, 404),
    (10, None, "modified", None, 404),
    (11, None, None, STALE, 404),
    (11, None, "modified", STALE, 404),
    (12, None, "exists", None, 200),
    (12, None, "exists", STALE, 200),
    (13, None, "never", None, 200),
    (13, None, "never", STALE, 200),
]
POST_ROWS: list[tuple[int, str | None, str | None, str | None, int]] = [
    (1, None, None, None, 200),
    (1, None, "exists", STALE, 200),
    (2, None, "never", None, 200),
    (2, None, "never", STALE, 200),
    (3, None, "modified", None, 200),
    (4, None, "modified", STALE, 409),
    (5, MATCH, None, MATCH, 409),
    (5, MATCH, "exists", None, 409),
    (6, MATCH, "never", STALE, 200),
    (7, MATCH, "modified", MATCH, 200),
    (8, MATCH, "modified", STALE, 409),
    (8, MATCH, "modified", None, 409),
]


@pytest.mark.parametrize(("row", "current", "abort", "given", "status"), PUT_ROWS)
def test_the_rows_of_put(row: int, current: str | None, abort: str | None, given: str | None, status: int) -> None:
    """A PUT updates or refuses by `abort` and etag (section 7.1)."""
    assert verdict(PUT[abort_of(abort or "modified")], given, current) == status


@pytest.mark.parametrize(("row", "current", "abort", "given", "status"), PUT_ROWS)
def test_a_put_that_may_create_differs_in_two_rows(
    row: int, current: str | None, abort: str | None, given: str | None, status: int
) -> None:
    """Section 11, row 2: rows 10 and 11 become 200 and 409, all others stay."""
    status = {10: 200, 11: 409}.get(row, status)
    assert verdict(PUT_MAY_CREATE[abort_of(abort or "modified")], given, current) == status


@pytest.mark.parametrize(("row", "current", "abort", "given", "status"), POST_ROWS)
def test_the_rows_of_post(row: int, current: str | None, abort: str | None, given: str | None, status: int) -> None:
    """A POST creates, updates or refuses by `abort` and etag (section 7.2)."""
    assert verdict(POST[abort_of(abort or "exists")], given, current) == status


@pytest.mark.parametrize(
    ("current", "given", "status"),
    [(None, None, 200), (None, STALE, 200), (MATCH, MATCH, 200), (MATCH, STALE, 409), (MATCH, None, 409)],
)
def test_the_rows_of_an_entry_with_contents(current: str | None, given: str | None, status: int) -> None:
    """A batch entry with contents creates or updates, and needs the current etag to update (section 7.3)."""
    assert verdict(ENTRY, given, current) == status


@pytest.mark.parametrize("rules", [PUT, PUT_MAY_CREATE, POST])
def test_every_refusal_has_words_of_its_own_kind(rules: dict[Abort, AbortRule]) -> None:
    """A 404 speaks of a missing property, a 409 of what is in the way."""
    for rule in rules.values():
        for current in (None, MATCH):
            for sent in (None, MATCH, STALE):
                status, words = verdict(rule, sent, current), reason(rule, sent, current)
                assert status in (200, NotFound.code, VersionConflict.code)
                assert (words == "There is no such property") or status != 404


@pytest.mark.parametrize("text", ["never", "NEVER", "Modified", "eXists"])
def test_abort_is_read_in_any_case(text: str) -> None:
    """The values of `abort` are read in upper and lower case (section 7.1)."""
    assert abort_of(text).value == text.lower()


@pytest.mark.parametrize("text", ["", "always", "never ", "0"])
def test_any_other_abort_is_refused(text: str) -> None:
    """Any other value of `abort` is refused (sections 7.1, row 14, and 7.2, row 9)."""
    with pytest.raises(OutOfBounds):
        abort_of(text)


@pytest.mark.parametrize(
    ("header", "query", "effective"),
    [
        (None, None, None),
        (None, "b", "b"),
        ("a", None, "a"),
        ("a", "a", "a"),
        ("a", "b", "a"),
        ("", "b", None),
        ("", None, None),
        (None, "", None),
        ('""', "b", None),
    ],
)
def test_the_effective_etag(header: str | None, query: str | None, effective: str | None) -> None:
    """Section 7, first table: the header comes first, an empty one too."""
    assert effective_etag(header, query) == effective


def test_an_etag_has_whole_seconds_and_no_quotes() -> None:
    """Section 6; what is left of a second is dropped, not rounded."""
    assert etags.etag(41, 2, 1_263_417_203_999) == MATCH


@given(st.integers(1, 10**12), st.integers(1, 10**9), st.integers(0, 253_402_300_799_999), st.sampled_from("abcdefg"))
def test_an_etag_survives_what_libraries_and_proxies_put_around_it(
    number: int, version: int, moment: int, way: str
) -> None:
    """Section 11, row 3: quotes, a weak mark and `-gzip` are taken off before comparing."""
    etag = etags.etag(number, version, moment)
    dressed = {
        "a": etag,
        "b": f'"{etag}"',
        "c": f'W/"{etag}"',
        "d": f"{etag}-gzip",
        "e": f'"{etag}-gzip"',
        "f": f'"{etag}"-gzip',
        "g": f" W/{etag} ",
    }[way]
    assert effective_etag(dressed, None) == etag


@given(st.text(max_size=40))
def test_only_one_pair_of_quotes_is_taken_off(text: str) -> None:
    """An etag in two pairs of quotes is still quoted, so it is not a valid etag."""
    assert bare(f'""{text}""') == f'"{text}"'.removesuffix("-gzip")


@given(
    st.text(
        st.characters(min_codepoint=0x20, exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
        min_size=1,
        max_size=255,
    )
)
@example("100%")
@example("a%2541b")
@example("urn:custom.example#x/y z+ü")
def test_a_name_encoded_twice_is_read_back(name: str) -> None:
    """Section 1: any name travels in a path encoded twice, and in a Slug encoded once."""
    if name == "jwt.secret":
        return
    once = quote(name, safe="")
    assert decoded_key(quote(once, safe="")) == name
    assert decoded_key(encoded_key(name)) == name
    assert decoded_slug(once) == name
    if "%" not in name:
        assert decoded_key(once) == name


@pytest.mark.parametrize(
    ("segment", "error"),
    [
        ("n" * 256, OutOfBounds),
        ("%ff", OutOfBounds),
        ("%25ff", OutOfBounds),
        ("a%00b", OutOfBounds),
        ("a%250Ab", OutOfBounds),
        ("jwt.secret", AccessDenied),
        ("jwt%252Esecret", AccessDenied),
    ],
)
def test_names_that_no_property_can_have(segment: str, error: type[WireError]) -> None:
    """Too long, not UTF-8, control characters; and the reserved one."""
    with pytest.raises(error):
        decoded_key(segment)


def test_a_property_keeps_a_name_that_was_allowed_once() -> None:
    """DEL and C1 characters are refused in new names only."""
    with pytest.raises(OutOfBounds, match="U\\+007F at position 1"):
        decoded_key("a%257F", known={"b"})
    assert decoded_key("a%257F", known={"a\x7f"}) == "a\x7f"


def test_a_slug_must_be_encoded() -> None:
    """Bytes that are not ASCII were not encoded, and their meaning is unknown."""
    with pytest.raises(OutOfBounds):
        decoded_slug("ü")


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("", {"a", "ab", "abc", "b*c", "bc"}),
        (",", {"a", "ab", "abc", "b*c", "bc"}),
        ("ab", {"ab"}),
        ("ab,a,ab,missing", {"a", "ab"}),
        ("a*", {"a", "ab", "abc"}),
        ("*c", {"abc", "b*c", "bc"}),
        ("*b*", {"ab", "abc", "b*c", "bc"}),
        ("*", {"a", "ab", "abc", "b*c", "bc"}),
        ("b*c", {"b*c"}),
        ("a*,*c,bc", {"a", "ab", "abc", "b*c", "bc"}),
        (" a", set()),
        ("A", set()),
    ],
)
def test_wildcards_in_names(text: str, matching: set[str]) -> None:
    """Section 4.1 and section 11, rows 10 to 12: `*` at the start or end of an item, elsewhere itself."""
    assert {name for name in ("a", "ab", "abc", "b*c", "bc") if name in Names(text)} == matching


@pytest.mark.parametrize("item", ["n{}*", "*n{}", "*n{}*"])
def test_names_tell_how_long_a_comparison_takes(item: str) -> None:
    """Each wildcard is a comparison; names are looked up, however many they are."""
    assert Names(",".join(item.format(number) for number in range(500))).effort > 500
    assert Names(",".join(f"n{number}" for number in range(500))).effort == 1


def test_names_are_bounded() -> None:
    """The `names` parameter takes at most 1,000 different items."""
    items = [f"n{number}" for number in range(1_000)]
    assert "n999" in Names(",".join(items * 2))
    with pytest.raises(OutOfBounds):
        Names(",".join([*items, "one"]))


def test_the_property_document_is_that_of_the_contract() -> None:
    """The property document in XML and JSON is that of the samples in section 5."""
    assert render(property_element(MOTD, ROOT), Form.XML).decode() == (
        '<?xml version="1.0"?>\n'
        f'<property name="motd" href="{ROOT}/site/properties/motd/info" etag="12.r3_ts2024-05-01T09:30:00Z">'
        f'<contents type="text/plain; charset=utf-8" size="12" href="{ROOT}/site/properties/motd">'
        "Back at noon</contents>"
        "<date.modified>2024-05-01T09:30:00Z</date.modified>"
        f'<user.modified id="1" href="{ROOT}/users/1"><nick>Admin</nick><username>Admin</username></user.modified>'
        "<change-description>lunch</change-description></property>"
    )
    shown = {
        "@name": "motd",
        "@href": f"{ROOT}/site/properties/motd/info",
        "@etag": "12.r3_ts2024-05-01T09:30:00Z",
        "contents": {
            "@type": "text/plain; charset=utf-8",
            "@size": "12",
            "@href": f"{ROOT}/site/properties/motd",
            "#text": "Back at noon",
        },
        "date.modified": "2024-05-01T09:30:00Z",
        "user.modified": {"@id": "1", "@href": f"{ROOT}/users/1", "nick": "Admin", "username": "Admin"},
        "change-description": "lunch",
    }
    assert json.loads(render(property_element(MOTD, ROOT), Form.JSON)) == shown


def test_names_are_encoded_twice_in_addresses() -> None:
    """Addresses in documents carry a name that is percent-encoded twice (section 1)."""
    element = property_element(Property("urn:a#x", 1, 1, 0, b"", "a/b", Author(0, "Anonymous")), ROOT)
    assert element.attributes["href"] == ROOT + "/site/properties/urn%253Aa%2523x/info"


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        (".", "%252E"),
        ("..", "%252E%252E"),
        ("...", "%252E%252E%252E"),
        ("a.", "a."),
        ("..a", "..a"),
        ("%2e", "%25252e"),
    ],
)
def test_a_name_of_dots_is_encoded_too(name: str, segment: str) -> None:
    """Clients take `.` and `..` out of paths, also as `%2E`."""
    assert encoded_key(name) == segment
    assert decoded_key(segment) == name


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_list_holds_none_one_or_several(count: int) -> None:
    """In JSON `property` is absent, an object or an array; in XML it is always elements."""
    root = properties_element(count, ROOT)
    elements = [property_element(MOTD, ROOT)] * count
    for form in Form:
        head, between, tail = frame(root, form, count)
        text = head + between.join(part(element, form) for element in elements) + tail
        if form is Form.XML:
            found = ElementTree.fromstring(text)
            assert (found.tag, found.attrib["count"], len(found)) == ("properties", str(count), count)
        else:
            shown = json.loads(text)
            assert (shown["@count"], shown["@href"]) == (str(count), ROOT + "/site/properties")
            one = json.loads(part(property_element(MOTD, ROOT), form))
            assert shown.get("property") == {0: None, 1: one}.get(count, [one] * count)


@pytest.mark.parametrize("form", list(Form))
def test_the_error_document(form: Form) -> None:
    """The error document has status, title, message and uri in both forms (section 9)."""
    text = render(error_element(VersionConflict("no & no"), "http://h/x"), form)
    members = {"status": "409", "title": "Conflict", "message": "no & no", "uri": "http://h/x"}
    if form is Form.JSON:
        assert json.loads(text) == members
    else:
        assert {child.tag: child.text for child in ElementTree.fromstring(text)} == members


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CARRIED = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\t\n\r"),
    max_size=20,
)


@st.composite
def elements(draw: st.DrawFn, texts: st.SearchStrategy[str], depth: int = 3) -> Node:
    """A tree as our documents are: text or children, attributes anywhere."""
    attributes = draw(st.dictionaries(st.sampled_from(["id", "href", "a.b"]), texts, max_size=2))
    children: tuple[Node, ...] = ()
    if depth:
        children = tuple(draw(st.lists(elements(texts, depth - 1), max_size=2)))
    return Node(draw(st.sampled_from(["a", "b.c", "d-e"])), attributes, children, "" if children else draw(texts))


def as_xml(found: ElementTree.Element) -> Node:
    children = tuple(map(as_xml, found))
    return Node(found.tag, dict(found.attrib), children, found.text or "")


def as_json(element: Node) -> Any:
    """The mapping of section 5 in other words."""
    if not element.attributes and not element.children:
        return element.text
    grouped: dict[str, list[Any]] = {}
    for child in element.children:
        grouped.setdefault(child.tag, []).append(as_json(child))
    found: dict[str, Any] = {f"@{name}": value for name, value in element.attributes.items()}
    found |= {tag: group[0] if len(group) == 1 else group for tag, group in grouped.items()}
    return found | ({"#text": element.text} if element.text else {})


@given(elements(CARRIED))
def test_xml_is_read_back_as_it_was(element: Node) -> None:
    """A parser finds every attribute and text again, line ends and tabs included."""
    assert as_xml(ElementTree.fromstring(render(element, Form.XML))) == element


@given(elements(TEXTS))
def test_xml_is_well_formed_whatever_is_in_it(element: Node) -> None:
    """Characters that XML cannot represent do not break the document."""
    ElementTree.fromstring(render(element, Form.XML))


@given(elements(TEXTS))
def test_json_is_mapped_from_the_tree(element: Node) -> None:
    """Attributes, texts, single and repeated elements; all scalars are strings."""
    assert json.loads(render(element, Form.JSON)) == as_json(element)


@pytest.mark.parametrize(
    ("content", "content_type", "most", "shown"),
    [
        (b"x" * 2_047, "text/plain", INLINE, True),
        (b"x" * 2_048, "text/plain", INLINE, False),
        (b"x" * 2_048, "text/plain", 2_048, True),
        (b"xy", "text/plain", 1, False),
        ("ü".encode() * 1_024, "text/plain; charset=utf-8", INLINE, False),
        ("ü".encode("latin-1"), "text/plain; charset=ISO-8859-1", INLINE, True),
        ("ü".encode("utf-16"), 'TEXT/css;charset="utf-16"', INLINE, True),
        (b"\xff", "text/plain", INLINE, False),
        (b"\xff", "text/plain; charset=ascii", INLINE, False),
        (b"a\x00b", "text/plain", INLINE, False),
        ("a\ufffe".encode(), "text/plain", INLINE, False),
        (b"abc", "text/plain; charset=rot13", INLINE, False),
        (b"abc", "text/plain; charset=idna", INLINE, False),
        (b"abc", "text/plain; charset=nonsense", INLINE, False),
        (b"{}", "application/json", INLINE, False),
        (b"<a/>", "application/xml", INLINE, False),
        (b"x", "textual/plain", INLINE, False),
    ],
)
def test_what_is_shown_inside_of_the_document(content: bytes, content_type: str, most: int, shown: bool) -> None:
    """Section 5: texts under 2048 bytes, not characters (section 11, row 4), that XML can carry (row 5)."""
    assert bool(inlined(content, content_type, most)) is shown


@pytest.mark.parametrize(
    "text",
    ["text/plain", "a/b", 'application/vnd.x+json; a=b; c="d e"', "image/svg+xml;x", "text/plain; " + "x" * 243],
)
def test_media_types(text: str) -> None:
    """Type, subtype and parameters, up to 255 characters."""
    assert checked_media_type(text) == text


@pytest.mark.parametrize(
    "text", ["", "text", "text/", "/x", "te xt/plain", "a/b\r\nX: y", "a/ü", "text/plain; " + "x" * 244]
)
def test_invalid_media_types(text: str) -> None:
    """A media type that is malformed or too long is refused (section 8)."""
    with pytest.raises(OutOfBounds):
        checked_media_type(text)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False)]
)
def test_booleans(text: str, value: bool) -> None:
    """Boolean parameters are true, false, 1 or 0, in any case (section 2)."""
    assert boolean("b", text) is value


@pytest.mark.parametrize("text", ["", "yes", "2"])
def test_invalid_booleans(text: str) -> None:
    """Any other value of a boolean parameter is refused."""
    with pytest.raises(InvalidParameters):
        boolean("b", text)


@pytest.mark.parametrize("text", ["", "x", "1.0", "-1", "1" * 19, "１", "1 "])
def test_invalid_integers_from_0(text: str) -> None:
    """An integer parameter refuses everything but ASCII digits, and values below its minimum."""
    with pytest.raises(InvalidParameters):
        integer("i", text, least=0)
    assert integer("i", "-1") == -1


# Batches.


def entry(text: str) -> BatchEntry:
    [found] = read_batch(f'<properties><property name="n">{text}</property></properties>'.encode())
    return found


def test_the_batch_of_the_contract() -> None:
    """The sample batch of section 4.7 is read as three entries."""
    entries = read_batch(
        b"""<properties>
          <property name="motd" etag="12.r3_ts2024-05-01T09:30:00Z">
            <contents type="text/plain; charset=utf-8">Back at noon</contents>
            <description>lunch</description>
          </property>
          <property name="palette"><contents type="application/xml"><c><red/></c></contents></property>
          <property name="obsolete"/>
        </properties>"""
    )
    assert entries == [
        BatchEntry("motd", "12.r3_ts2024-05-01T09:30:00Z", b"Back at noon", "text/plain; charset=utf-8", "lunch", None),
        BatchEntry("palette", None, b"<c><red/></c>", "application/xml"),
        BatchEntry("obsolete"),
    ]


@pytest.mark.parametrize(
    ("inner", "content"),
    [
        ("", ""),
        ("a &amp; b &lt;c&gt; &#228;", "a & b <c> ä"),
        ("<![CDATA[<b>]]>", "<b>"),
        (" <c/> ", " <c/> "),
        ("<c></c>", "<c/>"),
        ("<c a='1\"&lt;'>x &amp; y<d/></c>z&gt;", '<c a="1&quot;&lt;">x &amp; y<d/></c>z&gt;'),
        ("<c><!-- a&b <d> --><d/></c><!---->", "<c><!-- a&b <d> --><d/></c><!---->"),
        ("<?do  this?><c><?that?></c>", "<?do this?><c><?that?></c>"),
        ("a &amp; b<!-- c -->", "a &amp; b<!-- c -->"),
        ("<c><![CDATA[<d>&]]]]>&gt;<![CDATA[]]></c>", "<c><![CDATA[<d>&]]]]>&gt;<![CDATA[]]></c>"),
        ("<x:c xmlns:x='urn:x'><x:d x:e='f'/></x:c>", '<x:c xmlns:x="urn:x"><x:d x:e="f"/></x:c>'),
        ("a<property name='x'><contents/></property>", 'a<property name="x"><contents/></property>'),
    ],
)
def test_the_contents_of_an_entry(inner: str, content: str) -> None:
    """Text is text; markup inside of contents is kept as markup."""
    assert entry(f'<contents type="text/plain">{inner}</contents>').content == content.encode()


@pytest.mark.parametrize(
    ("inner", "content"),
    [
        ("<p:c/>", '<p:c xmlns:p="urn:1"/>'),
        ("<c><d p:e=''/></c><p:c/>", '<c xmlns="urn:0" xmlns:p="urn:1"><d p:e=""/></c><p:c xmlns:p="urn:1"/>'),
        ("<q:c/><c xmlns=''/>", '<q:c xmlns:q="urn:&amp;&quot;"/><c xmlns=""/>'),
        ("<c xmlns='x'><p:d xmlns:p='y'/><p:d/></c>", '<c xmlns="x" xmlns:p="urn:1"><p:d xmlns:p="y"/><p:d/></c>'),
        ("<r:c xml:lang='de' undeclared:a='1'/>", '<r:c xml:lang="de" undeclared:a="1" xmlns:r="urn:r"/>'),
        ("p:<!-- p:c -->", "p:<!-- p:c -->"),
    ],
)
def test_namespaces_declared_further_out_are_carried(inner: str, content: str) -> None:
    """Those that are used, onto the outermost elements, with the meaning that they have there."""
    [found] = read_batch(
        '<properties xmlns="urn:0" xmlns:p="urn:0" xmlns:unused="u"><property name="n" xmlns:p="urn:1" xmlns:r="urn:r">'
        '<description xmlns:p="urn:2"/><contents type="a/b" xmlns:q="urn:&amp;&quot;">'
        f"{inner}</contents></property></properties>".encode()
    )
    assert found.content == content.encode()


def test_each_entry_has_its_own_namespaces() -> None:
    """Declarations of one entry do not apply to the next."""
    contents = '<contents type="a/b"><p:c/></contents>'
    one = f'<property name="1" xmlns:p="urn:1">{contents}</property>'
    entries = read_batch(f'<properties>{one}<property name="2">{contents}</property></properties>'.encode())
    assert [entry.content for entry in entries] == [b'<p:c xmlns:p="urn:1"/>', b"<p:c/>"]


NAMESPACES = st.dictionaries(st.sampled_from(["xmlns", "xmlns:a", "xmlns:b"]), st.sampled_from(["urn:1", "urn:2"]))
NAMES_WITH_PREFIX = st.sampled_from(["c", "a:c", "b:c"])


@st.composite
def markup(draw: st.DrawFn, depth: int = 3) -> str:
    """An element that may use and declare the prefixes `a` and `b`, with everything inside that XML has."""
    name = draw(NAMES_WITH_PREFIX)
    given = draw(NAMESPACES) | draw(st.dictionaries(st.sampled_from(["d", "a:e", "b:f"]), st.just("1")))
    pieces = st.sampled_from(["x", "&amp;", "<!--x-->", "<?x y?>", "<![CDATA[<&]]>"])
    inside = st.lists(pieces | markup(depth - 1) if depth else pieces, max_size=3)
    return f"<{name}{attributes(given)}>{''.join(draw(inside))}</{name}>"


@given(NAMESPACES, NAMESPACES, NAMESPACES, st.lists(markup(), min_size=1, max_size=2))
def test_contents_mean_what_they_meant(
    outer: dict[str, str], middle: dict[str, str], inner: dict[str, str], roots: list[str]
) -> None:
    """Names expanded, comments and instructions included: the content is the same tree outside of the batch."""

    around = {"xmlns:a": "urn:0", "xmlns:b": "urn:0"} | outer
    text = "".join(roots)
    [found] = read_batch(
        f"<properties{attributes(around)}><property name='n'{attributes(middle)}>"
        f"<contents type='a/b'{attributes(inner)}>{text}</contents></property></properties>".encode()
    )
    assert found.content is not None
    assert tree(f"<outside>{found.content.decode()}</outside>") == tree(
        f"<outside{attributes(around | middle | inner)}>{text}</outside>"
    )


def attributes(given: dict[str, str]) -> str:
    return "".join(f' {key}="{value}"' for key, value in given.items())


def tree(text: str) -> list[Any]:
    """The content of a document's root, with names expanded."""

    def inside(element: ElementTree.Element) -> list[Any]:
        each = [(child.tag, child.attrib, inside(child), child.tail or "") for child in element]
        return [element.text or "", each]

    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    return inside(ElementTree.fromstring(text, ElementTree.XMLParser(target=builder)))


@given(CARRIED.map(lambda text: text.replace("\r", "")), elements(CARRIED.map(lambda text: text.replace("\r", ""))))
def test_any_text_and_any_markup_comes_through(text: str, element: Node) -> None:
    """Any text and markup that XML can carry is read as it was sent."""
    escaped = render(Node("contents", {"type": "text/plain"}, (), text), Form.XML).split(b"\n", 1)[1].decode()
    assert entry(escaped).content == text.encode()
    markup = part(element, Form.XML).decode()
    assert entry(f'<contents type="text/xml">{markup}</contents>').content == markup.encode()


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("text/plain", "ä€".encode()),
        ("text/plain; charset=windows-1252", "ä€".encode("cp1252")),
        ('text/plain; charset="UTF-16"', "ä€".encode("utf-16")),
        ("text/plain; charset=iso-8859-1", None),
        ("text/plain; charset=nonsense", None),
    ],
)
def test_contents_are_in_the_charset_of_their_type(content_type: str, content: bytes | None) -> None:
    """Whatever the charset of the batch is, so that readers get what was written; or they are refused."""
    found = entry(f"<contents type='{content_type}'>ä€</contents>")
    if content is None:
        assert found.problem is not None
        assert found.problem.code == 400
    else:
        assert (found.content, found.problem) == (content, None)
        assert inlined(content, content_type, 100) == "ä€"


@pytest.mark.parametrize(
    ("inner", "description"),
    [
        ("<description>a</description>", "a"),
        ("<change-description>a</change-description>", "a"),
        ("<change-description>b</change-description><description>a</description>", "a"),
        ("<description/>", None),
        ("<other>x</other>", None),
    ],
)
def test_both_spellings_of_the_description(inner: str, description: str | None) -> None:
    """An entry's description is read in either of its two spellings (section 4.7)."""
    assert entry(inner).description == description


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('<property name="n"><contents>x</contents></property>', 400),
        ('<property name="n"><contents type="text">x</contents></property>', 400),
        ('<property name="n"><contents type="a/b"/><contents type="a/b"/></property>', 400),
        (f'<property name="n"><description>{"d" * 256}</description></property>', 400),
        (f'<property name="{"n" * 256}"/>', 400),
        ('<property name="jwt.secret"/>', 403),
    ],
)
def test_an_invalid_entry_fails_alone(text: str, code: int) -> None:
    """The others of the batch are not affected."""
    bad, good = read_batch(f'<properties>{text}<property name="good"/></properties>'.encode())
    assert bad.problem is not None
    assert bad.problem.code == code
    assert good.problem is None


def bomb(levels: int) -> bytes:
    """A billion laughs."""
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(levels))
    return (
        f'<!DOCTYPE p [<!ENTITY e0 "lol">{entities}]><properties><property name="&e{levels};"/></properties>'
    ).encode()


DEEP = b"<properties>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</properties>"
DEEP_CONTENTS = (
    b'<properties><property name="n"><contents type="a/b">'
    + b"<a>" * 100_000
    + b"</a>" * 100_000
    + b"</contents></property></properties>"
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"<properties>",
        b"<properties/>trailing",
        b"\xff\xfe",
        b"\x00",
        b'<?xml version="1.0" encoding="nonsense"?><properties/>',
        b"<property name='n'/>",
        b"<a><properties/></a>",
        b"<properties><property/></properties>",
        b'<properties><property name=""/></properties>',
        b'<properties><property name="a"/><property name="a"/></properties>',
        b'<properties><property name="a\xff"/></properties>',
        b"<properties>&undeclared;</properties>",
        b"<!DOCTYPE properties><properties/>",
        b'<!DOCTYPE p SYSTEM "http://127.0.0.1:9/x.dtd"><properties/>',
        b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><properties><property name="&x;"/></properties>',
        bomb(9),
        DEEP,
        DEEP_CONTENTS,
    ],
)
def test_documents_that_are_refused_as_a_whole(data: bytes) -> None:
    """Section 4.7: not XML, not properties, a name twice; and malicious documents."""
    with pytest.raises(OutOfBounds):
        read_batch(data)


def test_a_name_that_comes_twice_ends_the_reading() -> None:
    """At its second place, so that a million bytes of names are not compared with one another."""
    with pytest.raises(OutOfBounds, match="'a' occurs twice"):
        read_batch(b'<properties><property name="a"/><property name="a"/><')


LONG_NAMESPACE = (
    b'<properties xmlns:p="'
    + b"u" * 10_000
    + b'"><property name="n"><contents type="a/b">'
    + b"<p:a/>" * 10_000
    + b"</contents></property></properties>"
)
"""Would be a hundred megabytes with the namespace on each element."""


@pytest.mark.parametrize("data", [bomb(9), DEEP, DEEP_CONTENTS, LONG_NAMESPACE])
def test_harmful_documents_cost_no_memory(data: bytes) -> None:
    """They are given up at their beginning, not unfolded first."""
    tracemalloc.start()
    with pytest.raises(OutOfBounds):
        read_batch(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@given(
    st.binary(max_size=60)
    | st.text("<>/!?&;='\" pronetsycm[]:x", max_size=60).map(lambda text: b"<properties>" + text.encode())
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Reading a batch of any bytes raises nothing but OutOfBounds."""
    try:
        read_batch(data)
    except OutOfBounds:
        pass


def test_the_charset_of_the_header_wins() -> None:
    """Without one the document's own declaration counts, and without that UTF-8."""
    text = '<?xml version="1.0" encoding="{}"?><properties><property name="ä"/></properties>'
    assert read_batch(text.format("iso-8859-1").encode("latin-1"))[0].name == "ä"
    assert read_batch(text.format("us-ascii").encode("utf-16"), "utf-16")[0].name == "ä"
    assert read_batch(text.format("iso-8859-1").encode(), "utf-8")[0].name == "ä"
