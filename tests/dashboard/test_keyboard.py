"""Every task without a mouse: keys lead to the screens, Tab to what can be pressed, and the focus is never lost."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, Locator, expect

from tests.browser import guarded
from tests.dashboard.test_many import export
from tests.dashboard.test_one import put, value_of
from tests.dashboard.visit import Visit, one
from tests.running import RunningGateway

MOST = 100
"""Stops of Tab, after which something counts as out of reach."""


async def keys(visit: Visit, *names: str) -> None:
    """Press keys, one after the other."""
    for name in names:
        await visit.page.keyboard.press(name)


async def to(visit: Visit, target: Locator, *names: str) -> None:
    """Press Tab until the target has the focus, and then these keys."""
    await expect(target).to_be_visible()
    for _ in range(MOST):
        if await target.evaluate("each => each.matches(':focus')"):
            return await keys(visit, *names)
        await keys(visit, "Tab")
    raise AssertionError(f"Tab does not lead to {target}")


async def press(visit: Visit, name: str) -> None:
    """Reach a button of what is in front by its words, and press it."""
    front = visit.dialog.last if await visit.dialog.count() else visit.page
    await to(visit, front.get_by_role("button", name=name, exact=True), "Enter")


async def fill(visit: Visit, label: str, text: str) -> None:
    """Reach a field and replace what is in it."""
    front = visit.dialog.last if await visit.dialog.count() else visit.page
    await to(visit, front.get_by_label(label, exact=True), "Control+a")
    await visit.page.keyboard.type(text)


async def search(visit: Visit, text: str, found: int) -> None:
    """Search the table, which has so many rows then."""
    await expect(visit.page.get_by_role("searchbox")).to_be_visible()
    await keys(visit, "/", "Control+a")
    await visit.page.keyboard.type(text)
    await expect(visit.page.locator(".grid .row")).to_have_count(found)


async def told(visit: Visit, text: str) -> None:
    """A message says that it was done."""
    await expect(visit.page.get_by_role("status").filter(has_text=text)).to_be_visible()


async def test_configurations_are_changed_by_keys_alone(visit: Visit, gateway: RunningGateway) -> None:
    """Two are copied together, one is deleted and put back, a conflict is resolved, and the audit opens what it was."""
    page = visit.page
    for number in (1, 2):
        put(gateway, f"keyed.{number}", str(number))
    await visit.open("c")
    await search(visit, "keyed.", 2)
    await keys(visit, "Enter", "Space", "ArrowDown", "Space")
    await press(visit, "Copy or rename…")
    await fill(visit, "by", "copied.")
    await press(visit, "Stage")
    await told(visit, "2 edits staged")
    await keys(visit, "b")
    await press(visit, "Commit all or nothing")
    await told(visit, "2 changes written")
    assert [value_of(gateway, f"copied.{number}") for number in (1, 2)] == ["1", "2"]
    await keys(visit, "g", "c")
    await search(visit, "copied.1", 1)
    await keys(visit, "Enter", "Enter")
    await press(visit, "Delete…")
    await press(visit, "Delete")
    await told(visit, "Deleted copied.1")
    await press(visit, "Undo")
    await expect(page.locator(".facts")).to_contain_text("Version 1")
    await keys(visit, "e")
    await expect(page.get_by_label("Value of copied.1")).to_be_focused()
    await keys(visit, "Control+a", "7")
    put(gateway, "copied.1", "theirs")
    await expect(page.get_by_role("alert")).to_contain_text("Your edit is untouched")
    await keys(visit, "Control+s")
    await to(visit, visit.dialog.get_by_role("radio", name="Theirs"), "ArrowRight")
    await press(visit, "Save merged")
    await told(visit, "Saved version 3")
    assert value_of(gateway, "copied.1") == "7"
    await keys(visit, "g", "a")
    await fill(visit, "Name", "copied.1")
    await expect(page.locator("tbody tr")).to_have_count(5)
    button = page.get_by_role("button", name="Difference of copied.1").first
    await to(visit, button, "Enter")
    await expect(visit.dialog.get_by_role("textbox", name="After")).to_contain_text("7")
    await keys(visit, "Escape")
    await expect(button).to_be_focused()


async def test_schemas_people_and_rollouts_are_managed_by_keys_alone(visit: Visit, gateway: RunningGateway) -> None:
    """A schema, a user, a device, a layer, and a rollout that is rolled back."""
    page = visit.page
    await keys(visit, "g", "s")
    await to(visit, page.get_by_role("main").get_by_role("link", name="New", exact=True), "Enter")
    await fill(visit, "Names", "keyschema.*")
    await keys(visit, "Enter")
    await to(visit, page.get_by_label("Schema of keyschema.*"), "Control+s")
    await expect(visit.dialog.get_by_label("Why")).to_be_focused()
    await expect(visit.dialog.get_by_text("All stored values fit.")).to_be_visible()
    await keys(visit, "Control+Enter")
    await told(visit, "Saved version 1")
    await keys(visit, "g", "u")
    await press(visit, "New user")
    await fill(visit, "Login", "keyed.user")
    await fill(visit, "Password", "keyed password")
    await keys(visit, "Enter")
    await told(visit, "Saved keyed.user")
    await keys(visit, "g", "d")
    await press(visit, "New")
    await fill(visit, "Id", "keyed-device")
    await fill(visit, "Name", "Keyed")
    await keys(visit, "Enter")
    await told(visit, "Saved Keyed")
    await keys(visit, "g", "y")
    await expect(page.get_by_role("heading", name="Layers")).to_be_visible()
    await press(visit, "New")
    await fill(visit, "Name", "keyed")
    await fill(visit, "Rank", "777")
    await keys(visit, "Enter")
    await told(visit, "Saved the layer keyed")
    await to(visit, page.get_by_role("link", name="Roll out…"), "Enter")
    await fill(visit, "Name", "keyed.rate")
    await fill(visit, "Value", "9600")
    await press(visit, "Start")
    await told(visit, "is started")
    await press(visit, "Roll back…")
    await press(visit, "Roll back")
    await expect(page.locator("h1")).to_contain_text("rolled back")
    gateway.token("keyed.user", "keyed password")


async def test_access_and_imports_are_managed_by_keys_alone(
    visit: Visit, gateway: RunningGateway, tmp_path: Path
) -> None:
    """A token that is ended, a tenant, a client, an import, and a table that holds still."""
    page = visit.page
    await keys(visit, "g", "u")
    await to(visit, page.get_by_role("link", name="Tokens", exact=True), "Enter")
    await fill(visit, "Only these configurations", "keyed.*")
    await press(visit, "Make it")
    number = await visit.dialog.get_by_role("figure", name="Id, to end it").locator("code").inner_text()
    await press(visit, "Done")
    await fill(visit, "The token, or its id", number)
    await press(visit, "End it")
    await told(visit, "Ended")
    await to(visit, page.get_by_role("link", name="Tenants", exact=True), "Enter")
    await fill(visit, "Id of a new tenant", "keyedshop")
    await press(visit, "Make it")
    await expect(visit.row("keyedshop")).to_be_visible()
    await to(visit, page.get_by_role("link", name="Clients", exact=True), "Enter")
    await press(visit, "New client")
    await fill(visit, "Id", "keyed-till")
    await to(visit, visit.dialog.get_by_role("group", name="keyedshop").get_by_label("READ"), "Space")
    await press(visit, "Save")
    await press(visit, "Done")
    await expect(visit.row("keyed-till")).to_contain_text("keyedshop: READ")
    await visit.open("transfer")
    async with page.expect_file_chooser() as chosen:
        await to(visit, page.locator("main input[type=file]"), "Enter")
    await (await chosen.value).set_files(export(tmp_path, {"keyed.imported": "1"}))
    await press(visit, "Import 1")
    await told(visit, "Imported 1")
    await visit.open("c?below=keyed.")
    await press(visit, "Pause")
    put(gateway, "keyed.imported", "2")
    await press(visit, "Paused, 1 change")
    await expect(visit.row("keyed.imported")).to_contain_text("2")


async def test_keys_of_a_screen_rest_while_a_dialog_is_open(visit: Visit, gateway: RunningGateway) -> None:
    """Who confirms the emptying of the basket with the key for that does not write it instead."""
    put(gateway, "rest.a", "one")
    await visit.open(one("rest.a"))
    await visit.button("Edit").click()
    await visit.type("rest.a", "two")
    await visit.button("Stage").click()
    await visit.open("basket")
    for opened in ("Empty it…", "Difference", "Settings and keys"):
        await visit.button(opened).click()
        await expect(visit.dialog).to_be_visible()
        await keys(visit, "Control+Enter", "Control+s", "Escape")
        await expect(visit.dialog).to_have_count(0)
    await expect(visit.page.locator(".card")).to_have_count(1)
    assert value_of(gateway, "rest.a") == "one"
    await keys(visit, "Control+Enter")
    await told(visit, "1 change written")


async def test_the_login_stays_whatever_is_pressed(browser: Browser, gateway: RunningGateway) -> None:
    """Browsers close a dialog at the second Escape in a row, even if the page prevents it."""
    async with guarded(browser) as guard:
        page = await guard.page()
        await Visit(guard, page, gateway).open()
        await expect(page.get_by_label("Password")).to_be_visible()
        for _ in range(4):
            await page.keyboard.press("Escape")
        await expect(page.get_by_label("Password")).to_be_visible()


async def test_the_focus_stays_on_what_was_ticked(visit: Visit, gateway: RunningGateway) -> None:
    """A box that waits for the gateway keeps it."""
    with gateway.http() as admin:
        user = {"login": "ticked", "password": "some password", "role": 1, "status": 0}
        assert admin.post("/user", json=user).status_code == 201
    await visit.open("access")
    await visit.row("ticked").get_by_role("button", name="Open").click()
    box = visit.dialog.get_by_label("Sample Network")
    await box.focus()
    await keys(visit, "Space")
    await expect(box).to_be_checked()
    await expect(box).to_be_focused()
    await keys(visit, "Space")
    await expect(box).not_to_be_checked()
    await expect(box).to_be_focused()


async def test_the_heading_of_a_new_screen_has_the_focus(visit: Visit, gateway: RunningGateway) -> None:
    """Else a screen reader says nothing of it, and Tab goes through what leads to the screens once more."""
    put(gateway, "lunch", "soup")
    page = visit.page
    await visit.open()
    await page.get_by_role("navigation").get_by_role("link", name="Fleet").click()
    await expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_focused()
    await keys(visit, "g", "c")
    await expect(page.get_by_role("heading", name="Configurations", level=1)).to_be_focused()
    await search(visit, "lunch", 1)
    await keys(visit, "Enter", "Enter")
    await expect(page.get_by_role("heading", name="lunch", level=1)).to_be_focused()
