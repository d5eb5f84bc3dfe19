"""Long lists and batches of site properties do not hold up other requests: counted in iterations of the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from hivewire.dialects import DIALECTS
from hivewire.dialects.properties import batches
from hivewire.dialects.properties.listing import TOGETHER
from hivewire.http import application, body
from hivewire.http.application import Application
from hivewire.http.routes import Context
from hivewire.transport.admission import Admission
from hivewire.transport.events import EventStreams
from hivewire_protocol.properties import elements
from hivewire_protocol.properties.batches import BatchEntry, read_batch
from hivewire_protocol.properties.markup import Node
from tests.world import World

API_KEY = "an api key, long enough"
MANY = 20 * TOGETHER
SITE = "/@api/deki/site/properties"
XML = {"Content-Type": "application/xml"}


class OnConnection:
    """Stands in for a connection whose peer reads everything at once, and for what is done with uvicorn's cycles."""

    flow = SimpleNamespace(write_paused=False)
    transport = SimpleNamespace(is_closing=lambda: False)
    anonymous = False
    delayed_until = 0.0
    scope = None

    def __init__(self, app: Any) -> None:
        self._app = app
        self._whole: dict[Any, list[dict[str, Any]]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope | {"hivewire.connection": self}, receive, send)
        for message in self._whole.pop(send, []):
            await send(message)

    def logged_in(self) -> None: ...

    def hold(self, more: int) -> None: ...

    def body_that_came(self, receive: Any) -> None: ...

    def send_whole(self, status: int, headers: Any, common: Any, body: bytes, send: Any) -> None:
        start = {"type": "http.response.start", "status": status, "headers": [*headers, *common]}
        self._whole[send] = [start, {"type": "http.response.body", "body": body}]


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole application over many properties, in the event loop of the test."""
    world = await World(api_key=API_KEY, property_bytes=1 << 20).open()
    for start in range(0, MANY, TOGETHER):
        await world.store(*(f"p.{number}" for number in range(start, start + TOGETHER)))
    admission, streams = Admission(world.services.settings), EventStreams(world.dispatcher)
    app = OnConnection(Application(DIALECTS, Context(world.dispatcher, admission, streams, lambda for_writes: None)))
    monkeypatch.setattr(application, "send_whole", app.send_whole)
    monkeypatch.setattr(body, "body_that_came", app.body_that_came)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", params={"apikey": API_KEY}) as client:
        yield client
    await world.close()


@asynccontextmanager
async def rendered_in_each_iteration(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counter[int]]:
    """How many properties are rendered in each iteration of the event loop, by its number."""
    iteration = 0
    counts: Counter[int] = Counter()
    render = elements.property_element

    async def count_iterations() -> None:
        nonlocal iteration
        while True:
            iteration += 1
            await asyncio.sleep(0)

    def counted(*arguments: Any, **options: Any) -> Node:
        counts[iteration] += 1
        return render(*arguments, **options)

    monkeypatch.setattr(elements, "property_element", counted)
    counting = asyncio.create_task(count_iterations())
    yield counts
    counting.cancel()


@pytest.mark.parametrize("query", [{}, {"names": "p.*"}, {"contentcutoff": "60000", "dream.out.format": "json"}])
async def test_a_long_list_is_rendered_in_slices(
    site: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    """A short request that comes after it is answered before it."""
    order: list[str] = []

    async def ask(path: str, **params: str) -> httpx.Response:
        answer = await site.get(path, params=params)
        order.append(path)
        return answer

    async with rendered_in_each_iteration(monkeypatch) as counts:
        answers = await asyncio.gather(ask(SITE, **query), ask(f"{SITE}/p.1"))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert counts.total() == MANY
    assert max(counts.values()) <= TOGETHER
    assert order == [f"{SITE}/p.1", SITE]


async def test_many_wildcards_are_compared_in_slices(site: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no name matches, nothing is rendered, but all names are compared."""
    iterations = 0

    async def count_iterations() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_iterations())
    answer = await site.get(SITE, params={"names": ",".join(f"*x{number}" for number in range(1_000))})
    counting.cancel()
    assert 'count="0"' in answer.text
    assert iterations > MANY * 1_000 / 5_000


@pytest.mark.parametrize("deleting", [False, True])
async def test_a_long_batch_is_done_in_slices(
    site: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, deleting: bool
) -> None:
    """It is parsed in another thread, and a short request that comes after it is answered before it."""
    parsed_in: list[int] = []
    order: list[str] = []

    def read(data: bytes, charset: str | None) -> list[BatchEntry]:
        parsed_in.append(threading.get_ident())
        return read_batch(data, charset)

    async def ask(method: str, path: str, **options: Any) -> httpx.Response:
        answer = await site.request(method, path, **options)
        order.append(path)
        return answer

    monkeypatch.setattr(batches, "read_batch", read)
    inner = "" if deleting else '<contents type="text/plain">new</contents>'
    entries = "".join(f'<property name="{"p" if deleting else "n"}.{n}">{inner}</property>' for n in range(MANY))
    async with rendered_in_each_iteration(monkeypatch) as counts:
        batch = ask("PUT", SITE, content=f"<properties>{entries}</properties>", headers=XML)
        answers = await asyncio.gather(batch, ask("GET", f"{SITE}/p.1"))
    assert answers[0].status_code == 200
    assert parsed_in != [threading.get_ident()]
    assert counts.total() == MANY
    assert max(counts.values()) <= TOGETHER
    assert order == [f"{SITE}/p.1", SITE]


async def test_large_batches_are_few_at_a_time(site: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large batches over the limit get 503 at once and write nothing; small ones are always accepted."""
    monkeypatch.setattr(batches, "WAITING_BATCHES", 3)
    large = "<properties>" + "".join(f'<property name="nothing.{n}"/>' for n in range(2_000)) + "</properties>"
    small = '<properties><property name="few"><contents type="text/plain">x</contents></property></properties>'
    puts = [site.put(SITE, content=large, headers=XML) for _ in range(5)]
    answers = await asyncio.gather(*puts, site.put(SITE, content=small, headers=XML))
    assert sorted(answer.status_code for answer in answers) == [200, 207, 207, 207, 503, 503]
    assert (await site.put(SITE, content=large, headers=XML)).status_code == 207
