"""Schemas: found, tried, made, changed by two people at once, deleted and put back."""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import Browser, expect

from tests.dashboard.hostile import HOSTILE, MARKUP
from tests.dashboard.test_faults import losing
from tests.dashboard.test_fleet import done
from tests.dashboard.test_one import put
from tests.dashboard.visit import Visit
from tests.running import RunningGateway


async def type_schema(visit: Visit, names: str, text: str) -> None:
    """Replace what is in the editor of a schema."""
    await visit.page.get_by_label(f"Schema of {names}").click()
    await visit.page.keyboard.press("Control+a")
    await visit.page.keyboard.insert_text(text)


def schema_of(gateway: RunningGateway, names: str) -> Any:
    """A schema as the gateway has it; None when there is none of just these names."""
    with gateway.socket() as talk:
        found = [each for each in done(talk, "schema/list")["schemas"] if each["names"] == names]
    return found[0] if found else None


async def test_a_schema_is_made_in_spite_of_what_is_stored(visit: Visit, gateway: RunningGateway) -> None:
    """The review names what does not fit, and the page afterwards; values are tried before that; Undo takes it back."""
    page = visit.page
    with gateway.socket() as talk:
        done(talk, "configuration/put", name="ports.a", value="99999999999999999999")
        done(talk, "configuration/put", name="ports.b", value="80")
    await visit.open("schema/?new=1")
    await visit.accessible()
    await page.get_by_label("Names").fill("ports.*")
    await visit.button("Write it").click()
    await type_schema(visit, "ports.*", '{"maximum": 12345678901234567890}')
    tried = page.get_by_role("region", name="Try a value")
    await tried.get_by_role("textbox").fill("1e30")
    await expect(tried.get_by_role("list", name="Problems")).to_have_text(re.compile(r"^\s*1e\+30 is greater"))
    await visit.accessible()
    await visit.fits()
    await visit.button("Review and save").click()
    await expect(visit.dialog.get_by_role("list", name="Stored values that do not fit")).to_contain_text("ports.a")
    await visit.accessible()
    await visit.button("Save it all the same").click()
    await expect(page.locator("main .bar")).to_contain_text("1 stored value does not fit")
    await expect(page.get_by_label("Schema", exact=True).first).to_contain_text("12345678901234567890")
    await visit.accessible()
    await visit.fits()
    await visit.button("Undo").click()
    await expect(page.get_by_role("heading", name="There is no schema for just these names")).to_be_visible()
    assert schema_of(gateway, "ports.*") is None


async def test_an_edit_is_of_one_life_of_a_schema(visit: Visit, gateway: RunningGateway) -> None:
    """One that somebody deleted and made anew is not overwritten, though it has the version that was opened."""
    with gateway.socket() as talk:
        done(talk, "schema/put", names="anew.*", schema={"maximum": 1})
        await visit.open("schema/anew.*")
        await visit.button("Edit").click()
        await type_schema(visit, "anew.*", '{"maximum": 2}')
        await visit.button("Review and save").click()
        await expect(visit.dialog.get_by_label("Why")).to_be_visible()
        done(talk, "schema/delete", names="anew.*")
        done(talk, "schema/put", names="anew.*", schema={"maximum": 3})
    await visit.dialog.get_by_role("button", name="Save").click()
    await expect(visit.dialog).to_contain_text("Somebody else saved this schema meanwhile")
    await visit.button("Take theirs").click()
    assert schema_of(gateway, "anew.*")["schema"] == {"maximum": 3}


async def test_two_people_change_a_schema(visit: Visit, gateway: RunningGateway) -> None:
    """Whoever is second sees both, and what is saved has both; then it is deleted and put back."""
    page = visit.page
    with gateway.socket() as talk:
        done(talk, "schema/put", names="twice.*", schema={"type": "integer", "minimum": 0, "maximum": 9})
        await visit.open("schema/twice.*")
        await visit.button("Edit").click()
        await type_schema(visit, "twice.*", '{"type": "integer", "minimum": 0, "maximum": 5}')
        done(talk, "schema/put", names="twice.*", schema={"type": "integer", "minimum": 1, "maximum": 9}, secret=True)
        await expect(page.get_by_role("alert")).to_contain_text("Your edit is untouched")
        await visit.button("Review and save").click()
        await expect(visit.dialog).to_contain_text("Your edits are apart")
        await visit.accessible()
        await visit.button("Review merged").click()
        await visit.dialog.get_by_label("Why").fill("less")
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").filter(has_text="Saved version 3")).to_be_visible()
        found = schema_of(gateway, "twice.*")
        assert found["schema"] == {"type": "integer", "minimum": 1, "maximum": 5}
        await page.get_by_role("link", name="History").click()
        await expect(page.get_by_role("list", name="Changes").get_by_role("listitem")).to_have_count(3)
        await page.get_by_role("button", name="Version 1").click()
        await expect(page.locator(".difference .labels span")).to_have_text(["Version 1", "Version 3 (now)"])
        await visit.accessible()
        await visit.fits()
        await visit.button("Edit version 1 again").click()
        await visit.button("Review and save").click()
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").filter(has_text="Saved version 4")).to_be_visible()
        first = {"type": "integer", "minimum": 0, "maximum": 9}
        assert schema_of(gateway, "twice.*")["schema"] == first
        await visit.button("Delete…").click()
        await visit.accessible()
        await visit.dialog.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Schemas", exact=True)).to_be_visible()
        assert schema_of(gateway, "twice.*") is None
        await visit.button("Undo").click()
        await expect(page.get_by_role("status").filter(has_text="It is as it was")).to_be_visible()
        assert schema_of(gateway, "twice.*")["schema"] == first


async def test_a_value_is_tried_by_its_name(visit: Visit, gateway: RunningGateway) -> None:
    """By the schema that this name has, which is a link; problems have their place; all texts stay text."""
    page = visit.page
    with gateway.socket() as talk:
        choices = {"type": "array", "items": {"enum": HOSTILE, "description": HOSTILE[1]}}
        done(talk, "schema/put", names="tried.<b>*", schema=choices)
        done(talk, "schema/put", names="tried.*", secret=True)
    await visit.open("schemas")
    await page.get_by_label("Search schemas").fill("TRIED")
    rows = page.get_by_role("region", name="Schemas", exact=True).get_by_role("row")
    await expect(rows).to_have_count(3)
    await expect(rows.nth(1)).to_contain_text("anything secret")
    name, value = page.get_by_label("Its name"), page.get_by_role("textbox", name="A value")
    await name.fill("tried.<b>x")
    await value.fill('["<img src=x onerror=alert(1)>"]')
    await expect(page.get_by_role("list", name="Problems")).to_contain_text("/0: ")
    await visit.accessible()
    await visit.fits()
    assert await page.locator(MARKUP).count() == 0
    await name.fill("untried")
    await expect(page.get_by_text("No schema is for this name")).to_be_visible()
    await name.fill("tried.<b>x")
    await value.fill("[]")
    await expect(page.get_by_text("fits by the schema of")).to_be_visible()
    await page.get_by_role("region", name="Try a value").get_by_role("link").click()
    await expect(page.get_by_label("Schema", exact=True).first).to_contain_text("onerror")
    assert await page.locator(MARKUP).count() == 0
    await visit.fits()
    await visit.open("schema/tried.*")
    await expect(page.get_by_text("but not for those with a schema of their own: tried.<b>*")).to_be_visible()
    await visit.accessible()
    put(gateway, "tried.one", "secret")
    await visit.open("one/tried.one")
    await expect(page.locator(".facts").get_by_role("link", name="tried.*")).to_be_visible()
    await visit.open("one/?new=1")
    await page.get_by_label("Name").fill("tried.<b>new")
    await visit.button("Write its value").click()
    await visit.type("tried.<b>new", '["other"]')
    editing = page.get_by_role("region", name="Edit")
    await expect(editing.get_by_role("list", name="Problems")).to_contain_text("/0: ")
    await expect(editing.get_by_role("link", name="tried.<b>*")).to_be_visible()


async def test_an_earlier_version_asks_before_it_replaces_an_edit(visit: Visit, gateway: RunningGateway) -> None:
    """What was typed is not lost without a question."""
    page = visit.page
    with gateway.socket() as talk:
        for least in (1, 2):
            done(talk, "schema/put", names="earlier.*", schema={"minimum": least})
    await visit.open("schema/earlier.*")
    await visit.button("Edit").click()
    await type_schema(visit, "earlier.*", '{"minimum": 77}')
    await visit.open("schema/earlier.*?tab=history")
    for answer in ("Cancel", "Discard it"):
        await page.get_by_role("button", name="Edit version 1 again").click()
        await visit.accessible()
        await visit.dialog.get_by_role("button", name=answer).click()
        await expect(visit.dialog).to_have_count(0)
        if answer == "Cancel":
            await visit.open("schema/earlier.*")
            await expect(page.get_by_label("Schema of earlier.*")).to_contain_text("77")
            await visit.open("schema/earlier.*?tab=history")
    await expect(page.get_by_label("Schema of earlier.*")).not_to_contain_text("77")


async def test_a_schema_whose_answer_was_lost_counts_as_saved_and_as_deleted(
    browser: Browser, gateway: RunningGateway
) -> None:
    """The page looks it up, and both can be undone."""
    with gateway.socket() as talk:
        done(talk, "schema/put", names="answerless.*", schema={"minimum": 1})
    for action in ("schema/put", "schema/delete"):
        async with losing(browser, gateway, action, "schema/answerless.*") as (visit, lost):
            if action == "schema/put":
                await visit.button("Edit").click()
                await type_schema(visit, "answerless.*", '{"maximum": 12345678901234567890, "minimum": 2}')
                await visit.button("Review and save").click()
                await visit.dialog.get_by_role("button", name="Save").click()
            else:
                await visit.button("Delete…").click()
                await visit.dialog.get_by_role("button", name="Delete").click()
            await expect(visit.page.locator(".notice")).to_contain_text(
                re.compile("Saved version 2|Deleted the schema")
            )
            assert len(lost) == 1
            await visit.button("Undo").click()
            await expect(visit.page.locator(".notice")).to_contain_text("It is as it was")
        assert schema_of(gateway, "answerless.*")["schema"] == {"minimum": 1}
