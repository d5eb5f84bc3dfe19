"""Who may log in, for how long, and what a token allows: over sockets and HTTP alike."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import jwt
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from hivewire_protocol.nouns.user import Role, Status
from tests.gate.wire import guess, until
from tests.running import PASSWORD, SECRET, RunningGateway, Talk
from tests.users import ADMIN, write_users

HOUR = 3_600_000


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def mint(key: str = SECRET, algorithm: str = "HS256", **members: Any) -> str:
    """A token of the administrator's, good for an hour; `members` replace those of its payload."""
    payload = {"a": [0], "e": now() + HOUR, "t": 1, "u": 1, "n": ["*"], "dt": ["*"]} | members
    return jwt.encode({"payload": payload}, key, algorithm=algorithm, headers={"typ": None})


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose throttle and administrator these tests may wear out."""
    with RunningGateway(tmp_path_factory.mktemp("own") / "hivewire.db") as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


@pytest.fixture
def fresh(data: Any) -> Iterator[RunningGateway]:
    """A gateway of the test's own."""
    with RunningGateway(data) as gateway:
        yield gateway


@pytest.fixture
def two_administrators(data: Any) -> Iterator[RunningGateway]:
    """One in which one of them may be locked out."""
    write_users(data, ADMIN, ("second", Role.ADMIN, Status.ACTIVE))
    with RunningGateway(data) as gateway:
        yield gateway


# Logging in.


def test_a_login_works_over_http_and_over_a_socket(shared_gateway: RunningGateway) -> None:
    """Login and password give two tokens, over a socket and HTTP alike; the access token works on both."""
    posted = httpx.post(shared_gateway.rest_url + "/token", json={"login": "admin", "password": PASSWORD})
    assert (posted.status_code, list(posted.json())) == (201, ["accessToken", "refreshToken"])
    with shared_gateway.socket("") as talk:
        answer = talk("token", login="admin", password=PASSWORD)
        assert list(answer) == ["action", "requestId", "status", "accessToken", "refreshToken"]
        assert talk("configuration/list")["code"] == 401, "a login gives tokens, it does not authenticate the socket"
        assert talk("authenticate", token=posted.json()["accessToken"]) == {
            "action": "authenticate",
            "requestId": 1,
            "status": "success",
        }
        assert talk("configuration/list")["status"] == "success"
    with shared_gateway.http(answer["accessToken"]) as client:
        assert client.get("/configuration").status_code == 200


def test_a_token_has_the_claims_that_devicehive_gives(shared_gateway: RunningGateway, admin_token: str) -> None:
    """Header and payload are those of the reference server, signed with HMAC-SHA256 of the secret."""
    header = admin_token.split(".")[0]
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"HS256"}'
    claims = jwt.decode(admin_token, SECRET, algorithms=["HS256"])["payload"]
    assert list(claims) == ["a", "e", "t", "u", "n", "dt", "i", "j"]
    assert (claims["a"], claims["t"], claims["u"], claims["n"], claims["dt"]) == ([0], 1, 1, ["*"], ["*"])
    assert now() < claims["e"] <= now() + 1_800_000


def test_the_tokens_of_a_login_live_for_half_an_hour_and_half_a_year(shared_gateway: RunningGateway) -> None:
    """The access token for 30 minutes, the refresh token for 182 days, unless the settings say otherwise."""
    before = now()
    tokens = httpx.post(shared_gateway.rest_url + "/token", json={"login": "admin", "password": PASSWORD}).json()
    after = now()
    for token, life in (("accessToken", HOUR // 2), ("refreshToken", 182 * 24 * HOUR)):
        expires = jwt.decode(tokens[token], SECRET, algorithms=["HS256"])["payload"]["e"]
        assert before + life <= expires <= after + life


@pytest.mark.parametrize(
    ("credentials", "code", "words"),
    [
        ({"login": "admin", "password": "wrong horse"}, 401, "Invalid credentials"),
        ({"login": "admin", "password": "x" * 10_000}, 401, "Invalid credentials"),
        ({"login": "nobody", "password": PASSWORD}, 401, "User with login = nobody not found or bad password"),
        ({"login": "Admin", "password": PASSWORD}, 401, "User with login = Admin not found or bad password"),
        ({"login": "admin"}, 400, "Invalid or empty authorization request parameters"),
        ({"login": "admin", "password": ""}, 400, "Invalid or empty authorization request parameters"),
        ({"login": " ", "password": "x"}, 400, "Invalid or empty authorization request parameters"),
        ({"password": "x"}, 400, "Invalid or empty authorization request parameters"),
        ({"login": None, "password": None}, 400, "Invalid or empty authorization request parameters"),
    ],
)
def test_a_login_that_is_wrong_says_so_in_the_known_words(
    own: RunningGateway, credentials: dict[str, Any], code: int, words: str
) -> None:
    """Wrong password, unknown login, no parameters: the code and text that DeviceHive clients know."""
    refused = httpx.post(own.rest_url + "/token", json=credentials)
    assert (refused.status_code, refused.json()) == (code, {"error": code, "message": words})
    with own.socket("") as talk:
        answer = talk("token", **credentials)
        assert (answer["code"], answer["error"]) == (code, words)


def test_after_ten_wrong_passwords_a_login_has_to_wait(fresh: RunningGateway) -> None:
    """The eleventh attempt gets 429 with `Retry-After`; guesses at a login that does not exist do not count."""
    answers = []

    def wrong(login: str) -> int:
        answers.append(httpx.post(fresh.rest_url + "/token", json={"login": login, "password": "wrong"}))
        return answers[-1].status_code

    for _ in range(10):
        assert wrong("nobody") == 401
        assert wrong("admin") == 401
    guess(lambda: wrong("admin"))
    seconds = int(answers[-1].headers["retry-after"])
    assert seconds >= 1
    message = f"Too many wrong passwords; try again in {seconds} s"
    assert answers[-1].json() == {"error": 429, "message": message, "retryAfter": seconds}
    assert wrong("nobody") == 401


def test_the_right_password_waits_too_and_tokens_stay_valid(fresh: RunningGateway) -> None:
    """Once guessing is throttled even the right password has to wait, but open connections keep working."""
    with fresh.socket() as talk:

        def waits() -> bool:
            guess(lambda: talk("token", login="admin", password="wrong horse")["code"])
            return bool(talk("token", login="admin", password=PASSWORD).get("code") == 429)

        until(waits)
        assert talk("configuration/list")["status"] == "success"
    right = {"login": "admin", "password": PASSWORD}
    until(lambda: httpx.post(fresh.rest_url + "/token", json=right, verify=False).status_code == 201)


def test_guesses_over_a_socket_and_over_rest_count_together(fresh: RunningGateway) -> None:
    """Five guesses over a socket and five over REST make the guesser wait at both."""
    wrong = {"login": "admin", "password": "wrong horse"}
    with fresh.socket() as talk:

        def over_rest() -> int:
            return httpx.post(fresh.rest_url + "/token", json=wrong).status_code

        for _ in range(5):
            assert talk("token", **wrong)["code"] == 401
            assert over_rest() == 401
        until(lambda: talk("token", **wrong)["code"] == over_rest() == 429)


# Tokens that are no good.

FOREIGN = "another secret, just as long as the one of the tests"


def tampered() -> str:
    """A token whose payload was exchanged under the signature."""
    head, _, signature = mint(a=[1]).split(".")
    body = mint(a=[0]).split(".")[1]
    return f"{head}.{body}.{signature}"


def unsigned(algorithm: str) -> str:
    """A token without a signature."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).rstrip(b"=").decode()
    return f"{head}.{mint().split('.')[1]}."


BAD = {
    "foreign key": lambda: mint(FOREIGN),
    "alg none": lambda: unsigned("none"),
    "alg None": lambda: unsigned("NoNe"),
    "no signature": lambda: unsigned("HS256"),
    "payload exchanged": tampered,
    "cut off": lambda: mint()[:-5],
    "another hash": lambda: mint(SECRET * 2, "HS512"),
    "refresh token": lambda: mint(t=0),
    "expired refresh token": lambda: mint(t=0, e=now() - HOUR),
    "unknown user": lambda: mint(u=4_711),
    "expiry in seconds": lambda: mint(e=now() // 1_000),
    "unknown action": lambda: mint(a=[19]),
    "action no number": lambda: mint(a=["*"]),
    "network no number": lambda: mint(n=["x"]),
    "bad pattern": lambda: mint(c=["a*b"]),
    "no payload": lambda: jwt.encode({"u": 1}, SECRET, algorithm="HS256"),
    "rubbish": lambda: "rubbish",
    "dots": lambda: "..",
    "long": lambda: "x" * 60_000,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_an_invalid_token_is_refused_everywhere(shared_gateway: RunningGateway, bad: Any) -> None:
    """Forged, foreign, tampered or unsigned tokens open neither the socket nor a REST page, not even public ones."""
    token = bad()
    with shared_gateway.socket("") as talk:
        answer = talk("authenticate", token=token)
        assert (answer["code"], answer["error"]) == (401, "Invalid credentials")
        assert talk("configuration/list")["error"] == "Unauthorized"
    with shared_gateway.http(token) as client:
        for path in ("/configuration", "/info"):
            refused = client.get(path)
            assert (refused.status_code, refused.json()) == (401, {"error": 401, "message": "Unauthorized"})
            assert refused.headers["www-authenticate"] == "Bearer"


def test_an_expired_token_says_that_it_is_expired(shared_gateway: RunningGateway) -> None:
    """The answer differs from that for a wrong token, so a client knows to refresh instead of asking for the
    password."""
    token = mint(e=now() - 1)
    with shared_gateway.socket("") as talk:
        assert talk("authenticate", token=token)["error"] == "Token expired"
    with shared_gateway.http(token) as client:
        assert client.get("/info").json() == {"error": 401, "message": "Token expired"}


@pytest.mark.parametrize("token", [None, ""])
def test_authenticate_without_a_token_is_unauthorized(shared_gateway: RunningGateway, token: str | None) -> None:
    """A missing token gets another error than a wrong one."""
    with shared_gateway.socket("") as talk:
        assert talk("authenticate", token=token)["error"] == "Unauthorized"


def test_callers_without_a_token_get_401(shared_gateway: RunningGateway) -> None:
    """Everything but the public pages is 401 for an anonymous caller."""
    with shared_gateway.socket("") as talk, shared_gateway.http("") as client:
        for action in ("configuration/get", "configuration/put", "configuration/delete", "user/list", "token/create"):
            answer = talk(action, name="a", value="b")
            assert (answer["code"], answer["error"]) == (401, "Unauthorized"), action
        for path in ("/configuration", "/configuration/a", "/user", "/user/current", "/device"):
            assert client.get(path).status_code == 401, path


def test_a_failed_authenticate_leaves_the_identity_as_it_was(talk: Talk) -> None:
    """A socket that sends a bad token stays logged in."""
    assert talk("authenticate", token="bad")["code"] == 401
    assert talk("configuration/list")["status"] == "success"


# Time passes.


def test_a_token_that_expires_on_an_open_socket_gets_401_until_a_new_one_comes(shared_gateway: RunningGateway) -> None:
    """The socket stays open at expiry; requests get `Token expired` until `authenticate` sends another token."""
    with shared_gateway.socket("") as talk:
        until(lambda: talk("authenticate", token=mint(e=now() + 500))["status"] == "success")
        until(lambda: talk("configuration/list")["status"] != "success")
        answer = talk("configuration/list")
        assert (answer["code"], answer["error"]) == (401, "Token expired")
        assert talk("server/info")["status"] == "success"
        assert talk("authenticate", token=mint())["status"] == "success"
        assert talk("configuration/list")["status"] == "success"


def test_lifetimes_are_settings(data: Any) -> None:
    """With `--access-token-lifetime 1` a login is over after a second, and the refresh token renews it."""
    with RunningGateway(data, "--access-token-lifetime", "1") as gateway, gateway.socket("") as talk:
        tokens = talk("token", login="admin", password=PASSWORD)
        until(lambda: talk("authenticate", token=tokens["accessToken"]).get("error") == "Token expired")

        def renewed() -> bool:
            answer = talk("token/refresh", refreshToken=tokens["refreshToken"])
            assert list(answer) == ["action", "requestId", "status", "accessToken"]
            talk("authenticate", token=answer["accessToken"])
            return bool(talk("configuration/list")["status"] == "success")

        until(renewed)


def test_refreshing_keeps_the_rights_of_the_refresh_token(shared_gateway: RunningGateway, admin_token: str) -> None:
    """A refreshed token has the limited rights of its refresh token."""
    with shared_gateway.http(admin_token) as client:
        narrow = client.post(
            "/token/create", json={"userId": 1, "actions": ["GetConfiguration"], "configurations": ["auth.narrow.*"]}
        ).json()
    renewed = httpx.post(shared_gateway.rest_url + "/token/refresh", json={"refreshToken": narrow["refreshToken"]})
    assert (renewed.status_code, list(renewed.json())) == (201, ["accessToken"])
    claims = jwt.decode(renewed.json()["accessToken"], SECRET, algorithms=["HS256"])["payload"]
    assert (claims["a"], claims["c"], claims["t"]) == ([100], ["auth.narrow.*"], 1)


@pytest.mark.parametrize(
    ("token", "code", "words"),
    [
        (lambda: mint(), 401, "Invalid token type"),
        (lambda: mint(t=0, e=now() - 1), 401, "Token has expired"),
        (lambda: mint(FOREIGN, t=0), 401, "Unauthorized"),
        (lambda: mint(t=0, u=4_711), 401, "Unauthorized"),
        (lambda: "rubbish", 401, "Unauthorized"),
        (lambda: "", 400, "Missing or invalid payload in request"),
        (lambda: None, 400, "Missing or invalid payload in request"),
    ],
)
def test_an_invalid_refresh_token_says_why(shared_gateway: RunningGateway, token: Any, code: int, words: str) -> None:
    """The text is the same over HTTP and over a socket."""
    bad = token()
    refused = httpx.post(shared_gateway.rest_url + "/token/refresh", json={"refreshToken": bad})
    assert (refused.status_code, refused.json()["message"]) == (code, words)
    with shared_gateway.socket("") as talk:
        answer = talk("token/refresh", refreshToken=bad)
        assert (answer["code"], answer["error"]) == (code, words)


# Users.


@pytest.mark.parametrize("status", [1, 2])
def test_a_locked_user_loses_all_access_at_once(two_administrators: RunningGateway, status: int) -> None:
    """When a user is locked or disabled, open sockets, HTTP, login, refresh and authenticate are refused at once."""
    fresh = two_administrators
    tokens = httpx.post(fresh.rest_url + "/token", json={"login": "admin", "password": PASSWORD}).json()
    token = tokens["accessToken"]
    with fresh.socket(token) as talk, fresh.socket("") as anonymous, fresh.http(token) as client:
        assert talk("configuration/put", name="before", value="1")["status"] == "success"
        assert client.put("/user/1", json={"status": status}).status_code == 204
        for action in ("configuration/put", "configuration/get", "user/getCurrent", "token/create"):
            answer = talk(action, name="after", value="1", payload={"userId": 1})
            assert (answer["code"], answer["error"]) == (401, "User is locked or disabled"), action
        assert client.get("/configuration/before").status_code == 401
        assert anonymous("authenticate", token=token)["error"] == "Invalid credentials"
        assert anonymous("token", login="admin", password=PASSWORD)["error"] == "User is locked or disabled"
        assert anonymous("token/refresh", refreshToken=tokens["refreshToken"])["code"] == 401
        assert talk("server/info")["status"] == "success"


def test_a_demoted_administrator_loses_its_rights_at_once(two_administrators: RunningGateway) -> None:
    """On open sockets, which are told, in event streams, over HTTP, in sessions of site properties, and for ever.

    A new login, on the same socket too, has the rights of the new role; its subscriptions go on without names.
    """
    gateway = two_administrators
    login = {"login": "second", "password": PASSWORD}
    tokens = httpx.post(gateway.rest_url + "/token", json=login).json()
    session = httpx.get(gateway.url + "/@api/deki/users/authenticate", auth=("second", PASSWORD)).text
    with (
        gateway.socket(tokens["accessToken"]) as second,
        gateway.http(tokens["accessToken"]) as client,
        gateway.http() as admin,
        client.stream("GET", "/configuration", headers={"Accept": "text/event-stream"}) as stream,
    ):
        second("configuration/subscribe", snapshot=False)
        refused = {"error": 401, "message": "Token revoked"}
        for role in (1, 0):
            assert admin.put("/user/2", json={"role": role}).status_code == 204
            assert admin.put("/configuration/after", json={"value": "1"}).status_code == 200
            if role == 1:
                assert second.receive()["reason"] == "Token revoked"
                assert '{"code":401,"reason":"Token revoked"}' in "".join(stream.iter_text())
            assert second("configuration/list")["error"] == "Token revoked", "nothing was pushed before"
            assert client.get("/configuration").json() == refused
            assert client.post("/token/refresh", json={"refreshToken": tokens["refreshToken"]}).json() == refused
            site = httpx.get(gateway.url + "/@api/deki/site/properties", headers={"X-Authtoken": session})
            assert site.status_code == 403
        assert admin.put("/user/2", json={"role": 1}).status_code == 204
        assert second("authenticate", token=gateway.token("second"))["status"] == "success"
        assert second("configuration/list")["error"] == "Access is denied: this needs GetConfiguration"
        assert admin.put("/configuration/after", json={"value": "2"}).status_code == 200
        assert second("user/getCurrent")["current"]["role"] == 1, "nothing was pushed before"


@pytest.mark.parametrize(
    "page", ["/api/rest/configuration/slow", "/api/rest/configuration/slow/content", "/@api/deki/site/properties/slow"]
)
def test_a_role_that_ends_while_a_body_arrives_does_not_count(two_administrators: RunningGateway, page: str) -> None:
    """The right to write is that at the end of the body, with a token and with a password."""
    gateway, body = two_administrators, b'{"value":"1"}'
    basic = "Basic " + base64.b64encode(f"second:{PASSWORD}".encode()).decode()
    credentials = basic if "@" in page else f"Bearer {gateway.token('second')}"
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as connection, gateway.http() as admin:
        connection.putrequest("PUT", page + "?abort=never")
        for name, value in {
            "Authorization": credentials,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Expect": "100-continue",
        }.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 "), "its rights were checked"
        assert admin.put("/user/2", json={"role": 1}).status_code == 204
        connection.send(body)
        assert connection.getresponse().status == (403 if "@" in page else 401)
        assert admin.get("/configuration/slow").status_code == 404


def test_a_locked_user_is_told_that_its_subscriptions_pause(two_administrators: RunningGateway) -> None:
    """Frames and JSON-RPC alike; when the user is active again, what was missed comes by itself."""
    gateway = two_administrators
    second = gateway.token("second")
    with gateway.socket() as talk, gateway.socket(second) as other, gateway.http(second) as client:
        talk("configuration/subscribe", snapshot=False)
        talk.connection.send('{"jsonrpc":"2.0","id":7,"method":"configuration/subscribe","params":{"snapshot":false}}')
        assert talk.receive()["id"] == 7
        reason = "User is locked or disabled"
        for version in (1, 2):
            assert client.put("/user/1", json={"status": 1}).status_code == 204
            assert talk.receive() == {"action": "subscription/paused", "subscriptionId": 1, "reason": reason}
            params = {"subscriptionId": 2, "reason": reason}
            assert talk.receive() == {"jsonrpc": "2.0", "method": "subscription/paused", "params": params}
            assert other("configuration/put", name="missed", value="1")["status"] == "success"
            assert talk("subscription/list")["error"] == reason, "nothing was pushed before"
            assert client.put("/user/1", json={"status": 0}).status_code == 204
            framed, called = talk.receive(), talk.receive()
            assert framed["configuration"] == called["params"]["configuration"]
            assert framed["configuration"]["entityVersion"] == version
            assert talk.receive()["live"] and talk.receive()["params"]["live"]


def test_a_new_signing_secret_ends_every_token(data: Any) -> None:
    """Tokens of both kinds and sessions of site properties are refused; the password still works."""
    with RunningGateway(data) as gateway:
        tokens = httpx.post(gateway.rest_url + "/token", json={"login": "admin", "password": PASSWORD}).json()
        session = httpx.get(gateway.url + "/@api/deki/users/authenticate", auth=("admin", PASSWORD)).text
        gateway.stop()

    def codes(secret: str) -> list[int]:
        with RunningGateway(data, env={"HIVEWIRE_JWT_SECRET": secret}) as gateway, gateway.http("") as client:
            site = gateway.url + "/@api/deki/site/properties"
            return [
                client.get("/configuration", headers={"Authorization": f"Bearer {tokens['accessToken']}"}).status_code,
                client.post("/token/refresh", json={"refreshToken": tokens["refreshToken"]}).status_code,
                client.get(site, headers={"X-Authtoken": session}).status_code,
                client.get(site, auth=("admin", PASSWORD)).status_code,
            ]

    assert codes(SECRET) == [200, 201, 200, 200]
    assert codes(FOREIGN) == [401, 401, 403, 200]


def test_a_previous_signing_secret_is_accepted_for_a_time(data: Any) -> None:
    """Its tokens and sessions are accepted until then, also those of a generated secret."""
    with RunningGateway(data, env={"HIVEWIRE_JWT_SECRET": ""}) as gateway:
        tokens = httpx.post(gateway.rest_url + "/token", json={"login": "admin", "password": PASSWORD}).json()
        session = httpx.get(gateway.url + "/@api/deki/users/authenticate", auth=("admin", PASSWORD)).text
        gateway.stop()

    def codes(**settings: str) -> list[int]:
        env = {"HIVEWIRE_JWT_SECRET": FOREIGN, **settings}
        with RunningGateway(data, env=env) as gateway, gateway.http("") as client:
            return [
                client.get("/configuration", headers={"Authorization": f"Bearer {tokens['accessToken']}"}).status_code,
                client.post("/token/refresh", json={"refreshToken": tokens["refreshToken"]}).status_code,
                client.get(gateway.url + "/@api/deki/site/properties", headers={"X-Authtoken": session}).status_code,
            ]

    good, over = "HIVEWIRE_JWT_PREVIOUS_UNTIL", "2020-01-01T00:00:00"
    assert codes(**{good: "2100-01-01T00:00:00"}) == [200, 201, 200]
    assert codes(**{good: over}) == [401, 401, 403]
    assert codes() == [401, 401, 403]


def test_a_revoked_token_is_refused_at_once(two_administrators: RunningGateway) -> None:
    """On open sockets, which get a push about it, and over HTTP."""
    fresh = two_administrators
    tokens = httpx.post(fresh.rest_url + "/token", json={"login": "second", "password": PASSWORD}).json()
    with fresh.socket(tokens["accessToken"]) as second, fresh.http() as administrator:
        assert second("configuration/subscribe", snapshot=False)["status"] == "success"
        assert administrator.post("/token/revoke", json={"userId": 2}).status_code == 204
        assert second.receive()["reason"] == "Token revoked"
        assert second("configuration/list")["error"] == "Token revoked"
        refreshed = administrator.post("/token/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert (refreshed.status_code, refreshed.json()["message"]) == (401, "Token revoked")


@pytest.mark.parametrize("how", ["tokenId", "token"])
def test_one_token_is_revoked_and_others_of_its_user_stay(two_administrators: RunningGateway, how: str) -> None:
    """On open sockets as well, which get a push about it, and with its refresh token; by its id or as it is."""
    login, rest = {"login": "second", "password": PASSWORD}, two_administrators.rest_url
    lost, kept = (httpx.post(rest + "/token", json=login).json() for _ in range(2))
    payload = jwt.decode(lost["accessToken"], options={"verify_signature": False})["payload"]
    given = {"tokenId": payload["j"], "token": lost["accessToken"]}[how]
    with (
        two_administrators.socket(lost["accessToken"]) as second,
        two_administrators.socket(kept["accessToken"]) as other,
        two_administrators.http() as administrator,
    ):
        for talk in (second, other):
            assert talk("configuration/subscribe", snapshot=False)["status"] == "success"
        assert administrator.post("/token/revoke", json={how: given}).status_code == 204
        assert second.receive()["reason"] == "Token revoked"
        assert second("configuration/list")["error"] == "Token revoked"
        refreshed = administrator.post("/token/refresh", json={"refreshToken": lost["refreshToken"]})
        assert (refreshed.status_code, refreshed.json()["message"]) == (401, "Token revoked")
        assert administrator.put("/configuration/revoked", json={"value": "1"}).status_code == 200
        assert other.receive()["action"] == "configuration/update", "its subscription goes on"


def test_a_new_password_replaces_the_old_one(fresh: RunningGateway) -> None:
    """After a change only the new password logs in; existing tokens stay valid."""
    with fresh.socket() as talk:
        changed = talk("user/update", userId=1, user={"password": "battery staple"})
        assert changed == {"action": "user/update", "requestId": 1, "status": "success"}
        assert talk("token", login="admin", password=PASSWORD)["error"] == "Invalid credentials"
        assert talk("token", login="admin", password="battery staple")["status"] == "success"
        assert talk("configuration/list")["status"] == "success"
        assert talk("user/update", userId=1, user={"password": "short"})["code"] == 400
        assert talk("token", login="admin", password="battery staple")["status"] == "success"


# Narrow tokens.


@pytest.fixture
def narrow(shared_gateway: RunningGateway, talk: Talk) -> str:
    """A token for the names auth.mine and auth.team.* only, and three configurations, two of them covered."""
    for name in ("auth.mine", "auth.team.a", "auth.other"):
        assert talk("configuration/put", name=name, value="v")["status"] == "success"
    minted = talk(
        "token/create",
        payload={"userId": 1, "actions": ["ManageConfiguration"], "configurations": ["auth.mine", "auth.team.*"]},
    )
    assert list(minted) == ["action", "requestId", "status", "accessToken", "refreshToken"]
    return str(minted["accessToken"])


def test_a_token_with_names_sees_and_writes_only_those(shared_gateway: RunningGateway, narrow: str) -> None:
    """Lists leave other names out and do not count them; getting or writing one is 403, whether it exists or not."""
    with shared_gateway.socket(narrow) as talk, shared_gateway.http(narrow) as client:
        listed = talk("configuration/list")
        assert [each["name"] for each in listed["configurations"]] == ["auth.mine", "auth.team.a"]
        assert listed["count"] == 2
        assert client.get("/configuration").json()["configurations"] == listed["configurations"]
        assert talk("configuration/list", names=["auth.o*"])["configurations"] == []
        for name in ("auth.other", "auth.none", "auth.team", "auth.mine2", "jwt.secret", ""):
            why = "is reserved" if name == "jwt.secret" else "is not among those of the token"
            for action in ("get", "put", "delete"):
                answer = talk(f"configuration/{action}", name=name, value="w")
                assert (answer["code"], answer["error"]) == (403, f"Access is denied: the name '{name}' {why}")
        assert client.get("/configuration/auth.other").status_code == 403
        assert client.put("/configuration/auth.other", json={"value": "w"}).status_code == 403
        assert client.delete("/configuration/auth.other").status_code == 403
        assert talk("configuration/put", name="auth.team.b", value="w")["status"] == "success"
        assert talk("configuration/delete", name="auth.team.b")["status"] == "success"


def test_a_token_with_names_sees_no_other_history_and_rolls_nothing_else_back(
    shared_gateway: RunningGateway, talk: Talk, narrow: str
) -> None:
    """Earlier values of a name, also before its deletion, are as protected as the current one; so is rollback."""
    talk("configuration/put", name="auth.gone", value="1")
    talk("configuration/delete", name="auth.gone")
    with shared_gateway.socket(narrow) as socket, shared_gateway.http(narrow) as client:
        assert socket("configuration/history", name="auth.mine")["status"] == "success"
        assert client.get("/configuration/auth.mine/history").status_code == 200
        assert socket("configuration/rollback", name="auth.mine", to=1)["status"] == "success"
        for name in ("auth.other", "auth.gone", "auth.none", "jwt.secret"):
            put = {"operation": "put", "name": name, "value": "w"}
            mine = {"operation": "put", "name": "auth.mine", "value": "w"}
            for refused in (
                socket("configuration/history", name=name),
                socket("configuration/get", name=name, entityVersion=1),
                socket("configuration/get", name=name, revision=1),
                socket("configuration/rollback", name=name, to=1),
                socket("configuration/transact", changes=[mine, put]),
            ):
                assert refused["code"] == 403, refused
            assert client.get(f"/configuration/{name}/history").status_code == 403
            assert client.post(f"/configuration/{name}/rollback", json={"to": 1}).status_code == 403
        assert socket("configuration/get", name="auth.mine")["configuration"]["value"] == "v"
    assert talk("configuration/get", name="auth.other")["configuration"]["value"] == "v"


def test_no_caller_mints_more_than_its_own_rights(shared_gateway: RunningGateway, admin_token: str) -> None:
    """With a limited token a caller can make more limited ones, and nothing else."""
    with shared_gateway.http(admin_token) as client:
        token = client.post(
            "/token/create",
            json={"userId": 1, "actions": ["GetConfiguration", "ManageToken"], "configurations": ["auth.*"]},
        ).json()["accessToken"]
    with shared_gateway.socket(token) as talk:
        for beyond in (
            {"actions": ["ManageConfiguration"]},
            {"actions": ["*"]},
            {"actions": [0]},
            {"configurations": ["*"]},
            {"configurations": ["au*"]},
            {"configurations": ["auth.a", "b"]},
            {"userId": 2},
        ):
            answer = talk("token/create", payload={"userId": 1, "actions": ["GetConfiguration"], **beyond})
            assert (answer["code"], answer["error"][:18]) == (403, "Access is denied: "), beyond
        narrower = talk("token/create", payload={"userId": 1, "actions": [100], "configurations": ["auth.a*"]})
        assert narrower["status"] == "success"
        same = talk("token/create", payload={"userId": 1, "actions": ["getconfiguration"]})
        claims = jwt.decode(same["accessToken"], SECRET, algorithms=["HS256"])["payload"]
        assert claims["c"] == ["auth.*"], "absent names are the caller's own"


def test_a_token_for_reading_cannot_write(shared_gateway: RunningGateway, talk: Talk) -> None:
    """GetConfiguration reads and lists; put and delete are 403 over HTTP and sockets, before all else."""
    talk("configuration/put", name="auth.read", value="1")
    token = talk("token/create", payload={"userId": 1, "actions": ["GetConfiguration"]})["accessToken"]
    with shared_gateway.socket(token) as reader, shared_gateway.http(token) as client:
        assert reader("configuration/get", name="auth.read")["configuration"]["value"] == "1"
        assert reader("configuration/list", names=["auth.read"])["count"] == 1
        for refused in (
            reader("configuration/put", name="auth.read", value="2"),
            reader("configuration/put", name="auth.read", value={"not": "text"}),
            reader("configuration/delete", name="auth.read"),
            reader("user/list"),
            reader("token/create", payload={"userId": 1}),
        ):
            assert (refused["code"], refused["error"][:18]) == (403, "Access is denied: ")
        assert client.put("/configuration/auth.read", json={"value": "2"}).status_code == 403
        assert client.delete("/configuration/auth.read").status_code == 403
        assert client.get("/configuration/auth.read").json()["value"] == "1"


@pytest.mark.parametrize("actions", [None, [], ["NoSuchAction"], [4_711]])
def test_a_token_with_nothing_left_grants_nothing(talk: Talk, shared_gateway: RunningGateway, actions: Any) -> None:
    """A token whose actions are all unknown is valid but allows nothing."""
    minted = talk("token/create", payload={"userId": 1, "actions": actions})
    assert jwt.decode(minted["accessToken"], SECRET, algorithms=["HS256"])["payload"]["a"] == [1]
    with shared_gateway.socket(minted["accessToken"]) as nothing:
        assert nothing("configuration/list")["code"] == 403
        assert nothing("server/info")["status"] == "success"


def test_the_reserved_name_is_closed_to_everybody(shared_gateway: RunningGateway, talk: Talk, admin_token: str) -> None:
    """`jwt.secret` cannot be read or written by anybody; an anonymous caller gets 401 first."""
    name = "jwt.secret"
    for action in ("get", "put", "delete", "history", "rollback"):
        given = {"to": 1} if action == "rollback" else {"value": "x"}
        refused = talk(f"configuration/{action}", name=name, **given)
        assert refused["error"] == "Access is denied: the name 'jwt.secret' is reserved"
    changes = [{"operation": "put", "name": "beside it", "value": "x"}]
    for change in ({"operation": "put", "name": name, "value": "x"}, {"operation": "delete", "name": name}):
        refused = talk("configuration/transact", changes=[*changes, change])
        assert (refused["code"], refused["index"]) == (403, 1)
    assert talk("configuration/list", names=[name, "beside it"])["count"] == 0
    subscribed = talk("configuration/subscribe", names=[name])
    assert talk.receive()["configurations"] == []
    talk("configuration/unsubscribe", subscriptionId=subscribed["subscriptionId"])
    with shared_gateway.http(admin_token) as client:
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/history"), ("POST", "/rollback")):
            for written in (name, "jwt%2Esecret"):
                body: Any = {"json": {"to": 1} if path else {"value": "x"}} if method in ("PUT", "POST") else {}
                answer = client.request(method, f"/configuration/{written}{path}", **body)
                assert answer.status_code == 403, (method, path)
        answer = client.post("/configuration/transact", json={"changes": [{"operation": "delete", "name": name}]})
        assert answer.status_code == 403
        assert client.get("/configuration", params={"names": name}).json()["count"] == 0
    assert httpx.get(f"{shared_gateway.rest_url}/configuration/{name}").status_code == 401


# What the log and the errors say.


def test_submitted_secrets_are_never_repeated(data: Any) -> None:
    """Wherever a password or token is submitted, neither the log nor an error repeats it."""
    secret = "hush-hush"
    forged = mint(FOREIGN, t=0)
    said: list[str] = []
    with RunningGateway(data) as gateway:
        good = gateway.token()
        secrets = (
            secret,
            base64.b64encode(secret.encode()).decode(),
            good,
            *good.split(".")[1:],
            *forged.split(".")[1:],
        )
        authorizations = [f"Bearer {secret}", f"Bearer {forged}", f"Token {good}", good, _basic("admin", secret)]
        with gateway.http("") as client:
            for authorization in authorizations:
                for ask in (client.get, client.delete):
                    said.append(ask("/configuration/a", headers={"Authorization": authorization}).text)
                said.append(_refused_upgrade(gateway.socket_url, {"Authorization": authorization}))
            for query in (f"token={good}", f"access_token={forged}", f"password={secret}", f"Authorization={good}"):
                said.append(client.get(f"/user?{query}").text)
                said.append(client.post(f"/token?{query}", json={"login": "admin"}).text)
                with connect(f"{gateway.socket_url}?{query}") as socket:
                    socket.send('{"action":"user/list"}')
                    said.append(str(socket.recv()))
            said += [client.get(f"/{each}").text for each in (good, forged, secret)]
            for body in (
                {"login": "admin", "password": secret},
                {"login": "admin", "password": secret * 100},
                {"login": "admin", "password": {"is": secret}},
                {"login": "", "password": secret},
                {"login": "nobody", "password": secret},
            ):
                said.append(client.post("/token", json=body).text)
            # In the wrong field: the error repeats the login to who sent it, the log does not.
            client.post("/token", json={"login": secret, "password": "x"})
            said.append(client.post("/token", content=f'{{"login":"admin","password":"{secret}').text)
            said.append(client.post("/token", data={"password": secret}).text)
            said += [client.post("/token/refresh", json={"refreshToken": each}).text for each in (good, forged, secret)]
        with gateway.socket("") as talk, gateway.http(good) as client:
            for each in (forged, secret, forged[:-2], f"Bearer {good}"):
                said.append(json.dumps(talk("authenticate", token=each)))
                rpc = {"jsonrpc": "2.0", "id": 1, "method": "token/refresh", "params": {"refreshToken": each}}
                said.append(json.dumps(talk.frame(rpc)))
            said.append(json.dumps(talk.raw(f'{{"action":"authenticate","token":"{good}"')))
            for password in ("hush\n" + secret, secret * 100, [secret]):
                said.append(client.put("/user/1", json={"password": password}).text)
            said.append(client.post("/token/create", json={"userId": 1, "expiration": secret}).text)
        assert gateway.stop() == 0
        log = json.dumps(gateway.log) + "\n".join(gateway.noise)
        assert len(gateway.events("authentication failed")) > 30
    assert len(said) > 50
    for each in secrets:
        assert each not in log
        assert not [words for words in said if each in words]


def _basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def _refused_upgrade(url: str, headers: dict[str, str]) -> str:
    with pytest.raises(InvalidStatus) as caught, connect(url, additional_headers=headers):
        pass
    return repr(caught.value.response)


def test_successful_requests_leave_no_line_in_the_log(data: Any) -> None:
    """Logins, new tokens and changes of users, tenants and clients are not logged; start and stop are."""
    with RunningGateway(data) as gateway:
        with gateway.socket() as talk, gateway.http() as client:
            minted = talk("token/create", payload={"userId": 1})
            assert talk("token/refresh", refreshToken=minted["refreshToken"])["status"] == "success"
            assert talk("authenticate", token=gateway.token())["status"] == "success"
            assert talk("configuration/put", name="a", value="1")["status"] == "success"
            assert client.put("/user/1", json={"password": "battery staple"}).status_code == 204
            assert client.post("/tenant", json={"tenantId": "t"}).status_code == 201
            assert client.post("/client", json={"clientId": "c", "tenants": {"t": ["READ"]}}).status_code == 201
            assert client.delete("/client/c").status_code == 204
            assert client.delete("/tenant/t").status_code == 204
        assert gateway.stop() == 0
        assert [line["event"] for line in gateway.log] == ["started", "stopping", "stopped"]
        assert gateway.noise == []


def test_nothing_secret_is_in_the_log(data: Any) -> None:
    """Failed logins and bad tokens are logged, without a password, a token or a value."""
    secrets = ["hush-value", "hush-new-password", "hush-wrong-password", "hush-token", PASSWORD, SECRET]
    with RunningGateway(data) as gateway:
        tokens = httpx.post(gateway.rest_url + "/token", json={"login": "admin", "password": PASSWORD}).json()
        with gateway.socket(tokens["accessToken"]) as talk, gateway.http(tokens["accessToken"]) as client:
            talk("configuration/put", name="a", value="hush-value")
            talk("configuration/put", name="a" * 99, value="hush-value")
            talk("user/update", userId=1, user={"password": "hush-new-password", "data": {"v": "hush-value"}})
            talk("token", login="admin", password="hush-wrong-password")
            talk("authenticate", token="hush-token")
            talk("token/refresh", refreshToken="hush-token")
            talk("token/refresh", refreshToken=mint(FOREIGN, t=0))
            talk.raw('{"hush-value')
            client.put("/configuration/a", content="{hush-value")
            client.put("/configuration/a", json={"value": "hush-value"}, headers={"If-Match": '"99"'})
            minted = client.post("/token/create", json={"userId": 1}).json()
        httpx.get(gateway.rest_url + "/info", headers={"Authorization": "Bearer hush-token"})
        assert gateway.stop() == 0
        lines = json.dumps(gateway.log) + "\n".join(gateway.noise)
        failures = gateway.events("authentication failed")
        assert [(line["how"], line["reason"]) for line in failures] == [
            ("token", "InvalidCredentials"),
            ("authenticate", "InvalidCredentials"),
            ("token/refresh", "Unauthorized"),
            ("token/refresh", "Unauthorized"),
            ("bearer", "InvalidCredentials"),
        ]
        assert {line["address"] for line in failures} == {"127.0.0.1"}
        assert failures[0]["login"] == "admin"
        for secret in (*secrets, *tokens.values(), *minted.values()):
            assert secret not in lines
        for token in (*tokens.values(), *minted.values()):
            assert token.split(".")[2] not in lines
