"""Tokens by OAuth 2, and what programs of the tenant dialect ask first: over real HTTP, with httpx and curl."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.gate.wire import dial, guess, until
from tests.running import PASSWORD, SECRET, RunningGateway

FORM = "application/x-www-form-urlencoded"
ONE = {"grant_type": "client_credentials"}


class OAuth:
    """A gateway with tenants t1 and t2, and clients of them that are made when first asked for."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.admin = gateway.http()
        self.secrets: dict[str, str] = {}
        for tenant in ("t1", "t2"):
            self.admin.post("/tenant", json={"tenantId": tenant})

    def __enter__(self) -> OAuth:
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()

    def client(self, name: str, **tenants: list[str]) -> tuple[str, str]:
        """Id and secret of a client: for Basic authentication."""
        if name not in self.secrets:
            made = self.admin.post("/client", json={"clientId": name, "tenants": tenants or {"t1": ["UPDATE"]}})
            assert made.status_code == 201, made.text
            self.secrets[name] = made.json()["clientSecret"]
        return name, self.secrets[name]

    def ask(self, name: str, **options: Any) -> httpx.Response:
        """A request for a token."""
        options.setdefault("auth", self.client(name))
        return httpx.post(self.gateway.url + "/oauth/token", **options)

    def token(self, name: str) -> str:
        """A client's access token."""
        answer = self.ask(name, data=ONE)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def get(self, path: str, token: str | None = None, scheme: str = "Bearer") -> httpx.Response:
        """Something of the tenant dialect."""
        headers = {"Authorization": f"{scheme} {token}"} if token is not None else {}
        return httpx.get(self.gateway.url + path, headers=headers)


@pytest.fixture(scope="module")
def oauth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OAuth]:
    """One gateway for all of them; each test has clients of its own, for they are throttled and counted."""
    with RunningGateway(tmp_path_factory.mktemp("oauth") / "hivewire.db") as gateway:
        with OAuth(gateway) as oauth:
            yield oauth
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which is never kept by anybody on the way."""
    assert list(answer.json()) == ["error", "error_description"]
    assert answer.json()["error_description"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()["error"]


# What is granted.


def test_a_client_gets_a_token_for_its_own_credentials(oauth: OAuth) -> None:
    """The answer has type, expiry and scope, must not be cached, and has no refresh token."""
    oauth.client("plain", t1=["UPDATE"], t2=["DELETE"])
    answer = oauth.ask("plain", data=ONE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    body = answer.json()
    assert list(body) == ["access_token", "token_type", "expires_in", "scope"]
    assert body["token_type"] == "bearer"
    assert 0 < body["expires_in"] <= 1_800
    assert body["scope"] == "t1:READ t1:UPDATE t2:DELETE"
    claims = jwt.decode(body["access_token"], SECRET, algorithms=["HS256"])["payload"]
    assert (claims["a"], claims["u"], claims["tn"]) == ([1], 0, {"t1": ["READ", "UPDATE"], "t2": ["DELETE"]})


@pytest.mark.parametrize(
    "options",
    [
        {"data": ONE},
        {"params": ONE},
        {"params": ONE, "headers": {"Content-Type": "application/json"}},
        {"content": "grant_type=client_credentials&nothing=", "headers": {"Content-Type": f"{FORM}; charset=UTF-8"}},
        {"params": {"grant_type": "client_credentials", "unknown": "x"}, "content": "\r\n"},
        {"data": ONE | {"scope": "t1:READ"}},
        {"data": ONE | {"scope": ""}},
    ],
    ids=["form", "query", "query, empty json", "charset", "unknown parameter", "some scope", "no scope"],
)
def test_parameters_come_in_the_body_or_in_the_query(oauth: OAuth, options: dict[str, Any]) -> None:
    """Unknown parameters and those without a value are ignored."""
    answer = oauth.ask(f"how{len(oauth.secrets)}", **options)
    assert answer.status_code == 200, answer.text
    assert answer.json()["scope"] == "t1:READ t1:UPDATE"


def test_the_same_token_is_returned_until_it_is_about_to_expire(oauth: OAuth) -> None:
    """A program may ask as often as it likes; a client that is created again gets another one."""
    first = oauth.ask("again", data=ONE).json()
    answers = [first]

    def shrinks() -> bool:
        answer = oauth.ask("again", data=ONE)
        if answer.status_code == 200:  # otherwise the rate limit applied
            answers.append(answer.json())
        return bool(answers[-1]["expires_in"] < first["expires_in"])

    until(shrinks)
    assert {answer["access_token"] for answer in answers} == {first["access_token"]}
    assert oauth.admin.delete("/client/again").status_code == 204
    del oauth.secrets["again"]
    assert oauth.token("again") != first["access_token"]


def test_a_token_that_has_expired_is_replaced(data: Path) -> None:
    """With a lifetime of two seconds, a program that asks again soon has another one."""
    with RunningGateway(data, "--access-token-lifetime", "2") as gateway, OAuth(gateway) as oauth:
        first = oauth.token("short")
        until(lambda: oauth.get("/reltio/tenants", first).status_code == 401)
        assert oauth.get("/reltio/tenants", first).json()["error"] == "invalid_token"
        assert oauth.token("short") != first
        until(lambda: oauth.get("/reltio/tenants", oauth.token("short")).json() == ["t1"])


def test_a_user_gets_its_own_tokens_through_a_client(oauth: OAuth) -> None:
    """With a password: what a login gives, and a refresh token, which gives another access token."""
    answer = oauth.ask("front", data={"grant_type": "password", "username": "admin", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == ["access_token", "token_type", "expires_in", "scope", "refresh_token"]
    assert body["scope"] == "*"
    with oauth.gateway.http(body["access_token"]) as client:
        assert client.get("/user/current").json()["login"] == "admin"
    assert oauth.get("/reltio/tenants", body["access_token"]).json() == ["t1", "t2"]
    refresh = {"grant_type": "refresh_token", "refresh_token": body["refresh_token"]}
    renewed = oauth.ask("front", params=refresh).json()
    assert list(renewed) == ["access_token", "token_type", "expires_in", "scope"]
    claims = jwt.decode(renewed["access_token"], SECRET, algorithms=["HS256"])["payload"]
    assert (claims["a"], claims["t"], claims["u"]) == ([0], 1, 1)
    rest = httpx.post(oauth.gateway.rest_url + "/token/refresh", json={"refreshToken": body["refresh_token"]})
    assert rest.status_code == 201


def test_a_restricted_token_says_what_it_is_for(oauth: OAuth) -> None:
    """The scope of a user's token is the names of its actions."""
    minted = oauth.admin.post(
        "/token/create", json={"userId": 1, "actions": ["GetConfiguration", "ManageUser"], "networkIds": ["*"]}
    ).json()
    answer = oauth.ask("less", data={"grant_type": "refresh_token", "refresh_token": minted["refreshToken"]})
    assert answer.json()["scope"] == "ManageUser GetConfiguration"


def test_curl_gets_a_token_the_way_everybody_tries_first(oauth: OAuth) -> None:
    """`curl -u id:secret -d grant_type=client_credentials`, and the same with everything in the query."""
    name, secret = oauth.client("curl")
    for arguments in (
        ["-d", "grant_type=client_credentials", oauth.gateway.url + "/oauth/token"],
        ["-X", "POST", oauth.gateway.url + "/oauth/token?grant_type=client_credentials"],
    ):
        done = subprocess.run(["curl", "-sS", "-u", f"{name}:{secret}", *arguments], capture_output=True, check=True)
        assert json.loads(done.stdout)["access_token"] == oauth.token("curl")
    wrong = ["curl", "-sSi", "-u", f"{name}:wrong", "-d", "grant_type=client_credentials"]
    done = subprocess.run([*wrong, oauth.gateway.url + "/oauth/token"], capture_output=True, check=True)
    assert done.stdout.startswith(b"HTTP/1.1 401 ")


# What is not.


@pytest.mark.parametrize(
    "auth",
    [
        None,
        ("bad", "wrong"),
        ("bad", ""),
        ("nobody.here", "secret"),
        ("", ""),
        "Basic",
        "Basic !!!",
        "Basic bm9jb2xvbg==",
        "Basic /w==",
        "Basic é",
        "Bearer x",
        "Digest x",
    ],
)
def test_a_caller_that_is_not_a_client_gets_401_with_a_challenge(oauth: OAuth, auth: Any) -> None:
    """The text does not say whether the client exists."""
    oauth.client("bad")
    headers = {"Authorization": auth.encode()} if isinstance(auth, str) else {}
    answer = oauth.ask("bad", data=ONE, auth=auth if isinstance(auth, tuple) else None, headers=headers)
    assert refused(answer) == (401, "invalid_client")
    assert answer.headers["www-authenticate"] == 'Basic realm="hivewire", charset="UTF-8"'
    assert answer.json()["error_description"] == oauth.ask("", data=ONE, auth=None).json()["error_description"]


def test_the_secret_of_one_client_does_not_open_another(oauth: OAuth) -> None:
    """The secret of another client is refused, and so is a right one outside of the header."""
    _, secret = oauth.client("one")
    oauth.client("two")
    assert refused(oauth.ask("two", data=ONE, auth=("two", secret))) == (401, "invalid_client")
    assert refused(oauth.ask("one", data=ONE | {"client_id": "one", "client_secret": secret}, auth=None)) == (
        401,
        "invalid_client",
    )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "invalid_request"),
        ({"data": {"grant_type": ""}}, "invalid_request"),
        ({"data": {"grant_type": "implicit"}}, "unsupported_grant_type"),
        ({"data": {"grant_type": "authorization_code", "code": "x"}}, "unsupported_grant_type"),
        ({"data": {"grant_type": ["client_credentials", "client_credentials"]}}, "invalid_request"),
        ({"data": ONE, "params": ONE}, "invalid_request"),
        ({"content": b"grant_type=client%FFcredentials", "headers": {"Content-Type": FORM}}, "invalid_request"),
        ({"content": b"grant_type=\xff", "headers": {"Content-Type": FORM}}, "invalid_request"),
        ({"content": b"a=1&" * 50 + b"grant_type=x", "headers": {"Content-Type": FORM}}, "invalid_request"),
        ({"json": ONE}, "invalid_request"),
        ({"content": "grant_type=client_credentials"}, "invalid_request"),
        ({"data": ONE | {"scope": "t2:READ"}}, "invalid_scope"),
        ({"data": ONE | {"scope": "t1:READ *"}}, "invalid_scope"),
        ({"data": {"grant_type": "password"}}, "invalid_request"),
        ({"data": {"grant_type": "password", "username": "admin"}}, "invalid_request"),
        ({"data": {"grant_type": "password", "username": " ", "password": "x"}}, "invalid_request"),
        ({"data": {"grant_type": "password", "username": "nobody", "password": "x"}}, "invalid_grant"),
        ({"data": {"grant_type": "password", "username": "sync", "password": "x"}}, "invalid_grant"),
        ({"data": {"grant_type": "refresh_token"}}, "invalid_request"),
        ({"data": {"grant_type": "refresh_token", "refresh_token": "rubbish"}}, "invalid_grant"),
    ],
)
def test_a_request_that_cannot_be_granted_says_why(oauth: OAuth, options: dict[str, Any], code: str) -> None:
    """The codes of RFC 6749, section 5.2, all with 400."""
    assert refused(oauth.ask(f"why{len(oauth.secrets)}", **options)) == (400, code)


def test_a_wrong_password_and_tokens_of_the_wrong_kind_are_an_invalid_grant(oauth: OAuth) -> None:
    """A client with a valid secret learns nothing about users."""
    wrong = oauth.ask("grants", data={"grant_type": "password", "username": "admin", "password": "wrong horse"})
    unknown = oauth.ask("grants", data={"grant_type": "password", "username": "nobody", "password": "wrong horse"})
    assert refused(wrong) == refused(unknown) == (400, "invalid_grant")
    assert wrong.json() == unknown.json()
    for token in (oauth.token("grants"), oauth.gateway.token()):
        answer = oauth.ask("grants", data={"grant_type": "refresh_token", "refresh_token": token})
        assert refused(answer) == (400, "invalid_grant")


def test_other_methods_get_405(oauth: OAuth) -> None:
    """A GET of the token endpoint gets 405 with `Allow: POST`."""
    answer = httpx.get(oauth.gateway.url + "/oauth/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_body_over_128_kib_is_too_large(oauth: OAuth) -> None:
    """A body of 128 KiB is read; one byte more gets 413 and the connection is closed."""
    fits = "grant_type=client_credentials&x=" + "x" * (131_072 - 32)
    headers = {"Content-Type": FORM}
    assert oauth.ask("large", content=fits, headers=headers).status_code == 200
    answer = oauth.ask("large", content=fits + "x", headers=headers)
    assert refused(answer) == (413, "invalid_request")
    assert answer.headers["connection"] == "close"


def test_a_body_is_not_read_from_a_caller_that_is_not_a_client(oauth: OAuth) -> None:
    """The refusal is sent before the body arrives."""
    with dial(oauth.gateway) as wire:
        head = f"POST /oauth/token HTTP/1.1\r\nHost: h\r\nContent-Type: {FORM}\r\nContent-Length: 1000\r\n\r\n"
        wire.send(head.encode())
        status, _, body = wire.response()
        assert (status, body["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("change", ["secret", "delete"])
def test_a_secret_that_ends_while_a_body_arrives_gets_no_token(oauth: OAuth, change: str) -> None:
    """Else a secret that was replaced could be good for one more token."""
    name, secret = oauth.client(f"late-{change}")
    basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
    body = b"grant_type=client_credentials"
    with dial(oauth.gateway) as wire, oauth.gateway.http() as admin:
        lines = ("POST /oauth/token HTTP/1.1", "Host: g", f"Authorization: Basic {basic}", f"Content-Type: {FORM}")
        wire.send("\r\n".join((*lines, f"Content-Length: {len(body)}", "Expect: 100-continue", "", "")).encode())
        assert wire.head()[0] == 100, "the secret was checked"
        path = f"/client/{name}"
        answer = admin.delete(path) if change == "delete" else admin.put(path, json={"newSecret": True})
        assert answer.is_success
        wire.send(body)
        status, _, refusal = wire.response()
        assert (status, refusal["error"]) == (401, "invalid_client")


# How often.


def test_more_than_ten_requests_a_second_are_too_many(oauth: OAuth) -> None:
    """429 says when to retry; other clients are not affected, and the next second is free again."""
    auth = oauth.client("eager")
    with httpx.Client(base_url=oauth.gateway.url, auth=auth) as client:
        answers = []
        until(lambda: answers.append(client.post("/oauth/token", data=ONE)) or answers[-1].status_code != 200)
        assert len(answers) > 10
        assert refused(answers[-1]) == (429, "temporarily_unavailable")
        assert answers[-1].headers["retry-after"] == "1"
        assert oauth.ask("calm", data=ONE).status_code == 200
        until(lambda: client.post("/oauth/token", data=ONE).status_code == 200)


def test_after_ten_wrong_secrets_a_client_has_to_wait_and_its_tokens_go_on(oauth: OAuth) -> None:
    """The right secret waits as well; a user of the same name does not, and tokens stay valid."""
    token = oauth.token("guessed")
    name, secret = oauth.client("guessed")
    wrong = 0

    def has_to_wait(given: str) -> bool:
        nonlocal wrong
        answer = oauth.ask("guessed", data=ONE, auth=(name, given))
        wrong += answer.status_code == 401
        if "too many wrong client secrets" not in answer.text:
            return False  # a wrong guess, or one too soon
        assert refused(answer) == (429, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        return True

    until(lambda: has_to_wait("wrong"))
    assert wrong >= 10
    until(lambda: has_to_wait("wrong") and has_to_wait(secret))
    assert oauth.get("/reltio/tenants", token).status_code == 200
    until(lambda: oauth.ask("guessed", data=ONE, auth=(name, secret)).status_code == 200)


def test_guessing_a_password_through_a_client_is_throttled_like_everywhere(data: Path) -> None:
    """Ten wrong ones here make the eleventh wait over REST too."""
    with RunningGateway(data) as gateway, OAuth(gateway) as oauth:
        wrong = {"grant_type": "password", "username": "admin", "password": "wrong"}
        login = {"login": "admin", "password": "wrong"}
        for number in range(10):
            assert refused(oauth.ask(f"guess{number % 5}", data=wrong)) == (400, "invalid_grant")

        def waits() -> bool:
            guess(lambda: oauth.ask("guess", data=wrong).status_code)
            answer = oauth.ask("guess", data=wrong)
            if answer.status_code != 429:
                return False
            assert refused(answer) == (429, "temporarily_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            return httpx.post(gateway.rest_url + "/token", json=login).status_code == 429

        until(waits)


# What a token opens.


def test_the_status_page_needs_no_token(oauth: OAuth) -> None:
    """The status page answers without a token, and with an invalid one."""
    for token in (None, "rubbish"):
        assert oauth.get("/reltio/status", token).status_code == 200


@pytest.mark.parametrize("path", ["/reltio/tenants", "/reltio/permissions/t1/", "/reltio/permissions/none/"])
def test_without_a_valid_token_tenants_are_hidden(oauth: OAuth, path: str) -> None:
    """`invalid_token` makes a program fetch a new token, so it is used only when a token was sent."""
    refresh = oauth.ask("opens", data={"grant_type": "password", "username": "admin", "password": PASSWORD}).json()
    expired = jwt.encode({"payload": {"a": [0], "e": 1_700_000_000_000, "t": 1, "u": 1}}, SECRET, headers={"typ": None})
    for token, scheme, error in [
        (None, "", "unauthorized"),
        ("YTpi", "Basic", "unauthorized"),
        ("rubbish", "Bearer", "invalid_token"),
        (expired, "Bearer", "invalid_token"),
        (refresh["refresh_token"], "Bearer", "invalid_token"),
    ]:
        answer = oauth.get(path, token, scheme)
        assert answer.status_code == 401
        assert list(answer.json()) == ["error", "error_description"]
        assert answer.json()["error"] == error
        assert ("Authorization: Bearer TOKEN" in answer.json()["error_description"]) is (error == "unauthorized")
        assert ("invalid_token" in answer.text) is (error == "invalid_token")
        assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_an_unknown_path_of_tenants_says_where_the_right_ones_are(oauth: OAuth) -> None:
    """Under /reltio the text says that the path does not exist, and not only that something is missing."""
    answer = oauth.get("/reltio/nothing", None)
    assert answer.status_code == 404
    assert answer.json()["errorMessage"] == "There is no such path; GET / lists the interfaces"


def test_a_caller_sees_the_tenants_that_it_may_read(oauth: OAuth) -> None:
    """A client sees those of its privileges, an administrator all, another token of an administrator none."""
    oauth.client("sees", t2=["READ"], t1=["CREATE", "DELETE"])
    assert oauth.get("/reltio/tenants", oauth.token("sees")).json() == ["t2"]
    assert oauth.get("/reltio/tenants", oauth.gateway.token()).json() == ["t1", "t2"]
    minted = oauth.admin.post("/token/create", json={"userId": 1, "actions": ["ManageUser"]}).json()
    assert oauth.get("/reltio/tenants", minted["accessToken"]).json() == []


def test_a_caller_sees_its_privileges_in_a_tenant(oauth: OAuth) -> None:
    """404 for an unknown tenant comes before 403 for one that the caller may not read."""
    oauth.client("may", t1=["UPDATE", "CREATE"], t2=["DELETE"])
    token = oauth.token("may")
    for path in ("/reltio/permissions/t1/", "/reltio/permissions/t1", "/reltio/permissions/%741/"):
        assert oauth.get(path, token).json() == {"MDM.config.businessModel": ["READ", "CREATE", "UPDATE"]}
    whole = oauth.get("/reltio/permissions/t2/", oauth.gateway.token()).json()
    assert whole == {"MDM.config.businessModel": ["READ", "CREATE", "UPDATE", "DELETE"]}
    denied, missing = oauth.get("/reltio/permissions/t2/", token), oauth.get("/reltio/permissions/T1/", token)
    assert (denied.status_code, denied.json()["errorCode"]) == (403, 403)
    assert (missing.status_code, missing.json()["errorCode"]) == (404, 309)
    assert list(missing.json()) == ["severity", "errorMessage", "errorCode", "errorDetailMessage"]


def test_a_clients_token_opens_nothing_else(oauth: OAuth) -> None:
    """403 for every action over REST; a socket takes it, and refuses just the same."""
    token = oauth.token("else")
    with oauth.gateway.http(token) as client, oauth.gateway.socket("") as talk:
        for method, path in [
            ("GET", "/configuration"),
            ("PUT", "/configuration/a"),
            ("GET", "/user"),
            ("GET", "/user/current"),
            ("GET", "/tenant"),
            ("GET", "/client"),
            ("POST", "/client"),
            ("POST", "/token/create"),
            ("GET", "/device"),
        ]:
            assert client.request(method, path, json={} if method != "GET" else None).status_code == 403, path
        assert talk("authenticate", token=token) == {"action": "authenticate", "requestId": 1, "status": "success"}
        assert talk("configuration/list")["code"] == 403
        assert talk("token/create", payload={"userId": 1})["code"] == 403
        assert talk("server/info")["status"] == "success"
        assert oauth.admin.delete("/client/else").status_code == 204
        assert talk("configuration/list")["code"] == 401
        assert client.get("/configuration").status_code == 401
    answer = oauth.get("/reltio/tenants", token)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert refused(oauth.ask("else", data=ONE)) == (401, "invalid_client")


def test_all_is_as_before_after_a_restart(data: Path) -> None:
    """Secrets, privileges and existing tokens survive the process."""
    with RunningGateway(data) as gateway, OAuth(gateway) as before:
        auth, token = before.client("stays"), before.token("stays")
        assert gateway.stop() == 0
    with RunningGateway(data) as gateway:
        assert httpx.get(gateway.url + "/reltio/tenants", headers={"Authorization": f"Bearer {token}"}).json() == ["t1"]
        assert httpx.post(gateway.url + "/oauth/token", data=ONE, auth=auth).status_code == 200


def test_no_secret_is_ever_logged(data: Path) -> None:
    """Right and wrong passwords, secrets and tokens, wherever they were sent."""
    with RunningGateway(data) as gateway, OAuth(gateway) as oauth:
        name, secret = oauth.client("hush")
        password = {"grant_type": "password", "username": "admin", "password": PASSWORD}
        body = oauth.ask(name, params=password).json()
        body |= {"client_token": oauth.token(name)}
        oauth.ask(name, params=password | {"password": "hush-wrong"})
        oauth.ask(name, data=ONE, auth=(name, "hush-secret"))
        oauth.ask(name, data=ONE, auth=("hush-id", "hush-secret"))
        oauth.ask(name, data=ONE, auth=None, headers={"Authorization": "Basic hush-header"})
        oauth.ask(name, data={"grant_type": "refresh_token", "refresh_token": "hush-refresh"})
        oauth.ask(name, data={"grant_type": "hush-grant", "hush-parameter": "x"})
        oauth.get("/reltio/tenants", "hush-token")
        oauth.admin.post("/client", json={"clientId": name, "tenants": {"t1": ["READ"]}})
        assert gateway.stop() == 0
        lines = json.dumps(gateway.log) + "\n".join(gateway.noise)
        failures = [line for line in gateway.events("authentication failed") if line["how"] == "oauth/token"]
        assert [(line["reason"], line["login"]) for line in failures] == [
            ("InvalidCredentials", "hush"),
            ("InvalidCredentials", None),
        ]
        assert "hush-" not in lines
        for word in (secret, PASSWORD, body["access_token"], body["refresh_token"], body["client_token"]):
            assert word not in lines
            assert word.rpartition(".")[2] not in lines
