"""The official Python client of DeviceHive, unmodified: users, what they belong to, and a client of one network."""

from __future__ import annotations

from typing import Any

import pytest
from devicehive import ApiResponseError
from devicehive.api import Api
from devicehive.user import User

from tests.gate.devicehive import LOGIN, address, code, run, unused
from tests.running import RunningGateway

ENDPOINTS = ["ws dh", "http dh"]
PASSWORD, OTHER = "the password of a client", "another password"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_keeps_users(shared_gateway: RunningGateway, endpoint: str) -> None:
    """Create, get, change, list by login, pattern, role and status, sort, page and remove; then it is 404."""
    url = address(shared_gateway, endpoint)

    def work(api: Api) -> None:
        prefix = unused("user")
        first, second = (api.create_user(f"{prefix}-{each}", PASSWORD, User.CLIENT_ROLE, {"n": each}) for each in "ba")
        assert code(lambda: api.create_user(first.login, PASSWORD, User.CLIENT_ROLE, None)) == 403
        found = api.get_user(first.id)
        assert (found.login, found.role, found.status, found.data) == (first.login, 1, 0, {"n": "b"})
        assert (found.last_login, found.intro_reviewed, found.all_device_types_available) == (None, False, True)
        found.role, found.status, found.data = User.ADMINISTRATOR_ROLE, User.DISABLED_STATUS, {"changed": []}
        found.save()
        changed = api.get_user(first.id)
        assert (changed.role, changed.status, changed.data) == (0, 2, {"changed": []})

        def listed(**asked: Any) -> list[str]:
            return [user.login.removeprefix(prefix) for user in api.list_users(**asked)]

        pattern = f"{prefix}%"
        assert listed(login=second.login) == ["-a"]
        assert listed(login_pattern=pattern) == ["-b", "-a"]
        assert listed(login_pattern=pattern, role=User.CLIENT_ROLE) == ["-a"]
        assert listed(login_pattern=pattern, status=User.DISABLED_STATUS) == ["-b"]
        assert listed(login_pattern=pattern, sort_field="login") == ["-a", "-b"]
        assert listed(login_pattern=pattern, sort_field="login", sort_order="DESC", take=1, skip=1) == ["-a"]
        gone = first.id
        for user in (first, second):
            user.remove()
        assert code(lambda: api.get_user(gone)) == 404
        assert listed(login_pattern=pattern) == []

    run(url, work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_sets_a_password(shared_gateway: RunningGateway, endpoint: str) -> None:
    """The old one is refused, and the new one opens a connection; the time of that login is shown."""
    url, login = address(shared_gateway, endpoint), unused("password")
    user_id = run(url, lambda api: api.create_user(login, PASSWORD, User.CLIENT_ROLE, None).id, **LOGIN)
    run(url, lambda api: api.get_user(user_id).update_password(OTHER), **LOGIN)
    with pytest.raises(ApiResponseError) as refused:
        run(url, lambda api: None, login=login, password=PASSWORD)
    assert refused.value.code == 401
    assert run(url, lambda api: api.get_current_user().id, login=login, password=OTHER) == user_id
    assert run(url, lambda api: api.get_user(user_id).last_login, **LOGIN) is not None


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_assigns_networks(shared_gateway: RunningGateway, endpoint: str) -> None:
    """Twice is once; an unknown network is 404."""

    def work(api: Api) -> None:
        user = api.create_user(unused("member"), PASSWORD, User.CLIENT_ROLE, None)
        network = api.create_network(unused("network"), "described")
        assert user.list_networks() == []
        for _ in range(2):
            user.assign_network(network.id)
        assert [(each.id, each.name, each.description) for each in user.list_networks()] == [
            (network.id, network.name, "described")
        ]
        for _ in range(2):
            user.unassign_network(network.id)
        assert user.list_networks() == []
        assert code(lambda: user.assign_network(2**40)) == 404
        assert code(lambda: user.unassign_network(2**40)) == 404

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_assigns_device_types(shared_gateway: RunningGateway, endpoint: str) -> None:
    """A user has all types, or those that it is assigned."""

    def work(api: Api) -> None:
        user = api.create_user(unused("typed"), PASSWORD, User.CLIENT_ROLE, None)
        kind = api.create_device_type(unused("kind"), "")
        assert kind.id in [each.id for each in user.list_device_types()]
        user.disallow_all_device_types()
        assert user.list_device_types() == []
        user.assign_device_type(kind.id)
        assert [each.name for each in user.list_device_types()] == [kind.name]
        assert code(lambda: user.assign_device_type(2**40)) == 404
        user.unassign_device_type(kind.id)
        assert user.list_device_types() == []
        user.allow_all_device_types()
        assert len(user.list_device_types()) > 1
        assert api.get_user(user.id).all_device_types_available

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("all_types", [True, False])
def test_a_client_of_one_network_works_in_it(shared_gateway: RunningGateway, endpoint: str, all_types: bool) -> None:
    """It registers, changes, lists and removes devices of its network and its types, and sees nothing else. What it
    does not reach and what does not exist are 403 alike."""
    url, login = address(shared_gateway, endpoint), unused("client")

    def prepare(api: Api) -> tuple[int, int, str]:
        network, kind = api.create_network(unused("own"), ""), api.create_device_type(unused("own"), "")
        user = api.create_user(login, PASSWORD, User.CLIENT_ROLE, None, all_types)
        user.assign_network(network.id)
        if not all_types:
            user.assign_device_type(kind.id)
        return network.id, kind.id, api.put_device(unused("foreign"), network_id=1).id

    network_id, kind_id, foreign = run(url, prepare, **LOGIN)

    def work(api: Api) -> None:
        assert [network.id for network in api.list_networks()] == [network_id]
        types = [kind.id for kind in api.list_device_types()]
        assert (types == [kind_id]) is not all_types
        device = api.put_device(unused("own"))
        assert (device.network_id, device.device_type_id) == (network_id, min(types))
        device.data = {"on": True}
        device.save()
        assert [(each.id, each.data) for each in api.list_devices()] == [(device.id, {"on": True})]
        for refused in (
            lambda: api.get_device(foreign),
            lambda: api.get_device("client-unknown"),
            lambda: api.put_device(foreign),
            lambda: api.put_device("client-new", network_id=1),
            lambda: api.get_network(1),
            lambda: api.create_network("client-network", ""),
            lambda: api.list_users(),
        ):
            assert code(refused) == 403
        device.remove()
        assert api.list_devices() == []

    run(url, work, login=login, password=PASSWORD)
    run(url, lambda api: api.get_device(foreign).remove(), **LOGIN)
