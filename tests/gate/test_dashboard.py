"""What the gateway does for the dashboard: its files with their headers, and the login of its pages.

What the pages do in a browser is in `tests/dashboard`.
"""

from __future__ import annotations

import gzip
import hashlib
import ssl
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from hivewire.dialects.dashboard.files import MEDIA_TYPES
from tests.gate.wire import until
from tests.running import PASSWORD, RunningGateway

STATIC = Path(str(files("hivewire_dashboard") / "static"))
SUMS = Path(__file__).parents[2] / "dashboard" / "vendor" / "SHA256SUMS"
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())

OWN = {"Hivewire-Dashboard": "1"}
"""What only a page of the dashboard can send."""

CORRECT = {"login": "admin", "password": PASSWORD}


@pytest.fixture
def page(shared_gateway: RunningGateway) -> Iterator[httpx.Client]:
    """A browser at the dashboard, which keeps cookies."""
    with httpx.Client(base_url=shared_gateway.url + "/dashboard/", headers=OWN) as client:
        yield client


# The files.


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def test_everything_below_the_dashboard_has_the_headers_of_its_policy(page: httpx.Client) -> None:
    """Files and errors: no script from elsewhere, no frame around it, and no other origin may read it."""
    for path in ("", *FILES, "nothing.js", "session"):
        hold_policy(page, path)


def hold_policy(page: httpx.Client, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code == {"nothing.js": 404, "session": 405}.get(path, 200)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_file_comes_whole_compressed_and_once(page: httpx.Client) -> None:
    """Byte for byte, with the media type that browsers insist on; 304 as long as it is the same."""
    for path in FILES:
        hold_file(page, path)


def hold_file(page: httpx.Client, path: str) -> None:
    content = (STATIC / path).read_bytes()
    plain = page.get(path, headers={"Accept-Encoding": "identity"})
    zipped = page.get(path, headers={"Accept-Encoding": "br, gzip"})
    assert plain.content == zipped.content == content
    assert "content-encoding" not in plain.headers and zipped.headers["content-encoding"] == "gzip"
    assert plain.headers["content-type"] == MEDIA_TYPES[Path(path).suffix]
    assert (plain.headers["cache-control"], plain.headers["vary"]) == ("no-cache", "Accept-Encoding")
    again = page.get(path, headers={"If-None-Match": zipped.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", plain.headers["etag"])
    assert page.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("br;q=1, GZIP ; q=0.5", True),
        ("gzip;q=0", False),
        ("br, gzip; q=0.000", False),
        ("x-gzips", False),
    ],
)
def test_a_file_is_compressed_for_who_takes_that(page: httpx.Client, accepted: str, zipped: bool) -> None:
    """A weight of 0 says that the coding is not acceptable."""
    answer = page.get("app.css", headers={"Accept-Encoding": accepted})
    assert ("content-encoding" in answer.headers) is zipped


def test_all_files_together_are_small() -> None:
    """At most 320 KB compressed."""
    assert sum(len(gzip.compress((STATIC / path).read_bytes())) for path in FILES) <= 320_000


def test_the_vendored_files_are_those_that_were_summed() -> None:
    """Nobody has edited one, and none is there without its sum; `make vendor-check` builds them again."""
    vendor = STATIC / "vendor"
    sums = dict(line.split("  ")[::-1] for line in SUMS.read_text().splitlines())
    found = {path.name: path for path in vendor.iterdir() if path.is_file()}
    assert sums == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


@pytest.mark.parametrize("path", ["../__init__.py", "%2e%2e/__init__.py", "%2e/app.css", "/app.css", "screens", "a%00"])
def test_nothing_beside_the_files_can_be_read(shared_gateway: RunningGateway, path: str) -> None:
    """Paths are looked up as they were sent; no file system sees them."""
    answer = httpx.request("GET", httpx.URL(shared_gateway.url, raw_path=f"/dashboard/{path}".encode()))
    assert answer.status_code == 404


def test_the_address_without_a_slash_leads_to_the_page(shared_gateway: RunningGateway) -> None:
    """By a relative address."""
    answer = httpx.get(shared_gateway.url + "/dashboard")
    assert (answer.status_code, answer.headers["location"]) == (308, "dashboard/")


# The login.


def test_a_page_logs_in_renews_and_logs_out(shared_gateway: RunningGateway, page: httpx.Client) -> None:
    """The access token is in the answer alone, and the cookie is one that no script and no other path can see."""
    answer = page.post("session", json=CORRECT)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert list(answer.json()) == ["accessToken"]
    (cookie,) = answer.headers.get_list("set-cookie")
    _, *attributes = (part.strip() for part in cookie.split(";"))
    assert {each.lower() for each in attributes} == {"httponly", "samesite=strict", "max-age=86400"}
    renewed = page.post("token")
    assert (renewed.status_code, renewed.headers["cache-control"]) == (200, "no-store")
    for token in (answer.json()["accessToken"], renewed.json()["accessToken"]):
        with shared_gateway.http(token) as client:
            assert client.get("/user/current").json()["login"] == "admin"
    gone = page.delete("session")
    assert gone.status_code == 204 and "max-age=0" in gone.headers["set-cookie"].lower()
    assert page.post("token").status_code == 401


@pytest.mark.parametrize(("method", "path"), [("POST", "session"), ("DELETE", "session"), ("POST", "token")])
@pytest.mark.parametrize("header", [{}, {"Hivewire-Dashboard": "0"}])
def test_a_foreign_page_gets_nothing_for_the_cookie(
    shared_gateway: RunningGateway, page: httpx.Client, method: str, path: str, header: dict[str, str]
) -> None:
    """Without the header every request is refused, and the question whether it may be sent (CORS) is not answered."""
    assert page.post("session", json=CORRECT).status_code == 200
    foreign = {"Origin": "https://elsewhere.example", **header}
    with httpx.Client(base_url=shared_gateway.url + "/dashboard/", cookies=page.cookies, headers=foreign) as other:
        refused = other.request(method, path, content=b'{"login":"admin","password":"' + PASSWORD.encode() + b'"}')
        assert refused.status_code == 403 and "set-cookie" not in refused.headers
        asked = other.options(path, headers={"Access-Control-Request-Method": method})
        assert asked.status_code == 405
        assert not [name for name in asked.headers if name.startswith("access-control-")]


def test_the_cookie_is_worth_nothing_elsewhere(shared_gateway: RunningGateway, page: httpx.Client) -> None:
    """Neither as a token nor as the session of site properties, nor is that one a cookie here."""
    page.post("session", json=CORRECT)
    (cookie,) = page.cookies.values()
    url = shared_gateway.url
    with shared_gateway.http(cookie) as client:
        assert client.get("/user/current").status_code == 401
    properties = url + "/@api/deki/site/properties"
    assert httpx.get(properties, params={"authenticate": "true"}, headers={"X-Authtoken": cookie}).status_code == 401
    session = httpx.get(url + "/@api/deki/users/authenticate", auth=("admin", PASSWORD)).text
    with httpx.Client(headers=OWN, cookies={"hivewire_dashboard": session}) as other:
        assert other.post(url + "/dashboard/token").status_code == 401


def test_the_session_ends_with_the_password(shared_gateway: RunningGateway) -> None:
    """And when all tokens of the user are revoked, and while the user is locked."""
    with shared_gateway.http() as admin:
        for number, change in enumerate(({"password": "another one"}, {"status": 1}, None)):
            login = f"dashboard.ends.{number}"
            made = admin.post("/user", json={"login": login, "password": "the first one", "role": 1, "status": 0})
            user = made.json()["id"]
            with httpx.Client(base_url=shared_gateway.url + "/dashboard/", headers=OWN) as page:
                page.post("session", json={"login": login, "password": "the first one"})
                assert page.post("token").status_code == 200
                if change is None:
                    assert admin.post("/token/revoke", json={"userId": user}).status_code < 300
                else:
                    assert admin.put(f"/user/{user}", json=change).status_code < 300
                assert page.post("token").status_code == 401, change


def test_the_session_ends_after_its_lifetime(data: Path) -> None:
    """`session_lifetime`, counted from the login; renewing does not extend it."""
    with RunningGateway(data, "--session-lifetime=1") as gateway:
        with httpx.Client(base_url=gateway.url + "/dashboard/", headers=OWN) as page:
            answer = page.post("session", json=CORRECT)
            assert "max-age=1" in answer.headers["set-cookie"].lower()
            cookies = dict(page.cookies.items())
        with httpx.Client(base_url=gateway.url + "/dashboard/", headers=OWN, cookies=cookies) as page:
            until(lambda: page.post("token").status_code == 401)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"login":"admin"}', b'{"login":1,"password":2}', b"[" * 2_000, b"\xff"]
)
def test_a_malformed_login_is_400(page: httpx.Client, body: bytes) -> None:
    """And counts as no attempt."""
    assert page.post("session", content=body).status_code == 400
    assert page.post("session", content=b'"' + b"x" * 5_000).status_code == 413


def test_passwords_cannot_be_guessed_quickly(data: Path) -> None:
    """The throttle is that of all logins: what is guessed here waits there."""
    with RunningGateway(data) as gateway, httpx.Client(base_url=gateway.url + "/dashboard/", headers=OWN) as page:
        codes = [page.post("session", json={"login": "admin", "password": "wrong"}).status_code for _ in range(11)]
        assert codes == [401] * 10 + [429]
        refused = page.post("session", json=CORRECT)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert httpx.post(gateway.rest_url + "/token", json=CORRECT).status_code == 429


def test_over_tls_the_cookie_is_secure(data: Path, certificate: tuple[Path, Path]) -> None:
    """A browser never sends it over plain HTTP."""
    chain, key = certificate
    flags = (f"--tls-certificate={chain}", f"--tls-key={key}")
    with RunningGateway(data, *flags) as gateway:
        answer = httpx.post(
            gateway.url + "/dashboard/session",
            json=CORRECT,
            headers=OWN,
            verify=ssl.create_default_context(cafile=chain),
        )
        assert "secure" in answer.headers["set-cookie"].lower()
