"""A browser for all tests of the dashboard, and pages that are logged in."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import launched
from tests.dashboard.visit import Visit, visiting
from tests.running import RunningGateway


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser belongs to one event loop, so all tests that use it run in that one."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium."""
    async with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for tests that do not mind what others left in it: use names of your own."""
    with RunningGateway(tmp_path_factory.mktemp("dashboard") / "hivewire.db") as gateway:
        yield gateway
        assert not gateway.events("unexpected error"), gateway.events("unexpected error")
        assert not gateway.noise, gateway.noise


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def administrator(browser: Browser, gateway: RunningGateway) -> AsyncIterator[Visit]:
    """The page of all tests that do not mind what others left in its storage: a new browser takes two seconds."""
    async with visiting(browser, gateway) as visit:
        yield visit


@pytest_asyncio.fixture(loop_scope="session")
async def visit(administrator: Visit) -> AsyncIterator[Visit]:
    """The administrator, at no screen yet."""
    await administrator.again()
    yield administrator
    administrator.guard.check()
