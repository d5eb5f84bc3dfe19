"""The property dialect over real sockets: every page and row, who may, and that it is the same store."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import pytest

from hivewire.dialects import properties
from hivewire.dialects.properties.credentials import SiteCaller
from hivewire.dialects.properties.server_tokens import signature
from hivewire.dialects.properties.store import EtagCondition, PropertyStore
from hivewire.http.routes import Context
from hivewire.ledger.records import Write
from hivewire.transport.admission import Admission
from hivewire.transport.events import EventStreams
from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.nouns.user import Role, Status
from hivewire_protocol.properties.aborts import ENTRY
from tests.gate.wire import dial, guess, memory, until
from tests.protocol.test_properties import DEEP, POST_ROWS, PUT_ROWS, bomb
from tests.running import PASSWORD, PATIENCE, RunningGateway
from tests.users import ADMIN as ADMINISTRATOR
from tests.users import write_users
from tests.world import World

KEY, SECRET, API_KEY = "wiki", "a-secret-of-servers", "an api key, long enough"
BROWSER_TOKENS = ("da28b6ec3ea350db524d", "a-second_key-of-a-page")
ADMIN, JOHN, LOCKED = ("admin", PASSWORD), ("john_doe", PASSWORD), ("locked", PASSWORD)
STALE = "41.r1_ts2010-01-13T20:19:26Z"
CHALLENGE = 'Basic realm="DekiWiki"'
NUMBERS = count(1)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def started(folder: Path, *flags: str) -> RunningGateway:
    data = folder / "hivewire.db"
    write_users(
        data, ADMINISTRATOR, ("john_doe", Role.CLIENT, Status.ACTIVE), ("locked", Role.ADMIN, Status.LOCKED_OUT)
    )
    secrets = {
        "HIVEWIRE_SERVER_TOKENS": f"{KEY}:{SECRET}",
        "HIVEWIRE_BROWSER_TOKENS": " ".join(BROWSER_TOKENS),
        "HIVEWIRE_API_KEY": API_KEY,
    }
    return RunningGateway(data, *flags, env=secrets)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for this module: use names of your own."""
    with started(tmp_path_factory.mktemp("properties"), "--property-bytes", "100000") as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


@pytest.fixture(scope="module")
def site(gateway: RunningGateway) -> Iterator[httpx.Client]:
    """An administrator's client."""
    with client(gateway) as site:
        yield site


def client(gateway: RunningGateway, auth: tuple[str, str] | None = ADMIN, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=gateway.url + "/@api/deki/", auth=auth, **options)


def fresh() -> str:
    """A name that nobody has used."""
    return f"name.{next(NUMBERS)}"


def at(name: str, encoded: int = 2) -> str:
    for _ in range(encoded):
        name = quote(name, safe="")
    return "site/properties/" + name


def create(site: httpx.Client, name: str, content: bytes | str = "old", content_type: str = "text/plain") -> str:
    """A new property; its etag."""
    headers = {"Slug": quote(name, safe=""), "Content-Type": content_type}
    made = site.post("site/properties", content=content, headers=headers)
    assert made.status_code == 200, made.text
    return made.headers["etag"]


def document(answer: httpx.Response) -> ElementTree.Element:
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    return ElementTree.fromstring(answer.content)


def error(answer: httpx.Response) -> str:
    """The message of an error document, which must agree with the status."""
    members = {child.tag: child.text or "" for child in document(answer)}
    assert list(members) == ["status", "title", "message", "uri"]
    assert members["status"] == str(answer.status_code)
    assert members["title"] == answer.reason_phrase
    assert members["uri"] == str(answer.request.url).partition("?")[0]
    return members["message"]


# The pages.

EVERY_PAGE = [
    ("GET", "site/properties"),
    ("POST", "site/properties"),
    ("PUT", "site/properties"),
    ("GET", "site/properties/{key}"),
    ("PUT", "site/properties/{key}"),
    ("DELETE", "site/properties/{key}"),
    ("GET", "site/properties/{key}/info"),
    ("GET", "users/authenticate"),
    ("POST", "users/authenticate"),
]


PAGES = {path: {verb for verb, page in EVERY_PAGE if page == path} for _, path in EVERY_PAGE}


async def test_no_page_is_left_out_here() -> None:
    """The list of pages above is the whole table of the dialect, and that of section 1, under both roots."""
    world = await World().open()
    admission, streams = Admission(world.services.settings), EventStreams(world.dispatcher)
    routes = list(properties.dialect(Context(world.dispatcher, admission, streams, lambda for_writes: None)).routes)
    await world.close()
    under = [f"{root}/{path}" for root in ("/@api/deki", "/%40api/deki") for _, path in EVERY_PAGE]
    assert sorted(under) == sorted(route.path for route in routes)
    assert {*EVERY_PAGE} == {(route.method, route.path.split("/", 3)[3]) for route in routes}


@pytest.mark.parametrize("root", ["/@api/deki", "/%40api/deki"])
def test_the_life_of_a_property(gateway: RunningGateway, root: str) -> None:
    """Create, read, describe, update, list, delete, under the root written raw and encoded; hrefs show the raw one."""
    name = fresh()
    with dial(gateway) as wire:  # no library in between that would rewrite the path
        credentials = base64.b64encode(":".join(ADMIN).encode()).decode()

        def ask(verb: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
            lines = [f"{verb} {root}/{path} HTTP/1.1", "Host: wiki.example", f"Authorization: Basic {credentials}"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            wire.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
            status, found = wire.head()
            return status, found, wire.read(int(found["content-length"]))

        status, headers, body = ask("POST", "site/properties", b"Pizza", Slug=name, Content_Type="text/plain")
        etag = headers["etag"]
        shown = ElementTree.fromstring(body)
        href = f"http://wiki.example/@api/deki/site/properties/{name}"
        assert (status, shown.tag) == (200, "property")
        assert shown.attrib == {"name": name, "href": href + "/info", "etag": etag}
        contents = shown.find("contents")
        assert contents is not None
        assert (contents.attrib, contents.text) == ({"type": "text/plain", "size": "5", "href": href}, "Pizza")
        assert [child.tag for child in shown] == ["contents", "date.modified", "user.modified", "change-description"]
        assert ask("GET", f"site/properties/{name}")[2] == b"Pizza"
        assert ask("GET", f"site/properties/{name}/info")[2] == body
        status, headers, updated = ask("PUT", f"site/properties/{name}?description=no+more", b"\x00\xff", ETag=etag)
        assert (status, headers["etag"] != etag) == (200, True)
        status, headers, body = ask("GET", f"site/properties/{name}")
        assert (body, headers["content-type"]) == (b"\x00\xff", "application/octet-stream")
        shown = ElementTree.fromstring(ask("GET", f"site/properties?names={name}")[2])
        assert shown.attrib == {"count": "1", "href": "http://wiki.example/@api/deki/site/properties"}
        assert ElementTree.tostring(shown[0]) == ElementTree.tostring(ElementTree.fromstring(updated))
        assert shown[0].findtext("change-description") == "no more"
        assert ask("DELETE", f"site/properties/{name}?etag=whatever&abort=exists")[::2] == (200, b"")
        for path in (f"site/properties/{name}", f"site/properties/{name}/info"):
            assert ask("GET", path)[0] == 404
        assert ElementTree.fromstring(ask("GET", f"site/properties?names={name}")[2]).attrib["count"] == "0"
        assert ask("DELETE", f"site/properties/{name}")[0] == 404


@pytest.mark.parametrize("verb", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "LOCK"])
@pytest.mark.parametrize("path", [*PAGES, "site/properties/{key}/"])
def test_a_verb_that_is_not_offered_is_405(site: httpx.Client, verb: str, path: str) -> None:
    """`Allow` has the verbs that are; an unknown path is 404; both have an error document."""
    pages: set[str] = PAGES.get(path, set())
    if {"HEAD": "GET"}.get(verb, verb) in pages:
        return
    answer = site.request(verb, path.replace("{key}", "k"))
    assert answer.status_code == (405 if pages else 404)
    if pages:
        allowed = {*pages, "OPTIONS"} | ({"HEAD"} if "GET" in pages else set())
        assert answer.headers["allow"] == ", ".join(sorted(allowed))
        options = site.options(path.replace("{key}", "k"))
        assert (options.status_code, options.headers["allow"]) == (204, answer.headers["allow"])
    if verb != "HEAD":
        error(answer)


@pytest.mark.parametrize(
    "path", ["", "nope", "site", "site/propertiesx", "site//k", "site/properties/k/info/more", "users/1"]
)
def test_an_unknown_path_is_404(site: httpx.Client, path: str) -> None:
    """With an error document of this dialect, for anybody."""
    assert error(site.get(path)) == "There is no such path"
    answer = httpx.get(str(site.base_url) + path + "?dream.out.format=json")
    assert (answer.status_code, answer.json()["status"]) == (404, "404")


def test_a_root_that_goes_on_without_a_slash_is_404(gateway: RunningGateway) -> None:
    """A path that only begins with the letters of the API's root gets 404."""
    for root in ("/@api/deki", "/@api/dekisite/properties", "/%40api/dekix/site/properties"):
        assert httpx.get(gateway.url + root, auth=ADMIN).status_code == 404


def test_of_several_overrides_the_last_one_counts(site: httpx.Client) -> None:
    """As with every header of this dialect: `X-HTTP-Method-Override` may come more than once."""
    name = fresh()
    create(site, name)
    overrides = [("X-HTTP-Method-Override", "PUT"), ("X-HTTP-Method-Override", "DELETE")]
    assert site.post(at(name), params={"abort": "never"}, headers=overrides).status_code == 200
    assert site.get(at(name)).status_code == 404


@pytest.mark.parametrize(
    ("verb", "query", "headers", "as_verb"),
    [
        ("POST", {"dream.in.verb": "PUT"}, {}, "PUT"),
        ("POST", {"dream.in.verb": "put"}, {}, "PUT"),
        ("POST", {}, {"X-HTTP-Method-Override": "PUT"}, "PUT"),
        ("POST", {"dream.in.verb": "DELETE"}, {}, "DELETE"),
        ("POST", {}, {"X-HTTP-Method-Override": "delete"}, "DELETE"),
        ("POST", {"dream.in.verb": "HEAD"}, {}, "HEAD"),
        ("PUT", {"dream.in.verb": "DELETE"}, {"X-HTTP-Method-Override": "DELETE"}, "PUT"),
        ("POST", {"dream.in.verb": "BREW"}, {}, "BREW"),
    ],
)
def test_a_post_may_stand_for_another_verb(
    site: httpx.Client, verb: str, query: dict[str, str], headers: dict[str, str], as_verb: str
) -> None:
    """A POST, and no other method, takes its verb from `dream.in.verb` or `X-HTTP-Method-Override` (section 2)."""
    name = fresh()
    create(site, name)
    answer = site.request(verb, at(name), params=query | {"abort": "never"}, headers=headers, content="new")
    now = site.get(at(name))
    assert answer.status_code == (405 if as_verb == "BREW" else 200)
    assert (now.status_code, now.text if now.is_success else "") == {
        "PUT": (200, "new"),
        "DELETE": (404, ""),
    }.get(as_verb, (200, "old"))
    assert bool(answer.content) is (as_verb in ("PUT", "BREW"))


@pytest.mark.parametrize(
    "name",
    [
        "info",
        "urn:custom.mindtouch.com#x",
        "a/b",
        "a b+c",
        "ünï 😀",
        "a?b&c=d",
        "100%25",
        "*",
        "a,b",
        "x" * 255,
        "ü" * 255,
    ],
)
def test_names_of_all_kinds(site: httpx.Client, name: str) -> None:
    """Created by Slug, found under the name encoded twice, and once where it has no `%`; listed; case matters."""
    etag = create(site, name)
    for times in (1, 2) if "%" not in name else (2,):
        assert site.get(at(name, times)).text == "old"
        info = document(site.get(at(name, times) + "/info"))
        assert info.attrib["name"] == name
        path = info.attrib["href"].removeprefix(str(site.base_url))
        assert site.get(path).status_code == 200
    assert [shown.attrib["name"] for shown in document(site.get("site/properties")) if shown.attrib["name"] == name]
    assert site.put(at(name), content="new", headers={"ETag": etag}).status_code == 200
    if name.swapcase() != name and len(name) < 100:
        assert site.get(at(name.swapcase())).status_code == 404
    assert site.delete(at(name)).status_code == 200


@pytest.mark.parametrize("slug", [None, "", "n" * 256, "%ff", "a%00", "a%0Ab"])
def test_an_invalid_slug_is_400(site: httpx.Client, slug: str | None) -> None:
    """A POST without `Slug`, or with an invalid name in it, gets 400 (section 7.2, row 10)."""
    headers = {} if slug is None else {"Slug": slug}
    for abort in ("exists", "never", "modified"):
        error(answer := site.post("site/properties", params={"abort": abort}, content="x", headers=headers))
        assert answer.status_code == 400


def test_the_reserved_name_is_403(site: httpx.Client) -> None:
    """The reserved name gets 403 on every page; wrong credentials get 401 first."""
    for verb, path in (("GET", ""), ("PUT", "?abort=never"), ("DELETE", ""), ("GET", "/info")):
        for key in ("jwt.secret", "jwt%252Esecret"):
            assert site.request(verb, f"site/properties/{key}{path}").status_code == 403
    assert site.post("site/properties", headers={"Slug": "jwt.secret"}).status_code == 403
    wrong = site.get("site/properties/jwt.secret", auth=("admin", "wrong horse"))
    assert wrong.status_code == 401


# The tables of decisions.


@pytest.mark.parametrize("place", ["header", "query", "quoted"])
@pytest.mark.parametrize(("row", "current", "abort", "given", "status"), PUT_ROWS)
def test_the_rows_of_put(
    site: httpx.Client, row: int, current: str | None, abort: str | None, given: str | None, status: int, place: str
) -> None:
    """Section 7.1 over the wire: the status, and what is there afterwards."""
    decide(site, "PUT", current, abort, given, status, place)


@pytest.mark.parametrize("place", ["header", "query", "quoted"])
@pytest.mark.parametrize(("row", "current", "abort", "given", "status"), POST_ROWS)
def test_the_rows_of_post(
    site: httpx.Client, row: int, current: str | None, abort: str | None, given: str | None, status: int, place: str
) -> None:
    """A POST creates, updates or refuses a property by `abort` and etag (section 7.2)."""
    decide(site, "POST", current, abort, given, status, place)


def decide(
    site: httpx.Client,
    verb: str,
    current: str | None,
    abort: str | None,
    given: str | None,
    status: int,
    place: str = "header",
) -> None:
    """Bring about the situation of a row, send the request, look at what came of it."""
    name = fresh()
    etag = create(site, name) if current is not None else None
    sent = etag if given == current else given
    params = {} if abort is None else {"abort": abort.upper()}
    headers = {"Content-Type": "text/css", "Slug": name} if verb == "POST" else {"Content-Type": "text/css"}
    if sent is not None and place == "query":
        params["etag"] = sent
    elif sent is not None:
        headers["ETag"] = f'"{sent}"' if place == "quoted" else sent
    path = at(name) if verb == "PUT" else "site/properties"
    answer = site.request(verb, path, params=params, headers=headers, content="new")
    assert answer.status_code == status
    now = site.get(at(name))
    if status == 200:
        assert (now.text, now.headers["content-type"]) == ("new", "text/css")
        assert now.headers["etag"] == answer.headers["etag"] == document(answer).attrib["etag"]
        assert f".r{2 if current else 1}_ts" in now.headers["etag"]
    else:
        error(answer)
        assert (now.status_code, now.headers.get("etag")) == ((200, etag) if current else (404, None))


@pytest.mark.parametrize(
    ("row", "current", "abort", "given", "status"), [row for row in PUT_ROWS if row[0] in (10, 11, 12)]
)
def test_a_put_may_create_where_that_is_set(
    permissive: httpx.Client, row: int, current: str | None, abort: str | None, given: str | None, status: int
) -> None:
    """Section 11, row 2: rows 10 and 11 are 200 and 409 then."""
    decide(permissive, "PUT", current, abort, given, {10: 200, 11: 409}.get(row, status))


@pytest.fixture(scope="module")
def permissive_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with the settings that are off by default."""
    flags = ["--property-put-creates", "true", "--property-count", "20", "--session-lifetime", "1"]
    flags += ["--property-origins", "https://app.example, http://localhost:3000"]
    with started(tmp_path_factory.mktemp("permissive"), *flags) as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")


@pytest.fixture(scope="module")
def permissive(permissive_gateway: RunningGateway) -> Iterator[httpx.Client]:
    with client(permissive_gateway) as site:
        yield site


@pytest.mark.parametrize("abort", ["", "always", "0"])
@pytest.mark.parametrize("exists", [True, False])
def test_any_other_abort_is_400(site: httpx.Client, abort: str, exists: bool) -> None:
    """Row 14 of PUT and row 9 of POST, whatever the etag."""
    name = fresh()
    etag = create(site, name) if exists else STALE
    for sent in ({}, {"ETag": etag}, {"ETag": STALE}):
        assert site.put(at(name), params={"abort": abort}, headers=sent).status_code == 400
        assert site.post("site/properties", params={"abort": abort}, headers={"Slug": name, **sent}).status_code == 400


def test_the_effective_etag(site: httpx.Client) -> None:
    """Section 7, first table: the header wins over the query, even empty."""
    name = fresh()
    good = create(site, name)
    for header, query, status in ((STALE, good, 409), ("", good, 409), (good, STALE, 200)):
        answer = site.put(at(name), params={"etag": query}, headers={"ETag": header}, content="x")
        assert answer.status_code == status


def test_conditions_of_http_are_ignored(site: httpx.Client) -> None:
    """Section 7: `If-Match` and similar headers are not part of this dialect; 304 and 412 are never used."""
    name = fresh()
    etag = create(site, name)
    conditions = {
        "If-Match": '"nothing"',
        "If-None-Match": etag,
        "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
    }
    assert site.get(at(name), headers=conditions).status_code == 200
    assert site.get(at(name), headers={"If-None-Match": f'"{etag}"'}).status_code == 200
    assert site.put(at(name), headers=conditions | {"ETag": etag}).status_code == 200


def batch(site: httpx.Client, xml: str | bytes, **options: Any) -> httpx.Response:
    return site.put("site/properties", content=xml, headers={"Content-Type": "application/xml"}, **options)


@pytest.mark.parametrize(
    ("exists", "contents", "etag", "status"),
    [
        (False, True, None, 200),
        (False, True, STALE, 200),
        (True, True, "match", 200),
        (True, True, STALE, 409),
        (True, True, None, 409),
        (True, False, None, 200),
        (True, False, STALE, 200),
        (False, False, None, 400),
        (False, False, STALE, 400),
        (False, "bad type", None, 400),
        (True, "bad type", "match", 400),
    ],
)
def test_the_rows_of_a_batch(
    site: httpx.Client, exists: bool, contents: bool | str, etag: str | None, status: int
) -> None:
    """Each entry of a batch gets a status by its etag and by what exists (section 7.3)."""
    name = fresh()
    current = create(site, name) if exists else None
    sent = current if etag == "match" else etag
    attribute = f' etag="{sent}"' if sent else ""
    kind = "" if contents == "bad type" else ' type="text/css"'
    inner = f"<contents{kind}>new</contents>" if contents else ""
    answer = batch(site, f'<properties><property name="{name}"{attribute}>{inner}</property></properties>')
    shown = document(answer)
    found = shown[0].find("status")
    assert found is not None
    assert (answer.status_code, shown.attrib["count"]) == ((200, "1") if status == 200 else (207, "0"))
    assert (shown[0].attrib["name"], found.attrib["code"]) == (name, str(status))
    now = site.get(at(name))
    if status == 200 and not contents:
        assert now.status_code == 404
        assert shown[0].attrib["etag"] == current
        assert shown[0].findtext("contents") == "old"
        tags = [child.tag for child in shown[0]]
        assert tags[-3:] == ["user.deleted", "date.deleted", "status"]
        deleted = shown[0].find("user.deleted")
        assert deleted is not None
        assert deleted.attrib["id"] == "1"
    elif status == 200:
        assert (now.text, now.headers["etag"]) == ("new", shown[0].attrib["etag"])
    else:
        assert [child.tag for child in shown[0]] == ["status"]
        assert now.headers.get("etag") == current


def test_a_failed_entry_stops_no_other(site: httpx.Client) -> None:
    """Section 4.7: 207, in document order, and `count` is how many succeeded."""
    names = [fresh() for _ in range(4)]
    create(site, names[1])
    create(site, names[2])
    text = (
        f'<properties><property name="{names[0]}"><contents type="application/xml"><c><red/></c></contents>'
        f'<description>why</description></property><property name="{names[1]}"><contents type="a/b"/></property>'
        f'<property name="{names[2]}"/><property name="jwt.secret"/><property name="{names[3]}"/></properties>'
    )
    answer = batch(site, text, params={"dream.out.format": "json"})
    assert answer.status_code == 207
    shown = answer.json()
    assert shown["@count"] == "2"
    statuses = [each["status"] for each in shown["property"]]
    assert [each["@code"] if isinstance(each, dict) else each for each in statuses] == [
        "200",
        "409",
        "200",
        "403",
        "400",
    ]
    assert shown["property"][0]["change-description"] == "why"
    assert shown["property"][0]["contents"]["@size"] == "13"
    assert site.get(at(names[0])).content == b"<c><red/></c>"


def test_a_batch_is_as_long_as_its_body_may_be(site: httpx.Client) -> None:
    """Over a thousand entries, in order, each for itself."""
    base = fresh()
    made = [
        f'<property name="{base}.{n:04}"><contents type="text/plain">{n}</contents></property>' for n in range(1_100)
    ]
    shown = document(batch(site, f"<properties>{''.join(made)}</properties>"))
    assert shown.attrib["count"] == "1100"
    assert [each.attrib["name"] for each in shown] == [f"{base}.{n:04}" for n in range(1_100)]
    numbers = [int(each.attrib["etag"].partition(".")[0]) for each in shown]
    assert numbers == sorted(numbers)
    listed = site.get("site/properties", params={"names": base + ".*"})
    assert "content-length" not in listed.headers  # it comes in portions
    found = document(listed)
    assert found.attrib["count"] == "1100"
    assert [each.findtext("contents") for each in found] == [str(n) for n in range(1_100)]
    as_json = site.get("site/properties", params={"names": base + ".*", "dream.out.format": "json"}).json()
    assert [each["@name"] for each in as_json["property"]] == [each.attrib["name"] for each in found]
    gone = "".join(f'<property name="{each.attrib["name"]}"/>' for each in found)
    deleted = batch(site, f"<properties>{gone}</properties>")
    assert "content-length" not in deleted.headers
    assert document(deleted).attrib["count"] == "1100"
    assert [(each.attrib["name"], each.findtext("contents")) for each in document(deleted)] == [
        (each.attrib["name"], str(n)) for n, each in enumerate(found)
    ]
    assert document(batch(site, "<properties/>")).attrib["count"] == "0"


def test_the_answer_to_a_batch_is_never_whole_in_memory(tmp_path: Path) -> None:
    """A short body may delete much, and the deleted content is shown, five times as long when escaped. The gateway
    holds a portion of the answer at a time."""
    number, text = 1_000, "&amp;" * 2_000
    names = [f"much.{n}" for n in range(number)]
    made = [f'<property name="{name}"><contents type="text/plain">{text}</contents></property>' for name in names]
    gone = "".join(f'<property name="{name}"/>' for name in names)
    with started(tmp_path) as gateway, client(gateway) as site:
        for start in range(0, number, 100):
            assert batch(site, f"<properties>{''.join(made[start : start + 100])}</properties>").status_code == 200
        peak = memory(gateway, "VmHWM")
        answer = batch(site, f"<properties>{gone}</properties>")
        assert answer.status_code == 200
        assert len(answer.content) > number * len(text)
        assert memory(gateway, "VmHWM") - peak < len(answer.content) // 3


def test_an_entry_that_grows_over_the_limit_is_413(site: httpx.Client) -> None:
    """Markup is serialized again, and may become longer."""
    quotes = '"' * 20_000
    entry = f'<property name="{fresh()}"><contents type="text/xml"><c a=\'{quotes}\'/></contents></property>'
    answer = document(batch(site, f"<properties>{entry}</properties>"))
    status = answer[0].find("status")
    assert status is not None
    assert status.attrib["code"] == "413"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/xml"),
        (b"<properties/>", "application/json"),
        (b'<properties><property name="a"/><property name="a"/></properties>', "text/xml"),
        (bomb(9), "application/xml"),
        (DEEP[:90_000], "application/xml"),
        (
            b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><properties><property name="&x;"/></properties>',
            "text/xml",
        ),
    ],
)
def test_a_batch_that_is_refused_as_a_whole(site: httpx.Client, body: bytes, content_type: str) -> None:
    """A batch that is malformed or harmful gets 400, and nothing of it is written."""
    before = site.get("site/properties").content
    answer = site.put("site/properties", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    error(answer)
    assert site.get("site/properties").content == before


def test_a_recreated_property_is_a_new_resource(site: httpx.Client) -> None:
    """Section 4.6: new id, revision 1; an etag from before never matches again."""
    name = fresh()
    before = create(site, name)
    site.delete(at(name))
    after = create(site, name)
    assert ".r1_ts" in before
    assert ".r1_ts" in after
    assert int(after.partition(".")[0]) > int(before.partition(".")[0])
    assert site.put(at(name), headers={"ETag": before}).status_code == 409


def test_the_same_content_again_is_a_new_revision(site: httpx.Client) -> None:
    """Putting the same content again creates a new revision (section 6)."""
    name = fresh()
    etag = create(site, name, "same", "text/plain")
    again = site.put(at(name), content="same", headers={"ETag": etag, "Content-Type": "text/plain"})
    assert ".r2_ts" in again.headers["etag"]


def test_of_two_writers_with_the_same_etag_one_wins(gateway: RunningGateway, site: httpx.Client) -> None:
    """Section 6: over two connections at the same moment, one 200 and one 409, every time."""
    name = fresh()
    etag = create(site, name)
    barrier = threading.Barrier(2)
    answers: list[list[httpx.Response]] = [[], []]
    rounds = 40
    current = [etag]

    def write(number: int) -> None:
        with client(gateway) as own:
            for _ in range(rounds):
                barrier.wait()
                sent = {"ETag": current[0]}
                answers[number].append(own.put(at(name), content=str(number), headers=sent))
                if barrier.wait() == 0:
                    winner = next(each[-1] for each in answers if each[-1].status_code == 200)
                    current[0] = winner.headers["etag"]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pairs = [sorted(answer.status_code for answer in pair) for pair in zip(*answers, strict=True)]
    assert pairs == [[200, 409]] * rounds
    assert f".r{rounds + 1}_ts" in current[0]


# The order of checks (section 7.5).


def test_one_request_has_one_answer(site: httpx.Client) -> None:
    """Of several errors the first in this order is reported: path, credentials, right, parameters, existence, etag."""
    name = fresh()
    create(site, name)
    wrong: dict[str, Any] = {"params": {"abort": "wrong"}, "content": b"x" * 200_000, "headers": {"ETag": STALE}}
    assert site.put("nope", auth=("admin", "no horse"), **wrong).status_code == 404
    assert site.request("LOCK", at(name), auth=("admin", "no horse"), **wrong).status_code == 405
    assert site.put(at(name), auth=("nobody", "no horse"), **wrong).status_code == 401
    assert site.put(at(name), auth=JOHN, **wrong).status_code == 403
    assert site.put(at(fresh()), **wrong).status_code == 400
    wrong["params"] = {"abort": "modified"}
    assert site.put(at(fresh()), **wrong).status_code == 413
    wrong["content"] = b"x"
    assert site.put(at(fresh()), **wrong).status_code == 404
    assert site.put(at(name), **wrong).status_code == 409


@pytest.mark.parametrize(
    "query",
    [
        "dream.out.format=jsonp",
        "dream.out.format=php",
        "dream.out.format=",
        "dream.out.format=XML",
        "redirects=x",
        "redirects=",
        "authenticate=maybe",
    ],
)
@pytest.mark.parametrize(("verb", "path"), EVERY_PAGE)
def test_a_bad_parameter_is_400_on_every_page(site: httpx.Client, verb: str, path: str, query: str) -> None:
    """Every page refuses bad parameters with 400 and an error document in XML (section 2)."""
    answer = site.request(verb, f"{path.replace('{key}', 'k')}?{query}")
    assert answer.status_code == 400
    error(answer)


@pytest.mark.parametrize("cutoff", ["-1", "x", "", "1.5"])
def test_a_bad_cutoff_is_400(site: httpx.Client, cutoff: str) -> None:
    """Pages that take `contentcutoff` refuse a value that is not a number from 0 on."""
    for path in ("site/properties", "site/properties/k/info"):
        assert site.get(path, params={"contentcutoff": cutoff}).status_code == 400


def test_valid_and_unknown_parameters_are_accepted(site: httpx.Client) -> None:
    """`redirects`, `authenticate` and unknown parameters change nothing."""
    query = {"redirects": "0", "authenticate": "false", "dream.out.format": "xml", "whatever": "x"}
    assert site.get("site/properties", params=query).status_code == 200


@pytest.mark.parametrize("form", ["json", "php"])
def test_bodies_in_other_formats_are_501(site: httpx.Client, form: str) -> None:
    """A write with a `dream.in.format` other than XML gets 501 (section 9)."""
    for path in ("site/properties", at(fresh())):
        assert site.put(path, params={"dream.in.format": form, "abort": "never"}).status_code == 501


def test_too_long_a_description_or_type_is_400(site: httpx.Client) -> None:
    """Section 8: 255 characters each, and a type must be one."""
    name = fresh()
    create(site, name)
    forced = {"abort": "never"}
    assert site.put(at(name), params=forced | {"description": "d" * 256}).status_code == 400
    for kind in ("text", "text/plain; " + "x" * 250):
        assert site.put(at(name), params=forced, headers={"Content-Type": kind}).status_code == 400
    described = site.put(at(name), params=forced | {"description": "ü" * 255})
    assert document(described).findtext("change-description") == "ü" * 255


@pytest.mark.parametrize("text", ["%ff%00x", "%ff", "a%00", "%1b[2J", "%7f%ed%a0%80", "%ef%bf%bf"])
def test_a_parameter_that_is_not_text_is_400(site: httpx.Client, text: str) -> None:
    """A parameter that is not UTF-8, or cannot be shown in a document, is refused and nothing is written; one that is
    not used is ignored."""
    name = fresh()
    etag = create(site, name)
    raw = text.encode()
    for method, path, parameter in (("PUT", at(name), b"description"), ("GET", "site/properties", b"names")):
        url = site.base_url.join(path).copy_with(query=b"abort=never&" + parameter + b"=" + raw)
        answer = site.request(method, url, content=b"new" if method == "PUT" else None)
        assert answer.status_code == 400
        assert (
            document(answer).findtext("message")
            == f"{parameter.decode()} must be UTF-8 text without control characters"
        )
    assert site.get(at(name)).headers["etag"] == etag
    url = site.base_url.join(at(name)).copy_with(query=b"abort=never&description=%09tab%0aline&other=" + raw)
    assert site.put(url, content=b"new").status_code == 200


def test_errors_as_json(site: httpx.Client) -> None:
    """With `dream.out.format=json` the error document is JSON as well."""
    answer = site.get(at(fresh()), params={"dream.out.format": "json"})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    uri = str(answer.request.url).partition("?")[0]
    assert answer.json() == {"status": "404", "title": "Not Found", "message": "There is no such property", "uri": uri}


# Contents.


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/html; charset=ISO-8859-1", "image/png", "application/json", 'a/b; c="d;e"']
)
@pytest.mark.parametrize("content", [b"", b"\x00\x01\xff\xfe", b"a\r\nb", bytes(range(256)) * 300])
def test_a_content_comes_back_byte_for_byte(site: httpx.Client, content: bytes, content_type: str) -> None:
    """With its exact media type; HEAD has the same headers without the content."""
    name = fresh()
    etag = create(site, name, content, content_type)
    for params in ({}, {"dream.out.format": "json"}):
        got = site.get(at(name), params=params)
        assert (got.content, got.headers["content-type"], got.headers["etag"]) == (content, content_type, etag)
    head = site.head(at(name))
    assert (head.content, head.headers["content-length"]) == (b"", str(len(content)))
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
    for path in (at(name) + "/info", "site/properties?names=" + name):
        head, got = site.head(path), site.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(got.content))


def test_a_stored_page_cannot_run(site: httpx.Client) -> None:
    """HTML that somebody stored is shown without scripts, and not as another type than it is."""
    name = fresh()
    create(site, name, "<script>alert(1)</script>", "text/html")
    headers = site.get(at(name)).headers
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"


def test_without_a_type_it_is_bytes(site: httpx.Client) -> None:
    """A content that was sent without a type is stored as `application/octet-stream` (section 8)."""
    name = fresh()
    site.put(at(name), params={"abort": "exists"}, content=b"x")
    assert site.get(at(name)).headers["content-type"] == "application/octet-stream"


def test_contents_come_chunked_too(site: httpx.Client) -> None:
    """Transfer-Encoding: chunked, up to the limit and over it."""
    name = fresh()
    pieces = [b"x" * 20_000] * 5

    def send(pieces: list[bytes]) -> httpx.Response:
        return site.put(at(name), params={"abort": "never"}, content=iter(pieces))

    assert send(pieces).status_code == 200
    assert len(site.get(at(name)).content) == 100_000
    assert send([*pieces, b"x"]).status_code == 413


def test_a_content_over_the_limit_is_413(site: httpx.Client) -> None:
    """The setting `--property-bytes`; the error document says so."""
    name = fresh()
    assert site.put(at(name), params={"abort": "never"}, content=b"x" * 100_000).status_code == 200
    refused = site.put(at(name), params={"abort": "never"}, content=b"x" * 100_001)
    assert refused.status_code == 413
    assert "100000" in error(refused)
    assert batch(site, b"<properties>" + b" " * 100_001).status_code == 413


def test_one_mebibyte_is_the_limit_by_default(shared_gateway: RunningGateway) -> None:
    """A content of 1 MiB is stored; one byte more gets 413 (section 11, row 7)."""
    with client(shared_gateway) as site:
        name = "properties.mebibyte"
        for size, status in ((1 << 20, 200), ((1 << 20) + 1, 413)):
            assert site.put(at(name), params={"abort": "never"}, content=b"x" * size).status_code == status
        assert site.get(at(name)).content == b"x" * (1 << 20)


def test_a_client_that_waits_for_100_is_answered_first(gateway: RunningGateway) -> None:
    """`Expect: 100-continue`: a content that is too large, or not allowed, need not be sent at all."""
    pair = base64.b64encode(":".join(ADMIN).encode())
    for size, credentials, status in ((5, pair, 100), (100_001, pair, 413), (5, b"bm9ib2R5Om5vdGhpbmc=", 401)):
        with dial(gateway) as wire:
            wire.send(
                b"PUT /@api/deki/site/properties/expect?abort=never HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\n"
                b"Authorization: Basic %b\r\nContent-Length: %d\r\n\r\n" % (credentials, size)
            )
            assert wire.head()[0] == status
            if status == 100:
                wire.send(b"hello")
                assert wire.head()[0] == 200


def test_texts_are_shown_up_to_the_cutoff(site: httpx.Client) -> None:
    """Section 5: under 2048 bytes; `contentcutoff=n` up to n bytes, in lists and in info."""
    sizes = dict(zip(sorted(fresh() for _ in range(3)), (2_047, 2_048, 5_000), strict=True))
    for name, size in sizes.items():
        create(site, name, b"x" * size)
    for cutoff, shown in ((None, 2_047), (0, 0), (2_047, 2_047), (2_048, 2_048), (10**9, 5_000)):
        params = {} if cutoff is None else {"contentcutoff": str(cutoff)}
        listed = document(site.get("site/properties", params=params | {"names": ",".join(sizes)}))
        found = [len(each.findtext("contents") or "") for each in listed]
        assert found == [size if size <= shown else 0 for size in sizes.values()]
        for name, length in zip(sizes, found, strict=True):
            info = document(site.get(at(name) + "/info", params=params))
            assert len(info.findtext("contents") or "") == length


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("w.a*", ["w.a", "w.ab"]),
        ("*.b,w.a", ["w.a", "w.b"]),
        ("w.*,w.ab,w.ab", ["w.a", "w.ab", "w.b"]),
        ("*w.*b*", []),
        ("w.ab,missing", ["w.ab"]),
        ("W.A", []),
    ],
)
def test_names_choose(site: httpx.Client, names: str, found: list[str]) -> None:
    """Section 4.1: wildcards, each once, by name; commas raw or encoded."""
    for name in ("w.b", "w.ab", "w.a"):
        site.put(at(name), params={"abort": "never"}, content="x")
    for query in (quote(names, safe=""), quote(names, safe=",*")):
        listed = document(site.get(f"site/properties?names={query}"))
        assert [each.attrib["name"] for each in listed] == found
        assert listed.attrib["count"] == str(len(found))


def test_no_names_are_all(site: httpx.Client) -> None:
    """An empty value too; ordered by name, ordinal."""
    names = {fresh() for _ in range(3)}
    for name in names:
        create(site, name)
    everything = [each.attrib["name"] for each in document(site.get("site/properties"))]
    assert everything == sorted(everything)
    assert names <= set(everything)
    assert site.get("site/properties?names=").content == site.get("site/properties").content


def test_there_may_be_a_limit_of_properties(permissive_gateway: RunningGateway, permissive: httpx.Client) -> None:
    """Section 11, row 8: no more can be created here, but existing ones can be changed."""
    statuses = [permissive.put(at(f"many.{n}"), params={"abort": "never"}, content="x").status_code for n in range(25)]
    assert sorted(set(statuses)) == [200, 400]
    assert document(permissive.get("site/properties")).attrib["count"] == "20"
    assert permissive.put(at("many.0"), params={"abort": "never"}, content="y").status_code == 200
    entry = '<properties><property name="one.more"><contents type="a/b"/></property></properties>'
    assert batch(permissive, entry).status_code == 207
    for n in range(25):
        permissive.delete(at(f"many.{n}"))


def test_a_batch_stops_at_the_limit(permissive: httpx.Client) -> None:
    """Section 11, row 8: entries of one batch count, so a batch cannot exceed the limit."""
    room = 20 - int(document(permissive.get("site/properties")).attrib["count"])
    entries = [f'<property name="limit.{n}"><contents type="a/b">x</contents></property>' for n in range(room + 5)]
    answer = batch(permissive, f"<properties>{''.join(entries)}</properties>")
    assert (answer.status_code, document(answer).attrib["count"]) == (207, str(room))
    assert document(permissive.get("site/properties")).attrib["count"] == "20"
    for n in range(room + 5):
        permissive.delete(at(f"limit.{n}"))


async def test_puts_of_one_commit_stop_at_the_limit() -> None:
    """Section 11, row 8: writes before a PUT in its commit count, updates and deletes too."""
    world = await World().open()
    store = PropertyStore(world.services)
    await world.store("known")

    def put(name: str) -> Write:
        return Write("configuration", name, b"x", "a/b", None, (EtagCondition(ENTRY, None, 4),))

    writes = [put(f"new {n}") for n in range(5)]
    writes += [Write("configuration", "new 0", None), put("another"), put("one too many")]
    outcomes = await asyncio.gather(*(store.commit(write, SiteCaller()) for write in writes), return_exceptions=True)
    await world.close()
    refused = [write.key for write, outcome in zip(writes, outcomes, strict=True) if isinstance(outcome, OutOfBounds)]
    assert refused == ["new 3", "new 4", "one too many"]


# One store.


def test_a_socket_sees_properties_that_are_put(gateway: RunningGateway, site: httpx.Client) -> None:
    """Pushes, versions that equal the etag's revision, and values as in the configuration contract."""
    name = "store." + fresh()
    with gateway.socket() as talk:
        talk("configuration/subscribe", names=["store.*"], snapshot=False)
        etag = create(site, name, "ünï", "text/plain; charset=utf-8")
        pushed = talk.receive()
        assert pushed["configuration"] == {"name": name, "value": "ünï", "entityVersion": 1}
        assert pushed["modifiedBy"] == "admin"
        site.put(
            at(name), params={"description": "why"}, content=b"\xff", headers={"ETag": etag, "Content-Type": "a/b"}
        )
        pushed = talk.receive()
        shown = {"name": name, "value": None, "entityVersion": 2, "contentType": "a/b", "size": 1}
        assert (pushed["configuration"], pushed["description"]) == (shown, "why")
        site.put(at(name), params={"abort": "never", "description": ""}, content="x")
        assert talk.receive().get("description") is None
        batch(site, f'<properties><property name="{name}"/></properties>')
        assert talk.receive()["operation"] == "delete"
        assert talk("configuration/get", name=name)["code"] == 404
        long = "store." + "ü" * 200
        create(site, long, b"\xff", "text/plain; charset=utf-8")  # not UTF-8, whatever it says
        pushed = talk.receive()
        kind = "text/plain; charset=utf-8"
        shown = {"name": long, "value": None, "entityVersion": 1, "contentType": kind, "size": 1}
        assert pushed["configuration"] == shown
        assert talk("configuration/get", name=long)["configuration"] == shown
        listed = talk("configuration/list", names=["store.*"])
        assert [each["name"] for each in listed["configurations"]] == [long]


def test_a_configuration_put_over_a_socket_has_an_etag(gateway: RunningGateway, site: httpx.Client) -> None:
    """The etag's revision is the `entityVersion`; a PUT with it works, and conflicts are mutual."""
    name = fresh()
    with gateway.socket() as talk:
        talk("configuration/put", name=name, value="1")
        version = talk("configuration/put", name=name, value="[2]", contentType="application/json")
        assert version["configuration"]["entityVersion"] == 2
        got = site.get(at(name))
        assert (got.content, got.headers["content-type"]) == (b"[2]", "application/json")
        etag = got.headers["etag"]
        assert ".r2_ts" in etag
        talk("configuration/put", name=name, value="3")
        assert site.put(at(name), headers={"ETag": etag}).status_code == 409
        forced = site.put(at(name), params={"abort": "never"}, content="4", headers={"Content-Type": "text/plain"})
        assert ".r4_ts" in forced.headers["etag"]
        assert talk("configuration/put", name=name, value="5", entityVersion=3)["code"] == 409
        history = talk("configuration/history", name=name)["changes"]
        assert [change["configuration"]["value"] for change in history] == ["4", "3", "[2]", "1"]
        rolled = talk("configuration/rollback", name=name, to=2)
        assert rolled["configuration"]["entityVersion"] == 5
        assert site.get(at(name)).content == b"[2]"


# Who may.


def server_token(user: str, epoch: int | None = None, key: str = KEY) -> str:
    moment = str(int(time.time()) if epoch is None else epoch)
    return f"{key}_{moment}_{user}_{signature(SECRET, key, moment, user)}"


def session(gateway: RunningGateway, pair: tuple[str, str] = ADMIN) -> str:
    answer = httpx.get(gateway.url + "/@api/deki/users/authenticate", auth=pair)
    assert answer.status_code == 200, answer.text
    return answer.text


CASES: list[tuple[str, dict[str, Any], int, int]] = [
    # What is sent, its status without `authenticate` and with it.
    ("right Basic", {"auth": ADMIN}, 200, 200),
    ("Basic without ADMIN", {"auth": JOHN}, 403, 403),
    ("Basic of a disabled user", {"auth": LOCKED}, 403, 403),
    ("wrong password", {"auth": ("john_doe", "wrong horse")}, 401, 401),
    ("unknown user", {"auth": ("nobody", "x")}, 401, 401),
    ("Basic that is no Base64", {"headers": {"Authorization": "Basic ???"}}, 401, 401),
    ("Basic that is not even ASCII", {"headers": {"Authorization": b"Basic \xe9\xe9"}}, 401, 401),
    ("Basic without a colon", {"headers": {"Authorization": "Basic YWRtaW4="}}, 401, 401),
    ("another scheme", {"headers": {"Authorization": "Bearer x"}}, 403, 401),
    ("nothing", {}, 403, 401),
    ("unknown session", {"headers": {"X-Authtoken": "1_2_3"}}, 403, 401),
    ("unknown session before right Basic", {"headers": {"X-Authtoken": "1_2_3"}, "auth": ADMIN}, 403, 401),
    ("unknown session in the query", {"params": {"authtoken": "x"}, "auth": ADMIN}, 403, 401),
    ("empty session and right Basic", {"params": {"authtoken": ""}, "auth": ADMIN}, 200, 200),
    ("malformed server token", {"headers": {"X-Deki-Token": KEY}}, 401, 401),
    ("malformed server token before right Basic", {"headers": {"X-Deki-Token": "x"}, "auth": ADMIN}, 401, 401),
    ("API key", {"params": {"apikey": API_KEY}}, 200, 200),
    ("API key for a user", {"params": {"apikey": API_KEY, "impersonateuserid": "2"}}, 200, 200),
    ("API key for nobody", {"params": {"apikey": API_KEY, "impersonateuserid": "99"}}, 401, 401),
    ("API key for no number", {"params": {"apikey": API_KEY, "impersonateuserid": "9" * 5_000}}, 401, 401),
    ("API key for a disabled user", {"params": {"apikey": API_KEY, "impersonateuserid": "3"}}, 403, 403),
    ("wrong API key", {"params": {"apikey": API_KEY + "x"}}, 403, 401),
    ("wrong API key and right Basic", {"params": {"apikey": "x"}, "auth": ADMIN}, 200, 200),
]


@pytest.mark.parametrize(("what", "sent", "status", "insisting"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_rights_by_credential(
    gateway: RunningGateway, what: str, sent: dict[str, Any], status: int, insisting: int, verb: str
) -> None:
    """Section 3, the table of situations, for reading and for writing."""
    url = f"{gateway.url}/@api/deki/site/properties" + ("/who?abort=never" if verb == "PUT" else "")
    with httpx.Client() as plain:
        for insists, expected in ((False, status), (True, insisting)):
            more = {"authenticate": "true"} if insists else {}
            rest = {name: value for name, value in sent.items() if name != "params"}
            params = {**httpx.URL(url).params, **sent.get("params", {}), **more}
            answer = plain.request(verb, url.partition("?")[0], params=params, **rest)
            assert answer.status_code == expected
            assert answer.headers.get("www-authenticate") == (CHALLENGE if expected == 401 else None)
            if expected != 200:
                error(answer)


@pytest.mark.parametrize("verb", ["", "HEAD", "POST"])
@pytest.mark.parametrize(("verb_of_page", "path"), [page for page in EVERY_PAGE if not page[1].startswith("users/")])
def test_refused_callers_are_refused_on_every_page(
    gateway: RunningGateway, site: httpx.Client, verb_of_page: str, path: str, verb: str
) -> None:
    """Section 3, the refused situations, on every page, under each verb and under POST in its place: whatever else is
    wrong with the request, nothing is done."""
    if verb == "HEAD" and verb_of_page != "GET":
        return
    name = fresh()
    etag = create(site, name)
    everything = site.get("site/properties").content
    known = session(gateway, JOHN)
    forbidden: list[dict[str, Any]] = [
        {"auth": JOHN},
        {"headers": {"X-Authtoken": known}},
        {"headers": {"Cookie": f"authtoken={known}"}},
        {"params": {"authtoken": known}},
        {"headers": {"X-Deki-Token": server_token("=john_doe")}},
        {"auth": LOCKED},
        {"headers": {"X-Deki-Token": server_token("=locked")}},
    ]
    anonymous: list[dict[str, Any]] = [
        {},
        {"headers": {"X-Authtoken": "1_2_3"}},
        {"params": {"authtoken": known[:-1]}, "auth": ADMIN},
        {"params": {"apikey": API_KEY[:-1]}},
    ]
    rejected: list[dict[str, Any]] = [
        {"headers": {"X-Deki-Token": server_token("=admin", 1_413_073_249)}, "auth": ADMIN},
        {"headers": {"X-Deki-Token": server_token("=admin")[:-1]}},
        {"headers": {"X-Deki-Token": KEY}},
    ]
    cases = [(sent, 403, 403) for sent in forbidden] + [(sent, 403, 401) for sent in anonymous]
    cases += [(sent, 401, 401) for sent in rejected]
    with httpx.Client() as plain:
        for sent, status, insisting in cases:
            for insists, code in (("false", status), ("true", insisting)):
                query = {"authenticate": insists, "abort": "never", "redirects": "x"} | sent.get("params", {})
                headers = {"ETag": etag, "Slug": name} | sent.get("headers", {})
                if verb == "POST":
                    query["dream.in.verb"] = verb_of_page
                answer = plain.request(
                    verb or verb_of_page,
                    f"{gateway.url}/@api/deki/{path.replace('{key}', name)}",
                    params=query,
                    headers=headers,
                    auth=sent.get("auth"),
                    content=b"x" * (0 if verb_of_page == "GET" else 200_000),
                )
                assert answer.status_code == code, sent
                assert answer.headers.get("www-authenticate") == (CHALLENGE if code == 401 else None)
                if verb != "HEAD":
                    error(answer)
    assert site.get("site/properties").content == everything


@pytest.mark.parametrize(
    ("user", "epoch", "status"),
    [
        ("1", None, 200),
        ("=admin", None, 200),
        ("2", None, 403),
        ("=john_doe", None, 403),
        ("3", None, 403),
        ("=nobody", None, 401),
        ("1", 1_413_073_249, 401),
    ],
)
def test_server_tokens(gateway: RunningGateway, user: str, epoch: int | None, status: int) -> None:
    """Section 3: signed by another server for a user, who needs the right as with any credential."""
    for prefix in ("", "tkn_"):
        headers = {"X-Deki-Token": prefix + server_token(user, epoch)}
        answer = httpx.get(gateway.url + "/@api/deki/site/properties", headers=headers)
        assert answer.status_code == status


def test_a_server_token_with_a_wrong_key_or_hash_is_401(gateway: RunningGateway) -> None:
    """A server token with a wrong key or hash gets 401 and the challenge (section 3)."""
    good = server_token("1")
    for token in (
        server_token("1", key="other"),
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.replace("_1_", "_=admin_"),
    ):
        answer = httpx.get(gateway.url + "/@api/deki/site/properties", headers={"X-Deki-Token": token})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)


@pytest.mark.parametrize("token", BROWSER_TOKENS)
@pytest.mark.parametrize(
    ("origin", "sent", "status", "insisting"),
    [
        ("https://app.example", {"auth": ADMIN}, 200, 200),
        ("http://localhost:3000", {"auth": ADMIN}, 200, 200),
        ("https://app.example", {"auth": JOHN}, 403, 403),
        ("https://app.example", {"auth": ("nobody", "x")}, 401, 401),
        ("https://app.example", {}, 403, 401),
        ("https://app.example", {"headers": {"X-Authtoken": "x"}}, 403, 401),
        ("https://app.example.evil.example", {"auth": ADMIN}, 401, 401),
        ("null", {"auth": ADMIN}, 401, 401),
        (None, {"auth": ADMIN}, 401, 401),
        (None, {}, 401, 401),
    ],
)
def test_a_browser_token_is_for_pages_of_registered_origins(
    gateway: RunningGateway,
    permissive_gateway: RunningGateway,
    token: str,
    origin: str | None,
    sent: dict[str, Any],
    status: int,
    insisting: int,
) -> None:
    """Section 3: from other pages it is 401, from these the user decides; where no origin is registered, always 401."""
    headers = sent.get("headers", {}) | ({} if origin is None else {"Origin": origin})
    name = fresh()
    with httpx.Client(auth=sent.get("auth"), headers=headers) as plain:
        for running, key, expected in (
            (permissive_gateway, token, (status, insisting)),
            (permissive_gateway, token + "x", (401, 401)),
            (gateway, token, (401, 401)),
        ):
            for authenticate, code in zip(("false", "true"), expected, strict=True):
                for verb, path in (("GET", "site/properties"), ("PUT", at(name)), ("DELETE", at(name))):
                    url, query = f"{running.url}/@api/deki/{path}", {"abort": "never", "authenticate": authenticate}
                    answer = plain.request(verb, url, params=query, headers={"X-Deki-Token": key})
                    assert answer.status_code == code
                    assert answer.headers.get("www-authenticate") == (CHALLENGE if code == 401 else None)


def test_the_writer_is_shown(gateway: RunningGateway, site: httpx.Client) -> None:
    """`user.modified` is the caller, by whatever credential; an absent writer has id 0."""
    name = fresh()
    url = f"{gateway.url}/@api/deki/{at(name)}"
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"auth": ADMIN}, "1", "admin"),
        ({"headers": {"X-Deki-Token": server_token("=admin")}}, "1", "admin"),
        ({"params": {"apikey": API_KEY}}, "0", "Anonymous"),
        ({"params": {"apikey": API_KEY, "impersonateuserid": "2"}}, "2", "john_doe"),
    ]
    for sent, number, login in cases:
        sent = {**sent, "params": {"abort": "never", **sent.get("params", {})}}
        user = document(httpx.put(url, **sent)).find("user.modified")
        assert user is not None
        assert user.attrib == {"id": number, "href": f"{gateway.url}/@api/deki/users/{number}"}
        assert [(child.tag, child.text) for child in user] == [("nick", login), ("username", login)]


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_authenticate_gives_a_session(gateway: RunningGateway, verb: str) -> None:
    """The token as text and as a cookie; accepted in the query, the cookie and the header, in this order."""
    url = gateway.url + "/@api/deki/"
    answer = httpx.request(verb, url + "users/authenticate", auth=ADMIN)
    token = answer.text
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    parts = [part.strip().lower() for part in answer.headers["set-cookie"].split(";")]
    assert set(parts) == {f"authtoken={token}", "httponly", "max-age=86400", "path=/", "samesite=strict"}
    ways: list[dict[str, Any]] = [
        {"params": {"authtoken": token}},
        {"headers": {"Cookie": f"a=b; authtoken={token}"}},
        {"headers": {"Cookie": f'authtoken="{token}"'}},
        {"headers": {"X-Authtoken": token}},
        {"params": {"authtoken": token}, "headers": {"Cookie": "authtoken=x", "X-Authtoken": "x"}},
        {"headers": {"Cookie": f"authtoken={token}", "X-Authtoken": "x"}},
    ]
    for way in ways:
        assert httpx.get(url + "site/properties", **way).status_code == 200
    ways = [
        {"params": {"authtoken": "x"}, "headers": {"Cookie": f"authtoken={token}", "X-Authtoken": token}},
        {"headers": {"Cookie": "authtoken=x", "X-Authtoken": token}},
    ]
    for way in ways:
        assert httpx.get(url + "site/properties", **way).status_code == 403


@pytest.mark.parametrize(
    ("pair", "status"),
    [(JOHN, 200), (LOCKED, 403), (("john_doe", "wrong horse"), 401), (("nobody", "x"), 401), (None, 401)],
)
def test_every_active_user_gets_a_session(gateway: RunningGateway, pair: tuple[str, str] | None, status: int) -> None:
    """The right is checked when the token is used. A failure is 401 with the challenge."""
    answer = httpx.get(gateway.url + "/@api/deki/users/authenticate", auth=pair)
    assert answer.status_code == status
    assert answer.headers.get("www-authenticate") == (CHALLENGE if status == 401 else None)
    if status == 200:
        used = httpx.get(gateway.url + "/@api/deki/site/properties", headers={"X-Authtoken": answer.text})
        assert used.status_code == 403
    else:
        assert "set-cookie" not in answer.headers


def test_authenticate_redirects(gateway: RunningGateway) -> None:
    """302 with the cookie, only to absolute web addresses and to local paths."""
    url = gateway.url + "/@api/deki/users/authenticate"
    for uri, status in (
        ("http://wiki.example/page?a=b", 302),
        ("/page", 302),
        ("page", 302),
        ("//evil.example/page", 400),
        ("///evil.example", 400),
        ("////evil.example", 400),
        (" ///evil.example", 400),
        ("/\\evil.example", 400),
        ("\\\\evil.example", 400),
        ("http:evil", 400),
        ("http:///evil.example", 400),
        ("javascript:alert(1)", 400),
        ("http://a/\r\nX: y", 400),
        ("http://[", 400),
    ):
        answer = httpx.get(url, auth=ADMIN, params={"redirect": uri})
        assert answer.status_code == status
        assert ("location" in answer.headers) is ("set-cookie" in answer.headers) is (status == 302)
        if status == 302:
            assert answer.headers["location"] == uri


def test_a_session_ends(permissive_gateway: RunningGateway) -> None:
    """A session token is refused once `--session-lifetime` has passed."""
    url = permissive_gateway.url + "/@api/deki/site/properties"
    headers = {"X-Authtoken": session(permissive_gateway)}
    assert httpx.get(url, headers=headers).status_code in (200, 403)
    while httpx.get(url, headers=headers).status_code != 403:
        pass


def test_a_session_over_tls_stays_there(gateway: RunningGateway, tmp_path: Path) -> None:
    """Behind a trusted proxy that says https the cookie is Secure and addresses are https."""
    with RunningGateway(tmp_path / "hivewire.db", "--trusted-proxies", "127.0.0.1") as proxied:
        headers = {"X-Forwarded-Proto": "https", "Host": "wiki.example"}
        answer = httpx.get(proxied.url + "/@api/deki/users/authenticate", auth=ADMIN, headers=headers)
        assert "; Secure" in answer.headers["set-cookie"]
        listed = httpx.get(proxied.url + "/@api/deki/site/properties", auth=ADMIN, headers=headers)
        assert document(listed).attrib["href"] == "https://wiki.example/@api/deki/site/properties"


def test_several_proxies_are_followed_back(tmp_path: Path) -> None:
    """Proxies may add a line of X-Forwarded-For each, which are one list (RFC 9110, section 5.3)."""
    with RunningGateway(tmp_path / "hivewire.db", "--trusted-proxies", "127.0.0.1,192.0.2.7") as proxied:
        chain = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.7")]
        httpx.get(proxied.url + "/@api/deki/users/authenticate", auth=ADMIN, headers=chain)
        with proxied.http() as rest:
            rows = rest.get("/audit", params={"kind": "login"}).json()["rows"]
        assert "203.0.113.9" in [row["address"] for row in rows]


def test_a_changed_password_counts_at_once(tmp_path: Path) -> None:
    """The old one, though cached, and sessions made with it are refused; so is a user who was locked."""
    with started(tmp_path) as gateway, gateway.http() as rest:
        url = gateway.url + "/@api/deki/site/properties"
        headers = {"X-Authtoken": session(gateway)}
        assert httpx.get(url, auth=ADMIN).status_code == 200
        assert httpx.get(url, headers=headers).status_code == 200
        assert rest.put("/user/1", json={"password": "another horse"}).status_code == 204
        assert httpx.get(url, auth=ADMIN).status_code == 401
        assert httpx.get(url, headers=headers).status_code == 403
        assert httpx.get(url, auth=("admin", "another horse")).status_code == 200
        headers = {"X-Deki-Token": server_token("1")}
        assert rest.put("/user/3", json={"status": 0}).status_code == 204
        assert httpx.get(url, auth=LOCKED).status_code == 200
        assert rest.put("/user/3", json={"status": 2}).status_code == 204
        assert httpx.get(url, auth=LOCKED).status_code == 403
        assert httpx.get(url, headers=headers).status_code == 200


@pytest.mark.parametrize(("by", "status"), [("password", 401), ("session", 401), ("server", 200)])
def test_a_password_that_changes_while_a_body_arrives_does_not_count(tmp_path: Path, by: str, status: int) -> None:
    """Nor does a session, which ends with it. What does not depend on it goes on."""
    with started(tmp_path) as gateway, gateway.http() as rest, dial(gateway) as wire:
        credentials = {
            "password": "Authorization: Basic " + base64.b64encode(":".join(ADMIN).encode()).decode(),
            "session": f"X-Authtoken: {session(gateway)}",
            "server": f"X-Deki-Token: {server_token('1')}",
        }[by]
        lines = ("PUT /@api/deki/site/properties/slow?abort=never HTTP/1.1", "Host: g", credentials)
        wire.send("\r\n".join((*lines, "Content-Length: 1", "Expect: 100-continue", "", "")).encode())
        assert wire.head()[0] == 100, "its rights were checked"
        assert rest.put("/user/1", json={"password": "another horse"}).status_code == 204
        wire.send(b"x")
        assert wire.head()[0] == status
        assert rest.get("/configuration/slow").status_code == (200 if status == 200 else 404)


def test_guessing_is_throttled(tmp_path: Path) -> None:
    """After ten wrong passwords: 429 with Retry-After, for the right one too; other ways to log in count as well."""
    with started(tmp_path) as gateway:
        url = gateway.url + "/@api/deki/site/properties"
        assert httpx.get(url, auth=ADMIN).status_code == 200  # remembered now, which must not help
        for number in range(10):
            assert httpx.get(url, auth=("admin", f"guess {number}")).status_code == 401

        def waits() -> bool:
            guess(lambda: httpx.get(url, auth=("admin", "guess")).status_code)
            refused = [httpx.get(url, auth=pair) for pair in (("admin", "guess"), ADMIN)]
            refused.append(httpx.post(gateway.rest_url + "/token", json={"login": "admin", "password": PASSWORD}))
            if [answer.status_code for answer in refused] != [429] * 3:
                return False
            for answer in refused[:2]:
                assert int(answer.headers["retry-after"]) >= 1
                error(answer)
            return True

        until(waits)
        assert httpx.get(url, headers={"X-Deki-Token": server_token("1")}).status_code == 200


def test_wrong_keys_and_server_tokens_are_logged_and_never_wait(tmp_path: Path) -> None:
    """They are too long to be guessed, so the hundredth is refused like the first; then the right one is accepted."""
    with started(tmp_path) as gateway, httpx.Client(base_url=gateway.url + "/@api/deki/") as plain:
        for n in range(100):
            assert plain.get("site/properties", params={"apikey": f"{API_KEY} {n}"}).status_code == 403
            token = server_token("=admin")[:-4] + f"{n:04}"
            assert plain.get("site/properties", headers={"X-Deki-Token": token}).status_code == 401
        assert plain.get("site/properties", params={"apikey": API_KEY}).status_code == 200
        assert plain.get("site/properties", headers={"X-Deki-Token": server_token("=admin")}).status_code == 200
        gateway.stop()
        failures = gateway.events("authentication failed")
        told = [(line["how"], line["reason"]) for line in failures]
        assert told == [("apikey", "InvalidCredentials"), ("X-Deki-Token", "Unauthorized")] * 100
        assert {line["address"] for line in failures} == {"127.0.0.1"}


def test_many_connections_prove_one_password_once(tmp_path: Path) -> None:
    """A script that starts with a hundred connections is not turned away."""

    async def storm(url: str) -> list[int]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(auth=ADMIN, limits=limits) as each:
            answers = await asyncio.gather(*(each.get(url) for _ in range(100)))
        return [answer.status_code for answer in answers]

    with started(tmp_path) as gateway:
        assert asyncio.run(storm(gateway.url + "/@api/deki/site/properties")) == [200] * 100


def test_no_secret_is_logged(tmp_path: Path) -> None:
    """Failed requests log no passwords, keys or tokens."""
    with started(tmp_path) as gateway:
        url = gateway.url + "/@api/deki/site/properties"
        token = session(gateway)
        httpx.get(url, auth=("admin", "hunter2 hunter2"))
        httpx.get(url, params={"apikey": "hunter2 key", "authtoken": token})
        httpx.get(url, headers={"X-Deki-Token": "hunter2"})
        httpx.get(url, headers={"Authorization": "Basic hunter2"})
        httpx.get(url, auth=("hunter2", "admin"))
        gateway.stop()
        text = json.dumps(gateway.log)
        assert len(gateway.events("authentication failed")) == 5
        for secret in ("hunter2", token, API_KEY, SECRET, PASSWORD):
            assert secret not in text


# Browsers.

FOREIGN = "https://evil.example"


def test_a_foreign_page_cannot_write_with_the_browsers_credentials(gateway: RunningGateway) -> None:
    """Browsers send cookie and Basic automatically, so a write with a foreign Origin is 403; explicit tokens, own pages
    and programs without an Origin may write."""
    url = f"{gateway.url}/@api/deki/site/properties/browser"
    assert httpx.put(url, params={"abort": "never"}, auth=ADMIN).status_code == 200
    cookie = {"Cookie": "authtoken=" + session(gateway)}
    own = gateway.url
    cases: list[tuple[str, dict[str, str], tuple[str, str] | None, int]] = [
        (FOREIGN, cookie, None, 403),
        ("null", cookie, None, 403),
        (own, cookie, None, 200),
        (FOREIGN, {}, ADMIN, 403),
        (own, {}, ADMIN, 200),
        (FOREIGN, {"X-Authtoken": session(gateway)}, None, 200),
        (FOREIGN, {"X-Deki-Token": server_token("1")}, None, 200),
    ]
    for origin, headers, auth, status in cases:
        sent = {"Origin": origin, **headers}
        assert httpx.put(url, params={"abort": "never"}, headers=sent, auth=auth).status_code == status
        as_post = httpx.post(url, params={"abort": "never", "dream.in.verb": "PUT"}, headers=sent, auth=auth)
        assert as_post.status_code == status
        assert httpx.get(url, headers=sent, auth=auth).status_code == 200
    assert httpx.put(url, params={"abort": "never"}, headers=cookie).status_code == 200


def test_no_cors_headers_unless_configured(gateway: RunningGateway, permissive_gateway: RunningGateway) -> None:
    """Without configured origins this dialect sends no CORS headers; others keep theirs (section 11, row 20)."""

    def cors(answer: httpx.Response) -> dict[str, str]:
        return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}

    path = "/@api/deki/site/properties"
    for sent in ({}, {"Origin": FOREIGN}, {"Origin": gateway.url}):
        assert not cors(httpx.get(gateway.url + path, auth=ADMIN, headers=sent))
        assert not cors(httpx.get(gateway.url + "/%40api/deki/nope", headers=sent))
        assert not cors(httpx.options(gateway.url + path, headers=sent))
        assert not cors(httpx.get(permissive_gateway.url + path, auth=ADMIN, headers=sent))
    assert cors(httpx.get(gateway.rest_url + "/info"))["access-control-allow-origin"] == "*"
    for origin in ("https://app.example", "http://localhost:3000"):
        for answer in (
            httpx.get(permissive_gateway.url + path, headers={"Origin": origin}),
            httpx.options(permissive_gateway.url + path, headers={"Origin": origin}),
        ):
            assert cors(answer)["access-control-allow-origin"] == origin
            assert "ETag" in cors(answer)["access-control-allow-headers"]
            assert answer.headers["vary"] == "Origin"
        written = httpx.put(
            permissive_gateway.url + path + "/cors", params={"abort": "never"}, auth=ADMIN, headers={"Origin": origin}
        )
        assert written.status_code == 200


@pytest.mark.parametrize("root", ["/@api/deki", "/%40api/deki", "http://wiki.example/@api/deki"])
@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"/site/properties HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"/site/properties HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"/site/properties/" + b"x" * 70_000, 431),
        (b"/site/properties HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 404),
        (b"/site/properties HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", 400),
    ],
)
def test_refusals_before_a_route_have_no_cors_headers_either(
    gateway: RunningGateway, root: str, rest: bytes, status: int
) -> None:
    """The path is enough to recognize the dialect; the same refusals of other dialects have the headers."""
    for start, shared in ((root.encode(), False), (b"/api/rest", True)):
        with dial(gateway) as wire:
            wire.send(b"GET " + start + rest)
            found, headers = wire.head()
            assert found == status
            assert any(name.startswith("access-control-") for name in headers) is shared


# curl.


@needs_curl
@pytest.mark.parametrize("way", ["header", "query"])
def test_the_curl_lines_of_the_vendor(gateway: RunningGateway, site: httpx.Client, tmp_path: Path, way: str) -> None:
    """`curl -u -H 'Etag: …' -T file`, and with `?etag=`: 200, then 409 with the same etag, then forced."""
    name = fresh()
    etag = create(site, name, "Pizza")
    file = tmp_path / "lunch.txt"
    file.write_text("Hamburgers" * 200)  # long enough that curl waits for 100
    url = f"{gateway.url}/@api/deki/site/properties/{name}"

    def curl(*arguments: str) -> tuple[int, str]:
        command = ["curl", "-s", "-u", ":".join(ADMIN), "-H", "Content-Type: text/plain", *arguments]
        ran = subprocess.run(
            [*command, "-w", "\n%{http_code}"], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        body, _, status = ran.stdout.rpartition("\n")
        return int(status), body

    put = ["-T", str(file), "-H", f"Etag: {etag}", url] if way == "header" else ["-T", str(file), f"{url}?etag={etag}"]
    status, body = curl(*put)
    assert status == 200
    assert ".r2_ts" in ElementTree.fromstring(body).attrib["etag"]
    status, body = curl(*put)
    assert (status, ElementTree.fromstring(body).findtext("status")) == (409, "409")
    assert curl("-T", str(file), url)[0] == 409
    assert curl("-T", str(file), url + "?abort=never")[0] == 200
    assert curl("-T", str(file), url + "x")[0] == 404
    assert curl(url) == (200, file.read_text())
    assert curl("-X", "DELETE", url) == (200, "")


@needs_curl
def test_curl_follows_addresses_to_any_name(gateway: RunningGateway, site: httpx.Client) -> None:
    """Dots alone, too: every client takes `.`, `..` and `%2E` out of a path before it sends it."""
    for name in (".", "..", "...", ".%2E", "a/../b", "a+b c", "%2e"):
        create(site, name, "of " + name)
        shown = document(site.get("site/properties", params={"names": name}))[0]
        contents = shown.find("contents")
        assert contents is not None
        for href, found in ((shown.attrib["href"], f'name="{name}"'), (contents.attrib["href"], "of " + name)):
            command = ["curl", "-s", "-u", ":".join(ADMIN), href]
            assert found in subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        assert site.delete(contents.attrib["href"]).status_code == 200


@needs_curl
def test_a_plus_in_a_query_is_a_space(gateway: RunningGateway, site: httpx.Client) -> None:
    """As in curl, forms and most libraries; a plus itself is sent encoded."""
    create(site, "c++ 17")
    url = f"{gateway.url}/@api/deki/site/properties"
    for query in (["-G", "--data-urlencode", "names=c++ 17", url], [url + "?names=c%2B%2B+17"]):
        command = ["curl", "-s", "-u", ":".join(ADMIN), *query]
        found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        assert ElementTree.fromstring(found).attrib["count"] == "1"
    assert document(site.get("site/properties?names=c+++17")).attrib["count"] == "0"


def test_long_contents_are_not_in_lists(site: httpx.Client) -> None:
    """Whatever `contentcutoff` says, texts over 64 KiB are not in documents; shorter ones are, however many."""
    for number, size in enumerate((65_536, 65_537, 60_000, 60_000, 60_000, 60_000)):
        create(site, f"cut.{number}", b"&" * size)
    answer = site.get(
        "site/properties", params={"names": "cut.*", "contentcutoff": "2000000", "dream.out.format": "json"}
    )
    shown = [len(each["contents"].get("#text", "")) for each in answer.json()["property"]]
    assert shown == [65_536, 0, 60_000, 60_000, 60_000, 60_000]
