"""The official Python client of DeviceHive, unmodified, at work on users."""

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
    """Create, change, and list by login, pattern, role and status, sorted and paged; a login is unique."""

    def work(api: Api) -> None:
        prefix = unused("user")
        first, second = (api.create_user(f"{prefix}-{each}", PASSWORD, User.CLIENT_ROLE, {"n": each}) for each in "ba")
        assert code(lambda: api.create_user(first.login, PASSWORD, User.CLIENT_ROLE, None)) == 403
        (found,) = api.list_users(login=first.login)
        assert (found.id, found.login, found.role, found.status, found.data) == (
            first.id,
            first.login,
            1,
            0,
            {"n": "b"},
        )
        assert (found.last_login, found.intro_reviewed, found.all_device_types_available) == (None, False, True)
        found.role, found.status, found.data = User.ADMINISTRATOR_ROLE, User.DISABLED_STATUS, {"changed": []}
        found.save()
        (changed,) = api.list_users(login=first.login)
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

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_sets_a_password(shared_gateway: RunningGateway, endpoint: str) -> None:
    """The old one is refused, and the new one opens a connection; the time of that login is shown."""
    url, login = address(shared_gateway, endpoint), unused("password")
    user = run(url, lambda api: api.create_user(login, PASSWORD, User.CLIENT_ROLE, None), **LOGIN)
    run(url, lambda api: api.list_users(login=login)[0].update_password(OTHER), **LOGIN)
    with pytest.raises(ApiResponseError) as refused:
        run(url, lambda api: None, login=login, password=PASSWORD)
    assert refused.value.code == 401
    assert run(url, lambda api: api.get_current_user().id, login=login, password=OTHER) == user.id
    assert run(url, lambda api: api.list_users(login=login)[0].last_login, **LOGIN) is not None
