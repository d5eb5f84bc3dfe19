"""`hivewire import-devicehive`: from a gateway, and from servers as only DeviceHive's older versions are, or broken."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from hivewire.cli import devicehive_server
from hivewire_protocol.nouns.configuration import TEXT
from tests.command import Outcome, Run
from tests.forked import Piped
from tests.running import PASSWORD, PATIENCE, SECRET, RunningGateway

COMMAND = "import-devicehive"


# From a gateway.


def fill(http: httpx.Client) -> None:
    """What tries an import: gaps in the ids, odd names and data, every role and status, all kinds of membership."""

    def make(path: str, **body: Any) -> int:
        return int(http.post(path, json=body).raise_for_status().json()["id"])

    def put(path: str, body: Any = None) -> None:
        http.put(path, json=body).raise_for_status()

    networks = [make("/network", name=name, description=about) for name, about in ODD]
    types = [make("/devicetype", name=name, description=about) for name, about in ODD]
    for path, ids in (("network", networks), ("devicetype", types)):
        http.delete(f"/{path}/{ids.pop(1)}").raise_for_status()
    for number in range(3):
        status, role = number, int(number < 2)
        data = {"ünï": [1.5, None, {"deep": "\u2028"}], "n": 2**53} if number else None
        user = make(
            "/user",
            login=f"user-{number}@example.com",
            password="old password",
            role=role,
            status=status,
            data=data,
            introReviewed=number % 2 == 0,
            allDeviceTypesAvailable=number != 1,
        )
        for network in networks[:number]:
            put(f"/user/{user}/network/{network}")
        if number == 1:
            put(f"/user/{user}/devicetype/{types[0]}")
    for number in range(7):
        raw = ['{"a":1.0,"b":"\\u00e9 \\ud83d\\ude00","c":[]}', "{}", "null", '{"big":123456789012345678901234567890}']
        body = (
            f'{{"name":"Lamp \u00e9 {number % 2}","data":{raw[number % 4]},"networkId":{networks[number % 2]},'
            f'"deviceTypeId":{types[number % 2]},"isBlocked":{"true" if number == 3 else "false"}}}'
        )
        http.put(f"/device/Dev-{7 - number}", content=body.encode()).raise_for_status()
    for name, values in (("lamp.colour", ["red", "grün"]), ("a b/c%", [" "]), ("json", ['{"a":1}'])):
        for value in values:
            put(f"/configuration/{devicehive_server.segment(name)}", {"value": value})


ODD = (("Hüte 😀", "with\ttab"), ("deleted", None), ("'; DROP TABLE network; --", None), ("x" * 128, "y" * 128))

LISTS = (
    "/network",
    "/devicetype",
    "/user",
    "/device",
    "/device?sortField=name&sortOrder=DESC",
    "/configuration?take=99",
)


def content(http: httpx.Client) -> dict[str, bytes]:
    """Everything that DeviceHive's lists show, and each user and group of devices alone. No times of logins."""
    pages = {path: http.get(path).raise_for_status().content for path in LISTS}
    for path in ("/network", "/devicetype", "/user"):
        for each in json.loads(pages[path]):
            one = f"{path}/{each['id']}"
            pages[one] = http.get(one).raise_for_status().content
            if path == "/user":
                pages[one + "/devicetype"] = http.get(one + "/devicetype").raise_for_status().content
    pages["/configuration?take=99"] = pages["/configuration?take=99"].partition(b'"revision"')[0]
    return pages


def test_a_new_file_has_what_the_old_server_had(run: Run, tmp_path: Path) -> None:
    """Every list is the same, byte for byte, last logins too; new ids come after the old ones; tokens of before are
    valid with the same secret; nobody has the old password, and a user that gets one can log in."""
    target = tmp_path / "new.db"
    with RunningGateway(tmp_path / "old.db") as old, old.http() as http:
        fill(http)
        http.post("/token", json={"login": "user-0@example.com", "password": "old password"}).raise_for_status()
        token = http.headers["authorization"].removeprefix("Bearer ")
        # 3 entries of each page, so that every list has several.
        outcome = run(COMMAND, old.url, "--token", token, "--data", str(target), "--take", "3", "-o", "json")
        before = content(http)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["needPasswords"] == ["admin", "user-0@example.com"]
    assert report["remarks"] == []
    counted = (report[name] for name in ("users", "networks", "deviceTypes", "devices", "configurations"))
    assert tuple(counted) == (4, 4, 11, 8, 3)
    set_password = ("user", "password", "user-0@example.com", "--data", str(target))
    assert run(*set_password, stdin=b"new password").code == 0
    with RunningGateway(target) as new, new.http(token) as http:
        assert content(http) == before
        for login, password in (("admin", PASSWORD), ("user-0@example.com", "old password")):
            answer = http.post("/token", json={"login": login, "password": password})
            assert (answer.status_code, answer.json()["message"]) == (401, "Invalid credentials")
        assert new.token("user-0@example.com", "new password")
        made = {path: http.post(path, json={"name": "after"}).json()["id"] for path in ("/network", "/devicetype")}
        user = {"login": "after", "password": "password", "role": 1}
        made["/user"] = http.post("/user", json=user).json()["id"]
        for path, number in made.items():
            assert number > max(each["id"] for each in json.loads(before[path])), path
        assert http.put("/device/after", json={"name": "after"}).status_code == 204
        assert http.get("/device").json()[-1]["id"] == "after"
        taken = http.post("/network", json={"name": ODD[0][0]})
        assert taken.status_code == 403
        rows = http.get("/audit", params={"take": 99}).json()["rows"]
        assert {"network", "deviceType", "user"} <= {row["kind"] for row in rows}
        assert not new.events("unexpected error")


# From other servers.


class OldServer:
    """A server of DeviceHive's REST API that has `lists`, and answers as `rules` say: by path, or by number."""

    def __init__(self) -> None:
        self.version = "3.3.0"
        self.lists: dict[str, list[dict[str, Any]]] = {
            "/network": [{"id": 4, "name": "Home"}],
            "/user": [{"id": 9, "login": "dhadmin", "role": 0, "status": 0}],
            "/device": [],
        }
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        self.failures: Callable[[int, str], int | None] = lambda number, path: None
        self.tokens: list[str | None] = []
        self.has_tokens = True

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if path in self.answers:
            return self.answers[path]
        if path == "/info":
            return 200, {"apiVersion": self.version}
        if path == "/user/current":
            return 200, self.lists["/user"][0]
        parent, _, last = path.rpartition("/")
        if path in self.lists:
            skip = int(query.get("skip", ["0"])[0])
            return 200, self.lists[path][skip : skip + int(query.get("take", ["99"])[0])]
        if last == "count" and parent in self.lists:
            return 200, {"count": len(self.lists[parent])}
        found = [each for each in self.lists.get(parent, []) if str(each["id"]) == last]
        return (200, found[0]) if found else (404, None)


class OldRequests(BaseHTTPRequestHandler):
    """Answers for the `old` of its server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        old: OldServer = self.server.old  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/dh/rest")
        number = len(old.asked)
        old.asked.append(self.path)
        old.tokens.append(self.headers.get("Authorization"))
        status, found = old.answer(path, parse_qs(parts.query)) if path != parts.path else (404, None)
        failure = old.failures(number, path)
        body = json.dumps(found).encode() if not isinstance(found, bytes) else found
        if failure == 0:  # the connection breaks in the middle of the answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + 10))
            self.end_headers()
            self.wfile.write(body[:-1])
            self.close_connection = True
            return
        if failure is not None:
            status, body = failure, json.dumps({"error": failure, "message": "not\nnow"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "http://elsewhere/")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        old: OldServer = self.server.old  # type: ignore[attr-defined]
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        old.asked.append(f"POST {self.path}")
        old.tokens.append(None)
        found: dict[str, Any] = {"error": 404, "message": "HTTP 404 Not Found"}
        if not old.has_tokens:
            pass
        elif self.path == "/dh/rest/token" and given.get("password") == "right":
            found = {"accessToken": "first", "refreshToken": "refresh"}
        elif self.path == "/dh/rest/token":
            found = {"error": 401, "message": "Invalid credentials"}
        elif self.path == "/dh/rest/token/refresh" and given == {"refreshToken": "refresh"}:
            found = {"accessToken": "second"}
        body = json.dumps(found).encode()
        self.send_response(found.get("error", 201))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def serving(old: OldServer) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OldRequests) as server:
        server.old = old  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def imported(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Import from a server with a token, without pauses between attempts."""
    monkeypatch.setattr(devicehive_server, "PAUSES", (0, 0))

    def imported(
        old: OldServer, *arguments: str, credentials: tuple[str, ...] = ("--token", "t"), **rest: Any
    ) -> Outcome:
        with serving(old) as url:
            return run(COMMAND, url, "--data", str(tmp_path / "new.db"), "-o", "json", *credentials, *arguments, **rest)

    return imported


def test_what_older_servers_lack_is_made_up(imported: Callable[..., Outcome], tmp_path: Path) -> None:
    """No device types, null members, devices without a network, equal names, unknown statuses and nested networks:
    everything is imported, and each difference is told."""
    old = OldServer()
    old.lists = {
        "/network": [{"id": 4, "name": "Home", "key": None}, {"id": 6, "name": "Home"}, {"id": 7, "name": None}],
        "/user": [
            {"id": 9, "login": "dhadmin", "role": 0, "status": 0, "networks": None},
            {"id": 11, "login": "old", "role": None, "status": 3, "data": "text", "lastLogin": "never"},
            {"id": 12, "login": "member", "role": 1, "networks": [{"network": {"id": 4}}, {"id": 77}], "status": 0},
        ],
        "/device": [
            {"id": "a", "name": None, "data": None, "isBlocked": None},
            {"id": "b", "networkId": 6, "data": "text"},
        ],
    }
    outcome = imported(old)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["needPasswords"] == ["dhadmin", "member"]
    assert report["remarks"] == [
        "network 6 is now called Home (6), because another one is Home",
        "the server has no device types, so all devices get the type Default Device Type",
        "the user old has the unknown status 3 and is disabled",
        "the data of the user old are no object and left out",
        "devices without a network are in the new network 8, Without network",
        "the data of the device b are no object and left out",
    ]
    token = _administrators_token(9)
    with RunningGateway(tmp_path / "new.db") as new, new.http(token) as http:
        assert [(each["id"], each["name"]) for each in http.get("/network").json()] == [
            *[(4, "Home"), (6, "Home (6)"), (7, "Network 7"), (8, "Without network")]
        ]
        assert http.get("/devicetype").json() == [
            {"id": 1, "name": "Default Device Type", "description": "Default DeviceHive device type"}
        ]
        assert [(each["id"], each["name"], each["networkId"]) for each in http.get("/device").json()] == [
            *[("a", "a", 8), ("b", "b", 6)]
        ]
        users = {each["login"]: each for each in http.get("/user").json()}
        assert (users["old"]["status"], users["old"]["role"], users["old"]["data"]) == (2, 1, None)
        member = http.get("/user/12").json()
        assert [each["id"] for each in member["networks"]] == [4]


def test_devices_whose_id_could_not_be_saved_are_left_out(imported: Callable[..., Outcome], tmp_path: Path) -> None:
    """Each is told, without more of its id than an id may have; the others are imported."""
    old = OldServer()
    odd = ["", "x" * 10_000, "a\nb\x1b[2J", "a/b", "gerät", "x" * 48, "../..", "a b"]
    old.lists |= {"/network": [{"id": 4, "name": "Home"}], "/device": [{"id": each, "networkId": 4} for each in odd]}
    outcome = imported(old)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    told = [each for each in report["remarks"] if each.startswith("the device '")]
    rule = "is left out: an id has 1 to 48 letters, digits and dashes"
    shown = ["", "x" * 48, r"a\nb\x1b[2J", "a/b", "gerät", "../..", "a b"]
    assert told == [f"the device '{each}' {rule}" for each in shown]
    assert report["devices"] == 1
    with RunningGateway(tmp_path / "new.db") as new, new.http(_administrators_token(9)) as http:
        assert [each["id"] for each in http.get("/device").json()] == ["x" * 48]


def _administrators_token(user_id: int) -> str:
    """One as the old server made it, with the secret that the new gateway has too."""
    import jwt

    payload = {"a": [0], "e": 4_000_000_000_000, "t": 1, "u": user_id, "n": ["*"], "dt": ["*"]}
    return jwt.encode({"payload": payload}, SECRET, "HS256")


def test_a_server_without_anything_gives_a_file_without_samples(
    imported: Callable[..., Outcome], tmp_path: Path
) -> None:
    """What was deleted there does not come back as the samples of a new file."""
    old = OldServer()
    old.lists |= {"/network": [], "/devicetype": []}
    assert imported(old).code == 0
    with RunningGateway(tmp_path / "new.db") as new, new.http(_administrators_token(9)) as http:
        assert [http.get(path).json() for path in ("/network", "/devicetype", "/device")] == [[], [], []]


def test_a_dry_run_tells_the_same_and_writes_nothing(imported: Callable[..., Outcome], tmp_path: Path) -> None:
    """Its report is that of the import, but for the file, and a file that is there already does not matter."""
    (tmp_path / "new.db").write_bytes(b"other")
    report = json.loads(imported(OldServer(), "--dry-run").out)
    assert (report.pop("data"), (tmp_path / "new.db").read_bytes()) == (None, b"other")
    (tmp_path / "new.db").unlink()
    real = json.loads(imported(OldServer()).out)
    assert real.pop("data") == str(tmp_path / "new.db")
    assert {name: real[name] for name in real if name != "source"} == {
        name: report[name] for name in report if name != "source"
    }


def test_what_there_is_one_of_is_counted_as_one(imported: Callable[..., Outcome]) -> None:
    """In the sentence for people."""
    old = OldServer()
    old.lists["/network"] = [{"id": 4, "name": "Home"}]
    assert " has 1 network, " in imported(old, "--dry-run", "-o", "table").out


def test_named_configurations_are_imported(imported: Callable[..., Outcome]) -> None:
    """DeviceHive has no list of them; those that are left out are told, and its signing key is not even read."""
    old = OldServer()
    old.answers["/configuration/a%20b"] = (200, {"name": "a b", "value": "1", "entityVersion": 0})
    left_out: dict[str, tuple[dict[str, Any], str]] = {
        "empty": ({"value": ""}, "its value is empty"),
        "deleted": ({"value": None}, "it has no value"),
        "hidden": ({"value": None, "secret": True}, "its value is secret"),
        "long": ({"value": None, "contentType": TEXT, "size": 70_000}, "its value of 70,000 bytes is longer than an"),
        "logo": ({"value": None, "contentType": "image/png", "size": 70_000}, "its value is no text"),
        "bell\a": ({"value": "1"}, "its name has U+0007 at position 4"),
    }
    for name, (members, _) in left_out.items():
        old.answers[f"/configuration/{devicehive_server.segment(name)}"] = (200, {"name": name, **members})
    names = ["a b", "gone", *left_out, "jwt.secret"]
    report = json.loads(imported(old, *(f"--configuration={name}" for name in names)).out)
    assert report["configurations"] == 1
    gone, *remarks, key = report["remarks"][-2 - len(left_out) :]
    assert gone == "there is no configuration gone"
    for remark, (name, (_, why)) in zip(remarks, left_out.items(), strict=True):
        assert remark.startswith(f"the configuration {name.replace(chr(7), chr(92) + 'x07')} is left out: {why}")
    assert key == "jwt.secret is no configuration here: start the gateway with it as HIVEWIRE_JWT_SECRET"
    assert not any("jwt.secret" in asked for asked in old.asked)


def test_a_configuration_has_the_name_that_was_asked_for(imported: Callable[..., Outcome], tmp_path: Path) -> None:
    """A server that ignores case may tell another one, such as that of its signing key, which no list may show."""
    old = OldServer()
    odd = {"value": "1", "contentType": "text/plain\r\nx: y"}
    old.answers["/configuration/JWT.SECRET"] = (200, {"name": "jwt.secret", **odd})
    old.answers["/configuration/unnamed"] = (200, odd)
    outcome = imported(old, "--configuration", "JWT.SECRET", "--configuration", "unnamed")
    assert outcome.code == 0, outcome.err
    with closing(sqlite3.connect(tmp_path / "new.db")) as data:
        found = data.execute(
            "SELECT key, content_type FROM change WHERE kind = 'configuration' ORDER BY key"
        ).fetchall()
    assert found == [("JWT.SECRET", TEXT), ("unnamed", TEXT)]


@pytest.mark.parametrize("token", ["secret\r\nx: y", "secret\u4e00"])
def test_a_token_that_no_header_can_have_is_refused_without_showing_it(
    imported: Callable[..., Outcome], token: str
) -> None:
    """As one from a file with other line breaks."""
    outcome = imported(OldServer(), credentials=("--token", token))
    assert (outcome.code, json.loads(outcome.err)["error"]) == (
        1,
        "the token is none: a header cannot have its characters",
    )


def test_a_broken_connection_and_an_overloaded_server_are_tried_again(imported: Callable[..., Outcome]) -> None:
    """Each request fails once; nothing is missing and nothing is there twice."""
    old = OldServer()
    old.lists["/device"] = [{"id": f"d{number}", "networkId": 4} for number in range(5)]
    failed: set[str] = set()

    def fail(number: int, path: str) -> int | None:
        asked = old.asked[number]
        if path == "/info" or asked in failed:
            return None
        failed.add(asked)
        return (0, 503)[len(failed) % 2]

    old.failures = fail
    outcome = imported(old, "--take", "2")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["devices"] == 5


def test_an_access_token_that_expires_is_renewed(
    imported: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a login with a password from the environment; the password and the tokens are never printed."""
    old = OldServer()
    old.failures = lambda number, path: 401 if path == "/device" and old.tokens[number] == "Bearer first" else None
    monkeypatch.setenv("DEVICEHIVE_PASSWORD", "right")
    outcome = imported(old, credentials=())
    assert outcome.code == 0, outcome.err
    assert {"Bearer first", "Bearer second"} <= set(old.tokens)
    assert not any(secret in outcome.out + outcome.err for secret in ("right", "first", "second", "refresh"))


def lost(number: int, path: str) -> int | None:
    return 0 if path == "/device" else None


def refused(code: int) -> Callable[[int, str], int | None]:
    return lambda number, path: code if path == "/device" else None


@pytest.mark.parametrize(
    ("failures", "exit_code", "words"),
    [
        (lost, 3, "no whole HTTP answer"),
        (refused(503), 3, "not now (503)"),
        (refused(401), 1, "give another --token, or log in with --login"),
        (refused(403), 1, "it needs an administrator's token"),
        (refused(302), 3, "a redirect to http://elsewhere/, which is not followed"),
    ],
)
def test_nothing_is_left_behind_when_it_fails(
    imported: Callable[..., Outcome], tmp_path: Path, failures: Any, exit_code: int, words: str
) -> None:
    """The error is one line, or an object with -o json; there is no file, whole or half."""
    old = OldServer()
    old.failures = failures
    outcome = imported(old)
    assert (outcome.code, outcome.out) == (exit_code, "")
    assert words in json.loads(outcome.err)["error"]
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("new")] in ([], ["new.db.lock"])


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/device", (200, b"<html>"), "no answer of a DeviceHive server"),
        (
            "/device",
            (200, [{"id": "d", "networkId": 5}]),
            "the device d is in a network or of a type that was not read",
        ),
        ("/device/count", (200, {"count": 7}), "/device has 7 entries, but 0 were read"),
        ("/user", (200, [{"id": 9}, {"id": 9}]), "was read twice"),
        ("/user/9", (200, {"id": 8, "login": "other"}), "the user 9 is gone"),
        ("/network", (200, [{"id": 2**63}]), "Expected `int` <= "),
        ("/network", (200, [{"id": -1}]), "Expected `int` >= 0"),
        ("/device", (200, [{"id": 7, "networkId": 4}]), "Expected `str`, got `int`"),
        ("/device", (200, b'[{"id":"d","networkId":4,"data":' + b"[" * 100_000), "no answer of a DeviceHive server"),
        (
            "/configuration",
            (200, {"configurations": [{"name": "same", "value": "1"}]}),
            "the configuration same was read twice",
        ),
        ("/user/current", (200, {"id": 9, "role": 1}), "not that of an administrator"),
        ("/user/current", (404, None), "not that of an administrator"),
        ("/info", (200, b"<html>"), "is not the REST API of a DeviceHive server"),
        ("/network", (404, None), "no list of networks"),
    ],
)
def test_a_server_that_cannot_be_understood_is_refused(
    imported: Callable[..., Outcome], path: str, answer: Any, words: str
) -> None:
    """Rather than half of what it has; a list that changes while it is read too."""
    old = OldServer()
    old.answers[path] = answer
    outcome = imported(old)
    assert outcome.code in (1, 3)
    assert words in json.loads(outcome.err)["error"]


def test_a_narrow_token_is_refused(imported: Callable[..., Outcome]) -> None:
    """An administrator's token for some networks would show only a part, without any error."""
    import jwt

    for networks in (["4"], 4):
        narrow = jwt.encode({"payload": {"a": [0], "u": 9, "n": networks, "dt": ["*"]}}, SECRET, "HS256")
        outcome = imported(OldServer(), credentials=("--token", narrow))
        assert (outcome.code, "all networks" in outcome.err) == (1, True)


def test_the_service_for_tokens_may_be_elsewhere(imported: Callable[..., Outcome]) -> None:
    """DeviceHive has it at a port of its own; where it is not found, the error names the option for that."""
    old, tokens = OldServer(), OldServer()
    old.has_tokens = False
    login = ("--login", "dhadmin", "--password-stdin")
    missing = imported(old, credentials=login, stdin=b"right")
    assert (missing.code, "--auth-url" in missing.err) == (1, True)
    old.failures = lambda number, path: 401 if path == "/device" and old.tokens[number] == "Bearer first" else None
    with serving(tokens) as url:
        outcome = imported(old, "--auth-url", url, credentials=login, stdin=b"right")
    assert outcome.code == 0, outcome.err
    assert [each for each in tokens.asked if each.startswith("POST")] == [
        *("POST /dh/rest/token", "POST /dh/rest/token/refresh")
    ]


def test_an_answer_without_end_is_refused(imported: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than filling the memory."""
    monkeypatch.setattr(devicehive_server, "MAX_BODY", 1_000)
    old = OldServer()
    old.lists["/device"] = [{"id": "d" * 1_000, "networkId": 4}]
    outcome = imported(old)
    assert (outcome.code, "give a smaller --take" in outcome.err) == (1, True)


def test_a_wrong_password_is_told(imported: Callable[..., Outcome]) -> None:
    """Once; a login is not tried again."""
    old = OldServer()
    outcome = imported(old, credentials=("--login", "dhadmin", "--password-stdin"), stdin=b"wrong\n")
    assert (outcome.code, json.loads(outcome.err)["code"]) == (1, 401)
    assert [each for each in old.asked if each.startswith("POST")] == ["POST /dh/rest/token"]


def test_an_existing_file_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    """It is refused before anything is asked of the server."""
    (tmp_path / "new.db").write_bytes(b"")
    outcome = run(COMMAND, "http://127.0.0.1:1", "--data", str(tmp_path / "new.db"), "--token", "t")
    assert (outcome.code, "exists already" in outcome.err) == (1, True)


def test_a_command_that_is_stopped_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    """SIGTERM in the middle of the reading ends it, with the exit code for that, and the unfinished file is gone."""
    old, reading, stopped = OldServer(), threading.Event(), threading.Event()

    def wait(number: int, path: str) -> int | None:
        if path == "/device":
            reading.set()
            stopped.wait(PATIENCE)
        return None

    old.failures = wait
    with serving(old) as url:
        command = [COMMAND, url, "--token", "t", "--data", str(tmp_path / "new.db")]
        with Piped("hivewire.cli:main", command, dict(os.environ)) as process:
            assert reading.wait(PATIENCE)
            assert list(tmp_path.glob("new.db*"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        stopped.set()
    assert not list(tmp_path.glob("new.db*"))


def test_a_server_with_tls_is_verified(
    run: Run, tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names the certificates to trust, as for other commands; otherwise no token is sent."""
    flags = (f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}")
    dry = ("--dry-run", "-o", "json", "--data", str(tmp_path / "new.db"))
    with monkeypatch.context() as trusting:
        trusting.setenv("SSL_CERT_FILE", str(certificate[0]))
        with RunningGateway(tmp_path / "old.db", *flags) as old:
            token = old.token()
            trusted = run(COMMAND, old.url, "--token", token, *dry)
            monkeypatch.delenv("SSL_CERT_FILE")
            refused = run(COMMAND, old.url, "--token", token, *dry)
            plain = run(COMMAND, old.url.replace("https", "http"), "--token", token, *dry)
    assert (trusted.code, json.loads(trusted.out)["users"]) == (0, 1)
    assert (refused.code, "SSL_CERT_FILE" in refused.err) == (3, True)
    assert plain.code == 3


def test_an_address_where_nothing_listens_is_told(run: Run, tmp_path: Path) -> None:
    """With the exit code of an unreachable gateway."""
    outcome = run(COMMAND, "http://127.0.0.1:1", "--data", str(tmp_path / "new.db"), "--token", "t")
    assert (outcome.code, "cannot reach a DeviceHive server" in outcome.err) == (3, True)
