"""A secret value over real sockets: in no page, stream, export, metric or line of the log."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from hivewire.dialects.devicehive.rows import ROWS
from hivewire_protocol.permissions import ALL, Permission
from tests.command import Run
from tests.running import PASSWORD, RunningGateway

NAME, PLANTED = "hidden.key", "planted-0c5f"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One whose log is read to the end, with a secret that was changed twice."""
    with RunningGateway(tmp_path_factory.mktemp("secrets") / "hivewire.db") as gateway:
        with gateway.http(gateway.token()) as client:
            client.put(f"/configuration/{NAME}", json={"value": f"{PLANTED}-1"}).raise_for_status()
            client.put("/schema/hidden.*", json={"secret": True, "schema": {"type": "string"}}).raise_for_status()
            client.put(f"/configuration/{NAME}", json={"value": f"{PLANTED}-2"}).raise_for_status()
        yield gateway
        gateway.stop()
        assert PLANTED not in json.dumps(gateway.log) + "".join(gateway.noise)


@pytest.fixture(scope="module")
def blind(gateway: RunningGateway) -> str:
    """A token with all rights but the one to see secrets."""
    rights = [int(permission) for permission in ALL - {Permission.REVEAL_SECRET}]
    with gateway.http(gateway.token()) as client:
        made = client.post("/token/create", json={"userId": 1, "actions": rights, "networkIds": ["*"]})
        return str(made.json()["accessToken"])


@pytest.mark.parametrize("reveal", ["", "?reveal=true"])
def test_no_page_shows_it(gateway: RunningGateway, blind: str, reveal: str) -> None:
    """Whatever the method and the body; the pages of its name are written to with conditions that fail."""
    bodies: list[dict[str, object]] = [
        {},
        {"value": "x", "entityVersion": 9, "to": 1},
        {"names": NAME, "schema": {"const": 1}},
        {"changes": [{"operation": "delete", "name": NAME, "entityVersion": 9}]},
    ]
    with gateway.http(blind) as client:
        for row in ROWS:
            if row.request is row.stream or row.path == "/token/revoke":
                continue
            page = row.path.replace("{name}", NAME).replace("{names}", NAME).replace("{userId}", "1")
            for body in bodies if row.method != "GET" else [None]:
                headers = {"If-Match": '"9"'} if row.method in ("PUT", "DELETE") else {}
                answer = client.request(row.method, page + reveal, json=body, headers=headers)
                assert PLANTED not in answer.text + str(answer.headers), (row.method, page)


def test_its_content_is_refused_and_revealed(gateway: RunningGateway, blind: str) -> None:
    """Byte for byte, with the right and on request; not even its length is told otherwise."""
    page = f"/configuration/{NAME}/content"
    with gateway.http(blind) as client:
        for asked in (page, page + "?reveal=true", page + "?entityVersion=1"):
            refused = client.get(asked)
            assert (refused.status_code, PLANTED in refused.text) == (403, False)
            assert client.head(asked).status_code == 403
    with gateway.http(gateway.token()) as client:
        assert client.get(page).status_code == 403
        assert client.get(page + "?reveal=true").text == f"{PLANTED}-2"
        assert client.get(f"/configuration/{NAME}?reveal=true&entityVersion=1").json()["value"] == f"{PLANTED}-1"
        assert client.get(f"/configuration/{NAME}").json() == {
            "name": NAME,
            "value": None,
            "entityVersion": 2,
            "secret": True,
        }


def test_event_streams_do_not_show_it(gateway: RunningGateway, blind: str) -> None:
    """The state and a change; with `reveal` only to whom may."""
    page = f"{gateway.rest_url}/configuration?names={NAME}"
    for token, more, times in ((blind, "", 0), (gateway.token(), "", 0), (gateway.token(), "&reveal=true", 1)):
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        with httpx.stream("GET", page + more, headers=headers) as stream:
            data = next(line for line in stream.iter_lines() if line.startswith("data:"))
            assert data.count(PLANTED) == times
    refused = httpx.get(
        page + "&reveal=true", headers={"Authorization": f"Bearer {blind}", "Accept": "text/event-stream"}
    )
    assert refused.status_code == 403


def test_site_properties_do_not_show_it(gateway: RunningGateway) -> None:
    """Neither lists, nor the property, nor its contents, nor the answers to writes."""
    with httpx.Client(base_url=gateway.url + "/@api/deki/site/", auth=("admin", PASSWORD)) as site:
        for page in ("properties", f"properties/{NAME}", f"properties/{NAME}/info", f"properties?names={NAME}"):
            for form in ("xml", "json"):
                answer = site.get(page, params={"dream.out.format": form, "contentcutoff": "100000"})
                assert PLANTED not in answer.text, page
        assert site.get(f"properties/{NAME}").status_code == 403
        assert 'secret="true"' in site.get(f"properties/{NAME}/info").text
        conflict = site.put(f"properties/{NAME}?abort=exists", content=b"x")
        assert conflict.status_code == 409
        written = site.put(f"properties/{NAME}?abort=never", content=f"{PLANTED}-3".encode())
        assert (written.status_code, PLANTED in written.text) == (200, False)


def test_open_pages_do_not_show_it(gateway: RunningGateway) -> None:
    """Metrics, health and the documents of the API."""
    for page in ("metrics", "health/live", "health/ready", "openapi.json", "asyncapi.json", ""):
        assert PLANTED not in httpx.get(f"{gateway.url}/{page}").text


def test_the_command_line_leaves_it_out_or_reveals_it(gateway: RunningGateway, run: Run) -> None:
    """Lists say that it is secret; an export leaves it out, names it and goes on."""
    password = f"{PASSWORD}\n".encode()
    assert run("login", "--url", gateway.url, "--login", "admin", stdin=password).code == 0
    assert run("put", "open.value", "1").code == 0
    for command in (
        ("list",),
        ("list", "-o", "value"),
        ("history", NAME),
        ("history", NAME, "-o", "json"),
        ("get", NAME),
        ("get", NAME, "-o", "json"),
        ("diff", NAME),
        ("export",),
        ("put", NAME, "x", "--expect", "1"),
        ("changes",),
        ("audit",),
        ("schema", "list"),
    ):
        done = run(*command)
        assert PLANTED not in done.out + done.err, command
    assert "(secret)" in run("list", "-o", "table").out
    refused = run("get", NAME)
    assert refused.err == f"hivewire: error: the value of {NAME} is secret; --reveal shows it, with RevealSecret\n"
    assert run("get", NAME, "--reveal").out.startswith(PLANTED)
    file = f"{NAME}={PLANTED}-9\nhidden.new={PLANTED}-9\n".encode()
    assert run("schema", "put", "hidden.new", "--secret").code == 0
    tried = run("import", "-", "--from", "dotenv", "--dry-run", "-o", "table", stdin=file)
    assert tried.out == f"update {NAME}: (secret)\ncreate hidden.new: (secret)\n"
    exported = run("export")
    assert exported.code == 0
    assert json.loads(exported.out)["omitted"] == [NAME]
    assert f"left out, because they are secret: {NAME}" in exported.err
    assert "reveal" in run("audit", "-o", "json").out
