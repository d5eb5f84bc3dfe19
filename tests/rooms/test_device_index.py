"""The index of devices, against a list that is searched."""

from __future__ import annotations

import gc
import tracemalloc

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from hivewire.devices.index import DeviceContent, DeviceIndex
from hivewire.ledger.records import Change
from hivewire.ledger.state import Kind

IDS = st.sampled_from("abcde")
PLACES = st.sampled_from((1, 2, 300))
STEPS = st.lists(st.tuples(IDS, PLACES | st.none(), PLACES), max_size=40)


def change(device_id: str, record_id: int, content: DeviceContent | None) -> Change:
    """A change of a device's record, as far as the index looks at it."""
    encoded = msgspec.json.encode(content) if content is not None else None
    return Change(
        revision=1, kind="device", key=device_id, id=record_id, version=1, content=encoded, content_type="", time=0
    )


@given(STEPS)
def test_the_index_is_what_a_search_of_all_devices_finds(steps: list[tuple[str, int | None, int]]) -> None:
    """After any puts, moves and deletes: by id, by networks, by types and all of them, in the order of creation; and
    each step tells the device before and after it."""
    index = DeviceIndex()
    model: dict[str, tuple[int, DeviceContent]] = {}
    for made, (device_id, network, device_type) in enumerate(steps, 1):
        former = model.pop(device_id, None)
        record_id = former[0] if former is not None else made
        content = None
        if network is not None:
            content = DeviceContent(name=f"n{made}", network=network, type=device_type)
            model[device_id] = (record_id, content)
        before, after = index.apply(change(device_id, record_id, content))
        assert (before and before.content) == (former and former[1])
        assert (after and (after.id, after.record_id, after.content)) == (content and (device_id, record_id, content))
        in_order = sorted(model.items(), key=lambda item: item[1][0])
        assert [device.id for device in index.all()] == [key for key, _ in in_order]
        assert len(index) == len(model)
        for wanted in ([], [1], [300, 1], [2, 1, 300, 4]):
            assert [device.id for device in index.networks.within(wanted)] == [
                key for key, (_, content) in in_order if content.network in wanted
            ]
            assert [device.id for device in index.types.within(wanted)] == [
                key for key, (_, content) in in_order if content.type in wanted
            ]
        assert {*index.networks.ids()} == {content.network for _, content in model.values()}
        for key, (record, content) in model.items():
            found = index.get(key)
            assert found is not None
            assert (found.record_id, found.network, found.type) == (record, content.network, content.type)


def test_devices_may_change_while_they_are_gone_through() -> None:
    """What was asked for is what was there at that time."""
    index = DeviceIndex()
    for number, device_id in enumerate("abc", 1):
        index.apply(change(device_id, number, DeviceContent(name=device_id, network=1, type=1)))
    for devices in (index.all(), index.networks.within([1]), index.networks.within([1, 2])):
        assert next(devices).id == "a"
        index.apply(change("d", 4, DeviceContent(name="d", network=1, type=1)))
        assert [device.id for device in devices] == ["b", "c"]
        index.apply(change("d", 4, None))


def test_data_is_kept_as_it_was_given() -> None:
    """Numbers keep their digits; nothing is added to or taken from an object."""
    data = b'{"a": 1.0, "b": {}, "c": 123456789012345678901234567890}'
    index = DeviceIndex()
    index.apply(change("a", 1, DeviceContent(name="a", network=1, type=1, data=Raw(data))))
    found = index.get("a")
    assert found is not None
    assert found.content.data == Raw(data)


def test_a_device_takes_little_memory() -> None:
    """At most 1 KiB for its record and its place in the index, with an id of 36 characters and 100 bytes of data."""
    data = Raw(b'{"serial":"%b"}' % (b"0" * 87))
    assert len(bytes(data)) == 100
    kind, index, many = Kind(), DeviceIndex(), 2_000
    gc.collect()
    tracemalloc.start()
    for number in range(1, many + 1):
        content = DeviceContent(name=f"Thermostat {number}", network=1_000 + number % 50, type=300, data=data)
        made = Change(
            revision=1_000_000 + number,
            kind="device",
            key=f"00000000-0000-0000-0000-{number:012}",
            id=100_000 + number,
            version=1,
            content=msgspec.json.encode(content),
            content_type="application/json",
            time=1_772_357_400_123 + number,
        )
        kind.apply(made)
        index.apply(made)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / many <= 1_024
