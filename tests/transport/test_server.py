"""What the server decides when it stops."""

from __future__ import annotations

import pytest

from hivewire.settings import Settings
from hivewire.transport.server import spread_of


@pytest.mark.parametrize(
    ("setting", "clients", "seconds"),
    [(30.0, 0, 1.0), (30.0, 1, 1.0), (30.0, 100, 1.0), (30.0, 700, 7.0), (30.0, 100_000, 30.0), (0.1, 1, 0.1)],
)
def test_few_clients_reconnect_soon_and_many_spread_out(setting: float, clients: int, seconds: float) -> None:
    """A hundred in a second, but all within the setting."""
    assert spread_of(Settings(drain_spread=setting), clients) == seconds
