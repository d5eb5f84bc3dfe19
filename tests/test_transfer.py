"""`hivewire export` and `hivewire import`: what is in the file is what was there, and nobody is overwritten."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivewire.cli.errors import BadInput
from hivewire.cli.export_format import content_of
from hivewire.cli.given import PORTION, read_all
from hivewire.cli.remote import Remote
from hivewire_protocol.nouns.configuration import RESERVED, forbidden_character
from tests.command import Run, on_terminal
from tests.running import PASSWORD, RunningGateway, Talk

Before = Callable[..., None]


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Before:
    """`before(action, step, ...)`: call one step before each of the command's requests of an action."""

    def arrange(action: str, *steps: Callable[[], object]) -> None:
        left, ask = iter(steps), Remote.request

        def request(remote: Remote, asked: str, **members: Any) -> dict[str, Any]:
            if asked == action:
                next(left, lambda: None)()
            return ask(remote, asked, **members)

        monkeypatch.setattr(Remote, "request", request)

    return arrange


def put(talk: Talk, name: str, value: str = "x", **members: Any) -> int:
    """Write one; the revision."""
    answer = talk("configuration/put", name=name, value=value, **members)
    assert answer["status"] == "success", answer
    return int(answer["revision"])


def put_many(talk: Talk, names: list[str], value: str = "x") -> None:
    """Write up to a thousand small ones at once."""
    changes = [{"operation": "put", "name": name, "value": value} for name in names]
    assert talk("configuration/transact", changes=changes)["status"] == "success"


def document(*entries: Any, **head: Any) -> bytes:
    return json.dumps({"hivewire": 1, **head, "configurations": entries}).encode()


def entry(name: str, value: str = "x", **members: Any) -> dict[str, Any]:
    return {"name": name, "value": value, **members}


def listed(talk: Talk, pattern: str) -> dict[str, tuple[str, int]]:
    """Value and version of each name that matches."""
    answer = talk("configuration/list", names=[pattern])
    return {found["name"]: (found["value"], found["entityVersion"]) for found in answer["configurations"]}


def names_in(text: str) -> list[str]:
    return [found["name"] for found in json.loads(text)["configurations"]]


# Export.


def test_an_export_has_a_line_for_each_configuration_by_name(logged_in: Run, talk: Talk) -> None:
    """UTF-8 with name, value, version and the content type where it is not plain text; nothing on standard error."""
    put(talk, "ex.line.b", "été\n\U0001f41d")
    put(talk, "ex.line.a", "[1]", contentType="application/json")
    revision = put(talk, "ex.line.b", '"42"')
    assert logged_in("export", "ex.line.*") == (
        0,
        f'{{"hivewire":1,"revision":{revision},"configurations":[\n'
        '{"name":"ex.line.a","value":"[1]","entityVersion":1,"contentType":"application/json"},\n'
        '{"name":"ex.line.b","value":"\\"42\\"","entityVersion":2}\n'
        "]}\n",
        "",
    )
    put(talk, "ex.line.b", "été\n\U0001f41d")
    assert '"été\\n\U0001f41d"' in logged_in("export", "ex.line.b").out
    assert json.loads(logged_in("export", "ex.nothing*").out)["configurations"] == []


def test_an_export_is_complete_however_many_and_however_large(logged_in: Run, talk: Talk) -> None:
    """Pages follow one another, become smaller where an answer would be too large, and larger again."""
    large = [f"ex.all.{number:04}" for number in range(500, 540)]
    for name in large:
        put(talk, name, "x" * 60_000)
    put_many(talk, [name for number in range(1_050) if (name := f"ex.all.{number:04}") not in large][:1_000])
    put_many(talk, [f"ex.all.{number:04}" for number in range(1_040, 1_100)])
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        ask = Remote.request
        patch.setattr(Remote, "request", lambda *a, **members: asked.append(members.get("take")) or ask(*a, **members))
        outcome = logged_in("export", "ex.all.*")
    assert names_in(outcome.out) == [f"ex.all.{number:04}" for number in range(1_100)]
    assert min(take for take in asked if take) < 20
    assert asked[-1] > 100


def test_an_export_into_a_file_is_for_its_owner_and_overwrites_only_when_told(
    logged_in: Run, talk: Talk, home: Path
) -> None:
    """A new file has mode 0600 whatever the umask; one that was there keeps its mode, and a link to it stays a link."""
    file, link = home / "export" / "all.json", home / "link.json"
    file.parent.mkdir()
    link.symlink_to(file)
    put(talk, "ex.file", "1")
    former = os.umask(0)
    try:
        outcome = logged_in("export", "ex.file", "--output", str(file))
    finally:
        os.umask(former)
    assert re.fullmatch(rf"1 configuration is exported to {file} \(revision \d+\)\n", outcome.out)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.read_bytes()
    put(talk, "ex.file", "2")
    refused = logged_in("export", "ex.file", "--output", str(file))
    assert refused == (1, "", f"hivewire: error: {file} exists already; --force overwrites it\n")
    assert file.read_bytes() == written
    file.chmod(0o640)
    assert logged_in("export", "ex.file", "--output", str(link), "--force").code == 0
    assert json.loads(file.read_bytes())["configurations"][0]["value"] == "2"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert os.listdir(file.parent) == ["all.json"]


def test_a_file_that_somebody_makes_meanwhile_is_not_overwritten(
    logged_in: Run, talk: Talk, home: Path, before: Before
) -> None:
    """An export does not overwrite a file that was created meanwhile, and leaves no temporary file."""
    file = home / "export" / "all.json"
    file.parent.mkdir()
    before("configuration/list", lambda: file.write_text("theirs"))
    outcome = logged_in("export", "ex.meanwhile", "--output", str(file))
    assert outcome == (1, "", f"hivewire: error: {file} exists already; --force overwrites it\n")
    assert file.read_text() == "theirs"
    assert os.listdir(file.parent) == ["all.json"]


def test_an_unwritable_output_is_one_line(logged_in: Run, home: Path) -> None:
    """A missing directory, a target that is not a file even with --force, and a full disk behind standard output."""
    for target in (home / "nowhere" / "all.json", Path("/dev/null")):
        outcome = logged_in("export", "ex.none", "--output", str(target), "--force")
        assert outcome.code == 1
        assert outcome.err.count("\n") == 1
        assert str(target) in outcome.err
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hivewire", "export", "ex.none"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"hivewire: error: cannot write to standard output: No space left on device\n"


def test_a_value_that_could_not_be_imported_again_is_not_exported(
    logged_in: Run, shared_gateway: RunningGateway
) -> None:
    """A site property may be empty, a value over a socket may not: the export says so, not a later import."""
    site = f"{shared_gateway.url}/@api/deki/site/properties"
    headers = {"Slug": "ex.empty", "Content-Type": "text/plain"}
    made = httpx.post(site, content=b"", headers=headers, auth=("admin", PASSWORD))
    assert made.status_code == 200
    refused = logged_in("export", "ex.empty")
    assert (refused.code, refused.out) == (1, "")
    assert "ex.empty" in refused.err
    assert json.loads(logged_in("export", "ex.empty", "--skip-binary").out)["omitted"] == ["ex.empty"]


def test_contents_that_a_list_leaves_out_are_never_left_out_silently(logged_in: Run, talk: Talk, home: Path) -> None:
    """The export is refused with the names; with --skip-binary it warns, and the file names the missing ones."""
    file = home / "all.json"
    put(talk, "ex.bin.text", "1")
    for number in range(7):
        put(talk, f"ex.bin.{number}", "png", contentType="image/png")
    refused = logged_in("export", "ex.bin.*", "--output", str(file))
    assert refused.code == 1
    assert refused.err.splitlines() == [
        "hivewire: error: nothing is exported, because 7 configurations are no text, empty or over 65,536 characters"
        " (--skip-binary leaves them out):",
        *(f"  ex.bin.{number} (image/png, 3 bytes)" for number in range(5)),
        "  and 2 more",
    ]
    assert refused.out == ""
    assert not file.exists()
    skipped = logged_in("export", "ex.bin.*", "--skip-binary")
    assert skipped.code == 0
    assert names_in(skipped.out) == ["ex.bin.text"]
    assert json.loads(skipped.out)["omitted"] == [f"ex.bin.{number}" for number in range(7)]
    assert skipped.err.startswith("hivewire: warning: left out, because 7 configurations are no text")


@pytest.fixture
def two_pages(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> str:
    """The pattern of three names, which take two pages."""
    monkeypatch.setattr("hivewire.cli.configuration.PAGE", 2)
    for name in ("ex.two.a", "ex.two.b", "ex.two.c"):
        put(talk, name, "0")
    return "ex.two.*"


def values_in(text: str) -> list[str]:
    return [found["value"] for found in json.loads(text)["configurations"]]


def nothing() -> None:
    pass


def test_an_export_is_read_again_when_something_changes_between_its_pages(
    logged_in: Run, talk: Talk, before: Before, two_pages: str
) -> None:
    """A write to the first page and a later one to the second are both in it, or neither."""

    def both() -> None:
        put(talk, "ex.two.a", "1")
        put(talk, "ex.two.c", "1")

    before("configuration/list", nothing, both)
    outcome = logged_in("export", two_pages)
    assert values_in(outcome.out) == ["1", "0", "1"]
    assert "consistent" not in outcome.out
    assert outcome.err == ""


def test_writes_to_other_names_do_not_keep_an_export_from_being_one_moments_state(
    logged_in: Run, talk: Talk, before: Before, two_pages: str
) -> None:
    """The second reading finds what the first did, so it was so between them, whatever the ledger's revision is."""
    revisions: list[int] = []
    before("configuration/list", *[lambda: revisions.append(put(talk, "ex.other"))] * 50)
    outcome = logged_in("export", two_pages)
    assert outcome.err == ""
    assert len(revisions) == 4
    assert json.loads(outcome.out)["revision"] == revisions[2]
    assert "consistent" not in outcome.out


def test_a_name_that_exists_only_between_two_readings_is_noticed(
    logged_in: Run, talk: Talk, before: Before, two_pages: str
) -> None:
    """Both readings find the same three, but a fourth existed in between: it takes a third reading."""
    steps = [
        *(nothing, lambda: put(talk, "ex.other")),
        *(lambda: put(talk, "ex.two.d"), lambda: talk("configuration/delete", name="ex.two.d")),
    ]
    before("configuration/list", *steps)
    outcome = logged_in("export", two_pages)
    current = talk("configuration/list", take=0)["revision"]
    assert json.loads(outcome.out)["revision"] == current
    assert "consistent" not in outcome.out


def test_an_export_that_is_not_of_one_moment_says_so(
    logged_in: Run, talk: Talk, before: Before, two_pages: str
) -> None:
    """After several attempts: a warning, and `consistent` in the document."""
    before("configuration/list", *[lambda: put(talk, "ex.two.a")] * 50)
    outcome = logged_in("export", two_pages)
    assert outcome.code == 0
    assert outcome.err.startswith("hivewire: warning: the configurations kept changing")
    assert json.loads(outcome.out)["consistent"] is False
    assert len(values_in(outcome.out)) == 3


def test_on_a_terminal_an_export_obeys_no_value(logged_in: Run, talk: Talk, home: Path) -> None:
    """Control characters are JSON escapes; the progress bar is gone at the end."""
    value = "\x1b[31m\x9b\u202e été"
    put(talk, "ex.terminal", value)
    shown = on_terminal("export", "ex.terminal")
    assert r'"\u001b[31m\u009b\u202e été"' in shown
    assert "\u202e" not in shown
    put(talk, "ex.terminal", value)
    assert "1 configuration is exported to" in on_terminal("export", "ex.terminal", "--output", str(home / "t.json"))


# Import.


def test_an_import_writes_what_differs_and_nothing_else(logged_in: Run, talk: Talk) -> None:
    """By value or content type; what is the same keeps its version; the description is in the history."""
    put(talk, "differ.same", "1")
    put(talk, "differ.type", "2")
    put(talk, "differ.json", "3", contentType="application/json")
    put(talk, "differ.value", "4")
    put(talk, "differ.elsewhere", "5")
    file = document(
        entry("differ.same", "1", contentType="text/plain; charset=utf-8", entityVersion=99),
        entry("differ.type", "2", contentType="text/html"),
        entry("differ.json", "3", contentType=None),
        entry("differ.value", "44"),
        entry("differ.new", "6"),
    )
    outcome = logged_in("import", "-", "--description", "why not", stdin=file)
    assert outcome == (0, "", "1 created, 3 updated, 1 unchanged\n")
    assert listed(talk, "differ.*") == {
        "differ.elsewhere": ("5", 1),
        "differ.json": ("3", 2),
        "differ.new": ("6", 1),
        "differ.same": ("1", 1),
        "differ.type": ("2", 2),
        "differ.value": ("44", 2),
    }
    resources = talk("configuration/list", names=["differ.*"])["configurations"]
    types = {resource["name"]: resource.get("contentType") for resource in resources}
    assert (types["differ.type"], types["differ.json"]) == ("text/html", None)
    assert talk("configuration/history", name="differ.value")["changes"][0]["description"] == "why not"
    assert logged_in("import", "-", stdin=file).err == "0 created, 0 updated, 5 unchanged\n"


def test_a_dry_run_shows_what_would_change_and_writes_nothing(logged_in: Run, talk: Talk) -> None:
    """Old and new value on one line, long ones from a little before the difference, and nothing that is obeyed."""
    put(talk, "dry.a", "1")
    put(talk, "dry.b", "same")
    put(talk, "dry.c", "y" * 100 + "old" + "z" * 100)
    put(talk, "dry.d", "png", contentType="image/png")
    file = document(
        entry("dry.a", "2\n\x1b[31m"),
        entry("dry.b", "same", contentType="text/html"),
        entry("dry.c", "y" * 100 + "new" + "z" * 100),
        entry("dry.d", "text"),
        entry("dry.e", "[]", contentType="application/json"),
        entry("dry.f", "v" * 70),
    )
    outcome = logged_in("import", "-", "--dry-run", stdin=file)
    assert outcome.out.splitlines() == [
        r"update dry.a: 1 -> 2\n\x1b[31m",
        "update dry.b: same (text/plain; charset=utf-8 -> text/html)",
        f"update dry.c: ...{'y' * 20}old{'z' * 37}... -> ...{'y' * 20}new{'z' * 37}...",
        "update dry.d: (image/png, 3 bytes) -> text (image/png -> text/plain; charset=utf-8)",
        "create dry.e: [] (application/json)",
        f"create dry.f: {'v' * 60}...",
    ]
    assert outcome.err == "would be 2 created, 4 updated, 0 unchanged\n"
    assert listed(talk, "dry.*")["dry.a"] == ("1", 1)
    assert "dry.e" not in listed(talk, "dry.*")


def test_a_dry_run_refuses_what_the_import_would(logged_in: Run, talk: Talk) -> None:
    """The gateway judges all of it: a value that does not fit its schema is named, and nothing is written. Nothing is
    shown then, because only the gateway knows which values are secret."""
    talk("schema/put", names="dry.port", schema={"maximum": 65535})
    file = document(entry("dry.fine", "1"), entry("dry.port", "70000"))
    words = "'dry.port' is refused: Configuration 'dry.port' does not fit its schema: 70000 is greater than the maximum"
    assert logged_in("import", "-", "--dry-run", stdin=file) == (
        1,
        "",
        f"hivewire: error: {words} of 65535\n  nothing is written\n",
    )
    assert words in logged_in("import", "-", "--dry-run", "--json", stdin=file).err
    assert "dry.fine" not in listed(talk, "dry.*")
    talk("schema/delete", names="dry.port")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "not JSON: line 1, column 1"),
        (b'{"hivewire":1,\n"configurations":[\n{"name" "x"}]}', "not JSON: line 3, column 9: Expecting ':' delimiter"),
        (b'{"hivewire":1,\n"a":"\xff"}', "not UTF-8 text (line 2)"),
        (b'{"hivewire":NaN}', "not JSON"),
        (b'{"hivewire":' + b"1" * 5_000 + b"}", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "not an export"),
        (b'{"configurations":[]}', "not an export"),
        (b'{"hivewire":1}', '"configurations" must be a list'),
        (b'{"hivewire":1,"configurations":{}}', '"configurations" must be a list'),
        (b'{"hivewire":2,"configurations":[]}', "does not have the format"),
        (b'{"hivewire":true,"configurations":[]}', "does not have the format"),
        (b'{"hivewire":1,"configurations":[],"configurations":[]}', "'configurations' occurs more than once"),
        (document(1), "configurations[0]: not an object"),
        (document({}), "configurations[0]: no name"),
        (document({"name": 1, "value": "x"}), "configurations[0]: the name is not text"),
        (document(entry("")), "the name is empty"),
        (document(entry("a\x1bb")), r"configurations[0] 'a\x1bb': the name has a forbidden character: U+001B"),
        (document(entry("\ud800")), "forbidden character: U+D800"),
        (document(entry(RESERVED)), "configurations[0] 'jwt.secret': the name is reserved"),
        (document(entry("a"), entry("b"), entry("a")), "configurations[2] 'a': the same name as configurations[0]"),
        (document({"name": "a"}), "configurations[0] 'a': no value"),
        (document({"name": "a", "value": None}), "the value is not text"),
        (document({"name": "a", "value": 42}), "the value is not text"),
        (document(entry("a", "")), "the value is empty"),
        (document(entry("a", "x\udfff")), "an unpaired surrogate, which is not a character: position 1"),
        (document(entry("a", contentType=1)), "contentType is not text"),
        (document(entry("a", contentType="json")), "contentType must be a media type"),
        (document(entry("a", entityVersion="1")), "entityVersion is not a whole number"),
        (document(entry("a", entityVersion=True)), "entityVersion is not a whole number"),
        (document(entry("a", contenttype="text/html")), "unknown member 'contenttype'"),
        (
            b'{"hivewire":1,"configurations":[{"name":"a","value":"1","value":"2"}]}',
            "configurations[0] 'a': 'value' occurs more than once",
        ),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_asked_of_the_gateway(run: Run, file: bytes, words: str) -> None:
    """Without a login the error is still about the file."""
    outcome = run("import", "-", stdin=file)
    assert outcome.code == 2
    assert outcome.err.startswith("hivewire: error: ")
    assert words in outcome.err
    assert outcome.out == ""


def test_every_invalid_entry_is_listed_with_its_place(logged_in: Run, talk: Talk) -> None:
    """The first twenty, and the number of others; the valid ones are not written either."""
    outcome = logged_in("import", "-", stdin=document(*[entry("bad.good"), *[entry("bad.x", "")] * 23]))
    lines = outcome.err.splitlines()
    assert re.fullmatch("hivewire: error: nothing is imported, because 23 of 24 entries of .* are not valid:", lines[0])
    assert lines[1:21] == [f"  configurations[{index}] 'bad.x': the value is empty" for index in range(1, 21)]
    assert lines[21:] == ["  and 3 more"]
    assert listed(talk, "bad.*") == {}


def test_a_file_with_a_byte_order_mark_is_read(logged_in: Run, home: Path) -> None:
    """Also one that is indented, by name rather than on standard input."""
    file = home / "in.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(json.loads(document(entry("im.bom"))), indent=2).encode())
    assert logged_in("import", str(file)).err == "1 created, 0 updated, 0 unchanged\n"
    assert logged_in("import", str(home / "none.json")).code == 2
    assert logged_in("import", str(home)).code == 2


def test_names_that_look_like_patterns_stand_for_themselves(logged_in: Run, talk: Talk) -> None:
    """An asterisk in a name is not a wildcard in the comparison, also in a file with a single name."""
    put(talk, "star.a1", "1")
    file = document(*[entry(name, "2") for name in ("star.a*", "star.*b")])
    assert logged_in("import", "-", stdin=file).err == "2 created, 0 updated, 0 unchanged\n"
    assert logged_in("import", "-", stdin=file).err == "0 created, 0 updated, 2 unchanged\n"
    assert listed(talk, "star.*") == {"star.*b": ("2", 1), "star.a*": ("2", 1), "star.a1": ("1", 1)}


def test_an_import_of_nothing_does_nothing(logged_in: Run) -> None:
    """An import of an empty list succeeds and changes nothing."""
    assert logged_in("import", "-", stdin=document()) == (0, "", "0 created, 0 updated, 0 unchanged\n")


@pytest.mark.parametrize("there", [True, False])
def test_a_writer_at_the_same_time_is_never_overwritten(
    logged_in: Run, talk: Talk, before: Before, there: bool
) -> None:
    """A change after the comparison is shown, and nothing of its transaction is written."""
    name = f"race.{there}"
    if there:
        put(talk, name, "old")
    before("configuration/transact", lambda: put(talk, name, "theirs", description="lunch"))
    outcome = logged_in("import", "-", stdin=document(entry("race.other"), entry(name, "mine")))
    assert outcome.code == 1
    first, now, written_by, reason, so_far = outcome.err.splitlines()
    assert first == (
        f"hivewire: error: '{name}' is refused: Configuration '{name}' is at version {1 + there}, not {0 + there}"
    )
    assert (now, reason) == ("  now: theirs", "  reason: lunch")
    assert written_by.startswith("  put by admin at ")
    assert so_far == "  0 of 2 changes are written, 2 are not"
    assert listed(talk, f"race.{there}") == {name: ("theirs", 1 + there)}
    assert listed(talk, "race.other") == {}


def test_an_import_that_ends_in_the_middle_says_how_far_it_came_and_is_finished_by_another(
    logged_in: Run, talk: Talk, before: Before
) -> None:
    """After the first of two transactions; the second import finds the rest."""
    file = document(*[entry(f"half.{number:04}") for number in range(1_500)])
    before("configuration/transact", nothing, lambda: put(talk, "half.1200", "theirs"))
    outcome = logged_in("import", "-", stdin=file)
    assert outcome.code == 1
    assert outcome.err.startswith("hivewire: error: 'half.1200' is refused: ")
    assert outcome.err.endswith("\n  1,000 of 1,500 changes are written, 500 are not\n")
    assert talk("configuration/list", names=["half.*"], take=0)["count"] == 1_001
    assert logged_in("import", "-", stdin=file).err == "499 created, 1 updated, 1,000 unchanged\n"


def test_entries_that_a_gateway_may_refuse_are_tried_first(logged_in: Run, talk: Talk) -> None:
    """A name that is too long for this one is refused before anything is written, although it is last."""
    names = [*(f"first.{number:04}" for number in range(1_500)), "first." + "x" * 140]
    outcome = logged_in("import", "-", stdin=document(*map(entry, names)))
    assert outcome.code == 1
    assert "Name is 146 characters long; at most 128, setting name_length" in outcome.err
    assert outcome.err.endswith("\n  0 of 1,501 changes are written, 1,501 are not\n")
    assert listed(talk, "first.*") == {}


def test_values_of_a_json_type_are_checked_unless_told_otherwise(logged_in: Run, talk: Talk) -> None:
    """Invalid JSON is tried first, so nothing is written; --no-check imports it as it was."""
    broken = {"name": "js.2", "value": "{", "contentType": "application/json"}
    file = document(entry("js.1"), broken)
    outcome = logged_in("import", "-", stdin=file)
    assert (outcome.code, "'js.2' is refused: Value is not valid JSON" in outcome.err) == (1, True)
    assert listed(talk, "js.*") == {}
    assert logged_in("import", "-", "--no-check", stdin=file).code == 0
    assert listed(talk, "js.*").keys() == {"js.1", "js.2"}


def test_a_value_that_the_gateway_refuses_is_not_repeated(logged_in: Run) -> None:
    """The error has its name and the reason."""
    outcome = logged_in("import", "-", stdin=document(entry("im.refused", "s3cret" * 20_000)))
    assert outcome.code == 1
    assert (
        "'im.refused' is refused: Value is 120,000 characters long; at most 65,536, setting value_length" in outcome.err
    )
    assert "s3cret" not in outcome.err


def test_names_out_of_reach_are_refused_by_name(logged_in: Run, talk: Talk) -> None:
    """The token reaches only other names; one that looks like a pattern is no exception."""
    token = logged_in("token", "--action", "ManageConfiguration", "--name", "reach.in*").out.strip()
    for name in ("reach.out", "reach.o*t"):
        put(talk, name)
        file = document(entry("reach.inside"), entry(name))
        outcome = logged_in("import", "-", "--token", token, stdin=file)
        assert outcome.code == 1
        assert outcome.err.splitlines()[0] == (
            f"hivewire: error: '{name}' is refused: Access is denied: the name '{name}' is not among those of the token"
        )
    assert listed(talk, "reach.in*") == {}


def test_large_values_go_in_several_messages(logged_in: Run, talk: Talk) -> None:
    """None is larger than the gateway takes, also where a character takes six bytes of JSON."""
    values = {f"large.{number:02}": "\x01" * 60_000 for number in range(6)}
    values |= {f"large.{number:02}": "\U0001f41d" * 65_536 for number in range(6, 10)}
    file = document(*[entry(name, value) for name, value in values.items()])
    assert logged_in("import", "-", stdin=file).err == "10 created, 0 updated, 0 unchanged\n"
    assert logged_in("import", "-", stdin=file).err == "0 created, 0 updated, 10 unchanged\n"


def test_an_import_whose_gateway_dies_says_what_is_not_known(run: Run, data: Path, before: Before) -> None:
    """Exit code 3, the entries that were certainly written, and what to do."""
    with RunningGateway(data) as gateway:
        before("configuration/transact", nothing, lambda: gateway.stop(signal.SIGKILL))
        file = document(*[entry(f"dies.{number:04}") for number in range(1_500)])
        outcome = run("import", "-", "--url", gateway.url, "--token", gateway.token(), stdin=file)
    assert outcome.code == 3
    assert outcome.err.endswith(
        "\n  1,000 of 1,500 changes are written, and the next 500 perhaps: import again to finish\n"
    )


def test_an_import_that_is_interrupted_says_how_far_it_came(logged_in: Run, before: Before) -> None:
    """Exit code 130, as for every command."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    before("configuration/transact", interrupt)
    outcome = logged_in("import", "-", stdin=document(entry("im.interrupted")))
    assert outcome.code == 130
    assert "interrupted: 0 of 1 changes are written, and the next 1 perhaps: import again to finish" in outcome.err


def test_a_description_that_is_not_text_is_wrong_usage(logged_in: Run) -> None:
    """A description that is not UTF-8 text is wrong usage, as with `put`."""
    outcome = logged_in("import", "-", "--description", "\udcff", stdin=document(entry("im.why")))
    assert outcome.code == 2
    assert "not UTF-8" in outcome.err


def test_on_a_terminal_an_import_ends_with_its_summary(logged_in: Run, home: Path) -> None:
    """On a terminal an import ends with its summary, after the progress bar."""
    file = home / "in.json"
    file.write_bytes(document(entry("im.terminal")))
    assert "1 created, 0 updated, 0 unchanged\n" in on_terminal("import", str(file))


# There and back.

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32).filter(
    lambda name: name != RESERVED and forbidden_character(name) is None
)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50) | st.sampled_from(
    ["\ufeff", "\r\n", "\0", "x" * 65_536, "\U0001f41d" * 65_536]
)
TYPES = st.sampled_from([None, "text/plain; charset=utf-8", "text/plain", "application/json", "image/svg+xml"])


def test_what_is_exported_from_one_gateway_and_imported_into_another_is_the_same(run: Run, tmp_path: Path) -> None:
    """Names, values and content types, also where another value was; a second import finds nothing to do."""

    def empty(talk: Talk) -> None:
        found = [resource["name"] for resource in state(talk)]
        if found:
            changes = [{"operation": "delete", "name": name} for name in found]
            assert talk("configuration/transact", changes=changes)["status"] == "success"

    def state(talk: Talk) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := talk("configuration/list", take=1, skip=len(found))["configurations"]:
            found += page
        return found

    with (
        RunningGateway(tmp_path / "one.db") as one,
        RunningGateway(tmp_path / "two.db") as two,
        one.socket() as first,
        two.socket() as second,
    ):
        here, there = (("--url", gateway.url, "--token", gateway.token()) for gateway in (one, two))

        @settings(max_examples=30, deadline=None, database=None)
        @given(st.dictionaries(NAMES, st.tuples(VALUES, TYPES), max_size=8))
        def moved(content: dict[str, tuple[str, str | None]]) -> None:
            empty(first)
            empty(second)
            for name, (value, content_type) in content.items():
                put(first, name, value, check=False, **({"contentType": content_type} if content_type else {}))
            for name in list(content)[:2]:
                put(second, name, "another")
            exported = run("export", *here)
            assert exported.code == 0, exported.err
            imported = run("import", "-", "--no-check", *there, stdin=exported.out.encode())
            assert imported.code == 0, imported.err
            assert [without_version(r) for r in state(second)] == [without_version(r) for r in state(first)]
            again = run("import", "-", *there, stdin=exported.out.encode())
            assert again.err == f"0 created, 0 updated, {len(content)} unchanged\n"

        moved()


def without_version(resource: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in resource.items() if member != "entityVersion"}


# The data file itself.


def test_a_data_file_is_dumped_loaded_and_vacuumed(run: Run, data: Path, tmp_path: Path) -> None:
    """A gateway's file, dumped while it runs, is loaded as another one that a gateway serves, logins included."""
    dumped, loaded = tmp_path / "ledger.jsonl", tmp_path / "loaded.db"
    with RunningGateway(data) as gateway, gateway.socket() as talk:
        assert talk("configuration/put", name="a", value="1", description="why")["status"] == "success"
        outcome = run("dump", str(dumped), "--data", str(data))
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith(f"{data} is dumped: ")
        assert dumped.stat().st_mode & 0o777 == 0o600
        piped = run("dump", "--data", str(data))
        assert piped.out.encode() == dumped.read_bytes()
        assert run("dump", str(dumped), "--data", str(data)).code == 1
        assert "in use by a gateway" in run("vacuum", "--data", str(data)).err
    assert run("load", "-", "--data", str(loaded), stdin=dumped.read_bytes()).code == 0
    assert "exists already" in run("load", str(dumped), "--data", str(loaded)).err
    assert run("vacuum", "--data", str(loaded)).out.startswith(f"{loaded} has ")
    with RunningGateway(loaded) as gateway, gateway.socket() as talk:
        [change] = talk("configuration/history", name="a")["changes"]
        assert (change["configuration"]["value"], change["description"]) == ("1", "why")
    cut = dumped.read_bytes()[:-20]
    outcome = run("load", "-", "--data", str(tmp_path / "cut.db"), stdin=cut)
    assert (outcome.code, outcome.out) == (2, "")
    assert re.match(r"hivewire: error: \S*stdin: line ", outcome.err)
    assert not (tmp_path / "cut.db").exists()


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command reads whole: /dev/zero would fill the memory."""
    monkeypatch.setattr("hivewire.cli.given.MOST_INPUT", 2 * PORTION)
    for read in (content_of, read_all):
        with (
            Path("/dev/zero").open("rb") as file,
            pytest.raises((BadInput, OSError), match=r"more than 2,097,152 bytes"),
        ):
            read(file)
