"""What layers hold: staged with other edits, and undone without being known."""

from __future__ import annotations

from playwright.async_api import expect

from tests.dashboard.hostile import HOSTILE, MARKUP
from tests.dashboard.test_devices import device
from tests.dashboard.test_fleet import done
from tests.dashboard.visit import Visit
from tests.running import RunningGateway


async def test_edits_of_layers_and_plain_ones_are_written_together(visit: Visit, gateway: RunningGateway) -> None:
    """One name in a layer and plain is two edits; one that somebody else overtakes is marked, and merged."""
    page = visit.page
    with gateway.socket() as talk:
        done(talk, "layer/put", layer="kegs", rank=810, target={"labels": {"keg": ["yes"]}})
        for layer in (None, "kegs"):
            done(talk, "configuration/put", name="keg.size", value="30", layer=layer)
        done(talk, "configuration/put", name="keg.old", value="1", layer="kegs")
        for place in ("one/keg.size", "one/keg.size/kegs"):
            await visit.open(place)
            await visit.button("Edit").click()
            await visit.type("keg.size", f"50 {place}")
            await visit.button("Stage").click()
            await expect(page.get_by_role("status").filter(has_text="Staged")).to_be_visible()
        await visit.open("one/keg.old/kegs")
        await visit.button("Stage delete").click()
        await visit.open("basket")
        await expect(page.get_by_text("3 changes.")).to_be_visible()
        cards = page.locator(".cards li")
        await expect(cards.nth(1)).to_contain_text("keg.size in kegs")
        done(talk, "configuration/put", name="keg.size", value=HOSTILE[1], layer="kegs")
        await expect(cards.nth(1)).to_contain_text("admin changed it")
        await visit.accessible()
        await visit.fits()
        await cards.nth(1).get_by_role("button", name="Merge…").click()
        await visit.dialog.get_by_role("radio", name="Yours").check()
        await visit.dialog.get_by_role("button", name="Keep editing").click()
        assert await page.locator(MARKUP).count() == 0
        await visit.button("Stage").click()
        await visit.open("basket")
        await visit.button("Check").click()
        await expect(page.get_by_text("The gateway would take all of it.")).to_be_visible()
        await visit.button("Commit all or nothing").click()
        await expect(page.get_by_role("status").filter(has_text="3 changes written")).to_be_visible()
        found = [
            done(talk, "configuration/get", name="keg.size", layer=layer)["configuration"]["value"]
            for layer in (None, "kegs")
        ]
        assert found == ["50 one/keg.size", "50 one/keg.size/kegs"]
        assert talk("configuration/get", name="keg.old", layer="kegs")["code"] == 404


async def test_a_rollout_of_secret_values_is_undone(visit: Visit, gateway: RunningGateway) -> None:
    """Nobody has to know what they were."""
    page = visit.page
    with gateway.socket() as talk:
        done(talk, "schema/put", names="vault.*", secret=True)
        done(talk, "layer/put", layer="vaults", rank=812, target={"labels": {"vault": ["yes"]}})
        done(talk, "configuration/put", name="vault.key", value="first", layer="vaults")
        change = {"operation": "put", "name": "vault.key", "value": "second"}
        gate = {"wait": 0, "minimum": 1}
        done(talk, "rollout/start", layer="vaults", changes=[change], steps=[{"percent": 100}], gate=gate)
        number = done(talk, "rollout/list", take=1)["rollouts"][0]["rollout"]
        await visit.open(f"rollout/{number}")
        await visit.button("Undo with a new rollout…").click()
        await expect(page.get_by_text("As it was before; it is not shown.")).to_be_visible()
        await page.get_by_label("Then these percentages").fill("100")
        await page.get_by_text("Gate and time").click()
        await page.get_by_label("Wait").fill("0")
        await visit.button("Start").click()
        await expect(page.locator("h1")).to_contain_text(f"Rollout {number + 1} completed")
        found = done(talk, "configuration/get", name="vault.key", layer="vaults", reveal=True)
        assert found["configuration"]["value"] == "first"


async def test_a_layer_that_others_change_meanwhile_is_not_overwritten(visit: Visit, gateway: RunningGateway) -> None:
    """A form and a question are about the layer, or the schema, that was there when they opened."""
    target = {"labels": {"mug": ["yes"]}}
    with gateway.socket() as talk:
        done(talk, "layer/put", layer="mugs", rank=820, target=target)
        done(talk, "schema/put", names="mug.*", schema={"type": "string"})
        await visit.open("layer/mugs")
        await visit.button("Change").click()
        await visit.dialog.get_by_label("Rank").fill("821")
        done(talk, "layer/put", layer="mugs", rank=822, target=target)
        await expect(visit.page.locator(".facts")).to_contain_text("822")
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(visit.dialog.get_by_role("alert")).to_be_visible()
        await visit.page.keyboard.press("Escape")
        await visit.open("schema/mug.*")
        await visit.button("Delete…").click()
        done(talk, "schema/put", names="mug.*", schema={"type": "integer"})
        await expect(visit.page.locator(".facts")).to_contain_text("Version 2")
        await visit.dialog.get_by_role("button", name="Delete").click()
        await expect(visit.dialog.get_by_role("alert")).to_be_visible()
        await visit.page.keyboard.press("Escape")
        assert next(each["rank"] for each in done(talk, "layer/list")["layers"] if each["layer"] == "mugs") == 822
        assert "mug.*" in [each["names"] for each in done(talk, "schema/list")["schemas"]]


async def test_labels_that_cannot_be_typed_stay_as_they_are(visit: Visit, gateway: RunningGateway) -> None:
    """With a line break or = they would be others afterwards; names of what every object has are names like any."""
    labels = {"a=b": ["line\nbreak"], "__proto__": ["x"], "constructor": ["y"]}
    with gateway.socket() as talk:
        done(talk, "layer/put", layer="odd", rank=830, target={"labels": labels})
        device(talk, "odd-a", "Odd")
        done(talk, "device/label", deviceId="odd-a", labels={"a=b": "line\nbreak"})
        await visit.open("layer/odd")
        await visit.button("Change").click()
        await expect(visit.dialog.get_by_label("Labels")).to_be_disabled()
        await visit.dialog.get_by_label("Rank").fill("831")
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(visit.page.get_by_role("status").filter(has_text="Saved the layer")).to_be_visible()
        await visit.open("layers")
        await visit.button("New").click()
        for label, text in (("Name", "even"), ("Rank", "832"), ("Labels", "__proto__=x\nconstructor=y")):
            await visit.dialog.get_by_label(label).fill(text)
        await visit.dialog.get_by_role("button", name="Save").click()
        await expect(visit.page.get_by_role("heading", name="even")).to_be_visible()
        found = {each["layer"]: each["target"] for each in done(talk, "layer/list")["layers"]}
        assert found["odd"] == {"labels": labels}
        assert found["even"] == {"labels": {"__proto__": ["x"], "constructor": ["y"]}}
        await visit.open("device/odd-a?tab=configuration")
        await visit.button("Change…").click()
        await expect(visit.dialog.get_by_label("Labels")).to_be_disabled()
        await expect(visit.dialog.get_by_text("cannot be typed here")).to_be_visible()
