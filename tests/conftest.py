"""Fixtures that more than one ring of tests uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import RunningGateway, Talk


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for all tests that do not mind what others left in it: use names of your own."""
    with RunningGateway(tmp_path_factory.mktemp("shared") / "hivewire.db") as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


@pytest.fixture(scope="session")
def admin_token(shared_gateway: RunningGateway) -> str:
    """An access token of the shared gateway's administrator."""
    return shared_gateway.token()


@pytest.fixture
def talk(shared_gateway: RunningGateway, admin_token: str) -> Iterator[Talk]:
    """An authorised socket to the shared gateway."""
    with shared_gateway.socket(admin_token) as socket:
        yield socket


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A place for a data file that does not exist yet."""
    return tmp_path / "hivewire.db"
