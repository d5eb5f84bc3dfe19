"""The JavaScript client: one suite in Node and in Chromium, against a real gateway and the fake; its size, and what is
packed of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser import guarded, launched
from tests.clients.javascript import CLIENT, serving_world
from tests.node_js import NODE, needs_websocket
from tests.running import PATIENCE

LIMITS = {"index.js": 8_192, "devices.js": 4_096, "fleet.js": 4_096}
"""Bytes of an entry, minified and compressed. The cache, OAuth and HTTP are loaded when they are used."""

MEASURE = """
import {build} from "esbuild";
import {gzipSync} from "node:zlib";
const external = ["./keeper.js", "./oauth.js", "./http.js"];
const options = {bundle: true, minify: true, format: "esm", target: "es2022", write: false, external};
const sizes = process.argv.slice(1).map(async (name) => {
  const {outputFiles: [file]} = await build({...options, entryPoints: [`src/${name}`]});
  return [name, gzipSync(file.contents).length];
});
console.log(JSON.stringify(Object.fromEntries(await Promise.all(sizes))));
"""


WHOLE = 900
"""Seconds after which a suite is not waited for any more: a hundred cases in a row, each with an end of its own."""


@pytest.fixture
def installed() -> Path:
    """Where npm has put what the client is developed with."""
    modules = CLIENT / "node_modules"
    if not (modules / "esbuild").exists():
        pytest.skip("esbuild is not installed (make check-js)")
    return modules


def test_the_suite_has_a_case_for_each_row() -> None:
    """What every client does (`cases.md`), this one does too, with the gateways of the row."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (Path(__file__).parent / "cases.md").read_text(), re.MULTILINE)
    suite = "".join(path.read_text() for path in sorted((CLIENT / "test" / "cases").glob("*.js")))
    cases = {
        found[1]: found[2] for found in re.finditer(r'^it\("(\w+)".*?^\}(?:, \{only: "(\w+)"\})?', suite, re.M | re.S)
    }
    assert rows and {key for key, _ in rows} <= set(cases)
    assert not [key for key, gateways in rows if gateways == "both" and cases[key]]


def run_in_node(world: str, *options: str) -> str:
    """Run the suite, or what the options of `node --test` choose of it; what it prints."""
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "--experimental-websocket", "--no-warnings", "--test", "--test-reporter=tap", *options, "test/node.js"],
        cwd=CLIENT,
        env={**os.environ, "HIVEWIRE_WORLD": world},
        capture_output=True,
        text=True,
        timeout=WHOLE,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@needs_websocket
@pytest.mark.timeout(WHOLE)
def test_the_suite_passes_in_node(tmp_path: Path) -> None:
    """Every promise of the client holds in Node, against both gateways."""
    with serving_world(tmp_path) as world:
        run_in_node(world)


@needs_websocket
@pytest.mark.long
def test_fifty_kills_in_node(tmp_path: Path) -> None:
    """The gateway is killed each of the 50 times."""
    with serving_world(tmp_path, kill_each=1) as world:
        assert "- real: fifty_kills" in run_in_node(world, "--test-name-pattern=real: fifty_kills")


@pytest.mark.timeout(WHOLE)
async def test_the_suite_passes_in_a_browser(tmp_path: Path) -> None:
    """And in Chromium, with IndexedDB as the cache."""
    with serving_world(tmp_path) as world:
        async with launched() as browser, guarded(browser) as context:
            page = await context.page()
            await page.goto(f"{world}/test/browser.html")
            found = await page.evaluate("() => window.results")
    assert not found["failed"], "\n".join(found["failed"])
    assert found["passed"] > 40


async def test_a_component_follows(installed: Path) -> None:
    """The hooks of React render a value and the state, and again when they change."""
    from playwright.async_api import expect  # here: each process of the suite loads this module

    command = [str(installed / ".bin" / "esbuild"), "test/react.js", "--bundle", "--format=esm"]
    bundle = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    async with launched() as browser, guarded(browser) as context:
        page = await context.page()
        await page.add_script_tag(content=bundle, type="module")
        shown = page.locator("p")
        await expect(shown).to_have_text("live: at most 100")
        await page.evaluate("""() => void gateway.change("limits.api", '{"max":5}')""")
        await expect(shown).to_have_text("live: at most 5")
        await page.evaluate("() => gateway.down()")
        await expect(shown).to_have_text("stale: at most 5")


def test_the_entries_stay_small(installed: Path) -> None:
    """A page loads little: minified and compressed, each entry has at most so many bytes."""
    assert NODE is not None
    command = [NODE, "--input-type=module", "-e", MEASURE, *LIMITS]
    ran = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    sizes = json.loads(ran.stdout)
    assert all(1_000 < sizes[name] <= limit for name, limit in LIMITS.items()), sizes


def test_types_are_packed(installed: Path, tmp_path: Path) -> None:
    """A strict TypeScript program that installs the package finds the types of all its entries."""
    folder = tmp_path / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "test", "types"))
    (folder / "node_modules").symlink_to(installed)
    packed = subprocess.run(["npm", "pack", "--silent"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert packed.returncode == 0, packed.stdout + packed.stderr
    program = tmp_path / "program"
    package = program / "node_modules" / "@hivewire" / "client"
    package.mkdir(parents=True)
    archive = folder / packed.stdout.split()[-1]
    subprocess.run(["tar", "xf", archive, "-C", package, "--strip-components=1"], check=True)
    assert not (package / "test").exists()
    for name in ("@types", "react"):
        (program / "node_modules" / name).symlink_to(installed / name)
    (program / "main.ts").write_text(PROGRAM)
    (program / "package.json").write_text('{"type": "module"}')
    options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022"]
    command = [str(installed / ".bin" / "tsc"), *options, "main.ts"]
    checked = subprocess.run(command, cwd=program, capture_output=True, text=True, timeout=PATIENCE)
    wrong = [line for line in checked.stdout.splitlines() if "error" in line]
    assert len(wrong) == 1, checked.stdout
    assert "'number' is not assignable to type 'string'" in wrong[0]


PROGRAM = """
import {Conflict, Hivewire, json} from "@hivewire/client";
import {indexedDBCache} from "@hivewire/client/cache";
import {fileCache} from "@hivewire/client/file";
import {devices} from "@hivewire/client/devices";
import {fleet} from "@hivewire/client/fleet";
import {useConfiguration, useHivewireState} from "@hivewire/client/react";
import {tenant} from "@hivewire/client/tenants";
import {FakeGateway} from "@hivewire/client/testing";

type Limits = {max: number};
const gateway = new FakeGateway();
const hw = new Hivewire([gateway.url], {token: gateway.token(), names: ["limits.*"], WebSocket: gateway.WebSocket});
const max: number | undefined = hw.get("limits.api", json<Limits>())?.value.max;
const text: string | undefined = hw.get("limits.api")?.value;
const wrong: string = hw.get("limits.api", json<Limits>())!.value.max;  // the one error
hw.on("state", ({state, staleSince}) => console.log(state, staleSince?.getTime(), max, text, wrong));
for await (const event of hw.watch("limits.*", {as: json<Limits>()})) {
  if (event.type === "changes") console.log(event.changes[0]?.entry?.value, event.conflated);
}
await hw.put("limits.api", {max: 5}, {as: json<Limits>(), expect: 7}).catch((error) => {
  if (error instanceof Conflict) console.log(error.current?.value, error.change?.modifiedBy);
});
for await (const task of devices(hw).commands({deviceId: "dev-1"})) await task.done({ok: task.command.length});
for await (const change of fleet(hw).device("dev-1").configuration()) change.refused(change.value ?? "gone");
for await (const {counts, rows} of fleet(hw).watchFleet({rows: 10})) console.log(counts.online, rows.get("d")?.state);
const state: string = useHivewireState(hw).state;
const limits: Limits | undefined = useConfiguration(hw, "limits.api", json<Limits>());
console.log(state, limits, indexedDBCache(), fileCache("a.cache"), (await tenant(hw, "shop").read()).modified);
"""
