"""Fixtures for several files of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gate.wire import Wire, opened
from tests.running import RunningGateway


@pytest.fixture
def wire(shared_gateway: RunningGateway, admin_token: str) -> Iterator[Wire]:
    """A socket of the administrator."""
    with opened(shared_gateway, admin_token) as wire:
        yield wire
