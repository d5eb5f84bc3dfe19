"""The gateways that the contract suite is tried with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from hivewire_client.testing import FakeGateway
from tests.clients.gateways import Gateway, RealGateway

Start = Callable[..., Gateway]


@pytest.fixture(params=[RealGateway, FakeGateway], ids=["real", "fake"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start a gateway with these configurations."""
    with ExitStack() as stack:

        def started(configurations: dict[str, Any] | None = None) -> Gateway:
            gateway: Gateway = stack.enter_context(request.param(configurations))
            return gateway

        yield started


@pytest.fixture
def fake() -> Iterator[FakeGateway]:
    """A fake gateway."""
    with FakeGateway() as gateway:
        yield gateway
