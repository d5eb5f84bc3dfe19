"""Tools of others read the API documents of a running gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.documented import document
from tests.running import PATIENCE, RunningGateway

NODE_MODULES = Path(sys.prefix) / "clients" / "node_modules"

PARSE = """
import { createRequire } from 'node:module';
const { Parser } = createRequire(process.argv[2] + '/')('@asyncapi/parser');
let text = '';
for await (const part of process.stdin) text += part;
const { document, diagnostics } = await new Parser().parse(text);
console.log(JSON.stringify({
  actions: document ? document.operations().all().length : 0,
  found: diagnostics.filter((each) => each.severity < 2).map((each) => `${each.path.join('.')}: ${each.message}`),
}));
"""
"""Errors and warnings of the official parser; that there is a newer version of AsyncAPI is neither."""

PROGRAM = """
import sys
from client import AuthenticatedClient
from client.api.configuration import configuration_get, configuration_put
from client.models import ConfigurationPutBody, RestError

with AuthenticatedClient(sys.argv[1], sys.argv[2]) as gateway:
    name = "made by a generator"
    stored = configuration_put.sync(name, client=gateway, body=ConfigurationPutBody(value="42", description="why"))
    assert (stored.name, stored.value, stored.entity_version) == (name, "42", 1), stored
    assert configuration_get.sync(name, client=gateway) == stored
    missing = configuration_get.sync("never put", client=gateway)
    assert isinstance(missing, RestError) and missing.error == 404, missing
print("done")
"""


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_a_gateway_has_its_documents(shared_gateway: RunningGateway, name: str) -> None:
    """Nobody needs a token for them, and the first page names them."""
    answer = httpx.get(f"{shared_gateway.url}/{name}.json")
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (
        200,
        "application/json",
        document(name),
    )
    assert httpx.get(shared_gateway.url).json()[name] == f"/{name}.json"


def channel_each(document: dict[str, Any]) -> dict[str, Any]:
    """The document with a channel for each operation, with the messages that it refers to, beside the one for all.

    The parser puts the whole channel in place of each reference to it, twice in every operation.
    """
    socket = document["channels"]["socket"]
    channels, operations = {"socket": socket}, {}
    for name, operation in document["operations"].items():
        text = json.dumps(operation).replace("#/channels/socket", f"#/channels/{name}")
        named = {key: value for key, value in socket["messages"].items() if f'/messages/{key}"' in text}
        channels[name], operations[name] = {**socket, "messages": named}, json.loads(text)
    return {**document, "channels": channels, "operations": operations}


@pytest.mark.parametrize("prepared", [channel_each, pytest.param(dict, marks=pytest.mark.long)], ids=["short", "whole"])
def test_the_parser_of_asyncapi_reads_the_document(tmp_path: Path, prepared: Callable[[Any], Any]) -> None:
    """It finds every operation, and nothing wrong."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (NODE_MODULES / "@asyncapi").exists():
        pytest.skip("the npm package @asyncapi/parser is not installed (make .venv/.clients)")
    program = tmp_path / "parse.mjs"
    program.write_text(PARSE)
    command = ["node", str(program), str(NODE_MODULES)]
    text = json.dumps(prepared(document("asyncapi")))
    ran = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"actions": len(document("asyncapi")["operations"]), "found": []}


def test_a_generated_client_puts_and_reads(shared_gateway: RunningGateway, admin_token: str, tmp_path: Path) -> None:
    """openapi-python-client makes a package of the document, and a program works with it."""
    source, config = tmp_path / "openapi.json", tmp_path / "config.yaml"
    source.write_text(json.dumps(document("openapi")))
    config.write_text("post_hooks: []")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    command += ["--path", str(source), "--config", str(config), "--output-path", str(tmp_path / "client")]
    made = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert made.returncode == 0, made.stdout + made.stderr
    run = [sys.executable, "-c", PROGRAM, shared_gateway.url, admin_token]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
