"""The vendor's JavaScript client, `mindtouch-http.js` as it comes from npm, against this gateway."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.running import PASSWORD, PATIENCE, RunningGateway

NODE, NPM = shutil.which("node"), shutil.which("npm")
PACKAGE = "mindtouch-http.js@2.1.4"

SCRIPT = """
const { Plug } = require(process.argv[1]);
const [root, authorization, name] = process.argv.slice(2);
const text = 'text/plain; charset=utf-8';
const print = value => console.log(JSON.stringify(value));
const site = new Plug(root).at('site', 'properties').withHeader('Authorization', authorization);
const property = site.at(encodeURIComponent(encodeURIComponent(name)));
const refused = promise => promise.then(() => { throw new Error('was not refused'); }, error => {
    if(error.status === undefined) throw error;
    return [error.status, error.responseText];
});
const etag = response => response.headers.get('etag');
(async () => {
    const slug = encodeURIComponent(name);
    const made = await site.withHeader('Slug', slug).post('Pizza', text);
    print([made.status, await made.text()]);
    const read = await property.get();
    print([read.status, read.headers.get('content-type'), await read.text(), etag(read) === etag(made)]);
    const info = await property.at('info').withParam('dream.out.format', 'json').get();
    print(await info.json());
    const chosen = site.withParams({ names: `other,${name}`, 'dream.out.format': 'json' });
    print(await (await chosen.get()).json());
    const updated = await property.withHeader('ETag', etag(read)).put('Hamburgers', text);
    print([updated.status, etag(updated) !== etag(read)]);
    print(await refused(property.withHeader('ETag', etag(read)).put('Salad', text)));
    print(await refused(property.withParam('etag', etag(read)).put('Salad', text)));
    const forced = await property.withParams({ abort: 'never', description: 'no choice' }).put('Salad', text);
    print([forced.status, await (await property.get()).text()]);
    print([(await property.head()).status, (await property.delete()).status]);
    print(await refused(property.get()));
    print(await refused(new Plug(root).at('site', 'properties').get()));
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed from the package index."""
    if NODE is None or NPM is None:
        pytest.skip("there is no node with npm")
    fetches = [NODE, "-e", "process.exit(typeof fetch === 'function' ? 0 : 1)"]
    if subprocess.run(fetches, capture_output=True, timeout=PATIENCE).returncode:
        pytest.skip("this node has no fetch of its own (18 or newer has)")
    folder = tmp_path_factory.mktemp("npm")
    command = [NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), PACKAGE]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, "npm_config_loglevel": "error"}
    )
    if ran.returncode:
        pytest.skip(f"npm could not install {PACKAGE}: {ran.stderr.strip()[-300:]}")
    return folder / "node_modules" / "mindtouch-http.js"


def test_the_client_creates_updates_meets_a_conflict_and_forces(shared_gateway: RunningGateway, package: Path) -> None:
    """Unmodified, it does all that a script does with a property, and a subscriber sees all of it."""
    name = "urn:custom.mindtouch.com#lunch + 1"
    credentials = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    assert NODE is not None
    with shared_gateway.socket() as talk:
        talk("configuration/subscribe", names=["urn:*"], snapshot=False)
        ran = subprocess.run(
            [NODE, "-e", SCRIPT, str(package), shared_gateway.url + "/@api/deki", f"Basic {credentials}", name],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ran.returncode == 0, ran.stderr
        made, read, info, chosen, updated, stale, stale_query, forced, gone, missing, anonymous = map(
            json.loads, ran.stdout.splitlines()
        )
        assert made[0] == 200
        assert f'name="{name}"' in made[1]
        assert read == [200, "text/plain; charset=utf-8", "Pizza", True]
        assert (info["@name"], info["contents"]["#text"]) == (name, "Pizza")
        assert (chosen["@count"], chosen["property"]) == ("1", info)
        assert updated == [200, True]
        for status, text in (stale, stale_query):
            assert status == 409
            assert "<status>409</status>" in text
        assert forced == [200, "Salad"]
        assert gone == [200, 200]
        assert (missing[0], anonymous[0]) == (404, 403)
        pushed: list[Any] = [talk.receive() for _ in range(4)]
    seen = [
        (each["operation"], each["configuration"]["value"], each["configuration"]["entityVersion"]) for each in pushed
    ]
    assert seen == [("put", "Pizza", 1), ("put", "Hamburgers", 2), ("put", "Salad", 3), ("delete", None, 4)]
    assert pushed[2]["description"] == "no choice"
