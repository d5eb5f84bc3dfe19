"""The wiring stays small enough to be read at once."""

from __future__ import annotations

from pathlib import Path

from hivewire import app


def test_the_wiring_has_under_160_lines() -> None:
    """What grows beyond that belongs to a component, not into the module that puts them together."""
    assert len(Path(app.__file__).read_text().splitlines()) < 160
