"""The official Python client of DeviceHive, unmodified, at work on networks, device types and devices."""

from __future__ import annotations

from typing import Any

import pytest
from devicehive import DeviceError, NetworkError
from devicehive.api import Api

from tests.gate.devicehive import LOGIN, address, code, run, unused
from tests.running import RunningGateway

ENDPOINTS = ["ws dh", "http dh"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("noun", ["network", "device_type"])
def test_the_client_keeps_networks_and_device_types(shared_gateway: RunningGateway, endpoint: str, noun: str) -> None:
    """Create, get, change, list by name and pattern, sort, page and remove; a name is unique, and what is gone is 404,
    all with the client's own errors."""

    def work(api: Api) -> None:
        create, get, list_all = (getattr(api, name) for name in (f"create_{noun}", f"get_{noun}", f"list_{noun}s"))
        prefix = unused(noun)
        first, second, third = (create(f"{prefix}-{letter}", f"described {letter}") for letter in "bac")
        assert first.id < second.id < third.id
        assert code(lambda: create(first.name, "x")) == 403
        found = get(second.id)
        assert (found.id, found.name, found.description) == (second.id, f"{prefix}-a", "described a")
        found.name, found.description = f"{prefix}-d", "changed"
        found.save()
        assert (get(second.id).name, get(second.id).description) == (f"{prefix}-d", "changed")
        found.name = first.name
        assert code(found.save) == 403

        def listed(**asked: Any) -> list[str]:
            return [each.name.removeprefix(prefix) for each in list_all(**asked)]

        pattern = f"{prefix}-_"
        assert listed(name=first.name) == ["-b"]
        assert listed(name_pattern=pattern) == ["-b", "-d", "-c"]
        assert listed(name_pattern=pattern, sort_field="name") == ["-b", "-c", "-d"]
        assert listed(name_pattern=pattern, sort_field="name", sort_order="DESC", take=2, skip=1) == ["-c", "-b"]
        assert listed(name_pattern=pattern, sort_field="id", sort_order="desc") == ["-c", "-d", "-b"]
        gone = third.id
        for each in (first, second, third):
            each.remove()
            assert each.id is None
        assert code(lambda: get(gone)) == 404
        assert listed(name_pattern=pattern) == []

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_keeps_devices(shared_gateway: RunningGateway, endpoint: str) -> None:
    """Put, get, change, move and remove; then it is gone, with the client's own errors."""

    def work(api: Api) -> None:
        home, office = (api.create_network(unused("home"), ""), api.create_network(unused("office"), ""))
        kind = api.create_device_type(unused("lamp"), "")
        device_id = unused("device")
        device = api.put_device(device_id, network_id=home.id, device_type_id=kind.id)
        shown = (device.id, device.name, device.data, device.network_id, device.device_type_id, device.is_blocked)
        assert shown == (device_id, device_id, None, home.id, kind.id, False)
        device.name, device.data, device.network_id, device.is_blocked = "ünï 😀", {"k": [1, None]}, office.id, True
        device.save()
        found = api.get_device(device_id)
        assert (found.name, found.data, found.network_id, found.is_blocked) == (
            "ünï 😀",
            {"k": [1, None]},
            office.id,
            True,
        )
        assert [each.id for each in home.list_devices()] == []
        assert [each.id for each in office.list_devices()] == [device_id]
        assert code(lambda: api.put_device("a_b", network_id=home.id)) == 400
        assert code(lambda: api.put_device(device_id, network_id=2**40)) == 400
        assert code(office.remove) == 400  # it has a device
        found.remove()
        with pytest.raises(DeviceError):
            found.save()
        assert code(lambda: api.get_device(device_id)) == 404
        assert code(device.remove) == 404
        for each in (office, home, kind):
            each.remove()
        with pytest.raises(NetworkError):
            office.list_devices()

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_registers_a_device_by_its_id_alone(shared_gateway: RunningGateway, endpoint: str) -> None:
    """It gets the first network of its user and the first device type; the sample device is there from the start."""

    def work(api: Api) -> None:
        device = api.put_device(unused("device"))
        assert (device.name, device.network_id, device.device_type_id) == (device.id, 1, 1)
        device.remove()
        assert api.get_device("e50d6085-2aba-48e9-b1c3-73c673e414be").name == "Sample Device"

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_lists_devices(shared_gateway: RunningGateway, endpoint: str) -> None:
    """By name, pattern, network and its name, sorted and paged; a network that is removed by force takes its devices
    with it."""

    def work(api: Api) -> None:
        network, other = api.create_network(unused("listed"), ""), api.create_network(unused("other"), "")
        kind = api.create_device_type(unused("listed"), "")
        prefix = unused("listed")
        for letter, place in (("b", network), ("a", other), ("c", network)):
            api.put_device(f"{prefix}-{letter}", network_id=place.id, device_type_id=kind.id)

        def listed(**asked: Any) -> list[str]:
            return [device.id.removeprefix(prefix) for device in api.list_devices(**asked)]

        pattern = f"{prefix}%"
        assert listed(name=f"{prefix}-a") == ["-a"]
        assert listed(name_pattern=pattern) == ["-b", "-a", "-c"]
        assert listed(network_id=network.id) == listed(network_name=network.name) == ["-b", "-c"]
        assert listed(name_pattern=pattern, network_id=other.id, network_name=network.name) == []
        assert listed(name_pattern=pattern, sort_field="name", take=1, skip=1) == ["-b"]
        assert listed(name_pattern=pattern, sort_field="network", sort_order="DESC") == ["-a", "-c", "-b"]
        assert [device.id for device in network.list_devices(sort_field="name", sort_order="desc", take=1)] == [
            f"{prefix}-c"
        ]
        network.remove(force=True)
        assert listed(name_pattern=pattern) == ["-a"]
        assert code(lambda: api.get_device(f"{prefix}-b")) == 404
        kind.remove(force=True)
        assert listed(name_pattern=pattern) == []
        other.remove()

    run(address(shared_gateway, endpoint), work, **LOGIN)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_client_is_held_to_the_networks_and_types_of_its_token(
    shared_gateway: RunningGateway, endpoint: str
) -> None:
    """With a token of one network, devices elsewhere and devices that do not exist are 403, and lists have what is
    within. A token for everything tells that a device does not exist."""
    url = address(shared_gateway, endpoint)

    def prepare(api: Api) -> tuple[list[Any], str]:
        inside, outside = (api.create_network(unused(where), "") for where in ("inside", "outside"))
        kind = api.create_device_type(unused("kind"), "")
        prefix = unused("held")
        api.put_device(f"{prefix}-in", network_id=inside.id, device_type_id=kind.id)
        api.put_device(f"{prefix}-out", network_id=outside.id, device_type_id=kind.id)
        tokens = [
            api.create_token(1, actions=["GetDevice", "GetNetwork"], network_ids=[inside.id], device_type_ids=["*"]),
            api.create_token(1, actions=["GetDevice"], network_ids=["*"], device_type_ids=["*"]),
        ]
        return tokens, prefix

    (narrow, wide), prefix = run(url, prepare, **LOGIN)

    def within(api: Api) -> None:
        assert [device.id for device in api.list_devices(name_pattern=f"{prefix}%")] == [f"{prefix}-in"]
        assert api.get_device(f"{prefix}-in").id == f"{prefix}-in"
        assert code(lambda: api.get_device(f"{prefix}-out")) == 403
        assert code(lambda: api.get_device(f"{prefix}-none")) == 403
        assert len(api.list_networks()) == 1

    run(url, within, refresh_token=narrow["refresh_token"])

    def everywhere(api: Api) -> None:
        assert len(api.list_devices(name_pattern=f"{prefix}%")) == 2
        assert code(lambda: api.get_device(f"{prefix}-none")) == 404
        assert code(lambda: api.put_device(f"{prefix}-new")) == 403  # the token cannot register

    run(url, everywhere, access_token=wide["access_token"])
