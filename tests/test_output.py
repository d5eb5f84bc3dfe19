"""What commands print with `-o`: each one that prints has it, and the page of the operations says what comes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from hivewire import cli
from hivewire.cli import connections, device, rollout, schema
from hivewire.cli.output import local, show
from tests.command import Run
from tests.running import PASSWORD, RunningGateway
from tests.tables import DOCS

TABLE = "| command | the members of `-o json` | `-o value` |"
DOCUMENT = '{"label":"Shop","schemaVersion":"1","entityTypes":[]}'


def commands(group: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        yield " ".join(names), group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command, *names, name)


def documented() -> dict[str, set[str]]:
    """The members of the object that each command prints, as the page has them."""
    rows = (DOCS / "operations.md").read_text().partition(TABLE)[2].split("\n\n")[0].splitlines()[2:]
    cells = [[re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:-1]] for row in rows]
    return {command: {*members} for names, members, _ in cells for command in names if not command.startswith("--")}


def test_every_command_has_the_option_and_is_on_the_page() -> None:
    """Every command that prints has `-o` and is in the documentation, also if it prints a sentence."""
    found = dict(commands(cli._hivewire))
    assert found.keys() == documented().keys()
    for name, command in found.items():
        assert [option for option in command.params if option.name == "form" and "-o" in option.opts], name


class Asked:
    """Runs commands with `-o json`, and holds what they print against the page."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._documented = documented()

    def __call__(self, name: str, *arguments: str, stdin: bytes = b"") -> dict[str, Any]:
        outcome = self._run(*name.split(), *arguments, "-o", "json", stdin=stdin)
        assert (outcome.code, outcome.out.count("\n")) == (0, 1), (name, outcome)
        made: dict[str, Any] = json.loads(outcome.out)
        assert not self._documented[name] or made.keys() == self._documented[name], name
        return made


def test_what_was_done_is_an_object(logged_in: Run, tmp_path: Path) -> None:
    """It has everything that a script needs: versions, paths, bytes, ids."""
    ask = Asked(logged_in)
    password = f"{PASSWORD}\n".encode()
    assert ask("put", "out.a", "1")["entityVersion"] == 1
    assert ask("put", "out.a", "2")["entityVersion"] == 2
    assert ask("get", "out.a")["value"] == "2"
    assert ask("list", "out.a")["name"] == "out.a"
    assert ask("diff", "out.a")["lines"][-2:] == ["-1", "+2"]
    assert ask("rollback", "out.a", "1")["entityVersion"] == 3
    file = tmp_path / "out.json"
    exported = ask("export", "out.*", "--output", str(file))
    assert (exported["path"], exported["bytes"]) == (str(file), file.stat().st_size)
    assert ask("delete", "out.a")["name"] == "out.a"
    assert ask("import", str(file), "--dry-run")["dryRun"]
    assert ask("import", str(file))["created"] == ["out.a"]
    assert ask("transact", "-", stdin=b'[{"operation":"delete","name":"out.a"}]')["revision"]
    alice = ask("user add", "out.alice", stdin=password)
    assert ask("user password", "out.alice", stdin=password) == {"login": "out.alice"}
    assert ask("user role", "out.alice", "admin") == {"login": "out.alice", "role": 0}
    assert ask("user lock", "out.alice") == {"login": "out.alice", "status": 1}
    assert ask("user unlock", "out.alice") == {"login": "out.alice", "status": 0}
    assert ask("user revoke", "out.alice") == {"login": "out.alice", "id": alice["id"]}
    assert logged_in("user", "lock", "out.alice", "-o", "value").out == "out.alice\n"
    assert ask("tenant add", "outShop") == {"tenantId": "outShop"}
    assert ask("client add", "out.sync", "--tenant", "outShop")["clientId"] == "out.sync"
    file.write_text(DOCUMENT)
    saved = ask("tenant put", "outShop", str(file))
    assert saved["bytes"] == len(logged_in("tenant", "get", "outShop", "-o", "json").out) - 1
    assert json.loads(logged_in("tenant", "get", "outShop").out)["updatedTime"] == saved["updatedTime"]
    assert "label: Shop\n" in logged_in("tenant", "get", "outShop", "-o", "yaml").out
    file.write_text(DOCUMENT[:-1] + ',"roles":[{"uri":"configuration/roles/A"}],"rolls":[]}')
    assert ask("tenant diff", "outShop", str(file))["added"] == ["configuration/roles/A"]
    assert ask("tenant check", "outShop", str(file))["severity"] == "Warning"
    assert ask("tenant history", "outShop")["label"] == "Shop"
    assert ask("client secret", "out.sync").keys() == {"clientId", "clientSecret"}
    granted = ask("client privileges", "out.sync", "--tenant", "outShop", "--privilege", "update")
    assert granted == {"clientId": "out.sync", "tenants": {"outShop": ["READ", "UPDATE"]}}
    assert ask("client delete", "out.sync") == {"clientId": "out.sync"}
    assert ask("tenant delete", "outShop") == {"tenantId": "outShop"}
    assert ask("audit", "--about", "outShop", "--take", "1")["kind"] == "tenant"
    assert ask("completion", "bash")["script"].strip()
    assert ask("token", "--action", "GetConfiguration").keys() == {"accessToken", "refreshToken"}
    assert ask("whoami")["login"] == "admin"
    assert ask("status")["state"] == "ready"
    assert ask("open", "--print")["url"].endswith("/dashboard/")


def test_what_was_done_to_layers_and_rollouts_is_an_object(logged_in: Run) -> None:
    """It has numbers, revisions and counts."""
    ask = Asked(logged_in)
    ask("device put", "out-layered")
    assert ask("device label", "out-layered", "out=a")["labels"] == {"out": "a"}
    assert ask("layer put", "out", "77", "--label", "out=a")["devices"] == 1
    assert logged_in("put", "out.level", "1", "--layer", "out").code == 0
    assert ask("device effective", "out-layered", "out.level")["layer"] == "out"
    started = ask("rollout start", "out", "out.level=2", "--steps", "100")
    number = str(started["rollout"])
    assert ask("rollout status", number)["layer"] == "out"
    assert ask("rollout hold", number)["rollout"] == started["rollout"]
    assert ask("rollout resume", number)["revision"] > started["revision"]
    assert ask("rollout rollback", number)["rollout"] == started["rollout"]
    assert ask("fleet count", "--label", "out=a")["devices"] == 1
    assert ask("fleet list", "--label", "out=a")["deviceId"] == "out-layered"
    assert ask("layer delete", "out", "--force")["layer"] == "out"
    ask("device delete", "out-layered")


def test_what_was_done_to_devices_is_an_object(logged_in: Run) -> None:
    """And to networks and device types: it has ids and names."""
    ask = Asked(logged_in)
    device = ask("device put", "out-a", "--data", "{}")
    assert device == ask("device get", "out-a") == ask("device list", "out-a")
    assert device.keys() == {"id", "name", "data", "networkId", "deviceTypeId", "isBlocked"}
    assert ask("device revoke", "out-a") == {"id": "out-a"}
    assert ask("device delete", "out-a") == {"id": "out-a"}
    for noun in ("network", "type"):
        made = ask(f"{noun} add", "out.a", "--description", "first")
        assert made == ask(f"{noun} list", "out._") == {"id": made["id"], "name": "out.a", "description": "first"}
        assert ask(f"{noun} change", "out.a", "--name", "out.b", "--description", "") == {
            "id": made["id"], "name": "out.b", "description": "",
        }  # fmt: skip
        assert ask(f"{noun} delete", "out.b")["id"] == made["id"]
        place = "Sample Network" if noun == "network" else "Default Device Type"
        for line in logged_in(noun, "devices", place, "-o", "json").out.splitlines():
            assert json.loads(line).keys() == {"id", "name", "data", "isBlocked"}


def test_what_is_said_of_members_and_messages_is_an_object(logged_in: Run) -> None:
    """Users with what they reach, commands and notifications."""
    ask = Asked(logged_in)
    ask("user add", "out.member", stdin=f"{PASSWORD}\n".encode())
    assert ask("user assign", "out.member", "--network", "1")["networks"][0]["id"] == 1
    assert ask("user unassign", "out.member", "--all-types")["deviceTypes"] == []
    assert ask("user get", "out.member")["login"] == "out.member"
    ask("user delete", "out.member")
    ask("device put", "out-told")
    told = ask("command send", "out-told", "off")["id"]
    for kind in ("command", "notification"):
        sent = ask(f"{kind} send", "out-told", "on", '{"n":1}')
        assert ask(f"{kind} get", "out-told", str(sent["id"])) == ask(f"{kind} list", "out-told", "--name", "on")
    assert ask("command update", "out-told", str(told), '{"n":2}', "--status", "ok")["result"] == {"n": 2}
    ask("device delete", "out-told")


def test_a_login_is_an_object(run: Run, shared_gateway: RunningGateway) -> None:
    """With `-o json`, login and logout each print an object."""
    ask = Asked(run)
    made = ask("login", "--url", shared_gateway.url, stdin=f"{PASSWORD}\n".encode())
    assert (made["login"], made["url"]) == ("admin", shared_gateway.url)
    assert Path(made["profile"]).is_file()
    assert ask("logout")["tokensEnded"] is True
    assert run("login", "--url", shared_gateway.url, "-o", "value", stdin=PASSWORD.encode()).out == "admin\n"


def test_what_is_done_to_files_is_an_object(run: Run, data: Path, tmp_path: Path) -> None:
    """With `-o json`, commands on files print an object with paths and sizes."""
    ask = Asked(run)
    with RunningGateway(data) as gateway:
        assert gateway.stop() == 0
    at = ("--data", str(data))
    copy, lines, loaded = (tmp_path / name for name in ("copy.db", "lines.jsonl", "loaded.db"))
    made = ask("backup", str(copy), *at)
    assert made == {"path": str(copy), "data": str(data), "bytes": copy.stat().st_size}
    assert run("backup", str(tmp_path / "second.db"), *at, "-o", "value").out == f"{tmp_path / 'second.db'}\n"
    assert Path(ask("restore", str(copy), *at)["before"]).is_file()
    made = ask("dump", str(lines), *at)
    assert (made["path"], made["bytes"]) == (str(lines), lines.stat().st_size)
    assert ask("load", str(lines), "--data", str(loaded)) == {"data": str(loaded), "changes": made["changes"]}
    assert ask("vacuum", "--data", str(loaded))["bytes"] == loaded.stat().st_size
    assert ask("user unlock", "admin", *at) == {"login": "admin", "status": 0}


@pytest.mark.parametrize("form", ["json", "yaml", "value"])
def test_the_effective_settings_in_each_form(run: Run, form: str) -> None:
    """`serve --check` prints each setting and where it comes from, in each form."""
    outcome = run("serve", "--check", "--port", "9003", "-o", form)
    expected = {"json": '{"setting":"port","value":9003,"from":"--port"}\n', "yaml": "value: 9003\n", "value": "9003\n"}
    assert outcome.code == 0
    assert expected[form] in outcome.out


def test_of_a_narrow_table_only_texts_are_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Times, states and numbers are whole in every table, or each cell has a line of its own."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    time, text = "2026-11-27T08:00:00.000", "n" * 50
    started = {"rollout": 1, "layer": text, "changes": [{"name": text}], "step": 1, "steps": [{}]}
    started |= {"state": "rolledBack", "since": time, "counts": {}, "reason": text}
    show([started], None, rollout.COLUMNS, "rollout")
    saved = {"names": text, "secret": True, "entityVersion": 1, "modified": time, "modifiedBy": text, "schema": {}}
    show([saved], None, schema.COLUMNS, "names")
    connected = {"connectionId": "c" * 12, "kind": "websocket", "login": text, "address": text, "since": time}
    numbers = {"subscriptions": 1, "behind": 0, "unreadBytes": 0, "gateway": None}
    show([connected | numbers], None, connections.COLUMNS, "id")
    seen = {"id": "d" * 36, "name": text, "online": True, "lastSeen": time}
    show([seen], None, device.PRESENCE, "device")
    shown = capsys.readouterr().out
    assert shown.count(local(time)) == 4
    assert "rolledBack" in shown
    assert shown.count("n…") == 6
