"""Who reaches which device: the tables of devices, section 0.3, and of its addendum, section 4."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivewire.access.identity import Identity
from hivewire.access.users import User, UserContent
from hivewire.devices.scope import Scope, scope_of
from hivewire_protocol.errors import AccessDenied, NotFound
from hivewire_protocol.nouns.user import Role


class Place(NamedTuple):
    """Where a device is."""

    network: int
    type: int


IDS = range(1, 4)
EVERYWHERE = [Place(*place) for place in product(IDS, IDS)]
SETS = st.frozensets(st.sampled_from(IDS))
GRANTS = st.none() | SETS


def scope(
    networks: frozenset[int] | None,
    types: frozenset[int] | None,
    role: Role,
    members: frozenset[int],
    *,
    all_types: bool = False,
) -> Scope:
    """The scope of a token of a user with these memberships and that flag."""
    content = UserContent("", role, all_device_types_available=all_types, networks=sorted(members))
    return scope_of(Identity(7, "john", 0, 0, networks, types), User(7, "john", content, True, 1))


@given(GRANTS, GRANTS, st.sampled_from(Role), SETS, st.booleans())
def test_a_device_is_reached_by_token_and_membership(
    networks: frozenset[int] | None, types: frozenset[int] | None, role: Role, members: frozenset[int], flag: bool
) -> None:
    """The token must grant its network and its type, and a client must be a member of the network. The flag for all
    device types makes what the token says about types meaningless. An administrator needs no membership."""
    found = scope(networks, types, role, members, all_types=flag)
    for place in EVERYWHERE:
        expected = (
            (networks is None or place.network in networks)
            and (flag or types is None or place.type in types)
            and (role == Role.ADMIN or place.network in members)
        )
        assert found.covers(place) == expected
        assert (found.reached is None or place.network in found.reached) or not expected


@given(GRANTS, GRANTS, st.sampled_from(Role), SETS, st.booleans(), st.booleans())
def test_only_an_unrestricted_token_learns_that_a_device_does_not_exist(
    networks: frozenset[int] | None,
    types: frozenset[int] | None,
    role: Role,
    members: frozenset[int],
    flag: bool,
    follows: bool,
) -> None:
    """404 for a token of all networks and types, 403 for every other one, whatever the role; a client's unrestricted
    token gets 403 when it subscribes or polls."""
    found = scope(networks, types, role, members, all_types=flag).refusal("lamp", follows=follows)
    unrestricted = networks is None and (flag or types is None)
    if unrestricted and not (follows and role == Role.CLIENT):
        assert (type(found), str(found)) == (NotFound, "Device with such deviceId = lamp not found")
    else:
        assert type(found) is AccessDenied


@pytest.mark.parametrize("role", Role)
def test_an_absent_list_of_networks_reaches_nothing(role: Role) -> None:
    """A token without `n` reaches no device, whoever its user is."""
    found = scope(frozenset(), None, role, frozenset(IDS))
    assert not any(map(found.covers, EVERYWHERE))


def test_a_token_of_nobody_reaches_nothing() -> None:
    """The token of an OAuth client, or of a user who was deleted, has no scope."""
    found = scope_of(Identity(0, "program", 0, 0, None, None), None)
    assert not any(map(found.covers, EVERYWHERE))
    assert found.reached == frozenset()
