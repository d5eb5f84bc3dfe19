"""Fixtures for several files of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.documented import hold_response
from tests.gate.wire import Wire, opened
from tests.running import RunningGateway


@pytest.fixture
def wire(shared_gateway: RunningGateway, admin_token: str) -> Iterator[Wire]:
    """A socket of the administrator."""
    with opened(shared_gateway, admin_token) as wire:
        yield wire


@pytest.fixture(autouse=True)
def documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer that httpx gets in these tests is as the OpenAPI document says."""
    send = httpx.Client.send

    def hold(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(self, request, **options)
        hold_response(request, response)
        return response

    monkeypatch.setattr(httpx.Client, "send", hold)
