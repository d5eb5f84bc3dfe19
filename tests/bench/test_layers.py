"""A small run of the measurements of fleets."""

from __future__ import annotations

from pathlib import Path

from bench import layers


def test_devices_get_each_edit_once_and_every_bound_has_a_figure(tmp_path: Path) -> None:
    """The load counts every frame, and ends with an error at one too many or too few."""
    rows = layers.fleets(tmp_path, 1, lambda what: None, online=200, registered=1_000, seconds=0.05)
    assert {row.name for row in rows if row.met is None} == {
        "raw fan-out to 200, p50",
        "edit until 200 devices have it, p50",
        "edit for 10 of 200 online and 1,000 devices, p50",
        "effective values of 20 names",
        "reports",
        "200 devices resume",
    }
    assert len([row for row in rows if row.met is not None]) == 9
    assert all(row.value > 0 for row in rows if not row.name.startswith("memory"))
