"""The command line: editing, comparing, transactions, and what shells complete."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from hivewire import cli
from tests.command import Run, in_pipes
from tests.forked import Piped
from tests.running import PASSWORD, RunningGateway, Talk


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of an editor; the test writes its lines."""
    program = tmp_path / "editor"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(program))
    return program


def test_an_edited_text_is_a_new_version(logged_in: Run, editor: Path, talk: Talk) -> None:
    """The newline that an editor adds does not count, and the type stays; unchanged text writes nothing."""
    talk("configuration/put", name="edit.text", value='{"a":1}', contentType="application/json")
    assert logged_in("edit", "edit.text") == (0, "edit.text is not changed\n", "")
    editor.write_text('#!/bin/sh\necho \'{"a":2}\' > "$1"\n')
    assert re.match(r"edit\.text is at version 2 ", logged_in("edit", "edit.text", "--description", "two").out)
    (change,) = talk("configuration/history", name="edit.text", take=1)["changes"]
    assert (change["configuration"]["value"], change["description"]) == ('{"a":2}', "two")
    assert change["configuration"]["contentType"] == "application/json"
    editor.write_text('#!/bin/sh\nprintf new > "$1"\n')
    assert re.match(r"edit\.new is at version 1 ", logged_in("edit", "edit.new").out)
    assert logged_in("get", "edit.new").out == "new"


def test_control_c_belongs_to_the_editor(logged_in: Run, editor: Path) -> None:
    """A terminal sends it to both, and editors such as vim go on: so does the command, and writes what is saved."""
    editor.write_text('#!/bin/sh\ntrap : INT\nkill -INT $PPID\nkill -INT $$\nprintf kept > "$1"\n')
    assert re.match(r"edit\.interrupted is at version 1 ", logged_in("edit", "edit.interrupted").out)
    assert logged_in("get", "edit.interrupted").out == "kept"


def test_an_edit_overwrites_nobody_and_is_not_lost(logged_in: Run, editor: Path, tmp_path: Path) -> None:
    """When somebody wrote meanwhile, the error shows that version and the file with the edited text."""
    logged_in("put", "edit.conflict", "1")
    put = f"{sys.executable} -m hivewire put edit.conflict theirs"
    editor.write_text(f'#!/bin/sh\n{put} > {tmp_path}/out\nprintf mine > "$1"\n')
    outcome = logged_in("edit", "edit.conflict")
    assert outcome.code == 1
    assert "is at version 2, not 1\n  now: theirs\n" in outcome.err
    kept = Path(outcome.err.rstrip().rpartition("your text is in ")[2])
    assert kept.read_text() == "mine"
    kept.unlink()
    assert logged_in("get", "edit.conflict").out == "theirs"


def test_an_edit_outlives_its_connection(run: Run, editor: Path, data: Path) -> None:
    """A gateway restarts, and a laptop sleeps, while somebody edits."""
    connections = f"{sys.executable} -m hivewire connections"
    with RunningGateway(data) as gateway:
        run("login", "--url", gateway.url, stdin=PASSWORD.encode())
        close = f"for one in $({connections} -o value); do {connections} --close $one; done > /dev/null 2>&1"
        editor.write_text(f'#!/bin/sh\n{close}\nprintf kept > "$1"\n')
        assert re.match(r"edit\.away is at version 1 ", run("edit", "edit.away").out)
        assert run("get", "edit.away").out == "kept"


def test_a_text_that_cannot_be_saved_is_kept(logged_in: Run, editor: Path) -> None:
    """Whatever the reason, the error says where it is: here the login has ended."""
    editor.write_text(f'#!/bin/sh\n{sys.executable} -m hivewire logout > /dev/null\nprintf mine > "$1"\n')
    outcome = logged_in("edit", "edit.kept")
    assert outcome.code == 1
    assert "not logged in" in outcome.err
    kept = Path(outcome.err.rstrip().rpartition("your text is in ")[2])
    assert kept.read_text() == "mine"
    kept.unlink()


ANEW = """\
import http.client, os, sys
gateway = http.client.HTTPConnection("127.0.0.1", int(os.environ["ANEW_PORT"]))
headers = {"Authorization": "Bearer " + os.environ["ANEW_TOKEN"], "Content-Type": "application/json"}
for method, body in (("DELETE", None), ("PUT", b'{"value":"theirs"}')):
    gateway.request(method, "/api/rest/configuration/edit.life", body, headers)
    assert gateway.getresponse().read() is not None
open(sys.argv[1], "w").write("mine")
"""


def test_an_edit_is_of_one_life_of_a_name(
    logged_in: Run, editor: Path, shared_gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody deleted and made anew is not overwritten, though it has the version that was opened."""
    monkeypatch.setenv("ANEW_PORT", str(shared_gateway.port))
    monkeypatch.setenv("ANEW_TOKEN", shared_gateway.token())
    logged_in("put", "edit.life", "1")
    editor.write_text(f"#!{sys.executable} -IS\n{ANEW}")
    outcome = logged_in("edit", "edit.life")
    assert outcome.code == 1
    assert "\n  now: theirs\n" in outcome.err
    Path(outcome.err.rstrip().rpartition("your text is in ")[2]).unlink()
    assert logged_in("get", "edit.life").out == "theirs"


def test_differences_are_shown_line_by_line(logged_in: Run, tmp_path: Path) -> None:
    """Those of the last change, between two versions, and to a file; JSON is formatted first."""
    for value in ("one\ntwo", "one\n2", "1\n2"):
        logged_in("put", "diff.a", value)
    assert logged_in("diff", "diff.a").out == "--- version 2\n+++ version 3\n@@ -1,2 +1,2 @@\n-one\n+1\n 2\n"
    assert "-two\n+2\n" in logged_in("diff", "diff.a", "1", "2").out
    same = "hivewire: no difference between version 3 and version 3\n"
    assert logged_in("diff", "diff.a", "3", "3") == (0, "", same)
    assert json.loads(logged_in("diff", "diff.a", "3", "3", "-o", "json").out)["lines"] == []
    logged_in("put", "diff.json", '{"a":1,"b":2}', "--content-type", "application/json")
    file = tmp_path / "new.json"
    file.write_text('{"a":1,"b":3}')
    assert '   "a": 1,\n-  "b": 2\n+  "b": 3\n' in logged_in("diff", "diff.json", "--file", str(file)).out
    assert logged_in("diff", "diff.none") == logged_in("get", "diff.none")
    assert logged_in("diff", "diff.none").code == 1
    assert logged_in("diff", "diff.a", "1", "2", "3").code == 2


def test_a_secret_is_edited_and_compared_only_when_asked_for(logged_in: Run, editor: Path) -> None:
    """`--reveal` does both, also of earlier versions; the error without it names it."""
    assert logged_in("schema", "put", "edit.hidden", "--secret").code == 0
    for value in ("one", "two"):
        assert logged_in("put", "edit.hidden", value).code == 0
    refused = "hivewire: error: the value of edit.hidden is secret; --reveal shows it, with RevealSecret\n"
    editor.write_text('#!/bin/sh\nsed -i s/two/three/ "$1"\n')
    for command in ("diff", "edit"):
        assert logged_in(command, "edit.hidden") == (1, "", refused)
    assert logged_in("edit", "edit.hidden", "--reveal").out.startswith("edit.hidden is at version 3 ")
    assert logged_in("diff", "edit.hidden", "1", "3", "--reveal").out.endswith("\n-one\n+three\n")


def test_a_transaction_comes_from_a_file(logged_in: Run, tmp_path: Path) -> None:
    """An object or a list of changes; the one that is refused is named, and then nothing is written."""
    file = tmp_path / "changes.json"
    changes = [{"operation": "put", "name": f"transact.{name}", "value": "1"} for name in "ab"]
    file.write_text(json.dumps({"changes": changes}))
    assert re.fullmatch(r"2 changes are written \(revision \d+\)\n", logged_in("transact", str(file)).out)
    bad = json.dumps([{"operation": "delete", "name": "transact.a"}, {"operation": "delete", "name": "transact.c"}])
    refused = logged_in("transact", "-", stdin=bad.encode())
    assert refused.code == 1
    assert refused.err.startswith("hivewire: error: changes[1]: ")
    assert logged_in("get", "transact.a").out == "1"
    good = bad.replace("transact.c", "transact.b").encode()
    assert json.loads(logged_in("transact", "-", "--json", stdin=good).out)["configurations"][0]["value"] is None
    for wrong in (b"nonsense", b"{}", b"1", b'{"changes":[],"more":1}'):
        outcome = logged_in("transact", "-", stdin=wrong)
        assert outcome.code == 2
        assert re.match(r"hivewire: error: \S*/stdin is not ", outcome.err), outcome.err


@pytest.mark.parametrize("command", ["transact", "import"])
def test_a_file_that_is_not_json_is_named_with_its_line(logged_in: Run, tmp_path: Path, command: str) -> None:
    """Every command that reads JSON ends with 2, and names the file and the line."""
    file = tmp_path / "broken.json"
    file.write_text('{\n"a":}')
    words = f"{file} is not JSON: line 2, column 5: Expecting value"
    assert logged_in(command, str(file)) == (2, "", f"hivewire: error: {words}\n")
    piped = in_pipes(command, "-", stdin=b"nonsense")
    assert piped.stderr.startswith(b"hivewire: error: standard input is not JSON: line 1, column 1: ")


def test_a_file_that_is_no_dump_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    """`load` ends with 2 as well, and makes no data file."""
    file = tmp_path / "broken.jsonl"
    file.write_text('{"line":"dump","format":1}\n{"a":\n')
    outcome = run("load", str(file), "--data", str(tmp_path / "new.db"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"hivewire: error: {file}: line 2 is not a line of a dump: ")
    assert not (tmp_path / "new.db").exists()


def test_an_editor_that_does_not_start_is_explained(
    logged_in: Run, editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the editor and the variables; a text that nobody changed does not stay behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "texts"))
    (tmp_path / "texts").mkdir()
    start = "hivewire: error: cannot start the editor no-such-editor: No such file or directory; "
    monkeypatch.setenv("EDITOR", "no-such-editor --wait")
    assert logged_in("edit", "edit.none") == (1, "", f"{start}set $VISUAL or $EDITOR to one that is installed\n")
    monkeypatch.setenv("EDITOR", "'code --wait")
    assert "$VISUAL or $EDITOR is not a command: No closing quotation" in logged_in("edit", "edit.none").err
    monkeypatch.setenv("EDITOR", str(editor))
    editor.write_text("#!/bin/sh\nexit 1\n")
    failed = "hivewire: error: the editor failed, so nothing is written\n"
    assert logged_in("edit", "edit.none") == (1, "", failed)
    assert not [*(tmp_path / "texts").iterdir()]
    editor.write_text('#!/bin/sh\necho half > "$1"; exit 1\n')
    (_, kept) = logged_in("edit", "edit.none").err.splitlines()
    assert Path(kept.removeprefix("  your text is in ")).read_text() == "half\n"


def completed(words: str) -> list[str]:
    """The completions that bash gets for the last of some words."""
    given = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), "_HIVEWIRE_COMPLETE": "bash_complete"}
    with Piped("hivewire.cli:main", [], os.environ | given) as completing:
        found = completing.stdout.read()
        assert completing.stderr.read() == ""
    return [line.partition(",")[2] for line in found.splitlines() if line]


def test_a_shell_completes_commands_and_names(logged_in: Run, talk: Talk) -> None:
    """Names are those of the saved login's gateway; without a login there are none, and no error."""
    assert completed("hivewire tran") == ["transact"]
    for name in ("complete.one", "complete.two"):
        talk("configuration/put", name=name, value="1")
    assert completed("hivewire get complete.") == ["complete.one", "complete.two"]
    assert completed("hivewire watch complete.t") == ["complete.two"]
    assert completed("hivewire get --profile nobody complete.") == []
    assert "GetConfiguration" in completed("hivewire token --action getc")
    assert completed("hivewire device get e50d") == ["e50d6085-2aba-48e9-b1c3-73c673e414be"]
    assert completed("hivewire type delete Ca") == ["Cameras", "Cars"]
    assert completed("hivewire user assign adm") == ["admin"]
    assert completed("hivewire user assign admin --type Ca") == ["Cameras", "Cars"]
    assert completed("hivewire command send e50d") == ["e50d6085-2aba-48e9-b1c3-73c673e414be"]
    assert completed("hivewire notification watch one e50d") == ["e50d6085-2aba-48e9-b1c3-73c673e414be"]
    assert completed("hivewire device put new --network Samp") == ["Sample Network"]
    assert completed("hivewire type delete C_") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_where_the_shell_looks(
    run: Run, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice changes nothing; without --install the script is printed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    assert "_HIVEWIRE_COMPLETE" in run("completion", shell).out
    places = {
        "bash": ".local/share/bash-completion/completions/hivewire",
        "zsh": ".zshrc",
        "fish": ".config/fish/completions/hivewire.fish",
    }
    for _ in range(2):
        assert str(tmp_path / places[shell]) in run("completion", shell, "--install").out
    assert (tmp_path / places[shell]).read_text().count("hivewire completion zsh") == (shell == "zsh")


def test_every_name_of_the_table_is_a_command() -> None:
    """Each entry of the table can be imported."""
    group = cli._hivewire
    for name in cli.COMMANDS:
        command = group.get_command(None, name)  # type: ignore[arg-type] # the group does not look at it
        assert command is not None
        assert command.name == name
