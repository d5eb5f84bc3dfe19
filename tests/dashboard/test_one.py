"""One configuration: read, edited, reviewed, put back; and what happens when somebody else is faster."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.dashboard.visit import Visit, one, visiting
from tests.gate.wire import until
from tests.running import RunningGateway


def put(gateway: RunningGateway, name: str, value: str, **members: object) -> int:
    """Write a configuration beside the browser; its version."""
    with gateway.socket() as talk:
        answer = talk("configuration/put", name=name, value=value, **members)
    assert answer["status"] == "success", answer
    return int(answer["configuration"]["entityVersion"])


def value_of(gateway: RunningGateway, name: str) -> str:
    """What the ledger has."""
    with gateway.socket() as talk:
        return str(talk("configuration/get", name=name)["configuration"]["value"])


async def test_an_edit_is_reviewed_saved_and_undone(visit: Visit, gateway: RunningGateway) -> None:
    """The difference has the old value left; what was saved has its reason; Undo puts it back."""
    put(gateway, "edit.a", "first")
    await visit.open(one("edit.a"))
    await visit.accessible()
    await visit.button("Edit").click()
    await visit.type("edit.a", "second")
    await visit.accessible()
    await visit.button("Review and save").click()
    await expect(visit.dialog.get_by_label("Version 1").first).to_contain_text("first")
    await expect(visit.dialog.get_by_label("Your edit").first).to_contain_text("second")
    await visit.accessible()
    await visit.dialog.get_by_label("Why").fill("for a test")
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.page.get_by_role("status")).to_contain_text("Saved version 2")
    await expect(visit.page.locator(".facts")).to_contain_text("for a test")
    assert value_of(gateway, "edit.a") == "second"
    await expect(visit.page.locator(".notice")).to_be_focused()
    await visit.button("Undo").click()
    await expect(visit.page.get_by_label("Value").first).to_contain_text("first")
    await expect(visit.page.locator(".notice")).to_be_focused()
    assert value_of(gateway, "edit.a") == "first"


async def test_what_was_told_leaves_with_its_reason(visit: Visit, gateway: RunningGateway) -> None:
    """Undo of a version goes when there is a newer one; refused it leads to the history; another screen ends it."""
    put(gateway, "told.a", "first")
    await visit.open(one("told.a") + "?edit=1")
    await visit.type("told.a", "second")
    await visit.save("to be overtaken")
    put(gateway, "told.a", "theirs")
    await expect(visit.page.locator(".notice")).to_have_count(0)
    await visit.button("Delete…").click()
    await visit.dialog.get_by_role("button", name="Delete").click()
    undo = visit.page.locator(".notice").get_by_role("button", name="Undo")
    await expect(undo).to_be_visible()
    put(gateway, "told.a", "made anew")
    await undo.click()
    await expect(visit.page.locator(".notice.wrong")).to_contain_text("could not be undone")
    await visit.page.locator(".notice").get_by_role("link", name="History").click()
    await expect(visit.page.locator(".change").first).to_contain_text("now")
    await expect(visit.page.locator(".notice")).to_have_count(0)


async def test_a_new_configuration_by_keys_alone(visit: Visit, gateway: RunningGateway) -> None:
    """Its name, its value, Ctrl+S, Enter; Escape leaves, and Undo deletes it again."""
    await visit.open(one("keys.new") + "?new=1")
    await visit.accessible()
    await expect(visit.page.get_by_label("Name")).to_have_value("keys.new")
    await expect(visit.page.get_by_label("Name")).to_be_focused()
    press = visit.page.keyboard.press
    await press("Escape")
    await expect(visit.page.get_by_role("grid")).to_be_visible()
    await visit.open(one("keys.new") + "?new=1")
    await expect(visit.page.get_by_label("Name")).to_be_focused()
    await press("Enter")
    await expect(visit.page.get_by_label("Value of keys.new")).to_be_focused()
    await visit.page.keyboard.type("made")
    await press("Control+s")
    await expect(visit.dialog.get_by_label("Why")).to_be_focused()
    await visit.button("Keep editing").click()
    await expect(visit.page.get_by_label("Value of keys.new")).to_be_focused()
    await press("Control+s")
    await expect(visit.dialog.get_by_label("Why")).to_be_focused()
    await press("Enter")
    await expect(visit.page.get_by_role("status")).to_contain_text("Saved version 1")
    assert value_of(gateway, "keys.new") == "made"
    await visit.button("Undo").click()
    await expect(visit.page.get_by_role("heading", name="There is no configuration of this name")).to_be_visible()


async def test_keys_count_before_the_page_is_there(visit: Visit, gateway: RunningGateway) -> None:
    """`e` right after Enter, or right after the page was loaded, edits; so it does while the value is asked for."""
    put(gateway, "fast.a", "x" * 5_000)
    for load in (False, True):
        await visit.open("c?q=fast.a")
        await visit.row("fast.a").focus()
        await visit.page.keyboard.press("Enter")
        if load:
            await visit.page.reload()
            await expect(visit.page.locator("header.top")).to_be_visible()
        await visit.page.keyboard.press("e")
        await expect(visit.page.get_by_label("Value of fast.a")).to_be_focused()
        await visit.page.keyboard.press("Escape")
        await expect(visit.button("Edit")).to_be_visible()


async def test_a_rollback_takes_six_keys_after_the_name(visit: Visit, gateway: RunningGateway) -> None:
    """History, the version, rolled back; each change is shown against what is there now, the older one left."""
    for value in ("one", "two", "three"):
        put(gateway, "roll.a", value)
    await visit.open("c?q=roll.a")
    await visit.row("roll.a").focus()
    press = visit.page.keyboard.press
    await press("h")
    chosen = visit.page.locator(".change[aria-pressed='true']")
    await expect(chosen).to_contain_text("Version 2")
    await press("j")
    await expect(chosen).to_contain_text("Version 1")
    captions = visit.page.locator(".difference .labels span")
    await expect(captions).to_have_text(["Version 1", "Version 3 (now)"])
    await expect(visit.page.get_by_role("textbox", name="Version 1")).to_contain_text("one")
    await expect(visit.page.get_by_role("textbox", name="Version 3 (now)")).to_contain_text("three")
    await visit.page.get_by_label("Compare with").focus()
    await press("ArrowDown")
    await expect(chosen).to_contain_text("Version 1")
    await visit.page.get_by_label("Compare with").select_option("now")
    await visit.page.get_by_role("heading", name="roll.a").click()
    await visit.accessible()
    await visit.fits()
    await press("r")
    await expect(visit.page.get_by_role("status")).to_contain_text("Rolled back to version 1")
    assert value_of(gateway, "roll.a") == "one"
    await visit.button("Undo").click()
    await expect(visit.page.get_by_role("status")).to_contain_text("Undone")
    assert value_of(gateway, "roll.a") == "three"


PRESSED_AT_ONCE = """
new MutationObserver((_, observer) => {
    if (!document.querySelector(".change[aria-pressed='true']")) return;
    observer.disconnect();
    document.dispatchEvent(new KeyboardEvent("keydown", {key: "j"}));
}).observe(document, {subtree: true, childList: true, attributes: true});
"""
"""Press j in the microtask after the list of versions was made, earlier than any key of a person can come."""


async def test_a_key_counts_as_soon_as_the_history_is_there(visit: Visit, gateway: RunningGateway) -> None:
    """A key that comes before the browser has painted the list chooses the next version."""
    for value in ("one", "two", "three"):
        put(gateway, "early.a", value)
    await visit.open("c?q=early.a")
    await visit.page.evaluate(PRESSED_AT_ONCE)
    await visit.open(one("early.a") + "?tab=history")
    await expect(visit.page.locator(".change[aria-pressed='true']")).to_contain_text("Version 1")


async def test_on_a_narrow_screen_the_difference_is_below_its_version(visit: Visit, gateway: RunningGateway) -> None:
    """What a tap opens is seen, and says which version has which lines."""
    for value in ("one", "two", "three", "four"):
        put(gateway, "narrow.a", value)
    await visit.page.set_viewport_size({"width": 390, "height": 640})
    await visit.open(one("narrow.a") + "?tab=history")
    version = visit.page.locator(".changes > li").nth(2)
    await version.locator(".change").click()
    await expect(version.locator(".labels span")).to_have_text(["− Version 2", "+ Version 4 (now)"])
    await expect(version.locator(".cm-deletedChunk")).to_have_text("two")
    await expect(version.locator(".cm-deletedChunk")).to_be_in_viewport()
    line = await version.locator(".cm-deletedChunk").bounding_box()
    stripe = await version.locator(".cm-deletedLineGutter").bounding_box()
    assert line is not None and stripe is not None
    assert (stripe["y"], stripe["height"]) == (line["y"], line["height"])
    await visit.accessible()


async def test_a_deleted_name_is_put_back_from_its_history(visit: Visit, gateway: RunningGateway) -> None:
    """Deletes and earlier lives are in the history, and a delete can be undone."""
    put(gateway, "gone.a", "kept")
    await visit.open(one("gone.a"))
    await visit.button("Delete…").click()
    await visit.accessible()
    await visit.dialog.get_by_role("button", name="Delete").click()
    await expect(visit.page.get_by_role("status")).to_contain_text("Deleted gone.a")
    await visit.open(one("gone.a") + "?tab=history")
    await expect(visit.page.locator(".change").first).to_contain_text("Deleted")
    await visit.button("Roll back to version 1").click()
    await expect(visit.page.locator(".facts")).to_contain_text("Version 1")
    assert value_of(gateway, "gone.a") == "kept"


async def test_a_rollback_is_to_the_version_that_was_chosen(visit: Visit, gateway: RunningGateway) -> None:
    """Also if somebody writes meanwhile, which moves all versions in the list."""
    for number in range(1, 4):
        put(gateway, "moved.a", f"value {number}")
    await visit.open(one("moved.a") + "?tab=history")
    await visit.page.locator(".change").last.click()
    await expect(visit.button("Roll back to version 1")).to_be_visible()
    put(gateway, "moved.a", "value 4")
    await expect(visit.page.locator(".change")).to_have_count(4)
    await visit.button("Roll back to version 1").click()
    await expect(visit.page.locator(".facts")).to_contain_text("Version 5")
    assert value_of(gateway, "moved.a") == "value 1"


async def test_a_delete_is_of_the_version_that_was_asked_about(visit: Visit, gateway: RunningGateway) -> None:
    """What somebody wrote while the dialog was open is not deleted."""
    put(gateway, "asked.a", "first")
    await visit.open(one("asked.a"))
    await visit.button("Delete…").click()
    await expect(visit.dialog).to_contain_text("version 1.")
    put(gateway, "asked.a", "second")
    await expect(visit.page.locator(".facts")).to_contain_text("Version 2")
    await visit.dialog.get_by_role("button", name="Delete").click()
    await expect(visit.dialog.get_by_role("alert")).to_be_visible()
    assert value_of(gateway, "asked.a") == "second"


def made_anew(gateway: RunningGateway, name: str, value: str) -> None:
    """Delete a configuration and make it again: its version is 1, as at first."""
    with gateway.socket() as talk:
        assert talk("configuration/delete", name=name)["status"] == "success"
    assert put(gateway, name, value) == 1


async def test_an_edit_is_of_one_life_of_a_name(visit: Visit, gateway: RunningGateway) -> None:
    """What somebody deleted and made anew is not overwritten, though it has the version that was opened."""
    for name in ("life.saved", "life.staged", "life.long"):
        put(gateway, name, "first " * (300 if name == "life.long" else 1))
    await visit.open(one("life.staged"))
    await visit.button("Edit").click()
    await visit.type("life.staged", "mine")
    await visit.button("Stage").click()
    await visit.open(one("life.saved"))
    await visit.button("Edit").click()
    await visit.type("life.saved", "mine")
    await visit.button("Review and save").click()
    await expect(visit.dialog.get_by_label("Why")).to_be_visible()
    made_anew(gateway, "life.saved", "theirs")
    made_anew(gateway, "life.staged", "theirs")
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.page.get_by_role("heading", name="Somebody else saved this meanwhile")).to_be_visible()
    await visit.dialog.get_by_role("button", name="Take theirs").click()
    await visit.open("basket")
    await expect(visit.page.locator(".card.wronged")).to_contain_text("life.staged")
    await visit.button("Take life.staged out").click()
    assert (value_of(gateway, "life.saved"), value_of(gateway, "life.staged")) == ("theirs", "theirs")
    await visit.open(one("life.long"))
    await expect(visit.page.get_by_label("Value").first).to_contain_text("first")
    made_anew(gateway, "life.long", "other " * 300)
    await expect(visit.page.get_by_label("Value").first).to_contain_text("other")


async def test_two_people_edit_one_value_apart_and_both_edits_stay(visit: Visit, gateway: RunningGateway) -> None:
    """The second sees who was faster while typing, and the dialog when saving; the merge has both."""
    before = {"read": 1, "write": 2}
    put(gateway, "two.apart", json.dumps(before, indent=2), contentType="application/json")
    async with visit.window(one("two.apart")) as other:
        await visit.open(one("two.apart"))
        for each, value in ((visit, before | {"read": 10}), (other, before | {"write": 20})):
            await each.button("Edit").click()
            await each.type("two.apart", json.dumps(value, indent=2))
        await visit.save("mine")
        await expect(other.page.get_by_role("alert")).to_contain_text("admin changed this")
        await expect(other.page.get_by_label("Value of two.apart")).to_contain_text("20")
        await other.button("Review and save").click()
        await expect(other.dialog).to_contain_text("Your edits are apart, so they were merged")
        await other.accessible()
        await other.dialog.get_by_role("button", name="Save merged").click()
        await expect(other.page.get_by_role("status")).to_contain_text("Saved version 3")
    assert json.loads(value_of(gateway, "two.apart")) == {"read": 10, "write": 20}


async def test_two_people_edit_one_part_and_the_second_chooses(visit: Visit, gateway: RunningGateway) -> None:
    """Nothing is saved until each part is chosen; who takes theirs loses only the own edit."""
    put(gateway, "two.same", "limit: 1")
    async with visit.window(one("two.same")) as other:
        await visit.open(one("two.same"))
        for each, value in ((visit, "limit: 2"), (other, "limit: 3")):
            await each.button("Edit").click()
            await each.type("two.same", value)
        await visit.save("mine")
        await other.button("Review and save").click()
        save = other.dialog.get_by_role("button", name="Save merged")
        await expect(save).to_have_attribute("aria-disabled", "true")
        await other.accessible()
        await other.fits()
        await other.dialog.get_by_label("Yours").check()
        await save.click()
        await expect(other.page.get_by_role("status")).to_contain_text("Saved version 3")
    assert value_of(gateway, "two.same") == "limit: 3"


async def test_a_race_between_the_review_and_the_save_opens_the_dialog(visit: Visit, gateway: RunningGateway) -> None:
    """The version that was opened is what the gateway is told to expect: it refuses, and the edit is still there."""
    put(gateway, "race.a", "1")
    await visit.open(one("race.a"))
    await visit.button("Edit").click()
    await visit.type("race.a", "mine")
    await visit.button("Review and save").click()
    await expect(visit.dialog.get_by_label("Why")).to_be_visible()
    put(gateway, "race.a", "theirs")
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.page.get_by_role("heading", name="Somebody else saved this meanwhile")).to_be_visible()
    assert value_of(gateway, "race.a") == "theirs"
    await visit.dialog.get_by_role("button", name="Take theirs").click()
    await expect(visit.page.get_by_label("Value").first).to_contain_text("theirs")


async def test_a_login_that_ends_while_typing_loses_nothing(browser: Browser, data: Path) -> None:
    """It is asked for over the page, and the save succeeds after it."""
    settings = data.with_name("settings.toml")
    settings.write_text("access_token_lifetime = 4\n")
    with RunningGateway(data, f"--config={settings}") as gateway:
        put(gateway, "expiry.a", "before")
        async with visiting(browser, gateway, one("expiry.a")) as visit:
            await visit.button("Edit").click()
            await visit.type("expiry.a", "typed")
            settings.write_text("")  # so that the next login does not end, too
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda: gateway.events("reloaded"))
            await visit.page.context.clear_cookies()  # the token cannot be renewed any more
            await expect(visit.page.get_by_role("heading", name="Log in to Hivewire")).to_be_visible()
            await expect(visit.dialog).to_contain_text("Nothing that you typed is lost")
            await visit.log_in()
            await expect(visit.page.get_by_label("Value of expiry.a")).to_have_text("typed")
            await visit.save("after the login")
            assert value_of(gateway, "expiry.a") == "typed"


async def test_an_edit_is_only_discarded_on_purpose(visit: Visit, gateway: RunningGateway) -> None:
    """Another screen and back: it is still there. Escape asks."""
    put(gateway, "draft.a", "before")
    await visit.open(one("draft.a") + "?edit=1")
    await visit.type("draft.a", "unfinished")
    await visit.open("c?q=draft.a")
    await expect(visit.row("draft.a")).to_be_visible()
    await visit.row("draft.a").press("Enter")
    await expect(visit.page.get_by_label("Value of draft.a")).to_have_text("unfinished")
    await visit.page.locator("h1").click()
    await visit.page.keyboard.press("Escape")
    await visit.accessible()
    await visit.dialog.get_by_role("button", name="Discard").click()
    await expect(visit.page.get_by_label("Value").first).to_contain_text("before")


async def test_json_is_formatted_on_request_only_and_numbers_are_kept(visit: Visit, gateway: RunningGateway) -> None:
    """What is saved untouched has the bytes that were typed; a number of any length keeps its digits."""
    put(gateway, "json.a", '{"id":12345678901234567890,"rate":1.10}', contentType="application/json")
    await visit.open(one("json.a"))
    await visit.button("Edit").click()
    await visit.button("Format").click()
    await visit.save("tidy")
    assert value_of(gateway, "json.a") == '{\n  "id": 12345678901234567890,\n  "rate": 1.10\n}'
    put(gateway, "json.twice", '{"a:":1,"a":2,"a":3}', contentType="application/json")
    await visit.open(one("json.twice"))
    await visit.button("Edit").click()
    await visit.button("Format").click()
    await expect(visit.page.get_by_role("status")).to_contain_text("without changing it")


async def test_a_long_value_is_opened_on_demand_and_a_binary_one_downloaded(
    visit: Visit, gateway: RunningGateway
) -> None:
    """The table leaves both out."""
    put(gateway, "long.a", "x" * 5_000)
    with gateway.http() as client:
        content = bytes(range(256))
        sent = client.put("/configuration/long.b/content", content=content, headers={"Content-Type": "image/png"})
        assert sent.status_code < 300, sent.text
    await visit.open("c?q=long.")
    await expect(visit.row("long.a")).to_contain_text("opened on demand")
    await visit.open(one("long.a"))
    await expect(visit.page.get_by_label("Value").first).to_contain_text("x" * 50)
    await visit.open(one("long.b"))
    async with visit.page.expect_download() as download:
        await visit.button("Download").click()
    path = await (await download.value).path()
    assert path.read_bytes() == content
    await visit.accessible()


async def test_the_lines_for_programs_are_there(visit: Visit, gateway: RunningGateway) -> None:
    """Names with quotes are quoted."""
    name = "it's.a"
    put(gateway, name, "1")
    await visit.open(one(name) + "?tab=lines")
    await expect(visit.page.get_by_label("Terminal: read it, and follow it")).to_contain_text("'it'\\''s.a'")
    await visit.accessible()
    await visit.fits()


async def test_a_secret_value_is_shown_on_request_only(visit: Visit, gateway: RunningGateway) -> None:
    """The table, the page and the history leave it out; Reveal shows it, Replace writes another one."""
    put(gateway, "vault.a", "hunter2")
    with gateway.socket() as talk:
        assert talk("schema/put", names="vault.*", secret=True)["status"] == "success"
    put(gateway, "vault.a", "hunter3")
    await visit.open("c?q=vault.")
    await expect(visit.row("vault.a")).to_contain_text("secret")
    await visit.open(one("vault.a"))
    await expect(visit.page.get_by_text("This value is secret.")).to_be_visible()
    await visit.accessible()
    assert "hunter" not in await visit.page.content()
    await visit.button("Reveal").click()
    await expect(visit.page.get_by_label("Value").first).to_contain_text("hunter3")
    await visit.button("Replace").click()
    await visit.type("vault.a", "hunter4")
    await visit.save("another")
    with gateway.socket() as talk:
        found = talk("configuration/get", name="vault.a", reveal=True)["configuration"]
        assert (found["value"], found["entityVersion"]) == ("hunter4", 3)
    await visit.open(one("vault.a") + "?tab=history")
    await expect(visit.page.get_by_role("region", name="The chosen change")).to_contain_text("This value is secret.")
    await visit.button("Roll back to version 2").click()
    await expect(visit.page.get_by_role("status")).to_contain_text("Rolled back to version 2")


async def test_what_the_page_does_not_know_is_not_compared(visit: Visit, gateway: RunningGateway) -> None:
    """Of a secret value no conflict, audit or copy says that it is empty, or the same as before."""
    with gateway.socket() as talk:
        assert talk("schema/put", names="unseen.*", secret=True)["status"] == "success"
    put(gateway, "unseen.a", "first")
    await visit.open(one("unseen.a"))
    await visit.button("Replace").click()
    await visit.type("unseen.a", "mine")
    put(gateway, "unseen.a", "theirs")
    await visit.button("See the difference").click()
    await expect(visit.dialog).to_contain_text("What they saved is not shown")
    await expect(visit.dialog).not_to_contain_text("no difference")
    await visit.dialog.get_by_role("button", name="Save yours").click()
    await expect(visit.page.get_by_role("status")).to_contain_text("Saved version 3")
    await visit.open("audit?name=unseen.*")
    await visit.page.get_by_role("button", name="Difference of").first.click()
    await expect(visit.dialog).to_contain_text("This value is secret.")
    await visit.page.keyboard.press("Escape")
    await visit.open("c?q=unseen.")
    await visit.page.get_by_label("Select unseen.a").check()
    await visit.button("Copy or rename…").click()
    await visit.dialog.get_by_label("by", exact=True).fill("copied.a")
    await visit.dialog.get_by_role("button", name="Stage").click()
    await expect(visit.dialog.get_by_role("alert")).to_contain_text("secret or binary")


RACE = """
async ({name, rounds}) => {
    const {hw} = await import(new URL("lib/gateway.js", location.href.replace(/#.*/, "")));
    let acknowledged = 0;
    while (acknowledged < rounds) {
        const now = await hw.fetch(name);
        await hw.put(name, String(Number(now.value) + 1), {expect: now.version}).then(
            () => acknowledged++, error => { if (error.name !== "Conflict") throw error; });
    }
    return acknowledged;
}
"""
"""Add one to a value again and again, as somebody who always looks first."""


async def test_two_hundred_races_lose_no_write_that_was_acknowledged(visit: Visit, gateway: RunningGateway) -> None:
    """Two pages count one value up at the same time: it ends at the sum of what each was told was saved."""
    put(gateway, "races.a", "0")
    race = {"name": "races.a", "rounds": 100}
    async with visit.window() as other:
        await asyncio.gather(*(each.page.evaluate(RACE, race) for each in (visit, other)))
    assert value_of(gateway, "races.a") == "200"


async def test_the_text_of_a_new_name_is_not_lost_when_it_is_made_again(visit: Visit) -> None:
    """It is still there when somebody types the same name once more."""
    await visit.open(one("twice.new") + "?new=1")
    await visit.button("Write its value").click()
    await visit.type("twice.new", "typed")
    await visit.open("c")
    await visit.button("New").click()
    await visit.page.get_by_label("Name").fill("twice.new")
    await visit.button("Write its value").click()
    await expect(visit.page.get_by_label("Value of twice.new")).to_have_text("typed")


async def test_a_link_to_an_edit_opens_it_when_the_name_has_come(visit: Visit, gateway: RunningGateway) -> None:
    """The page learns of a new name a moment later than whoever sends the link."""
    await visit.open(one("comes.later") + "?edit=1")
    await expect(visit.page.get_by_role("heading", name="There is no configuration of this name")).to_be_visible()
    put(gateway, "comes.later", "one")
    await expect(visit.page.get_by_label("Value of comes.later")).to_have_text("one")
