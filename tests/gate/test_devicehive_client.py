"""The official Python client of DeviceHive, as it comes from the package index, against this gateway."""

from __future__ import annotations

from typing import Any

import pytest
from devicehive import ApiResponseError
from devicehive.api import Api

from tests.gate.devicehive import ENDPOINTS, LOGIN, address, run
from tests.running import RunningGateway


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("credential", ["login", "access token", "refresh token"])
def test_the_client_connects_with_each_kind_of_credential(
    shared_gateway: RunningGateway, endpoint: str, credential: str
) -> None:
    """Login and password, an access token or a refresh token: the client is logged in and sees its user."""
    url = address(shared_gateway, endpoint)
    credentials = LOGIN
    if credential != "login":
        tokens = run(url, lambda api: api.create_token(1, actions=["*"]), **LOGIN)
        name = credential.replace(" ", "_")
        credentials = {name: tokens[name]}

    def work(api: Api) -> tuple[Any, ...]:
        return api.get_info(), api.get_cluster_info(), api.get_current_user().login

    info, cluster, login = run(url, work, **credentials)
    context = endpoint.split()[1]
    assert info["api_version"] == "4.1.0"
    if endpoint.startswith("ws"):
        assert info["rest_server_url"] == f"http://127.0.0.1:{shared_gateway.port}/{context}/rest"
    else:
        assert info["websocket_server_url"] == f"ws://127.0.0.1:{shared_gateway.port}/{context}/websocket"
    own = f"127.0.0.1:{shared_gateway.port}"
    assert cluster == {"bootstrap.servers": own, "zookeeper.connect": own}
    assert login == "admin"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_keeps_properties(shared_gateway: RunningGateway, endpoint: str) -> None:
    """Set, get, set again and delete a property; then it is gone, with the client's own error."""
    name = f"client.{endpoint.replace(' ', '.')}"

    def work(api: Api) -> None:
        assert api.set_property(name, "first") == {"entity_version": 1}
        assert api.get_property(name) == {"entity_version": 1, "name": name, "value": "first"}
        assert api.set_property(name, "ünï 😀") == {"entity_version": 2}
        assert api.get_property(name)["value"] == "ünï 😀"
        api.delete_property(name)
        with pytest.raises(ApiResponseError) as missing:
            api.get_property(name)
        assert missing.value.code == 404

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_makes_and_refreshes_tokens(shared_gateway: RunningGateway, endpoint: str) -> None:
    """A token that the client made opens a connection of its own; its refresh token gives new access tokens."""
    url = address(shared_gateway, endpoint)

    def work(api: Api) -> Any:
        api.refresh_token()
        return api.create_token(1, actions=["GetConfiguration"]), api.token.access_token

    tokens, refreshed = run(url, work, **LOGIN)
    assert set(tokens) == {"access_token", "refresh_token"}
    assert run(url, lambda api: api.get_current_user().login, access_token=refreshed) == "admin"

    def denied(api: Api) -> Any:
        with pytest.raises(ApiResponseError) as refused:
            api.set_property("client.denied", "1")
        return refused.value.code, api.refresh_token()

    code, renewed = run(url, denied, refresh_token=tokens["refresh_token"])
    assert code == 403
    assert renewed


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_lists_users(shared_gateway: RunningGateway, endpoint: str) -> None:
    """The first one is the administrator."""
    users = run(address(shared_gateway, endpoint), lambda api: [user.login for user in api.list_users()], **LOGIN)
    assert users[0] == "admin"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_tells_a_wrong_password(shared_gateway: RunningGateway, endpoint: str) -> None:
    """The error of a login is the client's own, with code and words."""
    with pytest.raises(ApiResponseError) as refused:
        run(address(shared_gateway, endpoint), lambda api: None, login="client.nobody", password="wrong horse")
    assert refused.value.code == 401
    assert "client.nobody" in str(refused.value)
