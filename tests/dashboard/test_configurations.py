"""The table of all configurations: live, searched, in folders, by keys."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, expect

from tests.browser import guarded
from tests.dashboard.hostile import HOSTILE, harmless
from tests.dashboard.test_one import put
from tests.dashboard.visit import Visit, not_first
from tests.running import PASSWORD, RunningGateway


async def test_changes_appear_as_they_come(visit: Visit, gateway: RunningGateway) -> None:
    """A new name, a changed and a deleted one are marked; the focused row stays where it is."""
    with gateway.socket() as talk:
        for name in ("live.b", "live.d"):
            talk("configuration/put", name=name, value="old")
        await visit.open("c?below=live.")
        await visit.row("live.d").focus()
        place = await visit.row("live.d").bounding_box()
        talk("configuration/put", name="live.a", value="new")
        talk("configuration/put", name="live.b", value="changed", description="why not")
        await expect(visit.row("live.b")).to_contain_text("changed")
        await expect(visit.row("live.b").locator(".mark")).to_contain_text("ago")
        await expect(visit.row("live.a")).to_contain_text("new")
        await expect(visit.row("live.d")).to_be_focused()
        talk("configuration/delete", name="live.b")
        await expect(visit.row("live.b")).to_contain_text("deleted")
        await expect(visit.row("live.b")).to_have_count(0)
        assert place is not None
        await visit.accessible()


async def test_the_table_holds_still_while_it_is_paused(visit: Visit, gateway: RunningGateway) -> None:
    """Changes are counted, and shown afterwards."""
    with gateway.socket() as talk:
        talk("configuration/put", name="pause.a", value="old")
        await visit.open("c?below=pause.")
        await expect(visit.row("pause.a")).to_contain_text("old")
        await visit.button("Pause").click()
        talk("configuration/put", name="pause.a", value="new")
        talk("configuration/put", name="pause.b", value="new")
        await expect(visit.page.get_by_role("button", name="Paused, 2 changes")).to_be_visible()
        await expect(visit.row("pause.a")).to_contain_text("old")
        await expect(visit.row("pause.b")).to_have_count(0)
        await visit.page.get_by_role("button", name="Paused").click()
        await expect(visit.row("pause.a")).to_contain_text("new")
        await expect(visit.row("pause.b")).to_be_visible()


async def test_searches_by_prefix_by_part_and_by_value(visit: Visit, gateway: RunningGateway) -> None:
    """`text`, `*text*` and `=text`; the search is in the address, so it can be sent to somebody."""
    with gateway.socket() as talk:
        for name, value in (("seek.api.max", "81234"), ("seek.web.max", "5678"), ("seek.web.min", "1299")):
            talk("configuration/put", name=name, value=value)
    search = visit.page.get_by_role("searchbox")
    rows = visit.page.locator(".grid .row")
    await visit.open("c")
    await search.fill("seek.web")
    await expect(rows).to_have_count(2)
    await search.fill("*k.api*")
    await expect(rows).to_have_count(1)
    await search.fill("api.max")
    await expect(rows).to_have_count(1)
    await expect(visit.page.get_by_text("No name begins with this")).to_be_visible()
    await search.fill("=5678")
    await expect(rows).to_have_count(1)
    await expect(visit.row("seek.web.max").locator("mark")).to_have_text("5678")
    await visit.page.reload()
    await expect(visit.row("seek.web.max")).to_be_visible()
    await expect(rows).to_have_count(1)
    await search.fill("no such name")
    await expect(visit.page.get_by_role("heading", name="Nothing was found")).to_be_visible()
    await visit.accessible()
    await search.fill("81234")
    await visit.button("Search the values").click()
    await expect(rows).to_have_count(1)


async def test_folders_lead_down(visit: Visit, gateway: RunningGateway) -> None:
    """Names with dots are folders with their counts; one shows what is below it."""
    with gateway.socket() as talk:
        for name in ("tree.a.x", "tree.a.y", "tree.b"):
            talk("configuration/put", name=name, value="1")
    await visit.open("c")
    folders = visit.page.get_by_role("navigation", name="Folders")
    await expect(folders.get_by_role("link", name="tree 3")).to_be_visible()
    await folders.get_by_role("button", name="Folders below tree.").click()
    await folders.get_by_role("link", name="a 2").click()
    await expect(visit.page.locator(".grid .row")).to_have_count(2)


async def test_the_table_obeys_the_keyboard(visit: Visit, gateway: RunningGateway) -> None:
    """One stop for Tab; arrows, letters, Home and End move, Enter opens, `/` searches."""
    with gateway.socket() as talk:
        for number in range(60):
            talk("configuration/put", name=f"keys.{number:02}", value="1")
    await visit.open("c?below=keys.")
    await visit.row("keys.00").focus()
    press = visit.page.keyboard.press
    await press("j")
    await press("ArrowDown")
    await expect(visit.row("keys.02")).to_be_focused()
    await press("k")
    await expect(visit.row("keys.01")).to_be_focused()
    await press("End")
    await expect(visit.row("keys.59")).to_be_focused()
    assert await visit.page.locator(".grid .row").count() <= 45
    assert await visit.page.locator(".grid .row[tabindex='0']").count() == 1
    await press("Home")
    await expect(visit.row("keys.00")).to_be_focused()
    await press("/")
    await expect(visit.page.get_by_role("searchbox")).to_be_focused()
    await visit.row("keys.00").focus()
    await press("Enter")
    await expect(visit.page).to_have_url(gateway.url + "/dashboard/#/one/keys.00")


async def test_of_more_names_than_a_page_holds_a_folder_is_chosen(browser: Browser, data: Path) -> None:
    """The folders with their counts come from the gateway; what is opened is held and followed, and nothing else."""
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        for name in ("big.a.1", "big.a.2", "big.b.1", "big.b.2", f"{HOSTILE[0]}.1"):
            talk("configuration/put", name=name, value="1")
        async with guarded(browser) as guard:
            await guard.context.add_init_script(not_first(held=3))
            visit = Visit(guard, await guard.page(), gateway)
            await visit.open()
            await visit.page.get_by_label("Login").fill("admin")
            await visit.page.get_by_label("Password").fill(PASSWORD)
            await visit.button("Log in").click()
            cards = visit.page.locator(".card")
            await expect(cards).to_have_count(2)
            await expect(cards.first).to_contain_text(HOSTILE[0].partition(".")[0])
            await visit.accessible()
            await harmless(visit)
            await expect(cards.last.get_by_role("button")).to_have_text("Look inside")
            await cards.last.get_by_role("button", name="Look inside").click()
            await cards.first.get_by_role("button", name="Open").click()
            await visit.live()
            await expect(visit.page.locator(".grid .row")).to_have_count(2)
            talk("configuration/put", name="big.a.3", value="new")
            talk("configuration/put", name=f"{HOSTILE[0]}.2", value="new")
            await expect(visit.page.locator(".grid .row")).to_have_count(3)
            await visit.button("Choose another").click()
            await expect(cards).to_have_count(2)


async def test_a_row_opens_in_another_tab(visit: Visit, gateway: RunningGateway) -> None:
    """By the middle button, or with Ctrl, as links do; the table stays."""
    put(gateway, "tab.a%2F#?", "one")
    await visit.open("c?q=tab.")
    row = visit.row("tab.a%2F#?")
    await row.get_by_text("tab.a%2F#?").click()
    await expect(visit.page.get_by_label("Value").first).to_contain_text("one")
    await visit.page.go_back()
    for click in ({"button": "middle"}, {"modifiers": ["Control"]}):
        async with visit.guard.context.expect_page() as opened:
            await row.get_by_text("tab.a%2F#?").click(**click)
        other = await opened.value
        await expect(other.get_by_label("Value").first).to_contain_text("one")
        await other.close()
    await expect(row).to_be_visible()
