"""The command line: layers, devices' labels and effective values, rollouts and counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hivewire.cli import configuration, rollout
from hivewire.cli.output import local
from tests.command import Run, on_terminal
from tests.running import RunningGateway, Talk

MINT = {"userId": 1, "actions": ["SyncConfiguration"], "networkIds": ["*"], "deviceTypeIds": ["*"]}


@pytest.fixture
def device(logged_in: Run, talk: Talk) -> Iterator[str]:
    """A device with a layer of its own kind, both gone afterwards."""
    talk("device/save", deviceId="cmd-1", device={"name": "cmd-1"})
    assert logged_in("device", "label", "cmd-1", "fleet=cmd").out == "fleet=cmd\n"
    put = logged_in("layer", "put", "cmd", "77", "--label", "fleet=cmd", "--without", "spare")
    assert put.out.endswith("; devices that have it: 1\n")
    yield "cmd-1"
    for row in talk("rollout/list")["rollouts"]:
        if row["layer"] == "cmd" and row["state"] in ("running", "held"):
            talk("rollout/rollback", rollout=row["rollout"])
    talk("device/delete", deviceId="cmd-1")
    assert logged_in("layer", "delete", "cmd", "--force").out.startswith("cmd is deleted (revision ")


def test_layers_labels_and_what_counts(logged_in: Run, device: str) -> None:
    """A value in a layer counts for the device; labels are set and removed; a layer is shown with its target."""
    assert logged_in("put", "cmd.baud", "9600", "--layer", "cmd").code == 0
    assert logged_in("get", "cmd.baud", "--layer", "cmd").out == "9600"
    assert json.loads(logged_in("list", "--layer", "cmd").out)["layer"] == "cmd"
    shown = logged_in("device", "effective", device, "cmd.*", "-o", "table").out
    assert shown.split("\n")[1].split() == ["cmd.baud", "9600", "cmd", "pending"]
    listed = logged_in("layer", "list", "-o", "table").out
    assert "fleet=cmd, no spare" in listed
    tried = logged_in("device", "label", device, "fleet-", "a=1", "--dry-run")
    assert tried.out == "cmd-1 is not written; it would be labelled a=1\n"
    assert logged_in("device", "label", device, "fleet-", "--dry-run").out.endswith("would be without labels\n")
    assert logged_in("device", "label", device).out == "fleet=cmd\n"
    assert logged_in("device", "label", device, "fleet-", "a=1").out == "a=1\n"
    assert logged_in("device", "effective", device, "cmd.*").out == ""
    assert logged_in("device", "label", device, "wrong").code == 2
    logged_in("put", "cmd.baud", "1", "--layer", "cmd", "--description", "slower")
    assert logged_in("history", "cmd.baud", "--layer", "cmd", "-o", "value").out == "1\n9600\n"
    shown = logged_in("changes", "cmd.*", "--layer", "*", "--take", "1", "-o", "table").out
    assert (shown.split()[0], shown.split("\n")[1].split()[0]) == ("layer", "cmd")
    back = logged_in("rollback", "cmd.baud", "1", "--layer", "cmd").out
    assert (back.startswith("cmd.baud is at version 3"), back.endswith("as it was at version 1\n")) == (True, True)
    assert logged_in("delete", "cmd.baud", "--layer", "cmd").code == 0


def test_the_values_of_all_layers_are_listed_page_by_page(
    logged_in: Run, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once with its layer, also where a page ends between two of one name."""
    for layer in ("cmd", "device/cmd-1"):
        assert logged_in("put", "cmd.paged", "1", "--layer", layer).code == 0
    monkeypatch.setattr(configuration, "PAGE", 1)
    heading, *rows = logged_in("list", "cmd.paged", "--layer", "*", "-o", "table").out.splitlines()
    assert heading.split() == ["layer", "name", "version", "value"]
    assert [row.split()[:2] for row in rows] == [["cmd", "cmd.paged"], ["device/cmd-1", "cmd.paged"]]
    assert len(logged_in("list", "cmd.paged", "--layer", "*", "--take", "1").out.splitlines()) == 1


def test_a_dry_run_in_a_layer_says_how_many_devices_it_is_about(
    logged_in: Run, device: str, tmp_path: Path, shared_gateway: RunningGateway
) -> None:
    """As a sentence, as JSON, and over HTTP as a header."""
    logged_in("put", "cmd.baud", "9600", "--layer", "cmd")
    about = "; devices that have the layer: 1 (0 online, 0 see nothing of it)\n"
    file = tmp_path / "changes.json"
    file.write_text('{"changes":[{"operation":"put","name":"cmd.baud","value":"1","layer":"cmd"}]}')
    for tried in (
        ("put", "cmd.baud", "1", "--layer", "cmd"),
        ("rollback", "cmd.baud", "1", "--layer", "cmd"),
        ("delete", "cmd.baud", "--layer", "cmd"),
        ("transact", str(file)),
        ("layer", "delete", "cmd", "--force"),
    ):
        assert logged_in(*tried, "--dry-run").out.endswith(about), tried
        told = json.loads(logged_in(*tried, "--dry-run", "--json").out)
        assert told["affects"] == {"devices": 1, "online": 0, "hidden": 0}
    assert "devices that" not in logged_in("put", "cmd.plain", "1", "--dry-run").out
    url = f"{shared_gateway.url}/api/rest/layer/cmd/configuration/cmd.baud?dryRun=true"
    headers = {"Authorization": f"Bearer {logged_in('token', '--action', '*').out.strip()}"}
    for answer in (httpx.put(url, json={"value": "1"}, headers=headers), httpx.delete(url, headers=headers)):
        assert answer.headers["Hivewire-Affects"] == "devices=1, online=0, hidden=0"


def test_a_device_s_token_reports_and_its_value_is_adopted(
    logged_in: Run, device: str, shared_gateway: RunningGateway
) -> None:
    """`token --device` makes a token that reports; `device adopt` makes what it reported the desired value. What only
    the device has is shown without a value."""
    logged_in("put", "cmd.baud", "9600", "--layer", "cmd")
    token = logged_in("token", "--device", device).out.strip()
    assert logged_in("device", "adopt", device, "cmd.baud").code == 1
    with shared_gateway.socket(token) as talk:
        said = {"cmd.baud": "4800", "own.firmware": "1.4"}
        talk("device/report", deviceId=device, report=[{"name": name, "value": said[name]} for name in said])
    shown = logged_in("device", "effective", device, "own.*", "-o", "table").out
    assert shown.split("\n")[1].split() == ["own.firmware", "local", "1.4"]
    shown = logged_in("device", "effective", device, "--token", token, "-o", "table").out
    assert shown.split("\n")[1].split() == ["cmd.baud", "9600"], "a device is not told the layer, nor what it said"
    tried = logged_in("device", "adopt", device, "cmd.baud", "--dry-run")
    assert tried.out == "cmd.baud of cmd-1 is not written; it would be 4800\n"
    assert logged_in("device", "adopt", device, "cmd.baud").out.startswith("cmd.baud of cmd-1 is 4800 (revision ")
    assert logged_in("device", "effective", device, "cmd.*", "-o", "value").out == "4800\n"
    assert logged_in("token").code == 2


def test_rollouts_and_counts(logged_in: Run, device: str, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, hold, resume and roll back; what is wrong is a sentence."""
    logged_in("put", "cmd.baud", "9600", "--layer", "cmd")
    steps = ("--steps", "50,100", "--wait", "600")
    started = logged_in("rollout", "start", "cmd", "cmd.baud=19200", *steps, "-o", "value")
    number = started.out.strip()
    assert logged_in("rollout", "status", number, "-o", "value").out == "running\n"
    held = logged_in("put", "cmd.baud", "1", "--layer", "cmd")
    assert held.err.endswith(f"Configuration 'cmd.baud' of layer 'cmd' is held by rollout {number}\n")
    assert logged_in("rollout", "hold", number).out.startswith(f"rollout {number} is held (revision ")
    assert "held by admin" in logged_in("rollout", "list", "--state", "held", "-o", "table").out
    assert logged_in("rollout", "list", "--take", "1", "-o", "value").out == f"{number}\n"
    every = [str(row["rollout"]) for row in talk("rollout/list", take=100)["rollouts"]]
    monkeypatch.setattr(rollout, "PAGE", 1)
    assert logged_in("rollout", "list", "-o", "value", "--take", "9").out.split() == every[:9]
    assert logged_in("rollout", "resume", number, "--step", "2").code == 0
    counted: dict[str, Any] = json.loads(logged_in("fleet", "count", "--label", "fleet=cmd", "--json").out)
    assert (counted["devices"], counted["pending"]) == (1, 1)
    assert json.loads(logged_in("fleet", "list", "--label", "fleet=cmd").out)["deviceId"] == device
    undone = logged_in("rollout", "start", "cmd", "--undo", number)
    assert undone.err.endswith(f"Rollout {number} is running; it cannot be undone\n")
    tried = logged_in("rollout", "start", "cmd", "cmd.other=1", "--dry-run")
    assert tried.out == "this rollout is not written; it would be one for 1 devices\n"
    tried = logged_in("layer", "put", "tried", "78", "--dry-run")
    assert tried.out.startswith("tried is not written; it would be a layer of ")
    assert logged_in("layer", "delete", "tried").code == 1
    assert logged_in("rollout", "rollback", number).code == 0
    tried = logged_in("layer", "delete", "cmd", "--force", "--dry-run")
    assert tried.out.startswith("cmd is not written; it would be deleted; ")
    assert logged_in("rollout", "rollback", number).code == 1
    assert logged_in("rollout", "start", "cmd").code == 2
    assert logged_in("rollout", "start", "cmd", "a=b", "--steps", "many").code == 2
    rights = {"10,50": "10,50,100", "50,20": "20,50,100", "50,2.5,100": "2.5,50,100", "0,nan": "100"}
    for given, right in rights.items():
        wrong = logged_in("rollout", "start", "cmd", "a=b", "--steps", given)
        assert (wrong.code, f"they must ascend to 100, as in --steps {right} " in wrong.err) == (2, True)
    assert talk("rollout/get", rollout=int(number))["rollout"]["state"] == "rolledBack"


def test_the_status_of_a_rollout_is_whole_on_a_narrow_terminal(logged_in: Run, device: str) -> None:
    """Each member has a line of its own, with the whole reason; into a pipe goes an object."""
    logged_in("put", "cmd.baud", "9600", "--layer", "cmd")
    # The device is in the first step: one without devices is passed at once.
    number = logged_in("rollout", "start", "cmd", "cmd.baud=19200", "--steps", "100", "-o", "value").out.strip()
    logged_in("rollout", "hold", number)
    shown = on_terminal("rollout", "status", number, columns=80)
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines() if " " in line)
    found = json.loads(logged_in("rollout", "status", number).out)
    assert (lines["state"], lines["step"], lines["names"]) == ("held", "1 of 1", "cmd.baud")
    assert lines["reason"] == found["reason"]
    assert lines["since"] == local(found["since"])


def test_a_step_of_a_rollout_may_change_the_gate(logged_in: Run, device: str, talk: Talk) -> None:
    """`--gate STEP:NAME=VALUE` changes it from this step on; what is wrong is a sentence."""
    logged_in("put", "cmd.gated", "1", "--layer", "cmd")
    start = ("rollout", "start", "cmd", "cmd.gated=2", "--steps", "50,100", "--wait", "600")
    gates = ("--gate", "1:minimum=1", "--gate", "1:success=99.5", "--gate", "2:on-failure=rollback")
    number = int(logged_in(*start, *gates, "-o", "value").out)
    found = talk("rollout/get", rollout=number)["rollout"]
    assert (found["gate"]["minimum"], found["gate"]["wait"]) == (1, 600)
    assert [step["gate"] for step in found["steps"]] == [{"success": 99.5, "minimum": 1}, {"onFailure": "rollback"}]
    for wrong in ("3:wait=1", "0:wait=1", "1:patience=1", "1:wait=long", "wait=1"):
        refused = logged_in(*start, "--gate", wrong)
        assert (refused.code, f"--gate {wrong}: give a step from 1 to 2" in refused.err) == (2, True)
