"""Two thousand names: the table holds few of them at a time, and changes in bursts disturb nothing that is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from playwright.async_api import ViewportSize, expect

from hivewire_client import Hivewire
from tests.dashboard.visit import WIDE, Visit, one
from tests.running import RunningGateway

NAMES = [f"thousands.{number % 20:02}.{number:04}" for number in range(2_000)]
EDITED = NAMES[0]

SHOWN = """
async () => {
    const frame = () => new Promise(requestAnimationFrame), scroller = document.querySelector(".grid .rows");
    const rows = () => [...scroller.querySelectorAll(".row:not(.gone)")], found = {};
    const text = (row, of) => row.querySelector(`.${of}`).textContent;
    const {height} = rows()[0].getBoundingClientRect(), step = scroller.clientHeight - 2 * height;
    const last = () => Math.floor((scroller.scrollTop + scroller.clientHeight) / height) + 1;
    const drawn = () => scroller.querySelector(`[aria-rowindex="${last()}"]`);
    let most = 0;
    for (let at = 0; ; at += step) {
        scroller.scrollTop = at;
        for (let turn = 0; turn < 1 || (turn < 20 && !drawn()); turn++) await frame();
        most = Math.max(most, scroller.querySelectorAll("[role=row]").length);
        for (const row of rows()) found[text(row, "name")] = [text(row, "version"), text(row, "value")];
        if (at + scroller.clientHeight >= scroller.scrollHeight) return {most, found};
    }
}
"""
"""Scroll the table from top to bottom: the most rows that are in the document, and the version and value of each name.

What was deleted a moment ago is still there, struck. The rows of another place are drawn within a frame or two.
"""

TALL: ViewportSize = {"width": 1280, "height": 1_700}
"""The table has as many rows as it ever has: it takes the fewest steps to the bottom."""


async def shown(visit: Visit) -> Any:
    """What the table shows, all of it."""
    await expect(visit.page.locator(".grid .row").first).to_be_visible()
    await visit.page.set_viewport_size(TALL)
    found = await visit.page.evaluate(SHOWN)
    await visit.page.set_viewport_size(WIDE)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(gateway: RunningGateway) -> AsyncIterator[Hivewire]:
    """Somebody else, who has written all these names and has another socket than the page."""
    async with Hivewire(gateway.url, token=gateway.token(), names=[]) as hw:
        for start in range(0, len(NAMES), 1_000):
            async with hw.transaction() as transaction:
                for name in NAMES[start : start + 1_000]:
                    transaction.put(name, f"value of {name}")
        yield hw


async def held(hw: Hivewire) -> dict[str, list[str]]:
    """The version and the value of each name, as the ledger has them."""
    found = await hw.list("thousands.*")
    return {entry.name: [str(entry.version), str(entry.value)] for entry in found}


async def burst(hw: Hivewire, number: int) -> None:
    """A hundred changes, each sent before the first of them is answered: values, new names, and deletes."""
    changed = [hw.put(name, f"burst {number} of {name}") for name in NAMES[number + 1 :: 20]]
    made = [hw.put(f"thousands.new.{number}.{each}", "new") for each in range(5)]
    await asyncio.gather(*changed, *made, hw.delete(NAMES[-number - 1]))


async def test_a_table_of_two_thousand_names_holds_few_rows(visit: Visit, client: Hivewire) -> None:
    """Wherever it is scrolled there are at most a hundred; all of them are reached; a search leaves what it finds."""
    await visit.open("c?below=thousands.")
    found = await shown(visit)
    assert 10 < found["most"] <= 100
    assert found["found"] == await held(client)
    search, summary = visit.page.get_by_role("searchbox"), visit.page.locator(".summary")
    for text, count in (("07.", 100), ("*.1999*", 1), ("=of thousands.07.002", 1)):
        await search.fill(text)
        await expect(summary).to_contain_text(f"{count} configuration")


async def test_bursts_of_changes_leave_an_open_editor_and_a_dialog_alone(visit: Visit, client: Hivewire) -> None:
    """What is typed meanwhile goes where the cursor is; nothing closes. Then the table has what the ledger has."""
    page, keyboard = visit.page, visit.page.keyboard
    editor, why = page.get_by_label(f"Value of {EDITED}"), visit.dialog.get_by_label("Why")
    await visit.open(one(EDITED) + "?edit=1")
    await visit.type(EDITED, "an edit nothing disturbs")
    for _ in "nothing disturbs":
        await keyboard.press("ArrowLeft")
    await asyncio.gather(burst(client, 1), keyboard.type("that ", delay=5))
    await keyboard.press("Control+s")
    await expect(why).to_be_focused()
    await asyncio.gather(burst(client, 2), keyboard.type("said in peace", delay=5))
    await expect(why).to_have_value("said in peace")
    await expect(why).to_be_focused()
    await keyboard.press("Escape")  # what is typed at once goes into the editor again
    await asyncio.gather(burst(client, 3), keyboard.type("really ", delay=5))
    await expect(editor).to_have_text("an edit that really nothing disturbs")
    await visit.save("after all that")
    await visit.open("c")
    search = page.get_by_role("searchbox")
    await search.fill(EDITED)  # what was saved last is there, so all before it is
    await expect(visit.row(EDITED)).to_contain_text("really")
    await search.fill("thousands.")
    assert (await shown(visit))["found"] == await held(client)
