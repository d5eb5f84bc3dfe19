"""Many configurations at once: the basket, import and export, the audit."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Dialog, WebSocketRoute, expect

from tests.command import Run
from tests.dashboard.test_one import put, value_of
from tests.dashboard.visit import Visit, one, visiting
from tests.running import PASSWORD, RunningGateway


def export(folder: Path, values: dict[str, str]) -> Path:
    """A file to import."""
    entries = [{"name": name, "value": value} for name, value in values.items()]
    path = folder / "import.json"
    path.write_text(json.dumps({"hivewire": 1, "configurations": entries}))
    return path


async def preview(visit: Visit, path: Path) -> None:
    """Choose a file to import, and see what it would do."""
    await visit.open("transfer")
    await visit.page.locator("input[type=file]").set_input_files(path)
    await expect(visit.page.get_by_role("group", name="What to show")).to_be_visible()


async def stage(visit: Visit, name: str, value: str) -> None:
    """Put an edit of a configuration into the basket."""
    await visit.open(one(name))
    await visit.page.get_by_role("button", name=re.compile("^(Edit|Replace)$")).click()
    await visit.type(name, value)
    await visit.button("Stage").click()


def revealed(gateway: RunningGateway, *names: str) -> list[str]:
    """What the ledger has, also of secret values."""
    with gateway.socket() as talk:
        return [talk("configuration/get", name=name, reveal=True)["configuration"]["value"] for name in names]


async def test_three_edits_are_written_together(visit: Visit, gateway: RunningGateway) -> None:
    """Edits and deletes are staged, checked and committed under one revision, and taken back together."""
    for name in ("stage.a", "stage.b"):
        put(gateway, name, "old")
    await visit.open("basket")
    await expect(visit.page.get_by_role("heading", name="The basket is empty")).to_be_visible()
    await visit.accessible()
    await visit.open(one("stage.a"))
    await visit.button("Edit").click()
    await visit.type("stage.a", "new")
    await visit.button("Stage").click()
    await expect(visit.page.locator(".bar")).to_contain_text("A change of this waits in the basket")
    await visit.accessible()
    await visit.button("Edit").click()
    await expect(visit.page.get_by_label("Value of stage.a")).to_have_text("new")
    await visit.type("stage.a", "newer")
    await visit.button("Stage").click()
    await visit.open(one("stage.b"))
    await visit.button("Stage delete").click()
    await visit.open(one("stage.c") + "?new=1")
    await visit.button("Write its value").click()
    await visit.type("stage.c", "made")
    await visit.button("Stage").click()
    await visit.button("Open the basket").click()
    await expect(visit.page.locator(".card")).to_have_count(3)
    await expect(visit.page.locator(".card").first).to_contain_text("old → newer")
    await visit.page.get_by_role("link", name="Edit stage.c").click()
    await expect(visit.page.get_by_label("Value of stage.c")).to_have_text("made")
    await visit.open("basket")
    await visit.button("Check").click()
    await expect(visit.page.get_by_text("The gateway would take all of it.")).to_be_visible()
    assert value_of(gateway, "stage.a") == "old"
    await visit.page.get_by_label("Why").fill("together")
    await visit.accessible()
    await visit.fits()
    await visit.page.get_by_label("Why").press("Enter")
    await expect(visit.page.get_by_role("status").filter(has_text="3 changes written")).to_be_visible()
    await expect(visit.page.locator(".card").get_by_role("link")).to_have_text(["stage.a", "stage.b", "stage.c"])
    await visit.accessible()
    with gateway.socket() as talk:
        changes = talk("configuration/audit", names=["stage.*"], take=3)["changes"]
    assert len({each["revision"] for each in changes}) == 1
    assert [each["description"] for each in changes] == ["together"] * 3
    assert value_of(gateway, "stage.a") == "newer"
    await visit.button("Undo").click()
    await expect(visit.page.locator(".notice")).to_contain_text("3 changes taken back")
    with gateway.socket() as talk:
        assert talk("configuration/get", name="stage.c")["code"] == 404
    assert [value_of(gateway, name) for name in ("stage.a", "stage.b")] == ["old", "old"]


async def test_what_is_staged_survives_a_reload_but_no_secret_does(visit: Visit, gateway: RunningGateway) -> None:
    """The tab keeps it for this user, until it is written or the login ends.

    Of a secret nothing is stored, and who would lose one is asked first.
    """
    page = visit.page
    asked: list[str] = []

    async def reload() -> None:
        await page.reload()
        await visit.live()

    async def agree(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.accept()

    page.on("dialog", agree)
    with gateway.socket() as talk:
        assert talk("schema/put", names="reload.secret.*", secret=True)["status"] == "success"
    for name in ("reload.a", "reload.gone", "reload.secret.a"):
        put(gateway, name, "old")
    for name in ("reload.a", "reload.secret.a"):
        await stage(visit, name, f"new {name}")
    await visit.open(one("reload.gone"))
    await visit.button("Stage delete").click()
    await visit.open("basket")
    await expect(page.get_by_text("a reload loses 1: it keeps no secret values")).to_be_visible()
    assert "new reload.a" in await page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})")
    assert "new reload.secret" not in await page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})")
    await reload()
    assert asked == ["beforeunload"]
    cards = page.locator(".card")
    await expect(cards.get_by_role("link", name="reload.")).to_have_text(["reload.a", "Edit", "reload.gone"])
    await page.get_by_role("link", name="Edit reload.a").click()
    await expect(page.get_by_label("Value of reload.a")).to_have_text("new reload.a")
    put(gateway, "reload.gone", "theirs")
    await visit.open("basket")
    await expect(page.locator(".card.wronged")).to_contain_text("reload.gone")
    await page.get_by_role("button", name="Take reload.gone out").click()
    await visit.button("Commit all or nothing").click()
    await expect(page.get_by_role("status").filter(has_text="1 change written")).to_be_visible()
    assert value_of(gateway, "reload.a") == "new reload.a"
    await reload()
    await expect(page.get_by_role("heading", name="The basket is empty")).to_be_visible()
    assert asked == ["beforeunload"]
    page.remove_listener("dialog", agree)


async def test_the_logout_empties_the_basket_that_the_tab_keeps(browser: Browser, gateway: RunningGateway) -> None:
    """Who is next does not see it."""
    put(gateway, "next.a", "old")
    async with visiting(browser, gateway) as visit:
        await stage(visit, "next.a", "new")
        await visit.page.wait_for_function("sessionStorage.length > 0")  # once it is known that the value is no secret
        await visit.page.reload()
        await visit.live()
        await visit.open("basket")
        await expect(visit.page.locator(".card")).to_have_count(1)
        await visit.button("Log out").click()
        await expect(visit.page.get_by_label("Password")).to_be_visible()
        assert await visit.page.evaluate("sessionStorage.length") == 0
        await visit.log_in()
        await visit.open("basket")
        await expect(visit.page.get_by_role("heading", name="The basket is empty")).to_be_visible()


async def test_a_basket_of_values_that_are_not_known_is_taken_back(visit: Visit, gateway: RunningGateway) -> None:
    """Secret and long ones too; if one was changed meanwhile, nothing is."""
    page = visit.page
    with gateway.socket() as talk:
        assert talk("schema/put", names="unknown.secret", secret=True)["status"] == "success"
    before = {"unknown.long": "old " * 1_000, "unknown.plain": "old", "unknown.secret": "old"}
    for name, value in before.items():
        put(gateway, name, value)
    for turn in ("overtaken", "taken back"):
        for name in before:
            await stage(visit, name, f"{turn} {name}")
        await visit.button("Open the basket").click()
        await visit.button("Commit all or nothing").click()
        await expect(page.get_by_role("status").filter(has_text="3 changes written")).to_be_visible()
        if turn == "overtaken":
            put(gateway, "unknown.plain", "theirs")
            await visit.button("Undo").click()
            await expect(page.locator(".notice.wrong")).to_contain_text("could not be undone")
            assert revealed(gateway, "unknown.long", "unknown.secret") == [
                "overtaken unknown.long",
                "overtaken unknown.secret",
            ]
            for name, value in before.items():
                version = put(gateway, name, value)
                await visit.open(one(name))  # the page learns of it a moment later
                await expect(page.locator(".facts")).to_contain_text(f"Version {version} ")
    await visit.button("Undo").click()
    await expect(page.locator(".notice")).to_contain_text("3 changes taken back")
    assert revealed(gateway, *before) == list(before.values())
    await visit.open(one("unknown.secret"))
    await visit.button("Replace").click()
    await visit.type("unknown.secret", "alone")
    await visit.save("one alone")
    await visit.button("Undo").click()
    await expect(page.locator(".notice")).to_contain_text("Put back as it was")
    assert revealed(gateway, "unknown.secret") == ["old"]


async def test_each_refused_change_of_a_basket_says_why(visit: Visit, gateway: RunningGateway) -> None:
    """All of them, from Check and from Commit, and not the one that would be taken."""
    with gateway.socket() as talk:
        assert talk("schema/put", names="refuse.number.*", schema={"type": "number"})["status"] == "success"
    for name in ("refuse.number.a", "refuse.text", "refuse.number.b"):
        await visit.open(one(name) + "?new=1")
        await visit.button("Write its value").click()
        await visit.type(name, "word")
        await visit.button("Stage").click()
    await visit.button("Open the basket").click()
    for way in ("Check", "Commit all or nothing"):
        await visit.button(way).click()
        await expect(visit.page.locator(".problem")).to_contain_text("2 changes refused")
        assert "changes[" not in await visit.page.locator("main").inner_text()
        await expect(visit.page.locator(".card.wronged")).to_have_count(2)
        await expect(visit.page.locator(".card .wrong").last).to_contain_text("number")
    await visit.accessible()


async def test_a_basket_of_a_thousand_over_one_conflict_writes_nothing(
    visit: Visit, gateway: RunningGateway, tmp_path: Path
) -> None:
    """The edit that was overtaken is marked, and the refusal names it."""
    path = export(tmp_path, {f"thousand.{number:03}": "new" for number in range(1_000)})
    await preview(visit, path)
    await visit.button("Into the basket").click()
    await expect(visit.page.locator(".card")).to_have_count(200)
    await expect(visit.page.get_by_text("1,000 changes.")).to_be_visible()
    put(gateway, "thousand.007", "theirs")
    await expect(visit.page.locator(".card.wronged")).to_contain_text("thousand.007")
    await visit.button("Commit all or nothing").click()
    await expect(visit.page.locator(".problem")).to_be_visible()
    await expect(visit.page.locator(".card.wronged")).to_contain_text("version")
    with gateway.socket() as talk:
        found = talk("configuration/list", names=["thousand.*"])
    assert (found["count"], found["configurations"][0]["value"]) == (1, "theirs")
    await visit.button("Merge…").click()
    await visit.dialog.get_by_role("button", name="Take theirs").click()
    await visit.button("Commit all or nothing").click()
    await expect(visit.page.get_by_role("status").filter(has_text="999 changes written")).to_be_visible()
    assert value_of(gateway, "thousand.007") == "theirs"


async def test_the_preview_of_an_import_says_what_the_command_says(
    visit: Visit, gateway: RunningGateway, tmp_path: Path, run: Run
) -> None:
    """New, changed with the difference, and same; then it is written."""
    put(gateway, "import.same", "1")
    put(gateway, "import.changed", "1")
    path = export(tmp_path, {"import.same": "1", "import.changed": "2", "import.new": "3"})
    assert run("login", "--url", gateway.url, stdin=PASSWORD.encode()).code == 0
    told = json.loads(run("import", str(path), "--dry-run", "-o", "json").out)
    assert told == {"created": ["import.new"], "updated": ["import.changed"], "unchanged": 1, "dryRun": True}
    await preview(visit, path)
    for state, number in (("new", 1), ("changed", 1), ("same", 1), ("refused", 0)):
        await expect(visit.button(f"{state} {number}")).to_be_visible()
    await visit.accessible()
    await visit.fits()
    await visit.button("Difference").click()
    await expect(visit.dialog.get_by_role("textbox", name="In the file")).to_contain_text("2")
    await visit.button("Close").click()
    await visit.button("Import 2").click()
    await expect(visit.page.get_by_role("status").filter(has_text="Imported 2 configurations")).to_be_visible()
    assert (value_of(gateway, "import.changed"), value_of(gateway, "import.new")) == ("2", "3")


async def test_what_an_import_may_not_do_is_seen_before(visit: Visit, tmp_path: Path) -> None:
    """A refused entry has the words of the gateway; a file that is none is refused whole."""
    await preview(visit, export(tmp_path, {"refused.ok": "1", "x" * 200: "too long"}))
    await expect(visit.page.locator(".card").filter(has_text="refused").last).to_contain_text("128")
    broken = tmp_path / "broken.json"
    broken.write_text('{"hivewire":1,"configurations":[{"name":"a"}]}')
    await visit.page.locator("input[type=file]").set_input_files(broken)
    await expect(visit.page.get_by_role("alert")).to_contain_text("configurations[0], a, has no value")


async def test_an_import_that_was_refused_in_part_goes_on(
    visit: Visit, gateway: RunningGateway, tmp_path: Path
) -> None:
    """What was written counts as such; what somebody changed meanwhile is shown before it is overwritten."""
    page = visit.page
    await preview(visit, export(tmp_path, {f"parts.{number:04}": "file" for number in range(1_002)}))
    put(gateway, "parts.1001", "theirs")
    await visit.button("Import 1,002").click()
    await expect(page.locator(".problem")).to_be_visible()
    for state, number in (("new", "1"), ("changed", "1"), ("same", "1,000")):
        await expect(visit.button(f"{state} {number}")).to_be_visible()
    assert value_of(gateway, "parts.1001") == "theirs"
    await visit.button("Import 2").click()
    await expect(page.get_by_role("status").filter(has_text="Imported 2 configurations")).to_be_visible()
    assert [value_of(gateway, f"parts.{number}") for number in ("0000", "1000", "1001")] == ["file"] * 3


async def test_an_export_is_a_file_that_imports_to_nothing_new(
    visit: Visit, gateway: RunningGateway, tmp_path: Path, run: Run
) -> None:
    """The command reads what the page wrote."""
    for number in range(3):
        put(gateway, f"export.{number}", f"value {number}")
    await visit.open("transfer")
    await visit.page.get_by_label("Names").fill("export.*")
    async with visit.page.expect_download() as download:
        await visit.button("Save the file").click()
    path = tmp_path / "exported.json"
    await (await download.value).save_as(path)
    assert len(json.loads(path.read_text())["configurations"]) == 3
    assert run("login", "--url", gateway.url, stdin=PASSWORD.encode()).code == 0
    told: dict[str, Any] = json.loads(run("import", str(path), "--dry-run", "-o", "json").out)
    assert told == {"created": [], "updated": [], "unchanged": 3, "dryRun": True}


async def test_selected_names_are_renamed_through_the_basket(visit: Visit, gateway: RunningGateway) -> None:
    """Copies under the new prefix, deletes of the old ones, in one transaction."""
    for number in range(2):
        put(gateway, f"before.{number}", str(number))
    await visit.open("c?below=before.")
    for number in range(2):
        await visit.page.get_by_label(f"Select before.{number}").check()
    await visit.button("Copy or rename…").click()
    await visit.dialog.get_by_label("by", exact=True).fill("after.")
    await visit.dialog.get_by_label("Delete the old names: rename").check()
    await visit.accessible()
    await visit.dialog.get_by_role("button", name="Stage").click()
    await visit.button("Open the basket").click()
    await visit.button("Commit all or nothing").click()
    await expect(visit.page.get_by_role("status").filter(has_text="4 changes written")).to_be_visible()
    with gateway.socket() as talk:
        assert talk("configuration/list", names=["before.*"])["count"] == 0
        assert [each["value"] for each in talk("configuration/list", names=["after.*"])["configurations"]] == ["0", "1"]


async def test_the_audit_says_who_changed_what_and_opens_the_difference(visit: Visit, gateway: RunningGateway) -> None:
    """By name and person, live; logins have a list of their own."""
    put(gateway, "audit.a", "1")
    put(gateway, "audit.a", "2", description="why not")
    await visit.open("audit?name=audit.*")
    rows = visit.page.locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("why not")
    await visit.accessible()
    await visit.fits()
    await visit.page.get_by_role("button", name="Difference of audit.a").first.click()
    await expect(visit.dialog.get_by_role("textbox", name="After")).to_contain_text("2")
    await expect(visit.dialog.get_by_role("textbox", name="Before")).to_contain_text("1")
    await visit.accessible()
    await visit.button("Close").click()
    put(gateway, "audit.b", "3")
    await expect(rows).to_have_count(3)
    await visit.page.get_by_label("Person").fill("nobody")
    await expect(visit.page.get_by_role("heading", name="No changes")).to_be_visible()
    with gateway.socket() as talk:
        user = {"login": "audit.l", "password": "audit password", "role": 1, "status": 0}
        assert talk("user/insert", user=user)["status"] == "success"
    gateway.token("audit.l", "audit password")
    await visit.open("audit?of=people&kind=login&subject=audit.l")
    await expect(rows).to_have_count(1)
    await visit.accessible()
    await visit.fits()


async def test_names_that_are_renamed_into_each_other_keep_their_values(visit: Visit, gateway: RunningGateway) -> None:
    """The old name of one is the new name of another; the message counts what was staged."""
    for name in ("shift.a.a.x", "shift.a.x"):
        put(gateway, name, f"of {name}")
    await visit.open("c?below=shift.")
    for name in ("shift.a.a.x", "shift.a.x"):
        await visit.page.get_by_label(f"Select {name}").check()
    await visit.button("Copy or rename…").click()
    await visit.dialog.get_by_label("Replace the prefix").fill("shift.a.")
    await visit.dialog.get_by_label("by", exact=True).fill("shift.")
    await visit.dialog.get_by_label("Delete the old names: rename").check()
    await visit.dialog.get_by_role("button", name="Stage").click()
    await expect(visit.page.locator(".notice")).to_contain_text("3 edits staged")
    await visit.button("Open the basket").click()
    await visit.button("Commit all or nothing").click()
    await expect(visit.page.get_by_role("status").filter(has_text="3 changes written")).to_be_visible()
    with gateway.socket() as talk:
        found = talk("configuration/list", names=["shift.*"])["configurations"]
    assert {each["name"]: each["value"] for each in found} == {
        "shift.a.x": "of shift.a.a.x",
        "shift.x": "of shift.a.x",
    }


async def test_the_audit_finds_what_is_behind_many_others(visit: Visit, gateway: RunningGateway) -> None:
    """The gateway reads a part of its log at a time; what is older than "Since" is not offered."""
    rows = visit.page.locator("tbody tr")
    put(gateway, "behind.a", "1")
    with gateway.socket() as talk:
        names = [f"before.it.{number}" for number in range(1_000)]
        for turn in range(11):
            changes = [{"operation": "put", "name": name, "value": str(turn)} for name in names]
            assert talk("configuration/transact", changes=changes)["status"] == "success"
        changes = [{"operation": "delete", "name": name} for name in names]
        assert talk("configuration/transact", changes=changes)["status"] == "success"
    await visit.open("audit?name=behind.a")
    await expect(rows).to_have_count(1)
    put(gateway, "behind.a", "2")
    await visit.open("audit?name=behind.a&since=2999-01-01T00:00")
    await expect(visit.page.get_by_role("heading", name="No changes")).to_be_visible()
    await expect(visit.button("Older changes")).to_have_count(0)


async def test_the_audit_is_shown_while_others_write_all_the_time(browser: Browser, gateway: RunningGateway) -> None:
    """An answer that takes longer than until the next change is not thrown away."""
    put(gateway, "always.a", "1")

    async def through(socket: WebSocketRoute) -> None:
        there = socket.connect_to_server()

        async def back(frame: str | bytes) -> None:
            if '"action":"configuration/audit"' in str(frame):
                for turn in range(8):
                    put(gateway, "always.b", str(turn))
                    await asyncio.sleep(0.2)
            socket.send(frame)

        there.on_message(back)

    async with visiting(browser, gateway, "nothing") as visit:
        visit.page = await visit.guard.page()
        await visit.page.route_web_socket(re.compile("^ws"), through)
        await visit.open("audit?name=always.a")
        await visit.live()
        await expect(visit.page.locator("tbody tr")).to_have_count(1)


async def test_the_same_file_can_be_chosen_again(visit: Visit, tmp_path: Path) -> None:
    """After it was mended: browsers say nothing when the chosen file is chosen again."""
    await preview(visit, export(tmp_path, {"again.a": "1"}))
    assert await visit.page.locator("input[type=file]").evaluate("each => each.files.length") == 0


async def test_what_an_import_may_not_do_is_asked_in_parts(
    browser: Browser, gateway: RunningGateway, tmp_path: Path
) -> None:
    """Each refused change needs a request of its own, but not one with all others."""
    with gateway.socket() as talk:
        assert talk("schema/put", names="asked.parts.*", schema={"type": "number"})["status"] == "success"
    path = export(tmp_path, {f"asked.parts.{number}": "word" for number in range(100)})
    asked: list[int] = []

    def count(frame: str | bytes) -> None:
        if '"action":"configuration/transact"' in str(frame):
            asked.append(len(json.loads(frame)["changes"]))

    async with visiting(browser, gateway, "nothing") as visit:
        visit.page = await visit.guard.page()
        visit.page.on("websocket", lambda socket: socket.on("framesent", count))
        await visit.open("transfer")
        await visit.live()
        await preview(visit, path)
        await expect(visit.button("refused 100")).to_be_visible()
    assert sum(asked) < 100 * 10
