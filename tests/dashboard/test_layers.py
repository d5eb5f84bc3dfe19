"""What layers hold: staged with other edits, and undone without being known."""

from __future__ import annotations

from playwright.async_api import expect

from tests.dashboard.hostile import HOSTILE, MARKUP
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
