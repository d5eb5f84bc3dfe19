"""The permissions that a token's list of actions grants."""

from __future__ import annotations

import pytest

from hivewire_protocol.permissions import ALL, BY_NAME, CLIENT, Permission, effective

NUMBERS = {
    "GetNetwork": 2,
    "GetDevice": 3,
    "GetDeviceNotification": 4,
    "GetDeviceCommand": 5,
    "RegisterDevice": 6,
    "CreateDeviceCommand": 7,
    "UpdateDeviceCommand": 8,
    "CreateDeviceNotification": 9,
    "GetCurrentUser": 10,
    "UpdateCurrentUser": 11,
    "ManageUser": 12,
    "ManageConfiguration": 13,
    "ManageNetwork": 14,
    "ManageToken": 15,
    "ManagePlugin": 16,
    "GetDeviceType": 17,
    "ManageDeviceType": 18,
    "GetConfiguration": 100,
    "SyncConfiguration": 101,
    "RevealSecret": 102,
}


def test_names_and_numbers_are_those_of_the_table() -> None:
    """Every action has the name and number that existing tokens use."""
    assert {permission.wire_name: int(permission) for permission in ALL} == NUMBERS
    assert {"*": 0} | {name.lower(): number for name, number in NUMBERS.items()} == BY_NAME


def test_zero_means_everything() -> None:
    """A token with action 0 may do everything, whatever else stands in its list."""
    assert effective([0]) == effective([1, 0, 5]) == ALL
    assert Permission.GET_CONFIGURATION in ALL


def test_an_empty_list_means_the_client_set_without_any_configuration() -> None:
    """A token with an empty list has the client set, which neither reads nor writes configurations."""
    assert effective([]) == CLIENT == {*range(2, 12), 15, 16, 17}
    assert not CLIENT & {Permission.GET_CONFIGURATION, Permission.MANAGE_CONFIGURATION, Permission.MANAGE_USER}


@pytest.mark.parametrize("numbers", [None, [1], [1, 1]])
def test_an_absent_list_and_the_list_of_one_grant_nothing(numbers: list[int] | None) -> None:
    """A token without a list, or with `[1]`, may do nothing that needs a right."""
    assert effective(numbers) == frozenset()


@pytest.mark.parametrize("number", sorted(NUMBERS.values()))
def test_a_single_number_grants_itself(number: int) -> None:
    """Each number grants its own action; managing configurations includes reading them."""
    expected = {13, 100} if number == 13 else {number}
    assert effective([number, 1]) == expected


@pytest.mark.parametrize("number", [-1, 19, 99, 103, 2**40])
def test_a_number_that_stands_for_nothing_makes_the_list_invalid(number: int) -> None:
    """A token with an unknown action is not valid."""
    with pytest.raises(ValueError):
        effective([2, number])
